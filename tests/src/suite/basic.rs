//! Basic credentials, the challenge, and what a refusal does to the connection.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{closed_after, refused, refused_but_kept};
use crate::client::{End, Frame, upgrade};
use crate::sim::Habits;
use crate::world::{ALICE, BJORN, BOB, Kind, Setup, World};

/// Reference A, for a realm with Bearer and Basic.
const UNAUTHORIZED: &str = "HTTP/1.1 401 Unauthorized\r\n\
    WWW-Authenticate: Bearer realm=\"R\", scope=\"a b\"\r\n\
    WWW-Authenticate: Basic realm=\"R\", charset=\"UTF-8\"\r\n\
    Cache-Control: no-store\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 13\r\n\r\nunauthorized\n";

/// M4: right passwords under every kind of hash, with colons and other letters than ASCII.
pub fn m04_right_passwords_are_granted(world: &World) {
    let stage = Setup::standard().start(world);
    for (user, password) in [ALICE, BOB, BJORN] {
        stage.connect().open(&upgrade("/api/ws").basic(user, password));
    }
    stage
        .connect()
        .open(&upgrade("/api/ws").field("Authorization", "bAsIc YWxpY2U6Y29ycmVjdCBob3JzZQ=="));
}

/// M4, R5: a wrong password, an unknown user and an empty one are refused with the same bytes.
pub fn m04_wrong_password_and_unknown_user_look_the_same(world: &World) {
    let stage = Setup::standard().start(world);
    for (user, password) in [
        ("alice", "wrong"),
        ("nobody", "correct horse"),
        ("alice", ""),
        ("", "x"),
        ("", ""),
    ] {
        let answer = refused_but_kept(&stage, &upgrade("/api/ws").basic(user, password), 401);
        assert_eq!(answer.masked(), UNAUTHORIZED, "{user}");
    }
}

/// M23: a hash with the recommended parameters.
pub fn m23_argon2_with_real_parameters(world: &World) {
    let hash = "dave:$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$Tkd1in1tG+pxkdHv6AsAohl8Diht6jyW9sY0vP1ra/0\n";
    let stage = Setup::standard()
        .file("users.htpasswd", hash)
        .file("users.htgroup", "")
        .start(world);
    let mut client = stage.connect();
    assert_eq!(
        client
            .ask(&upgrade("/api/ws").basic("dave", "another hash"))
            .status,
        401
    );
    client.open(&upgrade("/api/ws").basic("dave", "one real hash"));
}

/// M23: clear text and weak hashes are refused at load, with the line and without the value.
pub fn m23_weak_hashes_do_not_load(_world: &World) {
    for stored in [
        "hunter2",
        "{SHA}fEqNCco3Yq9h5ZUglD3CZJT4lBs=",
        "$apr1$abcdefgh$8sNJH4tY1VXf0",
        "rqXexS6ZhobKA",
    ] {
        let setup = Setup::standard().file("users.htpasswd", format!("# users\nalice:{stored}\n"));
        let error = super::load_error(&setup);
        assert!(error.contains("users.htpasswd:2:"), "{error}");
        assert!(!error.contains(stored), "the value is shown: {error}");
    }
}

/// M5, reference A: no credential, byte for byte, and the connection is kept.
pub fn m05_no_credential_is_401_as_in_reference_a(world: &World) {
    let stage = Setup::standard().start(world);
    let answer = refused_but_kept(&stage, &upgrade("/api/ws"), 401);
    assert_eq!(answer.masked(), UNAUTHORIZED);
}

/// M6: the next request on the same connection may carry the credential.
pub fn m06_retry_on_the_same_connection(world: &World) {
    let stage = Setup::standard().start(world);
    let mut client = stage.connect();
    assert_eq!(client.ask(&upgrade("/api/ws")).status, 401);
    client.open(&upgrade("/api/ws").bearer(&stage.token("alice").text()));
    client.expect_echo(&Frame::text("hello"));
    let mut client = stage.connect();
    assert_eq!(client.ask(&upgrade("/api/ws")).status, 401);
    client.open(&upgrade("/api/ws").basic("alice", "correct horse"));
}

/// R7: the third refusal on one connection is the last, with or without a credential.
pub fn r07_the_third_refusal_closes(world: &World) {
    let stage = Setup::standard().start(world);
    let mut client = stage.connect();
    let request = upgrade("/api/ws");
    assert!(!client.ask(&request).closes());
    assert!(!client.ask(&request.clone().basic("alice", "wrong")).closes());
    client.send(&request.bytes());
    assert_eq!(closed_after(&mut client).status, 401);
}

/// R7: the number of refusals is configured.
pub fn r07_one_attempt_closes_at_once(world: &World) {
    let stage = Setup::standard().limit("attemptsPerConnection", 1).start(world);
    refused(&stage, &upgrade("/api/ws"), 401);
}

/// R7: a wrong password that is the last attempt is answered before the end, as every refusal is,
/// and so is one whose request asked for the end, or whose client has shut down its writing.
pub fn r07_the_last_wrong_password_is_answered(world: &World) {
    let stage = Setup::standard().limit("attemptsPerConnection", 1).start(world);
    let wrong = upgrade("/api/ws").basic("alice", "wrong");
    refused(&stage, &wrong, 401);
    let stage = Setup::standard().start(world);
    let asking = wrong.clone().with("Connection", "Upgrade, close");
    refused(&stage, &asking, 401);
    let mut client = stage.connect();
    client.send(&wrong.bytes());
    client.half_close();
    let (answer, end) = client.read_to_end();
    assert!(answer.starts_with(b"HTTP/1.1 401 "));
    assert_eq!(end, End::Eof);
}

