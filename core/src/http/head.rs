//! Finds the end of a request head in bytes that arrive in any portions, and refuses at the first
//! byte that no head may have.

use std::fmt;

use zeroize::{Zeroize, Zeroizing};

use super::error::{HeadError, Part};
use super::fields::{Line, Span};
use super::request::{RequestHead, Version};
use super::syntax::{is_query_byte, is_token_byte, is_value_byte, value_run};

/// Most field lines in one head. Browsers send about 20, a chain of proxies adds about 10.
pub const FIELD_LIMIT: usize = 100;

/// First allocation for a head that arrives in portions, in bytes: a plain upgrade request fits in.
const FIRST_ALLOCATION: usize = 512;

/// First allocation for the places of field lines: a browser sends so many.
const FIRST_LINES: usize = 20;

/// How large a request head may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Longest request line in bytes, its CRLF not counted; over it 414.
    pub request_line: usize,
    /// Largest head in bytes, from the first byte of the request line to the last CRLF; over it 431.
    pub head: usize,
}

impl Default for HeadLimits {
    /// 8 KiB (RFC 9112 section 3 asks for 8000 bytes at least) and 16 KiB.
    fn default() -> Self {
        Self {
            request_line: 8192,
            head: 16384,
        }
    }
}

/// What the scanner knows after a portion of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Scan {
    /// The head is not complete.
    More,
    /// The head is complete.
    Done {
        /// How many bytes of this portion belong to the head. The rest follows the head.
        used: usize,
    },
    /// No request: answer with the error's status and close.
    Bad(HeadError),
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// No byte of the request line arrived. One empty line may come first (RFC 9112 section 2.2).
    Start {
        empty_line: bool,
    },
    /// Behind the CR of the empty line.
    StartCr,
    Method,
    /// `escape`: hexadecimal digits that the last `%` still needs.
    Target {
        place: Place,
        escape: u8,
    },
    /// Behind `matched` bytes of `HTTP/1.1`.
    Version {
        matched: usize,
    },
    RequestLineCr,
    LineStart,
    Name,
    Value,
    ValueCr,
    EndCr,
    Done,
    Failed(HeadError),
}

/// Where in the target the next byte stands: only an authority may have brackets.
#[derive(Clone, Copy, Debug)]
enum Place {
    First,
    /// Before the path of a target that does not begin with `/`, behind so many slashes.
    Authority {
        slashes: u8,
    },
    PathOrQuery,
}

/// What becomes of one byte.
enum Look {
    Skip,
    Keep(State),
    Bad(HeadError),
}

/// Scans a request head. Each byte is looked at once, in order, and the first offending one decides
/// the error, so the result does not depend on how the bytes were split.
///
/// Lines end with CRLF only. A bare LF or CR, a control byte, a folded line, a space around a field
/// name and an invalid name are refused; bytes 0x80 to 0xFF in a value pass (obs-text).
///
/// ```
/// use countersign_core::http::{HeadLimits, HeadScanner, Scan};
///
/// let mut scanner = HeadScanner::new(HeadLimits::default());
/// assert_eq!(scanner.push(b"GET /api/ws HTTP/1.1\r\nHo"), Scan::More);
/// assert_eq!(scanner.push(b"st: a.org\r\n\r\n\x81\x85"), Scan::Done { used: 13 });
/// let head = scanner.finish().map_err(|error| error.status().code());
/// assert_eq!(head.map(|head| head.target().path().to_owned()), Ok("/api/ws".to_owned()));
/// ```
pub struct HeadScanner {
    limits: HeadLimits,
    state: State,
    /// Bytes looked at.
    seen: usize,
    /// Bytes that belong to the head: those seen, less the leading empty line.
    kept: usize,
    major: u8,
    minor: u8,
    places: Places,
    buffer: HeadBuffer,
}

