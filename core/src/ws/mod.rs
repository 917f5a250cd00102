//! The WebSocket protocol after the 101: tungstenite's context over a borrowed stream in memory. A message that
//! comes as one whole frame, as most do, is read without it.

pub(crate) mod frame;

use std::fmt;
use std::io::{self, Read, Write};
use std::sync::Arc;

use bytes::Bytes;
use tungstenite::error::{CapacityError, Error};
use tungstenite::protocol::frame::coding::CloseCode as WireCode;
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig, WebSocketContext};

use self::frame::{FrameReader, Opcode, Stop, UNCLAIMED_LIMIT};
use crate::bell::Bell;
use crate::budget::{Memory, MemoryClaim};
use crate::buffer::Outgoing;
use crate::legs::Legs;

/// The buffer that tungstenite reads into, in bytes. Its default of 128 KiB is zeroed at every read,
/// which costs more than ten times the echo of a small message.
const READ_BUFFER: usize = 1024;

/// Large messages claim memory in steps of this many bytes.
const CLAIM_STEP: usize = 64 * 1024;

/// Why we end a socket: code and reason of our Close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// 3000 `token expired`.
    TokenExpired,
    /// 3000 `session timeout`.
    SessionTimeout,
    /// 3003 `logged out`.
    LoggedOut,
    /// 3003 `revoked`.
    Revoked,
    /// 3000 `authorization timeout`.
    AuthorizationTimeout,
    /// 3003 `subject changed`.
    SubjectChanged,
    /// 3003 `access changed`.
    AccessChanged,
    /// 3003 `not allowed to write`.
    NotAllowedToWrite,
    /// 1001 `server shutting down`.
    ShuttingDown,
    /// 1001 `idle`.
    Idle,
    /// 1013 `slow consumer`.
    SlowConsumer,
    /// 1009 `message too big`.
    TooBig,
    /// 1002 `protocol error`.
    Protocol,
    /// 1007, for text that is not UTF-8, or not what the service reads.
    NotText,
    /// 1003, for a kind of message that the service does not take.
    Unsupported,
    /// 1011 `internal`.
    Internal,
    /// 1000, by the service's own wish.
    Normal,
}

impl Close {
    /// Returns the code (RFC 6455 section 7.4; 3000 and 3003 as registered with IANA).
    pub const fn code(self) -> u16 {
        match self {
            Self::TokenExpired | Self::SessionTimeout | Self::AuthorizationTimeout => 3000,
            Self::LoggedOut
            | Self::Revoked
            | Self::AccessChanged
            | Self::SubjectChanged
            | Self::NotAllowedToWrite => 3003,
            Self::ShuttingDown | Self::Idle => 1001,
            Self::SlowConsumer => 1013,
            Self::TooBig => 1009,
            Self::Protocol => 1002,
            Self::NotText => 1007,
            Self::Unsupported => 1003,
            Self::Internal => 1011,
            Self::Normal => 1000,
        }
    }

    /// Returns the reason that travels with the code; empty where the code says it all.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::TokenExpired => "token expired",
            Self::SessionTimeout => "session timeout",
            Self::LoggedOut => "logged out",
            Self::Revoked => "revoked",
            Self::AccessChanged => "access changed",
            Self::AuthorizationTimeout => "authorization timeout",
            Self::SubjectChanged => "subject changed",
            Self::NotAllowedToWrite => "not allowed to write",
            Self::ShuttingDown => "server shutting down",
            Self::Idle => "idle",
            Self::SlowConsumer => "slow consumer",
            Self::TooBig => "message too big",
            Self::Protocol => "protocol error",
            Self::Internal => "internal",
            Self::NotText | Self::Unsupported | Self::Normal => "",
        }
    }
}

/// A whole message.
#[derive(Clone, PartialEq, Eq)]
pub enum Message {
    /// Valid UTF-8.
    Text(Bytes),
    /// Any bytes.
    Binary(Bytes),
}

