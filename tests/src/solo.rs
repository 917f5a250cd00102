//! One connection alone with its clock: every input is chosen, nothing happens by itself.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use countersign_core::connection::{Connection, Input, Peer};
use countersign_core::gateway::Gateway;
use countersign_core::job::Job;
use countersign_core::leg::{Break, Destination, DialError, Leg};
use countersign_core::note::Note;
use countersign_core::time::{Moment, Now, UnixTime};

use crate::sim::{PORT, START};
use crate::watched::{Action, Watched};

/// One connection, the bytes that it has sent, and what it has said.
#[derive(Debug)]
pub struct Solo {
    watched: Watched,
    now: Now,
    /// Offered, but not wanted yet.
    waiting: Vec<u8>,
    finished: bool,
    told: bool,
    jobs: Vec<Job>,
    takes: bool,
    /// Everything that it has sent to the client.
    pub sent: Vec<u8>,
    /// Everything that it has noted.
    pub notes: Vec<Note>,
    /// Whether it has hung up.
    pub hung_up: bool,
    /// How many streams it has asked for.
    pub dials: usize,
    /// The paths of the files among them.
    pub files: Vec<Vec<String>>,
}

impl Solo {
    /// A connection from the loopback address to the first server of `gateway`.
    ///
    /// # Panics
    /// If there is no room for it.
    pub fn new(gateway: &Arc<Gateway>) -> Self {
        Self::at(
            gateway,
            Now {
                at: Moment::START,
                unix: START,
            },
        )
    }

    /// The same, begun at `now`.
    ///
    /// # Panics
    /// If there is no room for it.
    pub fn at(gateway: &Arc<Gateway>, now: Now) -> Self {
        Self::to(gateway, 0, now)
    }

    /// The same, to the server with the index `server`.
    ///
    /// # Panics
    /// If there is no room for it.
    pub fn to(gateway: &Arc<Gateway>, server: usize, now: Now) -> Self {
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let admission = gateway
            .admit(server, address, now)
            .expect("there is room for one");
        let (remote, local) = (SocketAddr::new(address, 50_000), SocketAddr::new(address, PORT));
        let peer = Peer {
            server,
            remote,
            local,
        };
        let mut solo = Self {
            watched: Watched::new(Connection::client(admission, peer, now)),
            now,
            waiting: Vec::new(),
            finished: false,
            told: false,
            jobs: Vec::new(),
            takes: true,
            sent: Vec::new(),
            notes: Vec::new(),
            hung_up: false,
            dials: 0,
            files: Vec::new(),
        };
        solo.settle();
        solo
    }

    /// Returns both clocks.
    pub const fn now(&self) -> Now {
        self.now
    }

    /// Says whether it is over.
    pub const fn is_over(&self) -> bool {
        self.watched.is_over()
    }

    /// Returns what `Debug` shows.
    pub fn shown(&self) -> String {
        self.watched.shown()
    }

    /// Stops, or goes on, taking what it wants to send.
    pub fn take(&mut self, takes: bool) {
        self.takes = takes;
        self.settle();
    }

    /// Offers bytes: they are handed over as soon as they are wanted.
    pub fn offer(&mut self, bytes: &[u8]) {
        self.waiting.extend_from_slice(bytes);
        self.settle();
    }

    /// Says whether all that was offered was taken and more is wanted.
    pub fn is_hungry(&self) -> bool {
        let levels = self.watched.levels().leg(Leg::CLIENT);
        self.waiting.is_empty() && levels.is_some_and(|levels| levels.wants_read)
    }

    /// Shuts down the client's writing, behind what was offered.
    pub fn finish(&mut self) {
        self.finished = true;
        self.settle();
    }

    /// Breaks the client's stream.
    pub fn break_off(&mut self, why: Break) {
        self.watched.handle(self.now, Input::Broken(Leg::CLIENT, why));
        self.settle();
    }

    /// Lets both clocks go on, stepping at every deadline in between as an adapter does.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now.after(time);
        while let Some(deadline) = self
            .watched
            .levels()
            .deadline
            .filter(|deadline| *deadline <= end.at)
        {
            self.now = self.now.after(deadline.since(self.now.at));
            self.settle();
        }
        self.now = self.now.after(end.at.since(self.now.at));
        self.settle();
    }

    /// Moves the wall clock alone, by whole seconds.
    pub fn step_wall_clock(&mut self, by: i32) {
        let unix = self.now.unix.as_secs().saturating_add_signed(i64::from(by));
        self.now.unix = UnixTime::from_secs(unix);
        self.settle();
    }

    /// Steps once more, as after a ring.
    pub fn nudge(&mut self) {
        self.settle();
    }

    /// Lets go of all jobs without running them.
    pub fn lose_jobs(&mut self) {
        self.jobs.clear();
    }

    /// Runs all jobs that were asked for, and whatever they lead to.
    pub fn run_jobs(&mut self) {
        while !self.is_over() && !self.jobs.is_empty() {
            for job in std::mem::take(&mut self.jobs) {
                let computed = job.run();
                self.watched.handle(self.now, Input::Computed(computed));
            }
            self.settle();
        }
    }

    /// Waits for one deadline after the other until it is over.
    ///
    /// # Panics
    /// P6: if that takes more than a day, or it waits for nothing.
    pub fn starve(&mut self) {
        let end = self.now.after(Duration::from_secs(24 * 3600));
        self.lose_jobs();
        while !self.is_over() {
            let deadline = self.watched.levels().deadline;
            let deadline = deadline.unwrap_or_else(|| panic!("P6: waits for nothing: {}", self.shown()));
            assert!(deadline < end.at, "P6: still open after a day: {}", self.shown());
            self.now = self.now.after(deadline.since(self.now.at));
            self.settle();
            self.lose_jobs();
        }
    }

    /// Does what it asks for until it waits for something that was not offered.
    fn settle(&mut self) {
        loop {
            let actions = self.watched.settle(self.now);
            for action in actions {
                self.act(action);
            }
            let Some(levels) = self.watched.levels().leg(Leg::CLIENT).filter(|_| !self.is_over()) else {
                return;
            };
            if levels.outgoing > 0 && self.takes {
                let bytes = self.watched.outgoing(self.now, Leg::CLIENT, levels.outgoing);
                self.sent.extend_from_slice(&bytes);
                self.watched
                    .handle(self.now, Input::Sent(Leg::CLIENT, bytes.len()));
            } else if levels.wants_read && !self.waiting.is_empty() {
                let count = self.waiting.len().min(levels.at_most);
                let bytes: Vec<u8> = self.waiting.drain(..count).collect();
                self.watched.handle(self.now, Input::Data(Leg::CLIENT, &bytes));
            } else if levels.wants_read && self.finished && !self.told {
                self.told = true;
                self.watched.handle(self.now, Input::Eof(Leg::CLIENT));
            } else {
                return;
            }
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Note(note) => self.notes.push(note),
            Action::Compute(job) => self.jobs.push(job),
            Action::Hangup(leg) => self.hung_up |= leg == Leg::CLIENT,
            Action::Dial(dial) => {
                self.dials += 1;
                if let Destination::File { segments, .. } = dial.to {
                    self.files.push(segments);
                }
                self.watched
                    .handle(self.now, Input::Dialed(dial.leg, Err(DialError::Refused)));
            }
            Action::Secure(..) | Action::Drop(_) => {}
        }
    }
}
