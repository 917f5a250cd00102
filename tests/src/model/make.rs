//! Described configurations and requests by chance: mostly nearly right, so that every step of R1 is
//! reached.

use std::collections::BTreeMap;

use super::config::{
    AUDIENCE, Carrier, Config, Entry, Flag, GROUPS, Jwt, Keys, MARKER, Module, Realm, Scheme, Service, USERS,
};
use super::request::{Authorization, Bare, Basic, DigestAnswer, Item, Key, Request, Token};
use crate::client::KEY;
use crate::random::Random;

const ISSUERS: [&str; 2] = ["https://a.example", "https://b.example"];
const ROLES: [&str; 4] = ["admin", "ops", "dev", "Everyone"];
const ORIGINS: [&str; 6] = [
    "https://app.example",
    "https://*.wild.example",
    "http://localhost:8443",
    "https://APP.example:443",
    "null",
    "http://b.example",
];
const PROTOCOLS: [&str; 3] = ["chat", "v2", "binary"];

impl Random {
    fn some<T: Clone>(&mut self, all: &[T], one_in: usize) -> Vec<T> {
        let chosen: Vec<_> = all.iter().filter(|_| self.one_in(one_in)).collect();
        chosen.into_iter().cloned().collect()
    }

    fn shuffled<T: Clone>(&mut self, all: &[T]) -> Vec<T> {
        let mut all = all.to_vec();
        for at in (1..all.len()).rev() {
            all.swap(at, self.below(at + 1));
        }
        all
    }

    fn mostly(&mut self) -> bool {
        !self.one_in(8)
    }
}

/// Makes a configuration that loads.
pub fn config(random: &mut Random) -> Config {
    let realms: Vec<_> = (0..random.between(1, 2)).map(|_| realm(random)).collect();
    let mut hosts = match random.below(4) {
        0 => vec!["*"],
        1 => vec!["localhost", "b.example:8443"],
        2 => vec!["localhost", "b.example"],
        _ => vec!["localhost"],
    };
    let mut services = Vec::new();
    for (number, path) in ["/a", "/b", "/c"].into_iter().enumerate() {
        if number == 0 || random.one_in(2) {
            services.push(service(random, &realms, path));
        }
    }
    if random.one_in(4) {
        // A path that one host alone has.
        let mut other = service(random, &realms, "/d");
        other.host = Some("c.example");
        services.push(other);
    }
    if hosts == ["*"] && random.one_in(2) {
        hosts.push("localhost");
    }
    let mut groups = BTreeMap::new();
    for group in GROUPS {
        let names: Vec<_> = USERS.iter().map(|(name, _)| *name).collect();
        groups.insert(group, random.some(&names, 2));
    }
    if random.one_in(3) {
        groups
            .get_mut(GROUPS[0])
            .unwrap()
            .push(if random.one_in(2) { "@dev" } else { "bob" });
    }
    Config {
        hosts,
        unknown_host: *random.pick(&[421, 421, 403, 404]),
        groups,
        acl: random.one_in(6).then(|| entries(random)),
        realms,
        services,
    }
}

fn entries(random: &mut Random) -> Vec<Entry> {
    const ENTITLEMENTS: [&str; 3] = ["websocket.connect", "websocket.connect", "read"];
    let number = random.between(1, 3);
    (0..number)
        .map(|_| {
            let (allow, deny) = (*random.pick(&ENTITLEMENTS), *random.pick(&ENTITLEMENTS));
            Entry {
                role: ROLES[random.below(ROLES.len())],
                allow: if random.one_in(4) { vec![] } else { vec![allow] },
                deny: if random.one_in(4) { vec![deny] } else { vec![] },
            }
        })
        .collect()
}

fn carriers(random: &mut Random) -> Vec<Carrier> {
    use Carrier::{Authorization, Cookie, Header, Query, Subprotocol};
    let mut all = random.some(&[Header, Query, Subprotocol, Cookie], 2);
    if random.mostly() || all.is_empty() {
        all.push(Authorization);
    }
    random.shuffled(&all)
}

