//! Sockets behind the proxy: bytes both ways, and the end of a right between two frames.

use std::time::Duration;

use serde_json::{Value, json};

use super::admin::{administered, revoke};
use super::proxy::{alice, app, open, setup};
use crate::client::{BINARY, CLOSE, CONTINUATION, Client, Frame, PING, PONG, TEXT, get, upgrade};
use crate::fake::upstream::{Mood, Upstream};
use crate::world::{Kind, Setup, Stage, World};

const SECOND: Duration = Duration::from_secs(1);

/// The size of the fragments of a large message, in bytes.
const FRAGMENT: usize = 64 * 1024;

/// How long the token lives during whose life 64 MiB pass on a busy machine, in seconds.
const LONG: u32 = 12;

fn fragment(opcode: u8, last: bool) -> Vec<u8> {
    let payload = vec![b'x'; FRAGMENT];
    Frame {
        last,
        opcode,
        payload,
    }
    .unmasked()
}

/// A socket whose token ends after so many seconds.
fn short(world: &World, upstream: &Upstream, close_timeout: &str, life: u32) -> (Stage, Client) {
    let stage = setup(world, upstream)
        .jwt("leeway", "0s")
        .limit("closeTimeout", close_timeout)
        .start(world);
    let token = stage.token("alice").expires_in(life * SECOND).text();
    let mut client = stage.connect();
    client.open(&upgrade("/app").bearer(&token));
    (stage, client)
}

/// R14: a token that ends while the upstream streams a large message in fragments: whole frames arrive,
/// and then Close 3000. Nothing of the client's gets through from then on.
pub fn r14_expiry_in_a_fragmented_message_closes_between_frames(world: &World) {
    let upstream = Upstream::accepting();
    let (stage, mut client) = short(world, &upstream, "5 seconds", LONG);
    let expiry = stage.unix().as_secs() + u64::from(LONG);
    // 64 MiB, or what the simulator moves in a moment.
    let count = if world.kind() == Kind::Sim { 16 } else { 1024 };
    let first = fragment(BINARY, false);
    let next = fragment(CONTINUATION, false);
    let mut stream = first.clone();
    for _ in 1..count {
        stream.extend_from_slice(&next);
    }
    upstream.say(&stream);
    stage.nudge();
    assert!(client.read_bytes(stream.len()) == stream, "the fragments differ");
    // A control frame of the upstream's in between, and a frame that is under way when the end comes.
    let under_way = [Frame::whole(PING, b"?").unmasked(), next[..30_000].to_vec()].concat();
    upstream.say(&under_way);
    stage.nudge();
    assert_eq!(client.read_bytes(under_way.len()), under_way);
    // Longer than is waited for anything at once.
    stage.wait_until("the last seconds", |stage| stage.unix().as_secs() + 5 > expiry);
    stage.wait_until("the expiry", |stage| stage.unix().as_secs() > expiry);
    client.send_frame(&Frame::text("after the end"));
    stage.pass(SECOND / 10);
    upstream.say(&[&next[30_000..], &next, &next].concat());
    stage.nudge();
    let (rest, _) = client_end(client);
    let close = b"\x88\x0f\x0b\xb8token expired";
    assert!(rest == [&next[30_000..], close].concat(), "{} bytes", rest.len());
    assert!(upstream.heard().is_empty());
    let closed = &stage.closings(1)[0];
    assert_eq!((closed.code, &*closed.reason), (3000, "token expired"));
    stage.wait_until("the end", |_| upstream.open() == 0);
}

fn client_end(mut client: Client) -> (Vec<u8>, crate::client::End) {
    client.half_close();
    client.read_to_end()
}

/// R14: between two frames the end comes at once.
pub fn r14_expiry_between_frames_closes_at_once(world: &World) {
    let upstream = Upstream::echoing();
    let (stage, mut client) = short(world, &upstream, "5 seconds", 2);
    let expiry = stage.unix().as_secs() + 2;
    client.expect_echo(&Frame::text("before"));
    client.expect_close(3000, "token expired");
    assert!(stage.unix().as_secs() <= expiry + 1);
    stage.wait_until("the end", |_| upstream.open() == 0);
}

