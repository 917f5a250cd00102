//! Further factors: realms that have to be passed one after the other, by one subject.

use std::time::Duration;

use serde_json::{Value, json};

use super::{closed_after, refused_but_kept};
use crate::client::{Request, Response, upgrade};
use crate::keys::Token;
use crate::world::{BOB, FILE, Setup, Stage, World};

/// What a client that has passed a factor is given.
pub const FIELD: &str = "Sec-Challenge-Identity";

/// The issuer of second factors, whose tokens are no first factors.
const MFA: &str = "https://mfa.example";

/// A realm that takes tokens of `issuer` alone.
fn realm(description: &str, issuer: &str) -> Value {
    json!({
        "description": description,
        "acrValues": "mfa",
        "loginModules": [{"type": "jwt", "success": "sufficient", "issuer": issuer, "audience": "ws", "leeway": "0s",
            "roles": ["group"], "verification": {"secret": {"HS256": {"keyFile": "secret.key"}}}}],
    })
}

/// The standard gateway, whose service asks for a second factor.
pub fn two() -> Setup {
    Setup::standard()
        .set("/realms/second", realm("R2", MFA))
        .service("realm", json!(["demo", "second"]))
}

fn alice() -> Request {
    upgrade("/api/ws").basic("alice", "correct horse")
}

/// A second factor of `subject`.
pub fn second(stage: &Stage, subject: &str) -> Token {
    stage.token(subject).claim("iss", MFA)
}

/// The request with a second factor, on the strength of `identity`.
pub fn with(identity: &str, token: &Token) -> Request {
    upgrade("/api/ws").field(FIELD, identity).bearer(&token.text())
}

/// Passes the first factor and returns the identity.
///
/// # Panics
/// If it is not asked for a further one.
pub fn identity(stage: &Stage, first: &Request) -> String {
    identity_of(&stage.connect().ask(first))
}

/// Returns the identity in an answer.
///
/// # Panics
/// If there is none.
pub fn identity_of(answer: &Response) -> String {
    assert_eq!(answer.status, 401, "{answer:?}");
    answer
        .one(FIELD)
        .expect("a further factor is asked for")
        .to_owned()
}

/// Expects to be where a client begins: the first realm's challenge, and nothing to go on with.
///
/// # Panics
/// If it is elsewhere.
pub fn begins_anew(answer: &Response) {
    assert_eq!(answer.status, 401, "{answer:?}");
    let lines = answer.all("WWW-Authenticate");
    assert!(
        lines.len() == 2 && lines.iter().all(|line| line.contains("realm=\"R\"")),
        "{lines:?}"
    );
    assert_eq!(answer.one(FIELD), None);
}

/// M26, reference J: the second realm's challenge, and with its answer the socket, as the first's subject.
pub fn m26_a_second_factor_opens_the_socket(world: &World) {
    let stage = two().start(world);
    let mut client = stage.connect();
    let answer = client.ask(&alice());
    let line = "Bearer realm=\"R2\", error=\"insufficient_user_authentication\", acr_values=\"mfa\"";
    assert_eq!(answer.all("WWW-Authenticate"), [line]);
    assert_eq!(answer.one("Cache-Control"), Some("no-store"));
    assert!(!answer.closes() && answer.body == b"unauthorized\n");
    let identity = identity_of(&answer);
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    assert!(identity.len() == 43 && identity.chars().all(plain), "{identity}");
    let opened = client.open(&with(&identity, &second(&stage, "alice")));
    assert_eq!(opened.one(FIELD), None);
    let decisions = stage.decisions(2);
    let said: Vec<_> = decisions
        .iter()
        .map(|decision| {
            (
                decision.reason.code(),
                decision.realm.as_deref(),
                decision.subject.as_deref(),
            )
        })
        .collect();
    assert_eq!(
        said,
        [
            ("no_credential", Some("demo"), None),
            ("granted", Some("demo"), Some("alice"))
        ]
    );
    assert!(!stage.log().contains(&identity));
}

/// M26: an identity is good once, on whatever connection.
pub fn m26_an_identity_is_good_once(world: &World) {
    let stage = two().start(world);
    let identity = identity(&stage, &alice());
    let request = with(&identity, &second(&stage, "alice"));
    stage.connect().open(&request);
    begins_anew(&stage.connect().ask(&request));
}

