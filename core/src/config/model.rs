//! The configuration as plain data: what the rest of the core reads. Names are those of the file in
//! Rust's spelling; defaults are filled in. Nothing in here is a secret: files are named, not held.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::acl::Acl;
use super::error::Place;
use super::modules::LoginModule;
use super::network::Network;
use super::upstream::Proxy;

/// A file that a member names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRef {
    /// Where the file is: a relative name is resolved against the configuration's folder.
    pub path: PathBuf,
    /// The member that names it.
    pub place: Place,
}

/// Bounds on what peers may cost. Sizes in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest request line; over it 414.
    pub request_line_bytes: usize,
    /// Longest request head, request line included; over it 431.
    pub head_bytes: usize,
    /// How long accept, TLS handshake and head may take together; over it 408.
    pub head_timeout: Duration,
    /// Refused attempts on one connection; the last one closes it.
    pub attempts_per_connection: u64,
    /// How long a kept connection waits for its next head.
    pub keep_alive_timeout: Duration,
    /// Longest WebSocket message; over it Close 1009.
    pub message_bytes: usize,
    /// How long a closing handshake and the last flush may take.
    pub close_timeout: Duration,
    /// How long a peer may take nothing of what waits for it.
    pub stall_timeout: Duration,
    /// Open connections. `None`: the program's default.
    pub connections: Option<usize>,
    /// Open connections of one address (IPv6: of one /64). `None`: a tenth of all.
    pub connections_per_address: Option<usize>,
    /// Open sockets of one identity; over it 429. `None`: no bound.
    pub sockets_per_subject: Option<usize>,
    /// Memory of all messages that are being received.
    pub message_memory: usize,
    /// Memory of all password hashes that are computed at once.
    pub job_bytes: usize,
    /// Sessions of form logins.
    pub sessions: usize,
    /// Unspent tickets.
    pub tickets: usize,
}

/// How guessing is slowed down: so many failed logins of one address in one window, then 429.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Throttle {
    /// Failures that one window allows.
    pub failures: u64,
    /// How long a window is, from its first failure on.
    pub window: Duration,
    /// Networks whose addresses have many clients behind them: there failures count per address and
    /// user name.
    pub shared: Vec<Network>,
}

/// One listener: addresses, certificate, accepted hosts and the services behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its name in the log.
    pub id: String,
    /// Its name in other systems, in lower case.
    pub uuid: Option<String>,
    /// Where it listens; port 0 leaves the choice to the operating system.
    pub listen: Vec<SocketAddr>,
    /// Certificate chain and key in one PEM file; `None` exactly if `plaintext`.
    pub certificate: Option<FileRef>,
    /// Serves without TLS; every address of `listen` is a loopback address then.
    pub plaintext: bool,
    /// The hosts that it answers for, those of absolute `accept` URLs included; never empty.
    pub hosts: Vec<HostEntry>,
    /// The names of its services, each of them known.
    pub services: Vec<String>,
    /// The answer to a well-formed Host that is not served: 421, 403 or 404.
    pub unknown_host_status: u16,
    /// The path that is answered 200 or 503 without Host check and realm.
    pub health: Option<String>,
    /// `max-age` of `Strict-Transport-Security`.
    pub hsts: Option<Duration>,
    /// The networks from which a PROXY header of version 2 comes first.
    pub proxy_protocol: Vec<Network>,
    /// Where it stands in the file.
    pub place: Place,
}

/// The admin listener: plain HTTP on loopback addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Where it listens; every one is a loopback address.
    pub listen: Vec<SocketAddr>,
    /// The file with the token that changes need.
    pub token: FileRef,
    /// The file with one revocation a line.
    pub revocations: Option<FileRef>,
    /// Where it stands in the file.
    pub place: Place,
}

/// A host that a server answers for: a name or IP literal, optionally with a port, or `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostEntry {
    /// The entry as it is written; its syntax has been checked.
    pub text: String,
    /// Where it comes from.
    pub place: Place,
}

/// What stands behind one or more paths, and who may reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// What it does.
    pub kind: ServiceKind,
    /// Where it is reached; never empty.
    pub accept: Vec<Accept>,
    /// The names of the data points of a points service, by path; each path is among `accept`.
    pub endpoints: BTreeMap<String, String>,
    /// The most that waits for one member of a broadcast, in bytes; 0 for every other type.
    pub mailbox_bytes: usize,
    /// The folder of a directory service.
    pub directory: Option<FileRef>,
    /// Who may try.
    pub access: Access,
    /// `false` answers 503 before any credential work.
    pub enabled: bool,
    /// The carriers that replace its realm's; see [`super::Config::carriers`].
    pub carriers: Option<Vec<Carrier>>,
    /// The allowed origins besides the server's own; `None` lets every origin pass, and then no
    /// credential of this service is an ambient one.
    pub origins: Option<Vec<String>>,
    /// Lets an ambient credential pass without an Origin.
    pub allow_missing_origin: bool,
    /// The roles that are needed, all of them. Empty: any authenticated client.
    pub require_roles: Vec<String>,
    /// The scopes that are needed, all of them.
    pub require_scopes: Vec<String>,
    /// Its own access control list. `None`: the file's, if there is one.
    pub acl: Option<Acl>,
    /// The subprotocols that it speaks, preferred ones first.
    pub subprotocols: Vec<String>,
    /// Refuses clients that offer none of `subprotocols`.
    pub require_subprotocol: bool,
    /// Closes a socket on which nothing was sent for this long.
    pub idle_timeout: Option<Duration>,
    /// Time between two pings.
    pub ping_interval: Duration,
    /// How long a client may take from one factor to the next.
    pub step_up_lifetime: Duration,
    /// What a proxy relays to; `Some` exactly if `kind` is one.
    pub proxy: Option<Proxy>,
    /// Where it stands in the file.
    pub place: Place,
}

