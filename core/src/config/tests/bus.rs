use super::*;

fn bus(members: Value) -> Vec<(&'static str, Value)> {
    let mut bus = json!({"redis": "rediss://redis.example", "secretFile": "bus.secret"});
    for (name, value) in members.as_object().unwrap() {
        set(&mut bus, &format!("/{name}"), value.clone());
    }
    vec![("/bus", bus)]
}

#[test]
fn a_bus_has_what_its_members_say() {
    let config = accepted(&bus(json!({})));
    let model = config.bus.clone().unwrap();
    assert!(model.url.tls && model.url.port == 6379 && model.url.database == 0);
    assert_eq!((model.user, model.password, model.ca_file), (None, None, None));
    assert_eq!(model.secret.path, Path::new("/etc/countersign/bus.secret"));
    let named: Vec<_> = config.file_refs().map(|file| file.path.clone()).collect();
    assert!(named.contains(&model.secret.path));
    let config = accepted(&bus(json!({
        "redis": "redis://127.0.0.1:7000/3", "user": "edge", "passwordFile": "/p",
    })));
    let model = config.bus.unwrap();
    assert_eq!((model.url.host.as_str(), model.url.database), ("127.0.0.1", 3));
    assert_eq!(model.user.as_deref(), Some("edge"));
    accepted(&bus(json!({"redis": "redis://redis.example", "plaintext": true})));
}

#[test]
fn what_is_wrong_with_a_bus_has_a_place() {
    for (members, path, said) in [
        (json!({"redis": null}), "bus", "redis"),
        (json!({"secretFile": null}), "bus", "secretFile"),
        (
            json!({"redis": "redis://redis.example"}),
            "bus.redis",
            "without TLS",
        ),
        (json!({"redis": "http://redis.example"}), "bus.redis", "rediss://"),
        (
            json!({"redis": "rediss://u:hunter2@redis.example"}),
            "bus.redis",
            "passwordFile",
        ),
        (json!({"user": "edge"}), "bus.user", "passwordFile"),
        (
            json!({"redis": "redis://[::1]", "caFile": "ca.pem"}),
            "bus.caFile",
            "no certificate",
        ),
        (json!({"secretFil": "x"}), "bus.secretFil", "did you mean"),
    ] {
        let errors = refused(&bus(members));
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].starts_with(&format!("{path}: ")), "{errors:?}");
        assert!(
            errors[0].contains(said) && !errors[0].contains("hunter2"),
            "{errors:?}"
        );
    }
}
