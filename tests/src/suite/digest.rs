//! Digest (R13, M33): the exchange, what makes a response good for one request alone, and what is
//! said of one that is not.

use std::time::Duration;

use serde_json::json;

use super::{load_error, refused, refused_but_kept};
use crate::client::{Digest, Frame, Request, Response, digest_line, digest_lines, upgrade, without_nonces};
use crate::world::{ALICE, BJORN, Setup, Stage, World};

/// Reference A.
const UNAUTHORIZED: &str = "HTTP/1.1 401 Unauthorized\r\n\
    WWW-Authenticate: Bearer realm=\"R\", scope=\"a b\"\r\n\
    WWW-Authenticate: Digest realm=\"R\", nonce=\"...\", opaque=\"...\", qop=\"auth\", algorithm=SHA-256, charset=UTF-8\r\n\
    WWW-Authenticate: Basic realm=\"R\", charset=\"UTF-8\"\r\n\
    Cache-Control: no-store\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 13\r\n\r\nunauthorized\n";

fn digests(algorithms: &[&str]) -> String {
    let users = [ALICE, BJORN];
    let lines = algorithms
        .iter()
        .flat_map(|algorithm| users.map(|user| digest_line(algorithm, "R", user)));
    lines.collect()
}

/// The standard realm with Digest between Bearer and Basic.
fn setup() -> Setup {
    Setup::standard()
        .realm("challenges", json!(["Bearer", "Digest", "Basic"]))
        .set("/realms/demo/loginModules/0/digests", "users.htdigest")
        .file("users.htdigest", digests(&["SHA-256"]))
}

fn with(digest: &Digest) -> Request {
    upgrade("/api/ws").field("Authorization", &digest.field())
}

fn challenge(stage: &Stage) -> Response {
    refused_but_kept(stage, &upgrade("/api/ws"), 401)
}

/// Alice, who has asked for a challenge on a connection of its own.
fn alice(stage: &Stage) -> Digest {
    Digest::of(&challenge(stage), ALICE)
}

fn ask(stage: &Stage, digest: &Digest) -> Response {
    stage.connect().ask(&with(digest))
}

fn is_stale(answer: &Response) -> bool {
    let lines = digest_lines(answer);
    let stale: Vec<_> = lines
        .iter()
        .filter(|line| line.ends_with(", stale=true"))
        .collect();
    assert!(
        stale.is_empty() || stale.len() == lines.len(),
        "on all lines or on none"
    );
    assert_eq!(answer.masked().matches("stale").count(), stale.len());
    !stale.is_empty()
}

fn last_reason(stage: &Stage, count: usize) -> &'static str {
    stage.decisions(count)[count - 1].reason.code()
}

/// M33: 401, then 101 on the same connection, as who one is and with the roles of the groups.
pub fn m33_the_whole_exchange_on_one_connection(world: &World) {
    let stage = setup().service("requireRoles", json!(["operators"])).start(world);
    let mut client = stage.connect();
    let answer = client.ask(&upgrade("/api/ws"));
    assert_eq!(without_nonces(&answer), UNAUTHORIZED);
    client.open(&with(&Digest::of(&answer, ALICE)));
    client.expect_echo(&Frame::text("hello"));
    let granted = &stage.decisions(2)[1];
    assert_eq!(granted.subject.as_deref(), Some("alice"));
    assert_eq!(granted.scheme.as_deref(), Some("Digest"));
    assert_eq!(granted.carrier.as_deref(), Some("authorization"));
    let answer = ask(&stage, &Digest::of(&challenge(&stage), BJORN));
    assert_eq!(answer.status, 403, "björn is known, but no operator");
}

/// M33: a response is good once, on whatever connection; then there is a new nonce to try with.
pub fn m33_digest_nc_reuse_is_refused(world: &World) {
    let stage = setup().start(world);
    let digest = alice(&stage);
    stage.connect().open(&with(&digest));
    let answer = refused_but_kept(&stage, &with(&digest), 401);
    assert!(is_stale(&answer));
    assert_eq!(last_reason(&stage, 3), "reused_nonce");
    let again = Digest::of(&answer, ALICE);
    assert_ne!(again.nonce(), digest.nonce());
    stage.connect().open(&with(&again));
    let known = refused_but_kept(
        &stage,
        &with(&digest.but("response", &format!("\"{:064}\"", 0))),
        401,
    );
    assert!(!is_stale(&known), "a wrong response is just wrong");
}

