//! Which keys load, and which of them a token selects.

use countersign_core::auth::algorithm::Algorithm;
use countersign_core::auth::jwk::{JwkError, KeyError, KeySet, MAX_JWKS_BYTES, MAX_JWKS_KEYS, Skip};
use countersign_core::auth::jws::Forged;
use countersign_core::auth::jwt::{Refusal, Rules};
use countersign_core::reason::Reason;
use serde_json::{Value, json};

use crate::fixtures::*;

#[test]
fn m14_every_pem_form_of_a_key_loads() {
    let claims = json!({"sub": "alice", "exp": NOW + 60});
    let text = sign(Algorithm::Rs256, &header(Algorithm::Rs256), &claims);
    let forms: [&[u8]; 3] = [
        RSA_SPKI,
        include_bytes!("../data/keys/rsa.pkcs1.pem"),
        include_bytes!("../data/keys/rsa.cert.pem"),
    ];
    for pem in forms {
        let keys = KeySet::from_pem(Algorithm::Rs256, pem).unwrap();
        assert!(judge(&text, &keys, &Rules::default()).is_ok());
        assert_eq!(keys.largest_rsa_bits(), Some(2048));
    }
    let text = sign(Algorithm::Es256, &header(Algorithm::Es256), &claims);
    let keys = KeySet::from_pem(Algorithm::Es256, include_bytes!("../data/keys/p256.cert.pem")).unwrap();
    assert!(judge(&text, &keys, &Rules::default()).is_ok());
}

#[test]
fn m14_a_key_that_does_not_fit_is_a_load_error() {
    let error = |algorithm, pem: &[u8]| KeySet::from_pem(algorithm, pem).err().unwrap();
    for algorithm in [Algorithm::Es256, Algorithm::Es384, Algorithm::EdDsa] {
        assert!(matches!(error(algorithm, RSA_SPKI), KeyError::WrongKind { .. }));
    }
    assert!(matches!(
        error(Algorithm::Rs256, P256_SPKI),
        KeyError::WrongKind { .. }
    ));
    assert!(matches!(
        error(Algorithm::Es384, P256_SPKI),
        KeyError::WrongKind { .. }
    ));
    let small = include_bytes!("../data/keys/rsa1024.spki.pem");
    assert_eq!(error(Algorithm::Rs256, small), KeyError::RsaSize { bits: 1024 });
    for other in [P521_SPKI, SECP256K1_SPKI] {
        assert!(matches!(
            error(Algorithm::Es256, other),
            KeyError::WrongKind { .. }
        ));
    }
    let ed448 = include_bytes!("../data/keys/ed448.spki.pem");
    assert_eq!(error(Algorithm::EdDsa, ed448), KeyError::UnknownKind);
    let compressed = include_bytes!("../data/keys/p256.compressed.pem");
    assert_eq!(error(Algorithm::Es256, compressed), KeyError::Malformed);
    let private = include_bytes!("../data/keys/ed25519.private.pem");
    assert_eq!(error(Algorithm::EdDsa, private), KeyError::PrivateKey);
    let two = [RSA_SPKI, P256_SPKI].concat();
    assert_eq!(error(Algorithm::Rs256, &two), KeyError::SeveralKeys);
    for nothing in [&b""[..], b"hello", b"\xff", b"-----BEGIN PUBLIC KEY-----\nAAAA\n"] {
        assert_eq!(error(Algorithm::Rs256, nothing), KeyError::NotPem);
    }
    let broken = b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n";
    assert_eq!(error(Algorithm::Rs256, broken), KeyError::Malformed);
    for end in 0..RSA_SPKI.len() - 1 {
        assert!(KeySet::from_pem(Algorithm::Rs256, &RSA_SPKI[..end]).is_err());
    }
}

#[test]
fn m14_a_secret_has_at_least_the_length_of_the_hash() {
    for (algorithm, least) in [
        (Algorithm::Hs256, 32),
        (Algorithm::Hs384, 48),
        (Algorithm::Hs512, 64),
    ] {
        assert!(KeySet::from_secret(algorithm, &vec![7; least]).is_ok());
        let short = KeySet::from_secret(algorithm, &vec![7; least - 1]).err();
        let found = least - 1;
        assert_eq!(short, Some(KeyError::ShortSecret { least, found }));
    }
    let refused = KeySet::from_secret(Algorithm::Es256, SECRET).err();
    assert_eq!(refused, Some(KeyError::PublicKeyAlgorithm(Algorithm::Es256)));
}

