//! A described request, and the bytes that say the same.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::hmac;
use serde_json::json;

use super::config::{COOKIE, HEADER, MARKER, PARAMETER, SECRETS, USERS, ed25519, hs256_secret};
use crate::client::{self, Digest};
use crate::keys::{self, Signer, flip_a_bit};
use crate::sim::START;

/// How far from now what is expired, or not yet valid, is: beyond the leeway.
const AWAY: u64 = 100;

/// A request, by what is right and wrong with it.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: &'static str,
    /// Whether the version is HTTP/1.0.
    pub old: bool,
    /// The values of Host.
    pub hosts: Vec<&'static str>,
    /// The path.
    pub path: &'static str,
    /// Whether it asks for an upgrade.
    pub upgrade: bool,
    /// The values of Sec-WebSocket-Version.
    pub versions: Vec<&'static str>,
    /// The values of Sec-WebSocket-Key.
    pub keys: Vec<&'static str>,
    /// The values of Origin.
    pub origins: Vec<&'static str>,
    /// Authorization lines.
    pub authorization: Vec<Authorization>,
    /// Lines of the carrier's field.
    pub header: Vec<Bare>,
    /// Parameters; the flag says that the name is escaped.
    pub query: Vec<(bool, Bare)>,
    /// Cookies.
    pub cookie: Vec<Bare>,
    /// Items of Sec-WebSocket-Protocol.
    pub items: Vec<Item>,
}

/// The value of an Authorization line.
#[derive(Clone, Debug)]
pub enum Authorization {
    /// `Bearer`, with or without something behind it.
    Bearer(Bare),
    /// The custom scheme.
    Custom(Bare),
    /// `Basic`.
    Basic(Basic),
    /// `Digest`.
    Digest(DigestAnswer),
    /// A scheme that nobody has.
    Other,
    /// Nothing.
    Empty,
}

/// A bare token.
#[derive(Clone, Debug)]
pub enum Bare {
    /// A token in three parts.
    Jwt(Token),
    /// One that is none.
    Opaque,
    /// Characters that no token has.
    Malformed,
    /// Nothing.
    Empty,
}

/// A Basic credential.
#[derive(Clone, Debug)]
pub enum Basic {
    /// A user by number; the last is nobody.
    User(usize, bool),
    /// A signed name.
    Ephemeral {
        /// The secret, by number.
        secret: usize,
        /// Whether the expiry has passed.
        expired: bool,
        /// Whether the signature is right.
        right: bool,
    },
    /// No base64.
    Garbage,
    /// No colon.
    NoColon,
    /// Nothing behind the scheme.
    Nothing,
}

/// A Digest credential; everything is right by default.
#[derive(Clone, Debug)]
pub struct DigestAnswer {
    /// The user, by number; the last is nobody.
    pub user: usize,
    /// Whether the password is right.
    pub right: bool,
    /// Whether the nonce is the gateway's.
    pub fresh: bool,
    /// Whether the realm's text is right.
    pub realm: bool,
    /// Whether the uri is the target.
    pub uri: bool,
    /// Whether the algorithm is MD5.
    pub md5: bool,
    /// Whether a parameter is missing.
    pub cut: bool,
}

/// A token.
#[derive(Clone, Debug)]
pub struct Token {
    /// `iss`.
    pub issuer: Option<&'static str>,
    /// `aud`.
    pub audience: Option<&'static str>,
    /// `sub`.
    pub subject: Option<&'static str>,
    /// `exp`: in the future, in the past, or absent.
    pub expiry: Option<bool>,
    /// Whether `nbf` is in the future.
    pub early: bool,
    /// What signs it.
    pub key: Key,
    /// `kid`.
    pub kid: Option<usize>,
    /// Whether the signature is broken.
    pub flipped: bool,
    /// `group`.
    pub groups: Vec<&'static str>,
    /// `scope`.
    pub scopes: Vec<&'static str>,
    /// `team`.
    pub team: Vec<&'static str>,
    /// `floor`.
    pub floor: Vec<&'static str>,
}

