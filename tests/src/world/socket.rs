//! A client's end of a real stream, plain or TLS.

use std::fmt::Debug;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use super::certificate;
use crate::client::{End, Link, Received};

/// A client's end of a real stream.
#[derive(Debug)]
pub(super) enum Socket {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Socket {
    pub(super) fn plain(address: SocketAddr, header: &[u8]) -> Self {
        Self::Plain(connected(address, header))
    }

    pub(super) fn tls(address: SocketAddr, header: &[u8]) -> Self {
        let stream = connected(address, header);
        let name = ServerName::try_from("localhost").unwrap();
        let session = ClientConnection::new(certificate::client_tls(), name).unwrap();
        Self::Tls(Box::new(StreamOwned::new(session, stream)))
    }

    fn stream(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(tls) => &tls.sock,
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(tls) => tls.read(buffer),
        }
    }
}

impl Link for Socket {
    fn send(&mut self, bytes: &[u8]) -> bool {
        // A server that has had enough closes while the client still writes: what it answered is
        // what counts, and reading finds it.
        let written = match self {
            Self::Plain(stream) => stream.write_all(bytes),
            Self::Tls(tls) => tls.write_all(bytes).and_then(|()| tls.flush()),
        };
        written.is_ok()
    }

    fn half_close(&mut self) {
        if let Self::Tls(tls) = self {
            tls.conn.send_close_notify();
            tls.flush().ok();
        }
        self.stream().shutdown(Shutdown::Write).ok();
    }

    fn abort(&mut self) {
        self.stream().shutdown(Shutdown::Both).ok();
    }

    fn stop_reading(&mut self, _room: usize) {}

    fn receive(&mut self, patience: Duration) -> Received {
        let end = Instant::now() + patience;
        let mut buffer = [0; 16 * 1024];
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Received::Nothing;
            }
            self.stream().set_read_timeout(Some(left)).unwrap();
            match self.read(&mut buffer) {
                Ok(0) => return Received::End(End::Eof),
                Ok(count) => return Received::Bytes(buffer[..count].to_vec()),
                Err(error) if again(&error) => {}
                // A reset, a TLS alert, or the end of TCP without the end of TLS.
                Err(_) => return Received::End(End::Reset),
            }
        }
    }
}

fn connected(address: SocketAddr, header: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_write_timeout(Some(super::PATIENCE)).unwrap();
    // A server that does not want it may be gone already.
    stream.write_all(header).ok();
    stream
}

fn again(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}
