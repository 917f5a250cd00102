//! The socket itself, by the echo service: messages, control frames, and how it ends.

use std::time::Duration;

use crate::client::{BINARY, CLOSE, CONTINUATION, Client, Frame, PING, PONG, TEXT, header, upgrade};
use crate::world::{Setup, Stage, World};

fn open(stage: &Stage) -> Client {
    let mut client = stage.connect();
    client.open(&upgrade("/api/ws").bearer(&stage.token("alice").text()));
    client
}

fn opened(world: &World) -> (Stage, Client) {
    let stage = Setup::standard().start(world);
    let client = open(&stage);
    (stage, client)
}

/// M18: masked in, unmasked out, text as text and binary as binary.
pub fn m18_messages_come_back_unmasked(world: &World) {
    let (_stage, mut client) = opened(world);
    for length in [0, 1, 125, 126, 127, 65_535, 65_536, 200_000] {
        client.expect_echo(&Frame::whole(TEXT, "a".repeat(length).as_bytes()));
        client.expect_echo(&Frame::whole(BINARY, &vec![0xFF; length]));
    }
    client.expect_echo(&Frame::text("grüße"));
}

/// RFC 6455 section 5.4: fragments make one message, control frames pass between them.
pub fn m18_fragments_make_one_message(world: &World) {
    let (_stage, mut client) = opened(world);
    client.send_frame(&Frame {
        last: false,
        opcode: TEXT,
        payload: b"one ".to_vec(),
    });
    client.send_frame(&Frame::whole(PING, b"?"));
    client.send_frame(&Frame {
        last: false,
        opcode: CONTINUATION,
        payload: b"two ".to_vec(),
    });
    client.send_frame(&Frame {
        last: true,
        opcode: CONTINUATION,
        payload: b"three".to_vec(),
    });
    assert_eq!(client.read_message(), Frame::whole(PONG, b"?"));
    assert_eq!(client.read_message(), Frame::text("one two three"));
}

/// RFC 6455 section 5.5.2: a ping is answered with its own bytes.
pub fn m18_a_ping_is_answered(world: &World) {
    let (_stage, mut client) = opened(world);
    for payload in [b"".as_slice(), b"hello", &[0; 125]] {
        client.send_frame(&Frame::whole(PING, payload));
        assert_eq!(client.read_message(), Frame::whole(PONG, payload));
    }
}

/// RFC 6455 section 5.5.1: a close is answered with its own code, and the server ends the stream.
pub fn m18_a_close_is_answered(world: &World) {
    let stage = Setup::standard().start(world);
    for code in [1000, 1001, 3000, 4999] {
        let mut client = open(&stage);
        client.send_frame(&Frame::close(code, "bye"));
        let answer = client.read_message();
        assert_eq!(
            (answer.opcode, &answer.payload[..2]),
            (CLOSE, code.to_be_bytes().as_slice())
        );
        client.expect_eof();
    }
}

/// A message behind a close is not read any more.
pub fn m18_nothing_counts_behind_a_close(world: &World) {
    let (_stage, mut client) = opened(world);
    let close = Frame::close(1000, "");
    client.send(&[close.masked(), Frame::text("late").masked()].concat());
    assert_eq!(client.read_message().opcode, CLOSE);
    client.expect_eof();
}

/// A client that shuts down its writing ends the socket.
pub fn m18_the_end_of_the_stream_ends_the_socket(world: &World) {
    let (stage, mut client) = opened(world);
    client.half_close();
    client.read_to_end();
    stage.wait_until("the end", |stage| stage.gateway().stats().sockets == 0);
}

fn violates(world: &World, bytes: &[u8], code: u16) {
    let (_stage, mut client) = opened(world);
    client.send(bytes);
    let frame = client.read_message();
    assert_eq!(frame.opcode, CLOSE, "{frame:?}");
    assert_eq!(
        frame.payload[..2],
        code.to_be_bytes(),
        "{:?}",
        String::from_utf8_lossy(&frame.payload)
    );
    client.half_close();
    client.expect_end();
}

