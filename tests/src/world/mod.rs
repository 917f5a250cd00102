//! Three worlds behind one small interface: a row of the suite does not know in which one it runs.

mod certificate;
mod echoes;
mod fakes;
mod folder;
mod real;
mod setup;
mod socket;

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use certificate::client_tls;
pub use echoes::START_TLS;
pub use setup::{ALICE, BJORN, BOB, FILE, Setup};

use countersign_core::config::{Config, ConfigErrors, Files, MemoryFiles, Page};
use countersign_core::entropy::Seed;
use countersign_core::gateway::{Capacity, Gateway};
use countersign_core::note::{Closed, Decision, Note};
use countersign_core::ops::log::{Format, Level, LogQueue};
use countersign_core::time::{Now, UnixTime};
use real::Real;

use crate::client::{Client, Link};
use crate::fake::Fake;
use crate::keys::Token;
use crate::sim::{self, FarEnd, Habits, Sim, SimLink, Speaks, Transcript};

/// How long anything may take in a real world before a row gives up.
const PATIENCE: Duration = Duration::from_secs(10);

/// Every byte of the first gateway's seed; the next one has the next.
const SEED: u8 = 7;

/// How often a row that waits in a real world looks again.
const GLANCE: Duration = Duration::from_millis(2);

/// Which world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The smol adapter, with real sockets.
    Smol,
    /// The adapter of blocking threads, with real sockets.
    Std,
    /// The simulator.
    Sim,
}

/// A world to start gateways in.
#[derive(Debug)]
pub struct World {
    kind: Kind,
    seed: u64,
    habits: Habits,
    sims: RefCell<Vec<Rc<RefCell<Sim>>>>,
    /// Who answers where in the simulator.
    fakes: RefCell<Vec<(String, Fake)>>,
    /// How many gateways were started: each has a seed of its own.
    started: Cell<u8>,
}

impl World {
    /// A world; `seed` and `habits` count in the simulator alone.
    pub const fn new(kind: Kind, seed: u64, habits: Habits) -> Self {
        Self {
            kind,
            seed,
            habits,
            sims: RefCell::new(Vec::new()),
            fakes: RefCell::new(Vec::new()),
            started: Cell::new(0),
        }
    }

    /// Runs one row in one world: in the simulator calmly once, and roughly twice with the same
    /// seed, with the same outcome.
    ///
    /// # Panics
    /// If the row does, with the seed, or if two runs with the same seed differ.
    pub fn run(kind: Kind, name: &str, row: fn(&Self)) {
        if kind != Kind::Sim {
            row(&Self::new(kind, 0, Habits::CALM));
            return;
        }
        let mut seed = Transcript::default();
        seed.add(name.as_bytes());
        let seed = seed.hash();
        simulate(seed, Habits::CALM, row);
        let first = simulate(seed, Habits::ROUGH, row);
        let second = simulate(seed, Habits::ROUGH, row);
        assert_eq!(first, second, "two runs with seed {seed:#x} differ");
    }

    /// Returns which world it is.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Starts a gateway with its servers.
    ///
    /// # Panics
    /// If the configuration is wrong.
    pub fn start(&self, setup: &Setup) -> Stage {
        let seed = self.next_seed();
        if self.kind != Kind::Sim {
            return Stage {
                running: Running::Real(Real::start(self.kind, setup, seed)),
            };
        }
        let habits = setup.wanted_habits().unwrap_or(self.habits);
        self.simulate(PathBuf::from(FILE), setup.memory(), (&[], seed), habits)
    }

    /// Places `fake` somewhere, and returns its host and port. To be called before the gateway starts.
    pub fn fake(&self, fake: Fake, tls: bool) -> String {
        if self.kind != Kind::Sim {
            return fakes::listen(fake, tls).to_string();
        }
        let mut fakes = self.fakes.borrow_mut();
        let address = format!("127.0.0.1:{}", 1000 + fakes.len());
        fakes.push((address.clone(), fake));
        address
    }

