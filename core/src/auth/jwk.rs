//! Key sets: which key may verify a token, and under which algorithm. A key is bound to its
//! algorithms when it is loaded, so that a token never chooses how it is verified
//! (RFC 8725 section 3.1).

mod refusal;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{Context, SHA256};
use ring::hmac;
use serde_json::{Map, Value};

pub use self::refusal::{JwkError, KeyError, Skip, SkippedKey};
use super::algorithm::{Algorithm, KeyKind};
use super::json;
use super::publickey::{self, Material};

/// Largest JWKS, in bytes. Large identity providers publish some 20 KiB.
pub const MAX_JWKS_BYTES: usize = 1024 * 1024;
/// Largest number of keys in a JWKS.
pub const MAX_JWKS_KEYS: usize = 1000;

/// The keys that may verify one issuer's tokens.
#[derive(Clone, Default)]
pub struct KeySet {
    keys: Vec<Key>,
    by_kid: BTreeMap<String, usize>,
    /// A key from a PEM or secret file has no name of its own; the token's `kid` says nothing then.
    kid_ignored: bool,
    /// A hash of everything that the set was made of.
    fingerprint: [u8; 32],
}

#[derive(Clone)]
struct Key {
    algorithms: Vec<Algorithm>,
    material: Material,
}

/// Why no key of a set is the one for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoKey {
    /// No key has the token's `kid`.
    UnknownKid,
    /// The token has no `kid`, and not exactly one key fits its algorithm.
    NotExactlyOne,
    /// The key is not bound to the token's algorithm.
    WrongAlgorithm,
}

impl KeySet {
    /// The one public key in the PEM text `bytes`, bound to `algorithm`: `PUBLIC KEY`,
    /// `RSA PUBLIC KEY` or `CERTIFICATE`.
    ///
    /// # Errors
    /// A [`KeyError`] if there is no such key, more than one, a private one, one of another kind
    /// than `algorithm` needs, or a weak one; always for the `HS*` algorithms.
    pub fn from_pem(algorithm: Algorithm, bytes: &[u8]) -> Result<Self, KeyError> {
        if algorithm.key_kind() == KeyKind::Secret {
            return Err(KeyError::SecretAlgorithm(algorithm));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| KeyError::NotPem)?;
        let sections = super::der::sections(text).ok_or(KeyError::NotPem)?;
        let mut materials = sections.iter().filter_map(|section| match section.label {
            "PUBLIC KEY" => Some(Material::from_spki(&section.der).map_err(KeyError::from)),
            "RSA PUBLIC KEY" => Some(Material::from_pkcs1(&section.der).map_err(KeyError::from)),
            "CERTIFICATE" => Some(Material::from_certificate(&section.der).map_err(KeyError::from)),
            label if label.ends_with("PRIVATE KEY") => Some(Err(KeyError::PrivateKey)),
            _ => None,
        });
        let material = materials.next().ok_or(KeyError::NotPem)??;
        if let Some(further) = materials.next() {
            further?;
            return Err(KeyError::SeveralKeys);
        }
        if material.kind() != algorithm.key_kind() {
            return Err(KeyError::WrongKind {
                algorithm,
                found: material.kind(),
            });
        }
        Ok(Self::of_one(vec![algorithm], material, bytes))
    }

    /// The shared secret `bytes`, taken exactly as they are, bound to an `HS*` algorithm.
    ///
    /// # Errors
    /// A [`KeyError`] for other algorithms, for a secret shorter than the hash (RFC 7518 section
    /// 3.2), and for PEM text: a public key as a secret would let anybody sign.
    pub fn from_secret(algorithm: Algorithm, bytes: &[u8]) -> Result<Self, KeyError> {
        let (mac, least) =
            publickey::hmac_algorithm(algorithm).ok_or(KeyError::PublicKeyAlgorithm(algorithm))?;
        if bytes.windows(PEM_MARK.len()).any(|window| window == PEM_MARK) {
            return Err(KeyError::PemAsSecret);
        }
        if bytes.len() < least {
            return Err(KeyError::ShortSecret {
                least,
                found: bytes.len(),
            });
        }
        Ok(Self::of_one(
            vec![algorithm],
            Material::Secret(hmac::Key::new(mac, bytes)),
            bytes,
        ))
    }

