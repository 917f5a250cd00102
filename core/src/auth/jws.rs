//! The compact serialisation of RFC 7515: three base64url parts, a header that names the algorithm,
//! and a signature by a key that is bound to it.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::algorithm::Algorithm;
use super::json;
use super::jwk::{KeySet, NoKey};
use crate::secret::Secret;

/// Largest token, in bytes. In a request head `headBytes` decides first; this bounds what comes in a
/// body.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// A compact JWS, taken apart. Nothing in it is trusted before [`Compact::check`].
pub struct Compact<'t> {
    text: &'t str,
    /// What is signed of it: header, dot and payload.
    signed: &'t str,
    header: Header,
    payload: Secret<Vec<u8>>,
    signature: Vec<u8>,
}

/// What counts in a JOSE header. `jku`, `x5u`, `x5c` and `jwk` do not: a token does not bring its
/// own key.
#[derive(Clone, Debug)]
struct Header {
    algorithm: String,
    kid: Option<String>,
    token_type: Option<String>,
    critical: bool,
}

/// Why text is not a compact JWS. Carries nothing of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JwsError {
    /// Over [`MAX_TOKEN_BYTES`].
    TooLong,
    /// Not three parts.
    Parts,
    /// A part is not base64url: padding, other characters, or bits behind the last byte.
    Base64,
    /// The header is not a JSON object with a string `alg`, or `kid` or `typ` is not a string.
    Header,
}

impl fmt::Display for JwsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "the token is too long",
            Self::Parts => "the token has not three parts",
            Self::Base64 => "a part of the token is not base64url",
            Self::Header => "the token's header is malformed",
        })
    }
}

impl std::error::Error for JwsError {}

/// Why a JWS is not authentic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forged {
    /// `alg` is unknown, or not one that the key is bound to.
    WrongAlgorithm,
    /// No key has this `kid`.
    UnknownKid,
    /// There is no `kid`, and not exactly one key fits.
    NoSingleKey,
    /// `crit` is present: no extension is built in, so none is understood (RFC 7515 section 4.1.11).
    Critical,
    /// The signature does not verify.
    BadSignature,
}

impl<'t> Compact<'t> {
    /// Takes `text` apart.
    ///
    /// # Errors
    /// [`JwsError`] for anything but three strict base64url parts with a well-formed header.
    pub fn parse(text: &'t str) -> Result<Self, JwsError> {
        if text.len() > MAX_TOKEN_BYTES {
            return Err(JwsError::TooLong);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(JwsError::Parts)?;
        let (header, payload) = signed.split_once('.').ok_or(JwsError::Parts)?;
        if payload.contains('.') {
            return Err(JwsError::Parts);
        }
        let header = decode(header)?;
        Ok(Self {
            header: Header::parse(&header)?,
            payload: Secret::new(decode(payload)?),
            signature: decode(signature)?,
            signed,
            text,
        })
    }

    /// Checks that the JWS was signed by the key of `keys` that its `kid` selects, under an
    /// algorithm that the key is bound to.
    ///
    /// # Errors
    /// [`Forged`] says why not.
    pub fn check(&self, keys: &KeySet) -> Result<(), Forged> {
        if self.header.critical {
            return Err(Forged::Critical);
        }
        let algorithm = Algorithm::from_name(&self.header.algorithm).map_err(|_| Forged::WrongAlgorithm)?;
        match keys.verifies(self.kid(), algorithm, self.signed.as_bytes(), &self.signature) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Forged::BadSignature),
            Err(NoKey::UnknownKid) => Err(Forged::UnknownKid),
            Err(NoKey::NotExactlyOne) => Err(Forged::NoSingleKey),
            Err(NoKey::WrongAlgorithm) => Err(Forged::WrongAlgorithm),
        }
    }

    /// Returns the header's `kid`: data to look up among loaded keys, never a path or an address.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.header.kid.as_deref()
    }

    /// Returns the header's `typ`.
    #[must_use]
    pub fn token_type(&self) -> Option<&str> {
        self.header.token_type.as_deref()
    }

    /// Returns the payload. Not to be trusted before [`Compact::check`].
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        self.payload.expose()
    }
}

impl fmt::Debug for Compact<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Compact({} bytes)", self.text.len())
    }
}

impl Header {
    fn parse(bytes: &[u8]) -> Result<Self, JwsError> {
        let mut members = json::object(bytes).map_err(|_| JwsError::Header)?;
        Ok(Self {
            algorithm: text(&mut members, "alg")?.ok_or(JwsError::Header)?,
            kid: text(&mut members, "kid")?,
            token_type: text(&mut members, "typ")?,
            critical: members.contains_key("crit"),
        })
    }
}

/// Takes the string `name` out of `members`.
fn text(members: &mut Map<String, Value>, name: &str) -> Result<Option<String>, JwsError> {
    match members.remove(name) {
        Some(Value::String(value)) => Ok(Some(value)),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            Err(JwsError::Header)
        }
        None => Ok(None),
    }
}

fn decode(part: &str) -> Result<Vec<u8>, JwsError> {
    // This engine refuses padding and non-zero trailing bits: one token, one spelling.
    URL_SAFE_NO_PAD.decode(part).map_err(|_| JwsError::Base64)
}