/// M26: after its time an identity is none.
pub fn m26_an_identity_ends(world: &World) {
    let stage = two().service("stepUpLifetime", "500 ms").start(world);
    let identity = identity(&stage, &alice());
    stage.pass(Duration::from_millis(600));
    begins_anew(&stage.connect().ask(&with(&identity, &second(&stage, "alice"))));
}

/// R6: without an identity, or with one that nobody gave out, a request is a first one.
pub fn r06_an_unknown_identity_is_ignored(world: &World) {
    let stage = two().start(world);
    begins_anew(&stage.connect().ask(&upgrade("/api/ws")));
    for unknown in ["", "x", &"A".repeat(43), &"A".repeat(4000)] {
        begins_anew(&stage.connect().ask(&with(unknown, &second(&stage, "alice"))));
        identity_of(&stage.connect().ask(&alice().field(FIELD, unknown)));
    }
}

/// R6: a second factor proves the first's subject, or the login begins anew.
pub fn r06_another_subject_begins_anew(world: &World) {
    let stage = two().start(world);
    for subject in ["bob", "Alice", "alice "] {
        let identity = identity(&stage, &alice());
        begins_anew(&stage.connect().ask(&with(&identity, &second(&stage, subject))));
        begins_anew(&stage.connect().ask(&with(&identity, &second(&stage, "alice"))));
    }
    let identity = identity(&stage, &alice());
    let nobody = second(&stage, "x").without("sub");
    begins_anew(&stage.connect().ask(&with(&identity, &nobody)));
}

/// R6: a bad second factor, none at all, and a first one in its place spend the identity.
pub fn r06_a_wrong_factor_spends_the_identity(world: &World) {
    let stage = two().start(world);
    let expired = second(&stage, "alice").expired_for(Duration::from_secs(60));
    let first_again = stage.token("alice");
    for wrong in [
        upgrade("/api/ws").bearer(&expired.text()),
        upgrade("/api/ws").bearer(&first_again.text()),
        upgrade("/api/ws").basic("alice", "correct horse"),
        upgrade("/api/ws"),
    ] {
        let identity = identity(&stage, &alice());
        begins_anew(&stage.connect().ask(&wrong.field(FIELD, &identity)));
        begins_anew(&stage.connect().ask(&with(&identity, &second(&stage, "alice"))));
    }
}

/// R6: a wrong first factor is not asked for a second.
pub fn r06_a_wrong_first_factor_goes_no_further(world: &World) {
    let stage = two().start(world);
    for wrong in [
        upgrade("/api/ws").basic("alice", "wrong"),
        upgrade("/api/ws").bearer(&second(&stage, "alice").text()),
        upgrade("/api/ws").bearer(&stage.token("alice").without("sub").text()),
    ] {
        begins_anew(&stage.connect().ask(&wrong));
    }
}

/// R6: an identity is for the service that gave it out.
pub fn r06_an_identity_is_for_one_service(world: &World) {
    let other = json!({"type": "echo", "accept": "/other", "realm": ["demo", "second"], "origins": []});
    let stage = two().set("/services/other", other).start(world);
    let identity = identity(&stage, &alice());
    let elsewhere = upgrade("/other")
        .field(FIELD, &identity)
        .bearer(&second(&stage, "alice").text());
    begins_anew(&stage.connect().ask(&elsewhere));
    begins_anew(&stage.connect().ask(&with(&identity, &second(&stage, "alice"))));
}

/// R6: a factor that was passed under other rules counts no more.
pub fn r06_new_rules_begin_anew(world: &World) {
    let setup = two();
    let stage = setup.clone().start(world);
    let identity = identity(&stage, &alice());
    let changed = setup.set("/servers/0/health", "/up");
    stage.replace(FILE, &changed.all_files()[FILE]);
    stage.reload();
    let up = upgrade("/up");
    stage.wait_until("the new rules", |stage| stage.connect().ask(&up).status == 200);
    begins_anew(&stage.connect().ask(&with(&identity, &second(&stage, "alice"))));
}

