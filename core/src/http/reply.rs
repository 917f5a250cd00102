//! Answers, byte for byte (SPEC.md, "Reference bytes").

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use super::date::http_date_bytes;
use super::error::HeadError;
use super::status::Status;
use super::syntax::{is_token, is_value_byte, put_decimal, put_value};
use super::upgrade::UpgradeError;
use crate::time::UnixTime;

/// The content type of every body that a [`Status`] brings along, as a whole line.
const TEXT: &[u8] = b"Content-Type: text/plain; charset=utf-8\r\n";

/// First allocation for the lines of an answer, in bytes: those of a 401 or of a 101.
const FIRST_ALLOCATION: usize = 160;

/// A field whose name is no token, or whose value has CR, LF, NUL or another control byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadField;

/// Fields, each a whole line already.
#[derive(Clone, Default)]
pub(crate) struct Lines(Vec<u8>);

/// Shows how many bytes they have, never which: a session's id may be among them.
impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lines({} bytes)", self.0.len())
    }
}

impl Lines {
    /// Appends a field by the rules of [`Reply::field`].
    pub(crate) fn add(&mut self, name: &str, value: impl AsRef<[u8]>) {
        if is_token(name.as_bytes()) {
            if self.0.is_empty() {
                self.0.reserve_exact(FIRST_ALLOCATION);
            }
            put(&mut self.0, name, value.as_ref());
        }
    }
}

/// What Connection says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Persistence {
    Keep,
    Close,
}

/// An answer under construction. It is written in this order: the fields in the order they were
/// added, Connection if the connection closes, Content-Type, Content-Length, Date.
///
/// ```
/// use countersign_core::http::{Reply, Status};
///
/// let mut bytes = Vec::new();
/// Reply::method_not_allowed("GET").write(&mut bytes);
/// assert_eq!(
///     bytes,
///     b"HTTP/1.1 405 Method Not Allowed\r\nAllow: GET\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
/// );
/// assert_eq!(Reply::new(Status::NotFound).status(), Status::NotFound);
/// ```
#[must_use]
#[derive(Clone)]
pub struct Reply {
    status: Status,
    lines: Lines,
    /// Upgrade is sent, and is a member of Connection.
    upgrade: bool,
    persistence: Persistence,
    /// None for that of a body which a [`Status`] brings along.
    content_type: Option<Cow<'static, str>>,
    body: Body,
    omit_body: bool,
    date: Option<UnixTime>,
}

/// What is sent behind the head.
#[derive(Clone)]
enum Body {
    /// Bytes of this answer.
    Own(Cow<'static, [u8]>),
    /// Bytes that others hold too.
    Shared(Bytes),
    /// So many bytes that somebody else writes behind this answer.
    Announced(u64),
}

impl Reply {
    /// An answer with the fixed body of `status` that keeps the connection.
    pub const fn new(status: Status) -> Self {
        Self {
            status,
            lines: Lines(Vec::new()),
            upgrade: false,
            persistence: Persistence::Keep,
            content_type: None,
            body: Body::Own(Cow::Borrowed(status.body().as_bytes())),
            omit_body: false,
            date: None,
        }
    }

    /// An answer with the fixed body of `status` that closes the connection.
    pub const fn closing(status: Status) -> Self {
        let mut reply = Self::new(status);
        reply.persistence = Persistence::Close;
        reply
    }

    /// An answer with the fixed body of `status` and fields that were written before; it keeps the
    /// connection.
    pub(crate) fn with_lines(status: Status, lines: Lines) -> Self {
        Self {
            lines,
            ..Self::new(status)
        }
    }

    /// 401 with one WWW-Authenticate line for each of `challenges`, in their order (reference A).
    pub fn unauthorized<V: AsRef<[u8]>>(challenges: impl IntoIterator<Item = V>) -> Self {
        challenges
            .into_iter()
            .fold(Self::new(Status::Unauthorized), |reply, challenge| {
                reply.field("WWW-Authenticate", challenge)
            })
            .field("Cache-Control", "no-store")
    }

    /// 426 for a request that does not ask for WebSocket where nothing else is served.
    pub fn upgrade_required() -> Self {
        let mut reply = Self::closing(Status::UpgradeRequired);
        reply.upgrade = true;
        reply
    }

    /// 426 for another Sec-WebSocket-Version than 13 (reference F).
    pub fn version_required() -> Self {
        Self::upgrade_required().field("Sec-WebSocket-Version", "13")
    }

