use super::*;

#[test]
fn m7_plaintext_is_for_loopback_addresses_only() {
    let plain = |listen: Value| {
        [
            ("/servers/0/serverCertificate", Value::Null),
            ("/servers/0/plaintext", json!(true)),
            ("/servers/0/listen", listen),
            ("/servers/0/hosts", json!(["*"])),
        ]
    };
    let config = accepted(&plain(json!([
        "127.0.0.1:80",
        "127.1.2.3:0",
        "[::1]:0",
        "[::ffff:127.0.0.1]:0"
    ])));
    assert!(config.servers[0].plaintext && config.servers[0].certificate.is_none());
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:80", "[::ffff:192.0.2.1]:0"] {
        let errors = refused(&plain(json!(["127.0.0.1:0", address])));
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(
            errors[0].starts_with("servers[0].listen[1]: \"plaintext\" is for loopback"),
            "{errors:?}"
        );
    }
}

#[test]
fn m7_a_server_has_either_a_certificate_or_plaintext() {
    refuses(
        "/servers/0/serverCertificate",
        Value::Null,
        "servers[0]",
        "\"serverCertificate\" is required",
    );
    refuses(
        "/servers/0/plaintext",
        json!(true),
        "servers[0].plaintext",
        "exclude each other",
    );
    assert!(!accepted(&[("/servers/0/plaintext", json!(false))]).servers[0].plaintext);
}

#[test]
fn m32_beyond_loopback_the_hosts_must_be_named() {
    refuses(
        "/servers/0/listen",
        json!(["0.0.0.0:8443"]),
        "servers[0]",
        "\"hosts\" is required",
    );
    let hosts = [
        ("/servers/0/listen", json!(["0.0.0.0:8443"])),
        ("/servers/0/hosts", json!(["*"])),
    ];
    assert_eq!(accepted(&hosts).servers[0].hosts[0].text, "*");
    for bad in ["a b", "*.a.org", "a:99999", ""] {
        let errors = refused(&[("/servers/0/hosts", json!([bad]))]);
        assert!(errors[0].starts_with("servers[0].hosts[0]: "), "{errors:?}");
    }
}

#[test]
fn m17_hosts_of_absolute_urls_are_added_once() {
    let accept = json!(["wss://a.example/x", "wss://A.example:8443/y", "wss://LOCALHOST/z"]);
    let config = accepted(&[("/services/echo/accept", accept)]);
    let hosts: Vec<_> = config.servers[0]
        .hosts
        .iter()
        .map(|host| host.text.as_str())
        .collect();
    assert_eq!(hosts, ["localhost", "127.0.0.1", "[::1]", "a.example"]);
    let only = [
        ("/services/echo/accept", json!("wss://a.example/x")),
        ("/servers/0/hosts", json!([])),
    ];
    assert_eq!(accepted(&only).servers[0].hosts.len(), 1);
}

#[test]
fn m17_a_host_and_path_has_one_service() {
    let second = |accept: Value| {
        let service = json!({"type": "echo", "accept": accept, "public": true});
        [("/services/two", service)]
    };
    let errors = refused(&second(json!("/api/ws")));
    assert_eq!(
        errors,
        ["services.two.accept: service \"echo\" has the same host and path on server \"edge\" already"]
    );
    assert_eq!(refused(&second(json!("wss://a.example/api/ws"))).len(), 1);
    assert_eq!(refused(&second(json!(["wss://a/x", "wss://A:8443/x"]))).len(), 1);
    assert_eq!(
        accepted(&second(json!(["wss://a/x", "wss://b/x", "/api/ws/"])))
            .services
            .len(),
        2
    );
    let elsewhere = [
        second(json!("/api/ws")).as_slice(),
        &[
            ("/servers/0/services", json!(["echo"])),
            (
                "/servers/-",
                json!({"id": "b", "listen": ["[::1]:0"], "serverCertificate": "s", "services": ["two"]}),
            ),
        ],
    ]
    .concat();
    assert_eq!(accepted(&elsewhere).servers[1].services, ["two"]);
    refuses(
        "/servers/0/health",
        json!("/api/ws"),
        "services.echo.accept",
        "has the same path",
    );
}

#[test]
fn m17_accept_paths_are_canonical() {
    for bad in ["api", "/a?b", "/a#b", "/a/../b", "//a", "https://a/", "wss://a"] {
        let errors = refused(&[("/services/echo/accept", json!(["/ok", bad]))]);
        assert!(errors[0].starts_with("services.echo.accept[1]: "), "{errors:?}");
    }
}

