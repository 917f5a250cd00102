//! P7: no secret in any note, reply or `Debug`, wherever one stops.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;

use countersign_core::gateway::Gateway;
use countersign_tests::client::{Request, Response, get, upgrade};
use countersign_tests::random::Random;
use countersign_tests::solo::Solo;
use countersign_tests::world::{ALICE, Setup, gateway, written};
use countersign_tests::{keys, talk};

/// The origin of the gateway's own pages.
const OWN: &str = "http://localhost:8443";

/// Looks for secrets in what was seen, as text and as `Debug` shows bytes.
fn no_secrets(secrets: &[String], seen: &str) {
    for secret in secrets {
        let bytes = format!("{:?}", secret.as_bytes());
        let forms = [secret.clone(), bytes.trim_matches(['[', ']']).to_owned()];
        assert!(
            !forms.iter().any(|form| seen.contains(form)),
            "{secret} is in {seen}"
        );
    }
}

/// Each carrier with a secret in it, and a few that only look like one.
fn with_secrets(random: &mut Random) -> (Vec<Vec<u8>>, Vec<String>) {
    let secrets: Vec<_> = (0..9).map(|_| random.word(24)).collect();
    let [
        header,
        query,
        pair,
        single,
        cookie,
        bearer,
        password,
        scheme,
        other,
    ] = secrets.as_slice()
    else {
        panic!("nine secrets");
    };
    let path = "/api/ws";
    let requests = [
        upgrade(path).field("X-Token", header),
        upgrade(&format!("{path}?access_token={query}")),
        upgrade(path).protocols(&format!("chat, access_token, {pair}")),
        upgrade(path).protocols(&format!("access_token.{single}, chat")),
        upgrade(path)
            .field("Cookie", &format!("token={cookie}"))
            .origin("https://app.example"),
        upgrade(path).bearer(bearer),
        upgrade(path).basic("alice", password),
        upgrade(path).field("Authorization", &format!("Custom {scheme}")),
        upgrade(path).bearer(bearer).field("X-Token", other),
        upgrade(&format!("{path}?access_token={query}&access_token={other}")),
        upgrade(path).field("Authorization", &format!("Basic {scheme}!")),
    ];
    (requests.iter().map(|request| request.bytes()).collect(), secrets)
}

#[test]
fn p7_no_secret_in_any_note_reply_or_debug() {
    let carriers = serde_json::json!([
        "authorization",
        "header:X-Token",
        "query:access_token",
        "subprotocol:access_token",
        "cookie:token"
    ]);
    let setup = Setup::standard()
        .realm("carriers", carriers)
        .service("subprotocols", vec!["chat"]);
    let mut random = Random::new(7);
    for _ in 0..20 {
        let gateway = gateway(setup.load().unwrap());
        let (requests, secrets) = with_secrets(&mut random);
        let mut seen = String::new();
        for request in &requests {
            let mut solo = Solo::new(&gateway);
            let middle = random.below(request.len());
            solo.offer(&request[..middle]);
            seen += &solo.shown();
            solo.offer(&request[middle..]);
            seen += &solo.shown();
            solo.run_jobs();
            seen += &solo.shown();
            seen += &String::from_utf8_lossy(&solo.sent);
            seen += &written(&solo.notes, solo.now());
            seen += &format!("{:?}{gateway:?}", solo.notes);
        }
        no_secrets(&secrets, &seen);
    }
}

#[test]
fn p7_a_granted_socket_shows_no_secret() {
    let token = talk::token();
    let mut solo = Solo::new(&gateway(Setup::standard().load().unwrap()));
    solo.offer(&upgrade("/api/ws").bearer(&token).bytes());
    assert!(solo.sent.starts_with(b"HTTP/1.1 101 "));
    let seen = format!("{}{:?}{}", solo.shown(), solo.notes, solo.sent.escape_ascii());
    let signature = token.rsplit('.').next().unwrap();
    assert!(!seen.contains(signature), "{seen}");
    assert!(!seen.contains(std::str::from_utf8(keys::SECRET).unwrap()));
}

/// What is seen of a request without its answer: `Debug` where it is cut, while a job runs, while the
/// answer waits, and behind it; and everything that is logged.
fn watch(gateway: &Arc<Gateway>, bytes: &[u8], cut: usize) -> (Response, String) {
    let mut solo = Solo::new(gateway);
    let mut seen = String::new();
    let mut look = |solo: &Solo| seen += &format!("{}{gateway:?}", solo.shown());
    solo.offer(&bytes[..cut]);
    look(&solo);
    solo.take(false);
    solo.offer(&bytes[cut..]);
    look(&solo);
    solo.run_jobs();
    look(&solo);
    assert!(solo.sent.is_empty(), "the answer waits");
    solo.take(true);
    look(&solo);
    seen += &format!("{:?}{}", solo.notes, written(&solo.notes, solo.now()));
    let answer = Response::read(&solo.sent, false).expect("an answer");
    (answer, seen)
}

fn with_form_and_tickets() -> Setup {
    Setup::standard()
        .patient()
        .realm("form", serde_json::json!({}))
        .realm("tickets", serde_json::json!({}))
        .realm(
            "carriers",
            serde_json::json!(["authorization", "cookie:__Host-session"]),
        )
}

