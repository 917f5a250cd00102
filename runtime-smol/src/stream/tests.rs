#![allow(clippy::unwrap_used)]

use std::future::poll_fn;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::mpsc::channel;
use std::thread;

use rustls::pki_types::PrivateKeyDer;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned};

use super::*;

type Client = StreamOwned<ClientConnection, TcpStream>;

fn configs() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let server = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server), Arc::new(client))
}

fn sockets() -> (Socket, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    server.set_nonblocking(true).unwrap();
    (Socket::new(server, &Reactor::of_thread()).unwrap(), client)
}

/// A stream on which TLS begins.
fn secured(socket: Socket, config: Arc<ServerConfig>) -> Stream {
    let mut stream = Stream::accepted(socket);
    stream.secure(Tls::Server(config));
    stream
}

/// A secured stream and its client, who is driven by hand.
fn secured_pair() -> (Stream, Client) {
    let (server_config, client_config) = configs();
    let (socket, tcp) = sockets();
    let shaking = thread::spawn(move || {
        let session = ClientConnection::new(client_config, "localhost".try_into().unwrap()).unwrap();
        let mut client = StreamOwned::new(session, tcp);
        client.conn.complete_io(&mut client.sock).unwrap();
        client
    });
    let mut stream = secured(socket, server_config);
    assert!(matches!(next(&mut stream, b"", true).0, Event::Secured(_)));
    (stream, shaking.join().unwrap())
}

/// Waits for the next event, and returns it with what was read.
fn next(stream: &mut Stream, outgoing: &[u8], wants_read: bool) -> (Event, Vec<u8>) {
    let mut scratch = vec![0; 16 * 1024];
    let event =
        Reactor::of_thread().block_on(poll_fn(|cx| stream.poll(cx, outgoing, wants_read, &mut scratch)));
    let read = if let Event::Data(length) = event {
        length
    } else {
        0
    };
    scratch.truncate(read);
    (event, scratch)
}

/// Polls once.
fn now(stream: &mut Stream, outgoing: &[u8], wants_read: bool) -> Option<Event> {
    let poll = |cx: &mut Context<'_>| Poll::Ready(stream.poll(cx, outgoing, wants_read, &mut [0; 1024]));
    match Reactor::of_thread().block_on(poll_fn(poll)) {
        Poll::Ready(event) => Some(event),
        Poll::Pending => None,
    }
}

#[test]
fn sent_is_reported_only_for_what_the_operating_system_took() {
    let (mut stream, mut client) = secured_pair();
    let outgoing = vec![b'x'; 64 * 1024];
    let mut sent = 0;
    while let Some(event) = now(&mut stream, &outgoing, false) {
        let Event::Sent(length) = event else {
            panic!("{event:?}");
        };
        sent += length;
    }
    assert!(
        stream.unflushed > 0,
        "a client that does not read leaves bytes in the TLS session"
    );
    // Whatever the session still holds is lost with it: the client reads what the operating
    // system had, and that is at least what was reported.
    drop(stream);
    let mut read = Vec::new();
    let _ = client.read_to_end(&mut read);
    assert!(
        sent > 0 && read.len() >= sent,
        "{} of {sent} bytes arrived",
        read.len()
    );
}

#[test]
fn everything_is_sent_in_order_once_the_client_reads() {
    let (mut stream, mut client) = secured_pair();
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let (done, all) = channel();
    let reading = thread::spawn(move || {
        let mut read = Vec::new();
        client.read_to_end(&mut read).unwrap();
        done.send(read).unwrap();
    });
    let mut left = bytes.as_slice();
    while !left.is_empty() {
        let (Event::Sent(length), _) = next(&mut stream, left, true) else {
            panic!("nothing but Sent can happen");
        };
        left = &left[length..];
    }
    Reactor::of_thread().block_on(poll_fn(|cx| {
        stream.hang_up(cx);
        Poll::Ready(())
    }));
    assert!(all.recv().unwrap() == bytes);
    reading.join().unwrap();
}

#[test]
fn a_hang_up_says_close_notify_and_leaves_the_reads() {
    let (mut stream, mut client) = secured_pair();
    Reactor::of_thread().block_on(poll_fn(|cx| {
        stream.hang_up(cx);
        Poll::Ready(())
    }));
    // Without close_notify this would be an error.
    assert_eq!(client.read(&mut [0; 8]).unwrap(), 0);
    client.write_all(b"too late").unwrap();
    assert_eq!(next(&mut stream, b"", true).1, b"too late");
}

#[test]
fn an_end_without_close_notify_is_an_end_and_told_once() {
    let (mut stream, client) = secured_pair();
    client.sock.shutdown(Shutdown::Write).unwrap();
    assert!(matches!(next(&mut stream, b"", true).0, Event::Eof));
    assert!(now(&mut stream, b"", true).is_none());
}

#[test]
fn bytes_wait_in_the_socket_while_nobody_wants_them() {
    let (socket, mut client) = sockets();
    let mut stream = Stream::accepted(socket);
    client.write_all(b"early").unwrap();
    assert!(now(&mut stream, b"", false).is_none());
    assert_eq!(next(&mut stream, b"", true).1, b"early");
    assert!(matches!(next(&mut stream, b"answer", false).0, Event::Sent(6)));
}

#[test]
fn a_plain_request_to_a_tls_listener_breaks_the_leg() {
    let (socket, mut client) = sockets();
    let mut stream = secured(socket, configs().0);
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    assert!(matches!(
        next(&mut stream, b"", true).0,
        Event::Broken(Break::Tls)
    ));
    assert!(now(&mut stream, b"", true).is_none());
}
