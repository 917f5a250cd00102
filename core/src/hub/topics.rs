//! Topics: what one member says, every other one hears. A message is kept once, however many hear it.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::bell::Bell;
use crate::ws::Encoded;

/// What an entry of a mailbox takes beside the bytes that it shares with others, in bytes: without it a
/// mailbox full of empty messages would be many times as large as it may be.
const ENTRY_BYTES: usize = size_of::<Encoded>();

/// A mailbox is crowded when it is filled beyond this part, one in so many. While one is, nobody sends:
/// a burst arrives faster than it is handed on, and who has not had the time for it is not slow yet.
const CROWDED_PART: usize = 4;

/// A topic: who is in it, and who waits for the others to keep up.
#[derive(Default)]
pub(super) struct Topic(Mutex<Members>);

#[derive(Default)]
struct Members {
    mailboxes: BTreeMap<u64, Arc<Mailbox>>,
    /// How many mailboxes are crowded, those of slow members not counted.
    crowded: usize,
    /// Who has something to say, in the order in which they began to wait.
    waiting: BTreeMap<u64, Arc<Bell>>,
    /// How many have waited.
    waits: u64,
}

/// Shows how many there are, never what they say.
impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Topic").finish_non_exhaustive()
    }
}

impl Topic {
    fn lock(&self) -> MutexGuard<'_, Members> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn join(self: Arc<Self>, number: u64, bell: &Arc<Bell>, limit: usize) -> Member {
        let mailbox = Arc::new(Mailbox {
            limit,
            bell: Arc::clone(bell),
            mail: Mutex::default(),
        });
        self.lock().mailboxes.insert(number, Arc::clone(&mailbox));
        Member {
            topic: self,
            number,
            mailbox,
            waits: None,
        }
    }
}

impl Members {
    /// One mailbox is crowded no longer. Returns whom to tell.
    fn relieve(&mut self) -> Vec<Arc<Bell>> {
        self.crowded = self.crowded.saturating_sub(1);
        if self.crowded > 0 {
            return Vec::new();
        }
        self.waiting.values().map(Arc::clone).collect()
    }

    /// Puts a message into the mailboxes of all but `from`. Returns whom to tell.
    fn put(&mut self, message: &Encoded, from: u64) -> Vec<Arc<Bell>> {
        let mut bells = Vec::new();
        for (_, mailbox) in self.mailboxes.iter().filter(|(to, _)| **to != from) {
            let mut mail = mailbox.lock();
            let before = mail.crowded;
            if mail.put(message, mailbox.limit) {
                bells.push(Arc::clone(&mailbox.bell));
            }
            match (before, mail.crowded) {
                (false, true) => self.crowded += 1,
                (true, false) => self.crowded = self.crowded.saturating_sub(1),
                (true, true) | (false, false) => {}
            }
        }
        bells
    }
}

/// What waits for one member. Its lock is taken below the topic's.
struct Mailbox {
    limit: usize,
    bell: Arc<Bell>,
    mail: Mutex<Mail>,
}

#[derive(Default)]
struct Mail {
    queue: VecDeque<Encoded>,
    /// What the queue takes, in bytes.
    held: usize,
    /// The others wait for it.
    crowded: bool,
    /// Others have waited long enough for it, until it has caught up.
    slow: bool,
    /// It was too much, and is gone.
    overflowed: bool,
    /// The member was rung and has not looked since.
    rung: bool,
}

impl Mailbox {
    fn lock(&self) -> MutexGuard<'_, Mail> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const fn is_crowded(held: usize, limit: usize) -> bool {
    held > limit / CROWDED_PART
}

impl Mail {
    /// Puts a message in, or drops them all if that is too much. Says whether the member is to be rung.
    fn put(&mut self, message: &Encoded, limit: usize) -> bool {
        if self.overflowed {
            return false;
        }
        let held = self.held.saturating_add(size(message));
        // Whoever keeps up may have a message of any length.
        if held > limit && is_crowded(self.held, limit) {
            self.queue = VecDeque::new();
            self.held = 0;
            self.overflowed = true;
            self.crowded = false;
        } else {
            self.queue.push_back(message.clone());
            self.held = held;
            self.crowded = !self.slow && is_crowded(held, limit);
        }
        !std::mem::replace(&mut self.rung, true)
    }

