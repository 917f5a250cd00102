//! One seed, labelled streams: every nonce, id and jitter is `HMAC-SHA-256(seed, label | number)`,
//! so that a run with the same seed is the same run. Ids of requests have a key of that kind and a
//! faster function.

use std::hash::Hasher as _;
#[expect(deprecated, reason = "see where it is used")]
use std::hash::SipHasher;
use std::sync::atomic::{AtomicU64, Ordering};

use ring::hmac;

use crate::secret::Secret;

/// 32 secret bytes from the operating system's generator, read once by the adapter at start.
#[derive(Debug)]
pub struct Seed(Secret<[u8; 32]>);

impl Seed {
    /// Takes 32 bytes that nobody else knows.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(Secret::new(bytes))
    }
}

/// What a derived value is for. Two labels never yield related bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// What the ids of requests in the log are made with.
    Request,
    /// What finds a login that waits for a further factor.
    StepUp,
    /// Which stored parameter set an unknown user's password is hashed under.
    UnknownUser,
    /// The id of a session.
    Session,
    /// What a session's id is looked up by.
    SessionKey,
    /// A ticket.
    Ticket,
    /// What a ticket is looked up by.
    TicketKey,
    /// The id of an open socket.
    Socket,
    /// What a socket's id is looked up by.
    SocketKey,
    /// The cookie of a login page.
    CsrfCookie,
    /// The field of a login page that belongs to its cookie.
    CsrfField,
    /// The MAC of a Digest nonce.
    DigestNonce,
    /// What tells Digest nonces of one moment apart.
    NonceSalt,
    /// The opaque value of Digest challenges.
    DigestOpaque,
    /// What a finding about a credential is looked up by.
    Verdict,
    /// Whose failures are counted behind a shared address.
    Throttle,
    /// Who this process is among those that share a bus.
    Node,
    /// What makes the key of one sealed value.
    BusSalt,
    /// How long a lost bus is not dialed again.
    BusPause,
}

impl Label {
    const fn bytes(self) -> &'static [u8] {
        match self {
            Self::Request => b"request\0",
            Self::StepUp => b"step-up\0",
            Self::UnknownUser => b"unknown-user\0",
            Self::Session => b"session\0",
            Self::SessionKey => b"session-key\0",
            Self::Ticket => b"ticket\0",
            Self::TicketKey => b"ticket-key\0",
            Self::Socket => b"socket\0",
            Self::SocketKey => b"socket-key\0",
            Self::CsrfCookie => b"csrf-cookie\0",
            Self::CsrfField => b"csrf-field\0",
            Self::DigestNonce => b"digest-nonce\0",
            Self::NonceSalt => b"nonce-salt\0",
            Self::DigestOpaque => b"digest-opaque\0",
            Self::Verdict => b"verdict\0",
            Self::Throttle => b"throttle\0",
            Self::Node => b"node\0",
            Self::BusSalt => b"bus-salt\0",
            Self::BusPause => b"bus-pause\0",
        }
    }
}

/// The source of everything unpredictable in one gateway.
#[derive(Debug)]
pub struct Entropy {
    key: hmac::Key,
    /// What request ids are made with.
    requests: Secret<[u64; 2]>,
    drawn: AtomicU64,
}

