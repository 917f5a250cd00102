//! Several nodes that share a Redis: revocations, tickets and sessions are one on all of them, and
//! each goes on alone while Redis is away.

use std::time::Duration;

use countersign_core::note::Note;
use serde_json::{Value, json};

use super::form::{APP, Page, log_in, post, session_of, with_form};
use super::load_error;
use crate::client::{Client, Frame, Request, get, upgrade};
use crate::fake::redis::Redis;
use crate::world::{BOB, Setup, Stage, World};

/// The token of the tests' administrators.
const TOKEN: &str = "an-administrators-token";

/// What all nodes know and Redis does not.
const SECRET: &str = "0123456789abcdef0123456789abcdef\n";

/// One node among those that share what is at `redis`.
pub(super) fn node(setup: Setup, redis: &str) -> Setup {
    setup
        .patient()
        .set(
            "/bus",
            json!({"redis": format!("redis://{redis}"), "secretFile": "bus.secret"}),
        )
        .file("bus.secret", SECRET)
        .set(
            "/admin",
            json!({"listen": ["127.0.0.1:0"], "tokenFile": "admin.token"}),
        )
        .file("admin.token", TOKEN)
}

/// Two nodes, both connected.
pub(super) fn two(world: &World, redis: &Redis, setup: Setup) -> (Stage, Stage) {
    let address = world.fake(redis.fake(), false);
    let setup = node(setup, &address);
    let (one, two) = (setup.clone().start(world), setup.start(world));
    for stage in [&one, &two] {
        wait_for(stage, true);
    }
    (one, two)
}

/// Lets everything that is on its way arrive.
pub(super) fn settle(stages: &[&Stage]) {
    for _ in 0..30 {
        for stage in stages {
            stage.nudge();
            stage.pass(Duration::from_millis(2));
        }
    }
}

pub(super) fn states(stage: &Stage) -> Vec<bool> {
    let state = |note: &Note| {
        let Note::Bus { up } = note else { return None };
        Some(*up)
    };
    stage.notes().iter().filter_map(state).collect()
}

/// Waits until the last line about the bus says so.
pub(super) fn wait_for(stage: &Stage, up: bool) {
    stage.wait_until("the bus", |stage| {
        stage.nudge();
        states(stage).last() == Some(&up)
    });
}

fn revoke(stage: &Stage, what: &Value) {
    let body = what.to_string();
    let order = get("/revoke")
        .method("POST")
        .field("Content-Length", &body.len().to_string())
        .then(body.as_bytes());
    let answer = stage.connect_to(1).ask(&order.bearer(TOKEN));
    assert_eq!(answer.status, 204, "{answer:?}");
}

pub(super) fn open(stage: &Stage, request: &Request) -> Client {
    let mut client = stage.connect();
    client.open(request);
    client
}

fn status(stage: &Stage, request: &Request) -> u16 {
    stage.connect().ask(request).status
}

fn alice() -> Request {
    upgrade("/api/ws").basic("alice", "correct horse")
}

fn bob() -> Request {
    upgrade("/api/ws").basic(BOB.0, BOB.1)
}

fn last_reason(stage: &Stage) -> &'static str {
    let decisions = stage.decisions(1);
    decisions[decisions.len() - 1].reason.code()
}

/// E20: what is revoked on one node is revoked on all, and so is what is lifted.
pub fn e20_a_revocation_holds_on_every_node(world: &World) {
    let redis = Redis::new();
    let (one, two) = two(world, &redis, Setup::standard());
    let (mut here, mut there, mut other) = (open(&one, &alice()), open(&two, &alice()), open(&two, &bob()));
    revoke(&one, &json!({"subject": "alice"}));
    here.expect_close(3003, "revoked");
    settle(&[&one, &two]);
    there.expect_close(3003, "revoked");
    other.expect_echo(&Frame::text("still here"));
    for stage in [&one, &two] {
        assert_eq!(status(stage, &alice()), 401);
        assert_eq!(last_reason(stage), "revoked");
    }
    revoke(&two, &json!({"subject": "alice", "for": "0s"}));
    settle(&[&two, &one]);
    for stage in [&one, &two] {
        open(stage, &alice()).expect_echo(&Frame::text("again"));
    }
    let seen = redis.seen();
    assert!(
        !seen.windows(5).any(|part| part == b"alice"),
        "Redis sees who it is"
    );
    assert!(redis.keys().iter().all(|key| key.starts_with(b"countersign:")));
}

