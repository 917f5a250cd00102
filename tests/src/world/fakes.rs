//! Fakes behind real listeners.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use rustls::{ServerConnection, StreamOwned};

use super::certificate;
use crate::fake::{Fake, Talker};

/// How often a fake that was silent is asked whether it has more to say.
const GLANCE: Duration = Duration::from_millis(5);

/// Starts a listener that lives as long as the process.
pub(super) fn listen(fake: Fake, tls: bool) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let talker = fake.talker();
            stream.set_read_timeout(Some(GLANCE)).unwrap();
            stream.set_nodelay(true).unwrap();
            thread::spawn(move || {
                if tls {
                    talk_tls(stream, talker);
                } else {
                    talk(stream, talker);
                }
            });
        }
    });
    address
}

// A gateway that goes away ends a fake: there is nobody to tell.
fn talk(mut stream: TcpStream, mut talker: Box<dyn Talker>) {
    let mut buffer = [0; 4096];
    loop {
        let count = match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(_) => return,
        };
        let reply = talker.hear(&buffer[..count]);
        if stream.write_all(&reply.bytes).is_err() || reply.end {
            return;
        }
        if reply.tls {
            return talk_tls(stream, talker);
        }
    }
}

fn talk_tls(stream: TcpStream, mut talker: Box<dyn Talker>) {
    let session = ServerConnection::new(certificate::server()).unwrap();
    let mut tls = StreamOwned::new(session, stream);
    let mut buffer = [0; 4096];
    loop {
        let count = match tls.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(_) => return,
        };
        let reply = talker.hear(&buffer[..count]);
        if tls.write_all(&reply.bytes).and_then(|()| tls.flush()).is_err() {
            return;
        }
        if reply.end {
            tls.conn.send_close_notify();
            tls.flush().ok();
            return;
        }
    }
}
