//! All sessions of form logins (R16), by random ids of which only HMACs are kept.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::names::Names;
use super::proof::Proof;
use super::session::{Ended, Key, Membership, Session};
use crate::auth::realm::Realm;
use crate::entropy::Label;
use crate::reason::Reason;
use crate::secret::Secret;
use crate::time::{Deadline, Moment, Now};

/// Life of a session where the realm sets none: a working day.
const LIFE: Duration = Duration::from_secs(8 * 60 * 60);

/// How long a session lives that nobody uses.
pub(super) const UNUSED: Duration = Duration::from_secs(60 * 60);

/// The most sessions that are remembered because they have ended before their time, while other nodes
/// may still know them: as many as there may be sessions, if nothing else is configured.
const GRAVES: usize = 100_000;

/// All sessions of a gateway.
#[derive(Default)]
pub(crate) struct Sessions(Mutex<Table>);

#[derive(Default)]
struct Table {
    by_key: BTreeMap<Key, Entry>,
    /// The same, the longest unused first.
    by_use: BTreeSet<(Moment, Key)>,
    /// Where several nodes share sessions: what has ended here or elsewhere.
    graves: BTreeMap<Key, Grave>,
    /// The graves that the other nodes have not been told of.
    untold: BTreeSet<Key>,
    /// Sessions of this node that the others are to be told of once more.
    to_share: BTreeSet<Key>,
    shared: bool,
}

struct Entry {
    session: Arc<Session>,
    used: Now,
    /// It was begun on another node, which may have ended it without this one having heard.
    foreign: bool,
}

