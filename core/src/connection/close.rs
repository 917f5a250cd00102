//! The end: what is left is sent, our side of the stream ends, and what the client still sends is
//! discarded until it ends its side. A close with unread input would send a reset, and the client
//! would lose the answer (RFC 9112 section 9.6).

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use super::socket::Wire;
use super::{Connection, State};
use crate::leg::Leg;
use crate::note::{Closed, Note};
use crate::service::Ended as NoService;
use crate::time::{Moment, Now};
use crate::timers::Timer;
use crate::ws::Close;

/// The most that is read and discarded after the last answer, in bytes.
pub(super) const DISCARD_LIMIT: usize = 256 * 1024;

/// How long a client whose answer is out is waited for while the gateway shuts down: a client that
/// never ends its side must not hold up the exit.
const DRAIN_LINGER: Duration = Duration::from_secs(1);

/// The last state before [`State::Closed`].
#[derive(Debug, Default)]
pub(super) struct Closing {
    discarded: usize,
}

impl Closing {
    /// Counts discarded bytes; says whether they are too many.
    pub(super) const fn discard(&mut self, n: usize) -> bool {
        self.discarded = self.discarded.saturating_add(n);
        self.discarded > DISCARD_LIMIT
    }
}

impl Connection {
    /// Sends what is left, then ends the stream; bounded by `closeTimeout` in all.
    pub(super) fn begin_close(&mut self, now: Now) {
        if matches!(self.state, State::Closing(_) | State::Closed) {
            return;
        }
        if !self.secured {
            // There is no stream yet whose end could be told in order.
            return self.over();
        }
        self.legs.end_others();
        self.legs.hang_up(Leg::CLIENT);
        self.timers.stop_all();
        let at = now.at.after(self.rules.limits.close_timeout);
        self.timers.set(Timer::Close, at);
        self.job = None;
        let mut closing = Closing::default();
        let behind = std::mem::take(&mut self.pending);
        self.state = if closing.discard(behind.len()) {
            State::Closed
        } else {
            State::Closing(closing)
        };
    }

    pub(super) fn tick_close(&mut self, now: Now) {
        if self.legs.others_waiting() > 0 {
            return;
        }
        let client = self.legs.client();
        // Letting go of a stream that both sides are done with ends it in order: only TLS has more to say.
        let told = self.legs.client_hung_up() || (client.out.is_empty() && !self.speaks_tls());
        if told && client.eof {
            return self.over();
        }
        if !self.legs.client_hung_up() {
            return;
        }
        let latest = now.at.after(DRAIN_LINGER);
        let waits_longer = self.timers.get(Timer::Close).is_some_and(|at| at > latest);
        if waits_longer && self.gateway().is_draining() {
            self.timers.set(Timer::Close, latest);
        }
    }

    /// Says whether TLS is spoken with the client.
    fn speaks_tls(&self) -> bool {
        self.server().is_some_and(|server| server.tls.is_some())
    }

    /// The client has not ended its side, or has not taken what was left, in time.
    pub(super) fn close_is_late(&mut self, now: Now) {
        match &self.state {
            State::Serving(_) => self.give_up_handshake(now),
            State::Preface(_)
            | State::Head(_)
            | State::Body(_)
            | State::Checking(_)
            | State::Opening(_)
            | State::Fetching(_)
            | State::Awaiting(_)
            | State::Closing(_)
            | State::Keeping(_)
            | State::Closed => {
                self.over();
            }
        }
    }

    /// Sends our Close and waits for the client's, at most `closeTimeout`.
    pub(super) fn end_socket(&mut self, now: Now, close: Close) {
        let State::Serving(serving) = &mut self.state else {
            return;
        };
        if serving.socket.closing.is_some() {
            return;
        }
        serving.socket.closing = Some(close);
        // Whoever renews it now renews nothing, and is to be told so.
        serving.socket.registration = None;
        // Others must not wait for who is not called any more.
        serving.socket.service = Box::new(NoService);
        match &mut serving.wire {
            Wire::Session(session) => session.close(close, self.legs.client_out()),
            Wire::Relay(_) => return self.end_relay(now, close),
        }
        self.legs.let_go_of_others();
        self.timers.stop_all();
        let at = now.at.after(self.rules.limits.close_timeout);
        self.timers.set(Timer::Close, at);
        // A client that takes nothing does not answer either, and one whose message waits for memory
        // is not read: neither is waited for.
        if matches!(close, Close::SlowConsumer) {
            self.socket_ended(now, close.code(), close.reason());
            self.begin_close(now);
        }
    }

    /// The client has not answered our Close in time.
    pub(super) fn give_up_handshake(&mut self, now: Now) {
        if self.is_relaying() {
            return self.give_up_relay(now);
        }
        let State::Serving(serving) = &self.state else {
            return;
        };
        let close = serving.socket.closing.unwrap_or(Close::Internal);
        self.note_closed(now.at, close.code(), close.reason().into());
        self.over();
    }

    /// Writes the `closed` line, if a socket is open.
    pub(super) fn socket_ended(&mut self, now: Now, code: u16, reason: &'static str) {
        if let State::Serving(serving) = &self.state {
            let (code, reason) = match serving.socket.closing {
                Some(close) => (close.code(), close.reason()),
                None => (code, reason),
            };
            self.note_closed(now.at, code, reason.into());
        }
    }

    fn note_closed(&mut self, at: Moment, code: u16, reason: Cow<'static, str>) {
        let (State::Serving(serving), Some(server)) = (&self.state, self.server()) else {
            return;
        };
        let closed = Box::new(Closed {
            server: Arc::clone(&server.id),
            service: Arc::clone(&serving.socket.rules.name),
            code,
            reason,
            request: serving.socket.request,
            duration: at.since(serving.socket.opened.at),
            messages_in: serving.socket.received.messages,
            messages_out: serving.socket.sent.messages,
            bytes_in: serving.socket.received.bytes,
            bytes_out: serving.socket.sent.bytes,
        });
        self.gateway().meters().closed(&closed);
        self.notes.push_back(Note::Closed(closed));
    }
}
