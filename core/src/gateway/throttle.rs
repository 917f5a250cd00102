//! Slows down guessing: whoever was refused too often in a while is not judged any more for the rest
//! of it. Failures are counted per client address; behind an address that many share, per user name
//! as well, so that one of them does not lock out the others.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::auth::present::{Credential, Pass};
use crate::budget::AddressKey;
use crate::config;
use crate::entropy::{Entropy, Label};
use crate::reason::Reason;
use crate::time::Moment;

/// The most windows that are kept, about 10 MiB of them. When all are in use the oldest goes: whoever
/// fills the table forgets at worst what is about to be forgotten anyway.
pub(crate) const WINDOWS_LIMIT: usize = 65_536;

/// The most windows that one failure takes out because they are over: more than it adds, so the table
/// empties, and no request pays for thousands of others.
const SWEEP: usize = 4;

/// The failures of a gateway that count.
#[derive(Debug, Default)]
pub(crate) struct Throttle(Mutex<Table>);

/// Who failed: an address, and behind a shared one also whose credential it was, by its HMAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Source(AddressKey, Option<[u8; 16]>);

/// How long a throttled client has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Throttled {
    pub(crate) retry_after: Duration,
}

#[derive(Debug, Default)]
struct Table {
    windows: BTreeMap<Source, Window>,
    /// The same windows by age.
    by_age: BTreeSet<(Moment, Source)>,
}

/// The failures of one source from the first one on.
#[derive(Clone, Copy, Debug)]
struct Window {
    began: Moment,
    failures: u64,
}

impl Source {
    /// The source of a credential that came from `address`.
    pub(crate) fn of(
        address: IpAddr,
        credential: &Credential,
        rules: &config::Throttle,
        entropy: &Entropy,
    ) -> Self {
        let shared = rules.shared.iter().any(|network| network.contains(address));
        let whose = shared.then(|| match credential {
            Credential::Basic { user, .. } => entropy.tagged(Label::Throttle, user.as_bytes()),
            Credential::Digest(digest) => {
                let user = digest.user().unwrap_or_default();
                entropy.tagged(Label::Throttle, user.as_bytes())
            }
            // A token has no user before it is verified. Counted is this very token, or one client
            // with an old token would lock out everybody; guessing another one is hopeless anyway.
            Credential::Token(token) => entropy.tagged(Label::Throttle, token.expose().as_bytes()),
            Credential::Pass(Pass::Session(id) | Pass::Ticket(id)) => {
                entropy.tagged(Label::Throttle, id.expose())
            }
        });
        Self(AddressKey::of(address), whose)
    }
}

impl Throttle {
    /// Returns how many sources are counted.
    pub(crate) fn len(&self) -> usize {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .windows
            .len()
    }

    /// Says whether the credentials of `source` may be judged.
    ///
    /// # Errors
    /// Not before the returned time has passed.
    pub(crate) fn check(
        &self,
        source: Source,
        rules: &config::Throttle,
        at: Moment,
    ) -> Result<(), Throttled> {
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.check(source, rules, at)
    }

    /// Counts a failed login of `source`.
    ///
    /// # Errors
    /// It had too many already when this one was judged: then neither verdict may be told, or
    /// whoever asks often enough at the same time could guess without bound.
    pub(crate) fn fail(&self, source: Source, rules: &config::Throttle, at: Moment) -> Result<(), Throttled> {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.check(source, rules, at)?;
        table.sweep(rules, at);
        if let Some(window) = table.windows.get_mut(&source)
            && at.since(window.began) < rules.window
        {
            window.failures = window.failures.saturating_add(1);
            return Ok(());
        }
        table.remove(source);
        if table.windows.len() >= WINDOWS_LIMIT {
            table.remove_oldest();
        }
        table.windows.insert(
            source,
            Window {
                began: at,
                failures: 1,
            },
        );
        table.by_age.insert((at, source));
        drop(table);
        Ok(())
    }
}

impl Table {
    fn check(&self, source: Source, rules: &config::Throttle, at: Moment) -> Result<(), Throttled> {
        let Some(window) = self.windows.get(&source) else {
            return Ok(());
        };
        let left = rules.window.saturating_sub(at.since(window.began));
        if window.failures < rules.failures || left.is_zero() {
            return Ok(());
        }
        Err(Throttled { retry_after: left })
    }

    /// Takes out some windows that are over.
    fn sweep(&mut self, rules: &config::Throttle, at: Moment) {
        for _ in 0..SWEEP {
            match self.by_age.first() {
                Some((began, _)) if at.since(*began) >= rules.window => self.remove_oldest(),
                Some(_) | None => return,
            }
        }
    }

    fn remove(&mut self, source: Source) {
        if let Some(window) = self.windows.remove(&source) {
            self.by_age.remove(&(window.began, source));
        }
    }

    fn remove_oldest(&mut self) {
        if let Some((_, source)) = self.by_age.pop_first() {
            self.windows.remove(&source);
        }
    }
}

