//! Stored password hashes: bcrypt, argon2id and SHA-crypt, as `htpasswd`, `mkpasswd` and
//! `argon2` write them. What cannot be verified, is broken or is too costly never loads.

mod refusal;

use std::fmt;

use argon2::Argon2;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ring::digest::{Context, SHA256};
use sha_crypt::{PasswordVerifier as _, ShaCrypt};

pub use self::refusal::{HashError, Scheme};
use crate::secret::{Secret, constant_time_eq};

/// Longest password, in bytes: hashing more would let a client set the cost.
pub const MAX_PASSWORD_BYTES: usize = 1024;
/// Longest password that bcrypt takes in, in bytes; it would silently ignore what is behind.
pub const MAX_BCRYPT_PASSWORD_BYTES: usize = 72;
/// Most memory of one argon2id hash, in KiB (256 MiB).
pub const MAX_ARGON2_KIB: u32 = 256 * 1024;
/// Most passes of argon2id.
pub const MAX_ARGON2_PASSES: u32 = 10;
/// Most lanes of argon2id.
pub const MAX_ARGON2_LANES: u32 = 4;
/// Highest bcrypt cost: about a second.
pub const MAX_BCRYPT_COST: u32 = 14;
/// Most rounds of SHA-crypt.
pub const MAX_SHA_CRYPT_ROUNDS: u32 = 500_000;

/// Fewest rounds of SHA-crypt, by its specification.
const MIN_SHA_CRYPT_ROUNDS: u32 = 1000;
/// Rounds of SHA-crypt where the string names none, by its specification.
const DEFAULT_SHA_CRYPT_ROUNDS: u32 = 5000;
/// Longest salt of SHA-crypt, in characters, by its specification.
const MAX_SHA_CRYPT_SALT: usize = 16;
/// Lowest bcrypt cost, by its specification.
const MIN_BCRYPT_COST: u32 = 4;
/// Characters of a bcrypt digest.
const BCRYPT_DIGEST: usize = 31;
/// Memory of a bcrypt or SHA-crypt job, in bytes, rounded up.
const SMALL_JOB_BYTES: usize = 16 * 1024;
/// Bytes of an argon2id salt and digest that are accepted. RFC 9106 section 3.1 allows tags from 4
/// bytes; one under 16 can be found by trying passwords.
const ARGON2_SALT_BYTES: std::ops::RangeInclusive<usize> = 8..=64;
const ARGON2_DIGEST_BYTES: std::ops::RangeInclusive<usize> = 16..=64;

/// What a verification costs. Two hashes with the same parameters cost the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Parameters {
    /// bcrypt.
    Bcrypt {
        /// Binary logarithm of the number of rounds.
        cost: u32,
    },
    /// argon2id, version 0x13.
    Argon2id {
        /// Memory in KiB.
        memory_kib: u32,
        /// Passes over the memory.
        passes: u32,
        /// Lanes, which are worked off one after the other.
        lanes: u32,
    },
    /// SHA-256-crypt (`$5$`).
    Sha256Crypt {
        /// Rounds.
        rounds: u32,
    },
    /// SHA-512-crypt (`$6$`).
    Sha512Crypt {
        /// Rounds.
        rounds: u32,
    },
}

impl Parameters {
    /// Parameters for new hashes: argon2id with 19 MiB and two passes, the OWASP minimum.
    pub const RECOMMENDED: Self = Self::Argon2id {
        memory_kib: 19_456,
        passes: 2,
        lanes: 1,
    };
}

/// A stored hash. `Debug` shows its parameters and nothing else.
#[derive(Clone)]
pub struct StoredHash {
    parameters: Parameters,
    expected: Expected,
    /// Stands for a user who does not exist: costs the same and verifies nothing.
    decoy: bool,
}

#[derive(Clone)]
enum Expected {
    Bcrypt {
        salt: [u8; 16],
        digest: Secret<Vec<u8>>,
    },
    Argon2id {
        salt: Vec<u8>,
        digest: Secret<Vec<u8>>,
    },
    /// The whole string: the crate that verifies it takes it so.
    ShaCrypt(Secret<String>),
}

