//! One HTTP request and its answer (RFC 9112), on `ureq-proto`'s states.

use std::fmt;
use std::time::Duration;

use ureq_proto::BodyMode;
use ureq_proto::client::state::{RecvBody, RecvResponse};
use ureq_proto::client::{Call, RecvResponseResult, SendRequestResult};
use ureq_proto::http::header::CACHE_CONTROL;
use ureq_proto::http::{Request, Response};

use super::{Fault, Line};
use crate::leg::{Leg, LegEvent};
use crate::legs::Legs;
use crate::secret::Secret;

/// The largest head of an answer that is read, in bytes.
const HEAD_LIMIT: usize = 16 * 1024;

/// Room for a request's head: a configured URL of at most a few KiB and a credential.
const REQUEST_HEAD: usize = 16 * 1024;

/// A request that is sent as soon as its leg is open, and the answer so far.
pub(crate) struct Fetch {
    request: Option<Secret<Vec<u8>>>,
    state: State,
    /// What was heard and not understood yet.
    heard: Vec<u8>,
    reply: Reply,
    limit: usize,
}

enum State {
    Head(Call<RecvResponse>),
    Body(Call<RecvBody>),
    Over,
}

/// What was answered.
#[derive(Default)]
pub(crate) struct Reply {
    /// The status code.
    pub(crate) status: u16,
    /// The content.
    pub(crate) body: Vec<u8>,
    /// How long it may be kept, if it says so (RFC 9111 section 5.2.2.1).
    pub(crate) max_age: Option<Duration>,
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply")
            .field("status", &self.status)
            .field("body", &self.body.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Fetch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetch")
            .field("heard", &self.heard.len())
            .field("reply", &self.reply)
            .finish_non_exhaustive()
    }
}

impl Fetch {
    /// A request with `body`; at most `limit` bytes of the answer's content are read. `None` if the
    /// request cannot be written, for which the configuration's check leaves no way.
    pub(crate) fn new(request: Request<()>, body: &[u8], limit: usize) -> Option<Self> {
        let mut written = vec![0; REQUEST_HEAD + body.len()];
        let mut call = Call::new(request).ok()?.proceed();
        let mut length = 0;
        while !call.can_proceed() {
            match call.write(written.get_mut(length..)?).ok()? {
                0 => return None,
                more => length += more,
            }
        }
        let call = match call.proceed().ok()?? {
            SendRequestResult::RecvResponse(call) => call,
            SendRequestResult::SendBody(mut call) => {
                let (used, more) = call.write(body, written.get_mut(length..)?).ok()?;
                if used != body.len() {
                    return None;
                }
                length += more;
                call.proceed()?
            }
            SendRequestResult::Await100(_) => return None,
        };
        written.truncate(length);
        Some(Self {
            request: Some(Secret::new(written)),
            state: State::Head(call),
            heard: Vec::new(),
            reply: Reply::default(),
            limit,
        })
    }

    /// Takes in what happened on the leg; some as soon as the answer is complete or cannot become so.
    pub(crate) fn hear(&mut self, line: &mut Line<'_>, event: LegEvent<'_>) -> Option<Result<Reply, Fault>> {
        match event {
            LegEvent::Opened(_) => {
                if let Some(request) = self.request.take() {
                    line.write(request.expose());
                }
                None
            }
            LegEvent::Secured(_) => None,
            LegEvent::Failed(_) | LegEvent::Broken(_) => Some(Err(Fault::Unreachable)),
            LegEvent::Data(bytes) => self.read(bytes).transpose(),
            LegEvent::Eof => Some(self.end()),
        }
    }

    fn read(&mut self, bytes: &[u8]) -> Result<Option<Reply>, Fault> {
        self.heard.extend_from_slice(bytes);
        loop {
            match std::mem::replace(&mut self.state, State::Over) {
                State::Head(mut call) => {
                    let (used, response) = call
                        .try_response(&self.heard, false)
                        .map_err(|_| Fault::Unusable)?;
                    self.heard.drain(..used.min(self.heard.len()));
                    let Some(response) = response else {
                        self.state = State::Head(call);
                        // An interim answer was taken: what is behind it may be the real one.
                        if used > 0 {
                            continue;
                        }
                        let fits = self.heard.len() <= HEAD_LIMIT;
                        return if fits { Ok(None) } else { Err(Fault::Unusable) };
                    };
                    // A 101 to a request that asked for no upgrade.
                    if response.status().is_informational() {
                        return Err(Fault::Unusable);
                    }
                    self.reply.status = response.status().as_u16();
                    self.reply.max_age = max_age(&response);
                    match call.proceed() {
                        Some(RecvResponseResult::RecvBody(call)) => self.state = State::Body(call),
                        // A redirect leads where the configuration does not: it is no answer.
                        Some(RecvResponseResult::Redirect(_)) | None => return Err(Fault::Unusable),
                        Some(RecvResponseResult::Cleanup(_)) => {
                            return Ok(Some(std::mem::take(&mut self.reply)));
                        }
                    }
                }
                State::Body(call) => return self.read_body(call),
                State::Over => return Ok(None),
            }
        }
    }

