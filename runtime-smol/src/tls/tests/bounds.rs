//! What a peer may send without data, and how much of it is held.

use rustls::server::ProducesTickets;

use super::*;

/// Tickets of a given length.
#[derive(Debug)]
struct Long(usize);

impl ProducesTickets for Long {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        60
    }

    fn encrypt(&self, _: &[u8]) -> Option<Vec<u8>> {
        Some(vec![1; self.0])
    }

    fn decrypt(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }
}

#[test]
fn a_server_may_send_a_ticket_that_spans_records() {
    for length in [100, FRAGMENT, 30_000] {
        let (mut server, client) = configs(&TLS13);
        server.ticketer = Arc::new(Long(length));
        let (mut tls, echoing) = client_of(server, client);
        write(&mut tls, b"an echo");
        assert_eq!(read(&mut tls, 100), b"an echo", "{length}");
        assert_eq!(held(&tls), 0);
        wait(|cx| tls.poll_close(cx)).unwrap();
        echoing.join().unwrap();
    }
}

#[test]
fn a_ticket_too_long_to_be_held_breaks_the_stream() {
    let (mut server, client) = configs(&TLS13);
    server.ticketer = Arc::new(Long(65_000));
    let (mut tls, echoing) = client_of(server, client);
    let mut most = 0;
    let error = wait(|cx| {
        let read = tls.poll_read(cx, &mut [0; 100]);
        most = most.max(held(&tls));
        read
    });
    assert_eq!(error.unwrap_err().kind(), io::ErrorKind::InvalidData);
    assert!(
        (RECORD..=HANDSHAKE).contains(&held(&tls).max(most)),
        "{most} bytes"
    );
    drop(tls);
    echoing.join().unwrap();
}
