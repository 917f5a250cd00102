//! Sockets that have to be renewed, and how that is done.

use std::time::Duration;

use serde_json::json;

use super::factors::{identity, second, two, with};
use super::form::{APP, log_in, log_out};
use crate::client::{Client, Frame, Request, get, upgrade};
use crate::keys::Token;
use crate::world::{BOB, Setup, Stage, World};

const SOCKET: &str = "Countersign-Socket";
const SECOND: Duration = Duration::from_secs(1);

fn renewable() -> Setup {
    Setup::standard()
        .patient()
        .realm("renewal", "/renew")
        .realm("tickets", json!({}))
        .jwt("leeway", "0s")
}

/// Opens a socket, and returns it with its id.
fn open(stage: &Stage, request: &Request) -> (Client, String) {
    let mut client = stage.connect();
    let answer = client.open(request);
    let id = answer.one(SOCKET).expect("the socket has an id").to_owned();
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    assert!(id.len() == 22 && id.chars().all(plain), "{id}");
    (client, id)
}

fn by_token(token: &Token) -> Request {
    upgrade("/api/ws").bearer(&token.text())
}

fn renewal() -> Request {
    get("/renew").method("POST").field("Content-Length", "0")
}

/// M28: who does not renew is closed when the time is over, not earlier.
pub fn m28_the_authorization_timeout_closes_the_socket(world: &World) {
    let stage = renewable().realm("authorizationTimeout", "1s").start(world);
    let began = stage.unix();
    let (mut client, _) = open(&stage, &by_token(&stage.token("alice")));
    client.expect_echo(&Frame::text("in time"));
    client.expect_close(3000, "authorization timeout");
    assert!(stage.unix().since(began) >= SECOND);
}

/// M28: the same subject stays, by the id or by its identity; other realms' paths do not exist.
pub fn m28_the_same_subject_stays(world: &World) {
    let stage = renewable().realm("authorizationTimeout", "2s").start(world);
    let (mut one, id) = open(&stage, &by_token(&stage.token("alice")));
    let (mut two, other) = open(&stage, &by_token(&stage.token("alice")));
    assert_ne!(id, other);
    let (mut bob, _) = open(&stage, &by_token(&stage.token("bob")));
    for _ in 0..2 {
        stage.pass(Duration::from_millis(1200));
        let token = stage.token("alice").text();
        let answer = stage.connect().ask(&renewal().bearer(&token).field(SOCKET, &id));
        assert_eq!((answer.status, &*answer.body), (204, &b""[..]), "{answer:?}");
        let everywhere = stage.connect().ask(&renewal().bearer(&token));
        assert_eq!(everywhere.status, 204);
        one.expect_echo(&Frame::text("still here"));
        two.expect_echo(&Frame::text("still here"));
    }
    bob.expect_close(3000, "authorization timeout");
    let log = stage.log();
    assert!(!log.contains(&id) && !log.contains(&other));
}

/// M28: the new credential takes the place of the old one, even where it ends earlier.
pub fn m28_a_shorter_token_ends_the_socket_earlier(world: &World) {
    let stage = renewable().start(world);
    let (mut client, id) = open(&stage, &by_token(&stage.token("alice")));
    let shorter = stage.token("alice").expires_in(2 * SECOND).text();
    let answer = stage
        .connect()
        .ask(&renewal().bearer(&shorter).field(SOCKET, &id));
    assert_eq!(answer.status, 204);
    client.expect_close(3000, "token expired");
}

/// M28: another subject is refused, and the socket that it named ends.
pub fn m28_another_subject_ends_the_socket(world: &World) {
    let stage = renewable().start(world);
    let (mut client, id) = open(&stage, &by_token(&stage.token("alice")));
    let (mut other, _) = open(&stage, &by_token(&stage.token("alice")));
    let by_bob = renewal().basic(BOB.0, BOB.1).field(SOCKET, &id);
    assert_eq!(stage.connect().ask(&by_bob).status, 403);
    client.expect_close(3003, "subject changed");
    other.expect_echo(&Frame::text("not named"));
    // The same name, vouched for by somebody else, is another identity.
    let (mut client, id) = open(&stage, &by_token(&stage.token("alice")));
    let by_password = renewal().basic("alice", "correct horse").field(SOCKET, &id);
    assert_eq!(stage.connect().ask(&by_password).status, 403);
    client.expect_close(3003, "subject changed");
}

