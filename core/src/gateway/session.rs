//! One session of a form login (R16): what it has granted, and the sockets that end with it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::proof::Proof;
use crate::bell::Bell;
use crate::time::{Deadline, Now};

/// What the table knows an id by: its HMAC, so that a copy of the table opens no door.
pub(crate) type Key = [u8; 32];

/// Why a session ended before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Its user has logged out, or in again as somebody else.
    LoggedOut,
    /// It was unused, or others needed its place.
    Dropped,
}

impl Ended {
    /// Returns what nodes tell each other.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::LoggedOut => "logged out",
            Self::Dropped => "dropped",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        [Self::LoggedOut, Self::Dropped]
            .into_iter()
            .find(|ended| ended.name() == name)
    }
}

/// One session. Its sockets hold it as well as the table does.
pub(crate) struct Session {
    proof: Proof,
    /// When it ends, however much it is used.
    ends: Deadline,
    thread: Arc<Thread>,
}

/// What a session and the one that replaced it have in common: the sockets, and how all of it ended.
#[derive(Default)]
struct Thread(Mutex<ThreadState>);

#[derive(Default)]
struct ThreadState {
    key: Key,
    ended: Option<Ended>,
    /// The bells of the sockets, by their connections, and how many places each of these has.
    bells: BTreeMap<u64, (usize, Arc<Bell>)>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("ends", &self.ends)
            .finish_non_exhaustive()
    }
}

impl Thread {
    fn lock(&self) -> MutexGuard<'_, ThreadState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends everything, and rings after the lock was let go.
    fn end(&self, why: Ended) {
        let bells: Vec<_> = {
            let mut state = self.lock();
            state.ended.get_or_insert(why);
            state.bells.values().map(|(_, bell)| Arc::clone(bell)).collect()
        };
        for bell in bells {
            bell.ring();
        }
    }
}

impl Session {
    /// Returns one that is known by `key`.
    pub(super) fn new(key: Key, proof: Proof, ends: Deadline) -> Self {
        Self::on(Arc::default(), key, proof, ends)
    }

    /// Returns one that takes the place of this one, sockets and all.
    pub(super) fn replaced(&self, key: Key, proof: Proof, ends: Deadline) -> Self {
        Self::on(Arc::clone(&self.thread), key, proof, ends)
    }

    fn on(thread: Arc<Thread>, key: Key, proof: Proof, ends: Deadline) -> Self {
        thread.lock().key = key;
        Self { proof, ends, thread }
    }

    /// Ends its sockets, and rings them.
    pub(super) fn end(&self, why: Ended) {
        self.thread.end(why);
    }

    /// Says whether it was ended before its time.
    pub(super) fn is_ended(&self) -> bool {
        self.thread.lock().ended.is_some()
    }

    /// Returns when it ends at the latest.
    pub(crate) const fn ends(&self) -> Deadline {
        self.ends
    }

    /// Returns what it has granted.
    pub(super) const fn proof(&self) -> &Proof {
        &self.proof
    }

    /// Returns whose it is.
    pub(crate) fn subject(&self) -> Option<String> {
        self.proof.grant.subject().map(str::to_owned)
    }

    /// Returns what it is known by.
    pub(super) fn key(&self) -> Key {
        self.thread.lock().key
    }

    /// Says whether it was begun in `realm`.
    pub(crate) fn is_of(&self, realm: &str) -> bool {
        let identity = self.proof.grant.identity.as_ref();
        identity.is_some_and(|identity| &*identity.realm == realm)
    }

    /// Says whether nothing can be begun with it any more.
    pub(crate) fn is_over(&self, now: Now) -> bool {
        self.ends.is_due(now) || self.is_ended()
    }

    /// Lets the session ring `bell` when it ends, until the returned value is dropped. `number` is
    /// that of the connection. To be called before anything is granted, and asked for
    /// [`Membership::ended`] after it: a logout between the two is then not missed.
    pub(crate) fn join(&self, number: u64, bell: &Arc<Bell>) -> Membership {
        let thread = Arc::clone(&self.thread);
        // A socket may have several places: it was opened by the session, and renewed by it.
        let mut state = thread.lock();
        let (places, _) = state.bells.entry(number).or_insert_with(|| (0, Arc::clone(bell)));
        *places += 1;
        drop(state);
        Membership { thread, number }
    }
}

/// A socket's place among those that end with a session.
pub(crate) struct Membership {
    thread: Arc<Thread>,
    number: u64,
}

impl Membership {
    /// Returns what the session is known by.
    pub(super) fn key(&self) -> Key {
        self.thread.lock().key
    }

    /// Returns how the session ended, if it did.
    pub(crate) fn ended(&self) -> Option<Ended> {
        self.thread.lock().ended
    }
}

impl fmt::Debug for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Membership")
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let mut state = self.thread.lock();
        if let Some((places, _)) = state.bells.get_mut(&self.number) {
            *places -= 1;
            if *places == 0 {
                state.bells.remove(&self.number);
            }
        }
    }
}
