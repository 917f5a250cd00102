//! Every timer of a connection by name, in one table.

use crate::time::Moment;

/// The timers that a connection can have running, each at most once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timer {
    /// The complete request head must have arrived; spans accept, TLS and the head.
    Head,
    /// The complete body of a request must have arrived.
    Body,
    /// The next request on a kept-alive connection must have begun.
    KeepAlive,
    /// The verdict on a credential must have been found.
    Check,
    /// A dialed leg must have opened.
    Dial,
    /// A message must have passed.
    Idle,
    /// A ping is due, or its answer is overdue.
    Ping,
    /// The peer must have taken some of what waits for it.
    Stall,
    /// The upstream must have taken some of what waits for it.
    Upstream,
    /// A large message must have been given memory.
    Memory,
    /// The right to the socket ends.
    Expiry,
    /// The closing handshake, or the end of the peer's stream, must have come.
    Close,
}

impl Timer {
    const ALL: [Self; 12] = [
        Self::Head,
        Self::Body,
        Self::KeepAlive,
        Self::Check,
        Self::Dial,
        Self::Idle,
        Self::Ping,
        Self::Stall,
        Self::Upstream,
        Self::Memory,
        Self::Expiry,
        Self::Close,
    ];
}

/// The running timers of one connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timers([Option<Moment>; Timer::ALL.len()]);

impl Timers {
    /// Starts `timer`, or moves it if it runs.
    pub(crate) fn set(&mut self, timer: Timer, at: Moment) {
        self.0[timer as usize] = Some(at);
    }

    /// Stops `timer`.
    pub(crate) fn stop(&mut self, timer: Timer) {
        self.0[timer as usize] = None;
    }

    /// Stops every timer.
    pub(crate) fn stop_all(&mut self) {
        *self = Self::default();
    }

    /// Returns when `timer` is due, if it runs.
    pub(crate) fn get(&self, timer: Timer) -> Option<Moment> {
        self.0[timer as usize]
    }

    /// Returns the nearest moment at which some timer is due.
    pub(crate) fn next(&self) -> Option<Moment> {
        self.0.iter().flatten().min().copied()
    }

    /// Stops and returns the timer that has been due longest at `at`.
    pub(crate) fn take_due(&mut self, at: Moment) -> Option<Timer> {
        let due = Timer::ALL
            .into_iter()
            .filter_map(|timer| {
                self.get(timer)
                    .filter(|when| *when <= at)
                    .map(|when| (when, timer))
            })
            .min_by_key(|(when, _)| *when)?;
        self.stop(due.1);
        Some(due.1)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_longest_due_fires_first_and_once() {
        let at = |ms| Moment::new(Duration::from_millis(ms));
        let mut timers = Timers::default();
        timers.set(Timer::Idle, at(20));
        timers.set(Timer::Close, at(10));
        assert_eq!(timers.next(), Some(at(10)));
        assert_eq!(timers.take_due(at(9)), None);
        assert_eq!(timers.take_due(at(30)), Some(Timer::Close));
        assert_eq!(timers.take_due(at(30)), Some(Timer::Idle));
        assert_eq!(timers.take_due(at(30)), None);
    }
}
