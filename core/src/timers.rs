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

    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// The running timers of one connection. It is looked through several times for each event, and most
/// of them do not run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timers {
    /// A bit for each timer that runs.
    running: u16,
    /// When each is due; where it does not run, when it was.
    at: [Moment; Timer::ALL.len()],
}

impl Timers {
    /// Starts `timer`, or moves it if it runs.
    pub(crate) const fn set(&mut self, timer: Timer, at: Moment) {
        self.running |= timer.bit();
        self.at[timer as usize] = at;
    }

    /// Stops `timer`.
    pub(crate) const fn stop(&mut self, timer: Timer) {
        self.running &= !timer.bit();
    }

    /// Stops every timer.
    pub(crate) const fn stop_all(&mut self) {
        self.running = 0;
    }

    /// Returns when `timer` is due, if it runs.
    pub(crate) fn get(&self, timer: Timer) -> Option<Moment> {
        (self.running & timer.bit() != 0).then(|| self.at[timer as usize])
    }

    /// Returns the nearest moment at which some timer is due.
    pub(crate) fn next(&self) -> Option<Moment> {
        self.nearest().map(|(at, _)| at)
    }

    /// Stops and returns the timer that has been due longest at `at`.
    pub(crate) fn take_due(&mut self, at: Moment) -> Option<Timer> {
        let (_, timer) = self.nearest().filter(|(when, _)| *when <= at)?;
        self.stop(timer);
        Some(timer)
    }

    /// Returns the timer that is due first; of several at the same moment, the first of the table.
    fn nearest(&self) -> Option<(Moment, Timer)> {
        let (mut left, mut nearest) = (self.running, None);
        while let Some(&timer) = Timer::ALL.get(left.trailing_zeros() as usize) {
            left &= left - 1;
            let at = self.at[timer as usize];
            if nearest.is_none_or(|(other, _)| at < other) {
                nearest = Some((at, timer));
            }
        }
        nearest
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

    #[test]
    fn each_runs_by_itself_and_the_table_decides_among_equals() {
        let now = Moment::START;
        let mut timers = Timers::default();
        assert_eq!(timers.next(), None);
        for timer in Timer::ALL {
            timers.set(timer, now);
        }
        timers.stop(Timer::Body);
        assert_eq!(timers.get(Timer::Body), None);
        assert_eq!(timers.get(Timer::Close), Some(now));
        let mut fired = Vec::new();
        while let Some(timer) = timers.take_due(now) {
            fired.push(timer);
        }
        assert!(
            fired
                .iter()
                .eq(Timer::ALL.iter().filter(|timer| **timer != Timer::Body))
        );
        timers.set(Timer::Idle, now);
        timers.stop_all();
        assert_eq!((timers.next(), timers.get(Timer::Idle)), (None, None));
    }
}