fn realm(random: &mut Random) -> Realm {
    let modules: Vec<_> = (0..*random.pick(&[1, 1, 2, 2, 3]))
        .map(|_| {
            let flag = *random.pick(&[
                Flag::Required,
                Flag::Requisite,
                Flag::Sufficient,
                Flag::Sufficient,
                Flag::Optional,
            ]);
            (flag, module(random))
        })
        .collect();
    let has = |wanted: fn(&Module) -> bool| modules.iter().any(|(_, module)| wanted(module));
    let mut challenges = Vec::new();
    if has(|module| matches!(module, Module::Jwt(_))) {
        challenges.push(Scheme::Bearer);
        if random.one_in(4) {
            challenges.push(Scheme::Custom);
        }
    }
    if has(|module| matches!(module, Module::Users { digests: Some(_), .. })) {
        challenges.push(Scheme::Digest);
    }
    if has(|module| {
        matches!(
            module,
            Module::Users {
                passwords: Some(_),
                ..
            } | Module::Ephemeral(_)
        )
    }) {
        challenges.push(Scheme::Basic);
    }
    let mut challenges = random.shuffled(&challenges);
    // Files of digests that nobody is asked for do not load.
    if challenges.len() > 1 && challenges.last() != Some(&Scheme::Digest) && random.one_in(5) {
        challenges.pop();
    }
    Realm {
        md5: random.one_in(3),
        carriers: carriers(random),
        anonymous: random.one_in(6).then(|| random.some(&["admin", "ops"], 2)),
        same_token_ok: random.one_in(3),
        suppress_browser_prompt: random.one_in(4),
        ignore_authorization: random.one_in(12),
        kaazing403: random.one_in(12) && !challenges.contains(&Scheme::Digest),
        challenges,
        modules,
    }
}

fn module(random: &mut Random) -> Module {
    match random.below(7) {
        0..=2 => {
            let (passwords, digests) = *random.pick(&[(true, false), (true, true), (false, true)]);
            let mut users = |wanted: bool| {
                let mut users = random.some(&[0, 1, 2], 2);
                if users.is_empty() {
                    users.push(0);
                }
                wanted.then_some(users)
            };
            Module::Users {
                passwords: users(passwords),
                digests: users(digests),
                groups: random.mostly(),
                strange: random.one_in(8),
            }
        }
        3..=5 => Module::Jwt(Jwt {
            issuer: random.mostly().then(|| *random.pick(&ISSUERS)),
            audience: random.mostly(),
            roles: random.mostly(),
            claims: if random.one_in(3) {
                BTreeMap::from([("team", vec!["red", "blue"]), ("floor", vec!["1"])])
            } else {
                BTreeMap::new()
            },
            all_claims: random.one_in(2),
            require_expiry: random.mostly(),
            keys: match random.below(4) {
                0 => Keys::Set(vec![0]),
                1 => Keys::Set(vec![0, 1]),
                _ => Keys::Secret(random.below(2)),
            },
        }),
        _ => Module::Ephemeral(random.shuffled(&[0, 1])[..random.between(1, 2)].to_vec()),
    }
}

fn service(random: &mut Random, realms: &[Realm], path: &'static str) -> Service {
    let realm = (!random.one_in(10)).then(|| random.below(realms.len()));
    let carriers = (realm.is_some() && random.one_in(4)).then(|| carriers(random));
    let used = carriers
        .clone()
        .or_else(|| Some(realms[realm?].carriers.clone()))
        .unwrap_or_default();
    let ambient = used.contains(&Carrier::Cookie)
        || realm.is_some_and(|realm| {
            let prompts = |scheme: &Scheme| matches!(scheme, Scheme::Basic | Scheme::Digest);
            realms[realm].challenges.iter().any(prompts)
        });
    let mut subprotocols = random.some(&random.clone().shuffled(&PROTOCOLS), 2);
    if !used.contains(&Carrier::Subprotocol) && random.one_in(10) {
        subprotocols.push(MARKER);
    }
    Service {
        host: None,
        path,
        realm,
        enabled: !random.one_in(20),
        carriers,
        origins: (ambient || random.one_in(2)).then(|| random.some(&ORIGINS, 2)),
        allow_missing_origin: random.one_in(3),
        require_roles: match random.below(6) {
            0 if realm.is_some() => vec![*random.pick(&["admin", "ops", "dev"])],
            1 if realm.is_some() => vec!["*"],
            2 if realm.is_some() && random.one_in(3) => vec!["ops", "dev"],
            _ => vec![],
        },
        require_scopes: if realm.is_some() && random.one_in(8) {
            vec!["write"]
        } else {
            vec![]
        },
        acl: (realm.is_some() && random.one_in(5)).then(|| (random.mostly(), entries(random))),
        require_subprotocol: !subprotocols.is_empty() && random.one_in(4),
        subprotocols,
    }
}

