//! Opaque tokens, judged by who issued them (RFC 7662), and what is remembered of it.

use std::time::Duration;

use serde_json::{Value, json};

use super::load_error;
use crate::client::{Response, upgrade};
use crate::fake::idp::{Idp, Mood};
use crate::world::{Setup, Stage, World};

/// A module that asks at `address`.
fn module(address: &str) -> Value {
    json!({"type": "introspection", "success": "sufficient", "url": format!("http://{address}/introspect"),
           "clientId": "gate way", "clientSecretFile": "client.secret", "audience": "ws",
           "roles": ["groups"], "timeout": "500 ms"})
}

fn setup(module: Value) -> Setup {
    Setup::standard()
        .tokens_only()
        .realm("loginModules", json!([module]))
        .file("client.secret", "p:ss wörd\n")
}

fn start(world: &World, change: impl FnOnce(&mut Value)) -> (Idp, Stage) {
    let idp = Idp::new();
    idp.knows("opaque", claims());
    let mut module = module(&world.fake(idp.fake(), false));
    change(&mut module);
    (idp, setup(module).start(world))
}

fn claims() -> Value {
    json!({"active": true, "sub": "alice", "aud": ["other", "ws"], "groups": ["operators"], "scope": "a c"})
}

fn ask(stage: &Stage, token: &str) -> Response {
    stage.connect().ask(&upgrade("/api/ws").bearer(token))
}

fn statuses<const N: usize>(stage: &Stage, tokens: [&str; N]) -> [u16; N] {
    tokens.map(|token| ask(stage, token).status)
}

fn reasons(stage: &Stage, count: usize) -> Vec<String> {
    let decisions = stage.decisions(count).into_iter();
    decisions
        .map(|decision| decision.reason.code().to_owned())
        .collect()
}