    /// Starts what is in memory, with fixed pages: the demo.
    ///
    /// # Panics
    /// If the configuration is wrong.
    pub fn start_in_memory(&self, path: PathBuf, files: MemoryFiles, pages: &[Page]) -> Stage {
        let pages = (pages, self.next_seed());
        if self.kind == Kind::Sim {
            return self.simulate(path, files, pages, self.habits);
        }
        let real = Real::start_in_memory(self.kind, path, files, pages);
        Stage {
            running: Running::Real(real),
        }
    }

    fn next_seed(&self) -> Seed {
        let number = self.started.get();
        self.started.set(number.wrapping_add(1));
        Seed::new([SEED.wrapping_add(number); 32])
    }

    fn simulate(
        &self,
        path: PathBuf,
        mut files: MemoryFiles,
        pages: (&[Page], Seed),
        habits: Habits,
    ) -> Stage {
        let gateway = load(&path, &mut files, pages);
        let mut sim = Sim::new(gateway, files, path, self.seed, habits);
        for (address, fake) in self.fakes.borrow().iter() {
            sim.place(address, FarEnd::Fake(fake.clone()));
        }
        sim.begin();
        let sim = Rc::new(RefCell::new(sim));
        self.sims.borrow_mut().push(Rc::clone(&sim));
        Stage {
            running: Running::Sim(sim),
        }
    }
}

fn load(path: &Path, files: &mut dyn Files, (pages, seed): (&[Page], Seed)) -> Arc<Gateway> {
    let mut config = Config::load(path, files).unwrap_or_else(|errors| panic!("{errors}"));
    config.pages = pages.to_vec();
    with_seed(config, seed).unwrap_or_else(|errors| panic!("{errors}"))
}

fn simulate(seed: u64, habits: Habits, row: fn(&World)) -> Vec<u64> {
    let world = World::new(Kind::Sim, seed, habits);
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| row(&world))) {
        let message = said(panic.as_ref());
        panic!("with seed {seed:#x} and {habits:?}: {message}");
    }
    world
        .sims
        .borrow()
        .iter()
        .map(|sim| sim.borrow().hash())
        .collect()
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default()
}

/// A gateway as all tests make it: two processors, a fixed seed.
///
/// # Errors
/// What is wrong in the files that the configuration names.
pub fn try_gateway(config: Config) -> Result<Arc<Gateway>, ConfigErrors> {
    with_seed(config, Seed::new([SEED; 32]))
}

fn with_seed(config: Config, seed: Seed) -> Result<Arc<Gateway>, ConfigErrors> {
    let capacity = Capacity {
        cores: 2,
        connections: 2_000,
        descriptors_per_connection: 1,
    };
    Gateway::new(config, seed, capacity)
}

/// A gateway of a right configuration.
///
/// # Panics
/// If the files that it names are wrong.
pub fn gateway(config: Config) -> Arc<Gateway> {
    try_gateway(config).unwrap_or_else(|errors| panic!("{errors}"))
}

/// A running gateway with its servers.
#[derive(Debug)]
pub struct Stage {
    running: Running,
}

#[derive(Debug)]
enum Running {
    Real(Real),
    Sim(Rc<RefCell<Sim>>),
}

impl Stage {
    /// Opens a stream to the first server, with TLS if it speaks TLS.
    pub fn connect(&self) -> Client {
        self.connect_to(0)
    }

    /// Opens a stream to a server by its index.
    pub fn connect_to(&self, server: usize) -> Client {
        let tls = self
            .gateway()
            .listeners()
            .iter()
            .any(|listener| listener.server == server && listener.tls);
        self.link(server, tls)
    }

    /// Opens a stream to the first server, and speaks plain text whatever the server speaks.
    pub fn connect_plain(&self) -> Client {
        self.link(0, false)
    }

