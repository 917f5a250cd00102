//! The third state: the socket is open, until its Close, its stream, or its right ends.

use std::sync::Arc;
use std::time::Duration;

use super::ends::Ends;
use super::socket::{Held, RenewedBy, Serving, Socket, Way, Wire};
use super::{Connection, State};
use crate::auth::grant::Grant;
use crate::gateway::{Ended, Membership, Proof};
use crate::leg::Leg;
use crate::legs::Legs;
use crate::note::RequestId;
use crate::rules::Service as ServiceRules;
use crate::service::relay::Unread;
use crate::service::{LegEvent, Service, Tally, Tunnel};
use crate::time::Now;
use crate::timers::Timer;
use crate::ws::{self, Close, Event, Session};

/// How often a socket tells its session that it is used: far less than what makes one unused.
const SESSION_NEWS: Duration = Duration::from_secs(60);

impl Connection {
    /// Opens the socket. The 101 has been queued.
    pub(super) fn serve(
        &mut self,
        now: Now,
        request: RequestId,
        rules: Arc<ServiceRules>,
        way: Way<'_>,
        proof: Proof,
        held: Held,
    ) {
        let authorized: Vec<_> = rules
            .realms()
            .map(|realm| (Arc::clone(&realm.name), now))
            .collect();
        let ends = Ends::of(&rules, &proof, now, &authorized, None);
        self.timers.stop_all();
        if let Some(idle) = rules.idle_timeout {
            self.timers.set(Timer::Idle, now.at.after(idle));
        }
        self.timers.set(Timer::Ping, now.at.after(rules.ping_interval));
        let session = || Wire::Session(Session::new(self.rules.limits.message_bytes));
        let mut point = None;
        let (wire, service): (Wire, Box<dyn Service>) = match way {
            Way::Served(path) => {
                point = rules.points.get(path).map(|name| Box::from(&**name));
                let gateway = self.gateway();
                let service = gateway.service(&rules, &proof.grant, path, &self.admission);
                (session(), service)
            }
            Way::Relay(relay) => (Wire::Relay(relay), Box::new(Unread)),
            Way::Tunnel(leg) => (session(), Box::new(Tunnel::new(leg))),
        };
        let mut socket = Socket {
            service,
            rules,
            point,
            proof,
            request,
            opened: now,
            ends,
            used: now.at,
            heard: now.at,
            pinged: false,
            closing: None,
            received: Tally::default(),
            sent: Tally::default(),
            memberships: held.memberships,
            authorized,
            renewed: Vec::new(),
            registration: held.registration,
            told: now.at,
            revocations: held.revocations,
            _counted: held.counted,
        };
        let close = socket.call(now, &mut self.legs, |service, context| service.opened(context));
        self.state = State::Serving(Box::new(Serving { wire, socket }));
        if let Some(close) = close {
            self.end_socket(now, close);
        }
        if self.legs.client().eof && self.pending.is_empty() {
            self.socket_ended(now, 1006, "");
            self.begin_close(now);
        }
    }

    /// Goes on under new rules, which leave the client `grant`.
    pub(super) fn go_on_serving(&mut self, now: Now, rules: Arc<ServiceRules>, grant: Arc<Grant>) {
        let State::Serving(serving) = &mut self.state else {
            return;
        };
        let socket = &mut serving.socket;
        socket.rules = rules;
        socket.proof.grant = grant;
        // New rules may end it earlier; later they do not, whatever the clocks say by now.
        socket.ends = socket.ends.or(socket.ends_now());
        let idle = socket.rules.idle_timeout.map(|idle| socket.used.after(idle));
        match idle {
            Some(at) => self.timers.set(Timer::Idle, at.max(now.at)),
            None => self.timers.stop(Timer::Idle),
        }
    }