    /// 405 with the methods that are allowed, such as `GET` or `GET, HEAD` (reference G). It closes.
    pub fn method_not_allowed(allow: &str) -> Self {
        Self::closing(Status::MethodNotAllowed).field("Allow", allow)
    }

    /// The answer to a head that is no request. It closes.
    pub const fn bad_head(error: HeadError) -> Self {
        Self::closing(error.status())
    }

    /// The answer to a wrong WebSocket part. It closes.
    pub fn bad_upgrade(error: UpgradeError) -> Self {
        match error {
            UpgradeError::UnsupportedVersion => Self::version_required(),
            UpgradeError::Body
            | UpgradeError::MissingVersion
            | UpgradeError::DuplicateVersion
            | UpgradeError::MissingKey
            | UpgradeError::DuplicateKey
            | UpgradeError::BadKey
            | UpgradeError::BadProtocol
            | UpgradeError::TooManyProtocols { .. } => Self::closing(error.status()),
        }
    }

    /// 101: the connection goes on with WebSocket (RFC 6455 section 4.2.2). `accept` answers the
    /// key; without `protocol` no subprotocol is chosen.
    pub fn switching(accept: impl AsRef<[u8]>, protocol: Option<&str>) -> Self {
        let mut reply = Self::new(Status::SwitchingProtocols);
        reply.upgrade = true;
        let reply = reply.field("Sec-WebSocket-Accept", accept);
        match protocol {
            Some(protocol) => reply.field("Sec-WebSocket-Protocol", protocol),
            None => reply,
        }
    }

    /// Returns the status.
    pub const fn status(&self) -> Status {
        self.status
    }

    /// Says whether the connection closes after this answer.
    pub const fn closes(&self) -> bool {
        matches!(self.persistence, Persistence::Close)
    }

    /// Adds a field. A control byte in the value is replaced by a space, as RFC 9110 section 5.5
    /// has it, so no value can begin a line of its own; a name that is no token adds nothing. Use
    /// [`try_field`](Self::try_field) for what a peer or a claim wrote.
    pub fn field(mut self, name: impl AsRef<str>, value: impl AsRef<[u8]>) -> Self {
        self.lines.add(name.as_ref(), value);
        self
    }

    /// Adds a field that is not of our own making.
    ///
    /// # Errors
    /// The field cannot be sent as it is.
    pub fn try_field(self, name: impl AsRef<str>, value: impl AsRef<[u8]>) -> Result<Self, BadField> {
        check_field(name.as_ref(), value.as_ref())?;
        Ok(self.field(name, value))
    }

    /// Replaces the body. The content type goes through the same check as a field's value.
    pub fn content(
        mut self,
        content_type: impl Into<Cow<'static, str>>,
        body: impl Into<Cow<'static, [u8]>>,
    ) -> Self {
        self.content_type = Some(content_type.into());
        self.body = Body::Own(body.into());
        self
    }

    /// Announces a body of `length` bytes, which whoever writes the answer sends behind it.
    pub fn announcing(mut self, content_type: impl Into<Cow<'static, str>>, length: u64) -> Self {
        self.content_type = Some(content_type.into());
        self.body = Body::Announced(length);
        self
    }

    /// Replaces the body by one that [`Reply::write`] leaves out: it is sent behind, without a copy.
    pub(crate) fn shared_content(mut self, content_type: &'static str, body: Bytes) -> Self {
        self.content_type = Some(content_type.into());
        self.body = Body::Shared(body);
        self
    }

    /// Returns what is to be sent behind what [`Reply::write`] has written, if anything is.
    pub(crate) const fn shared_body(&self) -> Option<&Bytes> {
        match &self.body {
            Body::Shared(body) if !self.omit_body => Some(body),
            Body::Shared(_) | Body::Own(_) | Body::Announced(_) => None,
        }
    }

    /// Closes the connection after this answer.
    pub const fn close(mut self) -> Self {
        self.persistence = Persistence::Close;
        self
    }

    /// Adds Retry-After in whole seconds, rounded up, at least 1 (RFC 9110 section 10.2.3).
    pub fn retry_after(self, delay: Duration) -> Self {
        let partial = u64::from(delay.subsec_nanos() > 0);
        let seconds = delay.as_secs().saturating_add(partial).max(1);
        self.field("Retry-After", seconds.to_string())
    }

