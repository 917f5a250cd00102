//! Upstreams of the proxy: where they are reached, and what they are told of the client.

use std::time::Duration;

use ureq_proto::http::Uri;

use super::endpoint::{Endpoint, MAX_URL_BYTES, UrlParts};
use super::error::quote;
use super::syntax;

/// What a proxy service relays to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// Which protocol it speaks.
    pub protocol: UpstreamProtocol,
    /// Where it is reached.
    pub upstream: Endpoint,
    /// What it is told of the client.
    pub forward: Forward,
    /// How long it may take from the dial to its 101.
    pub timeout: Duration,
}

/// What is spoken with an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamProtocol {
    /// `ws` and `wss`: the client's own WebSocket, relayed.
    WebSocket,
    /// `tcp`: the payloads of the client's binary messages, as one stream.
    Tcp,
}

/// The fields that tell an upstream who the client is. Names are as they are written in the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forward {
    /// The field of the subject.
    pub subject: Option<String>,
    /// The field of the token's issuer.
    pub issuer: Option<String>,
    /// The field of the roles, joined by commas.
    pub roles: Option<String>,
    /// Claims and their fields.
    pub claims: Vec<(String, String)>,
}

impl Forward {
    /// Yields the name of every field.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let single = [&self.subject, &self.issuer, &self.roles].into_iter().flatten();
        let claims = self.claims.iter().map(|(_, field)| field);
        single.chain(claims).map(String::as_str)
    }
}

/// Returns a field name in the one form in which names of the proxy are compared: servers behind it
/// hand `X_A`, `x-a` and `X-A` to an application as the same variable.
pub fn comparable(name: &str) -> String {
    name.to_ascii_lowercase().replace('_', "-")
}

/// Fields that the proxy writes itself, or that end at the next hop: they cannot hold an identity.
const OWN_FIELDS: [&str; 17] = [
    "host",
    "connection",
    "upgrade",
    "origin",
    "cookie",
    "content-length",
    "content-type",
    "transfer-encoding",
    "te",
    "trailer",
    "keep-alive",
    "expect",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "sec-challenge-identity",
];

/// Beginnings of names of which the same is true.
const OWN_PREFIXES: [&str; 3] = ["sec-websocket-", "proxy-", "countersign-"];

/// Checks the name of a field of `forward`.
pub(super) fn field(text: &str) -> Result<(), String> {
    syntax::token(text)?;
    let name = comparable(text);
    let own =
        OWN_FIELDS.contains(&name.as_str()) || OWN_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    match own {
        true => Err(format!(
            "the field {} has a meaning of its own in an upgrade",
            quote(text)
        )),
        false => Ok(()),
    }
}

/// Reads the URL of an upstream.
pub(super) fn url(text: &str) -> Result<(UpstreamProtocol, UrlParts), String> {
    if text.len() > MAX_URL_BYTES {
        return Err(format!("the URL has more than {MAX_URL_BYTES} bytes"));
    }
    if text.contains('#') {
        return Err("the URL of an upstream has no fragment".to_owned());
    }
    let fault = || format!("{} is not a URL such as \"ws://127.0.0.1:9000/\"", quote(text));
    // Said without the text: what stands before the @ is a password.
    let authority = text.split('/').nth(2).unwrap_or_default();
    if authority.contains('@') {
        return Err("a URL must not hold a user or a password".to_owned());
    }
    let url: Uri = text.parse().map_err(|_| fault())?;
    let (protocol, tls, standard) = match url.scheme_str() {
        Some("ws") => (UpstreamProtocol::WebSocket, false, Some(80)),
        Some("wss") => (UpstreamProtocol::WebSocket, true, Some(443)),
        Some("tcp") => (UpstreamProtocol::Tcp, false, None),
        Some(_) | None => return Err("the URL begins with ws://, wss:// or tcp://".to_owned()),
    };
    let (host, port) = super::address::host(url.authority().ok_or_else(fault)?.as_str())?;
    let port = port.or(standard).ok_or("a tcp:// URL needs a port")?;
    match protocol {
        UpstreamProtocol::WebSocket => super::address::path(url.path())?,
        UpstreamProtocol::Tcp if url.query().is_some() || !matches!(url.path(), "" | "/") => {
            return Err("a tcp:// URL has neither path nor query".to_owned());
        }
        UpstreamProtocol::Tcp => {}
    }
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    Ok((protocol, UrlParts { url, host, port, tls }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn m18_urls_of_upstreams_tell_where_to_connect() {
        for (text, protocol, host, port, tls) in [
            (
                "ws://127.0.0.1:9000/",
                UpstreamProtocol::WebSocket,
                "127.0.0.1",
                9000,
                false,
            ),
            ("ws://[::1]", UpstreamProtocol::WebSocket, "::1", 80, false),
            (
                "wss://App.example/a?b=c",
                UpstreamProtocol::WebSocket,
                "app.example",
                443,
                true,
            ),
            (
                "tcp://localhost:5900",
                UpstreamProtocol::Tcp,
                "localhost",
                5900,
                false,
            ),
        ] {
            let (spoken, parts) = url(text).unwrap_or_else(|fault| panic!("{text}: {fault}"));
            let found = (spoken, &*parts.host, parts.port, parts.tls);
            assert_eq!(found, (protocol, host, port, tls), "{text}");
        }
    }

    #[test]
    fn m18_what_is_no_url_of_an_upstream_does_not_load() {
        let long = format!("ws://a/{}", "x".repeat(MAX_URL_BYTES));
        for text in [
            "",
            "127.0.0.1:9000",
            "http://a/",
            "WS//a",
            "ws://",
            "ws://u:p@a/",
            "ws://a/#x",
            "ws://a:0/",
            "ws://a/../b",
            "ws://a//b",
            "tcp://a",
            "tcp://a:1/b",
            "tcp://a:1?b",
            &long,
        ] {
            assert!(url(text).is_err(), "{text}");
        }
        assert!(!url("ws://user:hunter2@a/").err().unwrap().contains("hunter2"));
    }

    #[test]
    fn e06_fields_of_the_upgrade_itself_hold_no_identity() {
        for name in [
            "X-Auth-Subject",
            "x_user",
            "X-Forwarded-User",
            "Authorization",
            "X-Real-IP",
        ] {
            assert!(field(name).is_ok(), "{name}");
        }
        for name in [
            "",
            "X A",
            "X-A:",
            "Host",
            "CONNECTION",
            "Sec_WebSocket_Key",
            "proxy-x",
            "X_Forwarded_For",
            "Countersign-Socket",
            "cookie",
        ] {
            assert!(field(name).is_err(), "{name}");
        }
    }
}
