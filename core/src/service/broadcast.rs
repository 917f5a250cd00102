//! `broadcast`: what one member sends, all others receive, text as text and binary as binary. A member
//! that does not keep up is dropped with 1013 and holds up nobody.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Context, Service};
use crate::hub::{Found, Member};
use crate::legs::HIGH_WATER;
use crate::time::Moment;
use crate::ws::{Close, Encoded, Message};

/// How long a sender waits for members whose mailboxes are crowded. Long enough for every connection
/// that can go on to do so, too short to notice: a member that takes a quarter of its mailbox in this time
/// is as fast as a fast line.
const PATIENCE: Duration = Duration::from_millis(50);

/// One member of a broadcast.
#[derive(Debug)]
pub(crate) struct Broadcast {
    member: Member,
    /// What it has sent and nobody heard yet: what was read at once, since nothing is read meanwhile.
    unsaid: VecDeque<Encoded>,
    /// When it waits no longer.
    until: Option<Moment>,
}

impl Broadcast {
    pub(crate) const fn new(member: Member) -> Self {
        Self {
            member,
            unsaid: VecDeque::new(),
            until: None,
        }
    }

    /// Says what waits to be said, as far as the others keep up.
    fn say(&mut self, now: Moment) {
        if self.until.is_some_and(|until| now >= until) {
            self.member.lose_patience();
        }
        while let Some(message) = self.unsaid.front() {
            if !self.member.publish(message) {
                self.until = self.until.filter(|until| now < *until);
                self.until.get_or_insert_with(|| now.after(PATIENCE));
                return;
            }
            self.unsaid.pop_front();
            // Others were in the way then, whoever is now.
            self.until = None;
        }
        self.unsaid = VecDeque::new();
    }
}

impl Service for Broadcast {
    fn message(&mut self, context: &mut Context<'_>, message: Message) {
        self.unsaid.push_back(Encoded::new(&message));
        // Order: nothing overtakes what waits.
        if self.unsaid.len() == 1 {
            self.say(context.now().at);
        }
    }

    fn rung(&mut self, context: &mut Context<'_>) {
        if !self.unsaid.is_empty() {
            self.say(context.now().at);
        }
        loop {
            match self.member.take(context.backlog() < HIGH_WATER) {
                Found::Message(message) => context.send_encoded(&message),
                Found::Nothing => return,
                Found::Overflow => return context.close(Close::SlowConsumer),
            }
        }
    }

    fn takes_messages(&self) -> bool {
        self.unsaid.is_empty()
    }

    fn deadline(&self) -> Option<Moment> {
        self.until
    }
}

impl Drop for Broadcast {
    /// What was sent before a Close is heard, even if the two arrived together.
    fn drop(&mut self) {
        for message in &self.unsaid {
            self.member.publish_anyway(message);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;
    use crate::hub::Hub;

    fn message() -> Encoded {
        Encoded::new(&Message::Binary(Bytes::from(vec![7; 400])))
    }

    fn broadcast(hub: &Hub, number: u64) -> Broadcast {
        Broadcast::new(hub.enter(&"topic".into(), (number, &Arc::default()), 1000))
    }

    /// Says one more message.
    fn send(sender: &mut Broadcast, now: Moment) {
        sender.unsaid.push_back(message());
        sender.say(now);
    }

    #[test]
    fn m18_a_sender_is_not_read_while_it_waits_and_waits_for_a_short_time() {
        let hub = Hub::default();
        let (mut sender, other) = (broadcast(&hub, 1), broadcast(&hub, 2));
        let now = Moment::START;
        send(&mut sender, now);
        assert!(sender.takes_messages() && sender.deadline().is_none());
        send(&mut sender, now);
        assert!(!sender.takes_messages());
        assert_eq!(sender.deadline(), Some(now.after(PATIENCE)));
        // It does not begin to wait anew with every look.
        sender.say(now.after(PATIENCE / 2));
        assert_eq!(sender.deadline(), Some(now.after(PATIENCE)));
        assert_eq!(other.member.take(true), Found::Message(message()));
        sender.say(now.after(PATIENCE / 2));
        assert!(sender.takes_messages() && sender.deadline().is_none());
        // From its deadline on it does not wait for the slow one.
        let later = now.after(PATIENCE * 3);
        send(&mut sender, now.after(PATIENCE * 2));
        assert!(!sender.takes_messages());
        sender.say(later);
        assert!(sender.takes_messages() && sender.deadline().is_none());
    }

    #[test]
    fn m18_what_was_not_said_is_said_at_the_end() {
        let hub = Hub::default();
        let (mut sender, other) = (broadcast(&hub, 1), broadcast(&hub, 2));
        send(&mut sender, Moment::START);
        send(&mut sender, Moment::START);
        drop(sender);
        for expected in [
            Found::Message(message()),
            Found::Message(message()),
            Found::Nothing,
        ] {
            assert_eq!(other.member.take(true), expected);
        }
    }
}