    /// The usable keys of a JWK Set (RFC 7517 section 5), and why the others are not. A key
    /// without `alg` is bound by its kind: EC to its curve's ES, Ed25519 to EdDSA, RSA to those of
    /// `rsa_algorithms` that are RSA algorithms, or to RS256 if there is none.
    ///
    /// Keys for other uses, shared secrets, weak keys, and all keys that share a `kid` are skipped.
    /// The set may be empty.
    ///
    /// # Errors
    /// [`JwkError`] if the whole is too large or not a JWK Set.
    pub fn from_jwks(
        bytes: &[u8],
        rsa_algorithms: &[Algorithm],
    ) -> Result<(Self, Vec<SkippedKey>), JwkError> {
        if bytes.len() > MAX_JWKS_BYTES {
            return Err(JwkError::TooLarge);
        }
        let members = json::object(bytes).map_err(|_| JwkError::NotJson)?;
        let list = members
            .get("keys")
            .and_then(Value::as_array)
            .ok_or(JwkError::NoKeys)?;
        if list.len() > MAX_JWKS_KEYS {
            return Err(JwkError::TooManyKeys);
        }
        let rsa_algorithms: Vec<_> = rsa_algorithms
            .iter()
            .copied()
            .filter(|algorithm| algorithm.key_kind() == KeyKind::Rsa)
            .collect();

        let mut skipped = Vec::new();
        let mut usable = Vec::new();
        for (index, value) in list.iter().enumerate() {
            match read_jwk(value, &rsa_algorithms) {
                Ok((kid, key)) => usable.push((index, kid, key)),
                Err(why) => skipped.push(SkippedKey {
                    index,
                    kid: value.get("kid").and_then(Value::as_str).map(str::to_owned),
                    why,
                }),
            }
        }

        // Which of two keys with one name is meant would depend on their order: neither is.
        let mut seen = BTreeSet::new();
        let twice: BTreeSet<String> = usable
            .iter()
            .filter_map(|(_, kid, _)| kid.as_ref())
            .filter(|kid| !seen.insert(kid.as_str()))
            .cloned()
            .collect();
        let mut set = Self {
            fingerprint: fingerprint(&rsa_algorithms, bytes),
            ..Self::default()
        };
        for (index, kid, key) in usable {
            match kid {
                Some(kid) if twice.contains(&kid) => skipped.push(SkippedKey {
                    index,
                    kid: Some(kid),
                    why: Skip::DuplicateKid,
                }),
                Some(kid) => {
                    set.by_kid.insert(kid, set.keys.len());
                    set.keys.push(key);
                }
                None => set.keys.push(key),
            }
        }
        skipped.sort_by_key(|key| key.index);
        Ok((set, skipped))
    }

    /// Returns a hash of everything that the set was made of: two sets with the same one find the same.
    pub(crate) const fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }

    /// Says whether to remember a signature costs less than to check it once more.
    pub(crate) fn is_worth_remembering(&self) -> bool {
        !matches!(
            self.keys.as_slice(),
            [Key {
                material: Material::Secret(_),
                ..
            }]
        )
    }

    /// Says whether no key is in the set.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Returns the number of keys.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.keys.len()
    }

    /// Says whether a token with this `kid` could find its key here: if not, a fresh copy of the set
    /// may have it.
    #[must_use]
    pub fn knows(&self, kid: &str) -> bool {
        self.kid_ignored || self.by_kid.contains_key(kid)
    }

    /// Returns the size in bits of the largest RSA modulus in the set. Verification with more than
    /// 2048 bits is worth a job of its own off the IO path.
    #[must_use]
    pub fn largest_rsa_bits(&self) -> Option<usize> {
        self.keys.iter().filter_map(|key| key.material.rsa_bits()).max()
    }

    /// Says whether `signature` over `message` is by the key that `kid` and `algorithm` select.
    pub(crate) fn verifies(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<bool, NoKey> {
        self.select(kid, algorithm)
            .map(|key| key.material.verifies(algorithm, message, signature))
    }

    fn select(&self, kid: Option<&str>, algorithm: Algorithm) -> Result<&Key, NoKey> {
        let named = match kid {
            _ if self.kid_ignored => self.keys.first(),
            Some(kid) => Some(
                self.by_kid
                    .get(kid)
                    .and_then(|&at| self.keys.get(at))
                    .ok_or(NoKey::UnknownKid)?,
            ),
            None => None,
        };
        if let Some(key) = named {
            return if key.algorithms.contains(&algorithm) {
                Ok(key)
            } else {
                Err(NoKey::WrongAlgorithm)
            };
        }
        let mut fitting = self.keys.iter().filter(|key| key.algorithms.contains(&algorithm));
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Ok(key),
            (Some(_), Some(_)) | (None, _) => Err(NoKey::NotExactlyOne),
        }
    }

    fn of_one(algorithms: Vec<Algorithm>, material: Material, bytes: &[u8]) -> Self {
        Self {
            fingerprint: fingerprint(&algorithms, bytes),
            keys: vec![Key { algorithms, material }],
            by_kid: BTreeMap::new(),
            kid_ignored: true,
        }
    }
}

