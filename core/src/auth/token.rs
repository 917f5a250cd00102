//! Bearer tokens before the modules that judge them, with what others have found out and what still
//! has to be asked.

use std::sync::Arc;

use super::chain::Outcome;
use super::introspection::{Introspection, MAX_OPAQUE_BYTES};
use super::jwt::{self, Statement, Token, Verified};
use super::login::{Judged, Means};
use super::question::{Answer, Question, token_key};
use super::realm::{JwtModule, Keys, Module};
use super::verdicts::{Key, Kind, SIGNATURE_TTL, Verdict};
use crate::exchange::Fault;
use crate::reason::Reason;
use crate::secret::Secret;
use crate::time::{Deadline, Now};

/// How a question ended that was asked for this very token.
type Heard = Option<Result<Answer, Fault>>;

impl Module {
    /// Judges `text`; `heard` is the answer to what the module has asked before.
    pub(super) fn judge_token(&self, text: &Arc<Secret<String>>, heard: Heard, means: Means<'_>) -> Judged {
        match self {
            Self::Jwt(module) => module.judge(text.expose(), heard.is_some(), means),
            Self::Introspection(module) => introspect(module, text, heard, means),
            Self::Users(_) | Self::Ldap(_) | Self::Ephemeral(_) => Judged::Said(Outcome::Ignored(None)),
        }
    }
}

impl JwtModule {
    fn judge(&self, text: &str, asked: bool, means: Means<'_>) -> Judged {
        let keys = self.keys.current();
        let key = keys.as_ref().map(|keys| {
            Key::new(
                means.entropy,
                Kind::Signature,
                keys.fingerprint(),
                &[text.as_bytes()],
            )
        });
        if let Some(said) = key.and_then(|key| means.verdicts.statement(key, means.now)) {
            return self.judge_statement(&said, means.now);
        }
        let token = match self.read(text) {
            Ok(token) => token,
            Err(outcome) => return Judged::Said(outcome),
        };
        let fresh_keys = || match &self.keys {
            Keys::Remote(remote) if !asked => Some(Judged::Ask(Question::Keys(Arc::clone(remote)))),
            Keys::Remote(_) | Keys::Fixed(_) => None,
        };
        let (Some(keys), Some(key)) = (keys, key) else {
            return fresh_keys().unwrap_or(Judged::Said(Outcome::Unavailable));
        };
        let remembered = keys.is_worth_remembering().then_some(key);
        let known = remembered.and_then(|key| means.verdicts.get(key, means.now));
        if !matches!(known, Some(Verdict::Right)) {
            match jwt::check_signature(&token, &keys) {
                Ok(()) => {}
                Err(refusal) => {
                    let fresh = refusal.wants_fresh_keys().then(fresh_keys).flatten();
                    return fresh.unwrap_or(Judged::Said(Outcome::Failure(refusal.reason())));
                }
            }
        }
        let judged = self.judge_statement(token.statement(), means.now);
        if let Judged::Good(verified) = &judged {
            let long = Deadline::after(SIGNATURE_TTL, means.now);
            let until = verified
                .expires
                .map(|expires| Deadline::at_unix(expires, means.now))
                .filter(|until| until.unix < long.unix)
                .unwrap_or(long);
            if known.is_none()
                && let Some(key) = remembered
            {
                means.verdicts.keep(key, Verdict::Right, 0, until, means.now);
            }
            means
                .verdicts
                .keep_statement(key, token.statement(), until, means.now);
        }
        judged
    }

    /// Judges what a token says whose signature is by one of this module's keys.
    fn judge_statement(&self, said: &Statement, now: Now) -> Judged {
        // It may have been read for another module that has the same keys.
        if said.is_of_another_issuer(&self.rules) {
            return Judged::Said(Outcome::Ignored(Some(Reason::WrongIssuer)));
        }
        match jwt::judge(said, &self.rules, now.unix) {
            Ok(verified) => Judged::Good(Box::new(verified)),
            Err(refusal) => Judged::Said(Outcome::Failure(refusal.reason())),
        }
    }

    /// Judges a token that was good once by what is known now, without asking anybody.
    pub(super) fn judge_again(&self, text: &str, now: Now) -> Result<Verified, Outcome> {
        let token = self.read(text)?;
        let keys = self.keys.current().ok_or(Outcome::Unavailable)?;
        jwt::check_signature(&token, &keys)
            .and_then(|()| jwt::judge(token.statement(), &self.rules, now.unix))
            .map_err(|refusal| Outcome::Failure(refusal.reason()))
    }

    /// Reads a token that is this module's business.
    fn read<'t>(&self, text: &'t str) -> Result<Token<'t>, Outcome> {
        if !jwt::looks_like_jwt(text) {
            return Err(Outcome::Ignored(Some(Reason::MalformedCredential)));
        }
        let token = Token::parse(text).map_err(|error| Outcome::Failure(error.reason()))?;
        if token.is_of_another_issuer(&self.rules) {
            return Err(Outcome::Ignored(Some(Reason::WrongIssuer)));
        }
        Ok(token)
    }
}

fn introspect(
    module: &Arc<Introspection>,
    text: &Arc<Secret<String>>,
    heard: Heard,
    means: Means<'_>,
) -> Judged {
    let token = text.expose();
    if module.ignores(token) {
        return Judged::Said(Outcome::Ignored(None));
    }
    if token.len() > MAX_OPAQUE_BYTES {
        return Judged::Said(Outcome::Failure(Reason::MalformedCredential));
    }
    let question = || Question::Token(Arc::clone(module), Arc::clone(text));
    let answer = match heard {
        Some(Ok(Answer::Token(answer))) => answer,
        Some(Ok(Answer::Keys | Answer::Password(_)) | Err(_)) => return Judged::Said(Outcome::Unavailable),
        None => {
            let key = token_key(means.entropy, module, token);
            match question().known(key, means.verdicts, means.now) {
                Some(Answer::Token(answer)) => answer,
                Some(Answer::Keys | Answer::Password(_)) | None => return Judged::Ask(question()),
            }
        }
    };
    match module.judge(&answer, means.now.unix) {
        Ok(verified) => Judged::Good(Box::new(verified)),
        Err(reason) => Judged::Said(Outcome::Failure(reason)),
    }
}
