//! How many names are looked up at once.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The most lookups at once, those included that nobody waits for any more.
const LOOKUP_LIMIT: usize = 256;

/// The lookups of names that run for a gateway. A runtime's lookup commonly cannot be given up: one
/// whose leg was dropped holds its thread until the resolver answers, and new questions must not pile
/// up more of them without end.
#[derive(Debug, Default)]
pub struct Lookups(AtomicUsize);

/// A lookup's place, given back when it is dropped: by the thread that has looked up, not by who asked.
pub struct Lookup(Arc<Lookups>);

impl fmt::Debug for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookup").finish_non_exhaustive()
    }
}

impl Lookups {
    /// Takes a place; `None` if all 256 are taken, and then the runtime answers the dial with
    /// [`DialError::Name`](crate::leg::DialError::Name).
    pub fn begin(self: &Arc<Self>) -> Option<Lookup> {
        let room = |open: usize| (open < LOOKUP_LIMIT).then(|| open + 1);
        let taken = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room);
        taken.ok().map(|_| Lookup(Arc::clone(self)))
    }
}

impl Drop for Lookup {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e09_lookups_are_bounded_and_give_their_place_back() {
        let lookups = Arc::new(Lookups::default());
        let all: Vec<_> = std::iter::from_fn(|| lookups.begin())
            .take(LOOKUP_LIMIT + 1)
            .collect();
        assert_eq!(all.len(), LOOKUP_LIMIT);
        drop(all);
        assert!(lookups.begin().is_some());
        // Another gateway's are its own.
        assert!(Arc::new(Lookups::default()).begin().is_some());
    }
}