/// R2: a verdict that is never found is 503 with a time to come back, never 401. Only the simulator
/// can lose a job.
pub fn r02_a_lost_verdict_is_503(world: &World) {
    if world.kind() != Kind::Sim {
        return;
    }
    let stage = Setup::standard()
        .habits(Habits {
            lost_jobs: 1,
            ..Habits::CALM
        })
        .start(world);
    let mut client = stage.connect();
    client.wait_at_most(Duration::from_secs(60));
    client.send(&upgrade("/api/ws").basic("alice", "correct horse").bytes());
    let answer = closed_after(&mut client);
    assert_eq!(answer.status, 503);
    assert!(answer.one("Retry-After").is_some() && answer.all("WWW-Authenticate").is_empty());
    assert_eq!(stage.decisions(1)[0].reason.code(), "unavailable");
}

/// R7: bytes behind a refused upgrade are neither parsed nor tunnelled, and the connection ends.
pub fn r07_bytes_behind_a_refused_upgrade_are_discarded(world: &World) {
    let stage = Setup::standard().unsplit().start(world);
    let good = upgrade("/api/ws").basic("alice", "correct horse").bytes();
    for behind in [good.as_slice(), &Frame::text("smuggled").masked(), b"x"] {
        let answer = refused(&stage, &upgrade("/api/ws").then(behind), 401);
        assert_eq!(answer.body, b"unauthorized\n");
    }
    assert!(stage.decisions(3).iter().all(|decision| decision.status == 401));
}

/// R5: Basic credentials that cannot be read are 400, without a bearer error.
pub fn r05_basic_that_cannot_be_read_is_400(world: &World) {
    let stage = Setup::standard().start(world);
    let latin1 = format!("Basic {}", STANDARD.encode(b"bj\xF6rn:x"));
    let no_colon = format!("Basic {}", STANDARD.encode("alice"));
    let bad = [
        "Basic",
        "Basic ",
        "basic",
        "Basic !!!",
        "Basic a b",
        "Basic YWxpY2U6Y29y=",
        &latin1,
        &no_colon,
    ];
    for value in bad {
        let answer = refused(&stage, &upgrade("/api/ws").field("Authorization", value), 400);
        assert!(!answer.masked().contains("error="), "{value}: {answer:?}");
    }
}

/// R5: an empty user with an empty password is a wrong one.
pub fn r05_empty_user_and_password_is_401(world: &World) {
    let stage = Setup::standard().start(world);
    refused_but_kept(
        &stage,
        &upgrade("/api/ws").field("Authorization", "Basic Og=="),
        401,
    );
}

/// R4: the challenges come one a line, in the configured order; a custom scheme has a realm only.
pub fn r04_challenges_keep_the_configured_order(world: &World) {
    let stage = Setup::standard()
        .realm("challenges", vec!["Basic", "Token", "Bearer"])
        .start(world);
    let answer = refused_but_kept(&stage, &upgrade("/api/ws"), 401);
    let lines = answer.all("WWW-Authenticate");
    let expected = [
        "Basic realm=\"R\", charset=\"UTF-8\"",
        "Token realm=\"R\"",
        "Bearer realm=\"R\", scope=\"a b\"",
    ];
    assert_eq!(lines, expected);
}

/// R4, M13: quotes and backslashes in the realm are escaped, and the scope may be absent.
pub fn m13_the_realm_is_quoted(world: &World) {
    let stage = Setup::standard()
        .realm("description", "a \"b\" \\ c")
        .unset("/realms/demo/scope")
        .start(world);
    let answer = refused_but_kept(&stage, &upgrade("/api/ws"), 401);
    let lines = answer.all("WWW-Authenticate");
    let realm = r#"realm="a \"b\" \\ c""#;
    assert_eq!(
        lines,
        [
            format!("Bearer {realm}"),
            format!("Basic {realm}, charset=\"UTF-8\"")
        ]
    );
}

/// R4: where asked for, a browser gets no challenge that would open its password prompt.
pub fn r04_the_browser_prompt_can_be_suppressed(world: &World) {
    let stage = Setup::standard()
        .realm("suppressBrowserPrompt", true)
        .start(world);
    let browser = upgrade("/api/ws").origin("https://app.example");
    let answer = refused_but_kept(&stage, &browser, 401);
    assert_eq!(
        answer.all("WWW-Authenticate"),
        ["Bearer realm=\"R\", scope=\"a b\""]
    );
    assert_eq!(
        refused_but_kept(&stage, &upgrade("/api/ws"), 401)
            .all("WWW-Authenticate")
            .len(),
        2
    );
}

/// M31: a right password is remembered for a minute, so that the second handshake needs no hash; a
/// wrong one never is, and a new line in the file counts at once.
pub fn m31_a_right_password_is_hashed_once(world: &World) {
    let stage = Setup::standard().start(world);
    let Some(sim) = stage.sim().cloned() else { return };
    let ask = |password: &str| {
        let before = sim.borrow().jobs();
        let request = upgrade("/api/ws").basic("alice", password);
        let status = stage.connect().ask(&request).status;
        (status, sim.borrow().jobs() - before)
    };
    assert_eq!(ask("wrong"), (401, 1));
    assert_eq!(ask("wrong"), (401, 1));
    assert_eq!(ask(ALICE.1), (101, 1));
    assert_eq!(ask(ALICE.1), (101, 0));
    assert_eq!(ask("wrong"), (401, 1));
    stage.pass(Duration::from_secs(61));
    assert_eq!(ask(ALICE.1), (101, 1));
    // The same name under another hash.
    let other = Setup::passwords()
        .replace("alice:", "alicia:")
        .replace("bob:", "alice:");
    stage.replace("users.htpasswd", other.as_bytes());
    stage.wait_until("the new line", |_| ask(ALICE.1) == (401, 1));
    assert_eq!(ask(BOB.1), (101, 1));
}
