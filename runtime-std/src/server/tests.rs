// What is not the expected event fails a test, whatever it is.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm)]

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Instant;

use countersign_core::config::{Config, MemoryFiles};
use countersign_core::entropy::Seed;

use super::*;
use crate::capacity;

/// How long a test waits for what has to happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server whose Redis refuses every connection, and which panics whenever it says so.
fn start() -> (Server, Arc<Mutex<Vec<Note>>>) {
    let mut files = MemoryFiles::new();
    files.insert(
        "/c/countersign.json",
        r#"{
            "servers": [{"id": "plain", "listen": ["127.0.0.1:0"], "plaintext": true}],
            "services": {"echo": {"type": "echo", "accept": "/ws", "public": true}},
            "bus": {"redis": "redis://127.0.0.1:1", "secretFile": "secret"}
        }"#,
    );
    files.insert("/c/secret", "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2U");
    let config = Config::load(Path::new("/c/countersign.json"), &mut files).unwrap();
    let gateway = Gateway::new(config, Seed::new([7; 32]), capacity()).unwrap();
    let notes = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&notes);
    let options = Options {
        clock: Clock::start(),
        log: Arc::new(move |note, _| {
            heard.lock().unwrap().push(note.clone());
            assert!(!matches!(note, Note::Warning { .. }), "expected in this test");
        }),
        config: None,
        files: Box::new(files),
    };
    (Server::start(gateway, options).unwrap(), notes)
}

fn count(notes: &Mutex<Vec<Note>>, wanted: impl Fn(&Note) -> bool) -> usize {
    notes.lock().unwrap().iter().filter(|note| wanted(note)).count()
}

#[test]
fn a_keeper_that_panics_leaves_no_descriptor_behind() {
    let (server, notes) = start();
    let end = Instant::now() + PATIENCE;
    while count(&notes, |note| matches!(note, Note::Panicked)) < 2 {
        assert!(Instant::now() < end, "the keeper is not begun anew");
        thread::sleep(Duration::from_millis(5));
    }
    // One of the next keeper, if it is there already.
    assert!(server.shared.open().mailboxes.len() <= 1);
}

#[test]
fn what_the_operating_system_refuses_is_said_once_in_a_while() {
    let (server, notes) = start();
    let listener = server.shared.gateway.listeners().remove(0);
    let full = io::Error::from(rustix::io::Errno::MFILE);
    for _ in 0..100 {
        server.shared.failed(&listener, &full);
    }
    assert_eq!(count(&notes, |note| matches!(note, Note::AcceptFailed { .. })), 1);
}

#[test]
fn whoever_comes_too_late_is_waited_for_no_longer_than_it_takes() {
    let (server, _) = start();
    let shared = &server.shared;
    let local = IpAddr::from(Ipv4Addr::LOCALHOST);
    let admission = shared.gateway.admit(0, local, shared.clock.now()).unwrap();
    let listening = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listening.local_addr().unwrap();
    let socket = TcpStream::connect(address).unwrap();
    shared.open().stopping = true;
    thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let begin = Instant::now();
            shared.wait_until_empty(PATIENCE);
            begin.elapsed()
        });
        // It sleeps as soon as it lets the lock go.
        while !shared.open().awaited {
            thread::yield_now();
        }
        let peer = Peer {
            server: 0,
            remote: address,
            local: address,
        };
        let listener = Arc::new(shared.gateway.listeners().remove(0));
        shared.greet(listener, socket, peer, admission);
        assert!(waiting.join().unwrap() < PATIENCE / 2);
    });
}
