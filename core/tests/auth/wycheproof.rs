//! Project Wycheproof's cases for JSON Web Signatures and key sets, judged as published.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_core::auth::algorithm::Algorithm;
use countersign_core::auth::jwk::{KeyError, KeySet, Skip};
use countersign_core::auth::jws::Compact;
use serde_json::{Value, json};

/// Cases of `json_web_signature_test.json` that are judged otherwise than published, and why.
const ERRATA: [(u64, &str); 8] = [
    (
        346,
        "published as valid: a PS384 signature, but the key says PS256",
    ),
    (
        347,
        "published as valid: an ES512 signature, but the key says ES521, which is no algorithm",
    ),
    (350, "published as valid: as 346"),
    (351, "published as valid: as 347"),
    (
        367,
        "published as invalid: byte for byte the token of case 357, which is valid",
    ),
    (370, "published as invalid: as 367"),
    (
        372,
        "published as valid: has a `?` inside the base64url of the header",
    ),
    (
        373,
        "published as valid: has a `?` inside the base64url of the payload",
    ),
];

/// Returns the cases that are judged otherwise than published.
fn disagreements(text: &str, expected_cases: usize) -> Vec<u64> {
    let file: Value = serde_json::from_str(text).unwrap();
    let mut cases = 0;
    let mut found = Vec::new();
    for group in file["testGroups"].as_array().unwrap() {
        for case in group["tests"].as_array().unwrap() {
            cases += 1;
            let valid = case["result"] == "valid";
            if passes(&group["keys"], case["jws"].as_str().unwrap()) != valid {
                found.push(case["tcId"].as_u64().unwrap());
            }
        }
    }
    assert_eq!(cases, expected_cases);
    found
}

/// Judges a token as a login module would that is configured with these keys.
fn passes(keys: &Value, text: &str) -> bool {
    let Ok(jws) = Compact::parse(text) else {
        return false;
    };
    let list = keys.as_array().unwrap();
    if list.iter().any(|key| key["kty"] != "oct") {
        let set = json!({ "keys": keys }).to_string();
        let (set, _) = KeySet::from_jwks(set.as_bytes(), &[]).unwrap();
        return jws.check(&set).is_ok();
    }
    // Secrets are configured one by one as files, never as a JWK Set; the `kid` says which file.
    let mut named = list.iter().filter(|key| key["kid"].as_str() == jws.kid());
    let (Some(key), None) = (named.next(), named.next()) else {
        return false;
    };
    let secret = URL_SAFE_NO_PAD.decode(key["k"].as_str().unwrap()).unwrap();
    Algorithm::from_name(key["alg"].as_str().unwrap())
        .ok()
        .and_then(|algorithm| KeySet::from_secret(algorithm, &secret).ok())
        .is_some_and(|set| jws.check(&set).is_ok())
}

#[test]
fn m14_wycheproof_key_sets_are_judged_as_published() {
    let text = include_str!("../data/wycheproof/json_web_key.json");
    assert_eq!(disagreements(text, 26), [0; 0]);
}

#[test]
fn m14_wycheproof_weak_keys_are_refused_for_what_they_are() {
    let file: Value = serde_json::from_str(include_str!("../data/wycheproof/json_web_key.json")).unwrap();
    let why = |comment: &str| {
        let groups = file["testGroups"].as_array().unwrap();
        let group = groups.iter().find(|group| group["comment"] == comment).unwrap();
        let set = json!({ "keys": group["keys"] }).to_string();
        KeySet::from_jwks(set.as_bytes(), &[]).unwrap().1[0].why
    };
    assert_eq!(why("jws_rsa_roca_key"), Skip::Refused(KeyError::RsaRoca));
    assert_eq!(
        why("keysize_too_small"),
        Skip::Refused(KeyError::RsaSize { bits: 1024 })
    );
    assert_eq!(why("exponentOne"), Skip::Refused(KeyError::RsaComponents));
    assert_eq!(why("invalid_use"), Skip::OtherUse);
    assert_eq!(why("jws_mixedSymmetryKeyset"), Skip::Secret);
}

#[test]
fn m14_wycheproof_signatures_are_judged_as_published() {
    let text = include_str!("../data/wycheproof/json_web_signature.json");
    let expected: Vec<_> = ERRATA.iter().map(|(case, _)| *case).collect();
    assert_eq!(disagreements(text, 95), expected);
}
