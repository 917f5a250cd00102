//! A real peer to dial: it sends back what it gets, and speaks TLS when it is asked to.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

use rustls::{ServerConnection, StreamOwned};

use super::certificate;

/// What a client says to get TLS from then on. It is sent back in plain text first.
pub const START_TLS: &str = "STARTTLS";

/// Starts a peer that lives as long as the process.
pub(super) fn listen(tls: bool) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || if tls { echo_tls(stream) } else { echo(stream) });
        }
    });
    address
}

/// Returns an address where nobody listens.
pub(super) fn nobody() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap()
}

// A peer that goes away ends an echo: there is nobody to tell.
fn echo(mut stream: TcpStream) {
    let mut buffer = [0; 1024];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..count]).is_err() {
            return;
        }
        if &buffer[..count] == START_TLS.as_bytes() {
            return echo_tls(stream);
        }
    }
    stream.shutdown(Shutdown::Write).ok();
}

fn echo_tls(stream: TcpStream) {
    let session = ServerConnection::new(certificate::server()).unwrap();
    let mut tls = StreamOwned::new(session, stream);
    let mut buffer = [0; 1024];
    while let Ok(count @ 1..) = tls.read(&mut buffer) {
        if tls
            .write_all(&buffer[..count])
            .and_then(|()| tls.flush())
            .is_err()
        {
            return;
        }
    }
    tls.conn.send_close_notify();
    tls.flush().ok();
}
