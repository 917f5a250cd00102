//! A described configuration, and the files that say the same.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_core::config::MemoryFiles;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Map, Value, json};

use crate::client::digest_line;
use crate::keys::{SECRET, Signer};
use crate::world::{ALICE, BJORN, BOB, FILE, Setup};

/// The users that there are, by number, with their passwords.
pub const USERS: [(&str, &str); 3] = [ALICE, BOB, BJORN];
/// Groups of the group file, and roles.
pub const GROUPS: [&str; 2] = ["ops", "dev"];
/// The only audience that counts.
pub const AUDIENCE: &str = "ws";
/// The secrets of ephemeral credentials, by number.
pub const SECRETS: [&str; 2] = ["first secret", "second secret"];
/// The names of the carriers that hold bare tokens.
pub const HEADER: &str = "X-Token";
/// The query parameter.
pub const PARAMETER: &str = "access_token";
/// The marker among the subprotocols.
pub const MARKER: &str = "access_token";
/// The cookie.
pub const COOKIE: &str = "sid";

/// Everything that a configuration file says.
#[derive(Clone, Debug)]
pub struct Config {
    /// The hosts of the only server.
    pub hosts: Vec<&'static str>,
    /// What another Host is answered with.
    pub unknown_host: u16,
    /// Members of each group: users, or groups with an `@`.
    pub groups: BTreeMap<&'static str, Vec<&'static str>>,
    /// The list that all services inherit.
    pub acl: Option<Vec<Entry>>,
    /// `r0`, `r1`...
    pub realms: Vec<Realm>,
    /// `s0`, `s1`...
    pub services: Vec<Service>,
}

/// A realm.
#[derive(Clone, Debug)]
pub struct Realm {
    /// In the order in which they are announced.
    pub challenges: Vec<Scheme>,
    /// Whether MD5 is offered behind SHA-256.
    pub md5: bool,
    /// The carriers, in order.
    pub carriers: Vec<Carrier>,
    /// Roles of anonymous clients, if they may pass.
    pub anonymous: Option<Vec<&'static str>>,
    /// `sameTokenOk`.
    pub same_token_ok: bool,
    /// `suppressBrowserPrompt`.
    pub suppress_browser_prompt: bool,
    /// `ignoreAuthorizationFromProxy`.
    pub ignore_authorization: bool,
    /// `compat.kaazing403`.
    pub kaazing403: bool,
    /// The chain.
    pub modules: Vec<(Flag, Module)>,
}

/// A scheme that a realm announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// RFC 6750.
    Bearer,
    /// RFC 7616.
    Digest,
    /// RFC 7617.
    Basic,
    /// A scheme of the operator's own, `Token`.
    Custom,
}

/// Where a credential may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// `Authorization`.
    Authorization,
    /// A field with a bare token.
    Header,
    /// A parameter of the query.
    Query,
    /// Items of `Sec-WebSocket-Protocol`.
    Subprotocol,
    /// A cookie with a bare token.
    Cookie,
}

/// What a module's verdict means for the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flag {
    /// All of them must pass.
    Required,
    /// The same, and a failure ends the chain.
    Requisite,
    /// A success ends the chain.
    Sufficient,
    /// Neither.
    Optional,
}

/// A login module.
#[derive(Clone, Debug)]
pub enum Module {
    /// Users of files, by number.
    Users {
        /// Who has a password.
        passwords: Option<Vec<usize>>,
        /// Who has a hash for Digest, under each algorithm that is offered.
        digests: Option<Vec<usize>>,
        /// Whether the groups count.
        groups: bool,
        /// Whether the hashes are of other passwords: here nobody is right.
        strange: bool,
    },
    /// Tokens.
    Jwt(Jwt),
    /// Names that a secret has signed; the secrets by number.
    Ephemeral(Vec<usize>),
}

