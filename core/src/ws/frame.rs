//! Frame headers (RFC 6455 section 5.2): read ahead of tungstenite in what clients send, written
//! for what the server sends.

use bytes::Bytes;

use super::Message;

/// The longest header: 2 bytes, 8 of extended length, 4 of mask.
const HEADER_MAX: usize = 14;

/// The longest header of a server, which masks nothing.
pub(super) const SERVER_HEADER_MAX: usize = HEADER_MAX - 4;

/// The longest payload of a control frame, in bytes (RFC 6455 section 5.5).
const CONTROL_MAX: u64 = 125;

/// Messages longer than this claim their length from the memory that all share, in bytes.
pub(crate) const UNCLAIMED_LIMIT: usize = 64 * 1024;

/// How far the bytes at hand may be handed on, and what stands in the way of the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reach {
    /// This many bytes may be handed on.
    pub(crate) clear: usize,
    /// Why not more.
    pub(crate) stop: Stop,
}

/// What stands in the way of the bytes behind [`Reach::clear`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Nothing, or a header that has not arrived whole.
    End,
    /// The next frame makes its message this long: it has to be claimed, then [`FrameReader::permit`].
    Claim(usize),
    /// A message that was claimed ends here.
    LargeEnd,
    /// The next frame makes its message longer than the limit.
    TooBig,
    /// The next frame breaks RFC 6455 in its header.
    Protocol,
}

/// Follows the frame headers in what a client sends, so that the length of a large message can be
/// claimed before anything is reserved for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameReader {
    limit: usize,
    permitted: usize,
    /// Payload bytes of the current frame that are still to come.
    payload_left: u64,
    /// Bytes of the current message, in frames seen so far.
    message: usize,
    /// Whether the current frame is the last one of its message.
    ends_message: bool,
    /// Whether a message has begun and not ended.
    in_message: bool,
}

impl FrameReader {
    /// A reader for messages of at most `limit` bytes.
    pub(crate) const fn new(limit: usize) -> Self {
        Self {
            limit,
            permitted: UNCLAIMED_LIMIT,
            payload_left: 0,
            message: 0,
            ends_message: false,
            in_message: false,
        }
    }

    /// Says whether no frame and no message is incomplete, a header that has not arrived whole aside.
    pub(crate) const fn is_between_messages(&self) -> bool {
        self.payload_left == 0 && !self.in_message
    }

    /// Permits the current message to be `total` bytes long.
    pub(crate) const fn permit(&mut self, total: usize) {
        self.permitted = total;
    }

    /// Reads a message that is the one whole frame with which `bytes` begin, and that takes no memory which
    /// all share. Returns it and the length of the frame; `None` for anything else, which is read on with
    /// [`FrameReader::read`], and for text that is not UTF-8.
    pub(crate) fn whole_message(&self, bytes: &[u8]) -> Option<(Message, usize)> {
        if !self.is_between_messages() {
            return None;
        }
        let header = Header::parse(bytes).ok()??;
        let length = usize::try_from(header.payload).ok()?;
        if length > self.limit.min(UNCLAIMED_LIMIT) {
            return None;
        }
        let (head, rest) = bytes.split_at_checked(header.len)?;
        let payload = unmasked(rest.get(..length)?, *head.last_chunk()?);
        let message = match *bytes.first()? {
            WHOLE_TEXT if std::str::from_utf8(&payload).is_ok() => Message::Text(Bytes::from(payload)),
            WHOLE_BINARY => Message::Binary(Bytes::from(payload)),
            _ => return None,
        };
        Some((message, header.len + length))
    }

