//! JSON Web Tokens (RFC 7519) as credentials: the signature first, then the claims.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde_json::{Map, Value};

use super::jwk::KeySet;
use super::jws::{Compact, Forged, JwsError};
use super::{is_reserved_role, json};
use crate::reason::Reason;
use crate::time::UnixTime;

/// Latest time that a claim may name, in seconds since 1970: the end of the year 9999, the last that
/// RFC 3339 can write.
pub const LATEST_SECONDS: u64 = 253_402_300_799;

/// Types that pass where none is configured (RFC 8725 section 3.11, RFC 9068 section 2.1): another
/// kind of token, a logout token say, is no credential.
const USUAL_TYPES: [&str; 3] = ["JWT", "at+jwt", "application/at+jwt"];

/// A token that is well-formed. Nothing in it is trusted before [`verify`].
pub struct Token<'t> {
    jws: Compact<'t>,
    statement: Arc<Statement>,
}

/// What a token says: all that counts of one whose signature was verified.
pub(crate) struct Statement {
    /// The header's `typ`.
    token_type: Option<String>,
    claims: Arc<Map<String, Value>>,
}

impl Statement {
    /// Returns about how much memory it takes, in bytes.
    pub(crate) fn weight(&self) -> usize {
        json::weight_of(&self.claims)
    }

    /// Returns the claim `iss` if it is a string.
    fn issuer(&self) -> Option<&str> {
        self.claims.get("iss").and_then(Value::as_str)
    }

    /// Says whether another issuer than `rules` expect has said it.
    pub(crate) fn is_of_another_issuer(&self, rules: &Rules) -> bool {
        match (self.issuer(), &rules.issuer) {
            (Some(found), Some(expected)) => found != expected,
            (None, _) | (_, None) => false,
        }
    }
}

impl fmt::Debug for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Statement({} claims)", self.claims.len())
    }
}

/// Why text is not a JSON Web Token. Carries nothing of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JwtError {
    /// Not a compact JWS.
    Jws(JwsError),
    /// The payload is not a JSON object, or a member occurs twice.
    Claims,
}

impl JwtError {
    /// Returns the reason for the log: `malformed_credential`.
    #[must_use]
    pub const fn reason(self) -> Reason {
        match self {
            Self::Jws(_) | Self::Claims => Reason::MalformedCredential,
        }
    }
}

impl fmt::Display for JwtError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Jws(error) => error.fmt(f),
            Self::Claims => f.write_str("the token's claims are malformed"),
        }
    }
}

impl std::error::Error for JwtError {}

/// Says whether `text` has the shape of a compact JWS: three parts of base64url characters, the
/// first two not empty. What has not is ignored by a `jwt` login module.
#[must_use]
pub fn looks_like_jwt(text: &str) -> bool {
    let mut parts = text.split('.');
    let (header, payload, signature) = (parts.next(), parts.next(), parts.next());
    let base64url = |part: &str| {
        // Without an early end many bytes are looked at at once.
        let fits = |byte: u8| byte.is_ascii_alphanumeric() | (byte == b'-') | (byte == b'_');
        part.bytes().fold(true, |good, byte| good & fits(byte))
    };
    parts.next().is_none()
        && header.is_some_and(|part| !part.is_empty() && base64url(part))
        && payload.is_some_and(|part| !part.is_empty() && base64url(part))
        && signature.is_some_and(base64url)
}

impl<'t> Token<'t> {
    /// Takes `text` apart.
    ///
    /// # Errors
    /// [`JwtError`] unless it is three strict base64url parts of at most
    /// [`super::jws::MAX_TOKEN_BYTES`] together, whose header and payload are JSON objects without
    /// duplicate members.
    pub fn parse(text: &'t str) -> Result<Self, JwtError> {
        let jws = Compact::parse(text).map_err(JwtError::Jws)?;
        let claims = json::object(jws.payload()).map_err(|_| JwtError::Claims)?;
        let statement = Arc::new(Statement {
            token_type: jws.token_type().map(str::to_owned),
            claims: Arc::new(claims),
        });
        Ok(Self { jws, statement })
    }

    /// Returns the header's `kid`, unverified.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.jws.kid()
    }

    /// Returns the claim `iss` if it is a string, unverified: good for choosing who judges the token,
    /// and for nothing else.
    #[must_use]
    pub fn unverified_issuer(&self) -> Option<&str> {
        self.statement.issuer()
    }

    /// Returns what it says, unverified.
    pub(crate) const fn statement(&self) -> &Arc<Statement> {
        &self.statement
    }

    /// Says whether the token names another issuer than `rules` expect: then it is for another login
    /// module to judge, and this one ignores it.
    #[must_use]
    pub fn is_of_another_issuer(&self, rules: &Rules) -> bool {
        self.statement.is_of_another_issuer(rules)
    }
}

