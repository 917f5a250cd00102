//! The little languages of addresses inside strings: listeners, hosts, paths, URLs and origins.
//! Each function says what is wrong in a few words; whoever calls it knows the place.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::error::quote;
use super::model::UrlScheme;

/// Reads an address and port to listen on.
pub(super) fn listen(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!(
            "{} is not an IP address and a port such as \"127.0.0.1:8443\" or \"[::1]:8443\"",
            quote(text)
        )
    })
}

/// Reads a host, a name or an IP literal, with an optional port. The host comes back in lower case
/// without a trailing dot, an IPv6 address in brackets and in its shortest form.
pub(super) fn host(text: &str) -> Result<(String, Option<u16>), String> {
    let fault = || {
        format!(
            "{} is not a host: a name or IP literal, optionally with a port",
            quote(text)
        )
    };
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']').ok_or_else(fault)?;
            let address: Ipv6Addr = address.parse().map_err(|_| fault())?;
            (format!("[{address}]"), port)
        }
        None => {
            let end = text.find(':').unwrap_or(text.len());
            let (name, port) = text.split_at(end);
            (dns_name(name).ok_or_else(fault)?, port)
        }
    };
    let port = match port.strip_prefix(':') {
        Some(digits) => Some(port_number(digits).ok_or_else(fault)?),
        None if port.is_empty() => None,
        None => return Err(fault()),
    };
    Ok((name, port))
}

fn port_number(digits: &str) -> Option<u16> {
    let plain = digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse().ok().filter(|port| plain && *port > 0)
}

fn dns_name(text: &str) -> Option<String> {
    let name = text.strip_suffix('.').unwrap_or(text);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    let fits = name.len() <= 253 && name.split('.').all(label);
    // What looks like an IPv4 address has to be one: `127.1` means different things to different peers.
    let numeric = name
        .rsplit('.')
        .next()
        .is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    let fits = fits && (!numeric || name.parse::<Ipv4Addr>().is_ok());
    fits.then(|| name.to_ascii_lowercase())
}

/// Checks an entry of a server's `hosts`.
pub(super) fn host_entry(text: &str) -> Result<(), String> {
    match text {
        "*" => Ok(()),
        _ if text.contains('*') => Err(format!(
            "{}: only a lone \"*\" is a wildcard among hosts",
            quote(text)
        )),
        _ => host(text).map(|_| ()),
    }
}

/// Checks a path as requests have it after decoding what need not be encoded.
pub(super) fn path(text: &str) -> Result<(), String> {
    if !text.starts_with('/') {
        return Err(format!("the path {} must start with /", quote(text)));
    }
    if text.contains(['?', '#']) {
        return Err("a path must not have a query or a fragment".to_owned());
    }
    if text.contains("//") {
        return Err("a path must not have empty segments".to_owned());
    }
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let escape =
                [rest.next(), rest.next()].map(|digit| digit.and_then(|d| char::from(d).to_digit(16)));
            let [Some(high), Some(low)] = escape else {
                return Err("a % must start an escape of two hexadecimal digits".to_owned());
            };
            match u8::try_from(high * 16 + low).unwrap_or_default() {
                b'/' | b'\\' | 0..=0x1f | 0x7f => {
                    return Err(
                        "a path must not have an encoded slash, backslash or control character".to_owned(),
                    );
                }
                decoded if decoded.is_ascii_alphanumeric() || b"-._~".contains(&decoded) => {
                    let decoded = char::from(decoded);
                    return Err(format!(
                        "write {decoded} instead of its escape: no request would match"
                    ));
                }
                _ => {}
            }
        } else if !byte.is_ascii_alphanumeric() && !b"-._~!$&'()*+,;=:@/".contains(&byte) {
            return Err("a path has only the characters of RFC 3986; write others as escapes".to_owned());
        }
    }
    match text.split('/').any(|segment| segment == "." || segment == "..") {
        true => Err("a path must not have dot segments".to_owned()),
        false => Ok(()),
    }
}

/// Checks the path of a data point: it stands for one thing, not for a folder.
pub(super) fn endpoint(text: &str) -> Result<(), String> {
    path(text)?;
    match text.ends_with('/') {
        true => Err(format!("the endpoint {} must not end with /", quote(text))),
        false => Ok(()),
    }
}

/// The parts of an `accept` entry: scheme, host and port of an absolute URL, and the path.
pub(super) type AcceptParts = (Option<UrlScheme>, Option<String>, Option<u16>, String);

