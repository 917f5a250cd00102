//! What the operating system says about sockets, and the thread that waits for it.
//!
//! Each thread has an epoll instance of its own. A socket is registered once, for everything, edge-triggered, and
//! leaves when it is closed. What was reported is remembered beside it, so that waiting for more of it costs no
//! system call.

use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::pin;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use countersign_core::ops::alarms::{Alarm, Alarms};
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

use crate::bell::Bell;
use crate::clock::Clock;

/// Most reports that are taken from the operating system at once.
const REPORTS: usize = 256;

/// Most reports that are taken in between, by a task that goes on.
const LOOKED_AT: usize = 64;

/// Longest sleep between two looks at the deadlines: short enough for every form of the system call.
const LONGEST_SLEEP: Duration = Duration::from_secs(3600);

/// What the bell is registered as, beyond every place of the table.
const BELL: u64 = u64::MAX;

/// What is reported of a stream.
const STREAM: EventFlags = EventFlags::IN
    .union(EventFlags::OUT)
    .union(EventFlags::PRI)
    .union(EventFlags::RDHUP)
    .union(EventFlags::ET);

/// A direction in which a socket can be ready.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    /// Reading or accepting.
    In,
    /// Writing or connecting.
    Out,
}

impl Way {
    /// The bit of: the next call may find what it wants.
    const fn ready(self) -> u8 {
        match self {
            Self::In => 1,
            Self::Out => 2,
        }
    }

    /// The bit of: a short call is not the last one, since this way has ended, or the socket failed, or urgent
    /// data is among the bytes. It is reported once, and counts until a call would have had to wait.
    const fn over(self) -> u8 {
        self.ready() << 2
    }
}

/// Returns the bits of a report.
fn bits(flags: EventFlags) -> u8 {
    let mut bits = 0;
    for (flag, meaning) in [
        (EventFlags::IN, Way::In.ready()),
        (EventFlags::OUT, Way::Out.ready()),
        (EventFlags::RDHUP, Way::In.over()),
        // A read ends at the mark of urgent data, and is short although more stands behind it.
        (EventFlags::PRI, Way::In.over()),
        (EventFlags::HUP, Way::In.over() | Way::Out.over()),
        (EventFlags::ERR, Way::In.over() | Way::Out.over()),
    ] {
        if flags.contains(flag) {
            bits |= meaning;
        }
    }
    bits
}

/// One thread's sockets and deadlines. Only that thread waits here and polls the tasks of these sockets, so
/// no report comes between a call and what is noted of its outcome.
#[derive(Debug)]
pub(crate) struct Reactor {
    epoll: OwnedFd,
    bell: Arc<Bell>,
    table: Mutex<Table>,
    /// How often it has asked for reports.
    turns: AtomicU64,
    /// How many connections its thread drives.
    pub(crate) connections: AtomicUsize,
    pub(crate) alarms: Alarms,
    pub(crate) clock: Clock,
}

