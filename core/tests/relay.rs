//! The relay from outside: what waits is bounded both ways, and no grant races a revocation.

#![allow(clippy::unwrap_used)]

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use countersign_core::auth::jwt::sign_hs256;
use countersign_core::config::{Config, MemoryFiles};
use countersign_core::connection::{Connection, Input, Peer, Step};
use countersign_core::entropy::Seed;
use countersign_core::gateway::{Capacity, Gateway};
use countersign_core::leg::{Leg, Opened};
use countersign_core::note::Note;
use countersign_core::time::{Moment, Now, UnixTime};
use serde_json::json;

const CONFIG: &str = r#"{
  "servers": [{"id": "edge", "listen": ["127.0.0.1:0"], "plaintext": true}],
  "roles": ["admin"],
  "realms": {"demo": {"loginModules": [
      {"type": "jwt", "success": "sufficient", "roles": ["group"],
       "verification": {"secret": {"HS256": {"keyFile": "token.key"}}}}]}},
  "services": {
    "app": {"type": "proxy", "accept": "/app", "realm": "demo", "connect": "ws://127.0.0.1:9000/"},
    "raw": {"type": "proxy", "accept": "/raw", "realm": "demo", "connect": "tcp://127.0.0.1:9000"}}
}"#;

const SECRET: &[u8] = b"a test's secret of 32 bytes .....";

const START: Now = Now {
    at: Moment::START,
    unix: UnixTime::from_secs(1_800_000_000),
};

/// What may wait on one leg, in bytes: the high-water mark and the last read.
const WAITING: usize = 64 * 1024 + READ;

/// One read, in bytes.
const READ: usize = 16 * 1024;

const ACCEPTED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

fn files() -> MemoryFiles {
    let mut files = MemoryFiles::new();
    files.insert("countersign.json", CONFIG);
    files.insert("token.key", SECRET);
    files
}

fn gateway(files: &mut MemoryFiles) -> Arc<Gateway> {
    let config = Config::load(Path::new("countersign.json"), files).unwrap();
    let capacity = Capacity {
        cores: 1,
        connections: 10,
        descriptors_per_connection: 1,
    };
    Gateway::new(config, Seed::new([7; 32]), capacity).unwrap()
}

fn upgrade(path: &str) -> String {
    let claims = json!({"sub": "alice", "exp": START.unix.as_secs() + 60});
    let token = sign_hs256(&claims, SECRET);
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Authorization: Bearer {token}\r\n\r\n"
    )
}

/// Both ends of one connection, and nothing between them.
struct Ends {
    connection: Connection,
    now: Now,
    upstream: Option<Leg>,
    dials: usize,
    drops: usize,
    notes: Vec<Note>,
    closed: bool,
}

impl Ends {
    fn of(gateway: &Arc<Gateway>) -> Self {
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let peer = Peer {
            server: 0,
            remote: (address, 40_000).into(),
            local: (address, 8443).into(),
        };
        Self {
            connection: Connection::client(gateway.admit(0, address, START).unwrap(), peer, START),
            now: START,
            upstream: None,
            dials: 0,
            drops: 0,
            notes: Vec::new(),
            closed: false,
        }
    }

    /// Steps until there is nothing to do.
    fn settle(&mut self) {
        loop {
            match self.connection.step(self.now) {
                Step::Wait(_) => return,
                Step::Dial(dial) => {
                    self.upstream = Some(dial.leg);
                    self.dials += 1;
                }
                Step::Drop(_) => self.drops += 1,
                Step::Note(note) => self.notes.push(note),
                Step::Compute(_) | Step::Secure(..) | Step::Hangup(_) => {}
                Step::Closed => {
                    self.closed = true;
                    return;
                }
            }
        }
    }

    fn input(&mut self, input: Input<'_>) {
        self.connection.handle(self.now, input);
        self.settle();
    }

    fn wants(&mut self, leg: Leg) -> bool {
        let step = self.connection.step(self.now);
        matches!(step, Step::Wait(wait) if wait.wants_read(leg))
    }

    /// Takes what waits for a leg, at most `most` bytes.
    fn take(&mut self, leg: Leg, most: usize) -> Vec<u8> {
        let mut out = Vec::new();
        while out.len() < most {
            let Step::Wait(wait) = self.connection.step(self.now) else {
                break;
            };
            let chunk = wait.outgoing(leg).to_vec();
            let chunk = &chunk[..chunk.len().min(most - out.len())];
            if chunk.is_empty() {
                break;
            }
            out.extend_from_slice(chunk);
            self.input(Input::Sent(leg, chunk.len()));
        }
        out
    }

    /// Opens a socket at `path`.
    fn open(gateway: &Arc<Gateway>, path: &str) -> (Self, Leg) {
        let mut ends = Self::of(gateway);
        ends.input(Input::Data(Leg::CLIENT, upgrade(path).as_bytes()));
        let leg = ends.upstream.unwrap();
        ends.input(Input::Dialed(leg, Ok(Opened::default())));
        ends.take(leg, usize::MAX);
        if path == "/app" {
            ends.input(Input::Data(leg, ACCEPTED.as_bytes()));
        }
        let answer = ends.take(Leg::CLIENT, usize::MAX);
        assert!(answer.starts_with(b"HTTP/1.1 101"));
        (ends, leg)
    }

