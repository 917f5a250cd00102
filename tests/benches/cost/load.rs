//! What clients do: one piece of work after the other, on one connection or on many.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use countersign_tests::client::{BINARY, Frame};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::Outcome;
use crate::material::{Credential, Material};
use crate::meter::{Meter, Spent};
use crate::server::Server;

/// How long a server is left alone before it is asked what it has used: closes come last.
pub(crate) const SETTLE: Duration = Duration::from_millis(150);
/// How long nothing happens before memory is asked for: time to give back what a handshake took.
const REST: Duration = Duration::from_secs(2);
/// 401s on one connection, the largest limit that the configuration takes.
pub(crate) const KEPT: usize = 1000;
/// Room for an answer, in bytes.
const ANSWER: usize = 4096;

/// One piece of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// A connection, an upgrade that is granted, and the end of the connection.
    Upgrade,
    /// A connection, a 401, and the end of the connection.
    Refusal,
    /// A 401 on a connection that stays.
    KeptRefusal,
    /// A message there and back.
    Echo {
        /// Bytes of its payload.
        bytes: usize,
        /// How many are on their way at once, in one write.
        depth: usize,
    },
    /// Upgrades at once: each is asked for before the first answer is read.
    Upgrades {
        /// How many.
        at_once: usize,
    },
    /// A message there and back on each of many connections, all sent before the first is read.
    Echoes {
        /// Bytes of its payload.
        bytes: usize,
        /// How many connections.
        connections: usize,
    },
    /// A message that reaches one of many members.
    Broadcast {
        /// How many get what one more sends.
        members: usize,
        /// Bytes of its payload.
        bytes: usize,
        /// How many messages are on their way at once, in one write.
        outstanding: usize,
    },
    /// An open WebSocket on which nothing happens.
    Idle,
}

impl Work {
    /// Returns how often it is done in one measurement.
    pub(crate) const fn times(self, quick: bool) -> usize {
        let times = match self {
            Self::Upgrade | Self::Upgrades { .. } | Self::Refusal => 2000,
            Self::KeptRefusal => 16_000,
            Self::Echo { bytes, .. } if bytes > 1024 => 16_000,
            Self::Echo { .. } | Self::Echoes { .. } => 64_000,
            Self::Broadcast { outstanding: 1, .. } => 200_000,
            Self::Broadcast { .. } => 800_000,
            Self::Idle => 9000,
        };
        if quick { times / 8 } else { times }
    }
}

/// A client's end of a connection.
pub(crate) trait Stream: Read + Write {}

impl<S: Read + Write> Stream for S {}

/// A stream with TLS.
pub(crate) type Secured = StreamOwned<ClientConnection, TcpStream>;

/// Who works against a server.
pub(crate) struct Client<'a> {
    pub(crate) server: &'a Server,
    pub(crate) material: &'a Material,
    pub(crate) credential: Credential,
    pub(crate) tls: bool,
}