    /// Leaves the body out, but not its length: the answer to HEAD (RFC 9110 section 9.3.2).
    pub const fn without_body(mut self) -> Self {
        self.omit_body = true;
        self
    }

    /// Adds Date (RFC 9110 section 6.6.1).
    pub const fn date(mut self, now: UnixTime) -> Self {
        self.date = Some(now);
        self
    }

    /// Appends the answer to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.status.line());
        let connection = match (self.upgrade, self.persistence) {
            (false, Persistence::Keep) => None,
            (false, Persistence::Close) => Some("close"),
            (true, Persistence::Keep) => Some("Upgrade"),
            (true, Persistence::Close) => Some("Upgrade, close"),
        };
        // Upgrade comes first where it is sent, and Connection stands behind it; else it comes last.
        if self.upgrade {
            put(out, "Upgrade", b"websocket");
        } else {
            out.extend_from_slice(&self.lines.0);
        }
        if let Some(connection) = connection {
            put(out, "Connection", connection.as_bytes());
        }
        if self.upgrade {
            out.extend_from_slice(&self.lines.0);
        }
        let length = match &self.body {
            Body::Own(body) => body.len() as u64,
            Body::Shared(body) => body.len() as u64,
            Body::Announced(length) => *length,
        };
        if has_content(self.status) {
            if length > 0 || matches!(self.body, Body::Announced(_)) {
                match &self.content_type {
                    Some(content_type) => put(out, "Content-Type", content_type.as_bytes()),
                    None => out.extend_from_slice(TEXT),
                }
            }
            out.extend_from_slice(b"Content-Length: ");
            put_decimal(out, length);
            out.extend_from_slice(b"\r\n");
        }
        if let Some(date) = self.date {
            out.extend_from_slice(b"Date: ");
            out.extend_from_slice(&http_date_bytes(date));
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"\r\n");
        if let Body::Own(body) = &self.body
            && has_content(self.status)
            && !self.omit_body
        {
            out.extend_from_slice(body);
        }
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reply({})", self.status.code())
    }
}

/// Checks whether a field can be sent as it is.
///
/// # Errors
/// The name is no token, or the value has a control byte.
pub fn check_field(name: &str, value: &[u8]) -> Result<(), BadField> {
    if is_token(name.as_bytes()) && value.iter().copied().all(is_value_byte) {
        Ok(())
    } else {
        Err(BadField)
    }
}

/// Returns `text` as a quoted-string (RFC 9110 section 5.6.4): `"` and `\` are escaped.
pub fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    put_quoted(&mut quoted, text);
    quoted
}

/// Appends what [`quoted`] returns.
pub(crate) fn put_quoted(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text;
    while let Some(at) = rest.bytes().position(|byte| matches!(byte, b'"' | b'\\')) {
        let (plain, behind) = rest.split_at_checked(at).unwrap_or((rest, ""));
        out.push_str(plain);
        let mut behind = behind.chars();
        out.push('\\');
        out.extend(behind.next());
        rest = behind.as_str();
    }
    out.push_str(rest);
    out.push('"');
}

/// Says whether an answer with this status has a body (RFC 9110 sections 15.2, 15.3.5 and 15.4.5).
const fn has_content(status: Status) -> bool {
    !matches!(
        status,
        Status::SwitchingProtocols | Status::NoContent | Status::NotModified
    )
}

