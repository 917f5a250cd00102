//! Access control lists: who is entitled to connect.

use serde_json::{Value, json};

use super::{load_error, refused_but_kept};
use crate::client::upgrade;
use crate::world::{BOB, FILE, Setup, World};

/// A list that lets `role` connect, and nobody else.
fn only(role: &str) -> Value {
    json!({"entries": [{"role": role, "allow": ["websocket.connect"]}]})
}

/// M8, reference E: who lacks the entitlement gets 403 and nothing to answer it with.
pub fn m08_a_missing_entitlement_is_403(world: &World) {
    let stage = Setup::standard().service("acl", only("operators")).start(world);
    let answer = refused_but_kept(&stage, &upgrade("/api/ws").basic(BOB.0, BOB.1), 403);
    assert!(answer.all("WWW-Authenticate").is_empty() && !answer.masked().contains("error"));
    assert_eq!(answer.body, b"forbidden\n");
    stage
        .connect()
        .open(&upgrade("/api/ws").basic("alice", "correct horse"));
    let reasons: Vec<_> = stage
        .decisions(2)
        .iter()
        .map(|decision| decision.reason.code())
        .collect();
    assert_eq!(reasons, ["missing_entitlement", "granted"]);
}

/// M8: an entitlement that is added counts from the reload on.
pub fn m08_an_added_entitlement_counts_after_a_reload(world: &World) {
    let setup = Setup::standard().service("acl", json!({}));
    let stage = setup.clone().start(world);
    let bob = upgrade("/api/ws").basic(BOB.0, BOB.1);
    refused_but_kept(&stage, &bob, 403);
    let more = setup.service("acl", only("Everyone"));
    stage.replace(FILE, &more.all_files()[FILE]);
    stage.reload();
    stage.wait_until("the entitlement", |stage| stage.connect().ask(&bob).status == 101);
}

/// M9: what is denied to one role another role of the same client may still have.
pub fn m09_a_denial_is_for_its_role_alone(world: &World) {
    let entries = json!([
        {"role": "Everyone", "deny": ["websocket.connect"]},
        {"role": "operators", "allow": ["websocket.connect"]},
    ]);
    let stage = Setup::standard()
        .service("acl", json!({"entries": entries}))
        .start(world);
    stage
        .connect()
        .open(&upgrade("/api/ws").basic("alice", "correct horse"));
    refused_but_kept(&stage, &upgrade("/api/ws").basic(BOB.0, BOB.1), 403);
}

/// M9: the file's list counts where a service's own says nothing, unless it does not inherit.
pub fn m09_the_files_list_is_inherited(world: &World) {
    let nothing = json!({"role": "admin", "allow": ["read"]});
    for (own, expected) in [
        (None, 101),
        (Some(json!({"entries": [nothing]})), 101),
        (Some(json!({"inherit": false, "entries": [nothing]})), 403),
        (
            Some(json!({"entries": [{"role": "Everyone", "deny": ["websocket.connect"]}]})),
            403,
        ),
    ] {
        let mut setup = Setup::standard().set("/acl", only("Everyone"));
        if let Some(own) = &own {
            setup = setup.service("acl", own.clone());
        }
        let stage = setup.start(world);
        let answer = stage
            .connect()
            .ask(&upgrade("/api/ws").basic("alice", "correct horse"));
        assert_eq!(answer.status, expected, "{own:?}");
    }
}

/// M9: a role that nothing gives is a mistake, and the nearest one is named.
pub fn m09_unknown_roles_do_not_load(_world: &World) {
    let error = load_error(&Setup::standard().service("acl", only("operator")));
    assert!(
        error.contains("services.echo.acl.entries[0].role") && error.contains("\"operators\"?"),
        "{error}"
    );
}

/// E10: an anonymous client that may not connect may log in: 401 with challenges.
pub fn e10_an_anonymous_client_without_the_entitlement_is_401(world: &World) {
    let stage = Setup::standard()
        .realm("anonymous", json!({"roles": []}))
        .service("acl", only("Everyone"))
        .start(world);
    let answer = refused_but_kept(&stage, &upgrade("/api/ws"), 401);
    assert_eq!(answer.all("WWW-Authenticate").len(), 2);
    stage.connect().open(&upgrade("/api/ws").basic(BOB.0, BOB.1));
}

/// A public service is for everybody, whatever the file's list says of roles.
pub fn a_public_service_has_no_list(world: &World) {
    let setup = Setup::standard()
        .unset("/services/echo/realm")
        .unset("/services/echo/origins")
        .service("public", true);
    let stage = setup.set("/acl", json!({"entries": []})).start(world);
    stage.connect().open(&upgrade("/api/ws"));
}
