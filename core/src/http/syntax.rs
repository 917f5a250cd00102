//! Character classes of RFC 9110 and RFC 3986, and the list syntax that fields share.

/// Says whether `byte` is a `tchar` (RFC 9110 section 5.6.2).
pub const fn is_token_byte(byte: u8) -> bool {
    // Every byte has its place in the table.
    TOKEN_BYTES[byte as usize]
}

/// [`is_token_byte`] is asked about most bytes of a head, some of them several times.
static TOKEN_BYTES: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < table.len() {
        table[byte] = is_tchar(byte as u8);
        byte += 1;
    }
    table
};

const fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

/// Says whether `text` is a `token`: at least one `tchar` and nothing else (RFC 9110 section 5.6.2).
pub fn is_token(text: &[u8]) -> bool {
    // Nearly all are, so that an early end is worth less than what it costs at each byte.
    !text.is_empty() && text.iter().fold(true, |good, &byte| good & is_token_byte(byte))
}

/// Says whether both are the same but for the case of ASCII letters. It says what the standard library's
/// `eq_ignore_ascii_case` does, which goes byte by byte below sixteen: most names of fields are shorter.
pub(crate) fn is_same_ignoring_case(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let (words, _) = one.as_chunks::<8>();
    let (other_words, _) = other.as_chunks::<8>();
    // The last word overlaps the one before it where the length is no multiple of eight.
    if let (Some(last), Some(other_last)) = (one.last_chunk::<8>(), other.last_chunk::<8>()) {
        let mut pairs = words.iter().zip(other_words);
        return pairs.all(|(word, other)| is_same_word(*word, *other)) && is_same_word(*last, *other_last);
    }
    match (halves(one), halves(other)) {
        (Some(word), Some(other)) => is_same_word(word, other),
        (_, _) => one.eq_ignore_ascii_case(other),
    }
}

/// Returns the first and the last four bytes of `text`, which overlap if it has less than eight; `None` if
/// it has less than four.
fn halves(text: &[u8]) -> Option<[u8; 8]> {
    let [a, b, c, d] = *text.first_chunk::<4>()?;
    let [e, f, g, h] = *text.last_chunk::<4>()?;
    Some([a, b, c, d, e, f, g, h])
}

/// Says whether eight bytes are the same but for the case of ASCII letters.
const fn is_same_word(one: [u8; 8], other: [u8; 8]) -> bool {
    const EACH: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGH: u64 = EACH * 0x80;
    /// The bit by which a letter in upper case differs from the one in lower case.
    const CASE: u64 = EACH * 0x20;
    let one = u64::from_ne_bytes(one);
    let differing = one ^ u64::from_ne_bytes(other);
    let folded = one | CASE;
    // Without its highest bit no byte carries into the next one. The sums set it from `a` on, and behind
    // `z`; bytes that had it are no letters.
    let seven_bits = folded & !HIGH;
    let from_a = seven_bits + EACH * (0x80 - b'a' as u64);
    let behind_z = seven_bits + EACH * (0x7F - b'z' as u64);
    let letters = from_a & !behind_z & !folded & HIGH;
    // The highest bit, two places further down, is that of the case.
    differing & !(letters >> 2) == 0
}

/// Says whether `byte` may stand in a field value: HTAB, SP, VCHAR or obs-text (RFC 9110 section 5.5).
pub const fn is_value_byte(byte: u8) -> bool {
    // Without branches the compiler looks at many bytes at once.
    (byte == b'\t') | ((byte >= b' ') & (byte != 0x7F))
}

/// Returns how many bytes at the beginning of `text` may stand in a field value (RFC 9110 section 5.5).
pub(crate) fn value_run(text: &[u8]) -> usize {
    const LOW: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    // Eight at a time, up to where one of them is below the space or DEL: a borrow reaches a high bit
    // that was not set only from such a byte. A tab is for the loop behind.
    let (words, _) = text.as_chunks::<8>();
    let plain = |word: &[u8; 8]| {
        let word = u64::from_ne_bytes(*word);
        let delete = word ^ (LOW * 0x7F);
        let below = word.wrapping_sub(LOW * 0x20) & !word;
        let zero = delete.wrapping_sub(LOW) & !delete;
        (below | zero) & HIGH == 0
    };
    let words = words.iter().take_while(|word| plain(word)).count();
    let rest = text.get(words * 8..).unwrap_or_default();
    let end = rest.iter().position(|&byte| !is_value_byte(byte));
    words * 8 + end.unwrap_or(rest.len())
}

