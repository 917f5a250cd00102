//! Tickets: a credential for one connection, made over HTTP, for what has to stand in a URL.

use std::time::Duration;

use countersign_core::note::Note;
use serde_json::{Value, json};

use super::{load_error, refused};
use crate::client::{Client, Frame, Request, Response, get, upgrade};
use crate::keys::Token;
use crate::world::{Setup, Stage, World};

const APP: &str = "https://app.example";

/// The standard realm with tickets.
fn with_tickets() -> Setup {
    Setup::standard().realm("tickets", json!({}))
}

fn order(body: &str) -> Request {
    let request = get("/ticket")
        .method("POST")
        .field("Content-Length", &body.len().to_string());
    if body.is_empty() {
        return request;
    }
    request
        .field("Content-Type", "application/json")
        .then(body.as_bytes())
}

fn alice(stage: &Stage) -> Token {
    stage.token("alice")
}

/// Returns the ticket in an answer.
fn ticket_of(answer: &Response) -> String {
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.one("Content-Type"), Some("application/json"));
    assert_eq!(answer.one("Cache-Control"), Some("no-store"));
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    let ticket = body["ticket"].as_str().unwrap().to_owned();
    assert_eq!(ticket.len(), 43, "{ticket}");
    ticket
}

fn mint(stage: &Stage, request: &Request) -> String {
    ticket_of(&stage.connect().ask(request))
}

fn by_ticket(ticket: &str) -> Request {
    upgrade(&format!("/api/ws?ticket={ticket}"))
}

fn refused_ticket(stage: &Stage, request: &Request) {
    let answer = stage.connect().ask(request);
    assert_eq!(answer.status, 401, "{answer:?}");
    assert!(answer.masked().contains("error=\"invalid_token\""), "{answer:?}");
    assert!(!answer.masked().contains("error_description"), "{answer:?}");
    assert_eq!(answer.one("Referrer-Policy"), Some("no-referrer"));
    assert_eq!(answer.one("Cache-Control"), Some("no-store"));
}

/// B1: a token is exchanged for a ticket, which opens one socket as the token's subject.
pub fn b01_a_ticket_opens_one_socket(world: &World) {
    let stage = with_tickets().start(world);
    let answer = stage.connect().ask(&order("").bearer(&alice(&stage).text()));
    let ticket = ticket_of(&answer);
    assert_eq!(
        answer.body,
        format!("{{\"ticket\":\"{ticket}\",\"expiresIn\":30}}").as_bytes()
    );
    let mut client = stage.connect();
    client.open(&by_ticket(&ticket));
    client.expect_echo(&Frame::text("hello"));
    refused_ticket(&stage, &by_ticket(&ticket));
    refused_ticket(&stage, &by_ticket("unknown"));
    refused_ticket(&stage, &by_ticket("a%20b"));
    let decisions = stage.decisions(5);
    let told: Vec<_> = decisions
        .iter()
        .map(|decision| (decision.reason.code(), decision.carrier.as_deref()))
        .collect();
    let by = Some("ticket");
    assert_eq!(
        told[..3],
        [
            ("granted", Some("authorization")),
            ("granted", by),
            ("replayed", by)
        ]
    );
    assert_eq!(told[3], ("unknown_key", by));
    assert_eq!(decisions[1].subject.as_deref(), Some("alice"));
    assert_eq!(decisions[1].params, ["ticket"]);
    assert!(!stage.log().contains(&ticket));
}

/// B1: any credential of the realm makes a ticket; none and a bad one make none, and a ticket neither.
pub fn b01_any_credential_makes_a_ticket(world: &World) {
    let stage = with_tickets()
        .realm("carriers", json!(["authorization", "header:X-Token", "query:t"]))
        .start(world);
    let token = alice(&stage).text();
    for request in [
        order("").basic("alice", "correct horse"),
        order("").field("X-Token", &token),
    ] {
        stage.connect().open(&by_ticket(&mint(&stage, &request)));
    }
    let by_query = get(&format!("/ticket?t={token}")).method("POST");
    let answer = stage.connect().ask(&by_query);
    ticket_of(&answer);
    assert_eq!(answer.one("Referrer-Policy"), Some("no-referrer"));
    let none = stage.connect().ask(&order(""));
    assert_eq!(none.status, 401);
    assert!(!none.masked().contains("error") && none.all("WWW-Authenticate").len() == 2);
    let bad = stage.connect().ask(&order("").bearer("bad"));
    assert!(bad.status == 401 && bad.masked().contains("error=\"invalid_token\""));
    let ticket = mint(&stage, &order("").bearer(&token));
    let again = get(&format!("/ticket?ticket={ticket}")).method("POST");
    assert_eq!(stage.connect().ask(&again).status, 401);
    refused(&stage, &order("").bearer(&token).field("X-Token", &token), 400);
}