fn fingerprint(algorithms: &[Algorithm], bytes: &[u8]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    context.update(format!("{algorithms:?}\n").as_bytes());
    context.update(bytes);
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(context.finish().as_ref());
    fingerprint
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeySet({} keys)", self.keys.len())
    }
}

pub(super) const PEM_MARK: &[u8] = b"-----BEGIN ";

/// Reads one member of `keys`: its `kid` and the key.
fn read_jwk(value: &Value, rsa_algorithms: &[Algorithm]) -> Result<(Option<String>, Key), Skip> {
    let jwk = value.as_object().ok_or(Skip::Malformed("the key"))?;
    let kid = text(jwk, "kid")?.map(str::to_owned);
    if text(jwk, "use")?.is_some_and(|usage| usage != "sig") {
        return Err(Skip::OtherUse);
    }
    if let Some(operations) = jwk.get("key_ops") {
        let operations = operations.as_array().ok_or(Skip::Malformed("key_ops"))?;
        if !operations.iter().any(|operation| operation == "verify") {
            return Err(Skip::OtherUse);
        }
    }
    let kind = text(jwk, "kty")?.ok_or(Skip::Malformed("kty"))?;
    if kind == "oct" {
        return Err(Skip::Secret);
    }
    let bound = match text(jwk, "alg")? {
        Some(name) => Some(Algorithm::from_name(name).map_err(|_| Skip::OtherAlgorithm)?),
        None => None,
    };
    let material = match kind {
        "RSA" => Material::rsa(&bytes(jwk, "n")?, &bytes(jwk, "e")?).map_err(Skip::from)?,
        "EC" => read_point(jwk)?,
        "OKP" => match text(jwk, "crv")? {
            Some("Ed25519") => Material::ed25519(&bytes(jwk, "x")?).map_err(Skip::from)?,
            Some(_) => return Err(Skip::NotBuiltIn("this OKP curve")),
            None => return Err(Skip::Malformed("crv")),
        },
        _ => return Err(Skip::UnknownKind),
    };
    let algorithms = match bound {
        Some(algorithm) if algorithm.key_kind() != material.kind() => return Err(Skip::OtherAlgorithm),
        Some(algorithm) => vec![algorithm],
        None => match material.kind() {
            KeyKind::Rsa if rsa_algorithms.is_empty() => vec![Algorithm::Rs256],
            KeyKind::Rsa => rsa_algorithms.to_vec(),
            KeyKind::P256 => vec![Algorithm::Es256],
            KeyKind::P384 => vec![Algorithm::Es384],
            KeyKind::P521 => vec![Algorithm::Es512],
            KeyKind::Secp256k1 => vec![Algorithm::Es256k],
            KeyKind::Ed25519 => vec![Algorithm::EdDsa],
            KeyKind::Secret => return Err(Skip::Secret),
        },
    };
    Ok((kid, Key { algorithms, material }))
}

/// Reads `crv`, `x` and `y` (RFC 7518 section 6.2.1): both coordinates have the full length.
fn read_point(jwk: &Map<String, Value>) -> Result<Material, Skip> {
    let (kind, length) = match text(jwk, "crv")? {
        Some("P-256") => (KeyKind::P256, 32),
        Some("P-384") => (KeyKind::P384, 48),
        Some("P-521") => (KeyKind::P521, 66),
        Some("secp256k1") => (KeyKind::Secp256k1, 32),
        Some(_) => return Err(Skip::UnknownKind),
        None => return Err(Skip::Malformed("crv")),
    };
    let (x, y) = (bytes(jwk, "x")?, bytes(jwk, "y")?);
    if x.len() != length || y.len() != length {
        return Err(Skip::Malformed("a coordinate"));
    }
    let mut point = vec![4];
    point.extend_from_slice(&x);
    point.extend_from_slice(&y);
    Material::point(kind, &point).map_err(Skip::from)
}

fn text<'a>(jwk: &'a Map<String, Value>, name: &'static str) -> Result<Option<&'a str>, Skip> {
    match jwk.get(name) {
        Some(value) => value.as_str().map(Some).ok_or(Skip::Malformed(name)),
        None => Ok(None),
    }
}

fn bytes(jwk: &Map<String, Value>, name: &'static str) -> Result<Vec<u8>, Skip> {
    text(jwk, name)?
        .and_then(|value| URL_SAFE_NO_PAD.decode(value).ok())
        .ok_or(Skip::Malformed(name))
}
