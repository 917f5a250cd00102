//! Sessions of form logins: what they open, and what ends them.

use std::time::Duration;

use countersign_core::note::Note;
use serde_json::json;

use super::form::{APP, Page, log_in, post, session_of, with_form};
use super::refused;
use crate::client::{Frame, Request, upgrade};
use crate::world::{Kind, Setup, World};

fn by_session(cookie: &str) -> Request {
    upgrade("/api/ws").field("Cookie", cookie).origin(APP)
}

/// R16: the id is another one after each login, and the old one is worth nothing; the same user's
/// sockets go on.
pub fn r16_a_login_rotates_the_session(world: &World) {
    let stage = with_form().start(world);
    let first = log_in(&stage);
    let mut client = stage.connect();
    client.open(&by_session(&first));
    let again = |user: &str, password: &str, session: &str| {
        let mut client = stage.connect();
        let page = Page::open(&mut client);
        let cookies = format!("{}; {session}", page.cookie);
        session_of(&client.ask(&page.submit(&stage, user, password).with("Cookie", &cookies)))
    };
    let second = again("alice", "correct horse", &first);
    assert_ne!(first, second);
    assert_eq!(stage.connect().ask(&by_session(&first)).status, 401);
    client.expect_echo(&Frame::text("still here"));
    let third = again("bob", "battery staple", &second);
    client.expect_close(3003, "logged out");
    assert_eq!(stage.connect().ask(&by_session(&second)).status, 401);
    stage.connect().open(&by_session(&third));
}

/// R16: a logout ends the session and its sockets, and those alone.
pub fn r16_logout_closes_the_sockets(world: &World) {
    let stage = with_form().start(world);
    let (session, other) = (log_in(&stage), log_in(&stage));
    let open = |cookie: &str| {
        let mut client = stage.connect();
        client.open(&by_session(cookie));
        client
    };
    let (mut one, mut two, mut elsewhere) = (open(&session), open(&session), open(&other));
    let request = post(&stage, "/logout", "").field("Cookie", &session);
    refused(&stage, &request.clone().without("Origin"), 403);
    refused(
        &stage,
        &request.clone().with("Origin", "https://evil.example"),
        403,
    );
    let answer = stage.connect().ask(&request);
    assert_eq!((answer.status, answer.one("Location")), (303, Some("/login")));
    assert_eq!(
        answer.one("Set-Cookie"),
        Some("__Host-session=; Secure; HttpOnly; SameSite=Lax; Path=/; Max-Age=0")
    );
    one.expect_close(3003, "logged out");
    two.expect_close(3003, "logged out");
    elsewhere.expect_echo(&Frame::text("still here"));
    assert_eq!(stage.connect().ask(&by_session(&session)).status, 401);
    // Without a session there is nothing to end, and nothing to complain about.
    assert_eq!(stage.connect().ask(&post(&stage, "/logout", "")).status, 303);
}

/// R11: a session is what the browser sends by itself, so the Origin decides.
pub fn r11_a_session_needs_an_origin(world: &World) {
    let stage = with_form().start(world);
    let session = log_in(&stage);
    refused(&stage, &by_session(&session).without("Origin"), 403);
    refused(
        &stage,
        &by_session(&session).with("Origin", "https://evil.example"),
        403,
    );
    stage.connect().open(&by_session(&session));
}

/// R3: a session is one carrier among others: a bad explicit credential does not fall back to it, and
/// two of them are a conflict.
pub fn r03_no_fallback_to_the_session(world: &World) {
    let stage = with_form().start(world);
    let session = log_in(&stage);
    assert_eq!(
        stage.connect().ask(&by_session(&session).bearer("bad")).status,
        401
    );
    refused(&stage, &by_session(&session).field("Cookie", &session), 400);
    let unknown = stage.connect().ask(&by_session("__Host-session=unknown"));
    assert_eq!(unknown.status, 401);
    assert!(!unknown.masked().contains("error"), "{unknown:?}");
}

