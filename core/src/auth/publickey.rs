//! The key material behind a signature check, vetted when it is loaded: what is weak or of the
//! wrong kind never becomes a key.

use ring::{hmac, signature};

use super::algorithm::{Algorithm, KeyKind};
use super::curve::CurveKey;
use super::der::{self, Reader};

/// Smallest RSA modulus, in bits (RFC 7518 section 3.3).
pub(super) const MIN_RSA_BITS: usize = 2048;
/// Largest RSA modulus, in bits: what the verifier takes.
pub(super) const MAX_RSA_BITS: usize = 8192;
/// Largest public exponent, in bits: what the verifier takes.
const MAX_EXPONENT_BITS: usize = 33;

/// Why key material is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weakness {
    /// Under 2048 bits.
    TooSmall { bits: usize },
    /// Over 8192 bits.
    TooLarge { bits: usize },
    /// An even modulus, or an exponent that is even, one, or over 33 bits.
    BadComponents,
    /// The modulus has the fingerprint of CVE-2017-15361 (ROCA): its factors can be computed.
    Roca,
    /// Not the bytes of such a key.
    Malformed,
    /// A kind of key that is not built in.
    UnknownKind,
}

/// A vetted key.
#[derive(Clone)]
pub(super) enum Material {
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    P256(Vec<u8>),
    P384(Vec<u8>),
    Curve(Box<CurveKey>),
    Ed25519(Vec<u8>),
    Secret(hmac::Key),
}

impl Material {
    /// An RSA key from big-endian modulus and exponent; leading zero bytes do not matter.
    pub(super) fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<Self, Weakness> {
        let (modulus, exponent) = (without_zeros(modulus), without_zeros(exponent));
        let bits = bit_length(modulus);
        if bits < MIN_RSA_BITS {
            return Err(Weakness::TooSmall { bits });
        }
        if bits > MAX_RSA_BITS {
            return Err(Weakness::TooLarge { bits });
        }
        let odd = |number: &[u8]| number.last().is_some_and(|last| last & 1 == 1);
        let exponent_fits = odd(exponent) && exponent != [1] && bit_length(exponent) <= MAX_EXPONENT_BITS;
        if !odd(modulus) || !exponent_fits {
            return Err(Weakness::BadComponents);
        }
        if has_roca_fingerprint(modulus) {
            return Err(Weakness::Roca);
        }
        Ok(Self::Rsa {
            modulus: modulus.to_vec(),
            exponent: exponent.to_vec(),
        })
    }

    /// A point in the uncompressed form of SEC 1 section 2.3.3, the only one that is taken. ring
    /// checks at every verification whether it lies on the curve, the other curves do it here.
    pub(super) fn point(kind: KeyKind, bytes: &[u8]) -> Result<Self, Weakness> {
        let length = match kind {
            KeyKind::P256 | KeyKind::Secp256k1 => 65,
            KeyKind::P384 => 97,
            KeyKind::P521 => 133,
            KeyKind::Rsa | KeyKind::Ed25519 | KeyKind::Secret => return Err(Weakness::UnknownKind),
        };
        if bytes.len() != length || bytes.first() != Some(&4) {
            return Err(Weakness::Malformed);
        }
        let curve = |key: Option<CurveKey>| {
            key.map(|key| Self::Curve(Box::new(key)))
                .ok_or(Weakness::Malformed)
        };
        match kind {
            KeyKind::P256 => Ok(Self::P256(bytes.to_vec())),
            KeyKind::P384 => Ok(Self::P384(bytes.to_vec())),
            KeyKind::P521 => curve(CurveKey::p521(bytes)),
            KeyKind::Secp256k1 => curve(CurveKey::secp256k1(bytes)),
            KeyKind::Rsa | KeyKind::Ed25519 | KeyKind::Secret => Err(Weakness::UnknownKind),
        }
    }

    pub(super) fn ed25519(bytes: &[u8]) -> Result<Self, Weakness> {
        if bytes.len() == signature::ED25519_PUBLIC_KEY_LEN {
            Ok(Self::Ed25519(bytes.to_vec()))
        } else {
            Err(Weakness::Malformed)
        }
    }

