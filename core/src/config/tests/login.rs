use super::*;

/// A realm with a login page, on a server that answers for `hosts`.
fn page(hosts: &Value, service: &Value, realm: Value) -> Vec<(&'static str, Value)> {
    vec![
        ("/servers/0/hosts", hosts.clone()),
        ("/services/echo/origins", service.clone()),
        ("/realms/demo/form", json!({})),
        ("/realms/demo/carriers", json!(["cookie:__Host-session"])),
        ("/realms/demo/origins", realm),
    ]
}

#[test]
fn r16_a_login_needs_an_origin_that_is_allowed() {
    let (any, none, app) = (json!(["*"]), json!([]), json!(["https://app.example"]));
    for (service, realm) in [(&none, Value::Null), (&none, none.clone()), (&app, none.clone())] {
        let errors = refused(&page(&any, service, realm));
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(
            errors[0].starts_with("realms.demo: nobody could log in on server \"edge\""),
            "{errors:?}"
        );
    }
    accepted(&page(&any, &none, app.clone()));
    accepted(&page(&any, &app, Value::Null));
    accepted(&page(&json!(["*", "example.com"]), &none, Value::Null));
}
