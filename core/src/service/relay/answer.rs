//! The upstream's answer to the upgrade: a right 101, or none at all.

use std::fmt;

use zeroize::Zeroizing;

use crate::http::syntax::{is_token, list_items, trim_ows};
use crate::http::{FIELD_LIMIT, Reply};

/// Largest head of an upstream's answer, in bytes: it has a few fields and cookies.
pub const ANSWER_LIMIT: usize = 16 * 1024;

/// How an answer begins that accepts the upgrade; a space or the end of the line follows.
const SWITCHING: &[u8] = b"HTTP/1.1 101";

/// The end of a head.
const END: &[u8] = b"\r\n\r\n";

/// What was offered to the upstream: it may choose among this, and nothing else.
#[derive(Clone, Debug, Default)]
pub struct Offer {
    /// The Sec-WebSocket-Accept that answers the key.
    pub accept: String,
    /// The subprotocols.
    pub protocols: Vec<String>,
    /// The names of the extensions.
    pub extensions: Vec<String>,
}

/// What is kept of the upstream's 101. `Debug` shows no value: a cookie may be among them.
#[derive(Default)]
pub struct Accepted {
    /// The subprotocol that it chose.
    pub protocol: Option<String>,
    /// The other fields that are handed on.
    fields: Vec<(String, Vec<u8>)>,
}

impl fmt::Debug for Accepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Accepted({} fields)", self.fields.len())
    }
}

impl Accepted {
    /// Returns the client's 101: with `protocol`, and what is kept of the upstream's.
    pub fn reply(&self, accept: &str, protocol: Option<&str>) -> Reply {
        let reply = Reply::switching(accept, protocol);
        self.fields.iter().fold(reply, |reply, (name, value)| {
            reply.field(name.clone(), value.as_slice())
        })
    }
}

/// How far the answer has arrived.
#[derive(Debug)]
pub enum Scan {
    /// More is needed.
    More,
    /// It accepts. So many of the bytes that were shown last belong to it; the first frames follow.
    Accepted(Accepted, usize),
    /// It does not, or not rightly.
    Refused,
}

/// Reads the head of an answer as it arrives.
#[derive(Default)]
pub struct AnswerReader {
    /// What has arrived. A cookie may be among it.
    head: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for AnswerReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AnswerReader({} bytes)", self.head.len())
    }
}

impl AnswerReader {
    /// Takes in what has arrived next. Not to be called again once it is decided.
    pub fn push(&mut self, bytes: &[u8], offer: &Offer) -> Scan {
        let before = self.head.len();
        let room = ANSWER_LIMIT.saturating_sub(before);
        self.head.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        let begins = self.head.len().min(SWITCHING.len());
        if self.head.get(..begins) != SWITCHING.get(..begins) {
            return Scan::Refused;
        }
        // The end may have begun in what was there before.
        let from = before.saturating_sub(END.len() - 1);
        let new = self.head.get(from..).unwrap_or_default();
        let Some(at) = new.windows(END.len()).position(|window| window == END) else {
            return if self.head.len() >= ANSWER_LIMIT {
                Scan::Refused
            } else {
                Scan::More
            };
        };
        let length = from + at + END.len();
        match judge(self.head.get(..length).unwrap_or_default(), offer) {
            Some(accepted) => Scan::Accepted(accepted, length.saturating_sub(before)),
            None => Scan::Refused,
        }
    }
}

/// Judges a complete head (RFC 6455 section 4.1); `None` if it is not what accepts the offer.
fn judge(head: &[u8], offer: &Offer) -> Option<Accepted> {
    let mut slots = [httparse::EMPTY_HEADER; FIELD_LIMIT];
    let mut parsed = httparse::Response::new(&mut slots);
    match parsed.parse(head) {
        Ok(httparse::Status::Complete(length)) if length == head.len() => {}
        Ok(httparse::Status::Complete(_) | httparse::Status::Partial) | Err(_) => return None,
    }
    if parsed.version != Some(1) || parsed.code != Some(101) {
        return None;
    }
    let all = |name: &'static str| {
        let fields = parsed.headers.iter();
        fields
            .filter(move |field| field.name.eq_ignore_ascii_case(name))
            .map(|field| trim_ows(field.value))
    };
    let one = |name: &'static str| {
        let mut values = all(name);
        let first = values.next();
        (values.next().is_none()).then_some(first)
    };
    let has = |name: &'static str, token: &str| {
        all(name)
            .flat_map(list_items)
            .any(|item| item.eq_ignore_ascii_case(token.as_bytes()))
    };
    let upgrades = has("upgrade", "websocket") && has("connection", "upgrade");
    if !upgrades || one("sec-websocket-accept")? != Some(offer.accept.as_bytes()) {
        return None;
    }
    let protocol = match one("sec-websocket-protocol")? {
        None => None,
        Some(chosen) => Some(
            offer
                .protocols
                .iter()
                .find(|offered| offered.as_bytes() == chosen)?,
        ),
    };
    let mut extensions: Vec<&[u8]> = Vec::new();
    for extension in all("sec-websocket-extensions").flat_map(list_items) {
        let name = trim_ows(extension.split(|&byte| byte == b';').next()?);
        let offered = offer.extensions.iter().any(|offered| offered.as_bytes() == name);
        if !offered || extensions.contains(&name) {
            return None;
        }
        extensions.push(name);
    }
    let kept = parsed.headers.iter().filter(|field| is_kept(field.name));
    Some(Accepted {
        protocol: protocol.cloned(),
        fields: kept
            .map(|field| (field.name.to_owned(), trim_ows(field.value).to_vec()))
            .collect(),
    })
}