    /// A DER `SubjectPublicKeyInfo` (RFC 5280 section 4.1): RSA, one of the four curves or Ed25519.
    pub(super) fn from_spki(der: &[u8]) -> Result<Self, Weakness> {
        let Spki {
            algorithm,
            curve,
            key,
        } = read_spki(der).ok_or(Weakness::Malformed)?;
        match (algorithm, curve) {
            (OID_RSA, _) => Self::from_pkcs1(key),
            (OID_EC, Some(OID_P256)) => Self::point(KeyKind::P256, key),
            (OID_EC, Some(OID_P384)) => Self::point(KeyKind::P384, key),
            (OID_EC, Some(OID_P521)) => Self::point(KeyKind::P521, key),
            (OID_EC, Some(OID_SECP256K1)) => Self::point(KeyKind::Secp256k1, key),
            (OID_ED25519, None) => Self::ed25519(key),
            (_, _) => Err(Weakness::UnknownKind),
        }
    }

    /// A DER `RSAPublicKey` (RFC 8017 appendix A.1.1).
    pub(super) fn from_pkcs1(der: &[u8]) -> Result<Self, Weakness> {
        let read = || {
            let mut outer = Reader::new(der);
            let mut inner = outer.sequence()?;
            let components = (inner.unsigned()?, inner.unsigned()?);
            (outer.is_empty() && inner.is_empty()).then_some(components)
        };
        let (modulus, exponent) = read().ok_or(Weakness::Malformed)?;
        Self::rsa(modulus, exponent)
    }

    /// The key of a DER certificate (RFC 5280 section 4.1). Nothing else in it is looked at: the
    /// configuration trusts the key, not the certificate's issuer or dates.
    pub(super) fn from_certificate(der: &[u8]) -> Result<Self, Weakness> {
        Self::from_spki(certificate_spki(der).ok_or(Weakness::Malformed)?)
    }

    pub(super) fn kind(&self) -> KeyKind {
        match self {
            Self::Rsa { .. } => KeyKind::Rsa,
            Self::P256(_) => KeyKind::P256,
            Self::P384(_) => KeyKind::P384,
            Self::Curve(key) => match **key {
                CurveKey::P521(_) => KeyKind::P521,
                CurveKey::Secp256k1(_) => KeyKind::Secp256k1,
            },
            Self::Ed25519(_) => KeyKind::Ed25519,
            Self::Secret(_) => KeyKind::Secret,
        }
    }

    /// The size of an RSA modulus in bits; `None` for other kinds.
    pub(super) fn rsa_bits(&self) -> Option<usize> {
        match self {
            Self::Rsa { modulus, .. } => Some(bit_length(modulus)),
            Self::P256(_) | Self::P384(_) | Self::Curve(_) | Self::Ed25519(_) | Self::Secret(_) => None,
        }
    }

    /// Says whether `signature` is this key's signature of `message` under `algorithm`. An algorithm
    /// of another kind of key is never verified.
    pub(super) fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        if algorithm.key_kind() != self.kind() {
            return false;
        }
        match self {
            Self::Rsa { modulus, exponent } => rsa_parameters(algorithm).is_some_and(|parameters| {
                let key = signature::RsaPublicKeyComponents {
                    n: modulus,
                    e: exponent,
                };
                key.verify(parameters, message, signature).is_ok()
            }),
            Self::P256(point) => verifies(&signature::ECDSA_P256_SHA256_FIXED, point, message, signature),
            Self::P384(point) => verifies(&signature::ECDSA_P384_SHA384_FIXED, point, message, signature),
            Self::Curve(key) => key.verifies(message, signature),
            Self::Ed25519(key) => verifies(&signature::ED25519, key, message, signature),
            Self::Secret(key) => {
                hmac_algorithm(algorithm).is_some_and(|(bound, _)| key.algorithm() == bound)
                    && hmac::verify(key, message, signature).is_ok()
            }
        }
    }
}

fn verifies(
    algorithm: &'static dyn signature::VerificationAlgorithm,
    key: &[u8],
    message: &[u8],
    signature: &[u8],
) -> bool {
    signature::UnparsedPublicKey::new(algorithm, key)
        .verify(message, signature)
        .is_ok()
}

const fn rsa_parameters(algorithm: Algorithm) -> Option<&'static signature::RsaParameters> {
    match algorithm {
        Algorithm::Rs256 => Some(&signature::RSA_PKCS1_2048_8192_SHA256),
        Algorithm::Rs384 => Some(&signature::RSA_PKCS1_2048_8192_SHA384),
        Algorithm::Rs512 => Some(&signature::RSA_PKCS1_2048_8192_SHA512),
        Algorithm::Ps256 => Some(&signature::RSA_PSS_2048_8192_SHA256),
        Algorithm::Ps384 => Some(&signature::RSA_PSS_2048_8192_SHA384),
        Algorithm::Ps512 => Some(&signature::RSA_PSS_2048_8192_SHA512),
        Algorithm::Es256
        | Algorithm::Es384
        | Algorithm::Es512
        | Algorithm::Es256k
        | Algorithm::EdDsa
        | Algorithm::Hs256
        | Algorithm::Hs384
        | Algorithm::Hs512 => None,
    }
}