impl StoredHash {
    /// Returns a hash of all that a password is compared with.
    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        let mut context = Context::new(&SHA256);
        context.update(format!("{:?}\n", self.parameters).as_bytes());
        match &self.expected {
            Expected::Bcrypt { salt, digest } => {
                context.update(salt);
                context.update(digest.expose());
            }
            Expected::Argon2id { salt, digest } => {
                context.update(&(salt.len() as u64).to_be_bytes());
                context.update(salt);
                context.update(digest.expose());
            }
            Expected::ShaCrypt(text) => context.update(text.expose().as_bytes()),
        }
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(context.finish().as_ref());
        fingerprint
    }

    /// Reads a hash string.
    ///
    /// # Errors
    /// [`HashError`] for other schemes, broken strings, and parameters that cost too much.
    pub fn parse(text: &str) -> Result<Self, HashError> {
        let scheme = text.strip_prefix('$').and_then(|rest| rest.split_once('$'));
        let Some((scheme, rest)) = scheme else {
            return Err(HashError::Unsupported(if text.starts_with('{') {
                Scheme::Ldap
            } else {
                Scheme::Unknown
            }));
        };
        let (parameters, expected) = match scheme {
            "2a" | "2b" | "2y" => parse_bcrypt(text, rest),
            "argon2id" => parse_argon2id(rest),
            "5" => parse_sha_crypt(text, rest, SHA256_DIGEST, |rounds| Parameters::Sha256Crypt {
                rounds,
            }),
            "6" => parse_sha_crypt(text, rest, SHA512_DIGEST, |rounds| Parameters::Sha512Crypt {
                rounds,
            }),
            "argon2i" | "argon2d" => Err(HashError::Unsupported(Scheme::OtherArgon2)),
            "apr1" | "1" => Err(HashError::Unsupported(Scheme::Md5Crypt)),
            "2" | "2x" => Err(HashError::Unsupported(Scheme::BrokenBcrypt)),
            _ => Err(HashError::Unsupported(Scheme::Unknown)),
        }?;
        Ok(Self {
            parameters,
            expected,
            decoy: false,
        })
    }

    /// A hash with `parameters` that no password verifies against, for a user who does not exist.
    /// `bytes` are its salt; the same bytes, the same hash.
    #[must_use]
    pub fn decoy(parameters: Parameters, bytes: [u8; 16]) -> Self {
        let expected = match parameters {
            Parameters::Bcrypt { .. } => Expected::Bcrypt {
                salt: bytes,
                digest: Secret::new(vec![b'.'; BCRYPT_DIGEST]),
            },
            Parameters::Argon2id { .. } => Expected::Argon2id {
                salt: bytes.to_vec(),
                digest: Secret::new(vec![0; 32]),
            },
            Parameters::Sha256Crypt { rounds } => {
                Expected::ShaCrypt(decoy_sha_crypt("5", rounds, bytes, SHA256_DIGEST))
            }
            Parameters::Sha512Crypt { rounds } => {
                Expected::ShaCrypt(decoy_sha_crypt("6", rounds, bytes, SHA512_DIGEST))
            }
        };
        Self {
            parameters,
            expected,
            decoy: true,
        }
    }

    /// Says whether `password` is the one. Takes as long for a wrong one as for the right one; one
    /// over [`MAX_PASSWORD_BYTES`] (bcrypt: [`MAX_BCRYPT_PASSWORD_BYTES`]) costs the same and fails.
    ///
    /// This is heavy work: run it as a job off the IO path.
    #[must_use]
    pub fn verify(&self, password: &[u8]) -> bool {
        let (matched, allowed) = match (&self.expected, self.parameters) {
            (Expected::Bcrypt { salt, digest }, Parameters::Bcrypt { cost }) => {
                let (taken, whole) = cut(password, MAX_BCRYPT_PASSWORD_BYTES);
                // Other implementations end the password at a NUL, so a hash of "a" would also be one
                // of "a\0b" there: such a password never passes here.
                let allowed = whole && !password.contains(&0);
                (bcrypt_matches(taken, cost, *salt, digest.expose()), allowed)
            }
            (Expected::Argon2id { salt, digest }, parameters @ Parameters::Argon2id { .. }) => {
                let (taken, whole) = cut(password, MAX_PASSWORD_BYTES);
                (argon2id_matches(taken, parameters, salt, digest.expose()), whole)
            }
            (Expected::ShaCrypt(text), Parameters::Sha256Crypt { .. } | Parameters::Sha512Crypt { .. }) => {
                let (taken, whole) = cut(password, MAX_PASSWORD_BYTES);
                let verified = ShaCrypt::default().verify_password(taken, text.expose().as_str());
                (verified.is_ok(), whole)
            }
            // Made by `parse` and `decoy` alone, so these do not occur; if they did, nobody enters.
            (Expected::Bcrypt { .. } | Expected::Argon2id { .. } | Expected::ShaCrypt(_), _) => {
                (false, false)
            }
        };
        matched & allowed & !self.decoy
    }

    /// Returns what a verification costs.
    #[must_use]
    pub const fn parameters(&self) -> Parameters {
        self.parameters
    }

    /// Returns the memory that a verification takes, in bytes, for the budget.
    #[must_use]
    pub const fn memory_bytes(&self) -> usize {
        match self.parameters {
            Parameters::Argon2id { memory_kib, .. } => memory_kib as usize * 1024,
            Parameters::Bcrypt { .. } | Parameters::Sha256Crypt { .. } | Parameters::Sha512Crypt { .. } => {
                SMALL_JOB_BYTES
            }
        }
    }

    /// Says whether a verification against `other` costs the same.
    #[must_use]
    pub fn same_parameters(&self, other: &Self) -> bool {
        self.parameters == other.parameters
    }
}

