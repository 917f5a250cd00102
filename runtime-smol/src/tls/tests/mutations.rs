//! Handshakes whose bytes were changed on their way.

use rustls::Connection;

use super::conversation::Dice;
use super::*;

/// Changes `bytes` somewhere.
fn mutate(dice: &mut Dice, bytes: &mut Vec<u8>) {
    if bytes.is_empty() {
        return;
    }
    let at = dice.below(bytes.len());
    match dice.below(6) {
        0 => bytes[at] ^= 1 << dice.below(8),
        1 => bytes[at] = dice.below(256) as u8,
        2 => bytes.truncate(at),
        3 => {
            bytes.drain(at..bytes.len().min(at + 1 + dice.below(20)));
        }
        4 => {
            let again = bytes[at..bytes.len().min(at + 1 + dice.below(100))].to_vec();
            bytes.splice(at..at, again);
        }
        _ => {
            // In the header of a record.
            let at = dice.below(bytes.len().min(9));
            bytes[at] = [0, 1, 3, 20, 21, 22, 23, 255][dice.below(8)];
        }
    }
}

/// What came of a ClientHello.
#[derive(Debug, PartialEq)]
enum Outcome {
    /// More was expected, or the handshake went on.
    Fine,
    /// By these records; of an alert in the clear, what it says.
    Refused(Vec<(u8, Option<u8>)>),
}

fn refused(mut records: &[u8]) -> Outcome {
    let mut seen = Vec::new();
    while let [kind, _, _, high, low, rest @ ..] = records {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let (record, more) = rest.split_at(length);
        seen.push((*kind, (*kind == 21 && length == 2).then(|| record[1])));
        records = more;
    }
    Outcome::Refused(seen)
}

fn by_rustls(server: &Arc<ServerConfig>, hello: &[u8]) -> Outcome {
    let mut session = ServerConnection::new(Arc::clone(server)).unwrap();
    let mut left = hello;
    while !left.is_empty() {
        let read = session.read_tls(&mut left);
        if read.is_err() || session.process_new_packets().is_err() {
            let mut answer = Vec::new();
            while session.wants_write() {
                session.write_tls(&mut answer).unwrap();
            }
            return refused(&answer);
        }
    }
    Outcome::Fine
}

fn by_ours(server: &Arc<ServerConfig>, hello: &[u8]) -> Outcome {
    let (socket, mut tcp) = sockets();
    let mut tls = Tls::server(socket, Arc::clone(server)).unwrap();
    tcp.write_all(hello).unwrap();
    tcp.shutdown(Shutdown::Write).unwrap();
    let error = wait(|cx| tls.poll_handshake(cx)).unwrap_err();
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return Outcome::Fine;
    }
    drop(tls);
    let mut answer = Vec::new();
    let _ = tcp.read_to_end(&mut answer);
    refused(&answer)
}

#[test]
fn a_changed_hello_has_the_same_end_as_with_the_buffers_of_rustls() {
    for version in [&TLS12, &TLS13] {
        let (server, client) = configs(version);
        let (server, client) = (Arc::new(server), Arc::new(client));
        let mut dice = Dice::new(7);
        for _ in 0..200 {
            let name = "localhost".try_into().unwrap();
            let mut session = ClientConnection::new(Arc::clone(&client), name).unwrap();
            let mut hello = Vec::new();
            session.write_tls(&mut hello).unwrap();
            for _ in 0..1 + dice.below(2) {
                mutate(&mut dice, &mut hello);
            }
            assert_eq!(
                by_ours(&server, &hello),
                by_rustls(&server, &hello),
                "{hello:02x?}"
            );
        }
    }
}

/// A handshake in which `flight` of the peer is changed. The peer ends when it has nothing more to say.
fn changed(dice: &mut Dice, mut tls: Tls, mut peer: Connection, mut tcp: TcpStream, flight: usize) -> bool {
    tcp.set_nonblocking(true).unwrap();
    let mut sent = 0;
    let mut over = false;
    for _ in 0..1000 {
        let mut records = Vec::new();
        while peer.wants_write() {
            peer.write_tls(&mut records).unwrap();
        }
        if !records.is_empty() && !over {
            if sent == flight {
                mutate(dice, &mut records);
            }
            sent += 1;
            tcp.write_all(&records).unwrap();
        }
        if !over && (sent > flight || !peer.is_handshaking()) {
            over = true;
            tcp.shutdown(Shutdown::Write).unwrap();
        }
        match once(|cx| tls.poll_handshake(cx)) {
            Poll::Ready(Err(_)) => return false,
            Poll::Ready(Ok(())) => {
                let _ = tcp.shutdown(Shutdown::Write);
                while wait(|cx| tls.poll_read(cx, &mut [0; 100])).is_ok_and(|length| length > 0) {}
                return true;
            }
            Poll::Pending => {}
        }
        if matches!(peer.read_tls(&mut tcp), Ok(1..)) {
            // It may have been told of what was changed.
            let _ = peer.process_new_packets();
        }
    }
    panic!("a handshake without an end");
}

#[test]
fn a_changed_handshake_ends() {
    let mut succeeded = 0;
    for version in [&TLS12, &TLS13] {
        let (server, client) = configs(version);
        let (server, client) = (Arc::new(server), Arc::new(client));
        let mut dice = Dice::new(11);
        for round in 0..100 {
            let (socket, tcp) = sockets();
            let (server, client) = (Arc::clone(&server), Arc::clone(&client));
            let name = "localhost".try_into().unwrap();
            let (tls, peer): (_, Connection) = if round % 2 == 0 {
                let peer = ClientConnection::new(client, name).unwrap();
                (Tls::server(socket, server).unwrap(), peer.into())
            } else {
                let peer = ServerConnection::new(server).unwrap();
                let tls = ClientTls { config: client, name };
                (Tls::client(socket, tls).unwrap(), peer.into())
            };
            if changed(&mut dice, tls, peer, tcp, round / 2 % 2) {
                succeeded += 1;
            }
        }
    }
    // What was changed lay behind the handshake, or was cut off behind it.
    assert!((1..100).contains(&succeeded), "{succeeded} of 200");
}
