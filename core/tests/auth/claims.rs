//! What a rightly signed token has to say.

use std::collections::BTreeSet;
use std::time::Duration;

use countersign_core::auth::jwt::{ClaimsMode, LATEST_SECONDS, Refusal, Rules, Token, sign_hs256};
use countersign_core::reason::Reason;
use countersign_core::time::UnixTime;
use serde_json::{Value, json};

use crate::fixtures::*;

#[test]
fn r12_a_bound_token_is_refused() {
    let claims = json!({"exp": NOW + 60, "cnf": {"jkt": "x"}});
    let refusal = judge_claims(&claims, &Rules::default()).unwrap_err();
    assert_eq!(refusal, Refusal::SenderConstrained);
}

#[test]
fn m11_issuer_and_audience() {
    let rules = Rules {
        issuer: Some("https://a".to_owned()),
        audience: Some("ws".to_owned()),
        ..Rules::default()
    };
    let reason = |iss: Value, aud: Value| {
        let claims = json!({"exp": NOW + 60, "iss": iss, "aud": aud});
        judge_claims(&claims, &rules).map_or_else(Refusal::reason, |_| Reason::Granted)
    };
    let a = || json!("https://a");
    for aud in [json!("ws"), json!(["ws"]), json!(["x", "ws"])] {
        assert_eq!(reason(a(), aud), Reason::Granted);
    }
    for aud in [
        json!("WS"),
        json!("ws "),
        json!([]),
        json!(["x"]),
        json!(["ws/x"]),
        json!(1),
        json!({"ws": 1}),
        json!(null),
    ] {
        assert_eq!(reason(a(), aud.clone()), Reason::WrongAudience, "{aud}");
    }
    for iss in ["https://b", "https://a/", "HTTPS://a", ""] {
        assert_eq!(reason(json!(iss), json!("ws")), Reason::WrongIssuer, "{iss}");
    }
    assert_eq!(
        reason(json!(["https://a"]), json!("ws")),
        Reason::MalformedCredential
    );
    let refusal = judge_claims(&json!({"exp": NOW + 60, "aud": "ws"}), &rules).unwrap_err();
    assert_eq!(refusal, Refusal::WrongIssuer);
    let refusal = judge_claims(&json!({"exp": NOW + 60, "iss": "https://a"}), &rules).unwrap_err();
    assert_eq!(refusal, Refusal::WrongAudience);

    let is_of_another = |iss, rules: &Rules| {
        let text = sign_hs256(&json!({"iss": iss}), SECRET);
        Token::parse(&text).unwrap().is_of_another_issuer(rules)
    };
    assert!(is_of_another("https://b", &rules));
    assert!(!is_of_another("https://a", &rules));
    assert!(!is_of_another("https://b", &Rules::default()));
}

#[test]
fn e4_expiry_and_leeway() {
    let rules = Rules::default();
    for (exp, passes) in [
        (NOW - 29, true),
        (NOW - 30, false),
        (NOW - 31, false),
        (NOW, true),
    ] {
        let judged = judge_claims(&json!({"exp": exp}), &rules);
        assert_eq!(judged.is_ok(), passes, "{exp}");
        match judged {
            Ok(verified) => {
                assert_eq!(verified.expiry, Some(UnixTime::from_secs(exp)));
                assert_eq!(verified.expires, Some(UnixTime::from_secs(exp + 30)));
            }
            Err(refusal) => assert_eq!(refusal, Refusal::Expired),
        }
    }
    for (nbf, passes) in [(NOW + 30, true), (NOW + 31, false)] {
        let judged = judge_claims(&json!({"exp": NOW + 60, "nbf": nbf}), &rules);
        assert_eq!(judged.err(), (!passes).then_some(Refusal::NotYetValid), "{nbf}");
    }
    let none = Rules {
        leeway: Duration::ZERO,
        ..Rules::default()
    };
    assert_eq!(
        judge_claims(&json!({"exp": NOW}), &none).unwrap_err(),
        Refusal::Expired
    );
    assert!(judge_claims(&json!({"exp": NOW + 1}), &none).is_ok());
    assert_eq!(judge_claims(&json!({}), &none).unwrap_err(), Refusal::NoExpiry);
    let optional = Rules {
        require_expiry: false,
        ..Rules::default()
    };
    assert_eq!(judge_claims(&json!({}), &optional).unwrap().expires, None);
}

