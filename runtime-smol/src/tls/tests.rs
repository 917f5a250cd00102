#![allow(clippy::unwrap_used)]

use std::future::poll_fn;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::thread;

use rustls::pki_types::PrivateKeyDer;
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConnection, StreamOwned, SupportedProtocolVersion,
};

use super::*;
use crate::reactor::Reactor;

type Client = StreamOwned<ClientConnection, TcpStream>;

fn configs(version: &'static SupportedProtocolVersion) -> (ServerConfig, ClientConfig) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let server = ServerConfig::builder_with_protocol_versions(&[version])
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = ClientConfig::builder_with_protocol_versions(&[version])
        .with_root_certificates(roots)
        .with_no_client_auth();
    (server, client)
}

fn sockets() -> (Socket, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let other = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (stream, _) = listener.accept().unwrap();
    stream.set_nonblocking(true).unwrap();
    stream.set_nodelay(true).unwrap();
    other.set_nodelay(true).unwrap();
    (Socket::new(stream, &Reactor::of_thread()).unwrap(), other)
}

fn wait<T>(poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
    Reactor::of_thread().block_on(poll_fn(poll))
}

/// Polls once, after what has arrived is known.
fn once<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
    Reactor::of_thread().look();
    wait(|cx| Poll::Ready(poll(cx)))
}

fn read(tls: &mut Tls, room: usize) -> Vec<u8> {
    let mut room = vec![0; room];
    let length = wait(|cx| tls.poll_read(cx, &mut room)).unwrap();
    room.truncate(length);
    room
}

fn write(tls: &mut Tls, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let taken = wait(|cx| tls.poll_write(cx, bytes)).unwrap();
        bytes = &bytes[taken..];
        wait(|cx| tls.poll_flush(cx)).unwrap();
    }
}

/// A server and its client, who is driven by hand.
fn pair(version: &'static SupportedProtocolVersion) -> (Tls, Client) {
    let (server, client) = configs(version);
    pair_of(server, client)
}

fn pair_of(server: ServerConfig, client: ClientConfig) -> (Tls, Client) {
    let (socket, tcp) = sockets();
    let shaking = thread::spawn(move || {
        let session = ClientConnection::new(Arc::new(client), "localhost".try_into().unwrap()).unwrap();
        let mut client = StreamOwned::new(session, tcp);
        client.conn.complete_io(&mut client.sock).unwrap();
        client
    });
    let mut tls = Tls::server(socket, Arc::new(server)).unwrap();
    wait(|cx| tls.poll_handshake(cx)).unwrap();
    (tls, shaking.join().unwrap())
}

/// A client and its server, who echoes all it reads until it reads nothing more.
fn client_of(server: ServerConfig, client: ClientConfig) -> (Tls, thread::JoinHandle<()>) {
    let (socket, tcp) = sockets();
    let echoing = thread::spawn(move || {
        let session = ServerConnection::new(Arc::new(server)).unwrap();
        let mut server = StreamOwned::new(session, tcp);
        let mut bytes = [0; 1000];
        while let Ok(length) = server.read(&mut bytes)
            && length > 0
        {
            server.write_all(&bytes[..length]).unwrap();
        }
        server.conn.send_close_notify();
        let _ = server.flush();
    });
    let tls = ClientTls {
        config: Arc::new(client),
        name: "localhost".try_into().unwrap(),
    };
    let mut tls = Tls::client(socket, tls).unwrap();
    wait(|cx| tls.poll_handshake(cx)).unwrap();
    (tls, echoing)
}

/// Returns how many bytes a stream holds of what has passed.
fn held(tls: &Tls) -> usize {
    tls.incoming.capacity() + tls.plain.capacity() + tls.outgoing.capacity()
}

#[test]
fn an_idle_stream_holds_no_buffer() {
    for version in [&TLS12, &TLS13] {
        let (mut tls, mut client) = pair(version);
        assert_eq!(held(&tls), 0);
        client.write_all(b"a message").unwrap();
        assert_eq!(read(&mut tls, 4), b"a me");
        assert_eq!(read(&mut tls, 100), b"ssage");
        write(&mut tls, b"its answer");
        client.read_exact(&mut [0; 10]).unwrap();
        assert_eq!(held(&tls), 0);
    }
    // What it is on the heap beside the socket.
    assert!(size_of::<Tls>() <= 1200, "{} bytes", size_of::<Tls>());
}

