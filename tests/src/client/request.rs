//! Requests as a client writes them: a right one by default, then what is wrong with it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The key of RFC 6455 section 1.3.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// What a server answers to it.
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A request head under construction.
#[derive(Clone, Debug)]
pub struct Request {
    line: String,
    fields: Vec<(String, String)>,
    body: Vec<u8>,
}

/// A right upgrade request to `target` on `localhost`.
pub fn upgrade(target: &str) -> Request {
    get(target)
        .field("Upgrade", "websocket")
        .field("Connection", "Upgrade")
        .field("Sec-WebSocket-Key", KEY)
        .field("Sec-WebSocket-Version", "13")
}

/// A plain GET request.
pub fn get(target: &str) -> Request {
    Request {
        line: format!("GET {target} HTTP/1.1"),
        fields: vec![("Host".to_owned(), "localhost".to_owned())],
        body: Vec::new(),
    }
}

impl Request {
    /// Puts another method in.
    #[must_use]
    pub fn method(mut self, method: &str) -> Self {
        let rest = self.line.split_once(' ').map_or("", |(_, rest)| rest);
        self.line = format!("{method} {rest}");
        self
    }

    /// Puts another version in.
    #[must_use]
    pub fn version(mut self, version: &str) -> Self {
        let start = self.line.rsplit_once(' ').map_or("", |(start, _)| start);
        self.line = format!("{start} {version}");
        self
    }

    /// Adds a field, behind those that there are.
    #[must_use]
    pub fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Takes all fields of this name away.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.fields.retain(|(field, _)| !field.eq_ignore_ascii_case(name));
        self
    }

    /// Replaces all fields of this name by one.
    #[must_use]
    pub fn with(self, name: &str, value: &str) -> Self {
        self.without(name).field(name, value)
    }

    /// Adds a bearer token.
    #[must_use]
    pub fn bearer(self, token: &str) -> Self {
        self.field("Authorization", &format!("Bearer {token}"))
    }

    /// Adds a user and a password.
    #[must_use]
    pub fn basic(self, user: &str, password: &str) -> Self {
        let text = STANDARD.encode(format!("{user}:{password}"));
        self.field("Authorization", &format!("Basic {text}"))
    }

    /// Adds an origin.
    #[must_use]
    pub fn origin(self, origin: &str) -> Self {
        self.field("Origin", origin)
    }

    /// Adds subprotocols, as written.
    #[must_use]
    pub fn protocols(self, list: &str) -> Self {
        self.field("Sec-WebSocket-Protocol", list)
    }

    /// Adds bytes behind the head.
    #[must_use]
    pub fn then(mut self, bytes: &[u8]) -> Self {
        self.body.extend_from_slice(bytes);
        self
    }

    /// Returns the bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{}\r\n", self.line).into_bytes();
        for (name, value) in &self.fields {
            bytes.extend(format!("{name}: {value}\r\n").bytes());
        }
        bytes.extend(b"\r\n");
        bytes.extend(&self.body);
        bytes
    }
}
