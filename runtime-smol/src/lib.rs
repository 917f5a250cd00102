//! countersign on smol: async-executor, blocking and rustls bound to the sans-IO core.
//!
//! One future per connection owns all its streams and polls them directly; a few threads run all futures, each
//! those that it accepted, with an epoll instance of its own. Nothing is decided here: every answer comes from the
//! core.

mod bell;
mod clock;
mod dial;
mod drive;
mod files;
mod listener;
mod reactor;
mod server;
mod socket;
mod stream;
mod tls;

use std::num::NonZero;
use std::thread::available_parallelism;

use countersign_core::gateway::Capacity;

pub use clock::Clock;
pub use files::SystemFiles;
pub use server::{Listeners, Log, Options, Server};

/// The default of `limits.connections`: an idle TLS connection takes some 6.5 KiB here.
const CONNECTIONS: usize = 100_000;

/// Returns what this runtime tells the core of itself and its machine.
pub fn capacity() -> Capacity {
    Capacity {
        cores: available_parallelism().map_or(1, NonZero::get),
        connections: CONNECTIONS,
        // Timers, wake-ups and jobs take none.
        descriptors_per_connection: 1,
    }
}
