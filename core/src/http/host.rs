//! The Host of a request and the hosts that a server is configured for.

use std::fmt;
use std::net::Ipv6Addr;

use super::syntax::{is_escaped, is_reg_name_byte, split_at_byte};

/// Why a text is no host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadHost {
    /// No name before the port.
    Empty,
    /// A byte that no name has, user information, or an escape without two digits.
    Name,
    /// Brackets around something else than an IPv6 address.
    Literal,
    /// A port that is no number up to 65535.
    Port,
}

/// A host with an optional port (RFC 9110 section 7.2), in the form that is compared: lower case,
/// without one trailing dot, IPv6 addresses in brackets and in their shortest form (RFC 5952).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Host {
    name: String,
    port: Option<u16>,
}

impl Host {
    /// Reads `uri-host [ ":" port ]`. An empty port is no port (RFC 3986 section 3.2.3).
    ///
    /// # Errors
    /// The text is no host; an empty name is none either (RFC 9110 section 4.2.1).
    pub fn parse(text: &str) -> Result<Self, BadHost> {
        let (name, port) = split_port(text)?;
        let mut name = uri_host(name)?;
        if name.ends_with('.') {
            name.pop();
        }
        if name.is_empty() {
            return Err(BadHost::Empty);
        }
        let port = match port {
            None | Some("") => None,
            Some(digits) => Some(parse_port(digits)?),
        };
        Ok(Self { name, port })
    }

    /// Returns the name in the form that is compared.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the port, if one was written.
    pub const fn port(&self) -> Option<u16> {
        self.port
    }

    /// Says whether both name the same server when `default_port` is the port of whom names none.
    pub fn is_same(&self, other: &Self, default_port: u16) -> bool {
        self.name == other.name && self.port.unwrap_or(default_port) == other.port.unwrap_or(default_port)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// One entry of `hosts` in the configuration: a name or IP literal with an optional port, or `*`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HostPattern {
    /// Every well-formed Host.
    Any,
    /// This host; without a port, on any port.
    Exact(Host),
}

impl HostPattern {
    /// Reads an entry of the configuration.
    ///
    /// # Errors
    /// The text is neither `*` nor a host.
    pub fn parse(text: &str) -> Result<Self, BadHost> {
        match text {
            "*" => Ok(Self::Any),
            _ => Host::parse(text).map(Self::Exact),
        }
    }

    /// Says whether `host` is this one. `default_port` is what a Host without port means on this
    /// listener: 443, or 80 on a plaintext one.
    pub fn matches(&self, host: &Host, default_port: u16) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(own) => {
                own.name == host.name
                    && own
                        .port
                        .is_none_or(|port| port == host.port.unwrap_or(default_port))
            }
        }
    }
}

/// Splits a text at the colon of its port; the colons of an IPv6 address stand in brackets.
pub(super) fn split_port(text: &str) -> Result<(&str, Option<&str>), BadHost> {
    if text.starts_with('[') {
        let (literal, rest) = text.split_once(']').ok_or(BadHost::Literal)?;
        let name = text.get(..=literal.len()).ok_or(BadHost::Literal)?;
        return match rest.strip_prefix(':') {
            Some(port) => Ok((name, Some(port))),
            None if rest.is_empty() => Ok((name, None)),
            None => Err(BadHost::Literal),
        };
    }
    Ok(match split_at_byte(text, b':') {
        Some((name, port)) => (name, Some(port)),
        None => (text, None),
    })
}

pub(super) fn parse_port(digits: &str) -> Result<u16, BadHost> {
    // `parse` alone would take a sign.
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(BadHost::Port);
    }
    digits.parse().map_err(|_| BadHost::Port)
}

/// Reads a reg-name, an IPv4 address or a bracketed IPv6 address (RFC 3986 section 3.2.2) and
/// returns it in lower case, an address in its shortest form.
pub(super) fn uri_host(text: &str) -> Result<String, BadHost> {
    if let Some(literal) = text.strip_prefix('[') {
        let address = literal.strip_suffix(']').ok_or(BadHost::Literal)?;
        let address: Ipv6Addr = address.parse().map_err(|_| BadHost::Literal)?;
        return Ok(format!("[{address}]"));
    }
    if text.is_empty() {
        return Err(BadHost::Empty);
    }
    if !is_escaped(text.as_bytes(), is_reg_name_byte) {
        return Err(BadHost::Name);
    }
    Ok(text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn host(text: &str) -> Host {
        Host::parse(text).unwrap()
    }

    #[test]
    fn r02_bad_host_syntax() {
        for (text, error) in [
            ("", BadHost::Empty),
            (":80", BadHost::Empty),
            (".", BadHost::Empty),
            ("a b", BadHost::Name),
            ("a/b", BadHost::Name),
            ("user@a", BadHost::Name),
            ("a%zz", BadHost::Name),
            ("a\u{e9}", BadHost::Name),
            ("a\"b", BadHost::Name),
            ("[::1", BadHost::Literal),
            ("[::1]a", BadHost::Literal),
            ("[::g]", BadHost::Literal),
            ("[127.0.0.1]", BadHost::Literal),
            ("[fe80::1%25eth0]", BadHost::Literal),
            ("[]", BadHost::Literal),
            ("::1", BadHost::Empty),
            ("a:80:80", BadHost::Port),
            ("a:+80", BadHost::Port),
            ("a:65536", BadHost::Port),
            ("a:8o", BadHost::Port),
            ("a:-1", BadHost::Port),
        ] {
            assert_eq!(Host::parse(text), Err(error), "{text}");
        }
        assert_eq!(host("a:65535").port(), Some(65535));
        assert_eq!(host("a:").port(), None);
    }

    #[test]
    fn hosts_compare_without_case_and_one_trailing_dot() {
        assert_eq!(host("Example.COM."), host("example.com"));
        assert_ne!(host("example.com.."), host("example.com"));
        assert_eq!(host("[0:0:0:0:0:0:0:1]:1"), host("[::1]:1"));
        assert_eq!(host("[::1]:8443").to_string(), "[::1]:8443");
        assert!(host("a").is_same(&host("A:443"), 443));
        assert!(!host("a").is_same(&host("a:80"), 443));
    }

    #[test]
    fn patterns_match_any_port_or_theirs() {
        let pattern = |text| HostPattern::parse(text).unwrap();
        assert!(pattern("*").matches(&host("anything:1"), 443));
        assert!(pattern("LocalHost").matches(&host("localhost:8443"), 443));
        assert!(pattern("a.org:443").matches(&host("a.org"), 443));
        assert!(!pattern("a.org:443").matches(&host("a.org"), 80));
        assert!(!pattern("a.org:443").matches(&host("a.org:8443"), 443));
        assert!(!pattern("a.org").matches(&host("x.a.org"), 443));
        assert!(pattern("[::1]").matches(&host("[::0001]:7"), 443));
        assert!(HostPattern::parse("a.org/").is_err() && HostPattern::parse("*.a.org").is_ok());
        // `*` is a sub-delim, so the grammar has it in names, but it is no wildcard there.
        assert!(!pattern("*.a.org").matches(&host("x.a.org"), 443));
    }
}
