//! The configuration file: model, reader with places, checks, and loading of the files it names.
//!
//! One file in strict JSON. Everything that is wrong with it is reported at once, each with its
//! place; a member that is unknown, or that this version does not have yet, is an error and never
//! ignored. The tables in `members` are the one list of members: the checks, the hints at the nearest
//! name, the defaults and [`schema`] all come from them.

mod acl;
mod address;
mod build;
mod bus;
mod endpoint;
mod error;
mod files;
mod folders;
pub mod ldap;
mod members;
mod model;
mod modules;
mod network;
mod own_paths;
mod page;
mod relations;
mod schema;
mod shape;
mod source;
mod syntax;
mod table;
#[cfg(test)]
mod tests;
mod upstream;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use acl::{Acl, AclEntry, Entitlement};
pub use bus::{Bus, RedisUrl};
pub use endpoint::Endpoint;
pub use error::{ConfigError, ConfigErrors, Place};
pub use files::{FileStamp, Files, LoadedFile, MAX_FILE_BYTES, MemoryFiles};
pub use ldap::Ldap;
pub use model::{
    Accept, Access, Admin, Anonymous, CSRF_COOKIE, Carrier, Challenge, Compat, Digest, DigestAlgorithm,
    FileRef, Form, HostEntry, Limits, Realm, Scheme, Server, Service, ServiceKind, TICKET_PARAMETER,
    Throttle, Tickets, UrlScheme,
};
pub use modules::{
    ClaimsMode, Ephemeral, Flag, HmacHash, Introspection, Jwt, LoginModule, ModuleKind, Users, Verification,
};
pub use network::Network;
pub use page::{CONTENT_SECURITY_POLICY, Page};
pub use relations::BUILT_IN_ROLES;
pub use schema::schema;
pub use source::{MAX_CONFIG_BYTES, MAX_NESTING};
pub use syntax::LONGEST_DURATION;
pub(crate) use syntax::duration as parse_duration;
pub use upstream::{Forward, Proxy, UpstreamProtocol, comparable};

use crate::secret::Secret;

use error::ROOT;
use shape::Report;
use source::Source;
use table::Kind;
use view::View;

/// Where systems keep the certificates that they trust: Debian and Alpine, Fedora and RHEL, openSUSE,
/// the BSDs.
const SYSTEM_ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// A configuration that has been checked, with its defaults filled in.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file it was read from; names of other files are relative to its folder.
    pub path: PathBuf,
    /// The text of that file.
    pub text: Arc<str>,
    /// The roles that exist besides [`BUILT_IN_ROLES`] and the groups of group files.
    pub roles: Vec<String>,
    /// The parent of every service's access control list.
    pub acl: Option<Acl>,
    /// The listeners, at least one.
    pub servers: Vec<Server>,
    /// The realms by name.
    pub realms: BTreeMap<String, Realm>,
    /// The services by name.
    pub services: BTreeMap<String, Service>,
    /// The admin listener, if there is one.
    pub admin: Option<Admin>,
    /// The Redis that all nodes share, if there is more than one node.
    pub bus: Option<Bus>,
    /// Bounds on what peers may cost.
    pub limits: Limits,
    /// How guessing is slowed down.
    pub throttle: Throttle,
    /// How long open sockets may take to close when the program ends.
    pub drain_grace: Duration,
    /// Pages that the program adds by itself; no member of the file makes one.
    pub pages: Vec<Page>,
    /// The files that the configuration names. Empty after [`Config::parse`].
    pub files: BTreeMap<PathBuf, LoadedFile>,
    /// The file among `files` that holds the certificates which the system trusts, if they are needed.
    pub system_roots: Option<PathBuf>,
    /// Every place that names a role.
    role_uses: Vec<(String, Place)>,
}

impl Config {
    /// Reads and checks the configuration at `path`, then reads every file that it names. What those
    /// files contain is judged later, by who uses them.
    ///
    /// # Errors
    /// Everything that is wrong, with its place: in the configuration, or, if that is right, with the
    /// files that cannot be read.
    pub fn load(path: &Path, files: &mut dyn Files) -> Result<Self, ConfigErrors> {
        let whole =
            |message: String| ConfigErrors::from(ConfigError::new(path, relations::whole_file(), message));
        let (bytes, _) = files
            .read(path, MAX_CONFIG_BYTES)
            .map_err(|error| whole(read_fault(&error, MAX_CONFIG_BYTES)))?;
        let text = match std::str::from_utf8(&bytes) {
            Ok(text) => text,
            Err(error) => {
                let (good, _) = bytes.split_at_checked(error.valid_up_to()).unwrap_or_default();
                let good = String::from_utf8_lossy(good);
                let place = Source::new(path, &good).place(good.len(), ROOT);
                return Err(ConfigError::new(path, place, "not UTF-8").into());
            }
        };
        let mut config = Self::parse(text, path)?;
        config.read_files(files)?;
        Ok(config)
    }

