//! The third state: the socket is open, until its Close, its stream, or its right ends.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{Connection, State};
use crate::auth::grant::Grant;
use crate::auth::realm::Realm;
use crate::gateway::{Ended, Membership, OpenSocket, Proof};
use crate::leg::Leg;
use crate::legs::Legs;
use crate::note::{Closed, Note, RequestId};
use crate::rules::Service as ServiceRules;
use crate::service::{Context, Ended as NoService, LegEvent, Service, Tally};
use crate::time::{Deadline, Moment, Now};
use crate::timers::Timer;
use crate::ws::{self, Close, Event, Session};

/// How much earlier the wall clock has to want a deadline before the timer is moved for it: the two
/// clocks are read one after the other and never agree to the nanosecond.
const CLOCK_SLACK: Duration = Duration::from_millis(100);

/// How often a socket tells its session that it is used: far less than what makes one unused.
const SESSION_NEWS: Duration = Duration::from_secs(60);

/// An open socket and the protocol on it.
#[derive(Debug)]
pub(super) struct Serving {
    session: Session,
    socket: Socket,
}

/// An open socket: who it serves, by what, and until when.
struct Socket {
    service: Box<dyn Service>,
    rules: Arc<ServiceRules>,
    grant: Grant,
    request: RequestId,
    opened: Moment,
    /// When the right to the socket ends, and what it is told then.
    ends: Option<(Deadline, Close)>,
    /// When a message passed last.
    used: Moment,
    /// When the client was heard of last.
    heard: Moment,
    /// A Ping was sent and nothing was heard since.
    pinged: bool,
    /// Our Close was sent.
    closing: Option<Close>,
    received: Tally,
    sent: Tally,
    /// Its places among the sockets of the sessions that it came by.
    memberships: Vec<Membership>,
    /// When the sessions were told last that they are used.
    told: Moment,
    _counted: OpenSocket,
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("service", &self.rules.name)
            .field("closing", &self.closing)
            .finish_non_exhaustive()
    }
}

impl Serving {
    pub(super) fn wants_read(&self) -> bool {
        !self.session.is_blocked() && self.socket.service.takes_messages()
    }

    /// Returns when the service wants to be called.
    pub(super) fn deadline(&self) -> Option<Moment> {
        self.socket.service.deadline()
    }

    /// Takes note of how much still waits for the client.
    pub(super) fn settle(&mut self, waiting: usize) {
        self.session.settle(waiting);
    }
}

impl Socket {
    /// Calls the service, and returns the Close that it wants.
    fn call(
        &mut self,
        now: Now,
        legs: &mut Legs,
        call: impl FnOnce(&mut dyn Service, &mut Context<'_>),
    ) -> Option<Close> {
        let mut close = None;
        let mut context = Context {
            now,
            grant: &self.grant,
            legs,
            sent: &mut self.sent,
            close: &mut close,
        };
        call(self.service.as_mut(), &mut context);
        close
    }
}

impl Connection {
    /// Opens the socket. The 101 has been queued.
    pub(super) fn serve(
        &mut self,
        now: Now,
        request: RequestId,
        rules: Arc<ServiceRules>,
        path: &str,
        proof: Proof,
        (counted, memberships): (OpenSocket, Vec<Membership>),
    ) {
        let Proof { grant, sessions, .. } = proof;
        let by_token = grant.expires.map(|deadline| (deadline, Close::TokenExpired));
        // Under a session the time counts from its login, else from the upgrade.
        let logged_in = |realm: &Arc<Realm>| sessions.iter().any(|session| session.is_of(&realm.name));
        let elsewhere = rules.realms().filter(|realm| !logged_in(realm));
        let timeouts = elsewhere.filter_map(|realm| realm.session_timeout);
        let by_session = sessions
            .iter()
            .map(|session| session.ends())
            .chain(timeouts.map(|timeout| Deadline::after(timeout, now)))
            .map(|deadline| (deadline, Close::SessionTimeout));
        let ends = by_token
            .into_iter()
            .chain(by_session)
            .min_by_key(|(deadline, _)| deadline.unix);
        self.timers.stop_all();
        if let Some((deadline, _)) = ends {
            self.timers.set(Timer::Expiry, deadline.moment(now));
        }
        if let Some(idle) = rules.idle_timeout {
            self.timers.set(Timer::Idle, now.at.after(idle));
        }
        self.timers.set(Timer::Ping, now.at.after(rules.ping_interval));
        let session = Session::new(self.rules.limits.message_bytes);
        let mut socket = Socket {
            service: self.gateway().service(&rules, &grant, path, &self.admission),
            rules,
            grant,
            request,
            opened: now.at,
            ends,
            used: now.at,
            heard: now.at,
            pinged: false,
            closing: None,
            received: Tally::default(),
            sent: Tally::default(),
            memberships,
            told: now.at,
            _counted: counted,
        };
        let close = socket.call(now, &mut self.legs, |service, context| service.opened(context));
        self.state = State::Serving(Box::new(Serving { session, socket }));
        if let Some(close) = close {
            self.end_socket(now, close);
        }
        if self.legs.client().eof && self.pending.is_empty() {
            self.socket_ended(now, 1006, "");
            self.begin_close(now);
        }
    }

