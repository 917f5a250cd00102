//! Logins under way that wait for a further factor (R6). The state is kept here, under a hash of what
//! the client holds, and not per connection: a client may come back on another one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};

use super::proof::Proof;
use super::sockets::{Key, key};
use crate::entropy::{Entropy, Label};
use crate::rules::Service;
use crate::time::{Deadline, Moment, Now};

/// The most logins that wait for a further factor: 136 a second, if every client takes all its 30
/// seconds. Over it the one that ends next makes room.
const STEP_UPS: usize = 4096;

/// The most of them of one identity, so that one client who has the first factor alone cannot push
/// the others out. Over it its own next to end makes room.
const PER_IDENTITY: usize = 16;

/// Random bytes of an identity, twice what R6 asks for at least.
const IDENTITY_BYTES: usize = 32;

/// The factors that a client has passed.
#[derive(Debug)]
pub(crate) struct StepUp {
    /// What it wants to reach. Other rules have another one, even under the same name.
    pub(crate) service: Arc<Service>,
    /// The index of the realm that is to be passed next; never 0.
    pub(crate) next: usize,
    /// What the factors so far prove together.
    pub(crate) proof: Proof,
}

/// All logins that wait for a further factor.
#[derive(Default)]
pub(crate) struct StepUps(Mutex<Table>);

#[derive(Default)]
struct Table {
    waiting: BTreeMap<Hash, Waiting>,
    /// By when they end.
    ends: BTreeMap<Turn, Hash>,
    of_identity: BTreeMap<Key, BTreeSet<Turn>>,
    issued: u64,
}

/// The SHA-256 of an identity.
type Hash = [u8; 32];

/// When an identity ends, and a number that tells those that end together apart.
type Turn = (Moment, u64);

struct Waiting {
    step_up: StepUp,
    ends: Deadline,
    turn: Turn,
    who: Key,
}

impl fmt::Debug for StepUps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StepUps").finish_non_exhaustive()
    }
}

impl StepUps {
    /// Keeps `step_up` for `lifetime`, and returns the identity by which it is found, once: 43
    /// characters. `None` if nobody could ever prove to be the same: the first factor had no subject.
    pub(crate) fn issue(
        &self,
        entropy: &Entropy,
        step_up: StepUp,
        lifetime: Duration,
        now: Now,
    ) -> Option<String> {
        let who = step_up.proof.grant.identity.as_ref().and_then(key)?;
        let identity = entropy.bytes::<IDENTITY_BYTES>(Label::StepUp);
        let ends = Deadline::after(lifetime, now);
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.sweep(now);
        if let Some(own) = table
            .of_identity
            .get(&who)
            .filter(|own| own.len() >= PER_IDENTITY)
            && let Some(turn) = own.first().copied()
        {
            table.end(turn);
        }
        if table.waiting.len() >= STEP_UPS
            && let Some((&turn, _)) = table.ends.first_key_value()
        {
            table.end(turn);
        }
        table.issued += 1;
        let turn = (ends.at, table.issued);
        let hash = hash(&identity)?;
        table.ends.insert(turn, hash);
        table.of_identity.entry(who.clone()).or_default().insert(turn);
        let waiting = Waiting {
            step_up,
            ends,
            turn,
            who,
        };
        table.waiting.insert(hash, waiting);
        Some(URL_SAFE_NO_PAD.encode(identity))
    }

    /// Returns the factors behind `identity` if they were passed for this very `service`. Whatever
    /// comes of it, the identity is spent.
    pub(crate) fn take(&self, identity: &[u8], service: &Arc<Service>, now: Now) -> Option<StepUp> {
        let identity = URL_SAFE_NO_PAD.decode(identity).ok()?;
        let hash = hash(&identity)?;
        let waiting = {
            let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            table.remove(&hash)?
        };
        let Waiting { step_up, ends, .. } = waiting;
        (!ends.is_due(now) && Arc::ptr_eq(&step_up.service, service)).then_some(step_up)
    }

    /// Returns how many wait.
    pub(super) fn len(&self) -> usize {
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.waiting.len()
    }

    /// Forgets what has ended.
    pub(super) fn sweep(&self, now: Now) {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.sweep(now);
    }
}

impl Table {
    fn sweep(&mut self, now: Now) {
        while let Some((&turn, _)) = self.ends.first_key_value().filter(|((at, _), _)| *at <= now.at) {
            self.end(turn);
        }
    }

    fn end(&mut self, turn: Turn) {
        if let Some(hash) = self.ends.get(&turn).copied() {
            self.remove(&hash);
        }
    }

    fn remove(&mut self, hash: &Hash) -> Option<Waiting> {
        let waiting = self.waiting.remove(hash)?;
        self.ends.remove(&waiting.turn);
        if let Some(own) = self.of_identity.get_mut(&waiting.who) {
            own.remove(&waiting.turn);
            if own.is_empty() {
                self.of_identity.remove(&waiting.who);
            }
        }
        Some(waiting)
    }
}

