// What is not the expected event fails a test, whatever it is.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm)]

use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, Timespec, poll};
use rustix::net::sockopt::set_socket_send_buffer_size;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use super::*;

/// How long a test waits for a loopback peer before it fails.
const PATIENCE: Duration = Duration::from_secs(10);

/// Both ends of an accepted connection; the second one blocks.
fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    (listener.accept().unwrap().0, client)
}

/// An accepted stream.
fn accepted(socket: TcpStream) -> Stream {
    socket.set_nonblocking(true).unwrap();
    Stream::accepted(socket)
}

/// An accepted stream on which TLS begins.
fn securing(socket: TcpStream, config: Arc<ServerConfig>) -> Stream {
    let mut stream = accepted(socket);
    stream.secure(Tls::Server(config)).unwrap();
    stream
}

/// Settings of a server with a fresh certificate for `localhost`, and of a client that trusts it.
fn tls() -> (Arc<ServerConfig>, ClientTls) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate],
            PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into()),
        )
        .unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let config = Arc::new(client);
    (Arc::new(server), ClientTls { name, config })
}

/// Both ends of a TLS connection after its handshake; the second one blocks.
fn secured() -> (Stream, rustls::StreamOwned<ClientConnection, TcpStream>) {
    let (server, client) = tls();
    let (near, far) = pair();
    // What the operating system takes for a peer that does not read is little then. The receiver's
    // buffer stays as it is: one smaller than a loopback packet loses packets, and time.
    set_socket_send_buffer_size(&near, 16 * 1024).unwrap();
    let mut stream = securing(near, server);
    let session = ClientConnection::new(client.config, client.name).unwrap();
    let mut far = rustls::StreamOwned::new(session, far);
    let shaking = std::thread::spawn(move || {
        while far.conn.is_handshaking() {
            far.conn.complete_io(&mut far.sock).unwrap();
        }
        far
    });
    let event = next(&mut stream, false, &[], &mut Scratch::new());
    assert!(matches!(event, Event::Secured(_)));
    (stream, shaking.join().unwrap())
}

/// Advances and polls as a connection's thread does, until something happened.
fn next(stream: &mut Stream, wants_read: bool, outgoing: &[u8], scratch: &mut Scratch) -> Event {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(event) = stream.advance(if wants_read { usize::MAX } else { 0 }, outgoing, scratch) {
            return event;
        }
        let left = end.checked_duration_since(Instant::now()).unwrap();
        let interest = stream.interest(wants_read);
        assert!(!interest.is_empty(), "asleep with nothing to wait for");
        let mut fds = [PollFd::new(stream, interest)];
        poll(&mut fds, Some(&Timespec::try_from(left).unwrap())).unwrap();
        let found = fds[0].revents();
        stream.ready(found);
    }
}

fn wait_for(stream: &Stream, flags: PollFlags) {
    let mut fds = [PollFd::new(stream, flags)];
    poll(&mut fds, Some(&Timespec::try_from(PATIENCE).unwrap())).unwrap();
    assert!(fds[0].revents().contains(flags));
}

#[test]
fn sent_is_not_reported_before_the_operating_system_took_the_bytes() {
    let (mut stream, mut far) = secured();
    let body = vec![7; 8 * 1024 * 1024];
    let mut sent = 0;
    while let Some(event) = stream.advance(0, &body[sent..], &mut Scratch::new()) {
        match event {
            Event::Sent(some) => sent += some,
            other => panic!("{other:?}"),
        }
    }
    assert!(sent < body.len(), "the peer reads nothing");
    assert!(stream.held > 0, "rustls holds bytes that do not count");
    // All that was reported arrives without any help of the sender's.
    far.read_exact(&mut vec![0; sent]).unwrap();
}