    /// Takes in what the client sent.
    pub(super) fn serve_bytes(&mut self, now: Now, bytes: &[u8]) {
        self.with_session(now, |session, memory, legs, on_event| {
            session.receive(bytes, memory, legs, on_event);
        });
        if let State::Serving(serving) = &mut self.state {
            serving.socket.heard = now.at;
            serving.socket.pinged = false;
        }
        if self.legs.client().eof && self.pending.is_empty() && matches!(self.state, State::Serving(_)) {
            self.socket_ended(now, 1006, "");
            self.begin_close(now);
        }
    }

    /// Runs `act` on the session and carries out what comes out of it.
    fn with_session(
        &mut self,
        now: Now,
        act: impl FnOnce(
            &mut Session,
            (&Arc<crate::budget::Memory>, &Arc<crate::bell::Bell>),
            &mut Legs,
            &mut dyn FnMut(Event, &mut Legs),
        ),
    ) {
        let State::Serving(mut serving) = std::mem::replace(&mut self.state, State::Closed) else {
            return;
        };
        let Serving { session, socket } = &mut *serving;
        let (mut wanted, mut ended) = (None, None);
        let memory = (self.admission.gateway().memory(), self.admission.bell());
        act(session, memory, &mut self.legs, &mut |event, legs| match event {
            Event::Message(message) => {
                socket.used = now.at;
                socket.received.messages += 1;
                socket.received.bytes += message.payload().len() as u64;
                // What arrives after our Close, or after the service has asked for it, is nobody's.
                if socket.closing.is_none() && wanted.is_none() {
                    wanted = socket.call(now, legs, |service, context| service.message(context, message));
                }
            }
            Event::Closed(code) => ended = Some((code, "")),
            Event::Fault(close) => ended = Some((close.code(), close.reason())),
            Event::Blocked => {}
        });
        // A message to which nothing was answered leaves nothing to wait for.
        session.settle(self.legs.client().out.len());
        let blocked = session.is_blocked();
        self.state = State::Serving(serving);
        if blocked {
            if self.timers.get(Timer::Memory).is_none() {
                let at = now.at.after(self.rules.limits.stall_timeout);
                self.timers.set(Timer::Memory, at);
            }
        } else {
            self.timers.stop(Timer::Memory);
        }
        if let Some((code, reason)) = ended {
            self.socket_ended(now, code, reason);
            self.begin_close(now);
        } else if let Some(close) = wanted {
            self.end_socket(now, close);
        }
    }

    /// Hands what happened on another leg to the service.
    pub(super) fn leg_event(&mut self, now: Now, leg: Leg, event: LegEvent<'_>) {
        if self.legs.get(leg).is_none() {
            return;
        }
        if matches!(self.state, State::Fetching(_)) {
            return self.fetch_event(now, leg, event);
        }
        let State::Serving(serving) = &mut self.state else {
            return self.keeper_event(now, leg, event);
        };
        let close = serving.socket.call(now, &mut self.legs, |service, context| {
            service.leg(context, leg, event)
        });
        if let Some(close) = close {
            self.end_socket(now, close);
        }
    }

