//! New rules while the server runs.

use serde_json::json;

use crate::client::{Frame, upgrade};
use crate::keys::Signer;
use crate::world::{BOB, Setup, World};

/// R14, B12: a user who left the file loses the socket; who stays in it keeps it.
pub fn r14_a_removed_user_loses_the_socket(world: &World) {
    let stage = Setup::standard().start(world);
    let open = |user, password| {
        let mut client = stage.connect();
        client.open(&upgrade("/api/ws").basic(user, password));
        client
    };
    let mut alice = open("alice", "correct horse");
    let mut bob = open(BOB.0, BOB.1);
    let kept: Vec<_> = Setup::passwords()
        .lines()
        .filter(|line| !line.starts_with("bob:"))
        .collect();
    stage.replace("users.htpasswd", kept.join("\n").as_bytes());
    bob.expect_close(3003, "access changed");
    alice.expect_echo(&Frame::text("still here"));
    assert_eq!(
        stage
            .connect()
            .ask(&upgrade("/api/ws").basic(BOB.0, BOB.1))
            .status,
        401
    );
}

/// R14: a lost role is a lost socket, where the service needs it.
pub fn r14_a_lost_role_loses_the_socket(world: &World) {
    let stage = Setup::standard()
        .service("requireRoles", json!(["operators"]))
        .start(world);
    let mut client = stage.connect();
    client.open(&upgrade("/api/ws").basic("alice", "correct horse"));
    stage.replace("users.htgroup", b"operators: bob\n");
    client.expect_close(3003, "access changed");
    assert_eq!(
        stage
            .connect()
            .ask(&upgrade("/api/ws").basic("alice", "correct horse"))
            .status,
        403
    );
}

/// M15: a new key works without a restart, and sockets under a key that stays are not touched.
pub fn m15_a_replaced_key_set_is_found(world: &World) {
    let key = Signer::of("EdDSA");
    let fresh = Signer::EdDsa(ring::signature::Ed25519KeyPair::from_seed_unchecked(&[9; 32]).unwrap());
    let set = |keys| json!({"keys": keys}).to_string();
    let verification = json!({"jwks": {"keyFile": "jwks.json"}});
    let setup = Setup::standard()
        .patient()
        .tokens_only()
        .jwt("verification", verification);
    let stage = setup.file("jwks.json", set(json!([key.jwk("1")]))).start(world);
    let token = |kid: &str, key: &Signer| stage.token("alice").parameter("kid", kid).signed(key);
    let mut client = stage.connect();
    client.open(&upgrade("/api/ws").bearer(&token("1", &key)));
    let second = upgrade("/api/ws").bearer(&token("2", &fresh));
    assert_eq!(stage.connect().ask(&second).status, 401);
    stage.replace("jwks.json", set(json!([key.jwk("1"), fresh.jwk("2")])).as_bytes());
    stage.wait_until("the new key", |stage| stage.connect().ask(&second).status == 101);
    client.expect_echo(&Frame::text("still here"));
}

/// E16: a bad file is reported once and changes nothing.
pub fn e16_a_bad_file_changes_nothing(world: &World) {
    let stage = Setup::standard().start(world);
    let mut client = stage.connect();
    client.open(&upgrade("/api/ws").basic("alice", "correct horse"));
    stage.replace("users.htpasswd", b"alice:clear text\n");
    stage.wait_until("the report", |stage| stage.reload_failures() == 1);
    client.expect_echo(&Frame::text("still here"));
    stage
        .connect()
        .open(&upgrade("/api/ws").basic("alice", "correct horse"));
}