impl fmt::Debug for StoredHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredHash")
            .field("parameters", &self.parameters)
            .finish_non_exhaustive()
    }
}

/// Returns the argon2id string of `password` with [`Parameters::RECOMMENDED`] and `salt`, which has
/// to be fresh random bytes.
///
/// # Errors
/// [`HashError::LongPassword`] for a password that would never verify.
pub fn hash_password(password: &[u8], salt: [u8; 16]) -> Result<String, HashError> {
    if password.len() > MAX_PASSWORD_BYTES {
        return Err(HashError::LongPassword);
    }
    let digest = argon2id(password, Parameters::RECOMMENDED, &salt, 32).ok_or(HashError::LongPassword)?;
    let (salt, digest) = (
        STANDARD_NO_PAD.encode(salt),
        STANDARD_NO_PAD.encode(digest.expose()),
    );
    Ok(format!("$argon2id$v=19$m=19456,t=2,p=1${salt}${digest}"))
}

/// The first `limit` bytes of `password`, and whether that is all of it.
fn cut(password: &[u8], limit: usize) -> (&[u8], bool) {
    match password.split_at_checked(limit) {
        Some((taken, rest)) => (taken, rest.is_empty()),
        None => (password, true),
    }
}

fn parse_bcrypt(text: &str, rest: &str) -> Result<(Parameters, Expected), HashError> {
    let (cost, body) = rest.split_once('$').ok_or(HashError::Malformed("the cost"))?;
    let [b'0'..=b'9', b'0'..=b'9'] = cost.as_bytes() else {
        return Err(HashError::Malformed("the cost"));
    };
    let cost: u32 = cost.parse().map_err(|_| HashError::Malformed("the cost"))?;
    if cost < MIN_BCRYPT_COST {
        return Err(HashError::Malformed("the cost"));
    }
    limit("cost", cost, MAX_BCRYPT_COST)?;
    let parts: bcrypt::HashParts = text
        .parse()
        .map_err(|_| HashError::Malformed("the salt or digest"))?;
    let digest = body
        .as_bytes()
        .last_chunk::<BCRYPT_DIGEST>()
        .ok_or(HashError::Malformed("the digest"))?;
    let expected = Expected::Bcrypt {
        salt: parts.get_salt_raw(),
        digest: Secret::new(digest.to_vec()),
    };
    Ok((Parameters::Bcrypt { cost }, expected))
}

fn bcrypt_matches(password: &[u8], cost: u32, salt: [u8; 16], expected: &[u8]) -> bool {
    let Ok(found) = bcrypt::hash_with_salt(password, cost, salt) else {
        return false;
    };
    let found = Secret::new(found.to_string());
    found
        .expose()
        .as_bytes()
        .last_chunk::<BCRYPT_DIGEST>()
        .is_some_and(|digest| constant_time_eq(digest, expected))
}

/// Reads `v=19$m=..,t=..,p=..$SALT$DIGEST`.
fn parse_argon2id(rest: &str) -> Result<(Parameters, Expected), HashError> {
    let mut fields = rest.split('$');
    let mut next = |what| fields.next().ok_or(HashError::Malformed(what));
    if next("the version")? != "v=19" {
        return Err(HashError::Malformed("the version"));
    }
    let costs = next("the parameters")?;
    let (salt, digest) = (next("the salt")?, next("the digest")?);
    if fields.next().is_some() {
        return Err(HashError::Malformed("the end"));
    }
    let mut costs = costs.split(',');
    let mut cost = |name: &str| {
        let value = costs.next().and_then(|field| field.strip_prefix(name));
        number(value.unwrap_or_default(), "the parameters")
    };
    let (memory_kib, passes, lanes) = (cost("m=")?, cost("t=")?, cost("p=")?);
    if costs.next().is_some() {
        return Err(HashError::Malformed("the parameters"));
    }
    limit("memory in KiB", memory_kib, MAX_ARGON2_KIB)?;
    limit("passes", passes, MAX_ARGON2_PASSES)?;
    limit("lanes", lanes, MAX_ARGON2_LANES)?;
    let salt = STANDARD_NO_PAD
        .decode(salt)
        .ok()
        .filter(|salt| ARGON2_SALT_BYTES.contains(&salt.len()))
        .ok_or(HashError::Malformed("the salt"))?;
    let digest = STANDARD_NO_PAD
        .decode(digest)
        .ok()
        .filter(|digest| ARGON2_DIGEST_BYTES.contains(&digest.len()))
        .ok_or(HashError::Malformed("the digest"))?;
    argon2::Params::new(memory_kib, passes, lanes, Some(digest.len()))
        .map_err(|_| HashError::Malformed("the parameters"))?;
    let parameters = Parameters::Argon2id {
        memory_kib,
        passes,
        lanes,
    };
    let digest = Secret::new(digest);
    Ok((parameters, Expected::Argon2id { salt, digest }))
}

