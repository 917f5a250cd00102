//! P5: what one connection holds stays under its budget, whatever it is fed.
//!
//! One test, since the allocator counts the whole process.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::alloc::System;
use std::sync::Arc;

use cap::Cap;
use countersign_core::gateway::Gateway;
use countersign_tests::client::{BINARY, CONTINUATION, Frame, TEXT, header, upgrade};
use countersign_tests::solo::Solo;
use countersign_tests::talk;
use countersign_tests::world::{Setup, gateway};

#[global_allocator]
static HEAP: Cap<System> = Cap::new(System, usize::MAX);

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// A connection of which nothing but the accept is known, the watch on it included.
const IDLE: usize = 4 * KIB;
/// The longest head, once in the scanner and once while it grows.
const HEAD: usize = 16 * KIB + 16 * KIB + IDLE;
/// An idle socket: protocol, service, grant.
const SOCKET: usize = 12 * KIB;
/// A refused or waiting connection: one read that nobody can use yet, and the head's remains.
const PIPELINED: usize = 2 * 16 * KIB + SOCKET;
/// Bytes that wait for a client: the high-water mark of 64 KiB and one read's worth of echoes, in a
/// buffer that grows by doubling.
const UNREAD: usize = 2 * (64 * KIB + 16 * KIB);

/// How many connections are averaged.
const CROWD: usize = 16;

/// Returns the heap that `CROWD` connections hold on average after `feed`.
fn per_connection(gateway: &Arc<Gateway>, feed: impl Fn(&mut Solo)) -> usize {
    let mut crowd = Vec::with_capacity(CROWD);
    let before = HEAP.allocated();
    for _ in 0..CROWD {
        let mut solo = Solo::new(gateway);
        feed(&mut solo);
        crowd.push(solo);
    }
    HEAP.allocated().saturating_sub(before) / CROWD
}

/// Feeds pieces as long as they are wanted; returns how many bytes that were.
fn feed_while_hungry(solo: &mut Solo, piece: &[u8], most: usize) -> usize {
    let mut fed = 0;
    while fed < most && solo.is_hungry() {
        solo.offer(piece);
        fed += piece.len();
    }
    fed
}

fn open(solo: &mut Solo) {
    solo.offer(&talk::granted().bytes());
    assert!(solo.sent.starts_with(b"HTTP/1.1 101 "));
    solo.sent = Vec::new();
    solo.notes = Vec::new();
}

fn assert_under(what: &str, held: usize, budget: usize) {
    assert!(held <= budget, "{what}: {held} bytes of {budget}");
}

#[test]
fn p5_memory_per_connection_is_bounded() {
    let gateway = gateway_with(256 * MIB);
    // What is made once, at the first use.
    per_connection(&gateway, open);

    let held = per_connection(&gateway, |_| {});
    assert_under("nothing", held, IDLE);

    let held = per_connection(&gateway, |solo| {
        solo.offer(b"GET /api/ws HTTP/1.1\r\nHost: local")
    });
    assert_under("half a head", held, IDLE + KIB);

    let large = format!(
        "GET /api/ws HTTP/1.1\r\nHost: localhost\r\nX: {}",
        "x".repeat(16_300)
    );
    let held = per_connection(&gateway, |solo| solo.offer(large.as_bytes()));
    assert_under("16 KiB of a head", held, HEAD);

    let held = per_connection(&gateway, |solo| {
        for piece in large.as_bytes().chunks(7) {
            solo.offer(piece);
        }
    });
    assert_under("16 KiB of a head in pieces", held, HEAD);

    let many = format!(
        "GET /api/ws HTTP/1.1\r\nHost: localhost\r\n{}",
        "a:\r\n".repeat(90)
    );
    let held = per_connection(&gateway, |solo| solo.offer(many.as_bytes()));
    assert_under("many fields", held, HEAD);

    let held = per_connection(&gateway, open);
    assert_under("an idle socket", held, SOCKET);

    let mut waiting = upgrade("/api/ws").basic("alice", "correct horse").bytes();
    waiting.extend(vec![b'x'; 15 * KIB]);
    let held = per_connection(&gateway, |solo| {
        solo.offer(&waiting);
        feed_while_hungry(solo, &[b'x'; 4096], MIB);
    });
    assert_under("bytes behind a head that is being checked", held, PIPELINED);

    messages(&gateway);
    announcements();
    members();
}