/// R16: another realm's session is nothing here.
pub fn r16_another_realms_session_is_absent(world: &World) {
    let stage = with_form()
        .set(
            "/realms/other",
            json!({
                "form": {"path": "/other/login", "logout": "/other/logout"},
                "carriers": ["cookie:__Host-session"], "anonymous": {},
                "loginModules": [{"type": "users", "success": "required", "passwords": "users.htpasswd"}],
            }),
        )
        .set(
            "/services/other",
            json!({"type": "echo", "accept": "/other", "realm": "other", "origins": [APP]}),
        )
        .start(world);
    let session = log_in(&stage);
    let elsewhere = upgrade("/other").field("Cookie", &session).origin(APP);
    stage.connect().open(&elsewhere);
    let decision = stage.decisions(3).pop().unwrap();
    assert_eq!(decision.subject.as_deref(), Some("anonymous"));
    assert_eq!(
        stage
            .connect()
            .ask(&elsewhere.with("Cookie", "__Host-session=x"))
            .status,
        401
    );
}

/// R16, R14: `sessionTimeout` counts from the login, for the session and for its sockets.
pub fn r16_the_session_timeout_counts_from_the_login(world: &World) {
    let stage = with_form().realm("sessionTimeout", "2 seconds").start(world);
    let session = log_in(&stage);
    stage.pass(Duration::from_millis(1000));
    let mut client = stage.connect();
    client.open(&by_session(&session));
    client.wait_at_most(Duration::from_millis(1500));
    client.expect_close(3000, "session timeout");
    assert_eq!(stage.connect().ask(&by_session(&session)).status, 401);
}

/// R16: an hour unused is the end, and so are eight hours; a socket uses its session.
pub fn r16_an_unused_session_ends(world: &World) {
    if world.kind() != Kind::Sim {
        return;
    }
    let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
    let stage = with_form().service("pingInterval", "10 minutes").start(world);
    let (unused, used) = (log_in(&stage), log_in(&stage));
    stage.pass(minutes(59));
    assert_eq!(stage.connect().ask(&by_session(&used)).status, 101);
    stage.pass(minutes(2));
    assert_eq!(stage.connect().ask(&by_session(&unused)).status, 401);
    assert_eq!(stage.connect().ask(&by_session(&used)).status, 101);
    for _ in 0..8 {
        stage.pass(minutes(50));
        stage.connect().ask(&by_session(&used));
    }
    stage.pass(minutes(30));
    assert_eq!(stage.connect().ask(&by_session(&used)).status, 401);
}

/// R16: over `limits.sessions` the one that was unused longest goes.
pub fn r16_sessions_are_limited(world: &World) {
    let stage = with_form().limit("sessions", 2).start(world);
    let first = log_in(&stage);
    stage.pass(Duration::from_millis(20));
    let second = log_in(&stage);
    stage.pass(Duration::from_millis(20));
    let mut client = stage.connect();
    client.open(&by_session(&first));
    stage.pass(Duration::from_millis(20));
    let third = log_in(&stage);
    assert_eq!(stage.connect().ask(&by_session(&second)).status, 401);
    for session in [&first, &third] {
        stage.connect().open(&by_session(session));
    }
    client.expect_echo(&Frame::text("still here"));
}

/// R14: a session grants nothing any more when its user has left, another password, or fewer groups.
pub fn r14_a_session_ends_with_its_user(world: &World) {
    let stage = with_form()
        .service("requireRoles", json!(["operators"]))
        .start(world);
    let session = log_in(&stage);
    stage.connect().open(&by_session(&session));
    let mut reloads = 0;
    let mut after = |name: &str, bytes: &[u8]| {
        stage.replace(name, bytes);
        reloads += 1;
        stage.wait_until("the reload", |stage| {
            let reloaded = |note: &&Note| matches!(note, Note::Reloaded);
            stage.notes().iter().filter(reloaded).count() == reloads
        });
        stage.connect().ask(&by_session(&session)).status
    };
    assert_eq!(after("users.htgroup", b"operators: bob\n"), 403);
    assert_eq!(after("users.htgroup", b"operators: alice\n"), 101);
    let others = Setup::passwords()
        .lines()
        .filter(|line| !line.starts_with("alice:"));
    let others: Vec<_> = others.collect();
    assert_eq!(after("users.htpasswd", others.join("\n").as_bytes()), 401);
    // Ended is ended: the user who comes back logs in again.
    assert_eq!(after("users.htpasswd", Setup::passwords().as_bytes()), 401);
}
