//! The bus: how Redis is reached, and what all nodes know that Redis does not.

use std::sync::Arc;

use ring::digest::{Context, SHA256};
use rustls::pki_types::ServerName;

use super::build::Builder;
use crate::bus::{Keys, MESSAGE_BYTES, SECRET_BYTES, Settings};
use crate::config::{self, ConfigError, FileRef, Place, ServiceKind};
use crate::exchange::redis::Login;
use crate::leg::{ClientTls, Destination};
use crate::secret::Secret;

impl Builder<'_> {
    pub(super) fn bus(&mut self, bus: &config::Bus) -> Option<Settings> {
        self.check_messages();
        let tls = match bus.url.tls {
            false => None,
            true => {
                let (config, _) = self.trust(bus.ca_file.as_ref(), &bus.place)?;
                let Ok(name) = ServerName::try_from(bus.url.host.clone()) else {
                    self.bus_fault(&bus.place, "no certificate can be for this host");
                    return None;
                };
                Some(ClientTls { name, config })
            }
        };
        let secret = line(self.bytes(&bus.secret));
        if secret.len() < SECRET_BYTES {
            self.fault(
                &bus.secret,
                None,
                format!(
                    "the secret is shorter than {SECRET_BYTES} bytes: make one with openssl rand -hex 32, the \
                     same for all nodes"
                ),
            );
            return None;
        }
        let password = match &bus.password {
            Some(file) => Some(self.bus_password(file)?),
            None => None,
        };
        let mut id = Context::new(&SHA256);
        id.update(format!("{:?}\n{:?}\n", bus.url, bus.user).as_bytes());
        id.update(secret);
        let mut digest = [0; 32];
        digest.copy_from_slice(id.finish().as_ref());
        Some(Settings {
            id: digest,
            to: Destination::Tcp {
                host: bus.url.host.clone(),
                port: bus.url.port,
                tls,
            },
            login: Arc::new(Login {
                user: bus.user.clone(),
                password,
                database: bus.url.database,
            }),
            keys: Arc::new(Keys::new(&Secret::new(secret.to_vec()))),
        })
    }

    fn bus_password(&mut self, file: &FileRef) -> Option<Secret<Vec<u8>>> {
        let password = line(self.bytes(file));
        if password.is_empty() {
            self.fault(file, None, "the file holds no password");
            return None;
        }
        Some(Secret::new(password.to_vec()))
    }

    /// Warns of messages that would be heard on their own node alone.
    fn check_messages(&mut self) {
        let config = self.config;
        let mut kinds = config.services.values().map(|service| service.kind);
        if config.limits.message_bytes > MESSAGE_BYTES && kinds.any(|kind| kind == ServiceKind::Broadcast) {
            self.warnings.push(format!(
                "limits.messageBytes is {}, but broadcast messages of more than {MESSAGE_BYTES} bytes are not \
                 shared between nodes",
                config.limits.message_bytes
            ));
        }
    }

    fn bus_fault(&mut self, place: &Place, message: &str) {
        let path = self.config.path.clone();
        self.errors.push(ConfigError::new(&path, place.clone(), message));
    }
}

/// Returns what a file holds without the line end that editors put behind it.
fn line(bytes: &[u8]) -> &[u8] {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    bytes.strip_suffix(b"\r").unwrap_or(bytes)
}
