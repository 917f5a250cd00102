//! The simulator: a third adapter, with a virtual clock and a virtual network. One thread, one
//! heap of events, one seed.

mod agenda;
mod chaos;
mod far;
mod habits;
mod line;
mod link;
mod transcript;
mod wire;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::task::{Wake, Waker};
use std::time::Duration;

pub use chaos::Talk;
pub use far::FarEnd;
pub use habits::Habits;
pub use line::End;
pub use link::SimLink;
pub use transcript::Transcript;

use agenda::{Agenda, Event};
use countersign_core::config::MemoryFiles;
use countersign_core::connection::{Connection, Peer};
use countersign_core::gateway::Gateway;
use countersign_core::leg::Leg;
use countersign_core::note::Note;
use countersign_core::time::{Moment, Now, UnixTime};
use line::{Line, Stream, Tls};

use crate::random::Random;
use crate::watched::Watched;

/// The wall clock at the start of every run: 2026-01-01T00:00:00Z.
pub const START: UnixTime = UnixTime::from_secs(1_767_225_600);

/// How often the background thread looks at files and clocks.
const REFRESH: Duration = Duration::from_secs(2);

/// How long a simulated TLS handshake takes.
const HANDSHAKE: Duration = Duration::from_millis(3);

/// The line of the connection that asks verifiers elsewhere.
const KEEPER: u64 = 0;

/// The port that every simulated server has.
pub const PORT: u16 = 8443;

/// What a client speaks, whatever the server expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    /// TLS.
    Tls,
    /// Plain text.
    Plain,
    /// Not a word.
    Nothing,
}

/// Why a run ended without what was waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stuck {
    /// Nothing will ever happen again.
    Asleep,
    /// It takes longer than it may.
    Late,
}

/// The lines whose wakers were woken. A waker does nothing but note its line here.
type Rung = Arc<Mutex<Vec<u64>>>;

struct LineWaker {
    line: u64,
    rung: Rung,
}

impl Wake for LineWaker {
    fn wake(self: Arc<Self>) {
        self.rung.lock().unwrap().push(self.line);
    }
}

/// A simulated machine with one gateway on it.
#[derive(Debug)]
pub struct Sim {
    gateway: Arc<Gateway>,
    files: MemoryFiles,
    path: PathBuf,
    random: Random,
    habits: Habits,
    now: Now,
    agenda: Agenda,
    lines: BTreeMap<u64, Line>,
    rung: Rung,
    notes: Vec<Note>,
    transcript: Transcript,
    far_ends: BTreeMap<String, FarEnd>,
    jobs: u64,
}

impl Sim {
    /// A machine that runs `gateway`, whose configuration was read from `path` in `files`.
    pub fn new(gateway: Arc<Gateway>, files: MemoryFiles, path: PathBuf, seed: u64, habits: Habits) -> Self {
        let now = Now {
            at: Moment::START,
            unix: START,
        };
        let mut sim = Self {
            gateway,
            files,
            path,
            random: Random::new(seed),
            habits,
            now,
            agenda: Agenda::default(),
            lines: BTreeMap::new(),
            rung: Rung::default(),
            notes: Vec::new(),
            transcript: Transcript::default(),
            far_ends: BTreeMap::new(),
            jobs: 0,
        };
        sim.agenda.add(now.at, REFRESH, 0, Event::Refresh);
        sim.keep();
        sim
    }

    /// Starts the connection that asks verifiers elsewhere.
    fn keep(&mut self) {
        let keeper = Connection::keeper(&self.gateway, self.now);
        self.watch(KEEPER, keeper, BTreeMap::new(), Speaks::Nothing);
    }

    /// Puts a connection under watch as `line`.
    fn watch(&mut self, line: u64, connection: Connection, streams: BTreeMap<Leg, Stream>, speaks: Speaks) {
        let mut watched = Watched::new(connection);
        let rung = Arc::clone(&self.rung);
        watched.set_waker(&Waker::from(Arc::new(LineWaker { line, rung })));
        let entry = Line {
            watched: Some(watched),
            streams,
            speaks,
            armed: None,
        };
        self.lines.insert(line, entry);
    }

    /// Returns both clocks.
    pub const fn now(&self) -> Now {
        self.now
    }

    /// Returns the gateway.
    pub const fn gateway(&self) -> &Arc<Gateway> {
        &self.gateway
    }

    /// Returns all notes so far.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// Returns how many jobs connections have asked for.
    pub const fn jobs(&self) -> u64 {
        self.jobs
    }

    /// Returns the hash of what came out so far.
    pub const fn hash(&self) -> u64 {
        self.transcript.hash()
    }

    /// Returns the random numbers of this run, for scripts that draw.
    pub const fn random(&mut self) -> &mut Random {
        &mut self.random
    }

    /// Returns the files that the gateway reads.
    pub const fn files(&mut self) -> &mut MemoryFiles {
        &mut self.files
    }

