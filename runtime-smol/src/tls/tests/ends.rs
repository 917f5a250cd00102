//! How a stream ends, and what its peer is told of it.

use super::*;

/// A server, and its client with all that it has to say lying in the socket at once: the end of its handshake,
/// `data` and a close_notify.
fn hasty(
    server: &Arc<ServerConfig>,
    client: &Arc<ClientConfig>,
    data: &'static [u8],
) -> (Tls, thread::JoinHandle<Client>) {
    let (server, client) = (Arc::clone(server), Arc::clone(client));
    let (socket, mut tcp) = sockets();
    let shaking = thread::spawn(move || {
        let mut session = ClientConnection::new(client, "localhost".try_into().unwrap()).unwrap();
        let mut last = Vec::new();
        while session.is_handshaking() {
            tcp.write_all(&last).unwrap();
            last.clear();
            if !session.wants_write() {
                session.read_tls(&mut tcp).unwrap();
                session.process_new_packets().unwrap();
            }
            while session.wants_write() {
                session.write_tls(&mut last).unwrap();
            }
        }
        session.writer().write_all(data).unwrap();
        session.send_close_notify();
        while session.wants_write() {
            session.write_tls(&mut last).unwrap();
        }
        tcp.write_all(&last).unwrap();
        StreamOwned::new(session, tcp)
    });
    (Tls::server(socket, server).unwrap(), shaking)
}

#[test]
fn who_says_all_at_once_and_closes_is_heard_and_answered() {
    for version in [&TLS12, &TLS13] {
        let (server, client) = configs(version);
        let (server, client) = (Arc::new(server), Arc::new(client));
        // Whoever resumes has the last word of the handshake in TLS 1.2, too.
        for resumed in [false, true] {
            let (mut tls, shaking) = hasty(&server, &client, b"all of it");
            wait(|cx| tls.poll_handshake(cx)).unwrap();
            assert_eq!(tls.info().resumed, resumed);
            assert_eq!(read(&mut tls, 4), b"all ");
            assert_eq!(read(&mut tls, 100), b"of it");
            assert_eq!(read(&mut tls, 100), b"");
            write(&mut tls, b"heard");
            wait(|cx| tls.poll_close(cx)).unwrap();
            let mut answer = Vec::new();
            shaking.join().unwrap().read_to_end(&mut answer).unwrap();
            assert_eq!(answer, b"heard");
        }
    }
}