/// E20: whoever starts has read what is revoked before the first upgrade is answered.
pub fn e20_revocations_are_read_before_the_first_upgrade(world: &World) {
    let redis = Redis::new();
    let address = world.fake(redis.fake(), false);
    let setup = node(Setup::standard(), &address);
    let one = setup.clone().start(world);
    wait_for(&one, true);
    for subject in ["carol", "dave", "alice", "erin", "frank"] {
        revoke(&one, &json!({"subject": subject}));
    }
    settle(&[&one]);
    let two = setup.start(world);
    assert_eq!(status(&two, &alice()), 401);
    assert_eq!(last_reason(&two), "revoked");
    open(&two, &bob()).expect_echo(&Frame::text("not me"));
}

/// E20: what was revoked while Redis was away is told when it is back, in both directions, and before
/// anybody new comes in; nothing is forgotten although Redis has forgotten everything.
pub fn e20_revocations_catch_up_after_redis_was_away(world: &World) {
    let redis = Redis::new();
    let (one, two) = two(world, &redis, Setup::standard());
    revoke(&one, &json!({"subject": "carol"}));
    settle(&[&one, &two]);
    redis.is_away(true);
    settle(&[&one, &two]);
    for stage in [&one, &two] {
        wait_for(stage, false);
    }
    let (mut here, mut there) = (open(&one, &alice()), open(&two, &bob()));
    revoke(&two, &json!({"subject": "alice"}));
    revoke(&one, &json!({"subject": "bob"}));
    here.expect_echo(&Frame::text("on its own"));
    there.expect_echo(&Frame::text("on its own"));
    redis.forget();
    redis.is_away(false);
    for stage in [&one, &two] {
        wait_for(stage, true);
    }
    settle(&[&one, &two]);
    here.expect_close(3003, "revoked");
    there.expect_close(3003, "revoked");
    for (stage, request) in [(&one, alice()), (&two, bob())] {
        assert_eq!(status(stage, &request), 401);
        assert_eq!(states(stage), [true, false, true], "said once");
    }
    let lines = one.log();
    assert!(
        lines.contains("\"event\":\"bus\"") && lines.contains("\"state\":\"down\""),
        "{lines}"
    );
}

fn ticket(stage: &Stage, request: &Request) -> String {
    let answer = stage.connect().ask(request);
    assert_eq!(answer.status, 200, "{answer:?}");
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    body["ticket"].as_str().unwrap().to_owned()
}

fn order() -> Request {
    get("/ticket").method("POST").field("Content-Length", "0")
}

fn by_ticket(ticket: &str) -> Request {
    upgrade(&format!("/api/ws?ticket={ticket}"))
}

/// B1: a ticket of one node opens one socket, on whichever node, as who it was made for.
pub fn b01_a_ticket_is_good_once_on_all_nodes(world: &World) {
    let redis = Redis::new();
    let setup = Setup::standard().realm("tickets", json!({}));
    let (one, two) = two(world, &redis, setup);
    let by_token = || order().bearer(&one.token("alice").claim("jti", "7").text());
    let (first, second) = (ticket(&one, &by_token()), ticket(&one, &by_token()));
    open(&two, &by_ticket(&first)).expect_echo(&Frame::text("hello"));
    settle(&[&one, &two]);
    assert_eq!(status(&two, &by_ticket(&first)), 401);
    assert_eq!(status(&one, &by_ticket(&first)), 401);
    assert_eq!(last_reason(&one), "replayed");
    let mut client = open(&one, &by_ticket(&second));
    let decisions = one.decisions(1);
    assert_eq!(decisions[decisions.len() - 1].subject.as_deref(), Some("alice"));
    // What it was made with ends it, wherever that is said.
    revoke(&two, &json!({"jti": "7"}));
    settle(&[&two, &one]);
    client.expect_close(3003, "revoked");
    assert_eq!(status(&two, &by_ticket("unknown")), 401);
    assert!(redis.asked().iter().any(|command| command == "GETDEL"));
    let seen = redis.seen();
    for secret in [first.as_bytes(), b"alice", b"eyJ"] {
        assert!(!seen.windows(secret.len()).any(|part| part == secret));
    }
}

