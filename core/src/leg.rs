//! Byte streams: the client's, and those that the core asks the adapter to open.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};

use crate::time::UnixTime;

/// A byte stream of one connection: the client's, or one that the core asked for. Numbers are
/// never reused within a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Leg(u32);

impl Leg {
    /// The accepted stream, on which the request arrived.
    pub const CLIENT: Self = Self(0);

    /// The largest number of legs that one connection can ask for in its life.
    pub const LAST: u32 = u32::MAX;

    pub(crate) const fn numbered(number: u32) -> Self {
        Self(number)
    }

    /// Returns the number, unique within the connection; 0 is the client.
    pub const fn number(self) -> u32 {
        self.0
    }
}

/// Why a leg ended without an orderly end of stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Break {
    /// The peer reset the stream.
    Reset,
    /// The TLS handshake or a TLS record failed.
    Tls,
    /// Any other error of the operating system.
    Io,
}

/// What a finished TLS handshake agreed on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsInfo {
    /// The application protocol that ALPN selected, if any.
    pub alpn: Option<Vec<u8>>,
    /// Whether the session was resumed.
    pub resumed: bool,
}

/// How to secure a leg as a TLS client.
#[derive(Clone)]
pub struct ClientTls {
    /// The name that the certificate must carry.
    pub name: ServerName<'static>,
    /// The roots and versions to verify it with.
    pub config: Arc<ClientConfig>,
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// How to secure an open leg, and in which role.
#[derive(Clone)]
pub enum Tls {
    /// The far end is a server (StartTLS).
    Client(ClientTls),
    /// The far end is a client: the leg is [`Leg::CLIENT`].
    Server(Arc<ServerConfig>),
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(tls) => f.debug_tuple("Client").field(tls).finish(),
            Self::Server(_) => f.write_str("Server"),
        }
    }
}

/// A stream that the core wants opened. The adapter answers with `Input::Dialed`; there is no
/// time limit in it, because the core drops the leg when it has waited long enough.
#[derive(Clone, Debug)]
pub struct Dial {
    /// The number that the stream will have.
    pub leg: Leg,
    /// Where it leads. It comes from the configuration, never from a request.
    pub to: Destination,
}

/// Where a dialed leg leads.
#[derive(Clone, Debug)]
pub enum Destination {
    /// A TCP stream; with `tls`, it counts as opened only after the handshake.
    Tcp {
        /// A host name or an IP literal without brackets.
        host: String,
        /// The port.
        port: u16,
        /// Present if the stream starts with TLS.
        tls: Option<ClientTls>,
    },
    /// A regular file beneath a folder. Its contents arrive as data and then end of stream; it is
    /// read only.
    File {
        /// The folder out of which no link may lead.
        root: PathBuf,
        /// The path below the folder, one plain name each.
        segments: Vec<String>,
    },
}

/// What the adapter found when it opened a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// The address that answered; absent for files.
    pub remote: Option<SocketAddr>,
    /// The length in bytes; files only.
    pub length: Option<u64>,
    /// When the contents changed last; files only.
    pub modified: Option<UnixTime>,
}

/// Why a stream could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DialError {
    /// The name does not resolve.
    Name,
    /// Nobody listens there.
    Refused,
    /// The operating system gave up, or the way there is cut.
    Unreachable,
    /// The TLS handshake failed.
    Tls,
    /// There is no such file, it is not a regular one, or the path leads out of the root.
    NotFound,
    /// Any other error.
    Io,
}

/// What can happen on a leg other than the client's.
#[derive(Debug)]
pub enum LegEvent<'a> {
    /// It is open.
    Opened(Opened),
    /// It could not be opened.
    Failed(DialError),
    /// TLS that was asked for on the open leg is in place.
    Secured(TlsInfo),
    /// Bytes arrived.
    Data(&'a [u8]),
    /// The peer has ended its stream; for a file: everything was read.
    Eof,
    /// It is gone in both directions.
    Broken(Break),
}
