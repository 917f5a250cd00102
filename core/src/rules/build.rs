//! From the configuration to the rules: files are parsed, names resolved, every fault collected.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use rustls::ClientConfig;

use super::{Route, Rules, Server, Service, Target};
use crate::auth::algorithm::Algorithm;
use crate::auth::challenge::{Challenges, Invitation};
use crate::auth::digestfile::DigestFile;
use crate::auth::ephemeral::EphemeralModule;
use crate::auth::groupfile::Groups;
use crate::auth::jwk::KeySet;
use crate::auth::jwt;
use crate::auth::realm::{JwtModule, Keys, Module, Realm, UsersModule};
use crate::auth::remote::RemoteKeys;
use crate::auth::userfile::{LineError, UserFile};
use crate::authz::acl::Acl;
use crate::config;
use crate::config::{
    Access, ClaimsMode, Config, ConfigError, ConfigErrors, DigestAlgorithm, Ephemeral, FileRef, Jwt,
    ModuleKind, ServiceKind, Users, Verification,
};
use crate::http::{HostPattern, OriginPattern, Status};
use crate::tls;

/// Builds the rules that `config` describes. Key sets that were fetched for the rules `before` these
/// are taken over.
///
/// # Errors
/// Everything that is wrong in the files that it names, with file and line.
pub(crate) fn build(config: &Config, before: &[Arc<RemoteKeys>]) -> Result<Rules, ConfigErrors> {
    let mut builder = Builder {
        config,
        errors: Vec::new(),
        warnings: Vec::new(),
        groups: BTreeSet::new(),
        remote: before.to_vec(),
        used: Vec::new(),
        questions: 0,
        trusted: BTreeMap::new(),
    };
    let realms: BTreeMap<&str, Arc<Realm>> = config
        .realms
        .values()
        .map(|realm| (realm.name.as_str(), Arc::new(builder.realm(realm))))
        .collect();
    let roles = config.check_roles(&builder.groups);
    builder.errors.extend(roles);
    let services: BTreeMap<&str, Arc<Service>> = config
        .services
        .values()
        .map(|service| (service.name.as_str(), Arc::new(builder.service(service, &realms))))
        .collect();
    let mut servers: Vec<_> = config
        .servers
        .iter()
        .map(|server| builder.server(server, &services, &realms))
        .collect();
    let admin = config.admin.as_ref();
    servers.extend(admin.and_then(|admin| builder.admin(admin)));
    let revocations = builder.listed(admin.and_then(|admin| admin.revocations.as_ref()));
    let bus = config.bus.as_ref().and_then(|bus| builder.bus(bus));
    let Builder {
        errors,
        warnings,
        used: remote_keys,
        questions,
        ..
    } = builder;
    match ConfigErrors::from_vec(errors) {
        Some(errors) => Err(errors),
        None => Ok(Rules {
            generation: 0,
            servers,
            limits: config.limits.clone(),
            throttle: config.throttle.clone(),
            drain_grace: config.drain_grace,
            revocations: Arc::new(revocations),
            bus,
            points: config
                .services
                .values()
                .flat_map(|service| service.endpoints.values())
                .map(|name| name.as_str().into())
                .collect(),
            topics: config
                .services
                .values()
                .filter(|service| service.kind == ServiceKind::Broadcast)
                .map(|service| service.name.as_str().into())
                .collect(),
            realms: config.realms.keys().cloned().collect(),
            questions: questions + remote_keys.len(),
            remote_keys,
            warnings,
        }),
    }
}

pub(super) struct Builder<'c> {
    pub(super) config: &'c Config,
    pub(super) errors: Vec<ConfigError>,
    pub(super) warnings: Vec<String>,
    /// The names of all groups of all group files: roles that exist.
    groups: BTreeSet<String>,
    /// Key sets of issuers that were fetched already.
    pub(super) remote: Vec<Arc<RemoteKeys>>,
    /// Those that these rules use.
    pub(super) used: Vec<Arc<RemoteKeys>>,
    /// How many questions to verifiers elsewhere may be open at once.
    pub(super) questions: usize,
    /// Settings of TLS clients by the file whose certificates they trust.
    pub(super) trusted: BTreeMap<PathBuf, Arc<ClientConfig>>,
}

