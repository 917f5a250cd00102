use super::*;

#[test]
fn defaults_are_filled_in() {
    let config = accepted(&[]);
    let seconds = Duration::from_secs;
    assert_eq!(config.drain_grace, seconds(10));
    let limits = Limits {
        request_line_bytes: 8192,
        head_bytes: 16384,
        head_timeout: seconds(10),
        attempts_per_connection: 3,
        keep_alive_timeout: seconds(30),
        message_bytes: 1_048_576,
        close_timeout: seconds(5),
        stall_timeout: seconds(10),
        connections: None,
        connections_per_address: None,
        sockets_per_subject: None,
        message_memory: 256 << 20,
        job_bytes: 256 << 20,
        sessions: 100_000,
        tickets: 100_000,
    };
    assert_eq!(config.limits, limits);
    assert_eq!(accepted(&[("/limits", json!({}))]).limits, limits);
    let server = &config.servers[0];
    let hosts: Vec<_> = server.hosts.iter().map(|host| host.text.as_str()).collect();
    assert_eq!(hosts, ["localhost", "127.0.0.1", "[::1]"]);
    assert_eq!(server.services, ["echo"]);
    assert_eq!(server.unknown_host_status, 421);
    assert!(!server.plaintext);
    let certificate = server.certificate.as_ref().unwrap();
    assert_eq!(certificate.path, Path::new("/etc/countersign/server.pem"));
    assert_eq!(certificate.place.path, "servers[0].serverCertificate");
    let realm = &config.realms["demo"];
    assert_eq!(realm.description, "demo");
    let schemes: Vec<_> = realm.challenges.iter().map(|c| c.scheme.name()).collect();
    assert_eq!(schemes, ["Bearer", "Basic"]);
    assert_eq!(realm.carriers, [Carrier::Authorization]);
    assert_eq!(realm.anonymous, None);
    let ModuleKind::Jwt(jwt) = &realm.modules[1].kind else {
        panic!("the second module is a jwt module");
    };
    assert_eq!((jwt.leeway, jwt.require_expiry), (seconds(30), true));
    assert_eq!(jwt.claims_mode, ClaimsMode::Any);
    let Verification::PublicKey { algorithm, key } = &jwt.verification else {
        panic!("it has a public key");
    };
    assert_eq!(
        (*algorithm, key.path.as_path()),
        ("ES256", Path::new("/keys/issuer.pem"))
    );
    let echo = &config.services["echo"];
    assert_eq!(echo.ping_interval, seconds(30));
    assert!(echo.enabled && echo.idle_timeout.is_none());
    assert_eq!(echo.access, Access::Realms(vec!["demo".to_owned()]));
    assert_eq!(Config::carriers(echo, realm), [Carrier::Authorization]);
}

