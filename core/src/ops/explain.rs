//! What would become of one request: a captured head is given to a connection like any other, and
//! what the connection notes about it is printed.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::args::nearest;
use crate::connection::{Connection, Input, Peer, Step};
use crate::gateway::{Gateway, Listener};
use crate::leg::{Break, DialError, Leg, TlsInfo};
use crate::note::{Decision, Note};
use crate::proxy_protocol::LOCAL;
use crate::time::{Now, UnixTime};

/// The most bytes that are read as a request head, in bytes: no configuration allows a longer one.
pub const HEAD_LIMIT: u64 = 2 * 1024 * 1024;

/// The most that is done for one request, in steps. One that is answered takes a few dozen.
const STEPS: usize = 10_000;

/// The port of a client that is made up.
const PORT: u16 = 49_152;

/// How a request is to be thought of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// The id of the server that it came to. `None`: the first one.
    pub server: Option<String>,
    /// The address that it came from. `None`: 127.0.0.1.
    pub peer: Option<IpAddr>,
    /// When it came, by the wall clock. `None`: now.
    pub at: Option<UnixTime>,
}

/// There is no answer to the question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unexplained {
    /// No server has this id; the nearest one, if one is near.
    UnknownServer(String, Option<String>),
    /// The request was not answered: it needs somebody whom nobody asked.
    Unanswered,
}

impl fmt::Display for Unexplained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownServer(id, Some(near)) => {
                write!(f, "no server has the id {id:?}; did you mean \"{near}\"?")
            }
            Self::UnknownServer(id, None) => write!(f, "no server has the id {id:?}"),
            Self::Unanswered => f.write_str("the request was not answered"),
        }
    }
}

impl std::error::Error for Unexplained {}

/// Judges `head` as the gateway would, and returns what is to be printed: a line `CHECK OUTCOME` for
/// every check, an empty line, and the bytes of the answer. Nobody beyond the gateway is asked: what
/// would have to be dialed is not available.
///
/// # Errors
/// There is no such server, or no answer.
pub fn explain(
    gateway: &Arc<Gateway>,
    question: &Question,
    now: Now,
    head: &[u8],
) -> Result<Vec<u8>, Unexplained> {
    let listener = listener(gateway, question.server.as_deref())?;
    let remote = question.peer.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let peer = Peer {
        server: listener.server,
        remote: SocketAddr::new(remote, PORT),
        local: listener.address,
    };
    let now = Now {
        unix: question.at.unwrap_or(now.unix),
        ..now
    };
    gateway.on_its_own();
    let admission = gateway
        .admit(listener.server, remote, now)
        .ok_or(Unexplained::Unanswered)?;
    let connection = Connection::client(admission, peer, now);
    let (decision, answer) = Run::new(connection, now, head)
        .answer()
        .ok_or(Unexplained::Unanswered)?;
    let mut out = String::new();
    for (check, outcome) in decision.trace.outcomes(decision.reason) {
        out.push_str(&format!("{} {outcome}\n", check.name()));
    }
    out.push('\n');
    Ok([out.into_bytes(), answer].concat())
}

fn listener(gateway: &Gateway, id: Option<&str>) -> Result<Listener, Unexplained> {
    let mut listeners = gateway.listeners().into_iter();
    let Some(id) = id else {
        return listeners.next().ok_or(Unexplained::Unanswered);
    };
    let known: Vec<_> = listeners.collect();
    match known.iter().find(|listener| *listener.id == *id) {
        Some(listener) => Ok(listener.clone()),
        None => {
            let names: Vec<&str> = known.iter().map(|listener| &*listener.id).collect();
            let near = nearest(id, &names).map(str::to_owned);
            Err(Unexplained::UnknownServer(id.to_owned(), near))
        }
    }
}

/// One connection that is driven without any IO.
struct Run<'h> {
    connection: Connection,
    now: Now,
    /// What the client still has to say; its end of stream follows.
    unsaid: Option<&'h [u8]>,
    decision: Option<Box<Decision>>,
    answer: Vec<u8>,
}

impl<'h> Run<'h> {
    const fn new(connection: Connection, now: Now, head: &'h [u8]) -> Self {
        Self {
            connection,
            now,
            unsaid: Some(head),
            decision: None,
            answer: Vec::new(),
        }
    }

    /// Goes on until the first request is answered.
    fn answer(mut self) -> Option<(Box<Decision>, Vec<u8>)> {
        for _ in 0..STEPS {
            if !self.go_on() {
                break;
            }
        }
        let decision = self.decision?;
        // What follows a 101 is no answer any more, but the service's.
        let end = self.answer.windows(4).position(|four| four == b"\r\n\r\n");
        if let Some(end) = end.filter(|_| decision.status == 101) {
            self.answer.truncate(end + 4);
        }
        Some((decision, self.answer))
    }

    /// Does the next step; says whether there is more to do.
    fn go_on(&mut self) -> bool {
        let now = self.now;
        match self.connection.step(now) {
            Step::Note(Note::Decision(decision)) => {
                self.decision.get_or_insert(decision);
            }
            Step::Note(_) | Step::Hangup(_) | Step::Drop(_) => {}
            Step::Compute(job) => {
                let computed = job.run();
                self.connection.handle(now, Input::Computed(computed));
            }
            Step::Dial(dial) => self
                .connection
                .handle(now, Input::Dialed(dial.leg, Err(DialError::Refused))),
            Step::Secure(Leg::CLIENT, _) => {
                self.connection
                    .handle(now, Input::Secured(Leg::CLIENT, TlsInfo::default()));
            }
            Step::Secure(leg, _) => self.connection.handle(now, Input::Broken(leg, Break::Tls)),
            Step::Closed => return false,
            Step::Wait(wait) => {
                let outgoing = wait.outgoing(Leg::CLIENT).to_vec();
                let deadline = wait.deadline();
                let input = if !outgoing.is_empty() {
                    self.answer.extend_from_slice(&outgoing);
                    Input::Sent(Leg::CLIENT, outgoing.len())
                } else if self.decision.is_some() {
                    return false;
                } else if wait.read_at_most(Leg::CLIENT) < usize::MAX {
                    // The peer of the question is who a header would have named.
                    Input::Data(Leg::CLIENT, &LOCAL)
                } else if wait.wants_read(Leg::CLIENT)
                    && let Some(bytes) = self.unsaid.take()
                {
                    if bytes.is_empty() {
                        Input::Eof(Leg::CLIENT)
                    } else {
                        self.unsaid = Some(&[]);
                        Input::Data(Leg::CLIENT, bytes)
                    }
                } else if let Some(deadline) = deadline {
                    // Somebody is waited for who will not come.
                    let by = deadline.since(now.at).max(Duration::from_millis(1));
                    self.now = now.after(by);
                    return true;
                } else {
                    return false;
                };
                self.connection.handle(now, input);
            }
        }
        true
    }
}
