//! The budget for heavy work: password hashing takes a share of processors and memory here, or
//! waits its turn in a bounded queue, so that a flood of logins ends in 503 and not in a standstill.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::address::AddressKey;
use crate::bell::Bell;

/// The most jobs that wait for a share at one time: at a tenth of a second each, the last one would
/// be beyond the check timeout on a small machine anyway.
pub(crate) const WAITING_LIMIT: usize = 256;

/// The budget of one gateway.
#[derive(Debug)]
pub(crate) struct Slots {
    table: Mutex<Table>,
}

#[derive(Debug)]
struct Table {
    at_once: usize,
    bytes: usize,
    running: usize,
    running_bytes: usize,
    waiting: VecDeque<Arc<Place>>,
}

/// One place in the queue.
#[derive(Debug)]
struct Place {
    bytes: usize,
    /// Whose it is; `None` for loopback, where everybody shares one address.
    address: Option<AddressKey>,
    bell: Arc<Bell>,
    granted: AtomicBool,
}

impl Slots {
    /// A budget of `at_once` running jobs that use `bytes` of memory together.
    pub(crate) fn new(at_once: usize, bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            table: Mutex::new(Table {
                at_once: at_once.max(1),
                bytes,
                running: 0,
                running_bytes: 0,
                waiting: VecDeque::new(),
            }),
        })
    }

    /// Takes a share, or a place in the queue; `None` if the queue is full or `address` has a place
    /// in it already.
    pub(crate) fn claim(
        self: &Arc<Self>,
        bytes: usize,
        address: Option<AddressKey>,
        bell: &Arc<Bell>,
    ) -> Option<Claim> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let place = Arc::new(Place {
            bytes,
            address,
            bell: Arc::clone(bell),
            granted: AtomicBool::new(false),
        });
        if table.waiting.is_empty() && table.fits(bytes) {
            table.start(&place);
        } else {
            let taken = address.is_some() && table.waiting.iter().any(|other| other.address == address);
            if taken || table.waiting.len() >= WAITING_LIMIT {
                return None;
            }
            table.waiting.push_back(Arc::clone(&place));
        }
        drop(table);
        Some(Claim {
            slots: Arc::clone(self),
            place,
        })
    }

    /// Returns how many jobs run and how many wait.
    pub(crate) fn load(&self) -> (usize, usize) {
        let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        (table.running, table.waiting.len())
    }
}

impl Table {
    /// A job larger than the whole budget runs alone.
    fn fits(&self, bytes: usize) -> bool {
        self.running < self.at_once
            && (self.running == 0 || self.running_bytes.saturating_add(bytes) <= self.bytes)
    }

    fn start(&mut self, place: &Place) {
        self.running += 1;
        self.running_bytes += place.bytes;
        place.granted.store(true, Ordering::Release);
    }
}

/// A share of the budget, or the place in the queue for it. Dropping it gives either back.
#[derive(Debug)]
pub(crate) struct Claim {
    slots: Arc<Slots>,
    place: Arc<Place>,
}

impl Claim {
    /// Says whether the share was granted; until then the bell rings when it is.
    pub(crate) fn is_granted(&self) -> bool {
        self.place.granted.load(Ordering::Acquire)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut rung = Vec::new();
        {
            let mut table = self.slots.table.lock().unwrap_or_else(PoisonError::into_inner);
            if self.is_granted() {
                table.running -= 1;
                table.running_bytes -= self.place.bytes;
            } else {
                table.waiting.retain(|other| !Arc::ptr_eq(other, &self.place));
            }
            while let Some(next) = table.waiting.front().map(Arc::clone) {
                if !table.fits(next.bytes) {
                    break;
                }
                table.waiting.pop_front();
                table.start(&next);
                rung.push(next);
            }
        }
        for place in rung {
            place.bell.ring();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bell() -> Arc<Bell> {
        Arc::new(Bell::default())
    }

    #[test]
    fn shares_are_handed_on_in_order() {
        let slots = Slots::new(1, 100);
        let first = slots.claim(10, None, &bell());
        let second = slots.claim(10, None, &bell());
        let third = slots.claim(10, None, &bell());
        let granted = |c: &Option<Claim>| c.as_ref().is_some_and(Claim::is_granted);
        assert!(granted(&first) && !granted(&second) && !granted(&third));
        drop(second);
        assert!(!granted(&third), "a place in the queue is no share");
        drop(first);
        assert!(granted(&third));
        assert_eq!(slots.load(), (1, 0));
    }

    #[test]
    fn memory_counts_and_one_large_job_runs_alone() {
        let slots = Slots::new(4, 100);
        let small = slots.claim(60, None, &bell());
        let large = slots.claim(500, None, &bell());
        assert!(large.as_ref().is_some_and(|c| !c.is_granted()));
        drop(small);
        assert!(large.as_ref().is_some_and(Claim::is_granted));
    }

    #[test]
    fn the_queue_is_bounded_in_all_and_per_address() {
        let slots = Slots::new(1, 100);
        let address = Some(AddressKey::V4(1));
        let _running = slots.claim(1, address, &bell());
        let waiting = slots.claim(1, address, &bell());
        assert!(waiting.is_some());
        assert!(
            slots.claim(1, address, &bell()).is_none(),
            "one place per address"
        );
        let others: Vec<_> = (0..WAITING_LIMIT - 1)
            .map(|_| slots.claim(1, None, &bell()))
            .collect();
        assert!(others.iter().all(Option::is_some));
        assert!(slots.claim(1, None, &bell()).is_none());
    }
}
