//! Key sets that an issuer publishes: when they are fetched, and what holds meanwhile.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ring::digest::{Context, SHA256};
use ureq_proto::http::{Request, Uri};

use super::algorithm::Algorithm;
use super::jwk::{KeySet, MAX_JWKS_BYTES, SkippedKey};
use crate::exchange::Fault;
use crate::exchange::http::{Fetch, Reply};
use crate::leg::Destination;
use crate::time::{Moment, Now};

/// How long a fetch may take.
pub(crate) const FETCH_TIMEOUT: Duration = Duration::from_secs(5);

/// First pause after a failed fetch while there are no keys at all; it doubles up to the shortest
/// time between two fetches.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// How many unusable keys of one set are told about one by one: whoever publishes it must not fill
/// our log.
const SKIPPED_TOLD: usize = 16;

/// Somewhere to ask over HTTP.
#[derive(Clone, Debug)]
pub(crate) struct Callee {
    /// What is requested.
    pub(crate) url: Uri,
    /// Where to connect.
    pub(crate) to: Destination,
    /// The URL without its query, for the log.
    pub(crate) shown: String,
}

/// The keys of one issuer, as it publishes them. It outlives the rules that name it, so that a
/// reload loses no keys.
pub(crate) struct RemoteKeys {
    /// Says from where and how: two with the same id are the same.
    id: [u8; 32],
    callee: Callee,
    algorithms: Vec<Algorithm>,
    refresh: Duration,
    refetch: Duration,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    keys: Option<Arc<KeySet>>,
    /// When the last fetch began.
    tried: Option<Moment>,
    /// When the next one is due by itself.
    due: Moment,
    /// Fetches in a row that failed.
    failures: u32,
}

impl fmt::Debug for RemoteKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteKeys")
            .field("callee", &self.callee.shown)
            .finish_non_exhaustive()
    }
}

/// What a fetch was good for.
#[derive(Debug)]
pub(crate) enum Fetched {
    /// There are new keys, or the same.
    Keys {
        /// The fetch before this one failed.
        recovered: bool,
        /// What of a set that is new cannot be used, a line each.
        skipped: Vec<String>,
    },
    /// It failed, and did not the last time.
    FirstFailure(Fault),
    /// It failed again.
    Failure,
}

