//! The Origin of a request and the origins that a service allows (R11).

use std::fmt;

use super::host::{HostPattern, parse_port, split_port, uri_host};

/// A text that is no origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadOrigin;

/// An Origin field value (RFC 6454 section 7). Scheme and host are in lower case, the scheme's
/// default port is filled in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// `null`: a sandboxed or local page. It equals no origin, not even itself, for trust.
    Null,
    /// Where a page came from.
    Tuple {
        /// The scheme.
        scheme: String,
        /// The host name, or an address, IPv6 in brackets. A trailing dot is kept: for browsers
        /// `a.org.` is another origin than `a.org`.
        host: String,
        /// The port; none if the scheme has no known default port and none was written.
        port: Option<u16>,
    },
}

impl Origin {
    /// Reads one origin: `null` or `scheme://host[:port]`, nothing behind it.
    ///
    /// # Errors
    /// Anything else, a list of origins included. Such an Origin is not allowed anywhere.
    pub fn parse(value: &[u8]) -> Result<Self, BadOrigin> {
        let text = str::from_utf8(value).map_err(|_| BadOrigin)?;
        if text == "null" {
            return Ok(Self::Null);
        }
        let (scheme, authority) = text.split_once("://").ok_or(BadOrigin)?;
        let (host, port) = split_port(authority).map_err(|_| BadOrigin)?;
        let host = uri_host(host).map_err(|_| BadOrigin)?;
        let scheme = parse_scheme(scheme)?;
        let port = match port {
            None => default_port(&scheme),
            Some("") => return Err(BadOrigin),
            Some(digits) => Some(parse_port(digits).map_err(|_| BadOrigin)?),
        };
        Ok(Self::Tuple { scheme, host, port })
    }

    /// Says whether the page came from `entry` of this server's own hosts, over a listener with
    /// this scheme (`https` or `http`) and port. `*` names no host, so nothing is of it.
    pub fn is_own(&self, entry: &HostPattern, own_scheme: &str, listen_port: u16) -> bool {
        match (self, entry) {
            (Self::Tuple { scheme, host, port }, HostPattern::Exact(own)) => {
                scheme == own_scheme && host == own.name() && *port == Some(own.port().unwrap_or(listen_port))
            }
            (Self::Null, HostPattern::Any | HostPattern::Exact(_))
            | (Self::Tuple { .. }, HostPattern::Any) => false,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Tuple { scheme, host, port } => {
                write!(f, "{scheme}://{host}")?;
                port.map_or(Ok(()), |port| write!(f, ":{port}"))
            }
        }
    }
}

/// One entry of `origins` in the configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OriginPattern {
    /// Exactly this origin, which may be `null`.
    Exact(Origin),
    /// `scheme://*.host[:port]`: one label, of any name, before the host.
    Subdomain {
        /// The scheme.
        scheme: String,
        /// What follows the label, from its dot on.
        suffix: String,
        /// The port, as in [`Origin::Tuple`].
        port: Option<u16>,
    },
}

impl OriginPattern {
    /// Reads an entry of the configuration.
    ///
    /// # Errors
    /// The text is no origin, or has a `*` that is not its whole leftmost label.
    pub fn parse(text: &str) -> Result<Self, BadOrigin> {
        let origin = Origin::parse(text.as_bytes())?;
        match origin {
            Origin::Null => Ok(Self::Exact(origin)),
            Origin::Tuple { scheme, host, port } => match host.strip_prefix('*') {
                Some(suffix) if suffix.starts_with('.') && suffix.len() > 1 && !suffix.contains('*') => {
                    let suffix = suffix.to_owned();
                    Ok(Self::Subdomain { scheme, suffix, port })
                }
                None if !host.contains('*') => Ok(Self::Exact(Origin::Tuple { scheme, host, port })),
                Some(_) | None => Err(BadOrigin),
            },
        }
    }

