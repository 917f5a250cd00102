//! The upgrade itself: what RFC 6455 asks of a request, and what is answered.

use super::refused;
use crate::client::{ACCEPT, Frame, Request, get, upgrade};
use crate::world::{Setup, Stage, World};

fn granted(stage: &Stage) -> Request {
    upgrade("/api/ws").bearer(&stage.token("alice").text())
}

/// M1: the key of RFC 6455 section 1.3 is answered as written there.
pub fn m01_upgrade_is_answered_with_101(world: &World) {
    let stage = Setup::standard().start(world);
    let answer = stage.connect().open(&granted(&stage));
    assert_eq!(answer.one("Sec-WebSocket-Accept"), Some(ACCEPT));
    assert_eq!(answer.one("Upgrade"), Some("websocket"));
    assert_eq!(answer.one("Connection"), Some("Upgrade"));
    assert_eq!(answer.one("Sec-WebSocket-Protocol"), None);
    assert!(answer.raw.starts_with(b"HTTP/1.1 101 Switching Protocols\r\n"));
}

/// M2: one byte at a time is answered as all at once.
pub fn m02_split_bytes_are_answered_the_same(world: &World) {
    let stage = Setup::standard().start(world);
    let request = granted(&stage);
    let whole = stage.connect().open(&request).masked();
    let mut client = stage.connect();
    for byte in request.bytes() {
        client.send(&[byte]);
    }
    assert_eq!(client.expect_response().masked(), whole);
}

/// R8: bytes behind an accepted upgrade are the first frames: in order, unchanged, once.
pub fn r08_pipelined_bytes_are_the_first_frames(world: &World) {
    let stage = Setup::standard().start(world);
    let (one, two) = (Frame::text("one"), Frame::text("GET / HTTP/1.1\r\n\r\n"));
    let request = granted(&stage).then(&one.masked()).then(&two.masked());
    let mut client = stage.connect();
    client.open(&request);
    assert_eq!(client.read_message(), one);
    assert_eq!(client.read_message(), two);
    client.expect_echo(&Frame::text("three"));
}

/// R8: a frame that is cut by the end of the first read goes on where it was cut.
pub fn r08_a_pipelined_frame_may_be_cut(world: &World) {
    let stage = Setup::standard().start(world);
    let frame = Frame::text("cut in two");
    let bytes = frame.masked();
    let (first, rest) = bytes.split_at(5);
    let mut client = stage.connect();
    client.open(&granted(&stage).then(first));
    client.send(rest);
    assert_eq!(client.read_message(), frame);
}

/// M37: version 12 is answered with ours, as in reference F.
pub fn m37_another_version_is_426(world: &World) {
    let stage = Setup::standard().start(world);
    let reference = "HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nConnection: Upgrade, close\r\n\
                     Sec-WebSocket-Version: 13\r\nContent-Length: 0\r\n\r\n";
    for version in ["12", "8", "0", "014", "14", "255"] {
        let answer = refused(
            &stage,
            &granted(&stage).with("Sec-WebSocket-Version", version),
            426,
        );
        assert_eq!(answer.masked(), reference, "{version}");
    }
}

/// M37, R2: a version that is missing, listed or repeated is 400.
pub fn m37_no_single_version_is_400(world: &World) {
    let stage = Setup::standard().start(world);
    let request = granted(&stage);
    refused(&stage, &request.clone().without("Sec-WebSocket-Version"), 400);
    refused(
        &stage,
        &request.clone().with("Sec-WebSocket-Version", "13, 8"),
        400,
    );
    refused(&stage, &request.field("Sec-WebSocket-Version", "13"), 400);
}

/// M37, R2: a key is 24 characters of base64 for 16 bytes, once.
pub fn m37_bad_keys_are_400(world: &World) {
    let stage = Setup::standard().start(world);
    let request = granted(&stage);
    refused(&stage, &request.clone().without("Sec-WebSocket-Key"), 400);
    refused(
        &stage,
        &request.clone().field("Sec-WebSocket-Key", crate::client::KEY),
        400,
    );
    let bad = [
        "AAAAAAAAAAAAAAAAAAAA",
        "AAAAAAAAAAAAAAAAAAAAAAA=",
        "AAAAAAAAAAAAAAAAAAAAAAAA",
        "dGhlIHNhbXBsZSBub25jZQ",
        "dGhlIHNhbXBsZSBub25jZR==",
        "dGhlIHNhbXBsZSBub25j!Q==",
        "dGhlIHNhbXBsZSBub25jZQ==AAAA",
    ];
    for key in bad {
        refused(&stage, &request.clone().with("Sec-WebSocket-Key", key), 400);
    }
}

