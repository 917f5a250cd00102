//! Tickets (B1): one connection each, within seconds, for whom and where they were made.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::names::Names;
use super::proof::Proof;
use super::sockets;
use crate::entropy::Label;
use crate::http::Origin;
use crate::reason::Reason;
use crate::secret::Secret;
use crate::time::{Deadline, Moment, Now};

/// Unspent tickets of one identity: a page that opens its sockets at once needs a few, nobody needs
/// more before the first is used.
pub(crate) const TICKETS_PER_IDENTITY: usize = 16;

/// Spent tickets that are remembered until they would have ended: enough to tell a replay in the log,
/// and nothing else depends on it.
const REMEMBERED: usize = 10_000;

/// What the table knows a ticket by: its HMAC, so that a copy of the table opens no door.
type Key = [u8; 32];

/// What a ticket is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bound {
    /// The id of the server that made it.
    pub(crate) server: Arc<str>,
    /// The canonical path that it opens; without one every service of its realm.
    pub(crate) endpoint: Option<String>,
    /// The page that it was made for, if one asked.
    pub(crate) origin: Option<Origin>,
}

/// Where a ticket was presented.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The id of the server.
    pub(crate) server: Arc<str>,
    /// The canonical path.
    pub(crate) path: String,
    /// The page that asks, if one does.
    pub(crate) origin: Option<Origin>,
}

impl Place {
    /// No endpoint at all, on the server with the id `server`.
    pub(crate) fn nowhere(server: &Arc<str>) -> Self {
        Self {
            server: Arc::clone(server),
            path: String::new(),
            origin: None,
        }
    }
}

impl Bound {
    fn fits(&self, place: &Place) -> bool {
        self.server == place.server
            && self
                .endpoint
                .as_ref()
                .is_none_or(|endpoint| *endpoint == place.path)
            && (self.origin.is_none() || self.origin == place.origin)
    }
}

/// What a ticket opens, until when.
pub(crate) struct Ticket {
    pub(super) proof: Proof,
    pub(super) bound: Bound,
    pub(super) ends: Deadline,
}

/// Why no ticket was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoTicket {
    /// Who asks cannot be told from others: there is nobody to bind it to.
    Nobody,
    /// There are enough unspent ones; one of them ends after this time.
    Enough(Duration),
}

/// All tickets of a gateway.
#[derive(Default)]
pub(crate) struct Tickets(Mutex<Table>);

#[derive(Default)]
struct Table {
    unspent: BTreeMap<Key, Ticket>,
    per_identity: BTreeMap<sockets::Key, usize>,
    /// Tickets that were used and would not be over yet: their second use is told apart in the log.
    spent: BTreeSet<Key>,
    /// Both kinds, the first to end first.
    by_end: BTreeSet<(Moment, Key)>,
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tickets")
    }
}

impl Tickets {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a ticket for `proof`, good for `lifetime`, and returns it.
    ///
    /// # Errors
    /// There are `limit` unspent tickets, or [`TICKETS_PER_IDENTITY`] of this identity, or none may be
    /// made at all.
    pub(crate) fn make(
        &self,
        names: Names<'_>,
        proof: Proof,
        bound: Bound,
        lifetime: Duration,
        limit: usize,
        now: Now,
    ) -> Result<Secret<String>, NoTicket> {
        let identity = proof.grant.identity.as_ref().and_then(sockets::key);
        let identity = identity.ok_or(NoTicket::Nobody)?;
        let mut table = self.lock();
        table.purge(now);
        let own = table.per_identity.get(&identity).copied().unwrap_or(0);
        if own >= TICKETS_PER_IDENTITY || table.unspent.len() >= limit {
            let first = table.by_end.first().map_or(now.at, |(end, _)| *end);
            return Err(NoTicket::Enough(first.since(now.at)));
        }
        let ticket = names.entropy.bytes::<32>(Label::Ticket);
        let ticket = Secret::new(URL_SAFE_NO_PAD.encode(ticket));
        let key = names.ticket(ticket.expose().as_bytes());
        let ends = Deadline::after(lifetime, now);
        table.per_identity.insert(identity, own + 1);
        table.by_end.insert((ends.at, key));
        table.unspent.insert(key, Ticket { proof, bound, ends });
        Ok(ticket)
    }

    /// Returns how many are unspent.
    pub(super) fn len(&self) -> usize {
        self.lock().unspent.len()
    }

    /// Takes every unspent ticket away whose proof `wanted` picks.
    pub(super) fn end_all(&self, wanted: impl Fn(&Proof) -> bool) -> Vec<Key> {
        let mut table = self.lock();
        let picked = |(key, ticket): (&Key, &Ticket)| wanted(&ticket.proof).then_some((ticket.ends.at, *key));
        let gone: Vec<_> = table.unspent.iter().filter_map(picked).collect();
        for turn in &gone {
            table.by_end.remove(turn);
            table.forget(&turn.1);
        }
        gone.into_iter().map(|(_, key)| key).collect()
    }

    /// Uses a ticket of `realm` at `place`, up: whatever comes of it, it is spent.
    ///
    /// # Errors
    /// Why it is worth nothing.
    pub(crate) fn spend(
        &self,
        names: Names<'_>,
        ticket: &[u8],
        realm: &str,
        place: &Place,
        now: Now,
    ) -> Result<Proof, Reason> {
        let key = names.ticket(ticket);
        let taken = {
            let mut table = self.lock();
            let taken = table.take(&key);
            if taken.is_none() && table.spent.contains(&key) {
                return Err(Reason::Replayed);
            }
            taken
        };
        taken.ok_or(Reason::UnknownKey)?.redeem(realm, place, now)
    }

