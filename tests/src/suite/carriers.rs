//! Where a credential may be carried; the file `matrix` has each carrier by itself and beside others.

use serde_json::json;

use super::{refused, refused_but_kept};
use crate::client::{Request, upgrade};
use crate::world::{Setup, Stage, World};

const ORIGIN: &str = "https://app.example";

/// A realm that takes tokens by every carrier.
fn all_carriers() -> Setup {
    let carriers = json!([
        "authorization",
        "header:X-Token",
        "subprotocol:access_token",
        "query:access_token",
        "cookie:token"
    ]);
    Setup::standard()
        .realm("carriers", carriers)
        .service("subprotocols", json!(["chat"]))
}

/// One right request for each carrier, with its name in the configuration.
fn each_carrier(token: &str) -> Vec<(&'static str, Request)> {
    vec![
        ("authorization", upgrade("/api/ws").bearer(token)),
        ("header:X-Token", upgrade("/api/ws").field("X-Token", token)),
        (
            "subprotocol:access_token",
            upgrade("/api/ws").protocols(&format!("access_token, {token}, chat")),
        ),
        (
            "query:access_token",
            upgrade(&format!("/api/ws?access_token={token}&x=1")),
        ),
        (
            "cookie:token",
            upgrade("/api/ws")
                .field("Cookie", &format!("a=b; token={token}"))
                .origin(ORIGIN),
        ),
    ]
}

fn token(stage: &Stage) -> String {
    stage.token("alice").text()
}

/// M21: a carrier that is not configured carries nothing.
pub fn m21_another_carrier_counts_as_none(world: &World) {
    let stage = Setup::standard().start(world);
    for (name, request) in each_carrier(&token(&stage)).into_iter().skip(1) {
        let request = request.without("Sec-WebSocket-Protocol");
        assert_eq!(stage.connect().ask(&request).status, 401, "{name}");
    }
}

/// M21: the service's carriers replace the realm's.
pub fn m21_the_services_carriers_replace_the_realms(world: &World) {
    let stage = all_carriers()
        .service("carriers", json!(["query:t"]))
        .start(world);
    stage
        .connect()
        .open(&upgrade(&format!("/api/ws?t={}", token(&stage))));
    refused_but_kept(&stage, &upgrade("/api/ws").bearer(&token(&stage)), 401);
}

/// R3, reference C: two explicit carriers, even with the same token.
pub fn r03_two_explicit_carriers_are_400(world: &World) {
    let stage = all_carriers().start(world);
    let token = token(&stage);
    let request = upgrade("/api/ws").bearer(&token).field("X-Token", &token);
    let answer = refused(&stage, &request, 400);
    let reference =
        "HTTP/1.1 400 Bad Request\r\nWWW-Authenticate: Bearer realm=\"R\", error=\"invalid_request\"\r\n";
    assert!(answer.masked().starts_with(reference), "{answer:?}");
    for request in [
        upgrade(&format!("/api/ws?access_token={token}")).bearer(&token),
        upgrade(&format!("/api/ws?access_token={token}")).field("X-Token", "other"),
    ] {
        refused(&stage, &request, 400);
    }
    assert!(
        stage
            .decisions(3)
            .iter()
            .all(|decision| decision.reason.code() == "carrier_conflict")
    );
}

/// R3: where the realm says so, the same token twice is one.
pub fn r03_the_same_token_twice_may_be_allowed(world: &World) {
    let stage = all_carriers().realm("sameTokenOk", true).start(world);
    let token = token(&stage);
    stage
        .connect()
        .open(&upgrade("/api/ws").bearer(&token).field("X-Token", &token));
    refused(
        &stage,
        &upgrade("/api/ws").bearer(&token).field("X-Token", "other"),
        400,
    );
}

/// R3: the same carrier twice is 400, however its name is written.
pub fn r03_the_same_carrier_twice_however_it_is_written_is_400(world: &World) {
    let stage = all_carriers().start(world);
    let token = token(&stage);
    for request in [
        upgrade("/api/ws")
            .field("X-Token", &token)
            .field("x-token", &token),
        upgrade(&format!("/api/ws?access_token={token}&access%5Ftoken=x")),
        upgrade("/api/ws")
            .field("Cookie", &format!("token={token}"))
            .field("Cookie", &format!("token={token}"))
            .origin(ORIGIN),
    ] {
        refused(&stage, &request, 400);
    }
}

