use super::*;
use crate::config::members;
use crate::config::table::{Kind, Row, State};

#[test]
fn m10_an_unknown_member_has_its_place_and_the_nearest_name() {
    let text = "{\n  \"servers\": [{\n    \"id\": \"edge\", \"listen\": [\"127.0.0.1:0\"],\n    \
                \"\u{e4}\": 1, \"serverCertificat\": \"s.pem\"\n  }]\n}";
    let errors = Config::parse(text, Path::new("c.json")).unwrap_err().to_string();
    let lines: Vec<_> = errors.lines().collect();
    assert_eq!(
        lines,
        [
            "c.json:2:15: servers[0]: \"serverCertificate\" is required (or \"plaintext\": true on \
             loopback addresses)",
            "c.json:4:5: servers[0][\"\u{e4}\"]: unknown member",
            "c.json:4:13: servers[0].serverCertificat: unknown member; did you mean \
             \"serverCertificate\"?",
        ]
    );
}

#[test]
fn m10_a_second_member_of_the_same_name_is_an_error_at_every_level() {
    for (text, path) in [
        ("{\"servers\": 1, \"servers\": 1}", "servers"),
        ("{\"realms\": {\"a\": 1, \"a\": 2}}", "realms.a"),
        (
            "{\"limits\": {\"headBytes\": 1, \"head\\u0042ytes\": 2}}",
            "limits.headBytes",
        ),
    ] {
        let errors = Config::parse(text, Path::new(FILE)).unwrap_err();
        let twice = errors.iter().find(|e| e.message == "the member appears twice");
        assert_eq!(twice.unwrap().path, path);
    }
}

#[test]
fn m10_wrong_types_are_told_without_the_value() {
    refuses(
        "/servers",
        json!({}),
        "servers",
        "expected a list, found an object",
    );
    let errors = refused(&[("/realms", json!([]))]);
    assert_eq!(errors[0], "realms: expected an object, found a list");
    let secret = "hunter2";
    let errors = refused(&[
        ("/realms/demo/loginModules/0/passwords", json!([secret])),
        ("/realms/demo/loginModules/1/leeway", json!({ secret: 1 })),
        ("/servers/0/plaintext", json!(secret)),
    ]);
    assert!(!errors.concat().contains(secret), "{errors:?}");
}

#[test]
fn every_fault_is_told_at_once_in_the_order_of_places() {
    let errors = refused(&[
        ("/drainGrace", json!("10 parsecs")),
        ("/limits", json!({"headBytes": 0, "colour": 1})),
        ("/servers/0/listen", json!(["localhost:1", "0.0.0.0"])),
        ("/services/echo/realm", json!("dmeo")),
        ("/services/echo/requireRoles", json!(["AUTHORISED"])),
    ]);
    assert_eq!(errors.len(), 7, "{errors:#?}");
    let text = format!("{:#}", with(&[("/servers/0/id", json!(1)), ("/roles", json!(1))]));
    let errors = Config::parse(&text, Path::new(FILE)).unwrap_err();
    let places: Vec<_> = errors.iter().map(|e| (e.line, e.column)).collect();
    assert!(places.is_sorted());
}

#[test]
fn what_this_version_does_not_have_is_refused_by_name() {
    for (at, path) in [
        ("/servers/0/clientCertificates", "servers[0].clientCertificates"),
        ("/services/echo/singleUse", "services.echo.singleUse"),
        ("/services/echo/firstMessage", "services.echo.firstMessage"),
        ("/services/echo/acceptThenClose", "services.echo.acceptThenClose"),
    ] {
        refuses(at, json!({"x": 1}), path, "not available in this version");
    }
    for kind in ["callout", "certificate"] {
        let at = "/realms/demo/loginModules/0/type";
        let path = "realms.demo.loginModules[0].type";
        refuses(at, json!(kind), path, "not available in this version");
    }
}

#[test]
fn types_and_their_members_belong_together() {
    refuses(
        "/services/echo/type",
        json!("ehco"),
        "services.echo.type",
        "did you mean \"echo\"?",
    );
    refuses(
        "/services/echo/type",
        Value::Null,
        "services.echo",
        "\"type\" is required",
    );
    let path = "services.echo.connect";
    refuses(
        "/services/echo/connect",
        json!("ws://a/"),
        path,
        "only type \"proxy\" has this member",
    );
    let path = "realms.demo.loginModules[0].issuer";
    refuses(
        "/realms/demo/loginModules/0/issuer",
        json!("a"),
        path,
        "only type \"jwt\"",
    );
    let path = "realms.demo.loginModules[0].success";
    let errors = refused(&[("/realms/demo/loginModules/0/success", json!("requird"))]);
    assert!(errors[0].starts_with(path), "{errors:?}");
    assert!(
        errors[0].contains("unknown value \"requird\"; did you mean \"required\"?"),
        "{errors:?}"
    );
}

