//! `points`: named last values. A client sees the state at once and then every write; who is entitled
//! to sets it by sending.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use super::{Context, Service};
use crate::auth::json;
use crate::bell::Bell;
use crate::budget::{Memory, MemoryClaim};
use crate::config::Entitlement;
use crate::http::date::rfc3339;
use crate::hub::Reader;
use crate::legs::HIGH_WATER;
use crate::time::UnixTime;
use crate::ws::frame::UNCLAIMED_LIMIT;
use crate::ws::{Close, Message};

/// The state of a point that nobody has written yet.
pub(crate) const UNWRITTEN: &str = r#"{"value":null,"time":null,"quality":"bad"}"#;

/// What a writer may say of a value.
const QUALITIES: [&str; 3] = ["good", "bad", "uncertain"];

/// One client of a data point.
#[derive(Debug)]
pub(crate) struct Points {
    /// Its place among the readers; `None` if the path leads to no point, which no route does.
    reader: Option<Reader>,
    /// Longest value, in bytes of JSON.
    value_limit: usize,
    /// What large values claim while they wait for the client, and who is rung when some comes back.
    memory: (Arc<Memory>, Arc<Bell>),
}

/// A state that waits for a client, with the memory that it takes there: others are told newer ones
/// meanwhile, so that each client may hold another.
struct Claimed {
    state: Bytes,
    _claim: MemoryClaim,
}

impl AsRef<[u8]> for Claimed {
    fn as_ref(&self) -> &[u8] {
        &self.state
    }
}

impl Points {
    pub(crate) const fn new(
        reader: Option<Reader>,
        value_limit: usize,
        memory: (Arc<Memory>, Arc<Bell>),
    ) -> Self {
        Self {
            reader,
            value_limit,
            memory,
        }
    }

    /// Sends what is new, as far as the client keeps up.
    fn tell(&mut self, context: &mut Context<'_>) {
        let Some(reader) = &mut self.reader else { return };
        while let Some(state) = reader.next(context.backlog() < HIGH_WATER) {
            let (memory, bell) = &self.memory;
            let Some(state) = claimed(state, memory, bell) else {
                return reader.put_back();
            };
            context.send(&Message::Text(state));
        }
    }

    fn set(&self, context: &Context<'_>, message: &Message) -> Result<(), Close> {
        if !context
            .rules
            .acl
            .holds(&context.grant().roles, Entitlement::Write)
        {
            return Err(Close::NotAllowedToWrite);
        }
        let text = match message {
            Message::Text(text) => text,
            Message::Binary(_) => return Err(Close::Unsupported),
        };
        let state = state(text, self.value_limit, context.now().unix)?;
        let reader = self.reader.as_ref().ok_or(Close::Internal)?;
        reader.write(state, context.now().unix).map_err(|_| Close::TooBig)
    }
}

impl Service for Points {
    fn opened(&mut self, context: &mut Context<'_>) {
        match &self.reader {
            None => context.close(Close::Internal),
            Some(reader) if reader.is_written() => {}
            Some(_) => context.send(&Message::Text(Bytes::from_static(UNWRITTEN.as_bytes()))),
        }
        self.tell(context);
    }

    fn message(&mut self, context: &mut Context<'_>, message: Message) {
        match self.set(context, &message) {
            // At once: others may have written many more before the connection is stepped again.
            Ok(()) => self.tell(context),
            Err(close) => context.close(close),
        }
    }

    fn rung(&mut self, context: &mut Context<'_>) {
        self.tell(context);
    }
}

/// Claims memory for `state` if it is large; `None` if there is none, and then the bell rings when there
/// is.
pub(crate) fn claimed(state: Bytes, memory: &Arc<Memory>, bell: &Arc<Bell>) -> Option<Bytes> {
    if state.len() <= UNCLAIMED_LIMIT {
        return Some(state);
    }
    let _claim = memory.claim(state.len().min(memory.total()), bell)?;
    Some(Bytes::from_owner(Claimed { state, _claim }))
}

/// Makes the state of a point from what a client sent. Members besides `value` and `quality` are
/// ignored, so that a client can send back what it was sent; the time is always the server's.
fn state(text: &[u8], value_limit: usize, now: UnixTime) -> Result<Bytes, Close> {
    let sent = json::object(text).map_err(|_| Close::NotText)?;
    let value = sent.get("value").ok_or(Close::NotText)?.to_string();
    let quality = match sent.get("quality") {
        None => "good",
        Some(Value::String(quality)) => QUALITIES
            .into_iter()
            .find(|known| known == quality)
            .ok_or(Close::NotText)?,
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            return Err(Close::NotText);
        }
    };
    // Numbers can be longer than they were written.
    if value.len() > value_limit {
        return Err(Close::TooBig);
    }
    let time = rfc3339(now);
    let state = format!(r#"{{"value":{value},"time":"{time}","quality":"{quality}"}}"#);
    // What it grew by while it was written is not kept as long as the value.
    Ok(Bytes::from(state.into_boxed_str().into_boxed_bytes()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn stored(text: &str) -> Result<String, Close> {
        let state = state(text.as_bytes(), 20, UnixTime::from_secs(1_000_000_000))?;
        Ok(String::from_utf8(state.to_vec()).unwrap())
    }

    #[test]
    fn any_json_is_a_value_and_the_server_stamps_it() {
        for (value, quality, expected) in [
            ("21.5", "", "good"),
            ("null", r#","quality":"bad""#, "bad"),
            (r#"{"a":[1,"\u0000"]}"#, r#","quality":"uncertain""#, "uncertain"),
            (
                "true",
                r#","quality":"good","time":"1970-01-01T00:00:00Z","x":1"#,
                "good",
            ),
        ] {
            let time = "2001-09-09T01:46:40.000Z";
            assert_eq!(
                stored(&format!(r#"{{"value":{value}{quality}}}"#)),
                Ok(format!(
                    r#"{{"value":{value},"time":"{time}","quality":"{expected}"}}"#
                ))
            );
        }
    }

    #[test]
    fn what_is_no_value_is_1007() {
        for text in [
            "",
            "1",
            "{}",
            "[]",
            r#"{"value":1"#,
            r#"{"value":1}x"#,
            r#"{"Value":1}"#,
            r#"{"value":1,"value":2}"#,
            r#"{"value":1e400}"#,
            r#"{"value":1,"quality":"Good"}"#,
            r#"{"value":1,"quality":null}"#,
        ] {
            assert_eq!(stored(text), Err(Close::NotText), "{text}");
        }
    }

    #[test]
    fn a_value_is_as_long_as_a_message_at_most() {
        let text = |letters: usize| format!(r#"{{"value":"{}"}}"#, "a".repeat(letters));
        assert!(stored(&text(18)).is_ok());
        assert_eq!(stored(&text(19)), Err(Close::TooBig));
        assert_eq!(stored(r#"{"value":[1e9,1e9]}"#), Err(Close::TooBig));
    }
}
