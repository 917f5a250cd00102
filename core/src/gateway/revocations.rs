//! Who may not come in any more, whatever their credentials say (E20): subjects and single tokens that
//! were revoked, by the admin listener or by a file.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Gateway;
use super::proof::Proof;
use crate::auth::basis::Basis;
use crate::auth::revoked::{Listed, REVOCATIONS, Revoked};
use crate::bus::{Node, Stamp};
use crate::time::{Deadline, Now};

/// How long the other nodes remember that something was lifted of which this one had not heard that it
/// was revoked: as long as a revocation usually holds.
const LIFTED: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a revocation that has ended is still kept for the other nodes, whose clocks may differ.
const GRACE: Duration = Duration::from_secs(60 * 60);

/// What was revoked at run time. Nothing leaves the table before its time.
#[derive(Default)]
pub(crate) struct Revocations {
    table: Mutex<Table>,
    /// The size of the table: while it is empty, nobody waits for its lock.
    count: AtomicUsize,
    /// How often something was added.
    generation: AtomicU64,
}

#[derive(Default)]
struct Table {
    entries: BTreeMap<Revoked, Entry>,
    /// Those that the other nodes have not been told of.
    untold: BTreeSet<Revoked>,
}

/// One revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) until: Deadline,
    /// It holds no more. It is remembered so that no node that has not heard of it revives it.
    pub(crate) lifted: bool,
    pub(crate) stamp: Stamp,
}

impl fmt::Debug for Revocations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revocations")
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}

/// The node that says something where there is but one.
const NOBODY_ELSE: Node = Node([0; 16]);

/// There is no room for another revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// Says whether a revocation has ended: only when both clocks say so, the other way round than a right.
fn is_over(until: Deadline, now: Now) -> bool {
    now.at >= until.at && now.unix >= until.unix
}

impl Entry {
    fn holds(&self, now: Now) -> bool {
        !self.lifted && !is_over(self.until, now)
    }
}

impl Revocations {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds one that holds for `time`, or lets an earlier one hold until then instead.
    ///
    /// # Errors
    /// There are [`REVOCATIONS`] that have not ended.
    fn add(&self, revoked: Revoked, time: Duration, node: Node, now: Now) -> Result<(), Full> {
        let mut table = self.lock();
        let before = table.entries.get(&revoked).map(|entry| entry.stamp);
        let entry = Entry {
            until: Deadline::after(time, now),
            lifted: false,
            stamp: Stamp::new(before, node, now.unix),
        };
        table.insert(&revoked, entry, now)?;
        table.untold.insert(revoked);
        self.count.store(table.entries.len(), Ordering::Release);
        // Within the lock: who has seen the new number finds the new entry.
        self.generation.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// Lifts one. Where other nodes may know of it, they are told so.
    fn lift(&self, revoked: Revoked, node: Option<Node>, now: Now) {
        let mut table = self.lock();
        match node {
            None => {
                table.entries.remove(&revoked);
                table.untold.remove(&revoked);
            }
            Some(node) => {
                let before = table.entries.get(&revoked).copied();
                let entry = Entry {
                    until: before.map_or_else(|| Deadline::after(LIFTED, now), |before| before.until),
                    lifted: true,
                    stamp: Stamp::new(before.map(|before| before.stamp), node, now.unix),
                };
                if table.insert(&revoked, entry, now).is_ok() {
                    table.untold.insert(revoked);
                }
            }
        }
        self.count.store(table.entries.len(), Ordering::Release);
    }

    /// Takes in what another node says; returns whether it is news.
    ///
    /// # Errors
    /// There are [`REVOCATIONS`] that have not ended.
    pub(super) fn take_in(&self, revoked: Revoked, entry: Entry, now: Now) -> Result<bool, Full> {
        let mut table = self.lock();
        match table.entries.get(&revoked).copied() {
            Some(known) if known.stamp == entry.stamp => {
                table.untold.remove(&revoked);
                return Ok(false);
            }
            Some(known) => {
                // Whichever is older may just have replaced the other one in Redis.
                table.untold.insert(revoked.clone());
                if known.stamp > entry.stamp {
                    return Ok(false);
                }
            }
            None if is_over(entry.until, now) => return Ok(false),
            None => {}
        }
        table.insert(&revoked, entry, now)?;
        self.count.store(table.entries.len(), Ordering::Release);
        self.generation.fetch_add(1, Ordering::Release);
        Ok(true)
    }

    /// Has all of them told to the other nodes, but those that turn out to be known there.
    pub(super) fn tell_all(&self) {
        let mut table = self.lock();
        table.untold = table.entries.keys().cloned().collect();
    }

    /// Returns up to `limit` that are to be told to the other nodes, and takes it that they are.
    pub(super) fn take_untold(&self, limit: usize) -> Vec<(Revoked, Entry)> {
        let mut table = self.lock();
        let mut untold = Vec::new();
        while untold.len() < limit
            && let Some(revoked) = table.untold.pop_first()
        {
            if let Some(entry) = table.entries.get(&revoked).copied() {
                untold.push((revoked, entry));
            }
        }
        untold
    }

    /// Forgets those that have ended for every clock, and returns them.
    pub(super) fn take_over(&self, now: Now) -> Vec<Revoked> {
        let ended = |entry: &Entry| {
            let until = Deadline {
                at: entry.until.at.after(GRACE),
                unix: entry.until.unix.after(GRACE),
            };
            is_over(until, now)
        };
        let mut table = self.lock();
        let over = table.entries.iter().filter(|(_, entry)| ended(entry));
        let over: Vec<_> = over.map(|(revoked, _)| revoked.clone()).collect();
        for revoked in &over {
            table.entries.remove(revoked);
            table.untold.remove(revoked);
        }
        self.count.store(table.entries.len(), Ordering::Release);
        over
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
            .any(|name| table.entries.get(name).is_some_and(|entry| entry.holds(now)))
    }
}

impl Table {
    fn insert(&mut self, revoked: &Revoked, entry: Entry, now: Now) -> Result<(), Full> {
        if self.entries.len() >= REVOCATIONS && !self.entries.contains_key(revoked) {
            self.entries.retain(|_, entry| !is_over(entry.until, now));
            if self.entries.len() >= REVOCATIONS {
                return Err(Full);
            }
        }
        self.entries.insert(revoked.clone(), entry);
        Ok(())
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
        let bus = self.bus();
        let node = bus.map(crate::bus::Bus::node);
        if time.is_zero() {
            self.revocations.lift(revoked, node, now);
        } else {
            self.revocations
                .add(revoked, time, node.unwrap_or(NOBODY_ELSE), now)?;
            self.end_revoked(now);
        }
        if let Some(bus) = bus {
            bus.desk().ring();
        }
        if time.is_zero() {
            return Ok(());
        }
        self.bells.ring_all();
        Ok(())
    }