/// R14: an upstream that does not end its frame is not waited for; there is no Close in a frame.
pub fn r14_a_frame_that_does_not_end_ends_without_a_close(world: &World) {
    let upstream = Upstream::accepting();
    let (stage, mut client) = short(world, &upstream, "1 second", 2);
    let begun = &fragment(BINARY, true)[..1000];
    upstream.say(begun);
    stage.nudge();
    let (got, _) = client.read_to_end();
    assert_eq!(got, begun);
    let closed = &stage.closings(1)[0];
    assert_eq!((closed.code, &*closed.reason), (3000, "token expired"));
    stage.wait_until("the end", |_| upstream.open() == 0);
}

/// R14: where the upstream's own Close went before, there is no second one.
pub fn r14_there_is_one_close(world: &World) {
    let upstream = Upstream::accepting();
    let (stage, mut client) = short(world, &upstream, "4 seconds", 2);
    upstream.say(&Frame::close(4000, "mine").unmasked());
    stage.nudge();
    client.expect_close_frame(4000, "mine");
    client.expect_end();
    stage.wait_until("the end", |_| upstream.open() == 0);
}

/// E18, B12: a shutdown, and rules that a socket is denied by, end it between frames as well.
pub fn e18_shutdown_and_new_rules_close_between_frames(world: &World) {
    let upstream = Upstream::echoing();
    let stage = setup(world, &upstream).start(world);
    let mut denied = stage.connect();
    denied.open(&upgrade("/app").basic("alice", "correct horse"));
    denied.expect_echo(&Frame::text("before"));
    let mut kept = open(&stage);
    stage.replace(
        "users.htpasswd",
        b"carol:$2b$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e\n",
    );
    denied.expect_close(3003, "access changed");
    kept.expect_echo(&Frame::text("still here"));
    stage.drain();
    kept.expect_close(1001, "server shutting down");
    stage.wait_until("the end", |_| upstream.open() == 0);
}

/// E20: a revocation ends a relayed socket behind the frame that is under way; nobody else notices.
pub fn e20_a_revoked_subject_loses_its_relayed_socket(world: &World) {
    let upstream = Upstream::accepting();
    let stage = administered(setup(world, &upstream)).start(world);
    let mut client = open(&stage);
    let frame = Frame::text("under way").unmasked();
    upstream.say(&frame[..4]);
    stage.nudge();
    assert_eq!(client.read_bytes(4), &frame[..4]);
    assert_eq!(revoke(&stage, &json!({"subject": "alice"})), 204);
    stage.pass(SECOND / 10);
    upstream.say(&[&frame[4..], &frame].concat());
    stage.nudge();
    assert_eq!(client.read_bytes(frame.len() - 4), &frame[4..]);
    client.expect_close(3003, "revoked");
    let mut refused = stage.connect();
    assert_eq!(refused.ask(&alice(&stage, "/app")).status, 401);
    assert_eq!(upstream.streams(), 1);
}

/// M28: a relayed socket is renewed by its id like every other, and ends if nobody does.
pub fn m28_a_relayed_socket_is_renewed(world: &World) {
    let upstream = Upstream::echoing();
    let stage = setup(world, &upstream)
        .realm("renewal", "/renew")
        .realm("authorizationTimeout", "2s")
        .start(world);
    let mut client = stage.connect();
    let id = client.open(&alice(&stage, "/app"));
    let id = id.one("Countersign-Socket").unwrap();
    assert!(!upstream.heads().concat().contains(id));
    stage.pass(SECOND * 6 / 5);
    let renewal = get("/renew").method("POST").field("Content-Length", "0");
    let renewal = renewal
        .bearer(&stage.token("alice").text())
        .field("Countersign-Socket", id);
    assert_eq!(stage.connect().ask(&renewal).status, 204);
    stage.pass(SECOND * 6 / 5);
    client.expect_echo(&Frame::text("still here"));
    client.expect_close(3000, "authorization timeout");
}

