//! The two clocks of the core, read in one place.

use std::time::{Duration, Instant, SystemTime};

use countersign_core::time::{Moment, Now, UnixTime};

/// A gateway's clocks. Its epoch is the moment it was made.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    epoch: Instant,
}

impl Clock {
    /// A clock that starts now.
    pub fn start() -> Self {
        Self {
            epoch: Instant::now(),
        }
    }

    /// Reads both clocks. A wall clock before 1970 reads as 1970.
    pub fn now(self) -> Now {
        let unix = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        Now {
            at: Moment::new(self.epoch.elapsed()),
            unix: UnixTime::new(unix),
        }
    }
}
