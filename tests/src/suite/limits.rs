//! What one peer, and all of them together, may cost.

use std::time::Duration;

use crate::client::{BINARY, CLOSE, End, Frame, header, upgrade};
use crate::world::{Kind, Setup, World};

/// E15: a crowd of half-sent heads is answered 408, each in time, and is gone.
pub fn e15_half_sent_heads_are_408(world: &World) {
    let crowd = if world.kind() == Kind::Sim { 1000 } else { 100 };
    let stage = Setup::standard().limit("headTimeout", "500 ms").start(world);
    let mut clients: Vec<_> = (0..crowd)
        .map(|_| {
            let mut client = stage.connect();
            client.send(b"GET /api/ws HTTP/1.1\r\nHost: local");
            client
        })
        .collect();
    for client in &mut clients {
        let (bytes, end) = client.read_to_end();
        assert!(bytes.starts_with(b"HTTP/1.1 408 "), "{}", bytes.escape_ascii());
        assert_eq!(end, End::Eof);
        client.half_close();
    }
    stage.wait_until("the last connection", |stage| {
        stage.gateway().stats().connections == 0
    });
}

/// E15: over the limit a stream is closed at accept, and the place of one that ended is free.
pub fn e15_connections_are_limited(world: &World) {
    let stage = Setup::standard().limit("connections", 2).start(world);
    let mut first = stage.connect();
    let mut second = stage.connect();
    assert_eq!(first.ask(&upgrade("/nowhere")).status, 404);
    assert_eq!(second.ask(&upgrade("/nowhere")).status, 404);
    stage.connect().expect_end();
    first.half_close();
    first.expect_eof();
    stage.wait_until("the free place", |stage| stage.gateway().stats().connections < 2);
    assert_eq!(stage.connect().ask(&upgrade("/nowhere")).status, 404);
}

/// E15: the sockets of one subject are limited, those of another are not touched.
pub fn e15_sockets_per_subject_are_429(world: &World) {
    let stage = Setup::standard().limit("socketsPerSubject", 2).start(world);
    let alice = upgrade("/api/ws").bearer(&stage.token("alice").text());
    let mut clients = [stage.connect(), stage.connect()];
    for client in &mut clients {
        client.open(&alice);
    }
    let answer = super::refused(&stage, &alice, 429);
    assert!(answer.one("Retry-After").is_some());
    let mut bob = stage.connect();
    bob.open(&upgrade("/api/ws").bearer(&stage.token("bob").text()));
    clients[0].send_frame(&Frame::close(1000, ""));
    assert_eq!(clients[0].read_message().opcode, CLOSE);
    stage.wait_until("the free place", |stage| stage.gateway().stats().sockets == 2);
    stage.connect().open(&alice);
}

/// Large messages share one memory: who finds none waits, and is ended when none comes back.
pub fn e15_announced_messages_share_one_memory(world: &World) {
    let setup = Setup::standard()
        .limit("messageMemory", 1_500_000)
        .limit("stallTimeout", "300 ms");
    let stage = setup.start(world);
    let open = || {
        let mut client = stage.connect();
        client.open(&upgrade("/api/ws").bearer(&stage.token("alice").text()));
        client
    };
    let mut holder = open();
    let message = Frame::whole(BINARY, &vec![1; 1_000_000]);
    let bytes = message.masked();
    holder.send(&bytes[..100]);
    stage.pass(Duration::from_millis(50));
    let mut hungry = open();
    hungry.send(&header(true, BINARY, 1_000_000));
    hungry.expect_close_frame(1013, "slow consumer");
    holder.send(&bytes[100..]);
    assert_eq!(holder.read_message(), message);
    let mut next = open();
    next.expect_echo(&message);
}

/// A refusal is not lost because the client still sends: the rest is discarded, not reset.
pub fn r02_a_refusal_survives_a_sending_client(world: &World) {
    let stage = Setup::standard().start(world);
    let mut client = stage.connect();
    let mut bytes = upgrade("/api/ws").with("Sec-WebSocket-Version", "9").bytes();
    bytes.extend(vec![b'x'; 100_000]);
    client.send(&bytes);
    let (answer, end) = client.read_to_end();
    assert!(answer.starts_with(b"HTTP/1.1 426 "), "{}", answer.escape_ascii());
    assert_eq!(end, End::Eof);
}

/// A client that goes on sending behind a refusal for ever is let go.
pub fn r02_discarding_is_bounded(world: &World) {
    let stage = Setup::standard().limit("closeTimeout", "300 ms").start(world);
    let mut client = stage.connect();
    client.send(&upgrade("/api/ws").with("Sec-WebSocket-Version", "9").bytes());
    client.flood(&[b'x'; 16_384], 200);
    stage.wait_until("the end", |stage| stage.gateway().stats().connections == 0);
}
