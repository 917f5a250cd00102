//! The nonce counts that were used: what makes a Digest response good for one request alone.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::nonce::Issue;

/// Most nonces whose counts are remembered, about a megabyte. A client of its own has one or two; a
/// nonce that is pushed out costs its client one more round trip.
pub const MAX_NONCES: usize = 16 * 1024;

/// How many counts below the highest are told apart: browsers send requests in parallel, and they
/// arrive in any order.
const WINDOW: u32 = u64::BITS;

/// What a count turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spent {
    /// It was not used before.
    Fresh,
    /// It was, or is too far below the highest to be told.
    Reused,
    /// The nonce is too old to be remembered.
    Forgotten,
}

/// The used counts of all nonces that were answered rightly, bounded by [`MAX_NONCES`]. Only who
/// knows a password can fill it.
#[derive(Debug, Default)]
pub struct Nonces(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    counts: BTreeMap<Issue, Counts>,
    /// The youngest nonce that was pushed out. It and all before it are forgotten, so that none of
    /// their counts can be used twice.
    watermark: Option<Issue>,
}

/// The used counts of one nonce.
#[derive(Clone, Copy, Debug)]
struct Counts {
    highest: u32,
    /// Bit `n` stands for the count `highest - 1 - n`.
    below: u64,
}

impl Nonces {
    /// Returns how many nonces are remembered.
    pub(crate) fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).counts.len()
    }

    /// Uses `count` of the nonce `issue`, whose response was right, if it was not used before.
    pub fn spend(&self, issue: Issue, count: u32) -> Spent {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.spend(issue, count, MAX_NONCES)
    }
}

impl Table {
    fn spend(&mut self, issue: Issue, count: u32, limit: usize) -> Spent {
        if self.watermark.is_some_and(|watermark| issue <= watermark) {
            return Spent::Forgotten;
        }
        if let Some(counts) = self.counts.get_mut(&issue) {
            return counts.spend(count);
        }
        let first = Counts {
            highest: count,
            below: 0,
        };
        self.counts.insert(issue, first);
        // The oldest may be the one that has just come: then it was good for this once.
        while self.counts.len() > limit
            && let Some((oldest, _)) = self.counts.pop_first()
        {
            self.watermark = Some(oldest);
        }
        Spent::Fresh
    }
}

impl Counts {
    fn spend(&mut self, count: u32) -> Spent {
        if let Some(ahead @ 1..) = count.checked_sub(self.highest) {
            let moved = self.below.checked_shl(ahead).unwrap_or(0);
            self.below = moved | 1_u64.checked_shl(ahead - 1).unwrap_or(0);
            self.highest = count;
            return Spent::Fresh;
        }
        match self.highest.checked_sub(count) {
            Some(behind @ 1..=WINDOW) if self.below & (1 << (behind - 1)) == 0 => {
                self.below |= 1 << (behind - 1);
                Spent::Fresh
            }
            Some(_) | None => Spent::Reused,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::*;
    use crate::entropy::{Entropy, Seed};
    use crate::note::RequestId;
    use crate::time::Now;

    fn issue(number: u64) -> Issue {
        let entropy = Entropy::new(&Seed::new([1; 32]));
        let now = Now::default().after(Duration::from_millis(number));
        Issue::new(&entropy, RequestId(number.to_be_bytes()), now)
    }

    #[test]
    fn m33_each_count_is_good_once_in_any_order() {
        let nonces = Nonces::default();
        let nonce = issue(1);
        for count in [3, 1, 2, 70, 69, 6, 7] {
            assert_eq!(nonces.spend(nonce, count), Spent::Fresh, "{count}");
        }
        for count in [1, 2, 3, 4, 5, 6, 7, 69, 70] {
            assert_eq!(nonces.spend(nonce, count), Spent::Reused, "{count}");
        }
        assert_eq!(nonces.spend(issue(2), 1), Spent::Fresh, "another nonce");
    }

    #[test]
    fn r13_the_window_has_64_counts() {
        for (highest, count, expected) in [
            (100, 36, Spent::Fresh),
            (100, 35, Spent::Reused),
            (u32::MAX, u32::MAX - 64, Spent::Fresh),
            (u32::MAX, u32::MAX - 65, Spent::Reused),
            (u32::MAX, 1, Spent::Reused),
        ] {
            let nonces = Nonces::default();
            assert_eq!(nonces.spend(issue(1), highest), Spent::Fresh);
            assert_eq!(nonces.spend(issue(1), count), expected, "{highest} {count}");
            assert_eq!(nonces.spend(issue(1), count), Spent::Reused);
        }
        for ahead in [63, 64, 65] {
            let nonces = Nonces::default();
            nonces.spend(issue(1), 2);
            assert_eq!(nonces.spend(issue(1), 2 + ahead), Spent::Fresh);
            assert_eq!(nonces.spend(issue(1), 2), Spent::Reused, "{ahead}");
            assert_eq!(nonces.spend(issue(1), 3), Spent::Fresh, "{ahead}");
        }
    }

    #[test]
    fn r13_no_count_is_good_twice() {
        for step in [3, 31, 64, 65, 130] {
            let nonces = Nonces::default();
            let mut used = BTreeSet::new();
            let mut highest: u32 = 0;
            let mut random: u32 = 1;
            for _ in 0..2000 {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let count = (highest + step)
                    .saturating_sub((random >> 16) % (2 * step))
                    .max(1);
                let in_window = count + WINDOW >= highest;
                let expected = if in_window && used.insert(count) {
                    Spent::Fresh
                } else {
                    Spent::Reused
                };
                assert_eq!(nonces.spend(issue(1), count), expected, "{count} below {highest}");
                highest = highest.max(count);
            }
        }
    }

    #[test]
    fn r13_what_is_pushed_out_is_never_good_again() {
        let nonces = Nonces::default();
        let limit = MAX_NONCES as u64;
        for number in 1..=limit {
            assert_eq!(nonces.spend(issue(number), 1), Spent::Fresh);
        }
        assert_eq!(
            nonces.spend(issue(1), 2),
            Spent::Fresh,
            "at the limit all are kept"
        );
        assert_eq!(nonces.spend(issue(limit + 1), 1), Spent::Fresh);
        assert_eq!(nonces.spend(issue(1), 3), Spent::Forgotten, "the oldest is gone");
        assert_eq!(nonces.spend(issue(2), 1), Spent::Reused, "the next is not");
        assert_eq!(
            nonces.spend(issue(0), 1),
            Spent::Forgotten,
            "nor is an older one taken in"
        );
    }

    #[test]
    fn r13_a_late_first_use_of_the_oldest_is_good_once() {
        let mut table = Table::default();
        assert_eq!(table.spend(issue(2), 1, 2), Spent::Fresh);
        assert_eq!(table.spend(issue(3), 1, 2), Spent::Fresh);
        assert_eq!(table.spend(issue(1), 1, 2), Spent::Fresh);
        assert_eq!(table.spend(issue(1), 1, 2), Spent::Forgotten);
        assert_eq!(table.spend(issue(2), 1, 2), Spent::Reused);
    }
}