/// R6, R15: roles of all factors count together, and only at the end.
pub fn r06_roles_are_added_up(world: &World) {
    let stage = two()
        .service("requireRoles", json!(["operators", "admin"]))
        .start(world);
    let admin = |subject| second(&stage, subject).claim("group", json!(["admin"]));
    let bob = upgrade("/api/ws").basic(BOB.0, BOB.1);
    stage
        .connect()
        .open(&with(&identity(&stage, &alice()), &admin("alice")));
    for (first, token) in [(alice(), second(&stage, "alice")), (bob, admin("bob"))] {
        let answer = refused_but_kept(&stage, &with(&identity(&stage, &first), &token), 403);
        assert!(answer.all("WWW-Authenticate").is_empty() && answer.one(FIELD).is_none());
    }
}

/// R6, E1: the socket ends with the factor that ends first, whichever that is.
pub fn r06_the_nearest_deadline_counts(world: &World) {
    let stage = two().jwt("leeway", "0s").start(world);
    for seconds in [[600, 2], [2, 600]] {
        let [one, two] = seconds.map(Duration::from_secs);
        let first = stage.token("alice").expires_in(one);
        let mut client = stage.connect();
        let identity = identity_of(&client.ask(&upgrade("/api/ws").bearer(&first.text())));
        client.open(&with(&identity, &second(&stage, "alice").expires_in(two)));
        client.expect_close(3000, "token expired");
    }
}

/// R6: a factor that ended before the next one came opens nothing.
pub fn r06_a_factor_that_ended_meanwhile_begins_anew(world: &World) {
    let stage = two().jwt("leeway", "0s").start(world);
    let first = stage.token("alice").expires_in(Duration::from_secs(2));
    let identity = identity(&stage, &upgrade("/api/ws").bearer(&first.text()));
    stage.pass(Duration::from_millis(2100));
    let answer = stage.connect().ask(&with(&identity, &second(&stage, "alice")));
    begins_anew(&answer);
    assert!(answer.all("WWW-Authenticate")[0].ends_with("error_description=\"token expired\""));
    assert_eq!(stage.decisions(2)[1].reason.code(), "expired");
}

/// R6: the first realm's session time counts for both, and so does the second's.
pub fn r06_the_nearest_session_timeout_counts(world: &World) {
    for at in ["/realms/demo/sessionTimeout", "/realms/second/sessionTimeout"] {
        let stage = two().set(at, "1s").start(world);
        let mut client = stage.connect();
        let identity = identity_of(&client.ask(&alice()));
        client.open(&with(&identity, &second(&stage, "alice")));
        client.expect_close(3000, "session timeout");
    }
}

/// R6: three factors are three steps, each with an identity of its own.
pub fn r06_three_factors_are_passed_in_order(world: &World) {
    const THIRD: &str = "https://third.example";
    let stage = two()
        .set("/realms/third", realm("R3", THIRD))
        .service("realm", json!(["demo", "second", "third"]))
        .start(world);
    let third = second(&stage, "alice").claim("iss", THIRD);
    let one = identity(&stage, &alice());
    let answer = stage.connect().ask(&with(&one, &second(&stage, "alice")));
    assert!(
        answer
            .one("WWW-Authenticate")
            .is_some_and(|line| line.starts_with("Bearer realm=\"R3\""))
    );
    let two = identity_of(&answer);
    assert_ne!(one, two);
    stage.connect().open(&with(&two, &third));
    let early = identity(&stage, &alice());
    begins_anew(&stage.connect().ask(&with(&early, &third)));
}

/// R6: two identities in one request are nothing to choose from.
pub fn r06_two_identities_are_400(world: &World) {
    let stage = two().start(world);
    let identity = identity(&stage, &alice());
    let mut client = stage.connect();
    let twice = with(&identity, &second(&stage, "alice")).field(FIELD, &identity);
    client.send(&twice.bytes());
    assert_eq!(closed_after(&mut client).status, 400);
}

/// R6: a service with one factor neither gives out identities nor looks for them.
pub fn r06_one_factor_is_enough_where_one_is_asked_for(world: &World) {
    let stage = Setup::standard().start(world);
    stage.connect().open(&alice().field(FIELD, "x").field(FIELD, "y"));
}
