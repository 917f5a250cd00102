//! What all nodes share, seen from this one: what waits to be sent to Redis, who waits for its answer,
//! and how things stand. The one background connection does the talking.

mod desk;
mod said;
mod seal;
mod stamp;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

pub(crate) use desk::{Desk, Expected, Order, Pending, Standing};
pub(crate) use said::{MESSAGE_BYTES, Said};
pub(crate) use seal::{Keys, Kind, Name, Node, SECRET_BYTES, key_of};
pub(crate) use stamp::Stamp;

use crate::bell::Bell;
use crate::entropy::{Entropy, Label};
use crate::exchange::redis::{Login, write_command};
use crate::leg::Destination;
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// The most nodes whose news are kept in order. A process is a new node after every restart.
const NODES: usize = 1024;

/// What the configuration says about the bus.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Says where and with which secret: two with the same id are the same.
    pub(crate) id: [u8; 32],
    pub(crate) to: Destination,
    pub(crate) login: Arc<Login>,
    pub(crate) keys: Arc<Keys>,
}

/// What one node tells all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// Somebody was revoked, or a revocation lifted.
    Revocation,
    /// A session has ended.
    SessionEnded,
    /// A ticket was used.
    TicketSpent,
    /// A data point was written.
    Point,
    /// A member of a broadcast said something.
    Said,
}

impl News {
    const ALL: [Self; 5] = [
        Self::Revocation,
        Self::SessionEnded,
        Self::TicketSpent,
        Self::Point,
        Self::Said,
    ];

    const fn code(self) -> u8 {
        match self {
            Self::Revocation => 1,
            Self::SessionEnded => 2,
            Self::TicketSpent => 3,
            Self::Point => 4,
            Self::Said => 5,
        }
    }
}

/// The bus of one gateway.
#[derive(Debug)]
pub(crate) struct Bus {
    settings: Mutex<Settings>,
    keys: Arc<Keys>,
    node: Node,
    desk: Arc<Desk>,
    /// How many news were told.
    told: AtomicU64,
    /// The last news of every node.
    heard: Mutex<Heard>,
    /// What did not open, or was refused.
    unopened: AtomicU64,
}

#[derive(Debug, Default)]
struct Heard {
    /// The number of a node's last news, and when it came, counted in news.
    last: BTreeMap<Node, (u64, u64)>,
    turn: u64,
}

impl Bus {
    /// The bus that `settings` describe, not connected yet.
    pub(crate) fn new(settings: Settings, entropy: &Entropy) -> Self {
        Self {
            keys: Arc::clone(&settings.keys),
            settings: Mutex::new(settings),
            node: Node(entropy.bytes(Label::Node)),
            desk: Arc::default(),
            told: AtomicU64::new(0),
            heard: Mutex::default(),
            unopened: AtomicU64::new(0),
        }
    }

