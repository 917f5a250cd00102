//! The two clocks of the machine, read together.

use std::time::{Instant, SystemTime};

use countersign_core::time::{Moment, Now, UnixTime};

/// Reads both clocks. Copies share one epoch, so their moments can be compared.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    epoch: Instant,
}

impl Clock {
    /// A clock that starts now.
    #[must_use]
    pub fn start() -> Self {
        Self {
            epoch: Instant::now(),
        }
    }

    /// Returns what both clocks say. A wall clock before 1970 reads as 1970.
    #[must_use]
    pub fn now(self) -> Now {
        Now {
            at: Moment::new(self.epoch.elapsed()),
            unix: UnixTime::new(
                SystemTime::now()
                    .duration_since(SystemTime::UNIX_EPOCH)
                    .unwrap_or_default(),
            ),
        }
    }
}
