//! An LDAP directory: simple binds, searches of the whole tree by equality, StartTLS.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard};

use super::idp::Mood;
use super::{Fake, Reply, Talker};

/// An entry: its name, its password, its attributes.
#[derive(Clone, Debug)]
struct Entry {
    dn: String,
    password: String,
    attributes: Vec<(String, String)>,
}

#[derive(Debug, Default)]
struct State {
    mood: Mood,
    refuses_tls: bool,
    entries: Vec<Entry>,
    asked: Vec<String>,
}

/// A fake directory; clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct Directory(Arc<Mutex<State>>);

impl Directory {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Adds an entry, or replaces the one of that name.
    pub fn add(&self, dn: &str, password: &str, attributes: &[(&str, &str)]) {
        self.remove(dn);
        let attributes = attributes.iter();
        self.state().entries.push(Entry {
            dn: dn.to_owned(),
            password: password.to_owned(),
            attributes: attributes
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        });
    }

    /// Removes the entry of that name.
    pub fn remove(&self, dn: &str) {
        self.state().entries.retain(|entry| entry.dn != dn);
    }

    /// Behaves like this from now on; whoever waits is answered then, too.
    pub fn is(&self, mood: Mood) {
        self.state().mood = mood;
    }

    /// Answers StartTLS with a refusal.
    pub fn refuses_tls(&self) {
        self.state().refuses_tls = true;
    }

    /// Returns what it was asked so far: one line for each request, passwords left out.
    pub fn asked(&self) -> Vec<String> {
        self.state().asked.clone()
    }

    /// Returns who answers its streams.
    pub fn fake(&self) -> Fake {
        let directory = self.clone();
        Fake::new(move || Stream {
            directory: directory.clone(),
            heard: Vec::new(),
        })
    }
}

struct Stream {
    directory: Directory,
    heard: Vec<u8>,
}

impl Talker for Stream {
    fn hear(&mut self, bytes: &[u8]) -> Reply {
        self.heard.extend_from_slice(bytes);
        let mut state = self.directory.state();
        match &state.mood {
            Mood::Dead => return Reply::last(""),
            Mood::Silent => return Reply::SILENCE,
            Mood::Says(bytes) if !self.heard.is_empty() => return Reply::last(bytes.clone()),
            Mood::Says(_) | Mood::Well => {}
        }
        let Some((tag, message, rest)) = element(&self.heard) else {
            return Reply::SILENCE;
        };
        assert_eq!(tag, 0x30, "a message is a SEQUENCE");
        let (message, rest) = (message.to_vec(), rest.to_vec());
        self.heard = rest;
        let (_, id, rest) = element(&message).expect("a message has a number");
        let (tag, request, _) = element(rest).expect("a message has a request");
        state.answer(id, tag, request)
    }
}

impl State {
    fn answer(&mut self, id: &[u8], tag: u8, request: &[u8]) -> Reply {
        let parts = elements(request);
        let result = |tag: u8, code: u8| {
            let contents = [&[10, 1, code, 4, 0][..], &[4, 0]].concat();
            message(id, &written(tag, &contents))
        };
        match tag {
            0x42 => {
                self.asked.push("unbind".to_owned());
                Reply::last("")
            }
            0x77 => {
                self.asked.push("start TLS".to_owned());
                let tls = !self.refuses_tls;
                Reply {
                    bytes: result(0x78, if tls { 0 } else { 52 }),
                    end: false,
                    tls,
                }
            }
            0x60 => {
                let (dn, password) = (text(parts[1].1), text(parts[2].1));
                self.asked.push(format!("bind {dn}"));
                let mut entries = self.entries.iter();
                // As RFC 4513 section 5.1.2 has it: without a password everybody is welcome, as nobody.
                let right =
                    password.is_empty() || entries.any(|entry| entry.dn == dn && entry.password == password);
                reply(result(0x61, if right { 0 } else { 49 }))
            }
            0x63 => {
                let (base, wanted) = (text(parts[0].1), text(elements(parts[7].1)[0].1));
                let (filter_tag, filter) = parts[6];
                let mut shown = format!("search {base} ");
                show(&mut shown, filter_tag, filter);
                self.asked.push(shown);
                let most = usize::from(*parts[3].1.last().unwrap_or(&0));
                let mut found: Vec<_> = self
                    .entries
                    .iter()
                    .filter(|entry| entry.dn.ends_with(&base) && matches(entry, filter_tag, filter))
                    .map(|entry| message(id, &entry.written(&wanted)))
                    .collect();
                // sizeLimitExceeded; a limit of more than a byte is none here.
                let code = if parts[3].1.len() == 1 && found.len() > most {
                    4
                } else {
                    0
                };
                if code != 0 {
                    found.truncate(most);
                }
                found.push(result(0x65, code));
                reply(found.concat())
            }
            _ => panic!("an unknown request: {tag:#x}"),
        }
    }
}