    /// Ends the sessions and tickets of what is revoked.
    pub(super) fn end_revoked(&self, now: Now) {
        let rules = self.rules();
        let listed: &Arc<Listed> = &rules.revocations;
        let revoked =
            |proof: &Proof| self.revocations.holds(&proof.basis, now) || listed.holds(&proof.basis, now.unix);
        self.sessions.end_all(revoked, now);
        let tickets = self.tickets.end_all(revoked);
        if let Some(bus) = self.bus() {
            for key in tickets {
                bus.tell(&[b"DEL", &crate::bus::key_of(&key)]);
            }
            bus.desk().ring();
        }
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
            table
                .add(subject(&number.to_string()), HOUR, NOBODY_ELSE, now)
                .unwrap();
        }
        assert_eq!(table.add(subject("one more"), HOUR, NOBODY_ELSE, now), Err(Full));
        // What is there may be prolonged, and what has ended makes room.
        table.add(subject("7"), HOUR + HOUR, NOBODY_ELSE, now).unwrap();
        table.lift(subject("8"), None, now);
        table.add(subject("one more"), HOUR, NOBODY_ELSE, now).unwrap();
        assert_eq!(table.add(subject("another"), HOUR, NOBODY_ELSE, now), Err(Full));
        table
            .add(subject("another"), HOUR, NOBODY_ELSE, now.after(HOUR))
            .unwrap();
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

    #[test]
    fn of_two_statements_about_the_same_the_later_one_counts_on_every_node() {
        let now = Now::default().after(HOUR);
        let node = |byte| Node([byte; 16]);
        let holds = |table: &Revocations| {
            let table = table.lock();
            table
                .entries
                .get(&subject("a"))
                .is_some_and(|entry| entry.holds(now))
        };
        let (one, two) = (Revocations::default(), Revocations::default());
        let tell = |from: &Revocations, to: &Revocations| -> usize {
            let untold = from.take_untold(10);
            let news = untold.into_iter();
            news.filter(|(revoked, entry)| to.take_in(revoked.clone(), *entry, now).unwrap())
                .count()
        };
        one.add(subject("a"), HOUR, node(1), now).unwrap();
        assert_eq!(tell(&one, &two), 1);
        assert!(holds(&two) && two.take_untold(10).is_empty());
        // In the same moment, but later: and what is old by now changes nothing.
        let old = one.lock().entries.clone();
        two.lift(subject("a"), Some(node(2)), now);
        assert_eq!(tell(&two, &one), 1);
        assert!(!holds(&one) && !holds(&two));
        for (revoked, entry) in old {
            assert!(!one.take_in(revoked.clone(), entry, now).unwrap());
            assert_eq!(
                one.take_untold(10).len(),
                1,
                "whoever says the old thing hears the new one"
            );
        }
        one.tell_all();
        assert_eq!(tell(&one, &two), 0);
        // Over for every clock.
        let later = now.after(HOUR + GRACE);
        assert_eq!(one.take_over(now.after(HOUR)).len(), 0);
        assert_eq!((one.take_over(later).len(), one.len()), (1, 0));
        let ended = Entry {
            until: Deadline::after(HOUR, now),
            lifted: false,
            stamp: Stamp::new(None, node(1), now.unix),
        };
        assert!(!one.take_in(subject("a"), ended, later).unwrap());
    }

    #[test]
    fn what_another_node_says_finds_the_same_bound() {
        let (table, now) = (Revocations::default(), Now::default());
        let entry = Entry {
            until: Deadline::after(HOUR, now),
            lifted: false,
            stamp: Stamp::new(None, NOBODY_ELSE, now.unix),
        };
        for number in 0..REVOCATIONS {
            table
                .add(subject(&number.to_string()), HOUR, NOBODY_ELSE, now)
                .unwrap();
        }
        assert_eq!(table.take_in(subject("one more"), entry, now), Err(Full));
    }
}