fn put(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    // The last gate: whatever was handed in, no control byte leaves.
    put_value(out, value);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn lines(reply: &Reply) -> String {
        let mut bytes = Vec::new();
        reply.write(&mut bytes);
        String::from_utf8(bytes).unwrap().replace("\r\n", "|")
    }

    #[test]
    fn reference_a_challenges_in_order() {
        let reply = Reply::unauthorized([
            "Bearer realm=\"R\", scope=\"a b\"",
            "Digest realm=\"R\"",
            "Basic realm=\"R\", charset=\"UTF-8\"",
        ]);
        assert_eq!(
            lines(&reply),
            "HTTP/1.1 401 Unauthorized|WWW-Authenticate: Bearer realm=\"R\", scope=\"a b\"|\
             WWW-Authenticate: Digest realm=\"R\"|WWW-Authenticate: Basic realm=\"R\", charset=\"UTF-8\"|\
             Cache-Control: no-store|Content-Type: text/plain; charset=utf-8|Content-Length: 13||unauthorized\n"
        );
    }

    #[test]
    fn reference_c_conflict() {
        let reply = Reply::closing(Status::BadRequest).field(
            "WWW-Authenticate",
            "Bearer realm=\"R\", error=\"invalid_request\"",
        );
        assert_eq!(
            lines(&reply),
            "HTTP/1.1 400 Bad Request|WWW-Authenticate: Bearer realm=\"R\", error=\"invalid_request\"|\
             Connection: close|Content-Type: text/plain; charset=utf-8|Content-Length: 12||bad request\n"
        );
    }

    #[test]
    fn reference_f_g_i() {
        assert_eq!(
            lines(&Reply::bad_upgrade(UpgradeError::UnsupportedVersion)),
            "HTTP/1.1 426 Upgrade Required|Upgrade: websocket|Connection: Upgrade, close|\
             Sec-WebSocket-Version: 13|Content-Length: 0||"
        );
        assert_eq!(
            lines(&Reply::upgrade_required()),
            "HTTP/1.1 426 Upgrade Required|Upgrade: websocket|Connection: Upgrade, close|Content-Length: 0||"
        );
        assert_eq!(
            lines(&Reply::method_not_allowed("GET")),
            "HTTP/1.1 405 Method Not Allowed|Allow: GET|Connection: close|Content-Length: 0||"
        );
        assert_eq!(
            lines(&Reply::bad_head(HeadError::UnsupportedVersion {
                major: 2,
                minor: 0
            })),
            "HTTP/1.1 505 HTTP Version Not Supported|Connection: close|Content-Length: 0||"
        );
    }

    #[test]
    fn m01_switching_has_one_upgrade_and_one_connection_line() {
        let reply = Reply::switching("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", Some("chat"))
            .field("Countersign-Socket", "x")
            .date(UnixTime::default());
        assert_eq!(
            lines(&reply),
            "HTTP/1.1 101 Switching Protocols|Upgrade: websocket|Connection: Upgrade|\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=|Sec-WebSocket-Protocol: chat|\
             Countersign-Socket: x|Date: Thu, 01 Jan 1970 00:00:00 GMT||"
        );
    }

    #[test]
    fn r02_retry_after_is_at_least_a_second() {
        for (millis, seconds) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (59_999, 60)] {
            let reply = Reply::closing(Status::TooManyRequests).retry_after(Duration::from_millis(millis));
            assert!(lines(&reply).contains(&format!("|Retry-After: {seconds}|Connection: close|")));
        }
    }

    #[test]
    fn date_is_last_and_head_keeps_the_length() {
        let reply = Reply::new(Status::Ok)
            .content("application/json", &b"{}"[..])
            .date(UnixTime::from_secs(784_111_777))
            .without_body();
        assert_eq!(
            lines(&reply),
            "HTTP/1.1 200 OK|Content-Type: application/json|Content-Length: 2|\
             Date: Sun, 06 Nov 1994 08:49:37 GMT||"
        );
        assert_eq!(lines(&Reply::new(Status::NoContent)), "HTTP/1.1 204 No Content||");
        assert_eq!(
            lines(&Reply::new(Status::SeeOther).field("Location", "/")),
            "HTTP/1.1 303 See Other|Location: /|Content-Length: 0||"
        );
    }

    #[test]
    fn e06_no_value_begins_a_line() {
        let evil = "a\r\nSet-Cookie: x\0\n\x7F";
        assert_eq!(
            lines(
                &Reply::new(Status::NoContent)
                    .field("X-A", evil)
                    .field("Bad Name\r\n", "x")
            ),
            "HTTP/1.1 204 No Content|X-A: a  Set-Cookie: x   ||"
        );
        assert_eq!(
            lines(&Reply::new(Status::Ok).content(evil, &b"x"[..])),
            "HTTP/1.1 200 OK|Content-Type: a  Set-Cookie: x   |Content-Length: 1||x"
        );
        for (name, value) in [
            ("X-A", "a\rb"),
            ("X-A", "a\nb"),
            ("X-A", "a\0b"),
            ("X A", "a"),
            ("", "a"),
        ] {
            assert!(Reply::new(Status::Ok).try_field(name, value).is_err());
        }
        assert!(Reply::new(Status::Ok).try_field("X-A", "caf\u{e9}\t").is_ok());
    }

    #[test]
    fn m13_quotes_and_backslashes_are_escaped() {
        assert_eq!(quoted(r#"a"b\c"#), r#""a\"b\\c""#);
        assert_eq!(quoted(""), "\"\"");
    }
}
