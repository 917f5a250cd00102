//! The Authorization field (RFC 9110 section 11.4).

use std::borrow::Cow;
use std::fmt;

use super::syntax::{is_token, is_token_byte, is_value_byte, trim_ows};

/// Most parameters in one Authorization field. Digest has twelve (RFC 7616 section 3.4).
pub const PARAM_LIMIT: usize = 32;

/// An Authorization value that does not begin with a scheme, or a credential that is not written as
/// its scheme demands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// A parameter that stands more than once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DuplicateParam;

/// An Authorization value, split but not judged. `Debug` prints the scheme alone.
pub struct Authorization<'a> {
    /// The scheme as it arrived. Compare it with [`is`](Self::is).
    pub scheme: &'a str,
    /// What follows the scheme.
    pub rest: Rest<'a>,
}

/// What follows the scheme. `Debug` prints the kind alone.
pub enum Rest<'a> {
    /// Nothing.
    Empty,
    /// One `token68`, which has the characters of a bearer token (RFC 6750 section 2.1).
    Token68(&'a str),
    /// Parameters, as Digest has them.
    Params(AuthParams<'a>),
    /// Neither: malformed for every scheme known here, but of no concern if the scheme is not enabled.
    Other,
}

impl<'a> Authorization<'a> {
    /// Splits a field value into scheme and rest. One or more spaces stand between them.
    ///
    /// # Errors
    /// The value does not begin with a scheme.
    pub fn parse(value: &'a [u8]) -> Result<Self, Malformed> {
        let value = trim_ows(value);
        let end = value.iter().position(|&byte| byte == b' ').unwrap_or(value.len());
        let (scheme, mut rest) = value.split_at_checked(end).ok_or(Malformed)?;
        if !is_token(scheme) {
            return Err(Malformed);
        }
        let scheme = str::from_utf8(scheme).map_err(|_| Malformed)?;
        while let [b' ', behind @ ..] = rest {
            rest = behind;
        }
        let rest = match str::from_utf8(rest) {
            Ok("") => Rest::Empty,
            // Looked at first, as the grammar has it: `x=` is a token68, not a parameter.
            Ok(text) if is_b64token(text) => Rest::Token68(text),
            Ok(_) | Err(_) => AuthParams::parse(rest).map_or(Rest::Other, Rest::Params),
        };
        Ok(Self { scheme, rest })
    }

    /// Says whether the scheme is `name`, ignoring case.
    pub fn is(&self, name: &str) -> bool {
        self.scheme.eq_ignore_ascii_case(name)
    }

    /// Returns the token of a scheme that has exactly one, such as Basic and Bearer.
    ///
    /// # Errors
    /// There is none, or something else.
    pub const fn token68(&self) -> Result<&'a str, Malformed> {
        match &self.rest {
            Rest::Token68(token) => Ok(token),
            Rest::Empty | Rest::Params(_) | Rest::Other => Err(Malformed),
        }
    }
}

impl fmt::Debug for Authorization<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authorization({} {:?})", self.scheme, self.rest)
    }
}

impl fmt::Debug for Rest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "Empty",
            Self::Token68(_) => "Token68",
            Self::Params(_) => "Params",
            Self::Other => "Other",
        })
    }
}

/// One `auth-param` (RFC 9110 section 11.2).
#[derive(Clone)]
pub struct AuthParam<'a> {
    /// The name as it arrived.
    pub name: &'a str,
    /// The value, without quotes and escapes. A quoted one may have bytes outside ASCII.
    pub value: Cow<'a, [u8]>,
    /// Whether the value was a quoted-string.
    pub quoted: bool,
}

impl fmt::Debug for AuthParam<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AuthParam({})", self.name)
    }
}

/// The parameters of a credential, in order, at most [`PARAM_LIMIT`].
#[derive(Clone, Debug)]
pub struct AuthParams<'a>(Vec<AuthParam<'a>>);

