//! The admin listener: health, figures, revocation.

use std::time::Duration;

use countersign_core::note::Note;
use serde_json::{Value, json};

use super::factors::{FIELD, identity, second, two};
use super::form::{APP, log_in, with_form};
use super::load_error;
use crate::client::{Client, Frame, Request, Response, get, upgrade};
use crate::world::{BOB, Setup, Stage, World};

/// The token of the tests' administrators.
const TOKEN: &str = "an-administrators-token";

pub(super) fn administered(setup: Setup) -> Setup {
    setup
        .patient()
        .set(
            "/admin",
            json!({"listen": ["127.0.0.1:0"], "tokenFile": "admin.token"}),
        )
        .file("admin.token", format!("{TOKEN}\n"))
}

fn standard() -> Setup {
    administered(Setup::standard())
}

/// Asks the admin listener.
fn admin(stage: &Stage, request: &Request) -> Response {
    stage.connect_to(1).ask(request)
}

fn order(body: &str) -> Request {
    get("/revoke")
        .method("POST")
        .field("Content-Length", &body.len().to_string())
        .then(body.as_bytes())
}

pub(super) fn revoke(stage: &Stage, what: &Value) -> u16 {
    let order = order(&what.to_string()).bearer(TOKEN);
    admin(stage, &order).status
}

fn open(stage: &Stage, request: &Request) -> Client {
    let mut client = stage.connect();
    client.open(request);
    client
}

fn alice() -> Request {
    upgrade("/api/ws").basic("alice", "correct horse")
}

fn bob() -> Request {
    upgrade("/api/ws").basic(BOB.0, BOB.1)
}

/// Expects to be refused as somebody who is revoked.
fn revoked(stage: &Stage, request: &Request, description: bool) {
    let answer = stage.connect().ask(request);
    assert_eq!(answer.status, 401, "{answer:?}");
    let line = answer.all("WWW-Authenticate")[0].to_owned();
    let told = "error=\"invalid_token\", error_description=\"token revoked\"";
    assert_eq!(line.contains(told), description, "{line}");
    let decisions = stage.decisions(1);
    assert_eq!(decisions[decisions.len() - 1].reason.code(), "revoked");
}

/// E19: health needs no token, and tells of the shutdown.
pub fn e19_health_is_answered_without_a_token(world: &World) {
    let stage = standard().start(world);
    let answer = admin(&stage, &get("/healthz"));
    assert_eq!((answer.status, &*answer.body), (200, &b"ok\n"[..]));
    assert_eq!(
        admin(
            &stage,
            &get("/healthz").method("POST").field("Content-Length", "0")
        )
        .one("Allow"),
        Some("GET, HEAD")
    );
    assert_eq!(admin(&stage, &get("/")).status, 404);
    let socket = open(&stage, &alice());
    stage.drain();
    assert_eq!(admin(&stage, &get("/healthz")).status, 503);
    drop(socket);
}

/// R17: a page that rebinds its name to this machine names a host that is not served.
pub fn r17_the_admin_listener_checks_host(world: &World) {
    let stage = standard().start(world);
    for host in [
        "evil.example",
        "localhost.evil.example",
        "example.com",
        "10.0.0.1",
    ] {
        assert_eq!(
            admin(&stage, &get("/healthz").with("Host", host)).status,
            421,
            "{host}"
        );
    }
    for host in ["localhost", "localhost:1", "127.0.0.1:9", "[::1]"] {
        assert_eq!(
            admin(&stage, &get("/healthz").with("Host", host)).status,
            200,
            "{host}"
        );
    }
}