impl RemoteKeys {
    /// The keys at `callee`, trusted by the roots in `trusted`, not fetched yet.
    pub(crate) fn new(
        callee: Callee,
        trusted: &[u8],
        algorithms: Vec<Algorithm>,
        (refresh, refetch): (Duration, Duration),
    ) -> Self {
        let mut id = Context::new(&SHA256);
        id.update(format!("{}\n{algorithms:?}\n{refresh:?}\n{refetch:?}\n", callee.url).as_bytes());
        id.update(trusted);
        let mut digest = [0; 32];
        digest.copy_from_slice(id.finish().as_ref());
        Self {
            id: digest,
            callee,
            algorithms,
            refresh,
            // The default may be the longer of the two where the file sets the other alone.
            refetch: refetch.min(refresh),
            held: Mutex::default(),
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what tells it from others.
    pub(crate) const fn id(&self) -> &[u8; 32] {
        &self.id
    }

    /// Returns the URL for the log.
    pub(crate) fn shown(&self) -> &str {
        &self.callee.shown
    }

    /// Returns the keys; `None` if none were ever loaded.
    pub(crate) fn keys(&self) -> Option<Arc<KeySet>> {
        self.held().keys.as_ref().map(Arc::clone)
    }

    /// Returns when it is to be fetched without being asked for.
    pub(crate) fn due(&self) -> Moment {
        self.held().due
    }

    /// Says whether a token may have it fetched: not more often than once in the configured time,
    /// whatever tokens say. While there are no keys at all the pause is shorter.
    pub(crate) fn may_fetch(&self, now: Now) -> bool {
        let held = self.held();
        let pause = match held.keys {
            Some(_) => self.refetch,
            None => FIRST_RETRY.min(self.refetch),
        };
        held.tried.is_none_or(|tried| now.at.since(tried) >= pause)
    }

    /// Begins a fetch.
    pub(crate) fn begin(&self, now: Now) -> Option<(Destination, Fetch)> {
        let mut held = self.held();
        held.tried = Some(now.at);
        // Whoever asked may vanish: it is not forgotten for that.
        held.due = now.at.after(self.refetch.max(FETCH_TIMEOUT));
        drop(held);
        let request = Request::get(self.callee.url.clone())
            .header("Accept", "application/jwk-set+json, application/json")
            .header("Connection", "close")
            .body(())
            .ok()?;
        Some((self.callee.to.clone(), Fetch::new(request, b"", MAX_JWKS_BYTES)?))
    }

    /// Takes in how a fetch ended. What cannot be used changes no key.
    pub(crate) fn end(&self, reply: Result<&Reply, Fault>, now: Now) -> Fetched {
        let read = reply.and_then(|reply| {
            let usable = (reply.status == 200)
                .then_some(&reply.body)
                .ok_or(Fault::Status(reply.status))?;
            let (keys, skipped) = KeySet::from_jwks(usable, &self.algorithms).map_err(|_| Fault::Unusable)?;
            Ok((keys, skipped, reply.max_age))
        });
        let mut held = self.held();
        match read {
            Ok((keys, skipped, max_age)) => {
                let pause = max_age.map_or(self.refresh, |age| age.clamp(self.refetch, self.refresh));
                held.due = now.at.after(pause);
                let before = held.keys.replace(Arc::new(keys));
                let now = held.keys.as_ref().map(|keys| keys.fingerprint());
                // A set that was told about does not become news by being fetched again.
                let same = before.as_ref().map(|keys| keys.fingerprint()) == now;
                Fetched::Keys {
                    recovered: std::mem::take(&mut held.failures) > 0,
                    skipped: if same { Vec::new() } else { lines(&skipped) },
                }
            }
            Err(fault) => {
                held.failures = held.failures.saturating_add(1);
                let pause = match held.keys {
                    Some(_) => self.refetch,
                    None => FIRST_RETRY
                        .saturating_mul(1 << (held.failures - 1).min(16))
                        .min(self.refetch),
                };
                held.due = now.at.after(pause);
                if held.failures == 1 {
                    Fetched::FirstFailure(fault)
                } else {
                    Fetched::Failure
                }
            }
        }
    }
}

/// Returns what is told about keys that cannot be used.
fn lines(skipped: &[SkippedKey]) -> Vec<String> {
    let rest = skipped.len().saturating_sub(SKIPPED_TOLD);
    let rest = (rest > 0).then(|| format!("{rest} more are skipped"));
    let first = skipped.iter().take(SKIPPED_TOLD).map(ToString::to_string);
    first.chain(rest).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const SET: &[u8] = br#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "a",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

    fn remote() -> RemoteKeys {
        let callee = Callee {
            url: "http://127.0.0.1:1/keys".parse().unwrap(),
            to: Destination::Tcp {
                host: "127.0.0.1".into(),
                port: 1,
                tls: None,
            },
            shown: "http://127.0.0.1:1/keys".into(),
        };
        RemoteKeys::new(
            callee,
            b"",
            Vec::new(),
            (Duration::from_secs(900), Duration::from_secs(30)),
        )
    }

    fn at(seconds: u64) -> Now {
        Now::default().after(Duration::from_secs(seconds))
    }

    fn reply(status: u16, body: &[u8], max_age: Option<u64>) -> Reply {
        Reply {
            status,
            body: body.to_vec(),
            max_age: max_age.map(Duration::from_secs),
        }
    }

    #[test]
    fn e08_a_refresh_shorter_than_the_refetch_interval_is_the_longest_pause() {
        let callee = remote().callee;
        let pauses = (Duration::from_secs(5), Duration::from_secs(30));
        let keys = RemoteKeys::new(callee, b"", Vec::new(), pauses);
        for max_age in [None, Some(0), Some(5), Some(60)] {
            assert!(keys.begin(at(0)).is_some());
            keys.end(Ok(&reply(200, SET, max_age)), at(0));
            assert_eq!(keys.due(), at(5).at, "{max_age:?}");
        }
    }

    #[test]
    fn r10_what_cannot_be_used_of_a_set_is_told_once_and_not_at_length() {
        let keys = remote();
        let set = |unusable: usize, x: &str| {
            let one = format!(r#"{{"kty": "{x}"}}"#);
            format!(r#"{{"keys": [{}]}}"#, vec![one; unusable].join(","))
        };
        let told = |set: &str| {
            keys.begin(at(0));
            match keys.end(Ok(&reply(200, set.as_bytes(), None)), at(0)) {
                Fetched::Keys { skipped, .. } => skipped.len(),
                other @ (Fetched::FirstFailure(_) | Fetched::Failure) => panic!("{other:?}"),
            }
        };
        assert_eq!((told(&set(2, "x")), told(&set(2, "x"))), (2, 0));
        assert_eq!(told(&set(2, "y")), 2);
        assert_eq!(told(&set(SKIPPED_TOLD, "x")), SKIPPED_TOLD);
        assert_eq!(told(&set(1000, "x")), SKIPPED_TOLD + 1);
    }

    #[test]
    fn e08_keys_are_fetched_at_once_and_then_in_turn() {
        let keys = remote();
        assert_eq!(keys.due(), Moment::START);
        for (max_age, due) in [(None, 900), (Some(60), 60), (Some(0), 30), (Some(86_400), 900)] {
            assert!(keys.begin(at(0)).is_some());
            assert!(matches!(
                keys.end(Ok(&reply(200, SET, max_age)), at(0)),
                Fetched::Keys { recovered: false, .. }
            ));
            assert_eq!(keys.due(), at(due).at, "{max_age:?}");
            assert!(keys.keys().is_some_and(|keys| keys.knows("a")));
        }
    }

    #[test]
    fn e08_tokens_have_keys_fetched_once_in_the_interval() {
        let keys = remote();
        assert!(keys.may_fetch(at(0)));
        keys.begin(at(0));
        keys.end(Ok(&reply(200, SET, None)), at(0));
        assert!(!keys.may_fetch(at(29)));
        assert!(keys.may_fetch(at(30)));
    }

    #[test]
    fn e08_a_failure_keeps_the_old_keys_and_without_any_tries_more_and_more_slowly() {
        let keys = remote();
        let mut now = 0;
        for (index, pause) in [1, 2, 4, 8, 16, 30, 30].into_iter().enumerate() {
            keys.begin(at(now));
            let ended = keys.end(Err(Fault::Unreachable), at(now));
            assert_eq!(matches!(ended, Fetched::FirstFailure(_)), index == 0);
            assert_eq!(keys.due(), at(now + pause).at);
            assert!(
                keys.may_fetch(at(now + 1)),
                "who waits for keys may ask every second"
            );
            now += pause;
        }
        keys.begin(at(now));
        assert!(matches!(
            keys.end(Ok(&reply(200, SET, None)), at(now)),
            Fetched::Keys { recovered: true, .. }
        ));
        for bad in [
            reply(500, SET, None),
            reply(200, b"<html>", None),
            reply(302, SET, None),
        ] {
            keys.begin(at(now));
            keys.end(Ok(&bad), at(now));
            assert!(keys.keys().is_some_and(|keys| keys.knows("a")));
            assert_eq!(keys.due(), at(now + 30).at);
        }
    }
}