/// M33: parallel requests with one nonce arrive in any order, each count being good once.
pub fn m33_counts_arrive_in_any_order(world: &World) {
    let stage = setup().start(world);
    let digest = alice(&stage);
    for count in [3, 1, 2, 66] {
        stage.connect().open(&with(&digest.clone().with_count(count)));
    }
    for count in [3, 1, 2, 66] {
        assert!(
            is_stale(&ask(&stage, &digest.clone().with_count(count))),
            "{count}"
        );
    }
    stage.connect().open(&with(&digest.clone().with_count(4)));
    stage.connect().open(&with(&digest.clone().with_count(1000)));
    assert!(
        is_stale(&ask(&stage, &digest.with_count(5))),
        "far below the highest"
    );
}

/// M33: a nonce that is too old is stale for who has the password, and nothing for who has not.
pub fn m33_an_expired_nonce_is_stale(world: &World) {
    let lifetime = json!({"nonceLifetime": "1 second"});
    let stage = setup().realm("digest", lifetime).start(world);
    let digest = alice(&stage);
    let wrong = Digest::of(&challenge(&stage), ("alice", "wrong"));
    stage.pass(Duration::from_millis(1100));
    let answer = ask(&stage, &digest);
    assert!(is_stale(&answer));
    assert_eq!(last_reason(&stage, 3), "stale_nonce");
    stage.connect().open(&with(&Digest::of(&answer, ALICE)));
    let answer = ask(&stage, &wrong);
    assert_eq!((answer.status, is_stale(&answer)), (401, false));
    assert_eq!(last_reason(&stage, 5), "bad_password");
}

/// M33: a response for another target is 400, query included.
pub fn m33_uri_mismatch_is_400(world: &World) {
    let stage = setup().start(world);
    for uri in [
        "/other",
        "/api/ws?x=1",
        "http://localhost/api/ws",
        "/api/w%73",
        "",
    ] {
        let answer = refused(&stage, &with(&alice(&stage).with_uri(uri)), 400);
        assert!(answer.all("WWW-Authenticate").is_empty(), "{uri}");
    }
    let target = "/api/ws?x=%7e&y";
    let digest = alice(&stage).with_uri(target);
    stage
        .connect()
        .open(&upgrade(target).field("Authorization", &digest.field()));
}

/// R13, R5: what is not written as RFC 7616 says is 400, with the right password or without.
pub fn r13_malformed_digests_are_400(world: &World) {
    let stage = setup().start(world);
    let digest = alice(&stage);
    let mut wrong = Vec::new();
    for name in [
        "username", "realm", "nonce", "uri", "qop", "nc", "cnonce", "response", "opaque",
    ] {
        wrong.push(digest.clone().without(name).field());
        wrong.push(format!("{}, {name}=\"x\"", digest.field()));
    }
    for (name, written) in [
        ("qop", "auth-int"),
        ("nc", "00000000"),
        ("nc", "1"),
        ("cnonce", "\"\""),
        ("response", "\"abc\""),
        ("userhash", "maybe"),
    ] {
        wrong.push(digest.clone().but(name, written).field());
    }
    wrong.extend(["Digest", "Digest abc", "Digest a=1 b=2"].map(str::to_owned));
    let count = wrong.len();
    for field in wrong {
        let answer = refused(&stage, &upgrade("/api/ws").field("Authorization", &field), 400);
        assert!(answer.all("WWW-Authenticate").is_empty(), "{field}");
    }
    assert_eq!(last_reason(&stage, count + 1), "malformed_credential");
    stage.connect().open(&with(&digest));
}

/// R13: another realm and another algorithm are 401 like any other credential that is not good.
pub fn r13_a_foreign_realm_or_algorithm_is_401(world: &World) {
    let stage = setup().start(world);
    let digest = alice(&stage);
    for (wrong, reason, count) in [
        (digest.clone().with_realm("other"), "wrong_audience", 2),
        (digest.clone().with_algorithm("MD5"), "wrong_algorithm", 3),
        (
            digest.clone().but("algorithm", "SHA-512-256"),
            "wrong_algorithm",
            4,
        ),
    ] {
        let answer = refused_but_kept(&stage, &with(&wrong), 401);
        assert_eq!(without_nonces(&answer), UNAUTHORIZED);
        assert_eq!(last_reason(&stage, count), reason);
    }
    stage.connect().open(&with(&digest));
}

/// R13: a nonce that is not ours is stale for who has the password, and nothing for who has not.
pub fn r13_a_foreign_nonce_is_stale(world: &World) {
    let stage = setup().start(world);
    let digest = alice(&stage);
    let cut = &digest.nonce()[1..];
    for nonce in ["", "x", "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", cut] {
        let answer = ask(&stage, &digest.clone().with_nonce(nonce));
        assert!(is_stale(&answer), "{nonce}");
        let wrong = Digest::of(&challenge(&stage), ("alice", "wrong"));
        assert!(!is_stale(&ask(&stage, &wrong.with_nonce(nonce))), "{nonce}");
    }
    assert!(is_stale(&ask(&stage, &digest.clone().but("opaque", "\"x\""))));
    assert_eq!(last_reason(&stage, 14), "stale_nonce");
    stage.connect().open(&with(&digest));
}