/// A `jwt` module.
#[derive(Clone, Debug)]
pub struct Jwt {
    /// The only issuer.
    pub issuer: Option<&'static str>,
    /// Whether [`AUDIENCE`] is demanded.
    pub audience: bool,
    /// Whether the claim `group` gives roles.
    pub roles: bool,
    /// Values of the claims of which one is, or all are, needed.
    pub claims: BTreeMap<&'static str, Vec<&'static str>>,
    /// Whether all are.
    pub all_claims: bool,
    /// Whether tokens must expire.
    pub require_expiry: bool,
    /// What verifies.
    pub keys: Keys,
}

/// What verifies tokens.
#[derive(Clone, Debug)]
pub enum Keys {
    /// HS256 with a secret, by number.
    Secret(usize),
    /// Ed25519 keys with the kids `k0`, `k1`..., by number.
    Set(Vec<usize>),
}

/// A service of the type `echo`.
#[derive(Clone, Debug)]
pub struct Service {
    /// A host of its own, which makes `accept` an absolute URL.
    pub host: Option<&'static str>,
    /// Its path.
    pub path: &'static str,
    /// Its realm by number, or `None` for everybody.
    pub realm: Option<usize>,
    /// `enabled`.
    pub enabled: bool,
    /// In place of the realm's.
    pub carriers: Option<Vec<Carrier>>,
    /// The list of origins.
    pub origins: Option<Vec<&'static str>>,
    /// `allowMissingOrigin`.
    pub allow_missing_origin: bool,
    /// Roles of which all are needed.
    pub require_roles: Vec<&'static str>,
    /// Scopes of which all are needed.
    pub require_scopes: Vec<&'static str>,
    /// Its own list, and whether it inherits.
    pub acl: Option<(bool, Vec<Entry>)>,
    /// The server's order of preference.
    pub subprotocols: Vec<&'static str>,
    /// `requireSubprotocol`.
    pub require_subprotocol: bool,
}

/// One line of an access control list.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Whom it is about.
    pub role: &'static str,
    /// What they may.
    pub allow: Vec<&'static str>,
    /// What they may not.
    pub deny: Vec<&'static str>,
}

impl Scheme {
    /// Returns the name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bearer => "Bearer",
            Self::Digest => "Digest",
            Self::Basic => "Basic",
            Self::Custom => "Token",
        }
    }
}

impl Carrier {
    /// Returns the name in the configuration.
    pub fn name(self) -> String {
        match self {
            Self::Authorization => "authorization".to_owned(),
            Self::Header => format!("header:{HEADER}"),
            Self::Query => format!("query:{PARAMETER}"),
            Self::Subprotocol => format!("subprotocol:{MARKER}"),
            Self::Cookie => format!("cookie:{COOKIE}"),
        }
    }
}

/// Returns the secret of HS256 with this number.
pub fn hs256_secret(number: usize) -> Vec<u8> {
    SECRET.iter().map(|byte| byte ^ number as u8).collect()
}

/// Returns the signer whose public key has the kid `k<number>`.
pub fn ed25519(number: usize) -> Signer {
    Signer::EdDsa(Ed25519KeyPair::from_seed_unchecked(&hs256_secret(number)).unwrap())
}

impl Config {
    /// Returns the carriers of a service, in order; a service for everybody has none.
    pub fn carriers<'a>(&'a self, service: &'a Service) -> &'a [Carrier] {
        match (&service.carriers, service.realm) {
            (_, None) => &[],
            (Some(own), _) => own,
            (None, Some(realm)) => &self.realms[realm].carriers,
        }
    }

    /// Returns the text of a realm, which is what Digest hashes are made for.
    pub fn description(realm: usize) -> String {
        format!("Realm {realm}")
    }