impl Entry {
    fn written(&self, wanted: &str) -> Vec<u8> {
        let values = self.attributes.iter();
        let values = values.filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
        let values: Vec<u8> = values
            .flat_map(|(_, value)| written(4, value.as_bytes()))
            .collect();
        let attribute = [written(4, wanted.as_bytes()), written(0x31, &values)].concat();
        let attributes = match values.is_empty() {
            true => Vec::new(),
            false => written(0x30, &attribute),
        };
        let contents = [written(4, self.dn.as_bytes()), written(0x30, &attributes)].concat();
        written(0x64, &contents)
    }
}

/// Says whether `entry` fits a filter of and, or, not, equality and presence.
fn matches(entry: &Entry, tag: u8, contents: &[u8]) -> bool {
    let inner = || elements(contents).into_iter();
    match tag {
        0xa0 => inner().all(|(tag, filter)| matches(entry, tag, filter)),
        0xa1 => inner().any(|(tag, filter)| matches(entry, tag, filter)),
        0xa2 => !inner().any(|(tag, filter)| matches(entry, tag, filter)),
        0xa3 => {
            let pair = elements(contents);
            let (name, value) = (text(pair[0].1), text(pair[1].1));
            entry
                .attributes
                .iter()
                .any(|(n, v)| n.eq_ignore_ascii_case(&name) && v.eq_ignore_ascii_case(&value))
        }
        0x87 => {
            let name = text(contents);
            entry
                .attributes
                .iter()
                .any(|(n, _)| n.eq_ignore_ascii_case(&name))
        }
        _ => panic!("an unknown filter: {tag:#x}"),
    }
}

fn show(shown: &mut String, tag: u8, contents: &[u8]) {
    match tag {
        0xa3 => {
            let pair = elements(contents);
            write!(shown, "({}={})", text(pair[0].1), text(pair[1].1)).unwrap();
        }
        0x87 => write!(shown, "({}=*)", text(contents)).unwrap(),
        _ => {
            let sign = ['&', '|', '!'][usize::from(tag - 0xa0)];
            write!(shown, "({sign}").unwrap();
            for (tag, contents) in elements(contents) {
                show(shown, tag, contents);
            }
            shown.push(')');
        }
    }
}

const fn reply(bytes: Vec<u8>) -> Reply {
    Reply {
        bytes,
        end: false,
        tls: false,
    }
}

fn message(id: &[u8], operation: &[u8]) -> Vec<u8> {
    written(0x30, &[&written(2, id), operation].concat())
}

/// Writes an element, with a length of four bytes as some servers do.
fn written(tag: u8, contents: &[u8]) -> Vec<u8> {
    let length = u32::try_from(contents.len()).unwrap().to_be_bytes();
    [&[tag, 0x84][..], &length, contents].concat()
}

/// Returns tag and contents of the first element, and what is behind it, if it is complete.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..0x80 => (usize::from(first), rest),
        _ => {
            let (digits, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
            let length = digits
                .iter()
                .fold(0, |length, digit| length << 8 | usize::from(*digit));
            (length, rest)
        }
    };
    let (contents, rest) = rest.split_at_checked(length)?;
    Some((tag, contents, rest))
}

fn elements(mut bytes: &[u8]) -> Vec<(u8, &[u8])> {
    let mut found = Vec::new();
    while let Some((tag, contents, rest)) = element(bytes) {
        found.push((tag, contents));
        bytes = rest;
    }
    assert!(bytes.is_empty(), "half an element");
    found
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}
