//! What an authenticated client still needs: roles, scopes, and the order of the checks.

use serde_json::json;

use super::{refused, refused_but_kept};
use crate::client::upgrade;
use crate::world::{Setup, World};

/// M25, reference E: a missing role is 403 without any challenge.
pub fn m25_a_missing_role_is_403(world: &World) {
    let stage = Setup::standard()
        .service("requireRoles", json!(["operators"]))
        .start(world);
    stage
        .connect()
        .open(&upgrade("/api/ws").basic("alice", "correct horse"));
    let answer = refused_but_kept(&stage, &upgrade("/api/ws").basic("bob", "battery staple"), 403);
    assert!(answer.all("WWW-Authenticate").is_empty() && !answer.masked().contains("error"));
    assert_eq!(answer.body, b"forbidden\n");
    let decisions = stage.decisions(2);
    let decided: Vec<_> = decisions
        .iter()
        .map(|decision| (decision.reason.code(), decision.subject.as_deref()))
        .collect();
    assert_eq!(
        decided,
        [("granted", Some("alice")), ("missing_role", Some("bob"))]
    );
}

/// M25: no list, and `*`, mean any authenticated client.
pub fn m25_without_roles_anybody_known_passes(world: &World) {
    for setup in [
        Setup::standard(),
        Setup::standard().service("requireRoles", json!(["*"])),
    ] {
        let stage = setup.start(world);
        stage
            .connect()
            .open(&upgrade("/api/ws").basic("bob", "battery staple"));
        assert_eq!(stage.connect().ask(&upgrade("/api/ws")).status, 401);
    }
}

/// M25: all roles are needed, and a token's roles count as a group's do.
pub fn m25_all_roles_are_needed(world: &World) {
    let stage = Setup::standard()
        .service("requireRoles", json!(["operators", "admin", "Everyone"]))
        .start(world);
    let ask = |group| {
        let token = stage.token("carol").claim("group", group).text();
        stage.connect().ask(&upgrade("/api/ws").bearer(&token)).status
    };
    assert_eq!(ask(json!(["operators", "admin"])), 101);
    assert_eq!(
        [ask(json!(["admin"])), ask(json!("operators")), ask(json!([]))],
        [403; 3]
    );
}

/// M23: a user who is called like a role does not have it.
pub fn m23_a_user_named_like_a_role_gains_nothing(world: &World) {
    let stage = Setup::standard()
        .service("requireRoles", json!(["operators"]))
        .start(world);
    let token = stage.token("operators").text();
    assert_eq!(
        stage.connect().ask(&upgrade("/api/ws").bearer(&token)).status,
        403
    );
}

/// M23: groups contain groups.
pub fn m23_groups_nest(world: &World) {
    let groups = "operators: @night\nnight: @guards alice\nguards: bob\n";
    let setup = Setup::standard()
        .file("users.htgroup", groups)
        .service("requireRoles", json!(["operators"]));
    setup
        .start(world)
        .connect()
        .open(&upgrade("/api/ws").basic("bob", "battery staple"));
}

/// R5, reference D: a missing scope is named.
pub fn r05_a_missing_scope_is_insufficient_scope(world: &World) {
    let stage = Setup::standard()
        .service("requireScopes", json!(["c", "d"]))
        .start(world);
    let token = |scope: &str| stage.token("alice").claim("scope", scope).text();
    stage.connect().open(&upgrade("/api/ws").bearer(&token("d x c")));
    for scope in ["c", "", "cd", "C d"] {
        let answer = refused_but_kept(&stage, &upgrade("/api/ws").bearer(&token(scope)), 403);
        let line = "Bearer realm=\"R\", error=\"insufficient_scope\", scope=\"c d\"";
        assert_eq!(answer.all("WWW-Authenticate"), [line], "{scope}");
    }
}

/// E10: without a credential a client may be anonymous; a bad credential is still refused.
pub fn e10_anonymous_clients_may_pass(world: &World) {
    let stage = Setup::standard()
        .realm("anonymous", json!({"roles": []}))
        .start(world);
    stage.connect().open(&upgrade("/api/ws"));
    assert_eq!(stage.decisions(1)[0].subject.as_deref(), Some("anonymous"));
    refused_but_kept(&stage, &upgrade("/api/ws").basic("alice", "wrong"), 401);
}

/// E10: an anonymous client that lacks a role may log in: 401 with challenges.
pub fn e10_an_anonymous_client_without_the_role_is_401(world: &World) {
    let realm = Setup::standard().realm("anonymous", json!({"roles": ["admin"]}));
    let stage = realm
        .clone()
        .service("requireRoles", json!(["Everyone"]))
        .start(world);
    let answer = refused_but_kept(&stage, &upgrade("/api/ws"), 401);
    assert_eq!(answer.all("WWW-Authenticate").len(), 2);
    let stage = realm
        .service("requireRoles", json!(["Anonymous", "admin"]))
        .start(world);
    stage.connect().open(&upgrade("/api/ws"));
}

/// R2: a service that is switched off is 503 before any credential is looked at.
pub fn r02_a_disabled_service_is_503(world: &World) {
    let stage = Setup::standard().service("enabled", false).start(world);
    let answer = refused(&stage, &upgrade("/api/ws").basic("alice", "wrong"), 503);
    assert!(
        answer
            .one("Retry-After")
            .is_none_or(|after| after.parse::<u32>().is_ok())
    );
    assert_eq!(stage.decisions(1)[0].reason.code(), "disabled");
}

/// A service that says so is public: no credential is asked for, none is judged.
pub fn a_public_service_asks_for_nothing(world: &World) {
    let setup = Setup::standard()
        .unset("/services/echo/realm")
        .unset("/services/echo/origins");
    let stage = setup.service("public", true).start(world);
    stage.connect().open(&upgrade("/api/ws"));
    stage.connect().open(&upgrade("/api/ws").basic("alice", "wrong"));
}

/// R1: the first failure wins, cheap checks before costly ones.
pub fn r01_the_first_failure_wins(world: &World) {
    let stage = Setup::standard().start(world);
    let worst = upgrade("/nowhere")
        .method("POST")
        .with("Host", "other.example")
        .with("Sec-WebSocket-Version", "9")
        .origin("https://evil.example")
        .field("Authorization", "Bearer");
    refused(&stage, &worst, 421);
    let here = worst.with("Host", "localhost");
    refused_but_kept(&stage, &here.clone(), 404);
    let routed = upgrade("/api/ws")
        .with("Sec-WebSocket-Version", "9")
        .origin("https://evil.example")
        .field("Authorization", "Bearer");
    refused(&stage, &routed.clone().method("POST"), 405);
    refused(&stage, &routed.clone(), 403);
    refused(&stage, &routed.clone().without("Origin"), 426);
    refused(
        &stage,
        &routed.without("Origin").with("Sec-WebSocket-Version", "13"),
        400,
    );
}
