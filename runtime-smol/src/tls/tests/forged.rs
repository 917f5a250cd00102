//! Records that no library would send, under the keys of the connection.

use rustls::crypto::cipher::{
    InboundOpaqueMessage, MessageDecrypter, MessageEncrypter, OutboundChunks, OutboundPlainMessage,
};
use rustls::{
    AlertDescription, ConnectionTrafficSecrets, ContentType, ProtocolVersion, SupportedCipherSuite,
};

use super::*;

const CONTENT: u8 = 23;
const HANDSHAKE_TYPE: u8 = 22;
const ALERT: u8 = 21;

/// Makes the records of a case.
type Forging<'a> = &'a dyn Fn(&mut Forger) -> Vec<u8>;

/// A client that seals whatever it likes.
struct Forger {
    tcp: TcpStream,
    seals: Box<dyn MessageEncrypter>,
    sealed: u64,
    opens: Box<dyn MessageDecrypter>,
    opened: u64,
}

impl Forger {
    /// Returns a server and who forges what it reads.
    fn pair() -> (Tls, Self) {
        let (mut server, mut client) = configs(&TLS13);
        server.send_tls13_tickets = 0;
        client.enable_secret_extraction = true;
        let (tls, client) = pair_of(server, client);
        let (session, tcp) = client.into_parts();
        let Some(SupportedCipherSuite::Tls13(suite)) = session.negotiated_cipher_suite() else {
            panic!("not TLS 1.3");
        };
        let secrets = session.dangerous_extract_secrets().unwrap();
        let keys = |secrets| match secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv }
            | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
            | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (key, iv),
            _ => panic!("an unknown cipher"),
        };
        let ((sealed, seal), (opened, open)) = (secrets.tx, secrets.rx);
        let ((seal, seal_iv), (open, open_iv)) = (keys(seal), keys(open));
        let forger = Self {
            tcp,
            seals: suite.aead_alg.encrypter(seal, seal_iv),
            sealed,
            opens: suite.aead_alg.decrypter(open, open_iv),
            opened,
        };
        (tls, forger)
    }

    /// A record of type `kind` with `padding` zeros behind `bytes` (RFC 8446 section 5.4).
    fn record(&mut self, kind: u8, bytes: &[u8], padding: usize) -> Vec<u8> {
        let mut payload = bytes.to_vec();
        let mut last = kind;
        if padding > 0 {
            payload.push(kind);
            payload.resize(payload.len() + padding - 1, 0);
            last = 0;
        }
        let plain = OutboundPlainMessage {
            typ: ContentType::from(last),
            version: ProtocolVersion::TLSv1_2,
            payload: OutboundChunks::from(&payload[..]),
        };
        let record = self.seals.encrypt(plain, self.sealed).unwrap().encode();
        self.sealed += 1;
        record
    }

    fn send(&mut self, kind: u8, bytes: &[u8]) {
        let record = self.record(kind, bytes, 0);
        self.tcp.write_all(&record).unwrap();
    }

    /// Returns the alert that is all that is left to read.
    fn alert(mut self) -> Option<AlertDescription> {
        let mut left = Vec::new();
        let _ = self.tcp.read_to_end(&mut left);
        if left.is_empty() {
            return None;
        }
        let (_, sealed) = left.split_at_mut(5);
        let record =
            InboundOpaqueMessage::new(ContentType::ApplicationData, ProtocolVersion::TLSv1_2, sealed);
        let plain = self.opens.decrypt(record, self.opened).unwrap();
        assert_eq!((plain.typ, plain.payload[0]), (ContentType::Alert, 2));
        Some(AlertDescription::from(plain.payload[1]))
    }
}

#[test]
fn a_forbidden_record_is_answered_with_its_alert_and_the_end() {
    let cases: [(&str, Forging<'_>, Option<AlertDescription>); 9] = [
        (
            "a broken tag",
            &|forger| {
                let mut record = forger.record(CONTENT, b"data", 0);
                *record.last_mut().unwrap() ^= 1;
                record
            },
            Some(AlertDescription::BadRecordMac),
        ),
        (
            "a record in the clear",
            &|_| vec![CONTENT, 3, 3, 0, 1, 0],
            Some(AlertDescription::BadRecordMac),
        ),
        (
            "a header that promises too much",
            &|_| vec![CONTENT, 3, 3, 0x48, 1],
            Some(AlertDescription::DecodeError),
        ),
        (
            "too much content",
            &|forger| forger.record(CONTENT, &[0; FRAGMENT + 1], 0),
            Some(AlertDescription::RecordOverflow),
        ),
        (
            "a second Finished",
            &|forger| forger.record(HANDSHAKE_TYPE, &[20, 0, 0, 1, 0], 0),
            Some(AlertDescription::UnexpectedMessage),
        ),
        (
            "a key update to an unknown purpose",
            &|forger| forger.record(HANDSHAKE_TYPE, &[24, 0, 0, 1, 7], 0),
            Some(AlertDescription::IllegalParameter),
        ),
        (
            "a warning",
            &|forger| forger.record(ALERT, &[1, 100], 0),
            Some(AlertDescription::DecodeError),
        ),
        ("a fatal alert", &|forger| forger.record(ALERT, &[2, 40], 0), None),
        (
            "data within a handshake message",
            &|forger| {
                let mut records = forger.record(HANDSHAKE_TYPE, &[24, 0], 0);
                records.extend(forger.record(CONTENT, b"data", 0));
                records
            },
            None,
        ),
    ];
    for (name, forge, alert) in cases {
        let (mut tls, mut forger) = Forger::pair();
        let record = forge(&mut forger);
        forger.tcp.write_all(&record).unwrap();
        let error = wait(|cx| tls.poll_read(cx, &mut [0; 100])).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{name}");
        drop(tls);
        assert_eq!(forger.alert(), alert, "{name}");
    }
}

#[test]
fn padding_and_empty_records_say_nothing() {
    let (mut tls, mut forger) = Forger::pair();
    for round in 0..100_u8 {
        for _ in 0..31 {
            forger.send(CONTENT, b"");
        }
        let record = forger.record(CONTENT, &[round; 10], 3000);
        forger.tcp.write_all(&record).unwrap();
        assert_eq!(read(&mut tls, 100), [round; 10]);
    }
    assert_eq!(held(&tls), 0);
    // As many as rustls lets pass, and one more (RFC 8446 section 5.4 has no bound).
    let mut polls = 0;
    let error = loop {
        polls += 1;
        forger.send(CONTENT, b"");
        if let Poll::Ready(done) = once(|cx| tls.poll_read(cx, &mut [0; 100])) {
            break done.unwrap_err();
        }
    };
    assert_eq!((error.kind(), polls), (io::ErrorKind::InvalidData, 33));
}

#[test]
fn empty_handshake_records_between_data_are_held_up_to_a_bound() {
    let (mut tls, mut forger) = Forger::pair();
    let mut most = 0;
    for round in 0..2000_u32 {
        forger.send(HANDSHAKE_TYPE, b"");
        forger.send(CONTENT, &round.to_be_bytes());
        let mut room = [0; 100];
        match wait(|cx| tls.poll_read(cx, &mut room)) {
            Ok(length) => assert_eq!(room[..length], round.to_be_bytes()),
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::InvalidData);
                assert!(
                    (RECORD - 100..=RECORD).contains(&most),
                    "{most} bytes in round {round}"
                );
                return;
            }
        }
        most = most.max(held(&tls));
    }
    panic!("{most} bytes are held");
}
