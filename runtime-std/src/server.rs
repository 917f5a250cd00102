//! Binding, accepting, and the threads that everything runs on.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::{fmt, mem};

use countersign_core::config::Files;
use countersign_core::connection::{Connection, Peer};
use countersign_core::gateway::{Admission, Gateway, Listener};
use countersign_core::note::Note;
use countersign_core::ops::{faults, program};
use countersign_core::time::Now;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::clock::Clock;
use crate::crew::Crew;
use crate::drive::drive;
use crate::mailbox::{Alarm, Mail, Mailbox};
use crate::stream::Stream;

/// How many connections the operating system keeps ready while nobody accepts them.
const BACKLOG: i32 = 1024;

/// How many connections are accepted in a row before the listener looks whether it is to stop.
const ACCEPTS: usize = 16;

/// How long accepting pauses after an error: most of them, like a lack of descriptors, last.
const ACCEPT_PAUSE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};

/// At most one line about failed accepts in this time.
const ACCEPT_NOTES: Duration = Duration::from_secs(1);

/// How long the keeper is away after a fault.
const KEEPER_PAUSE: Duration = Duration::from_secs(1);

/// How often the gateway looks at its files and clocks.
const REFRESH: Duration = Duration::from_secs(2);

/// How long a server that stops waits for the threads of its connections.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// Stack of a connection's thread, in bytes: room for a TLS handshake, and for the backtrace of a
/// panic. Only pages that were touched cost memory. Unoptimised code needs several times more.
const CONNECTION_STACK: usize = if cfg!(debug_assertions) {
    1024 * 1024
} else {
    256 * 1024
};

/// Stack of a thread that runs jobs and looks up names, in bytes.
const AIDE_STACK: usize = 1024 * 1024;

/// Where notes go. It must not wait.
pub type Log = Arc<dyn Fn(&Note, Now) + Send + Sync>;

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
    /// Who runs jobs and looks up names.
    pub(crate) aides: Crew,
    log: Log,
    drivers: Crew,
    open: Mutex<Open>,
    ended: Condvar,
}

/// The connections that have a thread.
#[derive(Default)]
struct Open {
    counted: u64,
    mailboxes: BTreeMap<u64, Arc<Mailbox>>,
    stopping: bool,
}

impl Shared {
    /// Writes `note` to the log.
    pub(crate) fn note(&self, note: &Note) {
        (self.log)(note, self.clock.now());
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drives one connection to its end. Its panic ends nothing but itself.
    fn serve(
        &self,
        listener: &Listener,
        socket: TcpStream,
        peer: Peer,
        admission: Admission,
        mailbox: &Arc<Mailbox>,
    ) {
        let Some(number) = self.enter(mailbox) else {
            return;
        };
        let ended = catch_unwind(AssertUnwindSafe(|| {
            let client = Stream::accepted(socket)?;
            let connection = Connection::client(admission, peer, self.clock.now());
            drive(self, connection, Some(client), mailbox)
        }));
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.failed(listener, &error),
            Err(_) => self.note(&Note::Panicked),
        }
        self.open().mailboxes.remove(&number);
        self.ended.notify_all();
    }

    /// Asks verifiers elsewhere for all connections, until the server stops. A fault of it ends what
    /// was asked at that moment.
    fn ask(&self) {
        loop {
            let ended = catch_unwind(AssertUnwindSafe(|| {
                let mailbox = Arc::new(Mailbox::new()?);
                let Some(number) = self.enter(&mailbox) else {
                    return Ok(true);
                };
                let keeper = Connection::keeper(&self.gateway, self.clock.now());
                let ended = drive(self, keeper, None, &mailbox);
                self.open().mailboxes.remove(&number);
                ended.map(|()| false)
            }));
            match ended {
                Ok(Ok(true)) => return,
                Ok(Ok(false) | Err(_)) => {}
                Err(_) => self.note(&Note::Panicked),
            }
            if self.open().stopping {
                return;
            }
            // Whatever ended it may be there still.
            thread::sleep(KEEPER_PAUSE);
        }
    }

    fn enter(&self, mailbox: &Arc<Mailbox>) -> Option<u64> {
        let mut open = self.open();
        open.counted += 1;
        let number = open.counted;
        (!open.stopping).then(|| {
            open.mailboxes.insert(number, Arc::clone(mailbox));
            number
        })
    }

    fn failed(&self, listener: &Listener, error: &io::Error) {
        self.note(&Note::AcceptFailed {
            server: Arc::clone(&listener.id),
            error: error.to_string(),
        });
    }

    /// Waits until no connection is open, at most for `grace`.
    fn wait_until_empty(&self, grace: Duration) {
        let busy = |_: &mut Open| self.gateway.stats().connections > 0;
        let waited = self.ended.wait_timeout_while(self.open(), grace, busy);
        drop(waited);
    }
}

/// The bound addresses of a gateway, on which nobody accepts yet.
#[derive(Debug)]
pub struct Listeners(Vec<(Listener, TcpListener, SocketAddr)>);

impl Listeners {
    /// Binds every address that the configuration names, or none.
    ///
    /// # Errors
    /// The first address that could not be bound, and what to do about it.
    pub fn bind(gateway: &Gateway) -> io::Result<Self> {
        let bind = |listener: &Listener| {
            // SO_REUSEADDR is set by the standard library.
            let socket = TcpListener::bind(listener.address)?;
            rustix::net::listen(&socket, BACKLOG)?;
            socket.set_nonblocking(true)?;
            let address = socket.local_addr()?;
            Ok((socket, address))
        };
        let bound = gateway.listeners().into_iter().map(|listener| {
            let (socket, address) = bind(&listener).map_err(|error| faults::unbound(&listener, &error))?;
            Ok((listener, socket, address))
        });
        bound.collect::<io::Result<_>>().map(Self)
    }

