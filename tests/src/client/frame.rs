//! WebSocket frames as a client writes and reads them: an encoder of the tests' own.

/// The opcode of a text message's first frame.
pub const TEXT: u8 = 0x1;
/// The opcode of a binary message's first frame.
pub const BINARY: u8 = 0x2;
/// The opcode of a later frame of a message.
pub const CONTINUATION: u8 = 0x0;
/// The opcode of a close frame.
pub const CLOSE: u8 = 0x8;
/// The opcode of a ping.
pub const PING: u8 = 0x9;
/// The opcode of a pong.
pub const PONG: u8 = 0xA;

/// The masking key of RFC 6455 section 5.7.
const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Whether it is the last of its message.
    pub last: bool,
    /// What it is.
    pub opcode: u8,
    /// What it carries, unmasked.
    pub payload: Vec<u8>,
}

impl Frame {
    /// A whole message, or a control frame.
    pub fn whole(opcode: u8, payload: &[u8]) -> Self {
        Self {
            last: true,
            opcode,
            payload: payload.to_vec(),
        }
    }

    /// A text message.
    pub fn text(text: &str) -> Self {
        Self::whole(TEXT, text.as_bytes())
    }

    /// A close frame.
    pub fn close(code: u16, reason: &str) -> Self {
        Self::whole(CLOSE, &[&code.to_be_bytes(), reason.as_bytes()].concat())
    }

    /// Returns the bytes that a client sends.
    pub fn masked(&self) -> Vec<u8> {
        let mut bytes = header(self.last, self.opcode, self.payload.len() as u64);
        bytes.extend(
            self.payload
                .iter()
                .zip(MASK.iter().cycle())
                .map(|(byte, mask)| byte ^ mask),
        );
        bytes
    }

    /// Returns the bytes that a server sends.
    pub fn unmasked(&self) -> Vec<u8> {
        let mut bytes = prefix(self.last, self.opcode, self.payload.len() as u64, 0);
        bytes.extend(&self.payload);
        bytes
    }

    /// Reads a client's frame from the start of `bytes`; `None` if it is not complete. Returns how many
    /// bytes it took, too.
    ///
    /// # Panics
    /// If the frame is not masked.
    pub fn read_masked(bytes: &[u8]) -> Option<(Self, usize)> {
        let (&first, &second) = (bytes.first()?, bytes.get(1)?);
        assert_eq!(second & 0x80, 0x80, "a client's frame is not masked");
        let (length, start) = match second & 0x7F {
            126 => (
                u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)),
                4,
            ),
            127 => (u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?), 10),
            short => (u64::from(short), 2),
        };
        let end = start + 4 + usize::try_from(length).ok()?;
        let (mask, payload) = bytes.get(start..end)?.split_at(4);
        let payload = payload
            .iter()
            .zip(mask.iter().cycle())
            .map(|(byte, mask)| byte ^ mask);
        Some((
            Self {
                last: first & 0x80 != 0,
                opcode: first & 0x0F,
                payload: payload.collect(),
            },
            end,
        ))
    }

    /// Reads a server's frame from the start of `bytes`; `None` if it is not complete. Returns how
    /// many bytes it took, too.
    ///
    /// # Panics
    /// If the frame is masked or has a reserved bit.
    pub fn read(bytes: &[u8]) -> Option<(Self, usize)> {
        let (&first, &second) = (bytes.first()?, bytes.get(1)?);
        assert_eq!(first & 0x70, 0, "a reserved bit is set in {first:#04x}");
        assert_eq!(second & 0x80, 0, "a server's frame is masked");
        let (length, start) = match second & 0x7F {
            126 => (
                u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)),
                4,
            ),
            127 => (u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?), 10),
            short => (u64::from(short), 2),
        };
        let end = start + usize::try_from(length).ok()?;
        let payload = bytes.get(start..end)?.to_vec();
        Some((
            Self {
                last: first & 0x80 != 0,
                opcode: first & 0x0F,
                payload,
            },
            end,
        ))
    }
}

/// Returns a client's frame header, masking key included, that announces `length` bytes.
pub fn header(last: bool, opcode: u8, length: u64) -> Vec<u8> {
    let mut bytes = prefix(last, opcode, length, 0x80);
    bytes.extend(MASK);
    bytes
}

fn prefix(last: bool, opcode: u8, length: u64, mask: u8) -> Vec<u8> {
    let mut bytes = vec![u8::from(last) << 7 | opcode];
    match length {
        0..=125 => bytes.push(mask | length as u8),
        126..=0xFFFF => {
            bytes.push(mask | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        0x1_0000.. => {
            bytes.push(mask | 127);
            bytes.extend(length.to_be_bytes());
        }
    }
    bytes
}
