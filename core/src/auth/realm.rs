//! A realm with its files read: what the check of a credential works with.

use std::sync::Arc;
use std::time::Duration;

use super::challenge::{Challenges, Invitation};
use super::digestfile::DigestFile;
use super::ephemeral::EphemeralModule;
use super::grant::{ANONYMOUS, Authority, Grant, Identity};
use super::groupfile::Groups;
use super::introspection::Introspection;
use super::jwk::KeySet;
use super::jwt;
use super::origins::PathOrigins;
use super::present::Ways;
use super::remote::RemoteKeys;
use super::userfile::UserFile;
use crate::config::{Carrier, Flag, Form, Scheme, Tickets};
use crate::exchange::ldap::Directory;

/// A realm with its files read.
#[derive(Debug)]
pub(crate) struct Realm {
    pub(crate) name: Arc<str>,
    pub(crate) challenges: Challenges,
    /// What `challenges` say to who has shown no credential.
    pub(crate) invitation: Invitation,
    /// The schemes that count in `Authorization`.
    pub(crate) schemes: Vec<Scheme>,
    pub(crate) carriers: Vec<Carrier>,
    /// The roles of a client without a credential, if one is let in.
    pub(crate) anonymous: Option<Vec<String>>,
    /// How long a nonce of Digest is good for.
    pub(crate) nonce_lifetime: Duration,
    pub(crate) session_timeout: Option<Duration>,
    pub(crate) authorization_timeout: Option<Duration>,
    /// The path that renews sockets.
    pub(crate) renewal: Option<String>,
    /// The login page and its sessions.
    pub(crate) form: Option<Form>,
    pub(crate) tickets: Option<Tickets>,
    /// Who may use the realm's own paths.
    pub(crate) origins: PathOrigins,
    /// The query parameters that hold credentials here or at a service of the realm.
    pub(crate) query_names: Vec<String>,
    pub(crate) same_token_ok: bool,
    pub(crate) ignore_authorization: bool,
    pub(crate) lenient_subprotocol_token: bool,
    /// Answers 403 where a login fails, as one older gateway does.
    pub(crate) failure_is_403: bool,
    pub(crate) modules: Vec<(Flag, Module)>,
}

impl Realm {
    /// Returns how to look for credentials, with the carriers of the service if it has its own.
    pub(crate) fn ways<'a>(&'a self, carriers: Option<&'a [Carrier]>) -> Ways<'a> {
        Ways {
            carriers: carriers.unwrap_or(&self.carriers),
            schemes: &self.schemes,
            session: self.form.as_ref().map(|form| form.cookie.as_str()),
            ticket: self.tickets.is_some(),
            same_token_ok: self.same_token_ok,
            ignore_authorization: self.ignore_authorization,
        }
    }
}

impl Realm {
    /// Returns what a client without a credential is granted, if one is let in.
    pub(crate) fn anonymous_grant(&self) -> Option<Grant> {
        let roles = self.anonymous.as_ref()?;
        Some(Grant {
            identity: Some(Identity {
                realm: Arc::clone(&self.name),
                authority: Authority::Anonymous,
                subject: Some("anonymous".to_owned()),
            }),
            roles: roles.iter().cloned().chain([ANONYMOUS.to_owned()]).collect(),
            ..Grant::default()
        })
    }
}

/// A login module with its files read.
#[derive(Debug)]
pub(crate) enum Module {
    Users(UsersModule),
    Jwt(JwtModule),
    Introspection(Arc<Introspection>),
    Ldap(Arc<Directory>),
    Ephemeral(EphemeralModule),
}

/// User files.
#[derive(Debug)]
pub(crate) struct UsersModule {
    pub(crate) passwords: Option<UserFile>,
    pub(crate) digests: Option<DigestFile>,
    pub(crate) groups: Option<Groups>,
}

/// JSON Web Tokens of one issuer.
#[derive(Debug)]
pub(crate) struct JwtModule {
    pub(crate) keys: Keys,
    pub(crate) rules: jwt::Rules,
}

/// Where a module has its keys from.
#[derive(Debug)]
pub(crate) enum Keys {
    /// A file.
    Fixed(Arc<KeySet>),
    /// Their issuer.
    Remote(Arc<RemoteKeys>),
}

impl Keys {
    /// Returns the keys of this moment; `None` if they were never had.
    pub(crate) fn current(&self) -> Option<Arc<KeySet>> {
        match self {
            Self::Fixed(keys) => Some(Arc::clone(keys)),
            Self::Remote(remote) => remote.keys(),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A realm that lets nobody in.
    pub(crate) fn realm() -> Realm {
        let challenges = Challenges {
            realm: "R".into(),
            schemes: vec![(Scheme::Bearer, false)],
            scope: Vec::new(),
            acr_values: Vec::new(),
            digest_algorithms: Vec::new(),
            suppress_prompt: false,
        };
        Realm {
            name: "r".into(),
            invitation: Invitation::of(&challenges),
            challenges,
            schemes: vec![Scheme::Bearer],
            carriers: vec![Carrier::Authorization],
            anonymous: None,
            session_timeout: None,
            authorization_timeout: None,
            renewal: None,
            nonce_lifetime: Duration::ZERO,
            form: None,
            tickets: None,
            origins: PathOrigins::Common(Vec::new()),
            query_names: Vec::new(),
            same_token_ok: false,
            ignore_authorization: false,
            lenient_subprotocol_token: false,
            failure_is_403: false,
            modules: Vec::new(),
        }
    }
}