    fn pop(&mut self, limit: usize) -> Option<Encoded> {
        let message = self.queue.pop_front()?;
        self.held = self.held.saturating_sub(size(&message));
        self.crowded &= is_crowded(self.held, limit);
        if self.queue.is_empty() {
            // What a burst has made large is given back.
            self.queue = VecDeque::new();
            self.slow = false;
        }
        Some(message)
    }
}

fn size(message: &Encoded) -> usize {
    ENTRY_BYTES.saturating_add(message.len())
}

/// What a member finds in its mailbox.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// The next message.
    Message(Encoded),
    /// Nothing, or nothing that could be taken now.
    Nothing,
    /// The member was too slow: what waited for it is gone, and nothing follows.
    Overflow,
}

/// One connection in a topic, until it is dropped.
pub(crate) struct Member {
    topic: Arc<Topic>,
    number: u64,
    mailbox: Arc<Mailbox>,
    /// Its place among those who wait.
    waits: Option<u64>,
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

impl Member {
    /// Takes the next message, if the member can take one now.
    pub(crate) fn take(&self, keeps_up: bool) -> Found {
        let mut mail = self.mailbox.lock();
        mail.rung = false;
        if mail.overflowed {
            return Found::Overflow;
        }
        let before = mail.crowded;
        let message = if keeps_up {
            mail.pop(self.mailbox.limit)
        } else {
            None
        };
        let relieved = before && !mail.crowded;
        drop(mail);
        if relieved {
            let bells = self.topic.lock().relieve();
            ring(bells);
        }
        message.map_or(Found::Nothing, Found::Message)
    }

    /// Puts a message into the mailboxes of all others, in the same order for everybody. Says whether it
    /// did: while one of them is crowded it does not, and the member's bell is rung when it is worth
    /// another try.
    pub(crate) fn publish(&mut self, message: &Encoded) -> bool {
        let mut members = self.topic.lock();
        if members.crowded > 0 {
            if self.waits.is_none() {
                members.waits += 1;
                let place = members.waits;
                members.waiting.insert(place, Arc::clone(&self.mailbox.bell));
                self.waits = Some(place);
            }
            return false;
        }
        if let Some(place) = self.waits.take() {
            members.waiting.remove(&place);
        }
        let bells = members.put(message, self.number);
        drop(members);
        ring(bells);
        true
    }

    /// Publishes whatever the others are up to: the last words of somebody who leaves.
    pub(crate) fn publish_anyway(&self, message: &Encoded) {
        let bells = self.topic.lock().put(message, self.number);
        ring(bells);
    }

