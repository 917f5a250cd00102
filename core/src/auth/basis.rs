//! What a grant rests on: the lines of the files that it was decided by. A session and a ticket are
//! used long after their login; what they grant must not outlive the user, the password or the group.

use std::fmt;
use std::sync::{Arc, Weak};

use ring::digest::{Context, SHA256};

use super::grant::Grant;
use super::realm::{Module, Realm, UsersModule};
use crate::config::DigestAlgorithm;

/// What a grant rests on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Basis {
    /// The realm as it was. It keeps no memory of a realm that was replaced.
    realm: Weak<Realm>,
    users: Vec<UserBasis>,
    /// Something else than a user's line counted, which cannot be looked at again.
    beyond: bool,
}

/// A line of a password file, and the groups that the user was in.
#[derive(Clone)]
struct UserBasis {
    module: usize,
    user: String,
    line: Vec<u8>,
    roles: Vec<String>,
}

impl fmt::Debug for UserBasis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserBasis")
            .field("module", &self.module)
            .finish_non_exhaustive()
    }
}

impl Basis {
    /// Nothing yet, in `realm`.
    pub(crate) fn of(realm: &Arc<Realm>) -> Self {
        Self {
            realm: Arc::downgrade(realm),
            ..Self::default()
        }
    }

    /// Adds the line of `user` in the files of the module with the index `module`.
    pub(crate) fn add_user(&mut self, module: usize, users: &UsersModule, user: &str, roles: Vec<String>) {
        match fingerprint(users, user) {
            Some(line) => self.users.push(UserBasis {
                module,
                user: user.to_owned(),
                line,
                roles,
            }),
            None => self.beyond = true,
        }
    }

    /// Adds what can only be judged with the credential at hand: a token.
    pub(crate) const fn add_credential(&mut self) {
        self.beyond = true;
    }

    /// Returns what `grant` is worth under the rules of `realm`: itself as long as they are the same,
    /// with the groups of now if they were reloaded. `None` if the user left, if the password is
    /// another one, or if that cannot be known any more.
    pub(crate) fn renew(&self, realm: &Arc<Realm>, grant: &Grant) -> Option<Grant> {
        if Weak::ptr_eq(&self.realm, &Arc::downgrade(realm)) {
            return Some(grant.clone());
        }
        if self.beyond || self.users.is_empty() {
            return None;
        }
        let mut renewed = grant.clone();
        for role in self.users.iter().flat_map(|basis| &basis.roles) {
            renewed.roles.remove(role);
        }
        for basis in &self.users {
            let Some((_, Module::Users(users))) = realm.modules.get(basis.module) else {
                return None;
            };
            if fingerprint(users, &basis.user)? != basis.line {
                return None;
            }
            renewed.roles.extend(users.roles_of(&basis.user));
        }
        Some(renewed)
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
