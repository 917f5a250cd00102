//! What other threads leave for a connection, and how they wake its thread.

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Wake;
use std::{io, mem};

use countersign_core::job::Computed;
use countersign_core::leg::Leg;
use rustix::event::{EventfdFlags, eventfd};

/// Eventfds of connections that have ended, kept for the next ones: descriptors that an idle program may
/// have open. More are closed when their connection ends.
pub const SPARE_ALARMS: usize = 64;

/// A descriptor that becomes readable when somebody rings, so that a thread can wait in `poll` for
/// its sockets and for other threads at once. Ringing takes no lock and never waits.
#[derive(Debug)]
pub(crate) struct Alarm {
    descriptor: OwnedFd,
    rung: AtomicBool,
}

impl Alarm {
    /// # Errors
    /// What the operating system says, commonly that there are too many descriptors.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            descriptor: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            rung: AtomicBool::new(false),
        })
    }

    /// Makes the descriptor readable. Only the first ring since [`Alarm::clear`] costs a system call.
    pub(crate) fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            // The only error is a counter at its limit, and then the descriptor is readable too.
            let _ = rustix::io::write(&self.descriptor, &1u64.to_ne_bytes());
        }
    }

    /// Says whether somebody rang since [`Alarm::clear`].
    pub(crate) fn is_rung(&self) -> bool {
        self.rung.load(Ordering::Acquire)
    }

    /// Makes the descriptor unreadable. What was written before a ring is visible after this.
    pub(crate) fn clear(&self) {
        let _ = rustix::io::read(&self.descriptor, &mut [0u8; 8]);
        // Emptied first, then marked: the other order would swallow a ring in between for ever.
        self.rung.swap(false, Ordering::AcqRel);
    }
}

impl AsFd for Alarm {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// Alarms of connections that have ended, for those that follow: two system calls less for each. There
/// are never more than connections were open at once.
#[derive(Debug, Default)]
pub(crate) struct Alarms(Mutex<Vec<Arc<Alarm>>>);

impl Alarms {
    /// A mailbox with a used alarm, or with a new one.
    ///
    /// # Errors
    /// As [`Alarm::new`].
    pub(crate) fn mailbox(&self) -> io::Result<Mailbox> {
        let used = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let alarm = used.map_or_else(|| Alarm::new().map(Arc::new), Ok)?;
        Ok(Mailbox::new(alarm))
    }

    /// Takes back the alarm of a connection that has ended, unless there are [`SPARE_ALARMS`] already.
    pub(crate) fn take_back(&self, mailbox: &Mailbox) {
        let mut spare = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < SPARE_ALARMS {
            spare.push(Arc::clone(&mailbox.alarm));
        }
    }
}

/// What a helper thread found out for a connection.
#[derive(Debug)]
pub(crate) enum Mail {
    /// A job ended.
    Computed(Computed),
    /// A name was looked up; no addresses means that it does not resolve.
    Resolved(Leg, Vec<SocketAddr>),
    /// The server ends now, and the connection with it.
    Stop,
}

/// The mailbox of one connection. It is the connection's waker as well.
#[derive(Debug)]
pub(crate) struct Mailbox {
    /// Used again by later connections: whoever still rings for this one wakes those for nothing.
    alarm: Arc<Alarm>,
    mail: Mutex<Vec<Mail>>,
}

impl Mailbox {
    /// An empty mailbox that wakes through `alarm`.
    pub(crate) fn new(alarm: Arc<Alarm>) -> Self {
        Self {
            alarm,
            mail: Mutex::default(),
        }
    }

    /// Leaves `mail` and wakes the connection's thread.
    pub(crate) fn post(&self, mail: Mail) {
        self.mail
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(mail);
        self.alarm.ring();
    }

    /// Takes all mail, and lets the next ring wake the thread again.
    pub(crate) fn collect(&self) -> Vec<Mail> {
        self.alarm.clear();
        mem::take(&mut *self.mail.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl AsFd for Mailbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.alarm.as_fd()
    }
}

impl Wake for Mailbox {
    fn wake(self: Arc<Self>) {
        self.alarm.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.alarm.ring();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::task::Waker;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;

    fn is_readable(alarm: &impl AsFd) -> bool {
        let mut fds = [PollFd::new(alarm, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec::default())).unwrap() == 1
    }

    #[test]
    fn a_waker_and_mail_make_the_mailbox_readable_until_it_is_collected() {
        let mailbox = Arc::new(Alarms::default().mailbox().unwrap());
        assert!(!is_readable(&*mailbox));
        let waker = Waker::from(Arc::clone(&mailbox));
        for _ in 0..2 {
            waker.wake_by_ref();
            waker.wake_by_ref();
            assert!(is_readable(&*mailbox));
            assert!(mailbox.collect().is_empty());
            assert!(!is_readable(&*mailbox));
        }
        mailbox.post(Mail::Resolved(Leg::CLIENT, Vec::new()));
        assert!(is_readable(&*mailbox));
        assert_eq!(mailbox.collect().len(), 1);
    }
    #[test]
    fn an_alarm_is_used_again_and_what_was_rung_late_is_not_missed_for_ever() {
        let alarms = Alarms::default();
        let ended = Arc::new(alarms.mailbox().unwrap());
        alarms.take_back(&ended);
        let next = alarms.mailbox().unwrap();
        assert!(Arc::ptr_eq(&ended.alarm, &next.alarm));
        // Mail of the first is none of the second's, which only looks once for nothing.
        ended.post(Mail::Stop);
        assert!(is_readable(&next));
        assert!(next.collect().is_empty());
        assert!(!is_readable(&next));
        next.post(Mail::Stop);
        assert!(is_readable(&next));
        assert_eq!(next.collect().len(), 1);
    }

    #[test]
    fn no_more_alarms_are_spare_than_the_limit() {
        let alarms = Alarms::default();
        let open: Vec<_> = (0..=SPARE_ALARMS).map(|_| alarms.mailbox().unwrap()).collect();
        for mailbox in &open {
            alarms.take_back(mailbox);
        }
        assert_eq!(alarms.0.lock().unwrap().len(), SPARE_ALARMS);
    }
}
