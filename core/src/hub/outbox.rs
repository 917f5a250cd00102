//! What other nodes are to be told of data points: every write as long as they take them, and otherwise
//! the last one.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;

use crate::bus::{Desk, Node, Stamp};

/// The most writes that wait to be told, and the most bytes of them. Beyond it a point's last value is
/// told alone.
const WRITES: usize = 4096;
const WRITE_BYTES: usize = 4 * 1024 * 1024;

/// Longest value that is told to other nodes, in bytes: a larger one is seen by the writer's node alone.
pub(crate) const SHARED_BYTES: usize = 4 * 1024 * 1024;

/// One write that other nodes are to be told of.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) point: Arc<str>,
    pub(crate) state: Bytes,
    pub(crate) stamp: Stamp,
}

/// What waits to be told; empty where there are no other nodes.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// This node, and who tells the others.
    node: OnceLock<(Node, Arc<Desk>)>,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    writes: VecDeque<Write>,
    bytes: usize,
    /// Points whose last value is to be told.
    points: BTreeSet<Arc<str>>,
}

impl Outbox {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes it one of `node`, which shares its points from now on; `desk` is rung when there is
    /// something to tell.
    pub(super) fn share(&self, node: Node, desk: &Arc<Desk>) {
        // Said once in a process.
        let _ = self.node.set((node, Arc::clone(desk)));
    }

    /// Returns this node, if it shares its points.
    pub(super) fn node(&self) -> Option<Node> {
        self.node.get().map(|(node, _)| *node)
    }

    /// Has a write told to the others.
    pub(super) fn put(&self, write: Write) {
        let Some((_, desk)) = self.node.get() else {
            return;
        };
        {
            let mut waiting = self.lock();
            waiting.bytes += write.state.len();
            waiting.writes.push_back(write);
            while waiting.writes.len() > WRITES || waiting.bytes > WRITE_BYTES {
                let Some(gone) = waiting.writes.pop_front() else {
                    break;
                };
                waiting.bytes = waiting.bytes.saturating_sub(gone.state.len());
                waiting.points.insert(gone.point);
            }
        }
        desk.ring();
    }

    /// Has the last value of a point told to the others.
    pub(super) fn put_last(&self, point: &Arc<str>) {
        if self.node.get().is_some() {
            self.lock().points.insert(Arc::clone(point));
        }
    }

    /// The others know the last value of a point.
    pub(super) fn take_back(&self, point: &str) {
        self.lock().points.remove(point);
    }

    /// Forgets the writes that wait: the last values are told instead.
    pub(super) fn clear(&self) {
        let mut waiting = self.lock();
        waiting.writes.clear();
        waiting.bytes = 0;
    }

    /// Returns the next write to tell.
    pub(super) fn take(&self) -> Option<Write> {
        let mut waiting = self.lock();
        let write = waiting.writes.pop_front()?;
        waiting.bytes = waiting.bytes.saturating_sub(write.state.len());
        Some(write)
    }

    /// Returns the next point whose last value is to be told.
    pub(super) fn take_point(&self) -> Option<Arc<str>> {
        self.lock().points.pop_first()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::UnixTime;

    #[test]
    fn what_does_not_fit_is_told_by_its_last_value() {
        let node = Node([1; 16]);
        let write = |point: &str, bytes: usize| Write {
            point: point.into(),
            state: Bytes::from(vec![b'x'; bytes]),
            stamp: Stamp::new(None, node, UnixTime::from_secs(1)),
        };
        let outbox = Outbox::default();
        outbox.put(write("alone", 1));
        assert!(outbox.take().is_none(), "nobody is told");
        outbox.share(node, &Arc::default());
        outbox.put(write("first", 1));
        for _ in 1..WRITES {
            outbox.put(write("a", 1));
        }
        assert!(outbox.take_point().is_none());
        outbox.put(write("a", 1));
        assert_eq!(outbox.take_point().as_deref(), Some("first"));
        outbox.put(write("large", WRITE_BYTES));
        assert_eq!(outbox.take_point().as_deref(), Some("a"));
        assert!(outbox.take().is_some_and(|write| &*write.point == "large") && outbox.take().is_none());
        outbox.put(write("larger", WRITE_BYTES + 1));
        assert!(outbox.take().is_none() && outbox.take_point().is_some());
    }
}
