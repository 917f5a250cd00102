//! Topics: what one member says, every other one hears. A message is kept once, however many hear it.

mod mailbox;
mod speaker;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::mailbox::{Mailbox, Owner};
pub(crate) use self::speaker::Speaker;
use crate::bell::Bell;
use crate::ws::Encoded;

/// A topic: who is in it, and who waits for the others to keep up.
#[derive(Default)]
pub(super) struct Topic(Mutex<Members>);

#[derive(Default)]
struct Members {
    mailboxes: BTreeMap<u64, Arc<Mailbox>>,
    /// How many mailboxes are crowded, those of slow members not counted.
    crowded: Crowded,
    /// Who has something to say, in the order in which they began to wait.
    waiting: BTreeMap<u64, Arc<Bell>>,
    /// How many have waited.
    waits: u64,
}

/// How many mailboxes are crowded, by whose they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Crowded {
    clients: usize,
    nodes: usize,
}

impl Crowded {
    const fn of(&mut self, owner: Owner) -> &mut usize {
        match owner {
            Owner::Client => &mut self.clients,
            Owner::Nodes => &mut self.nodes,
        }
    }

    /// Says whether somebody of this kind waits before speaking.
    const fn hold_back(self, speaker: Owner) -> bool {
        match speaker {
            Owner::Client => self.clients > 0 || self.nodes > 0,
            Owner::Nodes => self.clients > 0,
        }
    }
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
        self.join_as(Owner::Client, number, bell, limit)
    }

    /// Joins for all other nodes.
    pub(super) fn join_for_nodes(self: Arc<Self>, number: u64, bell: &Arc<Bell>, limit: usize) -> Member {
        self.join_as(Owner::Nodes, number, bell, limit)
    }

    fn join_as(self: Arc<Self>, owner: Owner, number: u64, bell: &Arc<Bell>, limit: usize) -> Member {
        let mailbox = Arc::new(Mailbox::new(owner, bell, limit));
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
    fn relieve(&mut self, owner: Owner) -> Vec<Arc<Bell>> {
        let crowded = self.crowded.of(owner);
        *crowded = crowded.saturating_sub(1);
        if self.crowded.clients > 0 {
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
            mailbox.note(&mail);
            let crowded = self.crowded.of(mailbox.owner);
            match (before, mail.crowded) {
                (false, true) => *crowded += 1,
                (true, false) => *crowded = crowded.saturating_sub(1),
                (true, true) | (false, false) => {}
            }
        }
        bells
    }
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
        if !self.mailbox.is_filled() {
            return Found::Nothing;
        }
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
        self.mailbox.note(&mail);
        drop(mail);
        if relieved {
            let bells = self.topic.lock().relieve(self.mailbox.owner);
            ring(bells);
        }
        message.map_or(Found::Nothing, Found::Message)
    }

    /// Puts a message into the mailboxes of all others, in the same order for everybody. Says whether it
    /// did: while one of them is crowded it does not, and the member's bell is rung when it is worth
    /// another try.
    pub(crate) fn publish(&mut self, message: &Encoded) -> bool {
        let mut members = self.topic.lock();
        if members.crowded.hold_back(self.mailbox.owner) {
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

    /// Begins anew after [`Found::Overflow`]: what is said from now on is found.
    pub(crate) fn reopen(&self) {
        let mut mail = self.mailbox.lock();
        mail.reopen();
        self.mailbox.note(&mail);
    }

    /// Returns how many messages are gone since this was asked last.
    pub(crate) fn take_lost(&self) -> u64 {
        std::mem::take(&mut self.mailbox.lock().lost)
    }

    /// Waits no longer for those whose mailboxes are crowded, until they have caught up.
    pub(crate) fn lose_patience(&self) {
        let mut members = self.topic.lock();
        let Members {
            mailboxes, crowded, ..
        } = &mut *members;
        // What other nodes say does not wait for what they hear.
        let own = |owner| owner == Owner::Nodes && self.mailbox.owner == Owner::Nodes;
        for mailbox in mailboxes.values().filter(|mailbox| !own(mailbox.owner)) {
            let mut mail = mailbox.lock();
            if std::mem::take(&mut mail.crowded) {
                mail.slow = true;
                let crowded = crowded.of(mailbox.owner);
                *crowded = crowded.saturating_sub(1);
            }
        }
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
            members.relieve(self.mailbox.owner)
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
mod tests;
