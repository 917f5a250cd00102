//! What a login has to ask elsewhere: how it is asked, and what of the answer is kept.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::introspection::{Introspected, Introspection};
use super::remote::{FETCH_TIMEOUT, Fetched, RemoteKeys};
use super::verdicts::{Key, Kind, Verdict, Verdicts};
use crate::entropy::Entropy;
use crate::exchange::ldap::{self, Directory};
use crate::exchange::{Fault, Said, Talk};
use crate::leg::Destination;
use crate::secret::Secret;
use crate::time::Now;

/// How many fetches of one key set may be open at once: a second would bring the same.
const FETCHES: usize = 1;

/// A question to somebody elsewhere.
#[derive(Clone)]
pub(crate) enum Question {
    /// Which keys does the issuer publish by now?
    Keys(Arc<RemoteKeys>),
    /// Is this token active?
    Token(Arc<Introspection>, Arc<Secret<String>>),
    /// Is this the password of this user?
    Password(Arc<Directory>, String, Secret<Vec<u8>>),
}

impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keys(keys) => f.debug_tuple("Keys").field(keys).finish(),
            Self::Token(module, _) => f.debug_tuple("Token").field(module).finish(),
            Self::Password(directory, ..) => f.debug_tuple("Password").field(directory).finish(),
        }
    }
}

/// What was answered.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// The keys are as new as they can be had.
    Keys,
    /// What the issuer says about the token.
    Token(Introspected),
    /// What the directory says about the user and the password.
    Password(ldap::Verdict),
}

/// How a question goes out.
#[derive(Debug)]
pub(crate) struct Begun {
    /// Where to.
    pub(crate) to: Destination,
    /// How long the answer may take, from the dial on.
    pub(crate) timeout: Duration,
    /// The conversation.
    pub(crate) talk: Talk,
}

impl Question {
    /// Returns what two questions have in common that one answer serves.
    pub(crate) fn key(&self, entropy: &Entropy) -> Key {
        match self {
            Self::Keys(keys) => Key::new(entropy, Kind::Keys, keys.id(), &[]),
            Self::Token(module, token) => token_key(entropy, module, token.expose()),
            Self::Password(directory, user, password) => {
                let credential = [user.as_bytes(), password.expose()];
                Key::new(entropy, Kind::Password, directory.id(), &credential)
            }
        }
    }

    /// Returns who is asked, and how many questions that one takes at once.
    pub(crate) fn callee(&self) -> ([u8; 32], usize) {
        match self {
            Self::Keys(keys) => (*keys.id(), FETCHES),
            Self::Token(module, _) => (*module.id(), module.settings().max_in_flight),
            Self::Password(directory, ..) => (*directory.id(), directory.max_in_flight()),
        }
    }

    /// Returns how long the answer may take.
    pub(crate) fn timeout(&self) -> Duration {
        match self {
            Self::Keys(_) => FETCH_TIMEOUT,
            Self::Token(module, _) => module.settings().timeout,
            Self::Password(directory, ..) => directory.timeout(),
        }
    }

    /// Returns the answer if it need not be asked for any more: another one's question brought it.
    pub(crate) fn known(&self, key: Key, verdicts: &Verdicts, now: Now) -> Option<Answer> {
        match self {
            Self::Keys(keys) => (!keys.may_fetch(now)).then_some(Answer::Keys),
            Self::Token(..) => match verdicts.get(key, now)? {
                Verdict::Active(claims) => Some(Answer::Token(Introspected::Active(claims))),
                Verdict::Inactive => Some(Answer::Token(Introspected::Inactive)),
                Verdict::Right => None,
            },
            // Who leaves a group loses the next handshake: nothing is remembered.
            Self::Password(..) => None,
        }
    }

    /// Begins to ask.
    pub(crate) fn begin(&self, now: Now) -> Option<Begun> {
        let (to, talk) = match self {
            Self::Keys(keys) => {
                let (to, fetch) = keys.begin(now)?;
                (to, Talk::Http(Box::new(fetch)))
            }
            Self::Token(module, token) => {
                let (to, fetch) = module.begin(token.expose())?;
                (to, Talk::Http(Box::new(fetch)))
            }
            Self::Password(directory, user, password) => {
                let talk = directory.talk(user, password.clone()).ok()?;
                (directory.destination().clone(), Talk::Ldap(Box::new(talk)))
            }
        };
        Some(Begun {
            to,
            timeout: self.timeout(),
            talk,
        })
    }

    /// Reads what was said, and keeps what may be kept under `key`. The text is for the operator.
    pub(crate) fn end(
        &self,
        said: Result<Said, Fault>,
        (key, verdicts): (Key, &Verdicts),
        now: Now,
    ) -> (Result<Answer, Fault>, Vec<String>) {
        match self {
            Self::Keys(keys) => {
                let reply = match said.and_then(Said::http) {
                    Ok(reply) => reply,
                    Err(fault) => {
                        let told = told(keys, keys.end(Err(fault), now));
                        return (Err(fault), told);
                    }
                };
                let fetched = keys.end(Ok(&reply), now);
                let answer = match &fetched {
                    Fetched::Keys { .. } => Ok(Answer::Keys),
                    Fetched::FirstFailure(_) | Fetched::Failure => Err(Fault::Unusable),
                };
                (answer, told(keys, fetched))
            }
            Self::Token(module, _) => {
                let answer = said.and_then(Said::http).and_then(|reply| {
                    let answer = Introspection::read(&reply)?;
                    let verdict = match &answer {
                        Introspected::Active(claims) => Verdict::Active(Arc::clone(claims)),
                        Introspected::Inactive => Verdict::Inactive,
                    };
                    verdicts.keep(key, verdict, reply.body.len(), module.keeps(&answer, now), now);
                    Ok(Answer::Token(answer))
                });
                let told = module.tells(answer.as_ref().err().copied(), now);
                (answer, told.into_iter().collect())
            }
            Self::Password(..) => (said.and_then(Said::ldap).map(Answer::Password), Vec::new()),
        }
    }
}

/// Returns what an answer about `token` is found by.
pub(crate) fn token_key(entropy: &Entropy, module: &Introspection, token: &str) -> Key {
    Key::new(entropy, Kind::Introspection, module.id(), &[token.as_bytes()])
}

fn told(keys: &RemoteKeys, fetched: Fetched) -> Vec<String> {
    let shown = keys.shown();
    match fetched {
        Fetched::Keys { recovered, skipped } => {
            let recovered = recovered.then(|| format!("the keys at {shown} can be fetched again"));
            let skipped = skipped.into_iter().map(|key| format!("{shown}: {key}"));
            recovered.into_iter().chain(skipped).collect()
        }
        Fetched::FirstFailure(fault) => {
            let meanwhile = match keys.keys() {
                Some(_) => "the keys that were fetched before stay in use",
                None => "until it works, whoever needs them is answered 503",
            };
            vec![format!(
                "the keys at {shown} cannot be fetched: {fault}; {meanwhile}"
            )]
        }
        Fetched::Failure => Vec::new(),
    }
}
