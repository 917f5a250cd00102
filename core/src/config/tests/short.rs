use std::net::{Ipv6Addr, SocketAddr};

use super::*;

/// Two servers in short form, as the seed writes them.
const SHORT: &str = r#"{
  "servers": [
    {
      "id": "plant",
      "uuid": "2f6a7c1e-5b1d-4b8e-9a57-0f4f1f0f7a10",
      "portNumber": 8443,
      "authentication": {
        "@JWT": {
          "realm": "Plant",
          "scope": ["openid"],
          "issuer": "https://idp.example",
          "audience": "ws",
          "claims": {"role": ["operator"], "group": ["plant"]},
          "verification": {"@ES256": {"keyFile": "/keys/issuer.pem"}}
        }
      },
      "serverCertificate": "server.pem",
      "endpoints": {
        "/api/v1/temperature": "Plant.Boiler.Temperature",
        "/api/v1/pressure": "Plant.Boiler.Pressure"
      }
    },
    {
      "id": "lab",
      "portNumber": 9443,
      "authentication": {"@JWT": {
        "issuer": "https://other.example", "audience": "lab", "verification": {"@JWKS": {"keyFile": "jwks.json"}}
      }},
      "serverCertificate": "server.pem",
      "hosts": ["lab.example"],
      "endpoints": {"/x": "Lab.X"}
    }
  ]
}"#;

fn short() -> Value {
    serde_json::from_str(SHORT).unwrap()
}

fn errors(text: &str) -> Vec<String> {
    let errors = Config::parse(text, Path::new("s.json")).expect_err("a wrong file loads");
    errors.iter().map(ToString::to_string).collect()
}

fn changed(at: &str, value: Value) -> Vec<String> {
    let mut config = short();
    set(&mut config, at, value);
    let errors = parse(&config).expect_err("a wrong file loads");
    errors
        .iter()
        .map(|e| format!("{}: {}", e.path, e.message))
        .collect()
}

#[test]
fn m10_a_file_of_the_seeds_shape_loads() {
    let config = Config::parse(SHORT, Path::new(FILE)).unwrap();
    let [plant, lab] = &config.servers[..] else {
        panic!("two servers")
    };
    let all = |port| vec![SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))];
    assert_eq!((&plant.listen, &lab.listen), (&all(8443), &all(9443)));
    assert_eq!(
        (&plant.services[..], &lab.services[..]),
        (&["plant".to_owned()][..], &["lab".to_owned()][..])
    );
    assert_eq!((plant.hosts[0].text.as_str(), plant.hosts.len()), ("*", 1));
    assert_eq!((lab.hosts[0].text.as_str(), lab.hosts.len()), ("lab.example", 1));
    let realm = &config.realms["plant"];
    assert_eq!(
        (realm.description.as_str(), &realm.scope[..]),
        ("Plant", &["openid".to_owned()][..])
    );
    assert_eq!(config.realms["lab"].description, "lab");
    let service = &config.services["plant"];
    assert_eq!(service.kind, ServiceKind::Points);
    assert_eq!(service.access, Access::Realms(vec!["plant".to_owned()]));
    assert_eq!(service.endpoints["/api/v1/pressure"], "Plant.Boiler.Pressure");
    let files: Vec<_> = config
        .file_refs()
        .map(|file| file.path.to_string_lossy())
        .collect();
    let folder = Path::new(FILE).parent().unwrap();
    assert!(files.contains(&"/keys/issuer.pem".into()));
    assert!(files.contains(&folder.join("jwks.json").to_string_lossy()));
}

#[test]
fn m10_what_the_short_form_leaves_out_is_as_in_the_long_one() {
    let long = accepted(&[
        (
            "/services/plant",
            json!({"type": "points", "realm": "jwt", "endpoints": {"/x": "Lab.X"}}),
        ),
        (
            "/realms/jwt",
            json!({"loginModules": [{"type": "jwt", "success": "required",
            "issuer": "https://other.example", "audience": "lab", "verification": {"jwks": {"keyFile": "jwks.json"}}}]}),
        ),
    ]);
    let config = Config::parse(SHORT, Path::new(FILE)).unwrap();
    let (short, mut expected) = (&config.realms["lab"], long.realms["jwt"].clone());
    "lab".clone_into(&mut expected.name);
    "lab".clone_into(&mut expected.description);
    let (jwt, module) = (&short.modules[0].kind, &mut expected.modules[0]);
    let (ModuleKind::Jwt(jwt), ModuleKind::Jwt(expected_jwt)) = (jwt, &mut module.kind) else {
        panic!("two jwt modules")
    };
    let key = jwt.verification.clone();
    expected_jwt.verification = key;
    module.place = short.modules[0].place.clone();
    expected.place = short.place.clone();
    assert_eq!(*short, expected);
    let (short, mut expected) = (&config.services["lab"], long.services["plant"].clone());
    "lab".clone_into(&mut expected.name);
    expected.access = short.access.clone();
    expected.place = short.place.clone();
    expected.accept = short.accept.clone();
    assert_eq!(*short, expected);
}