/// B1: sixteen unspent tickets are enough for one identity; one that another node takes makes room.
pub fn b01_a_ticket_that_is_spent_elsewhere_makes_room(world: &World) {
    let redis = Redis::new();
    let setup = Setup::standard().realm("tickets", json!({}));
    let (one, two) = two(world, &redis, setup);
    let request = order().basic("alice", "correct horse");
    let first = ticket(&one, &request);
    for _ in 1..16 {
        ticket(&one, &request);
    }
    assert_eq!(status(&one, &request), 429);
    open(&two, &by_ticket(&first));
    settle(&[&two, &one]);
    ticket(&one, &request);
    // Whom it was made for is told to nobody by a value that was changed.
    redis.damage();
    let last = ticket(&two, &request);
    redis.damage();
    assert_eq!(status(&one, &by_ticket(&last)), 401);
    assert!(metric(&one, "countersign_bus_unopened_total 1"));
}

pub(super) fn metric(stage: &Stage, line: &str) -> bool {
    let text = stage.connect_to(1).ask(&get("/metrics")).body;
    let text = String::from_utf8(text).unwrap();
    text.lines().any(|found| found == line)
}

fn by_session(cookie: &str) -> Request {
    upgrade("/api/ws").field("Cookie", cookie).origin(APP)
}

/// R16: a session is one on all nodes: what one has begun opens sockets on the other, and a logout on
/// either ends those of both.
pub fn r16_a_session_is_one_on_all_nodes(world: &World) {
    let redis = Redis::new();
    let (one, two) = two(world, &redis, with_form());
    let (session, other) = (log_in(&one), log_in(&one));
    settle(&[&one, &two]);
    let (mut here, mut there) = (
        open(&one, &by_session(&session)),
        open(&two, &by_session(&session)),
    );
    let mut elsewhere = open(&two, &by_session(&other));
    there.expect_echo(&Frame::text("hello"));
    assert_eq!(status(&two, &by_session("__Host-session=unknown")), 401);
    let foreign = format!("__Host-session={}", "A".repeat(43));
    assert_eq!(status(&two, &by_session(&foreign)), 401);
    let logout = post(&two, "/logout", "").field("Cookie", &session);
    assert_eq!(status(&two, &logout), 303);
    there.expect_close(3003, "logged out");
    settle(&[&two, &one]);
    here.expect_close(3003, "logged out");
    elsewhere.expect_echo(&Frame::text("still here"));
    for stage in [&one, &two] {
        assert_eq!(status(stage, &by_session(&session)), 401);
    }
    let seen = redis.seen();
    let id = session.split_once('=').unwrap().1.as_bytes();
    assert!(!seen.windows(id.len()).any(|part| part == id));
}

/// R16: a login page of one node may be sent to another: a balancer knows no difference.
pub fn r16_a_login_page_is_good_on_all_nodes(world: &World) {
    let redis = Redis::new();
    let (one, two) = two(world, &redis, with_form());
    let page = Page::open(&mut one.connect());
    let answer = two.connect().ask(&page.submit(&two, "alice", "correct+horse"));
    let session = session_of(&answer);
    settle(&[&two, &one]);
    open(&one, &by_session(&session));
}

/// R16: a session that a ticket was made with ends the ticket's socket, on whichever node it is.
pub fn r16_a_logout_ends_what_a_ticket_opened_elsewhere(world: &World) {
    let redis = Redis::new();
    let (one, two) = two(world, &redis, with_form().realm("tickets", json!({})));
    let session = log_in(&one);
    let request = order().field("Cookie", &session).origin(APP);
    let (first, second) = (ticket(&one, &request), ticket(&one, &request));
    let mut there = open(&two, &by_ticket(&first).origin(APP));
    let logout = post(&one, "/logout", "").field("Cookie", &session);
    assert_eq!(status(&one, &logout), 303);
    settle(&[&one, &two]);
    there.expect_close(3003, "logged out");
    assert_eq!(status(&two, &by_ticket(&second).origin(APP)), 401);
}