#[test]
fn servers_have_their_own_ids_and_addresses() {
    let second = |id: &str, listen: &str| {
        let server = json!({"id": id, "listen": [listen], "serverCertificate": "s"});
        [
            ("/servers/-", server),
            ("/servers/0/listen", json!(["127.0.0.1:0", "[::1]:8443"])),
        ]
    };
    assert_eq!(accepted(&second("b", "127.0.0.1:0")).servers.len(), 2);
    assert!(refused(&second("edge", "127.0.0.1:0"))[0].contains("has the id \"edge\" already"));
    assert!(refused(&second("b", "[::1]:8443"))[0].contains("two listeners for [::1]:8443"));
    refuses("/servers/0/id", json!("admin"), "servers[0].id", "admin listener");
    for bad in ["8443", "localhost:1", "127.0.0.1", "127.0.0.1:65536", "::1:80"] {
        refuses(
            "/servers/0/listen",
            json!([bad]),
            "servers[0].listen[0]",
            "is not an IP address and a port",
        );
    }
}

#[test]
fn references_are_looked_up() {
    refuses(
        "/servers/0/services",
        json!(["ecko"]),
        "servers[0].services[0]",
        "did you mean \"echo\"?",
    );
    refuses(
        "/services/echo/realm",
        json!("dmeo"),
        "services.echo.realm",
        "unknown realm \"dmeo\"; did you mean",
    );
    refuses(
        "/services/echo/realm",
        Value::Null,
        "services.echo",
        "needs a \"realm\"",
    );
    refuses(
        "/services/echo/public",
        json!(true),
        "services.echo.realm",
        "exclude each other",
    );
    let public = [
        ("/services/echo/realm", Value::Null),
        ("/services/echo/public", json!(true)),
    ];
    assert_eq!(accepted(&public).services["echo"].access, Access::Public);
    let roles = [
        public.as_slice(),
        &[("/services/echo/requireRoles", json!(["AUTHORIZED"]))],
    ]
    .concat();
    assert!(refused(&roles)[0].contains("a public service takes no credential"));
}

#[test]
fn roles_that_are_named_exist() {
    let at = "/services/echo/requireRoles";
    refuses(
        at,
        json!(["AUTHORISED"]),
        "services.echo.requireRoles[0]",
        "did you mean \"AUTHORIZED\"?",
    );
    accepted(&[(at, json!(["Everyone"]))]);
    let anonymous = "/realms/demo/anonymous";
    refuses(
        anonymous,
        json!({"roles": ["x"]}),
        "realms.demo.anonymous.roles[0]",
        "unknown role \"x\"",
    );
    refuses(
        anonymous,
        json!({"roles": ["Everyone"]}),
        "realms.demo.anonymous.roles[0]",
        "never has it",
    );
}

#[test]
fn roles_may_be_the_groups_of_group_files() {
    let config = accepted(&[
        ("/realms/demo/loginModules/0/groups", json!("g")),
        ("/services/echo/requireRoles", json!(["operators"])),
    ]);
    let groups = |name: &str| BTreeSet::from([name.to_owned()]);
    assert!(config.check_roles(&groups("operators")).is_empty());
    let errors = config.check_roles(&groups("operator"));
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].path, "services.echo.requireRoles[0]");
    assert_eq!(
        errors[0].message,
        "unknown role \"operators\"; did you mean \"operator\"?"
    );
}

#[test]
fn r11_ambient_credentials_need_origins() {
    let none = ("/services/echo/origins", Value::Null);
    let bearer = ("/realms/demo/challenges", json!(["Bearer"]));
    let path = "services.echo";
    refuses(
        "/services/echo/origins",
        Value::Null,
        path,
        "browsers send Basic credentials by themselves",
    );
    accepted(&[none.clone(), bearer.clone()]);
    let negotiate = ("/realms/demo/challenges", json!(["Bearer", "negotiate"]));
    assert!(refused(&[none.clone(), negotiate])[0].contains("\"origins\" is required"));
    let cookie = ("/realms/demo/carriers", json!(["authorization", "cookie:token"]));
    let errors = refused(&[none.clone(), bearer.clone(), cookie.clone()]);
    assert!(errors[0].contains("what \"cookie:token\" carries"), "{errors:?}");
    let own = ("/services/echo/carriers", json!(["query:t"]));
    accepted(&[none.clone(), bearer.clone(), cookie, own]);
    let own = ("/services/echo/carriers", json!(["cookie:t"]));
    assert_eq!(refused(&[none, bearer, own]).len(), 1);
}

