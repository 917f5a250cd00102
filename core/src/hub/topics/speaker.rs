//! A member with something to say: it waits for the others for a short time.

use std::collections::VecDeque;
use std::time::Duration;

use super::mailbox::size;
use super::{Found, Member};
use crate::time::Moment;
use crate::ws::Encoded;

/// How long a sender waits for members whose mailboxes are crowded. Long enough for every connection
/// that can go on to do so, too short to notice: a member that takes a quarter of its mailbox in this time
/// is as fast as a fast line.
const PATIENCE: Duration = Duration::from_millis(50);

/// A member and what it has still to say.
#[derive(Debug)]
pub(crate) struct Speaker {
    member: Member,
    /// What nobody heard yet, in order.
    unsaid: VecDeque<Encoded>,
    /// What that takes, in bytes.
    held: usize,
    /// When it waits no longer.
    until: Option<Moment>,
}

impl Speaker {
    pub(crate) const fn new(member: Member) -> Self {
        Self {
            member,
            unsaid: VecDeque::new(),
            held: 0,
            until: None,
        }
    }

    /// Says a message as soon as the others keep up, behind what waits already.
    pub(crate) fn say(&mut self, message: Encoded, now: Moment) {
        self.held = self.held.saturating_add(size(&message));
        self.unsaid.push_back(message);
        // Order: nothing overtakes what waits.
        if self.unsaid.len() == 1 {
            self.go_on(now);
        }
    }

    /// Says what waits to be said, as far as the others keep up.
    pub(crate) fn go_on(&mut self, now: Moment) {
        if self.unsaid.is_empty() {
            return;
        }
        if self.until.is_some_and(|until| now >= until) {
            self.member.lose_patience();
        }
        while let Some(message) = self.unsaid.front() {
            if !self.member.publish(message) {
                self.until = self.until.filter(|until| now < *until);
                self.until.get_or_insert_with(|| now.after(PATIENCE));
                return;
            }
            self.held = self.held.saturating_sub(size(message));
            self.unsaid.pop_front();
            // Others were in the way then, whoever is now.
            self.until = None;
        }
        self.unsaid = VecDeque::new();
    }

    /// Says all that waits, whatever the others are up to.
    pub(crate) fn say_anyway(&mut self) {
        for message in std::mem::take(&mut self.unsaid) {
            self.member.publish_anyway(&message);
        }
        self.held = 0;
        self.until = None;
    }

    /// Says what waits longest, whatever the others are up to. Says whether something waited.
    pub(crate) fn say_first_anyway(&mut self) -> bool {
        let Some(message) = self.unsaid.pop_front() else {
            return false;
        };
        self.held = self.held.saturating_sub(size(&message));
        if self.unsaid.is_empty() {
            self.until = None;
        }
        self.member.publish_anyway(&message);
        true
    }

    /// Returns what waits to be said, in bytes; at least one for every message.
    pub(crate) const fn waiting(&self) -> usize {
        self.held
    }

    /// Says whether there is nothing left to say.
    pub(crate) fn has_spoken(&self) -> bool {
        self.unsaid.is_empty()
    }

    /// Returns when it is to go on at the latest.
    pub(crate) const fn deadline(&self) -> Option<Moment> {
        self.until
    }

    /// Takes the next message of the others, if the member can take one now.
    pub(crate) fn hear(&self, keeps_up: bool) -> Found {
        self.member.take(keeps_up)
    }

    /// Begins to hear anew after [`Found::Overflow`].
    pub(crate) fn reopen(&self) {
        self.member.reopen();
    }

    /// Returns how many messages were too many to be heard since this was asked last.
    pub(crate) fn take_lost(&self) -> u64 {
        self.member.take_lost()
    }
}

impl Drop for Speaker {
    /// What was sent before a Close is heard, even if the two arrived together.
    fn drop(&mut self) {
        self.say_anyway();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;
    use crate::hub::Hub;
    use crate::ws::Message;

    fn message() -> Encoded {
        Encoded::new(&Message::Binary(Bytes::from(vec![7; 400])))
    }

    fn speaker(hub: &Hub, number: u64) -> Speaker {
        Speaker::new(hub.enter(&"topic".into(), (number, &Arc::default()), 1000))
    }

    #[test]
    fn m18_a_sender_waits_for_a_short_time() {
        let hub = Hub::default();
        let (mut sender, other) = (speaker(&hub, 1), speaker(&hub, 2));
        let now = Moment::START;
        sender.say(message(), now);
        assert!(sender.has_spoken() && sender.deadline().is_none() && sender.waiting() == 0);
        sender.say(message(), now);
        assert!(!sender.has_spoken());
        assert_eq!(sender.waiting(), size(&message()));
        assert_eq!(sender.deadline(), Some(now.after(PATIENCE)));
        // It does not begin to wait anew with every look.
        sender.go_on(now.after(PATIENCE / 2));
        assert_eq!(sender.deadline(), Some(now.after(PATIENCE)));
        assert_eq!(other.hear(true), Found::Message(message()));
        sender.go_on(now.after(PATIENCE / 2));
        assert!(sender.has_spoken() && sender.deadline().is_none() && sender.waiting() == 0);
        // From its deadline on it does not wait for the slow one.
        let later = now.after(PATIENCE * 3);
        sender.say(message(), now.after(PATIENCE * 2));
        assert!(!sender.has_spoken());
        sender.go_on(later);
        assert!(sender.has_spoken() && sender.deadline().is_none());
    }

    #[test]
    fn m18_what_was_not_said_is_said_at_the_end() {
        let hub = Hub::default();
        let (mut sender, other) = (speaker(&hub, 1), speaker(&hub, 2));
        sender.say(message(), Moment::START);
        sender.say(message(), Moment::START);
        drop(sender);
        for expected in [
            Found::Message(message()),
            Found::Message(message()),
            Found::Nothing,
        ] {
            assert_eq!(other.hear(true), expected);
        }
    }
}
