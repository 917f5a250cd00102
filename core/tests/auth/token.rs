//! How a token is written and signed.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_core::auth::algorithm::Algorithm;
use countersign_core::auth::jwk::{KeyError, KeySet};
use countersign_core::auth::jws::{Forged, JwsError, MAX_TOKEN_BYTES};
use countersign_core::auth::jwt::{JwtError, Refusal, Rules, Token, looks_like_jwt, sign_hs256};
use countersign_core::reason::Reason;
use ring::rand::SystemRandom;
use ring::signature;
use serde_json::json;

use crate::fixtures::*;

#[test]
fn m14_every_algorithm_verifies_and_a_flipped_bit_does_not() {
    let claims = json!({"sub": "alice", "exp": NOW + 60});
    for algorithm in Algorithm::ALL {
        let (text, keys) = (sign(algorithm, &header(algorithm), &claims), keys(algorithm));
        let verified = judge(&text, &keys, &Rules::default()).unwrap();
        assert_eq!(verified.subject.as_deref(), Some("alice"), "{algorithm}");

        let (signed, signature) = text.rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        for at in [0, signature.len() / 2, signature.len() - 1] {
            let mut flipped = signature.clone();
            flipped[at] ^= 1;
            let refusal = judge(&with_signature(signed, &flipped), &keys, &Rules::default()).unwrap_err();
            assert_eq!(refusal.reason(), Reason::BadSignature, "{algorithm} byte {at}");
        }
        for wrong in [&[][..], &signature[1..], &[&signature[..], &[0]].concat()] {
            let refusal = judge(&with_signature(signed, wrong), &keys, &Rules::default()).unwrap_err();
            assert_eq!(refusal.reason(), Reason::BadSignature, "{algorithm}");
        }
        let other = signed_part(&header(algorithm), &json!({"sub": "mallory", "exp": NOW + 60}));
        let refusal = judge(&with_signature(&other, &signature), &keys, &Rules::default()).unwrap_err();
        assert_eq!(refusal.reason(), Reason::BadSignature, "{algorithm}");
    }
}

#[test]
fn m14_a_key_verifies_only_under_its_own_algorithm() {
    let claims = json!({"sub": "alice", "exp": NOW + 60});
    for bound in Algorithm::ALL {
        let keys = keys(bound);
        for used in Algorithm::ALL.into_iter().filter(|used| *used != bound) {
            let text = sign(used, &header(used), &claims);
            let refusal = judge(&text, &keys, &Rules::default()).unwrap_err();
            assert_eq!(refusal.reason(), Reason::WrongAlgorithm, "{used} under {bound}");
        }
    }
}

#[test]
fn m14_alg_none_is_refused() {
    let claims = json!({"sub": "alice", "exp": NOW + 60});
    for name in ["none", "None", "NONE", "nOnE", "", "ES521", "ES256k"] {
        let signed = signed_part(&json!({"alg": name}), &claims);
        for signature in [&b""[..], b"x"] {
            let text = with_signature(&signed, signature);
            let refusal = judge(&text, &keys(Algorithm::Rs256), &Rules::default()).unwrap_err();
            assert_eq!(refusal, Refusal::Forged(Forged::WrongAlgorithm), "{name}");
        }
    }
}

#[test]
fn m14_hs256_signed_with_the_pem_text_is_refused() {
    let claims = json!({"sub": "alice", "exp": NOW + 60});
    for pem in [RSA_SPKI, P256_SPKI] {
        let text = sign_hs256(&claims, pem);
        for keys in [keys(Algorithm::Rs256), keys(Algorithm::Es256)] {
            let refusal = judge(&text, &keys, &Rules::default()).unwrap_err();
            assert_eq!(refusal.reason(), Reason::WrongAlgorithm);
        }
        for algorithm in [Algorithm::Hs256, Algorithm::Hs384, Algorithm::Hs512] {
            assert_eq!(
                KeySet::from_secret(algorithm, pem).err(),
                Some(KeyError::PemAsSecret)
            );
            let refused = KeySet::from_pem(algorithm, pem).err();
            assert_eq!(refused, Some(KeyError::SecretAlgorithm(algorithm)));
        }
    }
}

