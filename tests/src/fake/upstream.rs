//! An upstream of the proxy: it answers an upgrade as it is told, and keeps everything that it gets.

use std::sync::{Arc, Mutex, MutexGuard};

use countersign_core::http::upgrade::accept_key;

use super::{Fake, Reply, Talker};
use crate::client::{CLOSE, Frame, PING, PONG};

/// What the upstream does with an upgrade.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mood {
    /// It accepts, with these lines in its 101, each with its line end.
    Accepts(String),
    /// It answers this, whatever it is asked.
    Says(Vec<u8>),
    /// It takes the request and says nothing.
    Silent,
    /// It ends every stream at once.
    Dead,
    /// It speaks no HTTP at all: from the first byte on it keeps what it gets.
    Stream,
}

#[derive(Debug)]
struct State {
    mood: Mood,
    echoes: bool,
    /// A frame without a mask ends its stream, and not the test.
    forgives: bool,
    heads: Vec<String>,
    heard: Vec<u8>,
    /// What it says as soon as it has accepted, or as soon as it is asked.
    unsaid: Vec<u8>,
    ends: bool,
    open: usize,
    streams: usize,
}

/// A fake upstream; clones are the same one.
#[derive(Clone, Debug)]
pub struct Upstream(Arc<Mutex<State>>);

impl Upstream {
    /// One that behaves like this, and sends nothing by itself.
    pub fn new(mood: Mood) -> Self {
        Self(Arc::new(Mutex::new(State {
            mood,
            echoes: false,
            forgives: false,
            heads: Vec::new(),
            heard: Vec::new(),
            unsaid: Vec::new(),
            ends: false,
            open: 0,
            streams: 0,
        })))
    }

    /// One that accepts every upgrade.
    pub fn accepting() -> Self {
        Self::new(Mood::Accepts(String::new()))
    }

    /// One that accepts and sends messages back, answers Ping, and ends the stream after a Close.
    pub fn echoing() -> Self {
        let upstream = Self::accepting();
        upstream.state().echoes = true;
        upstream
    }

    /// Ends the stream of a client that breaks the protocol, where clients may do that.
    pub fn forgiving(self) -> Self {
        self.state().forgives = true;
        self
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Behaves like this from now on.
    pub fn is(&self, mood: Mood) {
        self.state().mood = mood;
    }

    /// Says this next, on one stream.
    pub fn say(&self, bytes: &[u8]) {
        self.state().unsaid.extend_from_slice(bytes);
    }

    /// Ends its streams behind what it has still to say.
    pub fn end(&self) {
        self.state().ends = true;
    }

    /// Returns the heads of all requests so far.
    pub fn heads(&self) -> Vec<String> {
        self.state().heads.clone()
    }

    /// Returns everything that came behind the heads.
    pub fn heard(&self) -> Vec<u8> {
        self.state().heard.clone()
    }

    /// Returns how many streams are open.
    pub fn open(&self) -> usize {
        self.state().open
    }

    /// Returns how many streams there were.
    pub fn streams(&self) -> usize {
        self.state().streams
    }

    /// Returns who answers its streams.
    pub fn fake(&self) -> Fake {
        let upstream = self.clone();
        Fake::new(move || {
            let mut state = upstream.state();
            state.open += 1;
            state.streams += 1;
            drop(state);
            Stream {
                upstream: upstream.clone(),
                head: Vec::new(),
                accepted: false,
                frames: Vec::new(),
            }
        })
    }
}

fn unmasked(frames: &[u8]) -> bool {
    frames.get(1).is_some_and(|byte| byte & 0x80 == 0)
}

struct Stream {
    upstream: Upstream,
    head: Vec<u8>,
    accepted: bool,
    /// What of the frames was not sent back yet.
    frames: Vec<u8>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.upstream.state().open -= 1;
    }
}

impl Stream {
    /// Goes on after the 101.
    fn go_on(&mut self, bytes: &[u8], state: &mut State) -> Reply {
        state.heard.extend_from_slice(bytes);
        let mut said = std::mem::take(&mut state.unsaid);
        let mut end = state.ends;
        if state.echoes && state.mood == Mood::Stream {
            said.extend_from_slice(bytes);
        } else if state.echoes {
            self.frames.extend_from_slice(bytes);
            while let Some((mut frame, used)) = Some(&self.frames)
                .filter(|frames| !state.forgives || !unmasked(frames))
                .and_then(|frames| Frame::read_masked(frames))
            {
                self.frames.drain(..used);
                if frame.opcode == PONG {
                    continue;
                }
                end |= frame.opcode == CLOSE;
                if frame.opcode == PING {
                    frame.opcode = PONG;
                }
                said.extend_from_slice(&frame.unmasked());
                if end {
                    self.frames.clear();
                }
            }
        }
        end |= state.forgives && unmasked(&self.frames);
        Reply {
            bytes: said,
            end,
            tls: false,
        }
    }
}

impl Talker for Stream {
    fn hear(&mut self, bytes: &[u8]) -> Reply {
        let upstream = self.upstream.clone();
        let mut state = upstream.state();
        let mood = state.mood.clone();
        if self.accepted || mood == Mood::Stream {
            return self.go_on(bytes, &mut state);
        }
        if mood == Mood::Dead {
            return Reply::last("");
        }
        self.head.extend_from_slice(bytes);
        let Some(at) = self.head.windows(4).position(|four| four == b"\r\n\r\n") else {
            return Reply::SILENCE;
        };
        let head = String::from_utf8(self.head[..at + 4].to_vec()).unwrap();
        if !state.heads.contains(&head) || mood != Mood::Silent {
            state.heads.push(head.clone());
        }
        match mood {
            Mood::Silent => Reply::SILENCE,
            Mood::Says(answer) => Reply::last(answer),
            Mood::Accepts(fields) => {
                self.accepted = true;
                let key = head
                    .lines()
                    .find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
                let accept = accept_key(key.unwrap());
                let mut answer = format!(
                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                     Sec-WebSocket-Accept: {accept}\r\n{fields}\r\n"
                )
                .into_bytes();
                let behind = self.head.split_off(at + 4);
                let reply = self.go_on(&behind, &mut state);
                answer.extend_from_slice(&reply.bytes);
                Reply {
                    bytes: answer,
                    ..reply
                }
            }
            Mood::Dead | Mood::Stream => Reply::SILENCE,
        }
    }
}
