//! The header by which a balancer says whose connection it passes on: the PROXY protocol, version 2
//! alone (HAProxy's proxy-protocol.txt, section 2.2). It comes before everything else, TLS included.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The longest header, in bytes: the specification lets a receiver insist that it fits into the smallest
/// TCP segment that every network has to pass (section 2.2, RFC 1122 section 4.2.2.6).
pub(crate) const HEADER_LIMIT: usize = 536;

/// What stands before the addresses, in bytes: signature, version with command, family, length.
const FIXED: usize = 16;

/// What no other protocol begins with.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// A header that says nothing about anybody.
pub(crate) const LOCAL: [u8; FIXED] = *b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// A header that is arriving.
#[derive(Debug, Default)]
pub(crate) struct HeaderScanner(Vec<u8>);

/// What the bytes so far are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scan {
    /// The beginning of a header.
    More,
    /// A whole one: the client's address, or `None` if the balancer speaks for itself.
    Done(Option<SocketAddr>),
    /// No header, or none that we take.
    Bad,
}

impl HeaderScanner {
    /// Returns how many bytes may be taken in next, at least one. What follows them may not be the
    /// header's any more.
    pub(crate) fn wanted(&self) -> usize {
        let whole = self.length().unwrap_or(FIXED);
        whole.saturating_sub(self.0.len()).max(1)
    }

    /// Says whether anything of a header has arrived.
    pub(crate) const fn has_bytes(&self) -> bool {
        !self.0.is_empty()
    }

    /// Takes in bytes, at most [`HeaderScanner::wanted`].
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Scan {
        self.0.extend_from_slice(bytes);
        let mut expected = SIGNATURE.iter().zip(&self.0);
        if !expected.all(|(expected, found)| expected == found) {
            return Scan::Bad;
        }
        match self.length() {
            Some(length) if length > HEADER_LIMIT => Scan::Bad,
            Some(length) if length <= self.0.len() => self.parse().map_or(Scan::Bad, Scan::Done),
            Some(_) | None => Scan::More,
        }
    }

    /// Returns the length of the whole header, as soon as it is known.
    fn length(&self) -> Option<usize> {
        let [high, low] = self.0.get(14..FIXED)?.try_into().ok()?;
        Some(FIXED + usize::from(u16::from_be_bytes([high, low])))
    }

    /// Reads a whole header. What stands behind the addresses (TLVs) is none of our business.
    fn parse(&self) -> Option<Option<SocketAddr>> {
        let (command, family) = (*self.0.get(12)?, *self.0.get(13)?);
        let block = self.0.get(FIXED..)?;
        match (command, family) {
            // LOCAL: whatever stands in the block is to be skipped.
            (0x20, _) => Some(None),
            // PROXY, TCP over IPv4: two addresses, two ports.
            (0x21, 0x11) => {
                let (source, port) = (array::<4>(block, 0)?, array::<2>(block, 8)?);
                block.get(..12)?;
                Some(Some(address(Ipv4Addr::from(source), port)))
            }
            // PROXY, TCP over IPv6.
            (0x21, 0x21) => {
                let (source, port) = (array::<16>(block, 0)?, array::<2>(block, 32)?);
                block.get(..36)?;
                Some(Some(address(Ipv6Addr::from(source), port)))
            }
            _ => None,
        }
    }
}

fn array<const N: usize>(block: &[u8], at: usize) -> Option<[u8; N]> {
    block.get(at..)?.first_chunk().copied()
}

fn address(ip: impl Into<IpAddr>, port: [u8; 2]) -> SocketAddr {
    SocketAddr::new(ip.into(), u16::from_be_bytes(port))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn header(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
        let length = u16::try_from(block.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, block].concat()
    }

    /// Feeds as an adapter does: never more than is wanted. Returns the verdict and what was left.
    fn scan(bytes: &[u8], step: usize) -> (Scan, usize) {
        let mut scanner = HeaderScanner::default();
        let mut rest = bytes;
        loop {
            let (taken, left) = rest.split_at(step.min(scanner.wanted()).min(rest.len()));
            let scan = scanner.push(taken);
            rest = left;
            if scan != Scan::More || rest.is_empty() {
                return (scan, rest.len());
            }
        }
    }

    const V4: [u8; 12] = [192, 0, 2, 7, 10, 0, 0, 1, 0x15, 0xB3, 1, 187];

    fn v6() -> Vec<u8> {
        let mut block = [0u8; 36];
        block[..2].copy_from_slice(&[0x20, 0x01]);
        block[15] = 7;
        block[32..34].copy_from_slice(&[0x15, 0xB3]);
        block.to_vec()
    }

    #[test]
    fn e13_the_source_is_read_and_what_follows_the_header_is_not_touched() {
        for (bytes, peer) in [
            (header(0x21, 0x11, &V4), Some("192.0.2.7:5555")),
            (header(0x21, 0x21, &v6()), Some("[2001::7]:5555")),
            (
                header(0x21, 0x11, &[&V4[..], b"\x04\0\x03abc"].concat()),
                Some("192.0.2.7:5555"),
            ),
            (header(0x20, 0x00, b""), None),
            (header(0x20, 0x11, &V4), None),
            (header(0x20, 0xFF, b"anything"), None),
            (LOCAL.to_vec(), None),
        ] {
            let expected = Scan::Done(peer.map(|text| text.parse().unwrap()));
            for step in [1, 2, 7, 16, 1000] {
                let followed = [&bytes[..], b"\x16\x03\x01"].concat();
                assert_eq!(scan(&followed, step), (expected, 3), "{peer:?}");
                assert_eq!(scan(&bytes[..bytes.len() - 1], step), (Scan::More, 0));
            }
        }
    }

    #[test]
    fn e13_a_header_has_at_most_536_bytes() {
        let padded = |length: usize| header(0x21, 0x11, &[&V4[..], &vec![0; length - FIXED - 12]].concat());
        assert!(matches!(scan(&padded(HEADER_LIMIT), 1000).0, Scan::Done(Some(_))));
        // Refused by its length, before the rest arrives.
        assert_eq!(scan(&padded(HEADER_LIMIT + 1)[..FIXED], 1000).0, Scan::Bad);
        assert_eq!(scan(&header(0x20, 0, &[0; 65_535]), 1000).0, Scan::Bad);
    }

    #[test]
    fn e13_everything_else_is_refused() {
        for bytes in [
            header(0x11, 0x11, &V4),
            header(0x22, 0x11, &V4),
            header(0x21, 0x00, b""),
            header(0x21, 0x12, &V4),
            header(0x21, 0x22, &v6()),
            header(0x21, 0x31, &[0; 216]),
            header(0x21, 0x11, &V4[..11]),
            header(0x21, 0x21, &v6()[..35]),
            b"PROXY TCP4 192.0.2.7 10.0.0.1 5555 443\r\n".to_vec(),
            b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            b"\x16\x03\x01\x02\0\x01\0\x01".to_vec(),
            b"\r\n\r\n\0\r\nQUIT\r\x21\x11\0\0".to_vec(),
        ] {
            for step in [1, 1000] {
                assert_eq!(scan(&bytes, step).0, Scan::Bad, "{}", bytes.escape_ascii());
            }
        }
    }

    #[test]
    fn e13_the_first_wrong_byte_ends_it() {
        assert_eq!(scan(b"G", 1).0, Scan::Bad);
        assert_eq!(scan(b"\r\n\r\n\0\r\nQUIT", 1).0, Scan::More);
    }
}