#[test]
fn m10_each_fault_has_its_place_in_the_short_form() {
    for (from, to, expected) in [
        (
            r#""uuid""#,
            r#""uuidd""#,
            r#"s.json:5:7: servers[0].uuidd: unknown member; did you mean "uuid"?"#,
        ),
        (
            r#""/api/v1/pressure""#,
            r#""api/v1/pressure""#,
            r#"s.json:20:9: servers[0].endpoints["api/v1/pressure"]: the path "api/v1/pressure" must start with /"#,
        ),
        (
            r#""/api/v1/pressure""#,
            r#""/api/v1/""#,
            r#"s.json:20:9: servers[0].endpoints["/api/v1/"]: the endpoint "/api/v1/" must not end with /"#,
        ),
        (
            r#""verification": {"@ES256""#,
            r#""colour": 1, "verification": {"@ES256""#,
            "s.json:14:11: servers[0].authentication.@JWT.colour: unknown member",
        ),
    ] {
        assert_eq!(errors(&SHORT.replacen(from, to, 1)), [expected]);
    }
    let second = errors(&SHORT.replacen(r#""@JWT": {"#, r#""@Basic": {}, "@JWT": {"#, 1));
    assert_eq!(
        second,
        [
            "s.json:7:25: servers[0].authentication: needs exactly one of: @JWT",
            "s.json:8:9: servers[0].authentication.@Basic: unknown member",
        ]
    );
    let second = errors(&SHORT.replacen(r#"{"@ES256""#, r#"{"@RS256": {"keyFile": "k"}, "@ES256""#, 1));
    assert_eq!(second.len(), 1, "{second:?}");
    let expected =
        "s.json:14:27: servers[0].authentication.@JWT.verification: needs exactly one of: @RS256, ";
    assert!(second[0].starts_with(expected), "{second:?}");
}

#[test]
fn m10_what_the_short_form_needs_is_told() {
    let jwt = "/servers/0/authentication/@JWT";
    for (at, value, path, said) in [
        (
            "/servers/0/portNumber",
            json!(null),
            "servers[0]",
            "\"portNumber\" is required",
        ),
        (
            "/servers/0/portNumber",
            json!(0),
            "servers[0].portNumber",
            "from 1 to 65535",
        ),
        (
            "/servers/0/portNumber",
            json!(65536),
            "servers[0].portNumber",
            "from 1 to 65535",
        ),
        (
            "/servers/0/listen",
            json!(["127.0.0.1:0"]),
            "servers[0].portNumber",
            "leave one of them out",
        ),
        (
            "/servers/0/authentication",
            json!(null),
            "servers[0]",
            "\"authentication\" is required",
        ),
        (
            "/servers/0/endpoints",
            json!(null),
            "servers[0]",
            "\"endpoints\" is required",
        ),
        (
            "/servers/0/endpoints",
            json!({}),
            "servers[0].endpoints",
            "must not be empty",
        ),
        (
            "/servers/0/endpoints",
            json!({"/": "x"}),
            "servers[0].endpoints[\"/\"]",
            "must not end with /",
        ),
        (
            "/servers/0/serverCertificate",
            json!(null),
            "servers[0]",
            "\"serverCertificate\" is required",
        ),
        (
            &format!("{jwt}/verification"),
            json!(null),
            "servers[0].authentication.@JWT",
            "\"verification\" is required",
        ),
        (
            "/realms",
            json!({"plant": {"loginModules": [{"type": "users", "success": "required", "digests": "d"}]}}),
            "servers[0].id",
            "there is a realm \"plant\" already",
        ),
    ] {
        let errors = changed(at, value);
        assert!(
            errors
                .iter()
                .any(|e| e.starts_with(&format!("{path}: ")) && e.contains(said)),
            "{at}: {errors:#?}"
        );
    }
}

#[test]
fn m10_names_with_an_at_sign_belong_to_the_short_form() {
    let long = "/realms/demo/loginModules/1/verification";
    for (at, value) in [
        (long, json!({"@ES256": {"keyFile": "k"}})),
        (long, json!({"publicKey": {"@ES256": {"keyFile": "k"}}})),
        (
            "/realms/@JWT",
            json!({"loginModules": [{"type": "users", "success": "required", "passwords": "p"}]}),
        ),
        (
            "/services/@JWT",
            json!({"type": "echo", "accept": "/x", "public": true}),
        ),
        ("/@JWT", json!({})),
        ("/servers/0/@JWT", json!({})),
    ] {
        let errors = refused(&[(at, value)]);
        assert!(errors.iter().any(|e| e.contains('@')), "{at}: {errors:?}");
    }
    let errors = changed(
        "/servers/0/authentication/@JWT/verification",
        json!({"publicKey": {"ES256": {"keyFile": "k"}}}),
    );
    assert!(
        errors
            .iter()
            .any(|e| e.contains("verification.publicKey: unknown member")),
        "{errors:?}"
    );
}

#[test]
fn m16_points_have_endpoints_and_nothing_else_has() {
    let points = |change: &str, value: Value| {
        let mut service = json!({"type": "points", "public": true, "endpoints": {"/p": "P"}});
        service[change] = value;
        refused(&[("/services/plant", service)])
    };
    let accept = points("accept", json!("/x"));
    assert_eq!(
        accept,
        ["services.plant.accept: only type \"echo\" has this member"]
    );
    let errors = refused(&[("/services/plant", json!({"type": "points", "public": true}))]);
    assert_eq!(errors, ["services.plant: \"endpoints\" is required"]);
    refuses(
        "/services/echo/endpoints",
        json!({"/p": "P"}),
        "services.echo.endpoints",
        "only type \"points\"",
    );
    let errors = points("endpoints", json!({"/api/ws": "P"}));
    assert!(
        errors[0].contains("has the same host and path on server \"edge\" already"),
        "{errors:?}"
    );
}

#[test]
fn m10_long_and_short_servers_keep_to_their_own_services() {
    let short = short()["servers"][0].clone();
    let config = accepted(&[("/servers/-", short.clone())]);
    let names = |index: usize| config.servers[index].services.clone();
    assert_eq!(
        (names(0), names(1)),
        (vec!["echo".to_owned()], vec!["plant".to_owned()])
    );
    let mut more = short;
    more["services"] = json!(["echo"]);
    let config = accepted(&[("/servers/-", more)]);
    assert_eq!(config.servers[1].services, ["echo", "plant"]);
}
