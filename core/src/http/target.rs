//! The request target (RFC 9112 section 3.2).

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use super::host::Host;
use super::origin::default_port;
use super::request::Method;
use super::syntax::{
    Decoded, is_escaped, is_path_byte, is_query_byte, is_unreserved, percent_decode, split_at_byte,
};
use crate::secret::Secret;

/// Why a text is no target of its method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadTarget {
    /// None of the four forms, or one that this method may not have.
    Form,
    /// An absolute target with another scheme than http, https, ws or wss.
    Scheme,
    /// The authority is no host, has user information, or lacks the port that CONNECT needs.
    Authority,
    /// A byte outside RFC 3986's path and query characters, a fragment or a bad percent-escape.
    Byte,
}

/// The form of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetForm {
    /// A path with an optional query.
    Origin,
    /// A whole URL.
    Absolute,
    /// Host and port, of CONNECT only.
    Authority,
    /// `*`, of OPTIONS only.
    Asterisk,
}

/// A path that names nothing here: it is answered with 404 before routing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotCanonical;

/// A request target, as it arrived. Its query may hold a credential: the text is zeroed when it is
/// dropped, and `Debug` prints the path alone.
pub struct Target {
    raw: Secret<String>,
    form: TargetForm,
    path: Range<usize>,
    query: Option<Range<usize>>,
    authority: Option<(Host, u16)>,
}

impl Target {
    /// Reads the target `raw` of a request with `method`.
    ///
    /// # Errors
    /// The text is no target of this method.
    pub fn parse(raw: &str, method: Method) -> Result<Self, BadTarget> {
        let whole = 0..raw.len();
        let (form, rest, authority) = if raw.starts_with('/') {
            (TargetForm::Origin, whole, None)
        } else if raw == "*" {
            let form = match method {
                Method::Options => TargetForm::Asterisk,
                Method::Get
                | Method::Head
                | Method::Post
                | Method::Put
                | Method::Delete
                | Method::Connect
                | Method::Trace
                | Method::Patch => return Err(BadTarget::Form),
            };
            (form, whole, None)
        } else if method == Method::Connect {
            let host = Host::parse(raw).map_err(|_| BadTarget::Authority)?;
            let port = host.port().ok_or(BadTarget::Authority)?;
            (TargetForm::Authority, raw.len()..raw.len(), Some((host, port)))
        } else {
            let (scheme, behind) = raw.split_once("://").ok_or(BadTarget::Form)?;
            let port = default_port(&scheme.to_ascii_lowercase()).ok_or(BadTarget::Scheme)?;
            let length = behind.find(['/', '?']).unwrap_or(behind.len());
            let (authority, rest) = behind.split_at_checked(length).ok_or(BadTarget::Authority)?;
            let host = Host::parse(authority).map_err(|_| BadTarget::Authority)?;
            (
                TargetForm::Absolute,
                raw.len() - rest.len()..raw.len(),
                Some((host, port)),
            )
        };
        let text = raw.get(rest.clone()).ok_or(BadTarget::Byte)?;
        let (path, query) = match split_at_byte(text, b'?') {
            Some((path, query)) => {
                let end = rest.start + path.len();
                (rest.start..end, Some((end + 1..rest.end, query)))
            }
            None => (rest, None),
        };
        let path_text = raw.get(path.clone()).ok_or(BadTarget::Byte)?;
        let query_text = query.as_ref().map_or("", |(_, text)| *text);
        if !is_escaped(path_text.as_bytes(), is_path_byte)
            || !is_escaped(query_text.as_bytes(), is_query_byte)
        {
            return Err(BadTarget::Byte);
        }
        Ok(Self {
            raw: Secret::new(raw.to_owned()),
            form,
            path,
            query: query.map(|(range, _)| range),
            authority,
        })
    }

    /// Returns the form.
    pub const fn form(&self) -> TargetForm {
        self.form
    }

    /// Returns the whole target as it arrived, for the `uri` of Digest. It may hold a credential.
    pub fn as_str(&self) -> &str {
        self.raw.expose()
    }

    /// Returns the path as it arrived: `/` for an absolute target without one, `*` for the asterisk
    /// form, empty for the authority form.
    pub fn path(&self) -> &str {
        let path = self.raw.expose().get(self.path.clone()).unwrap_or_default();
        match (self.form, path) {
            (TargetForm::Absolute, "") => "/",
            (
                TargetForm::Origin | TargetForm::Absolute | TargetForm::Authority | TargetForm::Asterisk,
                path,
            ) => path,
        }
    }

    /// Returns the query as it arrived, without its `?`. It may hold a credential.
    pub fn query(&self) -> Option<&str> {
        let range = self.query.clone()?;
        self.raw.expose().get(range)
    }