    /// Lets the keeper set out once the far ends are in their places.
    pub fn begin(&mut self) {
        self.tend(KEEPER);
    }

    /// Puts someone behind an address (`host:port`) or a file name.
    pub fn place(&mut self, address: &str, far: FarEnd) {
        self.far_ends.insert(address.to_owned(), far);
    }

    /// Moves the wall clock, forward or back, without any other clock noticing.
    pub fn step_wall_clock(&mut self, by: Duration, backwards: bool) {
        let unix = self.now.unix.since_epoch();
        let moved = if backwards {
            unix.saturating_sub(by)
        } else {
            unix.saturating_add(by)
        };
        self.now.unix = UnixTime::new(moved);
    }

    /// Begins the shutdown.
    pub fn drain(&mut self) {
        self.gateway.drain(self.now);
        self.collect_rings();
    }

    /// Reads the configuration again, as SIGHUP does.
    pub fn reload(&mut self) {
        let notes = self.gateway.reload(&self.path, &mut self.files, self.now);
        self.log(notes);
        self.collect_rings();
    }

    /// Accepts a stream on a server; `None` if the gateway has no room for it. Plain text
    /// on a TLS listener fails in the handshake, as it does in the world.
    pub fn accept(&mut self, server: usize, from: Option<IpAddr>, speaks: Speaks) -> Option<u64> {
        // The keeper is one of the lines.
        let line = self.lines.len() as u64;
        let listener = self
            .gateway
            .listeners()
            .into_iter()
            .find(|l| l.server == server)?;
        // As in the world: who connects to a loopback address comes from it.
        let from = from.unwrap_or_else(|| match listener.address.ip() {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
        let admission = self.gateway.admit(server, from, self.now)?;
        let port = 40_000 + (line % 20_000) as u16;
        let local = SocketAddr::new(listener.address.ip(), PORT);
        let peer = Peer {
            server,
            remote: SocketAddr::new(from, port),
            local,
        };
        let connection = Connection::client(admission, peer, self.now);
        let streams = BTreeMap::from([(Leg::CLIENT, Stream::new(Tls::Open, None))]);
        self.watch(line, connection, streams, speaks);
        self.tend(line);
        Some(line)
    }

    /// Runs until `done` says so, at most for `patience`.
    ///
    /// # Errors
    /// If nothing will ever happen again, or it takes too long.
    pub fn run_until(
        &mut self,
        patience: Duration,
        mut done: impl FnMut(&mut Self) -> bool,
    ) -> Result<(), Stuck> {
        let last = self.now.at.after(patience);
        let mut idle = 0;
        while !done(self) {
            // Two looks of the background thread may still ring somebody after the clocks moved.
            idle = if self.agenda.is_asleep() { idle + 1 } else { 0 };
            if idle > 2 {
                return Err(Stuck::Asleep);
            }
            let Some((moment, event)) = self.agenda.next(last) else {
                self.advance(last);
                return if done(self) { Ok(()) } else { Err(Stuck::Late) };
            };
            self.advance(moment);
            self.happen(event);
        }
        Ok(())
    }

    /// Runs for `time`, or until nothing will ever happen again.
    pub fn run_for(&mut self, time: Duration) {
        let last = self.now.at.after(time);
        match self.run_until(time, |_| false) {
            Ok(()) | Err(Stuck::Late) => {}
            Err(Stuck::Asleep) => self.advance(last),
        }
    }

    /// Returns how many connections are not over.
    pub fn open(&self) -> usize {
        let clients = self.lines.iter().filter(|(line, _)| **line != KEEPER);
        clients.filter(|(_, line)| line.watched.is_some()).count()
    }

    /// Returns what `Debug` shows of the gateway and of all connections.
    pub fn shown(&self) -> String {
        let connections = self.lines.values().filter_map(|line| line.watched.as_ref());
        let shown: Vec<_> = connections.map(Watched::shown).collect();
        format!("{:?}\n{}", self.gateway, shown.join("\n"))
    }

    fn advance(&mut self, to: Moment) {
        let by = to.since(self.now.at);
        self.now = self.now.after(by);
    }

    fn later(&mut self, after: Duration, event: Event) {
        let tie = self.random.next();
        self.agenda.add(self.now.at, after, tie, event);
    }

    fn soon(&mut self, event: Event) {
        let after = self.habits.delay(&mut self.random);
        self.later(after, event);
    }

    fn log(&mut self, notes: Vec<Note>) {
        for note in &notes {
            self.transcript.add(format!("{note:?}").as_bytes());
        }
        self.notes.extend(notes);
    }

    fn collect_rings(&mut self) {
        let mut rung = std::mem::take(&mut *self.rung.lock().unwrap());
        rung.sort_unstable();
        rung.dedup();
        for line in rung {
            self.soon(Event::Ring(line));
        }
    }
}