/// R3: a parameter without a value is no credential.
pub fn r03_a_parameter_without_a_value_is_absent(world: &World) {
    let stage = all_carriers().start(world);
    let answer = refused_but_kept(&stage, &upgrade("/api/ws?access_token"), 401);
    assert!(!answer.masked().contains("error"), "{answer:?}");
}

/// M29: the name of a parameter may be percent-encoded, a plus in the value stays one.
pub fn m29_names_in_the_query_are_decoded(world: &World) {
    let stage = all_carriers().start(world);
    stage
        .connect()
        .open(&upgrade(&format!("/api/ws?access%5Ftoken={}", token(&stage))));
    let escaped = token(&stage).replace('.', "%2E");
    stage
        .connect()
        .open(&upgrade(&format!("/api/ws?x=1&access_token={escaped}")));
    refused_but_kept(
        &stage,
        &upgrade(&format!("/api/ws?Access_Token={}", token(&stage))),
        401,
    );
}

/// R10: an answer to a request with a token in its URL is neither stored nor referred to.
pub fn r10_a_query_token_is_answered_without_traces(world: &World) {
    let stage = all_carriers().start(world);
    for request in [
        upgrade("/api/ws?access_token=bad"),
        upgrade("/api/ws?access_token=a&access_token=b"),
    ] {
        let answer = stage.connect().ask(&request);
        assert_eq!(answer.one("Cache-Control"), Some("no-store"));
        assert_eq!(answer.one("Referrer-Policy"), Some("no-referrer"));
    }
    let answer = stage.connect().ask(&upgrade("/api/ws").bearer("bad"));
    assert_eq!(answer.one("Referrer-Policy"), None);
}

/// M30, R9: the pair form answers the common subprotocol, else the marker, never the token.
pub fn m30_the_pair_form_never_echoes_the_token(world: &World) {
    let stage = all_carriers().start(world);
    let token = token(&stage);
    for (offer, chosen) in [
        (format!("access_token, {token}, chat"), "chat"),
        (format!("chat, access_token, {token}"), "chat"),
        (format!("access_token, {token}"), "access_token"),
        (format!("access_token, {token}, other"), "access_token"),
    ] {
        let answer = stage.connect().open(&upgrade("/api/ws").protocols(&offer));
        assert_eq!(answer.one("Sec-WebSocket-Protocol"), Some(chosen));
        assert!(!answer.masked().contains(&token));
    }
    let answer = stage
        .connect()
        .open(&upgrade("/api/ws").protocols("access_token").protocols(&token));
    assert_eq!(answer.one("Sec-WebSocket-Protocol"), Some("access_token"));
}

/// R9: the single form needs a real subprotocol to answer with.
pub fn r09_the_single_form_needs_another_subprotocol(world: &World) {
    let stage = all_carriers().start(world);
    let single = format!("access_token.{}", base64url(&token(&stage)));
    let answer = stage
        .connect()
        .open(&upgrade("/api/ws").protocols(&format!("{single}, chat")));
    assert_eq!(answer.one("Sec-WebSocket-Protocol"), Some("chat"));
    refused(&stage, &upgrade("/api/ws").protocols(&single), 400);
}

/// R9: a marker with nothing behind it is 400.
pub fn r09_a_marker_as_last_item_is_400(world: &World) {
    let stage = all_carriers().start(world);
    refused(&stage, &upgrade("/api/ws").protocols("chat, access_token"), 400);
}

/// R9: characters that a subprotocol cannot have are taken in the token's item where asked for.
pub fn r09_a_token_with_slashes_needs_leave(world: &World) {
    let request = upgrade("/api/ws").protocols("access_token, a/b=");
    refused(&all_carriers().start(world), &request, 400);
    let lenient = all_carriers().realm("lenientSubprotocolToken", true).start(world);
    refused_but_kept(&lenient, &request, 401);
}

/// R4: a realm that is reached by other carriers alone still answers with a challenge.
pub fn r04_other_carriers_still_draw_a_challenge(world: &World) {
    let stage = Setup::standard()
        .tokens_only()
        .realm("carriers", json!(["query:access_token"]))
        .start(world);
    let answer = refused_but_kept(&stage, &upgrade("/api/ws"), 401);
    assert_eq!(
        answer.all("WWW-Authenticate"),
        ["Bearer realm=\"R\", scope=\"a b\""]
    );
}

fn base64url(text: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text)
}
