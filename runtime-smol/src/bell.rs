//! What wakes a thread that waits for reports of the operating system.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::Wake;

use rustix::event::{EventfdFlags, eventfd};

/// It looks for work, and will look again before it sleeps.
const AWAKE: u8 = 0;
/// There may be work that it has not seen.
const RUNG: u8 = 1;
/// It sleeps, or is about to without another look.
const ASLEEP: u8 = 2;

/// Ends the sleep of one thread. Ringing costs a system call only while that thread sleeps, and one for all
/// who ring.
#[derive(Debug)]
pub(crate) struct Bell {
    state: AtomicU8,
    /// Registered edge-triggered: every write is a report, and nobody has to read it.
    event: OwnedFd,
}

impl Bell {
    /// The bell of a thread that is awake.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            state: AtomicU8::new(AWAKE),
            event: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        })
    }

    /// The thread will look for work now. What was rung before has done its part.
    pub(crate) fn awake(&self) {
        self.state.swap(AWAKE, Ordering::SeqCst);
    }

    /// The thread is about to sleep. False if it was rung since it looked for work: then it may not.
    pub(crate) fn sleep(&self) -> bool {
        self.state
            .compare_exchange(AWAKE, ASLEEP, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok()
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.swap(RUNG, Ordering::SeqCst) == ASLEEP {
            // It fails only when the counter is full, and then the report is long made.
            let _ = rustix::io::write(&self.event, &1_u64.to_ne_bytes());
        }
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// Returns how often the descriptor was written to since it was last asked.
    fn written(bell: &Bell) -> u64 {
        let mut count = [0; 8];
        match rustix::io::read(bell, &mut count) {
            Ok(_) => u64::from_ne_bytes(count),
            Err(_) => 0,
        }
    }

    #[test]
    fn only_the_first_ring_of_a_sleep_is_a_system_call() {
        let bell = Arc::new(Bell::new().unwrap());
        bell.wake_by_ref();
        assert_eq!(
            (written(&bell), bell.sleep()),
            (0, false),
            "awake, it looks again"
        );
        bell.awake();
        assert!(bell.sleep());
        bell.wake_by_ref();
        bell.wake_by_ref();
        assert_eq!(written(&bell), 1);
        bell.awake();
        assert!(bell.sleep(), "what was rung before counts no more");
        assert_eq!(written(&bell), 0);
    }
}