    /// Writes it down.
    pub fn files(&self) -> MemoryFiles {
        let mut files = MemoryFiles::default();
        let groups = self
            .groups
            .iter()
            .map(|(group, members)| format!("{group}: {}\n", members.join(" ")));
        files.insert("groups", groups.collect::<String>().into_bytes());
        for (number, secret) in SECRETS.iter().enumerate() {
            files.insert(format!("ephemeral{number}"), secret.as_bytes());
            files.insert(format!("secret{number}"), hs256_secret(number));
        }
        let mut realms = Map::new();
        for (number, realm) in self.realms.iter().enumerate() {
            realms.insert(format!("r{number}"), realm.json(number, &mut files));
        }
        let services = self.services.iter().enumerate();
        let services: Map<_, _> = services
            .map(|(number, service)| (format!("s{number}"), service.json()))
            .collect();
        let mut config = json!({
            "roles": ["admin"],
            "throttle": {"failures": 1_000_000},
            "servers": [{"id": "edge", "listen": ["127.0.0.1:0"], "plaintext": true, "hosts": self.hosts,
                "unknownHostStatus": self.unknown_host}],
            "realms": realms,
            "services": services,
        });
        if let Some(entries) = &self.acl {
            config["acl"] = acl(true, entries);
        }
        // The groups of the file are roles only where a module names it.
        let named = self.realms.iter().flat_map(|realm| &realm.modules);
        let named = named
            .filter(|(_, module)| matches!(module, Module::Users { groups: true, .. }))
            .count();
        if named == 0 {
            config["roles"] = json!(["admin", GROUPS[0], GROUPS[1]]);
        }
        files.insert(FILE, serde_json::to_vec_pretty(&config).unwrap());
        files
    }
}

impl Realm {
    fn json(&self, number: usize, files: &mut MemoryFiles) -> Value {
        let names = |carriers: &[Carrier]| -> Vec<_> { carriers.iter().map(|one| one.name()).collect() };
        let modules: Vec<_> = self
            .modules
            .iter()
            .enumerate()
            .map(|(index, (flag, module))| {
                let mut json = module.json(&format!("r{number}m{index}"), number, self.md5, files);
                json["success"] = json!(format!("{flag:?}").to_lowercase());
                json
            })
            .collect();
        let challenges: Vec<_> = self.challenges.iter().map(|scheme| scheme.name()).collect();
        let algorithms: &[_] = if self.md5 {
            &["SHA-256", "MD5"]
        } else {
            &["SHA-256"]
        };
        let mut realm = json!({
            "description": Config::description(number),
            "challenges": challenges,
            "digest": {"algorithms": algorithms},
            "carriers": names(&self.carriers),
            "sameTokenOk": self.same_token_ok,
            "suppressBrowserPrompt": self.suppress_browser_prompt,
            "ignoreAuthorizationFromProxy": self.ignore_authorization,
            "compat": {"kaazing403": self.kaazing403},
            "loginModules": modules,
        });
        if let Some(roles) = &self.anonymous {
            realm["anonymous"] = json!({"roles": roles});
        }
        realm
    }
}

impl Module {
    fn json(&self, name: &str, realm: usize, md5: bool, files: &mut MemoryFiles) -> Value {
        match self {
            Self::Users {
                passwords,
                digests,
                groups,
                strange,
            } => {
                let mut module = json!({"type": "users"});
                if let Some(users) = passwords {
                    let all: Vec<_> = Setup::passwords().lines().collect();
                    let lines = users.iter().map(|user| {
                        let hash = if *strange {
                            all[(user + 1) % all.len()]
                        } else {
                            all[*user]
                        };
                        let (_, hash) = hash.split_once(':').unwrap();
                        format!("{}:{hash}\n", USERS[*user].0)
                    });
                    files.insert(format!("{name}.htpasswd"), lines.collect::<String>().into_bytes());
                    module["passwords"] = json!(format!("{name}.htpasswd"));
                }
                if let Some(users) = digests {
                    let mut text = String::new();
                    for user in users {
                        let (name, password) = USERS[*user];
                        let user = (name, if *strange { "another" } else { password });
                        text += &digest_line("SHA-256", &Config::description(realm), user);
                        if md5 {
                            text += &digest_line("MD5", &Config::description(realm), user);
                        }
                    }
                    files.insert(format!("{name}.htdigest"), text.into_bytes());
                    module["digests"] = json!(format!("{name}.htdigest"));
                }
                if *groups {
                    module["groups"] = json!("groups");
                }
                module
            }
            Self::Jwt(jwt) => jwt.json(name, files),
            Self::Ephemeral(secrets) => {
                let files: Vec<_> = secrets
                    .iter()
                    .map(|number| format!("ephemeral{number}"))
                    .collect();
                json!({"type": "ephemeral", "secrets": files})
            }
        }
    }
}