/// Open sockets that are fed badly.
fn messages(gateway: &Arc<Gateway>) {
    for (what, piece) in [
        ("empty messages", Frame::text("").masked()),
        ("small messages", Frame::text("x").masked()),
        ("pings", Frame::whole(9, b"x").masked()),
        ("messages of 10 kB", Frame::whole(BINARY, &[1; 10_000]).masked()),
    ] {
        let piece = piece.repeat(16 * KIB / piece.len() + 1);
        let held = per_connection(gateway, |solo| {
            open(solo);
            solo.take(false);
            let fed = feed_while_hungry(solo, &piece, 4 * MIB);
            assert!(fed < 4 * MIB, "{what}: reading never stops");
        });
        assert_under(what, held, UNREAD);
    }

    let fragment = Frame {
        last: false,
        opcode: CONTINUATION,
        payload: vec![],
    }
    .masked()
    .repeat(2000);
    let held = per_connection(gateway, |solo| {
        open(solo);
        solo.offer(
            &Frame {
                last: false,
                opcode: TEXT,
                payload: vec![],
            }
            .masked(),
        );
        feed_while_hungry(solo, &fragment, 100 * KIB);
    });
    assert_under("empty fragments", held, PIPELINED);

    let fragment = Frame {
        last: false,
        opcode: CONTINUATION,
        payload: vec![1; 1000],
    }
    .masked();
    let held = per_connection(gateway, |solo| {
        open(solo);
        solo.offer(
            &Frame {
                last: false,
                opcode: BINARY,
                payload: vec![],
            }
            .masked(),
        );
        feed_while_hungry(solo, &fragment, 4 * MIB);
        assert!(
            solo.hung_up || solo.sent.starts_with(&[0x88]),
            "over 1 MiB in fragments is too big"
        );
    });
    assert_under("fragments of a message that is too big", held, PIPELINED);
}

/// A thousand peers that announce the largest message each: all together hold what `messageMemory`
/// grants, and what one socket may cost anyway.
fn announcements() {
    let granted = 8 * MIB;
    let gateway = gateway_with(granted);
    let crowd = 1000;
    let mut peers = Vec::with_capacity(crowd);
    let before = HEAP.allocated();
    for _ in 0..crowd {
        let mut solo = Solo::new(&gateway);
        open(&mut solo);
        solo.offer(&header(true, BINARY, MIB as u64));
        feed_while_hungry(&mut solo, &[0; 1000], 8000);
        peers.push(solo);
    }
    let held = HEAP.allocated().saturating_sub(before);
    assert_under("announced messages", held, granted + crowd * (SOCKET + 8 * KIB));
    drop(peers);
    assert_eq!(gateway.stats().message_memory_free, granted);
}

/// A thousand members of a broadcast, and one that takes nothing: the others are sent every message at
/// once, and what waits for the one stays within its mailbox, and what waits for any client anyway.
fn members() {
    const MAILBOX: usize = 256 * KIB;
    const LENGTH: usize = 4_000;
    let crowd = 1000;
    let chat = serde_json::json!({
        "type": "broadcast", "accept": "/chat", "public": true, "mailboxBytes": MAILBOX,
    });
    let setup = Setup::standard()
        .set("/services/chat", chat)
        .limit("connections", 2 * crowd);
    let gateway = gateway(setup.load().unwrap());
    let join = || {
        let mut solo = Solo::new(&gateway);
        solo.offer(&upgrade("/chat").bytes());
        solo.sent = Vec::with_capacity(2 * LENGTH);
        solo
    };
    let (mut sender, mut slow) = (join(), join());
    let mut others: Vec<_> = (0..crowd).map(|_| join()).collect();
    slow.take(false);
    let frame = Frame::whole(BINARY, &[7; LENGTH]);
    let mut round = || {
        sender.offer(&frame.masked());
        if !sender.is_hungry() {
            // It waits for the slow one, as long as anybody does.
            sender.pass(std::time::Duration::from_millis(50));
        }
        assert!(sender.is_hungry(), "the sender is held up");
        slow.nudge();
        for other in &mut others {
            other.nudge();
            assert!(other.sent == frame.unmasked(), "a member has missed something");
            other.sent.clear();
        }
    };
    round();
    let before = HEAP.allocated();
    let mut most = 0;
    for _ in 0..2 * MAILBOX / LENGTH {
        round();
        most = most.max(HEAP.allocated().saturating_sub(before));
    }
    assert_under("a member that takes nothing", most, MAILBOX + UNREAD);
    assert!(most > MAILBOX / 2, "{most} bytes: it takes something");
    slow.take(true);
    assert!(slow.sent.ends_with(b"\x88\x0f\x03\xf5slow consumer"));
}

fn gateway_with(message_memory: usize) -> Arc<Gateway> {
    let setup = Setup::standard().limit("messageMemory", message_memory);
    gateway(setup.load().unwrap())
}
