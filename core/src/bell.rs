//! Who is to be woken when something that all share has changed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;

/// One connection's bell. Ringing it makes the adapter step the connection again.
#[derive(Debug, Default)]
pub(crate) struct Bell(Mutex<Option<Waker>>);

impl Bell {
    /// Stores how to wake the adapter's task or thread.
    pub(crate) fn set(&self, waker: &Waker) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *held {
            Some(old) => old.clone_from(waker),
            None => *held = Some(waker.clone()),
        }
    }

    /// Wakes the adapter's task or thread, with no lock held.
    pub(crate) fn ring(&self) {
        let waker = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The bells of all connections of a gateway.
#[derive(Debug, Default)]
pub(crate) struct Bells(Mutex<Tower>);

#[derive(Debug, Default)]
struct Tower {
    hung: u64,
    bells: BTreeMap<u64, Arc<Bell>>,
}

impl Bells {
    /// Hangs a new bell up. It is taken down by [`Bells::take_down`].
    pub(crate) fn hang(&self) -> (u64, Arc<Bell>) {
        let mut tower = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tower.hung += 1;
        let number = tower.hung;
        let bell = Arc::new(Bell::default());
        tower.bells.insert(number, Arc::clone(&bell));
        (number, bell)
    }

    /// Takes a bell down.
    pub(crate) fn take_down(&self, number: u64) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .bells
            .remove(&number);
    }

    /// Rings every bell, after the lock was let go.
    pub(crate) fn ring_all(&self) {
        let all: Vec<_> = {
            let tower = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            tower.bells.values().map(Arc::clone).collect()
        };
        for bell in all {
            bell.ring();
        }
    }
}
