//! Who is at a browser and has no session is led to the login page; everybody else is told (E22).

use super::Connection;
use super::answer::Asked;
use super::check::Purpose;
use super::form::local_path;
use crate::auth::realm::Realm;
use crate::http::syntax::{is_unreserved, trim_ows};
use crate::http::{Method, Reply, RequestHead, Status};

impl Connection {
    /// Returns the way to the login page of `realm`, if the client is a person who looks for a page and
    /// the realm has a login. An upgrade is never redirected: no client would follow.
    pub(super) fn invitation(&self, purpose: &Purpose, realm: &Realm, asked: &Asked) -> Option<Reply> {
        match purpose {
            Purpose::Service(wished) => self.invitation_to(wished.read_by(), realm, asked),
            Purpose::Login(_) | Purpose::Ticket(_) | Purpose::Renewal(_) => None,
        }
    }

    /// The same for a request that is for something to read.
    pub(super) fn invitation_to(
        &self,
        head: Option<&RequestHead>,
        realm: &Realm,
        asked: &Asked,
    ) -> Option<Reply> {
        let (head, form) = (head?, realm.form.as_ref()?);
        if head.method() != Method::Get || head.wants_websocket() || !wants_page(head) {
            return None;
        }
        let target = head.target();
        let query = target
            .query()
            .map_or_else(String::new, |query| format!("?{query}"));
        let next = local_path(format!("{}{query}", target.path()).as_bytes(), realm);
        let location = format!("{}?next={}", form.path, escaped(&next));
        let reply = Reply::new(Status::SeeOther).field("Location", location);
        // With a parameter for credentials in the query that is said already.
        Some(if asked.query_carrier {
            reply
        } else {
            reply.field("Cache-Control", "no-store")
        })
    }
}

/// Says whether a client takes HTML by name, as browsers do that go somewhere (RFC 9110 section 12.5.1).
fn wants_page(head: &RequestHead) -> bool {
    head.fields().list("accept").any(|range| {
        let mut parts = range.split(|byte| *byte == b';').map(trim_ows);
        let is_html = parts
            .next()
            .is_some_and(|kind| kind.eq_ignore_ascii_case(b"text/html"));
        let refused = |part: &[u8]| {
            let weight = part.strip_prefix(b"q=").or_else(|| part.strip_prefix(b"Q="));
            weight.is_some_and(|weight| weight.iter().all(|byte| matches!(byte, b'0' | b'.')))
        };
        is_html && !parts.any(refused)
    })
}

/// Escapes a local path for the value of a parameter.
fn escaped(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        if is_unreserved(byte) || byte == b'/' {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