impl Message {
    /// Returns the payload.
    pub const fn payload(&self) -> &Bytes {
        match self {
            Self::Text(payload) | Self::Binary(payload) => payload,
        }
    }
}

/// Shows the kind and the length: a payload may be anybody's secret.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::Text(_) => "Text",
            Self::Binary(_) => "Binary",
        };
        write!(f, "{kind}({} bytes)", self.payload().len())
    }
}

/// What came out of the bytes that a client sent.
#[derive(Debug)]
pub(crate) enum Event {
    /// A whole message.
    Message(Message),
    /// The closing handshake is complete: the peer's code, 1005 if it gave none.
    Closed(u16),
    /// The peer broke a rule; nothing more is read.
    Fault(Close),
    /// A message waits for memory; nothing more is read until [`Session::retry`] succeeds.
    Blocked,
}

/// One open WebSocket.
pub(crate) struct Session {
    /// None between messages, unless a Close is under way: its buffer is not held while nothing comes.
    context: Option<Box<WebSocketContext>>,
    reader: FrameReader,
    /// Bytes that arrived and may not be handed on yet: a part of a header, or a large message.
    held: Vec<u8>,
    /// The memory of the large message that is arriving.
    claim: Option<MemoryClaim>,
    /// The memory of the large message that was delivered last and may wait to be sent on.
    lent: Option<MemoryClaim>,
    message_limit: usize,
    blocked: bool,
    done: bool,
}