/// The MAC behind an `HS*` algorithm and its length in bytes, which is also the least length of a
/// secret for it (RFC 7518 section 3.2).
pub(super) const fn hmac_algorithm(algorithm: Algorithm) -> Option<(hmac::Algorithm, usize)> {
    match algorithm {
        Algorithm::Hs256 => Some((hmac::HMAC_SHA256, 32)),
        Algorithm::Hs384 => Some((hmac::HMAC_SHA384, 48)),
        Algorithm::Hs512 => Some((hmac::HMAC_SHA512, 64)),
        Algorithm::Rs256
        | Algorithm::Rs384
        | Algorithm::Rs512
        | Algorithm::Ps256
        | Algorithm::Ps384
        | Algorithm::Ps512
        | Algorithm::Es256
        | Algorithm::Es384
        | Algorithm::Es512
        | Algorithm::Es256k
        | Algorithm::EdDsa => None,
    }
}

/// rsaEncryption, 1.2.840.113549.1.1.1.
const OID_RSA: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x01];
/// id-ecPublicKey, 1.2.840.10045.2.1.
const OID_EC: &[u8] = &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01];
/// secp256r1, 1.2.840.10045.3.1.7.
const OID_P256: &[u8] = &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07];
/// secp384r1, 1.3.132.0.34.
const OID_P384: &[u8] = &[0x2B, 0x81, 0x04, 0x00, 0x22];
/// secp521r1, 1.3.132.0.35.
const OID_P521: &[u8] = &[0x2B, 0x81, 0x04, 0x00, 0x23];
/// secp256k1, 1.3.132.0.10.
const OID_SECP256K1: &[u8] = &[0x2B, 0x81, 0x04, 0x00, 0x0A];
/// id-Ed25519, 1.3.101.112.
const OID_ED25519: &[u8] = &[0x2B, 0x65, 0x70];

/// A `SubjectPublicKeyInfo`, taken apart.
struct Spki<'a> {
    algorithm: &'a [u8],
    /// The identifier of the curve, if the algorithm has one.
    curve: Option<&'a [u8]>,
    key: &'a [u8],
}

fn read_spki(der: &[u8]) -> Option<Spki<'_>> {
    let mut outer = Reader::new(der);
    let mut spki = outer.sequence()?;
    let mut identifier = spki.sequence()?;
    let algorithm = identifier.value(der::OBJECT_IDENTIFIER)?;
    let curve = match identifier.peek() {
        Some(der::OBJECT_IDENTIFIER) => identifier.value(der::OBJECT_IDENTIFIER),
        Some(_) | None => None,
    };
    let key = spki.bit_string()?;
    (outer.is_empty() && spki.is_empty()).then_some(Spki {
        algorithm,
        curve,
        key,
    })
}

/// Returns the `SubjectPublicKeyInfo` of a certificate, its own tag included.
fn certificate_spki(der: &[u8]) -> Option<&[u8]> {
    let mut certificate = Reader::new(der).sequence()?;
    let mut fields = certificate.sequence()?;
    if fields.peek() == Some(der::CONTEXT_0) {
        fields.any()?;
    }
    // serialNumber, signature, issuer, validity, subject.
    for _ in 0..5 {
        fields.any()?;
    }
    let before = fields.rest();
    fields.any()?;
    before.get(..before.len() - fields.rest().len())
}

fn without_zeros(mut number: &[u8]) -> &[u8] {
    while let Some((0, rest)) = number.split_first() {
        number = rest;
    }
    number
}

/// The length in bits of a big-endian number without leading zero bytes.
fn bit_length(number: &[u8]) -> usize {
    number
        .first()
        .map_or(0, |first| number.len() * 8 - first.leading_zeros() as usize)
}

/// Says whether a modulus was made by the generator of CVE-2017-15361: modulo each of these primes
/// such a modulus is a power of 65537, which an honest one is with a chance of 2^-27.
fn has_roca_fingerprint(modulus: &[u8]) -> bool {
    const PRIMES: [u32; 17] = [
        11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157,
    ];
    PRIMES.into_iter().all(|prime| {
        let remainder = modulus
            .iter()
            .fold(0, |sum, &byte| (sum << 8 | u32::from(byte)) % prime);
        let mut power = 1;
        (0..prime).any(|_| {
            power = power * (65537 % prime) % prime;
            power == remainder
        })
    })
}