/// M18: a Close of the upstream's, and the end of its stream, are the client's.
pub fn m18_the_upstreams_end_is_the_clients(world: &World) {
    let upstream = Upstream::accepting();
    let stage = setup(world, &upstream).start(world);
    let mut client = open(&stage);
    upstream.say(&[Frame::text("last").unmasked(), Frame::close(1000, "").unmasked()].concat());
    upstream.end();
    stage.nudge();
    assert_eq!(client.read_message(), Frame::text("last"));
    client.expect_close_frame(1000, "");
    client.expect_eof();
    client.half_close();
    assert_eq!(stage.closings(1)[0].code, 1000);
    let mut client = stage.connect();
    client.send(&alice(&stage, "/app").bytes());
    assert_eq!(client.expect_head().status, 101);
    client.expect_eof();
    client.half_close();
    assert_eq!(stage.closings(2)[1].code, 1006);
}

/// M18: a client that is gone ends the upstream's stream, behind everything that it has sent.
pub fn m18_the_clients_end_is_the_upstreams(world: &World) {
    let upstream = Upstream::accepting();
    let stage = setup(world, &upstream)
        .limit("closeTimeout", "1 second")
        .start(world);
    let mut client = open(&stage);
    let last = Frame::whole(BINARY, &[1; 100_000]);
    client.send_frame(&last);
    client.half_close();
    client.expect_eof();
    stage.wait_until("the end", |_| upstream.open() == 0);
    assert_eq!(upstream.heard(), last.masked());
}

/// M18: Pings go out between the upstream's frames, and any byte of the client's answers them.
pub fn m18_pings_stand_between_frames(world: &World) {
    let upstream = Upstream::accepting();
    let stage = setup(world, &upstream)
        .set("/services/app/pingInterval", json!("1 second"))
        .start(world);
    let mut client = open(&stage);
    let frame = fragment(BINARY, true);
    upstream.say(&frame[..10]);
    stage.nudge();
    assert_eq!(client.read_bytes(10), &frame[..10]);
    stage.pass(SECOND * 9 / 10);
    // The frame is still under way when a Ping is due.
    for byte in &frame[10..13] {
        upstream.say(&[*byte]);
        stage.nudge();
        assert_eq!(client.read_bytes(1), [*byte]);
        stage.pass(SECOND / 5);
    }
    upstream.say(&frame[13..]);
    stage.nudge();
    assert_eq!(client.read_bytes(frame.len() - 13), &frame[13..]);
    for _ in 0..3 {
        assert_eq!(client.read_frame().opcode, PING);
        client.send_frame(&Frame::whole(PONG, b""));
    }
    assert_eq!(client.read_frame().opcode, PING);
    client.expect_close_frame(1001, "idle");
    assert!(stage.closings(1)[0].code == 1001);
}

/// M18: a Ping that waited for the end of a frame wants an answer like every other, although the next
/// frame is under way whenever one is due.
pub fn m18_a_ping_that_waited_wants_an_answer(world: &World) {
    let upstream = Upstream::accepting();
    let stage = setup(world, &upstream)
        .set("/services/app/pingInterval", json!("2 seconds"))
        .limit("closeTimeout", "2 seconds")
        .start(world);
    let client = open(&stage);
    let frame = Frame::whole(BINARY, b"xx").unmasked();
    let (first, last) = frame.split_at(3);
    upstream.say(first);
    // A Ping is due in the second round of eight, and its answer in the next. Frames end often enough that even on a
    // busy machine none of them takes the whole interval, which would be an end without a Ping.
    for _ in 0..40 {
        if !stage.closings(0).is_empty() {
            break;
        }
        stage.pass(SECOND / 4);
        upstream.say(&[last, first].concat());
        stage.nudge();
    }
    let (got, _) = client_end(client);
    assert!(got.windows(2).any(|two| two == [0x89, 0]), "there was no Ping");
    assert_eq!(&*stage.closings(1)[0].reason, "idle");
}

