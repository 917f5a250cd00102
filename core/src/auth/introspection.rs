//! Opaque tokens, judged by who issued them (RFC 7662).

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
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
use crate::time::{Deadline, Moment, Now, UnixTime};

/// Longest token that is asked about, in bytes: longer ones are refused unasked.
pub(crate) const MAX_OPAQUE_BYTES: usize = 4096;

/// Largest answer, in bytes.
pub(crate) const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// At most one line about failures in this time, however they alternate with answers.
const TELL_PAUSE: Duration = Duration::from_secs(60);

/// Who judges opaque tokens, and what an answer has to say.
pub(crate) struct Introspection {
    id: [u8; 32],
    authority: [u8; 32],
    callee: Callee,
    /// `Authorization` of the question.
    authorization: Secret<String>,
    settings: Settings,
    told: Mutex<Told>,
}

/// What the operator knows of how questions end.
#[derive(Debug, Default)]
struct Told {
    failing: bool,
    /// When a failure was told last.
    last: Option<Moment>,
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
        // An answer ends by the times that the file said when it was kept: other times are another module.
        let times = format!("{:?}\n{:?}", settings.cache_ttl, settings.negative_ttl);
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
            id: hash(&[
                url.as_bytes(),
                authorization.expose().as_bytes(),
                times.as_bytes(),
                trusted,
            ]),
            authority: hash(&[url.as_bytes(), client_id.as_bytes()]),
            callee,
            authorization,
            settings,
            told: Mutex::default(),
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

    /// Takes note of how a question ended, and returns what the operator is told of it: who is
    /// answered 503 cannot say why.
    pub(crate) fn tells(&self, fault: Option<Fault>, now: Now) -> Option<String> {
        let shown = &self.callee.shown;
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        match (fault, told.failing) {
            (Some(fault), false) if told.last.is_none_or(|last| now.at.since(last) >= TELL_PAUSE) => {
                *told = Told {
                    failing: true,
                    last: Some(now.at),
                };
                Some(format!(
                    "{shown} cannot be asked about tokens: {fault}; until it works, whoever needs it is \
                     answered 503"
                ))
            }
            (None, true) => {
                told.failing = false;
                Some(format!("{shown} can be asked about tokens again"))
            }
            (Some(_) | None, _) => None,
        }
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
            return Err(Fault::Status(reply.status));
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn callee() -> Callee {
        Callee {
            url: "http://127.0.0.1:1/".parse().unwrap(),
            to: Destination::Tcp {
                host: "127.0.0.1".into(),
                port: 1,
                tls: None,
            },
            shown: "http://127.0.0.1:1/".into(),
        }
    }

    fn module(cache_ttl: u64, negative_ttl: u64, rules: jwt::Rules) -> Introspection {
        let settings = Settings {
            cache_ttl: Duration::from_secs(cache_ttl),
            negative_ttl: Duration::from_secs(negative_ttl),
            timeout: Duration::from_secs(5),
            max_in_flight: 1,
            jwts: false,
            rules,
        };
        Introspection::new(callee(), b"", ("c", b"s"), settings)
    }

    #[test]
    fn m31_an_answer_kept_for_one_time_to_live_is_not_met_under_another() {
        let rules = jwt::Rules::default;
        let first = module(60, 5, rules());
        assert_eq!(first.id(), module(60, 5, rules()).id());
        assert_ne!(first.id(), module(1, 5, rules()).id());
        assert_ne!(first.id(), module(60, 1, rules()).id());
    }

    #[test]
    fn e09_failures_are_told_once_and_their_end_too() {
        let module = module(60, 5, jwt::Rules::default());
        let at = |seconds| Now::default().after(Duration::from_secs(seconds));
        let (fails, works) = (Some(Fault::Status(401)), None);
        for (end, seconds, expected) in [
            (works, 0, None),
            (fails, 0, Some("answers with status 401")),
            (fails, 1, None),
            (works, 2, Some("again")),
            (works, 3, None),
            (fails, 4, None),
            (works, 5, None),
            (fails, 60, Some("cannot be asked")),
        ] {
            let told = module.tells(end, at(seconds));
            assert_eq!(told.is_some(), expected.is_some(), "{seconds}: {told:?}");
            assert!(told.unwrap_or_default().contains(expected.unwrap_or_default()));
        }
    }
}