pub(super) const fn claims_mode(mode: ClaimsMode) -> jwt::ClaimsMode {
    match mode {
        ClaimsMode::Any => jwt::ClaimsMode::Any,
        ClaimsMode::All => jwt::ClaimsMode::All,
    }
}

pub(super) fn named(algorithms: &[&str]) -> Vec<Algorithm> {
    algorithms
        .iter()
        .filter_map(|name| Algorithm::from_name(name).ok())
        .collect()
}

impl<'c> Builder<'c> {
    pub(super) fn fault(&mut self, file: &FileRef, line: Option<usize>, message: impl ToString) {
        let error = self.config.file_error(file, line, message.to_string());
        self.errors.push(error);
    }

    fn lines(&mut self, file: &FileRef, errors: Vec<LineError>) {
        for error in errors {
            self.fault(file, Some(error.line), error.fault);
        }
    }

    /// Returns the bytes of a named file; empty if the configuration was never loaded.
    pub(super) fn bytes(&self, file: &FileRef) -> &'c [u8] {
        self.config
            .files
            .get(&file.path)
            .map_or(&[][..], |loaded| loaded.bytes.expose().as_slice())
    }

    fn realm(&mut self, realm: &config::Realm) -> Realm {
        let schemes = realm.challenges.iter().map(|challenge| challenge.scheme.clone());
        let challenges = Challenges {
            realm: realm.description.clone(),
            schemes: realm
                .challenges
                .iter()
                .map(|challenge| {
                    let prefixed = challenge.application_prefix && realm.compat.application_prefix;
                    (challenge.scheme.clone(), prefixed)
                })
                .collect(),
            scope: realm.scope.clone(),
            digest_algorithms: realm.digest.algorithms.clone(),
            acr_values: realm.acr_values.clone(),
            suppress_prompt: realm.suppress_browser_prompt,
        };
        Realm {
            name: realm.name.as_str().into(),
            invitation: Invitation::of(&challenges),
            challenges,
            schemes: schemes.collect(),
            carriers: realm.carriers.clone(),
            anonymous: realm.anonymous.as_ref().map(|anonymous| anonymous.roles.clone()),
            nonce_lifetime: realm.digest.nonce_lifetime,
            session_timeout: realm.session_timeout,
            authorization_timeout: realm.authorization_timeout,
            renewal: realm.renewal.clone(),
            form: realm.form.clone(),
            tickets: realm.tickets.clone(),
            origins: self.path_origins(realm),
            query_names: self.query_names(realm),
            same_token_ok: realm.same_token_ok,
            ignore_authorization: realm.ignore_authorization_from_proxy,
            lenient_subprotocol_token: realm.lenient_subprotocol_token,
            failure_is_403: realm.compat.kaazing403,
            modules: realm
                .modules
                .iter()
                .filter_map(|module| {
                    let built = match &module.kind {
                        ModuleKind::Users(users) => Module::Users(self.users(realm, users)),
                        ModuleKind::Jwt(jwt) => Module::Jwt(self.jwt(jwt)?),
                        ModuleKind::Introspection(module) => {
                            Module::Introspection(Arc::new(self.introspection(module)?))
                        }
                        ModuleKind::Ldap(ldap) => Module::Ldap(Arc::new(self.ldap(ldap)?)),
                        ModuleKind::Ephemeral(ephemeral) => Module::Ephemeral(self.ephemeral(ephemeral)),
                    };
                    Some((module.success, built))
                })
                .collect(),
        }
    }

    fn users(&mut self, realm: &config::Realm, users: &Users) -> UsersModule {
        let passwords = users.passwords.as_ref().and_then(|file| {
            UserFile::parse(self.bytes(file))
                .map_err(|errors| self.lines(file, errors))
                .ok()
        });
        let digests = users.digests.as_ref().and_then(|file| self.digests(realm, file));
        let groups = users.groups.as_ref().and_then(|file| {
            Groups::parse(self.bytes(file))
                .map_err(|errors| self.lines(file, errors))
                .ok()
        });
        if let Some(groups) = &groups {
            self.groups.extend(groups.names().map(str::to_owned));
        }
        UsersModule {
            passwords,
            digests,
            groups,
        }
    }

    fn digests(&mut self, realm: &config::Realm, file: &FileRef) -> Option<DigestFile> {
        let digests = DigestFile::parse(self.bytes(file), &realm.description)
            .map_err(|errors| self.lines(file, errors))
            .ok()?;
        // Clients take the first algorithm that they know: one without users refuses everybody who takes it.
        for algorithm in DigestAlgorithm::ALL {
            let offered = realm.digest.algorithms.contains(&algorithm);
            let what = match (offered, digests.count(algorithm)) {
                (true, 0) => "is offered, but no user has a digest of it",
                (false, 1..) => "is not offered, its digests are not used",
                (true, 1..) | (false, 0) => continue,
            };
            self.warnings
                .push(format!("{}: {} {what}", file.path.display(), algorithm.name()));
        }
        Some(digests)
    }

    fn ephemeral(&mut self, ephemeral: &Ephemeral) -> EphemeralModule {
        let mut module = EphemeralModule::new();
        for file in &ephemeral.secrets {
            if let Err(error) = module.add(ephemeral.algorithm, self.bytes(file)) {
                self.fault(file, None, error);
            }
        }
        module
    }

    fn jwt(&mut self, jwt: &Jwt) -> Option<JwtModule> {
        let keys = match &jwt.verification {
            Verification::PublicKey { algorithm, key } => self.one_key(key, algorithm, KeySet::from_pem),
            Verification::Secret { algorithm, key } => self.one_key(key, algorithm, KeySet::from_secret),
            Verification::Jwks { keys } => self.key_set(keys, &jwt.algorithms),
            Verification::RemoteJwks {
                endpoint,
                refresh,
                refetch_interval,
            } => self.remote_keys(endpoint, &jwt.algorithms, (*refresh, *refetch_interval)),
        }?;
        Some(JwtModule {
            keys,
            rules: jwt::Rules {
                issuer: jwt.issuer.clone(),
                audience: jwt.audience.clone(),
                leeway: jwt.leeway,
                require_expiry: jwt.require_expiry,
                token_type: jwt.token_type.clone(),
                claims: jwt.claims.clone(),
                claims_mode: claims_mode(jwt.claims_mode),
                roles: jwt.roles.clone(),
            },
        })
    }

    fn one_key<E: ToString>(
        &mut self,
        file: &FileRef,
        algorithm: &str,
        read: impl FnOnce(Algorithm, &[u8]) -> Result<KeySet, E>,
    ) -> Option<Keys> {
        let algorithm = Algorithm::from_name(algorithm)
            .map_err(|error| self.fault(file, None, error))
            .ok()?;
        read(algorithm, self.bytes(file))
            .map_err(|error| self.fault(file, None, error))
            .ok()
            .map(|keys| Keys::Fixed(Arc::new(keys)))
    }

    fn key_set(&mut self, file: &FileRef, algorithms: &[&str]) -> Option<Keys> {
        let algorithms = named(algorithms);
        let (keys, skipped) = KeySet::from_jwks(self.bytes(file), &algorithms)
            .map_err(|error| self.fault(file, None, error))
            .ok()?;
        for key in skipped {
            self.warnings.push(format!("{}: {key}", file.path.display()));
        }
        Some(Keys::Fixed(Arc::new(keys)))
    }

    fn service(&mut self, service: &config::Service, realms: &BTreeMap<&str, Arc<Realm>>) -> Service {
        let names = match &service.access {
            Access::Public => &[][..],
            Access::Realms(names) => names,
        };
        let mut realms = names
            .iter()
            .filter_map(|name| realms.get(name.as_str()))
            .map(Arc::clone);
        Service {
            name: service.name.as_str().into(),
            kind: service.kind,
            points: service
                .endpoints
                .iter()
                .map(|(path, name)| (path.clone(), name.as_str().into()))
                .collect(),
            mailbox_bytes: service.mailbox_bytes,
            directory: service.directory.as_ref().map(|folder| folder.path.clone()),
            realm: realms.next(),
            further: realms.collect(),
            step_up_lifetime: service.step_up_lifetime,
            carriers: service.carriers.clone(),
            enabled: service.enabled,
            origins: service.origins.as_ref().map(|origins| {
                origins
                    .iter()
                    .filter_map(|text| OriginPattern::parse(text).ok())
                    .collect()
            }),
            allow_missing_origin: service.allow_missing_origin,
            require_roles: service.require_roles.clone(),
            require_scopes: service.require_scopes.clone(),
            acl: match &service.access {
                // Whoever enters a public service has no role that a list could be about.
                Access::Public => Acl::Absent,
                Access::Realms(_) => Acl::new(service.acl.as_ref(), self.config.acl.as_ref()),
            },
            subprotocols: service.subprotocols.clone(),
            require_subprotocol: service.require_subprotocol,
            idle_timeout: service.idle_timeout,
            ping_interval: service.ping_interval,
            proxy: self.proxy(service),
        }
    }

    fn server(
        &mut self,
        server: &config::Server,
        services: &BTreeMap<&str, Arc<Service>>,
        realms: &BTreeMap<&str, Arc<Realm>>,
    ) -> Server {
        let tls = server.certificate.as_ref().and_then(|file| {
            tls::server_config(self.bytes(file))
                .map_err(|error| self.fault(file, None, error))
                .ok()
        });
        let mut routes: BTreeMap<String, Vec<Route>> = BTreeMap::new();
        let mut below: BTreeMap<String, Vec<Route>> = BTreeMap::new();
        for name in &server.services {
            let (Some(service), Some(built)) = (self.config.services.get(name), services.get(name.as_str()))
            else {
                continue;
            };
            for accept in &service.accept {
                let (routes, path, to) = match (service.kind, accept.prefix()) {
                    (ServiceKind::Directory, _) => {
                        let at = accept.path.len();
                        (
                            &mut below,
                            accept.path.as_str(),
                            Target::Directory(Arc::clone(built), at),
                        )
                    }
                    (ServiceKind::Proxy, Some(prefix)) => {
                        let segments = prefix.matches('/').count();
                        (&mut below, prefix, Target::Below(Arc::clone(built), segments))
                    }
                    (
                        ServiceKind::Echo | ServiceKind::Broadcast | ServiceKind::Points | ServiceKind::Proxy,
                        _,
                    ) => (
                        &mut routes,
                        accept.path.as_str(),
                        Target::Service(Arc::clone(built)),
                    ),
                };
                routes.entry(path.to_owned()).or_default().push(Route {
                    host: accept
                        .host
                        .as_deref()
                        .and_then(|host| HostPattern::parse(host).ok()),
                    port: accept.port,
                    to,
                });
            }
        }
        for (path, to) in self.realm_paths(server, realms) {
            routes.entry(path).or_default().push(Route {
                host: None,
                port: None,
                to: Target::Realm(to),
            });
        }
        for page in &self.config.pages {
            routes.entry(page.path.to_owned()).or_default().push(Route {
                host: None,
                port: None,
                to: Target::Page(*page),
            });
        }
        let mut below: Vec<_> = below.into_iter().collect();
        below.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
        Server {
            id: server.id.as_str().into(),
            listen: server.listen.clone(),
            tls,
            hosts: server
                .hosts
                .iter()
                .filter_map(|entry| HostPattern::parse(&entry.text).ok())
                .collect(),
            unknown_host: match server.unknown_host_status {
                403 => Status::Forbidden,
                404 => Status::NotFound,
                _ => Status::MisdirectedRequest,
            },
            health: server.health.clone(),
            hsts: server.hsts,
            balancers: server.proxy_protocol.clone(),
            routes,
            below,
            admin: None,
        }
    }
}
