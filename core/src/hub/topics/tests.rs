#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use super::mailbox::ENTRY_BYTES;
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
            assert_eq!(slow.mailbox.lock().room(), 0);
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
    assert_eq!(topic.lock().crowded, Crowded::default());
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
fn m18_senders_wait_for_other_nodes_which_wait_for_members_alone() {
    let topic = Arc::<Topic>::default();
    let (mut sender, bell) = rung(&topic, 0, 1000);
    let mut nodes = Arc::clone(&topic).join_for_nodes(1, &Arc::default(), 1000);
    assert!(sender.publish(&sized(300)));
    assert!(!sender.publish(&sized(300)));
    assert!(nodes.publish(&sized(200)), "its own mailbox is no reason to wait");
    assert_eq!(sender.take(true), Found::Message(sized(200)));
    let before = rings(&bell);
    assert_eq!(nodes.take(true), Found::Message(sized(300)));
    assert_eq!(rings(&bell), before + 1);
    assert!(sender.publish(&sized(300)));
    // Who loses patience with members has none with its own mailbox to lose.
    nodes.lose_patience();
    assert!(!sender.publish(&sized(300)));
    assert!(nodes.publish(&sized(300)));
    assert!(!nodes.publish(&sized(300)), "the member is crowded");
    nodes.lose_patience();
    assert!(nodes.publish(&sized(300)));
}

#[test]
fn m18_what_other_nodes_miss_is_counted_and_they_hear_again() {
    let topic = Arc::<Topic>::default();
    let (mut sender, bell) = rung(&topic, 0, 1000);
    let (nodes_bell, rung) = (Arc::new(Bell::default()), Arc::new(Rung::default()));
    nodes_bell.set(&Arc::clone(&rung).into());
    let nodes = Arc::clone(&topic).join_for_nodes(1, &nodes_bell, 1000);
    assert!(sender.publish(&sized(500)));
    sender.lose_patience();
    assert!(sender.publish(&sized(500)));
    assert_eq!((rings(&rung), nodes.take_lost()), (1, 0));
    assert!(sender.publish(&sized(100)) && sender.publish(&sized(100)));
    assert_eq!((rings(&rung), rings(&bell)), (2, 0));
    assert_eq!((nodes.take_lost(), nodes.take_lost()), (4, 0));
    assert_eq!(nodes.take(true), Found::Overflow);
    nodes.reopen();
    assert!(sender.publish(&sized(300)));
    assert!(!sender.publish(&sized(300)), "it is waited for again");
    assert_eq!(nodes.take(true), Found::Message(sized(300)));
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
    assert_eq!(members.crowded, Crowded::default());
}
