//! What a realm answers itself: its login page, its logout and its tickets.

use std::sync::Arc;

use super::answer::Asked;
use super::body::body_length;
use super::head::Refusal;
use super::read::{is_fetched_from_elsewhere, is_from_another_site};
use super::{Connection, form, renewal, ticket};
use crate::auth::realm::Realm;
use crate::http::cookie::cookies;
use crate::http::{FieldError, Method, Origin, Reply, RequestHead, Status};
use crate::reason::Reason;
use crate::rules::{PathKind, RealmPath};
use crate::secret::Secret;
use crate::time::Now;
use crate::trace::Check;

/// How long a browser may remember the answer to a preflight, in seconds.
const PREFLIGHT_AGE: &str = "600";

/// A request to one of a realm's own paths that is in order so far.
pub(super) enum Visit {
    /// It is answered at once.
    Answer(Reply),
    /// Its body of so many bytes is awaited.
    Post(usize, Posted),
}

/// What is done when the body is there.
#[derive(Debug)]
pub(super) enum Posted {
    Login(form::Submission),
    Logout(Arc<Realm>, Option<Secret<Vec<u8>>>),
    Ticket(Box<ticket::Order>),
    Renewal(Box<renewal::Renewal>),
    /// To the admin listener.
    Revocation,
}

/// What tells a browser that a page of another origin may read the answer.
#[derive(Debug)]
pub(super) struct Cors {
    origin: String,
    credentials: bool,
}

impl Cors {
    pub(super) fn add_to(&self, reply: Reply) -> Reply {
        let reply = reply.field("Access-Control-Allow-Origin", &self.origin);
        let reply = if self.credentials {
            reply.field("Access-Control-Allow-Credentials", "true")
        } else {
            reply
        };
        reply.field("Vary", "Origin")
    }
}

impl Connection {
    /// Judges a request to one of a realm's own paths, up to its body.
    pub(super) fn visit(
        &self,
        now: Now,
        head: &RequestHead,
        path: &RealmPath,
        asked: &mut Asked,
    ) -> Result<Visit, Refusal> {
        let realm = &path.realm;
        asked.is_of(
            realm,
            head,
            matches!(path.kind, PathKind::Ticket | PathKind::Renewal),
        );
        asked.trace.begin(Check::Method);
        match (path.kind, head.method()) {
            (PathKind::Login, Method::Get | Method::Head) => {
                self.page_origin(head, realm, asked)?;
                Ok(Visit::Answer(self.login_page(head, realm)))
            }
            (PathKind::Login, Method::Post) => {
                self.needed_origin(head, realm, asked)?;
                let submission = form::Submission::new(head, realm)?;
                self.open_for_new(asked)?;
                Ok(Visit::Post(body_length(head)?, Posted::Login(submission)))
            }
            (PathKind::Logout, Method::Post) => {
                self.needed_origin(head, realm, asked)?;
                let session = session_cookie(head, realm);
                let posted = Posted::Logout(Arc::clone(realm), session);
                Ok(Visit::Post(body_length(head)?, posted))
            }
            (PathKind::Ticket, Method::Post) => {
                let origin = self.cross_origin(head, realm, asked)?;
                let length = body_length(head)?;
                let order = self.ticket_order(now, head, realm, origin, asked)?;
                self.open_for_new(asked)?;
                Ok(Visit::Post(length, Posted::Ticket(Box::new(order))))
            }
            (PathKind::Renewal, Method::Post) => {
                self.cross_origin(head, realm, asked)?;
                let length = body_length(head)?;
                let renewal = self.renewal(now, head, realm, asked)?;
                Ok(Visit::Post(length, Posted::Renewal(Box::new(renewal))))
            }
            (PathKind::Ticket | PathKind::Renewal, Method::Options) => {
                let origin = self.cross_origin(head, realm, asked)?;
                let reply = Reply::new(Status::NoContent).field("Allow", path.kind.methods());
                Ok(Visit::Answer(match origin {
                    Some(_) => reply
                        .field("Access-Control-Allow-Methods", "POST")
                        .field(
                            "Access-Control-Allow-Headers",
                            "authorization, content-type, countersign-socket",
                        )
                        .field("Access-Control-Max-Age", PREFLIGHT_AGE),
                    None => reply,
                }))
            }
            (PathKind::Login | PathKind::Logout, Method::Options)
            | (PathKind::Logout | PathKind::Ticket | PathKind::Renewal, Method::Get | Method::Head)
            | (
                PathKind::Login | PathKind::Logout | PathKind::Ticket | PathKind::Renewal,
                Method::Put | Method::Delete | Method::Connect | Method::Trace | Method::Patch,
            ) => Err((Reply::method_not_allowed(path.kind.methods()), Reason::BadMethod)),
        }
    }