#[test]
fn what_arrives_is_what_was_sent_however_it_is_cut() {
    let bytes: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    for version in [&TLS12, &TLS13] {
        for (written, room) in [(70_000, 16 * 1024), (16 * 1024, 5000), (1000, 16 * 1024), (3, 1)] {
            let length = bytes.len().min(written * 300);
            let sent = bytes[..length].to_vec();
            let (mut tls, mut client) = pair(version);
            let sending = thread::spawn(move || {
                for part in sent.chunks(written) {
                    client.write_all(part).unwrap();
                }
                client
            });
            let mut got = Vec::new();
            while got.len() < length {
                let more = read(&mut tls, room);
                assert!(!more.is_empty());
                got.extend(more);
            }
            assert!(got == bytes[..length]);
            let mut client = sending.join().unwrap();
            let reading = thread::spawn(move || {
                let mut back = vec![0; length];
                client.read_exact(&mut back).unwrap();
                back
            });
            write(&mut tls, &got);
            assert!(reading.join().unwrap() == got);
            assert_eq!(held(&tls), 0);
        }
    }
}

#[test]
fn a_record_in_single_bytes_is_read_and_answered_meanwhile() {
    let (mut tls, mut client) = pair(&TLS13);
    let mut record = Vec::new();
    client.conn.writer().write_all(&[7; 2000]).unwrap();
    client.conn.write_tls(&mut record).unwrap();
    let (last, first) = record.split_last().unwrap();
    for (number, byte) in first.iter().enumerate() {
        client.sock.write_all(&[*byte]).unwrap();
        let polled = once(|cx| tls.poll_read(cx, &mut [0; 100]));
        assert!(polled.is_pending(), "byte {number}");
        assert_eq!(tls.incoming.len(), number + 1);
        if number % 500 == 3 {
            write(&mut tls, b"meanwhile");
            let mut answer = [0; 9];
            client.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"meanwhile");
        }
    }
    client.sock.write_all(&[*last]).unwrap();
    for _ in 0..20 {
        assert_eq!(read(&mut tls, 100), [7; 100]);
    }
    assert_eq!(held(&tls), 0);
}

#[test]
fn keys_are_changed_in_the_middle_of_an_echo() {
    let (mut tls, mut client) = pair(&TLS13);
    for round in 0..20_u8 {
        client.conn.refresh_traffic_keys().unwrap();
        client.write_all(&[round; 1000]).unwrap();
        let mut back = [0; 1000];
        let mut got = 0;
        while got < 1000 {
            let more = read(&mut tls, 700);
            write(&mut tls, &more);
            got += more.len();
        }
        client.read_exact(&mut back).unwrap();
        assert_eq!(back, [round; 1000]);
    }
    assert_eq!(held(&tls), 0);
}

#[test]
fn a_client_echoes_with_a_server() {
    for version in [&TLS12, &TLS13] {
        let (server, client) = configs(version);
        let (mut tls, echoing) = client_of(server, client);
        for round in 0..30_u8 {
            write(&mut tls, &[round; 100]);
            let mut got = Vec::new();
            while got.len() < 100 {
                got.extend(read(&mut tls, 7));
            }
            assert_eq!(got, [round; 100]);
        }
        wait(|cx| tls.poll_close(cx)).unwrap();
        assert_eq!(read(&mut tls, 100), b"", "its close_notify");
        echoing.join().unwrap();
    }
}

#[test]
fn what_is_written_in_the_middle_of_a_handshake_message_disturbs_nothing() {
    let (mut server, client) = configs(&TLS13);
    // A session ticket spans records then.
    server.max_fragment_size = Some(48);
    let (socket, mut tcp) = sockets();
    let answering = thread::spawn(move || {
        let mut session = ServerConnection::new(Arc::new(server)).unwrap();
        let mut tickets = Vec::new();
        while session.is_handshaking() {
            tcp.write_all(&tickets).unwrap();
            tickets.clear();
            session.read_tls(&mut tcp).unwrap();
            session.process_new_packets().unwrap();
            while session.wants_write() {
                session.write_tls(&mut tickets).unwrap();
            }
        }
        let (most, last) = tickets.split_at(tickets.len() - 60);
        tcp.write_all(most).unwrap();
        let mut server = StreamOwned::new(session, tcp);
        let mut bytes = [0; 4];
        server.read_exact(&mut bytes).unwrap();
        server.sock.write_all(last).unwrap();
        server.write_all(&bytes).unwrap();
    });
    let tls = ClientTls {
        config: Arc::new(client),
        name: "localhost".try_into().unwrap(),
    };
    let mut tls = Tls::client(socket, tls).unwrap();
    wait(|cx| tls.poll_handshake(cx)).unwrap();
    // A part of the tickets, and then what waits for the rest of them.
    while tls.incoming.is_empty() {
        assert!(once(|cx| tls.poll_read(cx, &mut [0; 100])).is_pending());
    }
    write(&mut tls, b"echo");
    assert_eq!(read(&mut tls, 100), b"echo");
    assert_eq!(held(&tls), 0);
    answering.join().unwrap();
}