/// E9: what the issuer says is active opens a socket, by the rights that it tells; what is not is 401.
pub fn e09_active_tokens_are_granted_and_others_are_not(world: &World) {
    let idp = Idp::new();
    idp.knows("opaque", claims());
    let stage = setup(module(&world.fake(idp.fake(), false)))
        .set("/roles/1", "operators")
        .service("requireRoles", json!(["operators"]))
        .service("requireScopes", json!(["c"]))
        .start(world);
    stage.connect().open(&upgrade("/api/ws").bearer("opaque"));
    let refused = ask(&stage, "unknown");
    assert_eq!(refused.status, 401);
    let challenge = refused.one("WWW-Authenticate").unwrap();
    assert!(challenge.ends_with(r#"error="invalid_token""#), "{challenge}");
    let decisions = stage.decisions(2);
    assert_eq!(decisions[0].subject.as_deref(), Some("alice"));
    assert_eq!(reasons(&stage, 2), ["granted", "unknown_key"]);
}

/// E9, RFC 7662 section 2.1: the question is a form, and says who asks.
pub fn e09_the_question_is_a_form_with_the_clients_own_credentials(world: &World) {
    let (idp, stage) = start(world, |_| {});
    assert_eq!(ask(&stage, "a+b/c==").status, 401);
    let asked = idp.asked().remove(0);
    let (head, body) = asked.split_once("\r\n\r\n").unwrap();
    assert_eq!(body, "token=a%2Bb%2Fc%3D%3D");
    assert!(head.starts_with("POST /introspect HTTP/1.1\r\n"), "{head}");
    // RFC 6749 section 2.3.1: gate+way:p%3Ass+w%C3%B6rd
    let authorization = "authorization: Basic Z2F0ZSt3YXk6cCUzQXNzK3clQzMlQjZyZA==";
    assert!(head.lines().any(|line| line == authorization), "{head}");
    assert!(
        head.lines()
            .any(|line| line == "content-type: application/x-www-form-urlencoded")
    );
    for secret in ["a+b/c==", "a%2Bb", "p:ss", "Z2F0ZSt3"] {
        assert!(!stage.log().contains(secret));
        assert!(!format!("{:?}", stage.gateway()).contains(secret));
    }
}

/// E9: claims of the answer are judged as a token's are.
pub fn e09_audience_issuer_times_and_claims_are_judged(world: &World) {
    let (idp, stage) = start(world, |module| {
        module["issuer"] = json!("https://idp.example");
        module["claims"] = json!({"groups": ["operators"]});
    });
    let now = stage.unix().as_secs();
    let with = |name: &str, value: Value| {
        let mut claims = claims();
        claims["iss"] = json!("https://idp.example");
        claims["exp"] = json!(now + 600);
        claims[name] = value;
        claims
    };
    for (token, claims, status, reason) in [
        ("good", with("x", json!(1)), 101, "granted"),
        ("audience", with("aud", json!("other")), 401, "wrong_audience"),
        (
            "issuer",
            with("iss", json!("https://evil.example")),
            401,
            "wrong_issuer",
        ),
        ("expired", with("exp", json!(now - 60)), 401, "expired"),
        ("early", with("nbf", json!(now + 600)), 401, "not_yet_valid"),
        ("subject", with("sub", json!("")), 401, "malformed_credential"),
        (
            "bound",
            with("cnf", json!({"jkt": "x"})),
            401,
            "malformed_credential",
        ),
        (
            "claims",
            with("groups", json!(["guests"])),
            403,
            "claims_mismatch",
        ),
    ] {
        idp.knows(token, claims);
        assert_eq!(ask(&stage, token).status, status, "{token}");
        let decisions = stage.decisions(1);
        assert_eq!(decisions.last().unwrap().reason.code(), reason, "{token}");
    }
}

/// E9: tokens of three parts are for others, unless they are said to be opaque too; too long ones are
/// refused. Neither is asked about.
pub fn e09_what_is_not_asked_about(world: &World) {
    let (idp, stage) = start(world, |_| {});
    let long = "x".repeat(4097);
    assert_eq!(statuses(&stage, ["eyJ.eyJ.x", &long]), [401; 2]);
    assert_eq!(idp.asked().len(), 0);
    let (idp, stage) = start(world, |module| module["jwts"] = json!(true));
    idp.knows("eyJ.eyJ.x", claims());
    assert_eq!(statuses(&stage, ["eyJ.eyJ.x"]), [101]);
    assert_eq!(idp.asked().len(), 1);
}

/// M31: an answer counts for the next handshakes too, good and bad.
pub fn m31_a_repeated_token_is_asked_about_once(world: &World) {
    let (idp, stage) = start(world, |_| {});
    assert_eq!(
        statuses(&stage, ["opaque", "opaque", "bad", "bad"]),
        [101, 101, 401, 401]
    );
    assert_eq!(idp.asked().len(), 2);
}

/// M31: without a time to live there is nothing to remember.
pub fn m31_nothing_is_remembered_if_the_file_says_so(world: &World) {
    let (idp, stage) = start(world, |module| {
        module["cacheTtl"] = json!("0s");
        module["negativeTtl"] = json!("0s");
    });
    assert_eq!(
        statuses(&stage, ["opaque", "opaque", "bad", "bad"]),
        [101, 101, 401, 401]
    );
    assert_eq!(idp.asked().len(), 4);
}

/// M31: answers end after their time, bad ones sooner, and none counts longer than its token.
pub fn m31_answers_end_and_bad_ones_sooner(world: &World) {
    let (idp, stage) = start(world, |module| module["negativeTtl"] = json!("1 second"));
    let Some(_) = stage.sim() else { return };
    let mut short = claims();
    short["exp"] = json!(stage.unix().as_secs() + 3);
    idp.knows("short", short);
    statuses(&stage, ["opaque", "short", "bad"]);
    stage.pass(Duration::from_secs(2));
    statuses(&stage, ["opaque", "short", "bad"]);
    assert_eq!(idp.asked().len(), 4, "the bad one again");
    stage.pass(Duration::from_secs(2));
    statuses(&stage, ["opaque", "short"]);
    assert_eq!(idp.asked().len(), 5, "the one whose token has ended again");
    stage.pass(Duration::from_secs(60));
    idp.forgets("opaque");
    assert_eq!(statuses(&stage, ["opaque"]), [401]);
}

/// M31: who asks what is being asked waits for the same answer.
pub fn m31_two_hundred_handshakes_make_one_call(world: &World) {
    let (idp, stage) = start(world, |module| module["timeout"] = json!("9 seconds"));
    idp.is(Mood::Silent);
    let mut clients: Vec<_> = (0..200)
        .map(|_| {
            let mut client = stage.connect();
            client.send(&upgrade("/api/ws").bearer("opaque").bytes());
            client
        })
        .collect();
    stage.wait_until("all of them waiting", |stage| {
        stage.gateway().stats().asking == 200
    });
    idp.is(Mood::Well);
    stage.nudge();
    for client in &mut clients {
        assert_eq!(client.expect_head().status, 101);
    }
    assert_eq!(idp.asked().len(), 1);
}

/// M31: the call goes on for the others if the first who waited leaves.
pub fn m31_the_answer_outlives_who_asked_first(world: &World) {
    let (idp, stage) = start(world, |module| module["timeout"] = json!("9 seconds"));
    idp.is(Mood::Silent);
    let mut first = stage.connect();
    first.send(&upgrade("/api/ws").bearer("opaque").bytes());
    stage.wait_until("the question", |_| idp.asked().len() == 1);
    let mut second = stage.connect();
    second.send(&upgrade("/api/ws").bearer("opaque").bytes());
    stage.wait_until("both waiting", |stage| stage.gateway().stats().asking == 2);
    first.abort();
    idp.is(Mood::Well);
    stage.nudge();
    assert_eq!(second.expect_head().status, 101);
    assert_eq!(idp.asked().len(), 1);
}

/// E9: a verifier that is away, silent or out of its mind is 503, never 401; nothing of it is
/// remembered, and it is asked again as soon as somebody comes.
pub fn e09_a_verifier_that_fails_is_503_and_recovers(world: &World) {
    let (idp, stage) = start(world, |_| {});
    let answer = |status: &str, body: &str| {
        Mood::Says(
            format!(
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )
            .into_bytes(),
        )
    };
    for mood in [
        Mood::Silent,
        Mood::Dead,
        Mood::Says(b"SSH-2.0-OpenSSH\r\n\r\n".to_vec()),
        answer("500 Oops", r#"{"active":true}"#),
        answer("401 Unauthorized", ""),
        answer("302 Found", r#"{"active":true}"#),
        answer("200 OK", "<html>"),
        answer("200 OK", r#"{"active":"true","sub":"alice","aud":"ws"}"#),
        answer("200 OK", r#"{"sub":"alice","aud":"ws"}"#),
        answer(
            "200 OK",
            r#"{"active":false,"active":true,"sub":"alice","aud":"ws"}"#,
        ),
        answer(
            "200 OK",
            &format!(r#"{{"active":true,"x":"{}"}}"#, "x".repeat(65_536)),
        ),
    ] {
        idp.is(mood.clone());
        let refused = ask(&stage, "opaque");
        assert_eq!(refused.status, 503, "{mood:?}");
        assert!(refused.one("Retry-After").is_some());
        assert!(refused.all("WWW-Authenticate").is_empty());
        assert_eq!(stage.decisions(1).last().unwrap().reason.code(), "unavailable");
    }
    idp.is(Mood::Well);
    assert_eq!(statuses(&stage, ["opaque"]), [101]);
}

/// E9: an open socket does not care what becomes of the verifier.
pub fn e09_a_dead_verifier_touches_no_open_socket(world: &World) {
    let (idp, stage) = start(world, |_| {});
    let mut client = stage.connect();
    client.open(&upgrade("/api/ws").bearer("opaque"));
    idp.is(Mood::Dead);
    assert_eq!(statuses(&stage, ["other"]), [503]);
    client.expect_echo(&crate::client::Frame::text("still here"));
}

/// REFERENCE: more questions than the verifier is to get at once are not asked.
pub fn e09_too_many_questions_are_503(world: &World) {
    let (idp, stage) = start(world, |module| {
        module["maxInFlight"] = json!(1);
        module["timeout"] = json!("9 seconds");
    });
    idp.is(Mood::Silent);
    let mut first = stage.connect();
    first.send(&upgrade("/api/ws").bearer("opaque").bytes());
    stage.wait_until("the question", |_| idp.asked().len() == 1);
    assert_eq!(statuses(&stage, ["another"]), [503]);
    idp.is(Mood::Well);
    stage.nudge();
    assert_eq!(first.expect_head().status, 101);
    assert_eq!(statuses(&stage, ["another"]), [401]);
}

/// E9: the verifier is who its certificate says, by the authorities that the file names.
pub fn e09_over_tls_with_the_authorities_of_the_file(world: &World) {
    let idp = Idp::new();
    idp.knows("opaque", claims());
    let mut module = module("x");
    module["url"] = json!(format!("https://{}/introspect", world.fake(idp.fake(), true)));
    module["caFile"] = json!("ca.pem");
    let stage = setup(module.clone())
        .file("ca.pem", Setup::authority())
        .start(world);
    assert_eq!(statuses(&stage, ["opaque"]), [101]);
    // The simulator's TLS has no certificates.
    if stage.sim().is_none() {
        let stage = setup(module)
            .file("ca.pem", Setup::other_authority())
            .start(world);
        assert_eq!(statuses(&stage, ["opaque"]), [503]);
    }
}

/// A configuration that would leak, or could never work, does not load.
pub fn e09_mistakes_do_not_load(world: &World) {
    let _ = world;
    let with = |name: &str, value: Value| {
        let mut module = module("127.0.0.1:1");
        module[name] = value;
        load_error(&setup(module))
    };
    let path = "realms.demo.loginModules[0]";
    for (name, value, at, says) in [
        ("url", json!("http://idp.example/"), ".url", "https://"),
        (
            "url",
            json!("https://u:p@idp.example/"),
            ".url",
            "members of their own",
        ),
        ("url", json!("idp"), ".url", "https://"),
        ("anyAudience", json!(true), ".audience", "no audience is compared"),
        (
            "caFile",
            json!("client.secret"),
            ".caFile",
            "no certificate is checked",
        ),
        ("cacheTTL", json!("1s"), ".cacheTTL", "did you mean \"cacheTtl\""),
        ("maxInFlight", json!(0), ".maxInFlight", "1"),
    ] {
        let error = with(name, value);
        assert!(error.contains(&format!("{path}{at}: ")), "{name}: {error}");
        assert!(error.contains(says), "{name}: {error}");
        assert!(!error.contains("u:p"), "{error}");
    }
    let mut lenient = module("127.0.0.1:1");
    lenient["url"] = json!("http://idp.example/");
    lenient["plaintext"] = json!(true);
    assert!(setup(lenient).load().is_ok());
    let mut unbound = module("127.0.0.1:1");
    unbound.as_object_mut().unwrap().remove("audience");
    assert!(load_error(&setup(unbound)).contains("anyAudience"));
    let error = load_error(&setup(module("127.0.0.1:1")).file("client.secret", "\n"));
    assert!(error.contains("the file holds no password"), "{error}");
    // What cannot be written into a request's head would fail every question, and not its own alone.
    let long = "x".repeat(16 * 1024);
    let error = load_error(&setup(module("127.0.0.1:1")).file("client.secret", &*long));
    assert!(error.contains("too long to be sent"), "{error}");
    assert!(!error.contains("xxxx"), "{error}");
}

/// B12, E16: a reload asks nobody again, and a new password of our own for asking ends no socket.
pub fn b12_a_new_secret_for_asking_ends_no_socket(world: &World) {
    let (idp, stage) = start(world, |_| {});
    let mut client = stage.connect();
    client.open(&upgrade("/api/ws").bearer("opaque"));
    idp.is(Mood::Dead);
    stage.replace("client.secret", b"another one");
    stage.reload();
    stage.wait_until("the reload", |stage| stage.log().contains("reloaded"));
    client.expect_echo(&crate::client::Frame::text("still here"));
    assert_eq!(idp.asked().len(), 1);
    // What was found with the old secret is not met with the new one.
    assert_eq!(statuses(&stage, ["opaque"]), [503]);
}

/// E15: what may be asked at once takes descriptors too, and connections do not get those.
pub fn e15_questions_have_descriptors_of_their_own(world: &World) {
    let (_, stage) = start(world, |module| module["maxInFlight"] = json!(100));
    let gateway = stage.gateway();
    gateway.fit_descriptors(64 + 100 + 2);
    let _held = [stage.connect(), stage.connect()].map(|mut client| {
        client.open(&upgrade("/api/ws").bearer("opaque"));
        client
    });
    stage.connect().expect_end();
}
