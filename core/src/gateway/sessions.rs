//! Sessions of form logins (R16): a random id in a cookie, and behind it what the login has granted.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::proof::Proof;
use crate::auth::realm::Realm;
use crate::bell::Bell;
use crate::entropy::{Entropy, Label};
use crate::reason::Reason;
use crate::secret::Secret;
use crate::time::{Deadline, Moment, Now};

/// Life of a session where the realm sets none: a working day.
const LIFE: Duration = Duration::from_secs(8 * 60 * 60);

/// How long a session lives that nobody uses.
const UNUSED: Duration = Duration::from_secs(60 * 60);

/// What the table knows an id by: its HMAC, so that a copy of the table opens no door.
type Key = [u8; 32];

/// Why a session ended before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Its user has logged out, or in again as somebody else.
    LoggedOut,
    /// It was unused, or others needed its place.
    Dropped,
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
    /// Returns when it ends at the latest.
    pub(crate) const fn ends(&self) -> Deadline {
        self.ends
    }

    /// Says whether it was begun in `realm`.
    pub(crate) fn is_of(&self, realm: &str) -> bool {
        let identity = self.proof.grant.identity.as_ref();
        identity.is_some_and(|identity| &*identity.realm == realm)
    }

    /// Says whether nothing can be begun with it any more.
    pub(crate) fn is_over(&self, now: Now) -> bool {
        self.ends.is_due(now) || self.thread.lock().ended.is_some()
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

/// All sessions of a gateway.
#[derive(Default)]
pub(crate) struct Sessions(Mutex<Table>);

#[derive(Default)]
struct Table {
    by_key: BTreeMap<Key, Entry>,
    /// The same, the longest unused first.
    by_use: BTreeSet<(Moment, Key)>,
}

struct Entry {
    session: Arc<Session>,
    used: Now,
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sessions")
    }
}

