use super::*;
use crate::config::ldap::LdapUrl;

const MODULE: &str = "/realms/demo/loginModules/0";
const PATH: &str = "realms.demo.loginModules[0]";

/// The good file's first module as an ldap module with these members.
fn ldap(members: Value) -> Vec<(&'static str, Value)> {
    let mut module = json!({
        "type": "ldap", "success": "required", "url": "ldaps://ldap.example/ou=people,dc=example,dc=com",
    });
    for (name, value) in members.as_object().unwrap() {
        set(&mut module, &format!("/{name}"), value.clone());
    }
    vec![(MODULE, module)]
}

fn model(members: Value) -> Ldap {
    let config = accepted(&ldap(members));
    match &config.realms["demo"].modules[0].kind {
        ModuleKind::Ldap(ldap) => (**ldap).clone(),
        ModuleKind::Users(_)
        | ModuleKind::Jwt(_)
        | ModuleKind::Introspection(_)
        | ModuleKind::Ephemeral(_) => panic!("another module"),
    }
}

#[test]
fn m24_an_ldap_module_has_its_defaults() {
    let ldap = model(json!({}));
    assert_eq!(
        ldap.url,
        LdapUrl {
            tls: true,
            host: "ldap.example".into(),
            port: 636,
            base: "ou=people,dc=example,dc=com".into()
        }
    );
    assert_eq!(ldap.user_filter.to_string(), "(uid={USERNAME})");
    assert_eq!((ldap.account, ldap.groups, ldap.ca_file), (None, None, None));
    assert_eq!((ldap.timeout, ldap.max_in_flight), (Duration::from_secs(5), 64));
    assert!(!ldap.start_tls);
}

#[test]
fn m24_an_ldap_module_has_what_its_members_say() {
    let ldap = model(json!({
        "url": "ldap://[::1]:13890/dc=x",
        "userFilter": "(&(uid={USERNAME})(objectClass=inetOrgPerson))",
        "bindDn": "cn=service,dc=x", "bindPasswordFile": "service.txt",
        "groupBase": "ou=groups,dc=x", "groupFilter": "(memberUid={USERNAME})", "groupAttribute": "ou",
        "startTls": true, "caFile": "/ca.pem", "timeout": "2s", "maxInFlight": 3,
    }));
    assert_eq!(
        (ldap.url.host.as_str(), ldap.url.port, ldap.start_tls),
        ("::1", 13890, true)
    );
    let account = ldap.account.unwrap();
    assert_eq!(account.dn, "cn=service,dc=x");
    assert_eq!(account.password.path, Path::new("/etc/countersign/service.txt"));
    assert_eq!(ldap.ca_file.unwrap().path, Path::new("/ca.pem"));
    let groups = ldap.groups.unwrap();
    assert_eq!(
        (groups.base.as_str(), groups.attribute.as_str()),
        ("ou=groups,dc=x", "ou")
    );
    assert_eq!(groups.filter.to_string(), "(memberUid={USERNAME})");
    assert_eq!((ldap.timeout, ldap.max_in_flight), (Duration::from_secs(2), 3));
}

#[test]
fn m24_one_member_about_groups_asks_for_them() {
    for (members, base, filter, attribute) in [
        (
            json!({"groupFilter": "(uniqueMember={DN})"}),
            "ou=people,dc=example,dc=com",
            "(uniqueMember={DN})",
            "cn",
        ),
        (json!({"groupBase": "dc=g"}), "dc=g", "(member={DN})", "cn"),
        (
            json!({"groupAttribute": "ou"}),
            "ou=people,dc=example,dc=com",
            "(member={DN})",
            "ou",
        ),
    ] {
        let groups = model(members).groups.unwrap();
        assert_eq!(
            (
                groups.base.as_str(),
                groups.filter.to_string().as_str(),
                groups.attribute.as_str()
            ),
            (base, filter, attribute)
        );
    }
}