#[test]
fn every_member_is_read() {
    let config = accepted(&[
        ("/servers/0/uuid", json!("2F6A7C1E-5b1d-4b8e-9a57-0f4f1f0f7a10")),
        ("/servers/0/hosts", json!(["example.com", "localhost:8443"])),
        ("/servers/0/unknownHostStatus", json!(404)),
        ("/servers/0/health", json!("/healthz")),
        ("/servers/0/hsts", json!("365 days")),
        (
            "/limits",
            json!({"connections": 10, "connectionsPerAddress": 2, "socketsPerSubject": 1, "tickets": 7}),
        ),
        ("/realms/demo/description", json!("My \"realm\"")),
        ("/realms/demo/challenges", json!(["Token", "Application Bearer"])),
        ("/realms/demo/scope", json!(["a", "b"])),
        (
            "/realms/demo/carriers",
            json!(["authorization", "query:access_token"]),
        ),
        ("/realms/demo/anonymous", json!({"roles": ["AUTHORIZED"]})),
        ("/realms/demo/sessionTimeout", json!("4 hours")),
        ("/realms/demo/sameTokenOk", json!(true)),
        ("/realms/demo/ignoreAuthorizationFromProxy", json!(true)),
        ("/realms/demo/suppressBrowserPrompt", json!(true)),
        ("/realms/demo/lenientSubprotocolToken", json!(true)),
        (
            "/realms/demo/compat",
            json!({"kaazing403": true, "applicationPrefix": true}),
        ),
        ("/realms/demo/loginModules/0/groups", json!("users.htgroup")),
        (
            "/realms/demo/loginModules/1",
            json!({
                "type": "jwt", "success": "requisite", "audience": "ws", "claims": {"role": ["A"], "g": ["B", ""]},
                "claimsMode": "all", "roles": ["group"], "leeway": "0s", "requireExpiry": false,
                "tokenType": "at+jwt", "algorithms": ["PS256", "RS256"],
                "verification": {"jwks": {"keyFile": "jwks.json"}},
            }),
        ),
        ("/services/echo/accept", json!(["/a", "wss://Two.example:8443/b"])),
        ("/services/echo/enabled", json!(false)),
        ("/services/echo/carriers", json!(["subprotocol:access_token"])),
        ("/services/echo/origins", json!(["https://*.a.org", "null"])),
        ("/services/echo/allowMissingOrigin", json!(true)),
        ("/services/echo/requireRoles", json!(["AUTHORIZED"])),
        ("/services/echo/requireScopes", json!(["c"])),
        ("/services/echo/subprotocols", json!(["chat"])),
        ("/services/echo/requireSubprotocol", json!(true)),
        ("/services/echo/idleTimeout", json!("5 min")),
        ("/services/echo/pingInterval", json!("250 ms")),
    ]);
    let server = &config.servers[0];
    assert_eq!(
        server.uuid.as_deref(),
        Some("2f6a7c1e-5b1d-4b8e-9a57-0f4f1f0f7a10")
    );
    let hosts: Vec<_> = server.hosts.iter().map(|host| host.text.as_str()).collect();
    assert_eq!(hosts, ["example.com", "localhost:8443", "two.example"]);
    assert_eq!(server.unknown_host_status, 404);
    assert_eq!(server.health.as_deref(), Some("/healthz"));
    assert_eq!(server.hsts, Some(Duration::from_secs(365 * 86_400)));
    let limits = &config.limits;
    assert_eq!(
        (limits.connections, limits.connections_per_address),
        (Some(10), Some(2))
    );
    assert_eq!((limits.sockets_per_subject, limits.tickets), (Some(1), 7));
    let realm = &config.realms["demo"];
    assert_eq!(realm.description, "My \"realm\"");
    assert_eq!(realm.challenges[0].scheme, Scheme::Custom("Token".to_owned()));
    assert!(realm.challenges[1].application_prefix && realm.compat.application_prefix);
    assert!(realm.compat.kaazing403 && realm.same_token_ok && realm.ignore_authorization_from_proxy);
    assert!(realm.suppress_browser_prompt && realm.lenient_subprotocol_token);
    assert_eq!(realm.scope, ["a", "b"]);
    assert_eq!(realm.anonymous.as_ref().unwrap().roles, ["AUTHORIZED"]);
    assert_eq!(realm.session_timeout, Some(Duration::from_secs(14_400)));
    let ModuleKind::Users(users) = &realm.modules[0].kind else {
        panic!("the first module is a users module");
    };
    let groups = Path::new("/etc/countersign/users.htgroup");
    assert_eq!(users.groups.as_ref().unwrap().path, groups);
    assert_eq!(realm.modules[1].success, Flag::Requisite);
    let ModuleKind::Jwt(jwt) = &realm.modules[1].kind else {
        panic!("the second module is a jwt module");
    };
    let claims = [("g", vec!["B", ""]), ("role", vec!["A"])];
    let claims = claims.map(|(name, values)| {
        let values: Vec<_> = values.into_iter().map(str::to_owned).collect();
        (name.to_owned(), values)
    });
    assert_eq!(jwt.claims, claims);
    assert_eq!(
        (jwt.issuer.as_deref(), jwt.audience.as_deref()),
        (None, Some("ws"))
    );
    assert_eq!(jwt.claims_mode, ClaimsMode::All);
    assert_eq!((jwt.leeway, jwt.require_expiry), (Duration::ZERO, false));
    assert_eq!(jwt.token_type.as_deref(), Some("at+jwt"));
    assert_eq!(
        (jwt.roles.as_slice(), jwt.algorithms.as_slice()),
        (&["group".to_owned()][..], &["RS256", "PS256"][..])
    );
    let echo = &config.services["echo"];
    let (one, two) = (&echo.accept[0], &echo.accept[1]);
    assert_eq!(
        (one.host.as_deref(), one.port, one.path.as_str()),
        (None, None, "/a")
    );
    assert_eq!(
        (two.host.as_deref(), two.port, two.path.as_str()),
        (Some("two.example"), Some(8443), "/b")
    );
    assert_eq!(two.scheme, Some(UrlScheme::Wss));
    assert!(!echo.enabled && echo.allow_missing_origin && echo.require_subprotocol);
    assert_eq!(
        Config::carriers(echo, realm)[0].to_string(),
        "subprotocol:access_token"
    );
    assert_eq!(echo.origins.as_deref().unwrap().len(), 2);
    assert_eq!((echo.require_roles.len(), echo.require_scopes.len()), (1, 1));
    assert_eq!(echo.subprotocols, ["chat"]);
    assert_eq!(echo.idle_timeout, Some(Duration::from_secs(300)));
    assert_eq!(echo.ping_interval, Duration::from_millis(250));
}

#[test]
fn m25_a_star_alone_is_any_authenticated_user() {
    let any = accepted(&[("/services/echo/requireRoles", json!(["*"]))]);
    assert!(any.services["echo"].require_roles.is_empty());
    let at = "/services/echo/requireRoles";
    refuses(
        at,
        json!(["AUTHORIZED", "*"]),
        "services.echo.requireRoles[1]",
        "stands alone",
    );
    refuses("/roles", json!(["AUTHORIZED", "*"]), "roles[1]", "is not a role");
}
