//! As much of PEM (RFC 7468) and DER (X.690) as it takes to find a public key in a file.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// DER tag of an INTEGER.
pub(super) const INTEGER: u8 = 0x02;
/// DER tag of a BIT STRING.
pub(super) const BIT_STRING: u8 = 0x03;
/// DER tag of an OBJECT IDENTIFIER.
pub(super) const OBJECT_IDENTIFIER: u8 = 0x06;
/// DER tag of a SEQUENCE.
pub(super) const SEQUENCE: u8 = 0x30;
/// DER tag of the explicit `[0]` that holds a certificate's version.
pub(super) const CONTEXT_0: u8 = 0xA0;

/// One section of a PEM file.
pub(super) struct Section<'a> {
    pub(super) label: &'a str,
    pub(super) der: Vec<u8>,
}

/// Returns the sections of a PEM text in order, or `None` if one of them is broken. Text between
/// the sections is skipped, as RFC 7468 section 2 has it.
pub(super) fn sections(text: &str) -> Option<Vec<Section<'_>>> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("-----BEGIN ") {
        let (label, after) = after.split_once("-----")?;
        let (body, after) = after.split_once(&format!("-----END {label}-----"))?;
        let base64: String = body.split_ascii_whitespace().collect();
        found.push(Section {
            label,
            der: STANDARD.decode(base64).ok()?,
        });
        rest = after;
    }
    Some(found)
}

/// Reads DER values one behind the other. Every read returns `None` on anything that is not DER.
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the bytes that were not read yet.
    pub(super) const fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// Returns the tag of the next value.
    pub(super) fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// Reads the next value, whatever it is, and returns its tag and contents.
    pub(super) fn any(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, mut rest) = rest.split_first()?;
        let length = if first < 0x80 {
            usize::from(first)
        } else {
            // Four length bytes are more than a file may have; zero would be BER's indefinite form.
            let count = usize::from(first & 0x7F);
            if !(1..=4).contains(&count) {
                return None;
            }
            let (bytes, after) = rest.split_at_checked(count)?;
            rest = after;
            let length = bytes.iter().fold(0u64, |sum, &byte| sum << 8 | u64::from(byte));
            if length < 0x80 || bytes.first() == Some(&0) {
                return None;
            }
            usize::try_from(length).ok()?
        };
        let (contents, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, contents))
    }

    /// Reads the next value, which has to carry `tag`, and returns its contents.
    pub(super) fn value(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.any()
            .filter(|&(found, _)| found == tag)
            .map(|(_, contents)| contents)
    }

    /// Reads a SEQUENCE and returns a reader of its contents.
    pub(super) fn sequence(&mut self) -> Option<Self> {
        self.value(SEQUENCE).map(Reader)
    }

    /// Reads a BIT STRING of whole bytes.
    pub(super) fn bit_string(&mut self) -> Option<&'a [u8]> {
        match self.value(BIT_STRING)?.split_first()? {
            (0, bytes) => Some(bytes),
            (_, _) => None,
        }
    }

    /// Reads a non-negative INTEGER and returns its bytes without the sign byte.
    pub(super) fn unsigned(&mut self) -> Option<&'a [u8]> {
        let bytes = self.value(INTEGER)?;
        match bytes.split_first()? {
            (0, rest) if !rest.is_empty() => Some(rest),
            (first, _) if first & 0x80 != 0 => None,
            (_, _) => Some(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn pem_text_around_the_sections_is_skipped() {
        let text =
            "hello\n-----BEGIN A-----\r\nAAEC\r\n-----END A-----\n\n-----BEGIN B-----\nAw==\n-----END B-----";
        let found = sections(text).unwrap();
        let found: Vec<_> = found.iter().map(|s| (s.label, s.der.as_slice())).collect();
        assert_eq!(found, [("A", &[0, 1, 2][..]), ("B", &[3][..])]);
        assert!(sections("-----BEGIN A-----\nAAEC\n").is_none());
        assert!(sections("-----BEGIN A-----\n!\n-----END A-----").is_none());
    }

    #[test]
    fn der_lengths_are_checked() {
        assert_eq!(Reader::new(&[0x02, 0x01, 0x05]).unsigned(), Some(&[5][..]));
        assert_eq!(
            Reader::new(&[0x02, 0x02, 0x00, 0x85]).unsigned(),
            Some(&[0x85][..])
        );
        for bad in [
            &[][..],
            &[0x02],
            &[0x02, 0x02, 0x05],
            &[0x02, 0x80, 0x05, 0, 0],
            &[0x02, 0x81, 0x01, 0x05],
            &[0x02, 0x85, 1, 1, 1, 1, 1],
            &[0x02, 0x84, 0xFF, 0xFF, 0xFF, 0xFF],
            &[0x02, 0x01, 0x85],
            &[0x02, 0x00],
            &[0x03, 0x01, 0x05],
        ] {
            assert_eq!(Reader::new(bad).unsigned(), None, "{bad:?}");
        }
    }
}