    /// Returns the host of an absolute or authority target, and the port that it means if it names
    /// none.
    pub(super) fn authority(&self) -> Option<(&Host, u16)> {
        self.authority.as_ref().map(|(host, port)| (host, *port))
    }

    /// Says whether an absolute target names a scheme that is spoken over TLS alone. Such a request
    /// is refused where there is none (RFC 9110 section 7.4).
    pub fn wants_tls(&self) -> bool {
        let scheme = || self.raw.expose().split(':').next().unwrap_or_default();
        self.form == TargetForm::Absolute
            && ["https", "wss"]
                .iter()
                .any(|secure| scheme().eq_ignore_ascii_case(secure))
    }

    /// Returns the path in the one form that routes are compared with: escapes of unreserved
    /// characters decoded once, the digits of all others in upper case (RFC 3986 section 6.2.2).
    ///
    /// # Errors
    /// The path has `//`, a dot segment, an encoded `/`, `\`, NUL or control character, or the
    /// target has no path. A dot segment with a parameter (`..;x`) counts, because servers behind
    /// us may strip the parameter first.
    pub fn canonical_path(&self) -> Result<Cow<'_, str>, NotCanonical> {
        canonical(self.path())
    }

    /// Yields the parameters of the query in order. Name and value are percent-decoded once, `+`
    /// stays `+`, and a parameter without `=` has an empty value.
    pub fn params(&self) -> impl Iterator<Item = Param<'_>> {
        self.query()
            .unwrap_or_default()
            .split('&')
            .filter(|raw| !raw.is_empty())
            .map(|raw| {
                let (name, value) = raw.split_once('=').unwrap_or((raw, ""));
                Param {
                    raw,
                    name: decode(name),
                    value: Secret::new(decode(value).into_owned()),
                }
            })
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({:?})", self.path())
    }
}

/// One parameter of a query. `Debug` prints neither name nor value.
pub struct Param<'a> {
    /// The parameter as it arrived, for handing it on. It may hold a credential.
    pub raw: &'a str,
    /// The decoded name.
    pub name: Cow<'a, [u8]>,
    /// The decoded value.
    pub value: Secret<Vec<u8>>,
}

impl fmt::Debug for Param<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Param(***)")
    }
}

/// Percent-decodes once. The allocation is never outgrown, so no copy of a secret stays behind.
fn decode(text: &str) -> Cow<'_, [u8]> {
    if !text.contains('%') {
        return Cow::Borrowed(text.as_bytes());
    }
    let mut decoded = Vec::with_capacity(text.len());
    decoded.extend(percent_decode(text.as_bytes()).map(|byte| match byte {
        Decoded::Plain(byte) | Decoded::Escape(byte) => byte,
    }));
    Cow::Owned(decoded)
}

/// Returns `path` with the escapes of unreserved characters decoded and all others in upper case.
fn decoded_once(path: &str) -> Result<String, NotCanonical> {
    let mut decoded = String::with_capacity(path.len());
    for byte in percent_decode(path.as_bytes()) {
        match byte {
            Decoded::Plain(byte) => decoded.push(char::from(byte)),
            Decoded::Escape(b'/' | b'\\' | 0..=0x1F | 0x7F) => return Err(NotCanonical),
            Decoded::Escape(byte) if is_unreserved(byte) => decoded.push(char::from(byte)),
            Decoded::Escape(byte) => decoded.push_str(&format!("%{byte:02X}")),
        }
    }
    Ok(decoded)
}

