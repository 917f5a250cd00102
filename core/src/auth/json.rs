//! JSON that means one thing: no member twice, at any depth, and a bounded nesting.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Deepest nesting of objects and lists. Claims in use have three or four levels; each level costs
/// stack.
pub const MAX_DEPTH: usize = 32;

/// Why bytes are not an acceptable JSON object. Carries nothing of the text: it may be a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAnObject;

impl fmt::Display for NotAnObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a JSON object, or a member occurs twice, or it is nested too deeply")
    }
}

impl std::error::Error for NotAnObject {}

/// Reads `bytes` as one JSON object. RFC 7519 section 4 lets a reader refuse duplicate members or
/// take the last one; two readers that differ would see two tokens, so they are refused.
///
/// # Errors
/// [`NotAnObject`] for anything but one object: other values, duplicate members at any depth,
/// nesting beyond [`MAX_DEPTH`], numbers that no `f64` holds, lone surrogates, trailing bytes.
pub fn object(bytes: &[u8]) -> Result<Map<String, Value>, NotAnObject> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Strict { depth: 0 }
        .deserialize(&mut reader)
        .map_err(|_| NotAnObject)?;
    reader.end().map_err(|_| NotAnObject)?;
    match value {
        Value::Object(members) => Ok(members),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(NotAnObject)
        }
    }
}

/// What a node of the tree that holds the members of an object takes, in bytes, at most.
const NODE: usize = 720;
/// How few members a node may hold, other than the only one.
const NODE_MEMBERS: usize = 5;

/// Returns about how much memory `members` take, in bytes: rather too much than too little.
pub(super) fn weight_of(members: &Map<String, Value>) -> usize {
    let nodes = members.len().div_ceil(NODE_MEMBERS) * NODE;
    let each = members
        .iter()
        .map(|(name, value)| name.capacity() + weight_of_value(value));
    nodes + each.sum::<usize>()
}

/// Returns what `value` takes elsewhere, in bytes. It is nested no deeper than [`MAX_DEPTH`].
fn weight_of_value(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.capacity(),
        Value::Array(list) => {
            list.capacity() * size_of::<Value>() + list.iter().map(weight_of_value).sum::<usize>()
        }
        Value::Object(members) => weight_of(members),
    }
}

/// Reads one value at `depth` levels below the top.
#[derive(Clone, Copy)]
struct Strict {
    depth: usize,
}

impl Strict {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth >= MAX_DEPTH {
            return Err(E::custom("nested too deeply"));
        }
        Ok(Self {
            depth: self.depth + 1,
        })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value_seed(inner)?;
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("a member occurs twice"));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn r12_duplicate_members_are_refused_at_every_level() {
        assert!(object(br#"{"a":1,"b":{"a":2}}"#).is_ok());
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":{"b":1,"b":2}}"#,
            r#"{"a":[{"b":1,"b":2}]}"#,
            r#"{"exp":1,"\u0065xp":2}"#,
        ] {
            assert_eq!(object(text.as_bytes()), Err(NotAnObject), "{text}");
        }
    }

    #[test]
    fn r12_nesting_is_bounded() {
        // The object itself is the first level.
        let nested = |lists: usize| format!(r#"{{"a":{}{}}}"#, "[".repeat(lists), "]".repeat(lists));
        assert!(object(nested(MAX_DEPTH - 1).as_bytes()).is_ok());
        assert!(object(nested(MAX_DEPTH).as_bytes()).is_err());
        assert!(object(nested(100_000).as_bytes()).is_err());
    }

    #[test]
    fn m31_what_is_read_weighs_at_least_its_text() {
        let weight = |text: &str| weight_of(&object(text.as_bytes()).unwrap());
        assert_eq!(weight("{}"), 0);
        let text = format!(r#"{{"a":"{}"}}"#, "x".repeat(5000));
        assert!((5001..6000).contains(&weight(&text)));
        // A list takes more than its text, a nest of objects still more.
        assert!(weight(&format!(r#"{{"a":[1{}]}}"#, ",1".repeat(999))) > 1000 * size_of::<Value>());
        assert!(weight(r#"{"a":{"b":{"c":{}}}}"#) >= 3 * NODE);
    }

    #[test]
    fn r12_only_one_whole_object_is_an_object() {
        for text in [
            "",
            "1",
            "[]",
            "\"a\"",
            "null",
            "{} {}",
            "{}x",
            "{",
            "{'a':1}",
            "{\"a\":1,}",
            "\u{feff}{}",
            r#"{"a":1e400}"#,
            r#"{"a":NaN}"#,
            r#"{"a":"\ud800"}"#,
            "{\"a\":\"\n\"}",
        ] {
            assert_eq!(object(text.as_bytes()), Err(NotAnObject), "{text}");
        }
        assert!(object(b"{\"a\":\"\xff\"}").is_err());
        assert_eq!(object(b" {\"a\":-1.5} ").unwrap().len(), 1);
    }
}
