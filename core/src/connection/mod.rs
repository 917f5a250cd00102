//! One socket's whole life: upgrade, credential check, service, close. One file per state.

mod admin;
mod answer;
mod awaiting;
mod body;
mod check;
mod close;
mod contract;
mod decide;
mod ends;
mod fetch;
mod form;
mod head;
mod invite;
mod keep;
mod opening;
mod paths;
mod preface;
mod read;
mod redeem;
mod relay;
mod renewal;
mod review;
mod serve;
mod socket;
mod stepup;
mod throttle;
mod ticket;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::task::Waker;

use zeroize::Zeroizing;

pub use contract::{Input, Peer, Step, Wait};

use self::awaiting::Awaiting;
use self::body::Receiving;
use self::check::Checking;
use self::close::Closing;
use self::fetch::Fetching;
use self::keep::Keeping;
use self::opening::Opening;
use self::socket::Serving;
use crate::gateway::{Admission, Gateway};
use crate::http::{HeadLimits, HeadScanner};
use crate::job::Job;
use crate::leg::Leg;
use crate::legs::{HIGH_WATER, LegAction, Legs};
use crate::note::Note;
use crate::proxy_protocol::HeaderScanner;
use crate::rules::{Rules, Server};
use crate::service::LegEvent;
use crate::time::{Moment, Now};
use crate::timers::{Timer, Timers};

/// One socket's whole life: upgrade, credential check, service, close. Made at accept, before TLS.
pub struct Connection {
    admission: Admission,
    rules: Arc<Rules>,
    peer: Peer,
    legs: Legs,
    timers: Timers,
    notes: VecDeque<Note>,
    job: Option<Job>,
    state: State,
    /// Bytes behind the head that is being answered. At most one read, since none follows until they are used.
    pending: Vec<u8>,
    /// Heads that were answered.
    requests: u32,
    /// 401s that were answered.
    attempts: u64,
    /// It was accepted while the gateway was shutting down already, to be told so.
    late: bool,
    /// TLS is in place, or not spoken here.
    secured: bool,
}

/// Shows how much waits to be read, never what: a credential may be among it.
impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("peer", &self.peer)
            .field("state", &self.state)
            .field("legs", &self.legs)
            .field("timers", &self.timers)
            .field("notes", &self.notes)
            .field("job", &self.job)
            .field("pending", &self.pending.len())
            .field("requests", &self.requests)
            .field("attempts", &self.attempts)
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
enum State {
    /// A balancer's PROXY header is awaited or arriving.
    Preface(HeaderScanner),
    /// A request head is awaited or arriving.
    Head(HeadScanner),
    /// The body of a request is arriving.
    Body(Box<Receiving>),
    /// The credential is being checked.
    Checking(Box<Checking>),
    /// Redis is asked.
    Awaiting(Box<Awaiting>),
    /// The upstream of a proxy is being reached.
    Opening(Box<Opening>),
    /// A file is being opened or sent.
    Fetching(Box<Fetching>),
    /// The WebSocket is open.
    Serving(Box<Serving>),
    /// Everything was answered; what is left is to end the stream without losing the answer.
    Closing(Closing),
    /// There is no client: verifiers elsewhere are asked for all connections.
    Keeping(Box<Keeping>),
    /// Over.
    Closed,
}

impl Connection {
    /// A connection that `peer` has opened.
    pub fn client(admission: Admission, peer: Peer, now: Now) -> Self {
        let rules = admission.gateway().rules();
        let late = admission.gateway().is_draining();
        let mut timers = Timers::default();
        // One time for all that comes before the answer: a silent TLS handshake ends by it too.
        timers.set(Timer::Head, now.at.after(rules.limits.head_timeout));
        let server = rules.servers.get(peer.server);
        let secured = server.is_none_or(|server| server.tls.is_none());
        let mut connection = Self {
            admission,
            rules,
            peer,
            legs: Legs::new(),
            timers,
            notes: VecDeque::new(),
            job: None,
            state: State::Closed,
            pending: Vec::new(),
            requests: 0,
            attempts: 0,
            late,
            secured,
        };
        connection.state = connection.first_state();
        if matches!(connection.state, State::Head(_)) {
            connection.begin_tls();
        }
        connection
    }