#[test]
fn m14_es256_in_der_form_is_refused() {
    let claims = json!({"sub": "alice", "exp": NOW + 60});
    let signed = signed_part(&header(Algorithm::Es256), &claims);
    let random = SystemRandom::new();
    let key = P256_KEY;
    let pair = signature::EcdsaKeyPair::from_pkcs8(&signature::ECDSA_P256_SHA256_ASN1_SIGNING, key, &random)
        .unwrap();
    let text = with_signature(&signed, pair.sign(&random, signed.as_bytes()).unwrap().as_ref());
    let refusal = judge(&text, &keys(Algorithm::Es256), &Rules::default()).unwrap_err();
    assert_eq!(refusal.reason(), Reason::BadSignature);
}

#[test]
fn r12_a_token_is_three_strict_base64url_parts() {
    let good = sign_hs256(&json!({"exp": NOW + 60}), SECRET);
    assert!(Token::parse(&good).is_ok());
    let (signed, signature) = good.rsplit_once('.').unwrap();
    for (text, why) in [
        (String::new(), JwsError::Parts),
        ("a.b".to_owned(), JwsError::Parts),
        (format!("{good}."), JwsError::Parts),
        (format!("{good}.x"), JwsError::Parts),
        (format!("{good}="), JwsError::Base64),
        (format!(" {good}"), JwsError::Base64),
        (format!("{good}\n"), JwsError::Base64),
        (format!("{signed}.{signature}+"), JwsError::Base64),
        (format!("{signed}.ab/c"), JwsError::Base64),
        // Two characters hold one byte and four bits that have to be zero.
        (format!("{signed}.QR"), JwsError::Base64),
        (format!("{signed}.Q"), JwsError::Base64),
        (format!(".{signed}"), JwsError::Header),
        (format!("e30.e30.{signature}"), JwsError::Header),
    ] {
        assert_eq!(Token::parse(&text).err(), Some(JwtError::Jws(why)), "{text}");
        assert_eq!(JwtError::Jws(why).reason(), Reason::MalformedCredential);
    }
    assert!(Token::parse(&format!("{signed}.QQ")).is_ok());
    assert!(Token::parse(&format!("{signed}.")).is_ok());
}

#[test]
fn r12_a_token_has_at_most_16_kib() {
    let token = |padding: usize| sign_hs256(&json!({"exp": NOW + 60, "pad": "x".repeat(padding)}), SECRET);
    let overhead = token(0).len();
    let fits = (MAX_TOKEN_BYTES - overhead) / 4 * 3 - 3;
    assert!(Token::parse(&token(fits)).is_ok());
    let error = Token::parse(&token(fits + 12)).err();
    assert_eq!(error, Some(JwtError::Jws(JwsError::TooLong)));
    assert!(Token::parse(&token(100_000)).is_err());
}