impl Jwt {
    fn json(&self, name: &str, files: &mut MemoryFiles) -> Value {
        let verification = match &self.keys {
            Keys::Secret(number) => json!({"secret": {"HS256": {"keyFile": format!("secret{number}")}}}),
            Keys::Set(numbers) => {
                let jwk = |number: &usize| {
                    let Signer::EdDsa(key) = ed25519(*number) else {
                        unreachable!()
                    };
                    let x = URL_SAFE_NO_PAD.encode(key.public_key());
                    json!({"kty": "OKP", "crv": "Ed25519", "kid": format!("k{number}"), "x": x})
                };
                let keys: Vec<_> = numbers.iter().map(jwk).collect();
                let file = format!("{name}.jwks");
                files.insert(
                    file.clone(),
                    serde_json::to_vec(&json!({ "keys": keys })).unwrap(),
                );
                json!({"jwks": {"keyFile": file}})
            }
        };
        let mut module = json!({
            "type": "jwt", "requireExpiry": self.require_expiry, "verification": verification,
        });
        if let Some(issuer) = self.issuer {
            module["issuer"] = json!(issuer);
        }
        if self.audience {
            module["audience"] = json!(AUDIENCE);
        }
        if self.roles {
            module["roles"] = json!(["group"]);
        }
        if !self.claims.is_empty() {
            module["claims"] = json!(self.claims);
            module["claimsMode"] = json!(if self.all_claims { "all" } else { "any" });
        }
        module
    }
}

impl Service {
    fn json(&self) -> Value {
        let accept = match self.host {
            Some(host) => format!("ws://{host}{}", self.path),
            None => self.path.to_owned(),
        };
        let mut service = json!({"type": "echo", "accept": accept, "enabled": self.enabled});
        if let Some(origins) = &self.origins {
            service["origins"] = json!(origins);
            service["allowMissingOrigin"] = json!(self.allow_missing_origin);
        }
        if !self.subprotocols.is_empty() {
            service["subprotocols"] = json!(self.subprotocols);
            service["requireSubprotocol"] = json!(self.require_subprotocol);
        }
        let Some(realm) = self.realm else {
            service["public"] = json!(true);
            return service;
        };
        service["realm"] = json!(format!("r{realm}"));
        if let Some(carriers) = &self.carriers {
            let names: Vec<_> = carriers.iter().map(|carrier| carrier.name()).collect();
            service["carriers"] = json!(names);
        }
        if !self.require_roles.is_empty() {
            service["requireRoles"] = json!(self.require_roles);
        }
        if !self.require_scopes.is_empty() {
            service["requireScopes"] = json!(self.require_scopes);
        }
        if let Some((inherit, entries)) = &self.acl {
            service["acl"] = acl(*inherit, entries);
        }
        service
    }
}

fn acl(inherit: bool, entries: &[Entry]) -> Value {
    let entries: Vec<_> = entries
        .iter()
        .map(|entry| json!({"role": entry.role, "allow": entry.allow, "deny": entry.deny}))
        .collect();
    let mut list = json!({ "entries": entries });
    // The file's own list has nothing to inherit.
    if !inherit {
        list["inherit"] = json!(false);
    }
    list
}
