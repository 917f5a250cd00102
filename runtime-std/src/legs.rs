//! All streams of one connection, under the numbers that the core gave them.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use countersign_core::connection::Wait;
use countersign_core::gateway::Lookups;
use countersign_core::leg::{Break, ClientTls, Destination, Dial, DialError, Leg, Opened, Tls};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::crew::Crew;
use crate::files::Served;
use crate::mailbox::{Mail, Mailbox};
use crate::scratch::Scratch;
use crate::stream::{Event, Stream};

/// The legs of a connection, and who helps to open them.
pub(crate) struct Legs {
    legs: Vec<(Leg, End)>,
    mailbox: Arc<Mailbox>,
    aides: Crew,
    /// What the last `poll` has found, in the order of the descriptors. Kept for its memory alone.
    found: Vec<PollFlags>,
}

/// Why a thread that slept in `poll` goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    /// Somebody rang, and perhaps a socket is ready as well.
    Rung,
    /// A socket is ready, or a signal came.
    Ready,
    /// The time is over.
    Late,
}

/// One leg as this runtime sees it.
enum End {
    /// Its name is being looked up; then TLS is spoken, if there are settings for it.
    Resolving(Option<ClientTls>),
    Socket(Box<Stream>),
    File(Served),
    /// A file of which nothing is left to read.
    Read,
}

impl Legs {
    /// The client's leg alone; the keeper has none.
    pub(crate) fn new(client: Option<Stream>, mailbox: Arc<Mailbox>, aides: Crew) -> Self {
        Self {
            legs: client
                .into_iter()
                .map(|client| (Leg::CLIENT, End::Socket(Box::new(client))))
                .collect(),
            mailbox,
            aides,
            found: Vec::new(),
        }
    }

    /// Begins to open a leg. The result is there at once for files and for what cannot begin,
    /// otherwise it comes as an event.
    pub(crate) fn dial(&mut self, dial: Dial, lookups: &Arc<Lookups>) -> Option<Result<Opened, DialError>> {
        let leg = dial.leg;
        match dial.to {
            // This thread serves one connection: a slow disk holds up nobody else.
            Destination::File { root, segments } => {
                Some(Served::open(&root, &segments).map(|(file, opened)| {
                    self.legs.push((leg, End::File(file)));
                    opened
                }))
            }
            Destination::Tcp { host, port, tls } => {
                self.legs.push((leg, End::Resolving(tls)));
                if let Ok(address) = host.parse::<IpAddr>() {
                    return self.resolved(leg, vec![SocketAddr::new(address, port)]).map(Err);
                }
                let Some(place) = lookups.begin() else {
                    self.forget(leg);
                    return Some(Err(DialError::Name));
                };
                let mailbox = Arc::clone(&self.mailbox);
                let lookup = self.aides.run(Box::new(move || {
                    let found = (host.as_str(), port).to_socket_addrs();
                    drop(place);
                    mailbox.post(Mail::Resolved(leg, found.map(Vec::from_iter).unwrap_or_default()));
                }));
                lookup.err().map(|_| {
                    self.forget(leg);
                    Err(DialError::Io)
                })
            }
        }
    }

    /// Goes on with a leg whose addresses are known, unless it was dropped meanwhile.
    pub(crate) fn resolved(&mut self, leg: Leg, addresses: Vec<SocketAddr>) -> Option<DialError> {
        let end = self.find(leg)?;
        let End::Resolving(tls) = end else {
            return None;
        };
        match Stream::dial(addresses, tls.take()) {
            Ok(stream) => {
                *end = End::Socket(Box::new(stream));
                None
            }
            Err(error) => {
                self.forget(leg);
                Some(error)
            }
        }
    }

    /// Starts TLS on an open leg.
    ///
    /// # Errors
    /// There is no such socket, or it cannot begin with these settings.
    pub(crate) fn secure(&mut self, leg: Leg, tls: Tls) -> Result<(), Break> {
        match self.find(leg) {
            Some(End::Socket(stream)) => stream.secure(tls),
            Some(End::Resolving(_) | End::File(_) | End::Read) | None => Err(Break::Io),
        }
    }