impl fmt::Debug for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({:?})", self.jws)
    }
}

/// Whether one matching claim is enough.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClaimsMode {
    /// One of the listed claims has one of its listed values.
    #[default]
    Any,
    /// Each of the listed claims has one of its listed values.
    All,
}

/// What a token has to say to be accepted.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The exact `iss`; `None` accepts any and none.
    pub issuer: Option<String>,
    /// The value that `aud` is or contains; `None` accepts any and none.
    pub audience: Option<String>,
    /// How far the issuer's clock may be off.
    pub leeway: Duration,
    /// Whether a token without `exp` is refused.
    pub require_expiry: bool,
    /// The `typ` that the header must have; `None` accepts none, `JWT` and `at+jwt`.
    pub token_type: Option<String>,
    /// Claims and their accepted values. An empty list asks for nothing.
    pub claims: Vec<(String, Vec<String>)>,
    /// Whether one of `claims` is enough.
    pub claims_mode: ClaimsMode,
    /// Claims whose string, or strings in a list, become roles.
    pub roles: Vec<String>,
}

impl Default for Rules {
    /// Any issuer and audience, an expiry required, 30 seconds of leeway.
    fn default() -> Self {
        Self {
            issuer: None,
            audience: None,
            leeway: Duration::from_secs(30),
            require_expiry: true,
            token_type: None,
            claims: Vec::new(),
            claims_mode: ClaimsMode::Any,
            roles: Vec::new(),
        }
    }
}

/// A token that passed.
#[derive(Clone)]
pub struct Verified {
    /// The claim `sub`. Without it the bearer's identity equals no other.
    pub subject: Option<String>,
    /// The claim `iss`.
    pub issuer: Option<String>,
    /// The claim `exp` as it stands.
    pub expiry: Option<UnixTime>,
    /// `exp` plus leeway: from here on the token is refused, and what it opened ends.
    pub expires: Option<UnixTime>,
    /// The roles from the claims that [`Rules::roles`] names, without the reserved ones.
    pub roles: BTreeSet<String>,
    /// The claims `scope` (RFC 8693 section 4.2) and `scp`, one by one.
    pub scopes: BTreeSet<String>,
    /// The claim `jti`, by which a single token can be revoked.
    pub jti: Option<String>,
    /// All claims.
    pub claims: Arc<Map<String, Value>>,
}

impl fmt::Debug for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified")
            .field("subject", &self.subject)
            .field("issuer", &self.issuer)
            .field("expires", &self.expires)
            .field("roles", &self.roles)
            .field("scopes", &self.scopes)
            .field("claims", &self.claims.len())
            .finish_non_exhaustive()
    }
}

/// Why a token is refused. Carries nothing of the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is not authentic.
    Forged(Forged),
    /// The header's `typ` is of another kind of token.
    TokenType,
    /// It has a `cnf` claim: it is bound to a key of its sender, whose proof is not built in, and a
    /// bound token must not be accepted as a plain bearer token (RFC 8725 section 3.12).
    SenderConstrained,
    /// A registered claim is not of its type, or a time is negative or beyond [`LATEST_SECONDS`].
    Malformed(&'static str),
    /// `iss` is missing or another.
    WrongIssuer,
    /// `aud` is missing or names others.
    WrongAudience,
    /// There is no `exp`.
    NoExpiry,
    /// `exp` plus leeway has come. Found only after the signature verified.
    Expired,
    /// `nbf` less leeway has not come. Found only after the signature verified.
    NotYetValid,
    /// The rules' claims are not met: the bearer is known and may not enter.
    ClaimsMismatch,
}

impl Refusal {
    /// Returns the reason for the log and the metrics.
    #[must_use]
    pub const fn reason(self) -> Reason {
        match self {
            Self::Forged(Forged::WrongAlgorithm) => Reason::WrongAlgorithm,
            Self::Forged(Forged::UnknownKid | Forged::NoSingleKey) => Reason::UnknownKey,
            Self::Forged(Forged::BadSignature) => Reason::BadSignature,
            Self::Forged(Forged::Critical)
            | Self::TokenType
            | Self::SenderConstrained
            | Self::Malformed(_)
            | Self::NoExpiry => Reason::MalformedCredential,
            Self::WrongIssuer => Reason::WrongIssuer,
            Self::WrongAudience => Reason::WrongAudience,
            Self::Expired => Reason::Expired,
            Self::NotYetValid => Reason::NotYetValid,
            Self::ClaimsMismatch => Reason::ClaimsMismatch,
        }
    }