/// Appends `text` with a space for every byte that may not stand in a field value (RFC 9110 section 5.5).
pub(crate) fn put_value(out: &mut Vec<u8>, text: &[u8]) {
    // Without an early end the compiler looks at many bytes at once.
    if text.iter().fold(true, |good, &byte| good & is_value_byte(byte)) {
        out.extend_from_slice(text);
    } else {
        out.extend(
            text.iter()
                .map(|&byte| if is_value_byte(byte) { byte } else { b' ' }),
        );
    }
}

/// Appends `number` in decimal. The formatter of the standard library takes ten times as long, and
/// every answer and every line of the log has several.
pub(crate) fn put_decimal(out: &mut Vec<u8>, mut number: u64) {
    /// As many as the largest number has.
    const DIGITS: usize = 20;
    let mut digits = [b'0'; DIGITS];
    let mut length = 0;
    for place in digits.iter_mut().rev() {
        *place = b'0' + (number % 10) as u8;
        number /= 10;
        length += 1;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(DIGITS - length..).unwrap_or_default());
}

/// Says whether `byte` is `unreserved` (RFC 3986 section 2.3).
pub const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

const fn is_sub_delim(byte: u8) -> bool {
    matches!(
        byte,
        b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'='
    )
}

/// Says whether `byte` may stand in a `reg-name`, the `%` of an escape excluded (RFC 3986 section 3.2.2).
pub(crate) const fn is_reg_name_byte(byte: u8) -> bool {
    URI_BYTES[byte as usize] & REG_NAME != 0
}

/// Says whether `byte` may stand in a path, the `%` of an escape excluded (RFC 3986 section 3.3).
pub(crate) const fn is_path_byte(byte: u8) -> bool {
    URI_BYTES[byte as usize] & PATH != 0
}

/// Says whether `byte` may stand in a query, the `%` of an escape excluded (RFC 3986 section 3.4).
pub(crate) const fn is_query_byte(byte: u8) -> bool {
    URI_BYTES[byte as usize] & QUERY != 0
}

const REG_NAME: u8 = 1;
const PATH: u8 = 2;
const QUERY: u8 = 4;

/// Where in a URI each byte may stand.
static URI_BYTES: [u8; 256] = {
    let mut table = [0; 256];
    let mut place = 0;
    while place < table.len() {
        let byte = place as u8;
        table[place] = if is_unreserved(byte) || is_sub_delim(byte) {
            REG_NAME | PATH | QUERY
        } else if matches!(byte, b':' | b'@' | b'/') {
            PATH | QUERY
        } else if byte == b'?' {
            QUERY
        } else {
            0
        };
        place += 1;
    }
    table
};

/// Says whether every byte of `text` is in `class`, which `%` never is, or part of a well-formed
/// percent-escape.
pub(crate) fn is_escaped(text: &[u8], class: impl Fn(u8) -> bool) -> bool {
    let mut rest = text;
    while let Some(at) = rest.iter().position(|&byte| !class(byte)) {
        match rest.get(at..) {
            Some([b'%', high, low, behind @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                rest = behind;
            }
            Some(_) | None => return false,
        }
    }
    true
}

/// Splits `text` at the first `byte`, an ASCII one. Names of hosts and paths are short: a search for a
/// `char` costs more than it takes to look at all of their bytes.
pub(crate) fn split_at_byte(text: &str, byte: u8) -> Option<(&str, &str)> {
    let at = text.bytes().position(|other| other == byte)?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

/// Returns the value of a hexadecimal digit.
pub(crate) const fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// A byte of percent-encoded text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decoded {
    /// Stood there itself.
    Plain(u8),
    /// Was written as `%` and two digits.
    Escape(u8),
}

/// Reads percent-encoded text byte by byte. A `%` without two digits behind it stands for itself;
/// a [`Target`](super::Target) has none of those.
pub(crate) fn percent_decode(text: &[u8]) -> impl Iterator<Item = Decoded> + '_ {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (&first, after) = rest.split_first()?;
        if first == b'%'
            && let Some((&[high, low], behind)) = after.split_first_chunk::<2>()
            && let (Some(high), Some(low)) = (hex_value(high), hex_value(low))
        {
            rest = behind;
            return Some(Decoded::Escape(high << 4 | low));
        }
        rest = after;
        Some(Decoded::Plain(first))
    })
}

