//! One login at an LDAP directory (RFC 4511): find the entry, bind as it, look up its groups.

mod ber;
mod message;
mod rehearsal;
mod talk;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ring::digest::{Context, SHA256};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use crate::config::ldap::{Filter, GroupSearch, Ldap};
use crate::leg::{ClientTls, Destination};
use crate::secret::Secret;

pub use rehearsal::{Rehearsal, Scenery};

pub(crate) use talk::Talk;

/// A directory and what is asked there.
pub(crate) struct Directory {
    id: [u8; 32],
    authority: [u8; 32],
    /// Where it is, for the log.
    shown: String,
    destination: Destination,
    /// Present if the stream is secured before anything else is said.
    start_tls: Option<ClientTls>,
    base: String,
    user_filter: Filter,
    account: Option<Account>,
    groups: Option<GroupSearch>,
    timeout: Duration,
    max_in_flight: usize,
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Directory").field(&self.shown).finish()
    }
}

/// The account that searches.
#[derive(Debug)]
struct Account {
    dn: String,
    password: Secret<Vec<u8>>,
}

/// Why a directory cannot be asked at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// No certificate can be for its host.
    Host,
    /// The account that searches has no password.
    Password,
}

/// What a directory says of a user and a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// They belong together.
    Good(User),
    /// No entry has this name.
    UnknownUser,
    /// There is such a user, with another password or a locked account.
    WrongPassword,
    /// Several entries have this name: which one's password counts?
    Ambiguous,
}

/// Who was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The name of the entry.
    pub dn: String,
    /// The user's name as the directory writes it: one for all spellings that it takes for the same.
    pub name: String,
    /// The names of the groups, each once, in order.
    pub groups: Vec<String>,
}

impl Directory {
    /// The directory that `ldap` describes. `password` is the content of the account's password file,
    /// if it has one; `tls` is there if `ldap` wants TLS.
    ///
    /// # Errors
    /// What is missing or cannot be used.
    pub(crate) fn new(
        ldap: &Ldap,
        password: Option<&[u8]>,
        tls: Option<Arc<ClientConfig>>,
    ) -> Result<Self, Fault> {
        let url = &ldap.url;
        let tls = match (url.tls || ldap.start_tls, tls) {
            (false, _) => None,
            (true, Some(config)) => {
                let name = ServerName::try_from(url.host.clone()).map_err(|_| Fault::Host)?;
                Some(ClientTls { name, config })
            }
            (true, None) => return Err(Fault::Host),
        };
        let account = match (&ldap.account, password) {
            (None, _) => None,
            (Some(account), Some(password)) => Some(Account {
                dn: account.dn.clone(),
                password: service_password(password)?,
            }),
            (Some(_), None) => return Err(Fault::Password),
        };
        let hash = |of: &dyn fmt::Debug, secret: &[u8]| {
            let mut context = Context::new(&SHA256);
            context.update(format!("{of:?}\n").as_bytes());
            context.update(secret);
            let mut hash = [0; 32];
            hash.copy_from_slice(context.finish().as_ref());
            hash
        };
        // Who it is does not hang on where in the file it stands, nor on the way there.
        let authority = (&url.host, url.port, &url.base, &ldap.user_filter, &ldap.groups);
        let (first, start_tls) = if url.tls { (tls, None) } else { (None, tls) };
        Ok(Self {
            id: hash(ldap, password.unwrap_or_default()),
            authority: hash(&authority, b""),
            shown: format!("{}:{}/{}", url.host, url.port, url.base),
            destination: Destination::Tcp {
                host: url.host.clone(),
                port: url.port,
                tls: first,
            },
            start_tls,
            base: url.base.clone(),
            user_filter: ldap.user_filter.clone(),
            account,
            groups: ldap.groups.clone(),
            timeout: ldap.timeout,
            max_in_flight: ldap.max_in_flight,
        })
    }

    /// Returns what tells it from others.
    pub(crate) const fn id(&self) -> &[u8; 32] {
        &self.id
    }

    /// Returns what tells the directory from others, however it is reached.
    pub(crate) const fn authority(&self) -> &[u8; 32] {
        &self.authority
    }

    /// Where to dial for one conversation.
    pub(crate) const fn destination(&self) -> &Destination {
        &self.destination
    }

    /// How long one conversation may take, from the dial on.
    pub(crate) const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// How many conversations there may be at once.
    pub(crate) const fn max_in_flight(&self) -> usize {
        self.max_in_flight
    }

    /// Begins the conversation about `user` and `password`: dial [`Directory::destination`], and let
    /// [`Talk::hear`] know what happens there.
    ///
    /// # Errors
    /// The verdict, where no server has to be asked: see [`Directory::judge_unasked`].
    pub(crate) fn talk(self: &Arc<Self>, user: &str, password: Secret<Vec<u8>>) -> Result<Talk, Verdict> {
        if let Some(verdict) = Self::judge_unasked(user, &password) {
            return Err(verdict);
        }
        Ok(Talk::new(Arc::clone(self), user.to_owned(), password))
    }
}

impl Directory {
    /// Returns the verdict on what must never reach a server. A bind without a password is an anonymous
    /// one (RFC 4513 section 5.1.2) and succeeds with many servers; to those written in C, a password
    /// that begins with NUL is none.
    pub(crate) fn judge_unasked(user: &str, password: &Secret<Vec<u8>>) -> Option<Verdict> {
        if user.is_empty() {
            return Some(Verdict::UnknownUser);
        }
        let password = password.expose();
        (password.is_empty() || password.contains(&0)).then_some(Verdict::WrongPassword)
    }
}

/// Reads the account's password. An empty one would be an anonymous bind.
fn service_password(file: &[u8]) -> Result<Secret<Vec<u8>>, Fault> {
    let password = file.strip_suffix(b"\n").unwrap_or(file);
    let password = password.strip_suffix(b"\r").unwrap_or(password);
    match password.is_empty() || password.contains(&0) {
        true => Err(Fault::Password),
        false => Ok(Secret::new(password.to_vec())),
    }
}