/// What a service does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceKind {
    /// Sends every message back.
    Echo,
    /// What one member sends, all others receive.
    Broadcast,
    /// Named last values.
    Points,
    /// Relays to an upstream.
    Proxy,
    /// Files of a folder.
    Directory,
}

/// One way to reach a service: a path on every host of the server, or an absolute URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accept {
    /// The URL's scheme. `None`: any.
    pub scheme: Option<UrlScheme>,
    /// The URL's host in lower case, an IPv6 address in brackets. `None`: every host of the server.
    pub host: Option<String>,
    /// The URL's port; a request through another one is 403. `None`: any.
    pub port: Option<u16>,
    /// The canonical path, with the `/*` at its end if there is one.
    pub path: String,
    /// Whether it ends in `/*` and stands for everything below.
    pub below: bool,
    /// Where it stands in the file.
    pub place: Place,
}

impl Accept {
    /// Returns the path without its `*`, if it stands for everything below.
    #[must_use]
    pub fn prefix(&self) -> Option<&str> {
        self.path.strip_suffix('*').filter(|_| self.below)
    }
}

/// The scheme of an absolute `accept` URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UrlScheme {
    /// `ws`: without TLS.
    Ws,
    /// `wss`: with TLS.
    Wss,
}

/// Who may try to reach a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everybody, without a credential.
    Public,
    /// Who passes these realms, in order; never empty, each of them known.
    Realms(Vec<String>),
}

/// Where a credential travels. `Display` writes it as in the configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Carrier {
    /// The `Authorization` field, with its scheme.
    Authorization,
    /// The bare token in the field of this name.
    Header(String),
    /// The bare token in the query parameter of this (decoded) name.
    Query(String),
    /// The bare token in the cookie of this name.
    Cookie(String),
    /// The bare token behind this marker in `Sec-WebSocket-Protocol`.
    Subprotocol(String),
}

/// How the carrier of the field `Authorization` is written.
const AUTHORIZATION: &str = "authorization";

impl Carrier {
    /// Says whether browsers send such a credential unasked, whatever page makes the request
    /// (SPEC R3). What `Authorization` holds depends on its scheme: see [`Scheme::is_ambient`].
    #[must_use]
    pub const fn is_ambient(&self) -> bool {
        match self {
            Self::Cookie(_) => true,
            Self::Authorization | Self::Header(_) | Self::Query(_) | Self::Subprotocol(_) => false,
        }
    }
}

impl Carrier {
    /// Returns the carrier as it is written in the configuration.
    #[must_use]
    pub fn text(&self) -> Cow<'static, str> {
        match self {
            Self::Authorization => AUTHORIZATION.into(),
            Self::Header(_) | Self::Query(_) | Self::Cookie(_) | Self::Subprotocol(_) => {
                self.to_string().into()
            }
        }
    }
}

impl fmt::Display for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Authorization => f.write_str(AUTHORIZATION),
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Query(name) => write!(f, "query:{name}"),
            Self::Cookie(name) => write!(f, "cookie:{name}"),
            Self::Subprotocol(marker) => write!(f, "subprotocol:{marker}"),
        }
    }
}

/// One challenge of a realm's 401.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// The authentication scheme.
    pub scheme: Scheme,
    /// Written with `Application ` before the scheme, which only `compat.applicationPrefix` does.
    pub application_prefix: bool,
}

/// An authentication scheme, RFC 9110 section 11.1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// RFC 6750.
    Bearer,
    /// RFC 7617.
    Basic,
    /// RFC 7616.
    Digest,
    /// Any other name; judged as a bearer token.
    Custom(String),
}

