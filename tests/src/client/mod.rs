//! A client of the tests' own: it writes what it is told and reads strictly.

mod digest;
mod frame;
mod link;
mod request;
mod response;

use std::time::Duration;

pub use digest::{Digest, digest_line, digest_lines, without_nonces};
pub use frame::{BINARY, CLOSE, CONTINUATION, Frame, PING, PONG, TEXT, header};
pub use link::{End, Link, Received};
pub use request::{ACCEPT, KEY, Request, get, upgrade};
pub use response::{Response, mask_date};

/// How long a client waits for anything: real seconds or virtual ones.
const PATIENCE: Duration = Duration::from_secs(10);

/// A client with one stream.
#[derive(Debug)]
pub struct Client {
    link: Box<dyn Link>,
    buffer: Vec<u8>,
    patience: Duration,
    /// Everything that arrived.
    pub transcript: Vec<u8>,
}

impl Client {
    /// A client at this end of a stream.
    pub fn new(link: Box<dyn Link>) -> Self {
        Self {
            link,
            buffer: Vec::new(),
            patience: PATIENCE,
            transcript: Vec::new(),
        }
    }

    /// Waits longer, or less long, for what follows.
    pub const fn wait_at_most(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Writes bytes, as one write.
    pub fn send(&mut self, bytes: &[u8]) {
        self.link.send(bytes);
    }

    /// Writes a frame.
    pub fn send_frame(&mut self, frame: &Frame) {
        self.link.send(&frame.masked());
    }

    /// Writes the same bytes again and again without reading, until the stream takes no more.
    pub fn flood(&mut self, bytes: &[u8], times: usize) {
        for _ in 0..times {
            if !self.link.send(bytes) {
                return;
            }
        }
    }

    /// Shuts down writing.
    pub fn half_close(&mut self) {
        self.link.half_close();
    }

    /// Resets the stream.
    pub fn abort(mut self) {
        self.link.abort();
    }

    /// Stops reading until something is expected again.
    pub fn stop_reading(&mut self, room: usize) {
        self.link.stop_reading(room);
    }

    /// Writes a request and reads the answer.
    pub fn ask(&mut self, request: &Request) -> Response {
        self.send(&request.bytes());
        self.expect_response()
    }

    /// Reads an answer.
    pub fn expect_response(&mut self) -> Response {
        self.read_response(false)
    }

    /// Reads the answer to a HEAD request.
    pub fn expect_head(&mut self) -> Response {
        self.read_response(true)
    }

    /// Writes an upgrade request that is granted.
    ///
    /// # Panics
    /// If it is not.
    pub fn open(&mut self, request: &Request) -> Response {
        let answer = self.ask(request);
        assert_eq!(answer.status, 101, "{answer:?}");
        answer
    }

    fn read_response(&mut self, to_head: bool) -> Response {
        loop {
            if let Some(response) = Response::read(&self.buffer, to_head) {
                self.buffer.drain(..response.raw.len());
                return response;
            }
            self.fill("an answer");
        }
    }

    /// Reads a frame.
    pub fn read_frame(&mut self) -> Frame {
        loop {
            if let Some((frame, length)) = Frame::read(&self.buffer) {
                self.buffer.drain(..length);
                return frame;
            }
            self.fill("a frame");
        }
    }

    /// Reads a frame that is not a ping.
    pub fn read_message(&mut self) -> Frame {
        loop {
            let frame = self.read_frame();
            if frame.opcode != PING {
                return frame;
            }
        }
    }

    /// Writes a frame and expects the same back, unmasked.
    ///
    /// # Panics
    /// If another comes back.
    pub fn expect_echo(&mut self, frame: &Frame) {
        self.send_frame(frame);
        assert_eq!(&self.read_message(), frame);
    }

    /// Reads a close frame, answers it, and reads the end of the stream.
    ///
    /// # Panics
    /// If another frame or another code comes, or bytes behind it.
    pub fn expect_close(&mut self, code: u16, reason: &str) {
        self.expect_close_frame(code, reason);
        self.send_frame(&Frame::whole(CLOSE, &code.to_be_bytes()));
        self.half_close();
        self.expect_eof();
    }

    /// Reads a close frame.
    ///
    /// # Panics
    /// If another frame or another code comes.
    pub fn expect_close_frame(&mut self, code: u16, reason: &str) {
        let frame = self.read_message();
        assert_eq!(
            frame,
            Frame::close(code, reason),
            "{:?}",
            String::from_utf8_lossy(&frame.payload)
        );
    }

    /// Reads the end of the stream, and nothing before it.
    ///
    /// # Panics
    /// If bytes come first, or nothing does, or a reset.
    pub fn expect_eof(&mut self) {
        assert_eq!(self.next_end(), End::Eof);
    }

    /// Reads the end of the stream, orderly or not, and nothing before it.
    ///
    /// # Panics
    /// If bytes come first, or nothing does.
    pub fn expect_end(&mut self) {
        self.next_end();
    }

    fn next_end(&mut self) -> End {
        assert!(
            self.buffer.is_empty(),
            "bytes before the end: {}",
            shown(&self.buffer)
        );
        match self.link.receive(self.patience) {
            Received::End(end) => end,
            Received::Bytes(bytes) => panic!("bytes instead of the end: {}", shown(&bytes)),
            Received::Nothing => panic!("nothing instead of the end"),
        }
    }

    /// Reads nothing for `time`.
    ///
    /// # Panics
    /// If something comes.
    pub fn expect_silence(&mut self, time: Duration) {
        assert!(self.buffer.is_empty(), "bytes left: {}", shown(&self.buffer));
        let received = self.link.receive(time);
        assert_eq!(received, Received::Nothing);
    }

    /// Reads until `count` bytes are there, and takes them.
    pub fn read_bytes(&mut self, count: usize) -> Vec<u8> {
        while self.buffer.len() < count {
            self.fill("bytes");
        }
        self.buffer.drain(..count).collect()
    }

    /// Reads until the stream ends, and takes everything.
    pub fn read_to_end(&mut self) -> (Vec<u8>, End) {
        loop {
            match self.link.receive(self.patience) {
                Received::Bytes(bytes) => self.take_in(&bytes),
                Received::End(end) => return (std::mem::take(&mut self.buffer), end),
                Received::Nothing => panic!("no end came after {}", shown(&self.buffer)),
            }
        }
    }

    fn take_in(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
        self.transcript.extend_from_slice(bytes);
    }

    fn fill(&mut self, what: &str) {
        match self.link.receive(self.patience) {
            Received::Bytes(bytes) => self.take_in(&bytes),
            Received::End(end) => panic!("{end:?} instead of {what}, after {}", shown(&self.buffer)),
            Received::Nothing => panic!("nothing instead of {what}, after {}", shown(&self.buffer)),
        }
    }
}

fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().take(400).map(char::from).collect()
}
