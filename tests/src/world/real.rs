//! A real server in this process, on ports of its own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use countersign_core::config::{Config, Files};
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
    pub(super) fn start(kind: Kind, setup: &Setup) -> Self {
        let folder = Folder::new();
        for (name, bytes) in setup.all_files() {
            folder.write(&name, &bytes);
        }
        let path = folder.path().join(FILE);
        let notes = Notes::default();
        let (gateway, server) = match kind {
            Kind::Smol => smol(path, Arc::clone(&notes)),
            Kind::Std | Kind::Sim => std(path, Arc::clone(&notes)),
        };
        Self {
            server,
            gateway,
            notes,
            folder,
        }
    }

    pub(super) const fn gateway(&self) -> &Arc<Gateway> {
        &self.gateway
    }

    pub(super) fn link(&self, server: usize, tls: bool) -> Box<dyn Link> {
        let address = self.address(server);
        Box::new(if tls {
            Socket::tls(address)
        } else {
            Socket::plain(address)
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

fn load(path: &PathBuf, files: &mut dyn Files) -> Arc<Gateway> {
    let config = Config::load(path, files).unwrap_or_else(|errors| panic!("{errors}"));
    super::gateway(config)
}

fn smol(path: PathBuf, notes: Notes) -> (Arc<Gateway>, Server) {
    let gateway = load(&path, &mut countersign_smol::SystemFiles);
    let clock = countersign_smol::Clock::start();
    let options = countersign_smol::Options {
        clock,
        log: Arc::new(move |note, now| notes.lock().unwrap().push((note.clone(), now))),
        config: Some(path),
        files: Box::new(countersign_smol::SystemFiles),
    };
    let server = countersign_smol::Server::start(Arc::clone(&gateway), options).unwrap();
    (gateway, Server::Smol(server, clock))
}

fn std(path: PathBuf, notes: Notes) -> (Arc<Gateway>, Server) {
    let gateway = load(&path, &mut countersign_std::SystemFiles);
    let clock = countersign_std::Clock::start();
    let options = countersign_std::Options {
        clock,
        log: Arc::new(move |note, now| notes.lock().unwrap().push((note.clone(), now))),
        config: Some(path),
        files: Box::new(countersign_std::SystemFiles),
    };
    let server = countersign_std::Server::start(Arc::clone(&gateway), options).unwrap();
    (gateway, Server::Std(server, clock))
}

/// Returns the wall clock.
pub(super) fn unix() -> UnixTime {
    UnixTime::new(
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or(Duration::ZERO),
    )
}
