//! The two curves that are verified beside ring: P-521 and secp256k1.

use countersign_core::auth::algorithm::Algorithm;
use countersign_core::auth::jwk::KeySet;
use countersign_core::auth::jws::{Compact, Forged};
use serde_json::{Value, json};

use crate::fixtures::*;

/// Signed with openssl by the key of `p521.spki.pem`.
const ES512: [&str; 2] = [
    "eyJhbGciOiAiRVM1MTIifQ.eyJzdWIiOiJhbGljZSJ9.AMszwNxzQ2ovr021NjuqcSl6IkxATUg5N5A9RrRF76F3brAjYng1rTmnVekc4R-236-Fomg2q1l5_b49Z_pjqFPFACuxX7_ZPs3qQuaqxGs6ZQmcDEOl9uzwwQtw94H0CNocmIHPaSNePYj_5Yqt5CO-8csn1dyES3SzWvxvZHd2SVuQ",
    "eyJhbGciOiAiRVM1MTIifQ.eyJzdWIiOiJhbGljZSJ9.AOYTzimwjYK0qNGrk9CUnl8ymXSuccEc2Fm1wRxacytdlIU0p2XB7jcrwT5dCqN5ycfQvRWOCMrcz8K_N0ZSet7nAdOLugnW-HHBJfG3BJdpPRTkwKVtw_yvHiA1xQEimVG_a3sRu8Jcdw5v8kk8AcxeHKX8y0iKJLXWrZiLldgJupj1",
];

/// Signed with openssl by the key of `secp256k1.spki.pem`: first with the lower half of the numbers as
/// `s`, then with the upper.
const ES256K: [&str; 2] = [
    "eyJhbGciOiAiRVMyNTZLIn0.eyJzdWIiOiJhbGljZSJ9.Skyz6GV8vqGu_7sMzGReFTExBA5qkBhHYDUFYhgmORQQV4ADx06jBZwIfjMBtSO6jj1ONMPWFgYm_SwAZwAHSA",
    "eyJhbGciOiAiRVMyNTZLIn0.eyJzdWIiOiJhbGljZSJ9.miI6UkTMG5QN-JSfchIlCNcEesA95b1FdUq8NpoeTvr8XQ0UN_V-_WxM1dGoH4PzCToRqBNsKOfb9ArQVaePXQ",
];

fn check(text: &str, keys: &KeySet) -> Result<(), Forged> {
    Compact::parse(text).unwrap().check(keys)
}

#[test]
fn m14_signatures_of_another_program_verify() {
    for (algorithm, texts) in [(Algorithm::Es512, ES512), (Algorithm::Es256k, ES256K)] {
        for text in texts {
            assert_eq!(check(text, &keys(algorithm)), Ok(()), "{algorithm}");
            let mixed = text.replacen(".eyJzdWIiOiJhbGljZSJ9.", ".eyJzdWIiOiJib2IifQ.", 1);
            assert_eq!(
                check(&mixed, &keys(algorithm)),
                Err(Forged::BadSignature),
                "{algorithm}"
            );
        }
    }
}

/// RFC 7515 appendix A.4, with the key that stands there.
#[test]
fn m14_the_es512_example_of_rfc_7515_verifies() {
    let text = "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA.AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZq\
                wqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXu\
                kOXolLzeO_Jn";
    let key = es512_jwk();
    let (set, skipped) = jwks(std::slice::from_ref(&key));
    assert!(skipped.is_empty());
    assert_eq!(check(text, &set), Ok(()));
    let (set, _) = jwks(&[with(key, &[("alg", json!("ES512"))])]);
    assert_eq!(check(text, &set), Ok(()));
}

/// The key of RFC 7515 appendix A.4.
fn es512_jwk() -> Value {
    json!({"kty": "EC", "crv": "P-521",
        "x": "AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk",
        "y": "ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2"})
}

#[test]
fn m14_a_point_off_its_curve_is_no_key() {
    let off = with(es512_jwk(), &[("y", es512_jwk()["x"].clone())]);
    assert!(jwks(&[off]).0.is_empty());
}

#[test]
fn m14_numbers_outside_of_the_group_are_no_signature() {
    for (algorithm, text, length) in [
        (Algorithm::Es512, ES512[0], 132),
        (Algorithm::Es256k, ES256K[0], 64),
    ] {
        let (signed, _) = text.rsplit_once('.').unwrap();
        for byte in [0, 0xFF] {
            let signature = with_signature(signed, &vec![byte; length]);
            assert_eq!(check(&signature, &keys(algorithm)), Err(Forged::BadSignature));
        }
    }
}
