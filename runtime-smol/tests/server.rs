//! What only a running server can show: refusals that arrive, deadlines, panics, the end.
#![allow(clippy::unwrap_used)]

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use countersign_core::config::{Config, MemoryFiles};
use countersign_core::entropy::Seed;
use countersign_core::gateway::Gateway;
use countersign_core::note::Note;
use countersign_smol::{Clock, Options, Server, capacity};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// How long a test waits for what has to happen.
const PATIENCE: Duration = Duration::from_secs(10);

const CONFIG: &str = r#"{
    "servers": [
        {"id": "plain", "listen": ["127.0.0.1:0"], "plaintext": true},
        {"id": "tls", "listen": ["127.0.0.1:0"], "serverCertificate": "server.pem"}
    ],
    "services": {"echo": {"type": "echo", "accept": "/ws", "public": true}},
    "limits": {"headTimeout": "500ms", "closeTimeout": "2 seconds"},
    "drainGrace": "5 seconds"
}"#;

struct Running {
    server: Server,
    gateway: Arc<Gateway>,
    notes: Arc<Mutex<Vec<Note>>>,
    trust: Arc<ClientConfig>,
}

/// Starts a server whose log panics at a request for `/panic`, in the loop of its connection.
fn start() -> Running {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let trust = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut files = MemoryFiles::new();
    files.insert("/c/countersign.json", CONFIG);
    files.insert(
        "/c/server.pem",
        made.cert.pem() + &made.signing_key.serialize_pem(),
    );
    let config = Config::load(Path::new("/c/countersign.json"), &mut files).unwrap();
    let gateway = Gateway::new(config, Seed::new([7; 32]), capacity()).unwrap();
    let notes = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&notes);
    let options = Options {
        clock: Clock::start(),
        log: Arc::new(move |note, _| {
            if let Note::Decision(decision) = note {
                assert_ne!(decision.path.as_deref(), Some("/panic"), "expected in this test");
            }
            heard.lock().unwrap().push(note.clone());
            assert!(!matches!(note, Note::Panicked), "expected in this test, too");
        }),
        config: None,
        files: Box::new(files),
    };
    let server = Server::start(Arc::clone(&gateway), options).unwrap();
    Running {
        server,
        gateway,
        notes,
        trust: Arc::new(trust),
    }
}

impl Running {
    fn plain(&self) -> TcpStream {
        let client = TcpStream::connect(self.server.addresses()[0]).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client
    }

    fn tls_socket(&self) -> TcpStream {
        let client = TcpStream::connect(self.server.addresses()[1]).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client
    }

    fn tls(&self) -> StreamOwned<ClientConnection, TcpStream> {
        let name = "localhost".try_into().unwrap();
        let session = ClientConnection::new(Arc::clone(&self.trust), name).unwrap();
        StreamOwned::new(session, self.tls_socket())
    }

