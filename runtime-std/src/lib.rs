//! countersign on std threads: rustls and `poll` bound to the sans-IO core.
//!
//! Every connection has a thread of its own that owns all its streams and sleeps in `poll` until
//! one of them, a wake-up or the next deadline is due. Threads are used again. One that leads handshakes
//! has touched much of its stack: when a connection becomes quiet for the first time, it goes on with a
//! thread that has not. Nothing is decided here: every answer comes
//! from the core.

mod accept;
mod clock;
mod crew;
mod drive;
mod files;
mod legs;
mod mailbox;
mod scratch;
mod server;
mod stream;

use std::num::NonZero;
use std::thread::available_parallelism;

use countersign_core::gateway::Capacity;

pub use clock::Clock;
pub use files::SystemFiles;
pub use mailbox::SPARE_ALARMS;
pub use server::{Listeners, Log, Options, Server};

/// The default of `limits.connections`: each takes a thread, and some 25 KiB when it is idle.
const CONNECTIONS: usize = 4000;

/// Returns what this runtime tells the core of itself and its machine.
pub fn capacity() -> Capacity {
    Capacity {
        cores: available_parallelism().map_or(1, NonZero::get),
        connections: CONNECTIONS,
        // The socket, and what wakes its thread.
        descriptors_per_connection: 2,
    }
}
