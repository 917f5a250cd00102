//! Bearer tokens in `Authorization`: claims, errors and what is said about them.

use std::time::Duration;

use serde_json::json;

use super::{refused, refused_but_kept};
use crate::client::{Request, Response, upgrade};
use crate::keys::{Signer, Token, flip_a_bit, raw_token};
use crate::world::{Setup, Stage, World};

const SECOND: Duration = Duration::from_secs(1);

/// The Bearer line of a refused token, and the Basic line behind it.
const INVALID: [&str; 2] = [
    "Bearer realm=\"R\", scope=\"a b\", error=\"invalid_token\"",
    "Basic realm=\"R\", charset=\"UTF-8\"",
];

fn ask(stage: &Stage, token: &Token) -> Response {
    stage.connect().ask(&upgrade("/api/ws").bearer(&token.text()))
}

fn invalid(stage: &Stage, token: &str) {
    let answer = refused_but_kept(stage, &upgrade("/api/ws").bearer(token), 401);
    assert_eq!(answer.all("WWW-Authenticate"), INVALID, "{token}");
}

/// M3: a right token opens, and the log says whose, from where and under which scheme.
pub fn m03_a_right_token_is_granted(world: &World) {
    let stage = Setup::standard().start(world);
    let token = stage.token("alice").text();
    stage.connect().open(&upgrade("/api/ws").bearer(&token));
    stage
        .connect()
        .open(&upgrade("/api/ws").field("Authorization", &format!("bearer {token}")));
    for decision in stage.decisions(2) {
        assert_eq!((decision.status, decision.reason.code()), (101, "granted"));
        assert_eq!(decision.subject.as_deref(), Some("alice"));
        assert_eq!(decision.carrier.as_deref(), Some("authorization"));
        assert_eq!(
            decision.scheme.as_deref().map(str::to_ascii_lowercase).as_deref(),
            Some("bearer")
        );
    }
}

/// M11, R12: each claim that is wrong alone is `invalid_token`, and no more is said.
pub fn m11_wrong_claims_are_invalid_token(world: &World) {
    let stage = Setup::standard().patient().start(world);
    let good = || stage.token("alice");
    let wrong = [
        good().claim("iss", "https://other.example"),
        good().claim("iss", "https://idp.example/"),
        good().without("iss"),
        good().claim("aud", "other"),
        good().claim("aud", json!(["other", "another"])),
        good().claim("aud", json!([])),
        good().claim("aud", json!({"ws": true})),
        good().without("aud"),
        good().without("exp"),
        good().claim("sub", ""),
        good().claim("sub", 7),
        good().claim("cnf", json!({"jkt": "x"})),
    ];
    for token in wrong {
        invalid(&stage, &token.text());
    }
}

/// M11: an audience may be one of several.
pub fn m11_the_audience_may_be_a_list(world: &World) {
    let stage = Setup::standard().start(world);
    assert_eq!(
        ask(&stage, &stage.token("alice").claim("aud", json!(["other", "ws"]))).status,
        101
    );
}

/// E4: thirty seconds of leeway each way, and not one more.
pub fn e04_leeway_is_thirty_seconds(world: &World) {
    let stage = Setup::standard().start(world);
    assert_eq!(
        ask(&stage, &stage.token("alice").expired_for(28 * SECOND)).status,
        101
    );
    assert_eq!(
        ask(&stage, &stage.token("alice").expired_for(31 * SECOND)).status,
        401
    );
    let now = stage.unix().as_secs();
    assert_eq!(
        ask(&stage, &stage.token("alice").claim("nbf", now + 28)).status,
        101
    );
    assert_eq!(
        ask(&stage, &stage.token("alice").claim("nbf", now + 33)).status,
        401
    );
}

/// E4, M11: a configured leeway of nothing.
pub fn e04_leeway_may_be_nothing(world: &World) {
    let stage = Setup::standard().jwt("leeway", "0s").start(world);
    assert_eq!(
        ask(&stage, &stage.token("alice").expires_in(Duration::ZERO)).status,
        401
    );
    assert_eq!(
        ask(&stage, &stage.token("alice").expires_in(5 * SECOND)).status,
        101
    );
}

/// R5, reference B: an expired token is named as such once its signature is known to be good.
pub fn r05_an_expired_token_is_described(world: &World) {
    let stage = Setup::standard().start(world);
    let expired = stage.token("alice").expired_for(90 * SECOND).text();
    let answer = refused_but_kept(&stage, &upgrade("/api/ws").bearer(&expired), 401);
    let line =
        "Bearer realm=\"R\", scope=\"a b\", error=\"invalid_token\", error_description=\"token expired\"";
    assert_eq!(answer.all("WWW-Authenticate"), [line, INVALID[1]]);
    assert_eq!(answer.body, b"unauthorized\n");
    invalid(&stage, &flip_a_bit(&expired));
}