/// Reads an `accept` entry: a path, or `wss://host[:port]/path`.
pub(super) fn accept(text: &str) -> Result<AcceptParts, String> {
    let Some((scheme, rest)) = text.split_once("://") else {
        path(text)?;
        return Ok((None, None, None, text.to_owned()));
    };
    let scheme = match scheme {
        "ws" => UrlScheme::Ws,
        "wss" => UrlScheme::Wss,
        _ => return Err("an absolute accept is a wss:// or ws:// URL".to_owned()),
    };
    let start = rest.find('/').ok_or("the URL needs a path, at least /")?;
    let (authority, rest) = rest.split_at(start);
    let (name, port) = host(authority)?;
    path(rest)?;
    Ok((Some(scheme), Some(name), port, rest.to_owned()))
}

/// Checks an allowed origin: `scheme://host[:port]`, the host's left label may be `*`, or `null`.
pub(super) fn origin(text: &str) -> Result<(), String> {
    let fault = || {
        format!(
            "{} is not an origin such as \"https://example.com\", \"https://*.example.com\" or \"null\"",
            quote(text)
        )
    };
    if text == "null" {
        return Ok(());
    }
    let (scheme, authority) = text.split_once("://").ok_or_else(fault)?;
    let mut letters = scheme.bytes();
    let scheme_fits = letters.next().is_some_and(|b| b.is_ascii_alphabetic())
        && letters.all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    let exact = authority.strip_prefix("*.");
    let (name, _) = host(exact.unwrap_or(authority)).map_err(|_| fault())?;
    // A wildcard right before a top-level domain or an address is never what is meant.
    let address = name.starts_with('[') || name.parse::<IpAddr>().is_ok();
    match scheme_fits && (exact.is_none() || (name.contains('.') && !address)) {
        true => Ok(()),
        false => Err(fault()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn m32_hosts_are_names_or_ip_literals() {
        assert_eq!(host("Example.COM.").unwrap(), ("example.com".to_owned(), None));
        assert_eq!(host("a.b:8443").unwrap(), ("a.b".to_owned(), Some(8443)));
        assert_eq!(host("127.0.0.1").unwrap(), ("127.0.0.1".to_owned(), None));
        assert_eq!(host("[0:0::1]:1").unwrap(), ("[::1]".to_owned(), Some(1)));
        for text in [
            "",
            ".",
            "a..b",
            "a b",
            "a:0",
            "a:65536",
            "a:",
            "a:+1",
            "127.1",
            "1.2.3.256",
            "::1",
            "[::1",
            "[::1]x",
            "[fe80::1%1]",
            "h\u{e4}",
            "*.a",
            "a/b",
            "u@a",
        ] {
            assert!(host(text).is_err(), "{text:?}");
        }
        assert!(host_entry("*").is_ok());
        assert!(host_entry("*.a.org").unwrap_err().contains("wildcard"));
    }

    #[test]
    fn m17_accepted_paths_are_canonical() {
        for text in [
            "/", "/api/ws", "/api/ws/", "/a%20b", "/a;b=c:@", "/..a", "/%C3%A4",
        ] {
            assert!(path(text).is_ok(), "{text}");
        }
        for text in [
            "", "a", "a/b", "/a?b", "/a#b", "//a", "/a//b", "/.", "/a/../b", "/a/.", "/%2e", "/%2Fa", "/%5c",
            "/%00", "/%7f", "/%6", "/%zz", "/a b", "/\u{e4}", "/a\"", "/%61",
        ] {
            assert!(path(text).is_err(), "{text}");
        }
        let (scheme, name, port, path) = accept("wss://Example.com:8443/app").unwrap();
        assert_eq!(
            (scheme, port, path.as_str()),
            (Some(UrlScheme::Wss), Some(8443), "/app")
        );
        assert_eq!(name.as_deref(), Some("example.com"));
        for text in [
            "https://a/",
            "wss://a",
            "wss:///a",
            "wss://a/b?c",
            "WSS://a/",
            "wss://u@a/",
            "wss://a/../",
        ] {
            assert!(accept(text).is_err(), "{text}");
        }
    }

    #[test]
    fn e11_origins_are_exact_or_have_a_whole_left_label() {
        for text in [
            "https://example.com",
            "https://*.a.org",
            "http://localhost:3000",
            "null",
            "https://[::1]:8443",
            "app+x://host",
        ] {
            assert!(origin(text).is_ok(), "{text}");
        }
        for text in [
            "*",
            "https://*",
            "https://*.org",
            "https://a*.org",
            "https://*a.b.org",
            "https://a.*.org",
            "https://a/",
            "a.org",
            "https://*.127.0.0.1",
            "https://",
            "://a",
            "Null",
        ] {
            assert!(origin(text).is_err(), "{text}");
        }
    }
}
