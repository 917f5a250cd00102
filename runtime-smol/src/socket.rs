//! A TCP stream of a reactor, with no system call more than it takes.

use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_lite::io::{AsyncRead, AsyncWrite};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};

use crate::reactor::{Kind, Reactor, Registration, Way};

/// A TCP stream whose readiness a reactor knows.
#[derive(Debug)]
pub(crate) struct Socket {
    // Dropped before the stream, as it has to be.
    registration: Registration,
    stream: TcpStream,
}

impl Socket {
    /// Reads and writes through `stream`, which never waits by itself.
    ///
    /// # Errors
    /// The operating system refused to watch one more.
    pub(crate) fn new(stream: TcpStream, reactor: &Arc<Reactor>) -> io::Result<Self> {
        Ok(Self {
            registration: Registration::new(reactor, &stream, Kind::Open)?,
            stream,
        })
    }

    /// Connects to `address`.
    ///
    /// # Errors
    /// Why there is no connection.
    pub(crate) async fn connect(address: SocketAddr, reactor: &Arc<Reactor>) -> io::Result<Self> {
        let family = match address {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(family, SocketType::STREAM, flags, None)?;
        match connect(&socket, &address) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(error) => return Err(error.into()),
        }
        let stream = TcpStream::from(socket);
        // Before the attempt was made it would be reported as hung up.
        let registration = Registration::new(reactor, &stream, Kind::Connecting)?;
        poll_fn(|cx| registration.poll(cx, Way::Out)).await;
        match stream.take_error()? {
            Some(error) => Err(error),
            None => Ok(Self { registration, stream }),
        }
    }

    /// Returns the stream itself.
    pub(crate) const fn get_ref(&self) -> &TcpStream {
        &self.stream
    }

    /// Makes a call as soon as it does not have to wait.
    fn poll_call<T>(
        &self,
        cx: &Context<'_>,
        way: Way,
        mut call: impl FnMut(&TcpStream) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        loop {
            ready!(self.registration.poll(cx, way));
            match call(&self.stream) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.registration.refused(way),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return Poll::Ready(done),
            }
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let read = ready!(self.poll_call(cx, Way::In, |mut stream| stream.read(buffer)))?;
        if read < buffer.len() {
            // The next one would find nothing, epoll(7), unless this way is over.
            self.registration.exhausted(Way::In);
        }
        Poll::Ready(Ok(read))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_call(cx, Way::Out, |mut stream| stream.write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_call(cx, Way::Out, |mut stream| stream.write_vectored(parts))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Whoever hangs up shuts down the stream itself: twice would fail when the peer is gone in between.
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::net::{Ipv4Addr, TcpListener};
    use std::time::Duration;

    use futures_lite::future::or;
    use futures_lite::io::{AsyncReadExt, AsyncWriteExt};
    use rustix::net::SendFlags;

    use super::*;

    fn pair(reactor: &Arc<Reactor>) -> (Socket, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        (Socket::new(stream, reactor).unwrap(), client)
    }

    #[test]
    fn what_comes_before_and_after_a_short_read_is_read() {
        let reactor = Reactor::of_thread();
        let (mut socket, mut client) = pair(&reactor);
        let mut buffer = [0; 8];
        reactor.block_on(async {
            for _ in 0..100 {
                client.write_all(b"one").unwrap();
                assert_eq!(socket.read(&mut buffer).await.unwrap(), 3);
                // There already when it is asked for, and more than one read takes.
                client.write_all(b"more than eight").unwrap();
                assert_eq!(socket.read(&mut buffer).await.unwrap(), 8);
                assert_eq!(socket.read(&mut buffer).await.unwrap(), 7);
            }
            drop(client);
            assert_eq!(socket.read(&mut buffer).await.unwrap(), 0);
            assert_eq!(socket.read(&mut buffer).await.unwrap(), 0);
        });
    }

    #[test]
    fn an_end_that_came_with_the_last_bytes_is_read_after_them() {
        let reactor = Reactor::of_thread();
        for _ in 0..100 {
            let (mut socket, mut client) = pair(&reactor);
            client.write_all(b"last").unwrap();
            drop(client);
            let mut buffer = [0; 8];
            reactor.block_on(async {
                assert_eq!(socket.read(&mut buffer).await.unwrap(), 4);
                assert_eq!(socket.read(&mut buffer).await.unwrap(), 0);
            });
        }
    }

    #[test]
    fn what_stands_behind_urgent_data_is_read() {
        let reactor = Reactor::of_thread();
        let (mut socket, mut client) = pair(&reactor);
        let mut buffer = [0; 8];
        reactor.block_on(async {
            for _ in 0..100 {
                client.write_all(b"before").unwrap();
                assert_eq!(rustix::net::send(&client, b"!", SendFlags::OOB), Ok(1));
                client.write_all(b"behind").unwrap();
                // A read ends at the mark, and is short although there is more.
                assert_eq!(socket.read(&mut buffer).await.unwrap(), 6);
                assert_eq!(&buffer[..6], b"before");
                let behind = or(async { socket.read(&mut buffer).await.ok() }, async {
                    reactor.pause(Duration::from_secs(5)).await;
                    None
                });
                assert_eq!(behind.await, Some(6));
                assert_eq!(&buffer[..6], b"behind");
            }
        });
    }

    #[test]
    fn a_full_stream_is_written_on_when_its_peer_reads() {
        const LENGTH: usize = 16 * 1024 * 1024;
        let reactor = Reactor::of_thread();
        let (mut socket, mut client) = pair(&reactor);
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            client.read_to_end(&mut all).map(|_| all.len())
        });
        reactor.block_on(async {
            socket.write_all(&vec![0x5A; LENGTH]).await.unwrap();
            socket.get_ref().shutdown(std::net::Shutdown::Write).unwrap();
        });
        assert_eq!(reader.join().unwrap().unwrap(), LENGTH);
    }

    #[test]
    fn what_cannot_be_connected_fails_and_what_can_is_written_to() {
        let reactor = Reactor::of_thread();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        reactor.block_on(async {
            let mut socket = Socket::connect(address, &reactor).await.unwrap();
            socket.write_all(b"hello").await.unwrap();
            drop(listener);
            let refused = Socket::connect(address, &reactor).await.unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        });
    }
}