    pub(crate) fn settings(&self) -> Settings {
        self.settings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Takes over how to log in from now on. The rest of the settings stays as long as the process.
    pub(crate) fn log_in_as(&self, login: &Arc<Login>) {
        let mut settings = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        settings.login = Arc::clone(login);
    }

    pub(crate) const fn node(&self) -> Node {
        self.node
    }

    pub(crate) const fn desk(&self) -> &Arc<Desk> {
        &self.desk
    }

    pub(crate) fn standing(&self) -> Standing {
        self.desk.standing()
    }

    /// Counts something that opened and is nothing that a node with this configuration says.
    pub(crate) fn refuse(&self) {
        self.unopened.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns how many values did not open, or were refused.
    pub(crate) fn unopened(&self) -> u64 {
        self.unopened.load(Ordering::Relaxed)
    }

    pub(crate) fn name(&self, kind: Kind, about: &[u8]) -> Name {
        self.keys.name(kind, about)
    }

    /// Seals what is kept under `place`.
    pub(crate) fn seal(&self, place: &[u8], value: &[u8], entropy: &Entropy) -> Option<Vec<u8>> {
        self.keys.seal(place, self.node, value, entropy)
    }

    /// Opens what was kept under `place`; what does not open is counted.
    pub(crate) fn open(&self, place: &[u8], sealed: &[u8]) -> Option<(Node, Zeroizing<Vec<u8>>)> {
        let opened = self.keys.open(place, sealed);
        if opened.is_none() {
            self.unopened.fetch_add(1, Ordering::Relaxed);
        }
        opened
    }

    /// Returns the channel on which nodes tell news.
    pub(crate) fn channel(&self) -> Vec<u8> {
        key_of(&self.name(Kind::News, b""))
    }

    /// Returns the command that tells `body` to all others. To be sent in the order of the calls.
    pub(crate) fn publish(&self, news: News, body: &[u8], entropy: &Entropy) -> Option<Vec<u8>> {
        let number = self.told.fetch_add(1, Ordering::Relaxed) + 1;
        let mut message = Zeroizing::new(number.to_be_bytes().to_vec());
        message.push(news.code());
        message.extend_from_slice(body);
        let channel = self.channel();
        let sealed = self.seal(&channel, &message, entropy)?;
        let mut command = Vec::new();
        write_command(&mut command, &[b"PUBLISH", &channel, &sealed]);
        Some(command)
    }

    /// Opens what was told on the channel; `None` for what is our own, was heard before, or does not
    /// open.
    pub(crate) fn hear(&self, sealed: &[u8]) -> Option<(News, Zeroizing<Vec<u8>>)> {
        let (node, message) = self.open(&self.channel(), sealed)?;
        let (number, rest) = message.split_first_chunk::<8>()?;
        let (code, body) = rest.split_first()?;
        if node == self.node || !self.is_new(node, u64::from_be_bytes(*number)) {
            return None;
        }
        let news = News::ALL.into_iter().find(|news| news.code() == *code)?;
        Some((news, Zeroizing::new(body.to_vec())))
    }

    /// Says whether a node's news come after all that were heard of it: whoever stands between cannot
    /// say anything twice.
    fn is_new(&self, node: Node, number: u64) -> bool {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.turn += 1;
        let turn = heard.turn;
        if heard.last.get(&node).is_some_and(|(last, _)| *last >= number) {
            return false;
        }
        if heard.last.len() >= NODES && !heard.last.contains_key(&node) {
            let silent = heard.last.iter().min_by_key(|(_, (_, turn))| *turn);
            if let Some(silent) = silent.map(|(node, _)| *node) {
                heard.last.remove(&silent);
            }
        }
        heard.last.insert(node, (number, turn));
        true
    }

    /// Sends `words` some time soon, if Redis is there. Nobody waits for it.
    pub(crate) fn tell(&self, words: &[&[u8]]) {
        let mut command = Vec::new();
        write_command(&mut command, words);
        self.desk.tell(Order::Command(command));
    }

    /// Tells `body` to all others some time soon, if Redis is there.
    pub(crate) fn tell_news(&self, news: News, body: &[u8]) {
        self.desk.tell(Order::News(news, body.to_vec()));
    }

    /// Sends `words`; `bell` rings when the answer is there. `None` while Redis is away, or has too
    /// much to do.
    pub(crate) fn ask(&self, words: &[&[u8]], bell: &Arc<Bell>) -> Option<Pending> {
        let mut command = Vec::new();
        write_command(&mut command, words);
        self.desk.ask(command, bell)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::entropy::Seed;
    use crate::secret::Secret;

    fn bus(seed: u8) -> (Bus, Entropy) {
        let entropy = Entropy::new(&Seed::new([seed; 32]));
        let settings = Settings {
            id: [0; 32],
            to: Destination::Tcp {
                host: "127.0.0.1".into(),
                port: 6379,
                tls: None,
            },
            login: Arc::default(),
            keys: Arc::new(Keys::new(&Secret::new(vec![1; SECRET_BYTES]))),
        };
        (Bus::new(settings, &entropy), entropy)
    }

    /// What stands last in a command.
    fn sealed(mut command: Vec<u8>) -> Vec<u8> {
        use crate::exchange::redis::{Reply, take};
        let Some(Reply::Array(mut words)) = take(&mut command).unwrap() else {
            panic!("no command");
        };
        match words.pop() {
            Some(Reply::Bulk(bytes)) => bytes,
            _ => panic!("no words"),
        }
    }

    #[test]
    fn news_are_heard_once_in_order_and_never_by_who_told_them() {
        let ((one, entropy), (two, _)) = (bus(1), bus(2));
        let tell = |body: &[u8]| sealed(one.publish(News::TicketSpent, body, &entropy).unwrap());
        let (first, second) = (tell(b"1"), tell(b"2"));
        assert!(one.hear(&first).is_none());
        let heard = |sealed: &[u8]| two.hear(sealed).map(|(_, body)| body.to_vec());
        assert_eq!(heard(&first), Some(b"1".to_vec()));
        assert_eq!(heard(&first), None);
        assert_eq!(heard(&second), Some(b"2".to_vec()));
        assert_eq!(heard(&first), None);
        assert_eq!(two.unopened(), 0);
        assert_eq!(heard(b"garbage"), None);
        assert_eq!(two.unopened(), 1);
    }

    #[test]
    fn nodes_that_were_silent_longest_are_forgotten_first() {
        let (bus, _) = bus(1);
        let node = |number: usize| {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&number.to_be_bytes());
            Node(id)
        };
        for number in 0..=NODES {
            assert!(bus.is_new(node(number), 5));
        }
        assert_eq!(bus.heard.lock().unwrap().last.len(), NODES);
        assert!(bus.is_new(node(0), 5) && !bus.is_new(node(NODES), 5));
    }
}
