//! Nothing that Redis holds says anything to Redis: names are MACs, values are sealed.
//!
//! A sealed value is `version | node | salt | ciphertext`. Every value has a key of its own, the MAC
//! of its salt, and the salt is a MAC over fresh entropy and the value itself: even two processes
//! that were given the same seed never seal different values under the same key.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::hmac;
use zeroize::Zeroizing;

use crate::entropy::{Entropy, Label};
use crate::secret::Secret;

/// Every key that is written begins so.
const PREFIX: &str = "countersign:";

/// How long the secret is at least, in bytes.
pub(crate) const SECRET_BYTES: usize = 32;

/// What a sealed value begins with. Another construction has another version.
const VERSION: u8 = 1;

/// Bytes of a salt.
const SALT_BYTES: usize = 32;

/// What a value is known by: the MAC of what it is about.
pub(crate) type Name = [u8; 32];

/// One process among those that share a bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Node(pub(crate) [u8; 16]);

/// What something is named for. Two kinds never have related names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The one place for all revocations.
    Revocations,
    /// One revocation among them.
    Revocation,
    /// A session, by its id.
    Session,
    /// A ticket.
    Ticket,
    /// A data point.
    Point,
    /// Where nodes tell each other what is new.
    News,
    /// The field of a login page that belongs to its cookie.
    Csrf,
}

impl Kind {
    const fn label(self) -> &'static [u8] {
        match self {
            Self::Revocations => b"revocations\0",
            Self::Revocation => b"revocation\0",
            Self::Session => b"session\0",
            Self::Ticket => b"ticket\0",
            Self::Point => b"point\0",
            Self::News => b"news\0",
            Self::Csrf => b"csrf\0",
        }
    }
}

/// What all nodes know and Redis does not.
pub(crate) struct Keys {
    names: hmac::Key,
    salts: hmac::Key,
    seals: hmac::Key,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(***)")
    }
}

impl Keys {
    /// Derives the keys from the content of the secret file.
    pub(crate) fn new(secret: &Secret<Vec<u8>>) -> Self {
        let root = hmac::Key::new(hmac::HMAC_SHA256, secret.expose());
        let derived = |purpose: &[u8]| {
            let key = hmac::sign(&root, purpose);
            hmac::Key::new(hmac::HMAC_SHA256, key.as_ref())
        };
        Self {
            names: derived(b"countersign bus 1: names"),
            salts: derived(b"countersign bus 1: salts"),
            seals: derived(b"countersign bus 1: seals"),
        }
    }

    /// Returns the name of what `about` tells.
    pub(crate) fn name(&self, kind: Kind, about: &[u8]) -> Name {
        let mut context = hmac::Context::with_key(&self.names);
        context.update(kind.label());
        context.update(about);
        bytes(&context.sign())
    }

    /// Seals `value` for the place that `place` names.
    pub(crate) fn seal(&self, place: &[u8], node: Node, value: &[u8], entropy: &Entropy) -> Option<Vec<u8>> {
        let mut context = hmac::Context::with_key(&self.salts);
        context.update(&entropy.bytes::<32>(Label::BusSalt));
        for part in [place, &node.0, value] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let salt: [u8; SALT_BYTES] = bytes(&context.sign());
        let mut sealed = Vec::with_capacity(1 + 16 + SALT_BYTES + value.len() + 16);
        sealed.push(VERSION);
        sealed.extend_from_slice(&node.0);
        sealed.extend_from_slice(&salt);
        let mut text = Zeroizing::new(value.to_vec());
        let tag = self
            .cipher(&salt)?
            .seal_in_place_separate_tag(nonce(), about(place, node), &mut text)
            .ok()?;
        sealed.extend_from_slice(&text);
        sealed.extend_from_slice(tag.as_ref());
        Some(sealed)
    }

    /// Opens what was sealed for `place`, and says by whom.
    pub(crate) fn open(&self, place: &[u8], sealed: &[u8]) -> Option<(Node, Zeroizing<Vec<u8>>)> {
        let (version, rest) = sealed.split_first()?;
        let (node, rest) = rest.split_first_chunk::<16>()?;
        let (salt, text) = rest.split_first_chunk::<SALT_BYTES>()?;
        if *version != VERSION {
            return None;
        }
        let node = Node(*node);
        let mut text = Zeroizing::new(text.to_vec());
        let opened = self
            .cipher(salt)?
            .open_in_place(nonce(), about(place, node), &mut text);
        let length = opened.ok()?.len();
        text.truncate(length);
        Some((node, text))
    }

    /// Returns the cipher of the one value that has this salt.
    fn cipher(&self, salt: &[u8; SALT_BYTES]) -> Option<LessSafeKey> {
        let key = hmac::sign(&self.seals, salt);
        let key = UnboundKey::new(&CHACHA20_POLY1305, key.as_ref()).ok()?;
        Some(LessSafeKey::new(key))
    }
}

/// A key seals one value, so that its nonce need not tell values apart.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

fn about(place: &[u8], node: Node) -> Aad<Vec<u8>> {
    Aad::from([&[VERSION], &node.0[..], place].concat())
}

fn bytes(tag: &hmac::Tag) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(tag.as_ref());
    bytes
}

/// Returns the key of Redis under which what has this name is found.
pub(crate) fn key_of(name: &Name) -> Vec<u8> {
    format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(name)).into_bytes()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::entropy::Seed;

    fn keys(byte: u8) -> Keys {
        Keys::new(&Secret::new(vec![byte; SECRET_BYTES]))
    }

    const NODE: Node = Node([9; 16]);

    #[test]
    fn what_is_sealed_opens_in_its_place_alone() {
        let (keys, entropy) = (keys(1), Entropy::new(&Seed::new([1; 32])));
        let sealed = keys.seal(b"here", NODE, b"a value", &entropy).unwrap();
        let (node, value) = keys.open(b"here", &sealed).unwrap();
        assert_eq!((node, value.as_slice()), (NODE, &b"a value"[..]));
        assert!(keys.open(b"there", &sealed).is_none());
        assert!(super::tests::keys(2).open(b"here", &sealed).is_none());
        for index in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[index] ^= 1;
            assert!(keys.open(b"here", &changed).is_none(), "byte {index}");
            assert!(keys.open(b"here", &sealed[..index]).is_none(), "cut at {index}");
        }
    }

    #[test]
    fn nothing_is_seen_of_a_value_and_no_key_is_used_for_two() {
        let keys = keys(1);
        // Two processes that were given the same seed, as a copied machine would be.
        let [a, b] = [(); 2].map(|()| Entropy::new(&Seed::new([1; 32])));
        let seal = |entropy: &Entropy, value: &[u8]| keys.seal(b"here", NODE, value, entropy).unwrap();
        let salt = |sealed: &[u8]| sealed[17..49].to_vec();
        let (one, two) = (seal(&a, b"first value"), seal(&b, b"other value"));
        assert_ne!(salt(&one), salt(&two));
        assert_ne!(salt(&seal(&a, b"first value")), salt(&one));
        assert!(!one.windows(5).any(|part| part == b"value"));
    }

    #[test]
    fn names_differ_by_kind_and_secret_and_show_nothing() {
        let name = |secret, kind| keys(secret).name(kind, b"alice");
        assert_ne!(name(1, Kind::Session), name(1, Kind::Ticket));
        assert_ne!(name(1, Kind::Session), name(2, Kind::Session));
        let key = key_of(&name(1, Kind::Session));
        assert!(key.starts_with(b"countersign:") && !key.windows(5).any(|part| part == b"alice"));
        assert_eq!(key.len(), 12 + 43);
    }
}
