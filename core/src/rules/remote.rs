//! Verifiers elsewhere: how they are reached, and whose certificates vouch for them.

use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use super::build::{Builder, claims_mode, named};
use crate::auth::introspection::{Introspection, Settings};
use crate::auth::jwt;
use crate::auth::realm::Keys;
use crate::auth::remote::{Callee, RemoteKeys};
use crate::config::{self, ConfigError, Endpoint, FileRef, Place};
use crate::exchange::ldap::{self, Directory};
use crate::leg::{ClientTls, Destination};
use crate::tls;

impl<'c> Builder<'c> {
    pub(super) fn introspection(&mut self, module: &config::Introspection) -> Option<Introspection> {
        let (callee, trusted) = self.callee(&module.endpoint)?;
        // Editors end a file with a line end that is not part of the password.
        let secret = self.bytes(&module.client_secret);
        let secret = secret.strip_suffix(b"\n").unwrap_or(secret);
        let secret = secret.strip_suffix(b"\r").unwrap_or(secret);
        if secret.is_empty() {
            self.fault(&module.client_secret, None, "the file holds no password");
            return None;
        }
        self.questions += module.max_in_flight;
        let settings = Settings {
            cache_ttl: module.cache_ttl,
            negative_ttl: module.negative_ttl,
            timeout: module.timeout,
            max_in_flight: module.max_in_flight,
            jwts: module.jwts,
            rules: jwt::Rules {
                issuer: module.issuer.clone(),
                audience: module.audience.clone(),
                leeway: module.leeway,
                // Without one the answer itself ends, after `cacheTtl`.
                require_expiry: false,
                token_type: None,
                claims: module.claims.clone(),
                claims_mode: claims_mode(module.claims_mode),
                roles: module.roles.clone(),
            },
        };
        let built = Introspection::new(callee, trusted, (&module.client_id, secret), settings);
        // Found out here, and not at every question.
        if built.begin("").is_none() {
            let message = "\"url\", \"clientId\" and this password are together too long to be sent";
            self.fault(&module.client_secret, None, message);
            return None;
        }
        Some(built)
    }

    pub(super) fn remote_keys(
        &mut self,
        endpoint: &Endpoint,
        algorithms: &[&str],
        pauses: (Duration, Duration),
    ) -> Option<Keys> {
        let (callee, trusted) = self.callee(endpoint)?;
        let new = RemoteKeys::new(callee, trusted, named(algorithms), pauses);
        // What was fetched for the rules before these, or for another module, is not fetched anew.
        let same = self.remote.iter().find(|old| old.id() == new.id());
        let keys = same.map_or_else(|| Arc::new(new), Arc::clone);
        if !self.used.iter().any(|used| used.id() == keys.id()) {
            self.used.push(Arc::clone(&keys));
        }
        if !self.remote.iter().any(|known| known.id() == keys.id()) {
            self.remote.push(Arc::clone(&keys));
        }
        Some(Keys::Remote(keys))
    }

    /// Returns how to reach `endpoint`, and the certificates that it is trusted by.
    pub(super) fn callee(&mut self, endpoint: &Endpoint) -> Option<(Callee, &'c [u8])> {
        let (tls, trusted) = if endpoint.tls {
            let (config, trusted) = self.trust(endpoint.ca_file.as_ref(), &endpoint.place)?;
            let Ok(name) = ServerName::try_from(endpoint.host.clone()) else {
                let message = "no certificate can be for this host";
                let path = self.config.path.clone();
                self.errors
                    .push(ConfigError::new(&path, endpoint.place.clone(), message));
                return None;
            };
            (Some(ClientTls { name, config }), trusted)
        } else {
            (None, &[][..])
        };
        let callee = Callee {
            url: endpoint.url.clone(),
            to: Destination::Tcp {
                host: endpoint.host.clone(),
                port: endpoint.port,
                tls,
            },
            shown: endpoint.shown(),
        };
        Some((callee, trusted))
    }

    pub(super) fn ldap(&mut self, ldap: &config::Ldap) -> Option<Directory> {
        self.questions += ldap.max_in_flight;
        let tls = match ldap.url.tls || ldap.start_tls {
            true => Some(self.trust(ldap.ca_file.as_ref(), &ldap.place)?.0),
            false => None,
        };
        let file = ldap.account.as_ref().map(|account| &account.password);
        let password = file.map(|file| self.bytes(file));
        let fault = match Directory::new(ldap, password, tls) {
            Ok(directory) => return Some(directory),
            Err(fault) => fault,
        };
        match (fault, file) {
            (ldap::Fault::Password, Some(file)) => {
                self.fault(file, None, "the file holds no password, but an account needs one");
            }
            (ldap::Fault::Password | ldap::Fault::Host, _) => {
                let message = "no certificate can be for this host";
                let path = self.config.path.clone();
                self.errors
                    .push(ConfigError::new(&path, ldap.place.clone(), message));
            }
        }
        None
    }

    /// Returns the settings of a TLS client that trusts the certificates of `ca_file`, or what the
    /// system trusts. `place` is where faults of the system's are told.
    pub(super) fn trust(
        &mut self,
        ca_file: Option<&FileRef>,
        place: &Place,
    ) -> Option<(Arc<ClientConfig>, &'c [u8])> {
        let path = match ca_file {
            Some(file) => &file.path,
            None => self.config.system_roots.as_ref()?,
        };
        let config: &'c _ = self.config;
        let loaded = config.files.get(path)?;
        let bytes = loaded.bytes.expose().as_slice();
        if let Some(config) = self.trusted.get(path) {
            return Some((Arc::clone(config), bytes));
        }
        match tls::client_config(bytes) {
            Ok(config) => {
                self.trusted.insert(path.clone(), Arc::clone(&config));
                Some((config, bytes))
            }
            Err(error) => {
                match ca_file {
                    Some(file) => self.fault(file, None, error),
                    None => {
                        let message = format!("{}: {error}; name a \"caFile\"", path.display());
                        let file = self.config.path.clone();
                        self.errors.push(ConfigError::new(&file, place.clone(), message));
                    }
                }
                None
            }
        }
    }
}
