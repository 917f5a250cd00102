//! The short way through a head that arrives in one piece, as nearly all do.

use zeroize::Zeroizing;

use super::{FIELD_LIMIT, FIRST_LINES, HeadScanner, Places, State};
use crate::http::fields::{Line, Span};
use crate::http::syntax::{is_query_byte, is_token_byte, value_run};

impl HeadScanner {
    /// Takes `bytes` if they are one whole head, nothing before and nothing behind it, that the states
    /// would let pass: in the origin form, of version 1.1, within the limits. Returns their number. In
    /// everything else nothing is changed, and it is left to the states to say what is wrong, and where:
    /// this takes less than they do and refuses nothing.
    pub(super) fn whole(&mut self, bytes: &[u8]) -> Option<usize> {
        // Cheap to see, and what is not the last portion is not looked at twice.
        if !matches!(self.state, State::Start { empty_line: true })
            || bytes.len() > self.limits.head
            || !bytes.ends_with(b"\r\n\r\n")
        {
            return None;
        }
        let places = places(bytes, self.limits.request_line)?;
        self.buffer.0 = Zeroizing::new(bytes.to_vec());
        self.places = places;
        (self.major, self.minor) = (1, 1);
        self.seen = bytes.len();
        self.kept = bytes.len();
        self.state = State::Done;
        Some(bytes.len())
    }
}

/// Returns where the parts of the head `bytes` stand, if it is one that the short way is for.
fn places(bytes: &[u8], request_line: usize) -> Option<Places> {
    let method = run(bytes, is_token_byte);
    let rest = behind(bytes, method)?.strip_prefix(b" ")?;
    let target = target(rest)?;
    let mut rest = behind(rest, target)?.strip_prefix(b" HTTP/1.1\r\n")?;
    let at = |rest: &[u8]| bytes.len() - rest.len();
    if method == 0 || at(rest) - 2 > request_line {
        return None;
    }
    let target = Span::of(method + 1, method + 1 + target);
    let mut lines = Vec::with_capacity(FIRST_LINES);
    while rest != b"\r\n" {
        let (start, name) = (at(rest), run(rest, is_token_byte));
        let value = behind(rest, name)?.strip_prefix(b":")?;
        let length = value_run(value);
        if name == 0 || lines.len() >= FIELD_LIMIT {
            return None;
        }
        let name = Span::of(start, start + name);
        let value_end = at(value) + length;
        lines.push(Line {
            name,
            value: name.next(1, value_end),
        });
        rest = behind(value, length)?.strip_prefix(b"\r\n")?;
    }
    Some(Places {
        target,
        lines,
        name: Span::default(),
    })
}

/// Returns the length of a target in the origin form, if one begins here.
fn target(bytes: &[u8]) -> Option<usize> {
    if bytes.first() != Some(&b'/') {
        return None;
    }
    let mut length = 0;
    loop {
        length += run(behind(bytes, length)?, is_query_byte);
        match behind(bytes, length)? {
            [b'%', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => length += 3,
            _ => return Some(length),
        }
    }
}

/// Returns how many bytes at the beginning are in `class`.
fn run(bytes: &[u8], class: impl Fn(u8) -> bool) -> usize {
    let end = bytes.iter().position(|&byte| !class(byte));
    end.unwrap_or(bytes.len())
}

fn behind(bytes: &[u8], length: usize) -> Option<&[u8]> {
    bytes.get(length..)
}