impl Reactor {
    /// Makes the epoll instance of a thread.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(crate) fn new(clock: Clock) -> io::Result<Self> {
        let (epoll, bell) = (epoll::create(CreateFlags::CLOEXEC)?, Bell::new()?);
        let flags = EventFlags::IN | EventFlags::ET;
        epoll::add(&epoll, &bell, EventData::new_u64(BELL), flags)?;
        Ok(Self {
            epoll,
            bell: Arc::new(bell),
            table: Mutex::default(),
            turns: AtomicU64::new(0),
            connections: AtomicUsize::new(0),
            alarms: Alarms::default(),
            clock,
        })
    }

    /// Returns the reactor of a test's thread.
    #[cfg(test)]
    #[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
    pub(crate) fn of_thread() -> Arc<Self> {
        thread_local!(static OWN: Arc<Reactor> = Arc::new(Reactor::new(Clock::start()).unwrap()));
        OWN.with(Arc::clone)
    }

    /// Runs `future` to its end on the thread whose sockets and deadlines these are.
    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        let waker = Waker::from(Arc::clone(&self.bell));
        let mut cx = Context::from_waker(&waker);
        let mut reports = Vec::with_capacity(REPORTS);
        loop {
            if let Poll::Ready(done) = future.as_mut().poll(&mut cx) {
                return done;
            }
            let now = self.clock.now().at;
            // Nobody has to be told of earlier deadlines: they come from this thread.
            let next = self.alarms.ring(now, Waker::noop());
            self.wait(&mut reports, next.map(|next| next.since(now)));
        }
    }

    /// Returns after `time`.
    pub(crate) async fn pause(&self, time: Duration) {
        let end = self.clock.now().at.after(time);
        let mut alarm = Alarm::default();
        poll_fn(|cx| {
            if self.clock.now().at >= end {
                return Poll::Ready(());
            }
            self.alarms.set(&mut alarm, end, cx.waker());
            Poll::Pending
        })
        .await
    }

    /// Wakes whoever waits for what has been reported or has come due meanwhile, without waiting. A task that
    /// goes on without having waited does this first: the executor runs many tasks between two waits.
    pub(crate) fn look(&self) {
        self.alarms.ring(self.clock.now().at, Waker::noop());
        let mut reports = Vec::with_capacity(LOOKED_AT);
        // The bell stays as it is: whoever rang has not been heard yet.
        self.collect(&mut reports, Some(Duration::ZERO));
        self.report(&reports);
    }

    /// Waits until something is reported, somebody rings or `longest` has passed, and wakes whoever waits for
    /// what was reported.
    fn wait(&self, reports: &mut Vec<Event>, longest: Option<Duration>) {
        let longest = if self.bell.sleep() {
            longest
        } else {
            Some(Duration::ZERO)
        };
        reports.clear();
        self.collect(reports, longest);
        self.bell.awake();
        self.report(reports);
    }

    /// Waits for reports, at most as many as `reports` has room for.
    fn collect(&self, reports: &mut Vec<Event>, longest: Option<Duration>) {
        // It fails only when a signal was handled meanwhile, and then nothing was reported.
        let _ = epoll::wait(
            &self.epoll,
            spare_capacity(reports),
            longest.map(timespec).as_ref(),
        );
        self.turns.fetch_add(1, Ordering::Relaxed);
    }

    /// Wakes whoever waits for what was reported.
    fn report(&self, reports: &[Event]) {
        for report in reports {
            let (flags, token) = (report.flags, report.data.u64());
            let source = self.lock().find(token);
            if let Some(source) = source {
                source.report(bits(flags));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // No call inside can panic half way.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The operating system rounds it up to what it can wait for: milliseconds.
fn timespec(duration: Duration) -> Timespec {
    let duration = duration.min(LONGEST_SLEEP);
    Timespec {
        // At most an hour.
        tv_sec: duration.as_secs().try_into().unwrap_or_default(),
        tv_nsec: duration.subsec_nanos().into(),
    }
}

/// Everybody who is registered; there are no more than descriptors.
#[derive(Debug, Default)]
struct Table {
    places: Vec<Place>,
    /// Those that are empty.
    free: Vec<usize>,
}

/// Where a source is, or was: what is reported of one that left does not reach its successor.
#[derive(Debug, Default)]
struct Place {
    generation: u32,
    source: Option<Arc<Source>>,
}

impl Table {
    /// Returns the token by which `source` is found until it leaves.
    fn enter(&mut self, source: Arc<Source>) -> u64 {
        let index = self.free.pop().unwrap_or(self.places.len());
        if index == self.places.len() {
            self.places.push(Place::default());
        }
        let generation = self.places.get_mut(index).map_or(0, |place| {
            place.source = Some(source);
            place.generation
        });
        u64::from(generation) << u32::BITS | index as u64
    }

    /// Returns the place of a token and its index, if nobody has left there since.
    fn place(&mut self, token: u64) -> Option<(usize, &mut Place)> {
        let index = (token & u64::from(u32::MAX)) as usize;
        let place = self.places.get_mut(index)?;
        (u64::from(place.generation) == token >> u32::BITS).then_some((index, place))
    }

    fn find(&mut self, token: u64) -> Option<Arc<Source>> {
        let (_, place) = self.place(token)?;
        place.source.clone()
    }

    fn leave(&mut self, token: u64) {
        if let Some((index, place)) = self.place(token) {
            place.generation = place.generation.wrapping_add(1);
            place.source = None;
            self.free.push(index);
        }
    }
}

/// What is known of one socket, and what its task waits for. It has one task, for both ways.
#[derive(Debug)]
struct Source {
    known: AtomicU8,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    bits: u8,
    waker: Option<Waker>,
}

impl Source {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers what was reported, and wakes the task if it waits for that.
    fn report(&self, bits: u8) {
        self.known.fetch_or(bits, Ordering::Relaxed);
        let mut waiting = self.waiting();
        let waker = if waiting.bits & bits == 0 {
            None
        } else {
            waiting.bits = 0;
            waiting.waker.take()
        };
        drop(waiting);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// How a socket is registered.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// A stream that can be written to.
    Open,
    /// A stream that is being connected.
    Connecting,
    /// A listener that others share: one of those that wait is told of a connection, as long as there is one.
    Listening,
}

/// A socket's place in a reactor, until it is dropped. It has to be dropped before the socket is closed, which
/// is what ends the reports.
#[derive(Debug)]
pub(crate) struct Registration {
    reactor: Arc<Reactor>,
    source: Arc<Source>,
    token: u64,
}

impl Registration {
    /// Registers `socket`, which never waits by itself.
    ///
    /// # Errors
    /// The operating system refused to watch one more.
    pub(crate) fn new(reactor: &Arc<Reactor>, socket: impl AsFd, kind: Kind) -> io::Result<Self> {
        let (known, flags) = match kind {
            Kind::Open => (Way::Out.ready(), STREAM),
            Kind::Connecting => (0, STREAM),
            Kind::Listening => (0, EventFlags::IN | EventFlags::EXCLUSIVE),
        };
        let source = Arc::new(Source {
            known: AtomicU8::new(known),
            waiting: Mutex::default(),
        });
        let token = reactor.lock().enter(Arc::clone(&source));
        let registration = Self {
            reactor: Arc::clone(reactor),
            source,
            token,
        };
        epoll::add(&reactor.epoll, socket, EventData::new_u64(token), flags)?;
        Ok(registration)
    }

    /// Ready when the next call may find what it wants; otherwise the task is woken when it may.
    pub(crate) fn poll(&self, cx: &Context<'_>, way: Way) -> Poll<()> {
        let wanted = way.ready() | way.over();
        if self.source.known.load(Ordering::Relaxed) & wanted != 0 {
            return Poll::Ready(());
        }
        let mut waiting = self.source.waiting();
        waiting.bits |= wanted;
        match &mut waiting.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// Notes that a call took all there was. What is over stays so.
    pub(crate) fn exhausted(&self, way: Way) {
        self.source.known.fetch_and(!way.ready(), Ordering::Relaxed);
    }

    /// Notes that a call would have had to wait, whatever was reported.
    pub(crate) fn refused(&self, way: Way) {
        let bits = way.ready() | way.over();
        self.source.known.fetch_and(!bits, Ordering::Relaxed);
    }

    /// Returns how often the thread has asked for reports.
    pub(crate) fn turns(&self) -> u64 {
        self.reactor.turns.load(Ordering::Relaxed)
    }

    /// Leaves although `socket` stays open: a listener from which nothing can be accepted for a while would be
    /// reported again and again.
    pub(crate) fn withdraw(self, socket: impl AsFd) {
        // It fails only for what is not registered.
        let _ = epoll::delete(&self.reactor.epoll, socket);
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.reactor.lock().leave(self.token);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::Write;
    use std::os::unix::net::UnixStream;
    use std::task::Wake;
    use std::thread;
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_report_to_one_that_left_does_not_reach_its_successor() {
        let source = || {
            Arc::new(Source {
                known: AtomicU8::new(0),
                waiting: Mutex::default(),
            })
        };
        let mut table = Table::default();
        let first = table.enter(source());
        assert!(table.find(first).is_some());
        table.leave(first);
        table.leave(first);
        let second = table.enter(source());
        assert!(table.find(first).is_none() && table.find(second).is_some());
        let third = table.enter(source());
        assert!(second != third && table.places.len() == 2);
        assert!(table.find(BELL).is_none());
    }

    #[test]
    fn a_look_wakes_for_what_was_reported_and_what_is_due_and_leaves_the_bell_rung() {
        struct Woken(AtomicUsize);
        impl Wake for Woken {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let reactor = Arc::new(Reactor::new(Clock::start()).unwrap());
        let (ours, theirs) = UnixStream::pair().unwrap();
        let registration = Registration::new(&reactor, &ours, Kind::Open).unwrap();
        let woken = Arc::new(Woken(AtomicUsize::new(0)));
        let count = || woken.0.swap(0, Ordering::Relaxed);
        let waker = Waker::from(Arc::clone(&woken));
        let cx = Context::from_waker(&waker);
        reactor.look();
        assert!(registration.poll(&cx, Way::In).is_pending());
        reactor.look();
        assert_eq!(count(), 0);
        (&theirs).write_all(b"x").unwrap();
        reactor.bell.wake_by_ref();
        reactor.look();
        assert_eq!(count(), 1);
        assert!(registration.poll(&cx, Way::In).is_ready());
        assert!(!reactor.bell.sleep(), "what was rung is still to be looked for");
        reactor
            .alarms
            .set(&mut Alarm::default(), reactor.clock.now().at, &waker);
        reactor.look();
        assert_eq!(count(), 1);
    }

    #[test]
    fn a_sleep_ends_with_the_deadline_and_with_a_bell_of_another_thread() {
        let reactor = Reactor::of_thread();
        let (pause, began) = (Duration::from_millis(20), Instant::now());
        reactor.block_on(reactor.pause(pause));
        assert!(began.elapsed() >= pause);
        for _ in 0..100 {
            let (sender, receiver) = async_channel::bounded(1);
            let other = thread::spawn(move || sender.send_blocking(()));
            assert!(reactor.block_on(receiver.recv()).is_ok());
            assert!(other.join().is_ok_and(|sent| sent.is_ok()));
        }
    }
}