impl Entropy {
    /// Derives every stream from `seed`.
    pub fn new(seed: &Seed) -> Self {
        let mut entropy = Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, seed.0.expose()),
            requests: Secret::default(),
            drawn: AtomicU64::new(0),
        };
        let half = |which: &[u8]| u64::from_be_bytes(entropy.tagged(Label::Request, which));
        entropy.requests = Secret::new([half(b"0"), half(b"1")]);
        entropy
    }

    /// Returns the id of the `request`-th request of the connection with this number.
    ///
    /// It is SipHash-2-4 under a key of its own: as unpredictable as the first eight bytes of an HMAC, at
    /// a thirtieth of the cost, for what stands in every line of the log.
    pub fn request(&self, connection: u64, request: u32) -> [u8; 8] {
        let [first, second] = *self.requests.expose();
        // Its successors in the standard library promise no algorithm, and take no key.
        #[expect(
            deprecated,
            reason = "the only SipHash of the standard library that is defined, and keyed"
        )]
        let mut hasher = SipHasher::new_with_keys(first, second);
        hasher.write(&connection.to_be_bytes());
        hasher.write(&request.to_be_bytes());
        hasher.finish().to_be_bytes()
    }

    /// Returns the next `N` bytes (at most 32) of the stream that `label` names.
    pub fn bytes<const N: usize>(&self, label: Label) -> [u8; N] {
        let number = self.drawn.fetch_add(1, Ordering::Relaxed);
        self.tagged(label, &number.to_be_bytes())
    }

    /// Returns the `N` bytes (at most 32) that belong to `message`: the same message, the same bytes.
    pub fn tagged<const N: usize>(&self, label: Label, message: &[u8]) -> [u8; N] {
        let mut tagging = self.tagging(label);
        tagging.update(message);
        tagging.tag()
    }

    /// Begins to tag a message that comes in parts. Where one ends and the next begins makes no
    /// difference.
    pub(crate) fn tagging(&self, label: Label) -> Tagging {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(label.bytes());
        Tagging(context)
    }
}

/// A message under way to its tag.
pub(crate) struct Tagging(hmac::Context);

impl Tagging {
    /// Adds the next part of the message.
    pub(crate) fn update(&mut self, part: &[u8]) {
        self.0.update(part);
    }

    /// Returns the `N` bytes (at most 32) that belong to the message.
    pub(crate) fn tag<const N: usize>(self) -> [u8; N] {
        const { assert!(N <= 32, "one HMAC-SHA-256 tag has 32 bytes") };
        let tag = self.0.sign();
        let mut out = [0; N];
        out.copy_from_slice(&tag.as_ref()[..N]);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_are_siphash_2_4_and_differ() {
        // The example of the paper (Aumasson and Bernstein, appendix A): key and input count up from 0.
        #[expect(deprecated, reason = "the one that is used")]
        let mut paper = SipHasher::new_with_keys(0x0706_0504_0302_0100, 0x0F0E_0D0C_0B0A_0908);
        paper.write(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]);
        assert_eq!(paper.finish(), 0xA129_CA61_49BE_45E5);
        let (one, other) = (
            Entropy::new(&Seed::new([1; 32])),
            Entropy::new(&Seed::new([2; 32])),
        );
        let ids = [
            one.request(1, 1),
            one.request(1, 2),
            one.request(2, 1),
            other.request(1, 1),
        ];
        for (at, id) in ids.iter().enumerate() {
            assert!(!ids[..at].contains(id));
        }
        assert_eq!(one.request(1, 1), Entropy::new(&Seed::new([1; 32])).request(1, 1));
        assert!(format!("{one:?}").contains("requests: Secret(***)"));
    }

    #[test]
    fn same_seed_same_streams() {
        let (a, b) = (
            Entropy::new(&Seed::new([7; 32])),
            Entropy::new(&Seed::new([7; 32])),
        );
        assert_eq!(a.bytes::<16>(Label::Request), b.bytes::<16>(Label::Request));
        assert_ne!(a.bytes::<16>(Label::Request), a.bytes::<16>(Label::Request));
        assert_ne!(
            a.tagged::<16>(Label::Request, b"x"),
            a.tagged::<16>(Label::UnknownUser, b"x")
        );
    }

    #[test]
    fn r10_debug_hides_the_seed() {
        let shown = format!("{:?}", Seed::new([0xAB; 32]));
        assert!(
            !shown.contains("171") && !shown.to_lowercase().contains("ab, ab"),
            "{shown}"
        );
    }
}
