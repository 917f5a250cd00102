//! Messages on the wire (RFC 4511 section 5.1): lengths and nesting are checked before lber sees
//! what a server says, for lber calls itself once per level and believes every length.

use lber::common::TagClass;
use lber::parse::parse_tag;
use lber::structure::{PL, StructureTag};

use super::super::Fault;

/// Largest message that is read, in bytes, its own header included: an entry with one attribute has
/// a few hundred.
pub(super) const MESSAGE_BYTES: usize = 256 * 1024;

/// The most bytes of one conversation: some messages of every search may be as large as they can be.
pub(super) const CONVERSATION_BYTES: usize = 4 * MESSAGE_BYTES;

/// Deepest nesting of a message; an entry has five levels.
pub(super) const NESTING: usize = 16;

/// The most elements of one message: each costs some forty bytes once it is read.
pub(super) const ELEMENTS: usize = 8192;

/// The tag of a SEQUENCE, constructed.
pub(super) const SEQUENCE: u8 = 0x30;

/// Says of a tag that elements are inside.
const CONSTRUCTED: u8 = 0x20;

/// Tag numbers from 31 on take more bytes, in BER; LDAP has none, and lber misreads them.
const LONG_TAG: u8 = 0x1f;

/// Says of a length that it is written in so many bytes behind.
const LONG_LENGTH: u8 = 0x80;

/// The most bytes of a length: some servers write four whatever the length is.
const LENGTH_BYTES: usize = 4;

/// What was heard and is no whole message yet.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    heard: Vec<u8>,
    /// How much was heard in the whole conversation, in bytes.
    total: usize,
}

impl Inbox {
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.total = self.total.saturating_add(bytes.len());
        if self.total > CONVERSATION_BYTES {
            return Err(Fault::Unusable);
        }
        self.heard.extend_from_slice(bytes);
        Ok(())
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.heard.is_empty()
    }

    /// Returns how many bytes are kept.
    pub(super) const fn held(&self) -> usize {
        self.heard.len()
    }

    /// Takes the next whole message out.
    pub(super) fn next(&mut self) -> Result<Option<StructureTag>, Fault> {
        let Some(length) = message_length(&self.heard)? else {
            return Ok(None);
        };
        let Some(message) = self.heard.get(..length) else {
            return Ok(None);
        };
        check(message)?;
        let (rest, tag) = parse_tag(message).map_err(|_| Fault::Unusable)?;
        if !rest.is_empty() {
            return Err(Fault::Unusable);
        }
        self.heard.drain(..length);
        Ok(Some(tag))
    }
}

/// Returns the length of the message at the beginning of `bytes`, header included, once it is known.
fn message_length(bytes: &[u8]) -> Result<Option<usize>, Fault> {
    match bytes.first() {
        None => return Ok(None),
        Some(&SEQUENCE) => {}
        Some(_) => return Err(Fault::Unusable),
    }
    let Some((header, length)) = element_length(bytes)? else {
        return Ok(None);
    };
    match header + length {
        whole if whole <= MESSAGE_BYTES => Ok(Some(whole)),
        _ => Err(Fault::Unusable),
    }
}

/// Returns the lengths of the header and of the contents of the element that `bytes` begin with.
/// Both together fit a `usize`.
fn element_length(bytes: &[u8]) -> Result<Option<(usize, usize)>, Fault> {
    let (Some(tag), Some(&first)) = (bytes.first(), bytes.get(1)) else {
        return Ok(None);
    };
    if tag & LONG_TAG == LONG_TAG {
        return Err(Fault::Unusable);
    }
    if first < LONG_LENGTH {
        return Ok(Some((2, usize::from(first))));
    }
    // RFC 4511 section 5.1: only the definite form is used, so there is one byte at least.
    let count = usize::from(first - LONG_LENGTH);
    if count == 0 || count > LENGTH_BYTES {
        return Err(Fault::Unusable);
    }
    let Some(digits) = bytes.get(2..2 + count) else {
        return Ok(None);
    };
    let length = digits
        .iter()
        .fold(0u32, |length, digit| length << 8 | u32::from(*digit));
    match usize::try_from(length) {
        Ok(length) if length <= MESSAGE_BYTES => Ok(Some((2 + count, length))),
        Ok(_) | Err(_) => Err(Fault::Unusable),
    }
}

