//! What login modules say of a credential (REFERENCE, login modules; R12, R13), and what the chain
//! makes of it (R15).

use std::collections::BTreeSet;

use super::config::{AUDIENCE, Config, Flag, GROUPS, Jwt, Keys, Module, Realm, Scheme, USERS};
use super::request::{Bare, Basic, DigestAnswer, Key, Token};

/// A credential that counts.
#[derive(Clone, Debug)]
pub enum Credential {
    /// A token of any scheme.
    Token(Bare),
    /// User and password.
    Basic(Basic),
    /// A Digest response.
    Digest(DigestAnswer),
}

/// Who was let in.
#[derive(Clone, Debug, Default)]
pub struct Principal {
    /// `None` if the token names nobody.
    pub subject: Option<String>,
    /// Roles.
    pub roles: BTreeSet<&'static str>,
    /// Scopes.
    pub scopes: BTreeSet<&'static str>,
}

/// Why a login fails: any of these reasons may be logged.
#[derive(Clone, Debug)]
pub struct Failed {
    /// The reasons.
    pub reasons: Vec<&'static str>,
    /// Whether some module failed by its claims alone.
    pub claims: bool,
    /// Whether everything but the nonce was right.
    pub stale: bool,
}

/// What one module says.
enum Says {
    Success(Principal),
    Failure(Vec<&'static str>),
    Ignored,
}

/// What the log may say where every module ignored the credential: no document tells.
const IGNORED: [&str; 4] = [
    "malformed_credential",
    "wrong_issuer",
    "unknown_key",
    "unknown_user",
];

/// Asks the chain of `realm`.
///
/// # Errors
/// Why the credential is refused.
pub fn login(config: &Config, realm: &Realm, credential: &Credential) -> Result<Principal, Failed> {
    let (mut required, mut first) = (None, None);
    let mut passed: Vec<Principal> = Vec::new();
    let mut claims = false;
    for (flag, module) in &realm.modules {
        match module.judge(config, realm, credential) {
            Says::Ignored => {}
            Says::Success(principal) => {
                passed.push(principal);
                if *flag == Flag::Sufficient && required.is_none() {
                    break;
                }
            }
            Says::Failure(reasons) => {
                claims |= reasons == ["claims_mismatch"];
                match flag {
                    Flag::Required | Flag::Requisite => {
                        required.get_or_insert(reasons);
                    }
                    Flag::Sufficient | Flag::Optional => {
                        first.get_or_insert(reasons);
                    }
                }
                if *flag == Flag::Requisite {
                    break;
                }
            }
        }
    }
    let failed = |reasons| Failed {
        reasons,
        claims,
        stale: false,
    };
    if let Some(reasons) = required {
        return Err(failed(reasons));
    }
    if passed.is_empty() {
        return Err(failed(first.unwrap_or_else(|| IGNORED.to_vec())));
    }
    if matches!(credential, Credential::Digest(answer) if !answer.fresh) {
        return Err(Failed {
            reasons: vec!["stale_nonce"],
            claims: false,
            stale: true,
        });
    }
    let subject = passed[0].subject.clone();
    let mut all = Principal {
        subject,
        ..Principal::default()
    };
    all.roles.insert("Everyone");
    for principal in passed {
        all.roles.extend(principal.roles);
        all.scopes.extend(principal.scopes);
    }
    Ok(all)
}

impl Module {
    fn judge(&self, config: &Config, realm: &Realm, credential: &Credential) -> Says {
        match (self, credential) {
            (
                Self::Users {
                    passwords: Some(users),
                    groups,
                    strange,
                    ..
                },
                Credential::Basic(basic),
            ) => match basic {
                Basic::User(user, right) if users.contains(user) => {
                    known(config, *user, *right && !strange, *groups)
                }
                // A signed name has a colon: what stands before it is no user.
                Basic::User(..) | Basic::Ephemeral { .. } => Says::Failure(vec!["unknown_user"]),
                Basic::Garbage | Basic::NoColon | Basic::Nothing => unreachable!("refused before"),
            },
            (
                Self::Users {
                    digests: Some(users),
                    groups,
                    strange,
                    ..
                },
                Credential::Digest(answer),
            ) => {
                let offered = realm.challenges.contains(&Scheme::Digest) && (!answer.md5 || realm.md5);
                if !answer.realm || !offered {
                    // Refused with 401 (R13); no document names the reason.
                    return Says::Failure(vec![
                        "wrong_audience",
                        "wrong_algorithm",
                        "bad_password",
                        "unknown_user",
                    ]);
                }
                if !users.contains(&answer.user) {
                    return Says::Failure(vec!["unknown_user"]);
                }
                known(config, answer.user, answer.right && !strange, *groups)
            }
            (Self::Jwt(jwt), Credential::Token(Bare::Jwt(token))) => jwt.judge(token),
            (Self::Ephemeral(secrets), Credential::Basic(basic)) => match basic {
                Basic::Ephemeral {
                    secret,
                    expired,
                    right,
                } => {
                    let signed = *right && secrets.contains(secret);
                    match (signed, expired) {
                        (true, false) => Says::Success(Principal {
                            subject: Some("phone".to_owned()),
                            ..Principal::default()
                        }),
                        (true, true) => Says::Failure(vec!["expired"]),
                        (false, false) => Says::Failure(vec!["bad_signature", "bad_password"]),
                        (false, true) => Says::Failure(vec!["bad_signature", "bad_password", "expired"]),
                    }
                }
                // No number before a colon: 401 (M36), for a reason that no document names.
                Basic::User(..) | Basic::Garbage | Basic::NoColon | Basic::Nothing => Says::Failure(vec![
                    "malformed_credential",
                    "unknown_user",
                    "bad_password",
                    "bad_signature",
                    "expired",
                ]),
            },
            (Self::Users { .. } | Self::Jwt(_) | Self::Ephemeral(_), _) => Says::Ignored,
        }
    }
}

fn known(config: &Config, user: usize, right: bool, groups: bool) -> Says {
    if !right {
        return Says::Failure(vec!["bad_password"]);
    }
    let name = USERS[user].0;
    let mut roles = BTreeSet::new();
    if groups {
        roles.extend(GROUPS.into_iter().filter(|group| is_member(config, group, name)));
    }
    Says::Success(Principal {
        subject: Some(name.to_owned()),
        roles,
        ..Principal::default()
    })
}

fn is_member(config: &Config, group: &str, name: &str) -> bool {
    let members = config.groups.get(group).into_iter().flatten();
    members.into_iter().any(|member| match member.strip_prefix('@') {
        Some(included) => is_member(config, included, name),
        None => *member == name,
    })
}

impl Jwt {
    fn judge(&self, token: &Token) -> Says {
        // A token of another issuer is somebody else's; one that names none is not.
        if let (Some(wanted), Some(found)) = (self.issuer, token.issuer)
            && wanted != found
        {
            return Says::Ignored;
        }
        let mut wrong = Vec::new();
        let verified = match (&self.keys, token.key) {
            (Keys::Secret(ours), Key::Secret(theirs)) => *ours == theirs && !token.flipped,
            (Keys::Set(ours), Key::Ed25519(theirs)) => {
                let chosen = match (token.kid, ours.as_slice()) {
                    (Some(kid), _) => ours.contains(&kid).then_some(kid),
                    (None, [only]) => Some(*only),
                    (None, _) => None,
                };
                chosen == Some(theirs) && !token.flipped
            }
            (Keys::Secret(_), Key::Ed25519(_)) | (Keys::Set(_), Key::Secret(_)) => false,
        };
        if !verified {
            return Says::Failure(self.unverified(token));
        }
        if self.issuer.is_some() && token.issuer.is_none() {
            wrong.push("wrong_issuer");
        }
        if self.audience && token.audience != Some(AUDIENCE) {
            wrong.push("wrong_audience");
        }
        match token.expiry {
            Some(true) => {}
            Some(false) => wrong.push("expired"),
            // `exp` is required: no document names the reason.
            None if self.require_expiry => wrong.extend(["expired", "malformed_credential"]),
            None => {}
        }
        if token.early {
            wrong.push("not_yet_valid");
        }
        if !wrong.is_empty() {
            return Says::Failure(wrong);
        }
        if !self.claims_pass(token) {
            return Says::Failure(vec!["claims_mismatch"]);
        }
        let mut principal = Principal {
            subject: token.subject.map(str::to_owned),
            scopes: token.scopes.iter().copied().collect(),
            ..Principal::default()
        };
        if self.roles {
            let kept = |role: &&str| !matches!(*role, "Everyone" | "Anonymous");
            principal.roles.extend(token.groups.iter().copied().filter(kept));
        }
        Says::Success(principal)
    }

    /// What the log may say of a signature that no key verifies: whether the key, the algorithm or the
    /// signature is at fault depends on where one begins to look.
    fn unverified(&self, token: &Token) -> Vec<&'static str> {
        match (&self.keys, token.key, token.kid) {
            (Keys::Set(ours), Key::Ed25519(_), Some(kid)) if ours.contains(&kid) => vec!["bad_signature"],
            (Keys::Set(_), Key::Ed25519(_), Some(_)) => vec!["unknown_key"],
            (Keys::Secret(_), Key::Secret(_), None) => vec!["bad_signature"],
            _ => vec!["bad_signature", "unknown_key", "wrong_algorithm"],
        }
    }

    fn claims_pass(&self, token: &Token) -> bool {
        let has = |(name, wanted): (&&str, &Vec<&str>)| {
            let found = if *name == "team" {
                &token.team
            } else {
                &token.floor
            };
            found.iter().any(|value| wanted.contains(value))
        };
        let mut all = self.claims.iter();
        if self.claims.is_empty() || self.all_claims {
            all.all(has)
        } else {
            all.any(has)
        }
    }
}
