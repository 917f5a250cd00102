//! What Redis answers, one frame at a time (RESP2).
//!
//! The codec is given a frame only when all of it is here and it is known to be shallow: what comes
//! from the network decides neither how deep the codec recurses nor how much it takes in.

use redis_protocol::resp2::decode::decode;
use redis_protocol::resp2::types::OwnedFrame;

/// The largest frame that is read, in bytes: a page of revocations with long names.
pub(crate) const FRAME_BYTES: usize = 16 * 1024 * 1024;

/// Deepest nesting of arrays. What is asked for here is answered by three levels at most.
pub(crate) const FRAME_DEPTH: usize = 16;

/// The most answers in one frame: a page has a few hundred, and each costs more memory than bytes.
pub(crate) const FRAME_PARTS: u64 = 64 * 1024;

/// Longest line that begins a frame, in bytes: errors are texts, everything else is a number.
const LINE_BYTES: usize = 64 * 1024;

/// Bytes that are not RESP2, or more of them than are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotRedis;

/// One answer.
#[derive(Clone, PartialEq, Eq)]
pub enum Reply {
    /// A short text, such as `OK`.
    Simple(Vec<u8>),
    /// Redis refuses a command. The text is not shown: it may repeat what was sent.
    Error(String),
    /// A number.
    Integer(i64),
    /// Bytes.
    Bulk(Vec<u8>),
    /// Several answers.
    Array(Vec<Self>),
    /// There is nothing.
    Nil,
}

/// Shows what it is, never what it holds.
impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Simple(_) => "Simple",
            Self::Error(_) => "Error",
            Self::Integer(_) => "Integer",
            Self::Bulk(_) => "Bulk",
            Self::Array(_) => "Array",
            Self::Nil => "Nil",
        })
    }
}

impl Reply {
    fn from_frame(frame: OwnedFrame) -> Self {
        match frame {
            OwnedFrame::SimpleString(text) => Self::Simple(text),
            OwnedFrame::Error(text) => Self::Error(text),
            OwnedFrame::Integer(number) => Self::Integer(number),
            OwnedFrame::BulkString(bytes) => Self::Bulk(bytes),
            OwnedFrame::Array(frames) => Self::Array(frames.into_iter().map(Self::from_frame).collect()),
            OwnedFrame::Null => Self::Nil,
        }
    }
}

/// Returns how long the first frame of `bytes` is, once all of it is there.
///
/// # Errors
/// The bytes are no frame, or one that is too long or too deep.
pub fn length(bytes: &[u8]) -> Result<Option<usize>, NotRedis> {
    // How many frames are still to come on each level.
    let mut open = vec![1u64];
    let (mut at, mut parts) = (0usize, 0u64);
    while let Some(left) = open.last_mut() {
        if *left == 0 {
            open.pop();
            continue;
        }
        *left -= 1;
        let rest = bytes.get(at..).ok_or(NotRedis)?;
        let Some(line) = line(rest)? else {
            return fits(bytes.len());
        };
        at += line.len() + 2;
        let (kind, text) = line.split_first().ok_or(NotRedis)?;
        match kind {
            b'+' | b'-' => {}
            b':' => drop(number(text)?),
            b'$' => {
                if let Some(length) = count(text)? {
                    let end = at.checked_add(length).and_then(|end| end.checked_add(2));
                    let end = end.filter(|end| *end <= FRAME_BYTES).ok_or(NotRedis)?;
                    if bytes.len() < end {
                        return Ok(None);
                    }
                    if bytes.get(end - 2..end) != Some(b"\r\n") {
                        return Err(NotRedis);
                    }
                    at = end;
                }
            }
            b'*' => {
                if let Some(frames) = count(text)? {
                    if open.len() >= FRAME_DEPTH {
                        return Err(NotRedis);
                    }
                    let frames = u64::try_from(frames).map_err(|_| NotRedis)?;
                    parts = parts.saturating_add(frames);
                    if parts > FRAME_PARTS {
                        return Err(NotRedis);
                    }
                    open.push(frames);
                }
            }
            _ => return Err(NotRedis),
        }
        if at > FRAME_BYTES {
            return Err(NotRedis);
        }
    }
    Ok(Some(at))
}

/// Takes the first frame off the front of `bytes`; `None` if it is not complete yet.
///
/// # Errors
/// The bytes are no frame, or one that is too long or too deep.
pub fn take(bytes: &mut Vec<u8>) -> Result<Option<Reply>, NotRedis> {
    let Some(length) = length(bytes)? else {
        return Ok(None);
    };
    let frame = bytes.get(..length).ok_or(NotRedis)?;
    let (frame, used) = decode(frame).map_err(|_| NotRedis)?.ok_or(NotRedis)?;
    if used != length {
        return Err(NotRedis);
    }
    bytes.drain(..length);
    Ok(Some(Reply::from_frame(frame)))
}

/// More is to come, unless there is too much already.
const fn fits(held: usize) -> Result<Option<usize>, NotRedis> {
    if held > FRAME_BYTES {
        return Err(NotRedis);
    }
    Ok(None)
}