    fn link(&self, server: usize, tls: bool) -> Client {
        match &self.running {
            Running::Real(real) => Client::new(real.link(server, tls)),
            Running::Sim(sim) => Client::new(Box::new(SimLink::open(
                sim,
                server,
                if tls { Speaks::Tls } else { Speaks::Plain },
            ))),
        }
    }

    /// Opens a stream to the first server and writes `header` before everything else, TLS included.
    pub fn connect_behind(&self, header: &[u8]) -> Client {
        let tls = self.gateway().listeners().iter().any(|listener| listener.tls);
        match &self.running {
            Running::Real(real) => Client::new(real.link_behind(0, tls, header)),
            Running::Sim(sim) => {
                let speaks = if tls { Speaks::Tls } else { Speaks::Plain };
                let mut link = SimLink::open(sim, 0, speaks);
                link.send(header);
                Client::new(Box::new(link))
            }
        }
    }

    /// Opens a stream to the first server and says nothing at all.
    pub fn connect_silent(&self) -> Client {
        match &self.running {
            Running::Real(real) => Client::new(real.link(0, false)),
            Running::Sim(sim) => Client::new(Box::new(SimLink::open(sim, 0, Speaks::Nothing))),
        }
    }

    /// Returns the port of a server, as its clients write it.
    pub fn port(&self, server: usize) -> u16 {
        match &self.running {
            Running::Real(real) => real.address(server).port(),
            Running::Sim(_) => sim::PORT,
        }
    }

    /// Returns the host and port of a peer that sends back what it gets.
    pub fn echo_peer(&self, tls: bool) -> String {
        match &self.running {
            Running::Real(_) => told(echoes::listen(tls)),
            Running::Sim(sim) => {
                sim.borrow_mut().place("127.0.0.1:7", FarEnd::Echo);
                "127.0.0.1 7".to_owned()
            }
        }
    }

    /// Returns a host and port where nobody listens.
    pub fn no_peer(&self) -> String {
        match &self.running {
            Running::Real(_) => told(echoes::nobody()),
            Running::Sim(_) => "127.0.0.1 9".to_owned(),
        }
    }

    /// Writes a file, and returns the folder that it is in.
    pub fn write_file(&self, name: &str, bytes: &[u8]) -> String {
        match &self.running {
            Running::Real(real) => {
                real.replace(name, bytes);
                real.folder().to_str().unwrap().to_owned()
            }
            Running::Sim(sim) => {
                let far = FarEnd::Bytes(bytes.to_vec());
                sim.borrow_mut().place(&format!("folder/{name}"), far);
                "folder".to_owned()
            }
        }
    }

    /// Returns the folder of the configuration, where there is a disk.
    pub fn folder(&self) -> Option<&Path> {
        match &self.running {
            Running::Real(real) => Some(real.folder()),
            Running::Sim(_) => None,
        }
    }

    /// Lets fakes say what they have held back. In the real worlds they look for it by themselves.
    pub fn nudge(&self) {
        if let Running::Sim(sim) = &self.running {
            sim.borrow_mut().nudge();
        }
    }

    /// Returns the gateway.
    pub fn gateway(&self) -> Arc<Gateway> {
        match &self.running {
            Running::Real(real) => Arc::clone(real.gateway()),
            Running::Sim(sim) => Arc::clone(sim.borrow().gateway()),
        }
    }

    /// Returns the simulator, where it is one.
    pub const fn sim(&self) -> Option<&Rc<RefCell<Sim>>> {
        match &self.running {
            Running::Real(_) => None,
            Running::Sim(sim) => Some(sim),
        }
    }

    /// Returns the wall clock.
    pub fn unix(&self) -> UnixTime {
        match &self.running {
            Running::Real(_) => real::unix(),
            Running::Sim(sim) => sim.borrow().now().unix,
        }
    }

    /// Begins a token for `subject`.
    pub fn token(&self, subject: &str) -> Token {
        Token::new(subject, self.unix())
    }

    /// Begins the shutdown.
    pub fn drain(&self) {
        match &self.running {
            Running::Real(real) => real.drain(),
            Running::Sim(sim) => sim.borrow_mut().drain(),
        }
    }

