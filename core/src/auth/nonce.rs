//! Nonces of Digest: made without a table, recognised by their MAC (RFC 7616 section 3.3).

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::entropy::{Entropy, Label};
use crate::note::RequestId;
use crate::secret::constant_time_eq;
use crate::time::{Deadline, Moment, Now, UnixTime};

/// Bytes of each of the two times and of the salt in a nonce.
const PART: usize = 8;
/// Bytes of a nonce without its MAC: both times in milliseconds, and the salt.
const BODY: usize = 3 * PART;
/// Bytes of the MAC, and of the opaque value.
const TAG: usize = 16;

/// When a nonce was issued, and what tells it from others of the same moment. Ordered by issue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Issue {
    at: Moment,
    unix: UnixTime,
    salt: [u8; PART],
}

impl Issue {
    /// An issue in answer to `request`, which is answered once.
    pub fn new(entropy: &Entropy, request: RequestId, now: Now) -> Self {
        Self {
            at: Moment::new(Duration::from_millis(millis(now.at.since_start()))),
            unix: UnixTime::new(Duration::from_millis(millis(now.unix.since_epoch()))),
            salt: entropy.tagged(Label::NonceSalt, &request.0),
        }
    }

    /// Writes the nonce for the realm called `realm`.
    #[must_use]
    pub fn nonce(&self, entropy: &Entropy, realm: &str) -> String {
        let body = self.body();
        let tag = tag(entropy, realm, &body);
        URL_SAFE_NO_PAD.encode([body.as_slice(), tag.as_slice()].concat())
    }

    /// Reads a nonce and the opaque value that came with it. `None` if they were not made here for
    /// this realm: by another process, or by a client.
    pub fn read(entropy: &Entropy, realm: &str, nonce: &[u8], opaque_value: &[u8]) -> Option<Self> {
        if !constant_time_eq(opaque(entropy, realm).as_bytes(), opaque_value) {
            return None;
        }
        let mut bytes = [0; BODY + TAG];
        let length = URL_SAFE_NO_PAD.decode_slice(nonce, &mut bytes).ok()?;
        let (body, found) = bytes.split_first_chunk::<BODY>()?;
        if length != bytes.len() || !constant_time_eq(&tag(entropy, realm, body), found) {
            return None;
        }
        let (at, behind) = body.split_first_chunk::<PART>()?;
        let (unix, behind) = behind.split_first_chunk::<PART>()?;
        let duration = |bytes: &[u8; PART]| Duration::from_millis(u64::from_be_bytes(*bytes));
        Some(Self {
            at: Moment::new(duration(at)),
            unix: UnixTime::new(duration(unix)),
            salt: *behind.first_chunk::<PART>()?,
        })
    }

    /// Says whether less than `lifetime` has passed by both clocks.
    #[must_use]
    pub fn is_fresh(&self, lifetime: Duration, now: Now) -> bool {
        let end = Deadline {
            at: self.at.after(lifetime),
            unix: self.unix.after(lifetime),
        };
        !end.is_due(now)
    }

    fn body(&self) -> [u8; BODY] {
        let mut body = [0; BODY];
        let at = millis(self.at.since_start()).to_be_bytes();
        let unix = millis(self.unix.since_epoch()).to_be_bytes();
        for (byte, value) in body.iter_mut().zip([at, unix, self.salt].as_flattened()) {
            *byte = *value;
        }
        body
    }
}

/// Returns the opaque value of the realm called `realm`: the same in every challenge of a process.
pub fn opaque(entropy: &Entropy, realm: &str) -> String {
    let tag: [u8; TAG] = entropy.tagged(Label::DigestOpaque, realm.as_bytes());
    URL_SAFE_NO_PAD.encode(tag)
}

/// The body has a fixed length, so that the realm behind it cannot be taken for a part of it.
fn tag(entropy: &Entropy, realm: &str, body: &[u8; BODY]) -> [u8; TAG] {
    entropy.tagged(Label::DigestNonce, &[body.as_slice(), realm.as_bytes()].concat())
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::entropy::Seed;

    fn entropy(seed: u8) -> Entropy {
        Entropy::new(&Seed::new([seed; 32]))
    }

    fn now(millis: u64) -> Now {
        let time = Duration::from_millis(millis);
        Now {
            at: Moment::new(time),
            unix: UnixTime::from_secs(1_700_000_000).after(time),
        }
    }

    const LIFE: Duration = Duration::from_secs(300);

    #[test]
    fn r13_a_nonce_is_recognised_by_its_maker_alone() {
        let ours = entropy(1);
        let issue = Issue::new(&ours, RequestId([1; 8]), now(7));
        let (nonce, opaque_value) = (issue.nonce(&ours, "demo"), opaque(&ours, "demo"));
        let read = |entropy: &Entropy, realm, nonce: &str, opaque: &str| {
            Issue::read(entropy, realm, nonce.as_bytes(), opaque.as_bytes())
        };
        assert_eq!(read(&ours, "demo", &nonce, &opaque_value), Some(issue));
        assert_eq!(
            read(&entropy(2), "demo", &nonce, &opaque(&entropy(2), "demo")),
            None
        );
        assert_eq!(read(&ours, "other", &nonce, &opaque(&ours, "other")), None);
        assert_eq!(read(&ours, "demo", &nonce, ""), None);
        for at in 0..nonce.len() {
            let mut bytes = nonce.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert_eq!(read(&ours, "demo", &changed, &opaque_value), None, "{at}");
        }
        for wrong in [
            "",
            "A",
            &nonce[1..],
            &format!("{nonce}="),
            &format!("{nonce}AAAA"),
            "\u{e4}",
        ] {
            assert_eq!(read(&ours, "demo", wrong, &opaque_value), None, "{wrong}");
        }
    }

    #[test]
    fn r13_nonces_of_one_moment_differ() {
        let ours = entropy(1);
        let nonce = |request| Issue::new(&ours, RequestId([request; 8]), now(0)).nonce(&ours, "demo");
        assert_ne!(nonce(1), nonce(2));
    }

    #[test]
    fn r13_a_nonce_ends_by_either_clock() {
        let issue = Issue::new(&entropy(1), RequestId([1; 8]), now(0));
        assert!(issue.is_fresh(LIFE, now(299_999)));
        assert!(!issue.is_fresh(LIFE, now(300_000)));
        let unix_back = Now {
            unix: now(0).unix,
            ..now(300_000)
        };
        assert!(!issue.is_fresh(LIFE, unix_back));
        let suspended = Now {
            unix: now(300_000).unix,
            ..now(1)
        };
        assert!(!issue.is_fresh(LIFE, suspended));
    }
}