fn argon2id_matches(password: &[u8], parameters: Parameters, salt: &[u8], expected: &[u8]) -> bool {
    argon2id(password, parameters, salt, expected.len())
        .is_some_and(|found| constant_time_eq(found.expose(), expected))
}

fn argon2id(password: &[u8], parameters: Parameters, salt: &[u8], length: usize) -> Option<Secret<Vec<u8>>> {
    let Parameters::Argon2id {
        memory_kib,
        passes,
        lanes,
    } = parameters
    else {
        return None;
    };
    let parameters = argon2::Params::new(memory_kib, passes, lanes, Some(length)).ok()?;
    let mut digest = vec![0; length];
    Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, parameters)
        .hash_password_into(password, salt, &mut digest)
        .ok()?;
    Some(Secret::new(digest))
}

/// How a SHA-crypt digest is written.
#[derive(Clone, Copy)]
struct ShaDigest {
    characters: usize,
    /// The last character holds fewer than six bits; these are the values it can have.
    last_values: usize,
}

const SHA256_DIGEST: ShaDigest = ShaDigest {
    characters: 43,
    last_values: 16,
};
const SHA512_DIGEST: ShaDigest = ShaDigest {
    characters: 86,
    last_values: 4,
};

/// The alphabet of SHA-crypt, in order of value.
const CRYPT_ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Reads `[rounds=N$]SALT$DIGEST`.
fn parse_sha_crypt(
    text: &str,
    rest: &str,
    form: ShaDigest,
    parameters: fn(u32) -> Parameters,
) -> Result<(Parameters, Expected), HashError> {
    let (rounds, rest) = match rest.strip_prefix("rounds=") {
        Some(rest) => {
            let (rounds, rest) = rest.split_once('$').ok_or(HashError::Malformed("the rounds"))?;
            (number(rounds, "the rounds")?, rest)
        }
        None => (DEFAULT_SHA_CRYPT_ROUNDS, rest),
    };
    if rounds < MIN_SHA_CRYPT_ROUNDS {
        return Err(HashError::Malformed("the rounds"));
    }
    limit("rounds", rounds, MAX_SHA_CRYPT_ROUNDS)?;
    let (salt, digest) = rest.split_once('$').ok_or(HashError::Malformed("the salt"))?;
    let value = |byte: &u8| CRYPT_ALPHABET.iter().position(|character| character == byte);
    let in_alphabet = |text: &str| text.as_bytes().iter().all(|byte| value(byte).is_some());
    if salt.is_empty() || salt.len() > MAX_SHA_CRYPT_SALT || !in_alphabet(salt) {
        return Err(HashError::Malformed("the salt"));
    }
    let last_fits = digest
        .as_bytes()
        .last()
        .and_then(value)
        .is_some_and(|value| value < form.last_values);
    if digest.len() != form.characters || !in_alphabet(digest) || !last_fits {
        return Err(HashError::Malformed("the digest"));
    }
    Ok((
        parameters(rounds),
        Expected::ShaCrypt(Secret::new(text.to_owned())),
    ))
}

fn decoy_sha_crypt(scheme: &str, rounds: u32, bytes: [u8; 16], form: ShaDigest) -> Secret<String> {
    let salt: String = bytes
        .iter()
        .filter_map(|byte| CRYPT_ALPHABET.get(usize::from(byte & 63)))
        .map(|&character| char::from(character))
        .collect();
    let digest = ".".repeat(form.characters);
    Secret::new(format!("${scheme}$rounds={rounds}${salt}${digest}"))
}

/// Reads a decimal number without sign or leading zeros.
fn number(text: &str, what: &'static str) -> Result<u32, HashError> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits || (text.len() > 1 && text.starts_with('0')) {
        return Err(HashError::Malformed(what));
    }
    text.parse().map_err(|_| HashError::Malformed(what))
}

const fn limit(parameter: &'static str, found: u32, limit: u32) -> Result<(), HashError> {
    if found > limit {
        return Err(HashError::TooCostly {
            parameter,
            limit,
            found,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
