//! The third state: the socket is open, until its Close, its stream, or its right ends.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::relay::Relay;
use super::{Connection, State};
use crate::auth::grant::Grant;
use crate::auth::realm::Realm;
use crate::gateway::{Ended, Membership, OpenSocket, Order, Proof, Registration, Session as LoginSession};
use crate::leg::Leg;
use crate::legs::Legs;
use crate::note::{Closed, Note, RequestId};
use crate::rules::Service as ServiceRules;
use crate::service::relay::Unread;
use crate::service::{Context, Ended as NoService, LegEvent, Service, Tally, Tunnel};
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
    pub(super) wire: Wire,
    pub(super) socket: Socket,
}

/// What becomes of the bytes.
#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "it lives in a box, and most sockets have the larger one"
)]
pub(super) enum Wire {
    /// The messages in them are for the service.
    Session(Session),
    /// They go to the upstream, and what comes from there goes to the client.
    Relay(Relay),
}

/// Where a granted socket leads.
pub(super) enum Way<'a> {
    /// To the service, which was asked for at this path.
    Served(&'a str),
    /// To a WebSocket upstream that has accepted.
    Relay(Relay),
    /// To an upstream without WebSocket, on this leg.
    Tunnel(Leg),
}

/// An open socket: who it serves, by what, and until when.
pub(super) struct Socket {
    service: Box<dyn Service>,
    pub(super) rules: Arc<ServiceRules>,
    /// The name of the data point that it reads.
    point: Option<Box<str>>,
    /// Who it serves, and what that rests on.
    proof: Proof,
    request: RequestId,
    opened: Now,
    /// When the right to the socket ends, and what it is told then.
    ends: Ends,
    /// When a message passed last.
    pub(super) used: Moment,
    /// When the client was heard of last.
    pub(super) heard: Moment,
    /// A Ping was sent and nothing was heard since.
    pub(super) pinged: bool,
    /// Our Close was sent.
    pub(super) closing: Option<Close>,
    pub(super) received: Tally,
    pub(super) sent: Tally,
    /// Its place among the sockets of each session that it came by.
    memberships: Vec<Membership>,
    /// When each realm was passed or renewed last.
    authorized: Vec<(Arc<str>, Now)>,
    /// What it was renewed by, if that was a session.
    renewed: Option<(Arc<LoginSession>, Vec<Membership>)>,
    /// Where a renewal finds it.
    registration: Option<Registration>,
    /// When the sessions were told last that it is used.
    told: Moment,
    /// The generation of the revocations that it was held against.
    revocations: u64,
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

/// What an open socket holds of what all share.
pub(super) struct Held {
    pub(super) counted: OpenSocket,
    pub(super) memberships: Vec<Membership>,
    pub(super) registration: Option<Registration>,
    /// The generation of the revocations that it was held against.
    pub(super) revocations: u64,
}

impl Serving {
    pub(super) fn wants_read(&self) -> bool {
        match &self.wire {
            Wire::Session(session) => !session.is_blocked() && self.socket.service.takes_messages(),
            // Once its right has ended, nothing of the client's goes on.
            Wire::Relay(_) => self.socket.closing.is_none(),
        }
    }

    /// Returns when the service wants to be called.
    pub(super) fn deadline(&self) -> Option<Moment> {
        self.socket.service.deadline()
    }

    /// Says whether its bytes go to an upstream as they are.
    pub(super) const fn is_relayed(&self) -> bool {
        matches!(self.wire, Wire::Relay(_))
    }

    /// Says whether a message waits for memory.
    const fn is_blocked(&self) -> bool {
        match &self.wire {
            Wire::Session(session) => session.is_blocked(),
            Wire::Relay(_) => false,
        }
    }

    /// Returns the rules of the service, and the data point that it reads, if it reads one.
    pub(super) fn service(&self) -> (&ServiceRules, Option<&str>) {
        (&self.socket.rules, self.socket.point.as_deref())
    }

    /// Returns what the socket was told since the last time.
    pub(super) fn order(&self) -> Option<Order> {
        self.socket.registration.as_ref()?.take()
    }

    /// Returns who the socket serves.
    pub(super) const fn proof(&self) -> &Proof {
        &self.socket.proof
    }

    /// Says whether something was revoked since this was asked last.
    pub(super) const fn is_behind(&mut self, revocations: u64) -> bool {
        let behind = self.socket.revocations != revocations;
        self.socket.revocations = revocations;
        behind
    }

    /// Takes note of how much still waits for the client.
    pub(super) fn settle(&mut self, waiting: usize) {
        match &mut self.wire {
            Wire::Session(session) => session.settle(waiting),
            Wire::Relay(_) => {}
        }
    }
}

impl Socket {
    /// Returns when the right to it ends by what is known now.
    fn ends_now(&self) -> Ends {
        let renewed = self.renewed.as_ref().map(|(session, _)| session.ends());
        Ends::of(&self.rules, &self.proof, self.opened, &self.authorized, renewed)
    }

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
            grant: &self.proof.grant,
            rules: &self.rules,
            legs,
            sent: &mut self.sent,
            close: &mut close,
        };
        call(self.service.as_mut(), &mut context);
        close
    }
}

/// When a right to a socket ends, and what the socket is told then.
type End = (Deadline, Close);

/// All ends of a right to a socket. Each is looked at by itself: which of two is the nearer one, the
/// clocks need not agree on.
#[derive(Clone, Copy, Default)]
struct Ends {
    token: Option<Deadline>,
    session: Option<Deadline>,
    authorization: Option<Deadline>,
}

