#![allow(clippy::unwrap_used)]

use super::*;
use crate::http::{HeadLimits, upgrade};

const TOKEN: &str = "header.payload.signature";

fn carriers() -> [Carrier; 5] {
    [
        Carrier::Authorization,
        Carrier::Header("X-Token".into()),
        Carrier::Query("access_token".into()),
        Carrier::Cookie("t".into()),
        Carrier::Subprotocol("access_token".into()),
    ]
}

fn find(target: &str, fields: &[&str], same_token_ok: bool) -> Result<Presentation, Conflict> {
    let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    let head = RequestHead::parse(head.as_bytes(), HeadLimits::default()).unwrap();
    let protocols = upgrade::protocols(head.fields(), false).unwrap().to_vec();
    let ways = Ways {
        carriers: &carriers(),
        schemes: &[Scheme::Bearer, Scheme::Basic, Scheme::Custom("Token".into())],
        session: None,
        ticket: false,
        same_token_ok,
        ignore_authorization: false,
    };
    present(&head, protocols, ways)
}

fn carrier(target: &str, fields: &[&str]) -> Option<String> {
    let presented = find(target, fields, false).unwrap().presented?;
    Some(presented.carrier.to_string())
}

#[test]
fn m21_each_carrier_alone() {
    let bearer = format!("Authorization: bEARER {TOKEN}");
    let header = format!("x-token: {TOKEN}");
    let cookie = format!("Cookie: a=b; t={TOKEN}");
    let query = format!("/?x=1&access%5Ftoken={TOKEN}");
    let pair = format!("Sec-WebSocket-Protocol: access_token, {TOKEN}, chat");
    assert_eq!(carrier("/", &[&bearer]).as_deref(), Some("authorization"));
    assert_eq!(carrier("/", &[&header]).as_deref(), Some("header:X-Token"));
    assert_eq!(carrier("/", &[&cookie]).as_deref(), Some("cookie:t"));
    assert_eq!(carrier(&query, &[]).as_deref(), Some("query:access_token"));
    assert_eq!(
        carrier("/", &[&pair]).as_deref(),
        Some("subprotocol:access_token")
    );
    assert_eq!(carrier("/", &[]), None);
}

#[test]
fn r03_two_explicit_carriers_conflict_even_when_equal() {
    let query = format!("/?access_token={TOKEN}");
    let bearer = format!("Authorization: Bearer {TOKEN}");
    assert_eq!(find(&query, &[&bearer], false).unwrap_err(), Conflict::carriers());
    assert!(find(&query, &[&bearer], true).is_ok());
    assert_eq!(
        find(&query, &["Authorization: Bearer other"], true).unwrap_err(),
        Conflict::carriers()
    );
}

#[test]
fn r03_explicit_beats_ambient() {
    let cookie = format!("Cookie: t={TOKEN}");
    assert_eq!(
        carrier("/?access_token=x", &[&cookie]).as_deref(),
        Some("query:access_token")
    );
    // With an Origin a browser may have attached Basic by itself; without one nobody did.
    let basic = "Authorization: Basic YTpi";
    let found = find("/?access_token=x", &[basic, "Origin: https://a"], false).unwrap();
    assert_eq!(found.presented.unwrap().carrier.to_string(), "query:access_token");
    assert_eq!(
        find("/?access_token=x", &[basic], false).unwrap_err(),
        Conflict::carriers()
    );
}

#[test]
fn r03_what_a_browser_attached_unreadably_does_not_spoil_an_explicit_token() {
    let origin = "Origin: https://a.example";
    let token = format!("X-Token: {TOKEN}");
    for attached in ["Authorization: Basic !", "Authorization: Basic", "Cookie: t=a b"] {
        assert_eq!(
            carrier("/", &[attached, origin, &token]).as_deref(),
            Some("header:X-Token"),
            "{attached}"
        );
        let alone = find("/", &[attached, origin], false).unwrap_err();
        assert_eq!(alone.reason, Reason::MalformedCredential, "{attached}");
    }
    // Without an Origin it was written on purpose.
    let explicit = find("/", &["Authorization: Basic !", &token], false).unwrap_err();
    assert_eq!(explicit.reason, Reason::MalformedCredential);
}

