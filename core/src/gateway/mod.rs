//! What all connections share: rules, limits, budgets, bells, counters.

mod admission;
mod bells;
mod memory;
mod slots;
pub(crate) mod tls;

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;

pub use admission::Admission;

use crate::config::{Config, ConfigErrors, Files};
use crate::entropy::Seed;
use crate::note::Note;
use crate::time::Now;

/// What the runtime tells of itself and its machine.
#[derive(Clone, Copy, Debug)]
pub struct Capacity {
    /// Processors that the process may use.
    pub cores: usize,
    /// The default of `limits.connections` for this runtime.
    pub connections: usize,
    /// How many descriptors one connection takes, at most.
    pub descriptors_per_connection: usize,
}

/// An address that a server listens on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The index of the server, for [`Peer::server`](crate::connection::Peer::server).
    pub server: usize,
    /// The id of the server.
    pub id: Arc<str>,
    /// The address to bind; port 0 asks the operating system for a free one.
    pub address: SocketAddr,
    /// Whether TLS is spoken on it.
    pub tls: bool,
}

/// Figures of a gateway at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Open connections, whatever their state.
    pub connections: usize,
    /// Open WebSockets.
    pub sockets: usize,
    /// Heavy jobs that run.
    pub jobs_running: usize,
    /// Heavy jobs that wait for their turn.
    pub jobs_waiting: usize,
}

/// What all connections of a process share.
#[derive(Debug)]
pub struct Gateway {
    admissions: admission::Admissions,
    bells: bells::Bells,
}

impl Gateway {
    /// Builds a gateway from a loaded configuration.
    ///
    /// # Errors
    /// Everything that is wrong in the files that the configuration names, each with its place.
    pub fn new(_config: Config, _seed: Seed, _capacity: Capacity) -> Result<Arc<Self>, ConfigErrors> {
        Ok(Arc::new(Self {
            admissions: admission::Admissions::default(),
            bells: bells::Bells::default(),
        }))
    }

    /// Returns the addresses to listen on, in the order of the configuration.
    pub fn listeners(&self) -> Vec<Listener> {
        Vec::new()
    }

    /// Returns the TLS settings of a server, to be asked for at every accept since a reload may
    /// change them; `None` for a server that speaks plain text.
    pub fn tls(&self, _server: usize) -> Option<Arc<ServerConfig>> {
        None
    }

    /// Lowers the connection limit to what `descriptors` allow, and says so. To be called once,
    /// before the first accept, with the soft limit after it was raised.
    pub fn fit_descriptors(&self, _descriptors: u64) -> Option<Note> {
        None
    }

    /// Looks at every named file, reloads what changed, and rings connections after the clocks
    /// jumped. The adapter calls it every 2 seconds from a thread of its own and logs the notes.
    pub fn refresh(&self, _files: &mut dyn Files, _now: Now) -> Vec<Note> {
        Vec::new()
    }

    /// Reads the configuration file and all files that it names again (SIGHUP). A bad one changes
    /// nothing. The notes say which it was.
    pub fn reload(&self, _path: &Path, _files: &mut dyn Files, _now: Now) -> Vec<Note> {
        Vec::new()
    }

    /// Begins the shutdown: open sockets get Close 1001, new upgrades 503. The adapter ends the
    /// process when no connection is open, at the latest when the returned time has passed.
    pub fn drain(&self, _now: Now) -> Duration {
        Duration::ZERO
    }

    /// Takes a slot for a connection from `peer`, before any TLS work; `None` over a limit, and
    /// then the adapter closes the stream. The slot is given back when the `Admission` is dropped.
    pub fn admit(self: &Arc<Self>, peer: IpAddr, _now: Now) -> Option<Admission> {
        Admission::new(self, peer, 1000, 100)
    }

    /// Returns figures for the operator.
    pub fn stats(&self) -> Stats {
        Stats {
            connections: self.admissions.open(),
            ..Stats::default()
        }
    }
}