/// R5: a token from the future is described, too.
pub fn r05_a_token_that_is_not_yet_valid_is_described(world: &World) {
    let stage = Setup::standard().start(world);
    let token = stage.token("alice").claim("nbf", stage.unix().as_secs() + 300);
    let answer = ask(&stage, &token);
    assert!(
        answer
            .masked()
            .contains("error_description=\"token not yet valid\""),
        "{answer:?}"
    );
}

/// R12: numbers in claims that are no dates, duplicate members and critical extensions are refused.
pub fn r12_hostile_claims_are_invalid_token(world: &World) {
    let stage = Setup::standard().patient().start(world);
    let signer = Signer::of("HS256");
    let later = stage.unix().as_secs() + 600;
    let claims =
        |exp: &str| format!("{{\"iss\":\"https://idp.example\",\"aud\":\"ws\",\"sub\":\"a\",\"exp\":{exp}}}");
    let header = "{\"alg\":\"HS256\"}";
    for exp in [
        format!("\"{later}\""),
        "1e400".into(),
        "-1".into(),
        "null".into(),
        format!("{later},\"exp\":{later}"),
    ] {
        invalid(&stage, &raw_token(header, &claims(&exp), &signer));
    }
    let good = claims(&later.to_string());
    for header in [
        "{\"alg\":\"HS256\",\"crit\":[\"b64\"],\"b64\":true}",
        "{\"alg\":\"HS256\",\"crit\":[]}",
        "{\"alg\":\"HS256\",\"alg\":\"HS256\"}",
        "{\"alg\":\"HS256\",\"typ\":\"dpop+jwt\"}",
        "{\"alg\":\"None\"}",
        "{\"alg\":\"none\"}",
        "{\"alg\":\"hs256\"}",
        "{\"alg\":\"HS512\"}",
        "{\"alg\":\"RS256\"}",
        "{}",
        "[]",
        "{\"alg\":\"HS256\"",
    ] {
        invalid(&stage, &raw_token(header, &good, &signer));
    }
    stage
        .connect()
        .open(&upgrade("/api/ws").bearer(&raw_token(header, &good, &signer)));
}

/// R12: an unsecured token has no signature at all, and is refused all the same.
pub fn m14_alg_none_is_refused(world: &World) {
    let stage = Setup::standard().start(world);
    let signed = raw_token("{\"alg\":\"none\"}", "{\"sub\":\"alice\"}", &Signer::of("HS256"));
    let (unsigned, _) = signed.rsplit_once('.').unwrap();
    invalid(&stage, &format!("{unsigned}."));
}

/// R12: base64url is strict: no padding, no other alphabet, no stray bits.
pub fn r12_base64url_is_strict(world: &World) {
    let stage = Setup::standard().start(world);
    let token = stage.token("alice").text();
    let (signed, signature) = token.rsplit_once('.').unwrap();
    invalid(&stage, &format!("{token}="));
    // The last of 43 characters carries two bits that belong to no byte.
    let last = signature.chars().next_back().unwrap();
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let stray = alphabet.chars().nth(alphabet.find(last).unwrap() ^ 1).unwrap();
    invalid(
        &stage,
        &format!("{signed}.{}{stray}", &signature[..signature.len() - 1]),
    );
}

/// R5: what is no token68 is `invalid_request`, on the Bearer line alone, and closes.
pub fn r05_a_bearer_that_cannot_be_read_is_invalid_request(world: &World) {
    let stage = Setup::standard().start(world);
    for value in [
        "Bearer",
        "Bearer ",
        "bearer",
        "Bearer x,y",
        "Bearer a b",
        "Bearer \"x\"",
        "Bearer a=b",
        "Bearer ä",
    ] {
        let answer = refused(&stage, &upgrade("/api/ws").field("Authorization", value), 400);
        assert_eq!(
            answer.all("WWW-Authenticate"),
            ["Bearer realm=\"R\", error=\"invalid_request\""],
            "{value}"
        );
    }
}

/// R5: a token that is no JWT is `invalid_token`, since every module ignored it.
pub fn r05_an_opaque_token_is_invalid_token(world: &World) {
    let stage = Setup::standard().start(world);
    for token in ["opaque", "a.b", "a.b.c", "a.b.c.d", "..", "dG9rZW4="] {
        invalid(&stage, token);
    }
}

/// R5, M20: no credential, an empty value or a scheme that is not enabled: 401 without an error.
pub fn m20_another_scheme_counts_as_none(world: &World) {
    let stage = Setup::standard().tokens_only().start(world);
    let requests: [Request; 4] = [
        upgrade("/api/ws"),
        upgrade("/api/ws").field("Authorization", ""),
        upgrade("/api/ws").field("Authorization", "Negotiate abc"),
        upgrade("/api/ws").basic("alice", "correct horse"),
    ];
    for request in requests {
        let answer = refused_but_kept(&stage, &request, 401);
        assert_eq!(
            answer.all("WWW-Authenticate"),
            ["Bearer realm=\"R\", scope=\"a b\""],
            "{request:?}"
        );
    }
    assert!(
        stage
            .decisions(4)
            .iter()
            .all(|decision| decision.reason.code() == "no_credential")
    );
}

