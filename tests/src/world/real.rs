//! A real server in this process, on ports of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use countersign_core::gateway::Gateway;
use countersign_core::note::Note;
use countersign_core::time::UnixTime;

use super::folder::Folder;
use super::socket::Socket;
use super::{Kind, Setup};
use crate::client::Link;

/// A real server in this process.
#[derive(Debug)]
pub(super) struct Real {
    gateway: Arc<Gateway>,
    folder: Folder,
}

impl Real {
    pub(super) fn start(_kind: Kind, setup: &Setup) -> Self {
        let folder = Folder::new();
        for (name, bytes) in setup.all_files() {
            folder.write(&name, &bytes);
        }
        todo!()
    }

    pub(super) const fn gateway(&self) -> &Arc<Gateway> {
        &self.gateway
    }

    pub(super) fn link(&self, server: usize, tls: bool) -> Box<dyn Link> {
        let address = self.address(server);
        Box::new(if tls { Socket::tls(address) } else { Socket::plain(address) })
    }

    pub(super) fn address(&self, _server: usize) -> SocketAddr {
        todo!()
    }

    pub(super) fn drain(&self) {
        todo!()
    }

    pub(super) fn replace(&self, name: &str, bytes: &[u8]) {
        self.folder.write(name, bytes);
    }

    pub(super) fn notes(&self) -> Vec<Note> {
        todo!()
    }
}

/// Returns the wall clock.
pub(super) fn unix() -> UnixTime {
    UnixTime::new(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO))
}
