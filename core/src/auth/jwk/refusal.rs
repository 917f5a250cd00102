//! Why a key file, a JWK Set or a key of one is refused.

use std::fmt;

use super::{MAX_JWKS_BYTES, MAX_JWKS_KEYS};
use crate::auth::algorithm::{Algorithm, KeyKind};
use crate::auth::publickey::{self, Weakness};

/// Why a key file does not hold a usable key. Carries nothing of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyError {
    /// No public key or certificate in PEM form.
    NotPem,
    /// More than one public key or certificate.
    SeveralKeys,
    /// A private key: it has no business here.
    PrivateKey,
    /// The algorithm needs another kind of key.
    WrongKind {
        /// The algorithm of the configuration.
        algorithm: Algorithm,
        /// What the file holds.
        found: KeyKind,
    },
    /// An `HS*` algorithm with a public key: whoever has the public key could sign.
    SecretAlgorithm(Algorithm),
    /// A public-key algorithm with a secret.
    PublicKeyAlgorithm(Algorithm),
    /// PEM text as a secret.
    PemAsSecret,
    /// A secret shorter than the hash.
    ShortSecret {
        /// The least length in bytes.
        least: usize,
        /// The length in bytes.
        found: usize,
    },
    /// An RSA modulus outside 2048 to 8192 bits.
    RsaSize {
        /// The size in bits.
        bits: usize,
    },
    /// An RSA modulus or exponent that cannot be one.
    RsaComponents,
    /// An RSA modulus whose factors can be computed (CVE-2017-15361).
    RsaRoca,
    /// Broken or compressed key bytes.
    Malformed,
    /// A kind of key that is not built in.
    UnknownKind,
}

impl From<Weakness> for KeyError {
    fn from(weakness: Weakness) -> Self {
        match weakness {
            Weakness::TooSmall { bits } | Weakness::TooLarge { bits } => Self::RsaSize { bits },
            Weakness::BadComponents => Self::RsaComponents,
            Weakness::Roca => Self::RsaRoca,
            Weakness::Malformed => Self::Malformed,
            Weakness::UnknownKind => Self::UnknownKind,
        }
    }
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPem => f.write_str("no public key or certificate in PEM form"),
            Self::SeveralKeys => f.write_str("more than one public key"),
            Self::PrivateKey => f.write_str("a private key; only the public key belongs here"),
            Self::WrongKind { algorithm, found } => {
                let needed = algorithm.key_kind().name();
                write!(f, "{algorithm} needs {needed}, this is {}", found.name())
            }
            Self::SecretAlgorithm(algorithm) => {
                write!(f, "{algorithm} works with a shared secret, not with a public key")
            }
            Self::PublicKeyAlgorithm(algorithm) => {
                write!(f, "{algorithm} works with a public key, not with a shared secret")
            }
            Self::PemAsSecret => f.write_str("a PEM file is not a shared secret"),
            Self::ShortSecret { least, found } => {
                write!(f, "the secret has {found} bytes and needs at least {least}")
            }
            Self::RsaSize { bits } => write!(
                f,
                "the RSA key has {bits} bits; {} to {} are accepted",
                publickey::MIN_RSA_BITS,
                publickey::MAX_RSA_BITS
            ),
            Self::RsaComponents => f.write_str("the RSA modulus or exponent is not acceptable"),
            Self::RsaRoca => f.write_str("the RSA key can be factored (CVE-2017-15361)"),
            Self::Malformed => f.write_str("the key is broken, or an EC point is compressed"),
            Self::UnknownKind => f.write_str("a kind of key that is not built in"),
        }
    }
}

impl std::error::Error for KeyError {}

/// Why bytes are not a JWK Set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JwkError {
    /// Over [`MAX_JWKS_BYTES`].
    TooLarge,
    /// Not a JSON object, or a member occurs twice.
    NotJson,
    /// No list `keys`.
    NoKeys,
    /// Over [`MAX_JWKS_KEYS`].
    TooManyKeys,
}

impl fmt::Display for JwkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => write!(f, "a JWK Set over {MAX_JWKS_BYTES} bytes"),
            Self::NotJson => f.write_str("not a JSON object, or a member occurs twice"),
            Self::NoKeys => f.write_str("no list `keys`"),
            Self::TooManyKeys => write!(f, "over {MAX_JWKS_KEYS} keys"),
        }
    }
}

impl std::error::Error for JwkError {}

/// A key of a JWK Set that is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedKey {
    /// Its place in `keys`, from 0.
    pub index: usize,
    /// Its `kid`. The publisher chose it: bound and escape it before it is logged.
    pub kid: Option<String>,
    /// The reason.
    pub why: Skip,
}

impl fmt::Display for SkippedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key {} is skipped: {}", self.index, self.why)
    }
}

/// Why a key of a JWK Set is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skip {
    /// `use` is not `sig`, or `key_ops` lacks `verify`.
    OtherUse,
    /// Another key has the same `kid`.
    DuplicateKid,
    /// A shared secret (`oct`).
    Secret,
    /// `alg` is no signature algorithm, or not one for this kind of key.
    OtherAlgorithm,
    /// A curve that is not built in.
    NotBuiltIn(&'static str),
    /// An unknown `kty` or `crv`.
    UnknownKind,
    /// The named member is missing or broken.
    Malformed(&'static str),
    /// The key itself is weak or broken.
    Refused(KeyError),
}

impl From<Weakness> for Skip {
    fn from(weakness: Weakness) -> Self {
        Self::Refused(weakness.into())
    }
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherUse => f.write_str("not for verifying signatures"),
            Self::DuplicateKid => f.write_str("another key has the same kid"),
            Self::Secret => f.write_str("a shared secret does not belong in a JWK Set"),
            Self::OtherAlgorithm => f.write_str("its alg is no signature algorithm for this kind of key"),
            Self::NotBuiltIn(name) => write!(f, "{name} is not built in"),
            Self::UnknownKind => f.write_str("an unknown kind of key"),
            Self::Malformed(member) => write!(f, "{member} is missing or broken"),
            Self::Refused(error) => error.fmt(f),
        }
    }
}
