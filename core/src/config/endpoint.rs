//! Verifiers elsewhere: where they are reached, and how far the way there may be trusted.

use std::net::IpAddr;

use ureq_proto::http::Uri;

use super::error::{Place, quote};
use super::model::FileRef;

/// Longest URL of a verifier, in bytes: it is written into every request's first line.
pub(super) const MAX_URL_BYTES: usize = 2048;

/// Where a verifier elsewhere is reached over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The URL as it is requested.
    pub url: Uri,
    /// The host to connect to: a name, or an IP literal without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Whether the stream begins with TLS.
    pub tls: bool,
    /// Whose certificates are trusted; `None`: those of the system.
    pub ca_file: Option<FileRef>,
    /// Where the URL stands in the file.
    pub place: Place,
}

impl Endpoint {
    /// Returns the URL without its query, for the log.
    #[must_use]
    pub fn shown(&self) -> String {
        let scheme = self.url.scheme_str().unwrap_or_default();
        let authority = self.url.authority().map_or("", |authority| authority.as_str());
        format!("{scheme}://{authority}{}", self.url.path())
    }
}

/// The parts of an endpoint that its URL tells.
pub(super) struct UrlParts {
    pub(super) url: Uri,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: bool,
}

/// Reads an `http` or `https` URL.
pub(super) fn url(text: &str) -> Result<UrlParts, String> {
    if text.len() > MAX_URL_BYTES {
        return Err(format!("the URL has more than {MAX_URL_BYTES} bytes"));
    }
    if text.contains('#') {
        return Err("a URL that is requested has no fragment".to_owned());
    }
    let fault = || {
        // What stands before an @ may be a password.
        let shown = if text.contains('@') {
            "this".to_owned()
        } else {
            quote(text)
        };
        format!("{shown} is not a URL such as \"https://idp.example/keys\"")
    };
    let url: Uri = text.parse().map_err(|_| fault())?;
    let tls = match url.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        Some(_) | None => return Err("the URL begins with https:// or http://".to_owned()),
    };
    let authority = url.authority().ok_or_else(fault)?;
    if authority.as_str().contains('@') {
        return Err("a URL must not hold a user or a password; they have members of their own".to_owned());
    }
    let (host, port) = super::address::host(authority.as_str())?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = port.unwrap_or(if tls { 443 } else { 80 });
    Ok(UrlParts { url, host, port, tls })
}

/// Says whether `host` is this machine: what goes there without TLS is seen by nobody else.
pub(super) fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn e08_urls_tell_where_to_connect() {
        for (text, host, port, tls) in [
            ("https://idp.example/keys", "idp.example", 443, true),
            ("https://IdP.example:8443/keys?x=y", "idp.example", 8443, true),
            ("http://127.0.0.1:9/", "127.0.0.1", 9, false),
            ("http://[::1]/keys", "::1", 80, false),
        ] {
            let parts = url(text).unwrap_or_else(|fault| panic!("{text}: {fault}"));
            assert_eq!((&*parts.host, parts.port, parts.tls), (host, port, tls), "{text}");
        }
    }

    #[test]
    fn e08_what_is_no_url_of_a_verifier_does_not_load() {
        let long = format!("https://idp.example/{}", "x".repeat(MAX_URL_BYTES));
        for text in [
            "",
            "idp.example",
            "/keys",
            "ftp://idp.example/",
            "https://",
            "https://a:b@idp.example/",
            "https://idp.example/#x",
            "https://idp.example:99999/",
            "https://*/",
            &long,
        ] {
            assert!(url(text).is_err(), "{text}");
        }
        for text in [
            "https://user:hunter2@idp.example/",
            "https://user:hunter2 @idp.example/",
            "https://user:hunter2@idp.example:x/",
            "https://user:hunter2@",
            "user:hunter2@idp.example",
        ] {
            let fault = url(text).err().unwrap();
            assert!(!fault.contains("hunter2"), "{fault}");
        }
    }

    #[test]
    fn loopback_is_this_machine_alone() {
        for (host, expected) in [
            ("localhost", true),
            ("127.0.0.9", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("localhost.example", false),
            ("10.0.0.1", false),
            ("::", false),
        ] {
            assert_eq!(is_loopback(host), expected, "{host}");
        }
    }
}