/// M28: a socket that was told its end has no id any more, whoever presents it.
pub fn m28_a_socket_that_ends_is_not_renewed(world: &World) {
    let stage = renewable().start(world);
    let (mut client, id) = open(&stage, &by_token(&stage.token("alice")));
    let by_bob = renewal().basic(BOB.0, BOB.1).field(SOCKET, &id);
    let by_alice = renewal().bearer(&stage.token("alice").text()).field(SOCKET, &id);
    assert_eq!(stage.connect().ask(&by_bob).status, 403);
    // Before the client has answered the Close, and before it has read it.
    assert_eq!(stage.connect().ask(&by_alice).status, 404);
    assert_eq!(client.read_message(), Frame::close(3003, "subject changed"));
    for request in [by_alice, by_bob] {
        assert_eq!(stage.connect().ask(&request).status, 404);
    }
}

/// M28: what is no renewal touches nothing.
pub fn m28_a_bad_renewal_touches_nothing(world: &World) {
    let stage = renewable().start(world);
    let (mut client, id) = open(&stage, &by_token(&stage.token("alice")));
    let good = stage.token("alice").text();
    let ticket = stage.connect().ask(&get("/ticket").method("POST").bearer(&good));
    let ticket = String::from_utf8(ticket.body).unwrap();
    let ticket = ticket.split('"').nth(3).unwrap().to_owned();
    for (request, status) in [
        (renewal().field(SOCKET, &id), 401),
        (renewal().field(SOCKET, &id).basic("alice", "wrong"), 401),
        (
            renewal()
                .field(SOCKET, &id)
                .bearer(&stage.token("alice").expired_for(SECOND).text()),
            401,
        ),
        (renewal().field(SOCKET, &"A".repeat(22)).bearer(&good), 404),
        (renewal().field(SOCKET, "").bearer(&good), 404),
        (renewal().field(SOCKET, &id).field(SOCKET, &id).bearer(&good), 400),
        (get("/renew").bearer(&good), 405),
        (
            renewal()
                .field(SOCKET, &id)
                .bearer(&good)
                .origin("https://evil.example"),
            403,
        ),
        (
            get(&format!("/renew?ticket={ticket}"))
                .method("POST")
                .field("Content-Length", "0")
                .field(SOCKET, &id),
            401,
        ),
    ] {
        let answer = stage.connect().ask(&request);
        assert_eq!(answer.status, status, "{answer:?}");
        client.expect_echo(&Frame::text("untouched"));
    }
    let plain = Setup::standard().start(world);
    assert_eq!(
        plain.connect().open(&by_token(&plain.token("alice"))).one(SOCKET),
        None
    );
}

/// R14: a renewal takes the new token's expiry, and its roles; the session timeout it does not move.
pub fn r14_a_renewal_replaces_the_credential(world: &World) {
    let setup = || renewable().service("requireRoles", json!(["operators"]));
    let stage = setup().realm("sessionTimeout", "4s").start(world);
    let token = |group: &str, seconds: u32| {
        stage
            .token("alice")
            .claim("group", group)
            .expires_in(seconds * SECOND)
    };
    let renew = |id: &str, token: &Token| {
        let request = renewal().bearer(&token.text()).field(SOCKET, id);
        assert_eq!(stage.connect().ask(&request).status, 204);
    };
    let (mut longer, id) = open(&stage, &by_token(&token("operators", 2)));
    let (mut denied, other) = open(&stage, &by_token(&token("operators", 600)));
    renew(&id, &token("operators", 600));
    renew(&other, &token("others", 600));
    denied.expect_close(3003, "access changed");
    stage.pass(Duration::from_millis(2500));
    longer.expect_echo(&Frame::text("the new token's time"));
    renew(&id, &token("operators", 600));
    longer.expect_close(3000, "session timeout");
    let (mut shorter, id) = open(
        &stage,
        &by_token(&stage.token("alice").claim("group", "operators")),
    );
    renew(
        &id,
        &stage
            .token("alice")
            .claim("group", "operators")
            .expires_in(2 * SECOND),
    );
    shorter.expect_close(3000, "token expired");
}