    /// Goes on with `proof`, after the client has proven by `renewed` once more who it is.
    pub(super) fn go_on_renewed(&mut self, now: Now, rules: Arc<ServiceRules>, proof: Proof, renewed: Proof) {
        let State::Serving(serving) = &mut self.state else {
            return;
        };
        let socket = &mut serving.socket;
        for (realm, _) in renewed.basis.clients() {
            let passed = socket.authorized.iter_mut().filter(|(name, _)| *name == realm);
            passed.for_each(|(_, passed)| *passed = now);
            // The sessions of the other realms hold on: each still ends what it has renewed.
            socket.renewed.retain(|by| by.realm != realm);
            let session = renewed.sessions.iter().find(|session| session.is_of(&realm));
            socket.renewed.extend(session.map(|session| RenewedBy {
                membership: session.join(self.admission.number(), self.admission.bell()),
                session: Arc::clone(session),
                realm,
            }));
        }
        // The session timeout is not moved: it counts from the opening, or from the login.
        socket.ends = Ends::default();
        let grant = Arc::clone(&proof.grant);
        socket.proof = proof;
        self.go_on_serving(now, rules, grant);
    }

    /// Takes in what the client sent.
    pub(super) fn serve_bytes(&mut self, now: Now, bytes: &[u8]) {
        if self.is_relaying() {
            return self.relay_bytes(now, bytes);
        }
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

    pub(super) fn is_relaying(&self) -> bool {
        matches!(&self.state, State::Serving(serving) if serving.is_relayed())
    }

    /// The client has shut down its writing side.
    pub(super) fn client_ended(&mut self, now: Now) {
        if self.is_relaying() {
            return self.relay_client_eof(now);
        }
        self.socket_ended(now, 1006, "");
        self.begin_close(now);
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
        let Serving { wire, socket } = &mut *serving;
        let session = match wire {
            Wire::Session(session) => session,
            Wire::Relay(_) => {
                self.state = State::Serving(serving);
                return;
            }
        };
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
        if matches!(self.state, State::Opening(_)) {
            return self.opening_event(now, leg, event);
        }
        if matches!(self.state, State::Fetching(_)) {
            return self.fetch_event(now, leg, event);
        }
        if self.is_relaying() {
            return self.relay_event(now, leg, event);
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
        let State::Serving(serving) = &self.state else {
            return;
        };
        if serving.is_blocked() {
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
        // Before the deadline is looked at, which new rules may have moved.
        if let Some(close) = self.review_socket(now) {
            return self.end_socket(now, close);
        }
        if let Some(close) = self.watch_end(now) {
            return self.end_socket(now, close);
        }
        // Behind the deadline: what has ended is not renewed.
        if let Some(close) = self.take_renewal(now) {
            return self.end_socket(now, close);
        }
        if let Some(close) = self.tick_session(now) {
            return self.end_socket(now, close);
        }
        if self.gateway().is_draining() {
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

    /// Looks whether a session that opened the socket has ended, and tells it that it is used.
    fn tick_session(&mut self, now: Now) -> Option<Close> {
        let gateway = self.admission.gateway();
        let State::Serving(serving) = &mut self.state else {
            return None;
        };
        let socket = &mut serving.socket;
        if socket.memberships.is_empty() && socket.renewed.is_empty() {
            return None;
        }
        let renewed = socket.renewed.iter().map(|by| &by.membership);
        let all = || socket.memberships.iter().chain(renewed.clone());
        if let Some(ended) = all().find_map(Membership::ended) {
            return Some(match ended {
                Ended::LoggedOut => Close::LoggedOut,
                Ended::Dropped => Close::Revoked,
            });
        }
        if now.at >= socket.told.after(SESSION_NEWS) {
            for membership in all() {
                gateway.session_used(membership, now);
            }
            socket.told = now.at;
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
        } else if serving.is_relayed() {
            self.ping_relay(now);
        } else if serving.socket.pinged {
            self.end_socket(now, Close::Idle);
        } else {
            serving.socket.pinged = true;
            ws::ping(self.legs.client_out());
            self.timers.set(Timer::Ping, now.at.after(interval));
        }
    }
}