#[test]
fn m15_the_kid_selects_the_key() {
    let claims = json!({"sub": "alice", "exp": NOW + 60});
    let (set, skipped) = jwks(&[
        with(rsa_jwk(), &[("kid", json!("1"))]),
        with(p256_jwk(), &[("kid", json!("2")), ("use", json!("sig"))]),
    ]);
    assert_eq!((set.len(), skipped.len()), (2, 0));
    let token = |kid: Option<&str>| {
        let mut header = header(Algorithm::Es256);
        if let Some(kid) = kid {
            header["kid"] = json!(kid);
        }
        sign(Algorithm::Es256, &header, &claims)
    };
    assert!(judge(&token(Some("2")), &set, &Rules::default()).is_ok());
    let other = judge(&token(Some("1")), &set, &Rules::default()).unwrap_err();
    assert_eq!(other.reason(), Reason::WrongAlgorithm);
    for unknown in ["3", "", "../../etc/passwd", "2 ", "\u{0}"] {
        let refusal = judge(&token(Some(unknown)), &set, &Rules::default()).unwrap_err();
        assert_eq!(refusal.reason(), Reason::UnknownKey, "{unknown}");
        assert!(refusal.wants_fresh_keys() && !set.knows(unknown));
    }
    assert!(judge(&token(None), &set, &Rules::default()).is_ok());
}

#[test]
fn m15_without_kid_exactly_one_key_has_to_fit() {
    let claims = json!({"sub": "alice", "exp": NOW + 60});
    let text = sign(Algorithm::Es256, &header(Algorithm::Es256), &claims);
    let key = |kid: &str| with(p256_jwk(), &[("kid", json!(kid))]);
    let (one, _) = jwks(&[key("1"), rsa_jwk()]);
    assert!(judge(&text, &one, &Rules::default()).is_ok());
    for set in [
        jwks(&[key("1"), key("2")]).0,
        jwks(&[rsa_jwk()]).0,
        KeySet::default(),
    ] {
        let refusal = judge(&text, &set, &Rules::default()).unwrap_err();
        assert_eq!(refusal, Refusal::Forged(Forged::NoSingleKey));
        assert!(!refusal.wants_fresh_keys());
    }
}

#[test]
fn r12_a_jwk_without_alg_is_bound_by_its_kind() {
    let claims = json!({"sub": "alice", "exp": NOW + 60});
    let accepts = |set: &KeySet, algorithm| {
        judge(
            &sign(algorithm, &header(algorithm), &claims),
            set,
            &Rules::default(),
        )
        .is_ok()
    };
    for (key, algorithm, other) in [
        (p256_jwk(), Algorithm::Es256, Algorithm::Es384),
        (ed25519_jwk(), Algorithm::EdDsa, Algorithm::Es256),
    ] {
        let (set, _) = jwks(&[key]);
        assert!(accepts(&set, algorithm) && !accepts(&set, other));
    }
    let text = json!({"keys": [rsa_jwk()]}).to_string();
    let (set, _) = KeySet::from_jwks(text.as_bytes(), &[]).unwrap();
    assert!(accepts(&set, Algorithm::Rs256) && !accepts(&set, Algorithm::Ps256));
    let listed = [Algorithm::Ps256, Algorithm::Rs512, Algorithm::Hs256];
    let (set, _) = KeySet::from_jwks(text.as_bytes(), &listed).unwrap();
    assert!(accepts(&set, Algorithm::Ps256) && accepts(&set, Algorithm::Rs512));
    assert!(!accepts(&set, Algorithm::Rs256) && !accepts(&set, Algorithm::Hs256));
    let (set, _) = jwks(&[with(rsa_jwk(), &[("alg", json!("PS384"))])]);
    assert!(accepts(&set, Algorithm::Ps384) && !accepts(&set, Algorithm::Rs256));
}