impl<'a> AuthParams<'a> {
    /// Yields the parameters in order, repeated ones included.
    pub fn iter(&self) -> impl Iterator<Item = &AuthParam<'a>> {
        self.0.iter()
    }

    /// Returns the parameter `name`, ignoring case, or none.
    ///
    /// # Errors
    /// It stands more than once.
    pub fn get(&self, name: &str) -> Result<Option<&AuthParam<'a>>, DuplicateParam> {
        let mut found = self.iter().filter(|param| param.name.eq_ignore_ascii_case(name));
        match (found.next(), found.next()) {
            (Some(_), Some(_)) => Err(DuplicateParam),
            (param, _) => Ok(param),
        }
    }

    /// Returns the name of the first parameter that stands more than once.
    pub fn duplicate(&self) -> Option<&'a str> {
        let mut rest = self.0.as_slice();
        while let [first, behind @ ..] = rest {
            if behind
                .iter()
                .any(|param| param.name.eq_ignore_ascii_case(first.name))
            {
                return Some(first.name);
            }
            rest = behind;
        }
        None
    }

    /// Reads `#auth-param`; none if the text is no such list, is empty or is too long.
    fn parse(text: &'a [u8]) -> Option<Self> {
        let mut params = Vec::new();
        let mut rest = trim_ows(text);
        while !rest.is_empty() {
            if let [b',', behind @ ..] = rest {
                rest = trim_ows(behind);
                continue;
            }
            let (param, behind) = auth_param(rest)?;
            if params.len() >= PARAM_LIMIT {
                return None;
            }
            params.push(param);
            rest = trim_ows(behind);
            if !rest.is_empty() && !rest.starts_with(b",") {
                return None;
            }
        }
        (!params.is_empty()).then_some(Self(params))
    }
}

/// Says whether `text` has the form of a bearer token: `b64token` of RFC 6750 section 2.1.
pub fn is_b64token(text: &str) -> bool {
    let mut body = text.as_bytes();
    while let [before @ .., b'='] = body {
        body = before;
    }
    // A token is the longest text of most requests: without an early end many bytes are looked at at once.
    let fits =
        |byte: u8| byte.is_ascii_alphanumeric() | matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/');
    !body.is_empty() && body.iter().fold(true, |good, &byte| good & fits(byte))
}

/// Reads one `token BWS "=" BWS ( token / quoted-string )` and returns what follows it.
fn auth_param(text: &[u8]) -> Option<(AuthParam<'_>, &[u8])> {
    let (name, rest) = split_token(text)?;
    let rest = trim_ows(trim_ows(rest).strip_prefix(b"=")?);
    let (value, quoted, rest) = match rest.strip_prefix(b"\"") {
        Some(inside) => {
            let (value, rest) = quoted_string(inside)?;
            (value, true, rest)
        }
        None => {
            let (value, rest) = split_token(rest)?;
            (Cow::Borrowed(value), false, rest)
        }
    };
    let name = str::from_utf8(name).ok()?;
    Some((AuthParam { name, value, quoted }, rest))
}

fn split_token(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = text
        .iter()
        .position(|&byte| !is_token_byte(byte))
        .unwrap_or(text.len());
    if end == 0 {
        None
    } else {
        text.split_at_checked(end)
    }
}