fn post(path: &str, media_type: &str, body: &str) -> Request {
    get(path)
        .method("POST")
        .origin(OWN)
        .field("Content-Type", media_type)
        .field("Content-Length", &body.len().to_string())
        .then(body.as_bytes())
}

/// A form, filled in, with the secrets of its page.
fn form(gateway: &Arc<Gateway>, user: &str, password: &str) -> (Request, Vec<String>) {
    let (page, seen) = watch(gateway, &get("/login").bytes(), 5);
    let cookie = page.one("Set-Cookie").unwrap().split(';').next().unwrap();
    let html = String::from_utf8(page.body.clone()).unwrap();
    let csrf = html.split_once("name=\"csrf\" value=\"").unwrap().1;
    let csrf = csrf.split('"').next().unwrap().to_owned();
    let secrets = vec![csrf.clone(), cookie.split_once('=').unwrap().1.to_owned()];
    no_secrets(&secrets, &seen);
    let body = format!("username={user}&password={password}&csrf={csrf}&next=%2F");
    let request = post("/login", "application/x-www-form-urlencoded", &body).field("Cookie", cookie);
    (request, secrets)
}

/// Every place to stop at in the body, and one in the head.
fn cuts(bytes: &[u8], random: &mut Random) -> Vec<usize> {
    let body = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let mut cuts: Vec<_> = (body..=bytes.len()).step_by(3).collect();
    cuts.push(random.below(body));
    cuts
}

#[test]
fn p7_no_secret_of_a_refused_login_wherever_it_stops() {
    let gateway = gateway(with_form_and_tickets().load().unwrap());
    let mut random = Random::new(71);
    // The second wrong user exists; a name may be a password in the wrong field.
    for user in [random.word(24), ALICE.0.to_owned()] {
        let password = random.word(24);
        let (request, mut secrets) = form(&gateway, &user, &password);
        secrets.push(password.clone());
        if user != ALICE.0 {
            secrets.push(user.clone());
        }
        let bytes = request.bytes();
        for cut in cuts(&bytes, &mut random) {
            let (answer, seen) = watch(&gateway, &bytes, cut);
            assert_eq!(answer.status, 401, "{answer:?}");
            no_secrets(&secrets, &seen);
            no_secrets(std::slice::from_ref(&password), &answer.masked());
        }
    }
}

#[test]
fn p7_no_session_in_debug_or_log() {
    let gateway = gateway(with_form_and_tickets().load().unwrap());
    let mut random = Random::new(72);
    let (user, password) = ALICE;
    let written_password = password.replace(' ', "+");
    let (request, mut secrets) = form(&gateway, user, &written_password);
    secrets.push(password.to_owned());
    secrets.push(written_password);
    let bytes = request.bytes();
    for cut in cuts(&bytes, &mut random) {
        let (answer, seen) = watch(&gateway, &bytes, cut);
        assert_eq!(answer.status, 303, "{answer:?}");
        let set = answer.all("Set-Cookie");
        let session = set.iter().find_map(|set| set.strip_prefix("__Host-session="));
        let session = session.unwrap().split(';').next().unwrap().to_owned();
        no_secrets(&secrets, &seen);
        let by_session = upgrade("/api/ws")
            .origin(OWN)
            .field("Cookie", &format!("__Host-session={session}"));
        let (opened, later) = watch(&gateway, &by_session.bytes(), 40);
        assert_eq!(opened.status, 101);
        no_secrets(&[session], &format!("{seen}{later}{}", opened.masked()));
    }
}

#[test]
fn p7_no_ticket_in_debug_or_log() {
    let gateway = gateway(with_form_and_tickets().load().unwrap());
    let mut random = Random::new(73);
    let token = talk::token();
    let signature = token.rsplit('.').next().unwrap().to_owned();
    let order = post("/ticket", "application/json", "{\"endpoint\": \"/api/ws\"}").bearer(&token);
    let bytes = order.bytes();
    for cut in cuts(&bytes, &mut random) {
        let (answer, seen) = watch(&gateway, &bytes, cut);
        assert_eq!(answer.status, 200, "{answer:?}");
        let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        let ticket = body["ticket"].as_str().unwrap().to_owned();
        no_secrets(std::slice::from_ref(&signature), &answer.masked());
        let by_ticket = upgrade(&format!("/api/ws?ticket={ticket}")).origin(OWN).bytes();
        let (opened, later) = watch(&gateway, &by_ticket, 40);
        assert_eq!(opened.status, 101);
        let secrets = [ticket, signature.clone()];
        no_secrets(&secrets, &format!("{seen}{later}{}", opened.masked()));
    }
}

#[test]
fn p7_what_waits_to_be_sent_to_a_refused_client_holds_no_secret() {
    let mut random = Random::new(74);
    let gateway = gateway(with_form_and_tickets().load().unwrap());
    let (requests, secrets) = with_secrets(&mut random);
    for request in requests {
        let (answer, seen) = watch(&gateway, &request, random.below(request.len()));
        assert!(answer.status >= 400, "{answer:?}");
        no_secrets(&secrets, &format!("{seen}{}", answer.masked()));
    }
}