    /// Says whether a fresh copy of the key set might have the key (an unknown `kid`).
    #[must_use]
    pub const fn wants_fresh_keys(self) -> bool {
        matches!(self, Self::Forged(Forged::UnknownKid))
    }
}

/// Checks the signature of `token` by `keys`, and nothing else.
///
/// # Errors
/// [`Refusal::Forged`].
pub(crate) fn check_signature(token: &Token<'_>, keys: &KeySet) -> Result<(), Refusal> {
    token.jws.check(keys).map_err(Refusal::Forged)
}

/// Judges `token` at the time `now`: its signature by `keys`, then its claims by `rules`.
///
/// # Errors
/// The first [`Refusal`] in this order: signature, type, binding, issuer, audience, times, claims.
pub fn verify(token: &Token<'_>, keys: &KeySet, rules: &Rules, now: UnixTime) -> Result<Verified, Refusal> {
    check_signature(token, keys)?;
    judge(&token.statement, rules, now)
}

/// Judges the claims of a token whose signature was verified before, with the same keys: what a
/// cached signature check leaves to do, since time and rules go on.
///
/// # Errors
/// As [`verify`], but for the signature.
pub(crate) fn judge(statement: &Statement, rules: &Rules, now: UnixTime) -> Result<Verified, Refusal> {
    check_type(statement.token_type.as_deref(), rules.token_type.as_deref())?;
    judge_claims(&statement.claims, rules, now)
}

/// The claims that every token is judged by (RFC 7519 section 4.1, RFC 7800 section 3.1, RFC 8693 section
/// 4.2), found in one go: a look for each of them, most of which are not there, costs more.
#[derive(Default)]
struct Registered<'c> {
    confirmation: Option<&'c Value>,
    issuer: Option<&'c Value>,
    audience: Option<&'c Value>,
    expiry: Option<&'c Value>,
    not_before: Option<&'c Value>,
    subject: Option<&'c Value>,
    id: Option<&'c Value>,
    /// `scope` and `scp`.
    scopes: [Option<&'c Value>; 2],
}

impl<'c> Registered<'c> {
    fn of(claims: &'c Map<String, Value>) -> Self {
        let mut said = Self::default();
        let [scope, scp] = &mut said.scopes;
        for (name, value) in claims {
            let claim = match name.as_str() {
                "cnf" => &mut said.confirmation,
                "iss" => &mut said.issuer,
                "aud" => &mut said.audience,
                "exp" => &mut said.expiry,
                "nbf" => &mut said.not_before,
                "sub" => &mut said.subject,
                "jti" => &mut said.id,
                "scope" => &mut *scope,
                "scp" => &mut *scp,
                _ => continue,
            };
            *claim = Some(value);
        }
        said
    }
}

/// Judges claims whose issuer has vouched for them, in a token or in an answer about one.
///
/// # Errors
/// As [`verify`], but for signature and type.
pub(crate) fn judge_claims(
    claims: &Arc<Map<String, Value>>,
    rules: &Rules,
    now: UnixTime,
) -> Result<Verified, Refusal> {
    let said = Registered::of(claims);
    if said.confirmation.is_some() {
        return Err(Refusal::SenderConstrained);
    }
    let issuer = string(said.issuer, "iss")?;
    if rules.issuer.is_some() && issuer != rules.issuer.as_deref() {
        return Err(Refusal::WrongIssuer);
    }
    if let Some(audience) = &rules.audience {
        check_audience(said.audience, audience)?;
    }
    let (expiry, expires) = check_times(&said, rules, now)?;
    let subject = string(said.subject, "sub")?;
    if subject == Some("") {
        return Err(Refusal::Malformed("sub"));
    }
    let jti = string(said.id, "jti")?;
    let mut scopes = BTreeSet::new();
    for value in said.scopes.into_iter().flatten() {
        let words = strings(value).flat_map(str::split_ascii_whitespace);
        scopes.extend(words.map(str::to_owned));
    }
    // There are few: a set that is collected would be sorted in a list of its own first.
    let mut roles = BTreeSet::new();
    for value in rules.roles.iter().filter_map(|name| claims.get(name)) {
        let named = strings(value).filter(|role| !role.is_empty() && !is_reserved_role(role));
        roles.extend(named.map(str::to_owned));
    }
    if !claims_match(claims, rules) {
        return Err(Refusal::ClaimsMismatch);
    }
    Ok(Verified {
        subject: subject.map(str::to_owned),
        issuer: issuer.map(str::to_owned),
        expiry,
        expires,
        roles,
        scopes,
        jti: jti.map(str::to_owned),
        claims: Arc::clone(claims),
    })
}

