//! The contract between a connection and its adapter: one enum in, one enum out.

use std::net::SocketAddr;

use super::Connection;
use crate::job::{Computed, Job};
use crate::leg::{Break, Dial, DialError, Leg, Opened, Tls, TlsInfo};
use crate::note::Note;
use crate::time::Moment;

/// Both ends of an accepted stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The index of the server whose listener accepted it.
    pub server: usize,
    /// The address of the client.
    pub remote: SocketAddr,
    /// The address that it connected to.
    pub local: SocketAddr,
}

/// What happened outside.
#[derive(Debug)]
pub enum Input<'a> {
    /// The TLS handshake of this leg is done.
    Secured(Leg, TlsInfo),
    /// Bytes arrived. All are taken; the adapter reads on only while [`Wait::wants_read`] says so.
    Data(Leg, &'a [u8]),
    /// The peer has shut down its writing side; the other direction may still be open.
    Eof(Leg),
    /// The leg is gone in both directions.
    Broken(Leg, Break),
    /// The operating system took this many bytes of [`Wait::outgoing`]: not before TLS was flushed.
    Sent(Leg, usize),
    /// A [`Step::Dial`] ended.
    Dialed(Leg, Result<Opened, DialError>),
    /// A [`Step::Compute`] ended.
    Computed(Computed),
}

/// What the adapter is to do next.
#[derive(Debug)]
#[must_use = "a step that is not done is never asked for again"]
pub enum Step<'c> {
    /// Open this stream and answer with [`Input::Dialed`].
    Dial(Dial),
    /// Start TLS on an open leg and answer with [`Input::Secured`]. Bytes of the leg that are not
    /// read yet belong to the handshake.
    Secure(Leg, Tls),
    /// Run this away from the IO path and answer with [`Input::Computed`].
    Compute(Job),
    /// Write this to the log, without waiting.
    Note(Note),
    /// When all outgoing bytes of the leg were sent, end its stream (TLS: close_notify first) and
    /// shut down writing. The leg keeps its reads until its end of stream.
    Hangup(Leg),
    /// Let go of this leg, or of its dialing, at once. Never the client's.
    Drop(Leg),
    /// There is nothing to do until one of these happens.
    Wait(Wait<'c>),
    /// The connection is over: let go of every leg.
    Closed,
}

/// What a connection waits for: bytes and interest of each leg, and the next deadline. It borrows
/// the connection, so that no input can be handled while stale levels are at hand:
///
/// ```compile_fail
/// use countersign_core::connection::{Connection, Input, Step};
/// use countersign_core::{leg::Leg, time::Now};
/// fn misuse(mut connection: Connection, now: Now) {
///     if let Step::Wait(wait) = connection.step(now) {
///         connection.handle(now, Input::Eof(Leg::CLIENT));
///         let _ = wait.deadline();
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Wait<'c>(pub(super) &'c Connection);

impl<'c> Wait<'c> {
    /// Returns when to step again if nothing happens before.
    pub fn deadline(self) -> Option<Moment> {
        self.0.deadline()
    }

    /// Says whether bytes of this leg are wanted now.
    pub fn wants_read(self, leg: Leg) -> bool {
        self.0.wants_read(leg)
    }

    /// Returns how many bytes of this leg may be read at once, at least one. It is small only while
    /// something is read behind which TLS begins.
    pub fn read_at_most(self, leg: Leg) -> usize {
        self.0.read_at_most(leg)
    }

    /// Returns the bytes to write to this leg next. Empty when everything was reported `Sent`.
    pub fn outgoing(self, leg: Leg) -> &'c [u8] {
        self.0.outgoing(leg)
    }

    /// Returns the legs that are open or being opened, the client's first.
    pub fn legs(self) -> impl Iterator<Item = Leg> + use<'c> {
        self.0.legs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_and_what_it_waits_for_may_move_between_threads() {
        const fn movable<T: Send>() {}
        movable::<Connection>();
        movable::<Wait<'static>>();
        movable::<Step<'static>>();
        movable::<Input<'static>>();
    }

    #[test]
    fn a_connection_is_small_while_it_has_nothing_to_do() {
        // One such block for each of a hundred thousand idle connections.
        let size = size_of::<Connection>();
        assert!(size <= 900, "{size} bytes");
    }
}
