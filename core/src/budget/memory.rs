//! The memory that large messages share, so that many peers cannot each announce the largest one.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::bell::Bell;

/// The shared memory for messages of one gateway.
#[derive(Debug)]
pub(crate) struct Memory {
    total: usize,
    table: Mutex<Table>,
}

#[derive(Debug)]
struct Table {
    free: usize,
    waiting: VecDeque<Weak<Bell>>,
}

/// The most connections that are rung when memory comes back; others look again when their stall
/// timer ends. A connection waits here at most once.
const WAITING_LIMIT: usize = 4096;

impl Memory {
    /// A pool of `bytes`.
    pub(crate) fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            total: bytes,
            table: Mutex::new(Table {
                free: bytes,
                waiting: VecDeque::new(),
            }),
        })
    }

    /// Takes `bytes`; if there are not that many, `bell` rings when some came back.
    pub(crate) fn claim(self: &Arc<Self>, bytes: usize, bell: &Arc<Bell>) -> Option<MemoryClaim> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(left) = table.free.checked_sub(bytes) {
            table.free = left;
            drop(table);
            return Some(MemoryClaim {
                memory: Arc::clone(self),
                bytes,
            });
        }
        let known = table
            .waiting
            .iter()
            .any(|other| other.as_ptr() == Arc::as_ptr(bell));
        if !known && table.waiting.len() < WAITING_LIMIT {
            table.waiting.push_back(Arc::downgrade(bell));
        }
        None
    }

    /// Adds `bytes` to `claim` on the same terms.
    pub(crate) fn grow(self: &Arc<Self>, claim: &mut MemoryClaim, bytes: usize, bell: &Arc<Bell>) -> bool {
        let Some(more) = self.claim(bytes, bell) else {
            return false;
        };
        claim.bytes += bytes;
        // The share is part of the larger claim now.
        let mut more = more;
        more.bytes = 0;
        true
    }

    /// Returns how many bytes there are in all: a claim of more would wait for ever.
    pub(crate) const fn total(&self) -> usize {
        self.total
    }

    /// Returns how many bytes are free.
    pub(crate) fn free(&self) -> usize {
        self.table.lock().unwrap_or_else(PoisonError::into_inner).free
    }
}

/// Memory that a message may use. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct MemoryClaim {
    memory: Arc<Memory>,
    bytes: usize,
}

impl MemoryClaim {
    /// Returns the size of the claim.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for MemoryClaim {
    fn drop(&mut self) {
        let waiting = {
            let mut table = self.memory.table.lock().unwrap_or_else(PoisonError::into_inner);
            table.free += self.bytes;
            if self.bytes == 0 {
                VecDeque::new()
            } else {
                std::mem::take(&mut table.waiting)
            }
        };
        for bell in waiting.iter().filter_map(Weak::upgrade) {
            bell.ring();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn memory_comes_back() {
        let (memory, bell) = (Memory::new(100), Arc::new(Bell::default()));
        let held = memory.claim(80, &bell);
        assert!(held.is_some() && memory.claim(30, &bell).is_none());
        let mut held = held.unwrap();
        assert!(memory.grow(&mut held, 20, &bell) && !memory.grow(&mut held, 1, &bell));
        drop(held);
        assert_eq!(memory.free(), 100);
        assert!(memory.claim(100, &bell).is_some());
    }
}
