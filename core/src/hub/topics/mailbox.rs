//! What waits for one member of a topic, bounded in bytes.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::bell::Bell;
use crate::ws::Encoded;

/// What an entry of a mailbox takes beside the bytes that it shares with others, in bytes: without it a
/// mailbox full of empty messages would be many times as large as it may be.
pub(super) const ENTRY_BYTES: usize = size_of::<Encoded>();

/// A mailbox is crowded when it is filled beyond this part, one in so many. While one is, nobody sends:
/// a burst arrives faster than it is handed on, and who has not had the time for it is not slow yet.
const CROWDED_PART: usize = 4;

/// Who takes what is in a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// A client of this node.
    Client,
    /// All other nodes. What they say waits for the clients of this one, never for their own mailbox.
    Nodes,
}

/// What waits for one member. Its lock is taken below the topic's.
pub(super) struct Mailbox {
    pub(super) owner: Owner,
    pub(super) limit: usize,
    pub(super) bell: Arc<Bell>,
    /// There is something to find. A member looks at every step, mostly in vain, and does not lock for it.
    filled: AtomicBool,
    mail: Mutex<Mail>,
}

#[derive(Default)]
pub(super) struct Mail {
    /// What waits longest, mostly alone: a queue that is used anew for every message would be an allocation
    /// of each.
    first: Option<Encoded>,
    /// What waits behind it.
    rest: VecDeque<Encoded>,
    /// What all of them take, in bytes.
    pub(super) held: usize,
    /// The others wait for it.
    pub(super) crowded: bool,
    /// Others have waited long enough for it, until it has caught up.
    pub(super) slow: bool,
    /// It was too much, and is gone.
    pub(super) overflowed: bool,
    /// The member was rung and has not looked since.
    pub(super) rung: bool,
    /// How many messages are gone that nobody asked for since.
    pub(super) lost: u64,
}

impl Mailbox {
    pub(super) fn new(owner: Owner, bell: &Arc<Bell>, limit: usize) -> Self {
        Self {
            owner,
            limit,
            bell: Arc::clone(bell),
            filled: AtomicBool::new(false),
            mail: Mutex::default(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Mail> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says whether there is something to find. What is put in afterwards rings the bell.
    pub(super) fn is_filled(&self) -> bool {
        self.filled.load(Ordering::Acquire)
    }

    /// Takes note of whether there is something to find in `mail`, which is this one's and still locked.
    pub(super) fn note(&self, mail: &Mail) {
        let filled = mail.overflowed || mail.first.is_some();
        self.filled.store(filled, Ordering::Release);
    }
}

const fn is_crowded(held: usize, limit: usize) -> bool {
    held > limit / CROWDED_PART
}

impl Mail {
    /// Puts a message in, or drops them all if that is too much. Says whether the member is to be rung.
    pub(super) fn put(&mut self, message: &Encoded, limit: usize) -> bool {
        if self.overflowed {
            self.lost = self.lost.saturating_add(1);
            return false;
        }
        let held = self.held.saturating_add(size(message));
        // Whoever keeps up may have a message of any length.
        if held > limit && is_crowded(self.held, limit) {
            self.lost = self.lost.saturating_add(self.count()).saturating_add(1);
            self.first = None;
            self.rest = VecDeque::new();
            self.held = 0;
            self.overflowed = true;
            self.crowded = false;
            // News even for who has not looked yet, because it takes nothing.
            self.rung = false;
        } else {
            if self.first.is_none() {
                self.first = Some(message.clone());
            } else {
                self.rest.push_back(message.clone());
            }
            self.held = held;
            self.crowded = !self.slow && is_crowded(held, limit);
        }
        !std::mem::replace(&mut self.rung, true)
    }

    pub(super) fn pop(&mut self, limit: usize) -> Option<Encoded> {
        let message = self.first.take()?;
        self.first = self.rest.pop_front();
        self.held = self.held.saturating_sub(size(&message));
        self.crowded &= is_crowded(self.held, limit);
        if self.first.is_none() {
            if self.rest.capacity() > 0 {
                // What a burst has made large is given back.
                self.rest = VecDeque::new();
            }
            self.slow = false;
        }
        Some(message)
    }

    /// Returns how many messages wait.
    fn count(&self) -> u64 {
        let rest = u64::try_from(self.rest.len()).unwrap_or(u64::MAX);
        rest.saturating_add(u64::from(self.first.is_some()))
    }

    /// Returns the room that is kept for messages beyond the first.
    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        self.rest.capacity()
    }

    /// Begins anew after an overflow.
    pub(super) const fn reopen(&mut self) {
        self.overflowed = false;
        self.slow = false;
    }
}

pub(super) fn size(message: &Encoded) -> usize {
    ENTRY_BYTES.saturating_add(message.len())
}