#[test]
fn durations_and_sizes_have_bounds() {
    refuses("/drainGrace", json!(10), "drainGrace", "\"10 seconds\"");
    refuses("/drainGrace", json!("10"), "drainGrace", "\"10 seconds\"");
    refuses(
        "/limits",
        json!({"headTimeout": "0s"}),
        "limits.headTimeout",
        "must not be zero",
    );
    refuses(
        "/limits",
        json!({"closeTimeout": "99999999999999999999 d"}),
        "limits.closeTimeout",
        "hundred years",
    );
    for bad in [
        json!(0),
        json!(-1),
        json!(1.5),
        json!(1e3),
        json!("1 MiB"),
        json!(null),
    ] {
        let limits = json!({ "messageBytes": bad });
        refuses(
            "/limits",
            limits,
            "limits.messageBytes",
            "expected a whole number",
        );
    }
    let huge = "{\"limits\": {\"sessions\": 18446744073709551616}}";
    assert!(Config::parse(huge, Path::new(FILE)).is_err());
    refuses(
        "/limits",
        json!({"requestLineBytes": 8192, "headBytes": 8191}),
        "limits.headBytes",
        "must not be less than requestLineBytes",
    );
    assert_eq!(
        accepted(&[("/limits", json!({"headBytes": 8192}))])
            .limits
            .head_bytes,
        8192
    );
}

#[test]
fn lists_are_not_empty_and_have_no_repetitions() {
    for at in [
        "/servers",
        "/servers/0/listen",
        "/servers/0/services",
        "/servers/0/hosts",
        "/realms/demo/challenges",
        "/realms/demo/carriers",
        "/realms/demo/loginModules",
        "/services/echo/carriers",
        "/services/echo/accept",
        "/services/echo/realm",
    ] {
        let errors = refused(&[(at, json!([]))]);
        assert!(
            errors.iter().any(|e| e.contains("must not be empty")),
            "{at}: {errors:?}"
        );
    }
    refuses("/roles", json!(["a", "b", "a"]), "roles[2]", "repeats entry 0");
    let headers = json!(["header:X-A", "header:x-a"]);
    refuses(
        "/realms/demo/carriers",
        headers,
        "realms.demo.carriers[1]",
        "repeats entry 0",
    );
    let schemes = json!(["Bearer", "Application bearer"]);
    refuses(
        "/realms/demo/challenges",
        schemes,
        "realms.demo.challenges[1]",
        "the same scheme as entry 0",
    );
}

/// Collects the names of all members that can be used. Those of an object with exactly one member
/// are read by that rule and not by name.
fn usable(kind: Kind, names: &mut BTreeSet<&'static str>) {
    let mut rows = |rows: &'static [Row]| {
        for row in rows.iter().filter(|row| row.state == State::Built) {
            names.insert(row.name);
            usable(row.kind, names);
        }
    };
    match kind {
        Kind::Object(members) => rows(members),
        Kind::Single(members) => members.iter().for_each(|row| usable(row.kind, names)),
        Kind::Tagged(tagged) => {
            rows(tagged.common);
            tagged.variants.iter().for_each(|variant| rows(variant.rows));
        }
        Kind::List { of, .. } | Kind::OneOrMany(of) | Kind::Map { of, .. } => usable(*of, names),
        Kind::Text(_)
        | Kind::Boolean
        | Kind::Count { .. }
        | Kind::Number(_)
        | Kind::Duration { .. }
        | Kind::File
        | Kind::Word(_) => {}
    }
}

#[test]
fn no_member_of_the_tables_is_silently_ignored() {
    let readers = [
        include_str!("../build/acl.rs"),
        include_str!("../build/admin.rs"),
        include_str!("../build/bus.rs"),
        include_str!("../build/ldap.rs"),
        include_str!("../build/mod.rs"),
        include_str!("../build/proxy.rs"),
        include_str!("../build/realm.rs"),
        include_str!("../build/remote.rs"),
        include_str!("../build/server.rs"),
        include_str!("../build/service.rs"),
        include_str!("../build/short.rs"),
    ];
    let mut names = BTreeSet::new();
    usable(Kind::Object(members::TOP), &mut names);
    assert!(names.len() > 60);
    for name in names {
        let quoted = format!("\"{name}\"");
        assert!(
            readers.iter().any(|text| text.contains(&quoted)),
            "nothing reads {name}"
        );
    }
}

#[test]
fn damaged_files_never_panic() {
    let text = good().to_string();
    let junk: Vec<char> = "{}[]\",:\\0e.-/*x\u{e4}\n".chars().collect();
    let mut state = 1u64;
    let mut below = |bound: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(state >> 33).unwrap() % bound
    };
    for _ in 0..3_000 {
        let mut damaged: Vec<char> = text.chars().collect();
        for _ in 0..=below(3) {
            let at = below(damaged.len());
            match below(3) {
                0 => drop(damaged.remove(at)),
                1 => damaged.insert(at, junk[below(junk.len())]),
                _ => damaged[at] = junk[below(junk.len())],
            }
        }
        let damaged: String = damaged.into_iter().collect();
        if let Err(errors) = Config::parse(&damaged, Path::new(FILE)) {
            assert!(
                errors
                    .iter()
                    .all(|e| e.line >= 1 && e.column >= 1 && !e.path.is_empty())
            );
            assert_eq!(errors.to_string().lines().count(), errors.as_slice().len());
        }
    }
}
