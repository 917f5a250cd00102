//! Binding, accepting, and the threads that everything runs on.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::ready;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use async_executor::Executor;
use async_io::{Async, Timer};
use countersign_core::config::Files;
use countersign_core::connection::{Connection, Peer};
use countersign_core::gateway::{Gateway, Listener};
use countersign_core::note::Note;
use countersign_core::ops::alarms::Alarms;
use countersign_core::ops::{faults, program};
use futures_lite::future::{or, poll_fn, yield_now};

use crate::capacity;
use crate::clock::Clock;
use crate::drive::Drive;
use crate::socket::Socket;
use crate::stream::Stream;

/// How many connections the operating system keeps ready while nobody accepts them.
const BACKLOG: i32 = 1024;

/// How many connections are accepted in a row before other work gets its turn.
const ACCEPTS: usize = 16;

/// How long accepting pauses after an error: most of them, like a lack of descriptors, last.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// At most one line about failed accepts in this time.
const ACCEPT_NOTES: Duration = Duration::from_secs(1);

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
    pub(crate) alarms: Alarms,
    /// Somebody waits for the last connection.
    ending: Mutex<bool>,
    ended: Condvar,
}

impl Shared {
    /// Writes `note` to the log.
    pub(crate) fn note(&self, note: Note) {
        (self.log)(&note, self.clock.now());
    }

    /// Tells whoever waits for the last connection that one is gone.
    pub(crate) fn departed(&self) {
        // Waking nobody is a system call too.
        if *self.ending.lock().unwrap_or_else(PoisonError::into_inner) {
            self.ended.notify_all();
        }
    }
}

/// The bound addresses of a gateway, on which nobody accepts yet.
#[derive(Debug)]
pub struct Listeners(Vec<(Listener, Async<TcpListener>, SocketAddr)>);

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
            let address = socket.local_addr()?;
            Ok((Async::new(socket)?, address))
        };
        let bound = gateway.listeners().into_iter().map(|listener| {
            let (socket, address) =
                bind(listener.clone()).map_err(|error| faults::unbound(&listener, &error))?;
            Ok((listener, socket, address))
        });
        bound.collect::<io::Result<_>>().map(Self)
    }

    /// Returns the bound addresses with their real ports, in the order of the configuration.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.0.iter().map(|(_, _, address)| *address).collect()
    }
}

/// A running server. Dropping it ends every connection at once.
pub struct Server {
    shared: Arc<Shared>,
    addresses: Vec<SocketAddr>,
    /// Closing it stops the threads.
    running: async_channel::Sender<()>,
    threads: Vec<JoinHandle<()>>,
    /// Holds every connection; the accepting tasks in it only refer to it.
    executor: Arc<Executor<'static>>,
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
                alarms: Alarms::default(),
                ending: Mutex::new(false),
                ended: Condvar::new(),
            }),
            addresses: listeners.addresses(),
            running,
            threads: Vec::new(),
            executor: Arc::new(Executor::new()),
            keeper: None,
        };
        for number in 0..capacity().cores {
            let (executor, stopped) = (Arc::clone(&server.executor), stopped.clone());
            server.threads.push(
                thread::Builder::new()
                    .name(format!("io-{number}"))
                    .spawn(move || {
                        let _ = async_io::block_on(executor.run(stopped.recv()));
                    })?,
            );
        }
        let (errands, inbox) = channel();
        let shared = Arc::clone(&server.shared);
        let keeper = thread::Builder::new()
            .name("keeper".to_owned())
            .spawn(move || keep(&shared, options.config, options.files, &inbox))?;
        server.keeper = Some((errands, keeper));
        server.executor.spawn(ask(Arc::clone(&server.shared))).detach();
        server.executor.spawn(ring(Arc::clone(&server.shared))).detach();
        for (listener, _, address) in &listeners.0 {
            server.shared.note(program::listening(listener, *address));
        }
        for (listener, socket, address) in listeners.0 {
            let executor = Arc::downgrade(&server.executor);
            let shared = Arc::clone(&server.shared);
            let accept = accept(listener, (socket, address), shared, move |drive| {
                match executor.upgrade() {
                    Some(executor) => executor.spawn(drive).detach(),
                    None => drop(drive),
                }
            });
            let stopped = stopped.clone();
            let stop = async move {
                let _ = stopped.recv().await;
            };
            server.executor.spawn(or(stop, accept)).detach();
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

/// Accepts connections and hands each to `spawn`. Never ends.
async fn accept(
    listener: Listener,
    (socket, address): (Async<TcpListener>, SocketAddr),
    shared: Arc<Shared>,
    spawn: impl Fn(Drive),
) {
    let mut noted = None;
    loop {
        for _ in 0..ACCEPTS {
            match socket.accept().await {
                Ok((stream, remote)) => {
                    if let Some(drive) = admit(&listener, stream, (remote, address), &shared) {
                        spawn(drive);
                    }
                }
                Err(error) => {
                    let now = shared.clock.now();
                    if noted.is_none_or(|last| now.at.since(last) >= ACCEPT_NOTES) {
                        noted = Some(now.at);
                        let (server, error) = (Arc::clone(&listener.id), error.to_string());
                        (shared.log)(&Note::AcceptFailed { server, error }, now);
                    }
                    Timer::after(ACCEPT_PAUSE).await;
                }
            }
        }
        yield_now().await;
    }
}

/// Makes a connection of an accepted stream, or closes it if a limit is reached.
fn admit(
    listener: &Listener,
    socket: Async<TcpStream>,
    (remote, bound): (SocketAddr, SocketAddr),
    shared: &Arc<Shared>,
) -> Option<Drive> {
    let now = shared.clock.now();
    let admission = shared.gateway.admit(listener.server, remote.ip(), now)?;
    let peer = Peer {
        server: listener.server,
        remote,
        local: if bound.ip().is_unspecified() {
            // It fails for a connection that its peer has reset already.
            socket.get_ref().local_addr().ok()?
        } else {
            bound
        },
    };
    // Without it only latency is lost.
    let _ = socket.get_ref().set_nodelay(true);
    let connection = Connection::client(admission, peer, now);
    Some(Drive::new(
        connection,
        Some(Stream::accepted(Socket::new(socket))),
        Arc::clone(shared),
    ))
}

/// Asks verifiers elsewhere for all connections. A fault of it ends what was asked at that moment.
async fn ask(shared: Arc<Shared>) {
    loop {
        let keeper = Connection::keeper(&shared.gateway, shared.clock.now());
        Drive::new(keeper, None, Arc::clone(&shared)).await;
        // Whatever ended it may be there still.
        Timer::after(KEEPER_PAUSE).await;
    }
}

/// Rings for the deadlines of all connections: one timer, where a timer for each of them would wake
/// the reactor for each. Never ends.
async fn ring(shared: Arc<Shared>) {
    let mut timer = Timer::never();
    poll_fn(|cx| {
        loop {
            let next = shared.alarms.ring(shared.clock.now().at, cx.waker());
            match next.and_then(|next| shared.clock.instant(next)) {
                Some(instant) => timer.set_at(instant),
                None => timer = Timer::never(),
            }
            ready!(Pin::new(&mut timer).poll(cx));
        }
    })
    .await
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
