//! Cookies of a request (RFC 6265 section 4.2).

use super::fields::Fields;
use super::syntax::trim_ows;

/// Yields the values of the cookies named `name`, over all Cookie lines, in order. Names are
/// case-sensitive; quotes belong to the value.
pub fn cookies<'a, 'n>(fields: &'a Fields, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
    pairs(fields)
        .filter(move |(found, _)| *found == name.as_bytes())
        .map(|(_, value)| value)
}

/// Yields name and value of every cookie, over all Cookie lines, in order. What has no `=` is no
/// cookie and is left out.
pub fn pairs(fields: &Fields) -> impl Iterator<Item = (&[u8], &[u8])> {
    fields
        .get_all("cookie")
        .flat_map(|line| line.split(|&byte| byte == b';'))
        .filter_map(|pair| {
            let at = pair.iter().position(|&byte| byte == b'=')?;
            let (name, value) = pair.split_at_checked(at)?;
            Some((trim_ows(name), trim_ows(value.strip_prefix(b"=")?)))
        })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::http::{HeadLimits, RequestHead};

    #[test]
    fn r03_cookies_of_one_name_over_all_lines() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\nCookie: a=1; sid=x=y; SID=no; junk;  b = 2 \r\ncookie: sid=\"z\";sid=\r\n\r\n";
        let head = RequestHead::parse(head, HeadLimits::default()).unwrap();
        let named = |name| cookies(head.fields(), name).collect::<Vec<_>>();
        assert_eq!(named("sid"), [&b"x=y"[..], b"\"z\"", b""]);
        assert_eq!(named("b"), [b"2"]);
        assert!(named("junk").is_empty() && named("none").is_empty());
        assert_eq!(pairs(head.fields()).count(), 6);
    }
}