    /// Shows the unspent ticket `key`.
    pub(super) fn with<T>(&self, key: &Key, show: impl FnOnce(&Ticket) -> T) -> Option<T> {
        self.lock().unspent.get(key).map(show)
    }

    /// Takes note that the ticket `key` was used, here or on another node. Returns whether it was
    /// known to be used already.
    pub(super) fn spent(&self, key: &Key) -> bool {
        let mut table = self.lock();
        let known = table.spent.contains(key);
        drop(table.take(key));
        known
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticket")
    }
}

impl Ticket {
    /// Returns what the ticket of `realm` is worth at `place`.
    ///
    /// # Errors
    /// Why it is worth nothing.
    pub(super) fn redeem(self, realm: &str, place: &Place, now: Now) -> Result<Proof, Reason> {
        let identity = self.proof.grant.identity.as_ref();
        if identity.is_none_or(|identity| &*identity.realm != realm) {
            return Err(Reason::UnknownKey);
        }
        if self.ends.is_due(now) {
            return Err(Reason::Expired);
        }
        if !self.bound.fits(place) {
            return Err(Reason::WrongAudience);
        }
        Ok(self.proof)
    }
}

impl Table {
    /// Takes a ticket out of the unspent ones, and remembers it while there is room to.
    fn take(&mut self, key: &Key) -> Option<Ticket> {
        let ticket = self.forget(key)?;
        if self.spent.len() < REMEMBERED {
            self.spent.insert(*key);
        } else {
            self.by_end.remove(&(ticket.ends.at, *key));
        }
        Some(ticket)
    }

    fn forget(&mut self, key: &Key) -> Option<Ticket> {
        let ticket = self.unspent.remove(key)?;
        let identity = ticket.proof.grant.identity.as_ref().and_then(sockets::key);
        if let Some(identity) = identity
            && let Some(count) = self.per_identity.get_mut(&identity)
        {
            *count -= 1;
            if *count == 0 {
                self.per_identity.remove(&identity);
            }
        }
        Some(ticket)
    }

    fn purge(&mut self, now: Now) {
        while let Some((end, key)) = self.by_end.first().copied()
            && end <= now.at
        {
            self.by_end.pop_first();
            self.spent.remove(&key);
            self.forget(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::auth::basis::Basis;
    use crate::auth::grant::{Authority, Grant, Identity};
    use crate::entropy::{Entropy, Seed};

    fn alone(entropy: &Entropy) -> Names<'_> {
        Names { entropy, bus: None }
    }

    const LIFETIME: Duration = Duration::from_secs(30);

    fn proof() -> Proof {
        let grant = Grant {
            identity: Some(Identity {
                realm: "r".into(),
                authority: Authority::Module(0),
                subject: Some("alice".into()),
            }),
            ..Grant::default()
        };
        Proof::of(Arc::new(grant), Basis::default())
    }

    fn bound() -> Bound {
        Bound {
            server: "s".into(),
            endpoint: None,
            origin: None,
        }
    }

    #[test]
    fn b01_what_is_remembered_of_spent_tickets_is_bounded() {
        let entropy = Entropy::new(&Seed::new([7; 32]));
        let (tickets, now) = (Tickets::default(), Now::default());
        let place = Place::nowhere(&"s".into());
        let make = || {
            tickets
                .make(alone(&entropy), proof(), bound(), LIFETIME, 1, now)
                .unwrap()
        };
        let spend = |ticket: &Secret<String>| {
            let ticket = ticket.expose().as_bytes();
            tickets
                .spend(alone(&entropy), ticket, "r", &place, now)
                .map(|_| ())
        };
        let first = make();
        assert_eq!((spend(&first), spend(&first)), (Ok(()), Err(Reason::Replayed)));
        for _ in 1..REMEMBERED {
            assert_eq!(spend(&make()), Ok(()));
        }
        let last = make();
        assert_eq!((spend(&last), spend(&last)), (Ok(()), Err(Reason::UnknownKey)));
        let ticket = make();
        let table = |tickets: &Tickets| {
            let table = tickets.lock();
            (
                table.unspent.len(),
                table.spent.len(),
                table.by_end.len(),
                table.per_identity.len(),
            )
        };
        assert_eq!(table(&tickets), (1, REMEMBERED, REMEMBERED + 1, 1));
        tickets.lock().purge(now.after(LIFETIME));
        assert_eq!(table(&tickets), (0, 0, 0, 0));
        assert_eq!(spend(&ticket), Err(Reason::UnknownKey));
    }

    #[test]
    fn b01_one_identity_has_sixteen_and_gets_a_place_back_with_each_that_is_spent() {
        let entropy = Entropy::new(&Seed::new([7; 32]));
        let (tickets, now) = (Tickets::default(), Now::default());
        let make = |now| tickets.make(alone(&entropy), proof(), bound(), LIFETIME, 1000, now);
        let first = make(now).unwrap();
        for _ in 1..TICKETS_PER_IDENTITY {
            make(now).unwrap();
        }
        let later = now.after(Duration::from_secs(10));
        assert_eq!(
            make(later).unwrap_err(),
            NoTicket::Enough(Duration::from_secs(20))
        );
        let place = Place::nowhere(&"elsewhere".into());
        let spent = tickets.spend(alone(&entropy), first.expose().as_bytes(), "r", &place, later);
        assert_eq!(spent.unwrap_err(), Reason::WrongAudience);
        assert!(make(later).is_ok() && make(later).is_err());
        assert!(make(now.after(LIFETIME)).is_ok());
    }
}
