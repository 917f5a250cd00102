//! TLS over a socket, by rustls without buffers of its own: an idle connection holds its keys and nothing else.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use countersign_core::leg::{ClientTls, TlsInfo};
use futures_lite::io::{AsyncRead, AsyncWrite};
use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic,
};
use rustls::{CommonState, HandshakeKind, ServerConfig};

use crate::socket::Socket;

/// The longest record with its header, in bytes (RFC 5246 section 6.2.3; RFC 8446 section 5.2 allows less).
const RECORD: usize = 5 + FRAGMENT + 2048;

/// The most that one record carries, in bytes (RFC 8446 section 5.1), and the most that is encrypted before the
/// operating system has what was encrypted before.
const FRAGMENT: usize = 16 * 1024;

/// The most that is held of a handshake, in bytes, as in rustls' own buffers: its messages may span records.
const HANDSHAKE: usize = 64 * 1024;

/// What is read at once of a handshake message that is longer than a record, in bytes.
const PIECE: usize = 4096;

/// Room for what encryption adds to a record, in bytes: header, explicit nonce, type and tag.
const EXPANSION: usize = 64;

/// Reads in a row that bring records without data, before other connections get their turn.
const FRUITLESS: usize = 64;

thread_local! {
    /// Records pass through here in both directions: an idle connection owns no buffer.
    static RECORDS: RefCell<Records> = RefCell::new(Records {
        incoming: vec![0; HANDSHAKE].into_boxed_slice(),
        outgoing: Vec::new(),
    });
}

struct Records {
    incoming: Box<[u8]>,
    outgoing: Vec<u8>,
}

/// A stream with TLS, as either side.
pub(crate) struct Tls {
    socket: Socket,
    session: Session,
    /// The beginning of a record, or of a handshake message that spans records.
    incoming: Vec<u8>,
    /// What was decrypted and found no room.
    plain: Vec<u8>,
    /// What was encrypted and the operating system has not taken.
    outgoing: Vec<u8>,
    /// Nothing more comes from the peer.
    ended: bool,
    /// Our close_notify was encrypted.
    closed: bool,
}

enum Session {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

/// What a session is to encrypt.
#[derive(Clone, Copy)]
enum Message<'a> {
    Data(&'a [u8]),
    CloseNotify,
}

/// Where what a session makes of records goes, and what it is to encrypt.
struct Exchange<'a> {
    /// Data goes here.
    room: &'a mut [u8],
    filled: usize,
    /// Data for which there is no room goes here.
    plain: &'a mut Vec<u8>,
    /// Records go here.
    outgoing: &'a mut Vec<u8>,
    message: Option<Message<'a>>,
    /// The peer has sent its close_notify.
    ended: bool,
}

/// How far a session has come.
enum Turn {
    /// There is more to do.
    Again,
    /// It wants more bytes, or has nothing to do.
    Done,
    Failed(io::Error),
}

impl Session {
    fn common(&self) -> &CommonState {
        match self {
            Self::Server(session) => session,
            Self::Client(session) => session,
        }
    }

    /// Says whether the peer may send handshake messages that are longer than a record. Behind its handshake, a
    /// client sends key updates alone (RFC 8446 section 4.6), and a server also tickets of up to 64 KiB.
    fn messages_span(&self) -> bool {
        match self {
            Self::Server(session) => session.is_handshaking(),
            Self::Client(_) => true,
        }
    }

    /// Does one thing with `records`. Returns how many bytes of them are used up.
    fn turn(&mut self, records: &mut [u8], exchange: &mut Exchange<'_>) -> (usize, Turn) {
        match self {
            Self::Server(session) => exchange.turn(session.process_tls_records(records)),
            Self::Client(session) => exchange.turn(session.process_tls_records(records)),
        }
    }