/// Checks that every element of a whole message ends inside the one around it, and that there are
/// neither too many of them nor too many levels.
fn check(message: &[u8]) -> Result<(), Fault> {
    // Where the elements end that are open at `at`, the outermost first.
    let mut ends: Vec<usize> = Vec::with_capacity(NESTING);
    let mut at = 0;
    let mut elements = 0;
    while at < message.len() {
        while ends.last() == Some(&at) {
            ends.pop();
        }
        elements += 1;
        let around = ends.last().copied().unwrap_or(message.len());
        let inside = message.get(at..around).ok_or(Fault::Unusable)?;
        let (header, length) = element_length(inside)?.ok_or(Fault::Unusable)?;
        let end = at + header + length;
        if end > around || elements > ELEMENTS {
            return Err(Fault::Unusable);
        }
        at += header;
        if inside.first().is_some_and(|tag| tag & CONSTRUCTED != 0) {
            if ends.len() >= NESTING {
                return Err(Fault::Unusable);
            }
            ends.push(end);
        } else {
            at = end;
        }
    }
    Ok(())
}

/// Returns the elements inside of a constructed element.
pub(super) fn inside(tag: StructureTag, class: TagClass, id: u64) -> Result<Vec<StructureTag>, Fault> {
    match tag.payload {
        PL::C(elements) if tag.class == class && tag.id == id => Ok(elements),
        PL::C(_) | PL::P(_) => Err(Fault::Unusable),
    }
}

/// Returns the octets of a primitive element.
pub(super) fn octets(tag: StructureTag, class: TagClass, id: u64) -> Result<Vec<u8>, Fault> {
    match tag.payload {
        PL::P(octets) if tag.class == class && tag.id == id => Ok(octets),
        PL::P(_) | PL::C(_) => Err(Fault::Unusable),
    }
}

/// Returns the value of an INTEGER or ENUMERATED from 0 to 2^31 - 1: LDAP sends no others.
pub(super) fn number(octets: &[u8]) -> Result<u32, Fault> {
    match octets {
        [first, ..] if octets.len() <= 4 && *first < 0x80 => Ok(octets
            .iter()
            .fold(0, |value, digit| value << 8 | u32::from(*digit))),
        _ => Err(Fault::Unusable),
    }
}

/// Writes an element around what `contents` writes.
///
/// lber's own writer copies what it writes once per level, and leaves the copies of a password behind
/// in memory. Here nothing is copied as long as `out` has room for all of it.
pub(super) fn element(out: &mut Vec<u8>, tag: u8, contents: impl FnOnce(&mut Vec<u8>)) {
    out.push(tag);
    let start = out.len();
    contents(out);
    let length = out.len() - start;
    let digits = length.to_be_bytes();
    let digits = digits.into_iter().skip_while(|digit| *digit == 0);
    match u8::try_from(length) {
        Ok(short) if short < LONG_LENGTH => out.insert(start, short),
        Ok(_) | Err(_) => {
            let count = digits.clone().fold(LONG_LENGTH, |count, _| count + 1);
            drop(out.splice(start..start, std::iter::once(count).chain(digits)));
        }
    }
}

/// Writes an element with these octets.
pub(super) fn primitive(out: &mut Vec<u8>, tag: u8, octets: &[u8]) {
    element(out, tag, |out| out.extend_from_slice(octets));
}

