//! A login at a directory that whoever rehearses plays: for the fuzzer, which plays a mad one.

use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::ring::default_provider;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore};

use super::{Directory, Talk, Verdict};
use crate::config::ldap::{Account, Filter, GroupSearch, Ldap, LdapUrl};
use crate::config::{FileRef, Place};
use crate::exchange::Line;
use crate::leg::{Leg, LegEvent, Opened, TlsInfo};
use crate::legs::{LegAction, Legs};
use crate::secret::Secret;

/// One login of `alice`, whose password is [`Rehearsal::PASSWORD`].
#[derive(Debug)]
pub struct Rehearsal {
    talk: Talk,
    legs: Legs,
    leg: Leg,
}

/// What the directory of a rehearsal is asked besides the user's entry.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scenery {
    /// StartTLS goes first; the handshake always succeeds.
    pub start_tls: bool,
    /// An account searches, with the password [`Rehearsal::PASSWORD`] in capital letters.
    pub account: bool,
    /// Groups are looked up.
    pub groups: bool,
}

impl Rehearsal {
    /// What only the user's own bind may hold.
    pub const PASSWORD: &str = "correct horse";

    /// A login whose leg is open.
    ///
    /// # Errors
    /// What is wrong with the scenery.
    pub fn new(scenery: Scenery) -> Result<Self, String> {
        let place = Place::default();
        let ldap = Ldap {
            url: LdapUrl {
                tls: false,
                host: "localhost".to_owned(),
                port: 389,
                base: "dc=x".to_owned(),
            },
            start_tls: scenery.start_tls,
            user_filter: Filter::parse("(uid={USERNAME})")?,
            account: scenery.account.then(|| Account {
                dn: "cn=service".to_owned(),
                password: FileRef {
                    path: "service.txt".into(),
                    place: place.clone(),
                },
            }),
            groups: match scenery.groups {
                true => Some(GroupSearch {
                    base: "dc=x".to_owned(),
                    filter: Filter::parse("(member={DN})")?,
                    attribute: "cn".to_owned(),
                }),
                false => None,
            },
            ca_file: None,
            timeout: Duration::from_secs(5),
            max_in_flight: 1,
            place,
        };
        let tls = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[&TLS13])
            .map_err(|error| error.to_string())?
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let account = Self::PASSWORD.to_uppercase();
        let directory = Directory::new(&ldap, Some(account.as_bytes()), Some(Arc::new(tls)))
            .map_err(|fault| format!("{fault:?}"))?;
        let directory = Arc::new(directory);
        let password = Secret::new(Self::PASSWORD.as_bytes().to_vec());
        let talk = directory
            .talk("alice", password)
            .map_err(|verdict| format!("{verdict:?}"))?;
        let mut legs = Legs::new();
        let leg = legs
            .dial(directory.destination().clone())
            .ok_or("there is no leg left")?;
        if let Some(state) = legs.get_mut(leg) {
            state.open = true;
        }
        let mut rehearsal = Self { talk, legs, leg };
        rehearsal.hear(LegEvent::Opened(Opened::default()));
        Ok(rehearsal)
    }

    /// Lets the directory say `bytes`; some once there is a verdict, or none can be.
    pub fn say(&mut self, bytes: &[u8]) -> Option<Result<Verdict, String>> {
        let outcome = self.hear(LegEvent::Data(bytes));
        let mut secured = false;
        while let Some(action) = self.legs.next_action() {
            secured |= matches!(action, LegAction::Secure(..));
        }
        if secured && outcome.is_none() {
            return self.hear(LegEvent::Secured(TlsInfo::default()));
        }
        outcome
    }

    /// Takes what the directory was asked since the last call.
    pub fn asked(&mut self) -> Vec<u8> {
        let Some(state) = self.legs.get_mut(self.leg) else {
            return Vec::new();
        };
        let bytes = state.out.chunk().to_vec();
        state.out.advance(bytes.len());
        bytes
    }

    /// Returns how many bytes are kept of what the directory has said.
    #[must_use]
    pub fn held(&self) -> usize {
        self.talk.held()
    }

    fn hear(&mut self, event: LegEvent<'_>) -> Option<Result<Verdict, String>> {
        let mut line = Line::new(&mut self.legs, self.leg);
        let outcome = self.talk.hear(&mut line, event)?;
        Some(outcome.map_err(|fault| fault.to_string()))
    }
}
