//! A service that is read by GET: the last value of a data point.

use bytes::Bytes;

use super::Connection;
use super::answer::Asked;
use super::head::{RETRY_AFTER, Refusal};
use crate::config::ServiceKind;
use crate::http::upgrade::Key;
use crate::http::{Method, Reply, RequestHead, Status};
use crate::reason::Reason;
use crate::rules::Service;
use crate::service::{UNWRITTEN, claimed};

/// What a request to a service is for.
#[derive(Debug)]
pub(super) enum Goal {
    /// A WebSocket; the Sec-WebSocket-Key, which is answered only if it is granted.
    Socket { key: Key },
    /// The last value of a data point.
    Read,
    /// A file; the service is reached at so many first bytes of the path.
    File { at: usize },
}

impl Goal {
    /// Says whether it is something to read, and not a socket.
    pub(super) const fn is_read(&self) -> bool {
        match self {
            Self::Read | Self::File { .. } => true,
            Self::Socket { .. } => false,
        }
    }
}

/// Says whether `head` is to be answered in HTTP.
///
/// # Errors
/// Its method is none for this service.
pub(super) fn is_read(head: &RequestHead, service: &Service) -> Result<bool, Refusal> {
    match (service.kind, head.method()) {
        (ServiceKind::Echo | ServiceKind::Broadcast | ServiceKind::Proxy, Method::Get) => Ok(false),
        (ServiceKind::Points, Method::Get) => Ok(!head.wants_websocket()),
        // RFC 9110 section 9.1: whoever serves GET serves HEAD. No upgrade begins with it.
        (ServiceKind::Points, Method::Head) => Ok(true),
        // RFC 9110 section 7.8: an upgrade that is not spoken here is ignored.
        (ServiceKind::Directory, Method::Get | Method::Head) => Ok(true),
        (
            ServiceKind::Directory,
            Method::Post
            | Method::Put
            | Method::Delete
            | Method::Connect
            | Method::Options
            | Method::Trace
            | Method::Patch,
        ) => Err((Reply::method_not_allowed("GET, HEAD"), Reason::BadMethod)),
        (ServiceKind::Echo | ServiceKind::Broadcast | ServiceKind::Proxy, Method::Head)
        | (
            ServiceKind::Echo | ServiceKind::Broadcast | ServiceKind::Points | ServiceKind::Proxy,
            Method::Post
            | Method::Put
            | Method::Delete
            | Method::Connect
            | Method::Options
            | Method::Trace
            | Method::Patch,
        ) => Err((Reply::method_not_allowed("GET"), Reason::BadMethod)),
    }
}

/// Says whether a page elsewhere fetches or embeds this, as browsers tell (Fetch Metadata); who goes
/// there by a link does neither.
pub(super) fn is_fetched_from_elsewhere(head: &RequestHead) -> bool {
    let elsewhere = is_from_another_site(head) || says(head, "sec-fetch-site", "same-site");
    elsewhere && !says(head, "sec-fetch-mode", "navigate")
}

/// Says whether a page of another site has sent this, as browsers tell (Fetch Metadata).
pub(super) fn is_from_another_site(head: &RequestHead) -> bool {
    says(head, "sec-fetch-site", "cross-site")
}

fn says(head: &RequestHead, field: &str, value: &str) -> bool {
    head.fields().get_all(field).any(|said| said == value.as_bytes())
}

impl Connection {
    /// Answers with the last value of the data point at `path` (R17).
    pub(super) fn point(&self, service: &Service, path: &str, asked: &Asked) -> (Reply, Reason) {
        let Some(name) = service.points.get(path) else {
            return (Reply::closing(Status::InternalServerError), Reason::Internal);
        };
        let gateway = self.gateway();
        let unwritten = || Bytes::from_static(UNWRITTEN.as_bytes());
        let state = gateway.hub().state(name).unwrap_or_else(unwritten);
        let Some(state) = claimed(state, gateway.memory(), self.admission.bell()) else {
            let reply = Reply::closing(Status::ServiceUnavailable).retry_after(RETRY_AFTER);
            return (reply, Reason::Unavailable);
        };
        let reply = Reply::new(Status::Ok).shared_content("application/json", state);
        // With a credential in the query the answer is not to be stored at all, which is said already.
        let reply = if asked.query_carrier {
            reply
        } else {
            reply.field("Cache-Control", "private, no-cache")
        };
        let reply = self.hardened(reply.field("Vary", "Authorization, Cookie"));
        (reply, Reason::Granted)
    }
}
