//! Origins: who may attach credentials without being asked.

use serde_json::json;

use super::{load_error, refused};
use crate::client::{Request, upgrade};
use crate::world::{Setup, Stage, World};

fn bearer(stage: &Stage) -> Request {
    upgrade("/api/ws").bearer(&stage.token("alice").text())
}

fn status(stage: &Stage, request: &Request) -> u16 {
    stage.connect().ask(request).status
}

/// M32, R11: a foreign origin is 403 before any credential is looked at, without a challenge.
pub fn m32_a_foreign_origin_is_403(world: &World) {
    let stage = Setup::standard().start(world);
    for origin in [
        "https://evil.example",
        "http://app.example",
        "https://app.example:444",
        "https://x.app.example",
        "null",
    ] {
        for request in [
            bearer(&stage),
            upgrade("/api/ws").basic("alice", "wrong"),
            upgrade("/api/ws"),
        ] {
            let answer = refused(&stage, &request.origin(origin), 403);
            assert!(answer.all("WWW-Authenticate").is_empty(), "{origin}");
        }
    }
    assert!(
        stage
            .decisions(15)
            .iter()
            .all(|decision| decision.reason.code() == "bad_origin")
    );
}

/// R11: the listed origin passes, its default port written or not, its host in any case.
pub fn r11_the_listed_origin_passes(world: &World) {
    let stage = Setup::standard().start(world);
    for origin in [
        "https://app.example",
        "https://app.example:443",
        "https://APP.example",
    ] {
        assert_eq!(status(&stage, &bearer(&stage).origin(origin)), 101, "{origin}");
    }
    let basic = upgrade("/api/ws").basic("alice", "correct horse");
    assert_eq!(status(&stage, &basic.origin("https://app.example")), 101);
}

/// R2: two origins, or one that is none, are 400.
pub fn r02_a_bad_origin_field_is_400(world: &World) {
    let stage = Setup::standard().start(world);
    refused(
        &stage,
        &bearer(&stage)
            .origin("https://app.example")
            .origin("https://app.example"),
        400,
    );
}

/// M32, R11: programs send no Origin, and their explicit credentials pass.
pub fn r11_explicit_credentials_need_no_origin(world: &World) {
    let stage = Setup::standard().start(world);
    assert_eq!(status(&stage, &bearer(&stage)), 101);
    assert_eq!(
        status(&stage, &upgrade("/api/ws").basic("alice", "correct horse")),
        101
    );
}

/// M32, R11: a cookie without an Origin is refused unless the service allows it.
pub fn m32_a_cookie_without_origin_is_403(world: &World) {
    let setup = || Setup::standard().realm("carriers", json!(["authorization", "cookie:token"]));
    let cookie =
        |stage: &Stage| upgrade("/api/ws").field("Cookie", &format!("token={}", stage.token("alice").text()));
    let stage = setup().start(world);
    assert_eq!(status(&stage, &cookie(&stage)), 403);
    assert_eq!(status(&stage, &cookie(&stage).origin("https://app.example")), 101);
    assert_eq!(
        status(&stage, &upgrade("/api/ws").field("Cookie", "token=bad")),
        403,
        "before the token is judged"
    );
    let stage = setup().service("allowMissingOrigin", true).start(world);
    assert_eq!(status(&stage, &cookie(&stage)), 101);
}

/// R11: same origin means a configured host at the listener's port, whatever Host says.
pub fn r11_same_origin_is_a_configured_host(world: &World) {
    let stage = Setup::standard().service("origins", json!([])).start(world);
    let port = stage.port(0);
    for (origin, expected) in [
        (format!("http://localhost:{port}"), 101),
        (format!("http://127.0.0.1:{port}"), 101),
        (format!("https://localhost:{port}"), 403),
        ("http://localhost".to_owned(), 403),
        (format!("http://other.example:{port}"), 403),
    ] {
        assert_eq!(
            status(&stage, &bearer(&stage).origin(&origin)),
            expected,
            "{origin}"
        );
    }
}

/// R11: a host that merely resolves here (DNS rebinding) is not the same origin, even with its own
/// name in Host.
pub fn r11_any_host_is_not_any_origin(world: &World) {
    let stage = Setup::standard()
        .service("origins", json!([]))
        .set("/servers/0/hosts", json!(["*"]))
        .start(world);
    let request = bearer(&stage)
        .with("Host", "evil.example")
        .origin(&format!("http://evil.example:{}", stage.port(0)));
    assert_eq!(status(&stage, &request), 403);
}

/// R11: without a list, and with explicit carriers only, every origin passes.
pub fn r11_without_a_list_every_origin_passes(world: &World) {
    let stage = Setup::standard().tokens_only().start(world);
    for origin in ["https://evil.example", "null", "https://app.example"] {
        assert_eq!(status(&stage, &bearer(&stage).origin(origin)), 101, "{origin}");
    }
}

/// R11: `null` passes only where it is listed.
pub fn r11_null_passes_only_where_listed(world: &World) {
    let stage = Setup::standard().service("origins", json!(["null"])).start(world);
    assert_eq!(status(&stage, &bearer(&stage).origin("null")), 101);
    assert_eq!(status(&stage, &bearer(&stage).origin("https://app.example")), 403);
}

/// E11: a star stands for one whole label.
pub fn e11_a_star_is_one_label(world: &World) {
    let stage = Setup::standard()
        .service("origins", json!(["https://*.a.org"]))
        .start(world);
    for (origin, expected) in [
        ("https://x.a.org", 101),
        ("https://X.A.ORG:443", 101),
        ("https://a.org", 403),
        ("https://a.org.evil.com", 403),
        ("https://x.y.a.org", 403),
        ("https://.a.org", 403),
        ("https://xa.org", 403),
        ("http://x.a.org", 403),
    ] {
        let answer = status(&stage, &bearer(&stage).origin(origin));
        assert!(
            answer == expected || (expected == 403 && answer == 400),
            "{origin}: {answer}"
        );
    }
}

/// R11, B8: where a browser attaches credentials unasked, a list of origins is mandatory.
pub fn r11_ambient_credentials_need_a_list(_world: &World) {
    let without = Setup::standard().unset("/services/echo/origins");
    assert!(
        load_error(&without).contains("origins"),
        "{}",
        load_error(&without)
    );
    let cookie = Setup::standard()
        .tokens_only()
        .realm("carriers", json!(["cookie:token"]));
    assert!(load_error(&cookie).contains("origins"));
    for wrong in [
        "https://*",
        "https://a.*.org",
        "https://x*.a.org",
        "app.example",
        "https://a.org/path",
    ] {
        let setup = Setup::standard().service("origins", json!([wrong]));
        assert!(load_error(&setup).contains("origins"), "{wrong}");
    }
}