    fn status(&mut self) -> String {
        let answer = self.take(Leg::CLIENT, usize::MAX);
        let answer = String::from_utf8(answer).unwrap();
        answer.split(' ').nth(1).unwrap_or("none").to_owned()
    }
}

/// A masked frame with a payload of zeros under a mask of zeros.
fn masked(opcode: u8, length: u64) -> Vec<u8> {
    let mut bytes = vec![0x80 | opcode, 0xFF];
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.resize(bytes.len() + 4 + usize::try_from(length).unwrap(), 0);
    bytes
}

#[test]
fn e15_what_waits_for_either_side_of_a_relay_is_bounded() {
    let gateway = gateway(&mut files());
    for path in ["/app", "/raw"] {
        let (mut ends, upstream) = Ends::open(&gateway, path);
        // Neither side takes anything; each sends for as long as it is read.
        let from_client = masked(0x2, 1_000_000);
        let mut from_client = from_client.chunks(READ).cycle();
        let frame = [&[0x82, 127, 0, 0, 0, 1, 0, 0, 0, 0][..], &[7; READ]].concat();
        let (mut sent, mut got) = ([0, 0], 0);
        while sent[0] < 10_000_000 && ends.wants(Leg::CLIENT) {
            let part = from_client.next().unwrap();
            ends.input(Input::Data(Leg::CLIENT, part));
            sent[0] += part.len();
        }
        while sent[1] < 10_000_000 && ends.wants(upstream) {
            ends.input(Input::Data(upstream, &frame[..READ]));
            sent[1] += READ;
        }
        // A message is written to a stream of bytes when it is whole.
        let most = if path == "/app" {
            WAITING
        } else {
            WAITING + 1_000_000
        };
        for sent in sent {
            assert!(sent >= 64 * 1024 && sent <= most, "{path}: {sent}");
        }
        // A side that takes again lets the other side go on.
        assert!(!ends.wants(upstream) && (path == "/raw" || !ends.wants(Leg::CLIENT)));
        got += ends.take(Leg::CLIENT, 4 * READ).len();
        assert!(got > 0 && ends.wants(upstream));
        ends.take(upstream, usize::MAX);
        ends.take(Leg::CLIENT, usize::MAX);
        assert!(ends.wants(Leg::CLIENT));
    }
}

#[test]
fn e15_an_upstream_that_takes_nothing_ends_the_socket() {
    let gateway = gateway(&mut files());
    let (mut ends, upstream) = Ends::open(&gateway, "/app");
    ends.input(Input::Data(Leg::CLIENT, &masked(0x2, 1000)));
    ends.now = ends.now.after(Duration::from_secs(9));
    ends.settle();
    assert_eq!(ends.take(Leg::CLIENT, usize::MAX), b"");
    ends.take(upstream, 1);
    ends.now = ends.now.after(Duration::from_secs(9));
    ends.settle();
    assert_eq!(ends.take(Leg::CLIENT, usize::MAX), b"", "it took something");
    ends.now = ends.now.after(Duration::from_secs(2));
    ends.settle();
    assert_eq!(ends.take(Leg::CLIENT, usize::MAX), b"\x88\x0a\x03\xf3internal");
}

/// How new rules deny alice.
fn deny(files: &mut MemoryFiles, gateway: &Arc<Gateway>) {
    let denied = CONFIG.replace(
        r#""connect": "ws"#,
        r#""requireRoles": ["admin"], "connect": "ws"#,
    );
    files.insert("countersign.json", denied);
    gateway.reload(Path::new("countersign.json"), files, START);
}

#[test]
fn r14_no_grant_races_new_rules_before_the_dial_or_before_the_101() {
    for stage in 0..4 {
        let mut files = files();
        let gateway = gateway(&mut files);
        let mut ends = Ends::of(&gateway);
        let upgrade = upgrade("/app");
        ends.connection
            .handle(ends.now, Input::Data(Leg::CLIENT, upgrade.as_bytes()));
        if stage == 0 {
            // The dial is decided, but nobody was told of it.
            deny(&mut files, &gateway);
        }
        ends.settle();
        if let Some(upstream) = ends.upstream {
            if stage == 1 {
                deny(&mut files, &gateway);
            }
            ends.input(Input::Dialed(upstream, Ok(Opened::default())));
            if stage == 2 {
                deny(&mut files, &gateway);
            }
            ends.take(upstream, usize::MAX);
            ends.input(Input::Data(upstream, &ACCEPTED.as_bytes()[..50]));
            if stage == 3 {
                deny(&mut files, &gateway);
            }
            // The very bytes that accept arrive before anybody steps.
            ends.connection
                .handle(ends.now, Input::Data(upstream, &ACCEPTED.as_bytes()[50..]));
            ends.settle();
        }
        assert_eq!(ends.dials, usize::from(stage > 0), "at {stage}");
        assert_eq!(ends.drops, usize::from(stage > 0), "at {stage}");
        assert_eq!(ends.status(), "403", "at {stage}");
        assert_eq!(gateway.stats().sockets, 0);
    }
}

