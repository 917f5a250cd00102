//! One leg's byte stream: plain, TLS or a file, polled directly by its connection.

use std::fs::File;
use std::future::{Future, poll_fn};
use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use blocking::Unblock;
use countersign_core::gateway::Lookups;
use countersign_core::leg::{Break, ClientTls, Dial, DialError, Opened, Tls, TlsInfo};
use countersign_core::ops::faults;
use futures_lite::io::{AsyncRead, AsyncWrite};

use crate::dial::dial;
use crate::reactor::Reactor;
use crate::socket::Socket;
use crate::tls::Tls as TlsStream;

type Opening<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What happened on a stream.
#[derive(Debug)]
pub(crate) enum Event {
    /// The dial ended.
    Dialed(Result<Opened, DialError>),
    /// The TLS handshake is done.
    Secured(TlsInfo),
    /// The operating system took this many bytes.
    Sent(usize),
    /// This many bytes lie in the scratch buffer.
    Data(usize),
    /// The peer has shut down its writing side.
    Eof,
    /// The stream is gone in both directions.
    Broken(Break),
}

/// What bytes of an open leg go through.
pub(crate) enum Io {
    /// TCP.
    Plain(Socket),
    /// TLS over TCP, either side.
    Tls(Box<TlsStream>),
    /// A file, read on the thread pool.
    File(Box<Unblock<File>>),
}

enum State {
    Dialing(Opening<Result<(Io, Opened), DialError>>),
    Securing(Box<TlsStream>),
    /// A handshake that fails at the next poll.
    Abandoned,
    Open(Io),
    Gone,
}

/// One leg's byte stream.
pub(crate) struct Stream {
    state: State,
    /// Bytes that TLS has taken and the operating system has not: reported `Sent` only after a
    /// full flush, or a hang-up could overtake them.
    unflushed: usize,
    /// Whichever moved bytes last is asked last, so that neither starves the other: what answers a
    /// read is written before more is read.
    write_first: bool,
    eof: bool,
    hanging_up: bool,
}

impl Stream {
    /// An accepted stream.
    pub(crate) const fn accepted(socket: Socket) -> Self {
        Self::new(State::Open(Io::Plain(socket)))
    }

    /// A stream that is being opened.
    pub(crate) fn dialing(dialed: Dial, lookups: &Arc<Lookups>, reactor: &Arc<Reactor>) -> Self {
        let opening = dial(dialed.to, Arc::clone(lookups), Arc::clone(reactor));
        Self::new(State::Dialing(Box::pin(opening)))
    }

    const fn new(state: State) -> Self {
        Self {
            state,
            unflushed: 0,
            write_first: false,
            eof: false,
            hanging_up: false,
        }
    }

    /// Starts TLS on an open plain stream. Anything else breaks.
    pub(crate) fn secure(&mut self, tls: Tls) {
        self.state = match std::mem::replace(&mut self.state, State::Gone) {
            State::Open(Io::Plain(socket)) => {
                let tls = match tls {
                    Tls::Client(tls) => TlsStream::client(socket, tls),
                    Tls::Server(config) => TlsStream::server(socket, config),
                };
                tls.map_or(State::Abandoned, |tls| State::Securing(Box::new(tls)))
            }
            State::Open(Io::Tls(_) | Io::File(_))
            | State::Dialing(_)
            | State::Securing(_)
            | State::Abandoned
            | State::Gone => State::Abandoned,
        };
    }

    /// Ends the writing side once everything was flushed; reads go on. In a TLS handshake there is
    /// nothing to flush and nobody to read: it is abandoned, and the leg breaks.
    pub(crate) fn hang_up(&mut self, cx: &mut Context<'_>) {
        if let State::Securing(_) = self.state {
            self.state = State::Abandoned;
            return;
        }
        self.hanging_up = true;
        if self.unflushed == 0 {
            // What cannot be flushed at once is flushed by the polls that follow; a broken stream
            // is noticed by them as well.
            let _ = self.poll_hang_up(cx);
        }
    }

