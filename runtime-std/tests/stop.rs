//! A server that is stopped in the middle of its work. In a process of its own, because threads and descriptors
//! are counted.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use countersign_core::config::{Config, MemoryFiles};
use countersign_core::entropy::Seed;
use countersign_core::gateway::Gateway;
use countersign_core::note::Note;
use countersign_std::{Clock, Options, Server, capacity};

/// How long a test waits for what has to happen.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a stop may take although a dial would go on for minutes.
const STOP: Duration = Duration::from_secs(5);

/// How many clients want to be connected to an upstream at once.
const CLIENTS: usize = 20;

/// Returns how many entries a folder has.
fn count(folder: &str) -> usize {
    fs::read_dir(folder).unwrap().count()
}

/// Returns how many threads and descriptors this process has.
fn held() -> (usize, usize) {
    (count("/proc/self/task"), count("/proc/self/fd"))
}

/// Returns how many TCP connections to `port` are being opened (proc(5), state 02: SYN_SENT).
fn dials(port: u16) -> usize {
    let (table, remote) = (
        fs::read_to_string("/proc/net/tcp").unwrap(),
        format!(":{port:04X}"),
    );
    let lines = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    lines
        .filter(|line| line.len() > 3 && line[2].ends_with(&remote) && line[3] == "02")
        .count()
}

fn wait_until(done: impl Fn() -> bool, what: &str) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "{what}");
        thread::yield_now();
    }
}

/// A listener whose queue is full: whoever connects to it waits for an answer.
fn full() -> (TcpListener, Vec<TcpStream>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queued = Vec::new();
    while let Ok(client) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        queued.push(client);
    }
    (listener, queued)
}

fn start(upstream: u16, notes: &Arc<Mutex<Vec<Note>>>) -> Server {
    let config = format!(
        r#"{{
            "servers": [{{"id": "plain", "listen": ["127.0.0.1:0"], "plaintext": true}}],
            "services": {{"app": {{
                "type": "proxy", "accept": "/ws", "public": true, "connect": "ws://127.0.0.1:{upstream}/"
            }}}}
        }}"#
    );
    let mut files = MemoryFiles::new();
    files.insert("/c/countersign.json", config);
    let config = Config::load(Path::new("/c/countersign.json"), &mut files).unwrap();
    let gateway = Gateway::new(config, Seed::new([7; 32]), capacity()).unwrap();
    let heard = Arc::clone(notes);
    let options = Options {
        clock: Clock::start(),
        log: Arc::new(move |note, _| heard.lock().unwrap().push(note.clone())),
        config: None,
        files: Box::new(files),
    };
    Server::start(gateway, options).unwrap()
}

#[test]
fn a_stop_does_not_wait_for_dials_and_leaves_nothing() {
    let (listener, queued) = full();
    let port = listener.local_addr().unwrap().port();
    wait_until(|| dials(port) == 0, "an attempt of the test's own stays");
    let notes = Arc::default();
    let before = held();
    let server = start(port, &notes);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let mut client = TcpStream::connect(server.addresses()[0]).unwrap();
            client
                .write_all(
                    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                      Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
                )
                .unwrap();
            client
        })
        .collect();
    wait_until(|| dials(port) == CLIENTS, "not everybody's upstream is dialed");
    let begin = Instant::now();
    server.stop();
    assert!(begin.elapsed() < STOP, "it took {:?}", begin.elapsed());
    drop(clients);
    // Threads are told to go and go by themselves, with what they hold.
    wait_until(|| dials(port) == 0, "a dial goes on");
    wait_until(|| held() == before, "threads or descriptors are left");
    assert!(begin.elapsed() < STOP, "it took {:?}", begin.elapsed());
    let notes = notes.lock().unwrap();
    assert!(!notes.iter().any(|note| matches!(note, Note::Panicked)));
    drop(queued);
}
