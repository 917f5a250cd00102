//! What the upstream is asked: the client's own upgrade without its credentials, and who the client is.

use std::fmt;
use std::net::IpAddr;

use serde_json::Value;

use super::answer::Offer;
use crate::auth::grant::{Authority, Grant};
use crate::config::{Forward, comparable};
use crate::http::syntax::{is_token, list_items, trim_ows};
use crate::http::{RequestHead, upgrade};
use crate::rules::{KeptBack, Proxy};

/// Fields that concern one hop, that the proxy writes itself, or that would speak of a body.
const DROPPED: [&str; 15] = [
    "host",
    "upgrade",
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "content-length",
    "expect",
    "http2-settings",
    "forwarded",
    "x-real-ip",
    "cookie",
    "cookie2",
    "sec-challenge-identity",
];

/// Beginnings of names of which the same is true.
const DROPPED_PREFIXES: [&str; 4] = ["proxy-", "x-forwarded-", "countersign-", "sec-websocket-"];

/// Who asks, and how.
pub(crate) struct Client<'a> {
    pub(crate) head: &'a RequestHead,
    /// The subprotocols that are none of the credential.
    pub(crate) protocols: &'a [String],
    pub(crate) grant: &'a Grant,
    pub(crate) address: IpAddr,
    pub(crate) tls: bool,
    /// How many segments of the path are ours; what follows is the upstream's. `None`: all of them.
    pub(crate) segments: Option<usize>,
}

/// What is written to the upstream, and what it may choose among. `Debug` shows nothing: claims are
/// among it.
pub(crate) struct Order {
    pub(crate) bytes: Vec<u8>,
    pub(crate) offer: Offer,
}

impl fmt::Debug for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Order({} bytes)", self.bytes.len())
    }
}

/// Something of the client's identity does not fit into a field: handed on in part, or in another form,
/// it could be taken for somebody else's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotForwardable;

/// Writes the upgrade that the upstream of `proxy` gets.
///
/// # Errors
/// An identity field cannot be written.
pub(crate) fn order(proxy: &Proxy, client: &Client<'_>) -> Result<Order, NotForwardable> {
    let identity = identity(&proxy.forward, client.grant)?;
    let fields = client.head.fields();
    let key = fields
        .single("sec-websocket-key")
        .ok()
        .flatten()
        .unwrap_or_default();
    let protocols = without_tokens(client.protocols, &proxy.kept_back);
    let extensions: Vec<&[u8]> = fields.get_all("sec-websocket-extensions").collect();

    let mut lines = Lines(Vec::with_capacity(1024));
    lines.request(proxy, client);
    lines.add("Host", proxy.authority.as_bytes());
    lines.add("Upgrade", b"websocket");
    lines.add("Connection", b"Upgrade");
    lines.add("Sec-WebSocket-Key", key.as_bytes());
    lines.add("Sec-WebSocket-Version", b"13");
    for extension in &extensions {
        lines.add("Sec-WebSocket-Extensions", extension);
    }
    if !protocols.is_empty() {
        lines.add("Sec-WebSocket-Protocol", protocols.join(", ").as_bytes());
    }
    lines.others(&proxy.kept_back, client.head);
    lines.add(
        "X-Forwarded-For",
        client.address.to_canonical().to_string().as_bytes(),
    );
    if let Ok(Some(host)) = fields.single("host") {
        lines.add("X-Forwarded-Host", host.as_bytes());
    }
    lines.add("X-Forwarded-Proto", if client.tls { b"https" } else { b"http" });
    for (name, value) in &identity {
        lines.add(name, value.as_bytes());
    }
    lines.0.extend_from_slice(b"\r\n");
    let names = extensions
        .iter()
        .flat_map(|line| list_items(line))
        .filter_map(|item| {
            let name = trim_ows(item.split(|&byte| byte == b';').next()?);
            str::from_utf8(name).ok().map(str::to_owned)
        });
    Ok(Order {
        bytes: lines.0,
        offer: Offer {
            accept: upgrade::accept_key(key),
            extensions: names.collect(),
            protocols,
            reserved: proxy.kept_back.issued.iter().cloned().collect(),
        },
    })
}

/// The lines of a head that is being written.
struct Lines(Vec<u8>);