    /// Moves bytes: writes of `outgoing` what was not written yet, and if `wants_read`, reads into
    /// `scratch`. Registers the task for everything that is pending.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        outgoing: &[u8],
        wants_read: bool,
        scratch: &mut [u8],
    ) -> Poll<Event> {
        let event = match &mut self.state {
            State::Dialing(opening) => {
                let (state, result) = match ready!(opening.as_mut().poll(cx)) {
                    Ok((io, opened)) => (State::Open(io), Ok(opened)),
                    Err(error) => (State::Gone, Err(error)),
                };
                self.state = state;
                Event::Dialed(result)
            }
            State::Securing(tls) => match ready!(tls.poll_handshake(cx)) {
                Ok(()) => {
                    let info = tls.info();
                    if let State::Securing(tls) = std::mem::replace(&mut self.state, State::Gone) {
                        self.state = State::Open(Io::Tls(tls));
                    }
                    Event::Secured(info)
                }
                Err(_) => self.broken(Break::Tls),
            },
            State::Abandoned => self.broken(Break::Tls),
            State::Open(_) => match ready!(self.poll_open(cx, outgoing, wants_read, scratch)) {
                Ok(event) => event,
                Err(error) => self.broken(faults::broken(&error)),
            },
            State::Gone => return Poll::Pending,
        };
        Poll::Ready(event)
    }

    fn broken(&mut self, why: Break) -> Event {
        self.state = State::Gone;
        Event::Broken(why)
    }

    fn poll_open(
        &mut self,
        cx: &mut Context<'_>,
        outgoing: &[u8],
        wants_read: bool,
        scratch: &mut [u8],
    ) -> Poll<io::Result<Event>> {
        for write in [self.write_first, !self.write_first] {
            let moved = if write {
                self.poll_write(cx, outgoing)?.map(Event::Sent)
            } else if wants_read && !self.eof {
                self.poll_read(cx, scratch)?
            } else {
                Poll::Pending
            };
            if moved.is_ready() {
                self.write_first = !write;
                return moved.map(Ok);
            }
        }
        Poll::Pending
    }

    /// Ready with how many bytes of `outgoing` the operating system took, at least one.
    fn poll_write(&mut self, cx: &mut Context<'_>, outgoing: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.state {
            State::Open(Io::Plain(socket)) if !outgoing.is_empty() => {
                return Pin::new(socket).poll_write(cx, outgoing);
            }
            State::Open(Io::Tls(tls)) => {
                let fresh = outgoing.get(self.unflushed..).unwrap_or_default();
                if !fresh.is_empty()
                    && let Poll::Ready(taken) = tls.poll_write(cx, fresh)?
                {
                    self.unflushed += taken;
                }
                // Also without bytes of ours: a key update or an alert may wait in the session.
                ready!(tls.poll_flush(cx))?;
                if self.unflushed > 0 {
                    return Poll::Ready(Ok(std::mem::take(&mut self.unflushed)));
                }
            }
            State::Open(Io::Plain(_) | Io::File(_))
            | State::Dialing(_)
            | State::Securing(_)
            | State::Abandoned
            | State::Gone => {}
        }
        if self.hanging_up && outgoing.is_empty() {
            ready!(self.poll_hang_up(cx))?;
        }
        Poll::Pending
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) -> Poll<io::Result<Event>> {
        let State::Open(io) = &mut self.state else {
            return Poll::Pending;
        };
        let read = ready!(match io {
            Io::Plain(socket) => Pin::new(socket).poll_read(cx, scratch),
            Io::Tls(tls) => tls.poll_read(cx, scratch),
            Io::File(file) => Pin::new(file).poll_read(cx, scratch),
        });
        Poll::Ready(match read {
            Ok(0) => {
                self.eof = true;
                Ok(Event::Eof)
            }
            Ok(length) => Ok(Event::Data(length)),
            Err(error) => Err(error),
        })
    }

    fn poll_hang_up(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.state {
            State::Open(Io::Plain(socket)) => socket.get_ref().shutdown(Shutdown::Write)?,
            State::Open(Io::Tls(tls)) => {
                ready!(tls.poll_close(cx))?;
                tls.get_ref().get_ref().shutdown(Shutdown::Write)?;
            }
            State::Open(Io::File(_))
            | State::Dialing(_)
            | State::Securing(_)
            | State::Abandoned
            | State::Gone => {}
        }
        self.hanging_up = false;
        Poll::Ready(Ok(()))
    }
}

/// Performs a TLS handshake as a client.
pub(crate) async fn secured(socket: Socket, tls: ClientTls) -> io::Result<Box<TlsStream>> {
    let mut tls = Box::new(TlsStream::client(socket, tls)?);
    poll_fn(|cx| tls.poll_handshake(cx)).await?;
    Ok(tls)
}

#[cfg(test)]
mod tests;