/// Makes a request for a service of `config`.
pub fn request(random: &mut Random, config: &Config) -> Request {
    let service = random.pick(&config.services);
    let host = service.host.unwrap_or(match config.hosts[0] {
        "*" => "anything.example",
        host => host,
    });
    let mut request = Request::right(host, service.path);
    if random.one_in(2) {
        let list = service.origins.clone().unwrap_or_default();
        let origin = match random.below(8) {
            0 => "https://evil.example",
            1 => "http://localhost:8443",
            2 => "https://app.example",
            _ if list.is_empty() => "http://localhost:8443",
            _ => *random.pick(&list),
        };
        let origin = match origin {
            "https://*.wild.example" => *random.pick(&["https://x.wild.example", "https://x.y.wild.example"]),
            other => other,
        };
        request.origins.push(origin);
    }
    if let Some(realm) = service.realm {
        let realm = &config.realms[realm];
        let carriers = config.carriers(service);
        match random.below(10) {
            0 => {}
            1..=6 => {
                let judges_tokens = |(_, module): &(Flag, Module)| matches!(module, Module::Jwt(_));
                let tokens = realm.modules.iter().any(judges_tokens) || random.one_in(4);
                let carrier = if !tokens && carriers.contains(&Carrier::Authorization) {
                    Carrier::Authorization
                } else {
                    *random.pick(carriers)
                };
                present(random, realm, carrier, &mut request);
            }
            7..=8 => {
                let all = random.shuffled(carriers);
                for carrier in &all[..all.len().min(2)] {
                    present(random, realm, *carrier, &mut request);
                }
                if realm.same_token_ok && random.one_in(2) {
                    repeat(&mut request);
                }
            }
            _ => {
                use Carrier::{Authorization, Cookie, Header, Query, Subprotocol};
                for carrier in random.some(&[Authorization, Header, Query, Subprotocol, Cookie], 3) {
                    present(random, realm, carrier, &mut request);
                }
            }
        }
    }
    for name in random.some(&PROTOCOLS, 4) {
        let at = random.below(request.items.len() + 1);
        request.items.insert(at, Item::Real(name));
    }
    if random.one_in(40) {
        request.items.push(if random.one_in(2) {
            Item::Marker
        } else {
            Item::NoToken
        });
    }
    if random.one_in(6) {
        spoil(random, &mut request);
        if random.one_in(4) {
            spoil(random, &mut request);
        }
    }
    request
}

/// Lets all carriers that hold bare tokens hold the same.
fn repeat(request: &mut Request) {
    let values = request.header.iter();
    let mut values = values.chain(request.query.iter().map(|(_, value)| value));
    let Some(value) = values.next().cloned() else {
        return;
    };
    for other in &mut request.header {
        *other = value.clone();
    }
    for (_, other) in &mut request.query {
        *other = value.clone();
    }
    for line in &mut request.authorization {
        *line = Authorization::Bearer(value.clone());
    }
}

/// Puts something wrong before the credentials.
fn spoil(random: &mut Random, request: &mut Request) {
    match random.below(14) {
        0 => request.hosts = vec!["elsewhere.example"],
        1 => request.hosts.clear(),
        2 => request.hosts.push("localhost"),
        3 => request.hosts = vec!["a@b"],
        4 => request.path = *random.pick(&["/nowhere", "/a/", "/A"]),
        5 => request.path = *random.pick(&["//a", "/x/../a"]),
        6 => request.method = *random.pick(&["POST", "HEAD", "DELETE", "BREW", "get"]),
        7 => request.upgrade = false,
        8 => request.old = true,
        9 => {
            request.versions = random
                .pick(&[vec![], vec!["12"], vec!["13", "13"], vec!["13, 8"]])
                .clone();
        }
        10 => {
            request.keys = random
                .pick(&[vec![], vec![KEY, KEY], vec!["c2hvcnQ="], vec!["!"]])
                .clone();
        }
        11 => request.origins = vec!["https://app.example", "https://app.example"],
        12 => request.origins = vec![*random.pick(&ORIGINS)],
        _ => request.hosts = vec![*random.pick(&["LOCALHOST", "localhost.", "localhost:8443", "b.example"])],
    }
}