    /// Checks the configuration `text` as if it had been read from `path`, without reading the files
    /// that it names. Roles are looked up here only if there is no group file: with one, call
    /// [`Config::check_roles`] as soon as its groups are known.
    ///
    /// # Errors
    /// Everything that is wrong, with its place.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigErrors> {
        let source = Source::new(path, text);
        let value = source.parse()?;
        let mut report = Report::new(&source);
        shape::check(&mut report, &value, ROOT, Kind::Object(members::TOP));
        let parts = match View::top(&value, ROOT, &source, members::TOP) {
            Some(top) => build::build(&mut report, &top),
            None => build::Parts::default(),
        };
        relations::check(&mut report, &parts);
        let clear = parts.unclear.is_empty();
        if report.is_empty() {
            for place in parts.unclear {
                report.add(place, "cannot be understood");
            }
        }
        if report.is_empty() && (parts.limits.is_none() || parts.drain_grace.is_none()) {
            report.add(
                relations::whole_file(),
                "limits cannot be understood on this machine",
            );
        }
        let mut errors = report.into_errors();
        let (Some(limits), Some(throttle), Some(drain_grace)) =
            (parts.limits, parts.throttle, parts.drain_grace)
        else {
            return Err(in_order(errors));
        };
        let config = Self {
            path: path.to_owned(),
            text: text.into(),
            roles: parts.roles,
            acl: parts.acl,
            servers: parts.servers,
            realms: parts.realms,
            services: parts.services,
            admin: parts.admin,
            bus: parts.bus,
            limits,
            throttle,
            drain_grace,
            pages: Vec::new(),
            files: BTreeMap::new(),
            system_roots: None,
            role_uses: parts.role_uses,
        };
        // A realm that is unclear may be the one that names the group file.
        if clear && !config.has_groups() {
            errors.extend(config.check_roles(&BTreeSet::new()));
        }
        match ConfigErrors::from_vec(errors) {
            Some(errors) => Err(errors),
            None => Ok(config),
        }
    }

    /// Returns the carriers of `service` for a credential of `realm`: its own, or the realm's.
    #[must_use]
    pub fn carriers<'c>(service: &'c Service, realm: &'c Realm) -> &'c [Carrier] {
        relations::carriers(service, realm)
    }

    /// Returns every place that names a file, in the model's order. A file may be named more than once.
    pub fn file_refs(&self) -> impl Iterator<Item = &FileRef> {
        let certificates = self
            .servers
            .iter()
            .filter_map(|server| server.certificate.as_ref());
        let modules = self.realms.values().flat_map(|realm| &realm.modules);
        let admin = self.admin.iter();
        let admin = admin.flat_map(|admin| [Some(&admin.token), admin.revocations.as_ref()]);
        let bus = self.bus.iter();
        let bus = bus.flat_map(|bus| [bus.password.as_ref(), Some(&bus.secret), bus.ca_file.as_ref()]);
        let proxies = self
            .services
            .values()
            .filter_map(|service| service.proxy.as_ref());
        let authorities = proxies.filter_map(|proxy| proxy.upstream.ca_file.as_ref());
        certificates
            .chain(modules.flat_map(LoginModule::files))
            .chain(admin.flatten())
            .chain(authorities)
            .chain(bus.flatten())
    }

    fn has_groups(&self) -> bool {
        let mut modules = self.realms.values().flat_map(|realm| &realm.modules);
        modules.any(|module| match &module.kind {
            ModuleKind::Users(users) => users.groups.is_some(),
            ModuleKind::Jwt(_)
            | ModuleKind::Introspection(_)
            | ModuleKind::Ldap(_)
            | ModuleKind::Ephemeral(_) => false,
        })
    }

    fn read_files(&mut self, files: &mut dyn Files) -> Result<(), ConfigErrors> {
        let mut read: BTreeMap<PathBuf, LoadedFile> = BTreeMap::new();
        let mut faults: BTreeMap<&Path, String> = BTreeMap::new();
        let mut errors = Vec::new();
        for file in self.file_refs() {
            if !read.contains_key(&file.path) && !faults.contains_key(file.path.as_path()) {
                match files.read(&file.path, MAX_FILE_BYTES) {
                    Ok((bytes, stamp)) => {
                        let bytes = Secret::new(bytes);
                        read.insert(file.path.clone(), LoadedFile { bytes, stamp });
                    }
                    Err(error) => {
                        let fault = read_fault(&error, MAX_FILE_BYTES);
                        faults.insert(&file.path, fault);
                    }
                }
            }
            if let Some(fault) = faults.get(file.path.as_path()) {
                errors.push(ConfigError::new(&self.path, file.place.clone(), fault.clone()));
            }
        }
        if let Some(trusting) = self.trusts_the_system() {
            let found = SYSTEM_ROOTS
                .iter()
                .map(Path::new)
                .find_map(|path| Some((path, files.read(path, MAX_FILE_BYTES).ok()?)));
            match found {
                Some((path, (bytes, stamp))) => {
                    let bytes = Secret::new(bytes);
                    read.insert(path.to_owned(), LoadedFile { bytes, stamp });
                    self.system_roots = Some(path.to_owned());
                }
                None => {
                    let message = "this system has no list of trusted certificate authorities (Debian: install \
                                   ca-certificates); or name one in \"caFile\"";
                    errors.push(ConfigError::new(&self.path, trusting.clone(), message));
                }
            }
        }
        errors.extend(folders::check(self, files));
        if let Some(errors) = ConfigErrors::from_vec(errors) {
            return Err(errors);
        }
        self.files = read;
        Ok(())
    }

    /// Returns where somebody is named whose certificate the system's authorities vouch for.
    fn trusts_the_system(&self) -> Option<&Place> {
        let modules = self.realms.values().flat_map(|realm| &realm.modules);
        let verifiers = modules.filter_map(|module| match (module.endpoint(), &module.kind) {
            (Some(endpoint), _) => Some((endpoint.tls, &endpoint.ca_file, &endpoint.place)),
            (None, ModuleKind::Ldap(ldap)) => {
                Some((ldap.url.tls || ldap.start_tls, &ldap.ca_file, &ldap.place))
            }
            (None, _) => None,
        });
        let proxies = self
            .services
            .values()
            .filter_map(|service| service.proxy.as_ref());
        let upstreams = proxies.map(|proxy| &proxy.upstream);
        let bus = self.bus.iter();
        let bus = bus.map(|bus| (bus.url.tls, &bus.ca_file, &bus.place));
        verifiers
            .chain(bus)
            .chain(upstreams.map(|endpoint| (endpoint.tls, &endpoint.ca_file, &endpoint.place)))
            .find_map(|(tls, ca_file, place)| (tls && ca_file.is_none()).then_some(place))
    }
}

