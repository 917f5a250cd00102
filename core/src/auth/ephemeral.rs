//! Credentials that a shared secret makes and that expire by themselves: the user name is
//! `expiry:subject`, the password is the base64 of `HMAC(secret, user name)`. Whoever holds the secret
//! hands them out, and nobody has to store one (Kamailio's auth_ephemeral; the TURN REST API draft).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

use super::jwk::PEM_MARK;
use crate::config::HmacHash;
use crate::reason::Reason;
use crate::secret::Secret;
use crate::time::UnixTime;

/// An `ephemeral` module with its secrets read.
#[derive(Debug)]
pub(crate) struct EphemeralModule {
    /// The newest first.
    keys: Vec<hmac::Key>,
}

/// Who a right credential is about, and until when it is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verified {
    /// What stands behind `expiry:`; never empty.
    pub(crate) subject: String,
    /// From this second on it is refused: there is no leeway.
    pub(crate) expires: UnixTime,
}

/// What is wrong with the content of a secret file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SecretError {
    /// There is nothing in it but a line end.
    Empty,
    /// It is a PEM file, whose text may be public.
    Pem,
}

impl std::fmt::Display for SecretError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Empty => "the secret is empty: everybody could make credentials with it",
            Self::Pem => "this is a PEM file: a secret is random bytes that nobody else has",
        })
    }
}

impl EphemeralModule {
    /// A module without secrets, which accepts nothing.
    pub(crate) const fn new() -> Self {
        Self { keys: Vec::new() }
    }

    /// Adds the secret in `file`. One trailing line end is not part of it.
    ///
    /// # Errors
    /// The file holds no secret.
    pub(crate) fn add(&mut self, hash: HmacHash, file: &[u8]) -> Result<(), SecretError> {
        let secret = file.strip_suffix(b"\n").unwrap_or(file);
        let secret = secret.strip_suffix(b"\r").unwrap_or(secret);
        if secret.is_empty() {
            return Err(SecretError::Empty);
        }
        if secret.windows(PEM_MARK.len()).any(|window| window == PEM_MARK) {
            return Err(SecretError::Pem);
        }
        let algorithm = match hash {
            HmacHash::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            HmacHash::Sha256 => hmac::HMAC_SHA256,
            HmacHash::Sha384 => hmac::HMAC_SHA384,
            HmacHash::Sha512 => hmac::HMAC_SHA512,
        };
        self.keys.push(hmac::Key::new(algorithm, secret));
        Ok(())
    }

    /// Judges what a Basic credential holds, as it was split at its first colon. Every secret is
    /// tried whatever the others say, so that the time tells nothing about which one fits.
    ///
    /// # Errors
    /// [`Reason::Expired`] only if the signature is right.
    pub(crate) fn judge(&self, user: &str, password: &[u8], now: UnixTime) -> Result<Verified, Reason> {
        // RFC 7617 splits at the first colon, but here the user name has one and base64 has none.
        let text = Secret::new([user.as_bytes(), b":", password].concat());
        let mut parts = text.expose().rsplitn(2, |byte| *byte == b':');
        let (Some(mac), Some(name)) = (parts.next(), parts.next()) else {
            return Err(Reason::BadPassword);
        };
        let mac = STANDARD.decode(mac).unwrap_or_default();
        let right = self
            .keys
            .iter()
            .fold(false, |right, key| right | hmac::verify(key, name, &mac).is_ok());
        let claimed = claimed(name).ok_or(Reason::UnknownUser)?;
        if !right {
            return Err(Reason::BadPassword);
        }
        if now >= claimed.expires {
            return Err(Reason::Expired);
        }
        Ok(claimed)
    }
}