/// Says whether a field of the upstream's 101 is handed on as it is. Upgrade, Connection, the key's
/// answer and the subprotocol are written anew.
fn is_kept(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let anew = ["sec-websocket-accept", "sec-websocket-protocol"];
    is_token(name.as_bytes())
        && (name == "set-cookie" || name.starts_with("sec-websocket-"))
        && !anew.contains(&name.as_str())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

    fn offer() -> Offer {
        Offer {
            accept: ACCEPT.to_owned(),
            protocols: vec!["chat".to_owned(), "v2".to_owned()],
            extensions: vec!["permessage-deflate".to_owned()],
        }
    }

    fn answer(fields: &str) -> String {
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: keep-alive, upgrade\r\n\
             Sec-WebSocket-Accept: {ACCEPT}\r\n{fields}\r\n"
        )
    }

    fn accepted(text: &str) -> Option<Accepted> {
        match AnswerReader::default().push(text.as_bytes(), &offer()) {
            Scan::Accepted(accepted, used) => {
                assert_eq!(used, text.len());
                Some(accepted)
            }
            Scan::More | Scan::Refused => None,
        }
    }

    #[test]
    fn e23_what_is_kept_of_the_upstreams_101() {
        let fields = "Sec-WebSocket-Protocol: v2\r\nSec-WebSocket-Extensions: permessage-deflate; a=1\r\nServer: x\r\n\
                      Date: y\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\nX-Powered-By: z\r\nContent-Length: 0\r\n";
        let accepted = accepted(&answer(fields)).unwrap();
        assert_eq!(accepted.protocol.as_deref(), Some("v2"));
        let mut reply = Vec::new();
        accepted.reply(ACCEPT, Some("v2")).write(&mut reply);
        assert_eq!(
            String::from_utf8(reply).unwrap(),
            format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: {ACCEPT}\r\nSec-WebSocket-Protocol: v2\r\n\
                 Sec-WebSocket-Extensions: permessage-deflate; a=1\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\n\r\n"
            )
        );
    }

    #[test]
    fn e23_an_answer_that_was_not_offered_is_none() {
        for fields in [
            "Sec-WebSocket-Protocol: other\r\n",
            "Sec-WebSocket-Protocol: \r\n",
            "Sec-WebSocket-Protocol: chat, v2\r\n",
            "Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: chat\r\n",
            "Sec-WebSocket-Extensions: x-other\r\n",
            "Sec-WebSocket-Extensions: permessage-deflate, permessage-deflate\r\n",
            "Sec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Extensions: x\r\n",
            "Sec-WebSocket-Accept: x\r\n",
            " folded: x\r\n",
        ] {
            assert!(accepted(&answer(fields)).is_none(), "{fields}");
        }
        let good = answer("");
        assert!(accepted(&good).is_some());
        for (from, to) in [
            ("HTTP/1.1", "HTTP/1.0"),
            ("101", "200"),
            ("101", "1010"),
            ("WebSocket\r", "h2c\r"),
            ("keep-alive, upgrade", "keep-alive"),
            (ACCEPT, "AAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        ] {
            assert!(accepted(&good.replace(from, to)).is_none(), "{from} {to}");
        }
    }

    #[test]
    fn m02_the_answer_is_the_same_whatever_the_split() {
        let text = format!("{}frames", answer("Sec-WebSocket-Protocol: chat\r\n"));
        for chunk in 1..text.len() {
            let (mut reader, mut behind) = (AnswerReader::default(), None);
            for part in text.as_bytes().chunks(chunk) {
                match reader.push(part, &offer()) {
                    Scan::More => {}
                    Scan::Accepted(_, used) => {
                        behind = Some(&part[used..]);
                        break;
                    }
                    Scan::Refused => panic!("in parts of {chunk}"),
                }
            }
            assert!("frames".as_bytes().starts_with(behind.unwrap()));
        }
    }

    #[test]
    fn e15_a_head_without_end_is_refused_at_the_limit() {
        let mut reader = AnswerReader::default();
        let start = answer("");
        let start = start.trim_end_matches("\r\n");
        assert!(matches!(reader.push(start.as_bytes(), &offer()), Scan::More));
        let filler = vec![b'x'; ANSWER_LIMIT - start.len() - 1];
        assert!(matches!(reader.push(&filler, &offer()), Scan::More));
        assert!(matches!(reader.push(b"x", &offer()), Scan::Refused));
        // What is no 101 need not be waited for.
        let other = AnswerReader::default().push(b"HTTP/1.1 4", &offer());
        assert!(matches!(other, Scan::Refused));
    }
}
