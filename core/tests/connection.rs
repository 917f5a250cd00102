//! The machine from outside: what a hostile client must not achieve.

#![allow(clippy::unwrap_used)]

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_core::auth::jwt::sign_hs256;
use countersign_core::auth::password::hash_password;
use countersign_core::config::{Config, MemoryFiles};
use countersign_core::connection::{Connection, Input, Peer, Step};
use countersign_core::entropy::Seed;
use countersign_core::gateway::{Capacity, Gateway};
use countersign_core::job::Job;
use countersign_core::leg::{Leg, TlsInfo};
use countersign_core::note::Note;
use countersign_core::service::{Context, Service};
use countersign_core::time::{Moment, Now, UnixTime};
use countersign_core::ws::Message;

const CONFIG: &str = r#"{
  "servers": [{"id": "edge", "listen": ["127.0.0.1:0"], "plaintext": true}],
  "realms": {"demo": {
    "carriers": ["authorization", "cookie:sid"],
    "loginModules": [
      {"type": "users", "success": "sufficient", "passwords": "users"},
      {"type": "jwt", "success": "sufficient",
       "verification": {"secret": {"HS256": {"keyFile": "token.key"}}}}]}},
  "services": {"echo": {"type": "echo", "accept": "/api/ws", "realm": "demo", "origins": []}}
}"#;

const SECRET: &[u8] = b"a test's secret of 32 bytes .....";

const UPGRADE: &str = "GET /api/ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// `alice:right` and `alice:wrong`.
const RIGHT: &str = "Authorization: Basic YWxpY2U6cmlnaHQ=\r\n";
const WRONG: &str = "Authorization: Basic YWxpY2U6d3Jvbmc=\r\n";

const START: Now = Now {
    at: Moment::START,
    unix: UnixTime::from_secs(1_800_000_000),
};

fn files() -> MemoryFiles {
    let mut files = MemoryFiles::new();
    files.insert("countersign.json", CONFIG);
    files.insert("token.key", SECRET);
    files.insert(
        "users",
        format!("alice:{}\n", hash_password(b"right", [7; 16]).unwrap()),
    );
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

/// A client of one connection.
struct Client {
    connection: Connection,
    now: Now,
    jobs: Vec<Job>,
    notes: Vec<Note>,
    closed: bool,
    hung_up: bool,
}

impl Client {
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
            jobs: Vec::new(),
            notes: Vec::new(),
            closed: false,
            hung_up: false,
        }
    }

    /// Steps until there is nothing to do, taking at most `take` bytes of what comes out.
    fn take(&mut self, take: usize) -> String {
        let mut out = Vec::new();
        loop {
            match self.connection.step(self.now) {
                Step::Wait(wait) => {
                    let chunk = wait.outgoing(Leg::CLIENT);
                    let chunk = chunk[..chunk.len().min(take - out.len())].to_vec();
                    if chunk.is_empty() {
                        break;
                    }
                    out.extend_from_slice(&chunk);
                    self.connection
                        .handle(self.now, Input::Sent(Leg::CLIENT, chunk.len()));
                }
                Step::Compute(job) => self.jobs.push(job),
                Step::Note(note) => self.notes.push(note),
                Step::Hangup(_) => self.hung_up = true,
                Step::Dial(_) | Step::Secure(..) | Step::Drop(_) => {}
                Step::Closed => {
                    self.closed = true;
                    break;
                }
            }
        }
        String::from_utf8_lossy(&out).into_owned()
    }

    fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.connection
            .handle(self.now, Input::Data(Leg::CLIENT, bytes.as_ref()));
    }

    /// Sends, runs what jobs there are, and returns what comes back.
    fn ask(&mut self, bytes: impl AsRef<[u8]>) -> String {
        self.send(bytes);
        let mut out = self.take(usize::MAX);
        while let Some(job) = self.jobs.pop() {
            self.connection.handle(self.now, Input::Computed(job.run()));
            out += &self.take(usize::MAX);
        }
        out
    }

    fn wants_read(&mut self) -> bool {
        let Step::Wait(wait) = self.connection.step(self.now) else {
            panic!("there is something to do");
        };
        wait.wants_read(Leg::CLIENT)
    }

    fn wait(&mut self, by: Duration) {
        self.now = self.now.after(by);
    }
}

