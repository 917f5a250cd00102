//! How many names are looked up at once. A lookup cannot be given up: one whose leg was dropped holds its
//! thread until the resolver answers, and new questions must not pile up more of them without end.

use std::sync::atomic::{AtomicUsize, Ordering};

/// The most lookups at once, those included that nobody waits for any more.
const LOOKUP_LIMIT: usize = 256;

/// All lookups of this process.
pub(crate) static LOOKUPS: Lookups = Lookups::new();

/// Counts lookups.
pub(crate) struct Lookups(AtomicUsize);

/// A lookup's place, until it is dropped.
pub(crate) struct Lookup(&'static Lookups);

impl Lookups {
    const fn new() -> Self {
        Self(AtomicUsize::new(0))
    }

    /// Takes a place; `None` if none is left.
    pub(crate) fn begin(&'static self) -> Option<Lookup> {
        let room = |open: usize| (open < LOOKUP_LIMIT).then(|| open + 1);
        let taken = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room);
        taken.ok().map(|_| Lookup(self))
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
        static OWN: Lookups = Lookups::new();
        let all: Vec<_> = std::iter::from_fn(|| OWN.begin())
            .take(LOOKUP_LIMIT + 1)
            .collect();
        assert_eq!(all.len(), LOOKUP_LIMIT);
        drop(all);
        assert!(OWN.begin().is_some());
    }
}
