//! The signature algorithms of RFC 7518 section 3.1, RFC 8037 and RFC 8812 that a token may be signed with.

use std::fmt;

/// A signature algorithm that is built in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512,
    /// RSASSA-PSS with SHA-256 and a salt of 32 bytes.
    Ps256,
    /// RSASSA-PSS with SHA-384 and a salt of 48 bytes.
    Ps384,
    /// RSASSA-PSS with SHA-512 and a salt of 64 bytes.
    Ps512,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// ECDSA on P-521 with SHA-512.
    Es512,
    /// ECDSA on secp256k1 with SHA-256 (RFC 8812).
    Es256k,
    /// Ed25519 (RFC 8037); Ed448 is not built in.
    EdDsa,
    /// HMAC with SHA-256.
    Hs256,
    /// HMAC with SHA-384.
    Hs384,
    /// HMAC with SHA-512.
    Hs512,
}

/// The kind of key that an algorithm works with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// An RSA public key of 2048 to 8192 bits.
    Rsa,
    /// A point on P-256.
    P256,
    /// A point on P-384.
    P384,
    /// A point on P-521.
    P521,
    /// A point on secp256k1.
    Secp256k1,
    /// An Ed25519 public key.
    Ed25519,
    /// A secret that both sides share.
    Secret,
}

impl KeyKind {
    /// Returns the kind's name for messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rsa => "an RSA key",
            Self::P256 => "a P-256 key",
            Self::P384 => "a P-384 key",
            Self::P521 => "a P-521 key",
            Self::Secp256k1 => "a secp256k1 key",
            Self::Ed25519 => "an Ed25519 key",
            Self::Secret => "a shared secret",
        }
    }
}

/// A name that is no [`Algorithm`]'s; `none` is one of these. Names are case-sensitive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownAlgorithm;

impl fmt::Display for UnknownAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a known signature algorithm")
    }
}

impl std::error::Error for UnknownAlgorithm {}

impl Algorithm {
    /// Every algorithm that is built in.
    pub const ALL: [Self; 14] = [
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::Es512,
        Self::Es256k,
        Self::EdDsa,
        Self::Hs256,
        Self::Hs384,
        Self::Hs512,
    ];

    /// Returns the algorithm with the registered name `name`, which is case-sensitive
    /// (RFC 7515 section 4.1.1).
    ///
    /// # Errors
    /// [`UnknownAlgorithm`] for every other name.
    pub fn from_name(name: &str) -> Result<Self, UnknownAlgorithm> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.name() == name)
            .ok_or(UnknownAlgorithm)
    }

    /// Returns the registered name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Es512 => "ES512",
            Self::Es256k => "ES256K",
            Self::EdDsa => "EdDSA",
            Self::Hs256 => "HS256",
            Self::Hs384 => "HS384",
            Self::Hs512 => "HS512",
        }
    }

    /// Returns the kind of key that the algorithm works with.
    #[must_use]
    pub const fn key_kind(self) -> KeyKind {
        match self {
            Self::Rs256 | Self::Rs384 | Self::Rs512 | Self::Ps256 | Self::Ps384 | Self::Ps512 => KeyKind::Rsa,
            Self::Es256 => KeyKind::P256,
            Self::Es384 => KeyKind::P384,
            Self::Es512 => KeyKind::P521,
            Self::Es256k => KeyKind::Secp256k1,
            Self::EdDsa => KeyKind::Ed25519,
            Self::Hs256 | Self::Hs384 | Self::Hs512 => KeyKind::Secret,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m14_every_name_is_found_again() {
        for algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::from_name(algorithm.name()), Ok(algorithm));
        }
    }

    #[test]
    fn m14_none_is_no_algorithm() {
        for name in ["none", "None", "NONE", "", "rs256", "RS256 ", "ES521", "Ed448"] {
            assert_eq!(Algorithm::from_name(name), Err(UnknownAlgorithm));
        }
    }
}
