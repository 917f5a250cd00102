//! What modules have found out already: the cache of signatures and of answers from elsewhere.
//!
//! A key is an HMAC under a key of the process over everything that the finding rests on, so that
//! no credential is held and nothing found by other rules, another key set or another module is ever
//! met (SPEC M31). Never kept: the verdict of a chain, roles that come from files, what time decides,
//! a failed password, an unknown key, and that somebody could not be asked.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value};

use super::jwt::Statement;
use crate::entropy::{Entropy, Label};
use crate::time::{Deadline, Moment, Now};

/// Most findings that are kept of each kind. With the byte limit below: some tens of MiB at worst.
pub(crate) const MAX_VERDICTS: usize = 64 * 1024;

/// Most bytes of answers that are kept of each kind.
pub(crate) const MAX_VERDICT_BYTES: usize = 16 * 1024 * 1024;

/// Most bytes of tokens that were good and are kept as they were read, so that nobody reads them again.
/// Of those that do not fit any more, only the signature is remembered.
pub(crate) const MAX_READ_BYTES: usize = 8 * 1024 * 1024;

/// What an entry takes beyond what it says, in bytes: keys, places in two trees, and counters.
const ENTRY_BYTES: usize = 256;

/// Longest time that a checked signature is remembered; the token's own end may come before.
pub(crate) const SIGNATURE_TTL: Duration = Duration::from_secs(3600);

/// Longest time that a right password is remembered: it counts no longer than that after it was
/// changed elsewhere. In the file it ends at once, because the stored hash is a part of the key.
pub(crate) const PASSWORD_TTL: Duration = Duration::from_secs(60);

/// What a finding is found by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key([u8; 32]);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(***)")
    }
}

impl Key {
    /// The key of a finding about `credential` by the module, rules and keys that `found_by` names.
    pub(crate) fn new(entropy: &Entropy, kind: Kind, found_by: &[u8; 32], credential: &[&[u8]]) -> Self {
        let mut tagging = entropy.tagging(Label::Verdict);
        tagging.update(&[kind as u8]);
        tagging.update(found_by);
        // Lengths keep ("a", "bc") and ("ab", "c") apart.
        for part in credential {
            tagging.update(&(part.len() as u64).to_be_bytes());
            tagging.update(part);
        }
        Self(tagging.tag())
    }
}

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Whether a signature is of one of these keys.
    Signature = 1,
    /// Whether a token is active.
    Introspection = 2,
    /// Which keys an issuer publishes.
    Keys = 3,
    /// Whether a password has this stored hash, or is the user's in a directory; the latter is never kept.
    Password = 4,
}

/// What was found.
#[derive(Clone, Debug)]
pub(crate) enum Verdict {
    /// The signature verifies, or the password is the right one.
    Right,
    /// The token is active; these are its claims.
    Active(Arc<Map<String, Value>>),
    /// It is not.
    Inactive,
}

/// The findings of one gateway. What was good and what was not are kept apart: a flood of bad
/// tokens pushes no good one out.
#[derive(Debug, Default)]
pub(crate) struct Verdicts {
    good: Mutex<Table<Verdict>>,
    bad: Mutex<Table<Verdict>>,
    /// What tokens say whose signature verified.
    read: Mutex<Table<Arc<Statement>>>,
}

#[derive(Debug)]
struct Table<T> {
    entries: BTreeMap<Key, Entry<T>>,
    /// The keys of `entries`, the first to end first.
    ends: BTreeSet<(Moment, Key)>,
    bytes: usize,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self {
            entries: BTreeMap::new(),
            ends: BTreeSet::new(),
            bytes: 0,
        }
    }
}

#[derive(Debug)]
struct Entry<T> {
    found: T,
    until: Deadline,
    bytes: usize,
}

impl Verdicts {
    /// Returns what was found under `key`, unless it has ended.
    pub(crate) fn get(&self, key: Key, now: Now) -> Option<Verdict> {
        find(&self.good, key, now).or_else(|| find(&self.bad, key, now))
    }

    /// Returns what the token says that was read and found good under `key`, unless that has ended.
    pub(crate) fn statement(&self, key: Key, now: Now) -> Option<Arc<Statement>> {
        find(&self.read, key, now)
    }

    /// Keeps what a token says whose signature verified, until `until`.
    pub(crate) fn keep_statement(&self, key: Key, said: &Arc<Statement>, until: Deadline, now: Now) {
        if until.is_due(now) {
            return;
        }
        let entry = Entry {
            found: Arc::clone(said),
            until,
            bytes: ENTRY_BYTES + said.weight(),
        };
        let mut table = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        table.keep(key, entry, MAX_VERDICTS, MAX_READ_BYTES);
    }

    /// Keeps `verdict`, which took `bytes` to tell, until `until`.
    pub(crate) fn keep(&self, key: Key, verdict: Verdict, bytes: usize, until: Deadline, now: Now) {
        if until.is_due(now) {
            return;
        }
        let table = match verdict {
            Verdict::Right | Verdict::Active(_) => &self.good,
            Verdict::Inactive => &self.bad,
        };
        let entry = Entry {
            found: verdict,
            until,
            bytes,
        };
        table.lock().unwrap_or_else(PoisonError::into_inner).keep(
            key,
            entry,
            MAX_VERDICTS,
            MAX_VERDICT_BYTES,
        );
    }