    /// Does all that can be done with `records`. Returns how many bytes of them are used up.
    fn run(&mut self, records: &mut [u8], exchange: &mut Exchange<'_>) -> io::Result<usize> {
        let mut used = 0;
        loop {
            let left = records.get_mut(used..).unwrap_or_default();
            let (more, turn) = self.turn(left, exchange);
            used += more;
            match turn {
                Turn::Again => {}
                Turn::Done => return Ok(used),
                Turn::Failed(error) => {
                    // The alert that tells the peer. Whatever is asked for behind it would panic.
                    let mut turn = Turn::Again;
                    while matches!(turn, Turn::Again) && self.common().wants_write() {
                        let left = records.get_mut(used..).unwrap_or_default();
                        (_, turn) = self.turn(left, exchange);
                    }
                    return Err(error);
                }
            }
        }
    }
}

impl Exchange<'_> {
    fn turn<Side>(&mut self, status: UnbufferedStatus<'_, '_, Side>) -> (usize, Turn) {
        let UnbufferedStatus { mut discard, state } = status;
        let turn = match state {
            Ok(ConnectionState::ReadTraffic(mut traffic)) => loop {
                match traffic.next_record() {
                    Some(Ok(record)) => {
                        discard += record.discard;
                        self.take(record.payload);
                    }
                    Some(Err(error)) => break refused(error),
                    None => break Turn::Again,
                }
            },
            Ok(ConnectionState::EncodeTlsData(data)) => self.encode(data),
            Ok(ConnectionState::TransmitTlsData(data)) => {
                // They leave in this order, whenever that is.
                data.done();
                Turn::Again
            }
            Ok(ConnectionState::PeerClosed) => {
                self.ended = true;
                Turn::Again
            }
            Ok(ConnectionState::Closed) => {
                self.ended = true;
                Turn::Done
            }
            Ok(ConnectionState::WriteTraffic(mut traffic)) => match self.message.take() {
                Some(message) => self.encrypt(&mut traffic, message),
                None => Turn::Done,
            },
            Ok(ConnectionState::BlockedHandshake) => Turn::Done,
            // Early data is never offered: it could be replayed (RFC 8446 section 8).
            Ok(ConnectionState::ReadEarlyData(_)) => refused("early data"),
            Ok(_) => refused("an unknown state"),
            Err(error) => refused(error),
        };
        (discard, turn)
    }

    fn take(&mut self, data: &[u8]) {
        let room = self.room.get_mut(self.filled..).unwrap_or_default();
        let fits = data.len().min(room.len());
        let (first, rest) = data.split_at(fits);
        if let Some(room) = room.get_mut(..fits) {
            room.copy_from_slice(first);
        }
        self.filled += fits;
        self.plain.extend_from_slice(rest);
    }

    fn encode<Side>(&mut self, mut data: EncodeTlsData<'_, Side>) -> Turn {
        let encoded = write_to(self.outgoing, EXPANSION, |room| {
            data.encode(room).map_err(|error| match error {
                EncodeError::InsufficientSize(size) => Ok(size.required_size),
                EncodeError::AlreadyEncoded => Err(io::Error::other(error)),
            })
        });
        encoded.map_or_else(Turn::Failed, |()| Turn::Again)
    }

    fn encrypt<Side>(&mut self, traffic: &mut WriteTraffic<'_, Side>, message: Message<'_>) -> Turn {
        let length = match message {
            Message::Data(data) => data.len(),
            Message::CloseNotify => 0,
        };
        let encrypted = write_to(self.outgoing, length + EXPANSION, |room| {
            let encrypted = match message {
                Message::Data(data) => traffic.encrypt(data, room),
                Message::CloseNotify => traffic.queue_close_notify(room),
            };
            encrypted.map_err(|error| match error {
                EncryptError::InsufficientSize(size) => Ok(size.required_size),
                EncryptError::EncryptExhausted => Err(io::Error::other(error)),
            })
        });
        encrypted.map_or_else(Turn::Failed, |()| Turn::Done)
    }
}

