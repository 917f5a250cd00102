//! The fields of a request head.

use std::fmt;

use super::syntax::{is_same_ignoring_case, list_items, trim_ows};
use crate::secret::Secret;

/// Why a field that may stand once cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldError {
    /// The field stands more than once, equal values included.
    Duplicate,
    /// The value is not UTF-8.
    NotText,
}

/// The fields of one head, in the order they arrived. The bytes are zeroed when it is dropped, and
/// `Debug` prints their number alone.
pub struct Fields {
    bytes: Secret<Vec<u8>>,
    lines: Vec<Line>,
    /// A bit for each name that is there, of [`bit`]. Most fields that are looked for are not, and then
    /// no line is looked at.
    names: u64,
}

/// Where name and value of one field stand in the bytes of the head.
#[derive(Clone, Copy, Default)]
pub(super) struct Line {
    pub(super) name: Span,
    pub(super) value: Span,
}

/// Where something stands in the bytes of a head; half the size of a range of `usize`. What would stand
/// beyond 4 GiB stands nowhere.
#[derive(Clone, Copy, Default)]
pub(super) struct Span {
    start: u32,
    length: u32,
}

impl Span {
    pub(super) fn of(start: usize, end: usize) -> Self {
        let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Self {
            start: place(start),
            length: place(end.saturating_sub(start)),
        }
    }

    const fn end(self) -> usize {
        self.start as usize + self.length as usize
    }

    /// Returns what begins where this does and ends at `end`.
    pub(super) fn until(self, end: usize) -> Self {
        Self::of(self.start as usize, end)
    }

    /// Returns what begins `gap` bytes behind this and ends at `end`.
    pub(super) fn next(self, gap: usize, end: usize) -> Self {
        Self::of(self.end() + gap, end)
    }

    /// Returns what stands before this, but for `gap` bytes.
    pub(super) const fn before(self, gap: u32) -> Self {
        Self {
            start: 0,
            length: self.start.saturating_sub(gap),
        }
    }

    const fn length(self) -> usize {
        self.length as usize
    }

    pub(super) fn in_bytes(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.start as usize..self.end()).unwrap_or_default()
    }
}

/// Returns the bit of a field's name: the same for names that differ in case alone.
const fn bit(name: &[u8]) -> u64 {
    match name.first() {
        Some(first) => 1 << (((*first | 0x20) as usize * 5 + name.len()) % 64),
        None => 0,
    }
}

impl Fields {
    pub(super) fn new(bytes: Secret<Vec<u8>>, lines: Vec<Line>) -> Self {
        let names = lines.iter().map(|line| bit(line.name.in_bytes(bytes.expose())));
        let names = names.fold(0, |names, bit| names | bit);
        Self { bytes, lines, names }
    }