/// Makes a token with the claims `claims`, signed by HS256 with `secret`.
#[must_use]
pub fn sign_hs256(claims: &Value, secret: &[u8]) -> String {
    let header = URL_SAFE_NO_PAD.encode(br#"{"alg":"HS256","typ":"JWT"}"#);
    let payload = URL_SAFE_NO_PAD.encode(claims.to_string());
    let signed = format!("{header}.{payload}");
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
}

fn check_type(found: Option<&str>, expected: Option<&str>) -> Result<(), Refusal> {
    // A media type: case does not matter, and `application/` may be left out (RFC 7515 section 4.1.9).
    let passes = match (found, expected) {
        (Some(found), Some(expected)) => short_type(found).eq_ignore_ascii_case(short_type(expected)),
        (None, Some(_)) => false,
        (Some(found), None) => USUAL_TYPES.iter().any(|usual| usual.eq_ignore_ascii_case(found)),
        (None, None) => true,
    };
    if passes { Ok(()) } else { Err(Refusal::TokenType) }
}

fn short_type(media_type: &str) -> &str {
    const PREFIX: &str = "application/";
    match media_type.split_at_checked(PREFIX.len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case(PREFIX) => rest,
        Some(_) | None => media_type,
    }
}

fn check_audience(found: Option<&Value>, expected: &str) -> Result<(), Refusal> {
    match found {
        Some(Value::String(found)) if found == expected => Ok(()),
        Some(Value::Array(list)) if list.iter().any(|item| item == expected) => Ok(()),
        Some(_) | None => Err(Refusal::WrongAudience),
    }
}

/// Returns `exp`, and `exp` plus leeway.
fn check_times(
    said: &Registered<'_>,
    rules: &Rules,
    now: UnixTime,
) -> Result<(Option<UnixTime>, Option<UnixTime>), Refusal> {
    // A fraction is rounded to the side that lets the token live shorter.
    let expiry = time(said.expiry, "exp", f64::floor)?;
    let not_before = time(said.not_before, "nbf", f64::ceil)?;
    if expiry.is_none() && rules.require_expiry {
        return Err(Refusal::NoExpiry);
    }
    let expires = expiry.map(|expiry| expiry.after(rules.leeway));
    if expires.is_some_and(|expires| now >= expires) {
        return Err(Refusal::Expired);
    }
    if not_before.is_some_and(|not_before| now.after(rules.leeway) < not_before) {
        return Err(Refusal::NotYetValid);
    }
    Ok((expiry, expires))
}

/// Reads a NumericDate (RFC 7519 section 2), in whole seconds: the claim `name`.
fn time(
    claim: Option<&Value>,
    name: &'static str,
    whole: fn(f64) -> f64,
) -> Result<Option<UnixTime>, Refusal> {
    let Some(value) = claim else {
        return Ok(None);
    };
    let seconds = match (value.as_u64(), value.as_f64()) {
        (Some(seconds), _) => seconds,
        // The range is checked first, so the cast cuts nothing off.
        (None, Some(seconds)) if (0.0..=LATEST_SECONDS as f64).contains(&seconds) => whole(seconds) as u64,
        (None, _) => return Err(Refusal::Malformed(name)),
    };
    if seconds > LATEST_SECONDS {
        return Err(Refusal::Malformed(name));
    }
    Ok(Some(UnixTime::from_secs(seconds)))
}

/// Reads the claim `name`, which is a string if it is there.
fn string<'c>(claim: Option<&'c Value>, name: &'static str) -> Result<Option<&'c str>, Refusal> {
    claim
        .map(|value| value.as_str().ok_or(Refusal::Malformed(name)))
        .transpose()
}

/// Yields the string, or the strings of the list, that `value` is.
fn strings(value: &Value) -> impl Iterator<Item = &str> {
    let list = value.as_array().map(Vec::as_slice).unwrap_or_default();
    value
        .as_str()
        .into_iter()
        .chain(list.iter().filter_map(Value::as_str))
}

fn claims_match(claims: &Map<String, Value>, rules: &Rules) -> bool {
    let mut matches = rules.claims.iter().map(|(name, accepted)| {
        claims.get(name).is_some_and(|value| {
            strings(value).any(|found| accepted.iter().any(|accepted| accepted == found))
        })
    });
    match rules.claims_mode {
        ClaimsMode::Any => rules.claims.is_empty() || matches.any(|matched| matched),
        ClaimsMode::All => matches.all(|matched| matched),
    }
}