    /// What is due on an open socket by either clock, by memory that came back, or by a shutdown.
    pub(super) fn tick_serve(&mut self, now: Now) {
        let draining = self.gateway().is_draining();
        let State::Serving(serving) = &self.state else {
            return;
        };
        if serving.session.is_blocked() {
            self.with_session(now, |session, memory, legs, on_event| {
                session.retry(memory, legs, on_event)
            });
        }
        let State::Serving(serving) = &self.state else {
            return;
        };
        if serving.socket.closing.is_some() {
            return;
        }
        if let Some((deadline, close)) = serving.socket.ends {
            if deadline.is_due(now) {
                return self.end_socket(now, close);
            }
            let by_wall = deadline.moment(now);
            let at = if by_wall.after(CLOCK_SLACK) < deadline.at {
                by_wall
            } else {
                deadline.at
            };
            self.timers.set(Timer::Expiry, at);
        }
        if let Some(close) = self.tick_session(now) {
            return self.end_socket(now, close);
        }
        if draining {
            return self.end_socket(now, Close::ShuttingDown);
        }
        self.tell_service(now);
    }

    /// Lets the service send what others have left for it.
    fn tell_service(&mut self, now: Now) {
        let State::Serving(serving) = &mut self.state else {
            return;
        };
        let socket = &mut serving.socket;
        let before = socket.sent.messages;
        let close = socket.call(now, &mut self.legs, |service, context| service.rung(context));
        if socket.sent.messages > before {
            socket.used = now.at;
        }
        if let Some(close) = close {
            self.end_socket(now, close);
        }
    }

    /// Looks whether a session that the socket came by has ended, and tells them that they are used.
    fn tick_session(&mut self, now: Now) -> Option<Close> {
        let gateway = Arc::clone(self.gateway());
        let State::Serving(serving) = &mut self.state else {
            return None;
        };
        let socket = &mut serving.socket;
        if let Some(ended) = socket.memberships.iter().find_map(Membership::ended) {
            return Some(match ended {
                Ended::LoggedOut => Close::LoggedOut,
                Ended::Dropped => Close::Revoked,
            });
        }
        if now.at >= socket.told.after(SESSION_NEWS) {
            socket.told = now.at;
            for membership in &socket.memberships {
                gateway.sessions().used(membership, now);
            }
        }
        None
    }

    /// No message for a while, perhaps.
    pub(super) fn look_for_idleness(&mut self, now: Now) {
        let State::Serving(serving) = &self.state else {
            return;
        };
        let Some(idle) = serving.socket.rules.idle_timeout else {
            return;
        };
        let due = serving.socket.used.after(idle);
        if due > now.at {
            self.timers.set(Timer::Idle, due);
        } else {
            self.end_socket(now, Close::Idle);
        }
    }

    /// Nothing was heard for a while, perhaps: a Ping is sent, and the next time it is the end.
    pub(super) fn look_for_life(&mut self, now: Now) {
        let taking = !self.legs.client().out.is_empty();
        let State::Serving(serving) = &mut self.state else {
            return;
        };
        let interval = serving.socket.rules.ping_interval;
        let due = serving.socket.heard.after(interval);
        if due > now.at {
            self.timers.set(Timer::Ping, due);
        } else if taking {
            // A Pong would come behind all that, and may not even be read; until the client has taken
            // it, the stall timer watches over its life.
            self.timers.set(Timer::Ping, now.at.after(interval));
        } else if serving.socket.pinged {
            self.end_socket(now, Close::Idle);
        } else {
            serving.socket.pinged = true;
            ws::ping(self.legs.client_out());
            self.timers.set(Timer::Ping, now.at.after(interval));
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
        // Others must not wait for who is not called any more.
        serving.socket.service = Box::new(NoService);
        serving.session.close(close, self.legs.client_out());
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
        self.notes.push_back(Note::Closed(Box::new(Closed {
            server: Arc::clone(&server.id),
            service: Arc::clone(&serving.socket.rules.name),
            code,
            reason,
            request: serving.socket.request,
            duration: at.since(serving.socket.opened),
            messages_in: serving.socket.received.messages,
            messages_out: serving.socket.sent.messages,
            bytes_in: serving.socket.received.bytes,
            bytes_out: serving.socket.sent.bytes,
        })));
    }
}
