//! One login: the modules of a realm, asked in order about one credential.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use super::basis::{Basis, Trail};
use super::chain::{Chain, ChainVerdict, Outcome};
use super::ephemeral;
use super::grant::{Authority, EVERYONE, Grant, Identity};
use super::is_reserved_role;
use super::jwt::Verified;
use super::nonces::Nonces;
use super::password::StoredHash;
use super::present::Credential;
use super::question::{Answer, Question};
use super::realm::{Module, Realm, UsersModule};
use super::verdicts::{Key, Kind, PASSWORD_TTL, Verdict, Verdicts};
use crate::entropy::Entropy;
use crate::exchange::Fault;
use crate::exchange::ldap::{self, Directory};
use crate::reason::Reason;
use crate::secret::Secret;
use crate::time::{Deadline, Now};

/// A login under way.
pub(crate) struct Login {
    realm: Arc<Realm>,
    credential: Credential,
    next: usize,
    chain: Chain,
    passed: Vec<Passed>,
    /// The user that the module at `next` is asking a password job about, if it is known.
    asked: Option<Option<String>>,
    /// What is remembered under if that password turns out to be right.
    remember: Option<Key>,
    /// What the module at `next` has asked for.
    heard: Option<Result<Answer, Fault>>,
    basis: Basis,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("realm", &self.realm.name)
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

/// What a successful module brings in when the chain commits.
pub(super) struct Passed {
    pub(super) module: usize,
    pub(super) by: By,
}

/// By what a module was passed.
pub(super) enum By {
    Password { user: String },
    Token(Box<Verified>),
    Ephemeral(ephemeral::Verified),
    Directory(ldap::User),
}

/// A password to compare, away from the IO path.
#[derive(Debug)]
pub(crate) struct PasswordTask {
    hash: StoredHash,
    password: Secret<Vec<u8>>,
}

impl PasswordTask {
    /// Returns the memory that [`PasswordTask::run`] takes, in bytes.
    pub(crate) const fn memory_bytes(&self) -> usize {
        self.hash.memory_bytes()
    }

    /// Says whether the password is the right one.
    pub(crate) fn run(&self) -> bool {
        self.hash.verify(self.password.expose())
    }
}

/// What a login needs or has found.
#[derive(Debug)]
pub(crate) enum Progress {
    /// Run this, then [`Login::compared`].
    Compare(PasswordTask),
    /// Have this answered, then [`Login::answered`].
    Ask(Question),
    /// The credential is good.
    Granted(Arc<Grant>),
    /// It is not.
    Refused(Refused),
    /// Nobody can tell.
    Unavailable,
}

/// What a login works with, lent for one call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Means<'a> {
    pub(crate) entropy: &'a Entropy,
    pub(crate) nonces: &'a Nonces,
    pub(crate) verdicts: &'a Verdicts,
    pub(crate) now: Now,
}

/// What a module that judges tokens says.
pub(super) enum Judged {
    /// The token is good.
    Good(Box<Verified>),
    /// Anything else.
    Said(Outcome),
    /// It depends on this.
    Ask(Question),
}

/// Why a login was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    /// For the log.
    pub(crate) reason: Reason,
    /// A module found nothing wrong but the claims: 403 and no challenge.
    pub(crate) claims_alone: bool,
}

impl Login {
    /// A login with `credential` at `realm`.
    pub(crate) fn new(realm: Arc<Realm>, credential: Credential) -> Self {
        Self {
            basis: Basis::default(),
            realm,
            credential,
            next: 0,
            chain: Chain::new(),
            passed: Vec::new(),
            asked: None,
            remember: None,
            heard: None,
        }
    }