/// Shows no payload: tungstenite's own `Debug` would.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("held", &self.held.len())
            .field("blocked", &self.blocked)
            .field("done", &self.done)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// A server's session for messages of at most `message_limit` bytes.
    pub(crate) fn new(message_limit: usize) -> Self {
        Self {
            context: None,
            reader: FrameReader::new(message_limit),
            held: Vec::new(),
            claim: None,
            lent: None,
            message_limit,
            blocked: false,
            done: false,
        }
    }

    fn context(&mut self) -> &mut WebSocketContext {
        let limit = self.message_limit;
        self.context
            .get_or_insert_with(|| Box::new(Self::new_context(limit)))
    }

    fn new_context(message_limit: usize) -> WebSocketContext {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_message_size(Some(message_limit))
            // Clients send a message as one frame.
            .max_frame_size(Some(message_limit));
        WebSocketContext::new(Role::Server, Some(config))
    }

    /// Says whether the session holds bytes that wait for memory.
    pub(crate) const fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// Takes in what the client sent and tells what came out of it. Answers that the protocol
    /// demands (Pong, the reply to Close) are put into the client's
    /// leg, in order with what `on_event` puts there.
    pub(crate) fn receive(
        &mut self,
        bytes: &[u8],
        memory: (&Arc<Memory>, &Arc<Bell>),
        legs: &mut Legs,
        on_event: &mut dyn FnMut(Event, &mut Legs),
    ) {
        if self.done {
            return;
        }
        if self.blocked {
            self.held.extend_from_slice(bytes);
            return;
        }
        if self.held.is_empty() {
            let used = self.process(bytes, memory, legs, on_event);
            self.held.extend_from_slice(bytes.get(used..).unwrap_or_default());
        } else {
            let mut held = std::mem::take(&mut self.held);
            held.extend_from_slice(bytes);
            let used = self.process(&held, memory, legs, on_event);
            held.drain(..used);
            self.held = held;
        }
        if self.done || self.held.is_empty() {
            self.held = Vec::new();
        }
        self.rest();
    }

    /// Gives the context's buffer back where it holds nothing that counts.
    fn rest(&mut self) {
        if self.reader.is_between_messages()
            && self.context.as_ref().is_some_and(|context| context.can_write())
        {
            self.context = None;
        }
    }

    /// Tries again to get memory for the message that waits for it.
    pub(crate) fn retry(
        &mut self,
        memory: (&Arc<Memory>, &Arc<Bell>),
        legs: &mut Legs,
        on_event: &mut dyn FnMut(Event, &mut Legs),
    ) {
        if std::mem::take(&mut self.blocked) {
            self.receive(&[], memory, legs, on_event);
        }
    }

    /// Returns how many of `bytes` were used up; the others are shown again.
    fn process(
        &mut self,
        bytes: &[u8],
        (memory, bell): (&Arc<Memory>, &Arc<Bell>),
        legs: &mut Legs,
        on_event: &mut dyn FnMut(Event, &mut Legs),
    ) -> usize {
        let mut used = 0;
        loop {
            let rest = bytes.get(used..).unwrap_or_default();
            // With nothing begun, tungstenite would make the same of it. A fault is left to it, too.
            if self.context.is_none()
                && let Some((message, length)) = self.reader.whole_message(rest)
            {
                used += length;
                on_event(Event::Message(message), legs);
                continue;
            }
            let reach = self.reader.read(rest);
            if reach.clear > 0 {
                self.feed(rest.get(..reach.clear).unwrap_or_default(), legs, on_event);
                used += reach.clear;
            }
            if self.done {
                return bytes.len();
            }
            match reach.stop {
                Stop::End => return used,
                Stop::LargeEnd => {
                    // The old context keeps the whole allocation of the large message.
                    self.rest();
                    self.lent = self.claim.take();
                }
                Stop::Claim(total) => {
                    let Some(permitted) = self.claim_for(total, memory, bell) else {
                        self.blocked = true;
                        on_event(Event::Blocked, legs);
                        return used;
                    };
                    self.reader.permit(permitted);
                }
                Stop::TooBig => {
                    self.fail(Close::TooBig, legs, on_event);
                    return bytes.len();
                }
                Stop::Protocol => {
                    self.fail(Close::Protocol, legs, on_event);
                    return bytes.len();
                }
            }
        }
    }

    /// Claims memory for a message that has grown to `total` bytes, in steps of [`CLAIM_STEP`] so that
    /// small fragments do not each take the lock. Returns the length that is covered now.
    fn claim_for(&mut self, total: usize, memory: &Arc<Memory>, bell: &Arc<Bell>) -> Option<usize> {
        let wanted = total
            .next_multiple_of(CLAIM_STEP)
            .min(self.message_limit)
            .max(total);
        match &mut self.claim {
            Some(claim) => {
                let more = wanted.saturating_sub(claim.bytes());
                memory.grow(claim, more, bell).then_some(wanted)
            }
            None => {
                self.claim = Some(memory.claim(wanted, bell)?);
                Some(wanted)
            }
        }
    }

    /// Gives the memory of a delivered message back once what waits for the client, which may be
    /// that very message, is down to `waiting` bytes.
    pub(crate) fn settle(&mut self, waiting: usize) {
        if waiting < UNCLAIMED_LIMIT {
            self.lent = None;
        }
    }

    /// Hands bytes to tungstenite until it has used them up.
    fn feed(&mut self, bytes: &[u8], legs: &mut Legs, on_event: &mut dyn FnMut(Event, &mut Legs)) {
        let mut input = bytes;
        while !self.done {
            let mut pipe = Pipe {
                input: &mut input,
                out: legs.client_out(),
            };
            let event = match self.context().read(&mut pipe) {
                Ok(tungstenite::Message::Text(text)) => Event::Message(Message::Text(Bytes::from(text))),
                Ok(tungstenite::Message::Binary(payload)) => Event::Message(Message::Binary(payload)),
                Ok(tungstenite::Message::Close(close)) => {
                    let code = close.map_or(1005, |frame| u16::from(frame.code));
                    // Puts the reply to the peer's Close into the stream; the error says that it ended.
                    let _ = self.context().flush(&mut pipe);
                    self.done = true;
                    Event::Closed(code)
                }
                Ok(
                    tungstenite::Message::Ping(_)
                    | tungstenite::Message::Pong(_)
                    | tungstenite::Message::Frame(_),
                ) => continue,
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(Error::ConnectionClosed | Error::AlreadyClosed) => {
                    self.done = true;
                    Event::Closed(1005)
                }
                Err(error) => {
                    self.fail(Self::fault(&error), legs, on_event);
                    return;
                }
            };
            on_event(event, legs);
        }
    }

    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "a foreign enum: what is not named here breaks the protocol"
    )]
    fn fault(error: &Error) -> Close {
        match error {
            Error::Capacity(CapacityError::MessageTooLong { .. }) => Close::TooBig,
            Error::Utf8(_) => Close::NotText,
            _ => Close::Protocol,
        }
    }

    fn fail(&mut self, close: Close, legs: &mut Legs, on_event: &mut dyn FnMut(Event, &mut Legs)) {
        self.close(close, legs.client_out());
        self.done = true;
        on_event(Event::Fault(close), legs);
    }

    /// Sends our Close, unless one was sent already. Through tungstenite, whose state would answer
    /// the peer's Close a second time otherwise.
    pub(crate) fn close(&mut self, close: Close, out: &mut Outgoing) {
        let frame = CloseFrame {
            code: WireCode::from(close.code()),
            reason: close.reason().into(),
        };
        let mut pipe = Pipe {
            input: &mut &[][..],
            out,
        };
        let _ = self.context().close(&mut pipe, Some(frame));
    }
}

