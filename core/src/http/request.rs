//! A complete request head: well-formed, with one meaning, and a Host.

use std::fmt;

use zeroize::Zeroizing;

use super::error::HeadError;
use super::fields::Fields;
use super::framing::{BodyLength, body_length};
use super::head::{HeadLimits, HeadScanner, Places, Scan};
use super::host::{BadHost, Host};
use super::syntax::{is_same_ignoring_case, list_items};
use super::target::{Target, TargetForm};
use crate::secret::Secret;

/// The methods that are known; every other is answered with 501.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// GET.
    Get,
    /// HEAD.
    Head,
    /// POST.
    Post,
    /// PUT.
    Put,
    /// DELETE.
    Delete,
    /// CONNECT.
    Connect,
    /// OPTIONS.
    Options,
    /// TRACE.
    Trace,
    /// PATCH.
    Patch,
}

impl Method {
    /// Every method.
    pub const ALL: [Self; 9] = [
        Self::Get,
        Self::Head,
        Self::Post,
        Self::Put,
        Self::Delete,
        Self::Connect,
        Self::Options,
        Self::Trace,
        Self::Patch,
    ];

    /// Returns the method with this name, which is case-sensitive (RFC 9110 section 9.1).
    pub fn parse(name: &str) -> Option<Self> {
        Self::of(name.as_bytes())
    }

    fn of(name: &[u8]) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|method| method.as_str().as_bytes() == name)
    }

    /// Returns the name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
            Self::Options => "OPTIONS",
            Self::Trace => "TRACE",
            Self::Patch => "PATCH",
        }
    }
}

/// The version that a request is read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1, and every higher minor version.
    Http11,
}

/// A request head that passed every check that needs no configuration. Its bytes are zeroed when it
/// is dropped; `Debug` prints method and path alone.
pub struct RequestHead {
    method: Method,
    version: Version,
    target: Target,
    fields: Fields,
    host: Option<Host>,
    body: BodyLength,
    /// What Connection says.
    connection: Options,
}

/// The members of Connection that count here (RFC 9110 section 7.6.1).
#[derive(Clone, Copy, Default)]
struct Options {
    close: bool,
    upgrade: bool,
}

impl Options {
    fn of(fields: &Fields) -> Self {
        let mut options = Self::default();
        for value in fields.get_all("connection") {
            // Most values have one member: they are not taken apart.
            if !options.add(value) {
                for member in list_items(value) {
                    options.add(member);
                }
            }
        }
        options
    }

    /// Adds a member; says whether it is one that counts.
    fn add(&mut self, member: &[u8]) -> bool {
        let close = is_same_ignoring_case(member, b"close");
        let upgrade = is_same_ignoring_case(member, b"upgrade");
        self.close |= close;
        self.upgrade |= upgrade;
        close || upgrade
    }
}

impl RequestHead {
    /// Reads the head at the beginning of `bytes`; what follows it is ignored.
    ///
    /// # Errors
    /// No complete head, or one that is refused.
    pub fn parse(bytes: &[u8], limits: HeadLimits) -> Result<Self, HeadError> {
        let mut scanner = HeadScanner::new(limits);
        match scanner.push(bytes) {
            Scan::More | Scan::Done { .. } => scanner.finish(),
            Scan::Bad(error) => Err(error),
        }
    }

    /// Reads the bytes of a head that the scanner let pass, with the places of its parts.
    pub(super) fn read(
        mut bytes: Zeroizing<Vec<u8>>,
        places: Places,
        version: Version,
    ) -> Result<Self, HeadError> {
        let method = Method::of(places.method().in_bytes(&bytes)).ok_or(HeadError::UnknownMethod)?;
        let target = str::from_utf8(places.target.in_bytes(&bytes)).map_err(|_| HeadError::Unparsable)?;
        let target = Target::parse(target, method).map_err(HeadError::BadTarget)?;
        let fields = Fields::new(Secret::new(std::mem::take(&mut *bytes)), places.lines);
        let body = body_length(&fields, version)?;
        let host = host(&fields, &target, version)?;
        let connection = Options::of(&fields);
        Ok(Self {
            method,
            version,
            target,
            fields,
            host,
            body,
            connection,
        })
    }

    /// Returns the method.
    pub const fn method(&self) -> Method {
        self.method
    }

    /// Returns the version that the request is read as.
    pub const fn version(&self) -> Version {
        self.version
    }

    /// Returns the target.
    pub const fn target(&self) -> &Target {
        &self.target
    }

    /// Returns the fields.
    pub const fn fields(&self) -> &Fields {
        &self.fields
    }

    /// Returns the host that the request is for. None only for HTTP/1.0 without Host and without an
    /// absolute target.
    pub const fn host(&self) -> Option<&Host> {
        self.host.as_ref()
    }

    /// Returns the length of the body.
    pub const fn body(&self) -> BodyLength {
        self.body
    }

    /// Says whether the connection ends after the answer: on HTTP/1.0 always, otherwise when the
    /// client says so.
    pub const fn wants_close(&self) -> bool {
        match self.version {
            Version::Http10 => true,
            Version::Http11 => self.connection.close,
        }
    }

    /// Says whether the client offers to go on with WebSocket: Upgrade has the whole member
    /// `websocket` and Connection the whole member `upgrade`. False on HTTP/1.0, where Upgrade is
    /// ignored (RFC 9110 section 7.8).
    pub fn wants_websocket(&self) -> bool {
        match self.version {
            Version::Http10 => false,
            Version::Http11 => self.connection.upgrade && self.fields.has_token("upgrade", "websocket"),
        }
    }
}

impl fmt::Debug for RequestHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "RequestHead({} {:?})",
            self.method.as_str(),
            self.target.path()
        )
    }
}

/// Decides the host (RFC 9112 sections 3.2 and 3.2.2, but an absolute target must agree with Host).
fn host(fields: &Fields, target: &Target, version: Version) -> Result<Option<Host>, HeadError> {
    let mut values = fields.get_all("host");
    let host = match (values.next(), values.next(), version) {
        (Some(_), Some(_), _) => return Err(HeadError::DuplicateHost),
        (None, _, Version::Http11) => return Err(HeadError::MissingHost),
        (None, _, Version::Http10) => None,
        (Some(value), None, _) => {
            let text = str::from_utf8(value).map_err(|_| HeadError::BadHost(BadHost::Name))?;
            Some(Host::parse(text).map_err(HeadError::BadHost)?)
        }
    };
    let absolute = match target.form() {
        TargetForm::Absolute => target.authority(),
        TargetForm::Origin | TargetForm::Authority | TargetForm::Asterisk => None,
    };
    match (host, absolute) {
        (Some(host), Some((authority, port))) if !host.is_same(authority, port) => {
            Err(HeadError::HostMismatch)
        }
        (None, Some((authority, _))) => Ok(Some(authority.clone())),
        (host, Some(_) | None) => Ok(host),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn methods_are_case_sensitive() {
        for method in Method::ALL {
            assert_eq!(Method::parse(method.as_str()), Some(method));
        }
        for name in ["get", "Get", "PROPFIND", "PRI", "GETS", ""] {
            assert_eq!(Method::parse(name), None);
        }
    }

    #[test]
    fn r10_debug_shows_method_and_path() {
        let head = b"GET /a?access_token=s3cret HTTP/1.1\r\nHost: a\r\nCookie: s3cret\r\n\r\n";
        let head = RequestHead::parse(head, HeadLimits::default()).unwrap();
        assert_eq!(format!("{head:?}"), "RequestHead(GET \"/a\")");
    }
}