    /// Goes on until a password has to be compared, somebody has to be asked, or the verdict is found.
    pub(crate) fn advance(&mut self, means: Means<'_>) -> Progress {
        let realm = Arc::clone(&self.realm);
        let mut heard = self.heard.take();
        while !self.chain.has_ended()
            && let Some((flag, module)) = realm.modules.get(self.next)
        {
            let outcome = match (module, &self.credential) {
                (Module::Users(users), Credential::Basic { user, password }) => {
                    match users.hash_for(user, means.entropy) {
                        Some((hash, known)) => {
                            // Only a right password is remembered: a wrong one and an unknown user go on
                            // costing the same.
                            let key = known.then(|| password_key(means.entropy, &hash, user, password));
                            if key.is_some_and(|key| means.verdicts.get(key, means.now).is_some()) {
                                self.passed.push(Passed {
                                    module: self.next,
                                    by: By::Password { user: user.clone() },
                                });
                                self.chain.record(*flag, Outcome::Success);
                                self.next += 1;
                                continue;
                            }
                            self.remember = key;
                            self.asked = Some(known.then(|| user.clone()));
                            return Progress::Compare(PasswordTask {
                                hash,
                                password: password.clone(),
                            });
                        }
                        None if users.passwords.is_none() => Outcome::Ignored(None),
                        None => Outcome::Failure(Reason::UnknownUser),
                    }
                }
                (Module::Users(users), Credential::Digest(credentials)) => {
                    match realm.judge_digest(users, credentials) {
                        Ok(user) => {
                            self.passed.push(Passed {
                                module: self.next,
                                by: By::Password { user },
                            });
                            Outcome::Success
                        }
                        Err(outcome) => outcome,
                    }
                }
                (Module::Jwt(_) | Module::Introspection(_), Credential::Token(text)) => {
                    match module.judge_token(text, heard.take(), means) {
                        Judged::Good(verified) => {
                            self.passed.push(Passed {
                                module: self.next,
                                by: By::Token(verified),
                            });
                            Outcome::Success
                        }
                        Judged::Said(outcome) => outcome,
                        Judged::Ask(question) => return Progress::Ask(question),
                    }
                }
                (Module::Ldap(directory), Credential::Basic { user, password }) => {
                    match ask_directory(directory, heard.take(), user, password) {
                        Ok(ldap::Verdict::Good(user)) => {
                            self.passed.push(Passed {
                                module: self.next,
                                by: By::Directory(user),
                            });
                            Outcome::Success
                        }
                        // Two with one name are nobody: whose password would count?
                        Ok(ldap::Verdict::UnknownUser | ldap::Verdict::Ambiguous) => {
                            Outcome::Failure(Reason::UnknownUser)
                        }
                        Ok(ldap::Verdict::WrongPassword) => Outcome::Failure(Reason::BadPassword),
                        Err(Some(question)) => return Progress::Ask(question),
                        Err(None) => Outcome::Unavailable,
                    }
                }
                (Module::Ephemeral(ephemeral), Credential::Basic { user, password }) => {
                    match ephemeral.judge(user, password.expose(), means.now.unix) {
                        Ok(verified) => {
                            self.passed.push(Passed {
                                module: self.next,
                                by: By::Ephemeral(verified),
                            });
                            Outcome::Success
                        }
                        Err(reason) => Outcome::Failure(reason),
                    }
                }
                (Module::Users(_), Credential::Token(_))
                | (
                    Module::Jwt(_) | Module::Introspection(_),
                    Credential::Basic { .. } | Credential::Digest(_),
                )
                | (Module::Ldap(_) | Module::Ephemeral(_), Credential::Digest(_) | Credential::Token(_))
                | (_, Credential::Pass(_)) => Outcome::Ignored(None),
            };
            self.chain.record(*flag, outcome);
            self.next += 1;
        }
        self.verdict(means)
    }

    /// Takes in what the comparison of the last [`Progress::Compare`] said.
    pub(crate) fn compared(&mut self, right: bool, verdicts: &Verdicts, now: Now) {
        let Some(user) = self.asked.take() else { return };
        if let Some(key) = self.remember.take().filter(|_| right && user.is_some()) {
            verdicts.keep(key, Verdict::Right, 0, Deadline::after(PASSWORD_TTL, now), now);
        }
        let outcome = match (right, user) {
            (true, Some(user)) => {
                self.passed.push(Passed {
                    module: self.next,
                    by: By::Password { user },
                });
                Outcome::Success
            }
            (false, Some(_)) => Outcome::Failure(Reason::BadPassword),
            // The hash was a decoy: whatever came out, there is no such user.
            (_, None) => Outcome::Failure(Reason::UnknownUser),
        };
        if let Some((flag, _)) = self.realm.modules.get(self.next) {
            self.chain.record(*flag, outcome);
            self.next += 1;
        }
    }

    /// Takes in what the question of the last [`Progress::Ask`] was answered.
    pub(crate) fn answered(&mut self, answer: Result<Answer, Fault>) {
        self.heard = Some(answer);
    }

    /// Returns what the grant rests on, once there is one.
    pub(crate) fn take_basis(&mut self) -> Basis {
        std::mem::take(&mut self.basis)
    }

    fn verdict(&mut self, means: Means<'_>) -> Progress {
        match self.chain.verdict() {
            // Last of all, so that a login that fails uses no nonce up, and two modules use it once.
            ChainVerdict::Pass => match self.spend(means) {
                Ok(()) => Progress::Granted(self.commit(means.now)),
                Err(reason) => Progress::Refused(Refused {
                    reason,
                    claims_alone: false,
                }),
            },
            ChainVerdict::Fail(reason) => Progress::Refused(Refused {
                // Nobody felt responsible: for a bearer token the wire says invalid_token all the same.
                reason: reason.unwrap_or(Reason::MalformedCredential),
                claims_alone: self.chain.claims_alone(),
            }),
            ChainVerdict::Unavailable => Progress::Unavailable,
        }
    }

    /// Uses up what is good for one request alone.
    fn spend(&self, means: Means<'_>) -> Result<(), Reason> {
        match &self.credential {
            Credential::Digest(credentials) => {
                self.realm
                    .spend_nonce(credentials, means.entropy, means.nonces, means.now)
            }
            Credential::Basic { .. } | Credential::Token(_) | Credential::Pass(_) => Ok(()),
        }
    }