/// Where in the head its parts stand.
#[derive(Default)]
pub(super) struct Places {
    pub(super) target: Span,
    pub(super) lines: Vec<Line>,
    /// The name of the line that is arriving.
    name: Span,
}

impl Places {
    /// Returns where the method stands: at the beginning, up to the space before the target.
    pub(super) fn method(&self) -> Span {
        self.target.before(1)
    }

    /// Notes the line whose value ends at `end`.
    fn end_line(&mut self, end: usize) {
        if self.lines.is_empty() {
            self.lines.reserve_exact(FIRST_LINES);
        }
        self.lines.push(Line {
            name: self.name,
            value: self.name.next(1, end),
        });
    }
}

/// Shows how much has arrived, never what.
impl fmt::Debug for HeadScanner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HeadScanner({} bytes)", self.kept)
    }
}

impl HeadScanner {
    /// Waits for the first byte of a head. Nothing is allocated before it.
    pub fn new(limits: HeadLimits) -> Self {
        Self {
            limits,
            state: State::Start { empty_line: true },
            seen: 0,
            kept: 0,
            major: 0,
            minor: 0,
            places: Places::default(),
            buffer: HeadBuffer(Zeroizing::new(Vec::new())),
        }
    }

    /// Takes the next bytes. After `Done` and after `Bad` nothing is looked at any more: the former
    /// answers `Done { used: 0 }`, the latter the same error.
    pub fn push(&mut self, bytes: &[u8]) -> Scan {
        match self.state {
            State::Done => return Scan::Done { used: 0 },
            State::Failed(error) => return Scan::Bad(error),
            State::Start { .. }
            | State::StartCr
            | State::Method
            | State::Target { .. }
            | State::Version { .. }
            | State::RequestLineCr
            | State::LineStart
            | State::Name
            | State::Value
            | State::ValueCr
            | State::EndCr => {}
        }
        if let Some(used) = self.whole(bytes) {
            return Scan::Done { used };
        }
        let (mut from, mut used) = (0, 0);
        while let Some(&byte) = bytes.get(used) {
            let run = self.run(bytes.get(used..).unwrap_or_default());
            if run > 0 {
                self.seen += run;
                self.kept += run;
                used += run;
                continue;
            }
            used += 1;
            match self.look(byte) {
                Look::Skip => from = used,
                Look::Keep(State::Done) => {
                    self.state = State::Done;
                    self.kept += 1;
                    self.keep(bytes.get(from..used));
                    return Scan::Done { used };
                }
                Look::Keep(state) => {
                    self.state = state;
                    self.kept += 1;
                }
                Look::Bad(error) => {
                    self.state = State::Failed(error);
                    self.buffer.0.zeroize();
                    return Scan::Bad(error);
                }
            }
        }
        self.keep(bytes.get(from..));
        Scan::More
    }

    /// Says whether a byte of a head arrived: a connection without one ends without an answer. The
    /// empty line that may come first is not a head.
    pub const fn has_bytes(&self) -> bool {
        !matches!(self.state, State::Start { .. } | State::StartCr)
    }

    /// Reads the complete head. Errors are decided in this order: method, target, framing, Host.
    ///
    /// # Errors
    /// The error that `push` reported; `Incomplete` before `push` said `Done`; otherwise what is
    /// wrong with the meaning of the head.
    pub fn finish(self) -> Result<RequestHead, HeadError> {
        match self.state {
            State::Done => {}
            State::Failed(error) => return Err(error),
            State::Start { .. }
            | State::StartCr
            | State::Method
            | State::Target { .. }
            | State::Version { .. }
            | State::RequestLineCr
            | State::LineStart
            | State::Name
            | State::Value
            | State::ValueCr
            | State::EndCr => return Err(HeadError::Incomplete),
        }
        let version = if self.minor == 0 {
            Version::Http10
        } else {
            // RFC 9110 section 2.5: a higher minor version is read as the highest one known of the
            // same major version.
            Version::Http11
        };
        RequestHead::read(self.buffer.0, self.places, version)
    }