impl Client<'_> {
    /// Does `work` and returns what the server used for each, in nanoseconds or in bytes. Credentials
    /// that are used once are numbered from `first`. `standing` is what the server uses without this
    /// work, as a share of one processor: it is taken off.
    pub(crate) fn measure(&self, work: Work, times: usize, first: usize, standing: f64) -> Outcome<f64> {
        let spent = match work {
            Work::Upgrade => self.connections(times, first, b"HTTP/1.1 101 ")?,
            Work::Refusal => self.connections(times, first, b"HTTP/1.1 401 ")?,
            Work::KeptRefusal => self.kept(times)?,
            Work::Echo { bytes, depth } => self.echoes(times, bytes, depth)?,
            Work::Upgrades { at_once } => self.upgrades(times, at_once)?,
            Work::Echoes { bytes, connections } => self.echoes_at_once(times, bytes, connections)?,
            Work::Broadcast {
                members,
                bytes,
                outstanding,
            } => self.broadcast(times, members, bytes, outstanding)?,
            Work::Idle => return Ok(self.idle(times)? as f64 / times as f64),
        };
        Ok(spent.without(standing) / times as f64)
    }

    /// Opens a stream.
    pub(crate) fn open(&self) -> Outcome<Box<dyn Stream>> {
        let stream = self.server.connect(self.tls)?;
        if !self.tls {
            return Ok(Box::new(stream));
        }
        Ok(Box::new(secured(stream, &self.material.client)?))
    }

    /// Opens a WebSocket.
    pub(crate) fn upgraded(&self) -> Outcome<Box<dyn Stream>> {
        let mut stream = self.open()?;
        let request = self.material.request(self.credential, 0)?;
        answered(&mut *stream, &request, b"HTTP/1.1 101 ")?;
        Ok(stream)
    }

    fn connections(&self, times: usize, first: usize, expected: &[u8]) -> Outcome<Spent> {
        // Signed before anything is measured.
        let request = |number| self.material.request(self.credential, first + number);
        let requests = match self.credential {
            Credential::Fresh(_) | Credential::Keyed => {
                (0..=times).map(request).collect::<Outcome<Vec<_>>>()?
            }
            // A second signature over the same claims would be another token.
            Credential::None
            | Credential::PlainNone
            | Credential::Plain
            | Credential::Ephemeral(_)
            | Credential::User
            | Credential::Repeated(_)
            | Credential::Ended(_) => vec![request(0)?; times + 1],
        };
        let (warm, requests) = requests.split_first().ok_or("no request")?;
        answered(&mut *self.open()?, warm, expected)?;
        let meter = Meter::start(self.server)?;
        for request in requests {
            answered(&mut *self.open()?, request, expected)?;
        }
        thread::sleep(SETTLE);
        meter.spent()
    }

    fn kept(&self, times: usize) -> Outcome<Spent> {
        let request = self.material.request(self.credential, 0)?;
        answered(&mut *self.open()?, &request, b"HTTP/1.1 401 ")?;
        let meter = Meter::start(self.server)?;
        let mut left = times;
        while left > 0 {
            let mut stream = self.open()?;
            let batch = left.min(KEPT);
            for _ in 0..batch {
                answered(&mut *stream, &request, b"HTTP/1.1 401 ")?;
            }
            left -= batch;
        }
        thread::sleep(SETTLE);
        meter.spent()
    }

    fn echoes(&self, times: usize, bytes: usize, depth: usize) -> Outcome<Spent> {
        let mut stream = self.upgraded()?;
        let frame = Frame::whole(BINARY, &vec![0x5A; bytes]);
        let burst = frame.masked().repeat(depth);
        let expected = frame.unmasked().repeat(depth);
        let mut answer = vec![0; expected.len()];
        let mut meter = Meter::start(self.server)?;
        for number in 0..times / depth + 1 {
            if number == 1 {
                // The first round trip has paid for what only it does.
                meter = Meter::start(self.server)?;
            }
            stream.write_all(&burst)?;
            stream.read_exact(&mut answer)?;
        }
        let spent = meter.spent()?;
        if answer != expected {
            return Err("what came back is no echo".into());
        }
        Ok(spent)
    }

    fn upgrades(&self, times: usize, at_once: usize) -> Outcome<Spent> {
        let request = self.material.request(self.credential, 0)?;
        answered(&mut *self.open()?, &request, b"HTTP/1.1 101 ")?;
        let meter = Meter::start(self.server)?;
        for _ in 0..times / at_once {
            let streams = (0..at_once).map(|_| self.open());
            let mut streams = streams.collect::<Outcome<Vec<_>>>()?;
            for stream in &mut streams {
                stream.write_all(&request)?;
            }
            for stream in &mut streams {
                answer(&mut **stream, b"HTTP/1.1 101 ")?;
            }
        }
        thread::sleep(SETTLE);
        meter.spent()
    }

    fn echoes_at_once(&self, times: usize, bytes: usize, connections: usize) -> Outcome<Spent> {
        let streams = (0..connections).map(|_| self.upgraded());
        let mut streams = streams.collect::<Outcome<Vec<_>>>()?;
        let frame = Frame::whole(BINARY, &vec![0x5A; bytes]);
        let (sent, mut answer) = (frame.masked(), frame.unmasked());
        let mut meter = Meter::start(self.server)?;
        for number in 0..times / connections + 1 {
            if number == 1 {
                meter = Meter::start(self.server)?;
            }
            for stream in &mut streams {
                stream.write_all(&sent)?;
            }
            for stream in &mut streams {
                stream.read_exact(&mut answer)?;
            }
        }
        meter.spent()
    }

    fn broadcast(&self, times: usize, members: usize, bytes: usize, outstanding: usize) -> Outcome<Spent> {
        let mut sender = self.upgraded()?;
        let streams = (0..members).map(|_| self.upgraded());
        let mut streams = streams.collect::<Outcome<Vec<_>>>()?;
        thread::sleep(SETTLE);
        let frame = Frame::whole(BINARY, &vec![0x5A; bytes]);
        let sent = frame.masked().repeat(outstanding);
        let expected = frame.unmasked().repeat(outstanding);
        let mut answer = vec![0; expected.len()];
        let mut meter = Meter::start(self.server)?;
        for number in 0..times / (members * outstanding) + 1 {
            if number == 1 {
                meter = Meter::start(self.server)?;
            }
            sender.write_all(&sent)?;
            for stream in &mut streams {
                stream.read_exact(&mut answer)?;
            }
        }
        let spent = meter.spent()?;
        if answer != expected {
            return Err("what arrives is not what was sent".into());
        }
        Ok(spent)
    }

    fn idle(&self, times: usize) -> Outcome<u64> {
        // The first one pays for what all share.
        let first = self.upgraded()?;
        thread::sleep(SETTLE);
        let before = self.server.resident()?;
        let streams = (0..times).map(|_| self.upgraded()).collect::<Outcome<Vec<_>>>()?;
        thread::sleep(REST);
        let used = self.server.resident()?.saturating_sub(before);
        drop((first, streams));
        Ok(used)
    }
}

