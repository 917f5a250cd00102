//! One accepted stream in the simulator, with all its legs, seen from the wire.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use countersign_core::leg::{Leg, Opened};
use countersign_core::time::Moment;

use super::far::FarEnd;
use super::{START, Speaks};
use crate::fake::Talker;
use crate::watched::Watched;

/// How a stream ended for its far end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// An orderly end of stream.
    Eof,
    /// A reset: what was not read before may be lost.
    Reset,
}

/// How far the TLS of a leg is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tls {
    /// Plain text, or the handshake is done.
    Open,
    /// The handshake has not ended: no byte passes.
    Pending,
}

/// One leg, seen from its far end.
pub(super) struct Stream {
    /// Written by the far end, not read by the core yet.
    pub(super) inbound: VecDeque<u8>,
    /// Whether an end of stream follows it.
    pub(super) finished: bool,
    /// Whether the core was told so.
    pub(super) told: bool,
    /// Written by the core and taken by the operating system, not read by the far end yet.
    pub(super) received: Vec<u8>,
    /// Whether the far end reads; if not, the operating system takes `room` bytes more.
    pub(super) room: usize,
    /// How it ended for the far end.
    pub(super) ended: Option<End>,
    pub(super) tls: Tls,
    pub(super) delivering: bool,
    pub(super) taking: bool,
    /// Who answers at the other end; the client's leg is driven by a script.
    pub(super) far: Option<FarEnd>,
    /// The fake's side of this stream.
    pub(super) talker: Option<Box<dyn Talker>>,
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("far", &self.far)
            .finish_non_exhaustive()
    }
}

impl Stream {
    pub(super) fn new(tls: Tls, far: Option<FarEnd>) -> Self {
        Self {
            inbound: VecDeque::new(),
            finished: false,
            told: false,
            received: Vec::new(),
            room: usize::MAX,
            ended: None,
            tls,
            delivering: false,
            taking: false,
            talker: match &far {
                Some(FarEnd::Fake(fake)) => Some(fake.talker()),
                Some(
                    FarEnd::Dead(_)
                    | FarEnd::Silent
                    | FarEnd::Echo
                    | FarEnd::Bytes(_)
                    | FarEnd::Announced(..),
                )
                | None => None,
            },
            far,
        }
    }

    /// Lets the far end be a file with these contents, which was announced with a length.
    pub(super) fn give(&mut self, bytes: &[u8], length: u64) -> Opened {
        self.inbound.extend(bytes);
        self.finished = true;
        Opened {
            length: Some(length),
            modified: Some(START),
            ..Opened::default()
        }
    }

    /// Says whether there is something that the core could read.
    pub(super) fn has_input(&self) -> bool {
        self.tls == Tls::Open && (!self.inbound.is_empty() || (self.finished && !self.told))
    }
}

/// One accepted stream.
#[derive(Debug)]
pub(super) struct Line {
    /// The connection; gone when it is over.
    pub(super) watched: Option<Watched>,
    /// All its legs.
    pub(super) streams: BTreeMap<Leg, Stream>,
    /// What the client speaks as soon as TLS is to begin.
    pub(super) speaks: Speaks,
    /// What the one timer is set to.
    pub(super) armed: Option<Moment>,
}

impl Line {
    /// Ends all legs, as an adapter does that lets go of them.
    pub(super) fn let_go(&mut self) {
        self.watched = None;
        self.armed = None;
        for stream in self.streams.values_mut() {
            // A close with unread input resets the stream, and the far end may lose what it has
            // not read yet (RFC 9112 section 9.6).
            if !stream.inbound.is_empty() {
                stream.received.clear();
                stream.ended = Some(End::Reset);
            } else if stream.ended.is_none() {
                stream.ended = Some(End::Eof);
            }
        }
    }
}
