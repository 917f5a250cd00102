//! Both sides say and hear what they like, cut wherever it happens to be, in an order that happens to be.

use std::sync::LazyLock;

use rustix::net::sockopt::set_socket_send_buffer_size;
use rustls::Connection;

use super::*;

/// Numbers that look random, and are the same each time (George Marsaglia's xorshift64).
pub(super) struct Dice(u64);

impl Dice {
    pub(super) const fn new(seed: u64) -> Self {
        Self(0x9e37_79b9_7f4a_7c15 ^ (seed << 32) ^ seed)
    }

    /// A number below `limit`.
    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 20).unwrap() % limit
    }

    /// Mostly small, and sometimes up to `limit`.
    fn length(&mut self, limit: usize) -> usize {
        let limit = [4, 100, 3000, limit][self.below(4)];
        1 + self.below(limit)
    }
}

/// How long it takes until a speech repeats itself, in bytes.
const PERIOD: usize = 64_007;

/// The longest speech, in bytes.
const LONGEST: usize = 50_000;

/// What is said from `position` on.
fn speech(position: usize, length: usize) -> &'static [u8] {
    static WORDS: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let mut dice = Dice::new(0);
        let mut words: Vec<u8> = (0..PERIOD).map(|_| dice.below(256) as u8).collect();
        words.extend_from_within(..);
        words
    });
    &WORDS[position % PERIOD..][..length]
}

struct Conversation {
    dice: Dice,
    tls: Tls,
    handshaken: bool,
    /// What the stream has said, and heard.
    said: usize,
    heard: usize,
    over: bool,
    peer: Connection,
    tcp: TcpStream,
    /// Records on their way from the peer.
    way: Vec<u8>,
    peer_said: usize,
    peer_heard: usize,
    peer_over: bool,
}

impl Conversation {
    fn new(seed: u64, tls: Tls, peer: Connection, tcp: TcpStream) -> Self {
        tcp.set_nonblocking(true).unwrap();
        Self {
            dice: Dice::new(seed),
            tls,
            handshaken: false,
            said: 0,
            heard: 0,
            over: false,
            peer,
            tcp,
            way: Vec::new(),
            peer_said: 0,
            peer_heard: 0,
            peer_over: false,
        }
    }

    fn shake(&mut self) {
        if let Poll::Ready(done) = once(|cx| self.tls.poll_handshake(cx)) {
            done.unwrap();
            self.handshaken = true;
        }
    }

    fn say(&mut self, length: usize) {
        let bytes = speech(self.said, length);
        if let Poll::Ready(taken) = once(|cx| self.tls.poll_write(cx, bytes)) {
            self.said += taken.unwrap();
        }
    }

    fn hear(&mut self, room: usize) {
        let mut bytes = vec![0; room];
        if let Poll::Ready(length) = once(|cx| self.tls.poll_read(cx, &mut bytes)) {
            bytes.truncate(length.unwrap());
            assert!(bytes == speech(self.heard, bytes.len()), "at {}", self.heard);
            self.heard += bytes.len();
            self.over |= bytes.is_empty();
        }
    }

    /// The peer's records go on their way, `length` bytes of them at most.
    fn peer_sends(&mut self, length: usize) {
        while self.peer.wants_write() {
            self.peer.write_tls(&mut self.way).unwrap();
        }
        let length = length.min(self.way.len());
        if let Ok(sent) = self.tcp.write(&self.way[..length]) {
            self.way.drain(..sent);
        }
    }

    fn peer_hears(&mut self, length: usize) {
        let mut records = vec![0; length];
        let Ok(read) = self.tcp.read(&mut records) else {
            return;
        };
        let mut records = &records[..read];
        while !records.is_empty() {
            self.peer.read_tls(&mut records).unwrap();
            let state = self.peer.process_new_packets().unwrap();
            let mut bytes = vec![0; state.plaintext_bytes_to_read()];
            self.peer.reader().read_exact(&mut bytes).unwrap();
            assert!(
                bytes == speech(self.peer_heard, bytes.len()),
                "at {}",
                self.peer_heard
            );
            self.peer_heard += bytes.len();
            if state.peer_has_closed() {
                self.peer_over = true;
                return;
            }
        }
    }

    fn step(&mut self) {
        let length = self.dice.length(LONGEST);
        match self.dice.below(12) {
            0 | 1 if self.handshaken => self.say(length),
            2 if self.handshaken => {
                if let Poll::Ready(done) = once(|cx| self.tls.poll_flush(cx)) {
                    done.unwrap();
                }
            }
            3..=5 if self.handshaken => self.hear(length),
            0..=5 => self.shake(),
            6 if self.peer_said < self.heard + 200_000 => {
                let bytes = speech(self.peer_said, length);
                self.peer_said += self.peer.writer().write(bytes).unwrap();
            }
            7 => {
                // Not before the handshake is done, and not with TLS 1.2.
                let _ = self.peer.refresh_traffic_keys();
            }
            6 | 8 | 9 => self.peer_sends(length),
            _ => self.peer_hears(length),
        }
    }

    /// Lets both sides end, in an order that happens to be.
    fn end(&mut self) {
        let first = self.dice.below(3);
        let mut closing = first != 0;
        if first != 1 {
            self.peer.send_close_notify();
        }
        for _ in 0..1_000_000 {
            if !self.handshaken {
                self.shake();
            } else if closing && let Poll::Ready(done) = once(|cx| self.tls.poll_close(cx)) {
                done.unwrap();
            } else if !closing && self.over {
                closing = true;
            } else if !closing {
                let _ = once(|cx| self.tls.poll_flush(cx));
            }
            if self.handshaken && !self.over {
                let room = self.dice.length(LONGEST);
                self.hear(room);
            }
            let length = self.dice.length(LONGEST);
            self.peer_sends(length);
            self.peer_hears(length);
            if self.peer_over && first == 1 {
                self.peer.send_close_notify();
            }
            if self.over && self.peer_over {
                return;
            }
        }
        panic!("no end: {} of {} heard", self.heard, self.peer_said);
    }
}

fn converse(seed: u64, steps: usize) {
    let version = [&TLS12, &TLS13][usize::from(seed.is_multiple_of(2))];
    let (mut server, mut client) = configs(version);
    if seed % 8 > 5 {
        server.max_fragment_size = Some(50);
        client.max_fragment_size = Some(80);
    }
    let (socket, tcp) = sockets();
    if seed.is_multiple_of(3) {
        set_socket_send_buffer_size(socket.get_ref(), 4096).unwrap();
    }
    let name = "localhost".try_into().unwrap();
    let (client, server) = (Arc::new(client), Arc::new(server));
    let mut conversation = if seed % 4 < 2 {
        let peer = ClientConnection::new(client, name).unwrap();
        Conversation::new(seed, Tls::server(socket, server).unwrap(), peer.into(), tcp)
    } else {
        let peer = ServerConnection::new(server).unwrap();
        let tls = ClientTls { config: client, name };
        Conversation::new(seed, Tls::client(socket, tls).unwrap(), peer.into(), tcp)
    };
    conversation.peer.set_buffer_limit(None);
    for _ in 0..steps {
        conversation.step();
    }
    conversation.end();
    let Conversation {
        tls,
        said,
        heard,
        peer_said,
        peer_heard,
        ..
    } = conversation;
    assert_eq!((heard, peer_heard), (peer_said, said), "seed {seed}");
    assert!(tls.plain.is_empty() && tls.outgoing.is_empty(), "seed {seed}");
}

#[test]
fn nothing_is_lost_or_said_twice_however_both_sides_talk() {
    for seed in 0..48 {
        converse(seed, 400);
    }
}
