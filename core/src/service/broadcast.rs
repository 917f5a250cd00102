//! `broadcast`: what one member sends, all others receive, text as text and binary as binary. A member
//! that does not keep up is dropped with 1013 and holds up nobody.

use super::{Context, Service};
use crate::hub::{Found, Member, Speaker};
use crate::legs::HIGH_WATER;
use crate::time::Moment;
use crate::ws::{Close, Encoded, Message};

/// One member of a broadcast. What it has sent and nobody heard yet is no more than what was read at
/// once: nothing is read meanwhile.
#[derive(Debug)]
pub(crate) struct Broadcast(Speaker);

impl Broadcast {
    pub(crate) const fn new(member: Member) -> Self {
        Self(Speaker::new(member))
    }
}

impl Service for Broadcast {
    fn message(&mut self, context: &mut Context<'_>, message: Message) {
        self.0.say(Encoded::new(&message), context.now().at);
    }

    fn rung(&mut self, context: &mut Context<'_>) {
        self.0.go_on(context.now().at);
        loop {
            match self.0.hear(context.backlog() < HIGH_WATER) {
                Found::Message(message) => context.send_encoded(&message),
                Found::Nothing => return,
                Found::Overflow => return context.close(Close::SlowConsumer),
            }
        }
    }

    fn takes_messages(&self) -> bool {
        self.0.has_spoken()
    }

    fn deadline(&self) -> Option<Moment> {
        self.0.deadline()
    }
}