/// The failure of a session, which breaks the leg.
fn refused(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Turn {
    Turn::Failed(io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Appends to `out` what `write` writes, which says how much that is, or how much room it takes.
fn write_to(
    out: &mut Vec<u8>,
    expected: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, Result<usize, io::Error>>,
) -> io::Result<()> {
    let begin = out.len();
    let mut room = expected;
    loop {
        out.resize(begin + room, 0);
        match write(out.get_mut(begin..).unwrap_or_default()) {
            Ok(written) => {
                out.truncate(begin + written);
                return Ok(());
            }
            Err(Ok(required)) if required > room => room = required,
            Err(Ok(_)) => return Err(io::ErrorKind::OutOfMemory.into()),
            Err(Err(error)) => return Err(error),
        }
    }
}

/// Returns how many bytes are held at most after the next read, if `held` are held now; `spans` says whether they
/// may be a handshake message longer than a record.
fn limit(held: usize, spans: bool) -> Option<usize> {
    let limit = if spans {
        (held + PIECE).clamp(RECORD, HANDSHAKE)
    } else {
        RECORD
    };
    (held < limit).then_some(limit)
}

impl Tls {
    /// TLS as a server, to begin with [`Tls::poll_handshake`].
    ///
    /// # Errors
    /// rustls has no use for the configuration.
    pub(crate) fn server(socket: Socket, config: Arc<ServerConfig>) -> io::Result<Self> {
        let session = UnbufferedServerConnection::new(config).map_err(io::Error::other)?;
        Ok(Self::new(socket, Session::Server(session)))
    }

    /// TLS as a client, to begin with [`Tls::poll_handshake`].
    ///
    /// # Errors
    /// rustls has no use for the configuration.
    pub(crate) fn client(socket: Socket, tls: ClientTls) -> io::Result<Self> {
        let session = UnbufferedClientConnection::new(tls.config, tls.name).map_err(io::Error::other)?;
        let mut tls = Self::new(socket, Session::Client(session));
        // The client speaks first.
        let mut exchange = Exchange {
            room: &mut [],
            filled: 0,
            plain: &mut tls.plain,
            outgoing: &mut tls.outgoing,
            message: None,
            ended: false,
        };
        tls.session.run(&mut [], &mut exchange)?;
        Ok(tls)
    }

    const fn new(socket: Socket, session: Session) -> Self {
        Self {
            socket,
            session,
            incoming: Vec::new(),
            plain: Vec::new(),
            outgoing: Vec::new(),
            ended: false,
            closed: false,
        }
    }

    /// Returns the stream beneath.
    pub(crate) const fn get_ref(&self) -> &Socket {
        &self.socket
    }

    /// Returns what the handshake agreed on.
    pub(crate) fn info(&self) -> TlsInfo {
        let common = self.session.common();
        TlsInfo {
            alpn: common.alpn_protocol().map(<[u8]>::to_vec),
            resumed: common.handshake_kind() == Some(HandshakeKind::Resumed),
        }
    }

    /// Ready when the handshake is done and the operating system has all of it.
    ///
    /// # Errors
    /// The peer has failed, or the stream.
    pub(crate) fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_flush(cx))?;
            if !self.session.common().is_handshaking() {
                return Poll::Ready(Ok(()));
            }
            if self.ended {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            // With the end of the handshake may come all that the peer has to say, close_notify included.
            ready!(self.poll_fill(cx, &mut []))?;
        }
    }

    /// Ready with how many bytes were read into `room`; none at the end, close_notify or not: WebSocket has a
    /// Close of its own, so a truncation is nothing that TLS would have to tell.
    ///
    /// # Errors
    /// The peer has failed, or the stream.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        for _ in 0..FRUITLESS {
            let length = self.plain.len().min(room.len());
            if let (Some(room), Some(plain)) = (room.get_mut(..length), self.plain.get(..length))
                && length > 0
            {
                room.copy_from_slice(plain);
                self.plain.drain(..length);
                if self.plain.is_empty() {
                    self.plain = Vec::new();
                }
                return Poll::Ready(Ok(length));
            }
            if self.ended {
                return Poll::Ready(Ok(0));
            }
            let read = ready!(self.poll_fill(cx, room))?;
            if read > 0 {
                return Poll::Ready(Ok(read));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Ready with how many bytes were encrypted. They have left when [`Tls::poll_flush`] is ready.
    ///
    /// # Errors
    /// The stream has failed, or the keys are used up.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut taken = 0;
        for fragment in bytes.chunks(FRAGMENT) {
            if self.poll_flush(cx)?.is_pending() {
                break;
            }
            self.send(cx, Message::Data(fragment))?;
            taken += fragment.len();
        }
        if taken == 0 {
            return Poll::Pending;
        }
        Poll::Ready(Ok(taken))
    }

    /// Ready when the operating system has everything that was encrypted.
    ///
    /// # Errors
    /// The stream has failed.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outgoing.is_empty() {
            let written = ready!(Pin::new(&mut self.socket).poll_write(cx, &self.outgoing))?;
            self.outgoing.drain(..written);
            if self.outgoing.is_empty() {
                self.outgoing = Vec::new();
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Ready when the operating system has everything, close_notify at the end.
    ///
    /// # Errors
    /// The stream has failed.
    pub(crate) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.closed {
            self.closed = true;
            self.send(cx, Message::CloseNotify)?;
        }
        self.poll_flush(cx)
    }

    /// Reads records once. Ready with how many bytes of data went to `room`.
    fn poll_fill(&mut self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.outgoing.len() > RECORD {
            // A peer that is answered and does not read is not heard.
            ready!(self.poll_flush(cx))?;
        }
        RECORDS.with_borrow_mut(|Records { incoming, outgoing }| {
            let held = self.incoming.len();
            let limit = limit(held, self.session.messages_span());
            let records = limit.and_then(|limit| incoming.get_mut(..limit));
            let records = records.ok_or(io::ErrorKind::InvalidData)?;
            let (begun, free) = records.split_at_mut(held);
            let read = ready!(Pin::new(&mut self.socket).poll_read(cx, free))?;
            if read == 0 {
                self.ended = true;
                return Poll::Ready(Ok(0));
            }
            begun.copy_from_slice(&self.incoming);
            let records = records.get_mut(..held + read).unwrap_or_default();
            outgoing.clear();
            let mut exchange = Exchange {
                room,
                filled: 0,
                plain: &mut self.plain,
                outgoing,
                message: None,
                ended: self.ended,
            };
            let used = self.session.run(records, &mut exchange);
            self.ended = exchange.ended;
            let filled = exchange.filled;
            let written = self.put(cx, outgoing);
            let left = records.get(used?..).unwrap_or_default();
            written?;
            self.incoming = left.to_vec();
            Poll::Ready(Ok(filled))
        })
    }

    /// Encrypts `message`, and writes what the operating system takes.
    fn send(&mut self, cx: &mut Context<'_>, message: Message<'_>) -> io::Result<()> {
        RECORDS.with_borrow_mut(|Records { outgoing, .. }| {
            outgoing.clear();
            let mut exchange = Exchange {
                room: &mut [],
                filled: 0,
                plain: &mut self.plain,
                outgoing,
                message: Some(message),
                ended: self.ended,
            };
            // It goes on from what it has seen of a message that is not complete.
            let used = self.session.run(&mut self.incoming, &mut exchange)?;
            if exchange.message.is_some() {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            self.ended = exchange.ended;
            self.incoming.drain(..used);
            self.put(cx, outgoing)
        })
    }

    /// Writes `records` as far as the operating system takes them, and keeps the rest.
    fn put(&mut self, cx: &mut Context<'_>, records: &[u8]) -> io::Result<()> {
        let mut left = records;
        while !left.is_empty()
            && self.outgoing.is_empty()
            && let Poll::Ready(written) = Pin::new(&mut self.socket).poll_write(cx, left)?
        {
            left = left.get(written..).unwrap_or_default();
        }
        self.outgoing.extend_from_slice(left);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