    /// Reads on. Bytes that are reported as clear are not to be shown again, all others are.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Reach {
        let mut clear = 0;
        loop {
            let rest = bytes.get(clear..).unwrap_or_default();
            if self.payload_left > 0 {
                let step = usize::try_from(self.payload_left).map_or(rest.len(), |left| left.min(rest.len()));
                clear += step;
                self.payload_left -= step as u64;
                if self.payload_left > 0 {
                    return Reach {
                        clear,
                        stop: Stop::End,
                    };
                }
                if self.end_frame() {
                    return Reach {
                        clear,
                        stop: Stop::LargeEnd,
                    };
                }
                continue;
            }
            let header = match Header::parse(rest) {
                Ok(Some(header)) => header,
                Ok(None) => {
                    return Reach {
                        clear,
                        stop: Stop::End,
                    };
                }
                Err(()) => {
                    return Reach {
                        clear,
                        stop: Stop::Protocol,
                    };
                }
            };
            if !header.control {
                let Some(total) = usize::try_from(header.payload)
                    .ok()
                    .and_then(|length| self.message.checked_add(length))
                    .filter(|total| *total <= self.limit)
                else {
                    return Reach {
                        clear,
                        stop: Stop::TooBig,
                    };
                };
                if total > self.permitted {
                    return Reach {
                        clear,
                        stop: Stop::Claim(total),
                    };
                }
                self.message = total;
                self.in_message = true;
            }
            self.ends_message = !header.control && header.fin;
            self.payload_left = header.payload;
            clear += header.len;
            if header.payload == 0 && self.end_frame() {
                return Reach {
                    clear,
                    stop: Stop::LargeEnd,
                };
            }
        }
    }

    /// Says whether the frame that ended was the last one of a claimed message.
    const fn end_frame(&mut self) -> bool {
        if !self.ends_message {
            return false;
        }
        let large = self.permitted > UNCLAIMED_LIMIT;
        self.message = 0;
        self.permitted = UNCLAIMED_LIMIT;
        self.ends_message = false;
        self.in_message = false;
        large
    }
}

/// Takes the masking key off a payload (RFC 6455 section 5.3).
fn unmasked(masked: &[u8], key: [u8; 4]) -> Vec<u8> {
    let mut payload = masked.to_vec();
    let (words, rest) = payload.as_chunks_mut::<4>();
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ u32::from_ne_bytes(key)).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key) {
        *byte ^= key;
    }
    payload
}

struct Header {
    len: usize,
    payload: u64,
    fin: bool,
    control: bool,
}

impl Header {
    /// Reads a client's frame header; `None` if it has not arrived whole.
    fn parse(bytes: &[u8]) -> Result<Option<Self>, ()> {
        let [first, second, rest @ ..] = bytes else {
            return Ok(None);
        };
        let (fin, opcode) = (first & 0x80 != 0, first & 0x0F);
        let control = opcode & 0x08 != 0;
        let known = matches!(opcode, 0x0 | 0x1 | 0x2 | 0x8 | 0x9 | 0xA);
        // RFC 6455 sections 5.1 and 5.2: a client masks, reserved bits and opcodes are errors.
        if first & 0x70 != 0 || !known || second & 0x80 == 0 {
            return Err(());
        }
        let (payload, extended) = match second & 0x7F {
            126 => match rest.first_chunk::<2>() {
                Some(length) => (u64::from(u16::from_be_bytes(*length)), 2),
                None if control => return Err(()),
                None => return Ok(None),
            },
            127 => match rest.first_chunk::<8>() {
                Some(length) => (u64::from_be_bytes(*length), 8),
                None if control => return Err(()),
                None => return Ok(None),
            },
            length => (u64::from(length), 0),
        };
        // RFC 6455 section 5.2: the length is written in as few bytes as it takes.
        let shortest = match extended {
            2 => payload >= 126,
            8 => payload > u64::from(u16::MAX),
            _ => true,
        };
        if (control && (payload > CONTROL_MAX || !fin)) || payload > i64::MAX as u64 || !shortest {
            return Err(());
        }
        let len = 2 + extended + 4;
        debug_assert!(len <= HEADER_MAX, "a header has at most 14 bytes");
        Ok((bytes.len() >= len).then_some(Self {
            len,
            payload,
            fin,
            control,
        }))
    }
}

/// Which kind of frame the server sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opcode {
    Text,
    Binary,
    Ping,
    Close,
}

