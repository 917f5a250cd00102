//! Who may not come in any more, whatever their credentials say (E20): subjects and single tokens that
//! were revoked, by the admin listener or by a file.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Gateway;
use super::proof::Proof;
use crate::auth::basis::Basis;
use crate::auth::revoked::{Listed, REVOCATIONS, Revoked};
use crate::time::{Deadline, Now};

/// What was revoked at run time. Nothing leaves the table before its time.
#[derive(Default)]
pub(crate) struct Revocations {
    table: Mutex<BTreeMap<Revoked, Deadline>>,
    /// The size of the table: while it is empty, nobody waits for its lock.
    count: AtomicUsize,
    /// How often something was added.
    generation: AtomicU64,
}

impl fmt::Debug for Revocations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revocations")
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}

/// There is no room for another revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// Says whether a revocation has ended: only when both clocks say so, the other way round than a right.
fn is_over(until: Deadline, now: Now) -> bool {
    now.at >= until.at && now.unix >= until.unix
}

impl Revocations {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Revoked, Deadline>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds one that holds for `time`, or lets an earlier one hold until then instead.
    ///
    /// # Errors
    /// There are [`REVOCATIONS`] that have not ended.
    fn add(&self, revoked: Revoked, time: Duration, now: Now) -> Result<(), Full> {
        let mut table = self.lock();
        if table.len() >= REVOCATIONS && !table.contains_key(&revoked) {
            table.retain(|_, until| !is_over(*until, now));
            if table.len() >= REVOCATIONS {
                return Err(Full);
            }
        }
        table.insert(revoked, Deadline::after(time, now));
        self.count.store(table.len(), Ordering::Release);
        // Within the lock: who has seen the new number finds the new entry.
        self.generation.fetch_add(1, Ordering::Release);
        Ok(())
    }

    fn lift(&self, revoked: &Revoked) {
        let mut table = self.lock();
        table.remove(revoked);
        self.count.store(table.len(), Ordering::Release);
    }

    /// Returns a number that is another one as soon as something was added.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Returns how many there are, those that have ended and were not looked at since among them.
    pub(crate) fn len(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    fn holds(&self, basis: &Basis, now: Now) -> bool {
        if self.len() == 0 {
            return false;
        }
        let names = Revoked::names_of(basis);
        let table = self.lock();
        names
            .iter()
            .any(|name| table.get(name).is_some_and(|until| !is_over(*until, now)))
    }
}

impl Gateway {
    /// Says whether something that `basis` rests on is revoked.
    pub(crate) fn is_revoked(&self, basis: &Basis, now: Now) -> bool {
        self.revocations.holds(basis, now) || self.rules().revocations.holds(basis, now.unix)
    }

    pub(crate) const fn revocations(&self) -> &Revocations {
        &self.revocations
    }

    /// Revokes for `time`; no time at all lifts what was revoked by the same words. What is revoked
    /// loses its sessions, its tickets and, as soon as their adapters step them, its sockets.
    ///
    /// # Errors
    /// There is no room for another one.
    pub(crate) fn revoke(&self, revoked: Revoked, time: Duration, now: Now) -> Result<(), Full> {
        if time.is_zero() {
            self.revocations.lift(&revoked);
            return Ok(());
        }
        self.revocations.add(revoked, time, now)?;
        self.end_revoked(now);
        self.bells.ring_all();
        Ok(())
    }

    /// Ends the sessions and tickets of what is revoked.
    pub(super) fn end_revoked(&self, now: Now) {
        let rules = self.rules();
        let listed: &Arc<Listed> = &rules.revocations;
        let revoked =
            |proof: &Proof| self.revocations.holds(&proof.basis, now) || listed.holds(&proof.basis, now.unix);
        self.sessions.end_all(revoked);
        self.tickets.end_all(revoked);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::time::UnixTime;

    const HOUR: Duration = Duration::from_secs(3600);

    fn subject(name: &str) -> Revoked {
        Revoked::subject(name.to_owned(), None, None)
    }

    #[test]
    fn e20_the_table_is_bounded_and_never_evicts() {
        let (table, now) = (Revocations::default(), Now::default());
        for number in 0..REVOCATIONS {
            table.add(subject(&number.to_string()), HOUR, now).unwrap();
        }
        assert_eq!(table.add(subject("one more"), HOUR, now), Err(Full));
        // What is there may be prolonged, and what has ended makes room.
        table.add(subject("7"), HOUR + HOUR, now).unwrap();
        table.lift(&subject("8"));
        table.add(subject("one more"), HOUR, now).unwrap();
        assert_eq!(table.add(subject("another"), HOUR, now), Err(Full));
        table.add(subject("another"), HOUR, now.after(HOUR)).unwrap();
        assert_eq!(table.len(), 2);
    }

    #[test]
    fn e20_a_revocation_ends_when_both_clocks_say_so() {
        let now = Now::default();
        let until = Deadline::after(HOUR, now);
        let later = now.after(HOUR);
        assert!(is_over(until, later));
        assert!(!is_over(until, Now { at: now.at, ..later }));
        let stepped_back = Now {
            unix: UnixTime::from_secs(1),
            ..later
        };
        assert!(!is_over(until, stepped_back));
    }
}
