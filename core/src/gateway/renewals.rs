//! Open sockets that may be renewed: whoever presents a fresh credential over HTTP finds them by the
//! id that their 101 named, or by the identity that the credential proves (M28).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::proof::Proof;
use super::sockets;
use crate::auth::basis::Basis;
use crate::auth::grant::Identity;
use crate::bell::Bell;
use crate::entropy::{Entropy, Label};
use crate::secret::Secret;

/// Random bytes of a socket's id: 22 characters.
const ID_BYTES: usize = 16;

/// What the table knows a socket by: the HMAC of its id.
type Key = [u8; 32];

/// What a socket is told.
#[derive(Debug)]
pub(crate) enum Order {
    /// Its client has proven again who it is.
    Renew(Box<Proof>),
    /// Somebody else has presented its id.
    Changed,
}

/// What became of a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Renewed {
    /// Every socket that it is about was told.
    Told,
    /// The socket is another client's, and ends.
    Changed,
    /// No socket of the realm has the id.
    Unknown,
}

/// The sockets that may be renewed: as many as are open.
#[derive(Default)]
pub(crate) struct Renewals(Mutex<Table>);

#[derive(Default)]
struct Table {
    by_key: BTreeMap<Key, Arc<Seat>>,
    by_identity: BTreeMap<sockets::Key, BTreeSet<Key>>,
}

/// One socket: who it serves by which realm, and what it is to be told.
struct Seat {
    clients: Vec<(Arc<str>, Option<Identity>)>,
    order: Mutex<Option<Order>>,
    bell: Arc<Bell>,
}

impl fmt::Debug for Renewals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Renewals")
    }
}

impl Seat {
    fn identities(&self) -> impl Iterator<Item = sockets::Key> {
        let identities = self.clients.iter().filter_map(|(_, identity)| identity.as_ref());
        identities.filter_map(sockets::key)
    }

    /// Leaves an order; `false` if the socket ends already, since somebody else has presented its id.
    fn tell(&self, order: Order) -> bool {
        {
            let mut held = self.order.lock().unwrap_or_else(PoisonError::into_inner);
            if matches!(*held, Some(Order::Changed)) {
                return false;
            }
            *held = Some(order);
        }
        self.bell.ring();
        true
    }
}

impl Renewals {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a socket that rests on `basis` be found until the returned value is dropped, by the id
    /// that is returned with it.
    pub(crate) fn register(
        self: &Arc<Self>,
        entropy: &Entropy,
        basis: &Basis,
        bell: &Arc<Bell>,
    ) -> (Secret<String>, Registration) {
        let id = Secret::new(URL_SAFE_NO_PAD.encode(entropy.bytes::<ID_BYTES>(Label::Socket)));
        let key = key(entropy, id.expose().as_bytes());
        let seat = Arc::new(Seat {
            clients: basis.clients().collect(),
            order: Mutex::default(),
            bell: Arc::clone(bell),
        });
        let mut table = self.lock();
        for identity in seat.identities() {
            table.by_identity.entry(identity).or_default().insert(key);
        }
        table.by_key.insert(key, Arc::clone(&seat));
        drop(table);
        let renewals = Arc::clone(self);
        (id, Registration { renewals, key, seat })
    }

    /// Tells the socket with this id, or without one every socket of the client in `realm`, that the
    /// client has proven itself.
    pub(crate) fn renew(&self, entropy: &Entropy, id: Option<&[u8]>, realm: &str, proof: &Proof) -> Renewed {
        let identity = proof.grant.identity.as_ref();
        let Some(id) = id else {
            let seats: Vec<_> = {
                let table = self.lock();
                let keys = identity.and_then(sockets::key);
                let keys = keys.and_then(|identity| table.by_identity.get(&identity));
                let seats = keys.into_iter().flatten().filter_map(|key| table.by_key.get(key));
                seats.map(Arc::clone).collect()
            };
            for seat in seats {
                seat.tell(Order::Renew(Box::new(proof.clone())));
            }
            return Renewed::Told;
        };
        let seat = self.lock().by_key.get(&key(entropy, id)).map(Arc::clone);
        let Some(seat) = seat else {
            return Renewed::Unknown;
        };
        let Some((_, client)) = seat.clients.iter().find(|(name, _)| **name == *realm) else {
            return Renewed::Unknown;
        };
        let same = match (client, identity) {
            (Some(client), Some(identity)) => client.is_same(identity),
            (None, _) | (_, None) => false,
        };
        let (order, renewed) = if same {
            (Order::Renew(Box::new(proof.clone())), Renewed::Told)
        } else {
            (Order::Changed, Renewed::Changed)
        };
        if seat.tell(order) {
            renewed
        } else {
            Renewed::Unknown
        }
    }
}

/// A socket's place in the table.
pub(crate) struct Registration {
    renewals: Arc<Renewals>,
    key: Key,
    seat: Arc<Seat>,
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Registration")
    }
}

impl Registration {
    /// Takes what the socket was told since the last time.
    pub(crate) fn take(&self) -> Option<Order> {
        let mut held = self.seat.order.lock().unwrap_or_else(PoisonError::into_inner);
        held.take()
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut table = self.renewals.lock();
        table.by_key.remove(&self.key);
        for identity in self.seat.identities() {
            if let Some(keys) = table.by_identity.get_mut(&identity) {
                keys.remove(&self.key);
                if keys.is_empty() {
                    table.by_identity.remove(&identity);
                }
            }
        }
    }
}

fn key(entropy: &Entropy, id: &[u8]) -> Key {
    entropy.tagged(Label::SocketKey, id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::Seed;

    #[test]
    fn m28_a_socket_that_is_gone_leaves_nothing() {
        let entropy = Entropy::new(&Seed::new([7; 32]));
        let renewals = Arc::new(Renewals::default());
        let (id, place) = renewals.register(&entropy, &Basis::default(), &Arc::default());
        assert_eq!(id.expose().len(), 22);
        assert!(renewals.lock().by_key.len() == 1 && place.take().is_none());
        drop(place);
        let table = renewals.lock();
        assert!(table.by_key.is_empty() && table.by_identity.is_empty());
    }
}