#[test]
fn sent_reports_every_byte_once() {
    let (mut stream, mut far) = secured();
    let body: Vec<u8> = (0..3_000_000u32).map(|n| n as u8).collect();
    let length = body.len();
    let reader = std::thread::spawn(move || {
        let mut read = vec![0; length];
        far.read_exact(&mut read).unwrap();
        read
    });
    let mut sent = 0;
    while sent < length {
        match next(&mut stream, false, &body[sent..], &mut Scratch::new()) {
            Event::Sent(some) => sent += some,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(sent, length);
    assert!(reader.join().unwrap() == body);
}

#[test]
fn a_hang_up_resets_neither_a_refusal_nor_the_bytes_behind_the_request() {
    let (mut stream, mut far) = secured();
    let mut scratch = Scratch::new();
    let body = vec![b'x'; 64 * 1024];
    let client = std::thread::spawn(move || {
        // More than the buffers hold: it is blocked until somebody reads.
        far.write_all(&body).unwrap();
        far.conn.send_close_notify();
        far.flush().unwrap();
        let mut answer = Vec::new();
        far.read_to_end(&mut answer).unwrap();
        answer
    });
    let refusal = vec![b'n'; 4096];
    let mut left = &refusal[..];
    while !left.is_empty() {
        match next(&mut stream, false, left, &mut scratch) {
            Event::Sent(some) => left = &left[some..],
            other => panic!("{other:?}"),
        }
    }
    stream.hang_up();
    let mut discarded = 0;
    loop {
        match next(&mut stream, true, &[], &mut scratch) {
            Event::Data(read) => discarded += read,
            Event::Eof => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(discarded, 64 * 1024);
    assert!(stream.advance(usize::MAX, &[], &mut scratch).is_none());
    assert!(
        stream.interest(true).is_empty(),
        "nothing is polled for after the end"
    );
    drop(stream);
    assert_eq!(client.join().unwrap(), refusal);
}

#[test]
fn a_hang_up_ends_tls_also_if_the_stream_is_dropped_right_behind_it() {
    let (mut stream, mut far) = secured();
    far.conn.send_close_notify();
    far.flush().unwrap();
    let mut scratch = Scratch::new();
    assert!(matches!(next(&mut stream, true, &[], &mut scratch), Event::Eof));
    // Both sides are done: the core has nothing to wait for any more.
    stream.hang_up();
    drop(stream);
    // Without close_notify this would be an error.
    assert_eq!(far.read(&mut [0; 1]).unwrap(), 0);
}

#[test]
fn a_handshake_that_gets_nowhere_waits_without_spinning() {
    let (server, _) = tls();
    let (near, mut far) = pair();
    let mut stream = securing(near, server);
    // The first bytes of a record that announces more.
    far.write_all(&[22, 3, 1, 2, 0]).unwrap();
    wait_for(&stream, PollFlags::IN);
    assert!(stream.advance(0, &[], &mut Scratch::new()).is_none());
    assert_eq!(stream.interest(false), PollFlags::IN);
    let mut fds = [PollFd::new(&stream, PollFlags::IN)];
    assert_eq!(poll(&mut fds, Some(&Timespec::default())).unwrap(), 0);
}

#[test]
fn m07_plain_http_on_a_tls_listener_breaks_with_an_alert() {
    let (server, _) = tls();
    let (near, mut far) = pair();
    let mut stream = securing(near, server);
    far.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let event = next(&mut stream, true, &[], &mut Scratch::new());
    assert!(matches!(event, Event::Broken(Break::Tls)));
    drop(stream);
    let mut alert = Vec::new();
    far.read_to_end(&mut alert).unwrap();
    assert_eq!(alert.first(), Some(&21));
}

#[test]
fn a_cut_without_close_notify_is_the_end_of_the_stream() {
    let (mut stream, mut far) = secured();
    let mut scratch = Scratch::new();
    far.write_all(b"last words").unwrap();
    far.sock.shutdown(Shutdown::Write).unwrap();
    assert!(matches!(
        next(&mut stream, true, &[], &mut scratch),
        Event::Data(10)
    ));
    assert_eq!(scratch.read(10), b"last words");
    assert!(matches!(next(&mut stream, true, &[], &mut scratch), Event::Eof));
    assert!(stream.interest(true).is_empty());
}

#[test]
fn a_dial_tries_every_address_and_names_the_last_failure() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let open = listener.local_addr().unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut stream = Stream::dial(vec![closed, open], None).unwrap();
    match next(&mut stream, false, &[], &mut Scratch::new()) {
        Event::Dialed(Ok(opened)) => assert_eq!(opened.remote, Some(open)),
        other => panic!("{other:?}"),
    }
    let mut stream = Stream::dial(vec![closed, closed], None).unwrap();
    let event = next(&mut stream, false, &[], &mut Scratch::new());
    assert!(matches!(event, Event::Dialed(Err(DialError::Refused))));
    assert_eq!(Stream::dial(Vec::new(), None).unwrap_err(), DialError::Name);
}

#[test]
fn a_dial_with_tls_is_open_after_the_handshake_or_not_at_all() {
    let (server, client) = tls();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let accepting = std::thread::spawn(move || {
        let mut stream = securing(listener.accept().unwrap().0, server);
        let secured = next(&mut stream, false, &[], &mut Scratch::new());
        assert!(matches!(secured, Event::Secured(_)));
        // The second client finds a server that speaks no TLS.
        let (mut plain, _) = listener.accept().unwrap();
        plain.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        plain.read_to_end(&mut Vec::new())
    });
    let mut stream = Stream::dial(vec![at], Some(client.clone())).unwrap();
    let event = next(&mut stream, false, &[], &mut Scratch::new());
    assert!(matches!(event, Event::Dialed(Ok(opened)) if opened.remote == Some(at)));
    let mut stream = Stream::dial(vec![at], Some(client)).unwrap();
    let event = next(&mut stream, false, &[], &mut Scratch::new());
    assert!(matches!(event, Event::Dialed(Err(DialError::Tls))));
    drop(stream);
    let _ = accepting.join().unwrap();
}

#[test]
fn what_a_peer_said_before_it_left_is_heard_although_writing_failed() {
    let (near, mut far) = pair();
    let mut stream = accepted(near);
    let mut scratch = Scratch::new();
    assert!(matches!(
        next(&mut stream, true, b"request", &mut scratch),
        Event::Sent(7)
    ));
    far.write_all(b"refusal").unwrap();
    // It leaves with the request unread, which resets the connection behind its refusal.
    drop(far);
    wait_for(&stream, PollFlags::HUP);
    stream.readable = false;
    assert!(matches!(
        stream.advance(usize::MAX, b"more", &mut scratch),
        Some(Event::Data(7))
    ));
    assert!(matches!(
        stream.advance(usize::MAX, b"more", &mut scratch),
        Some(Event::Broken(Break::Reset))
    ));
}