    fn scanner(rules: &Rules) -> HeadScanner {
        HeadScanner::new(HeadLimits {
            request_line: rules.limits.request_line_bytes,
            head: rules.limits.head_bytes,
        })
    }

    /// Stores what the core wakes when another connection or the gateway has something for this
    /// one. `wake` must take no lock of the adapter's.
    pub fn set_waker(&mut self, waker: &Waker) {
        self.admission.bell().set(waker);
    }

    /// Takes in what happened. A peer's mistake is a transition, never an error.
    pub fn handle(&mut self, now: Now, input: Input<'_>) {
        if matches!(self.state, State::Closed) {
            return;
        }
        match input {
            Input::Secured(Leg::CLIENT, _) => self.secured = true,
            Input::Data(Leg::CLIENT, bytes) => self.client_data(now, bytes),
            Input::Eof(Leg::CLIENT) => self.client_eof(now),
            Input::Broken(Leg::CLIENT, _) => self.client_gone(now),
            Input::Sent(leg, n) => self.sent(now, leg, n),
            Input::Computed(computed) => self.computed(now, computed),
            Input::Secured(leg, info) => self.leg_event(now, leg, LegEvent::Secured(info)),
            Input::Data(leg, bytes) => self.leg_event(now, leg, LegEvent::Data(bytes)),
            Input::Eof(leg) => {
                if let Some(state) = self.legs.get_mut(leg) {
                    state.eof = true;
                }
                self.leg_event(now, leg, LegEvent::Eof);
            }
            Input::Broken(leg, why) => {
                self.leg_event(now, leg, LegEvent::Broken(why));
                self.legs.forget(leg);
            }
            Input::Dialed(leg, Ok(opened)) => {
                if let Some(state) = self.legs.get_mut(leg) {
                    state.open = true;
                }
                self.leg_event(now, leg, LegEvent::Opened(opened));
            }
            Input::Dialed(leg, Err(why)) => {
                self.leg_event(now, leg, LegEvent::Failed(why));
                self.legs.forget(leg);
            }
        }
        // What waits for a peer now is watched over from the step that follows on.
    }

