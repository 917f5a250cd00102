//! Keys and tokens of the tests' own issuer. Nothing here is used outside of tests.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use countersign_core::time::UnixTime;
use p521::ecdsa::signature::Signer as _;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
    RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512,
    RsaKeyPair,
};
use ring::{hmac, signature};
use serde_json::{Map, Value, json};

/// The issuer of the tests' tokens.
pub const ISSUER: &str = "https://idp.example";
/// Whom they are for.
pub const AUDIENCE: &str = "ws";
/// The secret of the tests' HS256 tokens: 32 bytes.
pub const SECRET: &[u8; 32] = b"a secret that only the tests use";

/// An RSA key of 2048 bits, made for these tests.
const RSA_2048: &[u8] = include_bytes!("../data/rsa2048.der");

/// What a token is signed with.
pub enum Signer {
    /// HMAC-SHA-256 with these bytes.
    Hs256(Vec<u8>),
    /// Ed25519.
    EdDsa(Ed25519KeyPair),
    /// ECDSA on P-256 or P-384.
    Ecdsa(&'static str, EcdsaKeyPair),
    /// ECDSA on P-521.
    Es512(Box<p521::ecdsa::SigningKey>),
    /// ECDSA on secp256k1.
    Es256k(Box<k256::ecdsa::SigningKey>),
    /// RSA, either padding.
    Rsa(&'static str, RsaKeyPair),
}

impl Signer {
    /// The signer for a JWS algorithm. Keys of elliptic curves are fresh, except Ed25519's.
    ///
    /// # Panics
    /// If the tests have no such algorithm.
    pub fn of(algorithm: &str) -> Self {
        let ecdsa = |name, kind| {
            let random = SystemRandom::new();
            let document = EcdsaKeyPair::generate_pkcs8(kind, &random).unwrap();
            Self::Ecdsa(
                name,
                EcdsaKeyPair::from_pkcs8(kind, document.as_ref(), &random).unwrap(),
            )
        };
        let rsa = |name| Self::Rsa(name, RsaKeyPair::from_der(RSA_2048).unwrap());
        match algorithm {
            "HS256" => Self::Hs256(SECRET.to_vec()),
            "EdDSA" => Self::EdDsa(Ed25519KeyPair::from_seed_unchecked(SECRET).unwrap()),
            "ES256" => ecdsa("ES256", &ECDSA_P256_SHA256_FIXED_SIGNING),
            "ES384" => ecdsa("ES384", &ECDSA_P384_SHA384_FIXED_SIGNING),
            // Any number below the order is a key; the zero bytes in front keep it below.
            "ES512" => Self::Es512(Box::new(
                p521::ecdsa::SigningKey::from_slice(&[&[0; 34][..], SECRET].concat()).unwrap(),
            )),
            "ES256K" => Self::Es256k(Box::new(k256::ecdsa::SigningKey::from_slice(SECRET).unwrap())),
            "RS256" => rsa("RS256"),
            "RS384" => rsa("RS384"),
            "RS512" => rsa("RS512"),
            "PS256" => rsa("PS256"),
            "PS384" => rsa("PS384"),
            "PS512" => rsa("PS512"),
            other => panic!("no signer for {other}"),
        }
    }

    /// Returns the algorithm's name.
    pub const fn algorithm(&self) -> &'static str {
        match self {
            Self::Hs256(_) => "HS256",
            Self::EdDsa(_) => "EdDSA",
            Self::Es512(_) => "ES512",
            Self::Es256k(_) => "ES256K",
            Self::Ecdsa(name, _) | Self::Rsa(name, _) => name,
        }
    }

    /// Returns the public key as PEM.
    ///
    /// # Panics
    /// If there is none.
    pub fn public_pem(&self) -> String {
        // The SubjectPublicKeyInfo prefixes of RFC 8410, RFC 5480 and SEC 2, up to the key's own bytes.
        let ed25519 = [
            0x30, 0x2A, 0x30, 0x05, 0x06, 0x03, 0x2B, 0x65, 0x70, 0x03, 0x21, 0x00,
        ];
        let p256 = [
            0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01, 0x06, 0x08, 0x2A,
            0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
        ];
        let p384 = [
            0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01, 0x06, 0x05, 0x2B,
            0x81, 0x04, 0x00, 0x22, 0x03, 0x62, 0x00,
        ];
        let p521 = [
            0x30, 0x81, 0x9B, 0x30, 0x10, 0x06, 0x07, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01, 0x06, 0x05,
            0x2B, 0x81, 0x04, 0x00, 0x23, 0x03, 0x81, 0x86, 0x00,
        ];
        let secp256k1 = [
            0x30, 0x56, 0x30, 0x10, 0x06, 0x07, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01, 0x06, 0x05, 0x2B,
            0x81, 0x04, 0x00, 0x0A, 0x03, 0x42, 0x00,
        ];
        let (label, der) = match self {
            Self::Hs256(_) => panic!("a secret is not public"),
            Self::EdDsa(key) => ("PUBLIC KEY", [&ed25519, key.public_key().as_ref()].concat()),
            Self::Ecdsa("ES256", key) => (
                "PUBLIC KEY",
                [p256.as_slice(), key.public_key().as_ref()].concat(),
            ),
            Self::Ecdsa(_, key) => (
                "PUBLIC KEY",
                [p384.as_slice(), key.public_key().as_ref()].concat(),
            ),
            Self::Es512(key) => (
                "PUBLIC KEY",
                [&p521, key.verifying_key().to_sec1_point(false).as_bytes()].concat(),
            ),
            Self::Es256k(key) => (
                "PUBLIC KEY",
                [&secp256k1, key.verifying_key().to_sec1_point(false).as_bytes()].concat(),
            ),
            Self::Rsa(_, key) => ("RSA PUBLIC KEY", key.public_key().as_ref().to_vec()),
        };
        let text = STANDARD.encode(der);
        let lines: Vec<_> = text
            .as_bytes()
            .chunks(64)
            .map(|line| std::str::from_utf8(line).unwrap())
            .collect();
        format!(
            "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
            lines.join("\n")
        )
    }

    /// Returns the public key of Ed25519 as a JWK.
    ///
    /// # Panics
    /// If it is another kind of key.
    pub fn jwk(&self, kid: &str) -> Value {
        let Self::EdDsa(key) = self else {
            panic!("only Ed25519 keys have a JWK in these tests")
        };
        json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": URL_SAFE_NO_PAD.encode(key.public_key())})
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Hs256(secret) => hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message)
                .as_ref()
                .to_vec(),
            Self::EdDsa(key) => key.sign(message).as_ref().to_vec(),
            Self::Es512(key) => {
                let signature: p521::ecdsa::Signature = key.sign(message);
                signature.to_bytes().to_vec()
            }
            Self::Es256k(key) => {
                let signature: k256::ecdsa::Signature = key.sign(message);
                signature.to_bytes().to_vec()
            }
            Self::Ecdsa(_, key) => key.sign(&random, message).unwrap().as_ref().to_vec(),
            Self::Rsa(name, key) => {
                let padding: &dyn signature::RsaEncoding = match *name {
                    "RS256" => &RSA_PKCS1_SHA256,
                    "RS384" => &RSA_PKCS1_SHA384,
                    "RS512" => &RSA_PKCS1_SHA512,
                    "PS256" => &RSA_PSS_SHA256,
                    "PS384" => &RSA_PSS_SHA384,
                    "PS512" => &RSA_PSS_SHA512,
                    other => panic!("no RSA algorithm {other}"),
                };
                let mut out = vec![0; key.public().modulus_len()];
                key.sign(padding, &random, message, &mut out).unwrap();
                out
            }
        }
    }
}

