//! One socket of a connection: TCP, with TLS on top where it is spoken. It never blocks; it says
//! what happened, or what it waits for.

use std::io::{self, ErrorKind, Read, Write};
use std::mem;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::vec;

use countersign_core::leg::{Break, ClientTls, DialError, Opened, Tls, TlsInfo};
use countersign_core::ops::faults;
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};
use rustls::{ClientConnection, HandshakeKind, ServerConnection};

use crate::scratch::Scratch;

/// Bytes that rustls holds for a peer that does not read.
const TLS_BUFFER_LIMIT: usize = 16 * 1024;

/// What happened on a socket.
#[derive(Debug)]
pub(crate) enum Event {
    /// The TLS handshake is done.
    Secured(TlsInfo),
    /// The stream is open, or never will be.
    Dialed(Result<Opened, DialError>),
    /// So many bytes are in the scratch buffer.
    Data(usize),
    /// The peer sends no more.
    Eof,
    /// The operating system took so many of the outgoing bytes.
    Sent(usize),
    /// The socket is of no more use.
    Broken(Break),
}

/// A socket and what is to happen on it next.
#[derive(Debug)]
pub(crate) struct Stream {
    socket: TcpStream,
    tls: Option<Box<rustls::Connection>>,
    phase: Phase,
    /// Outgoing bytes that rustls holds, and that are reported as soon as its last byte is out.
    held: usize,
    /// False from the moment on when a read would have waited, until `poll` says otherwise.
    readable: bool,
    /// The same for writes.
    writable: bool,
    ended: bool,
    hangup: Hangup,
}

#[derive(Debug)]
enum Phase {
    /// The TCP handshake with `at` runs; the others are tried when it fails.
    Connecting(Box<Way>),
    /// The TLS handshake runs; the dialed address is there if it belongs to the dialing.
    Securing(Option<SocketAddr>),
    Open,
    /// A write failed; the peer may have said why before it left.
    Cut(Break),
    Gone,
}

/// The addresses of a name, and what is to happen when one of them answers.
#[derive(Debug)]
struct Way {
    at: SocketAddr,
    others: vec::IntoIter<SocketAddr>,
    tls: Option<ClientTls>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hangup {
    No,
    Asked,
    Done,
}

impl Stream {
    /// The accepted `socket`, which does not block.
    pub(crate) fn accepted(socket: TcpStream) -> Self {
        Self::new(socket, Phase::Open)
    }

    /// A stream to the first of `addresses` that answers, in their order.
    ///
    /// # Errors
    /// Why the last one does not even begin to.
    pub(crate) fn dial(addresses: Vec<SocketAddr>, tls: Option<ClientTls>) -> Result<Self, DialError> {
        Self::dial_next(addresses.into_iter(), tls, DialError::Name)
    }

    fn dial_next(
        mut others: vec::IntoIter<SocketAddr>,
        tls: Option<ClientTls>,
        mut failure: DialError,
    ) -> Result<Self, DialError> {
        while let Some(at) = others.next() {
            match start_connect(at) {
                Ok(socket) => {
                    let mut stream = Self::new(socket, Phase::Connecting(Box::new(Way { at, others, tls })));
                    // The socket becomes writable when the TCP handshake ends, well or badly.
                    stream.writable = false;
                    return Ok(stream);
                }
                Err(error) => failure = faults::undialed(&error),
            }
        }
        Err(failure)
    }

    fn new(socket: TcpStream, phase: Phase) -> Self {
        Self {
            socket,
            tls: None,
            phase,
            held: 0,
            readable: true,
            writable: true,
            ended: false,
            hangup: Hangup::No,
        }
    }

    /// Starts TLS on the open stream.
    ///
    /// # Errors
    /// It cannot begin with these settings.
    pub(crate) fn secure(&mut self, tls: Tls) -> Result<(), Break> {
        let tls = match tls {
            Tls::Client(tls) => ClientConnection::new(tls.config, tls.name).map(Into::into),
            Tls::Server(config) => ServerConnection::new(config).map(Into::into),
        };
        self.start_tls(tls.map_err(|_| Break::Tls)?, None);
        Ok(())
    }

    fn start_tls(&mut self, mut tls: rustls::Connection, dialed: Option<SocketAddr>) {
        tls.set_buffer_limit(Some(TLS_BUFFER_LIMIT));
        self.tls = Some(Box::new(tls));
        self.phase = Phase::Securing(dialed);
    }

    /// Ends the stream towards the peer as soon as everything is out. Reads go on.
    pub(crate) fn hang_up(&mut self) {
        if self.hangup == Hangup::No {
            self.hangup = Hangup::Asked;
            if let Some(tls) = &mut self.tls {
                tls.send_close_notify();
                // Whoever has heard the peer's end already drops the stream next. What does not go out at
                // once does with the next step, and a broken socket is noticed there.
                let _ = self.flush();
            }
        }
    }

