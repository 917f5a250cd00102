//! What a grant rests on. A socket, a session and a ticket live longer than the check that made them;
//! what they grant must not outlive the user, the password, the group, the key or the claim, so the
//! same credential is judged again whenever the rules change.

mod carried;

pub(crate) use carried::{optional, time, time_of};

use std::fmt;
use std::sync::{Arc, Weak};

use ring::digest::{Context, SHA256};
use serde_json::{Map, Value};

use super::chain::{Chain, ChainVerdict, Outcome};
use super::grant::{Grant, Identity};
use super::introspection::Introspected;
use super::login::{By, Passed, commit};
use super::present::Credential;
use super::realm::{Module, Realm, UsersModule};
use crate::config::DigestAlgorithm;
use crate::exchange::ldap::User;
use crate::reason::Reason;
use crate::time::{Now, UnixTime};

/// What a grant rests on: one factor for each realm that was passed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Basis(Vec<Arc<Factor>>);

/// What authorities elsewhere have answered about a credential, by their identities.
type Answers = Vec<([u8; 32], Answered)>;

/// One such answer.
enum Answered {
    /// What an issuer says about its token.
    Token(Introspected),
    /// Who a directory says it is.
    Entry(User),
}

/// One realm that was passed, and by what.
pub(crate) struct Factor {
    /// The realm as it was. It keeps no memory of a realm that was replaced.
    realm: Weak<Realm>,
    name: Arc<str>,
    /// What it granted when it was passed.
    grant: Arc<Grant>,
    token_ids: Vec<String>,
    evidence: Evidence,
}

impl fmt::Debug for Factor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Factor")
            .field("realm", &self.name)
            .finish_non_exhaustive()
    }
}

/// What a credential leaves behind to be judged again by. A password is not kept: the line of the
/// file that it fitted is proof enough. A token is, since only it can be held against other keys; it
/// is at most as large as a request head, and shared by everything that it opened.
enum Evidence {
    /// Nobody had to prove anything.
    Anonymous,
    /// A credential.
    Login {
        shape: Shape,
        lines: Vec<Line>,
        /// What carries its own signature.
        signed: Option<Credential>,
        /// What others have answered about it, by whom: nobody is asked again while rules change.
        answers: Answers,
        /// When it was judged: a wall clock that stepped back since makes no token unripe.
        judged: UnixTime,
    },
}

/// Which modules a credential is for.
#[derive(Clone, Copy)]
enum Shape {
    Basic,
    Digest,
    Token,
}

/// A line of a password file that a login fitted.
struct Line {
    user: String,
    print: Vec<u8>,
}

/// Collects the evidence of one login, module by module.
pub(super) struct Trail {
    lines: Vec<Line>,
    signed: bool,
    answers: Answers,
    pub(super) token_ids: Vec<String>,
}

impl Trail {
    pub(super) const fn new() -> Self {
        Self {
            lines: Vec::new(),
            signed: false,
            answers: Vec::new(),
            token_ids: Vec::new(),
        }
    }

    /// Adds the line of `user` in the files of a module.
    pub(super) fn add_user(&mut self, users: &UsersModule, user: &str) {
        if let Some(print) = fingerprint(users, user) {
            self.lines.push(Line {
                user: user.to_owned(),
                print,
            });
        }
    }

    /// Adds what the issuer with the identity `id` has answered.
    pub(super) fn add_answer(&mut self, id: [u8; 32], claims: Arc<Map<String, Value>>) {
        let answer = Introspected::Active(claims);
        self.answers.push((id, Answered::Token(answer)));
    }

    /// Adds whom the directory with the identity `id` has found.
    pub(super) fn add_entry(&mut self, id: [u8; 32], user: User) {
        self.answers.push((id, Answered::Entry(user)));
    }

    /// Adds a credential that carries its own signature.
    pub(super) const fn add_signed(&mut self) {
        self.signed = true;
    }

    /// Returns what `grant` rests on.
    pub(super) fn basis(
        self,
        realm: &Arc<Realm>,
        grant: Arc<Grant>,
        credential: &Credential,
        now: Now,
    ) -> Basis {
        let shape = match credential {
            Credential::Basic { .. } => Shape::Basic,
            Credential::Digest(_) => Shape::Digest,
            Credential::Token(_) | Credential::Pass(_) => Shape::Token,
        };
        Basis(vec![Arc::new(Factor {
            realm: Arc::downgrade(realm),
            name: Arc::clone(&realm.name),
            grant,
            token_ids: self.token_ids,
            evidence: Evidence::Login {
                shape,
                lines: self.lines,
                signed: self.signed.then(|| credential.clone()),
                answers: self.answers,
                judged: now.unix,
            },
        })])
    }
}

