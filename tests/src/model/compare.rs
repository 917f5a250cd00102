//! Asks the core what the model is asked, and compares.

use std::path::Path;
use std::sync::Arc;

use countersign_core::config::Config as Loaded;
use countersign_core::gateway::Gateway;
use countersign_core::note::Decision;

use super::config::Config;
use super::request::{Authorization, DigestAnswer, Request};
use super::verdict::{Verdict, judge};
use crate::client::{Response, digest_lines};
use crate::solo::Solo;
use crate::world::{FILE, decisions, try_gateway};

/// A Digest line for who has not been given one: its nonce is nobody's.
const NO_CHALLENGE: &str = "Digest realm=\"Realm 0\", nonce=\"bm9uZQ\", opaque=\"bm9uZQ\", qop=\"auth\", \
    algorithm=SHA-256, charset=UTF-8";

/// Loads a described configuration.
///
/// # Errors
/// What is wrong with it.
pub fn load(config: &Config) -> Result<Arc<Gateway>, String> {
    let loaded = Loaded::load(Path::new(FILE), &mut config.files()).map_err(|errors| errors.to_string())?;
    try_gateway(loaded).map_err(|errors| errors.to_string())
}

/// What the core answered.
#[derive(Clone, Debug)]
pub struct Seen {
    answer: Response,
    decision: Decision,
}

impl Seen {
    /// Returns the status.
    pub const fn status(&self) -> u16 {
        self.answer.status
    }

    /// Returns the reason.
    pub const fn reason(&self) -> &'static str {
        self.decision.reason.code()
    }

    /// Says whether it is what `verdict` says.
    fn is(&self, verdict: &Verdict) -> bool {
        let lines = self.answer.all("WWW-Authenticate");
        let schemes = lines
            .iter()
            .map(|line| line.split(' ').next().unwrap_or_default());
        let bearer = lines.iter().find(|line| line.starts_with("Bearer "));
        let parameter = |name: &str| {
            let behind = bearer?.split_once(&format!(" {name}=\""))?.1;
            behind.split('"').next()
        };
        let stale = lines.iter().any(|line| line.contains("stale=true"));
        let granted = verdict.status == 101;
        self.answer.status == verdict.status
            && verdict.reasons.contains(&self.reason())
            && schemes.eq(verdict.challenges.iter().copied())
            && parameter("error") == verdict.error
            && parameter("error_description") == verdict.description
            && stale == verdict.stale
            && self.answer.one("Sec-WebSocket-Protocol") == verdict.subprotocol.as_deref()
            && (!granted
                || (self.decision.subject == verdict.subject
                    && self.decision.carrier.as_deref() == verdict.carrier.as_deref()))
    }
}

/// Asks the core.
///
/// # Panics
/// If it does not answer, or answers without a decision.
pub fn ask(gateway: &Arc<Gateway>, request: &Request) -> Seen {
    let challenge = request
        .has_digest()
        .then(|| challenge(gateway, request))
        .flatten();
    let bytes = request.bytes(challenge.as_deref().unwrap_or(NO_CHALLENGE));
    answer(gateway, &bytes, request.method == "HEAD")
        .unwrap_or_else(|| panic!("no answer to {}", bytes.escape_ascii()))
}

fn answer(gateway: &Arc<Gateway>, bytes: &[u8], to_head: bool) -> Option<Seen> {
    let mut solo = Solo::new(gateway);
    solo.offer(bytes);
    solo.run_jobs();
    let answer = Response::read(&solo.sent, to_head)?;
    let mut decided = decisions(&solo.notes);
    assert!(decided.len() <= 1, "a request is decided once");
    let decision = decided.pop()?;
    Some(Seen { answer, decision })
}

/// Gets a Digest challenge as a client does: by a first request that is refused.
fn challenge(gateway: &Arc<Gateway>, request: &Request) -> Option<String> {
    let host = *request.hosts.first()?;
    let wrong = DigestAnswer {
        user: 0,
        right: false,
        fresh: false,
        realm: true,
        uri: true,
        md5: false,
        cut: false,
    };
    let mut first = Request::right(host, request.path);
    first.authorization.push(Authorization::Digest(wrong));
    let seen = answer(gateway, &first.bytes(NO_CHALLENGE), false)?;
    digest_lines(&seen.answer).first().map(|line| (*line).to_owned())
}

/// Returns what is wrong with the core's answer, or the model's, if they differ.
pub fn difference(config: &Config, request: &Request) -> Option<String> {
    let gateway = load(config).ok()?;
    differs(&gateway, config, request)
}

/// The same, with a gateway that is loaded already.
pub fn differs(gateway: &Arc<Gateway>, config: &Config, request: &Request) -> Option<String> {
    let allowed = judge(config, request);
    let seen = ask(gateway, request);
    if allowed.iter().any(|verdict| seen.is(verdict)) {
        return None;
    }
    let raw = seen.answer.raw.escape_ascii().to_string();
    Some(format!(
        "the documents allow {allowed:?}\nthe core says {} (subject {:?}, carrier {:?})\n{}",
        seen.reason(),
        seen.decision.subject,
        seen.decision.carrier,
        raw.replace("\\r\\n", "\n")
    ))
}
