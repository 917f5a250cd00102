//! What the log says, and what it never says.

use countersign_core::note::Decision;
use serde_json::json;

use crate::client::upgrade;
use crate::world::{Setup, World};

fn only(decisions: Vec<Decision>) -> Decision {
    assert_eq!(decisions.len(), 1, "{decisions:?}");
    decisions.into_iter().next().unwrap()
}

/// R10: the path and the names of the parameters, never a value.
pub fn r10_values_of_parameters_are_not_logged(world: &World) {
    let stage = Setup::standard()
        .realm("carriers", json!(["query:access_token"]))
        .start(world);
    let target = "/api/ws?access_token=SECRETVALUE&x=SECRETTOO&a%20b=1&SECRETNAMEOFMORETHANTHIRTYTWOBYTES=1";
    assert_eq!(stage.connect().ask(&upgrade(target)).status, 401);
    let decision = only(stage.decisions(1));
    assert_eq!(decision.path.as_deref(), Some("/api/ws"));
    assert_eq!(decision.params, ["access_token", "x", "?", "?"]);
    assert!(!stage.log().contains("SECRET"), "{}", stage.log());
}

/// R10: at most sixteen names.
pub fn r10_names_of_parameters_are_bounded(world: &World) {
    let stage = Setup::standard().start(world);
    let query: Vec<_> = (0..40).map(|number| format!("p{number}=1")).collect();
    assert_eq!(
        stage
            .connect()
            .ask(&upgrade(&format!("/api/ws?{}", query.join("&"))))
            .status,
        401
    );
    assert!(only(stage.decisions(1)).params.len() <= 16);
}

/// R10: no credential is logged, by whatever carrier it came, granted or not.
pub fn r10_credentials_are_not_logged(world: &World) {
    let carriers = json!([
        "authorization",
        "header:X-Token",
        "subprotocol:access_token",
        "cookie:token"
    ]);
    let stage = Setup::standard().realm("carriers", carriers).start(world);
    let token = stage.token("alice").text();
    let origin = "https://app.example";
    let requests = [
        upgrade("/api/ws").bearer(&token),
        upgrade("/api/ws").bearer("SECRETTOKEN"),
        upgrade("/api/ws").basic("SECRETUSER", "SECRETPASSWORD"),
        upgrade("/api/ws").basic("alice", "correct horse"),
        upgrade("/api/ws").field("X-Token", "SECRETTOKEN"),
        upgrade("/api/ws")
            .field("Cookie", "token=SECRETTOKEN; other=SECRETOTHER")
            .origin(origin),
        upgrade("/api/ws").protocols("access_token, SECRETTOKEN"),
        upgrade("/api/ws").field("Authorization", "SECRETSCHEME SECRETTOKEN"),
        upgrade("/api/ws").field("Authorization", "Basic SECRET!"),
    ];
    for request in &requests {
        stage.connect().ask(request);
    }
    stage.decisions(requests.len());
    let log = stage.log();
    let signature = token.rsplit('.').next().unwrap();
    for secret in [
        "SECRETTOKEN",
        "SECRETPASSWORD",
        "SECRETUSER",
        "SECRETOTHER",
        "correct horse",
        signature,
    ] {
        assert!(!log.contains(secret), "{secret} is in {log}");
    }
}

/// R10: who was not let in is not named.
pub fn r10_only_who_was_let_in_is_named(world: &World) {
    let stage = Setup::standard().start(world);
    let mut client = stage.connect();
    client.ask(&upgrade("/api/ws").basic("alice", "wrong"));
    client.open(&upgrade("/api/ws").basic("alice", "correct horse"));
    let subjects: Vec<_> = stage
        .decisions(2)
        .into_iter()
        .map(|decision| decision.subject)
        .collect();
    assert_eq!(subjects, [None, Some("alice".to_owned())]);
}

/// R10: what a peer wrote is cut, and cannot begin a line of its own.
pub fn r10_a_long_path_is_cut(world: &World) {
    let stage = Setup::standard().start(world);
    let path = format!("/%0d%0aforged{}", "a".repeat(2000));
    stage.connect().ask(&upgrade(&path));
    let log = stage.log();
    assert!(
        log.lines()
            .all(|line| line.len() < 2000 && !line.starts_with("forged")),
        "{log}"
    );
}

/// E17: each request has a line with its status, its reason and an id of its own.
pub fn e17_every_request_is_logged_once(world: &World) {
    let stage = Setup::standard().start(world);
    let mut client = stage.connect();
    client.ask(&upgrade("/nowhere"));
    client.ask(&upgrade("/api/ws"));
    client.ask(&upgrade("/api/ws").basic("alice", "wrong"));
    client.ask(&upgrade("/api/ws").bearer(&stage.token("alice").text()));
    let decisions = stage.decisions(4);
    let told: Vec<_> = decisions
        .iter()
        .map(|decision| (decision.status, decision.reason.code()))
        .collect();
    let expected = [
        (404, "no_route"),
        (401, "no_credential"),
        (401, "bad_password"),
        (101, "granted"),
    ];
    assert_eq!(told, expected);
    assert_eq!(decisions[3].service.as_deref(), Some("echo"));
    let mut ids: Vec<_> = decisions.iter().map(|decision| decision.request.0).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 4);
}

/// E17: unknown users and wrong passwords are told apart in the log alone.
pub fn e17_unknown_users_are_told_apart_in_the_log(world: &World) {
    let stage = Setup::standard().start(world);
    stage.connect().ask(&upgrade("/api/ws").basic("nobody", "x"));
    assert_eq!(only(stage.decisions(1)).reason.code(), "unknown_user");
}