    /// Acts on a request whose body is complete.
    pub(super) fn posted(&mut self, now: Now, asked: Asked, posted: Posted, body: &[u8]) {
        match posted {
            Posted::Login(submission) => self.log_in(now, asked, submission, body),
            Posted::Logout(realm, session) => self.log_out(now, asked, &realm, session.as_ref()),
            Posted::Ticket(order) => self.order_ticket(now, asked, *order, body),
            Posted::Renewal(renewal) => self.begin_renewal(now, asked, *renewal),
            Posted::Revocation => self.revoke(now, &asked, body),
        }
    }

    /// Nothing begins while the gateway shuts down.
    fn open_for_new(&self, asked: &mut Asked) -> Result<(), Refusal> {
        asked.trace.begin(Check::Available);
        if self.gateway().is_draining() {
            return Err(self.draining());
        }
        Ok(())
    }

    /// Returns the Origin, if there is one and it may use the realm's own paths (R11).
    fn allowed_origin(
        &self,
        head: &RequestHead,
        realm: &Realm,
        asked: &mut Asked,
    ) -> Result<Option<(Origin, String)>, Refusal> {
        asked.trace.begin(Check::Origin);
        let forbidden = || (Reply::closing(Status::Forbidden), Reason::BadOrigin);
        let text = match head.fields().single("origin") {
            Ok(None) => return Ok(None),
            Ok(Some(text)) => text,
            Err(FieldError::Duplicate) => {
                return Err((Reply::closing(Status::BadRequest), Reason::BadOrigin));
            }
            Err(FieldError::NotText) => return Err(forbidden()),
        };
        let origin = Origin::parse(text.as_bytes()).map_err(|_| forbidden())?;
        let server = self.server().ok_or_else(forbidden)?;
        if server.allows_at(realm, &origin, self.peer.local.port()) {
            Ok(Some((origin, text.to_owned())))
        } else {
            Err(forbidden())
        }
    }

    /// A form that changes something is sent by a page, and every browser says by which. To a page of
    /// another site even an allowed Origin is of no use: neither of our cookies would come along (R16).
    fn needed_origin(&self, head: &RequestHead, realm: &Realm, asked: &mut Asked) -> Result<(), Refusal> {
        let forbidden = (Reply::closing(Status::Forbidden), Reason::BadOrigin);
        let origin = self.allowed_origin(head, realm, asked)?;
        if is_from_another_site(head) {
            return Err(forbidden);
        }
        if origin.is_none() {
            asked.trace.begin(Check::MissingOrigin);
            return Err(forbidden);
        }
        Ok(())
    }

    /// The page is there for who goes to it, not for pages elsewhere that fetch or frame it (R11).
    fn page_origin(&self, head: &RequestHead, realm: &Realm, asked: &mut Asked) -> Result<(), Refusal> {
        let forbidden = (Reply::closing(Status::Forbidden), Reason::BadOrigin);
        if self.allowed_origin(head, realm, asked)?.is_some() {
            return Ok(());
        }
        if is_fetched_from_elsewhere(head) {
            return Err(forbidden);
        }
        Ok(())
    }

    /// Judges the Origin of a request that pages of other origins may make, and lets the answer say so.
    fn cross_origin(
        &self,
        head: &RequestHead,
        realm: &Realm,
        asked: &mut Asked,
    ) -> Result<Option<Origin>, Refusal> {
        let Some((origin, text)) = self.allowed_origin(head, realm, asked)? else {
            return Ok(None);
        };
        asked.cors = Some(Cors {
            origin: text,
            credentials: realm.origins.allow_credentials(&origin),
        });
        Ok(Some(origin))
    }

    /// Adds what every page of ours has (R17).
    pub(super) fn hardened(&self, reply: Reply) -> Reply {
        let reply = reply.field("X-Content-Type-Options", "nosniff");
        match self.server().and_then(|server| server.hsts) {
            Some(age) => reply.field("Strict-Transport-Security", format!("max-age={}", age.as_secs())),
            None => reply,
        }
    }
}

/// Returns what the session's cookie of `realm` holds; nothing if there are two.
pub(super) fn session_cookie(head: &RequestHead, realm: &Realm) -> Option<Secret<Vec<u8>>> {
    let form = realm.form.as_ref()?;
    let mut found = cookies(head.fields(), &form.cookie).filter(|value| !value.is_empty());
    match (found.next(), found.next()) {
        (Some(value), None) => Some(Secret::new(value.to_vec())),
        (_, Some(_)) | (None, None) => None,
    }
}