/// What signs a token, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// A secret.
    Secret(usize),
    /// An Ed25519 key.
    Ed25519(usize),
}

/// An item, or two, of Sec-WebSocket-Protocol.
#[derive(Clone, Debug)]
pub enum Item {
    /// A subprotocol.
    Real(&'static str),
    /// The marker and a token.
    Pair(Bare),
    /// Both in one.
    Single(Bare),
    /// The marker alone; always the last item.
    Marker,
    /// What is no token of RFC 9110.
    NoToken,
}

impl Request {
    /// A right request to `path` without any credential.
    pub fn right(host: &'static str, path: &'static str) -> Self {
        Self {
            method: "GET",
            old: false,
            hosts: vec![host],
            path,
            upgrade: true,
            versions: vec!["13"],
            keys: vec![client::KEY],
            origins: Vec::new(),
            authorization: Vec::new(),
            header: Vec::new(),
            query: Vec::new(),
            cookie: Vec::new(),
            items: Vec::new(),
        }
    }

    /// Returns the target. `x=1` is in every query, so that Digest has a uri to differ in.
    pub fn target(&self) -> String {
        let mut target = format!("{}?x=1", self.path);
        for (escaped, value) in &self.query {
            let name = if *escaped {
                PARAMETER.replace('_', "%5F")
            } else {
                PARAMETER.to_owned()
            };
            target += &format!("&{name}={}", value.text());
        }
        target
    }

    /// Says whether it holds a Digest credential.
    pub fn has_digest(&self) -> bool {
        let digest = |line: &Authorization| matches!(line, Authorization::Digest(_));
        self.authorization.iter().any(digest)
    }