#[test]
fn junk_is_answered_with_an_alert() {
    let (server, _) = configs(&TLS13);
    let (socket, mut tcp) = sockets();
    let mut tls = Tls::server(socket, Arc::new(server)).unwrap();
    tcp.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let error = wait(|cx| tls.poll_handshake(cx)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    drop(tls);
    let mut answer = Vec::new();
    let _ = tcp.read_to_end(&mut answer);
    // RFC 8446 section 6: a fatal alert of two bytes.
    assert!(
        answer.starts_with(&[21, 3]) && answer.len() == 7 && answer[5] == 2,
        "{answer:?}"
    );
}

#[test]
fn a_forged_record_fails_and_an_end_of_the_stream_is_an_end() {
    let (mut tls, mut client) = pair(&TLS13);
    client.sock.write_all(&[23, 3, 3, 0, 20]).unwrap();
    client.sock.write_all(&[0; 20]).unwrap();
    let error = wait(|cx| tls.poll_read(cx, &mut [0; 100])).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    let (mut tls, client) = pair(&TLS13);
    client.sock.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read(&mut tls, 100), b"");
    assert_eq!(read(&mut tls, 100), b"");
    write(&mut tls, b"still heard");
    let (server, _) = configs(&TLS13);
    let (socket, tcp) = sockets();
    let mut tls = Tls::server(socket, Arc::new(server)).unwrap();
    drop(tcp);
    let error = wait(|cx| tls.poll_handshake(cx)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn a_handshake_message_without_an_end_is_held_up_to_its_bound() {
    let (server, _) = configs(&TLS13);
    let (socket, mut tcp) = sockets();
    let mut tls = Tls::server(socket, Arc::new(server)).unwrap();
    // A ClientHello of 65,535 bytes, in records of 1,000.
    let mut hello = vec![1, 0, 0xff, 0xff];
    hello.resize(80_000, 0);
    let mut most = 0;
    let mut failed = None;
    for part in hello.chunks(1000) {
        let mut record = vec![22, 3, 1, 3, 0xe8];
        record.extend_from_slice(part);
        if tcp.write_all(&record).is_err() {
            break;
        }
        match once(|cx| tls.poll_handshake(cx)) {
            Poll::Pending => most = most.max(tls.incoming.capacity()),
            Poll::Ready(done) => {
                failed = Some(done.unwrap_err().kind());
                break;
            }
        }
    }
    assert_eq!(failed, Some(io::ErrorKind::InvalidData));
    assert!((RECORD..=HANDSHAKE).contains(&most), "{most} bytes");
    // Between messages it is one record.
    assert_eq!(limit(0, false), Some(RECORD));
    assert_eq!(limit(RECORD - 1, false), Some(RECORD));
    assert_eq!(limit(RECORD, false), None);
    assert_eq!(limit(0, true), Some(RECORD));
    assert_eq!(limit(RECORD, true), Some(RECORD + PIECE));
    assert_eq!(limit(HANDSHAKE - 1, true), Some(HANDSHAKE));
    assert_eq!(limit(HANDSHAKE, true), None);
}

#[test]
fn a_client_that_does_not_read_is_held_one_fragment() {
    let (mut tls, _client) = pair(&TLS13);
    let bytes = vec![0; 1024 * 1024];
    let mut taken = 0;
    while let Poll::Ready(more) = once(|cx| tls.poll_write(cx, &bytes)) {
        taken += more.unwrap();
    }
    assert!(taken > 0);
    assert!(
        tls.outgoing.len() <= FRAGMENT + EXPANSION,
        "{}",
        tls.outgoing.len()
    );
}

mod bounds;
mod conversation;
mod ends;
mod forged;
mod mutations;