impl Ends {
    /// The ends of a socket that was opened at `opened`, whose realms were passed last at
    /// `authorized`, and that was renewed by a session that ends at `renewed`.
    fn of(
        rules: &ServiceRules,
        proof: &Proof,
        opened: Now,
        authorized: &[(Arc<str>, Now)],
        renewed: Option<Deadline>,
    ) -> Self {
        // Under a session the time counts from its login, else from the upgrade.
        let logged_in = |realm: &Arc<Realm>| proof.sessions.iter().any(|session| session.is_of(&realm.name));
        let elsewhere = rules.realms().filter(|realm| !logged_in(realm));
        let timeouts = elsewhere.filter_map(|realm| realm.session_timeout);
        let by_login = proof.sessions.iter().map(|session| session.ends());
        let by_session = by_login
            .chain(renewed)
            .chain(timeouts.map(|timeout| Deadline::after(timeout, opened)))
            .reduce(Deadline::or);
        let by_realm = |realm: &Arc<Realm>| {
            let (_, passed) = authorized.iter().find(|(name, _)| *name == realm.name)?;
            Some(Deadline::after(realm.authorization_timeout?, *passed))
        };
        Self {
            token: proof.grant.expires,
            session: by_session,
            authorization: rules.realms().filter_map(by_realm).reduce(Deadline::or),
        }
    }

    fn all(self) -> impl Iterator<Item = End> {
        let all = [
            (self.token, Close::TokenExpired),
            (self.session, Close::SessionTimeout),
            (self.authorization, Close::AuthorizationTimeout),
        ];
        all.into_iter()
            .filter_map(|(deadline, close)| Some((deadline?, close)))
    }

    /// Returns the end that has come, the one that came first if there are several.
    fn due(self, now: Now) -> Option<Close> {
        let due = self.all().filter(|(deadline, _)| deadline.is_due(now));
        Some(due.min_by_key(|(deadline, _)| deadline.at)?.1)
    }

    /// Returns what ends as soon as one of both does.
    fn or(self, other: Self) -> Self {
        let or =
            |one: Option<Deadline>, two: Option<Deadline>| one.into_iter().chain(two).reduce(Deadline::or);
        Self {
            token: or(self.token, other.token),
            session: or(self.session, other.session),
            authorization: or(self.authorization, other.authorization),
        }
    }
}

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
            renewed: None,
            registration: held.registration,
            told: now.at,
            revocations: held.revocations,
            _counted: held.counted,
        };
        let close = socket.call(now, &mut self.legs, |service, context| service.opened(context));
        self.state = State::Serving(Box::new(Serving { wire, socket }));
        self.watch_end(now);
        if let Some(close) = close {
            self.end_socket(now, close);
        }
        if self.legs.client().eof && self.pending.is_empty() {
            self.socket_ended(now, 1006, "");
            self.begin_close(now);
        }
    }

    /// Goes on under new rules, which leave the client `grant`.
    pub(super) fn go_on_serving(&mut self, now: Now, rules: Arc<ServiceRules>, grant: Grant) {
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
    pub(super) fn go_on_renewed(
        &mut self,
        now: Now,
        rules: Arc<ServiceRules>,
        proof: Proof,
        (renewed, memberships): (Proof, Vec<Membership>),
    ) {
        let State::Serving(serving) = &mut self.state else {
            return;
        };
        let socket = &mut serving.socket;
        for (name, passed) in &mut socket.authorized {
            if renewed.basis.clients().any(|(realm, _)| realm == *name) {
                *passed = now;
            }
        }
        socket.renewed = renewed
            .sessions
            .into_iter()
            .next()
            .map(|session| (session, memberships));
        // The session timeout is not moved: it counts from the opening, or from the login.
        socket.ends = Ends::default();
        let grant = proof.grant.clone();
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

    fn is_relaying(&self) -> bool {
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
        let draining = self.gateway().is_draining();
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
        let State::Serving(serving) = &self.state else {
            return;
        };
        if let Some(close) = serving.socket.ends.due(now) {
            return self.end_socket(now, close);
        }
        // Behind the deadline: what has ended is not renewed.
        if let Some(close) = self.take_renewal(now) {
            return self.end_socket(now, close);
        }
        self.watch_end(now);
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

    /// Runs the timer of the nearest end.
    fn watch_end(&mut self, now: Now) {
        let State::Serving(serving) = &self.state else {
            return;
        };
        let at = |(deadline, _): End| {
            let by_wall = deadline.moment(now);
            if by_wall.after(CLOCK_SLACK) < deadline.at {
                by_wall
            } else {
                deadline.at
            }
        };
        match serving.socket.ends.all().map(at).min() {
            Some(at) => self.timers.set(Timer::Expiry, at),
            None => self.timers.stop(Timer::Expiry),
        }
    }

    /// Looks whether a session that opened the socket has ended, and tells it that it is used.
    fn tick_session(&mut self, now: Now) -> Option<Close> {
        let gateway = Arc::clone(self.gateway());
        let State::Serving(serving) = &mut self.state else {
            return None;
        };
        let socket = &mut serving.socket;
        let renewed = socket.renewed.iter().flat_map(|(_, memberships)| memberships);
        let mut all = socket.memberships.iter().chain(renewed);
        if let Some(ended) = all.find_map(Membership::ended) {
            return Some(match ended {
                Ended::LoggedOut => Close::LoggedOut,
                Ended::Dropped => Close::Revoked,
            });
        }
        if !socket.memberships.is_empty() && now.at >= socket.told.after(SESSION_NEWS) {
            socket.told = now.at;
            for membership in &socket.memberships {
                gateway.session_used(membership, now);
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