#[test]
fn r12_odd_times_are_read_to_the_safe_side_or_refused() {
    let rules = Rules {
        leeway: Duration::ZERO,
        ..Rules::default()
    };
    let float = |base: u64, fraction: f64| json!(base as f64 + fraction);
    assert_eq!(
        judge_claims(&json!({"exp": float(NOW, 0.9)}), &rules).unwrap_err(),
        Refusal::Expired
    );
    assert!(judge_claims(&json!({"exp": float(NOW + 1, 0.5)}), &rules).is_ok());
    let early = json!({"exp": NOW + 9, "nbf": float(NOW, 0.1)});
    assert_eq!(judge_claims(&early, &rules).unwrap_err(), Refusal::NotYetValid);
    assert!(judge_claims(&json!({"exp": LATEST_SECONDS}), &rules).is_ok());
    for exp in [
        json!("1900000000"),
        json!(-1),
        json!(-0.5),
        json!(null),
        json!([NOW + 60]),
        json!(true),
        json!(LATEST_SECONDS + 1),
        json!(u64::MAX),
        json!(1e300),
    ] {
        let refusal = judge_claims(&json!({"exp": exp}), &rules).unwrap_err();
        assert_eq!(refusal, Refusal::Malformed("exp"), "{exp}");
        let claims = json!({"exp": NOW + 60, "nbf": exp});
        assert_eq!(
            judge_claims(&claims, &rules).unwrap_err(),
            Refusal::Malformed("nbf")
        );
    }
}

#[test]
fn r12_an_empty_or_non_string_subject_is_refused() {
    for sub in [json!(""), json!(1), json!(null), json!(["alice"])] {
        let refusal = judge_claims(&json!({"exp": NOW + 60, "sub": sub}), &Rules::default()).unwrap_err();
        assert_eq!(refusal, Refusal::Malformed("sub"));
    }
    let verified = judge_claims(&json!({"exp": NOW + 60}), &Rules::default()).unwrap();
    assert_eq!(verified.subject, None);
    let refusal = judge_claims(&json!({"exp": NOW + 60, "jti": 1}), &Rules::default()).unwrap_err();
    assert_eq!(refusal, Refusal::Malformed("jti"));
}

#[test]
fn m12_claims_any_and_all() {
    let rules = |claims_mode| Rules {
        claims: vec![
            ("role".to_owned(), vec!["A".to_owned()]),
            ("group".to_owned(), vec!["B".to_owned(), "C".to_owned()]),
        ],
        claims_mode,
        ..Rules::default()
    };
    let reason = |mode, mut claims: Value| {
        claims["exp"] = json!(NOW + 60);
        judge_claims(&claims, &rules(mode)).map_or_else(Refusal::reason, |_| Reason::Granted)
    };
    for (claims, any, all) in [
        (json!({"group": ["B"]}), true, false),
        (json!({"group": "B"}), true, false),
        (json!({"group": ["x", "C"], "role": "A"}), true, true),
        (json!({}), false, false),
        (json!({"group": "b"}), false, false),
        (json!({"group": "B C"}), false, false),
        (json!({"group": {"B": 1}}), false, false),
        (json!({"group": [["B"]]}), false, false),
    ] {
        let expected = |passes| {
            if passes {
                Reason::Granted
            } else {
                Reason::ClaimsMismatch
            }
        };
        assert_eq!(reason(ClaimsMode::Any, claims.clone()), expected(any), "{claims}");
        assert_eq!(reason(ClaimsMode::All, claims.clone()), expected(all), "{claims}");
    }
    for claims_mode in [ClaimsMode::Any, ClaimsMode::All] {
        let rules = Rules {
            claims_mode,
            ..Rules::default()
        };
        assert!(judge_claims(&json!({"exp": NOW + 60}), &rules).is_ok());
    }
}

#[test]
fn roles_and_scopes_come_from_claims() {
    let rules = Rules {
        roles: vec!["group".to_owned(), "role".to_owned(), "absent".to_owned()],
        ..Rules::default()
    };
    let claims = json!({
        "exp": NOW + 60, "iss": "i", "jti": "j", "group": ["a", "Everyone", 1, ""], "role": "b c",
        "other": "d", "scope": "read  write", "scp": ["admin"],
    });
    let verified = judge_claims(&claims, &rules).unwrap();
    let set = |list: &[&str]| {
        list.iter()
            .map(|item| (*item).to_owned())
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(verified.roles, set(&["a", "b c"]));
    assert_eq!(verified.scopes, set(&["read", "write", "admin"]));
    assert_eq!(
        (verified.issuer.as_deref(), verified.jti.as_deref()),
        (Some("i"), Some("j"))
    );
    assert_eq!(verified.claims["other"], "d");
}