/// Reads `expiry:subject`: decimal digits alone, seconds since 1970, and a subject behind them.
fn claimed(name: &[u8]) -> Option<Verified> {
    let (expiry, subject) = std::str::from_utf8(name).ok()?.split_once(':')?;
    if !expiry.bytes().all(|byte| byte.is_ascii_digit()) || subject.is_empty() {
        return None;
    }
    Some(Verified {
        subject: subject.to_owned(),
        expires: UnixTime::from_secs(expiry.parse().ok()?),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const EXPIRY: UnixTime = UnixTime::from_secs(1_234_567_890);
    const SHA1: &str = "SKRoqQ0atcnJqdEqMBKwYlKaBMM=";
    const SHA256: &str = "XqW0XAlLp8IgsBjRPv7dKaZok/1LKKB2DU7k32iitl0=";

    fn module(hash: HmacHash, secrets: &[&str]) -> EphemeralModule {
        let mut module = EphemeralModule::new();
        for secret in secrets {
            module.add(hash, secret.as_bytes()).unwrap();
        }
        module
    }

    /// What the connection hands over: split at the first colon.
    fn judge(module: &EphemeralModule, text: &str, now: u64) -> Result<Verified, Reason> {
        let (user, password) = text.split_once(':').unwrap();
        module.judge(user, password.as_bytes(), UnixTime::from_secs(now))
    }

    fn right(mac: &str) -> String {
        format!("1234567890:foo@bar.com:{mac}")
    }

    #[test]
    fn m36_the_vectors_are_reproduced() {
        let expected = Verified {
            subject: "foo@bar.com".into(),
            expires: EXPIRY,
        };
        for (hash, mac) in [(HmacHash::Sha1, SHA1), (HmacHash::Sha256, SHA256)] {
            for secret in ["kamailio_rules", "kamailio_rules\n", "kamailio_rules\r\n"] {
                let module = module(hash, &[secret]);
                assert_eq!(judge(&module, &right(mac), 1_234_567_889), Ok(expected.clone()));
            }
            let other = module(hash, &["kamailio_rules\n\n"]);
            assert_eq!(judge(&other, &right(mac), 0), Err(Reason::BadPassword));
        }
    }

    #[test]
    fn m36_it_ends_with_its_second_and_without_leeway() {
        let module = module(HmacHash::Sha256, &["kamailio_rules"]);
        assert!(judge(&module, &right(SHA256), 1_234_567_889).is_ok());
        assert_eq!(
            judge(&module, &right(SHA256), 1_234_567_890),
            Err(Reason::Expired)
        );
        // Who has no right signature learns nothing of the clock.
        assert_eq!(
            judge(&module, &right(SHA1), 1_234_567_890),
            Err(Reason::BadPassword)
        );
    }

    #[test]
    fn m36_every_secret_counts() {
        for secrets in [["new", "kamailio_rules"], ["kamailio_rules", "old"]] {
            assert!(judge(&module(HmacHash::Sha1, &secrets), &right(SHA1), 0).is_ok());
        }
        assert!(judge(&module(HmacHash::Sha1, &["new", "old"]), &right(SHA1), 0).is_err());
        assert!(judge(&EphemeralModule::new(), &right(SHA1), 0).is_err());
    }

    #[test]
    fn m36_what_is_not_expiry_and_subject_is_refused_even_if_it_is_signed() {
        let module = module(HmacHash::Sha256, &["s"]);
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"s");
        for name in [
            "",
            "alice",
            "alice:1",
            ":alice",
            "+1:alice",
            "-1:alice",
            "1:",
            "12",
            "99999999999999999999:a",
        ] {
            let mac = STANDARD.encode(hmac::sign(&key, name.as_bytes()));
            let refused = judge(&module, &format!("{name}:{mac}"), 0);
            // An empty expiry is no number either.
            assert_eq!(refused, Err(Reason::UnknownUser), "{name}");
        }
        for text in ["1:alice:", "1:alice:!", ":", "1:alice"] {
            assert!(judge(&module, text, 0).is_err(), "{text}");
        }
    }

    #[test]
    fn m36_a_subject_may_have_colons() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"s");
        let mac = STANDARD.encode(hmac::sign(&key, b"5:urn:x:y"));
        let module = module(HmacHash::Sha256, &["s"]);
        assert_eq!(
            judge(&module, &format!("5:urn:x:y:{mac}"), 1).unwrap().subject,
            "urn:x:y"
        );
    }

    #[test]
    fn m36_a_file_without_a_secret_does_not_load() {
        let mut module = EphemeralModule::new();
        for empty in ["", "\n", "\r\n"] {
            assert_eq!(
                module.add(HmacHash::Sha1, empty.as_bytes()),
                Err(SecretError::Empty)
            );
        }
        assert_eq!(
            module.add(HmacHash::Sha1, b"-----BEGIN PUBLIC KEY-----"),
            Err(SecretError::Pem)
        );
        assert!(!format!("{module:?}").contains("secret"));
    }
}