#[test]
fn e11_origins_have_a_syntax() {
    for bad in ["*", "example.com", "https://a.org/", "https://a*.org"] {
        refuses(
            "/services/echo/origins",
            json!([bad]),
            "services.echo.origins[0]",
            "is not an origin",
        );
    }
}

#[test]
fn m13_a_challenge_is_ascii() {
    let at = "/realms/demo/description";
    refuses(
        at,
        json!("Pr\u{fc}fung"),
        "realms.demo.description",
        "printable ASCII",
    );
    refuses(at, json!("a\nb"), "realms.demo.description", "control characters");
    let renamed = [
        ("/realms/pr\u{fc}f", good()["realms"]["demo"].clone()),
        ("/services/echo/realm", json!("pr\u{fc}f")),
    ];
    let errors = refused(&renamed);
    assert!(errors[0].contains("set \"description\""), "{errors:?}");
    refuses(
        "/realms/demo/scope",
        json!(["a b"]),
        "realms.demo.scope[0]",
        "is not one scope",
    );
    refuses(
        "/services/echo/requireScopes",
        json!(["a\""]),
        "services.echo.requireScopes[0]",
        "is not one scope",
    );
}

#[test]
fn m21_header_carriers_are_fields_of_their_own() {
    for bad in [
        "Authorization",
        "Cookie",
        "Host",
        "Sec-WebSocket-Protocol",
        "a b",
        "",
    ] {
        let carriers = json!([format!("header:{bad}")]);
        let errors = refused(&[("/realms/demo/carriers", carriers)]);
        assert!(errors[0].starts_with("realms.demo.carriers[0]: "), "{errors:?}");
    }
    refuses(
        "/realms/demo/carriers",
        json!(["cokie:x"]),
        "realms.demo.carriers[0]",
        "did you mean \"cookie\"?",
    );
}

#[test]
fn m30_a_marker_is_no_subprotocol() {
    let changes = [
        ("/realms/demo/carriers", json!(["subprotocol:access_token"])),
        ("/services/echo/subprotocols", json!(["chat", "access_token"])),
    ];
    assert!(refused(&changes)[0].contains("cannot be one of \"subprotocols\" too"));
    let at = "/services/echo/requireSubprotocol";
    refuses(
        at,
        json!(true),
        "services.echo.requireSubprotocol",
        "needs \"subprotocols\"",
    );
    refuses(
        "/services/echo/subprotocols",
        json!(["a b"]),
        "services.echo.subprotocols[0]",
        "is not a token",
    );
}

#[test]
fn m14_an_hmac_algorithm_has_no_public_key() {
    let path = "realms.demo.loginModules[1].verification";
    let at = format!("{JWT}/verification");
    let key = json!({"keyFile": "k"});
    for name in ["HS256", "HS384", "HS512"] {
        let value = json!({"publicKey": {name: key}});
        refuses(&at, value, &format!("{path}.publicKey.{name}"), "use \"secret\"");
        accepted(&[(&at, json!({"secret": {name: key}}))]);
    }
    let value = json!({"secret": {"RS256": key}});
    refuses(&at, value, &format!("{path}.secret.RS256"), "use \"publicKey\"");
}

#[test]
fn m14_a_misspelt_algorithm_is_named() {
    let path = "realms.demo.loginModules[1].verification";
    let at = format!("{JWT}/verification");
    for name in ["ES512", "ES256K"] {
        accepted(&[(&at, json!({"publicKey": {name: {"keyFile": "k"}}}))]);
    }
    let value = json!({"publicKey": {"RS265": {"keyFile": "k"}}});
    refuses(
        &at,
        value,
        &format!("{path}.publicKey.RS265"),
        "did you mean \"RS256\"?",
    );
}