impl Lines {
    fn add(&mut self, name: &str, value: &[u8]) {
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b": ");
        self.0.extend_from_slice(value);
        self.0.extend_from_slice(b"\r\n");
    }

    /// The path of the URL and what is left of the client's; its query, then what is left of the
    /// client's.
    fn request(&mut self, proxy: &Proxy, client: &Client<'_>) {
        self.0.extend_from_slice(b"GET ");
        self.0.extend_from_slice(proxy.path.as_bytes());
        if let Some(segments) = client.segments {
            // Encoded slashes were refused, so that the path as it came has the same segments.
            let path = client.head.target().path();
            let rest = path.splitn(segments + 1, '/').nth(segments).unwrap_or_default();
            if !proxy.path.ends_with('/') && !rest.is_empty() {
                self.0.push(b'/');
            }
            self.0.extend_from_slice(rest.as_bytes());
        }
        let hidden = &proxy.kept_back.params;
        let params = client.head.target().params();
        let params =
            params.filter(|param| !str::from_utf8(&param.name).is_ok_and(|name| hidden.contains(name)));
        let mut mark = b'?';
        for part in proxy
            .query
            .as_deref()
            .into_iter()
            .chain(params.map(|param| param.raw))
        {
            self.0.push(mark);
            self.0.extend_from_slice(part.as_bytes());
            mark = b'&';
        }
        self.0.extend_from_slice(b" HTTP/1.1\r\n");
    }

    /// The client's other fields.
    fn others(&mut self, kept_back: &KeptBack, head: &RequestHead) {
        let fields = head.fields();
        let named: Vec<String> = fields
            .list("connection")
            .map(|name| comparable(&String::from_utf8_lossy(name)))
            .collect();
        for (name, value) in fields.iter() {
            let compared = comparable(name);
            let dropped = DROPPED.contains(&compared.as_str())
                || DROPPED_PREFIXES.iter().any(|prefix| compared.starts_with(prefix))
                || kept_back.fields.contains(&compared)
                || named.contains(&compared);
            if !dropped {
                self.add(name, value);
            }
        }
        if named.iter().any(|name| name == "cookie") || kept_back.fields.contains("cookie") {
            return;
        }
        for line in fields.get_all("cookie") {
            let kept: Vec<&[u8]> = line
                .split(|&byte| byte == b';')
                .map(trim_ows)
                .filter(|pair| !pair.is_empty() && !is_secret(pair, kept_back))
                .collect();
            if !kept.is_empty() {
                self.add("Cookie", &kept.join(&b"; "[..]));
            }
        }
    }
}

/// Says whether a pair of a Cookie field carries a credential.
fn is_secret(pair: &[u8], kept_back: &KeptBack) -> bool {
    let name = pair.split(|&byte| byte == b'=').next().unwrap_or_default();
    str::from_utf8(trim_ows(name)).is_ok_and(|name| kept_back.cookies.contains(name))
}

/// Returns the subprotocols without markers and the tokens that they announce, of whichever realm.
fn without_tokens(protocols: &[String], kept_back: &KeptBack) -> Vec<String> {
    let mut kept = Vec::new();
    let mut items = protocols.iter();
    while let Some(item) = items.next() {
        let single = |marker: &String| {
            let rest = item.strip_prefix(marker.as_str());
            rest.is_some_and(|rest| rest.starts_with('.'))
        };
        if kept_back.markers.contains(item) {
            items.next();
        } else if is_token(item.as_bytes()) && !kept_back.markers.iter().any(single) {
            kept.push(item.clone());
        }
    }
    kept
}