impl Basis {
    /// What lets a client in without a credential.
    pub(crate) fn anonymous(realm: &Arc<Realm>, grant: Arc<Grant>) -> Self {
        Self(vec![Arc::new(Factor {
            realm: Arc::downgrade(realm),
            name: Arc::clone(&realm.name),
            grant,
            token_ids: Vec::new(),
            evidence: Evidence::Anonymous,
        })])
    }

    /// Adds what a further factor rests on.
    #[must_use]
    pub(crate) fn join(mut self, next: Self) -> Self {
        self.0.extend(next.0);
        self
    }

    /// Puts what `renewed` rests on in the place of what the same realms were passed by.
    #[must_use]
    pub(crate) fn replace(mut self, renewed: &Self) -> Self {
        for factor in &mut self.0 {
            if let Some(new) = renewed.0.iter().find(|new| new.name == factor.name) {
                *factor = Arc::clone(new);
            }
        }
        self
    }

    /// Returns who passed which realm.
    pub(crate) fn clients(&self) -> impl Iterator<Item = (Arc<str>, Option<Identity>)> {
        let client = |factor: &Arc<Factor>| (Arc::clone(&factor.name), factor.grant.identity.clone());
        self.0.iter().map(client)
    }

    /// Returns every factor's identity.
    pub(crate) fn identities(&self) -> impl Iterator<Item = &Identity> {
        self.0.iter().filter_map(|factor| factor.grant.identity.as_ref())
    }

    /// Returns the `jti` of every token, with whose it is.
    pub(crate) fn token_ids(&self) -> impl Iterator<Item = (&str, Option<&Identity>)> {
        self.0.iter().flat_map(|factor| {
            let identity = factor.grant.identity.as_ref();
            factor.token_ids.iter().map(move |id| (id.as_str(), identity))
        })
    }

    /// Returns what `grant` is worth where all of `realms` have to be passed: itself as long as they
    /// are the same, and what the same credentials are granted now if they were reloaded. It never
    /// ends later than it would have.
    ///
    /// # Errors
    /// Why the credentials are not good any more; `no_credential` if a realm was never passed.
    pub(crate) fn renew<'r>(
        &self,
        realms: impl IntoIterator<Item = &'r Arc<Realm>>,
        grant: &Arc<Grant>,
        now: Now,
    ) -> Result<Arc<Grant>, Reason> {
        let mut wanted = Vec::new();
        for realm in realms {
            let factor = self.0.iter().find(|factor| factor.name == realm.name);
            wanted.push((realm, factor.ok_or(Reason::NoCredential)?));
        }
        let mut renewed: Option<Arc<Grant>> = None;
        for (realm, factor) in wanted {
            let next = factor.renew(realm, now)?;
            if next.subject() != grant.subject() {
                return Err(Reason::UnknownUser);
            }
            renewed = Some(match renewed {
                None => next,
                Some(before) => Arc::new(Arc::unwrap_or_clone(before).join(&next)),
            });
        }
        Ok(renewed.unwrap_or_else(|| Arc::clone(grant)))
    }
}

impl Factor {
    /// Returns what the same credential is granted by `realm`.
    fn renew(&self, realm: &Arc<Realm>, now: Now) -> Result<Arc<Grant>, Reason> {
        if Weak::ptr_eq(&self.realm, &Arc::downgrade(realm)) {
            return Ok(Arc::clone(&self.grant));
        }
        let mut grant = self.judge(realm, now)?;
        if let Some(before) = self.grant.expires {
            grant.ends_by(before);
        }
        Ok(Arc::new(grant))
    }

    /// Asks the modules of `realm` about the same credential once more.
    fn judge(&self, realm: &Arc<Realm>, now: Now) -> Result<Grant, Reason> {
        let (shape, lines, signed, answers, judged) = match &self.evidence {
            Evidence::Anonymous => return realm.anonymous_grant().ok_or(Reason::NoCredential),
            Evidence::Login {
                shape,
                lines,
                signed,
                answers,
                judged,
            } => (*shape, lines, signed, answers, *judged),
        };
        let ripe = Now {
            unix: now.unix.max(judged),
            ..now
        };
        let (mut chain, mut passed) = (Chain::new(), Vec::new());
        for (index, (flag, module)) in realm.modules.iter().enumerate() {
            if chain.has_ended() {
                break;
            }
            let outcome = match again(module, shape, lines, signed.as_ref(), answers, ripe) {
                Ok(by) => {
                    passed.push(Passed { module: index, by });
                    Outcome::Success
                }
                Err(outcome) => outcome,
            };
            chain.record(*flag, outcome);
        }
        match chain.verdict() {
            ChainVerdict::Pass => Ok(commit(realm, passed, now).0),
            ChainVerdict::Fail(reason) => Err(reason.unwrap_or(Reason::UnknownUser)),
            ChainVerdict::Unavailable => Err(Reason::Unavailable),
        }
    }
}