/// What a cookie turned out to hold.
#[derive(Debug)]
pub(crate) enum Looked {
    /// A session of this realm.
    Found(Arc<Session>),
    /// A session of another realm, which is nothing here.
    Elsewhere,
    /// Nothing that is known, or not any more.
    Unknown,
}

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a session for `proof` and returns its id. `replaced` is the id that the browser had:
    /// it is worth nothing from here on. Over `limit` sessions the longest unused one goes.
    pub(crate) fn open(
        &self,
        entropy: &Entropy,
        realm: &Realm,
        mut proof: Proof,
        replaced: Option<&[u8]>,
        limit: usize,
        now: Now,
    ) -> Secret<String> {
        let id = Secret::new(URL_SAFE_NO_PAD.encode(entropy.bytes::<32>(Label::Session)));
        let key = key(entropy, id.expose().as_bytes());
        let mut ended = Vec::new();
        // A session begins with a credential of its own: what came before has no part in it.
        proof.sessions.clear();
        {
            let mut table = self.lock();
            let old = replaced.and_then(|id| table.remove(&self::key(entropy, id)));
            let thread = match old {
                // The same user goes on: what is open stays open, and ends with the new session.
                Some(old) if same(&old.proof, &proof) && old.thread.lock().ended.is_none() => {
                    Arc::clone(&old.thread)
                }
                Some(old) => {
                    ended.push((old, Ended::LoggedOut));
                    Arc::default()
                }
                None => Arc::default(),
            };
            table.make_room(limit, now, &mut ended);
            thread.lock().key = key;
            let ends = Deadline::after(realm.session_timeout.unwrap_or(LIFE), now);
            let session = Arc::new(Session { proof, ends, thread });
            table.by_use.insert((now.at, key));
            table.by_key.insert(key, Entry { session, used: now });
        }
        for (session, why) in ended {
            session.thread.end(why);
        }
        id
    }

    /// Looks for the session with this id.
    pub(crate) fn find(&self, entropy: &Entropy, id: &[u8], realm: &str, now: Now) -> Looked {
        let key = key(entropy, id);
        let found = {
            let mut table = self.lock();
            let Some(entry) = table.by_key.get(&key) else {
                return Looked::Unknown;
            };
            if !entry.session.is_of(realm) {
                return Looked::Elsewhere;
            }
            let session = Arc::clone(&entry.session);
            if entry.is_unused(now) || session.is_over(now) {
                table.remove(&key);
                Err(session)
            } else {
                table.touch(key, now);
                Ok(session)
            }
        };
        match found {
            Ok(session) => Looked::Found(session),
            Err(session) => {
                session.thread.end(Ended::Dropped);
                Looked::Unknown
            }
        }
    }

    /// Judges what `session` has granted under the rules of `realm`. A session that is worth nothing
    /// any more is ended.
    ///
    /// # Errors
    /// Why it is worth nothing.
    pub(crate) fn renew(
        &self,
        session: &Arc<Session>,
        realm: &Arc<Realm>,
        now: Now,
    ) -> Result<Proof, Reason> {
        let renewed = session.proof.renew(realm, now);
        if renewed.is_err() {
            let key = session.thread.lock().key;
            self.lock().remove(&key);
            session.thread.end(Ended::Dropped);
        }
        let proof = renewed?;
        Ok(Proof {
            sessions: vec![Arc::clone(session)],
            ..proof
        })
    }

    /// Takes note that a socket of the session is in use.
    pub(crate) fn used(&self, membership: &Membership, now: Now) {
        let key = membership.thread.lock().key;
        self.lock().touch(key, now);
    }

    /// Returns how many there are.
    pub(super) fn len(&self) -> usize {
        self.lock().by_key.len()
    }

    /// Ends every session whose proof `wanted` picks, and its sockets.
    pub(super) fn end_all(&self, wanted: impl Fn(&Proof) -> bool) {
        let ended: Vec<_> = {
            let mut table = self.lock();
            let picked = |(key, entry): (&Key, &Entry)| wanted(&entry.session.proof).then_some(*key);
            let keys: Vec<_> = table.by_key.iter().filter_map(picked).collect();
            keys.iter().filter_map(|key| table.remove(key)).collect()
        };
        for session in ended {
            session.thread.end(Ended::Dropped);
        }
    }

    /// Ends the session with this id, if it is one of `realm`, and its sockets. Returns whose it was.
    pub(crate) fn close(&self, entropy: &Entropy, id: &[u8], realm: &str, now: Now) -> Option<Proof> {
        let Looked::Found(session) = self.find(entropy, id, realm, now) else {
            return None;
        };
        self.lock().remove(&key(entropy, id));
        session.thread.end(Ended::LoggedOut);
        Some(session.proof.clone())
    }
}

impl Entry {
    fn is_unused(&self, now: Now) -> bool {
        Deadline::after(UNUSED, self.used).is_due(now)
    }
}

impl Table {
    fn remove(&mut self, key: &Key) -> Option<Arc<Session>> {
        let entry = self.by_key.remove(key)?;
        self.by_use.remove(&(entry.used.at, *key));
        Some(entry.session)
    }

    fn touch(&mut self, key: Key, now: Now) {
        if let Some(entry) = self.by_key.get_mut(&key) {
            self.by_use.remove(&(entry.used.at, key));
            entry.used = now;
            self.by_use.insert((now.at, key));
        }
    }

    /// Takes out what is over, and what was unused longest until there is room for one more.
    fn make_room(&mut self, limit: usize, now: Now, ended: &mut Vec<(Arc<Session>, Ended)>) {
        while let Some((_, key)) = self.by_use.first().copied() {
            let full = self.by_key.len() >= limit.max(1);
            let gone = |entry: &Entry| entry.is_unused(now) || entry.session.is_over(now);
            if !full && !self.by_key.get(&key).is_some_and(gone) {
                return;
            }
            match self.remove(&key) {
                Some(session) => ended.push((session, Ended::Dropped)),
                // Both views hold the same sessions; a place that has none is given up.
                None => {
                    self.by_use.pop_first();
                }
            }
        }
    }
}

fn same(a: &Proof, b: &Proof) -> bool {
    match (&a.grant.identity, &b.grant.identity) {
        (Some(a), Some(b)) => a.is_same(b),
        (None, _) | (_, None) => false,
    }
}

fn key(entropy: &Entropy, id: &[u8]) -> Key {
    entropy.tagged(Label::SessionKey, id)
}