/// REFERENCE `idleTimeout`: bytes either way count, answers to our Pings do not.
pub fn m18_a_relayed_socket_is_idle_without_bytes(world: &World) {
    let upstream = Upstream::accepting();
    let stage = setup(world, &upstream)
        .set("/services/app/idleTimeout", json!("1 second"))
        .set("/services/app/pingInterval", json!("300 ms"))
        .start(world);
    let mut client = open(&stage);
    let began = stage.unix();
    for turn in 0..4 {
        if turn % 2 == 0 {
            client.send_frame(&Frame::whole(TEXT, b"x"));
        } else {
            upstream.say(&Frame::text("y").unmasked());
            stage.nudge();
        }
        stage.pass(SECOND / 2);
    }
    let frame = loop {
        let frame = client.read_frame();
        match frame.opcode {
            PING => client.send_frame(&Frame::whole(PONG, &frame.payload)),
            TEXT => {}
            _ => break frame,
        }
    };
    assert_eq!(frame, Frame::close(1001, "idle"));
    assert!(stage.unix().since(began) >= SECOND * 2);
}

/// E15: a client that takes nothing is a slow consumer, and the upstream is let go with it.
pub fn e15_a_client_that_takes_nothing_is_let_go(world: &World) {
    let upstream = Upstream::accepting();
    let stage = setup(world, &upstream)
        .limit("stallTimeout", "1 second")
        .limit("closeTimeout", "1 second")
        .start(world);
    let mut client = open(&stage);
    client.stop_reading(0);
    upstream.say(&fragment(BINARY, true).repeat(256));
    stage.nudge();
    assert_eq!(stage.closings(1)[0].code, 1013);
    stage.wait_until("the end", |_| upstream.open() == 0);
    drop(client);
}

fn tunnel(world: &World, upstream: &Upstream) -> Setup {
    let address = world.fake(upstream.fake(), false);
    let mut service = app(&address);
    service["connect"] = json!(format!("tcp://{address}"));
    if let Value::Object(members) = &mut service {
        members.remove("forward");
    }
    Setup::standard().set("/services/app", service)
}

/// M18, `tcp://`: binary messages are the bytes of one stream.
pub fn m18_binary_messages_are_a_stream_of_bytes(world: &World) {
    let upstream = Upstream::echoing();
    upstream.is(Mood::Stream);
    upstream.say(b"RFB 003.008\n");
    let stage = tunnel(world, &upstream).start(world);
    let mut client = stage.connect();
    client.open(&alice(&stage, "/app").protocols("binary"));
    assert_eq!(read_stream(&mut client, 12), b"RFB 003.008\n");
    let sent: Vec<u8> = (0..300_000u32).map(|n| n.to_le_bytes()[0]).collect();
    for part in sent.chunks(100_000) {
        client.send_frame(&Frame::whole(BINARY, part));
    }
    assert!(read_stream(&mut client, sent.len()) == sent, "the bytes differ");
    client.send_frame(&Frame::whole(BINARY, b"last words"));
    client.send_frame(&Frame::close(1000, ""));
    loop {
        let frame = client.read_message();
        if frame.opcode == CLOSE {
            break;
        }
    }
    client.half_close();
    stage.wait_until("the end", |_| upstream.open() == 0);
    assert!(upstream.heard().ends_with(b"last words"));
    assert_eq!(stage.closings(1)[0].bytes_in, 300_010);
}

fn read_stream(client: &mut Client, length: usize) -> Vec<u8> {
    let mut got = Vec::new();
    while got.len() < length {
        let frame = client.read_message();
        assert_eq!((frame.opcode, frame.last), (BINARY, true));
        got.extend_from_slice(&frame.payload);
    }
    got
}

/// M18, `tcp://`: text is Close 1003, the end of the stream Close 1000, the end of a right Close 3000.
pub fn m18_ends_of_a_stream_of_bytes(world: &World) {
    let upstream = Upstream::new(Mood::Stream);
    let stage = tunnel(world, &upstream).jwt("leeway", "0s").start(world);
    let mut client = open(&stage);
    client.send_frame(&Frame::text("no text"));
    client.expect_close(1003, "");
    let mut client = stage.connect();
    let token = stage.token("alice").expires_in(2 * SECOND).text();
    client.open(&upgrade("/app").bearer(&token));
    client.expect_close(3000, "token expired");
    let mut client = open(&stage);
    upstream.say(b"bye");
    upstream.end();
    stage.nudge();
    assert_eq!(read_stream(&mut client, 3), b"bye");
    client.expect_close(1000, "");
    stage.wait_until("the end", |_| upstream.open() == 0);
}
