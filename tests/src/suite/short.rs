//! Servers in short form.

use serde_json::{Value, json};

use super::{load_error, refused, refused_but_kept};
use crate::client::{Frame, get, upgrade};
use crate::keys::{AUDIENCE, ISSUER, Signer};
use crate::world::{Setup, World};

/// Two servers, each with a realm and points of its own.
fn setup() -> Setup {
    let server = |id: &str, audience: &str, verification: Value| {
        json!({
            "id": id, "listen": ["127.0.0.1:0"], "plaintext": true,
            "authentication": {"@JWT": {
                "realm": format!("the {id}"), "scope": ["a", "b"], "issuer": ISSUER, "audience": audience,
                "claims": {"role": ["A"], "group": ["B"]}, "verification": verification,
            }},
            "endpoints": {"/api/v1/x": "X", "/api/v1/y": "Y"},
        })
    };
    let plant = server("plant", AUDIENCE, json!({"@EdDSA": {"keyFile": "issuer.pem"}}));
    let lab = server("lab", "lab", json!({"@JWKS": {"keyFile": "jwks.json"}}));
    let key = Signer::of("EdDSA");
    Setup::standard()
        .set("/servers", json!([plant, lab]))
        .set(
            "/acl",
            json!({"entries": [{"role": "Everyone", "allow": ["websocket.connect", "read", "write"]}]}),
        )
        .unset("/realms")
        .unset("/services")
        .patient()
        .file("issuer.pem", key.public_pem())
        .file("jwks.json", json!({"keys": [key.jwk("1")]}).to_string())
}

/// M10, M16: both servers serve their points to who has a token for them.
pub fn m10_two_servers_in_short_form_work(world: &World) {
    let stage = setup().start(world);
    let key = Signer::of("EdDSA");
    let token = |audience: &str| {
        let token = stage.token("alice").claim("role", "A");
        token.claim("aud", audience).signed(&key)
    };
    let answer = stage
        .connect_to(0)
        .ask(&get("/api/v1/x").bearer(&token(AUDIENCE)));
    assert_eq!(answer.body, br#"{"value":null,"time":null,"quality":"bad"}"#);
    let answer = stage
        .connect_to(1)
        .ask(&get("/api/v1/x").bearer(&token(AUDIENCE)));
    assert_eq!(
        answer.one("WWW-Authenticate"),
        Some(r#"Bearer realm="the lab", scope="a b", error="invalid_token""#)
    );
    // The same name is the same point, whichever server it is reached by.
    let mut lab = stage.connect_to(1);
    lab.open(&upgrade("/api/v1/x").bearer(&token("lab")));
    lab.read_message();
    lab.send_frame(&Frame::text(r#"{"value":5}"#));
    lab.read_message();
    let answer = stage
        .connect_to(0)
        .ask(&get("/api/v1/x").bearer(&token(AUDIENCE)));
    assert!(answer.body.starts_with(br#"{"value":5,"#), "{answer:?}");
}

/// M16, M12: the checks of a short form are those of a long one.
pub fn m16_a_short_form_refuses_what_it_should(world: &World) {
    let stage = setup().start(world);
    let token = stage.token("alice").signed(&Signer::of("EdDSA"));
    refused_but_kept(&stage, &get("/api/v1/x"), 401);
    refused_but_kept(&stage, &get("/api/v1/z").bearer(&token), 404);
    let answer = refused_but_kept(&stage, &get("/api/v1/x").bearer(&token), 403);
    assert!(answer.all("WWW-Authenticate").is_empty());
    let answer = refused(&stage, &get("/api/v1/x").method("POST"), 405);
    assert_eq!(answer.one("Allow"), Some("GET"));
    // Without `hosts` every well-formed host is served.
    let anywhere = get("/api/v1/x").with("Host", "plant.example:8443");
    refused_but_kept(&stage, &anywhere, 401);
}

/// M14: HMAC with a public key lets everybody sign, so a PEM file is no secret.
pub fn m14_hs256_with_a_pem_file_does_not_load(_world: &World) {
    let hmac = json!({"@HS256": {"keyFile": "issuer.pem"}});
    let error = load_error(&setup().set("/servers/0/authentication/@JWT/verification", hmac.clone()));
    assert!(
        error.contains("servers[0].authentication.@JWT.verification.@HS256.keyFile"),
        "{error}"
    );
    let raw = setup().file("issuer.pem", crate::keys::SECRET);
    assert!(
        raw.set("/servers/0/authentication/@JWT/verification", hmac)
            .load()
            .is_ok()
    );
}

/// M10: a fault is told at the member that the author wrote.
pub fn m10_faults_of_the_short_form_have_a_place(_world: &World) {
    for (pointer, value, path) in [
        ("/servers/1/colour", json!(1), "servers[1].colour: unknown member"),
        (
            "/servers/1/endpoints",
            json!({"x": "X"}),
            "servers[1].endpoints.x: the path \"x\" must start with /",
        ),
        (
            "/servers/1/endpoints",
            json!({"/x/": "X"}),
            "servers[1].endpoints[\"/x/\"]: the endpoint \"/x/\" must not end with /",
        ),
        (
            "/servers/1/authentication/@Basic",
            json!({}),
            "servers[1].authentication: needs exactly one of: @JWT",
        ),
        (
            "/servers/1/authentication/@JWT/verification/@RS256",
            json!({"keyFile": "k"}),
            "servers[1].authentication.@JWT.verification: needs exactly one of: @RS256",
        ),
    ] {
        let error = load_error(&setup().set(pointer, value));
        let (place, rest) = error.split_once(": ").unwrap();
        assert_eq!(place.split(':').count(), 3, "{error}");
        assert!(rest.starts_with(path), "{error}");
    }
}
