//! Proxy services: the upstream, the fields of an identity, and paths that end in `/*`.

use super::*;

const SERVICE: &str = "/services/app";

/// A proxy service with `member` in place of what it has, or beside it.
fn app(member: &str, value: Value) -> Value {
    let mut service = json!({"type": "proxy", "accept": "/app", "realm": "demo", "origins": [],
        "connect": "ws://127.0.0.1:9000/"});
    set(&mut service, &format!("/{member}"), value);
    service
}

#[track_caller]
fn refuses_app(member: &str, value: Value, path: &str, said: &str) {
    refuses(SERVICE, app(member, value), &format!("services.app.{path}"), said);
}

#[test]
fn m18_a_proxy_has_an_upstream_and_ten_seconds() {
    let forward = json!({"subject": "X-Sub", "claims": {"email": "X-Email"}});
    let config = accepted(&[(SERVICE, app("forward", forward))]);
    let service = &config.services["app"];
    let proxy = service.proxy.as_ref().unwrap();
    assert_eq!(
        (service.kind, proxy.protocol),
        (ServiceKind::Proxy, UpstreamProtocol::WebSocket)
    );
    assert_eq!(
        (proxy.upstream.host.as_str(), proxy.upstream.port),
        ("127.0.0.1", 9000)
    );
    assert_eq!(proxy.timeout, Duration::from_secs(10));
    assert_eq!(proxy.forward.names().collect::<Vec<_>>(), ["X-Sub", "X-Email"]);
    assert_eq!(service.accept[0].prefix(), None);
    assert!(config.services["echo"].proxy.is_none());
}

#[test]
fn m18_what_is_no_upstream_does_not_load() {
    let errors = refused(&[(SERVICE, app("connect", Value::Null))]);
    assert_eq!(errors, ["services.app: \"connect\" is required"]);
    refuses_app(
        "connect",
        json!("http://127.0.0.1/"),
        "connect",
        "ws://, wss:// or tcp://",
    );
    refuses_app(
        "connect",
        json!("ws://u:p@127.0.0.1/"),
        "connect",
        "a user or a password",
    );
    refuses_app("connect", json!("tcp://127.0.0.1"), "connect", "needs a port");
    refuses_app("timeout", json!("0s"), "timeout", "");
    refuses_app("caFile", json!("ca.pem"), "caFile", "only beside wss://");
    refuses_app("upstream", json!("x"), "upstream", "unknown member");
}

#[test]
fn m07_an_upstream_without_tls_is_on_this_machine_or_declared() {
    refuses_app("connect", json!("ws://10.0.0.1/"), "connect", "without TLS");
    refuses_app("connect", json!("tcp://10.0.0.1:22"), "connect", "without TLS");
    let mut declared = app("connect", json!("ws://10.0.0.1/"));
    declared["plaintext"] = json!(true);
    accepted(&[(SERVICE, declared)]);
    accepted(&[(SERVICE, app("connect", json!("wss://10.0.0.1/")))]);
    let mut trusted = app("connect", json!("wss://10.0.0.1/"));
    trusted["caFile"] = json!("ca.pem");
    let config = accepted(&[(SERVICE, trusted)]);
    assert!(config.file_refs().any(|file| file.path.ends_with("ca.pem")));
}

#[test]
fn e06_a_field_tells_one_thing() {
    let same = json!({"subject": "X-User", "claims": {"email": "x_user"}});
    refuses_app("forward", same, "forward.claims.email", "the same field");
    for name in ["Host", "Sec-WebSocket-Key", "X-Forwarded-For", "Connection"] {
        refuses_app(
            "forward",
            json!({"roles": name}),
            "forward.roles",
            "a meaning of its own",
        );
    }
    refuses_app(
        "forward",
        json!({"role": "X-Role"}),
        "forward.role",
        "did you mean \"roles\"",
    );
    let mut tunnel = app("connect", json!("tcp://127.0.0.1:22"));
    tunnel["forward"] = json!({"subject": "X-User"});
    refuses(SERVICE, tunnel, "services.app.forward", "there are no fields");
}

#[test]
fn m18_only_a_proxys_path_stands_for_everything_below() {
    let config = accepted(&[(SERVICE, app("accept", json!(["/app/*", "/*", "/app", "/a/b*"])))]);
    let prefixes: Vec<_> = config.services["app"].accept.iter().map(Accept::prefix).collect();
    assert_eq!(prefixes, [Some("/app/"), Some("/"), None, None]);
    refuses(
        "/services/echo/accept",
        json!("/api/*"),
        "services.echo.accept",
        "only the path of a proxy",
    );
    let mut tunnel = app("connect", json!("tcp://127.0.0.1:22"));
    tunnel["accept"] = json!("/vnc/*");
    refuses(SERVICE, tunnel, "services.app.accept", "no path to append");
    let twice = app("accept", json!(["/app/*", "wss://a.example/app/*"]));
    refuses(SERVICE, twice, "services.app.accept[1]", "the same host and path");
}