    /// Waits until no connection is open.
    fn wait_for_none(&self) {
        let end = Instant::now() + PATIENCE;
        while self.gateway.stats().connections > 0 {
            assert!(Instant::now() < end, "a connection stays open");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Opens a socket and has one message echoed.
fn open(client: &mut (impl Read + Write)) {
    client
        .write_all(
            b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
              Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        .unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    assert!(
        head.starts_with(b"HTTP/1.1 101 "),
        "{}",
        String::from_utf8_lossy(&head)
    );
    echo(client);
}

fn echo(client: &mut (impl Read + Write)) {
    // A masked text frame with the mask 0.
    client.write_all(b"\x81\x85\0\0\0\0hello").unwrap();
    let mut answer = [0; 7];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"\x81\x05hello");
}

/// Sends a request that is refused with a body that nobody reads, and returns the answer.
fn refused(client: &mut (impl Read + Write)) -> io::Result<String> {
    client.write_all(b"POST /ws HTTP/1.1\r\nHost: localhost\r\nContent-Length: 200000\r\n\r\n")?;
    client.write_all(&[b'x'; 200_000])?;
    let mut answer = String::new();
    client.read_to_string(&mut answer)?;
    Ok(answer)
}

#[test]
fn r17_a_refusal_arrives_whole_although_input_is_unread() {
    let running = start();
    for answer in [refused(&mut running.plain()), refused(&mut running.tls())] {
        let answer = answer.unwrap();
        assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let length = head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .unwrap();
        assert_eq!(length.1, body.len().to_string());
    }
    running.wait_for_none();
}

#[test]
fn a_handshake_that_never_ends_ends_at_the_head_deadline() {
    let running = start();
    let mut silent = running.tls_socket();
    let mut slow = running.tls_socket();
    // The first bytes of a ClientHello.
    slow.write_all(&[0x16, 3, 1, 2, 0, 1]).unwrap();
    let begin = Instant::now();
    for client in [&mut silent, &mut slow] {
        let mut answer = Vec::new();
        // Whether it is an end or a reset: without TLS there is nobody to be told.
        let _ = client.read_to_end(&mut answer);
    }
    running.wait_for_none();
    // Well before `closeTimeout` would have passed as well.
    assert!((Duration::from_millis(400)..Duration::from_millis(1900)).contains(&begin.elapsed()));
}

#[test]
fn a_panic_ends_its_connection_alone() {
    // More than there are threads, each of which one of them could end.
    let victims = 4 * thread::available_parallelism().unwrap().get();
    let running = start();
    let mut witness = running.tls();
    open(&mut witness);
    for _ in 0..victims {
        let mut victim = running.plain();
        victim
            .write_all(b"GET /panic HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .unwrap();
        let mut answer = Vec::new();
        let _ = victim.read_to_end(&mut answer);
        echo(&mut witness);
        open(&mut running.plain());
    }
    let panics = || {
        let notes = running.notes.lock().unwrap();
        notes.iter().filter(|note| matches!(note, Note::Panicked)).count()
    };
    // Sockets are closed while the stack unwinds, before anybody can be told.
    let begin = Instant::now();
    while panics() < victims && begin.elapsed() < PATIENCE {
        thread::yield_now();
    }
    assert_eq!(panics(), victims);
    drop(witness);
    running.wait_for_none();
}

#[test]
fn tls_keys_are_changed_in_the_middle_of_an_echo() {
    let running = start();
    let mut client = running.tls();
    open(&mut client);
    for _ in 0..50 {
        // RFC 8446 section 4.6.3: with a request that the server does the same.
        client.conn.refresh_traffic_keys().unwrap();
        echo(&mut client);
        // Also between two messages of one write, and twice in a row.
        for _ in 0..3 {
            client.conn.refresh_traffic_keys().unwrap();
            client.conn.writer().write_all(b"\x81\x85\0\0\0\0hello").unwrap();
            client.conn.refresh_traffic_keys().unwrap();
        }
        client.flush().unwrap();
        let mut answers = [0; 3 * 7];
        client.read_exact(&mut answers).unwrap();
        assert_eq!(answers[..], b"\x81\x05hello".repeat(3));
    }
    drop(client);
    running.wait_for_none();
}

#[test]
fn draining_closes_sockets_with_1001_and_ends_when_the_last_is_gone() {
    let running = start();
    let mut client = running.tls();
    open(&mut client);
    let begin = Instant::now();
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut close = [0; 4];
            client.read_exact(&mut close).unwrap();
            assert_eq!((close[0], &close[2..]), (0x88, &1001_u16.to_be_bytes()[..]));
            let mut rest = vec![0; usize::from(close[1] & 0x7f) - 2];
            client.read_exact(&mut rest).unwrap();
            assert_eq!(rest, b"server shutting down");
            client.write_all(b"\x88\x82\0\0\0\0\x03\xe9").unwrap();
            assert_eq!(client.read(&mut [0; 8]).unwrap(), 0);
        });
        running.server.drain();
    });
    assert_eq!(running.gateway.stats().connections, 0);
    assert!(begin.elapsed() < Duration::from_secs(4));
    running.server.stop();
}

#[test]
fn stopping_lets_go_of_every_connection_at_once() {
    let running = start();
    let mut client = running.plain();
    open(&mut client);
    running.server.stop();
    assert_eq!(running.gateway.stats().connections, 0);
    let _ = client.read_to_end(&mut Vec::new());
}