    /// Yields name, as it arrived, and value, without the white space around it, of each field line.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.lines.iter().map(|line| {
            let name = str::from_utf8(self.slice(line.name)).unwrap_or_default();
            (name, self.value(line))
        })
    }

    /// Yields the value of every line whose name is `name`, ignoring case.
    pub fn get_all<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        let wanted = name.as_bytes();
        let lines = if self.names & bit(wanted) == 0 {
            &[]
        } else {
            self.lines.as_slice()
        };
        // Compared as bytes, and only where the length is the same.
        lines
            .iter()
            .filter(move |line| {
                line.name.length() == wanted.len() && is_same_ignoring_case(self.slice(line.name), wanted)
            })
            .map(|line| self.value(line))
    }

    /// Returns the value of the field `name` that may stand once, none if it is missing.
    ///
    /// # Errors
    /// The field stands more than once, or its value is not UTF-8.
    pub fn single(&self, name: &str) -> Result<Option<&str>, FieldError> {
        let mut values = self.get_all(name);
        let Some(value) = values.next() else {
            return Ok(None);
        };
        if values.next().is_some() {
            return Err(FieldError::Duplicate);
        }
        str::from_utf8(value).map(Some).map_err(|_| FieldError::NotText)
    }

    /// Says whether a line with the name `name` is there, ignoring case.
    pub fn has(&self, name: &str) -> bool {
        self.get_all(name).next().is_some()
    }

    /// Yields the members of the comma-separated list `name`, over all its lines, in order and
    /// without empty ones (RFC 9110 section 5.6.1.2).
    pub fn list<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.get_all(name).flat_map(list_items)
    }

    /// Says whether the list `name` has the whole member `token`, ignoring case.
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        let wanted = |item: &[u8]| is_same_ignoring_case(item, token.as_bytes());
        // Most lists have one member: they are not taken apart.
        self.get_all(name)
            .any(|value| wanted(value) || (value.contains(&b',') && list_items(value).any(wanted)))
    }

    /// Returns the value of a line without the white space around it (RFC 9110 section 5.5).
    fn value(&self, line: &Line) -> &[u8] {
        trim_ows(self.slice(line.value))
    }

    fn slice(&self, span: Span) -> &[u8] {
        span.in_bytes(self.bytes.expose())
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fields({})", self.lines.len())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::http::{HeadLimits, RequestHead};

    fn head(fields: &str) -> RequestHead {
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        RequestHead::parse(head.as_bytes(), HeadLimits::default()).unwrap()
    }

    #[test]
    fn names_ignore_case_and_values_are_trimmed() {
        let head = head("X-A: \t one \t\r\nx-a:two\r\nEmpty:\r\nBlank:  \t \r\n");
        let fields = head.fields();
        assert_eq!(fields.get_all("X-a").collect::<Vec<_>>(), [&b"one"[..], b"two"]);
        assert_eq!(fields.single("x-a"), Err(FieldError::Duplicate));
        assert_eq!(fields.single("HOST"), Ok(Some("a")));
        assert_eq!(fields.single("empty"), Ok(Some("")));
        assert_eq!(fields.single("blank"), Ok(Some("")));
        assert_eq!(fields.single("none"), Ok(None));
        assert_eq!(fields.iter().count(), 5);
    }

    #[test]
    fn names_that_share_a_bit_are_told_apart() {
        let known = [
            "origin",
            "cookie",
            "authorization",
            "x-token",
            "Upgrade",
            "^",
            "~",
        ];
        for name in known {
            let head = head(&format!("{name}: one\r\n"));
            for other in known {
                assert_eq!(head.fields().has(other), name == other, "{name} {other}");
            }
            assert!(
                head.fields().has(&name.to_ascii_uppercase())
                    && head.fields().has(&name.to_ascii_lowercase())
            );
        }
        assert_eq!(bit(b"^"), bit(b"~"), "only a hint");
        assert!(!head("").fields().has(""));
    }

    #[test]
    fn obs_text_is_kept_but_is_no_text() {
        let head = [
            &b"GET / HTTP/1.1\r\nHost: a\r\nX: caf\xE9\r\nY: caf"[..],
            "é".as_bytes(),
            b"\r\n\r\n",
        ]
        .concat();
        let head = RequestHead::parse(&head, HeadLimits::default()).unwrap();
        assert_eq!(head.fields().get_all("x").next().unwrap(), b"caf\xE9");
        assert_eq!(head.fields().single("x"), Err(FieldError::NotText));
        assert_eq!(head.fields().single("y"), Ok(Some("café")));
    }

    #[test]
    fn list_members_are_whole() {
        let head = head("Connection: keep-alive, xupgrade\r\nConnection: ,UPGRADE ,close\r\n");
        let fields = head.fields();
        assert!(fields.has_token("connection", "upgrade") && fields.has_token("connection", "close"));
        assert!(!fields.has_token("connection", "alive"));
        assert_eq!(fields.list("connection").count(), 4);
    }

    #[test]
    fn r10_debug_shows_no_field() {
        let shown = format!("{:?}", head("Authorization: Bearer s3cret\r\n").fields());
        assert_eq!(shown, "Fields(2)");
    }
}
