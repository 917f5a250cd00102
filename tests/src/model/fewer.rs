//! Less of a configuration or a request: to make a difference small enough to be read, and to show
//! that taking a right away never grants (P8).

use super::config::{Config, Keys, Module, Service};
use super::request::{Authorization, Bare, Item, Key, Request, Token};

/// Returns every configuration with one right less: a user, a membership, an `allow`, a key.
pub fn fewer_rights(config: &Config) -> Vec<(String, Config)> {
    let mut all = Vec::new();
    let mut with = |what: String, change: &dyn Fn(&mut Config)| {
        let mut fewer = config.clone();
        change(&mut fewer);
        all.push((what, fewer));
    };
    for (group, members) in &config.groups {
        for (at, member) in members.iter().enumerate() {
            with(format!("{member} in {group}"), &|fewer| {
                fewer.groups.get_mut(group).unwrap().remove(at);
            });
        }
    }
    for (at, entry) in config.acl.iter().flatten().enumerate() {
        for allowed in 0..entry.allow.len() {
            with(
                format!("an allow of {} in the file's list", entry.role),
                &|fewer| {
                    fewer.acl.as_mut().unwrap()[at].allow.remove(allowed);
                },
            );
        }
    }
    for (number, service) in config.services.iter().enumerate() {
        for (at, entry) in service.acl.iter().flat_map(|(_, entries)| entries).enumerate() {
            for allowed in 0..entry.allow.len() {
                with(
                    format!("an allow of {} in service {number}", entry.role),
                    &|fewer| {
                        fewer.services[number].acl.as_mut().unwrap().1[at]
                            .allow
                            .remove(allowed);
                    },
                );
            }
        }
    }
    for (number, realm) in config.realms.iter().enumerate() {
        for (index, (_, module)) in realm.modules.iter().enumerate() {
            let lists: Vec<(&str, &Vec<usize>)> = match module {
                Module::Users {
                    passwords, digests, ..
                } => {
                    let passwords = passwords.iter().map(|users| ("a password", users));
                    passwords
                        .chain(digests.iter().map(|users| ("a digest", users)))
                        .collect()
                }
                Module::Jwt(jwt) => match &jwt.keys {
                    Keys::Set(keys) => vec![("a key", keys)],
                    Keys::Secret(_) => vec![],
                },
                Module::Ephemeral(secrets) => vec![("a secret", secrets)],
            };
            for (what, list) in lists {
                for at in 0..list.len() {
                    with(format!("{what} of module {index} of realm {number}"), &|fewer| {
                        let module = &mut fewer.realms[number].modules[index].1;
                        match (what, module) {
                            ("a password", Module::Users { passwords, .. }) => {
                                passwords.as_mut().unwrap().remove(at);
                            }
                            ("a digest", Module::Users { digests, .. }) => {
                                digests.as_mut().unwrap().remove(at);
                            }
                            (_, Module::Ephemeral(secrets)) => {
                                secrets.remove(at);
                            }
                            (_, Module::Jwt(jwt)) => {
                                if let Keys::Set(keys) = &mut jwt.keys {
                                    keys.remove(at);
                                }
                            }
                            (_, Module::Users { .. }) => unreachable!(),
                        }
                    });
                }
            }
        }
    }
    all
}

fn tokens(request: &mut Request) -> Vec<&mut Token> {
    let lines = request.authorization.iter_mut().filter_map(|line| match line {
        Authorization::Bearer(value) | Authorization::Custom(value) => Some(value),
        Authorization::Basic(_) | Authorization::Digest(_) | Authorization::Other | Authorization::Empty => {
            None
        }
    });
    let items = request.items.iter_mut().filter_map(|item| match item {
        Item::Pair(value) | Item::Single(value) => Some(value),
        Item::Real(_) | Item::Marker | Item::NoToken => None,
    });
    let values = lines
        .chain(items)
        .chain(request.header.iter_mut())
        .chain(request.query.iter_mut().map(|(_, value)| value))
        .chain(request.cookie.iter_mut());
    let token = |value| match value {
        &mut Bare::Jwt(ref mut token) => Some(token),
        Bare::Opaque | Bare::Malformed | Bare::Empty => None,
    };
    values.filter_map(token).collect()
}

/// Says whether every token of `request` names its key: without a name a key fits if it is the only
/// one, and taking another away makes it that.
pub fn has_kids(request: &Request) -> bool {
    let mut request = request.clone();
    tokens(&mut request)
        .iter()
        .all(|token| token.kid.is_some() || matches!(token.key, Key::Secret(_)))
}

/// A change of a token.
type Change = fn(&mut Token);