#[test]
fn r03_one_carrier_twice_is_a_conflict() {
    let bearer = format!("Authorization: Bearer {TOKEN}");
    for (target, fields) in [
        ("/", vec![bearer.as_str(), bearer.as_str()]),
        ("/?access_token=a&access_token=b", vec![]),
        ("/?access_token=a&access%5ftoken=a", vec![]),
        ("/", vec!["Cookie: t=a; t=b"]),
        ("/", vec!["Cookie: t=a", "Cookie: t=a"]),
        ("/", vec!["X-Token: a", "x-token: a"]),
        (
            "/",
            vec!["Sec-WebSocket-Protocol: access_token, a, access_token, b"],
        ),
        (
            "/",
            vec!["Sec-WebSocket-Protocol: access_token, a, access_token.YQ"],
        ),
    ] {
        assert_eq!(
            find(target, &fields, false).unwrap_err(),
            Conflict::carriers(),
            "{target} {fields:?}"
        );
    }
}

#[test]
fn r03_empty_values_and_schemes_that_are_not_enabled_are_absent() {
    for (target, field) in [
        ("/?access_token=", "X-Token:"),
        ("/?access_token", "Cookie: t="),
        ("/", "Authorization:"),
        ("/", "Authorization: Negotiate abc"),
        ("/", "Authorization: Digest username=\"a\""),
    ] {
        assert_eq!(carrier(target, &[field]), None, "{target} {field}");
    }
}

#[test]
fn r05_malformed_credentials() {
    for (field, bearer) in [
        ("Authorization: Bearer", true),
        ("Authorization: Bearer x,y", true),
        ("Authorization: Bearer x y", true),
        ("Authorization: Token", false),
        ("X-Token: a b", true),
        ("Sec-WebSocket-Protocol: chat, access_token", true),
        ("Sec-WebSocket-Protocol: access_token.*", true),
        ("Authorization: Basic", false),
        ("Authorization: Basic ***", false),
        ("Authorization: Basic YWI=", false),
        ("Authorization: Basic gDpi", false),
    ] {
        assert_eq!(
            find("/", &[field], false).unwrap_err(),
            Conflict::malformed(bearer),
            "{field}"
        );
    }
}

#[test]
fn m04_a_password_may_hold_colons_and_utf_8() {
    let text = STANDARD.encode("ä:b:c ü");
    let found = find("/", &[&format!("Authorization: basic {text}")], false).unwrap();
    let Some(Presented {
        credential: Credential::Basic { user, password },
        ..
    }) = found.presented
    else {
        panic!("Basic was presented");
    };
    assert_eq!(
        (user.as_str(), password.expose().as_slice()),
        ("ä", "b:c ü".as_bytes())
    );
    // Both may be empty: a wrong password is not a malformed one.
    assert!(
        find("/", &["Authorization: Basic Og=="], false)
            .unwrap()
            .presented
            .is_some()
    );
}

#[test]
fn r09_the_token_is_taken_out_and_the_real_protocols_stay_in_order() {
    let found = find(
        "/",
        &[
            "Sec-WebSocket-Protocol: a, access_token",
            "Sec-WebSocket-Protocol: T, b",
        ],
        false,
    );
    let found = found.unwrap();
    assert_eq!(found.protocols, ["a", "b"]);
    assert_eq!(found.marker, Marker::Pair("access_token".into()));
    let single = format!(
        "Sec-WebSocket-Protocol: access_token.{}, b",
        URL_SAFE_NO_PAD.encode("T")
    );
    let found = find("/", &[&single], false).unwrap();
    assert_eq!(
        (found.protocols, found.marker),
        (vec!["b".to_owned()], Marker::Single)
    );
}

#[test]
fn r10_debug_shows_no_credential() {
    let found = find("/", &["Authorization: Basic YWxpY2U6aHVudGVyMg=="], false).unwrap();
    let shown = format!("{found:?}");
    assert!(!shown.contains("hunter2") && !shown.contains("alice"), "{shown}");
    let found = find("/?access_token=s3cr3t", &[], false).unwrap();
    assert!(!format!("{found:?}").contains("s3cr3t"));
}
