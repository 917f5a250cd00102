//! What a successful check grants: who it is, and what goes with that.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::time::Deadline;

/// Who vouches for a subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authority {
    /// The issuer of a token.
    Issuer(String),
    /// The login module with this index in its realm.
    Module(usize),
    /// Nobody: the client was let in without a credential.
    Anonymous,
}

/// Who a client is: two subjects of the same name in different realms, or vouched for by different
/// authorities, are different clients.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The name of the realm that judged the credential.
    pub realm: Arc<str>,
    /// Who vouches for the subject.
    pub authority: Authority,
    /// The subject; `None` for a token without `sub`.
    pub subject: Option<String>,
}

impl Identity {
    /// Says whether both are the same client. Without a subject it never is.
    pub fn is_same(&self, other: &Self) -> bool {
        self.subject.is_some()
            && self.subject == other.subject
            && self.authority == other.authority
            && self.realm == other.realm
    }
}

/// The roles that every authenticated client has.
pub const EVERYONE: &str = "Everyone";

/// The role of a client that was let in without a credential.
pub const ANONYMOUS: &str = "Anonymous";

/// What a successful check grants.
#[derive(Clone, Debug, Default)]
pub struct Grant {
    /// Who it is; `None` on a public service.
    pub identity: Option<Identity>,
    /// The roles. A type of their own: a subject named like a role gains nothing.
    pub roles: BTreeSet<String>,
    /// The scopes of the token.
    pub scopes: BTreeSet<String>,
    /// The claims of the token.
    pub claims: Arc<Map<String, Value>>,
    /// When the credential ends, leeway included.
    pub expires: Option<Deadline>,
}

impl Grant {
    /// Adds what a further factor grants: roles and scopes of both, the nearer end, and who it is by
    /// the first.
    #[must_use]
    pub fn join(mut self, next: &Self) -> Self {
        self.roles.extend(next.roles.iter().cloned());
        self.scopes.extend(next.scopes.iter().cloned());
        if let Some(end) = next.expires {
            self.ends_by(end);
        }
        self
    }

    /// Lets the grant end at `deadline`, or earlier if it does already.
    pub(crate) fn ends_by(&mut self, deadline: Deadline) {
        self.expires = Some(self.expires.map_or(deadline, |other| other.or(deadline)));
    }

    /// Says whether nobody was authenticated.
    pub fn is_anonymous(&self) -> bool {
        self.identity
            .as_ref()
            .is_none_or(|identity| identity.authority == Authority::Anonymous)
    }

    /// Returns the subject, for the log.
    pub fn subject(&self) -> Option<&str> {
        self.identity.as_ref()?.subject.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::time::Now;

    #[test]
    fn r06_a_further_factor_adds_rights_and_never_time() {
        let grant = |role: &str, seconds: Option<u64>| Grant {
            identity: Some(Identity {
                realm: role.into(),
                authority: Authority::Module(0),
                subject: Some("alice".into()),
            }),
            roles: BTreeSet::from([role.to_owned()]),
            scopes: BTreeSet::from([role.to_owned()]),
            expires: seconds.map(|seconds| Deadline::after(Duration::from_secs(seconds), Now::default())),
            ..Grant::default()
        };
        for (one, two, least) in [
            (None, None, None),
            (Some(1), None, Some(1)),
            (None, Some(2), Some(2)),
            (Some(1), Some(2), Some(1)),
            (Some(2), Some(1), Some(1)),
        ] {
            let joined = grant("a", one).join(&grant("b", two));
            assert_eq!(joined.roles, BTreeSet::from(["a".to_owned(), "b".to_owned()]));
            assert_eq!(joined.scopes.len(), 2);
            assert_eq!(joined.expires.map(|end| end.unix.as_secs()), least);
            assert!(joined.identity.is_some_and(|identity| &*identity.realm == "a"));
        }
    }

    #[test]
    fn a_subject_is_the_same_only_under_one_authority_and_realm() {
        let identity = |realm: &str, authority, subject: Option<&str>| Identity {
            realm: realm.into(),
            authority,
            subject: subject.map(Into::into),
        };
        let alice = identity("a", Authority::Module(0), Some("alice"));
        assert!(alice.is_same(&alice.clone()));
        assert!(!alice.is_same(&identity("b", Authority::Module(0), Some("alice"))));
        assert!(!alice.is_same(&identity("a", Authority::Module(1), Some("alice"))));
        let nobody = identity("a", Authority::Issuer("i".into()), None);
        assert!(!nobody.is_same(&nobody.clone()));
    }
}