/// Returns the fields that tell who the client is.
fn identity<'f>(forward: &'f Forward, grant: &Grant) -> Result<Vec<(&'f str, String)>, NotForwardable> {
    let mut fields: Vec<(&str, String)> = Vec::new();
    if let (Some(name), Some(subject)) = (&forward.subject, grant.subject()) {
        fields.push((name, subject.to_owned()));
    }
    let authority = grant.identity.as_ref().map(|identity| &identity.authority);
    match (&forward.issuer, authority) {
        (Some(name), Some(Authority::Issuer(issuer))) => fields.push((name, issuer.clone())),
        (Some(_), Some(Authority::Module(_) | Authority::Anonymous) | None) | (None, _) => {}
    }
    if let Some(name) = forward.roles.as_ref().filter(|_| grant.identity.is_some()) {
        // Whoever splits the list trims its items: a role would turn into others.
        let stays_one = |role: &String| !role.contains(',') && role.trim() == role;
        if !grant.roles.iter().all(stays_one) {
            return Err(NotForwardable);
        }
        let roles: Vec<&str> = grant.roles.iter().map(String::as_str).collect();
        fields.push((name, roles.join(",")));
    }
    for (claim, name) in &forward.claims {
        match grant.claims.get(claim) {
            None => {}
            Some(Value::String(text)) => fields.push((name, text.clone())),
            Some(
                other
                @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)),
            ) => {
                fields.push((name, other.to_string()));
            }
        }
    }
    let fits = |value: &str| value.bytes().all(|byte| matches!(byte, 0x20..=0x7E)) && value.trim() == value;
    match fields.iter().all(|(_, value)| fits(value)) {
        true => Ok(fields),
        false => Err(NotForwardable),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;
    use std::net::Ipv4Addr;
    use std::sync::Arc;
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::auth::grant::Identity;
    use crate::config::UpstreamProtocol;
    use crate::http::HeadLimits;
    use crate::leg::Destination;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn proxy(path: &str, query: Option<&str>) -> Proxy {
        Proxy {
            protocol: UpstreamProtocol::WebSocket,
            to: Destination::Tcp {
                host: "127.0.0.1".to_owned(),
                port: 9000,
                tls: None,
            },
            authority: "127.0.0.1:9000".to_owned(),
            path: path.to_owned(),
            query: query.map(str::to_owned),
            forward: Forward {
                subject: Some("X-Sub".to_owned()),
                issuer: Some("X-Iss".to_owned()),
                roles: Some("X-Roles".to_owned()),
                claims: vec![
                    ("email".to_owned(), "X-Email".to_owned()),
                    ("n".to_owned(), "X-N".to_owned()),
                ],
            },
            kept_back: KeptBack {
                fields: set(&[
                    "x-sub",
                    "x-iss",
                    "x-roles",
                    "x-email",
                    "x-n",
                    "authorization",
                    "x-token",
                ]),
                params: set(&["access_token", "ticket"]),
                cookies: set(&["__Host-session"]),
                issued: set(&["__Host-session"]),
                markers: set(&["access_token", "bearer"]),
            },
            timeout: Duration::from_secs(10),
        }
    }

    fn head(target: &str, fields: &str) -> RequestHead {
        let head = format!(
            "GET {target} HTTP/1.1\r\nHost: front.example:8443\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{fields}\r\n"
        );
        RequestHead::parse(head.as_bytes(), HeadLimits::default()).unwrap()
    }

    fn grant(claims: Value) -> Grant {
        let Value::Object(claims) = claims else { panic!() };
        Grant {
            identity: Some(Identity {
                realm: "demo".into(),
                authority: Authority::Issuer("https://idp.example".to_owned()),
                subject: Some("alice".to_owned()),
            }),
            roles: set(&["Everyone", "operators"]),
            claims: Arc::new(claims),
            ..Grant::default()
        }
    }

    fn asked(proxy: &Proxy, head: &RequestHead, grant: &Grant, segments: Option<usize>) -> Option<String> {
        let protocols = upgrade::protocols(head.fields(), true).unwrap();
        let client = Client {
            head,
            protocols: &protocols,
            grant,
            address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)),
            tls: true,
            segments,
        };
        order(proxy, &client)
            .ok()
            .map(|order| String::from_utf8(order.bytes).unwrap())
    }

    const OWN: &str = "Host: 127.0.0.1:9000\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";

    const TOLD: &str = "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Host: front.example:8443\r\n\
         X-Forwarded-Proto: https\r\nX-Sub: alice\r\nX-Iss: https://idp.example\r\nX-Roles: Everyone,operators\r\n";

    #[test]
    fn e05_the_upstream_sees_the_upgrade_and_no_credential() {
        let head = head(
            "/app?a=1&access%5Ftoken=s3cret&b=%20&ticket=s3cret",
            "Connection: keep-alive, Upgrade, X-Hop\r\nX_Hop: s3cret\r\nAuthorization: Bearer s3cret\r\n\
             x-token: s3cret\r\nCookie: a=b; __Host-session=s3cret; c=d\r\nCookie: __Host-session=s3cret\r\n\
             Sec-WebSocket-Protocol: access_token, s3cret, chat\r\nSec-WebSocket-Protocol: bearer.s3cret, v2\r\n\
             Sec-WebSocket-Extensions: permessage-deflate; x\r\nOrigin: https://front.example\r\nUser-Agent: ua\r\n",
        );
        assert_eq!(
            asked(&proxy("/", None), &head, &grant(json!({})), None).unwrap(),
            format!(
                "GET /?a=1&b=%20 HTTP/1.1\r\n{OWN}Sec-WebSocket-Extensions: permessage-deflate; x\r\n\
                 Sec-WebSocket-Protocol: chat, v2\r\nOrigin: https://front.example\r\nUser-Agent: ua\r\n\
                 Cookie: a=b; c=d\r\n{TOLD}\r\n"
            )
        );
    }

    #[test]
    fn e05_identities_that_a_client_claims_are_dropped_however_they_are_written() {
        let mut fields = "Connection: Upgrade, X-Custom\r\n".to_owned();
        for name in [
            "X-Sub",
            "x_sub",
            "X-SUB",
            "X_Roles",
            "x-email",
            "X-N",
            "Forwarded",
            "X-Forwarded-For",
            "X_Forwarded_For",
            "x-forwarded-user",
            "X-Real-IP",
            "X_REAL_IP",
            "X-Custom",
            "Keep-Alive",
            "TE",
            "Trailer",
            "Proxy-Authorization",
            "Proxy_Connection",
            "Expect",
            "Sec-Challenge-Identity",
            "Countersign-Socket",
            "Sec_WebSocket_Protocol",
            "Authorization_",
        ] {
            let value = if name == "Authorization_" { "kept" } else { "evil" };
            fields.push_str(&format!("{name}: {value}\r\n"));
        }
        let asked = asked(&proxy("/", None), &head("/app", &fields), &grant(json!({})), None).unwrap();
        assert_eq!(
            asked,
            format!("GET / HTTP/1.1\r\n{OWN}Authorization_: kept\r\n{TOLD}\r\n")
        );
    }

    #[test]
    fn e06_claims_are_told_as_they_are_or_the_client_is_refused() {
        let asked = |claims, role: &str| {
            let mut grant = grant(claims);
            grant.roles.insert(role.to_owned());
            asked(&proxy("/", None), &head("/", ""), &grant, None)
        };
        let told = asked(json!({"email": "a b", "n": {"x": [1, null]}}), "operators").unwrap();
        assert!(
            told.ends_with("X-Email: a b\r\nX-N: {\"x\":[1,null]}\r\n\r\n"),
            "{told}"
        );
        assert!(asked(json!({"email": ""}), "operators").is_some());
        for email in [
            "a\r\nX-Roles: root",
            "a\nb",
            "a\0",
            "caf\u{e9}",
            " a",
            "a ",
            "a\tb",
        ] {
            assert_eq!(asked(json!({"email": email}), "operators"), None, "{email:?}");
        }
        assert_eq!(asked(json!({"n": ["caf\u{e9}"]}), "operators"), None);
        assert_eq!(asked(json!({}), "a,b"), None);
    }

    #[test]
    fn m18_the_rest_of_the_path_is_appended_as_it_came() {
        for (connect, query, target, segments, expected) in [
            ("/", None, "/app/x/%7Ey%20?q", Some(2), "/x/%7Ey%20?q"),
            ("/base", None, "/app/x", Some(2), "/base/x"),
            (
                "/base/",
                Some("k=v"),
                "/%61pp/x?a&ticket=t",
                Some(2),
                "/base/x?k=v&a",
            ),
            ("/base", Some("k=v"), "/app/", Some(2), "/base?k=v"),
            ("/base", Some("k=v"), "/app", None, "/base?k=v"),
            ("/", None, "/socket.io/", Some(1), "/socket.io/"),
            ("/", None, "/a?ticket=t", Some(1), "/a"),
        ] {
            let asked = asked(
                &proxy(connect, query),
                &head(target, ""),
                &Grant::default(),
                segments,
            )
            .unwrap();
            assert_eq!(asked.split(' ').nth(1), Some(expected), "{target}");
        }
    }

    #[test]
    fn e06_who_is_nobody_is_told_as_nobody() {
        let asked = asked(
            &proxy("/", None),
            &head("/", "X-Sub: root\r\n"),
            &Grant::default(),
            None,
        )
        .unwrap();
        assert!(asked.ends_with("X-Forwarded-Proto: https\r\n\r\n"), "{asked}");
    }
}