    /// Writes it down. `challenge` is the Digest line that is answered.
    pub fn bytes(&self, challenge: &str) -> Vec<u8> {
        let version = if self.old { "HTTP/1.0" } else { "HTTP/1.1" };
        let target = self.target();
        let mut request = client::get(&target)
            .method(self.method)
            .version(version)
            .without("Host");
        for host in &self.hosts {
            request = request.field("Host", host);
        }
        if self.upgrade {
            request = request
                .field("Upgrade", "websocket")
                .field("Connection", "Upgrade");
        }
        for version in &self.versions {
            request = request.field("Sec-WebSocket-Version", version);
        }
        for key in &self.keys {
            request = request.field("Sec-WebSocket-Key", key);
        }
        for origin in &self.origins {
            request = request.origin(origin);
        }
        for line in &self.authorization {
            let value = line.text(&target, challenge);
            request = request.field("Authorization", &value);
        }
        for value in &self.header {
            request = request.field(HEADER, &value.text());
        }
        if !self.cookie.is_empty() {
            let pairs: Vec<_> = self
                .cookie
                .iter()
                .map(|value| format!("{COOKIE}={}", value.text()))
                .collect();
            request = request.field("Cookie", &format!("other=1; {}", pairs.join("; ")));
        }
        if !self.items.is_empty() {
            let items: Vec<_> = self.items.iter().map(Item::text).collect();
            request = request.protocols(&items.join(", "));
        }
        request.bytes()
    }
}

impl Authorization {
    fn text(&self, target: &str, challenge: &str) -> String {
        match self {
            Self::Bearer(value) => format!("Bearer {}", value.text()).trim_end().to_owned(),
            Self::Custom(value) => format!("Token {}", value.text()).trim_end().to_owned(),
            Self::Basic(basic) => format!("Basic {}", basic.text()).trim_end().to_owned(),
            Self::Digest(answer) => answer.text(target, challenge),
            Self::Other => "Negotiate YWJj".to_owned(),
            Self::Empty => String::new(),
        }
    }
}

impl Bare {
    /// Returns the text.
    pub fn text(&self) -> String {
        match self {
            Self::Jwt(token) => token.text(),
            Self::Opaque => "opaque".to_owned(),
            // A subprotocol, a query and a cookie may hold it, a token (RFC 6750 section 2.1) may not.
            Self::Malformed => "a!b".to_owned(),
            Self::Empty => String::new(),
        }
    }
}

impl Basic {
    fn text(&self) -> String {
        match self {
            Self::User(number, right) => {
                let (user, password) = USERS.get(*number).copied().unwrap_or(("zoe", "whatever"));
                let password = if *right { password } else { "wrong" };
                STANDARD.encode(format!("{user}:{password}"))
            }
            Self::Ephemeral {
                secret,
                expired,
                right,
            } => {
                let now = START.as_secs();
                let name = format!("{}:phone", if *expired { now - AWAY } else { now + AWAY });
                let key = hmac::Key::new(hmac::HMAC_SHA256, SECRETS[*secret].as_bytes());
                let mac = hmac::sign(&key, name.as_bytes());
                let mac = if *right {
                    STANDARD.encode(mac)
                } else {
                    "wrong".to_owned()
                };
                STANDARD.encode(format!("{name}:{mac}"))
            }
            Self::Garbage => "!".to_owned(),
            Self::NoColon => STANDARD.encode("alice"),
            Self::Nothing => String::new(),
        }
    }
}

impl DigestAnswer {
    fn text(&self, target: &str, challenge: &str) -> String {
        let (user, password) = USERS.get(self.user).copied().unwrap_or(("zoe", "whatever"));
        let password = if self.right { password } else { "wrong" };
        let mut digest = Digest::of_line(challenge, (user, password)).with_uri(if self.uri {
            target
        } else {
            "/elsewhere"
        });
        if !self.fresh {
            digest = digest.with_nonce("Zm9yZWlnbg");
        }
        if !self.realm {
            digest = digest.with_realm("elsewhere");
        }
        digest = digest.with_algorithm(if self.md5 { "MD5" } else { "SHA-256" });
        if self.cut {
            digest = digest.without("cnonce");
        }
        digest.field()
    }
}

impl Token {
    fn text(&self) -> String {
        let now = START.as_secs();
        let mut claims = json!({});
        let mut put = |name: &str, value: Option<serde_json::Value>| {
            if let Some(value) = value {
                claims[name] = value;
            }
        };
        put("iss", self.issuer.map(Into::into));
        put("aud", self.audience.map(Into::into));
        put("sub", self.subject.map(Into::into));
        let expiry = |good| if good { now + AWAY } else { now - AWAY };
        put("exp", self.expiry.map(|good| expiry(good).into()));
        put("nbf", self.early.then(|| (now + AWAY).into()));
        put("group", some(&self.groups));
        put("scope", some(&self.scopes).map(|_| self.scopes.join(" ").into()));
        put("team", some(&self.team));
        put("floor", some(&self.floor));
        let signer = match self.key {
            Key::Secret(number) => Signer::Hs256(hs256_secret(number)),
            Key::Ed25519(number) => ed25519(number),
        };
        let mut header = json!({"alg": signer.algorithm()});
        if let Some(kid) = self.kid {
            header["kid"] = json!(format!("k{kid}"));
        }
        let text = keys::raw_token(&header.to_string(), &claims.to_string(), &signer);
        if self.flipped { flip_a_bit(&text) } else { text }
    }
}

fn some(values: &[&str]) -> Option<serde_json::Value> {
    (!values.is_empty()).then(|| json!(values))
}

impl Item {
    fn text(&self) -> String {
        match self {
            Self::Real(name) => (*name).to_owned(),
            Self::Pair(value) => format!("{MARKER}, {}", value.text()),
            Self::Single(value) => format!("{MARKER}.{}", URL_SAFE_NO_PAD.encode(value.text())),
            Self::Marker => MARKER.to_owned(),
            Self::NoToken => "a@b".to_owned(),
        }
    }
}