    /// Goes on until something happened or the peer must act. At most `room` bytes are read, none
    /// if it is 0.
    pub(crate) fn advance(&mut self, room: usize, outgoing: &[u8], scratch: &mut Scratch) -> Option<Event> {
        match &self.phase {
            Phase::Connecting(_) => self.finish_connect(),
            Phase::Securing(_) => self.handshake(),
            Phase::Open => match self.write(outgoing) {
                None if room > 0 => self.read(room, scratch),
                Some(Event::Broken(why)) => self.read_the_rest(why, room, scratch),
                written => written,
            },
            Phase::Cut(why) => self.read_the_rest(*why, room, scratch),
            Phase::Gone => None,
        }
    }

    /// Returns what to poll for after [`Stream::advance`] had nothing to say. Empty: leave it out,
    /// or a peer that is gone would wake the thread again and again.
    pub(crate) fn interest(&self, wants_read: bool) -> PollFlags {
        let reads = match self.phase {
            Phase::Connecting(_) | Phase::Cut(_) | Phase::Gone => false,
            Phase::Securing(_) => true,
            Phase::Open => wants_read && !self.ended,
        };
        let mut interest = PollFlags::empty();
        interest.set(PollFlags::IN, reads);
        interest.set(
            PollFlags::OUT,
            !self.writable && !matches!(self.phase, Phase::Gone),
        );
        interest
    }

    /// Takes in what `poll` said.
    pub(crate) fn ready(&mut self, found: PollFlags) {
        let both = PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL;
        self.readable |= found.intersects(PollFlags::IN | both);
        self.writable |= found.intersects(PollFlags::OUT | both);
    }

    fn finish_connect(&mut self) -> Option<Event> {
        if !self.writable {
            return None;
        }
        let Phase::Connecting(way) = mem::replace(&mut self.phase, Phase::Gone) else {
            return None;
        };
        let Way { at, others, tls } = *way;
        if let Ok(Some(error)) | Err(error) = self.socket.take_error() {
            return match Self::dial_next(others, tls, faults::undialed(&error)) {
                Ok(next) => {
                    *self = next;
                    None
                }
                Err(failure) => Some(Event::Dialed(Err(failure))),
            };
        }
        let Some(tls) = tls else {
            self.phase = Phase::Open;
            return Some(dialed(at));
        };
        let Ok(tls) = ClientConnection::new(tls.config, tls.name) else {
            return Some(Event::Dialed(Err(DialError::Tls)));
        };
        self.start_tls(tls.into(), Some(at));
        self.handshake()
    }

    fn handshake(&mut self) -> Option<Event> {
        loop {
            match self.flush() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(_) => return self.handshake_failed(),
            }
            let tls = self.tls.as_ref()?;
            if !tls.is_handshaking() {
                let info = tls_info(tls);
                let done = mem::replace(&mut self.phase, Phase::Open);
                return Some(done.dialed().map_or(Event::Secured(info), dialed));
            }
            match self.fill(&mut []) {
                Ok(None) => return None,
                Ok(Some(0)) | Err(_) => return self.handshake_failed(),
                Ok(Some(_)) => {}
            }
        }
    }

    fn handshake_failed(&mut self) -> Option<Event> {
        let failed = mem::replace(&mut self.phase, Phase::Gone);
        Some(match failed.dialed() {
            Some(_) => Event::Dialed(Err(DialError::Tls)),
            None => Event::Broken(Break::Tls),
        })
    }

    fn write(&mut self, outgoing: &[u8]) -> Option<Event> {
        if self.hangup == Hangup::Done {
            return None;
        }
        match self.write_some(outgoing) {
            Ok(Some(sent)) => Some(Event::Sent(sent)),
            Ok(None) => {
                if self.writable && self.hangup == Hangup::Asked {
                    self.hangup = Hangup::Done;
                    // It fails when the peer is gone already, and then the next read says so.
                    let _ = self.socket.shutdown(Shutdown::Write);
                }
                None
            }
            Err(error) => Some(self.broken(faults::broken(&error))),
        }
    }

    /// Writes until there is something to report: how many bytes the operating system took.
    fn write_some(&mut self, outgoing: &[u8]) -> io::Result<Option<usize>> {
        // rustls takes bytes long before the socket does: they count when the last one is out.
        while self.flush()? {
            if self.held > 0 {
                return Ok(Some(mem::take(&mut self.held)));
            }
            if outgoing.is_empty() || !self.writable {
                return Ok(None);
            }
            match &mut self.tls {
                Some(tls) => self.held = tls.writer().write(outgoing)?,
                None => return or_wait(self.socket.write(outgoing), &mut self.writable),
            }
        }
        Ok(None)
    }

