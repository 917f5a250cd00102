//! LDAP URLs (RFC 4516): scheme, host, port and base, nothing else.

use super::super::address;
use super::super::error::quote;
use super::dn;

/// Longest URL, in bytes.
const URL_BYTES: usize = 4096;

/// The ports that IANA has assigned to `ldap` and `ldaps`.
const PLAIN_PORT: u16 = 389;
const TLS_PORT: u16 = 636;

/// Where a directory is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LdapUrl {
    /// Whether the stream begins with TLS: the scheme is `ldaps`.
    pub tls: bool,
    /// A name, or an IP literal without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The distinguished name in the path, decoded; never empty.
    pub base: String,
}

impl LdapUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// What is wrong with it, in a few words.
    pub(in crate::config) fn parse(text: &str) -> Result<Self, String> {
        if text.len() > URL_BYTES {
            return Err(format!("the URL has more than {URL_BYTES} bytes"));
        }
        let (tls, rest) = match text.split_once("://") {
            Some(("ldap", rest)) => (false, rest),
            Some(("ldaps", rest)) => (true, rest),
            Some(_) | None => return Err("the URL begins with ldaps:// or ldap://".to_owned()),
        };
        // Said without the text: what stands before the @ may be a password.
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        if authority.contains('@') {
            return Err(
                "a URL must not hold a user: \"bindDn\" and \"bindPasswordFile\" name one".to_owned(),
            );
        }
        let (host, port) = address::host(authority)?;
        if path.contains(['?', '#']) {
            let message =
                "nothing stands behind the base: the filter is \"userFilter\", the scope the whole subtree";
            return Err(message.to_owned());
        }
        let base = decoded(path)?;
        if base.is_empty() {
            let message = "the path is the distinguished name below which users are, as in \
                           \"ldaps://ldap.example/ou=people,dc=example,dc=com\"";
            return Err(message.to_owned());
        }
        dn::check(&base)?;
        Ok(Self {
            tls,
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: port.unwrap_or(if tls { TLS_PORT } else { PLAIN_PORT }),
            base,
        })
    }
}

/// Undoes percent-encoding (RFC 3986 section 2.1).
fn decoded(path: &str) -> Result<String, String> {
    let fault = || "a % stands before two hexadecimal digits".to_owned();
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|b| char::from(b).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else {
            return Err(fault());
        };
        bytes.push(u8::try_from(high * 16 + low).map_err(|_| fault())?);
    }
    String::from_utf8(bytes).map_err(|_| format!("{} is not UTF-8 once it is decoded", quote(path)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn m24_urls_name_host_port_and_base() {
        for (text, tls, host, port, base) in [
            ("ldap://127.0.0.1/dc=x", false, "127.0.0.1", 389, "dc=x"),
            (
                "ldaps://LDAP.example/ou=a,dc=x",
                true,
                "ldap.example",
                636,
                "ou=a,dc=x",
            ),
            ("ldaps://[::1]:13891/dc=x", true, "::1", 13891, "dc=x"),
            (
                "ldap://h:1/ou=R%26D%20%28all%29,o=M%C3%BCller",
                false,
                "h",
                1,
                "ou=R&D (all),o=M\u{fc}ller",
            ),
            (r"ldap://h/cn=a\,b/c,dc=x", false, "h", 389, r"cn=a\,b/c,dc=x"),
        ] {
            let url = LdapUrl::parse(text).unwrap_or_else(|fault| panic!("{text}: {fault}"));
            assert_eq!(
                (url.tls, url.host.as_str(), url.port, url.base.as_str()),
                (tls, host, port, base)
            );
        }
    }

    #[test]
    fn m24_what_is_no_directory_does_not_load() {
        let long = format!("ldap://h/cn={}", "x".repeat(URL_BYTES));
        for text in [
            "",
            "ldap.example",
            "ldapi:///dc=x",
            "LDAP://h/dc=x",
            "ldap:///dc=x",
            "ldap://h",
            "ldap://h/",
            "ldap://h/?cn",
            "ldap://h/dc=x?cn?sub?(a=b)",
            "ldap://h/dc=x#a",
            "ldap://h:0/dc=x",
            "ldap://h/example.com",
            "ldap://h/dc=%zz",
            "ldap://h/dc=%f",
            "ldap://h/dc=%ff",
            "ldap://h/dc=%00",
            &long,
        ] {
            assert!(LdapUrl::parse(text).is_err(), "{text}");
        }
        let fault = LdapUrl::parse("ldap://cn=a:hunter2@h/dc=x").unwrap_err();
        assert!(!fault.contains("hunter2"));
    }
}