    /// Waits no longer for those whose mailboxes are crowded, until they have caught up.
    pub(crate) fn lose_patience(&self) {
        let mut members = self.topic.lock();
        for mailbox in members.mailboxes.values() {
            let mut mail = mailbox.lock();
            mail.slow |= std::mem::take(&mut mail.crowded);
        }
        members.crowded = 0;
        let bells: Vec<_> = members.waiting.values().map(Arc::clone).collect();
        drop(members);
        ring(bells);
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut members = self.topic.lock();
        members.mailboxes.remove(&self.number);
        if let Some(place) = self.waits {
            members.waiting.remove(&place);
        }
        // Nobody puts anything in any more.
        let was_crowded = std::mem::take(&mut self.mailbox.lock().crowded);
        let bells = if was_crowded {
            members.relieve()
        } else {
            Vec::new()
        };
        drop(members);
        ring(bells);
    }
}

fn ring(bells: Vec<Arc<Bell>>) {
    for bell in bells {
        bell.ring();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::atomic::{AtomicUsize, Ordering};

    use bytes::Bytes;

    use super::*;
    use crate::ws::Message;

    fn text(text: &str) -> Encoded {
        Encoded::new(&Message::Text(Bytes::copy_from_slice(text.as_bytes())))
    }

    /// A message that takes `size` bytes of a mailbox.
    fn sized(size: usize) -> Encoded {
        let header = if size - ENTRY_BYTES - 2 < 126 { 2 } else { 4 };
        let payload = vec![7; size - ENTRY_BYTES - header];
        Encoded::new(&Message::Binary(Bytes::from(payload)))
    }

    fn member(topic: &Arc<Topic>, number: u64, limit: usize) -> Member {
        Arc::clone(topic).join(number, &Arc::default(), limit)
    }

    #[derive(Default)]
    struct Rung(AtomicUsize);

    impl std::task::Wake for Rung {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn rung(topic: &Arc<Topic>, number: u64, limit: usize) -> (Member, Arc<Rung>) {
        let (bell, rung) = (Arc::new(Bell::default()), Arc::new(Rung::default()));
        bell.set(&Arc::clone(&rung).into());
        (Arc::clone(topic).join(number, &bell, limit), rung)
    }

    fn rings(rung: &Rung) -> usize {
        rung.0.load(Ordering::Relaxed)
    }

    #[test]
    fn m18_a_message_is_encoded_once_for_all_members() {
        let topic = Arc::default();
        let mut sender = member(&topic, 0, 1 << 20);
        let others: Vec<_> = (1..=100).map(|number| member(&topic, number, 1 << 20)).collect();
        let message = text("for everybody");
        let place = message.frame().as_ptr();
        sender.publish(&message);
        for other in &others {
            let Found::Message(heard) = other.take(true) else {
                panic!("nothing was heard");
            };
            assert_eq!(heard.frame().as_ptr(), place);
        }
        assert_eq!(sender.take(true), Found::Nothing);
    }

    #[test]
    fn m18_everybody_hears_everything_in_the_same_order() {
        let topic = Arc::default();
        let [mut a, mut b, c] = [1, 2, 3].map(|number| member(&topic, number, 1 << 20));
        a.publish(&text("1"));
        b.publish(&text("2"));
        a.publish(&text("3"));
        let hear = |member: &Member, expected: &[&str]| {
            for said in expected {
                assert_eq!(member.take(true), Found::Message(text(said)));
            }
            assert_eq!(member.take(true), Found::Nothing);
        };
        hear(&a, &["2"]);
        hear(&b, &["1", "3"]);
        hear(&c, &["1", "2", "3"]);
    }

    #[test]
    fn m18_a_mailbox_holds_its_bytes_and_not_one_more() {
        for (over, fits) in [(0, true), (1, false)] {
            let topic = Arc::default();
            let mut sender = member(&topic, 0, 1000);
            let (slow, keeps_up) = (member(&topic, 1, 1000), member(&topic, 2, 1000));
            assert!(sender.publish(&sized(500)));
            assert_eq!(keeps_up.take(true), Found::Message(sized(500)));
            sender.lose_patience();
            assert!(sender.publish(&sized(500 + over)));
            assert_eq!(keeps_up.take(true), Found::Message(sized(500 + over)));
            if fits {
                assert_eq!(slow.take(true), Found::Message(sized(500)));
                assert_eq!(slow.take(true), Found::Message(sized(500)));
                assert_eq!(slow.mailbox.lock().held, 0);
            } else {
                assert_eq!(slow.take(true), Found::Overflow);
                // Nothing is kept for it from then on, and it stays the end.
                assert!(sender.publish(&text("more")));
                assert_eq!(slow.take(true), Found::Overflow);
                assert_eq!(slow.mailbox.lock().queue.capacity(), 0);
            }
        }
    }

    #[test]
    fn m18_a_mailbox_full_of_nothing_is_bounded_too() {
        let topic = Arc::default();
        let (mut sender, slow) = (member(&topic, 0, 1000), member(&topic, 1, 1000));
        for _ in 0..1000 / (ENTRY_BYTES + 2) {
            if !sender.publish(&text("")) {
                sender.lose_patience();
                assert!(sender.publish(&text("")));
            }
        }
        assert!(!slow.mailbox.lock().overflowed);
        assert!(sender.publish(&text("")));
        assert_eq!(slow.take(true), Found::Overflow);
    }

    #[test]
    fn m18_who_keeps_up_may_have_a_message_of_any_length() {
        let topic = Arc::default();
        let (mut sender, other) = (member(&topic, 0, 1000), member(&topic, 1, 1000));
        for _ in 0..2 {
            assert!(sender.publish(&sized(250)));
            assert!(sender.publish(&sized(2000)));
            assert_eq!(other.take(false), Found::Nothing);
            assert_eq!(other.take(true), Found::Message(sized(250)));
            assert_eq!(other.take(true), Found::Message(sized(2000)));
        }
        assert!(sender.publish(&sized(2000)));
        sender.publish_anyway(&text(""));
        assert_eq!(other.take(true), Found::Overflow);
        assert_eq!(topic.lock().crowded, 0);
    }

    #[test]
    fn m18_a_member_is_rung_once_for_all_that_it_has_not_seen() {
        let topic = Arc::default();
        let (mut sender, own) = rung(&topic, 0, 1000);
        let (other, bell) = rung(&topic, 1, 1000);
        sender.publish(&text("1"));
        sender.publish(&text("2"));
        assert_eq!((rings(&own), rings(&bell)), (0, 1));
        // It looked, but could not take them: the next one is news again.
        assert_eq!(other.take(false), Found::Nothing);
        sender.publish(&text("3"));
        assert_eq!(rings(&bell), 2);
    }

    #[test]
    fn m18_nobody_sends_while_a_mailbox_is_crowded() {
        let topic = Arc::default();
        let (mut sender, bell) = rung(&topic, 0, 1000);
        let [one, two] = [1, 2].map(|number| member(&topic, number, 1000));
        assert!(sender.publish(&sized(250)));
        assert!(sender.publish(&sized(100)));
        assert!(!sender.publish(&sized(100)));
        one.take(true);
        assert!(!sender.publish(&sized(100)));
        assert_eq!(rings(&bell), 0);
        two.take(true);
        assert_eq!(rings(&bell), 1);
        assert!(sender.publish(&sized(200)));
        // Who leaves is waited for no longer.
        assert!(!sender.publish(&sized(200)));
        one.take(true);
        drop(two);
        assert!(sender.publish(&sized(200)));
        assert_eq!((rings(&bell), topic.lock().waiting.len()), (2, 0));
    }

    #[test]
    fn m18_a_slow_member_is_waited_for_once_until_it_has_caught_up() {
        let topic = Arc::default();
        let (mut sender, slow) = (member(&topic, 0, 1000), member(&topic, 1, 1000));
        for _ in 0..2 {
            assert!(sender.publish(&sized(300)));
            assert!(!sender.publish(&sized(300)));
            sender.lose_patience();
            assert!(sender.publish(&sized(300)));
            assert!(sender.publish(&sized(300)));
            for _ in 0..3 {
                assert_eq!(slow.take(true), Found::Message(sized(300)));
            }
        }
    }

    #[test]
    fn m18_who_waits_longest_is_rung_first() {
        let topic = Arc::default();
        let [mut one, mut two] = [1, 2].map(|number| member(&topic, number, 1000));
        let listener = member(&topic, 3, 1000);
        assert!(one.publish(&sized(300)));
        assert!(!two.publish(&text("2")) && !one.publish(&text("1")));
        listener.take(true);
        two.take(true);
        assert!(two.waits < one.waits);
        assert!(one.publish(&sized(300)));
        assert!(!one.publish(&text("1")) && !two.publish(&text("2")));
        assert!(two.waits < one.waits, "its place is kept until it had its say");
    }

    #[test]
    fn m18_who_leaves_is_forgotten() {
        let topic = Arc::default();
        let (mut sender, other) = (member(&topic, 0, 10), member(&topic, 1, 10));
        assert!(sender.publish(&text("x")) && !sender.publish(&text("x")));
        drop(sender);
        assert!(topic.lock().waiting.is_empty());
        drop(other);
        let members = topic.lock();
        assert!(members.mailboxes.is_empty());
        assert_eq!(members.crowded, 0);
    }
}
