//! Binding, accepting, and the threads that everything runs on.

use std::collections::BTreeMap;
use std::io;
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
use countersign_core::time::{Moment, Now};
use rustix::net::sockopt::set_tcp_nodelay;
use rustix::net::{Shutdown, shutdown};

use crate::accept::accept_all;
use crate::clock::Clock;
use crate::crew::{Crew, NoThread};
use crate::drive::Session;
use crate::mailbox::{Alarm, Alarms, Mail, Mailbox};
use crate::stream::Stream;

/// How many connections the operating system keeps ready while nobody accepts them.
const BACKLOG: i32 = 1024;

/// How long the keeper is away after a fault.
const KEEPER_PAUSE: Duration = Duration::from_secs(1);

/// How often the gateway looks at its files and clocks.
const REFRESH: Duration = Duration::from_secs(2);

/// At most one line about connections that had to be let go at their accept in this time.
const FAILURE_NOTES: Duration = Duration::from_secs(1);

/// How long a server that stops waits for the threads of its connections.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// Stack of the thread that a connection stays on, in bytes: room to decide anew when its right ends,
/// and for the backtrace of a panic. Only pages that were touched cost memory. Unoptimised code needs
/// several times more.
const HOST_STACK: usize = if cfg!(debug_assertions) {
    1024 * 1024
} else {
    256 * 1024
};

/// Stack of a thread that leads handshakes, runs jobs or looks up names, in bytes. It is more than four
/// times [`HOST_STACK`], so that glibc, which keeps stacks of ended threads with their topmost pages, never
/// gives a host one of which much was touched.
const DEEP_STACK: usize = 1280 * 1024;

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
    /// Who leads a connection until it becomes quiet. What this takes of their stacks they use again
    /// for the next one.
    pub(crate) greeters: Crew,
    /// Who leads it from then on, on stacks of which little was ever touched.
    hosts: Crew,
    alarms: Alarms,
    open: Mutex<Open>,
    ended: Condvar,
    /// When the log was last told that a connection had to be let go at its accept.
    failed: Mutex<Option<Moment>>,
}

/// An open connection, as the server knows it.
struct Entry {
    number: u64,
    listener: Arc<Listener>,
    mailbox: Arc<Mailbox>,
}

/// The connections that have a thread.
#[derive(Default)]
struct Open {
    counted: u64,
    mailboxes: BTreeMap<u64, Arc<Mailbox>>,
    stopping: bool,
    /// Somebody waits until no connection is open.
    awaited: bool,
}

impl Shared {
    /// Writes `note` to the log.
    pub(crate) fn note(&self, note: &Note, now: Now) {
        (self.log)(note, now);
    }

    fn note_now(&self, note: &Note) {
        self.note(note, self.clock.now());
    }

