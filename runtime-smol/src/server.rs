//! Binding, accepting, and the threads that everything runs on.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use async_executor::Executor;
use countersign_core::config::Files;
use countersign_core::connection::{Connection, Peer};
use countersign_core::gateway::{Gateway, Listener};
use countersign_core::note::Note;
use countersign_core::ops::{faults, program};
use countersign_core::time::Moment;
use futures_lite::future::{or, poll_fn};
use rustix::net::sockopt::set_tcp_nodelay;

use crate::capacity;
use crate::clock::Clock;
use crate::drive::Drive;
use crate::listener::Acceptor;
use crate::reactor::Reactor;
use crate::socket::Socket;
use crate::stream::Stream;

/// How many connections the operating system keeps ready while nobody accepts them.
const BACKLOG: i32 = 1024;

/// How long accepting pauses after an error: most of them, like a lack of descriptors, last.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// At most one line about failed accepts in this time.
const ACCEPT_NOTES: Duration = Duration::from_secs(1);

/// How many connections more than another thread's one may have before it hands over what it accepts. Handing
/// over wakes the other, and who accepted has the connection at hand.
const AHEAD: usize = 8;

/// How long the keeper is away after a fault.
const KEEPER_PAUSE: Duration = Duration::from_secs(1);

/// How often the gateway looks at its files and clocks.
const REFRESH: Duration = Duration::from_secs(2);

/// Where notes go. It must not wait.
pub type Log = Arc<dyn Fn(&Note, countersign_core::time::Now) + Send + Sync>;

/// How a gateway is served.
pub struct Options {
    /// The clock that the gateway was and will be told the time by.
    pub clock: Clock,
    /// Where notes go.
    pub log: Log,
    /// The configuration file that [`Server::reload`] reads again; none in the demo.
    pub config: Option<PathBuf>,
    /// Where the configuration and the files that it names are read from.
    pub files: Box<dyn Files + Send>,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// What all connections of a server need.
pub(crate) struct Shared {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) clock: Clock,
    pub(crate) log: Log,
    /// Somebody waits for the last connection.
    ending: Mutex<bool>,
    ended: Condvar,
}

impl Shared {
    /// Writes `note` to the log.
    pub(crate) fn note(&self, note: Note) {
        (self.log)(&note, self.clock.now());
    }

    /// Does `work` for one connection. Its panic is told, and is nobody else's: the executor would keep it to
    /// itself and end the task, which may be the one that accepts.
    pub(crate) fn guarded<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        let done = catch_unwind(AssertUnwindSafe(work)).ok();
        if done.is_none() {
            // The log may be what panicked.
            let _ = catch_unwind(AssertUnwindSafe(|| self.note(Note::Panicked)));
        }
        done
    }

    /// Tells whoever waits for the last connection that one is gone.
    pub(crate) fn departed(&self) {
        // Waking nobody is a system call too.
        if *self.ending.lock().unwrap_or_else(PoisonError::into_inner) {
            self.ended.notify_all();
        }
    }
}

/// A bound address that all threads accept from.
#[derive(Debug)]
struct Bound {
    listener: Listener,
    socket: Arc<TcpListener>,
    address: SocketAddr,
    /// When the log was last told that nothing can be accepted.
    noted: Mutex<Option<Moment>>,
}

impl Bound {
    /// Says whether the log is told at `now` that nothing can be accepted.
    fn notes(&self, now: Moment) -> bool {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        let due = noted.is_none_or(|last| now.since(last) >= ACCEPT_NOTES);
        if due {
            *noted = Some(now);
        }
        due
    }
}

/// The bound addresses of a gateway, on which nobody accepts yet.
#[derive(Debug)]
pub struct Listeners(Vec<Bound>);

impl Listeners {
    /// Binds every address that the configuration names, or none.
    ///
    /// # Errors
    /// The first address that could not be bound, and what to do about it.
    pub fn bind(gateway: &Gateway) -> io::Result<Self> {
        let bind = |listener: Listener| {
            // SO_REUSEADDR is set by the standard library.
            let socket = TcpListener::bind(listener.address)?;
            rustix::net::listen(&socket, BACKLOG)?;
            socket.set_nonblocking(true)?;
            // What is accepted has it from the listener. Without it only latency is lost.
            let _ = set_tcp_nodelay(&socket, true);
            let address = socket.local_addr()?;
            Ok((Arc::new(socket), address))
        };
        let bound = gateway.listeners().into_iter().map(|listener| {
            let (socket, address) =
                bind(listener.clone()).map_err(|error| faults::unbound(&listener, &error))?;
            Ok(Bound {
                listener,
                socket,
                address,
                noted: Mutex::default(),
            })
        });
        bound.collect::<io::Result<_>>().map(Self)
    }

