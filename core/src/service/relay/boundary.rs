//! Where frames end in what an upstream sends (RFC 6455 section 5.2). Only opcode and length are read:
//! payloads may be compressed, and are nobody's business here.

/// The longest header: 2 bytes, 8 of extended length, 4 of a mask that no server should send.
const HEADER_MAX: usize = 14;

/// The opcode of Close.
const CLOSE: u8 = 0x8;

/// The opcode of Pong.
const PONG: u8 = 0xA;

/// A Close without a code (RFC 6455 section 7.1.5).
const NO_CODE: u16 = 1005;

/// Follows the frames of one stream. It takes any bytes: what is no frame ends nowhere in particular,
/// and the deadline of whoever waits for the end holds.
#[derive(Clone, Debug, Default)]
pub struct Boundary {
    /// The header of the frame that is arriving, as far as it is there.
    header: [u8; HEADER_MAX],
    header_len: usize,
    /// Bytes of its payload that are still to come.
    payload_left: u64,
    closing: Closing,
}

/// How far the upstream's own Close has arrived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Closing {
    #[default]
    No,
    /// Its payload is arriving: so many bytes of the code were read, and this is their value.
    Code(u8, u16),
    /// It is whole, with this code.
    Done(u16),
}

impl Boundary {
    /// Says whether the bytes so far end with a whole frame.
    pub const fn is_here(&self) -> bool {
        self.header_len == 0 && self.payload_left == 0
    }

    /// Says whether the frame that arrived last, or is arriving, is a Pong.
    pub const fn is_pong(&self) -> bool {
        self.header[0] & 0x0F == PONG
    }

    /// Returns the code of the upstream's Close, once it is whole: 1005 if it has none.
    pub const fn closed(&self) -> Option<u16> {
        match self.closing {
            Closing::Done(code) => Some(code),
            Closing::No | Closing::Code(..) => None,
        }
    }

    /// Follows all of `bytes`.
    pub fn pass(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let used = self.to_end(rest);
            rest = rest.get(used..).unwrap_or_default();
        }
    }

    /// Follows `bytes` up to the end of the frame that they belong to, and returns how many that are:
    /// all of them if it does not end there. It is at least one, unless there are none.
    pub fn to_end(&mut self, bytes: &[u8]) -> usize {
        let mut used = 0;
        while let Some(rest) = bytes.get(used..).filter(|rest| !rest.is_empty()) {
            if self.payload_left > 0 {
                let step = usize::try_from(self.payload_left).map_or(rest.len(), |left| left.min(rest.len()));
                self.read_code(rest.get(..step).unwrap_or_default());
                used += step;
                self.payload_left -= step as u64;
            } else {
                let Some(&byte) = rest.first() else { break };
                if let Some(place) = self.header.get_mut(self.header_len) {
                    *place = byte;
                }
                self.header_len += 1;
                used += 1;
                let Some(payload) = self.payload() else { continue };
                self.header_len = 0;
                self.payload_left = payload;
                if self.header[0] & 0x0F == CLOSE && self.closed().is_none() {
                    self.closing = Closing::Code(0, 0);
                }
            }
            if self.is_here() {
                if let Closing::Code(read, code) = self.closing {
                    self.closing = Closing::Done(if read == 2 { code } else { NO_CODE });
                }
                return used;
            }
        }
        used
    }

    /// Returns the length of the payload, once the header is whole.
    fn payload(&self) -> Option<u64> {
        let have = self.header.get(..self.header_len.min(HEADER_MAX))?;
        let [_, second, rest @ ..] = have else { return None };
        let (length, extended) = match second & 0x7F {
            126 => (u64::from(u16::from_be_bytes(*rest.first_chunk::<2>()?)), 2),
            127 => (u64::from_be_bytes(*rest.first_chunk::<8>()?), 8),
            short => (u64::from(short), 0),
        };
        let mask = if second & 0x80 != 0 { 4 } else { 0 };
        (rest.len() >= extended + mask).then_some(length)
    }

    fn read_code(&mut self, payload: &[u8]) {
        for byte in payload {
            match self.closing {
                Closing::Code(read @ 0..2, code) => {
                    self.closing = Closing::Code(read + 1, code << 8 | u16::from(*byte));
                }
                Closing::No | Closing::Code(..) | Closing::Done(_) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(first: u8, length: usize) -> Vec<u8> {
        let mut bytes = vec![first];
        match length {
            0..126 => bytes.push(length as u8),
            126..65536 => {
                bytes.push(126);
                bytes.extend_from_slice(&(length as u16).to_be_bytes());
            }
            _ => {
                bytes.push(127);
                bytes.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        bytes.resize(bytes.len() + length, 0x88);
        bytes
    }

    #[test]
    fn m18_frames_end_where_they_end_whatever_the_split() {
        // A control frame in the middle of a message, reserved bits as compression sets them.
        let frames = [
            frame(0x41, 5),
            frame(0x89, 0),
            frame(0x00, 300),
            frame(0x8A, 125),
            frame(0x80, 70_000),
        ];
        let stream = frames.concat();
        let mut ends = Vec::new();
        for frame in &frames {
            ends.push(ends.last().unwrap_or(&0) + frame.len());
        }
        for chunk in [1, 2, 3, 7, 100, 70_000, stream.len()] {
            let (mut boundary, mut at, mut found) = (Boundary::default(), 0, Vec::new());
            for part in stream.chunks(chunk) {
                let mut rest = part;
                while !rest.is_empty() {
                    let used = boundary.to_end(rest);
                    assert!(used > 0);
                    at += used;
                    rest = &rest[used..];
                    if boundary.is_here() {
                        found.push(at);
                    }
                }
            }
            assert_eq!(found, ends, "in parts of {chunk}");
        }
    }

    #[test]
    fn r14_the_upstreams_close_is_known_when_it_is_whole() {
        let close = [&[0x88, 5, 0x03, 0xE9][..], b"bye"].concat();
        for (bytes, code) in [
            (close.as_slice(), 1001),
            (&[0x88, 0][..], 1005),
            (&[0x88, 1, 7][..], 1005),
        ] {
            let mut boundary = Boundary::default();
            boundary.pass(&frame(0x82, 10));
            for byte in &bytes[..bytes.len() - 1] {
                boundary.pass(&[*byte]);
                assert_eq!(boundary.closed(), None);
            }
            boundary.pass(&bytes[bytes.len() - 1..]);
            assert_eq!(boundary.closed(), Some(code));
            boundary.pass(&close);
            assert_eq!(boundary.closed(), Some(code), "the first counts");
        }
    }

    #[test]
    fn e15_the_longest_frame_that_can_be_announced_never_ends() {
        let mut boundary = Boundary::default();
        let mut bytes = vec![0x82, 0xFF];
        bytes.extend_from_slice(&[0xFF; 12]);
        bytes.extend_from_slice(&[0; 100]);
        assert_eq!(boundary.to_end(&bytes), bytes.len());
        assert!(!boundary.is_here());
    }
}
