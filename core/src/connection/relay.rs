//! An open socket behind a proxy: bytes go from leg to leg as they are. Where the upstream's frames end
//! is known, so that a Close of ours, or a Ping, stands between two of them and never in one.

use super::socket::Wire;
use super::{Connection, State};
use crate::leg::{Leg, LegEvent};
use crate::service::relay::Boundary;
use crate::time::{Moment, Now};
use crate::timers::Timer;
use crate::ws::{self, Close};

/// The close code of a stream that ended without a Close (RFC 6455 section 7.1.5).
const ABNORMAL: u16 = 1006;

/// The two directions of one relayed socket.
#[derive(Debug)]
pub(super) struct Relay {
    pub(super) leg: Leg,
    /// Where the upstream's frames end.
    from_upstream: Boundary,
    /// Where the client's frames end: a Pong is no use of the socket.
    from_client: Boundary,
    /// A Ping waits for the end of the upstream's frame.
    ping: bool,
    /// When the upstream sent something last.
    moved: Moment,
}

impl Relay {
    /// A relay to an upstream that has accepted.
    pub(super) fn new(leg: Leg, now: Now) -> Self {
        Self {
            leg,
            from_upstream: Boundary::default(),
            from_client: Boundary::default(),
            ping: false,
            moved: now.at,
        }
    }
}

impl Connection {
    /// Hands on what the client sent.
    pub(super) fn relay_bytes(&mut self, now: Now, bytes: &[u8]) {
        let State::Serving(serving) = &mut self.state else {
            return;
        };
        let (Wire::Relay(relay), socket) = (&mut serving.wire, &mut serving.socket) else {
            return;
        };
        // What comes when the right has ended is for nobody.
        if socket.closing.is_some() {
            return;
        }
        socket.heard = now.at;
        socket.pinged = false;
        relay.ping = false;
        socket.received.bytes += bytes.len() as u64;
        let mut rest = bytes;
        while !rest.is_empty() {
            let used = relay.from_client.to_end(rest);
            rest = rest.get(used..).unwrap_or_default();
            if !relay.from_client.is_pong() {
                socket.used = now.at;
            }
        }
        self.legs.write(relay.leg, bytes);
    }

    /// What happened on the upstream's leg.
    pub(super) fn relay_event(&mut self, now: Now, leg: Leg, event: LegEvent<'_>) {
        match event {
            LegEvent::Data(bytes) => self.relay_back(now, leg, bytes),
            LegEvent::Eof | LegEvent::Broken(_) | LegEvent::Failed(_) => {
                let State::Serving(serving) = &self.state else {
                    return;
                };
                let Wire::Relay(relay) = &serving.wire else { return };
                let code = relay.from_upstream.closed().unwrap_or(ABNORMAL);
                self.socket_ended(now, code, "");
                self.begin_close(now);
            }
            LegEvent::Opened(_) | LegEvent::Secured(_) => {}
        }
    }

    /// Hands on what the upstream sent: all of it, or up to the end of the frame if the right has ended.
    fn relay_back(&mut self, now: Now, leg: Leg, bytes: &[u8]) {
        let close_timeout = self.rules.limits.close_timeout;
        let State::Serving(serving) = &mut self.state else {
            return;
        };
        let (Wire::Relay(relay), socket) = (&mut serving.wire, &mut serving.socket) else {
            return;
        };
        if relay.leg != leg {
            return;
        }
        relay.moved = now.at;
        socket.used = now.at;
        let out = self.legs.client_out();
        let mut rest = bytes;
        let mut ended = false;
        while !rest.is_empty() && !ended {
            let used = if socket.closing.is_some() || relay.ping {
                relay.from_upstream.to_end(rest)
            } else {
                relay.from_upstream.pass(rest);
                rest.len()
            };
            let (now_on, later) = rest.split_at_checked(used).unwrap_or((rest, &[]));
            out.extend(now_on);
            socket.sent.bytes += now_on.len() as u64;
            rest = later;
            if relay.from_upstream.is_here() {
                ended = socket.closing.is_some();
                if std::mem::take(&mut relay.ping) && !ended && relay.from_upstream.closed().is_none() {
                    ws::ping(out);
                    socket.pinged = true;
                    // The answer has as long as one to a Ping that did not wait.
                    let at = now.at.after(socket.rules.ping_interval);
                    self.timers.set(Timer::Ping, at);
                }
            }
        }
        let closed = relay.from_upstream.closed().is_some();
        if ended {
            self.finish_relay(now);
        } else if closed && self.timers.get(Timer::Close).is_none() {
            // Both sides have only to answer and to go now.
            self.timers.set(Timer::Close, now.at.after(close_timeout));
        }
    }