/// Strips optional white space, SP and HTAB, from both ends (RFC 9110 section 5.6.3).
pub fn trim_ows(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// Yields the members of one comma-separated field value, trimmed, without the empty ones, which a
/// recipient has to ignore (RFC 9110 section 5.6.1.2). Commas in quoted strings separate too: only
/// lists of tokens are read with this.
pub fn list_items(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|&byte| byte == b',')
        .map(trim_ows)
        .filter(|item| !item.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_not_empty_and_have_no_separators() {
        assert!(is_token(b"permessage-deflate") && is_token(b"!#$%&'*+-.^_`|~"));
        for bad in [
            &b""[..],
            b"a b",
            b"a/b",
            b"a=b",
            b"a,",
            b"\xC3\xA9",
            b"a\0",
            b"(a)",
            b"\"a\"",
            b"a:",
            b"a@b",
        ] {
            assert!(!is_token(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_run_of_value_bytes_ends_where_the_first_other_byte_is() {
        for byte in 0..=255u8 {
            for before in 0..20 {
                for around in *b"\t ~\x80\xFF" {
                    let mut text = vec![around; 24];
                    text[before] = byte;
                    let expected = text.iter().position(|&byte| !is_value_byte(byte));
                    assert_eq!(value_run(&text), expected.unwrap_or(24), "{text:?}");
                }
            }
        }
        assert_eq!(value_run(b""), 0);
    }

    #[test]
    fn case_is_ignored_as_the_standard_library_does() {
        let text = b"Sec-WebSocket-Version";
        for length in 0..=text.len() {
            for at in 0..length {
                for byte in 0..=255u8 {
                    let (mut one, mut other) = (text[..length].to_vec(), text[..length].to_vec());
                    one[at] = byte;
                    for change in [0, 0x20, 0x80, 1] {
                        other[at] = byte ^ change;
                        assert_eq!(
                            is_same_ignoring_case(&one, &other),
                            one.eq_ignore_ascii_case(&other),
                            "{one:?} {other:?}"
                        );
                    }
                }
            }
            assert!(is_same_ignoring_case(
                &text[..length].to_ascii_lowercase(),
                &text[..length].to_ascii_uppercase()
            ));
            assert!(!is_same_ignoring_case(&text[..length], b"Sec-WebSocket-Version-"));
        }
    }

    #[test]
    fn escapes_need_two_digits() {
        assert!(is_escaped(b"a%2Fb", is_path_byte));
        for bad in [&b"%"[..], b"%2", b"%2g", b"%%20", b"a b"] {
            assert!(!is_escaped(bad, is_path_byte), "{bad:?}");
        }
        let read: Vec<_> = percent_decode(b"%41%%4").collect();
        assert_eq!(
            read,
            [
                Decoded::Escape(b'A'),
                Decoded::Plain(b'%'),
                Decoded::Plain(b'%'),
                Decoded::Plain(b'4')
            ]
        );
    }

    #[test]
    fn numbers_and_values_as_text() {
        for number in [0, 7, 10, 401, 65_535, u64::MAX] {
            let mut out = b"=".to_vec();
            put_decimal(&mut out, number);
            assert_eq!(out, format!("={number}").as_bytes());
        }
        let mut out = Vec::new();
        put_value(&mut out, b"a\tb\xE9");
        put_value(&mut out, b"c\r\nd\x7F");
        assert_eq!(out, b"a\tb\xE9c  d ");
    }

    #[test]
    fn lists_ignore_empty_members() {
        let items: Vec<_> = list_items(b" , a ,,\tb c,").collect();
        assert_eq!(items, [&b"a"[..], b"b c"]);
    }
}