    /// Ends a stream towards its peer; reads go on.
    pub(crate) fn hang_up(&mut self, leg: Leg) {
        match self.find(leg) {
            Some(End::Socket(stream)) => stream.hang_up(),
            Some(End::Resolving(_) | End::File(_) | End::Read) | None => {}
        }
    }

    /// Lets go of a leg.
    pub(crate) fn forget(&mut self, leg: Leg) {
        self.legs.retain(|(number, _)| *number != leg);
    }

    /// Goes on with all legs until something happened on one. The others have their turn first
    /// the next time.
    pub(crate) fn advance(&mut self, wait: Wait<'_>, scratch: &mut Scratch) -> Option<(Leg, Event)> {
        let (at, found) = self.legs.iter_mut().enumerate().find_map(|(at, (leg, end))| {
            let room = wait.read_at_most(*leg);
            let room = if wait.wants_read(*leg) { room } else { 0 };
            end.advance(room, wait.outgoing(*leg), scratch)
                .map(|event| (at, (*leg, event)))
        })?;
        self.legs.rotate_left(at + 1);
        if let (leg, Event::Broken(_) | Event::Dialed(Err(_))) = found {
            self.forget(leg);
        }
        Some(found)
    }

    /// Sleeps until a socket is ready, somebody rings, or `timeout` has passed.
    ///
    /// # Errors
    /// What the operating system says, commonly that it has no memory.
    pub(crate) fn poll(&mut self, wait: Wait<'_>, timeout: Option<Duration>) -> io::Result<Woken> {
        let mut fds = Vec::with_capacity(1 + self.legs.len());
        fds.push(PollFd::new(&*self.mailbox, PollFlags::IN));
        fds.extend(polled(&mut self.legs, wait).map(|(stream, interest)| PollFd::new(&*stream, interest)));
        // A time that cannot be written down is too far away to matter.
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let late = match poll(&mut fds, timeout.as_ref()) {
            Ok(ready) => ready == 0,
            Err(Errno::INTR) => false,
            Err(error) => return Err(error.into()),
        };
        self.found.clear();
        self.found.extend(fds.iter().map(PollFd::revents));
        let mut found = self.found.iter();
        let rung = found.next().is_some_and(|found| !found.is_empty());
        for ((stream, _), found) in polled(&mut self.legs, wait).zip(found) {
            stream.ready(*found);
        }
        Ok(match (rung, late) {
            (true, _) => Woken::Rung,
            (false, true) => Woken::Late,
            (false, false) => Woken::Ready,
        })
    }

    fn find(&mut self, leg: Leg) -> Option<&mut End> {
        self.legs
            .iter_mut()
            .find_map(|(number, end)| (*number == leg).then_some(end))
    }
}

/// The sockets that wait for something, and what it is. The same twice, as long as nothing moves.
fn polled<'a>(
    legs: &'a mut [(Leg, End)],
    wait: Wait<'a>,
) -> impl Iterator<Item = (&'a mut Stream, PollFlags)> {
    legs.iter_mut().filter_map(move |(leg, end)| {
        let End::Socket(stream) = end else {
            return None;
        };
        let interest = stream.interest(wait.wants_read(*leg));
        (!interest.is_empty()).then_some((&mut **stream, interest))
    })
}

impl End {
    fn advance(&mut self, room: usize, outgoing: &[u8], scratch: &mut Scratch) -> Option<Event> {
        match self {
            Self::Socket(stream) => stream.advance(room, outgoing, scratch),
            Self::File(file) if room > 0 => {
                scratch.grow();
                match file.read(scratch.room(usize::MAX)) {
                    Ok(read @ 1..) => Some(Event::Data(read)),
                    read => {
                        *self = Self::Read;
                        Some(read.map_or(Event::Broken(Break::Io), |_| Event::Eof))
                    }
                }
            }
            Self::File(_) | Self::Read | Self::Resolving(_) => None,
        }
    }
}
