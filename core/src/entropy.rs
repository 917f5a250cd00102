//! One seed, labelled streams: every nonce, id and jitter is `HMAC-SHA-256(seed, label | number)`,
//! so that a run with the same seed is the same run.

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
    /// The id of one request in the log.
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
    drawn: AtomicU64,
}

impl Entropy {
    /// Derives every stream from `seed`.
    pub fn new(seed: &Seed) -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, seed.0.expose()),
            drawn: AtomicU64::new(0),
        }
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