#[test]
fn r12_duplicate_members_are_refused() {
    let token = |header: &str, payload: &str| {
        let (header, payload) = (URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        Token::parse(&format!("{header}.{payload}.")).map(|_| ())
    };
    let alg = r#"{"alg":"HS256"}"#;
    assert_eq!(token(alg, "{}"), Ok(()));
    let header = Err(JwtError::Jws(JwsError::Header));
    assert_eq!(token(r#"{"alg":"HS256","alg":"none"}"#, "{}"), header);
    assert_eq!(token(r#"{"alg":1}"#, "{}"), header);
    assert_eq!(token(r#"{"alg":"HS256","kid":1}"#, "{}"), header);
    assert_eq!(token(r#"{"alg":"HS256","kid":null}"#, "{}"), header);
    assert_eq!(token(r#"{"alg":"HS256","typ":["JWT"]}"#, "{}"), header);
    for payload in [
        r#"{"exp":1,"exp":2}"#,
        r#"{"a":{"b":1,"b":2}}"#,
        r#"{"exp":1e400}"#,
        "[]",
        "foo",
        "",
        "{}{}",
    ] {
        assert_eq!(token(alg, payload), Err(JwtError::Claims), "{payload}");
    }
}

#[test]
fn r12_crit_and_foreign_types_are_refused() {
    let rules = Rules::default();
    for typ in ["JWT", "jwt", "at+jwt", "application/at+jwt", "Application/AT+JWT"] {
        assert!(
            judge_header(&json!({"alg": "HS256", "typ": typ}), &rules).is_ok(),
            "{typ}"
        );
    }
    for typ in ["", "JWE", "logout+jwt", "dpop+jwt", "application/jwtx", "JWT "] {
        let refusal = judge_header(&json!({"alg": "HS256", "typ": typ}), &rules).unwrap_err();
        assert_eq!(refusal, Refusal::TokenType, "{typ}");
    }
    let rules = Rules {
        token_type: Some("at+jwt".to_owned()),
        ..Rules::default()
    };
    for (typ, passes) in [("at+jwt", true), ("application/at+jwt", true), ("JWT", false)] {
        let judged = judge_header(&json!({"alg": "HS256", "typ": typ}), &rules);
        assert_eq!(judged.is_ok(), passes, "{typ}");
    }
    assert_eq!(
        judge_header(&json!({"alg": "HS256"}), &rules).unwrap_err(),
        Refusal::TokenType
    );
    for crit in [json!(["b64"]), json!([]), json!(["exp"]), json!(null)] {
        let refusal = judge_header(&json!({"alg": "HS256", "crit": crit}), &Rules::default()).unwrap_err();
        assert_eq!(refusal, Refusal::Forged(Forged::Critical));
    }
}

#[test]
fn r12_keys_that_a_token_brings_are_not_used() {
    let mut header = with(header(Algorithm::Es256), &[("jwk", p256_jwk())]);
    header["jku"] = json!("https://attacker.example/jwks");
    let text = sign(Algorithm::Es256, &header, &json!({"exp": NOW + 60}));
    let refusal = judge(&text, &keys(Algorithm::EdDsa), &Rules::default()).unwrap_err();
    assert_eq!(refusal.reason(), Reason::WrongAlgorithm);
    assert!(judge(&text, &keys(Algorithm::Es256), &Rules::default()).is_ok());
}

#[test]
fn r5_expired_is_named_only_after_the_signature_verified() {
    let keys = KeySet::from_secret(Algorithm::Hs256, SECRET).unwrap();
    let text = sign_hs256(&json!({"exp": 1}), b"another secret of the same length");
    let refusal = judge(&text, &keys, &Rules::default()).unwrap_err();
    assert_eq!(refusal.reason(), Reason::BadSignature);
}

#[test]
fn what_is_no_jwt_is_told_by_its_shape() {
    for text in ["a.b.c", "a.b.", "eyJ_.e-0.x"] {
        assert!(looks_like_jwt(text), "{text}");
    }
    for text in [
        "", "a", "a.b", "a.b.c.d", ".b.c", "a..c", "a.b.c=", "a.b.c d", "..", "ticket",
    ] {
        assert!(!looks_like_jwt(text), "{text}");
    }
}

#[test]
fn r10_debug_shows_nothing_of_a_token() {
    let text = sign_hs256(&json!({"sub": "alice", "exp": NOW + 60}), SECRET);
    let shown = format!("{:?}", Token::parse(&text).unwrap());
    assert_eq!(shown, format!("Token(Compact({} bytes))", text.len()));
    assert_eq!(format!("{:?}", keys(Algorithm::Hs256)), "KeySet(1 keys)");
}