    fn read_body(&mut self, mut call: Call<RecvBody>) -> Result<Option<Reply>, Fault> {
        let mut output = vec![0; self.heard.len()];
        loop {
            let (used, more) = call.read(&self.heard, &mut output).map_err(|_| Fault::Unusable)?;
            self.heard.drain(..used.min(self.heard.len()));
            self.reply
                .body
                .extend_from_slice(output.get(..more).unwrap_or_default());
            if self.reply.body.len() > self.limit {
                return Err(Fault::Unusable);
            }
            let by_close = matches!(call.body_mode(), BodyMode::CloseDelimited);
            if call.can_proceed() && !by_close {
                return Ok(Some(std::mem::take(&mut self.reply)));
            }
            if used == 0 && more == 0 {
                // What is left is part of a chunk's frame, a line of it.
                if self.heard.len() > HEAD_LIMIT {
                    return Err(Fault::Unusable);
                }
                self.state = State::Body(call);
                return Ok(None);
            }
        }
    }

    /// The far end has nothing more to say.
    fn end(&mut self) -> Result<Reply, Fault> {
        match &self.state {
            State::Body(call) if matches!(call.body_mode(), BodyMode::CloseDelimited) => {
                Ok(std::mem::take(&mut self.reply))
            }
            State::Head(_) | State::Body(_) | State::Over => Err(Fault::Unreachable),
        }
    }
}

/// Returns `max-age`; nothing for what must not be kept at all.
fn max_age(response: &Response<()>) -> Option<Duration> {
    let fields = response.headers().get_all(CACHE_CONTROL).into_iter();
    let mut age = None;
    for field in fields {
        for directive in field.to_str().ok()?.split(',').map(str::trim) {
            if directive.eq_ignore_ascii_case("no-store") || directive.eq_ignore_ascii_case("no-cache") {
                return Some(Duration::ZERO);
            }
            if let Some((name, value)) = directive.split_once('=')
                && name.eq_ignore_ascii_case("max-age")
            {
                age = value.trim_matches('"').parse().ok().map(Duration::from_secs);
            }
        }
    }
    age
}

/// A request whose server whoever rehearses plays: for the fuzzer, which plays a mad one.
#[derive(Debug)]
pub struct Rehearsal {
    fetch: Fetch,
    legs: Legs,
}

impl Rehearsal {
    /// The largest content that is read, in bytes.
    pub const LIMIT: usize = 4096;

    /// A request that was sent; `None` if it could not be written.
    pub fn new() -> Option<Self> {
        let request = Request::get("http://localhost/").body(()).ok()?;
        let fetch = Fetch::new(request, b"", Self::LIMIT)?;
        Some(Self {
            fetch,
            legs: Legs::without_client(),
        })
    }

    /// Lets the server say `bytes`, or end its stream. Returns the status and the content as soon as
    /// they are known.
    ///
    /// # Errors
    /// What was said cannot become an answer any more.
    pub fn say(&mut self, bytes: Option<&[u8]>) -> Option<Result<(u16, Vec<u8>), String>> {
        let mut line = Line::new(&mut self.legs, Leg::CLIENT);
        let event = bytes.map_or(LegEvent::Eof, LegEvent::Data);
        let heard = self.fetch.hear(&mut line, event)?;
        Some(match heard {
            Ok(reply) => Ok((reply.status, reply.body)),
            Err(fault) => Err(fault.to_string()),
        })
    }

