//! How badly the simulated world behaves.

use std::time::Duration;

use crate::random::Random;

/// How badly the simulated world behaves. Every habit is within what an operating system may do.
#[derive(Clone, Copy, Debug)]
pub struct Habits {
    /// The longest that one step of the world takes.
    pub latency: Duration,
    /// Whether reads return less than there is.
    pub splits: bool,
    /// Whether writes take less than there is.
    pub partial: bool,
    /// How late the timer may be.
    pub slack: Duration,
    /// One job in this many is lost; 0 loses none.
    pub lost_jobs: usize,
}

impl Habits {
    /// Everything at once and complete.
    pub const CALM: Self = Self {
        latency: Duration::ZERO,
        splits: false,
        partial: false,
        slack: Duration::ZERO,
        lost_jobs: 0,
    };

    /// Short reads, short writes, delays.
    pub const ROUGH: Self = Self {
        latency: Duration::from_micros(700),
        splits: true,
        partial: true,
        slack: Duration::from_micros(900),
        lost_jobs: 0,
    };

    /// Delays, but every read returns all that was written: for rows that depend on which bytes
    /// arrive together.
    pub const SLOW: Self = Self {
        splits: false,
        ..Self::ROUGH
    };

    pub(super) fn delay(&self, random: &mut Random) -> Duration {
        self.latency.mul_f64(random.below(1000) as f64 / 1000.0)
    }

    pub(super) fn lateness(&self, random: &mut Random) -> Duration {
        self.slack.mul_f64(random.below(1000) as f64 / 1000.0)
    }

    /// Returns how many of `there` bytes pass at once; at least one.
    pub(super) fn some(random: &mut Random, whole: bool, there: usize) -> usize {
        if whole || there <= 1 || random.one_in(3) {
            there
        } else if random.one_in(2) {
            1
        } else {
            random.between(1, there)
        }
    }
}