/// Writes an INTEGER or ENUMERATED in as few bytes as there can be.
pub(super) fn write_number(out: &mut Vec<u8>, tag: u8, value: u32) {
    // One more byte in front, or the highest bit would be read as a sign.
    let digits = u64::from(value).to_be_bytes();
    let at = digits.windows(2).position(|pair| !matches!(pair, [0, 0..=0x7f]));
    primitive(
        out,
        tag,
        digits.get(at.unwrap_or(digits.len() - 1)..).unwrap_or_default(),
    );
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn written(length: usize) -> Vec<u8> {
        let mut out = Vec::new();
        primitive(&mut out, 0x04, &vec![b'x'; length]);
        out
    }

    fn heard(bytes: &[u8]) -> Result<Option<StructureTag>, Fault> {
        let mut inbox = Inbox::default();
        inbox.push(bytes)?;
        inbox.next()
    }

    /// A message of `levels` nested sequences.
    fn nested(levels: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        for _ in 0..levels {
            let inner = std::mem::take(&mut bytes);
            primitive(&mut bytes, SEQUENCE, &inner);
        }
        bytes
    }

    #[test]
    fn lengths_are_written_in_the_shortest_form() {
        for (length, header) in [
            (0, &[4, 0][..]),
            (127, &[4, 127]),
            (128, &[4, 0x81, 128]),
            (255, &[4, 0x81, 255]),
            (256, &[4, 0x82, 1, 0]),
            (65536, &[4, 0x83, 1, 0, 0]),
        ] {
            let written = written(length);
            assert_eq!(written.len(), header.len() + length);
            assert!(written.starts_with(header));
        }
    }

    #[test]
    fn numbers_are_written_and_read() {
        for (value, octets) in [
            (0, &[0][..]),
            (1, &[1]),
            (127, &[127]),
            (128, &[0, 128]),
            (255, &[0, 255]),
            (256, &[1, 0]),
            (0x7fff_ffff, &[0x7f, 0xff, 0xff, 0xff]),
        ] {
            let mut out = Vec::new();
            write_number(&mut out, 2, value);
            assert_eq!(out.get(2..).unwrap(), octets, "{value}");
            assert_eq!(number(octets), Ok(value));
        }
        for octets in [&[][..], &[0x80], &[0xff], &[0, 0, 0, 0, 1]] {
            assert_eq!(number(octets), Err(Fault::Unusable));
        }
    }

    #[test]
    fn m24_a_message_is_taken_when_it_is_whole() {
        let bytes = [nested(3), nested(2)].concat();
        let mut inbox = Inbox::default();
        let mut taken = 0;
        for byte in &bytes {
            inbox.push(&[*byte]).unwrap();
            taken += usize::from(inbox.next().unwrap().is_some());
        }
        assert!(taken == 2 && inbox.is_empty());
        // Four bytes of length for two of contents, as some servers write them.
        assert!(heard(&[0x30, 0x84, 0, 0, 0, 2, 4, 0]).unwrap().is_some());
    }

    #[test]
    fn m24_messages_are_bounded_before_they_are_read() {
        let large = |whole: usize| {
            let mut bytes = Vec::new();
            element(&mut bytes, SEQUENCE, |out| {
                primitive(out, 4, &vec![0; whole - 10])
            });
            bytes
        };
        assert_eq!(large(MESSAGE_BYTES).len(), MESSAGE_BYTES);
        assert!(heard(&large(MESSAGE_BYTES)).unwrap().is_some());
        assert_eq!(heard(&large(MESSAGE_BYTES + 1)), Err(Fault::Unusable));
        // A length alone is enough: nothing is waited for.
        assert_eq!(heard(&[0x30, 0x84, 0x7f, 0xff, 0xff, 0xff]), Err(Fault::Unusable));

        assert!(heard(&nested(NESTING)).unwrap().is_some());
        assert_eq!(heard(&nested(NESTING + 1)), Err(Fault::Unusable));
        assert_eq!(heard(&nested(6_000)), Err(Fault::Unusable));

        let many = |elements: usize| {
            let mut bytes = Vec::new();
            primitive(&mut bytes, SEQUENCE, &[4, 0].repeat(elements - 1));
            bytes
        };
        assert!(heard(&many(ELEMENTS)).unwrap().is_some());
        assert_eq!(heard(&many(ELEMENTS + 1)), Err(Fault::Unusable));

        let mut inbox = Inbox::default();
        inbox.push(&vec![0; CONVERSATION_BYTES]).unwrap();
        assert_eq!(inbox.push(&[0]), Err(Fault::Unusable));
    }

    #[test]
    fn m24_what_is_no_message_is_refused() {
        for bytes in [
            &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
            &[0x31, 0],
            // The indefinite form.
            &[0x30, 0x80, 0, 0],
            // A length of five bytes.
            &[0x30, 0x85, 0, 0, 0, 0, 0],
            // Contents that end behind what is around them.
            &[0x30, 2, 4, 1],
            &[0x30, 4, 0x30, 3, 4, 0],
            &[0x30, 4, 0x30, 1, 4, 0],
            // Half a header.
            &[0x30, 1, 4],
            &[0x30, 2, 4, 0x81],
            // A tag number of several bytes.
            &[0x30, 3, 0x1f, 0x81, 0],
            &[0x30, 2, 0x3f, 0],
        ] {
            assert_eq!(heard(bytes), Err(Fault::Unusable), "{bytes:x?}");
        }
    }
}