    /// Commits every successful module: only now do principal and roles appear.
    fn commit(&mut self, now: Now) -> Arc<Grant> {
        let passed = std::mem::take(&mut self.passed);
        let (grant, trail) = commit(&self.realm, passed, now);
        let grant = Arc::new(grant);
        self.basis = trail.basis(&self.realm, Arc::clone(&grant), &self.credential, now);
        grant
    }
}

/// Returns what a right password is remembered under.
fn password_key(entropy: &Entropy, hash: &StoredHash, user: &str, password: &Secret<Vec<u8>>) -> Key {
    let credential = [user.as_bytes(), password.expose()];
    Key::new(entropy, Kind::Password, &hash.fingerprint(), &credential)
}

/// Returns what the modules that were passed grant together, and what that rests on.
pub(super) fn commit(realm: &Realm, passed: Vec<Passed>, now: Now) -> (Grant, Trail) {
    let mut trail = Trail::new();
    let claims = passed.iter().find_map(|passed| match &passed.by {
        By::Token(verified) if !verified.claims.is_empty() => Some(Arc::clone(&verified.claims)),
        By::Token(_) | By::Password { .. } | By::Ephemeral(_) | By::Directory(_) => None,
    });
    let mut grant = Grant {
        identity: None,
        roles: BTreeSet::new(),
        scopes: BTreeSet::new(),
        claims: claims.unwrap_or_default(),
        expires: None,
    };
    for Passed { module, by } in passed {
        let (authority, subject) = match by {
            By::Password { user } => {
                if let Some((_, Module::Users(users))) = realm.modules.get(module) {
                    grant.roles.extend(users.roles_of(&user));
                    trail.add_user(users, &user);
                }
                (Authority::Module(module), Some(user))
            }
            By::Token(verified) => {
                let verified = *verified;
                trail.add_signed();
                if let Some((_, Module::Introspection(introspection))) = realm.modules.get(module) {
                    trail.add_answer(*introspection.authority(), Arc::clone(&verified.claims));
                }
                trail.token_ids.extend(verified.jti);
                join(&mut grant.roles, verified.roles);
                join(&mut grant.scopes, verified.scopes);
                if let Some(expires) = verified.expires {
                    grant.ends_by(Deadline::at_unix(expires, now));
                }
                let authority = verified
                    .issuer
                    .map_or(Authority::Module(module), Authority::Issuer);
                (authority, verified.subject)
            }
            By::Directory(user) => {
                let roles = user.groups.iter().filter(|role| !is_reserved_role(role));
                grant.roles.extend(roles.cloned());
                let name = user.name.clone();
                if let Some((_, Module::Ldap(directory))) = realm.modules.get(module) {
                    trail.add_entry(*directory.authority(), user);
                }
                (Authority::Module(module), Some(name))
            }
            By::Ephemeral(verified) => {
                trail.add_signed();
                grant.ends_by(Deadline::at_unix(verified.expires, now));
                (Authority::Module(module), Some(verified.subject))
            }
        };
        if grant.identity.is_none() {
            grant.identity = Some(Identity {
                realm: Arc::clone(&realm.name),
                authority,
                subject,
            });
        }
    }
    grant.roles.insert(EVERYONE.to_owned());
    (grant, trail)
}

/// Adds `more` to a set, which mostly is empty and then becomes that.
fn join(set: &mut BTreeSet<String>, more: BTreeSet<String>) {
    if set.is_empty() {
        *set = more;
    } else {
        set.extend(more);
    }
}

/// Returns what `directory` says, or what it has to be asked; nothing if it could not be asked.
fn ask_directory(
    directory: &Arc<Directory>,
    heard: Option<Result<Answer, Fault>>,
    user: &str,
    password: &Secret<Vec<u8>>,
) -> Result<ldap::Verdict, Option<Question>> {
    if let Some(verdict) = Directory::judge_unasked(user, password) {
        return Ok(verdict);
    }
    match heard {
        None => Err(Some(Question::Password(
            Arc::clone(directory),
            user.to_owned(),
            password.clone(),
        ))),
        Some(Ok(Answer::Password(verdict))) => Ok(verdict),
        Some(Ok(Answer::Keys | Answer::Token(_)) | Err(_)) => Err(None),
    }
}

impl Refused {
    /// Says whether everything was right but the nonce of a Digest response.
    pub(crate) const fn is_stale(self) -> bool {
        matches!(self.reason, Reason::StaleNonce | Reason::ReusedNonce)
    }
}

impl UsersModule {
    /// Returns the stored hash of `user`, or a decoy that costs the same, and which of the two it is.
    fn hash_for(&self, user: &str, entropy: &Entropy) -> Option<(StoredHash, bool)> {
        let passwords = self.passwords.as_ref()?;
        match passwords.get(user) {
            Some(hash) => Some((hash, true)),
            None => Some((passwords.decoy(entropy, user)?, false)),
        }
    }

    pub(super) fn roles_of(&self, user: &str) -> Vec<String> {
        let Some(groups) = &self.groups else {
            return Vec::new();
        };
        groups
            .roles_of(user)
            .into_iter()
            .filter(|role| !is_reserved_role(role))
            .map(str::to_owned)
            .collect()
    }
}
