//! The end: what is left is sent, our side of the stream ends, and what the client still sends is
//! discarded until it ends its side. A close with unread input would send a reset, and the client
//! would lose the answer (RFC 9112 section 9.6).

use super::{Connection, State};
use crate::leg::Leg;
use crate::time::Now;
use crate::timers::Timer;

/// The most that is read and discarded after the last answer, in bytes.
pub(super) const DISCARD_LIMIT: usize = 256 * 1024;

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

    pub(super) fn tick_close(&mut self) {
        if self.legs.client_hung_up() && self.legs.client().eof && self.legs.others_waiting() == 0 {
            self.over();
        }
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
}