#[test]
fn r14_rules_that_still_allow_it_dial_anew() {
    let mut files = files();
    let gateway = gateway(&mut files);
    let mut ends = Ends::of(&gateway);
    ends.input(Input::Data(Leg::CLIENT, upgrade("/app").as_bytes()));
    let first = ends.upstream.unwrap();
    files.insert(
        "countersign.json",
        CONFIG.replace("127.0.0.1:9000/", "127.0.0.1:9001/"),
    );
    gateway.reload(Path::new("countersign.json"), &mut files, START);
    ends.input(Input::Dialed(first, Ok(Opened::default())));
    let second = ends.upstream.unwrap();
    assert!(first != second && ends.drops == 1);
    ends.input(Input::Dialed(second, Ok(Opened::default())));
    ends.take(second, usize::MAX);
    ends.input(Input::Data(second, ACCEPTED.as_bytes()));
    assert_eq!(ends.status(), "101");
}

#[test]
fn r14_a_token_that_ends_while_the_upstream_is_reached_is_refused() {
    let gateway = gateway(&mut files());
    let mut ends = Ends::of(&gateway);
    ends.input(Input::Data(Leg::CLIENT, upgrade("/app").as_bytes()));
    let upstream = ends.upstream.unwrap();
    ends.input(Input::Dialed(upstream, Ok(Opened::default())));
    ends.now.unix = ends.now.unix.after(Duration::from_secs(91));
    ends.input(Input::Data(upstream, ACCEPTED.as_bytes()));
    assert_eq!(ends.status(), "401");
    assert_eq!(ends.drops, 1);
}

#[test]
fn e18_a_shutdown_while_the_upstream_is_reached_is_503() {
    let gateway = gateway(&mut files());
    let mut ends = Ends::of(&gateway);
    ends.input(Input::Data(Leg::CLIENT, upgrade("/raw").as_bytes()));
    gateway.drain(START);
    ends.input(Input::Dialed(ends.upstream.unwrap(), Ok(Opened::default())));
    assert_eq!((ends.status().as_str(), ends.drops), ("503", 1));
}

#[test]
fn m02_a_relay_is_the_same_whatever_the_split() {
    let upstream_says = [
        ACCEPTED.as_bytes(),
        b"\x81\x02hi\x89\x00\x01\x03abc\x80\x01d\x88\x02\x0f\xa0",
    ]
    .concat();
    let client_says = [masked(0x1, 3), masked(0x8, 2)].concat();
    let run = |chunk: usize| {
        let gateway = gateway(&mut files());
        let mut ends = Ends::of(&gateway);
        for part in upgrade("/app").as_bytes().chunks(chunk) {
            ends.input(Input::Data(Leg::CLIENT, part));
        }
        let upstream = ends.upstream.unwrap();
        ends.input(Input::Dialed(upstream, Ok(Opened::default())));
        for part in upstream_says.chunks(chunk) {
            ends.input(Input::Data(upstream, part));
        }
        for part in client_says.chunks(chunk) {
            ends.input(Input::Data(Leg::CLIENT, part));
        }
        let there = ends.take(upstream, usize::MAX);
        ends.input(Input::Eof(upstream));
        let back = ends.take(Leg::CLIENT, usize::MAX);
        (there, back, format!("{:?}", ends.notes))
    };
    let whole = run(usize::MAX);
    assert!(whole.0.ends_with(&client_says) && whole.1.ends_with(b"\x88\x02\x0f\xa0"));
    for chunk in [1, 2, 3, 7, 50, 100] {
        assert_eq!(run(chunk), whole, "in parts of {chunk}");
    }
}

#[test]
fn r14_what_waits_for_the_upstream_when_the_right_ends_is_dropped() {
    let gateway = gateway(&mut files());
    let (mut ends, upstream) = Ends::open(&gateway, "/app");
    ends.input(Input::Data(upstream, b"\x82\x05ab"));
    ends.input(Input::Data(Leg::CLIENT, &masked(0x2, 1000)));
    ends.now.unix = ends.now.unix.after(Duration::from_secs(91));
    ends.settle();
    assert!(!ends.wants(Leg::CLIENT) && ends.wants(upstream));
    assert_eq!(ends.take(upstream, usize::MAX), b"");
    ends.input(Input::Data(upstream, b"cde\x82\x01f"));
    assert_eq!(
        ends.take(Leg::CLIENT, usize::MAX),
        b"\x82\x05abcde\x88\x0f\x0b\xb8token expired"
    );
    assert_eq!(ends.drops, 1);
}

#[test]
fn e15_a_relayed_connection_takes_the_descriptors_of_two() {
    let gateway = gateway(&mut files());
    assert!(gateway.fit_descriptors(64 + 20).is_none());
    assert!(gateway.fit_descriptors(64 + 19).is_some());
}