    /// Tells of a panic, which the log itself may have caused.
    fn panicked(&self) {
        let _ = catch_unwind(AssertUnwindSafe(|| self.note_now(&Note::Panicked)));
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drives one connection until it ends or becomes quiet for the first time.
    pub(crate) fn greet(
        self: &Arc<Self>,
        listener: Arc<Listener>,
        socket: TcpStream,
        peer: Peer,
        admission: Admission,
    ) {
        let mailbox = match self.alarms.mailbox() {
            Ok(mailbox) => Arc::new(mailbox),
            Err(error) => {
                drop(admission);
                self.failed(&listener, &error);
                return self.tell_if_awaited();
            }
        };
        let Some(number) = self.enter(&mailbox) else {
            // The server that stops waits for this one, too.
            drop((socket, admission));
            return self.tell_if_awaited();
        };
        let entry = Entry {
            number,
            listener,
            mailbox: Arc::clone(&mailbox),
        };
        self.lead(entry, || {
            let connection = Connection::client(admission, peer, self.clock.now());
            Session::new(self, connection, Some(Stream::accepted(socket)), &mailbox)
        });
    }

    /// Drives one connection, on its first thread or its last one. Its panic ends nothing but itself.
    fn lead(self: &Arc<Self>, entry: Entry, begin: impl FnOnce() -> Box<Session>) {
        match catch_unwind(AssertUnwindSafe(|| begin().drive(self))) {
            Ok(Ok(Some(quiet))) => return self.settle(entry, quiet),
            Ok(Ok(None)) => {}
            Ok(Err(error)) => self.failed(&entry.listener, &error),
            Err(_) => self.panicked(),
        }
        self.open().mailboxes.remove(&entry.number);
        self.alarms.take_back(&entry.mailbox);
        self.tell_if_awaited();
    }

    /// Has a quiet connection driven to its end elsewhere; or here, if there is no thread.
    fn settle(self: &Arc<Self>, entry: Entry, mut quiet: Box<Session>) {
        quiet.settled = true;
        let shared = Arc::clone(self);
        let go_on = Box::new(move || shared.lead(entry, || quiet));
        if let Err(NoThread {
            task: Some(go_on), ..
        }) = self.hosts.run(go_on)
        {
            go_on();
        }
    }

    /// Asks verifiers elsewhere for all connections, until the server stops. A fault of it ends what
    /// was asked at that moment.
    fn ask(&self) {
        loop {
            if let Ok(mailbox) = self.alarms.mailbox().map(Arc::new) {
                let Some(number) = self.enter(&mailbox) else {
                    return;
                };
                let asked = catch_unwind(AssertUnwindSafe(|| {
                    let keeper = Connection::keeper(&self.gateway, self.clock.now());
                    Session::new(self, keeper, None, &mailbox).drive(self)
                }));
                // Whatever its end was: an alarm that stays here is a descriptor less for clients.
                self.open().mailboxes.remove(&number);
                if asked.is_err() {
                    self.panicked();
                }
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

    /// Tells the log that the operating system refuses what a connection needs, once in
    /// [`FAILURE_NOTES`]: whoever goes on connecting must not fill the log.
    pub(crate) fn failed(&self, listener: &Listener, error: &io::Error) {
        let now = self.clock.now();
        {
            let mut last = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
            if last.is_some_and(|last| now.at.since(last) < FAILURE_NOTES) {
                return;
            }
            *last = Some(now.at);
        }
        let failed = Note::AcceptFailed {
            server: Arc::clone(&listener.id),
            error: error.to_string(),
        };
        self.note(&failed, now);
    }

    /// Has whoever waits for the last connection look again.
    pub(crate) fn tell_if_awaited(&self) {
        // Telling costs a system call even if nobody listens.
        if self.open().awaited {
            self.ended.notify_all();
        }
    }

    /// Waits until no connection is open, at most for `grace`.
    fn wait_until_empty(&self, grace: Duration) {
        let mut open = self.open();
        open.awaited = true;
        let busy = |_: &mut Open| self.gateway.stats().connections > 0;
        let waited = self.ended.wait_timeout_while(open, grace, busy);
        drop(waited);
    }
}

/// The bound addresses of a gateway, on which nobody accepts yet.
#[derive(Debug)]
pub struct Listeners(Vec<(Listener, Arc<TcpListener>, SocketAddr)>);

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
            // Accepted sockets inherit it. Without it only latency is lost.
            let _ = set_tcp_nodelay(&socket, true);
            let address = socket.local_addr()?;
            Ok((Arc::new(socket), address))
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
    listening: Vec<Arc<TcpListener>>,
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
                aides: Crew::new("aide", DEEP_STACK),
                log: options.log,
                greeters: Crew::new("greeter", DEEP_STACK),
                hosts: Crew::new("connection", HOST_STACK),
                alarms: Alarms::default(),
                open: Mutex::default(),
                ended: Condvar::new(),
                failed: Mutex::default(),
            }),
            addresses: listeners.addresses(),
            keeper: Some(keeper),
            stop: Arc::new(Alarm::new()?),
            listening: Vec::new(),
            threads: Vec::new(),
        };
        let asker = Arc::clone(&server.shared);
        let asking = server.shared.greeters.run(Box::new(move || asker.ask()));
        asking.map_err(|none| none.error)?;
        for (listener, _, address) in &listeners.0 {
            server.shared.note_now(&program::listening(listener, *address));
        }
        let (config, files) = (options.config, options.files);
        server.spawn("keeper", move |shared, _| keep(&shared, config, files, &inbox))?;
        for (listener, socket, address) in listeners.0 {
            server.listening.push(Arc::clone(&socket));
            server.spawn("listener", move |shared, stop| {
                accept_all(&shared, &Arc::new(listener), &socket, address, &stop);
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
        self.shared.note_now(&Note::Draining);
        let grace = self.shared.gateway.drain(self.shared.clock.now());
        self.shared.wait_until_empty(grace);
    }

    /// Ends every connection at once. Waits for the threads that accept, and for at most a second for all
    /// connections to be over; what is left of their threads then ends by itself.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.ring();
        for socket in &self.listening {
            // Linux lets whoever waits to accept go then.
            let _ = shutdown(socket, Shutdown::Both);
        }
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
        self.shared.greeters.dismiss();
        self.shared.hosts.dismiss();
        self.shared.aides.dismiss();
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
        for note in &notes {
            shared.note(note, now);
        }
    }
}

#[cfg(test)]
mod tests;