/// Returns every request with one claim less in its tokens. `exp` and `nbf` are no rights: they end
/// and delay what the others give.
pub fn fewer_claims(request: &Request) -> Vec<(String, Request)> {
    let changes: [(&str, Change); 7] = [
        ("iss", |token| token.issuer = None),
        ("aud", |token| token.audience = None),
        ("sub", |token| token.subject = None),
        ("group", |token| token.groups.clear()),
        ("scope", |token| token.scopes.clear()),
        ("team", |token| token.team.clear()),
        ("floor", |token| token.floor.clear()),
    ];
    let less = |(name, change): (&str, Change)| {
        let mut fewer = request.clone();
        for token in tokens(&mut fewer) {
            change(token);
        }
        (format!("the claim {name}"), fewer)
    };
    changes.into_iter().map(less).collect()
}

/// Returns configurations and requests that are simpler by one thing.
pub fn simpler(config: &Config, request: &Request) -> Vec<(Config, Request)> {
    let mut all: Vec<(Config, Request)> = fewer_rights(config)
        .into_iter()
        .map(|(_, fewer)| (fewer, request.clone()))
        .collect();
    all.extend(
        fewer_claims(request)
            .into_iter()
            .map(|(_, fewer)| (config.clone(), fewer)),
    );
    simpler_configs(config, &mut |fewer| all.push((fewer, request.clone())));
    simpler_requests(request, &mut |fewer| all.push((config.clone(), fewer)));
    // What changes nothing is not simpler.
    let before = (format!("{config:?}"), format!("{request:?}"));
    all.retain(|(config, request)| (format!("{config:?}"), format!("{request:?}")) != before);
    all
}

fn simpler_configs(config: &Config, push: &mut dyn FnMut(Config)) {
    let mut with = |change: &dyn Fn(&mut Config)| {
        let mut fewer = config.clone();
        change(&mut fewer);
        push(fewer);
    };
    with(&|fewer| fewer.acl = None);
    with(&|fewer| fewer.hosts = vec!["localhost"]);
    with(&|fewer| fewer.unknown_host = 421);
    for at in 0..config.services.len() {
        with(&|fewer| {
            fewer.services.remove(at);
        });
        let changes: [fn(&mut Service); 9] = [
            |service| service.carriers = None,
            |service| service.origins = None,
            |service| service.allow_missing_origin = false,
            |service| service.require_roles.clear(),
            |service| service.require_scopes.clear(),
            |service| service.acl = None,
            |service| service.subprotocols.clear(),
            |service| service.require_subprotocol = false,
            |service| service.enabled = true,
        ];
        for change in changes {
            with(&|fewer| change(&mut fewer.services[at]));
        }
    }
    for number in 0..config.realms.len() {
        let realm = &config.realms[number];
        with(&|fewer| fewer.realms[number].anonymous = None);
        with(&|fewer| fewer.realms[number].same_token_ok = false);
        with(&|fewer| fewer.realms[number].suppress_browser_prompt = false);
        with(&|fewer| fewer.realms[number].ignore_authorization = false);
        with(&|fewer| fewer.realms[number].kaazing403 = false);
        with(&|fewer| fewer.realms[number].md5 = false);
        for at in 0..realm.modules.len() {
            with(&|fewer| {
                fewer.realms[number].modules.remove(at);
            });
        }
        for at in 0..realm.carriers.len() {
            with(&|fewer| {
                fewer.realms[number].carriers.remove(at);
            });
        }
        for at in 0..realm.challenges.len() {
            with(&|fewer| {
                fewer.realms[number].challenges.remove(at);
            });
        }
    }
}

fn simpler_requests(request: &Request, push: &mut dyn FnMut(Request)) {
    let right = Request::right("localhost", request.path);
    let mut with = |change: &dyn Fn(&mut Request)| {
        let mut fewer = request.clone();
        change(&mut fewer);
        push(fewer);
    };
    with(&|fewer| fewer.hosts.clone_from(&right.hosts));
    with(&|fewer| fewer.method = right.method);
    with(&|fewer| fewer.old = right.old);
    with(&|fewer| fewer.upgrade = right.upgrade);
    with(&|fewer| fewer.versions.clone_from(&right.versions));
    with(&|fewer| fewer.keys.clone_from(&right.keys));
    for at in 0..request.origins.len() {
        with(&|fewer| {
            fewer.origins.remove(at);
        });
    }
    for at in 0..request.authorization.len() {
        with(&|fewer| {
            fewer.authorization.remove(at);
        });
    }
    for at in 0..request.header.len() {
        with(&|fewer| {
            fewer.header.remove(at);
        });
    }
    for at in 0..request.query.len() {
        with(&|fewer| {
            fewer.query.remove(at);
        });
    }
    for at in 0..request.cookie.len() {
        with(&|fewer| {
            fewer.cookie.remove(at);
        });
    }
    for at in 0..request.items.len() {
        with(&|fewer| {
            fewer.items.remove(at);
        });
    }
}
