//! What the servers and their clients agree on: keys, the configuration, requests.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_core::time::UnixTime;
use countersign_tests::client::upgrade;
use countersign_tests::keys::{AUDIENCE, ISSUER, Signer, Token};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use ring::hmac;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};

use crate::Outcome;

/// The file of the certificate.
pub(crate) const CERTIFICATE: &str = "server.crt";
/// The file of its private key.
pub(crate) const PRIVATE_KEY: &str = "server.key";
/// The configuration of the programs.
pub(crate) const CONFIGURATION: &str = "edge.json";
/// Algorithms of tokens, and the files of their public keys.
pub(crate) const PUBLIC_KEYS: [(&str, &str); 2] = [("ES256", "ES256.pem"), ("RS256", "RS256.pem")];
/// What ephemeral credentials are made with.
pub(crate) const SECRET: &[u8] = b"a secret of the benchmark, of no use to anybody else";
/// A user whose stored password costs the least that bcrypt can: only its first login is not remembered.
const USERS: &str = "alice:$2b$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e\n";
/// Her password.
const PASSWORD: &str = "correct horse";
/// How long credentials are good for, in seconds.
const LIFETIME: u64 = 3600;

/// What a request proves the client by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Credential {
    /// Nothing.
    None,
    /// Basic with a name that expires, signed with HMAC-SHA-256: as fast as a hash can be.
    Ephemeral,
    /// Basic with the password of a user of a file.
    User,
    /// A token of its own for every request, of this algorithm.
    Fresh(&'static str),
    /// The same token again, of this algorithm.
    Repeated(&'static str),
}

/// Keys, and the files made of them.
pub(crate) struct Material {
    signers: Vec<(&'static str, Signer)>,
    pub(crate) client: Arc<ClientConfig>,
}

impl Material {
    /// Writes everything that the servers read.
    pub(crate) fn write(folder: &Path) -> Outcome<Self> {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()])?;
        fs::write(folder.join(CERTIFICATE), cert.pem())?;
        fs::write(folder.join(PRIVATE_KEY), signing_key.serialize_pem())?;
        let both = cert.pem() + &signing_key.serialize_pem();
        fs::write(folder.join("server.pem"), both)?;
        fs::write(folder.join("shared.secret"), SECRET)?;
        fs::write(folder.join("users.htpasswd"), USERS)?;
        let signers = PUBLIC_KEYS.map(|(name, file)| (name, file, Signer::of(name)));
        for (_, file, signer) in &signers {
            fs::write(folder.join(file), signer.public_pem())?;
        }
        fs::write(folder.join(CONFIGURATION), configuration().to_string())?;
        Ok(Self {
            signers: signers
                .into_iter()
                .map(|(name, _, signer)| (name, signer))
                .collect(),
            client: trusting(cert.der().clone())?,
        })
    }

    /// Returns an upgrade request; where every request has a credential of its own, `number` makes it.
    pub(crate) fn request(&self, credential: Credential, number: usize) -> Outcome<Vec<u8>> {
        let now = UnixTime::new(SystemTime::UNIX_EPOCH.elapsed()?);
        let token = |algorithm, id: String| -> Outcome<Vec<u8>> {
            let (_, signer) = self
                .signers
                .iter()
                .find(|(name, _)| *name == algorithm)
                .ok_or("no such signer")?;
            let token = Token::new("alice", now).claim("jti", id).signed(signer);
            Ok(upgrade(&format!("/{algorithm}")).bearer(&token).bytes())
        };
        Ok(match credential {
            Credential::None => upgrade("/ES256").bytes(),
            Credential::Ephemeral => {
                let user = format!("{}:alice", now.as_secs() + LIFETIME);
                let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET);
                let password = STANDARD.encode(hmac::sign(&key, user.as_bytes()));
                upgrade("/ephemeral").basic(&user, &password).bytes()
            }
            Credential::User => upgrade("/users").basic("alice", PASSWORD).bytes(),
            Credential::Fresh(algorithm) => token(algorithm, number.to_string())?,
            Credential::Repeated(algorithm) => token(algorithm, "the same".to_owned())?,
        })
    }
}

/// The full default configuration: only what has no default is named, and a limit that would end a
/// connection on which 401s are counted.
fn configuration() -> Value {
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
    json!({
        "limits": {"attemptsPerConnection": crate::load::KEPT},
        "servers": [
            {"id": "tls", "listen": ["127.0.0.1:0"], "serverCertificate": "server.pem"},
            {"id": "tcp", "listen": ["127.0.0.1:0"], "plaintext": true},
        ],
        "realms": realms,
        "services": services,
    })
}

fn trusting(certificate: CertificateDer<'static>) -> Outcome<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13])?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    // Every handshake is a full one.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}
