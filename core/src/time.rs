//! Time as plain data. The core never reads a clock: the adapter passes [`Now`] with every call.

use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Time since the gateway's epoch on a clock that never steps backwards: plain data, so that
/// tests and fuzzers can write it down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(Duration);

impl Moment {
    /// The gateway's epoch.
    pub const START: Self = Self(Duration::ZERO);

    /// The moment `since` after the gateway's epoch.
    pub const fn new(since: Duration) -> Self {
        Self(since)
    }

    /// Returns the time since the gateway's epoch.
    pub const fn since_start(self) -> Duration {
        self.0
    }

    /// Returns the time from `earlier` to `self`, zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// Returns the moment `by` later; the farthest moment if that cannot be written down.
    pub const fn after(self, by: Duration) -> Self {
        Self(self.0.saturating_add(by))
    }
}

/// Wall clock since 1970-01-01T00:00:00Z, for token expiry and `Date`; it may step backwards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(Duration);

impl UnixTime {
    /// The time `since` after 1970-01-01T00:00:00Z.
    pub const fn new(since: Duration) -> Self {
        Self(since)
    }

    /// The time `seconds` whole seconds after 1970-01-01T00:00:00Z.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// Reads a time as RFC 3339 section 5.6 writes it; `None` if it is none, or before 1970.
    pub fn from_rfc3339(text: &str) -> Option<Self> {
        let date = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        let nanos = u64::try_from(date.unix_timestamp_nanos()).ok()?;
        Some(Self(Duration::from_nanos(nanos)))
    }

    /// Returns the whole seconds since 1970-01-01T00:00:00Z.
    pub const fn as_secs(self) -> u64 {
        self.0.as_secs()
    }

    /// Returns the time since 1970-01-01T00:00:00Z.
    pub const fn since_epoch(self) -> Duration {
        self.0
    }

    /// Returns the time from `earlier` to `self`, zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// Returns the time `by` later; the farthest time if that cannot be written down.
    pub const fn after(self, by: Duration) -> Self {
        Self(self.0.saturating_add(by))
    }
}

/// Both clocks, read once per call by the adapter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// The clock that never steps backwards: every timer runs on it.
    pub at: Moment,
    /// The wall clock: token expiry and dates are told by it.
    pub unix: UnixTime,
}

impl Now {
    /// Both clocks `by` later.
    #[must_use]
    pub const fn after(self, by: Duration) -> Self {
        Self {
            at: self.at.after(by),
            unix: self.unix.after(by),
        }
    }
}

/// A point in time that is due as soon as either clock says so, so that neither a suspended
/// machine nor a wall clock that steps backwards extends a right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    /// When it is due by the clock that never steps backwards.
    pub at: Moment,
    /// When it is due by the wall clock.
    pub unix: UnixTime,
}

impl Deadline {
    /// The deadline at the wall clock time `unix`, seen from `now`.
    pub fn at_unix(unix: UnixTime, now: Now) -> Self {
        Self {
            at: now.at.after(unix.since(now.unix)),
            unix,
        }
    }

    /// The deadline `by` after `now`.
    pub fn after(by: Duration, now: Now) -> Self {
        Self {
            at: now.at.after(by),
            unix: now.unix.after(by),
        }
    }

    /// Returns what is due as soon as one of both is. Neither clock alone says which is the nearer one:
    /// the wall clock may have been set between the two.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            at: self.at.min(other.at),
            unix: self.unix.min(other.unix),
        }
    }

    /// Says whether either clock has reached the deadline.
    pub fn is_due(self, now: Now) -> bool {
        now.at >= self.at || now.unix >= self.unix
    }

    /// Returns the moment to look again: the nearer of what the two clocks say.
    pub fn moment(self, now: Now) -> Moment {
        self.at.min(now.at.after(self.unix.since(now.unix)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now(at: u64, unix: u64) -> Now {
        Now {
            at: Moment::new(Duration::from_secs(at)),
            unix: UnixTime::from_secs(unix),
        }
    }

    #[test]
    fn r14_a_backward_step_of_the_wall_clock_never_extends() {
        let deadline = Deadline::at_unix(UnixTime::from_secs(1_060), now(0, 1_000));
        assert!(!deadline.is_due(now(59, 500)));
        assert!(deadline.is_due(now(60, 500)));
    }

    #[test]
    fn r14_two_deadlines_are_due_when_one_is_whenever_the_wall_clock_was_set() {
        let before = Deadline::after(Duration::from_secs(60), now(0, 1_000));
        let behind = Deadline::after(Duration::from_secs(90), now(0, 500));
        let both = before.or(behind);
        for (at, unix) in [(59, 559), (60, 560), (59, 590), (89, 400), (90, 400), (1, 1_060)] {
            let now = now(at, unix);
            assert_eq!(both.is_due(now), before.is_due(now) || behind.is_due(now));
        }
    }

    #[test]
    fn r14_a_forward_step_of_the_wall_clock_is_due_at_once() {
        let deadline = Deadline::at_unix(UnixTime::from_secs(1_060), now(0, 1_000));
        assert!(deadline.is_due(now(1, 1_060)));
        assert_eq!(deadline.moment(now(1, 1_059)), now(2, 0).at);
    }
}