/// Begins TLS on a stream.
pub(crate) fn secured(stream: TcpStream, client: &Arc<ClientConfig>) -> Outcome<Secured> {
    let name = ServerName::try_from("localhost")?;
    let session = ClientConnection::new(Arc::clone(client), name)?;
    Ok(StreamOwned::new(session, stream))
}

/// Sends a request and reads the whole answer.
pub(crate) fn answered(stream: &mut dyn Stream, request: &[u8], expected: &[u8]) -> Outcome<()> {
    stream.write_all(request)?;
    answer(stream, expected)
}

/// Reads the whole answer.
pub(crate) fn answer(stream: &mut dyn Stream, expected: &[u8]) -> Outcome<()> {
    let (mut answer, mut filled) = ([0; ANSWER], 0);
    loop {
        let read = stream.read(answer.get_mut(filled..).unwrap_or_default())?;
        filled += read;
        let text = std::str::from_utf8(answer.get(..filled).unwrap_or_default())?;
        let Some((head, body)) = text.split_once("\r\n\r\n").filter(|_| read > 0) else {
            if read == 0 {
                return Err(format!("an answer ended early: {text:?}").into());
            }
            continue;
        };
        if !head.as_bytes().starts_with(expected) {
            return Err(text.into());
        }
        let length = head
            .lines()
            .find_map(|line| {
                let (name, value) = line.split_once(": ")?;
                name.eq_ignore_ascii_case("Content-Length").then_some(value)
            })
            .map_or(Ok(0), str::parse::<usize>)?;
        if body.len() >= length {
            return Ok(());
        }
    }
}