#[test]
fn m14_a_module_has_one_verification() {
    let path = "realms.demo.loginModules[1].verification";
    let at = format!("{JWT}/verification");
    let key = json!({"keyFile": "k"});
    refuses(
        &at,
        json!({}),
        path,
        "needs exactly one of: publicKey, jwks, secret",
    );
    refuses(
        &at,
        json!({"jwks": key, "secret": {"HS256": key}}),
        path,
        "exactly one of",
    );
    let two = json!({"publicKey": {"ES256": key, "RS256": key}});
    refuses(&at, two, &format!("{path}.publicKey"), "exactly one of");
    refuses(
        &at,
        json!({"jwks": {}}),
        &format!("{path}.jwks"),
        "\"keyFile\" or \"url\" is required",
    );
    let path = "realms.demo.loginModules[1]";
    refuses(
        &format!("{JWT}/algorithms"),
        json!(["RS256"]),
        &format!("{path}.algorithms"),
        "only for \"jwks\"",
    );
    refuses(
        &format!("{JWT}/claims"),
        json!({"role": []}),
        &format!("{path}.claims.role"),
        "must not be empty",
    );
    refuses(
        &format!("{JWT}/claims"),
        json!({"role": "A"}),
        &format!("{path}.claims.role"),
        "expected a list",
    );
    refuses(
        &format!("{JWT}/claims"),
        json!({"role": [1]}),
        &format!("{path}.claims.role[0]"),
        "a string",
    );
    refuses(
        &format!("{JWT}/claims"),
        json!({}),
        &format!("{path}.claims"),
        "must not be empty",
    );
    refuses(
        &format!("{JWT}/leeway"),
        json!(30),
        &format!("{path}.leeway"),
        "\"30 seconds\"",
    );
    let path = "realms.demo.loginModules[0]";
    refuses(
        "/realms/demo/loginModules/0/passwords",
        Value::Null,
        path,
        "\"passwords\" or \"digests\" is required",
    );
}

#[test]
fn r13_digest_has_its_file_and_its_challenge() {
    const DIGESTS: &str = "/realms/demo/loginModules/0/digests";
    let (challenges, digest) = (format!("{REALM}/challenges"), format!("{REALM}/digest"));
    let file = || (DIGESTS, json!("users.htdigest"));

    let realm = accepted(&[file()]).realms["demo"].clone();
    let names: Vec<_> = realm
        .challenges
        .iter()
        .map(|challenge| challenge.scheme.name())
        .collect();
    assert_eq!(names, ["Bearer", "Digest", "Basic"]);
    assert_eq!(realm.digest.algorithms, [DigestAlgorithm::Sha256]);
    assert_eq!(realm.digest.nonce_lifetime, Duration::from_secs(300));

    let alone = [file(), ("/realms/demo/loginModules/0/passwords", Value::Null)];
    let realm = accepted(&alone).realms["demo"].clone();
    assert_eq!(realm.challenges.len(), 2, "no Basic without passwords");

    let settings = json!({"algorithms": ["MD5", "SHA-256"], "nonceLifetime": "1 minute"});
    let realm = accepted(&[file(), (&digest, settings)]).realms["demo"].clone();
    assert_eq!(
        realm.digest.algorithms,
        DigestAlgorithm::ALL,
        "the stronger first"
    );
    assert_eq!(realm.digest.nonce_lifetime, Duration::from_secs(60));
    let realm = accepted(&[file(), (&digest, json!({"algorithms": ["MD5"]}))]).realms["demo"].clone();
    assert_eq!(realm.digest.algorithms, [DigestAlgorithm::Md5]);

    let path = "realms.demo.challenges[1]";
    refuses(&challenges, json!(["Basic", "Digest"]), path, "nobody can answer");
    let errors = refused(&[file(), (&challenges, json!(["Basic"]))]);
    assert_eq!(errors.len(), 1);
    assert!(errors[0].starts_with("realms.demo.loginModules[0].digests: \"Digest\" is not among"));

    let path = "realms.demo.digest.algorithms";
    refuses(&digest, json!({"algorithms": []}), path, "must not be empty");
    for wrong in ["SHA-512-256", "MD5-sess", "sha-256"] {
        let path = "realms.demo.digest.algorithms[0]";
        refuses(&digest, json!({"algorithms": [wrong]}), path, "unknown value");
    }
    let path = "realms.demo.digest.nonceLifetime";
    refuses(&digest, json!({"nonceLifetime": "0s"}), path, "");

    let errors = refused(&[file(), ("/services/echo/origins", Value::Null)]);
    assert!(errors[0].contains("Digest credentials"), "ambient: {errors:?}");
}
