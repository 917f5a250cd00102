#![allow(clippy::unwrap_used)]

mod acl;
mod bus;
mod checks;
mod factors;
mod ldap;
mod loading;
mod login;
mod model;
mod proxy;
mod services;
mod shape;
mod short;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::*;

const FILE: &str = "/etc/countersign/c.json";

/// A good file with one server, one realm and one service.
fn good() -> Value {
    json!({
        "roles": ["AUTHORIZED"],
        "servers": [{
            "id": "edge",
            "listen": ["127.0.0.1:0"],
            "serverCertificate": "server.pem",
        }],
        "realms": {
            "demo": {
                "loginModules": [{
                    "type": "users", "success": "sufficient", "passwords": "users.htpasswd",
                }, {
                    "type": "jwt", "success": "sufficient", "issuer": "https://idp.example",
                    "verification": {"publicKey": {"ES256": {"keyFile": "/keys/issuer.pem"}}},
                }],
            },
        },
        "services": {
            "echo": {"type": "echo", "accept": "/api/ws", "realm": "demo", "origins": []},
        },
    })
}

/// Sets the member at the JSON pointer `at` to `value`; null removes it.
fn set(config: &mut Value, at: &str, value: Value) {
    let (parent, name) = at.rsplit_once('/').unwrap();
    match config.pointer_mut(parent).unwrap() {
        Value::Array(list) if name == "-" => list.push(value),
        Value::Array(list) => list[name.parse::<usize>().unwrap()] = value,
        Value::Object(members) if value.is_null() => drop(members.remove(name)),
        Value::Object(members) => drop(members.insert(name.replace("~1", "/"), value)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => panic!("{at} has no members"),
    }
}

fn with(changes: &[(&str, Value)]) -> Value {
    let mut config = good();
    for (at, value) in changes {
        set(&mut config, at, value.clone());
    }
    config
}

fn parse(config: &Value) -> Result<Config, ConfigErrors> {
    Config::parse(&format!("{config:#}"), Path::new(FILE))
}

fn accepted(changes: &[(&str, Value)]) -> Config {
    parse(&with(changes)).unwrap_or_else(|errors| panic!("{errors}"))
}

/// The errors of the good file with `changes`, as `PATH: MESSAGE`.
fn refused(changes: &[(&str, Value)]) -> Vec<String> {
    match parse(&with(changes)) {
        Ok(_) => panic!("loads with {changes:?}"),
        Err(errors) => errors
            .iter()
            .map(|e| format!("{}: {}", e.path, e.message))
            .collect(),
    }
}

/// Asserts that the good file with one change has exactly one error, at `path`, which says `said`.
#[track_caller]
fn refuses(at: &str, value: Value, path: &str, said: &str) {
    let errors = refused(&[(at, value)]);
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].starts_with(&format!("{path}: ")), "{errors:?}");
    assert!(errors[0].contains(said), "{errors:?}");
}

const REALM: &str = "/realms/demo";
const JWT: &str = "/realms/demo/loginModules/1";
