//! An identity provider: a key set by GET, introspection by POST.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use super::{Fake, Reply, Talker};

/// What the provider does when it is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Mood {
    /// It answers.
    #[default]
    Well,
    /// It takes the question and says nothing.
    Silent,
    /// It ends every stream at once.
    Dead,
    /// It answers this, whatever it is asked.
    Says(Vec<u8>),
}

#[derive(Debug, Default)]
struct State {
    mood: Mood,
    keys: Vec<u8>,
    cache_control: String,
    tokens: BTreeMap<String, String>,
    asked: Vec<String>,
}

/// A fake identity provider; clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct Idp(Arc<Mutex<State>>);

impl Idp {
    /// One that knows nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Publishes a key set.
    pub fn publish(&self, keys: impl Into<Vec<u8>>) {
        self.state().keys = keys.into();
    }

    /// Says how long answers may be kept.
    pub fn cache_control(&self, text: &str) {
        self.state().cache_control = text.to_owned();
    }

    /// Says `claims` (JSON) about `token`; others are not active.
    pub fn knows(&self, token: &str, claims: impl ToString) {
        self.state().tokens.insert(token.to_owned(), claims.to_string());
    }

    /// Forgets `token`.
    pub fn forgets(&self, token: &str) {
        self.state().tokens.remove(token);
    }

    /// Behaves like this from now on; whoever waits is answered then, too.
    pub fn is(&self, mood: Mood) {
        self.state().mood = mood;
    }

    /// Returns every complete request so far.
    pub fn asked(&self) -> Vec<String> {
        self.state().asked.clone()
    }

    /// Returns who answers its streams.
    pub fn fake(&self) -> Fake {
        let idp = self.clone();
        Fake::new(move || Stream {
            idp: idp.clone(),
            heard: Vec::new(),
            counted: false,
        })
    }
}

struct Stream {
    idp: Idp,
    heard: Vec<u8>,
    counted: bool,
}

impl Stream {
    /// Returns head and body, if both are complete.
    fn request(&self) -> Option<(String, String)> {
        let text = String::from_utf8_lossy(&self.heard).into_owned();
        let (head, body) = text.split_once("\r\n\r\n")?;
        let length = head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .map_or(0, |(_, value)| value.parse().unwrap());
        (body.len() >= length).then(|| (head.to_owned(), body.to_owned()))
    }
}

impl Talker for Stream {
    fn hear(&mut self, bytes: &[u8]) -> Reply {
        self.heard.extend_from_slice(bytes);
        let mut state = self.idp.state();
        if state.mood == Mood::Dead {
            return Reply::last("");
        }
        let Some((head, body)) = self.request() else {
            return Reply::SILENCE;
        };
        if !self.counted {
            self.counted = true;
            state.asked.push(format!("{head}\r\n\r\n{body}"));
        }
        match &state.mood {
            Mood::Silent | Mood::Dead => Reply::SILENCE,
            Mood::Says(bytes) => Reply::last(bytes.clone()),
            Mood::Well if head.starts_with("GET ") => {
                let fields = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nCache-Control: {}\r\n\r\n",
                    state.keys.len(),
                    state.cache_control
                );
                Reply::last([fields.as_bytes(), &state.keys].concat())
            }
            Mood::Well => {
                let token = body.strip_prefix("token=").unwrap_or_default();
                let inactive = r#"{"active":false}"#.to_owned();
                let answer = state.tokens.get(token).unwrap_or(&inactive);
                // In chunks, as servers do that compose their answers.
                Reply::last(format!(
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{answer}\r\n0\r\n\r\n",
                    answer.len()
                ))
            }
        }
    }
}
