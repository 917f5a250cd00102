//! The deadlines of many connections behind one timer of the operating system.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use crate::time::Moment;

/// The deadlines of all connections of an adapter. Whoever runs its one timer calls [`Alarms::ring`]
/// when the timer is due and whenever it is woken.
///
/// A deadline costs no system call unless it is earlier than all others: most of them are moved or
/// stopped before they are reached, and a timer that fires for one of those is only set anew.
///
/// ```
/// use std::task::Waker;
/// use std::time::Duration;
///
/// use countersign_core::ops::alarms::{Alarm, Alarms};
/// use countersign_core::time::Moment;
///
/// let at = |seconds| Moment::new(Duration::from_secs(seconds));
/// let (alarms, mut alarm) = (Alarms::default(), Alarm::default());
/// alarms.set(&mut alarm, at(30), Waker::noop());
/// assert_eq!(alarms.ring(at(1), Waker::noop()), Some(at(30)));
/// // It rings 30 seconds in, and is gone.
/// assert_eq!(alarms.ring(at(30), Waker::noop()), None);
/// ```
#[derive(Debug, Default)]
pub struct Alarms(Mutex<Table>);

/// The one deadline of a connection, to be stopped with [`Alarms::stop`] when the connection is over.
#[derive(Debug, Default)]
pub struct Alarm(Option<Entry>);

/// No two entries are the same, whenever they are due.
type Entry = (Moment, u64);

#[derive(Debug, Default)]
struct Table {
    entries: BTreeMap<Entry, Waker>,
    numbered: u64,
    /// When the timer is due; none if it is not set.
    due: Option<Moment>,
    timer: Option<Waker>,
}

impl Alarm {
    /// Returns the moment that was last set, also if it has passed.
    pub fn at(&self) -> Option<Moment> {
        self.0.map(|(at, _)| at)
    }
}

impl Alarms {
    /// Wakes `waker` at `at`, and not at what was set before.
    pub fn set(&self, alarm: &mut Alarm, at: Moment, waker: &Waker) {
        let mut table = self.lock();
        if let Some(entry) = alarm.0.take() {
            table.entries.remove(&entry);
        }
        table.numbered = table.numbered.wrapping_add(1);
        let entry = (at, table.numbered);
        table.entries.insert(entry, waker.clone());
        alarm.0 = Some(entry);
        let timer = if table.due.is_none_or(|due| at < due) {
            // Once: until the timer was set anew, it is known to be late.
            table.due = Some(at);
            table.timer.take()
        } else {
            None
        };
        drop(table);
        if let Some(timer) = timer {
            timer.wake();
        }
    }

    /// Forgets what was set.
    pub fn stop(&self, alarm: &mut Alarm) {
        if let Some(entry) = alarm.0.take() {
            self.lock().entries.remove(&entry);
        }
    }

    /// Wakes everybody whose moment has come, with no lock held, and returns when to ring again; none
    /// if nobody waits. `timer` is woken when that becomes earlier.
    pub fn ring(&self, now: Moment, timer: &Waker) -> Option<Moment> {
        let mut table = self.lock();
        let mut due = Vec::new();
        while let Some(entry) = table.entries.first_entry() {
            if entry.key().0 > now {
                break;
            }
            due.push(entry.remove());
        }
        table.due = table.entries.first_key_value().map(|((at, _), _)| *at);
        match &mut table.timer {
            Some(known) => known.clone_from(timer),
            none => *none = Some(timer.clone()),
        }
        let again = table.due;
        drop(table);
        for waker in due {
            waker.wake();
        }
        again
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // No call inside can panic half way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;
    use std::time::Duration;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A waker, and how often it was used since it was last asked.
    fn counted() -> (Waker, impl Fn() -> usize) {
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        (waker, move || count.0.swap(0, Ordering::Relaxed))
    }

    fn at(seconds: u64) -> Moment {
        Moment::new(Duration::from_secs(seconds))
    }

    #[test]
    fn everybody_is_woken_once_in_time_and_never_early() {
        let alarms = Alarms::default();
        let (timer, _) = counted();
        let (waker, woken) = counted();
        let mut all: Vec<Alarm> = (0..3).map(|_| Alarm::default()).collect();
        for (alarm, seconds) in all.iter_mut().zip([20, 10, 10]) {
            alarms.set(alarm, at(seconds), &waker);
        }
        assert_eq!((alarms.ring(at(9), &timer), woken()), (Some(at(10)), 0));
        assert_eq!((alarms.ring(at(10), &timer), woken()), (Some(at(20)), 2));
        assert_eq!((alarms.ring(at(21), &timer), woken()), (None, 1));
        assert_eq!((alarms.ring(at(22), &timer), woken()), (None, 0));
        assert_eq!(all[0].at(), Some(at(20)), "whose it was knows when it was");
    }

    #[test]
    fn what_was_moved_or_stopped_does_not_ring() {
        let alarms = Alarms::default();
        let (waker, woken) = counted();
        let (mut moved, mut stopped) = (Alarm::default(), Alarm::default());
        alarms.set(&mut moved, at(10), &waker);
        alarms.set(&mut moved, at(30), &waker);
        alarms.set(&mut stopped, at(20), &waker);
        alarms.stop(&mut stopped);
        alarms.stop(&mut stopped);
        assert_eq!((stopped.at(), moved.at()), (None, Some(at(30))));
        assert_eq!((alarms.ring(at(29), &waker), woken()), (Some(at(30)), 0));
        alarms.stop(&mut moved);
        assert_eq!((alarms.ring(at(30), &waker), woken()), (None, 0));
    }

    #[test]
    fn the_timer_is_woken_only_when_it_would_be_late() {
        let alarms = Alarms::default();
        let (timer, told) = counted();
        let (mut first, mut second, mut third) = (Alarm::default(), Alarm::default(), Alarm::default());
        let waker = Waker::noop();
        assert_eq!(alarms.ring(at(0), &timer), None);
        alarms.set(&mut first, at(30), waker);
        assert_eq!(told(), 1, "nothing was waited for");
        assert_eq!(alarms.ring(at(0), &timer), Some(at(30)));
        for _ in 0..100 {
            // One connection after the other, each ended long before its deadline.
            alarms.set(&mut second, at(40), waker);
            alarms.stop(&mut second);
        }
        alarms.stop(&mut first);
        alarms.set(&mut first, at(35), waker);
        assert_eq!(told(), 0);
        alarms.set(&mut second, at(20), waker);
        alarms.set(&mut third, at(10), waker);
        assert_eq!(told(), 1, "it was told already");
        assert_eq!(alarms.ring(at(0), &timer), Some(at(10)));
    }
}
