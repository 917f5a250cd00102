//! Data points: a last value each, and who wants to know of the next one.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::outbox::{Outbox, Write};
use crate::bell::Bell;
use crate::bus::Stamp;
use crate::time::UnixTime;

/// The most memory that the last values of all data points may take together, in bytes. Values are
/// numbers and short texts: this is a million of them.
const VALUES_BYTES: usize = 64 * 1024 * 1024;

/// How many writes before the last one a point remembers, for readers that were not called in time:
/// a client that sends without a pause fills one read of its connection with about so many.
const RECENT_WRITES: usize = 256;

/// The most memory that these may take, in bytes, for each point.
const RECENT_BYTES: usize = 64 * 1024;

/// There is no memory left for so long a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// A data point.
pub(super) struct Point {
    name: Arc<str>,
    inner: Mutex<Inner>,
    /// The bytes of the last values of all points.
    held: Arc<AtomicUsize>,
    /// What other nodes are to be told.
    outbox: Arc<Outbox>,
}

#[derive(Default)]
struct Inner {
    /// How many writes there were.
    writes: u64,
    /// The last states, the newest one at the end; empty before the first write.
    recent: VecDeque<Bytes>,
    /// Bytes of `recent` without the newest.
    recent_bytes: usize,
    readers: BTreeMap<u64, Arc<Bell>>,
    /// When the last state was written, where nodes share it.
    stamp: Option<Stamp>,
}

/// Shows how much there is, never what: a value may be for some eyes only.
impl fmt::Debug for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Point").finish_non_exhaustive()
    }
}

impl Point {
    pub(super) fn new(name: &Arc<str>, held: &Arc<AtomicUsize>, outbox: &Arc<Outbox>) -> Self {
        Self {
            name: Arc::clone(name),
            inner: Mutex::default(),
            held: Arc::clone(held),
            outbox: Arc::clone(outbox),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn state(&self) -> Option<Bytes> {
        self.lock().recent.back().cloned()
    }

    pub(super) fn stamp(&self) -> Option<Stamp> {
        self.lock().stamp
    }

    /// Returns the last write, for other nodes.
    pub(super) fn last(&self) -> Option<Write> {
        let inner = self.lock();
        Some(Write {
            point: Arc::clone(&self.name),
            state: inner.recent.back().cloned()?,
            stamp: inner.stamp?,
        })
    }

    /// Stores what another node has written, if it is newer, and rings all readers.
    pub(super) fn take_in(&self, state: Bytes, stamp: Stamp) {
        let stored = {
            let mut inner = self.lock();
            if inner.stamp.is_some_and(|known| known >= stamp) {
                return;
            }
            let stored = self.store(&mut inner, state, None);
            if stored.is_ok() {
                inner.stamp = Some(stamp);
            }
            stored
        };
        // Without memory for it, it is as if it had not been told.
        for bell in stored.unwrap_or_default() {
            bell.ring();
        }
    }

    /// Stores what a connection has written, has other nodes told, and returns whom to ring.
    fn write(&self, state: Bytes, writer: u64, time: UnixTime) -> Result<Vec<Arc<Bell>>, Full> {
        let mut inner = self.lock();
        let bells = self.store(&mut inner, state.clone(), Some(writer))?;
        if let Some(node) = self.outbox.node() {
            let stamp = Stamp::new(inner.stamp, node, time);
            inner.stamp = Some(stamp);
            // With the lock held: writes are told in their order.
            self.outbox.put(Write {
                point: Arc::clone(&self.name),
                state,
                stamp,
            });
        }
        Ok(bells)
    }

    /// Stores a state, and returns whom to tell.
    fn store(&self, inner: &mut Inner, state: Bytes, writer: Option<u64>) -> Result<Vec<Arc<Bell>>, Full> {
        let before = inner.recent.back().map_or(0, Bytes::len);
        let fits = |held: usize| {
            let sum = held.saturating_sub(before).checked_add(state.len())?;
            (sum <= VALUES_BYTES).then_some(sum)
        };
        self.held
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits)
            .map_err(|_| Full)?;
        inner.recent_bytes += before;
        inner.recent.push_back(state);
        while inner.recent.len() > RECENT_WRITES + 1 || inner.recent_bytes > RECENT_BYTES {
            let gone = inner.recent.pop_front().map_or(0, |state| state.len());
            inner.recent_bytes = inner.recent_bytes.saturating_sub(gone);
        }
        inner.writes += 1;
        let others = inner
            .readers
            .iter()
            .filter(|(number, _)| Some(**number) != writer);
        Ok(others.map(|(_, bell)| Arc::clone(bell)).collect())
    }
}

impl Drop for Point {
    fn drop(&mut self) {
        let before = self.state().map_or(0, |state| state.len());
        self.held.fetch_sub(before, Ordering::Relaxed);
    }
}

/// One connection among the readers of a data point, until it is dropped.
#[derive(Debug)]
pub(crate) struct Reader {
    point: Arc<Point>,
    number: u64,
    /// How many writes it knows of.
    seen: u64,
    /// It could not be told of one in time.
    late: bool,
}

impl Reader {
    pub(super) fn new(point: Arc<Point>, number: u64, bell: &Arc<Bell>) -> Self {
        let mut inner = point.lock();
        inner.readers.insert(number, Arc::clone(bell));
        // The state of now is news to it.
        let seen = inner.writes.saturating_sub(1);
        drop(inner);
        Self {
            point,
            number,
            seen,
            late: false,
        }
    }

