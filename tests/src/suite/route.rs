//! Hosts, paths and realms: which service a request is for.

use serde_json::json;

use super::{load_error, refused};
use crate::client::{Request, upgrade};
use crate::world::{Setup, Stage, World};

fn status(stage: &Stage, request: &Request) -> u16 {
    stage.connect().ask(request).status
}

/// M17: two services on one port, each with its own realm in its challenge.
pub fn m17_each_service_has_its_realm(world: &World) {
    let other = json!({"description": "Other", "loginModules": [
        {"type": "users", "success": "required", "passwords": "users.htpasswd"}]});
    let service = json!({"type": "echo", "accept": ["/other", "/another"], "realm": "other", "origins": []});
    let stage = Setup::standard()
        .set("/realms/other", other)
        .set("/services/other", service)
        .start(world);
    for (path, realms) in [
        ("/api/ws", "Bearer realm=\"R\""),
        ("/other", "Basic realm=\"Other\""),
        ("/another", "Basic realm=\"Other\""),
    ] {
        let answer = stage.connect().ask(&upgrade(path));
        assert!(
            answer.all("WWW-Authenticate")[0].starts_with(realms),
            "{path}: {answer:?}"
        );
    }
    assert_eq!(status(&stage, &upgrade("/other/x")), 404);
    assert_eq!(
        status(&stage, &upgrade("/other").bearer(&stage.token("alice").text())),
        401,
        "no token realm"
    );
}

/// M17: a service that is reached under one host is not reached under another.
pub fn m17_a_host_chooses_the_service(world: &World) {
    let service = json!({"type": "echo", "accept": "ws://b.example/b", "public": true});
    let setup = Setup::standard()
        .set("/servers/0/hosts", json!(["localhost"]))
        .set("/services/b", service);
    let stage = setup.start(world);
    assert_eq!(status(&stage, &upgrade("/b").with("Host", "b.example")), 101);
    assert_eq!(status(&stage, &upgrade("/b")), 404);
    assert_eq!(status(&stage, &upgrade("/api/ws").with("Host", "c.example")), 421);
}

/// M32, R2: hosts match with any port, in any case, with a trailing dot, and nothing else.
pub fn m32_hosts_are_compared_exactly(world: &World) {
    let stage = Setup::standard()
        .set("/servers/0/hosts", json!(["a.example", "b.example:81"]))
        .start(world);
    let ask = |host: &str| status(&stage, &upgrade("/api/ws").with("Host", host));
    for host in [
        "a.example",
        "A.EXAMPLE",
        "a.example.",
        "a.example:99",
        "b.example:81",
    ] {
        assert_eq!(ask(host), 401, "{host}");
    }
    for host in [
        "localhost",
        "b.example",
        "b.example:82",
        "x.a.example",
        "a.example.evil.com",
        "127.0.0.1",
    ] {
        assert_eq!(ask(host), 421, "{host}");
    }
}

/// R2: the status for an unknown host is configured.
pub fn r02_the_unknown_host_status_is_configured(world: &World) {
    for expected in [403, 404] {
        let stage = Setup::standard()
            .set("/servers/0/unknownHostStatus", expected)
            .start(world);
        refused(
            &stage,
            &upgrade("/api/ws").with("Host", "other.example"),
            expected,
        );
    }
}

/// Without `hosts`, a server on loopback answers for the loopback names.
pub fn m32_loopback_hosts_are_the_default(world: &World) {
    let stage = Setup::standard().start(world);
    for host in ["localhost", "127.0.0.1", "[::1]", "localhost:8443"] {
        assert_eq!(
            status(&stage, &upgrade("/api/ws").with("Host", host)),
            401,
            "{host}"
        );
    }
}

/// M7: plain text is for loopback, and a server says which of the two it speaks.
pub fn m07_plain_text_is_for_loopback(_world: &World) {
    let public = Setup::standard()
        .set("/servers/0/listen", json!(["0.0.0.0:0"]))
        .set("/servers/0/hosts", json!(["a"]));
    assert!(load_error(&public).contains("plaintext"));
    assert!(!load_error(&Setup::standard().unset("/servers/0/plaintext")).is_empty());
    let both = Setup::standard().tls().set("/servers/0/plaintext", true);
    assert!(!load_error(&both).is_empty());
}

/// What is wrong in a configuration is said with its place and the nearest right name.
pub fn m10_unknown_members_are_errors_with_a_place(_world: &World) {
    let error = load_error(&Setup::standard().set("/servers/0/serverCertificat", "x.pem"));
    assert!(error.contains("servers[0].serverCertificat"), "{error}");
    assert!(error.contains("did you mean \"serverCertificate\"?"), "{error}");
    assert!(error.starts_with("countersign.json:"), "{error}");
}
