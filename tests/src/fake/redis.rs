//! A Redis: strings, hashes, one level of publish and subscribe. Nothing expires in it by itself.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use countersign_core::exchange::redis::{Reply as Frame, take};

use super::{Fake, Reply, Talker};

/// What waits for one subscriber.
type Mailbox = Arc<Mutex<VecDeque<Vec<u8>>>>;

#[derive(Debug, Default)]
struct State {
    away: bool,
    silent: bool,
    /// How often it has answered one command more although it is silent.
    turns: usize,
    /// The places to which nothing comes through, in either direction, for the time being.
    cut: BTreeSet<usize>,
    /// What was on its way when its stream was given up.
    late: Vec<Vec<u8>>,
    password: Option<String>,
    strings: BTreeMap<Vec<u8>, Vec<u8>>,
    hashes: BTreeMap<Vec<u8>, BTreeMap<Vec<u8>, Vec<u8>>>,
    /// Who listens to which channel.
    mailboxes: Vec<(Vec<u8>, Mailbox)>,
    /// What was published.
    published: Vec<Vec<u8>>,
    asked: Vec<String>,
    dials: usize,
}

/// A fake Redis; clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct Redis(Arc<Mutex<State>>);

impl Redis {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Asks every stream for `user` and `password`.
    pub fn asks_for(&self, user: &str, password: &str) {
        self.state().password = Some(format!("{user} {password}"));
    }

    /// Ends every stream, now and from now on, until it is back.
    pub fn is_away(&self, away: bool) {
        self.state().away = away;
    }

    /// Answers nothing more, and ends nothing.
    pub fn is_silent(&self, silent: bool) {
        self.state().silent = silent;
    }

    /// Although it is silent, answers the next command of every stream.
    pub fn answers_one(&self) {
        self.state().turns += 1;
    }

    /// Holds back all that goes to and comes from the node at `place`, until it is let through.
    pub fn is_cut(&self, place: usize, cut: bool) {
        let mut state = self.state();
        if cut {
            state.cut.insert(place);
        } else {
            state.cut.remove(&place);
        }
    }

    /// Reads what was on its way on streams that were given up meanwhile, as a system does that was
    /// stopped and goes on.
    pub fn read_late(&self) {
        let mut state = self.state();
        for mut bytes in std::mem::take(&mut state.late) {
            while let Ok(Some(command)) = take(&mut bytes) {
                let words = words(command);
                let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
                if !matches!(words.as_slice(), [b"AUTH" | b"SUBSCRIBE", ..]) {
                    state.answer(&words);
                }
            }
        }
    }

    /// Forgets everything, as after a restart without a disk.
    pub fn forget(&self) {
        let mut state = self.state();
        state.strings.clear();
        state.hashes.clear();
    }

    /// Changes a byte of every value.
    pub fn damage(&self) {
        let mut state = self.state();
        let state = &mut *state;
        let fields = state.hashes.values_mut().flat_map(BTreeMap::values_mut);
        for value in state.strings.values_mut().chain(fields) {
            if let Some(byte) = value.last_mut() {
                *byte ^= 1;
            }
        }
    }

    /// Says everything that was published so far once more, to everybody.
    pub fn repeat(&self) {
        let published = self.state().published.clone();
        for message in published {
            self.say(&message);
        }
    }

    /// Says `message` to every subscriber, as if somebody had published it.
    pub fn say(&self, message: &[u8]) {
        for (channel, mailbox) in &self.state().mailboxes {
            let message = array(&[&bulk(b"message"), &bulk(channel), &bulk(message)]);
            mailbox.lock().unwrap().push_back(message);
        }
    }

    /// Returns what was published last.
    pub fn last_published(&self) -> Option<Vec<u8>> {
        self.state().published.last().cloned()
    }

    /// Returns the names of the commands so far.
    pub fn asked(&self) -> Vec<String> {
        self.state().asked.clone()
    }