    /// Returns how many bytes of what was said are kept.
    pub fn held(&self) -> usize {
        self.fetch.heard.len() + self.fetch.reply.body.len()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::leg::{Break, Destination, DialError, Opened};

    fn fetch(method: &str, body: &[u8]) -> (Fetch, Legs, Leg) {
        let request = Request::builder()
            .method(method)
            .uri("http://idp.example:8080/keys?a=b")
            .header("Accept", "application/json")
            .header("Connection", "close");
        let request = if body.is_empty() {
            request
        } else {
            request.header("Content-Length", body.len())
        };
        let mut legs = Legs::new();
        let to = Destination::Tcp {
            host: "idp.example".into(),
            port: 8080,
            tls: None,
        };
        let leg = legs.dial(to).unwrap();
        legs.get_mut(leg).unwrap().open = true;
        (
            Fetch::new(request.body(()).unwrap(), body, 100).unwrap(),
            legs,
            leg,
        )
    }

    fn hear(fetch: &mut Fetch, bytes: &[u8], step: usize) -> Option<Result<Reply, Fault>> {
        let mut legs = Legs::new();
        let mut line = Line::new(&mut legs, Leg::CLIENT);
        bytes
            .chunks(step)
            .find_map(|chunk| fetch.hear(&mut line, LegEvent::Data(chunk)))
    }

    #[test]
    fn the_request_is_written_when_the_leg_opens() {
        for (method, body, expected) in [
            (
                "GET",
                &b""[..],
                "GET /keys?a=b HTTP/1.1\r\nhost: idp.example:8080\r\naccept: application/json\r\nconnection: close\r\n\r\n",
            ),
            (
                "POST",
                b"token=x",
                "POST /keys?a=b HTTP/1.1\r\nhost: idp.example:8080\r\naccept: application/json\r\nconnection: close\r\ncontent-length: 7\r\n\r\ntoken=x",
            ),
        ] {
            let (mut fetch, mut legs, leg) = fetch(method, body);
            let mut line = Line::new(&mut legs, leg);
            assert!(
                fetch
                    .hear(&mut line, LegEvent::Opened(Opened::default()))
                    .is_none()
            );
            let written = legs.get(leg).unwrap().out.chunk();
            assert_eq!(String::from_utf8_lossy(written), expected);
        }
    }

    #[test]
    fn e08_answers_of_every_framing_are_read_however_they_are_split() {
        for (answer, body, age) in [
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nCache-Control: public, max-age=60\r\n\r\nhi",
                "hi",
                Some(60),
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nh\r\n1\r\ni\r\n0\r\n\r\n",
                "hi",
                None,
            ),
            (
                "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: 2\r\n\r\nhi",
                "hi",
                Some(0),
            ),
            ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "", None),
        ] {
            for step in [1, 2, 7, answer.len()] {
                let (mut fetch, ..) = fetch("GET", b"");
                let reply = hear(&mut fetch, answer.as_bytes(), step).unwrap().unwrap();
                assert_eq!(reply.status, 200);
                assert_eq!(reply.body, body.as_bytes(), "{answer:?} by {step}");
                assert_eq!(reply.max_age, age.map(Duration::from_secs));
            }
        }
    }

    #[test]
    fn e08_an_answer_may_end_with_its_stream() {
        let (mut fetch, mut legs, leg) = fetch("GET", b"");
        assert!(hear(&mut fetch, b"HTTP/1.1 200 OK\r\n\r\nhi", 3).is_none());
        let mut line = Line::new(&mut legs, leg);
        let reply = fetch.hear(&mut line, LegEvent::Eof).unwrap().unwrap();
        assert_eq!(reply.body, b"hi");
    }

    #[test]
    fn e08_what_is_no_answer_is_a_fault() {
        let large = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n{}",
            "x".repeat(101)
        );
        let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(HEAD_LIMIT));
        for answer in [
            "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n",
            "220 mail.example ESMTP\r\n\r\n",
            &large,
            &endless,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        ] {
            for step in [1, 1000, answer.len()] {
                let (mut fetch, ..) = fetch("GET", b"");
                let heard = hear(&mut fetch, answer.as_bytes(), step);
                assert!(matches!(heard, Some(Err(Fault::Unusable))), "{answer:.60?}");
            }
        }
        for half in [
            "",
            "HTTP/1.1 200",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi",
        ] {
            for event in [
                LegEvent::Eof,
                LegEvent::Broken(Break::Reset),
                LegEvent::Failed(DialError::Refused),
            ] {
                let (mut fetch, mut legs, leg) = fetch("GET", b"");
                assert!(hear(&mut fetch, half.as_bytes(), 100).is_none());
                let mut line = Line::new(&mut legs, leg);
                let heard = fetch.hear(&mut line, event);
                assert!(matches!(heard, Some(Err(Fault::Unreachable))), "{half:?}");
            }
        }
    }
}
