//! Bodies of HTML forms: `application/x-www-form-urlencoded` (URL Standard section 5.1).

use zeroize::Zeroizing;

use super::syntax::{Decoded, percent_decode};

/// Yields name and value of every field, in order, decoded: `+` is a space, `%` and two digits are a
/// byte. The values may be passwords, and are zeroed when they are dropped.
pub fn form_fields(body: &[u8]) -> impl Iterator<Item = (Zeroizing<Vec<u8>>, Zeroizing<Vec<u8>>)> + '_ {
    body.split(|&byte| byte == b'&')
        .filter(|field| !field.is_empty())
        .map(|field| {
            let at = field.iter().position(|&byte| byte == b'=').unwrap_or(field.len());
            let (name, value) = field.split_at_checked(at).unwrap_or((field, &[]));
            (decode(name), decode(value.strip_prefix(b"=").unwrap_or(value)))
        })
}

/// Decodes once. The allocation is never outgrown, so no copy of a secret stays behind.
fn decode(text: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut decoded = Zeroizing::new(Vec::with_capacity(text.len()));
    decoded.extend(percent_decode(text).map(|byte| match byte {
        Decoded::Plain(b'+') => b' ',
        Decoded::Plain(byte) | Decoded::Escape(byte) => byte,
    }));
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r16_fields_are_decoded_once() {
        let read = |body: &str| -> Vec<(String, String)> {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            form_fields(body.as_bytes())
                .map(|(name, value)| (text(&name), text(&value)))
                .collect()
        };
        let pairs = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs
                .iter()
                .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
                .collect()
        };
        assert_eq!(
            read("user%6Eame=a+b%2Bc&&password=x=y&next&=z&p=%2525%zz%"),
            pairs(&[
                ("username", "a b+c"),
                ("password", "x=y"),
                ("next", ""),
                ("", "z"),
                ("p", "%25%zz%")
            ])
        );
        assert!(read("").is_empty());
    }
}