    fn keep(&mut self, bytes: Option<&[u8]>) {
        self.buffer.append(bytes.unwrap_or_default(), self.limits.head);
    }

    /// Returns how many of `bytes` leave the state as it is and reach no limit: most of a head is
    /// names and values, which are taken in one go.
    fn run(&self, bytes: &[u8]) -> usize {
        let room = |limit: usize| bytes.get(..limit.saturating_sub(self.kept)).unwrap_or(bytes);
        let whole = |bytes: &[u8], end: Option<usize>| end.unwrap_or(bytes.len());
        match self.state {
            State::Target {
                place: Place::PathOrQuery,
                escape: 0,
            } => {
                let bytes = room(self.limits.request_line.min(self.limits.head));
                whole(bytes, bytes.iter().position(|&byte| !is_query_byte(byte)))
            }
            State::Name => {
                let bytes = room(self.limits.head);
                whole(bytes, bytes.iter().position(|&byte| !is_token_byte(byte)))
            }
            State::Value => value_run(room(self.limits.head)),
            State::Start { .. }
            | State::StartCr
            | State::Method
            | State::Target { .. }
            | State::Version { .. }
            | State::RequestLineCr
            | State::LineStart
            | State::ValueCr
            | State::EndCr
            | State::Done
            | State::Failed(_) => 0,
        }
    }

    fn look(&mut self, byte: u8) -> Look {
        let at = self.seen;
        self.seen += 1;
        match self.state {
            State::Start { .. } | State::Method | State::Target { .. } | State::Version { .. } => {
                if self.kept >= self.limits.request_line && byte != b'\r' {
                    return Look::Bad(HeadError::RequestLineTooLong {
                        limit: self.limits.request_line,
                    });
                }
            }
            State::StartCr
            | State::RequestLineCr
            | State::LineStart
            | State::Name
            | State::Value
            | State::ValueCr
            | State::EndCr
            | State::Done
            | State::Failed(_) => {}
        }
        if self.kept >= self.limits.head {
            return Look::Bad(HeadError::HeadTooLarge {
                limit: self.limits.head,
            });
        }
        self.judge(at, byte).unwrap_or_else(Look::Bad)
    }