    /// Returns how often it was dialed.
    pub fn dials(&self) -> usize {
        self.state().dials
    }

    /// Returns the keys that there are.
    pub fn keys(&self) -> Vec<Vec<u8>> {
        let state = self.state();
        state.strings.keys().chain(state.hashes.keys()).cloned().collect()
    }

    /// Returns everything that it has seen of keys, values and messages, one behind the other.
    pub fn seen(&self) -> Vec<u8> {
        let state = self.state();
        let strings = state.strings.iter().flat_map(|(key, value)| [key, value]);
        let fields = state.hashes.iter().flat_map(|(key, fields)| {
            let fields = fields.iter().flat_map(|(field, value)| [field, value]);
            [key].into_iter().chain(fields)
        });
        strings
            .chain(fields)
            .chain(&state.published)
            .flatten()
            .copied()
            .collect()
    }

    /// Returns who answers its streams.
    pub fn fake(&self) -> Fake {
        self.fake_for(0)
    }

    /// Returns who answers the streams of the node at `place`.
    pub fn fake_for(&self, place: usize) -> Fake {
        let redis = self.clone();
        Fake::new(move || {
            redis.state().dials += 1;
            Stream {
                redis: redis.clone(),
                place,
                heard: Vec::new(),
                turn: 0,
                mailbox: Mailbox::default(),
                subscribed: false,
                known: false,
            }
        })
    }
}

struct Stream {
    redis: Redis,
    place: usize,
    heard: Vec<u8>,
    /// Up to which turn of a silent Redis it was answered.
    turn: usize,
    mailbox: Mailbox,
    subscribed: bool,
    known: bool,
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut state = self.redis.state();
        let late = std::mem::take(&mut self.heard);
        if !state.away && !late.is_empty() {
            state.late.push(late);
        }
        state
            .mailboxes
            .retain(|(_, mailbox)| !Arc::ptr_eq(mailbox, &self.mailbox));
    }
}

impl Talker for Stream {
    fn hear(&mut self, bytes: &[u8]) -> Reply {
        self.heard.extend_from_slice(bytes);
        let mut state = self.redis.state();
        if state.away {
            state
                .mailboxes
                .retain(|(_, mailbox)| !Arc::ptr_eq(mailbox, &self.mailbox));
            return Reply::last("");
        }
        let mut left = if state.silent {
            state.turns - self.turn
        } else {
            usize::MAX
        };
        self.turn = state.turns;
        if left == 0 || state.cut.contains(&self.place) {
            return Reply::SILENCE;
        }
        let mut said = Vec::new();
        while left > 0
            && let Some(command) = take(&mut self.heard).expect("a command")
        {
            left -= 1;
            let words = words(command);
            let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            state.asked.push(String::from_utf8(words[0].to_vec()).unwrap());
            match words.as_slice() {
                [b"AUTH", login @ ..] => {
                    let login = login.join(&b' ');
                    self.known = state
                        .password
                        .as_ref()
                        .is_some_and(|wanted| wanted.as_bytes() == login);
                    said.extend_from_slice(if self.known { b"+OK\r\n" } else { b"-WRONGPASS\r\n" });
                }
                _ if state.password.is_some() && !self.known => said.extend_from_slice(b"-NOAUTH\r\n"),
                [b"SUBSCRIBE", channel] => {
                    let mailbox = Arc::clone(&self.mailbox);
                    state.mailboxes.push((channel.to_vec(), mailbox));
                    self.subscribed = true;
                    said.extend(array(&[&bulk(b"subscribe"), &bulk(channel), b":1\r\n"]));
                }
                [b"PING"] if self.subscribed => said.extend(array(&[&bulk(b"pong"), &bulk(b"")])),
                words => said.extend(state.answer(words)),
            }
        }
        said.extend(self.mailbox.lock().unwrap().drain(..).flatten());
        Reply {
            bytes: said,
            ..Reply::SILENCE
        }
    }
}

