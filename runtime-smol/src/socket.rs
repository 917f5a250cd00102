//! A TCP stream that the reactor watches, with no system call more than it takes.

use std::io;
use std::net::TcpStream;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use async_io::Async;
use futures_lite::io::{AsyncRead, AsyncWrite};

/// A TCP stream that the reactor watches.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: Async<TcpStream>,
    /// The last read took less than it could have: the next one would find nothing. It is asked for
    /// readiness first, which the reactor reports even if bytes came before it was asked.
    drained: bool,
}

impl Socket {
    /// Reads and writes through `stream`.
    pub(crate) const fn new(stream: Async<TcpStream>) -> Self {
        Self {
            stream,
            drained: false,
        }
    }

    /// Returns the stream itself.
    pub(crate) fn get_ref(&self) -> &TcpStream {
        self.stream.get_ref()
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if self.drained {
            ready!(self.stream.poll_readable(cx))?;
            self.drained = false;
        }
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        // The end of the stream is no short read: it can be read again and again.
        self.drained = read > 0 && read < buffer.len();
        Poll::Ready(Ok(read))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::Write;
    use std::net::{Ipv4Addr, TcpListener};

    use async_io::block_on;
    use futures_lite::io::AsyncReadExt;

    use super::*;

    #[test]
    fn what_comes_before_and_after_a_short_read_is_read() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().unwrap();
        let mut socket = Socket::new(Async::new(stream).unwrap());
        let mut buffer = [0; 8];
        block_on(async {
            for _ in 0..100 {
                client.write_all(b"one").unwrap();
                assert_eq!(socket.read(&mut buffer).await.unwrap(), 3);
                assert!(socket.drained);
                // There already when it is asked for, and more than one read takes.
                client.write_all(b"more than eight").unwrap();
                assert_eq!(socket.read(&mut buffer).await.unwrap(), 8);
                assert!(!socket.drained);
                assert_eq!(socket.read(&mut buffer).await.unwrap(), 7);
            }
            drop(client);
            assert_eq!(socket.read(&mut buffer).await.unwrap(), 0);
            assert_eq!(socket.read(&mut buffer).await.unwrap(), 0);
        });
    }
}