    /// The right has ended for the reason `close`: nothing of the client's goes on from here, and its
    /// Close follows the frame that is under way.
    pub(super) fn end_relay(&mut self, now: Now, close: Close) {
        let State::Serving(serving) = &mut self.state else {
            return;
        };
        let Wire::Relay(relay) = &serving.wire else { return };
        let here = relay.from_upstream.is_here();
        if let Some(upstream) = self.legs.get_mut(relay.leg) {
            upstream.out.clear();
        }
        self.timers.stop_all();
        if here {
            self.finish_relay(now);
        } else if close == Close::SlowConsumer {
            // A client that takes nothing does not take the end of the frame either.
            self.socket_ended(now, close.code(), close.reason());
            self.begin_close(now);
        } else {
            let at = now.at.after(self.rules.limits.close_timeout);
            self.timers.set(Timer::Close, at);
        }
    }

    /// Sends our Close between two frames, unless the upstream's was handed on already, and ends both
    /// legs.
    fn finish_relay(&mut self, now: Now) {
        let State::Serving(serving) = &self.state else {
            return;
        };
        let (Wire::Relay(relay), Some(close)) = (&serving.wire, serving.socket.closing) else {
            return;
        };
        let leg = relay.leg;
        if relay.from_upstream.closed().is_none() {
            ws::close(close, self.legs.client_out());
        }
        self.legs.let_go(leg);
        self.socket_ended(now, close.code(), close.reason());
        self.begin_close(now);
    }

    /// The closing took too long: a frame that does not end, or a side that does not go.
    pub(super) fn give_up_relay(&mut self, now: Now) {
        let State::Serving(serving) = &self.state else {
            return;
        };
        let Wire::Relay(relay) = &serving.wire else { return };
        let code = relay.from_upstream.closed().unwrap_or(ABNORMAL);
        let leg = relay.leg;
        let in_frame = serving.socket.closing.is_some();
        self.legs.let_go(leg);
        self.socket_ended(now, code, "");
        if in_frame {
            self.over();
        } else {
            self.begin_close(now);
        }
    }

    /// The client has shut down its writing side: the upstream is told, and has a little time to say
    /// what is left.
    pub(super) fn relay_client_eof(&mut self, now: Now) {
        let State::Serving(serving) = &self.state else {
            return;
        };
        let Wire::Relay(relay) = &serving.wire else { return };
        self.legs.hang_up(relay.leg);
        if self.timers.get(Timer::Close).is_none() {
            let at = now.at.after(self.rules.limits.close_timeout);
            self.timers.set(Timer::Close, at);
        }
    }

    /// A Ping is due: it is sent between two frames.
    pub(super) fn ping_relay(&mut self, now: Now) {
        let State::Serving(serving) = &mut self.state else {
            return;
        };
        let (Wire::Relay(relay), socket) = (&mut serving.wire, &mut serving.socket) else {
            return;
        };
        let interval = socket.rules.ping_interval;
        let unread = !self.legs.get(relay.leg).is_some_and(|leg| leg.out.is_empty());
        if relay.from_upstream.closed().is_some() || unread {
            // No Ping follows a Close, and a client that is not read cannot answer one: other timers run.
        } else if socket.pinged {
            return self.end_socket(now, Close::Idle);
        } else if relay.from_upstream.is_here() {
            socket.pinged = true;
            ws::ping(self.legs.client_out());
        } else if now.at >= relay.moved.after(interval) {
            // An upstream that does not end its frame is as silent as a client that does not answer.
            return self.end_socket(now, Close::Idle);
        } else {
            relay.ping = true;
        }
        self.timers.set(Timer::Ping, now.at.after(interval));
    }

    /// Runs the upstream's stall timer exactly while something waits for it.
    pub(super) fn watch_upstream(&mut self, now: Now) {
        let waits = matches!(self.state, State::Serving(_)) && self.legs.others_waiting() > 0;
        if !waits {
            self.timers.stop(Timer::Upstream);
        } else if self.timers.get(Timer::Upstream).is_none() {
            let at = now.at.after(self.rules.limits.stall_timeout);
            self.timers.set(Timer::Upstream, at);
        }
    }
}
