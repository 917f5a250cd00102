//! What is to happen, in order: by moment, then by a drawn tie-break, then by age.

use std::collections::BTreeMap;
use std::time::Duration;

use countersign_core::job::Computed;
use countersign_core::leg::{DialError, Leg, Opened};
use countersign_core::time::Moment;

/// One thing that will happen to a line, or to the gateway.
#[derive(Debug)]
pub(super) enum Event {
    /// The TLS handshake of a leg is done.
    Secured(u64, Leg),
    /// A TLS handshake failed, or the peer reset the leg.
    Broken(u64, Leg),
    /// The far end's bytes, or its end of stream, can be read.
    Deliver(u64, Leg),
    /// The operating system takes bytes.
    Take(u64, Leg, Vec<u8>),
    /// The one timer of a line.
    Alarm(u64, Moment),
    /// The line's waker was woken.
    Ring(u64),
    /// A job ended.
    Computed(u64, Computed),
    /// A dialed leg opened, or not.
    Dialed(u64, Leg, Result<Opened, DialError>),
    /// The background thread looks at the files and the clocks.
    Refresh,
}

/// The heap of what is to happen.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    entries: BTreeMap<(Moment, u64, u64), Event>,
    age: u64,
    refreshes: usize,
}

impl Agenda {
    /// Puts `event` down, `after` from `now`; among equals the smaller `tie` is first.
    pub(super) fn add(&mut self, now: Moment, after: Duration, tie: u64, event: Event) {
        self.age += 1;
        self.refreshes += usize::from(matches!(event, Event::Refresh));
        self.entries.insert((now.after(after), tie, self.age), event);
    }

    /// Takes out what happens next, if that is not after `last`.
    pub(super) fn next(&mut self, last: Moment) -> Option<(Moment, Event)> {
        let first = self.entries.first_entry().filter(|entry| entry.key().0 <= last)?;
        let ((moment, _, _), event) = first.remove_entry();
        self.refreshes -= usize::from(matches!(event, Event::Refresh));
        Some((moment, event))
    }

    /// Says whether nothing but the background thread will ever do anything.
    pub(super) fn is_asleep(&self) -> bool {
        self.entries.len() == self.refreshes
    }
}
