//! What is told to the operator: structured events, formatted by `ops::log`.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::config::ConfigErrors;
use crate::reason::Reason;
use crate::time::UnixTime;
use crate::trace::Trace;

/// The id of one request, the same in its `decision` and its `closed` line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId(pub [u8; 8]);

/// An event for the log. No variant can hold a secret: values that a peer made are cut and
/// escaped when they are put in.
#[derive(Clone, Debug)]
pub enum Note {
    /// A request was answered.
    Decision(Box<Decision>),
    /// An open socket ended.
    Closed(Box<Closed>),
    /// A listener is bound.
    Listening {
        /// The id of the server.
        server: Arc<str>,
        /// The URL with the bound address and the real port.
        url: String,
    },
    /// New rules are in force.
    Reloaded,
    /// New rules were refused, the old ones stay.
    ReloadFailed(ConfigErrors),
    /// The configuration was refused at start.
    ConfigRefused(ConfigErrors),
    /// Connections were closed at accept because a limit was reached.
    OverLimit {
        /// How many since the last line.
        count: u64,
    },
    /// Log lines were dropped because the queue was full.
    LogDropped {
        /// How many since the last line.
        count: u64,
    },
    /// The adapter could not accept a connection and pauses.
    AcceptFailed {
        /// The id of the server.
        server: Arc<str>,
        /// What the operating system said.
        error: String,
    },
    /// A connection panicked and was ended; nothing else is affected.
    Panicked,
    /// Shutting down: open sockets get Close 1001.
    Draining,
    /// Somebody or something was revoked, or a revocation was lifted.
    Revocation(Box<Revocation>),
    /// The bus is there, or it is gone and this node is on its own.
    Bus {
        /// Whether it is there.
        up: bool,
    },
    /// Something that the operator should know or change.
    Warning {
        /// What, and what to do about it.
        message: String,
    },
}

/// One revocation, as a line of the file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// Whose credentials are revoked.
    pub subject: Option<String>,
    /// Which token is, if it is a single one.
    pub jti: Option<String>,
    /// The only issuer that it is about.
    pub issuer: Option<String>,
    /// The only realm that it is about.
    pub realm: Option<String>,
    /// Until when; that it was posted, if it was lifted.
    pub until: UnixTime,
}

/// One answered request.
#[derive(Clone, Debug)]
pub struct Decision {
    /// The id of the server.
    pub server: Arc<str>,
    /// The status code of the answer.
    pub status: u16,
    /// Why.
    pub reason: Reason,
    /// The service that the request was for, once it was known.
    pub service: Option<Arc<str>>,
    /// The realm that judged it, once it was known.
    pub realm: Option<Arc<str>>,
    /// Who was let in; only after a success.
    pub subject: Option<String>,
    /// Which carrier held the credential that counted, as written in the configuration.
    pub carrier: Option<Cow<'static, str>>,
    /// The scheme of that credential.
    pub scheme: Option<Cow<'static, str>>,
    /// The method, once a head was complete.
    pub method: Option<&'static str>,
    /// The path of the target, without its query, cut.
    pub path: Option<Arc<str>>,
    /// The names of the query's parameters, never their values (R10).
    pub params: Vec<String>,
    /// The client's address.
    pub peer: SocketAddr,
    /// The id of the request.
    pub request: RequestId,
    /// How far it came; not a part of the log line.
    pub trace: Trace,
}

/// One ended socket.
#[derive(Clone, Debug)]
pub struct Closed {
    /// The id of the server.
    pub server: Arc<str>,
    /// The service that it used.
    pub service: Arc<str>,
    /// The close code that ended it: ours, else the peer's; 1006 if neither sent one.
    pub code: u16,
    /// The reason that goes with the code, if it was ours.
    pub reason: Cow<'static, str>,
    /// The id of the request that opened it.
    pub request: RequestId,
    /// How long it was open.
    pub duration: Duration,
    /// Messages received.
    pub messages_in: u64,
    /// Messages sent.
    pub messages_out: u64,
    /// Bytes of the messages received.
    pub bytes_in: u64,
    /// Bytes of the messages sent.
    pub bytes_out: u64,
}