fn canonical(path: &str) -> Result<Cow<'_, str>, NotCanonical> {
    if !path.starts_with('/') {
        return Err(NotCanonical);
    }
    // Most paths have neither an escape nor a segment that is empty or begins with a dot.
    let odd = |pair: &[u8]| matches!(pair, [_, b'%'] | b"//" | b"/.");
    if !path.as_bytes().windows(2).any(odd) {
        return Ok(Cow::Borrowed(path));
    }
    let canonical = if path.contains('%') {
        Cow::Owned(decoded_once(path)?)
    } else {
        Cow::Borrowed(path)
    };
    let mut segments = canonical
        .as_bytes()
        .split(|byte| *byte == b'/')
        .skip(1)
        .peekable();
    while let Some(segment) = segments.next() {
        // An empty segment is `//`, unless it is the last: then the path ends with `/`.
        let doubled = segment.is_empty() && segments.peek().is_some();
        let dots = matches!(
            segment,
            [b'.'] | [b'.', b'.'] | [b'.', b';', ..] | [b'.', b'.', b';', ..]
        );
        if doubled || dots {
            return Err(NotCanonical);
        }
    }
    Ok(canonical)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn get(raw: &str) -> Result<Target, BadTarget> {
        Target::parse(raw, Method::Get)
    }

    #[test]
    fn r02_bytes_outside_rfc_3986_are_refused() {
        for raw in [
            "/a b", "/a#b", "/a\"b", "/<a>", "/a\\b", "/^", "/`", "/{a}", "/a|b", "/[a]", "/%", "/%2",
            "/%g0", "/a?b=%", "/a?[b]", "/a?b#c", "/\u{e9}", "/a\0",
        ] {
            assert_eq!(get(raw).err(), Some(BadTarget::Byte), "{raw}");
        }
        let all = "/azAZ09-._~!$&'()*+,;=:@/%41?azAZ09-._~!$&'()*+,;=:@/?%41";
        assert_eq!(get(all).unwrap().as_str(), all);
    }

    #[test]
    fn forms_belong_to_methods() {
        assert_eq!(get("*").err(), Some(BadTarget::Form));
        assert_eq!(get("a").err(), Some(BadTarget::Form));
        assert_eq!(get("a.org:443").err(), Some(BadTarget::Form));
        assert_eq!(get("ftp://a/").err(), Some(BadTarget::Scheme));
        assert_eq!(get("http://u@a/").err(), Some(BadTarget::Authority));
        assert_eq!(get("http:///").err(), Some(BadTarget::Authority));
        assert_eq!(Target::parse("*", Method::Options).unwrap().path(), "*");
        assert_eq!(
            Target::parse("*", Method::Options).unwrap().canonical_path(),
            Err(NotCanonical)
        );
        let connect = |raw| Target::parse(raw, Method::Connect);
        assert_eq!(connect("a.org:443").unwrap().form(), TargetForm::Authority);
        assert_eq!(connect("a.org:443").unwrap().path(), "");
        assert_eq!(connect("a.org").err(), Some(BadTarget::Authority));
        assert_eq!(connect("http://a.org/").err(), Some(BadTarget::Authority));
    }

    #[test]
    fn absolute_targets_have_path_and_query() {
        let target = get("HTTPS://A.org:8443/x/y?z=1").unwrap();
        assert_eq!((target.path(), target.query()), ("/x/y", Some("z=1")));
        assert_eq!(target.authority().unwrap().0.to_string(), "a.org:8443");
        let target = get("http://[::1]").unwrap();
        assert_eq!((target.path(), target.query()), ("/", None));
        let target = get("ws://a?b/c").unwrap();
        assert_eq!((target.path(), target.query()), ("/", Some("b/c")));
    }

    #[test]
    fn r02_canonical_path() {
        let canonical = |raw: &str| get(raw).unwrap().canonical_path().map(Cow::into_owned);
        for (raw, expected) in [
            ("/", "/"),
            ("/api/ws", "/api/ws"),
            ("/api/ws/", "/api/ws/"),
            ("/%61pi/%77s", "/api/ws"),
            ("/%7Ea/%2D", "/~a/-"),
            ("/%c3%a9", "/%C3%A9"),
            ("/a%2561", "/a%2561"),
            ("/.well-known/..a/...", "/.well-known/..a/..."),
            ("/a;b/c", "/a;b/c"),
            ("/a?/../", "/a"),
        ] {
            assert_eq!(canonical(raw), Ok(expected.to_owned()), "{raw}");
        }
        for raw in [
            "//",
            "//a",
            "/a//b",
            "/a//",
            "/.",
            "/..",
            "/a/./b",
            "/a/../b",
            "/a/..",
            "/%2e%2E/b",
            "/a/.%2e",
            "/a/%2e",
            "/a%2fb",
            "/a%2Fb",
            "/a%5cb",
            "/a%00",
            "/a%0a",
            "/a%1f",
            "/a%7f",
            "/a/..;x=1/b",
        ] {
            assert_eq!(canonical(raw), Err(NotCanonical), "{raw}");
        }
    }

    #[test]
    fn r03_parameters_are_decoded_once_and_plus_stays_plus() {
        let target = get("/?a=1&%61ccess%5ftoken=x%2By+z%2525&&flag&=v&a=2=3").unwrap();
        let params: Vec<_> = target
            .params()
            .map(|p| {
                let value = String::from_utf8(p.value.expose().clone()).unwrap();
                (String::from_utf8(p.name.into_owned()).unwrap(), value)
            })
            .collect();
        let expected = [
            ("a", "1"),
            ("access_token", "x+y+z%25"),
            ("flag", ""),
            ("", "v"),
            ("a", "2=3"),
        ];
        assert_eq!(params.len(), expected.len());
        for ((name, value), expected) in params.iter().zip(expected) {
            assert_eq!((name.as_str(), value.as_str()), expected);
        }
        assert_eq!(get("/").unwrap().params().count(), 0);
    }

    #[test]
    fn r10_debug_shows_no_query() {
        let target = get("/a?access_token=s3cret").unwrap();
        let shown = format!("{target:?} {:?}", target.params().next());
        assert_eq!(shown, "Target(\"/a\") Some(Param(***))");
    }
}