/// R13: a nonce of one realm is none of another's, even where both have the same text and users.
pub fn r13_a_nonce_belongs_to_its_realm(world: &World) {
    let users = json!({"type": "users", "success": "sufficient", "digests": "users.htdigest"});
    let stage = setup()
        .set(
            "/realms/other",
            json!({"description": "R", "loginModules": [users]}),
        )
        .set(
            "/services/other",
            json!({"type": "echo", "accept": "/other", "realm": "other", "origins": []}),
        )
        .start(world);
    let other = |digest: &Digest| upgrade("/other").field("Authorization", &digest.field());
    let answer = stage.connect().ask(&other(&alice(&stage).with_uri("/other")));
    assert!(is_stale(&answer));
    assert_eq!(
        answer.all("WWW-Authenticate").len(),
        1,
        "Digest alone: {answer:?}"
    );
    let digest = Digest::of(&answer, ALICE).with_uri("/other");
    stage.connect().open(&other(&digest));
}

/// R5: a wrong password, an unknown user and a hashed name are refused with the same bytes.
pub fn r05_wrong_passwords_and_unknown_users_look_the_same(world: &World) {
    let stage = setup().start(world);
    let hashed = alice(&stage).but("userhash", "true");
    let as_user = |user| Digest::of(&challenge(&stage), (user, "x"));
    for wrong in [
        as_user("alice"),
        as_user("nobody"),
        as_user(""),
        as_user("al\"i\\ce"),
        hashed,
    ] {
        let answer = refused_but_kept(&stage, &with(&wrong), 401);
        assert_eq!(without_nonces(&answer), UNAUTHORIZED, "{wrong:?}");
        let again = challenge(&stage);
        let expected: usize = again.raw.len();
        assert_eq!(answer.raw.len(), expected, "nonces have one length");
    }
    let mut reasons: Vec<_> = stage
        .decisions(14)
        .iter()
        .map(|decision| decision.reason.code())
        .collect();
    reasons.retain(|reason| *reason != "no_credential");
    let expected = [
        "bad_password",
        "unknown_user",
        "unknown_user",
        "unknown_user",
        "unknown_user",
    ];
    assert_eq!(reasons, expected);
}

/// RFC 7616 section 3.4: a name that is not ASCII comes as it is, or encoded.
pub fn r13_names_may_be_utf_8(world: &World) {
    let stage = setup().start(world);
    let digest = Digest::of(&challenge(&stage), BJORN);
    stage.connect().open(&with(&digest));
    let extended = Digest::of(&challenge(&stage), BJORN)
        .without("username")
        .but("username*", "UTF-8''bj%C3%B6rn");
    stage.connect().open(&with(&extended));
    refused(&stage, &with(&extended.but("username", "\"x\"")), 400);
}

/// R4: MD5 is offered where a realm asks for it, behind SHA-256 and with the same nonce.
pub fn r04_md5_is_opt_in(world: &World) {
    let both = json!({"algorithms": ["MD5", "SHA-256"]});
    let stage = setup()
        .realm("digest", both)
        .file("users.htdigest", digests(&["MD5", "SHA-256"]))
        .start(world);
    let answer = challenge(&stage);
    let lines = digest_lines(&answer);
    let [first, second] = lines.as_slice() else {
        panic!("two lines: {answer:?}")
    };
    assert_eq!(first.replace("SHA-256", "MD5"), *second);
    let nonce = [first, second].map(|line| Digest::of_line(line, ALICE));
    stage.connect().open(&with(&nonce[0]));
    assert!(is_stale(&ask(&stage, &nonce[1])), "one nonce, one count");
    stage.connect().open(&with(&nonce[1].clone().with_count(2)));
    let unnamed = nonce[1].clone().with_count(3).without("algorithm");
    stage.connect().open(&with(&unnamed));
}

/// R3, R11: beside an Origin, a browser may have sent Digest by itself; a token is explicit.
pub fn r03_digest_beside_an_origin_is_ambient(world: &World) {
    let stage = setup()
        .realm("carriers", json!(["authorization", "query:access_token"]))
        .start(world);
    let origin = "https://app.example";
    let digest = alice(&stage);
    refused(&stage, &with(&digest).origin("https://evil.example"), 403);
    stage.connect().open(&with(&digest).origin(origin));
    let target = "/api/ws?access_token=bad";
    let both = upgrade(target).field("Authorization", &alice(&stage).with_uri(target).field());
    let answer = stage.connect().ask(&both.clone().origin(origin));
    assert_eq!(answer.status, 401, "no fallback to what is ambient");
    refused(&stage, &both, 400);
}

