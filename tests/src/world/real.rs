//! A real server in this process, on ports of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use countersign_core::config::{Files, MemoryFiles, Page};
use countersign_core::entropy::Seed;
use countersign_core::gateway::Gateway;
use countersign_core::note::Note;
use countersign_core::time::{Now, UnixTime};

use super::folder::Folder;
use super::socket::Socket;
use super::{FILE, Kind, Setup};
use crate::client::Link;

type Notes = Arc<Mutex<Vec<(Note, Now)>>>;

/// A real server in this process.
#[derive(Debug)]
pub(super) struct Real {
    server: Server,
    gateway: Arc<Gateway>,
    notes: Notes,
    folder: Folder,
}

#[derive(Debug)]
enum Server {
    Smol(countersign_smol::Server, countersign_smol::Clock),
    Std(countersign_std::Server, countersign_std::Clock),
}

impl Real {
    pub(super) fn start(kind: Kind, setup: &Setup, seed: Seed) -> Self {
        let folder = Folder::new();
        for (name, bytes) in setup.all_files() {
            folder.write(&name, &bytes);
        }
        let path = folder.path().join(FILE);
        let files: Box<dyn Files + Send> = match kind {
            Kind::Smol => Box::new(countersign_smol::SystemFiles),
            Kind::Std | Kind::Sim => Box::new(countersign_std::SystemFiles),
        };
        Self::serve(kind, path, files, (&[], seed), folder)
    }

    /// Serves what is in memory, with fixed pages.
    pub(super) fn start_in_memory(
        kind: Kind,
        path: PathBuf,
        files: MemoryFiles,
        pages: (&[Page], Seed),
    ) -> Self {
        Self::serve(kind, path, Box::new(files), pages, Folder::new())
    }

    fn serve(
        kind: Kind,
        path: PathBuf,
        mut files: Box<dyn Files + Send>,
        pages: (&[Page], Seed),
        folder: Folder,
    ) -> Self {
        let gateway = super::load(&path, &mut *files, pages);
        let notes = Notes::default();
        let kept = Arc::clone(&notes);
        let log = Arc::new(move |note: &Note, now: Now| kept.lock().unwrap().push((note.clone(), now)));
        let config = Some(path);
        let served = Arc::clone(&gateway);
        let server = match kind {
            Kind::Smol => {
                let clock = countersign_smol::Clock::start();
                let options = countersign_smol::Options {
                    clock,
                    log,
                    config,
                    files,
                };
                Server::Smol(countersign_smol::Server::start(served, options).unwrap(), clock)
            }
            Kind::Std | Kind::Sim => {
                let clock = countersign_std::Clock::start();
                let options = countersign_std::Options {
                    clock,
                    log,
                    config,
                    files,
                };
                Server::Std(countersign_std::Server::start(served, options).unwrap(), clock)
            }
        };
        Self {
            server,
            gateway,
            notes,
            folder,
        }
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(super) const fn gateway(&self) -> &Arc<Gateway> {
        &self.gateway
    }

    pub(super) fn link(&self, server: usize, tls: bool) -> Box<dyn Link> {
        self.link_behind(server, tls, b"")
    }

    /// A link whose first bytes are `header`, before TLS.
    pub(super) fn link_behind(&self, server: usize, tls: bool, header: &[u8]) -> Box<dyn Link> {
        let address = self.address(server);
        Box::new(if tls {
            Socket::tls(address, header)
        } else {
            Socket::plain(address, header)
        })
    }

    pub(super) fn address(&self, server: usize) -> SocketAddr {
        let addresses = match &self.server {
            Server::Smol(server, _) => server.addresses(),
            Server::Std(server, _) => server.addresses(),
        };
        // The suite's servers have one address each.
        addresses[server]
    }

    pub(super) fn drain(&self) {
        let now = match &self.server {
            Server::Smol(_, clock) => clock.now(),
            Server::Std(_, clock) => clock.now(),
        };
        self.gateway.drain(now);
    }

    pub(super) fn reload(&self) {
        match &self.server {
            Server::Smol(server, _) => server.reload(),
            Server::Std(server, _) => server.reload(),
        }
    }

    pub(super) fn replace(&self, name: &str, bytes: &[u8]) {
        self.folder.write(name, bytes);
    }

    pub(super) fn notes(&self) -> Vec<(Note, Now)> {
        self.notes.lock().unwrap().clone()
    }
}

/// Returns the wall clock.
pub(super) fn unix() -> UnixTime {
    UnixTime::new(
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or(Duration::ZERO),
    )
}
