//! Fixed keys, and what signs with them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_core::auth::algorithm::Algorithm;
use countersign_core::auth::jwk::{KeySet, Skip};
use countersign_core::auth::jwt::{Refusal, Rules, Token, Verified, sign_hs256, verify};
use countersign_core::time::UnixTime;
use p521::ecdsa::signature::Signer as _;
use ring::rand::SystemRandom;
use ring::signature::{self, KeyPair as _};
use serde_json::{Value, json};

pub(crate) const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
pub(crate) const NOW: u64 = 1_800_000_000;
pub(crate) const RSA_KEY: &[u8] = include_bytes!("../data/keys/rsa.pk8.der");
pub(crate) const P256_KEY: &[u8] = include_bytes!("../data/keys/p256.pk8.der");
pub(crate) const P384_KEY: &[u8] = include_bytes!("../data/keys/p384.pk8.der");
pub(crate) const ED25519_KEY: &[u8] = include_bytes!("../data/keys/ed25519.pk8.der");
pub(crate) const P521_SCALAR: &[u8] = include_bytes!("../data/keys/p521.scalar");
pub(crate) const SECP256K1_SCALAR: &[u8] = include_bytes!("../data/keys/secp256k1.scalar");
pub(crate) const RSA_SPKI: &[u8] = include_bytes!("../data/keys/rsa.spki.pem");
pub(crate) const P256_SPKI: &[u8] = include_bytes!("../data/keys/p256.spki.pem");
pub(crate) const P384_SPKI: &[u8] = include_bytes!("../data/keys/p384.spki.pem");
pub(crate) const P521_SPKI: &[u8] = include_bytes!("../data/keys/p521.spki.pem");
pub(crate) const SECP256K1_SPKI: &[u8] = include_bytes!("../data/keys/secp256k1.spki.pem");
pub(crate) const ED25519_SPKI: &[u8] = include_bytes!("../data/keys/ed25519.spki.pem");

/// The input of a signature: header and payload.
pub(crate) fn signed_part(header: &Value, claims: &Value) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", encode(header), encode(claims))
}

pub(crate) fn with_signature(signed: &str, signature: &[u8]) -> String {
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// Signs with the fixture key that `algorithm` needs.
pub(crate) fn sign(algorithm: Algorithm, header: &Value, claims: &Value) -> String {
    let signed = signed_part(header, claims);
    let random = SystemRandom::new();
    let rsa = |encoding: &'static dyn signature::RsaEncoding| {
        let pair = signature::RsaKeyPair::from_pkcs8(RSA_KEY).unwrap();
        let mut tag = vec![0; pair.public().modulus_len()];
        pair.sign(encoding, &random, signed.as_bytes(), &mut tag).unwrap();
        tag
    };
    let ecdsa = |algorithm, key| {
        let pair = signature::EcdsaKeyPair::from_pkcs8(algorithm, key, &random).unwrap();
        pair.sign(&random, signed.as_bytes()).unwrap().as_ref().to_vec()
    };
    let tag = match algorithm {
        Algorithm::Rs256 => rsa(&signature::RSA_PKCS1_SHA256),
        Algorithm::Rs384 => rsa(&signature::RSA_PKCS1_SHA384),
        Algorithm::Rs512 => rsa(&signature::RSA_PKCS1_SHA512),
        Algorithm::Ps256 => rsa(&signature::RSA_PSS_SHA256),
        Algorithm::Ps384 => rsa(&signature::RSA_PSS_SHA384),
        Algorithm::Ps512 => rsa(&signature::RSA_PSS_SHA512),
        Algorithm::Es256 => ecdsa(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, P256_KEY),
        Algorithm::Es384 => ecdsa(&signature::ECDSA_P384_SHA384_FIXED_SIGNING, P384_KEY),
        Algorithm::Es512 => {
            let key = p521::ecdsa::SigningKey::from_slice(P521_SCALAR).unwrap();
            let signature: p521::ecdsa::Signature = key.sign(signed.as_bytes());
            signature.to_bytes().to_vec()
        }
        Algorithm::Es256k => {
            let key = k256::ecdsa::SigningKey::from_slice(SECP256K1_SCALAR).unwrap();
            let signature: k256::ecdsa::Signature = key.sign(signed.as_bytes());
            signature.to_bytes().to_vec()
        }
        Algorithm::EdDsa => {
            let key = ED25519_KEY;
            let pair = signature::Ed25519KeyPair::from_pkcs8_maybe_unchecked(key).unwrap();
            pair.sign(signed.as_bytes()).as_ref().to_vec()
        }
        Algorithm::Hs256 => mac(ring::hmac::HMAC_SHA256, &signed),
        Algorithm::Hs384 => mac(ring::hmac::HMAC_SHA384, &signed),
        Algorithm::Hs512 => mac(ring::hmac::HMAC_SHA512, &signed),
    };
    with_signature(&signed, &tag)
}