/// What one module says to a credential that passed once.
fn again(
    module: &Module,
    shape: Shape,
    lines: &[Line],
    signed: Option<&Credential>,
    answers: &Answers,
    now: Now,
) -> Result<By, Outcome> {
    let by_line = |users: &UsersModule, asked: bool| {
        if !asked {
            return Err(Outcome::Ignored(None));
        }
        let fits = |line: &&Line| fingerprint(users, &line.user).as_ref() == Some(&line.print);
        let line = lines.iter().find(fits);
        let line = line.ok_or(Outcome::Failure(Reason::UnknownUser))?;
        Ok(By::Password {
            user: line.user.clone(),
        })
    };
    let answered = |authority: &[u8; 32]| {
        let answer = answers.iter().find(|(id, _)| id == authority);
        answer.map(|(_, answer)| answer)
    };
    match (module, shape) {
        (Module::Users(users), Shape::Basic) => by_line(users, users.passwords.is_some()),
        (Module::Users(users), Shape::Digest) => by_line(users, users.digests.is_some()),
        (Module::Jwt(jwt), Shape::Token) => match signed {
            Some(Credential::Token(text)) => {
                let verified = jwt.judge_again(text.expose(), now)?;
                Ok(By::Token(Box::new(verified)))
            }
            Some(Credential::Basic { .. } | Credential::Digest(_) | Credential::Pass(_)) | None => {
                Err(Outcome::Failure(Reason::UnknownKey))
            }
        },
        (Module::Ephemeral(ephemeral), Shape::Basic) => match signed {
            Some(Credential::Basic { user, password }) => ephemeral
                .judge(user, password.expose(), now.unix)
                .map(By::Ephemeral)
                .map_err(Outcome::Failure),
            Some(Credential::Token(_) | Credential::Digest(_) | Credential::Pass(_)) | None => {
                Err(Outcome::Failure(Reason::BadPassword))
            }
        },
        (Module::Introspection(module), Shape::Token) => match signed {
            Some(Credential::Token(text)) if module.ignores(text.expose()) => Err(Outcome::Ignored(None)),
            Some(_) | None => {
                let Some(Answered::Token(answer)) = answered(module.authority()) else {
                    return Err(Outcome::Failure(Reason::UnknownKey));
                };
                let verified = module.judge(answer, now.unix).map_err(Outcome::Failure)?;
                Ok(By::Token(Box::new(verified)))
            }
        },
        (Module::Ldap(directory), Shape::Basic) => match answered(directory.authority()) {
            Some(Answered::Entry(user)) => Ok(By::Directory(user.clone())),
            Some(Answered::Token(_)) | None => Err(Outcome::Failure(Reason::UnknownUser)),
        },
        (Module::Users(_), Shape::Token)
        | (Module::Jwt(_) | Module::Introspection(_), Shape::Basic | Shape::Digest)
        | (Module::Ephemeral(_) | Module::Ldap(_), Shape::Digest | Shape::Token) => {
            Err(Outcome::Ignored(None))
        }
    }
}

/// Returns what changes when a password of `user` does; `None` if there is no such user.
fn fingerprint(users: &UsersModule, user: &str) -> Option<Vec<u8>> {
    let stored = users.passwords.as_ref().and_then(|file| file.hash_text(user));
    let ha1 = |algorithm| users.digests.as_ref().and_then(|file| file.ha1(user, algorithm));
    let lines = [
        stored.map(str::as_bytes),
        ha1(DigestAlgorithm::Md5),
        ha1(DigestAlgorithm::Sha256),
    ];
    if lines.iter().all(Option::is_none) {
        return None;
    }
    let mut context = Context::new(&SHA256);
    for line in lines {
        let line = line.unwrap_or_default();
        context.update(&line.len().to_be_bytes());
        context.update(line);
    }
    Some(context.finish().as_ref().to_vec())
}
