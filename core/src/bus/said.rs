//! What a member of a broadcast said, as nodes tell each other.

use std::time::Duration;

use bytes::Bytes;

use crate::time::UnixTime;
use crate::ws::Message;

/// Longest message that is told to other nodes, in bytes: a larger one is heard on its own node alone.
pub(crate) const MESSAGE_BYTES: usize = 4 * 1024 * 1024;

/// How far the clocks of two nodes and the way between them may be apart. What is older is not said
/// again by a node that was not there when it was said first, whoever repeats it.
const FRESH: Duration = Duration::from_secs(5 * 60);

/// What stands for the kind of a message.
const TEXT: u8 = 1;
const BINARY: u8 = 2;

/// One message and where it belongs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Said<'a> {
    /// The name of the service.
    pub(crate) service: &'a str,
    /// When it was sent.
    pub(crate) time: UnixTime,
    pub(crate) message: Message,
}

impl<'a> Said<'a> {
    /// Returns it as bytes.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let (kind, payload) = match &self.message {
            Message::Text(payload) => (TEXT, payload),
            Message::Binary(payload) => (BINARY, payload),
        };
        let seconds = self.time.as_secs().to_be_bytes();
        let length = u32::try_from(self.service.len())
            .unwrap_or(u32::MAX)
            .to_be_bytes();
        [&[kind][..], &seconds, &length, self.service.as_bytes(), payload].concat()
    }

    /// Reads one; `None` if it is none, is larger than is told, or is not of these minutes.
    pub(crate) fn read(bytes: &'a [u8], now: UnixTime) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        let (seconds, rest) = rest.split_first_chunk::<8>()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (service, payload) = rest.split_at_checked(length)?;
        let time = UnixTime::from_secs(u64::from_be_bytes(*seconds));
        let apart = time.since(now).max(now.since(time));
        if payload.len() > MESSAGE_BYTES || apart > FRESH {
            return None;
        }
        let bytes = Bytes::copy_from_slice(payload);
        let message = match *kind {
            TEXT => {
                str::from_utf8(payload).ok()?;
                Message::Text(bytes)
            }
            BINARY => Message::Binary(bytes),
            _ => return None,
        };
        Some(Self {
            service: str::from_utf8(service).ok()?,
            time,
            message,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const NOW: UnixTime = UnixTime::from_secs(1_000_000);

    fn said(message: Message) -> Said<'static> {
        Said {
            service: "chat",
            time: NOW,
            message,
        }
    }

    #[test]
    fn m18_text_stays_text_and_binary_binary() {
        for message in [
            Message::Text(Bytes::from_static("hällo".as_bytes())),
            Message::Text(Bytes::new()),
            Message::Binary(Bytes::from_static(&[0, 255])),
        ] {
            let said = said(message);
            assert_eq!(Said::read(&said.to_bytes(), NOW), Some(said));
        }
    }

    #[test]
    fn what_is_cut_or_changed_is_nothing() {
        let bytes = said(Message::Text(Bytes::from_static(b"x"))).to_bytes();
        for end in 0..bytes.len() - 1 {
            assert_eq!(Said::read(&bytes[..end], NOW), None, "cut at {end}");
        }
        for (at, byte) in [(0, 3), (9, 255), (13, 0xff), (17, 0xff)] {
            let mut changed = bytes.clone();
            changed[at] = byte;
            assert_eq!(Said::read(&changed, NOW), None, "byte {at}");
        }
    }

    #[test]
    fn a_message_has_its_bytes_and_not_one_more() {
        for (length, fits) in [(MESSAGE_BYTES, true), (MESSAGE_BYTES + 1, false)] {
            let said = said(Message::Binary(Bytes::from(vec![1; length])));
            assert_eq!(Said::read(&said.to_bytes(), NOW).is_some(), fits);
        }
    }

    #[test]
    fn what_is_older_than_its_minutes_is_not_said_again() {
        let bytes = said(Message::Text(Bytes::new())).to_bytes();
        let tick = Duration::from_secs(1);
        for (now, fresh) in [
            (NOW.after(FRESH), true),
            (NOW.after(FRESH + tick), false),
            (UnixTime::from_secs(NOW.as_secs() - FRESH.as_secs()), true),
            (UnixTime::from_secs(NOW.as_secs() - FRESH.as_secs() - 1), false),
        ] {
            assert_eq!(Said::read(&bytes, now).is_some(), fresh, "{now:?}");
        }
    }
}
