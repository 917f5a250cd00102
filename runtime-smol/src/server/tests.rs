#![allow(clippy::unwrap_used)]

use std::future::Future;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::pin::pin;
use std::sync::atomic::AtomicUsize;
use std::task::{Context, Wake, Waker};

use countersign_core::config::{Config, MemoryFiles};
use countersign_core::entropy::Seed;

use super::*;
use crate::reactor::{Kind, Registration, Way};

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

/// What a server shares, with a log.
fn shared(log: impl Fn(&Note) + Send + Sync + 'static) -> Arc<Shared> {
    let mut files = MemoryFiles::new();
    files.insert("/c/countersign.json", CONFIG);
    let config = Config::load(Path::new("/c/countersign.json"), &mut files).unwrap();
    Arc::new(Shared {
        gateway: Gateway::new(config, Seed::new([7; 32]), capacity()).unwrap(),
        clock: Clock::start(),
        log: Arc::new(move |note, _| log(note)),
        ending: Mutex::default(),
        ended: Condvar::new(),
    })
}

#[test]
fn a_busy_connection_lets_others_hear_of_what_came_before_it_goes_on() {
    #[derive(Default)]
    struct Woken(AtomicUsize);
    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    const REQUESTS: usize = 90;
    let reactor = Reactor::of_thread();
    let answered = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&answered);
    let shared = shared(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
    });
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let local = listener.local_addr().unwrap();
    let mut client = TcpStream::connect(local).unwrap();
    let (socket, remote) = listener.accept().unwrap();
    socket.set_nonblocking(true).unwrap();
    let now = shared.clock.now();
    let admission = shared.gateway.admit(0, remote.ip(), now).unwrap();
    let peer = Peer {
        server: 0,
        remote,
        local,
    };
    let stream = Stream::accepted(Socket::new(socket, &reactor).unwrap());
    let connection = Connection::client(admission, peer, now);
    let mut busy = pin!(Drive::new(
        connection,
        Some(stream),
        Arc::clone(&shared),
        Arc::clone(&reactor)
    ));
    // All in one read, and a note for each: more than one turn of it.
    client
        .write_all(&b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(REQUESTS))
        .unwrap();
    reactor.look();
    // Somebody else on this thread waits for something that is there by now.
    let (ours, theirs) = UnixStream::pair().unwrap();
    let other = Registration::new(&reactor, &ours, Kind::Open).unwrap();
    let [busy_woken, other_woken] = [(); 2].map(|()| Arc::new(Woken::default()));
    let waker = Waker::from(Arc::clone(&other_woken));
    assert!(other.poll(&Context::from_waker(&waker), Way::In).is_pending());
    (&theirs).write_all(b"x").unwrap();
    let waker = Waker::from(Arc::clone(&busy_woken));
    assert!(busy.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    assert!(busy_woken.0.load(Ordering::Relaxed) > 0, "it has more to do");
    let answered = answered.load(Ordering::Relaxed);
    assert!((1..REQUESTS).contains(&answered), "{answered} in its first turn");
    assert_eq!(other_woken.0.load(Ordering::Relaxed), 1, "nobody looked");
}

#[test]
fn a_panic_is_told_and_goes_no_further_even_if_telling_panics() {
    let told = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&told);
    let shared = shared(move |note| {
        assert!(matches!(note, Note::Panicked));
        counted.fetch_add(1, Ordering::Relaxed);
        panic!("expected in this test");
    });
    assert_eq!(shared.guarded(|| 7), Some(7));
    assert_eq!(told.load(Ordering::Relaxed), 0);
    assert_eq!(
        shared.guarded(|| -> u8 { panic!("expected in this test, too") }),
        None
    );
    assert_eq!(told.load(Ordering::Relaxed), 1);
}

#[test]
fn a_log_that_panics_when_nothing_can_be_accepted_does_not_end_accepting() {
    let failures = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&failures);
    let shared = shared(move |note| {
        if matches!(note, Note::AcceptFailed { .. }) {
            counted.fetch_add(1, Ordering::Relaxed);
            panic!("expected in this test");
        }
    });
    let bound = Arc::new(Listeners::bind(&shared.gateway).unwrap().0.remove(0));
    let socket = Arc::clone(&bound.socket);
    // Nobody can be accepted from what does not listen.
    rustix::net::shutdown(&*socket, rustix::net::Shutdown::Both).unwrap();
    let worker = Worker::new(Clock::start()).unwrap();
    let reactor = &worker.reactor;
    let crew = Crew {
        reactor: Arc::clone(reactor),
        own: 0,
        workers: Arc::from([Arc::downgrade(&worker)]),
    };
    let accepting = async {
        accept(bound, shared, crew).await;
        false
    };
    let moment = Duration::from_millis(1);
    let watching = async {
        while failures.load(Ordering::Relaxed) == 0 {
            reactor.pause(moment).await;
        }
        rustix::net::listen(&*socket, BACKLOG).unwrap();
        // It may have another port now.
        let _client = TcpStream::connect(socket.local_addr().unwrap()).unwrap();
        while reactor.connections.load(Ordering::Relaxed) == 0 {
            reactor.pause(moment).await;
        }
        true
    };
    let late = async {
        reactor.pause(PATIENCE).await;
        false
    };
    assert!(reactor.block_on(or(watching, or(accepting, late))));
}