/// M12: any of the configured values of any of the configured claims is enough.
pub fn m12_any_claim_is_enough(world: &World) {
    let claims = json!({"role": ["A"], "group": ["B"]});
    let stage = Setup::standard().tokens_only().jwt("claims", claims).start(world);
    let token = || stage.token("alice");
    for good in [
        token().claim("group", json!(["x", "B"])),
        token().claim("group", "B"),
        token().claim("role", "A"),
    ] {
        assert_eq!(ask(&stage, &good).status, 101);
    }
    for bad in [
        token(),
        token().claim("group", "b"),
        token().claim("group", json!([["B"]])),
        token().claim("role", 1),
    ] {
        let answer = ask(&stage, &bad);
        assert_eq!(
            (answer.status, answer.all("WWW-Authenticate").len()),
            (403, 0),
            "{answer:?}"
        );
    }
    assert!(
        stage
            .decisions(7)
            .iter()
            .skip(3)
            .all(|decision| decision.reason.code() == "claims_mismatch")
    );
}

/// M12: in mode `all` each of the configured claims needs one of its values.
pub fn m12_all_claims_may_be_needed(world: &World) {
    let claims = json!({"role": ["A"], "group": ["B", "C"]});
    let stage = Setup::standard()
        .tokens_only()
        .jwt("claims", claims)
        .jwt("claimsMode", "all")
        .start(world);
    let token = || stage.token("alice").claim("role", "A");
    assert_eq!(ask(&stage, &token()).status, 403);
    assert_eq!(ask(&stage, &token().claim("group", "C")).status, 101);
}

/// M31, R12: what a token says is read once and judged each time: by the rules of every module that has
/// the key, and by the clock.
pub fn m31_what_was_read_once_is_judged_each_time(world: &World) {
    let mut setup = Setup::standard().tokens_only().patient().jwt("leeway", "0s");
    let wishes = [
        ("issuer", json!("https://other.example"), "wrong_issuer"),
        ("audience", json!("other"), "wrong_audience"),
        ("tokenType", json!("secevent+jwt"), "malformed_credential"),
        ("claims", json!({"department": ["x"]}), "claims_mismatch"),
    ];
    for (name, value, _) in &wishes {
        let mut module = json!({
            "type": "jwt", "success": "required", "issuer": "https://idp.example", "audience": "ws",
            "verification": {"secret": {"HS256": {"keyFile": "secret.key"}}},
        });
        module[*name] = value.clone();
        let service = json!({"type": "echo", "accept": format!("/{name}"), "realm": name});
        setup = setup
            .set(&format!("/realms/{name}"), json!({"loginModules": [module]}))
            .set(&format!("/services/{name}"), service);
    }
    let stage = setup.start(world);
    let lives = 3 * SECOND;
    let token = stage.token("alice").expires_in(lives).text();
    let ask = |path: &str| stage.connect().ask(&upgrade(path).bearer(&token)).status;
    assert_eq!([ask("/api/ws"), ask("/api/ws")], [101, 101]);
    for (index, (name, _, reason)) in wishes.iter().enumerate() {
        let status = if *name == "claims" { 403 } else { 401 };
        assert_eq!(ask(&format!("/{name}")), status, "{name}");
        assert_eq!(stage.decisions(3 + index).last().unwrap().reason.code(), *reason);
    }
    stage.pass(lives);
    assert_eq!(ask("/api/ws"), 401);
    let last = 3 + wishes.len();
    assert_eq!(stage.decisions(last).last().unwrap().reason.code(), "expired");
}

/// E3: the wire says `invalid_token`, the log says why.
pub fn e03_the_log_tells_reasons_apart(world: &World) {
    let key = Signer::of("EdDSA");
    let stage = Setup::standard()
        .tokens_only()
        .public_key("EdDSA", &key.public_pem())
        .start(world);
    let good = || stage.token("alice");
    let cases = [
        (flip_a_bit(&good().signed(&key)), "bad_signature"),
        (good().parameter("alg", "HS256").text(), "wrong_algorithm"),
        (good().claim("aud", "x").signed(&key), "wrong_audience"),
        (good().expired_for(90 * SECOND).signed(&key), "expired"),
        (
            good().claim("nbf", stage.unix().as_secs() + 300).signed(&key),
            "not_yet_valid",
        ),
    ];
    for (index, (token, reason)) in cases.iter().enumerate() {
        assert_eq!(stage.connect().ask(&upgrade("/api/ws").bearer(token)).status, 401);
        let decisions = stage.decisions(index + 1);
        assert_eq!(decisions.last().unwrap().reason.code(), *reason);
        assert_eq!(decisions.last().unwrap().subject, None);
    }
}