/// A token under construction: right by default, then what is wrong with it.
#[derive(Clone, Debug)]
pub struct Token {
    header: Map<String, Value>,
    claims: Map<String, Value>,
    now: UnixTime,
}

impl Token {
    /// A token for `subject` that is valid for ten minutes from `now`.
    pub fn new(subject: &str, now: UnixTime) -> Self {
        let claims = json!({"iss": ISSUER, "aud": AUDIENCE, "sub": subject});
        let token = Self {
            header: Map::new(),
            claims: claims.as_object().unwrap().clone(),
            now,
        };
        token.expires_in(Duration::from_secs(600))
    }

    /// Puts a claim in, in place of one of that name.
    #[must_use]
    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims.insert(name.to_owned(), value.into());
        self
    }

    /// Takes a claim out.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.claims.remove(name);
        self
    }

    /// Puts a header parameter in, in place of one of that name.
    #[must_use]
    pub fn parameter(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.header.insert(name.to_owned(), value.into());
        self
    }

    /// Lets it expire `time` from now, in whole seconds.
    #[must_use]
    pub fn expires_in(self, time: Duration) -> Self {
        let at = self.now.after(time).as_secs();
        self.claim("exp", at)
    }

    /// Lets it expire `time` ago.
    #[must_use]
    pub fn expired_for(self, time: Duration) -> Self {
        let at = self.now.as_secs() - time.as_secs();
        self.claim("exp", at)
    }

    /// Signs it with the tests' secret.
    pub fn text(&self) -> String {
        self.signed(&Signer::of("HS256"))
    }

    /// Signs it. `alg` is the signer's unless a parameter says otherwise.
    pub fn signed(&self, signer: &Signer) -> String {
        let mut header = self.header.clone();
        header.entry("alg").or_insert_with(|| signer.algorithm().into());
        raw_token(
            &Value::from(header).to_string(),
            &Value::from(self.claims.clone()).to_string(),
            signer,
        )
    }
}

/// Signs a header and claims that are given as text, however wrong.
pub fn raw_token(header: &str, claims: &str, signer: &Signer) -> String {
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let signed = format!("{}.{}", encode(header.as_bytes()), encode(claims.as_bytes()));
    let signature = encode(&signer.sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

/// Flips one bit of a token's signature.
///
/// # Panics
/// If it is not three parts.
pub fn flip_a_bit(token: &str) -> String {
    let (signed, signature) = token.rsplit_once('.').expect("three parts");
    let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
    bytes[0] ^= 1;
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(bytes))
}
