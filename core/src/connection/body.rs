//! Between head and check, for the few requests that have one: the body arrives. Only a realm's own
//! paths take bodies, and all of them are small.

use std::fmt;

use zeroize::Zeroizing;

use super::answer::Asked;
use super::head::Refusal;
use super::paths::Posted;
use super::{Connection, State};
use crate::http::{BodyLength, Reply, RequestHead, Status, Version};
use crate::reason::Reason;
use crate::time::Now;
use crate::timers::Timer;

/// Largest body, in bytes: a name, a password of the longest kind and a local path, all escaped.
pub(super) const BODY_LIMIT: usize = 8 * 1024;

/// A request whose body is arriving.
pub(super) struct Receiving {
    asked: Asked,
    posted: Posted,
    closes: bool,
    length: usize,
    body: Zeroizing<Vec<u8>>,
}

/// Shows how much has arrived, never what: a password is among it.
impl fmt::Debug for Receiving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiving")
            .field("posted", &self.posted)
            .field("length", &self.length)
            .field("arrived", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// Returns the length of the body of `head`, in bytes.
///
/// # Errors
/// 413 over [`BODY_LIMIT`]; 411 for a body in chunks, which no browser sends and whose framing would
/// be a second way to say where the next request begins (RFC 9112 section 6.3).
pub(super) fn body_length(head: &RequestHead) -> Result<usize, Refusal> {
    let refuse = |status| (Reply::closing(status), Reason::BadRequest);
    match head.body() {
        BodyLength::None => Ok(0),
        BodyLength::Length(length) => usize::try_from(length)
            .ok()
            .filter(|length| *length <= BODY_LIMIT)
            .ok_or_else(|| refuse(Status::ContentTooLarge)),
        BodyLength::Chunked => Err(refuse(Status::LengthRequired)),
    }
}

impl Connection {
    /// Waits for the body of `posted`, which has `length` bytes.
    pub(super) fn receive(
        &mut self,
        now: Now,
        mut asked: Asked,
        head: &RequestHead,
        length: usize,
        posted: Posted,
    ) {
        let closes = head.wants_close();
        // No offer to upgrade is taken up here: what stands behind the body is the next request.
        asked.upgrade = false;
        if length == 0 {
            asked.closes = closes;
            return self.posted(now, asked, posted, &[]);
        }
        // RFC 9110 section 10.1.1. Sent even if the body is here already: what is answered must not
        // depend on how the bytes were split.
        if head.fields().has_token("expect", "100-continue") && head.version() == Version::Http11 {
            let proceed = b"HTTP/1.1 100 Continue\r\n\r\n";
            self.legs.client_out().extend(proceed);
        }
        self.timers
            .set(Timer::Body, now.at.after(self.rules.limits.head_timeout));
        self.state = State::Body(Box::new(Receiving {
            asked,
            posted,
            closes,
            length,
            body: Zeroizing::new(Vec::with_capacity(length)),
        }));
    }

    /// Takes in bytes while a body is awaited. What follows it is kept for the next request.
    pub(super) fn body_bytes(&mut self, now: Now, bytes: &[u8]) {
        let State::Body(receiving) = &mut self.state else {
            return;
        };
        let missing = receiving.length.saturating_sub(receiving.body.len());
        let (body, behind) = bytes.split_at_checked(missing).unwrap_or((bytes, &[]));
        receiving.body.extend_from_slice(body);
        if receiving.body.len() < receiving.length {
            return;
        }
        self.pending = behind.to_vec();
        self.timers.stop(Timer::Body);
        let State::Body(receiving) =
            std::mem::replace(&mut self.state, State::Head(Self::scanner(&self.rules)))
        else {
            return;
        };
        let Receiving {
            mut asked,
            posted,
            closes,
            body,
            ..
        } = *receiving;
        // Everything up to here was read: another request can follow.
        asked.closes = closes;
        self.posted(now, asked, posted, &body);
    }

    /// A peer that has shut down its writing side completes no body.
    pub(super) fn tick_body(&mut self, now: Now) {
        if self.legs.client().eof && self.pending.is_empty() {
            self.give_up_body(now, Status::BadRequest);
        }
    }

    /// The body has not arrived in time.
    pub(super) fn body_is_late(&mut self, now: Now) {
        self.give_up_body(now, Status::RequestTimeout);
    }

    fn give_up_body(&mut self, now: Now, status: Status) {
        if !matches!(self.state, State::Body(_)) {
            return;
        }
        let before = State::Head(Self::scanner(&self.rules));
        if let State::Body(receiving) = std::mem::replace(&mut self.state, before) {
            self.answer(now, &receiving.asked, Reply::closing(status), Reason::BadRequest);
        }
    }
}
