//! What becomes of a connection that is quiet for a while: it goes on with another thread. In a process
//! of its own, because threads are counted.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
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

const CONFIG: &str = r#"{
    "servers": [{"id": "plain", "listen": ["127.0.0.1:0"], "plaintext": true}],
    "services": {"echo": {"type": "echo", "accept": "/ws", "public": true}}
}"#;

/// Threads of this process that quiet connections are on, or were and wait for the next.
fn hosts() -> usize {
    let names = fs::read_dir("/proc/self/task").unwrap().map(|task| {
        // A thread may end meanwhile.
        fs::read_to_string(task.unwrap().path().join("comm")).unwrap_or_default()
    });
    names.filter(|name| name.trim() == "connection").count()
}

fn wait_until(done: impl Fn() -> bool, what: &str) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "{what}");
        thread::yield_now();
    }
}

/// Opens a socket.
fn open(server: &Server) -> TcpStream {
    let mut client = TcpStream::connect(server.addresses()[0]).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    client.write_all(request).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "));
    client
}

/// Has a message of many reads echoed, so that every buffer is used.
fn echo(client: &mut TcpStream) {
    // A masked binary frame with the mask 0.
    let mut frame = b"\x82\xfe\xf0\x00\0\0\0\0".to_vec();
    frame.extend([b'x'; 0xf000]);
    client.write_all(&frame).unwrap();
    let mut answer = vec![0; 4 + 0xf000];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer[..4], b"\x82\x7e\xf0\x00");
    assert!(answer[4..].iter().all(|byte| *byte == b'x'));
}

#[test]
fn a_quiet_connection_goes_on_with_a_thread_of_its_own_and_its_panic_ends_it_alone() {
    let mut files = MemoryFiles::new();
    files.insert("/c/countersign.json", CONFIG);
    let config = Config::load(Path::new("/c/countersign.json"), &mut files).unwrap();
    let gateway = Gateway::new(config, Seed::new([7; 32]), capacity()).unwrap();
    let panics = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&panics);
    let log = move |note: &Note, _| {
        if let Note::Panicked = note {
            *counted.lock().unwrap() += 1;
        }
        // The last word on a connection, in its loop and on its thread.
        assert!(!matches!(note, Note::Closed(_)), "expected in this test");
    };
    let options = Options {
        clock: Clock::start(),
        log: Arc::new(log),
        config: None,
        files: Box::new(files),
    };
    let server = Server::start(Arc::clone(&gateway), options).unwrap();

    let mut sockets: Vec<_> = (0..3).map(|_| open(&server)).collect();
    wait_until(|| hosts() == 3, "quiet connections stay where they were");
    sockets.iter_mut().for_each(echo);

    drop(sockets.pop());
    wait_until(|| *panics.lock().unwrap() == 1, "nothing panicked");
    wait_until(|| gateway.stats().connections == 2, "a place is lost");
    sockets.iter_mut().for_each(echo);
    // Its thread has survived, and takes the next one when that is quiet.
    sockets.push(open(&server));
    thread::sleep(Duration::from_secs(1));
    sockets.iter_mut().for_each(echo);
    assert_eq!(hosts(), 3);

    let begin = Instant::now();
    server.stop();
    assert!(begin.elapsed() < Duration::from_secs(5));
    assert_eq!(gateway.stats().connections, 0);
    wait_until(|| hosts() == 0, "a thread is left");
}
