//! countersign on std threads: rustls and `poll` bound to the sans-IO core.
//!
//! Every connection has a thread of its own that owns all its streams and sleeps in `poll` until
//! one of them, a wake-up or the next deadline is due. Nothing is decided here: every answer comes
//! from the core.

mod clock;
mod crew;
mod drive;
mod files;
mod legs;
mod mailbox;
mod server;
mod stream;

pub use clock::Clock;
pub use files::SystemFiles;
pub use server::{Listeners, Log, Options, Server};
