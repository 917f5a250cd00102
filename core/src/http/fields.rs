//! The fields of a request head.

use std::fmt;
use std::ops::Range;

use super::syntax::{list_items, trim_ows};
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
}

/// Where name and value of one field stand in the bytes of the head.
#[derive(Clone)]
pub(super) struct Line {
    pub(super) name: Range<usize>,
    pub(super) value: Range<usize>,
}

impl Fields {
    pub(super) const fn new(bytes: Secret<Vec<u8>>, lines: Vec<Line>) -> Self {
        Self { bytes, lines }
    }

    /// Yields name, as it arrived, and value, without the white space around it, of each field line.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.lines.iter().map(|line| {
            let name = str::from_utf8(self.slice(&line.name)).unwrap_or_default();
            (name, trim_ows(self.slice(&line.value)))
        })
    }

    /// Yields the value of every line whose name is `name`, ignoring case.
    pub fn get_all<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        let wanted = name.as_bytes();
        // Compared as bytes: a dozen look-ups for each head read every name.
        self.lines
            .iter()
            .filter(move |line| self.slice(&line.name).eq_ignore_ascii_case(wanted))
            .map(|line| trim_ows(self.slice(&line.value)))
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
        self.list(name)
            .any(|item| item.eq_ignore_ascii_case(token.as_bytes()))
    }

    fn slice(&self, range: &Range<usize>) -> &[u8] {
        self.bytes.expose().get(range.clone()).unwrap_or_default()
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
