//! The open WebSockets of a gateway, counted in all and per identity.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::auth::grant::{Authority, Identity};

/// The open sockets. An identity has a place in the table only while it has a socket, so the table
/// is bounded by the limit on connections.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    open: AtomicUsize,
    per_identity: Mutex<BTreeMap<Key, usize>>,
}

/// An identity, in an order of its own.
pub(super) type Key = (Arc<str>, Option<String>, usize, String);

/// Returns the key of an identity that can be told from others: who has no subject, or came without
/// a credential, is nobody in particular.
pub(super) fn key(identity: &Identity) -> Option<Key> {
    let (issuer, module) = match &identity.authority {
        Authority::Issuer(issuer) => (Some(issuer.clone()), 0),
        Authority::Module(index) => (None, *index),
        Authority::Anonymous => return None,
    };
    let subject = identity.subject.clone()?;
    Some((Arc::clone(&identity.realm), issuer, module, subject))
}

impl Sockets {
    /// Returns how many are open.
    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Counts one more until the returned value is dropped; `None` if the identity has `limit` already.
    pub(super) fn enter(
        self: &Arc<Self>,
        identity: Option<&Identity>,
        limit: Option<usize>,
    ) -> Option<OpenSocket> {
        let limited = limit.and_then(|limit| Some((limit, key(identity?)?)));
        if let Some((limit, key)) = &limited {
            let mut table = self.per_identity.lock().unwrap_or_else(PoisonError::into_inner);
            let count = table.get(key).copied().unwrap_or(0);
            if count >= *limit {
                return None;
            }
            table.insert(key.clone(), count + 1);
        }
        self.open.fetch_add(1, Ordering::Relaxed);
        Some(OpenSocket {
            sockets: Arc::clone(self),
            key: limited.map(|(_, key)| key),
        })
    }
}

/// One open socket in the count.
#[derive(Debug)]
pub(crate) struct OpenSocket {
    sockets: Arc<Sockets>,
    key: Option<Key>,
}

impl Drop for OpenSocket {
    fn drop(&mut self) {
        self.sockets.open.fetch_sub(1, Ordering::Relaxed);
        let Some(key) = &self.key else { return };
        let mut table = self
            .sockets
            .per_identity
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = table.get_mut(key) {
            *count -= 1;
            if *count == 0 {
                table.remove(key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e15_sockets_are_counted_per_identity_and_given_back() {
        let sockets = Arc::new(Sockets::default());
        let alice = |realm: &str| Identity {
            realm: realm.into(),
            authority: Authority::Module(0),
            subject: Some("alice".into()),
        };
        let first = sockets.enter(Some(&alice("a")), Some(1));
        assert!(first.is_some() && sockets.enter(Some(&alice("a")), Some(1)).is_none());
        assert!(sockets.enter(Some(&alice("b")), Some(1)).is_some());
        assert!(sockets.enter(None, Some(0)).is_some());
        drop(first);
        assert!(sockets.enter(Some(&alice("a")), Some(1)).is_some());
        assert_eq!(sockets.open(), 0);
        assert!(sockets.per_identity.lock().is_ok_and(|table| table.is_empty()));
    }
}
