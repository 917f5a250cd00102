//! New rules while the server runs.

use countersign_core::time::UnixTime;
use serde_json::{Value, json};

use super::form::{APP, log_in, with_form};
use crate::client::{Frame, Request, get, upgrade};
use crate::keys::{Signer, Token};
use crate::world::{BOB, Setup, Stage, World};

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

/// What a client with this request loses the socket by.
type Change = (&'static str, Setup, Request, Setup);

fn alice() -> Request {
    upgrade("/api/ws").basic("alice", "correct horse")
}

/// Puts `changed` in place of what runs, and reads it.
fn reload(stage: &Stage, changed: &Setup) {
    for (name, bytes) in changed.all_files() {
        stage.replace(&name, &bytes);
    }
    stage.reload();
}

fn token(stage_unix: UnixTime) -> Request {
    let token = Token::new("alice", stage_unix)
        .claim("scope", "a")
        .claim("tier", "gold");
    upgrade("/api/ws").bearer(&token.text())
}

fn denials(unix: UnixTime) -> Vec<Change> {
    let standard = Setup::standard;
    let mfa = json!({"loginModules": [{"type": "jwt", "success": "sufficient", "issuer": "https://mfa.example",
        "audience": "ws", "verification": {"secret": {"HS256": {"keyFile": "secret.key"}}}}]});
    let public = standard()
        .unset("/services/echo/realm")
        .unset("/services/echo/origins")
        .service("public", true);
    let anonymous = standard().realm("anonymous", json!({}));
    let other = json!({"type": "echo", "accept": "/other", "public": true});
    let deny = json!({"entries": [{"role": "Everyone", "deny": ["websocket.connect"]}]});
    let required = |module: Value| {
        let modules =
            json!([{"type": "users", "success": "required", "passwords": "users.htpasswd"}, module]);
        standard().realm("loginModules", modules)
    };
    let bare = upgrade("/api/ws");
    vec![
        (
            "a role",
            standard(),
            token(unix),
            standard().service("requireRoles", json!(["admin"])),
        ),
        (
            "a scope",
            standard(),
            token(unix),
            standard().service("requireScopes", json!(["b"])),
        ),
        (
            "an entitlement",
            standard(),
            alice(),
            standard().service("acl", deny),
        ),
        (
            "a claim",
            standard(),
            token(unix),
            standard().jwt("claims", json!({"tier": ["iron"]})),
        ),
        (
            "an audience",
            standard(),
            token(unix),
            standard().jwt("audience", "others"),
        ),
        (
            "a key",
            standard(),
            token(unix),
            standard().file("secret.key", [7; 32]),
        ),
        (
            "a changed password",
            standard(),
            alice(),
            standard().file(
                "users.htpasswd",
                Setup::passwords().replace("$2b$04$a", "$2b$04$b"),
            ),
        ),
        (
            "a module",
            standard(),
            token(unix),
            required(json!({"type": "users", "success": "optional",
            "passwords": "users.htpasswd"}))
            .realm("challenges", json!(["Basic"])),
        ),
        (
            "a further factor",
            standard(),
            alice(),
            standard()
                .set("/realms/second", mfa)
                .service("realm", json!(["demo", "second"])),
        ),
        (
            "a realm of another name",
            standard(),
            alice(),
            standard()
                .set(
                    "/realms/twin",
                    json!({"loginModules": [
            {"type": "users", "success": "required", "passwords": "users.htpasswd"}]}),
                )
                .service("realm", "twin"),
        ),
        (
            "no service",
            standard().set("/services/other", other.clone()),
            alice(),
            standard()
                .set("/services/other", other)
                .set("/servers/0/services", json!(["other"])),
        ),
        (
            "a service that is switched off",
            standard(),
            alice(),
            standard().service("enabled", false),
        ),
        ("no place for nobody", anonymous, bare.clone(), standard()),
        ("a realm for a public service", public, bare, standard()),
    ]
}

/// B12, E16: what a new handshake with the same credential would be refused by closes the socket.
pub fn b12_what_new_rules_deny_is_closed(world: &World) {
    let unix = Setup::standard().start(world).unix();
    for (what, setup, request, changed) in denials(unix) {
        let stage = setup.start(world);
        let mut client = stage.connect();
        client.open(&request);
        // Read once more as it was, it closes nothing.
        stage.reload();
        client.expect_echo(&Frame::text(what));
        reload(&stage, &changed);
        client.expect_close(3003, "access changed");
        let status = stage.connect().ask(&request).status;
        // The realm is a part of who a client is: under another one it is somebody else.
        let another = what == "a realm of another name";
        assert!(
            [401, 403, 404, 503].contains(&status) || another,
            "{what}: {status}"
        );
    }
}

/// B12: what does not concern a client does not touch its socket.
pub fn b12_what_new_rules_allow_stays_open(world: &World) {
    let standard = || Setup::standard().service("requireRoles", json!(["Everyone"]));
    let unix = standard().start(world).unix();
    let users = json!({"type": "users", "success": "sufficient", "passwords": "users.htpasswd",
        "groups": "users.htgroup"});
    let before = json!({"type": "jwt", "success": "sufficient", "issuer": "https://new.example", "audience": "ws",
        "verification": {"secret": {"HS256": {"keyFile": "secret.key"}}}});
    for (what, request, changed) in [
        (
            "another user",
            alice(),
            standard().file("users.htpasswd", Setup::passwords().replace("bob:", "rob:")),
        ),
        (
            "a role that is held",
            alice(),
            standard().service("requireRoles", json!(["operators"])),
        ),
        (
            "a scope that is held",
            token(unix),
            standard().service("requireScopes", json!(["a"])),
        ),
        (
            "a claim that is had",
            token(unix),
            standard().jwt("claims", json!({"tier": ["iron", "gold"]})),
        ),
        (
            "a module before",
            alice(),
            standard().realm("loginModules", json!([before, users])),
        ),
        (
            "no realm any more",
            alice(),
            standard()
                .unset("/services/echo/realm")
                .unset("/services/echo/origins")
                .unset("/services/echo/requireRoles")
                .service("public", true),
        ),
        (
            "an idle time",
            alice(),
            standard().service("idleTimeout", "1 hour"),
        ),
    ] {
        let stage = standard().start(world);
        let mut client = stage.connect();
        client.open(&request);
        reload(&stage, &changed);
        client.expect_echo(&Frame::text(what));
        stage.reload();
        client.expect_echo(&Frame::text("and once more"));
    }
}

/// B12, R6: a further factor counts for as long as the first one.
pub fn b12_a_further_factor_is_judged_again(world: &World) {
    let second = |key: &str| {
        json!({"loginModules": [{"type": "jwt", "success": "sufficient", "issuer": "https://mfa.example",
            "audience": "ws", "verification": {"secret": {"HS256": {"keyFile": key}}}}]})
    };
    let two = |key| {
        Setup::standard()
            .set("/realms/second", second(key))
            .service("realm", json!(["demo", "second"]))
            .file("other.key", [9; 32])
    };
    let stage = two("secret.key").start(world);
    let identity = stage.connect().ask(&alice());
    let identity = identity.one("Sec-Challenge-Identity").unwrap().to_owned();
    let token = stage.token("alice").claim("iss", "https://mfa.example");
    let mut client = stage.connect();
    client.open(
        &upgrade("/api/ws")
            .field("Sec-Challenge-Identity", &identity)
            .bearer(&token.text()),
    );
    reload(&stage, &two("secret.key"));
    client.expect_echo(&Frame::text("both are good"));
    reload(&stage, &two("other.key"));
    client.expect_close(3003, "access changed");
}

/// B12, R14: what stands behind a ticket or a session stands behind its socket too.
pub fn b12_tickets_and_sessions_are_judged_again(world: &World) {
    let setup = || with_form().realm("tickets", json!({}));
    let stage = setup().start(world);
    let session = log_in(&stage);
    let mut by_session = stage.connect();
    by_session.open(&upgrade("/api/ws").field("Cookie", &session).origin(APP));
    let order = get("/ticket").method("POST").bearer(&stage.token("bob").text());
    let minted = stage.connect().ask(&order);
    let ticket: Value = serde_json::from_slice(&minted.body).unwrap();
    let mut by_ticket = stage.connect();
    let target = format!("/api/ws?ticket={}", ticket["ticket"].as_str().unwrap());
    by_ticket.open(&upgrade(&target));
    reload(&stage, &setup().file("users.htgroup", "operators: bob\n"));
    by_ticket.expect_echo(&Frame::text("still here"));
    by_session.expect_echo(&Frame::text("still here"));
    reload(&stage, &setup().file("secret.key", [7; 32]));
    by_ticket.expect_close(3003, "access changed");
    by_session.expect_echo(&Frame::text("still here"));
    let others = Setup::passwords().replace("alice:", "zoe:");
    reload(
        &stage,
        &setup().file("secret.key", [7; 32]).file("users.htpasswd", others),
    );
    by_session.expect_close(3003, "access changed");
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
