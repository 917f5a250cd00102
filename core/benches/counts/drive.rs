//! Connections without IO: bytes in, everything that comes out, and nothing between.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;

use countersign_core::config::{Config, MemoryFiles};
use countersign_core::connection::{Connection, Input, Peer, Step};
use countersign_core::entropy::Seed;
use countersign_core::gateway::{Capacity, Gateway};
use countersign_core::leg::{Leg, Opened};
use countersign_core::time::{Moment, Now, UnixTime};
use serde_json::json;

use crate::Outcome;
use crate::tokens::{AUDIENCE, ISSUER, SECRET};

/// The time, which stands still.
pub(crate) const START: Now = Now {
    at: Moment::START,
    unix: UnixTime::from_secs(1_800_000_000),
};
/// What an upstream answers.
const ACCEPTED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// A gateway with one service of each kind that is counted.
pub(crate) fn gateway() -> Outcome<Arc<Gateway>> {
    let config = json!({
        "servers": [{"id": "edge", "listen": ["127.0.0.1:0"], "plaintext": true}],
        // A kept connection is refused as often as it is counted.
        "limits": {"attemptsPerConnection": 1000},
        "realms": {"demo": {"loginModules": [{
            "type": "jwt", "success": "required", "issuer": ISSUER, "audience": AUDIENCE,
            "verification": {"secret": {"HS256": {"keyFile": "token.key"}}},
        }]}},
        "services": {
            "echo": {"type": "echo", "accept": "/echo", "realm": "demo"},
            "room": {"type": "broadcast", "accept": "/room", "realm": "demo"},
            "app": {"type": "proxy", "accept": "/app", "realm": "demo", "connect": "ws://127.0.0.1:9000/"},
        },
    });
    let mut files = MemoryFiles::new();
    files.insert("countersign.json", config.to_string());
    files.insert("token.key", SECRET);
    let config = Config::load(Path::new("countersign.json"), &mut files)?;
    let capacity = Capacity {
        cores: 1,
        connections: 1000,
        descriptors_per_connection: 1,
    };
    Ok(Gateway::new(config, Seed::new([7; 32]), capacity)?)
}

/// An upgrade request.
pub(crate) fn request(path: &str, token: Option<&str>) -> Vec<u8> {
    let field = token.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bench\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{field}\r\n"
    )
    .into_bytes()
}

/// One connection and what has come out of it.
pub(crate) struct Ends {
    connection: Connection,
    /// The upstream's leg.
    pub(crate) upstream: Option<Leg>,
    closed: bool,
}

impl Ends {
    /// Accepts a connection.
    pub(crate) fn accepted(gateway: &Arc<Gateway>) -> Outcome<Self> {
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let peer = Peer {
            server: 0,
            remote: (address, 40_000).into(),
            local: (address, 8443).into(),
        };
        let admission = gateway.admit(0, address, START).ok_or("full")?;
        Ok(Self {
            connection: Connection::client(admission, peer, START),
            upstream: None,
            closed: false,
        })
    }

    /// Accepts a connection and has it upgraded; behind a proxy the upstream agrees.
    pub(crate) fn upgraded(gateway: &Arc<Gateway>, request: &[u8]) -> Outcome<Self> {
        let mut ends = Self::accepted(gateway)?;
        let answer = ends.exchange(Leg::CLIENT, request)?;
        if let Some(leg) = ends.upstream {
            ends.connection
                .handle(START, Input::Dialed(leg, Ok(Opened::default())));
            ends.settle()?;
            ends.exchange(leg, ACCEPTED)?;
        } else if answer == 0 {
            return Err("no answer".into());
        }
        if ends.closed {
            Err("refused".into())
        } else {
            Ok(ends)
        }
    }

    /// Hands bytes of a leg in. Returns how many come out, on all legs.
    pub(crate) fn exchange(&mut self, leg: Leg, bytes: &[u8]) -> Outcome<usize> {
        self.connection.handle(START, Input::Data(leg, bytes));
        self.settle()
    }

    /// The client goes.
    pub(crate) fn end(mut self) -> Outcome<()> {
        self.connection.handle(START, Input::Eof(Leg::CLIENT));
        self.settle()?;
        if self.closed {
            Ok(())
        } else {
            Err("it stays".into())
        }
    }

    /// Steps until there is nothing to do, and takes everything that comes out.
    pub(crate) fn settle(&mut self) -> Outcome<usize> {
        let mut out = 0;
        loop {
            match self.connection.step(START) {
                Step::Wait(wait) => {
                    let sent = wait
                        .legs()
                        .map(|leg| (leg, wait.outgoing(leg).len()))
                        .find(|(_, length)| *length > 0);
                    let Some((leg, length)) = sent else {
                        return Ok(out);
                    };
                    out += length;
                    self.connection.handle(START, Input::Sent(leg, length));
                }
                Step::Dial(dial) => self.upstream = Some(dial.leg),
                Step::Compute(job) => self.connection.handle(START, Input::Computed(job.run())),
                Step::Note(note) => drop(note),
                Step::Hangup(_) | Step::Secure(..) | Step::Drop(_) => {}
                Step::Closed => {
                    self.closed = true;
                    return Ok(out);
                }
            }
        }
    }
}
