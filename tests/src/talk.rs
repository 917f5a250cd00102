//! What clients say: conversations to be split, cut, mixed and mutated.

use crate::client::{BINARY, CONTINUATION, Frame, PING, Request, TEXT, get, upgrade};
use crate::keys::Token;
use crate::random::Random;
use crate::sim::START;
use crate::suite::head::malformed;

/// A token for alice that is valid in a simulated run.
pub fn token() -> String {
    Token::new("alice", START).text()
}

/// A right upgrade.
pub fn granted() -> Request {
    upgrade("/api/ws").bearer(&token())
}

/// Requests that are refused without a 101, whatever follows.
pub fn refused() -> Vec<Vec<u8>> {
    let more = [
        upgrade("/api/ws"),
        upgrade("/nowhere"),
        upgrade("/api/ws").bearer("opaque"),
        upgrade("/api/ws").field("Authorization", "Bearer"),
        upgrade("/api/ws").basic("alice", "wrong"),
        upgrade("/api/ws").basic("nobody", "wrong"),
        upgrade("/api/ws").field("Authorization", "Basic !"),
        upgrade("/api/ws").origin("https://evil.example"),
        upgrade("/api/ws").with("Sec-WebSocket-Version", "9"),
        get("/api/ws"),
    ];
    let heads = malformed().map(|(_, head, _)| head);
    heads.chain(more.iter().map(Request::bytes)).collect()
}

/// Upgrades that are granted, with what is said on the socket.
pub fn sockets() -> Vec<Vec<u8>> {
    sockets_at("/api/ws")
}

/// The same at another path.
fn sockets_at(path: &str) -> Vec<Vec<u8>> {
    let fragments = [
        Frame {
            last: false,
            opcode: TEXT,
            payload: b"one ".to_vec(),
        },
        Frame::whole(PING, b"?"),
        Frame {
            last: true,
            opcode: CONTINUATION,
            payload: b"two".to_vec(),
        },
    ];
    let close = Frame::close(1000, "bye");
    let frames: [Vec<Frame>; 9] = [
        vec![],
        vec![Frame::text("hello")],
        vec![Frame::text(""), Frame::whole(BINARY, &[0xFF; 300])],
        fragments.to_vec(),
        vec![close.clone()],
        vec![Frame::text("last words"), close.clone(), Frame::text("late")],
        vec![Frame::whole(TEXT, b"\xFF")],
        vec![Frame::whole(BINARY, &[7; 20_000]), close],
        vec![Frame {
            last: true,
            opcode: 0x3,
            payload: vec![],
        }],
    ];
    let spoken = frames
        .iter()
        .map(|frames| frames.iter().flat_map(Frame::masked).collect::<Vec<_>>());
    let granted = upgrade(path).bearer(&token());
    spoken.map(|bytes| granted.clone().then(&bytes).bytes()).collect()
}

/// Something that a client might say where there are a broadcast at `/chat`, a proxy at `/app` and files
/// below `/files`: messages for others, and several requests on one connection.
pub fn anything_with_services(random: &mut Random, deed: usize) -> Vec<u8> {
    match random.below(16) {
        // Most of what comes later is for a socket that is open.
        0..12 if deed > 0 => {
            let frame = Frame::whole(BINARY, &vec![7; random.below(5_000)]);
            frame.masked().repeat(random.between(1, 10))
        }
        0..8 => random.pick(&sockets_at("/chat")[..4]).clone(),
        8..12 => random.pick(&sockets_at("/app")).clone(),
        12..15 => {
            let paths = [
                "/files/",
                "/files/large",
                "/files/none",
                "/files/../x",
                "/files/deep",
            ];
            let some = (0..random.between(1, 3)).flat_map(|_| get(paths[random.below(paths.len())]).bytes());
            some.collect()
        }
        _ => anything(random),
    }
}

/// Something that a client might say, right or wrong, whole or cut.
pub fn anything(random: &mut Random) -> Vec<u8> {
    let mut bytes = match random.below(6) {
        0 | 1 => random.pick(&sockets()).clone(),
        2 | 3 => random.pick(&refused()).clone(),
        4 => granted().basic("alice", "correct horse").without("x").bytes(),
        _ => {
            let length = random.below(64);
            random.bytes(length)
        }
    };
    match random.below(4) {
        0 => bytes.truncate(random.below(bytes.len() + 1)),
        1 if !bytes.is_empty() => {
            let at = random.below(bytes.len());
            bytes[at] = random.next() as u8;
        }
        _ => {}
    }
    bytes
}