/// Returns the first line without its end, once that is there.
fn line(bytes: &[u8]) -> Result<Option<&[u8]>, NotRedis> {
    let seen = bytes.get(..bytes.len().min(LINE_BYTES)).unwrap_or_default();
    match seen.iter().position(|byte| *byte == b'\n') {
        Some(end) => {
            let line = seen.get(..end).and_then(|line| line.strip_suffix(b"\r"));
            line.map(Some).ok_or(NotRedis)
        }
        None if bytes.len() >= LINE_BYTES => Err(NotRedis),
        None => Ok(None),
    }
}

fn number(text: &[u8]) -> Result<i64, NotRedis> {
    str::from_utf8(text)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or(NotRedis)
}

/// Returns a length; `None` for the -1 that means nothing is there.
fn count(text: &[u8]) -> Result<Option<usize>, NotRedis> {
    match number(text)? {
        -1 => Ok(None),
        count => usize::try_from(count)
            .ok()
            .filter(|count| *count <= FRAME_BYTES)
            .map(Some)
            .ok_or(NotRedis),
    }
}

/// Appends a command to `out`.
pub fn write_command(out: &mut Vec<u8>, words: &[&[u8]]) {
    out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn whole(text: &[u8]) -> Reply {
        let mut bytes = text.to_vec();
        let reply = take(&mut bytes).unwrap().unwrap();
        assert!(bytes.is_empty());
        reply
    }

    #[test]
    fn frames_are_read_whole_however_they_arrive() {
        let bulk = |text: &str| Reply::Bulk(text.as_bytes().to_vec());
        for (text, expected) in [
            (&b"+OK\r\n"[..], Reply::Simple(b"OK".to_vec())),
            (b"-ERR no\r\n", Reply::Error("ERR no".into())),
            (b":-7\r\n", Reply::Integer(-7)),
            (b"$5\r\na\r\nbc\r\n", bulk("a\r\nbc")),
            (b"$0\r\n\r\n", bulk("")),
            (b"$-1\r\n", Reply::Nil),
            (b"*-1\r\n", Reply::Nil),
            (b"*0\r\n", Reply::Array(Vec::new())),
            (
                b"*2\r\n$1\r\n0\r\n*2\r\n$1\r\na\r\n:1\r\n",
                Reply::Array(vec![bulk("0"), Reply::Array(vec![bulk("a"), Reply::Integer(1)])]),
            ),
        ] {
            assert!(whole(text) == expected, "{}", text.escape_ascii());
            for cut in 0..text.len() {
                let mut part = text[..cut].to_vec();
                assert_eq!(take(&mut part), Ok(None), "{} at {cut}", text.escape_ascii());
                assert_eq!(part.len(), cut);
            }
            let mut two = [text, b"+OK\r\n"].concat();
            assert!(take(&mut two).unwrap() == Some(expected));
            assert_eq!(two, b"+OK\r\n");
        }
    }

    #[test]
    fn what_is_no_frame_is_refused_at_once() {
        for text in [
            &b"HTTP/1.1 400 Bad Request\r\n"[..],
            b"\r\n",
            b"+OK\n",
            b":x\r\n",
            b"$-2\r\n",
            b"$1\r\nab\r\n",
            b"*1000000000000\r\n",
            b"$1000000000\r\n",
            b"%1\r\n+a\r\n+b\r\n",
            b":99999999999999999999\r\n",
        ] {
            assert_eq!(length(text), Err(NotRedis), "{}", text.escape_ascii());
        }
        assert_eq!(length(&vec![b'+'; LINE_BYTES]), Err(NotRedis));
        assert_eq!(length(&vec![b'+'; LINE_BYTES - 1]), Ok(None));
    }

    #[test]
    fn nesting_and_length_have_bounds() {
        let nested = |depth: usize| [b"*1\r\n".repeat(depth), b":1\r\n".to_vec()].concat();
        assert!(length(&nested(FRAME_DEPTH - 1)).unwrap().is_some());
        assert_eq!(length(&nested(FRAME_DEPTH)), Err(NotRedis));
        let many = |count: u64| format!("*{count}\r\n").into_bytes();
        assert_eq!(length(&many(FRAME_PARTS)), Ok(None));
        assert_eq!(length(&many(FRAME_PARTS + 1)), Err(NotRedis));
        let head = |length: usize| format!("${length}\r\n").into_bytes();
        let start = head(FRAME_BYTES).len();
        assert_eq!(length(&head(FRAME_BYTES - start - 2)), Ok(None));
        assert_eq!(length(&head(FRAME_BYTES - start - 1)), Err(NotRedis));
    }

    #[test]
    fn commands_are_arrays_of_bytes() {
        let mut out = Vec::new();
        write_command(&mut out, &[b"SET", b"a\r\n", b""]);
        assert_eq!(out, b"*3\r\n$3\r\nSET\r\n$3\r\na\r\n\r\n$0\r\n\r\n");
    }
}
