//! What the servers and their clients agree on: keys, the configuration, requests.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_core::time::UnixTime;
use countersign_tests::client::upgrade;
use countersign_tests::keys::{Signer, Token};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use ring::hmac;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use crate::Outcome;
use crate::configuration::OWN_KEY;
use crate::peers::RSA_KEY;

/// The file of the certificate.
pub(crate) const CERTIFICATE: &str = "server.crt";
/// The file of its private key.
pub(crate) const PRIVATE_KEY: &str = "server.key";
/// Algorithms of tokens, and the files of their public keys.
pub(crate) const PUBLIC_KEYS: [(&str, &str); 2] = [("ES256", "ES256.pem"), ("RS256", "RS256.pem")];
/// What ephemeral credentials are made with.
pub(crate) const SECRET: &[u8] = b"a secret of the benchmark, of no use to anybody else";
/// A user whose stored password costs the least that bcrypt can: only its first login is not remembered.
pub(crate) const HASH: &str = "$2b$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e";
/// Her password.
pub(crate) const PASSWORD: &str = "correct horse";
/// How long credentials are good for, in seconds.
const LIFETIME: u64 = 3600;

/// What a request proves the client by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Credential {
    /// Nothing.
    None,
    /// Nothing, where a proxy wants Basic.
    PlainNone,
    /// Basic that a proxy compares with its list.
    Plain,
    /// Basic with a name that expires, signed with HMAC-SHA-256, for this path: as fast as a hash can be.
    Ephemeral(&'static str),
    /// Basic with the password of a user of a file.
    User,
    /// A token of its own for every request, of this algorithm.
    Fresh(&'static str),
    /// The same token again, of this algorithm.
    Repeated(&'static str),
    /// A token of its own for every request, which names one of many keys.
    Keyed,
    /// A token that ended this many seconds ago.
    Ended(u64),
}

/// Basic with a name that expires, for an echo.
pub(crate) const EPHEMERAL: Credential = Credential::Ephemeral("/ephemeral");
/// The same, for what is behind a proxy.
pub(crate) const PROXIED: Credential = Credential::Ephemeral("/proxied");

/// Keys, and the files made of them.
pub(crate) struct Material {
    pub(crate) signers: Vec<(&'static str, Signer)>,
    pub(crate) client: Arc<ClientConfig>,
    pub(crate) folder: PathBuf,
}

impl Material {
    /// Writes everything that the servers read, except configurations.
    pub(crate) fn write(folder: &Path) -> Outcome<Self> {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()])?;
        fs::write(folder.join(CERTIFICATE), cert.pem())?;
        fs::write(folder.join(PRIVATE_KEY), signing_key.serialize_pem())?;
        let both = cert.pem() + &signing_key.serialize_pem();
        fs::write(folder.join("server.pem"), both)?;
        fs::write(folder.join("shared.secret"), SECRET)?;
        fs::write(folder.join("users.htpasswd"), format!("alice:{HASH}\n"))?;
        let signers = PUBLIC_KEYS.map(|(name, file)| (name, file, Signer::of(name)));
        for (_, file, signer) in &signers {
            fs::write(folder.join(file), signer.public_pem())?;
        }
        fs::write(folder.join(RSA_KEY), wrapped(&signers[1].2.public_pem())?)?;
        Ok(Self {
            signers: signers
                .into_iter()
                .map(|(name, _, signer)| (name, signer))
                .collect(),
            client: trusting(cert.der().clone())?,
            folder: folder.to_owned(),
        })
    }

    pub(crate) fn signer(&self, algorithm: &str) -> Outcome<&Signer> {
        let mut signers = self.signers.iter();
        let found = signers.find(|(name, _)| *name == algorithm);
        Ok(&found.ok_or("no such signer")?.1)
    }

    /// Returns an upgrade request; where every request has a credential of its own, `number` makes it.
    pub(crate) fn request(&self, credential: Credential, number: usize) -> Outcome<Vec<u8>> {
        let now = UnixTime::new(SystemTime::UNIX_EPOCH.elapsed()?);
        let token = |algorithm, id: String| -> Outcome<Vec<u8>> {
            let token = Token::new("alice", now).claim("jti", id);
            let token = token.signed(self.signer(algorithm)?);
            Ok(upgrade(&format!("/{algorithm}")).bearer(&token).bytes())
        };
        Ok(match credential {
            Credential::None => upgrade("/ES256").bytes(),
            Credential::PlainNone => upgrade("/plain").bytes(),
            Credential::Plain => upgrade("/plain").basic("alice", PASSWORD).bytes(),
            Credential::Ephemeral(path) => {
                let user = format!("{}:alice", now.as_secs() + LIFETIME);
                let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET);
                let password = STANDARD.encode(hmac::sign(&key, user.as_bytes()));
                upgrade(path).basic(&user, &password).bytes()
            }
            Credential::User => upgrade("/users").basic("alice", PASSWORD).bytes(),
            Credential::Fresh(algorithm) => token(algorithm, number.to_string())?,
            Credential::Repeated(algorithm) => token(algorithm, "the same".to_owned())?,
            Credential::Keyed => {
                let token = Token::new("alice", now)
                    .claim("jti", number.to_string())
                    .parameter("kid", OWN_KEY)
                    .signed(self.signer("ES256")?);
                upgrade("/keyed").bearer(&token).bytes()
            }
            Credential::Ended(seconds) => {
                let id = format!("ended {number}");
                let token = Token::new("alice", now)
                    .claim("jti", id)
                    .claim("exp", now.as_secs().saturating_sub(seconds));
                upgrade("/ES256")
                    .bearer(&token.signed(self.signer("ES256")?))
                    .bytes()
            }
        })
    }
}

/// The same RSA key as OpenSSL reads it, with its algorithm (RFC 5280 section 4.1, RFC 3279 section 2.3.1).
fn wrapped(pem: &str) -> Outcome<String> {
    /// What is in front of a key of 2,048 bits whose exponent has three bytes.
    const HEAD: [u8; 24] = [
        0x30, 0x82, 0x01, 0x22, 0x30, 0x0D, 0x06, 0x09, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x01,
        0x05, 0x00, 0x03, 0x82, 0x01, 0x0F, 0x00,
    ];
    let text: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let text = STANDARD.encode([&HEAD[..], &STANDARD.decode(text)?].concat());
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    let lines = lines.join("\n");
    Ok(format!(
        "-----BEGIN PUBLIC KEY-----\n{lines}\n-----END PUBLIC KEY-----\n"
    ))
}

/// Returns what a client needs that trusts the certificate in `folder`.
pub(crate) fn trusted(folder: &Path) -> Outcome<Arc<ClientConfig>> {
    trusting(CertificateDer::from_pem_file(folder.join(CERTIFICATE))?)
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