fn token() -> String {
    let claims = serde_json::json!({"sub": "alice", "exp": START.unix.as_secs() + 3600});
    sign_hs256(&claims, SECRET)
}

fn socket(gateway: &Arc<Gateway>) -> Client {
    let mut client = Client::of(gateway);
    let answer = client.ask(format!("{UPGRADE}Authorization: Bearer {}\r\n\r\n", token()));
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    client
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        0..126 => frame.push(0x80 | payload.len() as u8),
        126..65536 => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(payload.len() as u16).to_be_bytes());
        }
        _ => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

#[test]
fn r07_a_refusal_behind_a_password_job_is_sent_though_it_closes() {
    let mut client = Client::of(&gateway(&mut files()));
    for attempt in 1..=3 {
        let answer = client.ask(format!("{UPGRADE}{WRONG}\r\n"));
        assert!(answer.starts_with("HTTP/1.1 401 "), "{attempt}: {answer:?}");
        assert_eq!(answer.contains("Connection: close"), attempt == 3);
    }
    assert!(client.hung_up && !client.closed);
}

/// RFC 8446 section 6.1: TLS is ended in order also for who has ended its own side already; a plain stream
/// has nothing more to say then.
#[test]
fn r02_who_ended_its_side_before_the_answer_was_out_hears_the_end_of_tls() {
    for tls in [true, false] {
        let mut files = files();
        if tls {
            let secured = CONFIG.replace("\"plaintext\": true", "\"serverCertificate\": \"server.pem\"");
            let key = STANDARD.encode(include_bytes!("data/keys/p256.pk8.der"));
            let key = format!("-----BEGIN PRIVATE KEY-----\n{key}\n-----END PRIVATE KEY-----\n");
            files.insert("countersign.json", secured);
            files.insert(
                "server.pem",
                include_str!("data/keys/p256.cert.pem").to_owned() + &key,
            );
        }
        let mut client = Client::of(&gateway(&mut files));
        if tls {
            let secured = Input::Secured(Leg::CLIENT, TlsInfo::default());
            client.take(0);
            client.connection.handle(START, secured);
        }
        client.send("GET /elsewhere HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        assert_eq!(client.take(5), "HTTP/");
        client.connection.handle(START, Input::Eof(Leg::CLIENT));
        assert!(!client.hung_up && !client.closed);
        assert!(client.take(usize::MAX).starts_with("1.1 404 "));
        assert_eq!((client.hung_up, client.closed), (tls, true));
    }
}

#[test]
fn r05_a_check_that_takes_too_long_is_answered() {
    let mut client = Client::of(&gateway(&mut files()));
    client.send(format!("{UPGRADE}{RIGHT}\r\n"));
    assert_eq!(client.take(usize::MAX), "");
    client.wait(Duration::from_secs(10));
    let answer = client.take(usize::MAX);
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer:?}");
    assert!(client.hung_up && !client.closed);
}

#[test]
fn e16_new_rules_hold_for_a_request_on_a_connection_that_waited() {
    let mut files = files();
    let gateway = gateway(&mut files);
    let (mut fresh, mut kept) = (Client::of(&gateway), Client::of(&gateway));
    assert!(kept.ask(format!("{UPGRADE}\r\n")).starts_with("HTTP/1.1 401 "));
    files.insert("token.key", &b"another secret, also 32 bytes long"[..]);
    let notes = gateway.reload(Path::new("countersign.json"), &mut files, START);
    assert!(matches!(notes.as_slice(), [Note::Reloaded]), "{notes:?}");
    for client in [&mut fresh, &mut kept] {
        let answer = client.ask(format!("{UPGRADE}Authorization: Bearer {}\r\n\r\n", token()));
        assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    }
}

