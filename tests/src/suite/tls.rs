//! TLS: everything the same, nothing without it.

use std::time::Duration;

use crate::client::{Frame, get, upgrade};
use crate::world::{Setup, World};

/// M1 under TLS: upgrade, echo, orderly end.
pub fn m01_upgrade_under_tls(world: &World) {
    let stage = Setup::standard().tls().start(world);
    let mut client = stage.connect();
    assert_eq!(client.ask(&upgrade("/api/ws")).status, 401);
    client.open(&upgrade("/api/ws").bearer(&stage.token("alice").text()));
    client.expect_echo(&Frame::whole(2, &[3; 100_000]));
    client.send_frame(&Frame::close(1000, ""));
    assert_eq!(client.read_message().payload[..2], [0x03, 0xE8]);
    client.half_close();
    client.expect_eof();
}

/// R2 under TLS: a refusal arrives whole, and then the end of TLS.
pub fn r02_refusals_under_tls_arrive_whole(world: &World) {
    let stage = Setup::standard().tls().start(world);
    for _ in 0..10 {
        super::refused(
            &stage,
            &upgrade("/api/ws").with("Sec-WebSocket-Version", "9"),
            426,
        );
    }
}

/// M7: plain text on a TLS listener is never answered with a challenge.
pub fn m07_plain_text_on_a_tls_listener_is_not_answered(world: &World) {
    let stage = Setup::standard().tls().start(world);
    let mut client = stage.connect_plain();
    client.send(&get("/api/ws").bytes());
    let (bytes, _) = client.read_to_end();
    let answer = String::from_utf8_lossy(&bytes);
    assert!(
        !answer.contains("WWW-Authenticate") && !answer.contains("HTTP/1.1 1"),
        "{answer}"
    );
    stage.wait_until("the end", |stage| stage.gateway().stats().connections == 0);
}

/// R2, M7: a peer that never ends its handshake is let go when its head would be due.
pub fn m07_a_silent_handshake_is_let_go(world: &World) {
    let stage = Setup::standard()
        .tls()
        .limit("headTimeout", "200 ms")
        .limit("closeTimeout", "200 ms")
        .start(world);
    let mut client = stage.connect_silent();
    client.wait_at_most(Duration::from_secs(5));
    // An alert may come first.
    client.read_to_end();
    client.half_close();
    stage.wait_until("the end", |stage| stage.gateway().stats().connections == 0);
}

/// R11 under TLS: the same origin is `https`.
pub fn r11_same_origin_under_tls(world: &World) {
    let stage = Setup::standard()
        .tls()
        .service("origins", serde_json::json!([]))
        .start(world);
    let request = |scheme: &str| {
        let origin = format!("{scheme}://localhost:{}", stage.port(0));
        upgrade("/api/ws")
            .bearer(&stage.token("alice").text())
            .origin(&origin)
    };
    stage.connect().open(&request("https"));
    super::refused(&stage, &request("http"), 403);
}