/// Returns the hash under which an identity is kept, so that the table is of no use to who reads it,
/// and so that how long a look takes tells nothing of it.
fn hash(identity: &[u8]) -> Option<Hash> {
    digest(&SHA256, identity).as_ref().try_into().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::path::Path;

    use super::*;
    use crate::auth::basis::Basis;
    use crate::auth::grant::{Authority, Grant, Identity};
    use crate::config::Config;
    use crate::entropy::Seed;
    use crate::rules::{self, Target};
    use crate::time::UnixTime;

    const LIFETIME: Duration = Duration::from_secs(30);

    fn service() -> Arc<Service> {
        let text = r#"{"servers": [{"id": "a", "listen": ["127.0.0.1:0"], "plaintext": true}],
            "services": {"s": {"type": "echo", "accept": "/", "public": true}}}"#;
        let rules = rules::build(&Config::parse(text, Path::new("c.json")).unwrap(), &[]).unwrap();
        let Target::Service(service) = &rules.servers[0].routes["/"][0].to else {
            panic!("the path leads to the service");
        };
        Arc::clone(service)
    }

    struct Door {
        table: StepUps,
        entropy: Entropy,
        service: Arc<Service>,
    }

    impl Door {
        fn new() -> Self {
            Self {
                table: StepUps::default(),
                entropy: Entropy::new(&Seed::new([7; 32])),
                service: service(),
            }
        }

        fn issue(&self, subject: Option<&str>, now: Now) -> Option<String> {
            let identity = Identity {
                realm: "r".into(),
                authority: Authority::Module(0),
                subject: subject.map(str::to_owned),
            };
            let grant = Grant {
                identity: Some(identity),
                ..Grant::default()
            };
            let step_up = StepUp {
                service: Arc::clone(&self.service),
                next: 1,
                proof: Proof::of(Arc::new(grant), Basis::default()),
            };
            self.table.issue(&self.entropy, step_up, LIFETIME, now)
        }

        fn take(&self, identity: &str, now: Now) -> bool {
            self.table.take(identity.as_bytes(), &self.service, now).is_some()
        }

        fn sizes(&self) -> [usize; 3] {
            let table = self.table.0.lock().unwrap();
            [table.waiting.len(), table.ends.len(), table.of_identity.len()]
        }
    }

    #[test]
    fn r06_an_identity_is_43_characters_and_good_once() {
        let (door, now) = (Door::new(), Now::default());
        let identity = door.issue(Some("alice"), now).unwrap();
        assert_eq!(identity.len(), 43);
        for other in ["", "x", &identity[1..], &format!("{identity}="), &"A".repeat(43)] {
            assert!(!door.take(other, now), "{other}");
        }
        assert!(door.take(&identity, now));
        assert!(!door.take(&identity, now));
        assert_eq!(door.sizes(), [0; 3]);
    }

    #[test]
    fn r06_an_identity_ends_by_either_clock() {
        let (door, now) = (Door::new(), Now::default());
        let nearly = now.after(LIFETIME - Duration::from_millis(1));
        assert!(door.take(&door.issue(Some("alice"), now).unwrap(), nearly));
        for late in [
            now.after(LIFETIME),
            Now {
                at: now.after(LIFETIME).at,
                ..now
            },
            Now {
                unix: UnixTime::from_secs(30),
                ..now
            },
        ] {
            assert!(!door.take(&door.issue(Some("alice"), now).unwrap(), late));
        }
    }

    #[test]
    fn r06_an_identity_is_for_one_service_under_one_set_of_rules() {
        let (door, now) = (Door::new(), Now::default());
        let identity = door.issue(Some("alice"), now).unwrap();
        assert!(door.table.take(identity.as_bytes(), &service(), now).is_none());
        assert!(!door.take(&identity, now), "spent all the same");
    }

    #[test]
    fn r06_without_a_subject_there_is_nothing_to_prove_again() {
        let door = Door::new();
        assert!(door.issue(None, Now::default()).is_none());
        assert_eq!(door.sizes(), [0; 3]);
    }

    #[test]
    fn r06_one_identity_cannot_fill_the_table() {
        let (door, now) = (Door::new(), Now::default());
        let bob = door.issue(Some("bob"), now).unwrap();
        let own: Vec<_> = (0..=PER_IDENTITY)
            .map(|_| door.issue(Some("alice"), now).unwrap())
            .collect();
        assert_eq!(door.sizes(), [PER_IDENTITY + 1, PER_IDENTITY + 1, 2]);
        assert!(!door.take(&own[0], now));
        assert!(own[1..].iter().all(|identity| door.take(identity, now)));
        assert!(door.take(&bob, now));
    }

    #[test]
    fn r06_the_table_is_bounded_and_forgets_what_has_ended() {
        let (door, now) = (Door::new(), Now::default());
        let issue = |number: usize| door.issue(Some(&number.to_string()), now).unwrap();
        let all: Vec<_> = (0..=STEP_UPS).map(issue).collect();
        assert_eq!(door.sizes(), [STEP_UPS; 3]);
        assert!(!door.take(&all[0], now) && door.take(&all[1], now));
        door.table.sweep(now.after(LIFETIME));
        assert_eq!(door.sizes(), [0; 3]);
    }

    #[test]
    fn r10_debug_shows_nobody() {
        let door = Door::new();
        let identity = door.issue(Some("alice"), Now::default()).unwrap();
        let shown = format!("{:?}", door.table);
        assert!(!shown.contains("alice") && !shown.contains(&identity), "{shown}");
    }
}