#[test]
fn e16_a_password_that_is_being_checked_is_not_granted_by_rules_that_are_gone() {
    let mut files = files();
    let gateway = gateway(&mut files);
    let mut client = Client::of(&gateway);
    client.send(format!("{UPGRADE}{RIGHT}\r\n"));
    assert_eq!(client.take(usize::MAX), "");
    files.insert(
        "users",
        format!("bob:{}\n", hash_password(b"right", [8; 16]).unwrap()),
    );
    let notes = gateway.reload(Path::new("countersign.json"), &mut files, START);
    assert!(matches!(notes.as_slice(), [Note::Reloaded]), "{notes:?}");
    let answer = client.ask("");
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer:?}");
}

#[test]
fn r03_a_malformed_cookie_does_not_decide_beside_an_explicit_credential() {
    let gateway = gateway(&mut files());
    let request = format!("{UPGRADE}Cookie: sid=\"a b\"\r\n");
    let answer = Client::of(&gateway).ask(format!(
        "{request}Origin: http://localhost:8443\r\nAuthorization: Bearer {}\r\n\r\n",
        token()
    ));
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    let answer = Client::of(&gateway).ask(format!("{request}Origin: http://localhost:8443\r\n\r\n"));
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

/// Takes every message and says nothing.
struct Mute;

impl Service for Mute {
    fn message(&mut self, _: &mut Context<'_>, _: Message) {}
}

#[test]
fn e15_the_memory_of_a_message_that_nobody_answers_comes_back() {
    let gateway = gateway(&mut files());
    let free = gateway.stats().message_memory_free;
    gateway.replace_service("echo", |_| Box::new(Mute));
    let mut client = socket(&gateway);
    client.send(frame(0x82, &[0; 500_000]));
    assert_eq!(client.take(usize::MAX), "");
    assert_eq!(gateway.stats().message_memory_free, free);
}

#[test]
fn e15_a_slow_reader_is_not_idle() {
    let mut client = socket(&gateway(&mut files()));
    client.send(frame(0x82, &[0; 900_000]));
    let mut taken = 0;
    // 9000 bytes a second: the pong cannot come before the message was read.
    while taken < 900_000 {
        let bytes = client.take(9_000).len();
        assert!(
            bytes > 0 && !client.closed && !client.hung_up,
            "after {taken} bytes"
        );
        taken += bytes;
        client.wait(Duration::from_secs(1));
    }
    assert!(client.wants_read());
}

#[test]
fn e17_a_socket_whose_client_does_not_answer_our_close_has_its_duration_logged() {
    let gateway = gateway(&mut files());
    let mut client = socket(&gateway);
    client.wait(Duration::from_secs(7));
    gateway.drain(client.now);
    assert!(client.take(usize::MAX).ends_with("server shutting down"));
    client.wait(Duration::from_secs(5));
    client.take(usize::MAX);
    assert!(client.closed);
    let Some(Note::Closed(closed)) = client.notes.last() else {
        panic!("{:?}", client.notes);
    };
    assert_eq!((closed.code, closed.duration), (1001, Duration::from_secs(12)));
}

#[test]
fn e16_a_bad_file_is_reported_once_though_a_signal_found_it() {
    let mut files = files();
    let gateway = gateway(&mut files);
    files.insert("users", "alice:clear text\n");
    let notes = gateway.reload(Path::new("countersign.json"), &mut files, START);
    assert!(matches!(notes.as_slice(), [Note::ReloadFailed(_)]), "{notes:?}");
    let notes = gateway.refresh(&mut files, START.after(Duration::from_secs(2)));
    assert!(notes.is_empty(), "{notes:?}");
}

#[test]
fn r02_an_absolute_https_target_without_tls_is_misdirected() {
    let gateway = gateway(&mut files());
    for (target, status) in [
        ("https://localhost:443/api/ws", 421),
        ("WSS://localhost:443/api/ws", 421),
        ("http://localhost:443/api/ws", 401),
        ("ws://localhost:443/api/ws", 401),
    ] {
        let request = UPGRADE
            .replace("/api/ws", target)
            .replace("localhost\r", "localhost:443\r");
        let answer = Client::of(&gateway).ask(format!("{request}\r\n"));
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{target}: {answer}"
        );
    }
}