    /// Returns the bound addresses with their real ports, in the order of the configuration.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.0.iter().map(|bound| bound.address).collect()
    }
}

/// What one thread runs. Its tasks only refer to it, or they would hold themselves.
struct Worker {
    reactor: Arc<Reactor>,
    executor: Executor<'static>,
}

impl Worker {
    fn new(clock: Clock) -> io::Result<Arc<Self>> {
        let (reactor, executor) = (Arc::new(Reactor::new(clock)?), Executor::new());
        Ok(Arc::new(Self { reactor, executor }))
    }
}

/// A running server. Dropping it ends every connection at once.
pub struct Server {
    shared: Arc<Shared>,
    addresses: Vec<SocketAddr>,
    /// Closing it stops the threads.
    running: async_channel::Sender<()>,
    threads: Vec<JoinHandle<()>>,
    /// One for each thread.
    workers: Vec<Arc<Worker>>,
    keeper: Option<(Sender<()>, JoinHandle<()>)>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("addresses", &self.addresses)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// Binds every address of `gateway` and serves it.
    ///
    /// # Errors
    /// What could not be bound, or which thread could not be started.
    pub fn start(gateway: Arc<Gateway>, options: Options) -> io::Result<Self> {
        let listeners = Listeners::bind(&gateway)?;
        Self::serve(listeners, gateway, options)
    }

    /// Serves `gateway` on its bound addresses, after a note about each of them.
    ///
    /// # Errors
    /// A thread could not be started.
    pub fn serve(listeners: Listeners, gateway: Arc<Gateway>, options: Options) -> io::Result<Self> {
        let (running, stopped) = async_channel::bounded(1);
        let mut server = Self {
            shared: Arc::new(Shared {
                gateway,
                clock: options.clock,
                log: options.log,
                ending: Mutex::new(false),
                ended: Condvar::new(),
            }),
            addresses: listeners.addresses(),
            running,
            threads: Vec::new(),
            workers: Vec::new(),
            keeper: None,
        };
        let clock = server.shared.clock;
        for _ in 0..capacity().cores.max(1) {
            server.workers.push(Worker::new(clock)?);
        }
        for (number, worker) in server.workers.iter().enumerate() {
            let (worker, stopped) = (Arc::clone(worker), stopped.clone());
            let run = move || {
                let _ = worker.reactor.block_on(worker.executor.run(stopped.recv()));
            };
            let thread = thread::Builder::new().name(format!("io-{number}"));
            server.threads.push(thread.spawn(run)?);
        }
        let (errands, inbox) = channel();
        let shared = Arc::clone(&server.shared);
        let keeper = thread::Builder::new()
            .name("keeper".to_owned())
            .spawn(move || keep(&shared, options.config, options.files, &inbox))?;
        server.keeper = Some((errands, keeper));
        if let Some(worker) = server.workers.first() {
            let ask = ask(Arc::clone(&server.shared), Arc::clone(&worker.reactor));
            worker.executor.spawn(ask).detach();
        }
        for bound in &listeners.0 {
            server
                .shared
                .note(program::listening(&bound.listener, bound.address));
        }
        let workers: Arc<[_]> = server.workers.iter().map(Arc::downgrade).collect();
        for bound in listeners.0.into_iter().map(Arc::new) {
            for (own, worker) in server.workers.iter().enumerate() {
                let crew = Crew {
                    reactor: Arc::clone(&worker.reactor),
                    own,
                    workers: Arc::clone(&workers),
                };
                let accept = accept(Arc::clone(&bound), Arc::clone(&server.shared), crew);
                let stopped = stopped.clone();
                let stop = async move {
                    let _ = stopped.recv().await;
                };
                worker.executor.spawn(or(stop, accept)).detach();
            }
        }
        Ok(server)
    }

    /// Returns the bound addresses with their real ports, in the order of the configuration.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Has the configuration file and all files that it names read again, on the thread that
    /// does this; does not wait for it.
    pub fn reload(&self) {
        if let Some((errands, _)) = &self.keeper {
            // It ends only with the server.
            let _ = errands.send(());
        }
    }

