//! What a grant rests on: the lines of the files that it was decided by. A session and a ticket are
//! used long after their login; what they grant must not outlive the user, the password or the group.

use std::fmt;
use std::sync::{Arc, Weak};

use ring::digest::{SHA256, digest};

use super::grant::Grant;
use super::realm::{Module, Realm, UsersModule};

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

/// Returns what changes when the stored hash of `user` does; `None` if there is no such user.
fn fingerprint(users: &UsersModule, user: &str) -> Option<Vec<u8>> {
    let text = users.passwords.as_ref()?.hash_text(user)?;
    Some(digest(&SHA256, text.as_bytes()).as_ref().to_vec())
}