/// R6, R14: one factor's renewal leaves the other one's time as it is.
pub fn r14_each_factor_is_renewed_alone(world: &World) {
    let second = json!({"authorizationTimeout": "2s", "loginModules": [{"type": "jwt", "success": "sufficient",
        "issuer": "https://mfa.example", "audience": "ws",
        "verification": {"secret": {"HS256": {"keyFile": "secret.key"}}}}]});
    let stage = renewable()
        .unset("/realms/demo/tickets")
        .realm("authorizationTimeout", "1 hour")
        .set("/realms/second", second)
        .service("realm", json!(["demo", "second"]))
        .start(world);
    let answer = stage.connect().ask(&by_token(&stage.token("alice")));
    let identity = answer.one("Sec-Challenge-Identity").unwrap().to_owned();
    let mfa = stage.token("alice").claim("iss", "https://mfa.example");
    let request = by_token(&mfa).field("Sec-Challenge-Identity", &identity);
    let (mut client, id) = open(&stage, &request);
    let request = renewal().bearer(&stage.token("alice").text()).field(SOCKET, &id);
    assert_eq!(stage.connect().ask(&request).status, 204);
    client.expect_echo(&Frame::text("renewed"));
    client.expect_close(3000, "authorization timeout");
}

/// CORS: pages of allowed origins may renew, and are told so.
pub fn m28_a_page_may_renew(world: &World) {
    let stage = renewable().start(world);
    let (mut client, _) = open(&stage, &by_token(&stage.token("alice")));
    let preflight = |origin: &str| get("/renew").method("OPTIONS").origin(origin);
    let answer = stage.connect().ask(&preflight(APP));
    assert_eq!(answer.status, 204);
    assert_eq!(answer.one("Access-Control-Allow-Origin"), Some(APP));
    assert_eq!(
        answer.one("Access-Control-Allow-Headers"),
        Some("authorization, content-type, countersign-socket")
    );
    assert_eq!(
        stage.connect().ask(&preflight("https://evil.example")).status,
        403
    );
    let answer = stage
        .connect()
        .ask(&renewal().bearer(&stage.token("alice").text()).origin(APP));
    assert_eq!((answer.status, answer.one("Vary")), (204, Some("Origin")));
    assert_eq!(answer.one("Access-Control-Allow-Origin"), Some(APP));
    client.expect_echo(&Frame::text("renewed"));
}

/// Lets sessions renew as well.
fn with_sessions(setup: Setup) -> Setup {
    setup
        .patient()
        .realm("renewal", "/renew")
        .realm("form", json!({}))
        .realm("carriers", json!(["authorization", "cookie:__Host-session"]))
}

/// Renews every socket of the session's user.
fn renew_by(stage: &Stage, session: &str) {
    let request = renewal().field("Cookie", session).origin(APP);
    assert_eq!(stage.connect().ask(&request).status, 204);
}

/// R16, M28: a session that renews its own sockets, however often, still ends them when it does.
pub fn m28_a_session_that_renews_its_socket_still_ends_it(world: &World) {
    let stage = with_sessions(Setup::standard()).start(world);
    let session = log_in(&stage);
    let by_session = upgrade("/api/ws").field("Cookie", &session).origin(APP);
    let (mut client, _) = open(&stage, &by_session);
    for _ in 0..2 {
        renew_by(&stage, &session);
        client.expect_echo(&Frame::text("renewed"));
    }
    log_out(&stage, "/logout", &session);
    client.expect_close(3003, "logged out");
}

/// R6, R16: a session that has renewed one factor ends the socket, though another factor was renewed
/// since by something else.
pub fn r06_the_renewal_of_one_factor_keeps_the_session_of_another(world: &World) {
    let stage = with_sessions(two())
        .set("/realms/second/renewal", "/second/renew")
        .start(world);
    let first = upgrade("/api/ws").basic("alice", "correct horse");
    let identity = identity(&stage, &first);
    let mut client = stage.connect();
    client.open(&with(&identity, &second(&stage, "alice")));
    let session = log_in(&stage);
    renew_by(&stage, &session);
    client.expect_echo(&Frame::text("by the session"));
    let other = get("/second/renew").method("POST").field("Content-Length", "0");
    let other = other.bearer(&second(&stage, "alice").text());
    assert_eq!(stage.connect().ask(&other).status, 204);
    client.expect_echo(&Frame::text("by the token"));
    log_out(&stage, "/logout", &session);
    client.expect_close(3003, "logged out");
}