/// What is left of a session that has ended before its time where other nodes may still know it.
#[derive(Clone, Copy, Debug)]
struct Grave {
    why: Ended,
    until: Deadline,
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
    /// Only the other nodes know.
    Ask(Key),
}

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The sessions of a gateway; `shared` if other nodes are told of them.
    pub(super) fn new(shared: bool) -> Self {
        Self(Mutex::new(Table {
            shared,
            ..Table::default()
        }))
    }

    /// Begins a session for `proof` and returns its id, and what the table knows it by. `replaced` is
    /// the id that the browser had: it is worth nothing from here on. Over `limit` sessions the longest
    /// unused one goes.
    pub(super) fn open(
        &self,
        names: Names<'_>,
        realm: &Realm,
        mut proof: Proof,
        replaced: Option<&[u8]>,
        limit: usize,
        now: Now,
    ) -> (Secret<String>, Key) {
        let id = names.entropy.bytes::<32>(Label::Session);
        let id = Secret::new(URL_SAFE_NO_PAD.encode(id));
        let key = names.session(id.expose().as_bytes());
        let mut ended = Vec::new();
        // A session begins with a credential of its own: what came before has no part in it.
        proof.sessions.clear();
        {
            let mut table = self.lock();
            let ends = Deadline::after(realm.session_timeout.unwrap_or(LIFE), now);
            let old = replaced.and_then(|id| {
                let key = names.session(id);
                let Some(entry) = table.remove(&key) else {
                    if table.shared {
                        let why = Ended::LoggedOut;
                        table.dig(key, Grave { why, until: ends }, now);
                        table.untold.insert(key);
                    }
                    return None;
                };
                table.bury(key, &entry.session, Ended::LoggedOut, now);
                Some(entry.session)
            });
            let session = Arc::new(match old {
                // The same user goes on: what is open stays open, and ends with the new session.
                Some(old) if same(old.proof(), &proof) && !old.is_ended() => old.replaced(key, proof, ends),
                Some(old) => {
                    ended.push((old, Ended::LoggedOut));
                    Session::new(key, proof, ends)
                }
                None => Session::new(key, proof, ends),
            });
            table.make_room(limit, now, &mut ended);
            table.by_use.insert((now.at, key));
            let foreign = false;
            table.by_key.insert(
                key,
                Entry {
                    session,
                    used: now,
                    foreign,
                },
            );
        }
        for (session, why) in ended {
            session.end(why);
        }
        (id, key)
    }

    /// Looks for the session with this id.
    pub(crate) fn find(&self, names: Names<'_>, id: &[u8], realm: &str, now: Now) -> Looked {
        let key = names.session(id);
        let found = {
            let mut table = self.lock();
            let (shared, buried) = (table.shared, table.graves.contains_key(&key));
            let Some(entry) = table.by_key.get(&key) else {
                return if shared && !buried && Names::may_have_made(id) {
                    Looked::Ask(key)
                } else {
                    Looked::Unknown
                };
            };
            // Used on another node meanwhile, or ended there.
            if shared && (entry.foreign || entry.is_unused(now)) && !entry.session.is_over(now) {
                return Looked::Ask(key);
            }
            if !entry.session.is_of(realm) {
                return Looked::Elsewhere;
            }
            let session = Arc::clone(&entry.session);
            if entry.is_unused(now) || session.is_over(now) {
                table.remove(&key);
                table.bury(key, &session, Ended::Dropped, now);
                Err(session)
            } else {
                table.touch(key, now);
                Ok(session)
            }
        };
        match found {
            Ok(session) => Looked::Found(session),
            Err(session) => {
                session.end(Ended::Dropped);
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
        let renewed = session.proof().renew(realm, now);
        if renewed.is_err() {
            let key = session.key();
            let mut table = self.lock();
            table.remove(&key);
            table.bury(key, session, Ended::Dropped, now);
            drop(table);
            session.end(Ended::Dropped);
        }
        let proof = renewed?;
        Ok(Proof {
            sessions: vec![Arc::clone(session)],
            ..proof
        })
    }

    /// Takes note that a socket of the session is in use.
    pub(super) fn used(&self, membership: &Membership, now: Now) -> Option<(Key, Deadline)> {
        let key = membership.key();
        let mut table = self.lock();
        table.touch(key, now);
        Some((key, table.by_key.get(&key)?.session.ends()))
    }

    /// Returns how many there are.
    pub(super) fn len(&self) -> usize {
        self.lock().by_key.len()
    }

    /// Ends every session whose proof `wanted` picks, and its sockets.
    pub(super) fn end_all(&self, wanted: impl Fn(&Proof) -> bool, now: Now) {
        let ended: Vec<_> = {
            let mut table = self.lock();
            let picked = |(key, entry): (&Key, &Entry)| wanted(entry.session.proof()).then_some(*key);
            let keys: Vec<_> = table.by_key.iter().filter_map(picked).collect();
            let mut end = |key: &Key| {
                let entry = table.remove(key)?;
                table.bury(*key, &entry.session, Ended::Dropped, now);
                Some(entry.session)
            };
            keys.iter().filter_map(&mut end).collect()
        };
        for session in ended {
            session.end(Ended::Dropped);
        }
    }

    /// Ends `session`, and its sockets, because its user has logged out.
    pub(super) fn log_out(&self, session: &Arc<Session>, now: Now) {
        let key = session.key();
        let mut table = self.lock();
        table.remove(&key);
        table.bury(key, session, Ended::LoggedOut, now);
        drop(table);
        session.end(Ended::LoggedOut);
    }

    /// Takes in what another node knows about the session `key`; `None` if it has ended meanwhile.
    pub(super) fn take_in(
        &self,
        key: Key,
        (proof, ends): (Proof, Deadline),
        limit: usize,
        now: Now,
    ) -> Option<Arc<Session>> {
        let mut ended = Vec::new();
        let session = {
            let mut table = self.lock();
            if ends.is_due(now) || table.graves.contains_key(&key) {
                return None;
            }
            if let Some(entry) = table.by_key.get(&key) {
                let session = Arc::clone(&entry.session);
                table.touch(key, now);
                return Some(session);
            }
            table.make_room(limit, now, &mut ended);
            let session = Arc::new(Session::new(key, proof, ends));
            table.by_use.insert((now.at, key));
            let entry = Entry {
                session: Arc::clone(&session),
                used: now,
                foreign: true,
            };
            table.by_key.insert(key, entry);
            session
        };
        for (session, why) in ended {
            session.end(why);
        }
        Some(session)
    }

    /// Forgets a session of which Redis knows nothing any more: it has ended unused.
    pub(super) fn forget(&self, key: &Key) {
        let entry = self.lock().remove(key);
        if let Some(entry) = entry {
            entry.session.end(Ended::Dropped);
        }
    }

    /// Another node says that the session `key` has ended. It is remembered until `until`.
    pub(super) fn ended_elsewhere(&self, key: Key, why: Ended, until: Deadline, now: Now) {
        let entry = {
            let mut table = self.lock();
            table.dig(key, Grave { why, until }, now);
            table.remove(&key)
        };
        if let Some(entry) = entry {
            entry.session.end(why);
        }
    }

    /// Returns a session of this node that has not ended, with what it granted, by its key.
    pub(super) fn own(&self, key: &Key, now: Now) -> Option<Arc<Session>> {
        let table = self.lock();
        let entry = table.by_key.get(key)?;
        let own = !entry.foreign && !entry.session.is_over(now);
        own.then(|| Arc::clone(&entry.session))
    }

    /// Has everything told to the other nodes that they may have missed.
    pub(super) fn tell_all(&self) {
        let mut table = self.lock();
        table.untold = table.graves.keys().copied().collect();
        let own = table.by_key.iter().filter(|(_, entry)| !entry.foreign);
        table.to_share = own.map(|(key, _)| *key).collect();
    }

    /// Returns up to `limit` sessions that have ended and that the other nodes are to be told of.
    pub(super) fn take_graves(&self, limit: usize) -> Vec<(Key, Ended, Deadline)> {
        let mut table = self.lock();
        let mut graves = Vec::new();
        while graves.len() < limit
            && let Some(key) = table.untold.pop_first()
        {
            if let Some(grave) = table.graves.get(&key) {
                graves.push((key, grave.why, grave.until));
            }
        }
        graves
    }

    /// Returns up to `limit` sessions that the other nodes may have lost.
    pub(super) fn take_lost(&self, limit: usize, now: Now) -> Vec<(Key, Arc<Session>)> {
        let mut table = self.lock();
        let mut lost = Vec::new();
        while lost.len() < limit
            && let Some(key) = table.to_share.pop_first()
        {
            if let Some(entry) = table.by_key.get(&key)
                && !entry.session.is_over(now)
            {
                lost.push((key, Arc::clone(&entry.session)));
            }
        }
        lost
    }

    /// Returns the sessions of other nodes that have sockets here, or had.
    pub(super) fn foreign(&self) -> Vec<Key> {
        let table = self.lock();
        let foreign = table.by_key.iter().filter(|(_, entry)| entry.foreign);
        foreign.map(|(key, _)| *key).collect()
    }
}

impl Entry {
    fn is_unused(&self, now: Now) -> bool {
        Deadline::after(UNUSED, self.used).is_due(now)
    }
}

impl Table {
    fn remove(&mut self, key: &Key) -> Option<Entry> {
        let entry = self.by_key.remove(key)?;
        self.by_use.remove(&(entry.used.at, *key));
        Some(entry)
    }

    /// Remembers that `session` has ended before its time, for the other nodes to be told.
    fn bury(&mut self, key: Key, session: &Session, why: Ended, now: Now) {
        if self.shared && !session.ends().is_due(now) {
            let until = session.ends();
            self.dig(key, Grave { why, until }, now);
            self.untold.insert(key);
        }
    }

    fn dig(&mut self, key: Key, grave: Grave, now: Now) {
        if self.graves.len() >= GRAVES && !self.graves.contains_key(&key) {
            self.graves.retain(|_, grave| !grave.until.is_due(now));
            if self.graves.len() >= GRAVES
                && let Some((gone, _)) = self.graves.pop_first()
            {
                self.untold.remove(&gone);
            }
        }
        self.graves.insert(key, grave);
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
                Some(entry) => {
                    // Whose session it is decides for all nodes.
                    if !entry.foreign && !entry.is_unused(now) {
                        self.bury(key, &entry.session, Ended::Dropped, now);
                    }
                    ended.push((entry.session, Ended::Dropped));
                }
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