impl State {
    fn answer(&mut self, words: &[&[u8]]) -> Vec<u8> {
        let found = |value: Option<&Vec<u8>>| value.map_or_else(|| b"$-1\r\n".to_vec(), |value| bulk(value));
        match words {
            [b"PING"] => b"+PONG\r\n".to_vec(),
            [b"SELECT", _] => b"+OK\r\n".to_vec(),
            [b"SET", key, value, b"PX", life] => {
                assert!(millis(life) > 0);
                self.strings.insert(key.to_vec(), value.to_vec());
                b"+OK\r\n".to_vec()
            }
            [b"SET", key, value] => {
                self.strings.insert(key.to_vec(), value.to_vec());
                b"+OK\r\n".to_vec()
            }
            [b"SET", key, value, b"NX", b"PX", life] => {
                assert!(millis(life) > 0);
                self.strings.entry(key.to_vec()).or_insert_with(|| value.to_vec());
                b"+OK\r\n".to_vec()
            }
            [b"GET", key] => found(self.strings.get(*key)),
            [b"GETDEL", key] => found(self.strings.remove(*key).as_ref()),
            [b"DEL", key] => integer(usize::from(self.strings.remove(*key).is_some())),
            [b"PEXPIRE", key, life] => {
                assert!(millis(life) > 0);
                integer(usize::from(self.strings.contains_key(*key)))
            }
            [b"HSET", key, field, value] => {
                let fields = self.hashes.entry(key.to_vec()).or_default();
                integer(usize::from(
                    fields.insert(field.to_vec(), value.to_vec()).is_none(),
                ))
            }
            [b"HDEL", key, fields @ ..] => {
                let hash = self.hashes.entry(key.to_vec()).or_default();
                integer(
                    fields
                        .iter()
                        .filter(|field| hash.remove(**field).is_some())
                        .count(),
                )
            }
            // Two at a time, so that there are pages.
            [b"HSCAN", key, cursor, b"COUNT", _] => {
                let from: usize = str::from_utf8(cursor).unwrap().parse().unwrap();
                let none = BTreeMap::new();
                let hash = self.hashes.get(*key).unwrap_or(&none);
                let page: Vec<_> = hash.iter().skip(from).take(2).collect();
                let next = if from + 2 < hash.len() { from + 2 } else { 0 };
                let parts = page.iter().flat_map(|(field, value)| [bulk(field), bulk(value)]);
                let parts: Vec<_> = parts.collect();
                let parts: Vec<_> = parts.iter().map(Vec::as_slice).collect();
                array(&[&bulk(next.to_string().as_bytes()), &array(&parts)])
            }
            [b"PUBLISH", channel, message] => {
                self.published.push(message.to_vec());
                let mut heard = 0;
                for (_, mailbox) in self.mailboxes.iter().filter(|(of, _)| of == channel) {
                    let message = array(&[&bulk(b"message"), &bulk(channel), &bulk(message)]);
                    mailbox.lock().unwrap().push_back(message);
                    heard += 1;
                }
                integer(heard)
            }
            words => panic!("an unknown command: {}", words[0].escape_ascii()),
        }
    }
}

fn words(command: Frame) -> Vec<Vec<u8>> {
    let Frame::Array(words) = command else {
        panic!("{command:?} is no command");
    };
    let words = words.into_iter().map(|word| {
        let Frame::Bulk(word) = word else {
            panic!("{word:?} in a command");
        };
        word
    });
    words.collect()
}

fn millis(text: &[u8]) -> u64 {
    str::from_utf8(text).unwrap().parse().unwrap()
}

fn bulk(bytes: &[u8]) -> Vec<u8> {
    [format!("${}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

fn integer(number: usize) -> Vec<u8> {
    format!(":{number}\r\n").into_bytes()
}

fn array(parts: &[&[u8]]) -> Vec<u8> {
    [format!("*{}\r\n", parts.len()).as_bytes(), &parts.concat()].concat()
}