    /// Says whether `origin` is allowed by this entry.
    pub fn matches(&self, origin: &Origin) -> bool {
        match (self, origin) {
            (Self::Exact(own), origin) => own == origin,
            (
                Self::Subdomain { scheme, suffix, port },
                Origin::Tuple {
                    scheme: s,
                    host: h,
                    port: p,
                },
            ) => {
                scheme == s
                    && port == p
                    && h.strip_suffix(suffix.as_str())
                        .is_some_and(|label| !label.is_empty() && !label.contains('.'))
            }
            (Self::Subdomain { .. }, Origin::Null) => false,
        }
    }
}

/// Returns the port of URLs with this scheme that name none.
pub(super) fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    }
}

/// Reads a scheme (RFC 3986 section 3.1) and returns it in lower case.
fn parse_scheme(text: &str) -> Result<String, BadOrigin> {
    let tail = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    match text.as_bytes() {
        [first, rest @ ..] if first.is_ascii_alphabetic() && rest.iter().copied().all(tail) => {
            Ok(text.to_ascii_lowercase())
        }
        _ => Err(BadOrigin),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn allowed(pattern: &str, origin: &str) -> bool {
        let pattern = OriginPattern::parse(pattern).unwrap();
        Origin::parse(origin.as_bytes()).is_ok_and(|origin| pattern.matches(&origin))
    }

    #[test]
    fn e11_a_wildcard_is_one_whole_left_label() {
        for (origin, expected) in [
            ("https://x.a.org", true),
            ("https://X.A.ORG:443", true),
            ("https://a.org.evil.com", false),
            ("https://x.y.a.org", false),
            ("https://a.org", false),
            ("https://.a.org", false),
            ("https://xa.org", false),
            ("https://evil-a.org", false),
            ("http://x.a.org", false),
            ("https://x.a.org:8443", false),
            ("https://x.a.org.", false),
            ("null", false),
        ] {
            assert_eq!(allowed("https://*.a.org", origin), expected, "{origin}");
        }
        for bad in [
            "*",
            "https://*",
            "https://*.",
            "https://x*.a.org",
            "https://*x.a.org",
            "https://a.*.org",
            "https://*.*.org",
            "https://a.org/",
            "https://a.org/path",
            "https://u@a.org",
            "https://a.org?",
            "a.org",
            "",
            "https://",
            "://a.org",
            "NULL",
            "https://a.org:",
        ] {
            assert!(OriginPattern::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn r11_exact_with_default_ports_and_without_case() {
        assert!(allowed("https://a.org", "HTTPS://A.org:443"));
        assert!(allowed("http://a.org:80", "http://a.org"));
        assert!(!allowed("https://a.org", "http://a.org"));
        assert!(!allowed("https://a.org", "https://a.org:444"));
        assert!(!allowed("https://a.org", "https://a.org."));
        assert!(!allowed("https://a.org", "https://a.org https://b.org"));
        assert!(!allowed("https://a.org", "https://a.org/"));
        assert!(allowed("https://[::1]:8443", "https://[0::1]:8443"));
        assert!(allowed("app://shell", "app://shell"));
        assert!(!allowed("https://127.0.0.1", "https://127.0.0.1.evil.com"));
    }

    #[test]
    fn r11_null_only_by_exact_listing() {
        assert!(allowed("null", "null"));
        assert!(!allowed("null", "https://null"));
        assert!(!allowed("https://null", "null"));
    }

    #[test]
    fn r11_same_origin_is_decided_by_configured_hosts() {
        let own = |origin: &str, entry: &str, scheme, port| {
            let entry = HostPattern::parse(entry).unwrap();
            Origin::parse(origin.as_bytes())
                .unwrap()
                .is_own(&entry, scheme, port)
        };
        assert!(own("https://localhost:8443", "localhost", "https", 8443));
        assert!(own("https://a.org", "a.org:443", "https", 8443));
        assert!(own("http://[::1]:80", "[::1]", "http", 80));
        assert!(!own("https://a.org", "a.org", "https", 8443));
        assert!(!own("http://localhost:8443", "localhost", "https", 8443));
        assert!(!own("https://evil.org", "*", "https", 443));
        assert!(!own("null", "*", "https", 443));
    }
}
