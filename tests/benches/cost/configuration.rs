//! What the programs are configured with: the full default configuration, and what makes one larger.

use std::fs;
use std::io::{BufWriter, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_tests::keys::{AUDIENCE, ISSUER, Signer};
use ring::signature::KeyPair as _;
use serde_json::{Value, json};

use crate::Outcome;
use crate::crowd::ASIDE;
use crate::floor::OPEN;
use crate::load::KEPT;
use crate::material::{HASH, Material, PUBLIC_KEYS};

/// The name of the key that tokens are signed with, among many others.
pub(crate) const OWN_KEY: &str = "own";

/// What a configuration is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Setup {
    /// Only what has no default is named, and a limit that would end a connection on which 401s are
    /// counted.
    Default,
    /// The same, and a proxy in front of the floor.
    Proxy,
    /// Without pings, so that open connections cost nothing by themselves, and with an address for them.
    Quiet,
    /// With this many users.
    Users(usize),
    /// With a key set of this many keys.
    Keys(usize),
    /// With this many services, each in a realm of its own.
    Services(usize),
    /// With this many entries in every access control list.
    Rules(usize),
    /// For a soak: nobody is throttled, since all clients have one address.
    Soak,
}

impl Setup {
    /// Writes the configuration and returns its path. `upstream` is the port of the floor.
    pub(crate) fn write(self, material: &Material, upstream: u16) -> Outcome<PathBuf> {
        let folder = &material.folder;
        let (mut all, mut name) = (default(), format!("{self:?}"));
        match self {
            Self::Default => {}
            Self::Proxy => {
                all["services"]["proxied"] = json!({
                    "type": "proxy", "accept": "/proxied", "realm": "ephemeral", "origins": [],
                    "connect": format!("ws://127.0.0.1:{upstream}{OPEN}"),
                });
            }
            Self::Quiet => {
                all["services"]["ephemeral"]["pingInterval"] = json!("1 hour");
                // Chosen by the operating system for one address, and free at the other.
                let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
                name = format!("{name}-{port}");
                let both = ["127.0.0.1", ASIDE].map(|address| format!("{address}:{port}"));
                all["servers"][1]["listen"] = json!(both);
            }
            Self::Users(count) => {
                let file = format!("users-{count}.htpasswd");
                let mut out = BufWriter::new(fs::File::create(folder.join(&file))?);
                for number in 1..count {
                    writeln!(out, "u{number}:{HASH}")?;
                }
                writeln!(out, "alice:{HASH}")?;
                out.flush()?;
                all["realms"]["users"]["loginModules"][0]["passwords"] = json!(file);
            }
            Self::Keys(count) => {
                let file = format!("keys-{count}.json");
                let mut keys = (1..count)
                    .map(|number| jwk(&Signer::of("ES256"), &format!("key {number}")))
                    .collect::<Outcome<Vec<_>>>()?;
                keys.push(jwk(material.signer("ES256")?, OWN_KEY)?);
                fs::write(folder.join(&file), json!({"keys": keys}).to_string())?;
                all["realms"]["keyed"] = json!({"loginModules": [{
                    "type": "jwt", "success": "required", "issuer": ISSUER, "audience": AUDIENCE,
                    "verification": {"jwks": {"keyFile": file}},
                }]});
                all["services"]["keyed"] = json!({"type": "echo", "accept": "/keyed", "realm": "keyed"});
            }
            Self::Services(count) => {
                for number in 1..count {
                    let name = format!("more-{number}");
                    all["realms"][&name] = all["realms"]["ephemeral"].clone();
                    let service =
                        json!({"type": "echo", "accept": format!("/{name}"), "realm": name, "origins": []});
                    all["services"][&name] = service;
                }
            }
            Self::Rules(count) => {
                let roles: Vec<_> = (1..count).map(|number| format!("role-{number}")).collect();
                let mut entries: Vec<_> = roles
                    .iter()
                    .map(|role| json!({"role": role, "allow": ["websocket.connect"]}))
                    .collect();
                entries.push(json!({"role": "Everyone", "allow": ["websocket.connect"]}));
                all["roles"] = json!(roles);
                all["services"]["ephemeral"]["acl"] = json!({"inherit": false, "entries": entries});
            }
            Self::Soak => all["throttle"] = json!({"failures": 1_000_000}),
        }
        let path = folder.join(format!("{name}.json"));
        fs::write(&path, all.to_string())?;
        Ok(path)
    }
}

fn default() -> Value {
    let token = |algorithm: &str, file: &str| {
        json!({
            "type": "jwt", "success": "required", "issuer": ISSUER, "audience": AUDIENCE,
            "verification": {"publicKey": {algorithm: {"keyFile": file}}},
        })
    };
    let mut modules = vec![
        (
            "ephemeral",
            json!({"type": "ephemeral", "success": "required", "secrets": ["shared.secret"]}),
        ),
        (
            "users",
            json!({"type": "users", "success": "required", "passwords": "users.htpasswd"}),
        ),
    ];
    modules.extend(PUBLIC_KEYS.map(|(name, file)| (name, token(name, file))));
    let (mut realms, mut services) = (json!({}), json!({}));
    for (name, module) in modules {
        realms[name] = json!({"loginModules": [module]});
        services[name] = json!({"type": "echo", "accept": format!("/{name}"), "realm": name});
        if matches!(name, "ephemeral" | "users") {
            services[name]["origins"] = json!([]);
        }
    }
    services["broadcast"] =
        json!({"type": "broadcast", "accept": "/broadcast", "realm": "ephemeral", "origins": []});
    json!({
        "limits": {"attemptsPerConnection": KEPT},
        "servers": [
            {"id": "tls", "listen": ["127.0.0.1:0"], "serverCertificate": "server.pem"},
            {"id": "tcp", "listen": ["127.0.0.1:0"], "plaintext": true},
        ],
        "realms": realms,
        "services": services,
    })
}

/// Returns the public key on P-256 as a JWK (RFC 7518 section 6.2.1).
fn jwk(signer: &Signer, name: &str) -> Outcome<Value> {
    let Signer::Ecdsa(_, key) = signer else {
        return Err("not a key on a curve".into());
    };
    let point = key.public_key().as_ref();
    let (x, y) = point.get(1..).ok_or("no point")?.split_at(32);
    let [x, y] = [x, y].map(|part| URL_SAFE_NO_PAD.encode(part));
    Ok(json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": name, "x": x, "y": y}))
}
