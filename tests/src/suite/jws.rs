//! Signatures: every algorithm, and how keys are bound to them.

use serde_json::json;

use super::load_error;
use crate::client::upgrade;
use crate::keys::{Signer, flip_a_bit};
use crate::world::{Setup, World};

/// M14: each algorithm verifies, and one flipped bit does not.
pub fn m14_every_algorithm_verifies(world: &World) {
    for algorithm in [
        "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "ES256K", "EdDSA",
    ] {
        let key = Signer::of(algorithm);
        let stage = Setup::standard()
            .tokens_only()
            .public_key(algorithm, &key.public_pem())
            .start(world);
        let token = stage.token("alice").signed(&key);
        let mut client = stage.connect();
        let flipped = upgrade("/api/ws").bearer(&flip_a_bit(&token));
        assert_eq!(client.ask(&flipped).status, 401, "{algorithm}");
        client.open(&upgrade("/api/ws").bearer(&token));
    }
}

/// M14: a key is bound to its algorithm: an RSA key for RS256 does not verify PS256.
pub fn m14_a_key_verifies_its_algorithm_alone(world: &World) {
    let key = Signer::of("RS256");
    let stage = Setup::standard()
        .tokens_only()
        .public_key("RS256", &key.public_pem())
        .start(world);
    for other in ["PS256", "RS512"] {
        let token = stage.token("alice").signed(&Signer::of(other));
        assert_eq!(
            stage.connect().ask(&upgrade("/api/ws").bearer(&token)).status,
            401
        );
    }
}

/// M14: HS256 over the text of the public key is the classic confusion.
pub fn m14_hs256_signed_with_the_pem_is_refused(world: &World) {
    let key = Signer::of("RS256");
    let pem = key.public_pem();
    let stage = Setup::standard()
        .tokens_only()
        .public_key("RS256", &pem)
        .start(world);
    let token = stage
        .token("alice")
        .signed(&Signer::Hs256(pem.clone().into_bytes()));
    assert_eq!(
        stage.connect().ask(&upgrade("/api/ws").bearer(&token)).status,
        401
    );
}

/// M14: what cannot be verified does not load: HMAC under `publicKey`, a PEM as a secret, a short
/// secret, a key of another kind.
pub fn m14_wrong_keys_do_not_load(_world: &World) {
    let pem = Signer::of("RS256").public_pem();
    let setup = || Setup::standard().tokens_only();
    let secret = |bytes: &[u8]| setup().file("secret.key", bytes);
    for (wrong, word) in [
        (setup().public_key("HS256", &pem), "HS256"),
        (secret(pem.as_bytes()), "secret.key"),
        (secret(b"too short"), "secret.key"),
        (setup().public_key("ES256", &pem), "issuer.pem"),
        (setup().public_key("ES512", &pem), "issuer.pem"),
        (setup().public_key("ES256K", &pem), "issuer.pem"),
        (setup().public_key("RS256", "nothing"), "issuer.pem"),
    ] {
        let error = load_error(&wrong);
        assert!(error.contains(word), "{word}: {error}");
    }
}

/// M15: the token's kid chooses the key; an unknown one is refused.
pub fn m15_kid_chooses_the_key(world: &World) {
    let key = Signer::of("EdDSA");
    let other = json!({"kty": "OKP", "crv": "Ed25519", "kid": "1", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    let keys = json!({"keys": [other, key.jwk("2")]}).to_string();
    let verification = json!({"jwks": {"keyFile": "jwks.json"}});
    let stage = Setup::standard()
        .tokens_only()
        .jwt("verification", verification)
        .file("jwks.json", keys)
        .start(world);
    let ask = |kid: &str| {
        let token = stage.token("alice").parameter("kid", kid).signed(&key);
        stage.connect().ask(&upgrade("/api/ws").bearer(&token)).status
    };
    assert_eq!(ask("2"), 101);
    assert_eq!([ask("1"), ask("3"), ask("../2"), ask("")], [401; 4]);
    let without = stage.token("alice").signed(&key);
    assert_eq!(
        stage.connect().ask(&upgrade("/api/ws").bearer(&without)).status,
        401,
        "two keys fit"
    );
}

/// R12: a token that names no key passes if exactly one fits.
pub fn r12_without_kid_the_only_key_counts(world: &World) {
    let key = Signer::of("EdDSA");
    let keys = json!({"keys": [key.jwk("2")]}).to_string();
    let verification = json!({"jwks": {"keyFile": "jwks.json"}});
    let stage = Setup::standard()
        .tokens_only()
        .jwt("verification", verification)
        .file("jwks.json", keys)
        .start(world);
    stage
        .connect()
        .open(&upgrade("/api/ws").bearer(&stage.token("alice").signed(&key)));
}

/// R12: keys inside the token, or addresses of keys, are never used.
pub fn r12_keys_in_the_token_are_not_used(world: &World) {
    let key = Signer::of("EdDSA");
    let stage = Setup::standard().tokens_only().start(world);
    let token = stage
        .token("alice")
        .parameter("jwk", key.jwk("2"))
        .parameter("jku", "https://evil.example/");
    assert_eq!(
        stage
            .connect()
            .ask(&upgrade("/api/ws").bearer(&token.signed(&key)))
            .status,
        401
    );
}