/// R2: whole tokens, any case, in any number of lines.
pub fn r02_upgrade_tokens_are_found_in_lists(world: &World) {
    let stage = Setup::standard().start(world);
    let request = granted(&stage);
    let good = [
        request.clone().with("Connection", "keep-alive, Upgrade"),
        request.clone().with("Connection", "upgrade"),
        request
            .clone()
            .with("Connection", "keep-alive")
            .field("Connection", "UPGRADE"),
        request.clone().with("Upgrade", "WebSocket"),
        request.clone().with("Upgrade", "h2c, websocket"),
        request
            .clone()
            .with("Upgrade", "h2c")
            .field("Upgrade", "websocket"),
        request.field("Content-Length", "0"),
    ];
    for request in good {
        stage.connect().open(&request);
    }
}

/// R2: what merely looks like the tokens is no upgrade: 426, with nothing about credentials.
pub fn r02_no_upgrade_is_426(world: &World) {
    let stage = Setup::standard().start(world);
    let request = granted(&stage);
    let bad = [
        request.clone().with("Connection", "xupgrade"),
        request.clone().with("Connection", "keep-alive"),
        request.clone().without("Connection"),
        request.clone().with("Upgrade", "websocketx"),
        request.clone().with("Upgrade", "h2c"),
        request.without("Upgrade"),
        get("/api/ws"),
    ];
    for request in bad {
        let answer = refused(&stage, &request, 426);
        assert_eq!(answer.one("Upgrade"), Some("websocket"));
        assert_eq!(answer.one("Connection"), Some("Upgrade, close"));
        assert!(answer.body.is_empty());
    }
}

/// R2: HTTP/1.0 cannot upgrade (RFC 9110 section 7.8).
pub fn r02_http10_cannot_upgrade(world: &World) {
    let stage = Setup::standard().start(world);
    let answer = refused(&stage, &granted(&stage).version("HTTP/1.0"), 426);
    assert_eq!(answer.one("Upgrade"), Some("websocket"));
}

/// R2: an upgrade has no body.
pub fn r02_a_body_on_an_upgrade_is_400(world: &World) {
    let stage = Setup::standard().start(world);
    let request = granted(&stage);
    refused(
        &stage,
        &request.clone().field("Content-Length", "5").then(b"hello"),
        400,
    );
    refused(
        &stage,
        &request.field("Transfer-Encoding", "chunked").then(b"0\r\n\r\n"),
        400,
    );
}

/// R1: the syntax of the upgrade is judged before the credential.
pub fn r01_syntax_is_judged_before_credentials(world: &World) {
    let stage = Setup::standard().start(world);
    let request = upgrade("/api/ws").field("Authorization", "Bearer");
    refused(&stage, &request.clone().without("Sec-WebSocket-Key"), 400);
    let answer = refused(&stage, &request.with("Sec-WebSocket-Version", "9"), 426);
    assert!(answer.all("WWW-Authenticate").is_empty());
}

/// R9: without a credential in it, the server's order of preference decides, and nothing in common
/// is no subprotocol (RFC 6455 section 4.2.2).
pub fn r09_the_servers_preference_decides(world: &World) {
    let stage = Setup::standard()
        .service("subprotocols", vec!["chat", "sip"])
        .start(world);
    for (offered, chosen) in [
        ("sip, chat", Some("chat")),
        ("sip", Some("sip")),
        ("gossip", None),
        ("Chat", None),
    ] {
        let answer = stage.connect().open(&granted(&stage).protocols(offered));
        assert_eq!(answer.one("Sec-WebSocket-Protocol"), chosen, "{offered}");
    }
    let answer = stage
        .connect()
        .open(&granted(&stage).protocols("other").protocols("sip"));
    assert_eq!(answer.one("Sec-WebSocket-Protocol"), Some("sip"));
}

/// R9: an item that is no token is 400, a repeated one is not.
pub fn r09_items_are_tokens(world: &World) {
    let stage = Setup::standard()
        .service("subprotocols", vec!["chat"])
        .start(world);
    refused(&stage, &granted(&stage).protocols("chat, a b"), 400);
    refused(&stage, &granted(&stage).protocols("chat, a/b"), 400);
    let answer = stage.connect().open(&granted(&stage).protocols("chat, chat"));
    assert_eq!(answer.one("Sec-WebSocket-Protocol"), Some("chat"));
}

/// R9: where a subprotocol is required, its absence is 400 with the supported ones.
pub fn r09_a_required_subprotocol_is_named(world: &World) {
    let setup = Setup::standard()
        .service("subprotocols", vec!["chat", "sip"])
        .service("requireSubprotocol", true);
    let stage = setup.start(world);
    for request in [granted(&stage), granted(&stage).protocols("other")] {
        let answer = refused(&stage, &request, 400);
        assert_eq!(answer.one("Sec-WebSocket-Protocol"), Some("chat, sip"));
    }
}