    /// Fires due timers, collects what others left, and says what to do next. To be called until
    /// it answers [`Step::Wait`] or [`Step::Closed`].
    pub fn step(&mut self, now: Now) -> Step<'_> {
        self.tick(now);
        if let Some(note) = self.notes.pop_front() {
            if self.notes.is_empty() && matches!(self.state, State::Serving(_)) {
                // An open socket has nothing to say for hours.
                self.notes = VecDeque::new();
            }
            return Step::Note(note);
        }
        if let Some(action) = self.legs.next_action() {
            return match action {
                LegAction::Dial(dial) => Step::Dial(dial),
                LegAction::Secure(leg, tls) => Step::Secure(leg, tls),
                LegAction::Drop(leg) => Step::Drop(leg),
            };
        }
        if let Some(job) = self.job.take() {
            return Step::Compute(job);
        }
        if matches!(self.state, State::Closed) {
            return Step::Closed;
        }
        if let Some(leg) = self.legs.next_hangup() {
            return Step::Hangup(leg);
        }
        Step::Wait(Wait(self))
    }

    fn gateway(&self) -> &Arc<Gateway> {
        self.admission.gateway()
    }

    /// Goes on with the rules of now.
    fn take_new_rules(&mut self) {
        // Mostly they are the same, and their number is cheaper to read than they are to share.
        if !self.gateway().is_in_force(&self.rules) {
            self.rules = self.gateway().rules();
        }
    }

    /// Returns the server; there is one while the state is not [`State::Closed`].
    fn server(&self) -> Option<&Server> {
        self.rules.servers.get(self.peer.server)
    }

    /// What is due by time or by somebody else's doing.
    fn tick(&mut self, now: Now) {
        // The end of a right comes before everything else that is due at the same time.
        self.tick_serve(now);
        while !matches!(self.state, State::Closed)
            && let Some(timer) = self.timers.take_due(now.at)
        {
            self.fire(now, timer);
        }
        match &self.state {
            State::Preface(_) => self.tick_preface(),
            State::Head(_) => self.tick_head(now),
            State::Body(_) => self.tick_body(now),
            State::Checking(_) => self.tick_check(now),
            State::Awaiting(_) => self.tick_await(now),
            State::Opening(_) => self.tick_opening(now),
            State::Closing(_) => self.tick_close(now),
            State::Keeping(_) => self.tick_keep(now),
            State::Fetching(_) | State::Serving(_) | State::Closed => {}
        }
        self.watch_stall(now);
    }

    fn fire(&mut self, now: Now, timer: Timer) {
        match timer {
            Timer::Head if matches!(self.state, State::Preface(_)) => self.end_preface(),
            Timer::Head => self.head_is_late(now),
            Timer::Body => self.body_is_late(now),
            Timer::KeepAlive => self.begin_close(now),
            Timer::Check if matches!(self.state, State::Awaiting(_)) => self.await_is_late(now),
            Timer::Check if matches!(self.state, State::Fetching(_)) => self.fetch_is_late(now),
            Timer::Check => self.check_is_late(now),
            Timer::Idle => self.look_for_idleness(now),
            Timer::Ping => self.look_for_life(now),
            Timer::Memory => self.end_socket(now, crate::ws::Close::SlowConsumer),
            Timer::Stall => self.stalled(now),
            Timer::Upstream => self.end_socket(now, crate::ws::Close::Internal),
            Timer::Dial if matches!(self.state, State::Opening(_)) => self.opening_is_late(now),
            Timer::Close => self.close_is_late(now),
            // Expiry is judged by both clocks at every tick, and so is what the keeper has dialed.
            Timer::Expiry | Timer::Dial => {}
        }
    }

    fn client_data(&mut self, now: Now, bytes: &[u8]) {
        match &mut self.state {
            State::Preface(_) => self.preface_bytes(now, bytes),
            State::Head(_) if self.pending.is_empty() => self.head_bytes(now, bytes),
            State::Body(_) if self.pending.is_empty() => self.body_bytes(now, bytes),
            State::Head(_)
            | State::Body(_)
            | State::Checking(_)
            | State::Opening(_)
            | State::Fetching(_)
            | State::Awaiting(_) => {
                self.pending.extend_from_slice(bytes);
            }
            State::Serving(_) => self.serve_bytes(now, bytes),
            State::Closing(closing) => {
                if closing.discard(bytes.len()) {
                    self.state = State::Closed;
                }
            }
            State::Keeping(_) | State::Closed => {}
        }
        self.use_pending(now);
    }

    /// Goes on with bytes that could not be used when they came.
    fn use_pending(&mut self, now: Now) {
        while !self.pending.is_empty() {
            match &self.state {
                State::Head(_) if self.legs.client().out.len() < HIGH_WATER => {
                    let bytes = std::mem::take(&mut self.pending);
                    self.head_bytes(now, &bytes);
                }
                State::Body(_) => {
                    // A password may be among them.
                    let bytes = Zeroizing::new(std::mem::take(&mut self.pending));
                    self.body_bytes(now, &bytes);
                }
                State::Serving(_) => {
                    let bytes = std::mem::take(&mut self.pending);
                    self.serve_bytes(now, &bytes);
                }
                State::Preface(_)
                | State::Head(_)
                | State::Checking(_)
                | State::Opening(_)
                | State::Fetching(_)
                | State::Awaiting(_) => return,
                State::Closing(_) | State::Keeping(_) | State::Closed => self.pending = Vec::new(),
            }
        }
    }

    fn client_eof(&mut self, now: Now) {
        if let Some(client) = self.legs.get_mut(Leg::CLIENT) {
            client.eof = true;
        }
        match &self.state {
            // 101 to a peer that cannot answer a ping is of no use, but a refusal is read.
            State::Preface(_)
            | State::Head(_)
            | State::Body(_)
            | State::Checking(_)
            | State::Fetching(_)
            | State::Awaiting(_)
            | State::Closing(_)
            | State::Keeping(_)
            | State::Closed => {}
            State::Opening(_) => self.leave_opening(now),
            State::Serving(_) => self.client_ended(now),
        }
    }

    /// The client's stream is gone in both directions.
    fn client_gone(&mut self, now: Now) {
        self.socket_ended(now, 1006, "");
        self.over();
    }

    /// Ends the connection at once.
    fn over(&mut self) {
        self.legs.let_go_of_others();
        self.legs.client_out().clear();
        self.timers.stop_all();
        self.job = None;
        self.pending = Vec::new();
        self.state = State::Closed;
    }

    fn sent(&mut self, now: Now, leg: Leg, n: usize) {
        let Some(state) = self.legs.get_mut(leg) else {
            return;
        };
        state.out.advance(n);
        if leg == Leg::CLIENT {
            let waiting = state.out.len();
            self.timers.stop(Timer::Stall);
            if let State::Serving(serving) = &mut self.state {
                serving.settle(waiting);
            }
            self.use_pending(now);
        } else {
            self.timers.stop(Timer::Upstream);
        }
    }

    /// Runs the stall timer exactly while something waits for the client.
    fn watch_stall(&mut self, now: Now) {
        match &self.state {
            State::Preface(_)
            | State::Head(_)
            | State::Body(_)
            | State::Checking(_)
            | State::Opening(_)
            | State::Fetching(_)
            | State::Awaiting(_)
            | State::Serving(_) => {
                if self.legs.client().out.is_empty() {
                    self.timers.stop(Timer::Stall);
                } else if self.timers.get(Timer::Stall).is_none() {
                    let at = now.at.after(self.rules.limits.stall_timeout);
                    self.timers.set(Timer::Stall, at);
                }
            }
            // The close timer bounds everything that is left.
            State::Closing(_) | State::Keeping(_) | State::Closed => self.timers.stop(Timer::Stall),
        }
        self.watch_upstream(now);
    }

    /// The client has taken nothing of what waits for it.
    fn stalled(&mut self, now: Now) {
        match &self.state {
            State::Serving(_) => self.end_socket(now, crate::ws::Close::SlowConsumer),
            State::Preface(_)
            | State::Head(_)
            | State::Body(_)
            | State::Checking(_)
            | State::Opening(_)
            | State::Fetching(_)
            | State::Awaiting(_)
            | State::Closing(_)
            | State::Keeping(_)
            | State::Closed => self.over(),
        }
    }

    fn deadline(&self) -> Option<Moment> {
        let service = match &self.state {
            State::Serving(serving) => serving.deadline(),
            State::Preface(_)
            | State::Head(_)
            | State::Body(_)
            | State::Checking(_)
            | State::Opening(_)
            | State::Fetching(_)
            | State::Awaiting(_)
            | State::Closing(_)
            | State::Keeping(_)
            | State::Closed => None,
        };
        self.timers.next().into_iter().chain(service).min()
    }

    fn wants_read(&self, leg: Leg) -> bool {
        let below = self.legs.client().out.len() < HIGH_WATER;
        if leg != Leg::CLIENT {
            return below && self.legs.get(leg).is_some_and(|state| state.open && !state.eof);
        }
        if self.legs.client().eof {
            return false;
        }
        match &self.state {
            State::Head(_) | State::Body(_) => below && self.pending.is_empty(),
            State::Preface(_) => true,
            // A reset shows only to who reads; what follows the head waits, at most one read of it.
            State::Checking(_) | State::Opening(_) | State::Fetching(_) | State::Awaiting(_) => {
                self.pending.is_empty()
            }
            State::Serving(serving) => {
                let room = self.legs.others_waiting() < HIGH_WATER;
                serving.wants_read() && room && (below || serving.is_relayed())
            }
            State::Closing(_) => true,
            State::Keeping(_) | State::Closed => false,
        }
    }

    fn read_at_most(&self, leg: Leg) -> usize {
        match &self.state {
            State::Preface(scanner) if leg == Leg::CLIENT => scanner.wanted(),
            State::Preface(_)
            | State::Head(_)
            | State::Body(_)
            | State::Checking(_)
            | State::Opening(_)
            | State::Fetching(_)
            | State::Awaiting(_)
            | State::Serving(_)
            | State::Closing(_)
            | State::Keeping(_)
            | State::Closed => usize::MAX,
        }
    }

    fn outgoing(&self, leg: Leg) -> &[u8] {
        self.legs.get(leg).map_or(&[], |state| state.out.chunk())
    }

    fn legs(&self) -> impl Iterator<Item = Leg> + use<'_> {
        self.legs.all()
    }
}