#[test]
fn r12_unusable_jwks_are_skipped_and_reported() {
    let es256 = || p256_jwk();
    let refused = |member: &str, value: Value| {
        let (set, skipped) = jwks(&[with(es256(), &[(member, value)])]);
        assert!(set.is_empty());
        skipped[0]
    };
    assert_eq!(refused("use", json!("enc")), Skip::OtherUse);
    assert_eq!(refused("use", json!(1)), Skip::Malformed("use"));
    assert_eq!(refused("key_ops", json!(["sign"])), Skip::OtherUse);
    assert_eq!(refused("key_ops", json!("verify")), Skip::Malformed("key_ops"));
    assert_eq!(refused("kty", json!("oct")), Skip::Secret);
    assert_eq!(refused("kty", json!("ec")), Skip::UnknownKind);
    assert_eq!(refused("kid", json!(1)), Skip::Malformed("kid"));
    assert_eq!(refused("alg", json!("ES384")), Skip::OtherAlgorithm);
    assert_eq!(refused("alg", json!("HS256")), Skip::OtherAlgorithm);
    assert_eq!(refused("alg", json!("none")), Skip::OtherAlgorithm);
    assert_eq!(refused("alg", json!("ES256K")), Skip::OtherAlgorithm);
    assert_eq!(refused("alg", json!("ES521")), Skip::OtherAlgorithm);
    assert_eq!(refused("crv", json!("P-521")), Skip::Malformed("a coordinate"));
    assert_eq!(
        refused("crv", json!("secp256k1")),
        Skip::Refused(KeyError::Malformed)
    );
    assert_eq!(refused("crv", json!("P-192")), Skip::UnknownKind);
    assert_eq!(refused("x", json!("AA")), Skip::Malformed("a coordinate"));
    assert_eq!(refused("x", json!("AA==")), Skip::Malformed("x"));
    let (_, skipped) = jwks(&[with(rsa_jwk(), &[("e", json!("AQ"))]), json!("x"), json!({})]);
    assert_eq!(
        skipped,
        [
            Skip::Refused(KeyError::RsaComponents),
            Skip::Malformed("the key"),
            Skip::Malformed("kty")
        ]
    );
    let (set, skipped) = jwks(&[with(
        es256(),
        &[("key_ops", json!(["verify"])), ("x5u", json!("https://a"))],
    )]);
    assert_eq!((set.len(), skipped.len()), (1, 0));
}

#[test]
fn r12_keys_that_share_a_kid_are_all_skipped() {
    let key = |jwk, kid: &str| with(jwk, &[("kid", json!(kid))]);
    let (set, skipped) = jwks(&[key(p256_jwk(), "1"), key(rsa_jwk(), "2"), key(ed25519_jwk(), "1")]);
    assert_eq!(set.len(), 1);
    assert_eq!(skipped, [Skip::DuplicateKid, Skip::DuplicateKid]);
    assert!(set.knows("2") && !set.knows("1"));
}

#[test]
fn r12_a_jwks_is_bounded_and_strict() {
    let error = |text: &str| KeySet::from_jwks(text.as_bytes(), &[]).err().unwrap();
    for text in [
        "",
        "[]",
        "{\"keys\":[],\"keys\":[]}",
        "{\"keys\":[{\"kty\":\"EC\",\"kty\":\"EC\"}]}",
    ] {
        assert_eq!(error(text), JwkError::NotJson, "{text}");
    }
    for text in ["{}", "{\"keys\":{}}"] {
        assert_eq!(error(text), JwkError::NoKeys, "{text}");
    }
    let many = |count| json!({"keys": vec![json!({}); count]}).to_string();
    assert_eq!(error(&many(MAX_JWKS_KEYS + 1)), JwkError::TooManyKeys);
    assert!(KeySet::from_jwks(many(MAX_JWKS_KEYS).as_bytes(), &[]).is_ok());
    let padded = |length: usize| format!("{{\"keys\":[]{}}}", " ".repeat(length - 11));
    assert_eq!(error(&padded(MAX_JWKS_BYTES + 1)), JwkError::TooLarge);
    assert!(KeySet::from_jwks(padded(MAX_JWKS_BYTES).as_bytes(), &[]).is_ok());
}