    /// Begins the shutdown and waits until no connection is open, or until the time that the
    /// configuration grants has passed.
    pub fn drain(&self) {
        let shared = &*self.shared;
        shared.note(Note::Draining);
        let grace = shared.gateway.drain(shared.clock.now());
        let end = Instant::now() + grace;
        let mut ending = shared.ending.lock().unwrap_or_else(PoisonError::into_inner);
        *ending = true;
        while shared.gateway.stats().connections > 0 {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = shared.ended.wait_timeout(ending, left);
            ending = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Ends every connection at once and waits for the server's threads.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.running.close();
        for thread in self.threads.drain(..) {
            // A panic of it was already reported.
            let _ = thread.join();
        }
        if let Some((errands, keeper)) = self.keeper.take() {
            drop(errands);
            let _ = keeper.join();
        }
    }
}

/// The threads that share the listeners, as one of them sees them.
struct Crew {
    reactor: Arc<Reactor>,
    own: usize,
    workers: Arc<[Weak<Worker>]>,
}

impl Crew {
    /// Returns who drives what this thread accepts: itself, unless it is [`AHEAD`]. None when the server ends.
    fn next(&self) -> Option<Arc<Worker>> {
        let connections = |worker: &Worker| worker.reactor.connections.load(Ordering::Relaxed);
        let own = self.workers.get(self.own)?.upgrade()?;
        let mine = connections(&own);
        if mine < AHEAD {
            return Some(own);
        }
        let least = self
            .workers
            .iter()
            .filter_map(Weak::upgrade)
            .min_by_key(|worker| connections(worker));
        least
            .filter(|worker| connections(worker) + AHEAD <= mine)
            .or(Some(own))
    }
}

/// Accepts connections. Never ends.
async fn accept(bound: Arc<Bound>, shared: Arc<Shared>, crew: Crew) {
    loop {
        let error = match Acceptor::new(&bound.socket, &crew.reactor) {
            Ok(mut acceptor) => loop {
                match poll_fn(|cx| acceptor.poll_accept(cx)).await {
                    Ok((stream, remote)) => {
                        shared.guarded(|| admit(&bound, stream, remote, &shared, &crew));
                    }
                    Err(error) => {
                        acceptor.withdraw();
                        break error;
                    }
                }
            },
            Err(error) => error,
        };
        let now = shared.clock.now();
        if bound.notes(now.at) {
            let (server, error) = (Arc::clone(&bound.listener.id), error.to_string());
            shared.guarded(|| (shared.log)(&Note::AcceptFailed { server, error }, now));
        }
        crew.reactor.pause(ACCEPT_PAUSE).await;
    }
}

/// Makes a connection of an accepted stream, or closes it if a limit is reached.
fn admit(bound: &Bound, socket: TcpStream, remote: SocketAddr, shared: &Arc<Shared>, crew: &Crew) {
    let now = shared.clock.now();
    let server = bound.listener.server;
    let Some(admission) = shared.gateway.admit(server, remote.ip(), now) else {
        return;
    };
    let local = if bound.address.ip().is_unspecified() {
        // It fails for a connection that its peer has reset already.
        socket.local_addr().ok()
    } else {
        Some(bound.address)
    };
    let (Some(local), Some(worker)) = (local, crew.next()) else {
        return;
    };
    let peer = Peer {
        server,
        remote,
        local,
    };
    let connection = Connection::client(admission, peer, now);
    // It fails when the system has no memory for it.
    if let Ok(socket) = Socket::new(socket, &worker.reactor) {
        let (shared, reactor) = (Arc::clone(shared), Arc::clone(&worker.reactor));
        let drive = Drive::new(connection, Some(Stream::accepted(socket)), shared, reactor);
        worker.executor.spawn(drive).detach();
    }
}

/// Asks verifiers elsewhere for all connections. A fault of it ends what was asked at that moment.
async fn ask(shared: Arc<Shared>, reactor: Arc<Reactor>) {
    loop {
        let keeper = Connection::keeper(&shared.gateway, shared.clock.now());
        Drive::new(keeper, None, Arc::clone(&shared), Arc::clone(&reactor)).await;
        // Whatever ended it may be there still.
        reactor.pause(KEEPER_PAUSE).await;
    }
}

/// Refreshes the gateway every [`REFRESH`], and reloads it on demand, until the server is gone.
fn keep(shared: &Shared, config: Option<PathBuf>, mut files: Box<dyn Files + Send>, inbox: &Receiver<()>) {
    loop {
        let reload = match inbox.recv_timeout(REFRESH) {
            Ok(()) => config.as_deref(),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let now = shared.clock.now();
        let notes = match reload {
            Some(path) => shared.gateway.reload(path, &mut *files, now),
            None => shared.gateway.refresh(&mut *files, now),
        };
        for note in notes {
            shared.note(note);
        }
    }
}

#[cfg(test)]
mod tests;