impl Scheme {
    /// Reads a scheme's name, which compares regardless of case. The name has to be a token.
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        let known = [
            ("Bearer", Self::Bearer),
            ("Basic", Self::Basic),
            ("Digest", Self::Digest),
        ];
        let found = known
            .into_iter()
            .find(|(text, _)| name.eq_ignore_ascii_case(text));
        found.map_or_else(|| Self::Custom(name.to_owned()), |(_, scheme)| scheme)
    }

    /// Returns the scheme's name as it is written in a challenge.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Bearer => "Bearer",
            Self::Basic => "Basic",
            Self::Digest => "Digest",
            Self::Custom(name) => name,
        }
    }

    /// Returns the name without a borrow, and without an allocation where it is a known one.
    #[must_use]
    pub fn text(&self) -> Cow<'static, str> {
        match self {
            Self::Bearer => "Bearer".into(),
            Self::Basic => "Basic".into(),
            Self::Digest => "Digest".into(),
            Self::Custom(name) => name.clone().into(),
        }
    }

    /// Says whether browsers answer its challenge by themselves and go on to send the credential
    /// unasked, whatever page makes the request (SPEC R3, R11).
    #[must_use]
    pub fn is_ambient(&self) -> bool {
        match self {
            Self::Basic | Self::Digest => true,
            Self::Bearer => false,
            Self::Custom(name) => name.eq_ignore_ascii_case("Negotiate") || name.eq_ignore_ascii_case("NTLM"),
        }
    }
}

/// Who is who: the challenges, the carriers and the chain of login modules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Realm {
    /// Its name in the file.
    pub name: String,
    /// The text in `realm="..."`: printable ASCII.
    pub description: String,
    /// The challenges of a 401, in order; never empty.
    pub challenges: Vec<Challenge>,
    /// How the Digest challenge is made, if it is among them.
    pub digest: Digest,
    /// The scopes that the Bearer challenge announces.
    pub scope: Vec<String>,
    /// What the Bearer challenge asks for where the realm is a further factor.
    pub acr_values: Vec<String>,
    /// Where a credential may travel; never empty.
    pub carriers: Vec<Carrier>,
    /// How a client without a credential passes. `None`: it does not.
    pub anonymous: Option<Anonymous>,
    /// Longest life of a socket or session.
    pub session_timeout: Option<Duration>,
    /// How long a socket may go on without a renewal.
    pub authorization_timeout: Option<Duration>,
    /// The path that renews sockets.
    pub renewal: Option<String>,
    /// The origins that may use the realm's own paths. `None`: those that all its services allow.
    pub origins: Option<Vec<String>>,
    /// The login page and its sessions.
    pub form: Option<Form>,
    /// One-time tickets.
    pub tickets: Option<Tickets>,
    /// The login modules, in order; never empty.
    pub modules: Vec<LoginModule>,
    /// Lets two carriers hold the same token.
    pub same_token_ok: bool,
    /// Treats the `Authorization` field as absent: a proxy in front writes its own there.
    pub ignore_authorization_from_proxy: bool,
    /// Leaves out the challenges for which a browser opens a prompt if the request has an Origin.
    pub suppress_browser_prompt: bool,
    /// Lets a subprotocol token hold `/` and `=`, which browsers never send.
    pub lenient_subprotocol_token: bool,
    /// Behaviour of older gateways.
    pub compat: Compat,
    /// Where it stands in the file.
    pub place: Place,
}

/// The settings of Digest, RFC 7616.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digest {
    /// The algorithms that are offered, the stronger first; never empty.
    pub algorithms: Vec<DigestAlgorithm>,
    /// How long a nonce is good for.
    pub nonce_lifetime: Duration,
}

/// A hash algorithm of Digest, the stronger first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DigestAlgorithm {
    /// SHA-256.
    Sha256,
    /// MD5, for clients that know nothing else.
    Md5,
}

impl DigestAlgorithm {
    /// All of them, the stronger first.
    pub const ALL: [Self; 2] = [Self::Sha256, Self::Md5];

    /// Returns the name as RFC 7616 writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "SHA-256",
            Self::Md5 => "MD5",
        }
    }

    /// Returns the length of a hash, in bytes.
    #[must_use]
    pub const fn length(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Md5 => 16,
        }
    }
}

/// The rights of a client without a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anonymous {
    /// Its roles besides `Anonymous`.
    pub roles: Vec<String>,
}

/// A login page and the sessions that begin there (SPEC R16).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    /// The canonical path of the page.
    pub path: String,
    /// The canonical path where a POST ends the session.
    pub logout: String,
    /// The name of the session's cookie; it begins with `__Host-`.
    pub cookie: String,
}

/// One-time tickets (SPEC B1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tickets {
    /// The canonical path where a POST makes one.
    pub path: String,
    /// How long it waits to be used.
    pub lifetime: Duration,
}

/// The query parameter that carries a ticket.
pub const TICKET_PARAMETER: &str = "ticket";

/// The cookie that a login page and the form which comes back belong together by.
pub const CSRF_COOKIE: &str = "__Host-csrf";

/// Behaviour of older gateways, all of it off by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compat {
    /// Answers 403 where a login fails.
    pub kaazing403: bool,
    /// Writes the `Application ` prefix of challenges.
    pub application_prefix: bool,
}