    /// Says whether the operating system has everything that rustls had to write.
    fn flush(&mut self) -> io::Result<bool> {
        if let Some(tls) = &mut self.tls {
            while tls.wants_write() {
                if !self.writable {
                    return Ok(false);
                }
                or_wait(tls.write_tls(&mut self.socket), &mut self.writable)?;
            }
        }
        Ok(true)
    }

    fn read(&mut self, room: usize, scratch: &mut Scratch) -> Option<Event> {
        if self.ended {
            return None;
        }
        let scratch = scratch.room(room);
        loop {
            if let Some(tls) = &mut self.tls {
                match tls.reader().read(scratch) {
                    Ok(0) => return Some(self.eof()),
                    Ok(read) => return Some(Event::Data(read)),
                    // A cut without close_notify: a WebSocket has its own Close, so it is a mere end.
                    Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Some(self.eof()),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(_) => return Some(self.broken(Break::Tls)),
                }
            }
            match self.fill(scratch) {
                Ok(None) => return None,
                // What rustls took in, its reader knows.
                Ok(Some(_)) if self.tls.is_some() => {}
                Ok(Some(0)) => return Some(self.eof()),
                Ok(Some(read)) => return Some(Event::Data(read)),
                Err(why) => return Some(self.broken(why)),
            }
        }
    }

    /// After a failed write: what the peer said before it left, a refusal perhaps, is still heard.
    fn read_the_rest(&mut self, why: Break, room: usize, scratch: &mut Scratch) -> Option<Event> {
        self.phase = Phase::Cut(why);
        self.readable = true;
        let rest = if room > 0 { self.read(room, scratch) } else { None };
        match rest {
            Some(Event::Data(read)) => Some(Event::Data(read)),
            Some(_) | None => Some(self.broken(why)),
        }
    }

    /// Reads from the socket once, into rustls or else into `scratch`; `None` if nothing is there.
    fn fill(&mut self, scratch: &mut [u8]) -> Result<Option<usize>, Break> {
        if !self.readable {
            return Ok(None);
        }
        let mut gauge = Gauge(&self.socket, &mut self.readable);
        let Some(tls) = &mut self.tls else {
            let read = gauge.read(scratch);
            return or_wait(read, &mut self.readable).map_err(|error| faults::broken(&error));
        };
        let read = tls.read_tls(&mut gauge);
        let read = or_wait(read, &mut self.readable).map_err(|error| faults::broken(&error))?;
        if tls.process_new_packets().is_err() {
            // The alert that says why, if the peer takes it at once.
            let _ = self.flush();
            return Err(Break::Tls);
        }
        Ok(read)
    }

    const fn eof(&mut self) -> Event {
        self.ended = true;
        Event::Eof
    }

    fn broken(&mut self, why: Break) -> Event {
        self.phase = Phase::Gone;
        Event::Broken(why)
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Phase {
    /// The address that is being secured as a part of dialing it.
    const fn dialed(&self) -> Option<SocketAddr> {
        match self {
            Self::Securing(dialed) => *dialed,
            Self::Connecting(_) | Self::Open | Self::Cut(_) | Self::Gone => None,
        }
    }
}

/// Reads from a socket and notes whether it may have more.
struct Gauge<'a>(&'a TcpStream, &'a mut bool);

impl Read for Gauge<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read(buffer)?;
        // A socket that does not fill the buffer is empty now. Asking it again would only cost a
        // system call: `poll` reports what arrives later, and the end as well.
        *self.1 = read == buffer.len();
        Ok(read)
    }
}

/// Turns "would wait" into `None`, and notes it in `may`.
fn or_wait(result: io::Result<usize>, may: &mut bool) -> io::Result<Option<usize>> {
    match result {
        Ok(count) => Ok(Some(count)),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
            *may = false;
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn start_connect(at: SocketAddr) -> io::Result<TcpStream> {
    let family = if at.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = TcpStream::from(socket_with(family, SocketType::STREAM, flags, None)?);
    socket.set_nodelay(true)?;
    match connect(&socket, &at) {
        Ok(()) | Err(Errno::INPROGRESS | Errno::INTR) => Ok(socket),
        Err(error) => Err(error.into()),
    }
}

fn dialed(remote: SocketAddr) -> Event {
    Event::Dialed(Ok(Opened {
        remote: Some(remote),
        ..Opened::default()
    }))
}

fn tls_info(tls: &rustls::Connection) -> TlsInfo {
    TlsInfo {
        alpn: tls.alpn_protocol().map(<[u8]>::to_vec),
        resumed: tls.handshake_kind() == Some(HandshakeKind::Resumed),
    }
}

#[cfg(test)]
mod tests;
