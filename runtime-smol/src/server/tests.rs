#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::path::Path;

use countersign_core::config::{Config, MemoryFiles};
use countersign_core::entropy::Seed;

use super::*;

/// How long a test waits for what has to happen.
const PATIENCE: Duration = Duration::from_secs(10);

const CONFIG: &str = r#"{
    "servers": [{"id": "plain", "listen": ["127.0.0.1:0"], "plaintext": true}],
    "services": {"echo": {"type": "echo", "accept": "/ws", "public": true}}
}"#;

fn start() -> Server {
    let mut files = MemoryFiles::new();
    files.insert("/c/countersign.json", CONFIG);
    let config = Config::load(Path::new("/c/countersign.json"), &mut files).unwrap();
    let options = Options {
        clock: Clock::start(),
        log: Arc::new(|_, _| {}),
        config: None,
        files: Box::new(files),
    };
    let gateway = Gateway::new(config, Seed::new([7; 32]), capacity()).unwrap();
    Server::start(gateway, options).unwrap()
}

/// Has a request refused on a connection that stays open.
fn ask(client: &mut TcpStream) {
    client
        .write_all(b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"not found\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        answer.extend(byte);
    }
    assert!(answer.starts_with(b"HTTP/1.1 404 "));
}

#[test]
fn who_is_ahead_hands_over_to_who_has_fewest() {
    let all: Vec<_> = (0..3).map(|_| Worker::new(Clock::start()).unwrap()).collect();
    let workers: Arc<[_]> = all.iter().map(Arc::downgrade).collect();
    for own in 0..all.len() {
        let reactor = Arc::clone(&all[own].reactor);
        let workers = Arc::clone(&workers);
        let crew = Crew {
            reactor,
            own,
            workers,
        };
        // What the other two have, counted from the one behind the own.
        let next = |mine, one, other| {
            for (at, count) in [mine, one, other].into_iter().enumerate() {
                let worker = &all[(own + at) % all.len()];
                worker.reactor.connections.store(count, Ordering::Relaxed);
            }
            let next = crew.next().unwrap();
            (0..all.len()).find(|at| Arc::ptr_eq(&next, &all[(own + at) % all.len()]))
        };
        assert_eq!(next(AHEAD - 1, 0, 0), Some(0), "not ahead");
        assert_eq!(next(AHEAD, 1, 0), Some(2));
        assert_eq!(next(AHEAD, 0, 1), Some(1));
        assert_eq!(next(AHEAD, 1, 1), Some(0), "not far enough");
        assert_eq!(next(10 * AHEAD, 9 * AHEAD, 9 * AHEAD + 1), Some(1));
        assert_eq!(next(9 * AHEAD, 10 * AHEAD, 10 * AHEAD), Some(0));
    }
}

#[test]
fn what_is_handed_over_is_served_by_the_other_thread() {
    const CLIENTS: usize = 20;
    let server = start();
    for (busy, worker) in server.workers.iter().enumerate() {
        let Some(idle) = server.workers.get((busy + 1) % server.workers.len()) else {
            continue;
        };
        if Arc::ptr_eq(worker, idle) {
            // There is one core, and nobody to hand over to.
            return;
        }
        // All others have so many that whoever accepts hands over to one alone.
        let count = |worker: &Worker| worker.reactor.connections.load(Ordering::Relaxed);
        let before = count(idle);
        let others = || server.workers.iter().filter(|other| !Arc::ptr_eq(other, idle));
        for other in others() {
            other.reactor.connections.fetch_add(10 * AHEAD, Ordering::Relaxed);
        }
        let connect = || {
            let client = TcpStream::connect(server.addresses()[0]).unwrap();
            client.set_read_timeout(Some(PATIENCE)).unwrap();
            client
        };
        let mut clients: Vec<_> = (0..CLIENTS).map(|_| connect()).collect();
        for _ in 0..3 {
            clients.iter_mut().for_each(ask);
        }
        assert_eq!(count(idle) - before, CLIENTS);
        for other in others() {
            other.reactor.connections.fetch_sub(10 * AHEAD, Ordering::Relaxed);
        }
        drop(clients);
        let end = Instant::now() + PATIENCE;
        while count(idle) > before {
            assert!(Instant::now() < end, "a connection stays");
            thread::yield_now();
        }
    }
}
