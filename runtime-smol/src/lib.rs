//! countersign on smol: async-io and futures-rustls bound to the sans-IO core.
//!
//! One future per connection owns all its streams and polls them directly; a few threads run all
//! futures. Nothing is decided here: every answer comes from the core.

mod clock;
mod dial;
mod drive;
mod files;
mod server;
mod stream;

pub use clock::Clock;
pub use files::SystemFiles;
pub use server::{Listeners, Log, Options, Server};
