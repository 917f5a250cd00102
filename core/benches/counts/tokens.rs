//! Tokens of every algorithm, and what ring alone needs for their signatures. The private keys are gone: the
//! tokens are good for the clock of this bench alone.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use countersign_core::auth::algorithm::Algorithm;
use countersign_core::auth::jwk::KeySet;
use countersign_core::auth::jwt::{Rules, Token, sign_hs256, verify};
use ring::{hmac, signature};
use serde_json::{Value, json};

use crate::drive::START;
use crate::{Outcome, count};

/// Public keys and tokens.
const TOKENS: &str = include_str!("tokens.json");
/// The secret of HS256.
pub(crate) const SECRET: &[u8] = b"a bench's secret of 32 bytes ...";
/// Who issues them.
pub(crate) const ISSUER: &str = "https://idp.example";
/// Whom they are for.
pub(crate) const AUDIENCE: &str = "ws";
/// Bytes of an uncompressed point on P-256.
const POINT: usize = 65;
/// Bytes of a public key of Ed25519.
const ED25519: usize = 32;
/// Bytes in front of an RSA key of 2,048 bits that say what it is (RFC 3279 section 2.3.1).
const RSA_HEAD: usize = 24;

fn found(algorithm: &str, member: &str) -> Outcome<String> {
    let all: Value = serde_json::from_str(TOKENS)?;
    let text = all[algorithm][member].as_str().ok_or("no such algorithm")?;
    Ok(text.to_owned())
}

/// Returns a token of HS256.
pub(crate) fn hs256() -> String {
    let claims = json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "exp": START.unix.as_secs() + 3600,
        "jti": "0f8fad5b-d9cb-469f-a165-70867728950e", "scope": "openid",
    });
    sign_hs256(&claims, SECRET)
}

fn token(algorithm: Algorithm) -> Outcome<String> {
    match algorithm.name() {
        "HS256" => Ok(hs256()),
        name => found(name, "token"),
    }
}

/// Counts what it takes to parse a token and to verify it.
pub(crate) fn verified(algorithm: Algorithm) -> Outcome<()> {
    let text = token(algorithm)?;
    let keys = match algorithm.name() {
        "HS256" => KeySet::from_secret(algorithm, SECRET)?,
        name => KeySet::from_pem(algorithm, found(name, "key")?.as_bytes())?,
    };
    let rules = Rules {
        issuer: Some(ISSUER.to_owned()),
        audience: Some(AUDIENCE.to_owned()),
        ..Rules::default()
    };
    count(|| {
        let token = Token::parse(&text).map_err(|refusal| format!("{refusal:?}"))?;
        verify(&token, &keys, &rules, START.unix).map_err(|refusal| format!("{refusal:?}"))?;
        Ok(())
    })
}

/// Counts what ring alone needs for the same signature.
pub(crate) fn ring_alone(algorithm: Algorithm) -> Outcome<()> {
    let text = token(algorithm)?;
    let (signed, tag) = text.rsplit_once('.').ok_or("no token")?;
    let tag = URL_SAFE_NO_PAD.decode(tag)?;
    if algorithm == Algorithm::Hs256 {
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET);
        return count(|| hmac::verify(&key, signed.as_bytes(), &tag).map_err(|_| "forged".into()));
    }
    let pem = found(algorithm.name(), "key")?;
    let der: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let der = STANDARD.decode(der)?;
    let (kind, start): (&dyn signature::VerificationAlgorithm, _) = match algorithm.name() {
        "RS256" => (&signature::RSA_PKCS1_2048_8192_SHA256, RSA_HEAD),
        "PS256" => (&signature::RSA_PSS_2048_8192_SHA256, RSA_HEAD),
        "ES256" => (&signature::ECDSA_P256_SHA256_FIXED, der.len() - POINT),
        "EdDSA" => (&signature::ED25519, der.len() - ED25519),
        other => return Err(format!("ring is not asked for {other}").into()),
    };
    let key = signature::UnparsedPublicKey::new(kind, der.get(start..).unwrap_or_default());
    count(|| key.verify(signed.as_bytes(), &tag).map_err(|_| "forged".into()))
}