/// R3: a ticket is an explicit credential: another one beside it is a conflict, which spends nothing.
pub fn r03_a_ticket_beside_a_token_is_400(world: &World) {
    let stage = with_tickets().start(world);
    let token = alice(&stage).text();
    let ticket = mint(&stage, &order("").bearer(&token));
    refused(&stage, &by_ticket(&ticket).bearer(&token), 400);
    refused(&stage, &upgrade(&format!("/api/ws?ticket={ticket}&ticket=")), 400);
    stage.connect().open(&by_ticket(&ticket));
    assert_eq!(stage.connect().ask(&by_ticket("")).status, 401);
}

/// B1: a ticket is good for its endpoint alone, and is spent wherever it is tried.
pub fn b01_a_ticket_is_bound_to_its_endpoint(world: &World) {
    let stage = with_tickets()
        .set(
            "/services/other",
            json!({"type": "echo", "accept": "/other", "realm": "demo", "origins": []}),
        )
        .start(world);
    let token = alice(&stage).text();
    let bound = |endpoint: &str| order(&json!({ "endpoint": endpoint }).to_string()).bearer(&token);
    stage.connect().open(&by_ticket(&mint(&stage, &bound("/api/ws"))));
    let ticket = mint(&stage, &bound("/api/%77s"));
    refused_ticket(&stage, &upgrade(&format!("/other?ticket={ticket}")));
    refused_ticket(&stage, &by_ticket(&ticket));
    let free = mint(&stage, &order("{}").bearer(&token));
    stage.connect().open(&upgrade(&format!("/other?ticket={free}")));
    for endpoint in ["/nowhere", "/ticket", "api/ws", "/api/ws?x", "//", ""] {
        assert_eq!(stage.connect().ask(&bound(endpoint)).status, 400, "{endpoint}");
    }
    for body in [
        "[]",
        "{\"endpoint\":1}",
        "{\"endpoints\":\"/api/ws\"}",
        "{",
        "{}{}",
    ] {
        assert_eq!(
            stage.connect().ask(&order(body).bearer(&token)).status,
            400,
            "{body}"
        );
    }
    // Whatever its type is said to be: libraries name one unasked, or none.
    let elsewhere = order(r#"{"endpoint":"/other"}"#).bearer(&token);
    for said in [
        elsewhere.clone().without("Content-Type"),
        elsewhere.with("Content-Type", "application/x-www-form-urlencoded"),
    ] {
        let ticket = mint(&stage, &said);
        refused_ticket(&stage, &by_ticket(&ticket));
    }
    refused(&stage, &order(&" ".repeat(8193)).bearer(&token), 413);
}

/// B1: what a page asked for opens sockets of that page's origin alone.
pub fn b01_a_ticket_is_bound_to_its_origin(world: &World) {
    let stage = with_tickets()
        .service("origins", json!([APP, "https://other.example"]))
        .start(world);
    let token = alice(&stage).text();
    let made = |origin: &str| mint(&stage, &order("").bearer(&token).origin(origin));
    stage.connect().open(&by_ticket(&made(APP)).origin(APP));
    stage
        .connect()
        .open(&by_ticket(&made("https://APP.example:443")).origin(APP));
    refused_ticket(&stage, &by_ticket(&made(APP)).origin("https://other.example"));
    refused_ticket(&stage, &by_ticket(&made(APP)));
    let unbound = mint(&stage, &order("").bearer(&token));
    stage.connect().open(&by_ticket(&unbound).origin(APP));
}

/// B1: a ticket launders nothing: its socket ends with the token behind it.
pub fn b01_a_ticket_ends_with_its_token(world: &World) {
    let stage = with_tickets().jwt("leeway", "0s").start(world);
    let soon = alice(&stage).expires_in(Duration::from_secs(2)).text();
    let ticket = mint(&stage, &order("").bearer(&soon));
    let late = mint(&stage, &order("").bearer(&soon));
    let mut client = stage.connect();
    client.open(&by_ticket(&ticket));
    client.expect_close(3000, "token expired");
    refused_ticket(&stage, &by_ticket(&late));
}

/// B1: nor does it gain a role or a scope.
pub fn b01_a_ticket_has_the_rights_of_its_token(world: &World) {
    let stage = with_tickets()
        .service("requireRoles", json!(["admin"]))
        .start(world);
    let plain = mint(&stage, &order("").bearer(&alice(&stage).text()));
    assert_eq!(stage.connect().ask(&by_ticket(&plain)).status, 403);
    refused_ticket(&stage, &by_ticket(&plain));
    let admin = alice(&stage).claim("group", json!(["admin"])).text();
    stage
        .connect()
        .open(&by_ticket(&mint(&stage, &order("").bearer(&admin))));
}

/// B1: a ticket waits for its lifetime and no longer.
pub fn b01_a_ticket_expires(world: &World) {
    let stage = with_tickets()
        .realm("tickets", json!({"lifetime": "1 second"}))
        .start(world);
    let answer = stage.connect().ask(&order("").bearer(&alice(&stage).text()));
    let ticket = ticket_of(&answer);
    assert!(answer.body.ends_with(b"\"expiresIn\":1}"));
    stage.pass(Duration::from_millis(1100));
    refused_ticket(&stage, &by_ticket(&ticket));
}

/// B1: at most sixteen wait for one identity, and `limits.tickets` for all.
pub fn b01_unspent_tickets_are_limited(world: &World) {
    let stage = with_tickets().start(world);
    let order_of = |subject: &str| order("").bearer(&stage.token(subject).text());
    let request = order_of("alice");
    let first = mint(&stage, &request);
    for _ in 1..16 {
        mint(&stage, &request);
    }
    let answer = refused(&stage, &request, 429);
    let wait: u64 = answer.one("Retry-After").unwrap().parse().unwrap();
    assert!((1..=30).contains(&wait), "{wait}");
    mint(&stage, &order_of("bob"));
    stage.connect().open(&by_ticket(&first));
    mint(&stage, &request);
    refused(&stage, &request, 429);

    let stage = with_tickets().limit("tickets", 1).start(world);
    let order_of = |subject: &str| order("").bearer(&stage.token(subject).text());
    mint(&stage, &order_of("alice"));
    refused(&stage, &order_of("bob"), 429);
}

/// B1: without a subject there is nobody to bind a ticket to.
pub fn b01_nobody_in_particular_gets_no_ticket(world: &World) {
    let stage = with_tickets().realm("anonymous", json!({})).start(world);
    let nobody = alice(&stage).without("sub").text();
    assert_eq!(stage.connect().ask(&order("").bearer(&nobody)).status, 403);
    assert_eq!(stage.connect().ask(&order("")).status, 401);
}

/// B1: a ticket of a realm is none at another, and none where the realm has no tickets.
pub fn b01_a_ticket_belongs_to_its_realm(world: &World) {
    let other = json!({
        "challenges": ["Bearer", "Basic"],
        "tickets": {"path": "/other/ticket"},
        "loginModules": [{"type": "users", "success": "required", "passwords": "users.htpasswd"}],
    });
    let stage = with_tickets()
        .set("/realms/other", other)
        .set(
            "/services/other",
            json!({"type": "echo", "accept": "/other", "realm": "other", "origins": []}),
        )
        .start(world);
    let ticket = mint(&stage, &order("").bearer(&alice(&stage).text()));
    refused_ticket(&stage, &upgrade(&format!("/other?ticket={ticket}")));
    let stage = Setup::standard().start(world);
    let answer = stage.connect().ask(&by_ticket("x"));
    assert!(answer.status == 401 && !answer.masked().contains("error"));
    assert_eq!(stage.connect().ask(&order("")).status, 404);
}

/// B1, R14: a ticket made with a session is one of its sockets: the logout ends it.
pub fn b01_a_ticket_ends_with_its_session(world: &World) {
    let stage = with_tickets()
        .realm("form", json!({}))
        .realm("carriers", json!(["authorization", "cookie:__Host-session"]))
        .start(world);
    let own = format!("http://localhost:{}", stage.port(0));
    let mut client = stage.connect();
    let session = super::form::session_cookie_of(&mut client, &stage);
    let by_session = order("").field("Cookie", &session);
    refused(&stage, &by_session, 403);
    refused(&stage, &by_session.clone().origin("https://evil.example"), 403);
    let made = |client: &mut Client| ticket_of(&client.ask(&by_session.clone().origin(&own)));
    let (first, second) = (made(&mut client), made(&mut client));
    client.open(&by_ticket(&first).origin(&own));
    let logout = get("/logout")
        .method("POST")
        .origin(&own)
        .field("Cookie", &session);
    assert_eq!(stage.connect().ask(&logout).status, 303);
    client.expect_close(3003, "logged out");
    refused_ticket(&stage, &by_ticket(&second).origin(&own));
}

/// R14: after a reload a ticket counts only if what it was made with can still be looked at.
pub fn r14_a_ticket_does_not_outlive_its_rules(world: &World) {
    let stage = with_tickets().start(world);
    let by_token = mint(&stage, &order("").bearer(&alice(&stage).text()));
    let by_password = mint(&stage, &order("").basic("alice", "correct horse"));
    let removed = mint(&stage, &order("").basic("bob", "battery staple"));
    let others = Setup::passwords()
        .lines()
        .filter(|line| !line.starts_with("bob:"));
    let others: Vec<_> = others.collect();
    stage.replace("users.htpasswd", others.join("\n").as_bytes());
    stage.wait_until("the reload", |stage| {
        let reloaded = |note: &Note| matches!(note, Note::Reloaded);
        stage.notes().iter().any(reloaded)
    });
    stage.connect().open(&by_ticket(&by_token));
    refused_ticket(&stage, &by_ticket(&removed));
    stage.connect().open(&by_ticket(&by_password));
}

/// CORS: a preflight from an allowed page is answered; a foreign page learns nothing.
pub fn b01_a_preflight_is_answered(world: &World) {
    let stage = with_tickets().start(world);
    let preflight = |origin: &str| {
        get("/ticket")
            .method("OPTIONS")
            .origin(origin)
            .field("Access-Control-Request-Method", "POST")
    };
    let answer = stage.connect().ask(&preflight(APP));
    assert_eq!(answer.status, 204);
    for (name, value) in [
        ("Access-Control-Allow-Origin", Some(APP)),
        ("Access-Control-Allow-Methods", Some("POST")),
        (
            "Access-Control-Allow-Headers",
            Some("authorization, content-type, countersign-socket"),
        ),
        ("Access-Control-Max-Age", Some("600")),
        ("Vary", Some("Origin")),
        ("Access-Control-Allow-Credentials", None),
    ] {
        assert_eq!(answer.one(name), value, "{name}");
    }
    for origin in ["https://evil.example", "null"] {
        let answer = refused(&stage, &preflight(origin), 403);
        assert!(!answer.masked().contains("Access-Control"), "{answer:?}");
    }
    let stage = with_tickets().realm("origins", json!([APP])).start(world);
    let answer = stage.connect().ask(&preflight(APP));
    assert_eq!(answer.one("Access-Control-Allow-Credentials"), Some("true"));
    let own = format!("http://localhost:{}", stage.port(0));
    let answer = stage.connect().ask(&preflight(&own));
    assert_eq!(answer.one("Access-Control-Allow-Origin"), Some(own.as_str()));
    assert_eq!(answer.one("Access-Control-Allow-Credentials"), None);
}

/// CORS: every answer to an allowed page may be read by it, a refusal too; a foreign page gets none.
pub fn b01_answers_to_posts_may_be_read(world: &World) {
    let stage = with_tickets().start(world);
    let token = alice(&stage).text();
    for (request, status) in [
        (order("").bearer(&token), 200),
        (order("").bearer("bad"), 401),
        (order(""), 401),
        (order("x").bearer(&token), 400),
        (order(&" ".repeat(8193)).bearer(&token), 413),
    ] {
        let answer = stage.connect().ask(&request.origin(APP));
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(answer.one("Access-Control-Allow-Origin"), Some(APP));
        assert_eq!(answer.one("Vary"), Some("Origin"));
    }
    let foreign = order("").bearer(&token).origin("https://evil.example");
    assert!(!refused(&stage, &foreign, 403).masked().contains("Access-Control"));
    let without = stage.connect().ask(&order("").bearer(&token));
    assert!(without.one("Access-Control-Allow-Origin").is_none());
}

/// R2: another method is 405.
pub fn r02_the_ticket_path_knows_its_methods(world: &World) {
    let stage = with_tickets().start(world);
    for method in ["GET", "PUT", "DELETE"] {
        let answer = refused(&stage, &get("/ticket").method(method), 405);
        assert_eq!(answer.one("Allow"), Some("POST, OPTIONS"), "{method}");
    }
}

/// B1: what cannot work does not load.
pub fn b01_tickets_that_cannot_work_do_not_load(world: &World) {
    let _ = world;
    let fault = |setup: Setup, said: &str| {
        let errors = load_error(&setup);
        assert!(errors.contains(said), "{errors}");
    };
    fault(
        with_tickets().realm("carriers", json!(["query:ticket"])),
        "give tokens another parameter",
    );
    fault(
        with_tickets().service("carriers", json!(["query:ticket"])),
        "give tokens another parameter",
    );
    fault(with_tickets().service("accept", "/ticket"), "has the same path");
    fault(
        with_tickets().realm("tickets", json!({"lifetime": "31 seconds"})),
        "at most \"30 seconds\"",
    );
}