/// What the frame of a whole text begins with.
pub(crate) const WHOLE_TEXT: u8 = 0x81;

/// What the frame of a whole binary message begins with.
const WHOLE_BINARY: u8 = 0x82;

/// Writes the header of a whole, unmasked frame with `length` bytes of payload.
pub(crate) fn write_header(out: &mut Vec<u8>, opcode: Opcode, length: usize) {
    out.push(match opcode {
        Opcode::Text => WHOLE_TEXT,
        Opcode::Binary => WHOLE_BINARY,
        Opcode::Ping => 0x89,
        Opcode::Close => 0x88,
    });
    if let Ok(short) = u8::try_from(length)
        && short < 126
    {
        out.push(short);
    } else if let Ok(medium) = u16::try_from(length) {
        out.push(126);
        out.extend_from_slice(&medium.to_be_bytes());
    } else {
        out.push(127);
        out.extend_from_slice(&(length as u64).to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(first: u8, length: usize) -> Vec<u8> {
        let mut bytes = vec![first];
        match length {
            0..126 => bytes.push(0x80 | length as u8),
            126..65536 => {
                bytes.push(0x80 | 126);
                bytes.extend_from_slice(&(length as u16).to_be_bytes());
            }
            _ => {
                bytes.push(0x80 | 127);
                bytes.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        bytes.extend_from_slice(&[1, 2, 3, 4]);
        bytes.resize(bytes.len() + length, 0x55);
        bytes
    }

    #[test]
    fn small_frames_are_clear_whatever_the_split() {
        let stream: Vec<u8> = [frame(0x81, 5), frame(0x89, 0), frame(0x02, 300), frame(0x80, 0)].concat();
        for chunk in 1..stream.len() {
            let (mut reader, mut held, mut clear) = (FrameReader::new(1 << 20), Vec::new(), 0);
            for part in stream.chunks(chunk) {
                held.extend_from_slice(part);
                let reach = reader.read(&held);
                assert_eq!(reach.stop, Stop::End);
                held.drain(..reach.clear);
                clear += reach.clear;
            }
            assert_eq!((clear, held.len()), (stream.len(), 0));
        }
    }

    #[test]
    fn a_large_message_is_claimed_before_its_header_is_handed_on() {
        let mut reader = FrameReader::new(1 << 20);
        let stream = frame(0x82, 100_000);
        assert_eq!(
            reader.read(&stream),
            Reach {
                clear: 0,
                stop: Stop::Claim(100_000)
            }
        );
        reader.permit(100_000);
        assert_eq!(
            reader.read(&stream),
            Reach {
                clear: stream.len(),
                stop: Stop::LargeEnd
            }
        );
        assert_eq!(
            reader.read(&stream).stop,
            Stop::Claim(100_000),
            "the permission was for one message"
        );
    }

    #[test]
    fn fragments_count_together() {
        let mut reader = FrameReader::new(100_000);
        let first = frame(0x02, 60_000);
        assert_eq!(reader.read(&first).stop, Stop::End);
        assert_eq!(reader.read(&frame(0x00, 10_000)).stop, Stop::Claim(70_000));
        reader.permit(70_000);
        assert_eq!(reader.read(&frame(0x00, 10_000)).stop, Stop::End);
        assert_eq!(reader.read(&frame(0x80, 30_001)).stop, Stop::TooBig);
    }

    #[test]
    fn faulty_headers_stop_at_once() {
        for (what, bytes) in [
            ("unmasked", vec![0x81, 0x05]),
            ("reserved bit", vec![0xC1, 0x80]),
            ("reserved opcode", vec![0x83, 0x80]),
            ("long control frame", vec![0x89, 0xFE]),
            ("fragmented control frame", vec![0x09, 0x80]),
        ] {
            assert_eq!(
                FrameReader::new(100).read(&bytes),
                Reach {
                    clear: 0,
                    stop: Stop::Protocol
                },
                "{what}"
            );
        }
    }
}