/// A whole message as the bytes of one frame, shared by all who send it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Encoded {
    frame: Bytes,
    payload: usize,
}

/// Shows the length alone: a payload may be anybody's secret.
impl fmt::Debug for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Encoded({} bytes)", self.frame.len())
    }
}

impl Encoded {
    pub(crate) fn new(message: &Message) -> Self {
        let payload = message.payload();
        let mut frame = Vec::with_capacity(frame::SERVER_HEADER_MAX + payload.len());
        frame::write_header(&mut frame, opcode(message), payload.len());
        frame.extend_from_slice(payload);
        Self {
            frame: Bytes::from(frame),
            payload: payload.len(),
        }
    }

    /// Returns the message, which shares the bytes of the frame.
    pub(crate) fn message(&self) -> Message {
        let payload = self.frame.slice(self.frame.len().saturating_sub(self.payload)..);
        match self.frame.first() {
            Some(&frame::WHOLE_TEXT) => Message::Text(payload),
            Some(_) | None => Message::Binary(payload),
        }
    }

    pub(crate) const fn frame(&self) -> &Bytes {
        &self.frame
    }

    /// Returns the length of the frame, header included, in bytes.
    pub(crate) const fn len(&self) -> usize {
        self.frame.len()
    }

    /// Returns the length of the message, in bytes.
    pub(crate) const fn payload_len(&self) -> usize {
        self.payload
    }
}

const fn opcode(message: &Message) -> Opcode {
    match message {
        Message::Text(_) => Opcode::Text,
        Message::Binary(_) => Opcode::Binary,
    }
}

/// Appends a whole message as one frame.
pub(crate) fn send(message: &Message, out: &mut Outgoing) {
    let payload = message.payload();
    out.append(|bytes| frame::write_header(bytes, opcode(message), payload.len()));
    out.push(payload);
}

/// Appends a Close that no [`Session`] knows of.
pub(crate) fn close(close: Close, out: &mut Outgoing) {
    let reason = close.reason().as_bytes();
    out.append(|bytes| {
        frame::write_header(bytes, Opcode::Close, 2 + reason.len());
        bytes.extend_from_slice(&close.code().to_be_bytes());
        bytes.extend_from_slice(reason);
    });
}

/// Appends an empty Ping.
pub(crate) fn ping(out: &mut Outgoing) {
    out.append(|bytes| frame::write_header(bytes, Opcode::Ping, 0));
}

/// The stream that tungstenite sees: what arrived, and where answers go. It never ends and never
/// blocks for writing.
struct Pipe<'a, 'b> {
    input: &'a mut &'b [u8],
    out: &'a mut Outgoing,
}

impl Read for Pipe<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() {
            // A read of 0 bytes would mean the end of the stream.
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.input.read(buffer)
    }
}

impl Write for Pipe<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
