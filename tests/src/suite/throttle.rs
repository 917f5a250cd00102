//! Guessing is slowed down, for whoever guesses and for nobody else.

use std::time::Duration;

use serde_json::json;

use super::{load_error, refused, refused_but_kept};
use crate::client::{Request, get, upgrade};
use crate::world::{ALICE, BOB, Setup, Stage, World};

fn wrong(user: &str) -> Request {
    upgrade("/api/ws").basic(user, "wrong")
}

fn right((user, password): (&str, &str)) -> Request {
    upgrade("/api/ws").basic(user, password)
}

fn fail(stage: &Stage, request: &Request, times: usize) {
    for _ in 0..times {
        refused_but_kept(stage, request, 401);
    }
}

/// E14: ten failures a minute are answered, the eleventh request with a credential is not judged,
/// good or bad, by whatever carrier; without one the answer is as ever.
pub fn e14_the_eleventh_failure_is_429(world: &World) {
    let stage = Setup::standard().start(world);
    fail(&stage, &wrong("alice"), 9);
    fail(&stage, &upgrade("/api/ws").bearer("no.such.token"), 1);
    for request in [
        wrong("alice"),
        right(ALICE),
        right(BOB),
        upgrade("/api/ws").bearer(&stage.token("alice").text()),
    ] {
        let answer = refused(&stage, &request, 429);
        let wait: u64 = answer.one("Retry-After").unwrap().parse().unwrap();
        assert!((1..=60).contains(&wait), "{wait}");
        assert!(answer.all("WWW-Authenticate").is_empty());
    }
    refused_but_kept(&stage, &upgrade("/api/ws"), 401);
    // What comes before the credential is judged before it.
    refused(&stage, &wrong("alice").origin("https://evil.example"), 403);
    let throttled = stage.decisions(14);
    assert!(
        throttled[10..14]
            .iter()
            .all(|decision| decision.reason.code() == "throttled")
    );
}

/// E14, B1, M28: what mints a ticket or renews a socket tells a guesser no more than an upgrade does.
pub fn e14_tickets_and_renewals_are_no_way_around_it(world: &World) {
    let stage = Setup::standard()
        .set("/throttle", json!({"failures": 1}))
        .realm("tickets", json!({"path": "/ticket"}))
        .realm("renewal", json!("/renew"))
        .start(world);
    fail(&stage, &wrong("alice"), 1);
    for path in ["/ticket", "/renew"] {
        let request = get(path).method("POST").field("Content-Length", "0");
        let answer = refused(&stage, &request.basic(ALICE.0, ALICE.1), 429);
        assert!(answer.one("Retry-After").is_some(), "{path}");
    }
}

/// E14: when the window is over its client is judged again.
pub fn e14_a_throttled_client_is_let_in_when_the_window_is_over(world: &World) {
    let setup = Setup::standard().set("/throttle", json!({"failures": 2, "window": "700 ms"}));
    let stage = setup.start(world);
    fail(&stage, &wrong("alice"), 2);
    let answer = refused(&stage, &right(ALICE), 429);
    assert_eq!(answer.one("Retry-After"), Some("1"));
    stage.pass(Duration::from_millis(800));
    stage.connect().open(&right(ALICE));
}

/// E14: who comes from another address does not notice.
pub fn e14_another_address_is_not_affected(world: &World) {
    let other = json!({"id": "six", "listen": ["[::1]:0"], "plaintext": true});
    let setup = Setup::standard()
        .set("/throttle", json!({"failures": 1}))
        .set("/servers/1", other);
    let stage = setup.start(world);
    fail(&stage, &wrong("alice"), 1);
    refused(&stage, &right(ALICE), 429);
    stage.connect_to(1).open(&right(ALICE));
}

/// E14: behind an address that many share, one user's failures are not another's.
pub fn e14_behind_a_shared_address_users_are_told_apart(world: &World) {
    let throttle = json!({"failures": 2, "shared": ["127.0.0.0/8"]});
    let stage = Setup::standard().set("/throttle", throttle).start(world);
    fail(&stage, &wrong("alice"), 2);
    refused(&stage, &right(ALICE), 429);
    stage.connect().open(&right(BOB));
    fail(&stage, &upgrade("/api/ws").bearer("no.such.token"), 2);
    refused(&stage, &upgrade("/api/ws").bearer("no.such.token"), 429);
    stage
        .connect()
        .open(&upgrade("/api/ws").bearer(&stage.token("alice").text()));
}

/// E14: requests without a credential, malformed ones, right ones and expired ones are no guesses.
pub fn e14_what_is_no_guess_is_not_counted(world: &World) {
    let stage = Setup::standard()
        .set("/throttle", json!({"failures": 1}))
        .start(world);
    let expired = stage.token("alice").expired_for(Duration::from_secs(60)).text();
    for _ in 0..2 {
        refused_but_kept(&stage, &upgrade("/api/ws"), 401);
        refused_but_kept(&stage, &upgrade("/api/ws").bearer(&expired), 401);
        refused(&stage, &upgrade("/api/ws").field("Authorization", "Basic !"), 400);
        stage.connect().open(&right(ALICE));
    }
    fail(&stage, &wrong("alice"), 1);
    refused(&stage, &right(ALICE), 429);
}

/// A network that is none, or has bits behind its prefix, does not load.
pub fn e14_networks_are_checked_at_load(_world: &World) {
    for (network, said) in [
        ("10.0.0.0/33", "is not a network"),
        ("10.0.0.1/8", "the network is \"10.0.0.0/8\""),
    ] {
        let error = load_error(&Setup::standard().set("/throttle", json!({"shared": [network]})));
        assert!(
            error.contains("throttle.shared[0]") && error.contains(said),
            "{error}"
        );
    }
}