impl LoginModule {
    /// Returns where the module asks over HTTP, if it does.
    pub fn endpoint(&self) -> Option<&Endpoint> {
        match &self.kind {
            ModuleKind::Jwt(jwt) => match &jwt.verification {
                Verification::RemoteJwks { endpoint, .. } => Some(endpoint),
                Verification::PublicKey { .. } | Verification::Jwks { .. } | Verification::Secret { .. } => {
                    None
                }
            },
            ModuleKind::Introspection(module) => Some(&module.endpoint),
            ModuleKind::Users(_) | ModuleKind::Ldap(_) | ModuleKind::Ephemeral(_) => None,
        }
    }

    /// Returns the files that the module names.
    pub fn files(&self) -> impl Iterator<Item = &FileRef> {
        let files = match &self.kind {
            ModuleKind::Users(users) => [&users.passwords, &users.digests, &users.groups].map(Option::as_ref),
            ModuleKind::Jwt(jwt) => match &jwt.verification {
                Verification::PublicKey { key, .. } | Verification::Secret { key, .. } => {
                    [Some(key), None, None]
                }
                Verification::Jwks { keys } => [Some(keys), None, None],
                Verification::RemoteJwks { endpoint, .. } => [endpoint.ca_file.as_ref(), None, None],
            },
            ModuleKind::Introspection(module) => [
                Some(&module.client_secret),
                module.endpoint.ca_file.as_ref(),
                None,
            ],
            ModuleKind::Ldap(ldap) => {
                let password = ldap.account.as_ref().map(|account| &account.password);
                [password, ldap.ca_file.as_ref(), None]
            }
            ModuleKind::Ephemeral(_) => [None, None, None],
        };
        let secrets = match &self.kind {
            ModuleKind::Ephemeral(ephemeral) => ephemeral.secrets.as_slice(),
            ModuleKind::Users(_)
            | ModuleKind::Jwt(_)
            | ModuleKind::Introspection(_)
            | ModuleKind::Ldap(_) => &[],
        };
        files.into_iter().flatten().chain(secrets)
    }
}

/// Puts `errors` in order. There is always one: what yields no error yields a model.
fn in_order(errors: Vec<ConfigError>) -> ConfigErrors {
    let none = || ConfigError::new("", relations::whole_file(), "cannot be understood").into();
    ConfigErrors::from_vec(errors).unwrap_or_else(none)
}

/// Says why a file cannot be read, and what to do. The name is left out: the place tells which
/// member it stands in, and what stands there by mistake may be a secret.
fn read_fault(error: &io::Error, limit: usize) -> String {
    if error.kind() == io::ErrorKind::NotFound {
        "there is no such file: create it, or correct the name (relative names start at the configuration's \
         folder)"
            .to_owned()
    } else if error.kind() == io::ErrorKind::PermissionDenied {
        "permission denied: give the server's user the right to read the file".to_owned()
    } else if error.kind() == io::ErrorKind::FileTooLarge {
        format!("the file is too large: at most {limit} bytes are read")
    } else if error.kind() == io::ErrorKind::IsADirectory {
        "this is a folder: name a file".to_owned()
    } else if error.kind() == io::ErrorKind::InvalidInput {
        // Adapters open nothing that blocks, or that a reload would find empty.
        "not a regular file: a pipe or a device cannot be read again at a reload".to_owned()
    } else {
        format!("the file cannot be read: {}", error.kind())
    }
}