/// E17: figures per status, reason, carrier and scheme, and never who somebody is.
pub fn e17_figures_are_counted(world: &World) {
    let stage = standard().start(world);
    let mut client = open(&stage, &alice());
    client.expect_echo(&Frame::text("x"));
    assert_eq!(
        stage
            .connect()
            .ask(&upgrade("/api/ws").basic("alice", "wrong"))
            .status,
        401
    );
    let answer = admin(&stage, &get("/metrics"));
    assert_eq!(
        answer.one("Content-Type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    let text = String::from_utf8(answer.body).unwrap();
    for line in [
        "countersign_decisions_total{server=\"edge\",status=\"101\",reason=\"granted\",carrier=\"authorization\",scheme=\"Basic\"} 1",
        "countersign_decisions_total{server=\"edge\",status=\"401\",reason=\"bad_password\",carrier=\"authorization\",scheme=\"Basic\"} 1",
        "countersign_sockets 1",
        "countersign_check_seconds_count 2",
        "# TYPE countersign_check_seconds histogram",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in {text}");
    }
    assert!(!text.contains("alice"));
}

/// E15, E17: what is closed at accept is counted, and whoever looks after the server still gets in.
pub fn e15_what_is_closed_at_accept_is_counted(world: &World) {
    let stage = administered(Setup::standard().limit("connections", 1)).start(world);
    let _client = open(&stage, &alice());
    for _ in 0..2 {
        stage.connect().expect_end();
    }
    let text = String::from_utf8(admin(&stage, &get("/metrics")).body).unwrap();
    let counted = |line: &str| line == "countersign_over_limit_total 2";
    assert!(text.lines().any(counted), "{text}");
}

/// E20: revocation needs the token, and says what is wrong with an order.
pub fn e20_revoking_needs_the_token(world: &World) {
    let stage = standard().start(world);
    let body = json!({"subject": "alice"}).to_string();
    for request in [
        order(&body),
        order(&body).bearer("wrong"),
        order(&body).basic("admin", "x"),
        order(&body).bearer(&format!("{TOKEN}x")),
    ] {
        let answer = admin(&stage, &request);
        assert_eq!(answer.status, 401);
        assert!(
            answer
                .one("WWW-Authenticate")
                .unwrap()
                .starts_with("Bearer realm=\"admin\"")
        );
    }
    assert_eq!(admin(&stage, &get("/revoke")).status, 405);
    for bad in [
        json!({}),
        json!([]),
        json!({"subject": "a", "jti": "b"}),
        json!({"subject": 7}),
        json!({"subject": ""}),
        json!({"subject": "a", "for": 7}),
        json!({"subject": "a", "for": "soon"}),
        json!({"subject": "a", "realm": "nowhere"}),
        json!({"subject": "a", "reason": "left"}),
    ] {
        assert_eq!(revoke(&stage, &bad), 400, "{bad}");
    }
    open(&stage, &alice()).expect_echo(&Frame::text("nobody is revoked"));
}

/// E20: a revoked subject loses its sockets and comes in no more; others do not notice.
pub fn e20_a_revoked_subject_loses_its_sockets(world: &World) {
    let stage = standard().start(world);
    let by_token = upgrade("/api/ws").bearer(&stage.token("alice").text());
    let (mut first, mut second) = (open(&stage, &alice()), open(&stage, &by_token));
    let mut other = open(&stage, &bob());
    assert_eq!(revoke(&stage, &json!({"subject": "alice"})), 204);
    first.expect_close(3003, "revoked");
    second.expect_close(3003, "revoked");
    other.expect_echo(&Frame::text("still here"));
    revoked(&stage, &alice(), false);
    revoked(&stage, &by_token, true);
    open(&stage, &bob());
    let noted = |note: &Note| {
        let Note::Revocation(revocation) = note else {
            return false;
        };
        revocation.subject.as_deref() == Some("alice")
    };
    assert!(stage.notes().iter().any(noted));
    let line = stage.log();
    assert!(
        line.contains("\"event\":\"revocation\"") && line.contains("\"subject\":\"alice\",\"until\":\""),
        "{line}"
    );
    assert!(!line.contains("administrator"));
}

/// E20: an issuer and a realm narrow a revocation down; a token may be revoked alone.
pub fn e20_a_revocation_says_whose(world: &World) {
    let stage = standard().start(world);
    let token = |id: &str| upgrade("/api/ws").bearer(&stage.token("alice").claim("jti", id).text());
    for elsewhere in [
        json!({"subject": "alice", "issuer": "https://other.example"}),
        json!({"jti": "1", "issuer": "https://other.example"}),
        json!({"subject": "1"}),
        json!({"jti": "alice"}),
    ] {
        assert_eq!(revoke(&stage, &elsewhere), 204);
        open(&stage, &token("1")).expect_echo(&Frame::text("not me"));
    }
    let (mut one, mut two) = (open(&stage, &token("1")), open(&stage, &token("2")));
    assert_eq!(revoke(&stage, &json!({"jti": "1", "realm": "demo"})), 204);
    one.expect_close(3003, "revoked");
    two.expect_echo(&Frame::text("another token"));
    revoked(&stage, &token("1"), true);
    let mut by_password = open(&stage, &alice());
    assert_eq!(
        revoke(
            &stage,
            &json!({"subject": "alice", "issuer": crate::keys::ISSUER})
        ),
        204
    );
    two.expect_close(3003, "revoked");
    by_password.expect_echo(&Frame::text("nobody's token"));
}

/// E20: a revocation ends, or is lifted; sockets that it has closed stay closed.
pub fn e20_a_revocation_ends_or_is_lifted(world: &World) {
    let stage = standard().start(world);
    assert_eq!(revoke(&stage, &json!({"subject": "alice", "for": "1s"})), 204);
    assert_eq!(revoke(&stage, &json!({"subject": "bob", "for": "1 hour"})), 204);
    revoked(&stage, &alice(), false);
    stage.pass(Duration::from_millis(1100));
    open(&stage, &alice());
    revoked(&stage, &bob(), false);
    assert_eq!(revoke(&stage, &json!({"subject": "bob", "for": "0s"})), 204);
    open(&stage, &bob());
}

/// E20: sessions and tickets of a revoked subject end; with the revocation they do not come back.
pub fn e20_sessions_and_tickets_end_with_their_subject(world: &World) {
    let stage = administered(with_form().realm("tickets", json!({}))).start(world);
    let session = log_in(&stage);
    let by_session = upgrade("/api/ws").field("Cookie", &session).origin(APP);
    let mut socket = open(&stage, &by_session);
    let mint = || {
        let token = stage.token("alice").claim("jti", "t").text();
        let minted = stage.connect().ask(&get("/ticket").method("POST").bearer(&token));
        let ticket: Value = serde_json::from_slice(&minted.body).unwrap();
        upgrade(&format!("/api/ws?ticket={}", ticket["ticket"].as_str().unwrap()))
    };
    let (by_token, by_subject) = (mint(), mint());
    assert_eq!(revoke(&stage, &json!({"jti": "t", "for": "1 hour"})), 204);
    assert_eq!(stage.connect().ask(&by_token).status, 401);
    assert_eq!(revoke(&stage, &json!({"jti": "t", "for": "0s"})), 204);
    socket.expect_echo(&Frame::text("another credential"));
    assert_eq!(revoke(&stage, &json!({"subject": "alice"})), 204);
    socket.expect_close(3003, "revoked");
    assert_eq!(revoke(&stage, &json!({"subject": "alice", "for": "0s"})), 204);
    assert_eq!(stage.connect().ask(&by_session).status, 401);
    assert_eq!(stage.connect().ask(&by_subject).status, 401);
    open(&stage, &alice());
}

/// E20, R6: what was revoked between two factors reads nothing either, and opens no socket.
pub fn e20_a_factor_that_is_revoked_meanwhile_reads_nothing(world: &World) {
    let stage = administered(two())
        .set(
            "/services/plant",
            json!({"type": "points", "realm": ["demo", "second"], "origins": [APP],
                   "endpoints": {"/plant/boiler": "Plant.Boiler"}}),
        )
        .start(world);
    let by = |request: fn(&str) -> Request, path: &str, id: &str| {
        let first = stage.token("alice").claim("jti", id).text();
        let identity = identity(&stage, &request(path).bearer(&first));
        let next = second(&stage, "alice").text();
        request(path).field(FIELD, &identity).bearer(&next)
    };
    let good = by(get, "/plant/boiler", "good");
    assert_eq!(stage.connect().ask(&good).status, 200);
    let (read, opened) = (
        by(get, "/plant/boiler", "bad"),
        by(upgrade, "/plant/boiler", "bad"),
    );
    assert_eq!(revoke(&stage, &json!({"jti": "bad"})), 204);
    revoked(&stage, &read, true);
    revoked(&stage, &opened, true);
}

/// E20: the file is watched; what it lists holds beside what is posted, until its time.
pub fn e20_the_file_is_watched(world: &World) {
    let setup = standard()
        .set("/admin/revocations", "revoked.jsonl")
        .file("revoked.jsonl", "{\"subject\":\"bob\"}\n");
    let stage = setup.start(world);
    revoked(&stage, &bob(), false);
    let mut socket = open(&stage, &alice());
    stage.replace(
        "revoked.jsonl",
        b"{\"subject\":\"alice\",\"until\":\"2100-01-01T00:00:00Z\"}\n",
    );
    socket.expect_close(3003, "revoked");
    revoked(&stage, &alice(), false);
    open(&stage, &bob());
    stage.replace(
        "revoked.jsonl",
        b"{\"subject\":\"alice\",\"until\":\"2001-01-01T00:00:00Z\"}\n",
    );
    stage.wait_until("alice", |stage| stage.connect().ask(&alice()).status == 101);
    stage.replace("revoked.jsonl", b"alice\n");
    stage.wait_until("the report", |stage| stage.reload_failures() == 1);
}

/// A token that can be guessed is told, and one that cannot is not.
pub fn e20_a_short_token_is_told(world: &World) {
    let start = |token: &str| standard().file("admin.token", token).start(world);
    let stage = start("hunter2");
    stage.wait_until("the warning", |stage| {
        stage
            .log()
            .contains("admin.token: the token is shorter than 16 characters")
    });
    assert!(!stage.log().contains("hunter2"));
    let stage = start("sixteen-letters-");
    // The other warning of this listener comes with it.
    stage.wait_until("a warning", |stage| {
        stage.log().contains("forgotten at a restart")
    });
    assert!(!stage.log().contains("shorter"));
}

/// The listener is for this machine alone, and its token is needed.
pub fn admin_is_for_loopback(_world: &World) {
    for (setup, message) in [
        (
            standard().set("/admin/listen", json!(["0.0.0.0:0"])),
            "loopback addresses only",
        ),
        (standard().file("admin.token", "\n"), "the token is empty"),
        (standard().unset("/admin/tokenFile"), "tokenFile"),
        (
            standard()
                .set("/admin/revocations", "r")
                .file("r", "{\"subject\":\"a\"}\nx\n"),
            "not a JSON object",
        ),
    ] {
        let error = load_error(&setup);
        assert!(error.contains(message), "{error}");
    }
}