    /// Reads the configuration again, as SIGHUP does.
    pub fn reload(&self) {
        match &self.running {
            Running::Real(real) => real.reload(),
            Running::Sim(sim) => sim.borrow_mut().reload(),
        }
    }

    /// Replaces a file; the background thread finds it.
    pub fn replace(&self, name: &str, bytes: &[u8]) {
        match &self.running {
            Running::Real(real) => real.replace(name, bytes),
            Running::Sim(sim) => {
                sim.borrow_mut().files().insert(name, bytes);
            }
        }
    }

    /// Lets time pass.
    pub fn pass(&self, time: Duration) {
        match &self.running {
            Running::Real(_) => std::thread::sleep(time),
            Running::Sim(sim) => sim.borrow_mut().run_for(time),
        }
    }

    /// Returns all notes so far.
    pub fn notes(&self) -> Vec<Note> {
        match &self.running {
            Running::Real(real) => real.notes().into_iter().map(|(note, _)| note).collect(),
            Running::Sim(sim) => sim.borrow().notes().to_vec(),
        }
    }

    /// Returns all notes so far as the programs write them, in both formats.
    pub fn log(&self) -> String {
        let now = match &self.running {
            Running::Real(_) => Now {
                unix: self.unix(),
                ..Now::default()
            },
            Running::Sim(sim) => sim.borrow().now(),
        };
        written(&self.notes(), now)
    }

    /// Waits until `condition` holds.
    ///
    /// # Panics
    /// If it does not within ten seconds.
    pub fn wait_until(&self, what: &str, mut condition: impl FnMut(&Self) -> bool) {
        let end = Instant::now() + PATIENCE;
        let mut looks = 0;
        while !condition(self) {
            looks += 1;
            let late = match &self.running {
                Running::Real(_) => Instant::now() > end,
                Running::Sim(_) => looks > 10_000,
            };
            assert!(!late, "{what} did not come about");
            self.pass(GLANCE);
        }
    }

    /// Returns how often new rules were refused.
    pub fn reload_failures(&self) -> usize {
        self.notes()
            .iter()
            .filter(|note| matches!(note, Note::ReloadFailed(_)))
            .count()
    }

    /// Waits for the `count`-th decision and returns all so far.
    pub fn decisions(&self, count: usize) -> Vec<Decision> {
        self.wait_until("a decision", |stage| decisions(&stage.notes()).len() >= count);
        decisions(&self.notes())
    }

    /// Waits for the `count`-th end of a socket and returns all so far.
    pub fn closings(&self, count: usize) -> Vec<Closed> {
        self.wait_until("the end of a socket", |stage| {
            closings(&stage.notes()).len() >= count
        });
        closings(&self.notes())
    }
}

/// Returns the real wall clock.
pub fn wall_clock() -> UnixTime {
    real::unix()
}

fn told(address: SocketAddr) -> String {
    format!("{} {}", address.ip(), address.port())
}

/// Writes notes as the programs do, in both formats.
pub fn written(notes: &[Note], now: Now) -> String {
    let mut lines = Vec::new();
    for format in [Format::Text, Format::Json] {
        for note in notes {
            let queue = LogQueue::new(format, Level::Debug);
            queue.push(note, now);
            lines.extend(queue.take(now));
        }
    }
    String::from_utf8(lines).unwrap()
}

/// Returns the decisions among notes.
pub fn decisions(notes: &[Note]) -> Vec<Decision> {
    let decision = |note: &Note| {
        if let Note::Decision(decision) = note {
            Some((**decision).clone())
        } else {
            None
        }
    };
    notes.iter().filter_map(decision).collect()
}

fn closings(notes: &[Note]) -> Vec<Closed> {
    let closed = |note: &Note| {
        if let Note::Closed(closed) = note {
            Some((**closed).clone())
        } else {
            None
        }
    };
    notes.iter().filter_map(closed).collect()
}