    /// Decides on `byte`, the `at`-th of the stream: every state names the bytes that it takes.
    fn judge(&mut self, at: usize, byte: u8) -> Result<Look, HeadError> {
        let bad = |part| Err(HeadError::bad_byte(at, byte, part));
        let after_cr = |state| match byte {
            b'\n' => Ok(Look::Keep(state)),
            _ => Err(HeadError::BareCr {
                at: at.saturating_sub(1),
            }),
        };
        let next = match self.state {
            State::Start { empty_line: true } if byte == b'\r' => {
                self.state = State::StartCr;
                return Ok(Look::Skip);
            }
            State::Start { .. } if is_token_byte(byte) => State::Method,
            State::Start { .. } => return bad(Part::Method),
            State::StartCr => {
                after_cr(State::Method)?;
                self.state = State::Start { empty_line: false };
                return Ok(Look::Skip);
            }
            State::Method => match byte {
                b' ' => {
                    self.places.target = Span::of(self.kept + 1, self.kept + 1);
                    State::Target {
                        place: Place::First,
                        escape: 0,
                    }
                }
                _ if is_token_byte(byte) => State::Method,
                _ => return bad(Part::Method),
            },
            State::Target { place, escape } => match target(place, escape, byte) {
                Some(state) => {
                    if byte == b' ' {
                        self.places.target = self.places.target.until(self.kept);
                    }
                    state
                }
                None if escape > 0 => return Err(HeadError::BadEscape { at }),
                None => return bad(Part::Target),
            },
            State::Version { matched } => match (matched, byte) {
                (5, b'1'..=b'9') => {
                    self.major = byte - b'0';
                    State::Version { matched: 6 }
                }
                (7, b'0'..=b'9') => {
                    self.minor = byte - b'0';
                    State::Version { matched: 8 }
                }
                (8, b'\r') => State::RequestLineCr,
                (0..=4 | 6, _) if b"HTTP/1.1".get(matched) == Some(&byte) => {
                    State::Version { matched: matched + 1 }
                }
                _ => return bad(Part::Version),
            },
            State::RequestLineCr if self.major > 1 && byte == b'\n' => {
                return Err(HeadError::UnsupportedVersion {
                    major: self.major,
                    minor: self.minor,
                });
            }
            State::RequestLineCr | State::ValueCr => return after_cr(State::LineStart),
            State::LineStart => match byte {
                b'\r' => State::EndCr,
                b' ' | b'\t' => return Err(HeadError::Folded { at }),
                b':' => return Err(HeadError::EmptyName { at }),
                _ if !is_token_byte(byte) => return bad(Part::Name),
                _ if self.places.lines.len() >= FIELD_LIMIT => {
                    return Err(HeadError::TooManyFields { limit: FIELD_LIMIT });
                }
                _ => {
                    self.places.name = Span::of(self.kept, self.kept);
                    State::Name
                }
            },
            State::Name => match byte {
                b':' => {
                    self.places.name = self.places.name.until(self.kept);
                    State::Value
                }
                _ if is_token_byte(byte) => State::Name,
                _ => return bad(Part::Name),
            },
            State::Value => match byte {
                b'\r' => {
                    self.places.end_line(self.kept);
                    State::ValueCr
                }
                _ if is_value_byte(byte) => State::Value,
                _ => return bad(Part::Value),
            },
            State::EndCr => return after_cr(State::Done),
            State::Done => State::Done,
            State::Failed(error) => return Err(error),
        };
        Ok(Look::Keep(next))
    }
}

/// Returns the state behind `byte` of a target, or none where no target may have it (RFC 3986).
fn target(place: Place, escape: u8, byte: u8) -> Option<State> {
    if escape > 0 {
        return byte.is_ascii_hexdigit().then_some(State::Target {
            place,
            escape: escape - 1,
        });
    }
    let (place, allowed) = match (place, byte) {
        (Place::First, b'/') => (Place::PathOrQuery, true),
        (Place::First, _) => (Place::Authority { slashes: 0 }, is_query_byte(byte)),
        (Place::Authority { .. } | Place::PathOrQuery, b' ') => return Some(State::Version { matched: 0 }),
        (Place::Authority { .. }, b'?') => (Place::PathOrQuery, true),
        (Place::Authority { slashes: 2.. }, b'/') => (Place::PathOrQuery, true),
        (Place::Authority { slashes }, b'/') => (Place::Authority { slashes: slashes + 1 }, true),
        (Place::Authority { .. }, b'[' | b']') => (place, true),
        (Place::Authority { .. } | Place::PathOrQuery, _) => (place, is_query_byte(byte)),
    };
    match byte {
        b'%' => Some(State::Target { place, escape: 2 }),
        _ if allowed => Some(State::Target { place, escape: 0 }),
        _ => None,
    }
}

/// The bytes of a head. They hold credentials, so what is outgrown is zeroed before it is freed.
struct HeadBuffer(Zeroizing<Vec<u8>>);

impl HeadBuffer {
    /// Appends `bytes`; the allocation doubles, but `limit` bytes are never exceeded for its sake.
    fn append(&mut self, bytes: &[u8], limit: usize) {
        let needed = self.0.len().saturating_add(bytes.len());
        if needed > self.0.capacity() {
            let doubled = self.0.capacity().saturating_mul(2).max(FIRST_ALLOCATION);
            let mut grown = Vec::with_capacity(doubled.min(limit).max(needed));
            grown.extend_from_slice(&self.0);
            self.0 = Zeroizing::new(grown);
        }
        self.0.extend_from_slice(bytes);
    }
}

mod whole;

#[cfg(test)]
mod tests;