#[test]
fn m24_the_files_of_an_ldap_module_are_read() {
    let members = json!({"bindDn": "cn=s", "bindPasswordFile": "s.txt", "caFile": "ca.pem"});
    let config = accepted(&ldap(members));
    let module = &config.realms["demo"].modules[0];
    let names: Vec<_> = module
        .files()
        .map(|file| file.path.file_name().unwrap())
        .collect();
    assert_eq!(names, ["s.txt", "ca.pem"]);
}

#[test]
fn m24_a_realm_with_an_ldap_module_asks_for_basic_and_may_have_a_form() {
    let mut changes = ldap(json!({}));
    changes.push(("/realms/demo/form", json!({})));
    changes.push((
        "/realms/demo/carriers",
        json!(["authorization", "cookie:__Host-session"]),
    ));
    let config = accepted(&changes);
    let schemes: Vec<_> = config.realms["demo"]
        .challenges
        .iter()
        .map(|c| &c.scheme)
        .collect();
    assert_eq!(schemes, [&Scheme::Bearer, &Scheme::Basic]);
}

#[test]
fn m24_faults_of_an_ldap_module_are_told_with_their_places() {
    for (members, path, said) in [
        (json!({"url": null}), "", "\"url\""),
        (json!({"url": "ldap.example"}), ".url", "ldaps:// or ldap://"),
        (
            json!({"url": "ldaps://ldap.example/"}),
            ".url",
            "distinguished name",
        ),
        (json!({"url": "ldap://ldap.example/dc=x"}), ".url", "in the open"),
        (
            json!({"userFilter": "uid={USERNAME}"}),
            ".userFilter",
            "parentheses",
        ),
        (
            json!({"userFilter": "(uid={USERNAME}"}),
            ".userFilter",
            "closing parenthesis",
        ),
        (
            json!({"userFilter": "(uid=alice)"}),
            ".userFilter",
            "without {USERNAME}",
        ),
        (
            json!({"userFilter": "(&(uid={USERNAME})(a={DN}))"}),
            ".userFilter",
            "cannot be known",
        ),
        (
            json!({"groupFilter": "(objectClass=group)"}),
            ".groupFilter",
            "everybody",
        ),
        (
            json!({"groupFilter": "(member={dn})"}),
            ".groupFilter",
            "capital letters",
        ),
        (
            json!({"groupBase": "groups"}),
            ".groupBase",
            "not a distinguished name",
        ),
        (
            json!({"groupAttribute": "a b"}),
            ".groupAttribute",
            "not an attribute",
        ),
        (json!({"bindDn": "cn=s"}), ".bindDn", "bindPasswordFile"),
        (
            json!({"bindPasswordFile": "s.txt"}),
            ".bindPasswordFile",
            "bindDn",
        ),
        (
            json!({"bindDn": "s", "bindPasswordFile": "s.txt"}),
            ".bindDn",
            "not a distinguished name",
        ),
        (json!({"startTls": true}), ".startTls", "from the first byte on"),
        (
            json!({"url": "ldap://127.0.0.1/dc=x", "caFile": "ca.pem"}),
            ".caFile",
            "no certificate is checked",
        ),
        (json!({"timeout": "0s"}), ".timeout", "zero"),
        (json!({"maxInFlight": 0}), ".maxInFlight", "1"),
        (
            json!({"bindPassword": "hunter2"}),
            ".bindPassword",
            "unknown member",
        ),
    ] {
        let errors = refused(&ldap(members));
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(
            errors[0].starts_with(&format!("{PATH}{path}: ")) && errors[0].contains(said),
            "{errors:?}"
        );
        assert!(!errors[0].contains("hunter2"));
    }
}

#[test]
fn m24_without_tls_passwords_stay_on_this_machine_unless_the_file_says_so() {
    for members in [
        json!({"url": "ldap://127.0.0.1/dc=x"}),
        json!({"url": "ldap://localhost/dc=x"}),
        json!({"url": "ldap://[::1]/dc=x"}),
        json!({"url": "ldap://ldap.example/dc=x", "startTls": true}),
        json!({"url": "ldap://ldap.example/dc=x", "plaintext": true}),
    ] {
        model(members);
    }
}