/// R15: two modules that judge one response use its nonce once.
pub fn r15_two_modules_use_the_nonce_once(world: &World) {
    let users = |file: &str| json!({"type": "users", "success": "required", "digests": file});
    let modules = |files: [&str; 2]| json!(files.map(users));
    let setup = setup()
        .realm("challenges", json!(["Digest"]))
        .file("strangers.htdigest", digest_line("SHA-256", "R", ("zoe", "x")));
    let stage = setup
        .clone()
        .realm("loginModules", modules(["users.htdigest"; 2]))
        .start(world);
    let digest = alice(&stage);
    stage.connect().open(&with(&digest));
    assert!(is_stale(&ask(&stage, &digest)));
    let files = ["users.htdigest", "strangers.htdigest"];
    let stage = setup.realm("loginModules", modules(files)).start(world);
    assert!(!is_stale(&ask(&stage, &alice(&stage))));
}

/// R13: what was used stays used when the rules change.
pub fn r13_a_reload_forgets_no_count(world: &World) {
    let stage = setup().start(world);
    let digest = alice(&stage);
    stage.connect().open(&with(&digest));
    stage.reload();
    assert!(is_stale(&ask(&stage, &digest)));
    stage.connect().open(&with(&digest.with_count(2)));
}

/// R13: an algorithm that nobody can answer with, and digests that nobody is asked for, are told.
pub fn r13_algorithms_without_users_are_told(world: &World) {
    let stage = setup()
        .realm("digest", json!({"algorithms": ["SHA-256"]}))
        .file("users.htdigest", digests(&["MD5"]))
        .start(world);
    stage.wait_until("both warnings", |stage| {
        let log = stage.log();
        let told = |what| log.contains(&format!("users.htdigest: {what}"));
        told("SHA-256 is offered, but no user has a digest of it") && told("MD5 is not offered")
    });
}

/// A users module without passwords has nothing to say about Basic.
pub fn r15_digests_alone_do_not_judge_basic(world: &World) {
    let users = json!([{"type": "users", "success": "required", "digests": "users.htdigest"}]);
    let stage = setup().realm("loginModules", users).start(world);
    refused_but_kept(&stage, &upgrade("/api/ws").basic(ALICE.0, ALICE.1), 401);
    stage.connect().open(&with(&alice(&stage)));
}

/// R15: where a failed login is 403, a stale nonce is not: the client is told the next one.
pub fn r13_stale_is_401_under_every_setting(world: &World) {
    let stage = setup().realm("compat", json!({"kaazing403": true})).start(world);
    let digest = alice(&stage);
    stage.connect().open(&with(&digest));
    assert!(is_stale(&refused_but_kept(&stage, &with(&digest), 401)));
    refused_but_kept(
        &stage,
        &with(&Digest::of(&challenge(&stage), ("alice", "x"))),
        403,
    );
}

/// R10: nothing of a credential is logged.
pub fn r10_digests_are_not_logged(world: &World) {
    let stage = setup().start(world);
    let stranger = Digest::of(&challenge(&stage), ("SECRETUSER", "x"));
    let digest = alice(&stage);
    ask(&stage, &stranger);
    ask(&stage, &digest);
    ask(&stage, &digest);
    ask(&stage, &digest.clone().but("cnonce", "\"\""));
    stage.decisions(6);
    let log = stage.log();
    let (nonce, response) = (digest.nonce().to_owned(), digest.response());
    for secret in [
        "SECRETUSER",
        &nonce,
        &response,
        &stranger.response(),
        "c29tZSBieXRlcw",
    ] {
        assert!(!log.contains(secret), "{secret} is in {log}");
    }
}

/// M23: a digest file that is wrong does not load; line and fault are named, values are not.
pub fn m23_wrong_digest_files_do_not_load(_world: &World) {
    let good = digest_line("SHA-256", "R", ALICE);
    for (line, said) in [
        ("bob:R:hunter2".to_owned(), "digits"),
        ("bob:hunter2".to_owned(), "user:realm:digest"),
        (digest_line("SHA-256", "hunter2", ("bob", "x")), "another realm"),
        (good.clone(), "already on line 1"),
    ] {
        let error = load_error(&setup().file("users.htdigest", format!("{good}{line}")));
        assert!(
            error.contains("users.htdigest:2:") && error.contains(said),
            "{error}"
        );
        assert!(!error.contains("hunter2"), "the value is shown: {error}");
    }
}