    /// Says whether the point was ever written.
    pub(crate) fn is_written(&self) -> bool {
        self.point.lock().writes > 0
    }

    /// Returns the next state that the reader does not know. Who did not keep up when there was one
    /// gets the last state alone as soon as it does; nothing waits for it meanwhile. What is too long
    /// ago to be remembered is skipped too.
    pub(crate) fn next(&mut self, keeps_up: bool) -> Option<Bytes> {
        let inner = self.point.lock();
        let unseen = usize::try_from(inner.writes - self.seen).unwrap_or(usize::MAX);
        if unseen == 0 {
            return None;
        }
        if !keeps_up {
            self.late = true;
            return None;
        }
        let from_end = if self.late {
            1
        } else {
            unseen.min(inner.recent.len())
        };
        let state = inner
            .recent
            .get(inner.recent.len().checked_sub(from_end)?)
            .cloned();
        let left = u64::try_from(from_end - 1).unwrap_or(0);
        self.seen = inner.writes - left;
        self.late = false;
        state
    }

    /// Takes the state back that [`Reader::next`] has returned last: it counts as one that the reader was
    /// too slow for.
    pub(crate) fn put_back(&mut self) {
        self.seen = self.seen.saturating_sub(1);
        self.late = true;
    }

    /// Makes `state`, written at `time`, the point's last one, and rings all other readers.
    ///
    /// # Errors
    /// There is no memory for it; nothing has changed.
    pub(crate) fn write(&self, state: Bytes, time: UnixTime) -> Result<(), Full> {
        let bells = self.point.write(state, self.number, time)?;
        for bell in bells {
            bell.ring();
        }
        Ok(())
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.point.lock().readers.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn point() -> (Arc<Point>, Arc<AtomicUsize>) {
        let held = Arc::default();
        (Arc::new(Point::new(&"p".into(), &held, &Arc::default())), held)
    }

    fn reader(point: &Arc<Point>, number: u64) -> Reader {
        Reader::new(Arc::clone(point), number, &Arc::default())
    }

    fn text(number: usize) -> Bytes {
        Bytes::from(number.to_string())
    }

    #[test]
    fn a_reader_sees_the_last_state_and_then_each_write() {
        let (point, _) = point();
        let writer = reader(&point, 1);
        assert!(!writer.is_written());
        writer.write(text(1), UnixTime::default()).unwrap();
        writer.write(text(2), UnixTime::default()).unwrap();
        let mut reader = reader(&point, 2);
        assert!(reader.is_written());
        assert_eq!((reader.next(true), reader.next(true)), (Some(text(2)), None));
        writer.write(text(3), UnixTime::default()).unwrap();
        writer.write(text(4), UnixTime::default()).unwrap();
        assert_eq!(
            (reader.next(true), reader.next(true)),
            (Some(text(3)), Some(text(4)))
        );
        assert_eq!(reader.next(true), None);
    }

    #[test]
    fn who_does_not_keep_up_gets_the_last_state_alone() {
        let (point, _) = point();
        let (writer, mut reader) = (reader(&point, 1), reader(&point, 2));
        for number in 0..3 {
            writer.write(text(number), UnixTime::default()).unwrap();
            assert_eq!(reader.next(false), None);
        }
        assert_eq!((reader.next(true), reader.next(true)), (Some(text(2)), None));
        // Nothing was missed while nothing was new.
        assert_eq!(reader.next(false), None);
        writer.write(text(3), UnixTime::default()).unwrap();
        writer.write(text(4), UnixTime::default()).unwrap();
        assert_eq!(
            (reader.next(true), reader.next(true)),
            (Some(text(3)), Some(text(4)))
        );
    }

    #[test]
    fn what_is_put_back_comes_again_if_nothing_newer_does() {
        let (point, _) = point();
        let (writer, mut reader) = (reader(&point, 1), reader(&point, 2));
        for (written, expected) in [(1..2, 1), (2..5, 4)] {
            for number in written {
                writer.write(text(number), UnixTime::default()).unwrap();
            }
            for _ in 0..2 {
                assert!(reader.next(true).is_some());
                reader.put_back();
            }
            assert_eq!(
                (reader.next(true), reader.next(true)),
                (Some(text(expected)), None)
            );
        }
    }

    #[test]
    fn what_is_remembered_is_bounded_in_writes_and_bytes() {
        let (point, _) = point();
        let writer = reader(&point, 1);
        let mut late = reader(&point, 2);
        for number in 0..=RECENT_WRITES {
            writer.write(text(number), UnixTime::default()).unwrap();
        }
        let mut in_time = reader(&point, 3);
        in_time.seen = 0;
        assert_eq!(in_time.next(true), Some(text(0)));
        writer
            .write(text(RECENT_WRITES + 1), UnixTime::default())
            .unwrap();
        assert_eq!(late.next(true), Some(text(1)));
        assert_eq!(point.lock().recent.len(), RECENT_WRITES + 1);
        for length in [RECENT_BYTES, RECENT_BYTES + 1] {
            writer
                .write(Bytes::from(vec![b'1'; length]), UnixTime::default())
                .unwrap();
            writer.write(text(0), UnixTime::default()).unwrap();
            let inner = point.lock();
            let expected = if length > RECENT_BYTES { 1 } else { 2 };
            assert_eq!(inner.recent.len(), expected, "{length}");
        }
    }

    #[test]
    fn all_values_share_one_memory_and_give_it_back() {
        let held = Arc::default();
        let (one, two) = (
            Arc::new(Point::new(&"p".into(), &held, &Arc::default())),
            Arc::new(Point::new(&"p".into(), &held, &Arc::default())),
        );
        let (first, second) = (reader(&one, 1), reader(&two, 1));
        first
            .write(Bytes::from(vec![b'1'; VALUES_BYTES - 1]), UnixTime::default())
            .unwrap();
        second.write(text(1), UnixTime::default()).unwrap();
        assert_eq!(second.write(text(10), UnixTime::default()), Err(Full));
        assert_eq!(second.point.state(), Some(text(1)));
        // A value takes the place of the one before.
        first
            .write(Bytes::from(vec![b'2'; VALUES_BYTES - 1]), UnixTime::default())
            .unwrap();
        drop((first, one));
        second.write(text(10), UnixTime::default()).unwrap();
        assert_eq!(held.load(Ordering::Relaxed), 2);
        drop((second, two));
        assert_eq!(held.load(Ordering::Relaxed), 0);
    }

    #[derive(Default)]
    struct Rung(AtomicUsize);

    impl std::task::Wake for Rung {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_write_rings_every_reader_but_the_writer() {
        let (point, _) = point();
        let join = |number| {
            let (bell, rung) = (Arc::new(Bell::default()), Arc::new(Rung::default()));
            bell.set(&Arc::clone(&rung).into());
            (Reader::new(Arc::clone(&point), number, &bell), rung)
        };
        let ((writer, own), (_one, first), (_two, second)) = (join(1), join(2), join(3));
        writer.write(text(1), UnixTime::default()).unwrap();
        let rung = [own, first, second].map(|rung| rung.0.load(Ordering::Relaxed));
        assert_eq!(rung, [0, 1, 1]);
    }

    #[test]
    fn a_reader_that_left_is_not_rung() {
        let (point, _) = point();
        let reader = reader(&point, 1);
        assert_eq!(point.write(text(1), 2, UnixTime::default()).unwrap().len(), 1);
        assert_eq!(point.write(text(1), 1, UnixTime::default()).unwrap().len(), 0);
        drop(reader);
        assert!(point.lock().readers.is_empty());
    }
}
