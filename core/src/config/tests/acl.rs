use super::*;

const ACL: &str = "/services/echo/acl";

#[test]
fn m9_an_acl_is_read_with_its_defaults() {
    let config = accepted(&[
        (
            "/acl",
            json!({"entries": [{"role": "Everyone", "allow": ["read"]}]}),
        ),
        (
            ACL,
            json!({"inherit": false, "entries": [{"role": "AUTHORIZED", "allow": ["websocket.connect"], "deny": ["write"]}]}),
        ),
    ]);
    let parent = config.acl.unwrap();
    assert!(parent.inherit && parent.entries[0].deny.is_empty());
    assert_eq!(parent.entries[0].allow, [Entitlement::Read]);
    let own = config.services["echo"].acl.clone().unwrap();
    assert!(!own.inherit);
    assert_eq!(own.entries[0].role, "AUTHORIZED");
    assert_eq!(
        (own.entries[0].allow.as_slice(), own.entries[0].deny.as_slice()),
        (&[Entitlement::Connect][..], &[Entitlement::Write][..])
    );
    assert!(accepted(&[(ACL, json!({}))]).services["echo"].acl.is_some());
    assert!(accepted(&[]).services["echo"].acl.is_none());
}

#[test]
fn m9_faults_of_an_acl_have_a_place_and_the_nearest_name() {
    let entry = |entry: Value| json!({"entries": [{"role": "Everyone"}, entry]});
    let path = "services.echo.acl.entries[1]";
    for (value, path, said) in [
        (
            json!({"role": "AUTHORISED"}),
            format!("{path}.role"),
            "did you mean \"AUTHORIZED\"?",
        ),
        (
            json!({"role": "Everyone", "allow": ["websocket.conect"]}),
            format!("{path}.allow[0]"),
            "did you mean \"websocket.connect\"?",
        ),
        (
            json!({"role": "Everyone", "deny": ["exec"]}),
            format!("{path}.deny[0]"),
            "unknown value",
        ),
        (
            json!({"allow": ["read"]}),
            path.to_owned(),
            "\"role\" is required",
        ),
        (
            json!({"role": "Everyone", "allows": []}),
            format!("{path}.allows"),
            "did you mean \"allow\"?",
        ),
    ] {
        refuses(ACL, entry(value), &path, said);
    }
    let parent = json!({"entries": [{"role": "nobody"}]});
    refuses("/acl", parent, "acl.entries[0].role", "unknown role");
}

#[test]
fn m9_a_public_service_has_no_acl() {
    let changes = [
        ("/services/echo/realm", Value::Null),
        ("/services/echo/public", json!(true)),
        (ACL, json!({})),
    ];
    let errors = refused(&changes);
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(
        errors[0].starts_with("services.echo.acl: needs a \"realm\""),
        "{errors:?}"
    );
}
