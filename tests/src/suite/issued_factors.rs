//! Further factors that the gateway has issued itself: sessions and tickets.

use std::time::Duration;

use serde_json::{Value, json};

use super::factors::{FIELD, begins_anew, identity, identity_of, second, two, with};
use super::form::{APP, log_in, log_out};
use crate::client::{Request, get, upgrade};
use crate::world::{Setup, Stage, World};

/// The page's answer to a login, in the second realm.
const SECOND_COOKIE: &str = "__Host-second";

/// Two factors, the first of which may come by a session or a ticket.
fn with_session() -> Setup {
    two()
        .realm("form", json!({}))
        .realm("tickets", json!({}))
        .realm("carriers", json!(["authorization", "cookie:__Host-session"]))
}

/// Two factors with a login page each: the second realm is like the first, but for what it names.
fn with_two_sessions() -> Setup {
    let setup = with_session();
    let config: Value = serde_json::from_slice(&setup.all_files()[crate::world::FILE]).unwrap();
    let mut second = config["realms"]["demo"].clone();
    second["description"] = json!("R2");
    second["carriers"] = json!(["authorization", format!("cookie:{SECOND_COOKIE}")]);
    second["form"] = json!({"path": "/second/login", "logout": "/second/logout", "cookie": SECOND_COOKIE});
    second["tickets"] = json!({"path": "/second/ticket"});
    setup.set("/realms/second", second)
}

fn by(cookie: &str) -> Request {
    upgrade("/api/ws").field("Cookie", cookie).origin(APP)
}

/// Makes a ticket with alice's password.
fn ticket(stage: &Stage, path: &str, body: &str) -> String {
    let request = get(path)
        .method("POST")
        .basic("alice", "correct horse")
        .field("Content-Type", "application/json")
        .field("Content-Length", &body.len().to_string())
        .then(body.as_bytes());
    let answer = stage.connect().ask(&request);
    assert_eq!(answer.status, 200, "{answer:?}");
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    body["ticket"].as_str().unwrap().to_owned()
}

/// Logs alice in at the second realm's page, and returns the session's cookie.
fn log_in_again(stage: &Stage) -> String {
    let mut client = stage.connect();
    let page = super::form::Page::open_at(&mut client, "/second/login");
    let answer = client.ask(&page.submit_to(stage, "/second/login", "alice", "correct horse"));
    let set = answer.all("Set-Cookie");
    let cookie = set.iter().find(|set| set.starts_with(SECOND_COOKIE));
    cookie.expect("a session").split(';').next().unwrap().to_owned()
}

/// R6, R16: a session is a first factor, and its logout closes the socket.
pub fn r06_a_session_is_a_factor(world: &World) {
    let stage = with_session().start(world);
    let session = log_in(&stage);
    let identity = identity(&stage, &by(&session));
    // A browser sends the cookie again; the explicit credential decides.
    let mut client = stage.connect();
    client.open(
        &by(&session)
            .field(FIELD, &identity)
            .bearer(&second(&stage, "alice").text()),
    );
    log_out(&stage, "/logout", &session);
    client.expect_close(3003, "logged out");
}

/// R6, R16: the logout of any of its sessions closes the socket.
pub fn r06_every_session_ends_the_socket(world: &World) {
    for logout in ["/logout", "/second/logout"] {
        let stage = with_two_sessions().start(world);
        let both = format!("{}; {}", log_in(&stage), log_in_again(&stage));
        let identity = identity(&stage, &by(&both));
        let mut client = stage.connect();
        client.open(&by(&both).field(FIELD, &identity));
        log_out(&stage, logout, &both);
        client.expect_close(3003, "logged out");
    }
}

/// R6: who logs out between two factors begins anew.
pub fn r06_a_session_that_ended_meanwhile_begins_anew(world: &World) {
    let stage = with_session().start(world);
    let session = log_in(&stage);
    let identity = identity(&stage, &by(&session));
    log_out(&stage, "/logout", &session);
    begins_anew(&stage.connect().ask(&with(&identity, &second(&stage, "alice"))));
}

/// R6: a session or a ticket that is worth nothing as a second factor is answered by the first realm.
pub fn r06_a_dead_session_or_ticket_begins_anew(world: &World) {
    let stage = with_two_sessions().start(world);
    let alice = upgrade("/api/ws").basic("alice", "correct horse");
    let dead = "A".repeat(43);
    // The second session's cookie with the first's id is another realm's: nothing.
    let first = log_in(&stage);
    let elsewhere = first.replace("__Host-session", SECOND_COOKIE);
    for wrong in [
        by(&format!("{SECOND_COOKIE}={dead}")),
        by(&elsewhere),
        upgrade(&format!("/api/ws?ticket={dead}")),
    ] {
        let identity = identity(&stage, &alice);
        begins_anew(&stage.connect().ask(&wrong.field(FIELD, &identity)));
    }
}

/// B1, R6: a ticket is a factor like what it was made with, bound to the endpoint or not.
pub fn r06_a_ticket_is_a_factor(world: &World) {
    let stage = with_two_sessions().start(world);
    let endpoint = r#"{"endpoint": "/api/ws"}"#;
    for body in ["{}", endpoint] {
        let first = ticket(&stage, "/ticket", body);
        let answer = stage.connect().ask(&upgrade(&format!("/api/ws?ticket={first}")));
        let identity = identity_of(&answer);
        let next = ticket(&stage, "/second/ticket", body);
        let mut client = stage.connect();
        client.open(&upgrade(&format!("/api/ws?ticket={next}")).field(FIELD, &identity));
    }
    // Both for one realm are not two factors.
    let first = ticket(&stage, "/ticket", endpoint);
    let identity = identity(&stage, &upgrade(&format!("/api/ws?ticket={first}")));
    let again = ticket(&stage, "/ticket", endpoint);
    begins_anew(
        &stage
            .connect()
            .ask(&upgrade(&format!("/api/ws?ticket={again}")).field(FIELD, &identity)),
    );
}

/// R6: under a session the time of the other realms counts as it does without one.
pub fn r06_a_session_does_not_hide_another_realms_timeout(world: &World) {
    let stage = with_session()
        .set("/realms/second/sessionTimeout", "1s")
        .start(world);
    let session = log_in(&stage);
    stage.pass(Duration::from_millis(10));
    let identity = identity(&stage, &by(&session));
    let mut client = stage.connect();
    client.open(&with(&identity, &second(&stage, "alice")));
    client.expect_close(3000, "session timeout");
}
