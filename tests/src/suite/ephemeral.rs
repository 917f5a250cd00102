//! Credentials that a shared secret signs and that expire by themselves.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use serde_json::json;

use super::{load_error, refused_but_kept};
use crate::client::{Frame, Request, upgrade};
use crate::world::{Setup, Stage, World};

/// A realm with one `ephemeral` module whose secrets are `new` and `old`.
fn setup() -> Setup {
    let module =
        json!({"type": "ephemeral", "success": "sufficient", "secrets": ["new.secret", "old.secret"]});
    Setup::standard()
        .realm("challenges", json!(["Basic"]))
        .realm("loginModules", json!([module]))
        .file("new.secret", "new\n")
        .file("old.secret", "old")
}

fn signed(name: &str, secret: &str) -> Request {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let mac = STANDARD.encode(hmac::sign(&key, name.as_bytes()));
    upgrade("/api/ws").basic(name, &mac)
}

/// A name that is right for `seconds` more.
fn name(stage: &Stage, seconds: u64) -> String {
    format!("{}:foo@bar.com", stage.unix().as_secs() + seconds)
}

/// M36: before the expiry 101, with the subject behind the first colon, after it 401.
pub fn m36_a_signed_name_is_granted_until_it_expires(world: &World) {
    let stage = setup().start(world);
    stage.connect().open(&signed(&name(&stage, 60), "new"));
    let granted = &stage.decisions(1)[0];
    assert_eq!(granted.subject.as_deref(), Some("foo@bar.com"));
    let expired = format!("{}:foo@bar.com", stage.unix().as_secs());
    refused_but_kept(&stage, &signed(&expired, "new"), 401);
    assert_eq!(stage.decisions(2)[1].reason.code(), "expired");
}

/// M36, R14: the socket gets Close 3000 when the credential expires.
pub fn m36_the_socket_ends_with_the_credential(world: &World) {
    let stage = setup().start(world);
    let expiry = stage.unix().as_secs() + 2;
    let mut client = stage.connect();
    client.open(&signed(&format!("{expiry}:alice"), "new"));
    client.expect_echo(&Frame::text("before"));
    client.expect_close(3000, "token expired");
    let closed = stage.unix().since_epoch();
    let expiry = Duration::from_secs(expiry);
    assert!(
        closed >= expiry && closed < expiry + Duration::from_secs(1),
        "closed at {closed:?}"
    );
}

/// M36: during a rotation credentials of either secret are right, those of a third are not.
pub fn m36_each_secret_of_a_rotation_counts(world: &World) {
    let stage = setup().start(world);
    for secret in ["new", "old"] {
        stage.connect().open(&signed(&name(&stage, 60), secret));
    }
    refused_but_kept(&stage, &signed(&name(&stage, 60), "new\n"), 401);
}

/// M36: a name without a number in front, an unsigned one, and a token: all 401 alike.
pub fn m36_what_is_not_signed_or_expired_is_401(world: &World) {
    let stage = setup().start(world);
    let answers: Vec<_> = [
        signed("soon:alice", "new"),
        signed("alice", "new"),
        signed(&format!("-{}", name(&stage, 60)), "new"),
        upgrade("/api/ws").basic(&name(&stage, 60), "guess"),
        upgrade("/api/ws").basic(&name(&stage, 60), ""),
    ]
    .iter()
    .map(|request| refused_but_kept(&stage, request, 401).masked())
    .collect();
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    let reasons: Vec<_> = stage
        .decisions(5)
        .iter()
        .map(|decision| decision.reason.code())
        .collect();
    assert_eq!(
        reasons,
        [
            "unknown_user",
            "unknown_user",
            "unknown_user",
            "bad_password",
            "bad_password"
        ]
    );
}

/// An empty secret and a PEM file are no secrets.
pub fn m36_a_bad_secret_file_does_not_load(_world: &World) {
    for (bad, said) in [
        ("\n", "the secret is empty"),
        ("-----BEGIN CERTIFICATE-----\n", "PEM"),
    ] {
        let error = load_error(&setup().file("old.secret", bad));
        assert!(
            error.contains("loginModules[0].secrets[1]") && error.contains(said),
            "{error}"
        );
    }
    let error = load_error(&setup().set("/realms/demo/loginModules/0/secrets", json!([])));
    assert!(error.contains("secrets"), "{error}");
    let many: Vec<_> = (0..17).map(|number| format!("{number}.secret")).collect();
    let error = load_error(&setup().set("/realms/demo/loginModules/0/secrets", json!(many)));
    assert!(error.contains("more than 16 secrets"), "{error}");
}