/// While Redis is away a node's own sessions go on, and so does who proves something; sessions of
/// other nodes and tickets are 503.
pub fn what_needs_redis_is_503_while_it_is_away(world: &World) {
    let redis = Redis::new();
    let (one, two) = two(world, &redis, with_form().realm("tickets", json!({})));
    let session = log_in(&one);
    let held = ticket(&one, &order().basic("alice", "correct horse"));
    settle(&[&one, &two]);
    let (mut here, mut there) = (
        open(&one, &by_session(&session)),
        open(&two, &by_session(&session)),
    );
    redis.is_away(true);
    settle(&[&one, &two]);
    for stage in [&one, &two] {
        wait_for(stage, false);
        open(stage, &alice()).expect_echo(&Frame::text("by a password"));
        for request in [by_ticket(&held), order().basic("alice", "correct horse")] {
            let answer = stage.connect().ask(&request);
            assert_eq!(answer.status, 503, "{answer:?}");
            assert!(answer.one("Retry-After").is_some());
            assert_eq!(last_reason(stage), "unavailable");
        }
        assert!(metric(stage, "countersign_bus_up 0"));
    }
    open(&one, &by_session(&session)).expect_echo(&Frame::text("its own"));
    assert_eq!(status(&two, &by_session(&session)), 503);
    let logout = post(&two, "/logout", "").field("Cookie", &session);
    assert_eq!(status(&two, &logout), 503);
    here.expect_echo(&Frame::text("still here"));
    there.expect_echo(&Frame::text("still here"));
    // One that was begun meanwhile is shared later, and one that was ended is ended everywhere.
    let later = log_in(&two);
    let logout = post(&one, "/logout", "").field("Cookie", &session);
    assert_eq!(status(&one, &logout), 303);
    here.expect_close(3003, "logged out");
    redis.forget();
    redis.is_away(false);
    for stage in [&one, &two] {
        wait_for(stage, true);
    }
    settle(&[&one, &two]);
    there.expect_close(3003, "logged out");
    assert_eq!(status(&two, &by_session(&session)), 401);
    open(&one, &by_session(&later)).expect_echo(&Frame::text("shared"));
}

/// A Redis that says nothing any more is one that is away, after a time; nobody waits longer.
pub fn a_silent_redis_is_away(world: &World) {
    let redis = Redis::new();
    let (one, _two) = two(world, &redis, Setup::standard().realm("tickets", json!({})));
    redis.is_silent(true);
    assert_eq!(status(&one, &order().basic("alice", "correct horse")), 503);
    wait_for(&one, false);
    open(&one, &alice()).expect_echo(&Frame::text("on its own"));
    redis.is_silent(false);
    wait_for(&one, true);
    ticket(&one, &order().basic("alice", "correct horse"));
}

/// A node whose Redis was never there serves what needs none.
pub fn a_node_starts_without_redis(world: &World) {
    let redis = Redis::new();
    redis.is_away(true);
    let address = world.fake(redis.fake(), false);
    let stage = node(Setup::standard(), &address).start(world);
    open(&stage, &alice()).expect_echo(&Frame::text("on its own"));
    assert_eq!(states(&stage), [false]);
    revoke(&stage, &json!({"subject": "bob"}));
    redis.is_away(false);
    wait_for(&stage, true);
    settle(&[&stage]);
    let two = node(Setup::standard(), &address).start(world);
    assert_eq!(status(&two, &bob()), 401);
    assert!(redis.dials() >= 6);
}

/// The login is an ACL user's; a wrong one is a Redis that is away.
pub fn redis_asks_who_it_is(world: &World) {
    let redis = Redis::new();
    redis.asks_for("edge", "pass word");
    let address = world.fake(redis.fake(), false);
    let with_password = |password: &str| {
        node(Setup::standard(), &address)
            .set("/bus/user", "edge")
            .set("/bus/passwordFile", "redis.password")
            .file("redis.password", password)
            .set("/bus/redis", format!("redis://{address}/3"))
            .start(world)
    };
    wait_for(&with_password("pass word\n"), true);
    let stage = with_password("wrong");
    wait_for(&stage, false);
    // A password that was changed is taken over without a restart.
    stage.replace("redis.password", b"pass word");
    wait_for(&stage, true);
    assert!(!stage.log().contains("pass word"));
}

/// What cannot be shared does not load.
pub fn a_wrong_bus_does_not_load(world: &World) {
    let good = || node(Setup::standard(), "127.0.0.1:6379");
    let short = good().file("bus.secret", "0123456789abcdef0123456789abcde\n");
    assert!(load_error(&short).contains("shorter than 32 bytes"));
    assert!(good().load().is_ok());
    let stage = good().start(world);
    stage.replace("bus.secret", b"another secret that is as long as it has to be");
    stage.wait_until("a refused reload", |stage| stage.reload_failures() == 1);
    assert!(stage.log().contains("restart to use another one"));
}