/// Puts a credential into a carrier; now and then two.
fn present(random: &mut Random, realm: &Realm, carrier: Carrier, request: &mut Request) {
    let times = if random.one_in(25) { 2 } else { 1 };
    for _ in 0..times {
        match carrier {
            Carrier::Authorization => request.authorization.push(authorization(random, realm)),
            Carrier::Header => request.header.push(bare(random, realm, true)),
            Carrier::Query => {
                let escaped = random.one_in(4);
                request.query.push((escaped, bare(random, realm, true)));
            }
            Carrier::Cookie => request.cookie.push(bare(random, realm, true)),
            Carrier::Subprotocol => {
                let value = bare(random, realm, false);
                request.items.push(if random.one_in(3) {
                    Item::Single(value)
                } else {
                    Item::Pair(value)
                });
            }
        }
    }
}

fn authorization(random: &mut Random, realm: &Realm) -> Authorization {
    let any = [Scheme::Bearer, Scheme::Digest, Scheme::Basic, Scheme::Custom];
    let scheme = if random.mostly() {
        random.pick(&realm.challenges)
    } else {
        random.pick(&any)
    };
    match scheme {
        _ if random.one_in(30) => Authorization::Other,
        _ if random.one_in(30) => Authorization::Empty,
        Scheme::Bearer => Authorization::Bearer(bare(random, realm, true)),
        Scheme::Custom => Authorization::Custom(bare(random, realm, true)),
        Scheme::Basic => Authorization::Basic(match random.below(20) {
            0 => Basic::Garbage,
            1 => Basic::NoColon,
            2 => Basic::Nothing,
            3..=6 => Basic::Ephemeral {
                secret: random.below(2),
                expired: random.one_in(4),
                right: random.mostly(),
            },
            _ => Basic::User(user(random), random.mostly()),
        }),
        Scheme::Digest => Authorization::Digest(DigestAnswer {
            user: user(random),
            right: random.mostly(),
            fresh: random.mostly(),
            realm: !random.one_in(16),
            uri: !random.one_in(16),
            md5: if realm.md5 {
                random.one_in(2)
            } else {
                random.one_in(12)
            },
            cut: random.one_in(16),
        }),
    }
}

/// A user, or now and then nobody.
fn user(random: &mut Random) -> usize {
    if random.one_in(12) {
        USERS.len()
    } else {
        random.below(USERS.len())
    }
}

fn bare(random: &mut Random, realm: &Realm, may_be_empty: bool) -> Bare {
    match random.below(20) {
        0 => Bare::Opaque,
        1 => Bare::Malformed,
        2 if may_be_empty => Bare::Empty,
        _ => Bare::Jwt(token(random, realm)),
    }
}

/// A token that is right for one of the modules, with a fault now and then.
fn token(random: &mut Random, realm: &Realm) -> Token {
    let modules = realm.modules.iter().filter_map(|(_, module)| match module {
        Module::Jwt(jwt) => Some(jwt),
        Module::Users { .. } | Module::Ephemeral(_) => None,
    });
    let modules: Vec<_> = modules.collect();
    let key = |random: &mut Random| match modules.as_slice() {
        [] => (Key::Secret(0), None),
        all => match &random.pick(all).keys {
            Keys::Secret(number) => (Key::Secret(*number), None),
            Keys::Set(numbers) => {
                let number = *random.pick(numbers);
                (Key::Ed25519(number), random.mostly().then_some(number))
            }
        },
    };
    let (key, kid) = key(random);
    let issuer = modules.iter().find_map(|jwt| jwt.issuer).unwrap_or(ISSUERS[0]);
    let mut token = Token {
        issuer: Some(issuer),
        audience: Some(AUDIENCE),
        subject: Some("carol"),
        expiry: Some(true),
        early: false,
        key,
        kid,
        flipped: false,
        groups: random.some(&["admin", "ops", "dev", "Everyone", "Anonymous"], 2),
        scopes: random.some(&["read", "write"], 2),
        team: random.some(&["red", "green"], 2),
        floor: random.some(&["1", "2"], 2),
    };
    let faults = *random.pick(&[0, 0, 0, 0, 1, 1, 1, 2]);
    for _ in 0..faults {
        match random.below(9) {
            0 => token.issuer = Some(*random.pick(&ISSUERS)),
            1 => token.issuer = None,
            2 => token.audience = *random.pick(&[None, Some("elsewhere")]),
            3 => token.expiry = *random.pick(&[None, Some(false)]),
            4 => token.early = true,
            5 => token.flipped = true,
            6 => token.kid = *random.pick(&[None, Some(0), Some(1), Some(7)]),
            7 => {
                token.key = *random.pick(&[Key::Secret(0), Key::Secret(1), Key::Ed25519(0), Key::Ed25519(1)])
            }
            _ => token.subject = None,
        }
    }
    token
}