    /// Returns the bound addresses with their real ports, in the order of the configuration.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.0.iter().map(|(_, _, address)| *address).collect()
    }
}

/// A running server: a thread per listener, one per connection, and one that keeps the rules
/// fresh. Dropping it ends every connection at once.
pub struct Server {
    shared: Arc<Shared>,
    addresses: Vec<SocketAddr>,
    /// Its end is the end of the thread that it leads to.
    keeper: Option<Sender<()>>,
    stop: Arc<Alarm>,
    threads: Vec<JoinHandle<()>>,
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
        let (keeper, inbox) = channel();
        let mut server = Self {
            shared: Arc::new(Shared {
                gateway,
                clock: options.clock,
                aides: Crew::new("aide", AIDE_STACK),
                log: options.log,
                drivers: Crew::new("connection", CONNECTION_STACK),
                open: Mutex::default(),
                ended: Condvar::new(),
            }),
            addresses: listeners.addresses(),
            keeper: Some(keeper),
            stop: Arc::new(Alarm::new()?),
            threads: Vec::new(),
        };
        let asker = Arc::clone(&server.shared);
        server.shared.drivers.run(move || asker.ask())?;
        for (listener, _, address) in &listeners.0 {
            server.shared.note(&program::listening(listener, *address));
        }
        let (config, files) = (options.config, options.files);
        server.spawn("keeper", move |shared, _| keep(&shared, config, files, &inbox))?;
        for (listener, socket, _) in listeners.0 {
            server.spawn("listener", move |shared, stop| {
                accept_all(&shared, &Arc::new(listener), &socket, &stop);
            })?;
        }
        Ok(server)
    }

    fn spawn(
        &mut self,
        name: &str,
        work: impl FnOnce(Arc<Shared>, Arc<Alarm>) + Send + 'static,
    ) -> io::Result<()> {
        let (shared, stop) = (Arc::clone(&self.shared), Arc::clone(&self.stop));
        let thread = thread::Builder::new().name(name.to_owned());
        self.threads.push(thread.spawn(|| work(shared, stop))?);
        Ok(())
    }

    /// Returns the bound addresses with their real ports, in the order of the configuration.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Has the configuration file and all files that it names read again, on the thread that
    /// does this; does not wait for it.
    pub fn reload(&self) {
        if let Some(keeper) = &self.keeper {
            // It ends only with the server.
            let _ = keeper.send(());
        }
    }

    /// Begins the shutdown and waits until no connection is open, or until the time that the
    /// configuration grants has passed.
    pub fn drain(&self) {
        self.shared.note(&Note::Draining);
        let grace = self.shared.gateway.drain(self.shared.clock.now());
        self.shared.wait_until_empty(grace);
    }

    /// Ends every connection at once and waits for the server's threads.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.ring();
        self.keeper = None;
        for thread in self.threads.drain(..) {
            // A panic of it was already reported.
            let _ = thread.join();
        }
        let mailboxes = {
            let mut open = self.shared.open();
            open.stopping = true;
            mem::take(&mut open.mailboxes)
        };
        for mailbox in mailboxes.into_values() {
            mailbox.post(Mail::Stop);
        }
        self.shared.wait_until_empty(STOP_GRACE);
        self.shared.drivers.dismiss();
        self.shared.aides.dismiss();
    }
}

/// Accepts connections and gives each a thread, until `stop` rings.
fn accept_all(shared: &Arc<Shared>, listener: &Arc<Listener>, socket: &TcpListener, stop: &Alarm) {
    let mut noted = None;
    let mut failed = |error: &io::Error| {
        let now = shared.clock.now();
        if noted.is_none_or(|last| now.at.since(last) >= ACCEPT_NOTES) {
            noted = Some(now.at);
            shared.failed(listener, error);
        }
        // Sleeps for the whole pause, unless it is to stop.
        let _ = poll(&mut [PollFd::new(stop, PollFlags::IN)], Some(&ACCEPT_PAUSE));
    };
    loop {
        let mut fds = [
            PollFd::new(stop, PollFlags::IN),
            PollFd::new(socket, PollFlags::IN),
        ];
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => failed(&error.into()),
        }
        if !fds[0].revents().is_empty() {
            return;
        }
        for _ in 0..ACCEPTS {
            match socket.accept() {
                Ok((stream, remote)) => {
                    if let Err(error) = admit(shared, listener, stream, remote) {
                        // Whoever waits for the last connection waits for those without a thread, too.
                        shared.ended.notify_all();
                        failed(&error);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // A client that has gone again already is nothing to pause for.
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    failed(&error);
                    break;
                }
            }
        }
    }
}

/// Makes a connection of an accepted stream, or closes it if a limit is reached.
///
/// # Errors
/// There is no descriptor or no thread for it.
fn admit(
    shared: &Arc<Shared>,
    listener: &Arc<Listener>,
    socket: TcpStream,
    remote: SocketAddr,
) -> io::Result<()> {
    let Some(admission) = shared
        .gateway
        .admit(listener.server, remote.ip(), shared.clock.now())
    else {
        return Ok(());
    };
    let Ok(local) = socket.local_addr() else {
        return Ok(());
    };
    // Without it only latency is lost.
    let _ = socket.set_nodelay(true);
    let peer = Peer {
        server: listener.server,
        remote,
        local,
    };
    let mailbox = Arc::new(Mailbox::new()?);
    let (serving, listener) = (Arc::clone(shared), Arc::clone(listener));
    let serve = move || serving.serve(&listener, socket, peer, admission, &mailbox);
    shared.drivers.run(serve)
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
        for note in &notes {
            shared.note(note);
        }
    }
}