pub(crate) fn mac(algorithm: ring::hmac::Algorithm, signed: &str) -> Vec<u8> {
    let secret = SECRET.repeat(2);
    ring::hmac::sign(&ring::hmac::Key::new(algorithm, &secret), signed.as_bytes())
        .as_ref()
        .to_vec()
}

/// The key set that verifies what [`sign`] signs.
pub(crate) fn keys(algorithm: Algorithm) -> KeySet {
    let pem = |bytes| KeySet::from_pem(algorithm, bytes).unwrap();
    match algorithm {
        Algorithm::Rs256
        | Algorithm::Rs384
        | Algorithm::Rs512
        | Algorithm::Ps256
        | Algorithm::Ps384
        | Algorithm::Ps512 => pem(RSA_SPKI),
        Algorithm::Es256 => pem(P256_SPKI),
        Algorithm::Es384 => pem(P384_SPKI),
        Algorithm::Es512 => pem(P521_SPKI),
        Algorithm::Es256k => pem(SECP256K1_SPKI),
        Algorithm::EdDsa => pem(ED25519_SPKI),
        Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512 => {
            KeySet::from_secret(algorithm, &SECRET.repeat(2)).unwrap()
        }
    }
}

pub(crate) fn header(algorithm: Algorithm) -> Value {
    json!({"alg": algorithm.name(), "typ": "JWT"})
}

pub(crate) fn judge(text: &str, keys: &KeySet, rules: &Rules) -> Result<Verified, Refusal> {
    verify(
        &Token::parse(text).unwrap(),
        keys,
        rules,
        UnixTime::from_secs(NOW),
    )
}

/// Judges an HS256 token with these claims, signed rightly.
pub(crate) fn judge_claims(claims: &Value, rules: &Rules) -> Result<Verified, Refusal> {
    let keys = KeySet::from_secret(Algorithm::Hs256, SECRET).unwrap();
    judge(&sign_hs256(claims, SECRET), &keys, rules)
}

pub(crate) fn judge_header(header: &Value, rules: &Rules) -> Result<Verified, Refusal> {
    let claims = json!({"sub": "alice", "exp": NOW + 60});
    judge(
        &sign(Algorithm::Hs256, header, &claims),
        &keys(Algorithm::Hs256),
        rules,
    )
}

/// The public JWKs of the fixture keys.
pub(crate) fn rsa_jwk() -> Value {
    let pair = signature::RsaKeyPair::from_pkcs8(RSA_KEY).unwrap();
    let components = signature::RsaPublicKeyComponents::<Vec<u8>>::from(pair.public());
    json!({"kty": "RSA", "n": base64url(&components.n), "e": base64url(&components.e)})
}

pub(crate) fn p256_jwk() -> Value {
    let algorithm = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
    let pair = signature::EcdsaKeyPair::from_pkcs8(algorithm, P256_KEY, &SystemRandom::new()).unwrap();
    let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
    json!({"kty": "EC", "crv": "P-256", "x": base64url(x), "y": base64url(y)})
}

pub(crate) fn ed25519_jwk() -> Value {
    let pair = signature::Ed25519KeyPair::from_pkcs8_maybe_unchecked(ED25519_KEY).unwrap();
    json!({"kty": "OKP", "crv": "Ed25519", "x": base64url(pair.public_key().as_ref())})
}

pub(crate) fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn with(mut jwk: Value, members: &[(&str, Value)]) -> Value {
    for (name, value) in members {
        jwk[*name] = value.clone();
    }
    jwk
}

pub(crate) fn jwks(list: &[Value]) -> (KeySet, Vec<Skip>) {
    let (set, skipped) = KeySet::from_jwks(json!({"keys": list}).to_string().as_bytes(), &[]).unwrap();
    (set, skipped.into_iter().map(|key| key.why).collect())
}
