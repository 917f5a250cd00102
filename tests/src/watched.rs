//! A connection under watch: whoever drives it, what the contract promises is checked at each step.

use std::collections::BTreeSet;
use std::task::Waker;

use countersign_core::connection::{Connection, Input, Step, Wait};
use countersign_core::job::Job;
use countersign_core::leg::{Dial, Leg, Tls};
use countersign_core::note::Note;
use countersign_core::time::{Moment, Now};

/// The most steps between two inputs: a connection that asks for more spins.
const STEP_LIMIT: usize = 10_000;

/// What a connection asked to be done.
#[derive(Debug)]
pub enum Action {
    /// Open a stream.
    Dial(Dial),
    /// Start TLS on an open leg.
    Secure(Leg, Tls),
    /// Run a job.
    Compute(Job),
    /// Log a note.
    Note(Note),
    /// End the stream of a leg.
    Hangup(Leg),
    /// Forget a leg.
    Drop(Leg),
}

/// The levels of one leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LegLevels {
    /// Which leg.
    pub leg: Leg,
    /// Whether bytes of it are wanted.
    pub wants_read: bool,
    /// How many of them at once.
    pub at_most: usize,
    /// How many bytes wait to be written to it.
    pub outgoing: usize,
}

/// What a connection waits for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Levels {
    /// When to step again.
    pub deadline: Option<Moment>,
    /// Each open leg.
    pub legs: Vec<LegLevels>,
}

impl Levels {
    fn of(wait: Wait<'_>) -> Self {
        let levels = |leg| LegLevels {
            leg,
            wants_read: wait.wants_read(leg),
            at_most: wait.read_at_most(leg),
            outgoing: wait.outgoing(leg).len(),
        };
        Self {
            deadline: wait.deadline(),
            legs: wait.legs().map(levels).collect(),
        }
    }

    /// Returns the levels of one leg, if it is open.
    pub fn leg(&self, leg: Leg) -> Option<LegLevels> {
        self.legs.iter().find(|levels| levels.leg == leg).copied()
    }
}

/// A connection, and what it has promised so far.
#[derive(Debug)]
pub struct Watched {
    connection: Connection,
    levels: Levels,
    hung_up: BTreeSet<Leg>,
    over: bool,
}

impl Watched {
    /// Watches a new connection.
    pub fn new(connection: Connection) -> Self {
        Self {
            connection,
            levels: Levels::default(),
            hung_up: BTreeSet::new(),
            over: false,
        }
    }

    /// Passes the waker on.
    pub fn set_waker(&mut self, waker: &Waker) {
        self.connection.set_waker(waker);
    }

    /// Passes an input on.
    pub fn handle(&mut self, now: Now, input: Input<'_>) {
        self.connection.handle(now, input);
    }

    /// Says whether the connection is over.
    pub const fn is_over(&self) -> bool {
        self.over
    }

    /// Returns what the connection waited for when it was last settled.
    pub const fn levels(&self) -> &Levels {
        &self.levels
    }

    /// Returns everything that `Debug` shows of the connection.
    pub fn shown(&self) -> String {
        format!("{:?}", self.connection)
    }

    /// Steps until the connection waits or is over, and returns what it wants done meanwhile.
    ///
    /// # Panics
    /// If it spins, if its deadline does not move on (P3), if an extra step changes anything (P2),
    /// if it goes on after it is over (P10), or if it writes to a leg that it has hung up.
    pub fn settle(&mut self, now: Now) -> Vec<Action> {
        let mut actions = Vec::new();
        for _ in 0..STEP_LIMIT {
            match self.connection.step(now) {
                Step::Wait(wait) => {
                    let levels = Levels::of(wait);
                    self.settled(levels, now);
                    return actions;
                }
                Step::Closed => {
                    self.over = true;
                    self.levels = Levels::default();
                    let again = matches!(self.connection.step(now), Step::Closed);
                    assert!(again, "P10: a step followed the end");
                    return actions;
                }
                Step::Dial(dial) => actions.push(Action::Dial(dial)),
                Step::Secure(leg, tls) => actions.push(Action::Secure(leg, tls)),
                Step::Compute(job) => actions.push(Action::Compute(job)),
                Step::Note(note) => actions.push(Action::Note(note)),
                Step::Hangup(leg) => {
                    assert!(self.hung_up.insert(leg), "{leg:?} was hung up twice");
                    actions.push(Action::Hangup(leg));
                }
                Step::Drop(leg) => {
                    assert_ne!(leg, Leg::CLIENT, "the client's leg is never dropped");
                    actions.push(Action::Drop(leg));
                }
            }
        }
        panic!("spins: {STEP_LIMIT} steps without waiting, {:?}", self.connection);
    }

    fn settled(&mut self, levels: Levels, now: Now) {
        assert!(!self.over, "P10: waits after the end");
        if let Some(deadline) = levels.deadline {
            assert!(
                deadline > now.at,
                "P3: the deadline {deadline:?} was due at {:?} and did not move",
                now.at
            );
        }
        for leg in &levels.legs {
            let silent = leg.outgoing == 0 || !self.hung_up.contains(&leg.leg);
            assert!(silent, "{:?} has outgoing bytes after its hang-up", leg.leg);
        }
        let again = match self.connection.step(now) {
            Step::Wait(wait) => Levels::of(wait),
            other @ (Step::Dial(_)
            | Step::Secure(..)
            | Step::Compute(_)
            | Step::Note(_)
            | Step::Hangup(_)
            | Step::Drop(_)
            | Step::Closed) => panic!("P2: an extra step led to {other:?}"),
        };
        assert_eq!(again, levels, "P2: an extra step changed what is waited for");
        self.levels = levels;
    }

    /// Returns the first `count` bytes that wait for `leg`. Only right after a settling at `now`.
    ///
    /// # Panics
    /// If the connection does not wait.
    pub fn outgoing(&mut self, now: Now, leg: Leg, count: usize) -> Vec<u8> {
        match self.connection.step(now) {
            Step::Wait(wait) => wait.outgoing(leg)[..count].to_vec(),
            other @ (Step::Dial(_)
            | Step::Secure(..)
            | Step::Compute(_)
            | Step::Note(_)
            | Step::Hangup(_)
            | Step::Drop(_)
            | Step::Closed) => panic!("P2: a settled connection went on with {other:?}"),
        }
    }
}
