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
