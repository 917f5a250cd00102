//! Opaque tokens, judged by who issued them (RFC 7662).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{Context, SHA256};
use serde_json::{Map, Value};
use ureq_proto::http::Request;
use zeroize::Zeroizing;

use super::json;
use super::jwt::{self, Verified};
use super::remote::Callee;
use crate::exchange::Fault;
use crate::exchange::http::{Fetch, Reply};
use crate::leg::Destination;
use crate::reason::Reason;
use crate::secret::Secret;
use crate::time::{Deadline, Now, UnixTime};

/// Longest token that is asked about, in bytes: longer ones are refused unasked.
pub(crate) const MAX_OPAQUE_BYTES: usize = 4096;

/// Largest answer, in bytes.
pub(crate) const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Who judges opaque tokens, and what an answer has to say.
pub(crate) struct Introspection {
    id: [u8; 32],
    authority: [u8; 32],
    callee: Callee,
    /// `Authorization` of the question.
    authorization: Secret<String>,
    settings: Settings,
}

/// What the configuration says beside where to ask and as whom.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) cache_ttl: Duration,
    pub(crate) negative_ttl: Duration,
    pub(crate) timeout: Duration,
    pub(crate) max_in_flight: usize,
    /// Asks about tokens that look like JSON Web Tokens too.
    pub(crate) jwts: bool,
    pub(crate) rules: jwt::Rules,
}

impl fmt::Debug for Introspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Introspection")
            .field("callee", &self.callee.shown)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// What an answer says.
#[derive(Clone, Debug)]
pub(crate) enum Introspected {
    /// The token is active; these are its claims.
    Active(Arc<Map<String, Value>>),
    /// It is not, whatever the reason.
    Inactive,
}

impl Introspection {
    /// Asks `callee`, trusted by the roots in `trusted`, as `client_id` with `secret`.
    pub(crate) fn new(
        callee: Callee,
        trusted: &[u8],
        (client_id, secret): (&str, &[u8]),
        settings: Settings,
    ) -> Self {
        // RFC 6749 section 2.3.1: both are form-encoded before they are put together.
        let mut pair = Zeroizing::new(form_encoded(client_id.as_bytes()));
        pair.push(':');
        pair.push_str(&Zeroizing::new(form_encoded(secret)));
        let authorization = Secret::new(format!("Basic {}", STANDARD.encode(pair.as_bytes())));
        let url = callee.url.to_string();
        let hash = |parts: &[&[u8]]| {
            let mut context = Context::new(&SHA256);
            for part in parts {
                context.update(&(part.len() as u64).to_be_bytes());
                context.update(part);
            }
            let mut hash = [0; 32];
            hash.copy_from_slice(context.finish().as_ref());
            hash
        };
        Self {
            id: hash(&[url.as_bytes(), authorization.expose().as_bytes(), trusted]),
            authority: hash(&[url.as_bytes(), client_id.as_bytes()]),
            callee,
            authorization,
            settings,
        }
    }

    /// Returns what tells it from others.
    pub(crate) const fn id(&self) -> &[u8; 32] {
        &self.id
    }

    /// Returns what tells who answers from others, whatever the way there and our own secret are.
    pub(crate) const fn authority(&self) -> &[u8; 32] {
        &self.authority
    }

    pub(crate) const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Says whether a token is for somebody else to judge.
    pub(crate) fn ignores(&self, token: &str) -> bool {
        !self.settings.jwts && jwt::looks_like_jwt(token)
    }

    /// Begins a question about `token`.
    pub(crate) fn begin(&self, token: &str) -> Option<(Destination, Fetch)> {
        let body = Zeroizing::new(format!("token={}", form_encoded(token.as_bytes())));
        let request = Request::post(self.callee.url.clone())
            .header("Authorization", self.authorization.expose())
            .header("Accept", "application/json")
            .header("Connection", "close")
            .header("Content-Type", "application/x-www-form-urlencoded")
            .header("Content-Length", body.len())
            .body(())
            .ok()?;
        let fetch = Fetch::new(request, body.as_bytes(), MAX_ANSWER_BYTES)?;
        Some((self.callee.to.clone(), fetch))
    }

    /// Reads an answer.
    ///
    /// # Errors
    /// It is none of RFC 7662 section 2.2: that says nothing about the token.
    pub(crate) fn read(reply: &Reply) -> Result<Introspected, Fault> {
        if reply.status != 200 {
            return Err(Fault::Unusable);
        }
        let mut claims = json::object(&reply.body).map_err(|_| Fault::Unusable)?;
        match claims.remove("active") {
            Some(Value::Bool(true)) => Ok(Introspected::Active(Arc::new(claims))),
            Some(Value::Bool(false)) => Ok(Introspected::Inactive),
            Some(_) | None => Err(Fault::Unusable),
        }
    }

    /// Returns until when an answer counts: never longer than the token (RFC 7662 section 4).
    pub(crate) fn keeps(&self, answer: &Introspected, now: Now) -> Deadline {
        match answer {
            Introspected::Inactive => Deadline::after(self.settings.negative_ttl, now),
            Introspected::Active(claims) => {
                let kept = Deadline::after(self.settings.cache_ttl, now);
                let expiry = claims.get("exp").and_then(Value::as_f64).unwrap_or(f64::INFINITY);
                // A time before 1970 or beyond all clocks is cut off by the cast, which is what is meant.
                let expiry = Deadline::at_unix(UnixTime::from_secs(expiry as u64), now);
                if expiry.unix < kept.unix { expiry } else { kept }
            }
        }
    }

    /// Judges what an answer says about the token, at the time `now`.
    ///
    /// # Errors
    /// Why it is refused.
    pub(crate) fn judge(&self, answer: &Introspected, now: UnixTime) -> Result<Verified, Reason> {
        match answer {
            // An expired, a revoked and an unknown token are not told apart (section 2.2).
            Introspected::Inactive => Err(Reason::UnknownKey),
            Introspected::Active(claims) => {
                jwt::judge_claims(claims, &self.settings.rules, now).map_err(jwt::Refusal::reason)
            }
        }
    }
}

/// Encodes as `application/x-www-form-urlencoded` (WHATWG URL section 5.2).
fn form_encoded(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b' ' => text.push('+'),
            b'*' | b'-' | b'.' | b'_' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => {
                text.push(char::from(*byte))
            }
            _ => {
                text.push('%');
                for digit in [byte >> 4, byte & 15] {
                    text.push(char::from(b"0123456789ABCDEF"[usize::from(digit)]));
                }
            }
        }
    }
    text
}
