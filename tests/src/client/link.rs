//! What a client's end of a stream can do, in every world.

use std::fmt::Debug;
use std::time::Duration;

pub use crate::sim::End;

/// What came of waiting for bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// These bytes.
    Bytes(Vec<u8>),
    /// The end of the stream.
    End(End),
    /// Nothing in time.
    Nothing,
}

/// A client's end of a stream.
pub trait Link: Debug {
    /// Writes all of `bytes`, as one write. Says whether the stream still took them.
    fn send(&mut self, bytes: &[u8]) -> bool;
    /// Shuts down writing.
    fn half_close(&mut self);
    /// Resets the stream.
    fn abort(&mut self);
    /// Stops reading until the next [`Link::receive`]; the system between takes `room` bytes more
    /// at least, and real ones take what they like.
    fn stop_reading(&mut self, room: usize);
    /// Waits for bytes, at most for `patience`.
    fn receive(&mut self, patience: Duration) -> Received;
}