/// Says whether a login that failed for `reason` may have been a guess. Expiry and the age of a nonce
/// are found only after the signature or the response was right.
pub(crate) const fn is_guess(reason: Reason) -> bool {
    !matches!(reason, Reason::Expired | Reason::StaleNonce | Reason::ReusedNonce)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::net::Ipv4Addr;

    use std::sync::Arc;

    use super::*;
    use crate::config::Network;
    use crate::entropy::Seed;
    use crate::secret::Secret;

    fn rules(shared: &[&str]) -> config::Throttle {
        config::Throttle {
            failures: 3,
            window: Duration::from_secs(60),
            shared: shared.iter().map(|text| Network::parse(text).unwrap()).collect(),
        }
    }

    fn second(at: u64) -> Moment {
        Moment::new(Duration::from_secs(at))
    }

    fn source(number: u32) -> Source {
        Source(AddressKey::V4(number), None)
    }

    fn of(address: &str, credential: &Credential, rules: &config::Throttle) -> Source {
        let entropy = Entropy::new(&Seed::new([1; 32]));
        Source::of(address.parse().unwrap(), credential, rules, &entropy)
    }

    fn basic(user: &str) -> Credential {
        Credential::Basic {
            user: user.into(),
            password: Secret::new(b"p".to_vec()),
        }
    }

    #[test]
    fn e14_the_failure_after_the_last_allowed_one_is_throttled_until_the_window_is_over() {
        let (throttle, rules) = (Throttle::default(), rules(&[]));
        for at in [0, 10, 20] {
            assert_eq!(throttle.check(source(1), &rules, second(at)), Ok(()));
            assert_eq!(throttle.fail(source(1), &rules, second(at)), Ok(()));
        }
        let throttled = Err(Throttled {
            retry_after: Duration::from_secs(40),
        });
        assert_eq!(throttle.check(source(1), &rules, second(20)), throttled);
        assert_eq!(throttle.fail(source(1), &rules, second(20)), throttled);
        assert_eq!(throttle.check(source(2), &rules, second(20)), Ok(()));
        assert_eq!(throttle.check(source(1), &rules, second(60)), Ok(()));
        assert_eq!(throttle.fail(source(1), &rules, second(60)), Ok(()));
        assert_eq!(throttle.0.lock().unwrap().windows[&source(1)].failures, 1);
    }

    #[test]
    fn e14_a_full_table_drops_the_oldest_window_and_no_more() {
        let (throttle, rules) = (Throttle::default(), rules(&[]));
        let limit = u32::try_from(WINDOWS_LIMIT).unwrap();
        for number in 0..=limit {
            throttle
                .fail(
                    source(number),
                    &rules,
                    Moment::new(Duration::from_micros(number.into())),
                )
                .unwrap();
        }
        let table = throttle.0.lock().unwrap();
        assert_eq!(
            (table.windows.len(), table.by_age.len()),
            (WINDOWS_LIMIT, WINDOWS_LIMIT)
        );
        assert!(!table.windows.contains_key(&source(0)) && table.windows.contains_key(&source(1)));
    }

    #[test]
    fn e14_windows_that_are_over_make_room() {
        let (throttle, rules) = (Throttle::default(), rules(&[]));
        for number in 0..10 {
            throttle.fail(source(number), &rules, second(0)).unwrap();
        }
        for number in 10..13 {
            throttle.fail(source(number), &rules, second(60)).unwrap();
        }
        let table = throttle.0.lock().unwrap();
        assert_eq!((table.windows.len(), table.by_age.len()), (3, 3));
    }

    #[test]
    fn e14_an_ipv6_network_is_one_address_and_a_shared_one_is_told_apart_by_user() {
        let rules = rules(&["10.0.0.0/8"]);
        let [a, b, c] =
            ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"].map(|text| of(text, &basic("a"), &rules));
        assert!(a == b && a != c);
        assert_eq!(
            of("192.0.2.1", &basic("a"), &rules),
            of("192.0.2.1", &basic("b"), &rules)
        );
        assert_ne!(
            of("10.0.0.1", &basic("a"), &rules),
            of("10.0.0.1", &basic("b"), &rules)
        );
        assert_eq!(
            of("10.0.0.1", &basic("a"), &rules),
            of("::ffff:10.0.0.1", &basic("a"), &rules)
        );
        let token = |text: &str| Credential::Token(Arc::new(Secret::new(text.to_owned())));
        assert_ne!(
            of("10.0.0.1", &token("a"), &rules),
            of("10.0.0.1", &token("b"), &rules)
        );
        assert_eq!(
            of("192.0.2.1", &token("a"), &rules).0,
            AddressKey::of(Ipv4Addr::new(192, 0, 2, 1).into())
        );
    }

    #[test]
    fn e14_only_guesses_count() {
        assert!(!is_guess(Reason::Expired) && !is_guess(Reason::StaleNonce));
        assert!(
            is_guess(Reason::BadPassword) && is_guess(Reason::UnknownUser) && is_guess(Reason::BadSignature)
        );
    }
}