    /// Returns how many findings are kept, good and bad.
    pub(crate) fn len(&self) -> (usize, usize) {
        let len = |table: &Mutex<Table<Verdict>>| {
            table.lock().unwrap_or_else(PoisonError::into_inner).entries.len()
        };
        (len(&self.good), len(&self.bad))
    }
}

fn find<T: Clone>(table: &Mutex<Table<T>>, key: Key, now: Now) -> Option<T> {
    let table = table.lock().unwrap_or_else(PoisonError::into_inner);
    let entry = table.entries.get(&key)?;
    (!entry.until.is_due(now)).then(|| entry.found.clone())
}

impl<T> Table<T> {
    fn keep(&mut self, key: Key, entry: Entry<T>, most: usize, most_bytes: usize) {
        self.forget(key);
        self.bytes += entry.bytes;
        self.ends.insert((entry.until.at, key));
        self.entries.insert(key, entry);
        // What ends first is worth least.
        while (self.entries.len() > most || self.bytes > most_bytes)
            && let Some((_, key)) = self.ends.first().copied()
        {
            self.forget(key);
        }
    }

    fn forget(&mut self, key: Key) {
        if let Some(old) = self.entries.remove(&key) {
            self.bytes -= old.bytes;
            self.ends.remove(&(old.until.at, key));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;
    use crate::auth::jwt::{Token, sign_hs256};
    use crate::entropy::Seed;

    fn entropy() -> Entropy {
        Entropy::new(&Seed::new([1; 32]))
    }

    fn key(number: u32) -> Key {
        Key::new(&entropy(), Kind::Signature, &[0; 32], &[&number.to_be_bytes()])
    }

    fn seconds(seconds: u64) -> Now {
        Now::default().after(Duration::from_secs(seconds))
    }

    #[test]
    fn m31_a_finding_is_met_under_exactly_what_it_rests_on() {
        let entropy = entropy();
        let at = |kind, by: u8, parts: &[&[u8]]| Key::new(&entropy, kind, &[by; 32], parts);
        let first = at(Kind::Signature, 1, &[b"ab", b"c"]);
        assert_eq!(first, at(Kind::Signature, 1, &[b"ab", b"c"]));
        for other in [
            at(Kind::Introspection, 1, &[b"ab", b"c"]),
            at(Kind::Signature, 2, &[b"ab", b"c"]),
            at(Kind::Signature, 1, &[b"a", b"bc"]),
            at(Kind::Signature, 1, &[b"abc"]),
        ] {
            assert_ne!(first, other);
        }
    }

    #[test]
    fn m31_a_finding_ends_by_either_clock() {
        let verdicts = Verdicts::default();
        let until = Deadline::after(Duration::from_secs(10), seconds(0));
        verdicts.keep(key(1), Verdict::Right, 0, until, seconds(0));
        assert!(verdicts.get(key(1), seconds(9)).is_some());
        assert!(verdicts.get(key(1), seconds(10)).is_none());
        let mut jumped = seconds(1);
        jumped.unix = jumped.unix.after(Duration::from_secs(60));
        assert!(verdicts.get(key(1), jumped).is_none());
        verdicts.keep(key(2), Verdict::Right, 0, until, seconds(10));
        assert_eq!(verdicts.len(), (1, 0));
    }

    #[test]
    fn m31_what_was_read_is_bounded_in_bytes_and_ends() {
        let verdicts = Verdicts::default();
        let text = sign_hs256(&json!({"iss": "x".repeat(5000)}), b"secret");
        let token = Token::parse(&text).unwrap();
        let said = token.statement();
        let most = MAX_READ_BYTES / (ENTRY_BYTES + said.weight());
        let until = |number: u32| Deadline::after(Duration::from_secs(100 + u64::from(number)), seconds(0));
        for number in 0..=most as u32 {
            verdicts.keep_statement(key(number), said, until(number), seconds(0));
        }
        let kept = |number, at| verdicts.statement(key(number), seconds(at)).is_some();
        assert!(!kept(0, 0) && kept(1, 0) && kept(most as u32, 0));
        assert!(kept(1, 100) && !kept(1, 101));
        assert_eq!(verdicts.len(), (0, 0), "they push no signature out");
    }

    #[test]
    fn m31_both_kinds_are_bounded_in_number_and_bytes_and_apart() {
        let verdicts = Verdicts::default();
        let until = |number: u32| Deadline::after(Duration::from_secs(100 + u64::from(number)), seconds(0));
        verdicts.keep(key(0), Verdict::Right, 0, until(0), seconds(0));
        for number in 1..=MAX_VERDICTS as u32 + 5 {
            verdicts.keep(key(number), Verdict::Inactive, 0, until(number), seconds(0));
        }
        assert_eq!(verdicts.len(), (1, MAX_VERDICTS));
        assert!(verdicts.get(key(0), seconds(0)).is_some());
        assert!(verdicts.get(key(5), seconds(0)).is_none());
        let large = MAX_VERDICT_BYTES / 4 + 1;
        for number in 1..=8 {
            verdicts.keep(
                key(number),
                Verdict::Active(Arc::default()),
                large,
                until(number),
                seconds(0),
            );
        }
        assert_eq!(verdicts.len().0, 3);
        verdicts.keep(
            key(9),
            Verdict::Active(Arc::default()),
            4 * large,
            until(9),
            seconds(0),
        );
        assert_eq!(verdicts.len().0, 0, "what does not fit is not kept");
    }
}
