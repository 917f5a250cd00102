use super::*;

/// A second realm, and the service behind both.
fn both() -> Vec<(&'static str, Value)> {
    vec![
        ("/realms/second", good()["realms"]["demo"].clone()),
        ("/services/echo/realm", json!(["demo", "second"])),
    ]
}

fn and(at: &'static str, value: Value) -> Vec<(&'static str, Value)> {
    let mut changes = both();
    changes.push((at, value));
    changes
}

#[test]
fn r6_a_service_may_ask_for_several_realms() {
    let config = accepted(&and("/realms/second/acrValues", json!(["mfa", "phr"])));
    let echo = &config.services["echo"];
    assert_eq!(
        echo.access,
        Access::Realms(vec!["demo".to_owned(), "second".to_owned()])
    );
    assert_eq!(echo.step_up_lifetime, Duration::from_secs(30));
    assert_eq!(config.realms["second"].acr_values, ["mfa", "phr"]);
    let one = accepted(&and("/realms/second/acrValues", json!("mfa")));
    assert_eq!(one.realms["second"].acr_values, ["mfa"]);
}

#[test]
fn r6_faults_of_further_factors_are_told() {
    let path = "services.echo";
    for (changes, said) in [
        (
            vec![("/services/echo/realm", json!(["demo", "dmeo"]))],
            format!("{path}.realm[1]: unknown realm \"dmeo\"; did you mean \"demo\"?"),
        ),
        (
            vec![("/services/echo/realm", json!(["demo", "demo"]))],
            format!("{path}.realm[1]: repeats entry 0"),
        ),
        (
            and("/realms/second/anonymous", json!({})),
            format!("{path}: realm \"second\" lets anonymous clients pass"),
        ),
        (
            and("/services/echo/stepUpLifetime", json!("31 seconds")),
            format!("{path}.stepUpLifetime: at most 30 seconds"),
        ),
        (
            and("/services/echo/stepUpLifetime", json!("0s")),
            format!("{path}.stepUpLifetime: the duration must not be zero"),
        ),
        (
            and("/realms/second/acrValues", json!(["a \"b\""])),
            "realms.second.acrValues[0]: ".to_owned(),
        ),
        // What the second realm lets browsers send by themselves counts as much as the first's.
        (
            vec![
                ("/realms/demo/challenges", json!(["Bearer"])),
                ("/realms/second", good()["realms"]["demo"].clone()),
                ("/services/echo/realm", json!(["demo", "second"])),
                ("/services/echo/origins", Value::Null),
            ],
            format!("{path}: \"origins\" is required"),
        ),
    ] {
        let errors = refused(&changes);
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].starts_with(&said), "{said}: {errors:?}");
    }
}
