//! Where a login leads to: a path of this server, and nothing that anybody could abuse.

use crate::auth::realm::Realm;
use crate::http::syntax::{Decoded, percent_decode};

/// Returns `next` if it is a local path, without parameters that hold credentials of `realm`; else
/// `/`. One `/` and then neither `/` nor `\`: a browser takes both for the beginning of a host.
pub(in crate::connection) fn local_path(next: &[u8], realm: &Realm) -> String {
    let local = match next {
        [b'/', b'/' | b'\\', ..] => false,
        [b'/', ..] => next.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'\\'),
        _ => false,
    };
    let Some(next) = str::from_utf8(next).ok().filter(|_| local) else {
        return "/".to_owned();
    };
    let (target, fragment) = match next.split_once('#') {
        Some((target, fragment)) => (target, Some(fragment)),
        None => (next, None),
    };
    let mut cleaned = String::with_capacity(next.len());
    match target.split_once('?') {
        None => cleaned.push_str(target),
        Some((path, query)) => {
            cleaned.push_str(path);
            let is_credential = |param: &&str| {
                let name = param.split_once('=').map_or(*param, |(name, _)| name);
                let name: Vec<u8> = percent_decode(name.as_bytes())
                    .map(|byte| match byte {
                        Decoded::Plain(byte) | Decoded::Escape(byte) => byte,
                    })
                    .collect();
                realm.query_names.iter().any(|known| known.as_bytes() == name)
            };
            let kept: Vec<&str> = query.split('&').filter(|param| !is_credential(param)).collect();
            if !kept.is_empty() {
                cleaned.push('?');
                cleaned.push_str(&kept.join("&"));
            }
        }
    }
    if let Some(fragment) = fragment {
        cleaned.push('#');
        cleaned.push_str(fragment);
    }
    cleaned
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::realm::tests::realm;

    #[test]
    fn r16_next_is_a_local_path() {
        let mut realm = realm();
        realm.query_names = vec!["access_token".into(), "ticket".into()];
        for (next, expected) in [
            ("/", "/"),
            ("/app?x=1#part", "/app?x=1#part"),
            ("/app?x=1&access%5Ftoken=s&ticket=t&y", "/app?x=1&y"),
            ("/app?ticket=t", "/app"),
            ("", "/"),
            ("app", "/"),
            ("//evil.example", "/"),
            ("/\\evil.example", "/"),
            ("/a\\..\\b", "/"),
            ("/\t/evil.example", "/"),
            ("/a\r\nSet-Cookie: x", "/"),
            ("/a b", "/"),
            ("/\u{e4}", "/"),
            ("https://evil.example/", "/"),
            ("javascript:alert(1)", "/"),
        ] {
            assert_eq!(local_path(next.as_bytes(), &realm), expected, "{next:?}");
        }
    }
}