/// Reads a quoted-string from behind its opening quote (RFC 9110 section 5.6.4) and returns what
/// follows its closing one.
fn quoted_string(text: &[u8]) -> Option<(Cow<'_, [u8]>, &[u8])> {
    let mut escapes = false;
    let mut bytes = text.iter().enumerate();
    let end = loop {
        let (index, &byte) = bytes.next()?;
        match byte {
            b'"' => break index,
            b'\\' => {
                escapes = true;
                bytes.next().filter(|&(_, &byte)| is_value_byte(byte))?;
            }
            _ if is_value_byte(byte) => {}
            _ => return None,
        }
    };
    let inside = text.get(..end)?;
    let rest = text.get(end + 1..)?;
    if !escapes {
        return Some((Cow::Borrowed(inside), rest));
    }
    let mut value = Vec::with_capacity(inside.len());
    let mut bytes = inside.iter();
    while let Some(&byte) = bytes.next() {
        value.push(if byte == b'\\' { *bytes.next()? } else { byte });
    }
    Some((Cow::Owned(value), rest))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn kind(value: &str) -> String {
        Authorization::parse(value.as_bytes()).map_or_else(
            |Malformed| "malformed".to_owned(),
            |read| match read.rest {
                Rest::Empty => format!("{}:empty", read.scheme),
                Rest::Token68(token) => format!("{}:{token}", read.scheme),
                Rest::Params(params) => format!("{}:{} params", read.scheme, params.0.len()),
                Rest::Other => format!("{}:other", read.scheme),
            },
        )
    }

    #[test]
    fn r05_shapes_of_credentials() {
        for (value, expected) in [
            ("Bearer abc.d-e_f~g+h/i==", "Bearer:abc.d-e_f~g+h/i=="),
            ("bearer x", "bearer:x"),
            ("Bearer  x", "Bearer:x"),
            ("Bearer ", "Bearer:empty"),
            ("Bearer", "Bearer:empty"),
            ("Bearer x,y", "Bearer:other"),
            ("Bearer a b", "Bearer:other"),
            ("Bearer a=b=c", "Bearer:other"),
            ("Bearer =", "Bearer:other"),
            ("Bearer caf\u{e9}", "Bearer:other"),
            ("Bearer \tx", "Bearer:other"),
            ("Basic Og==", "Basic:Og=="),
            ("basic", "basic:empty"),
            ("Digest a=1, b=\"2\"", "Digest:2 params"),
            ("Digest a = 1 ,, b\t=\t\"2\",", "Digest:2 params"),
            ("Digest a=1 b=2", "Digest:other"),
            ("Digest a=\"1", "Digest:other"),
            ("Digest a=\"1\\", "Digest:other"),
            ("Digest a=\"1\"x", "Digest:other"),
            ("Digest ,", "Digest:other"),
            ("Digest a=,b=1", "Digest:other"),
            ("Negotiate abc", "Negotiate:abc"),
            ("", "malformed"),
            ("Be\u{e9}rer x", "malformed"),
            ("\"Bearer\" x", "malformed"),
            ("Bearer\tx", "malformed"),
            ("Bearer,x", "malformed"),
        ] {
            assert_eq!(kind(value), expected, "{value}");
        }
    }

    fn params(value: &str) -> AuthParams<'_> {
        match Authorization::parse(value.as_bytes()).unwrap().rest {
            Rest::Params(params) => params,
            Rest::Empty | Rest::Token68(_) | Rest::Other => panic!("{value}"),
        }
    }

    #[test]
    fn parameters_are_unquoted_and_duplicates_reported() {
        let digest = params(
            "Digest username=\"M\u{fc}ller, \\\"x\\\\\", nc=00000001, Realm=\"\", username*=UTF-8''J%C3%A4s, a=1, A=2",
        );
        let user = digest.get("USERNAME").unwrap().unwrap();
        assert_eq!(user.value, "M\u{fc}ller, \"x\\".as_bytes());
        assert!(user.quoted);
        let nc = digest.get("nc").unwrap().unwrap();
        assert_eq!((&*nc.value, nc.quoted), (&b"00000001"[..], false));
        assert_eq!(&*digest.get("realm").unwrap().unwrap().value, b"");
        assert_eq!(
            &*digest.get("username*").unwrap().unwrap().value,
            b"UTF-8''J%C3%A4s"
        );
        assert!(digest.get("none").unwrap().is_none());
        assert!(matches!(digest.get("a"), Err(DuplicateParam)));
        assert_eq!(digest.duplicate(), Some("a"));
        assert_eq!(params("Digest a=1, b=2").duplicate(), None);
    }

    #[test]
    fn parameters_are_bounded() {
        let list = |count| {
            let list: Vec<_> = (0..count).map(|number| format!("p{number}=1")).collect();
            format!("Digest {}", list.join(", "))
        };
        assert_eq!(params(&list(PARAM_LIMIT)).0.len(), PARAM_LIMIT);
        assert_eq!(kind(&list(PARAM_LIMIT + 1)), "Digest:other");
    }

    #[test]
    fn r10_debug_shows_no_credential() {
        let bearer = Authorization::parse(b"Bearer s3cret").unwrap();
        assert_eq!(format!("{bearer:?}"), "Authorization(Bearer Token68)");
        assert_eq!(
            format!("{:?}", params("Digest a=s3cret")),
            "AuthParams([AuthParam(a)])"
        );
    }
}