/// RFC 6455 section 5: what breaks the protocol is Close 1002.
pub fn m18_violations_are_1002(world: &World) {
    let masked = |first: u8| {
        let mut bytes = Frame::text("x").masked();
        bytes[0] = first;
        bytes
    };
    let cases = [
        Frame::text("not masked").unmasked(),
        masked(0xC1),
        masked(0xA1),
        masked(0x91),
        masked(0x83),
        masked(0x8B),
        masked(0x80),
        Frame {
            last: false,
            opcode: PING,
            payload: Vec::new(),
        }
        .masked(),
        Frame::whole(PING, &[0; 126]).masked(),
        // The length in more bytes than it takes.
        b"\x81\xfe\x00\x05\0\0\0\0hello".to_vec(),
        [&b"\x82\xff\0\0\0\0\0\0\xff\xff\0\0\0\0"[..], &[0; 0xffff]].concat(),
        Frame::whole(CLOSE, &[3]).masked(),
        Frame::close(1005, "").masked(),
        Frame::close(999, "").masked(),
        [
            Frame {
                last: false,
                opcode: TEXT,
                payload: b"a".to_vec(),
            }
            .masked(),
            Frame::text("b").masked(),
        ]
        .concat(),
    ];
    for bytes in cases {
        violates(world, &bytes, 1002);
    }
}

/// RFC 6455 section 8.1: text is UTF-8, over fragment borders, too.
pub fn m18_text_that_is_not_utf8_is_1007(world: &World) {
    violates(world, &Frame::whole(TEXT, b"\xFF").masked(), 1007);
    let cut = Frame {
        last: false,
        opcode: TEXT,
        payload: b"\xC3".to_vec(),
    };
    violates(
        world,
        &[cut.masked(), Frame::whole(CONTINUATION, b"x").masked()].concat(),
        1007,
    );
}

/// A message over the limit is Close 1009, as soon as it is announced, and in fragments, too.
pub fn m18_too_big_is_1009(world: &World) {
    let stage = Setup::standard().limit("messageBytes", 1000).start(world);
    let mut client = open(&stage);
    client.expect_echo(&Frame::whole(BINARY, &[1; 1000]));
    client.send(&header(true, BINARY, 1001));
    client.expect_close_frame(1009, "message too big");
    let mut client = open(&stage);
    client.send_frame(&Frame {
        last: false,
        opcode: BINARY,
        payload: vec![1; 600],
    });
    client.send_frame(&Frame {
        last: true,
        opcode: CONTINUATION,
        payload: vec![1; 600],
    });
    client.expect_close_frame(1009, "message too big");
    let mut client = open(&stage);
    client.send(&header(true, BINARY, u64::MAX >> 1));
    let frame = client.read_message();
    assert_eq!(frame.opcode, CLOSE);
}

/// Many messages without waiting for any answer come back in order.
pub fn m18_a_burst_comes_back_in_order(world: &World) {
    let (_stage, mut client) = opened(world);
    let frames: Vec<_> = (0..500)
        .map(|number| Frame::text(&format!("message {number}")))
        .collect();
    client.send(&frames.iter().flat_map(Frame::masked).collect::<Vec<_>>());
    for frame in &frames {
        assert_eq!(&client.read_message(), frame);
    }
}

/// A client that writes and never reads is ended as a slow consumer.
pub fn m18_a_client_that_never_reads_is_ended(world: &World) {
    let stage = Setup::standard().limit("stallTimeout", "300 ms").start(world);
    let mut client = open(&stage);
    client.stop_reading(4096);
    let message = Frame::whole(BINARY, &[7; 60_000]).masked();
    // More than two socket buffers of an operating system.
    client.flood(&message, 400);
    stage.wait_until("the end", |stage| stage.gateway().stats().sockets == 0);
    assert_eq!(stage.closings(1)[0].code, 1013);
}

/// The log says how a socket ended and how much passed.
pub fn e17_the_end_of_a_socket_is_logged(world: &World) {
    let (stage, mut client) = opened(world);
    client.expect_echo(&Frame::text("twelve bytes"));
    client.send_frame(&Frame::close(1000, ""));
    client.read_message();
    client.expect_eof();
    let closed = &stage.closings(1)[0];
    assert_eq!((closed.code, &*closed.service), (1000, "echo"));
    assert_eq!(
        (
            closed.messages_in,
            closed.messages_out,
            closed.bytes_in,
            closed.bytes_out
        ),
        (1, 1, 12, 12)
    );
    assert_eq!(closed.request, stage.decisions(1)[0].request);
}

/// A ping goes out in time; who does not answer it is ended.
pub fn m18_a_client_that_answers_no_ping_is_ended(world: &World) {
    let setup = Setup::standard()
        .service("pingInterval", "200 ms")
        .limit("closeTimeout", "200 ms")
        .limit("closeTimeout", "200 ms");
    let stage = setup.start(world);
    let mut client = open(&stage);
    assert_eq!(client.read_frame().opcode, PING);
    client.wait_at_most(Duration::from_secs(60));
    client.read_to_end();
}
