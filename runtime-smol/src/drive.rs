//! The connection loop: one future that owns a connection and all its legs.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker, ready};

use blocking::{Task, unblock};
use countersign_core::connection::{Connection, Input, Step};
use countersign_core::job::Computed;
use countersign_core::leg::Leg;
use countersign_core::ops::alarms::{Alarm, Alarms};
use countersign_core::time::{Moment, Now};

use crate::reactor::Reactor;
use crate::server::Shared;
use crate::stream::{Event, Stream};

/// Bytes read at once, for one TLS record.
const SCRATCH: usize = 16 * 1024;

/// Steps in a row before other connections of the thread get their turn: a busy peer is read and
/// written a few hundred KiB at a time. So few that one look at the clocks does for all of them.
const ROUNDS: usize = 64;

thread_local! {
    /// Every read lands here and goes straight into the core: an idle connection owns no buffer.
    static READ: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH].into_boxed_slice());
}

/// A connection, driven until it is over. Its panic ends nothing but itself.
pub(crate) struct Drive {
    run: Option<Box<Run>>,
    shared: Arc<Shared>,
    reactor: Arc<Reactor>,
}

impl Drive {
    /// Drives `connection`; the keeper's has no client.
    pub(crate) fn new(
        connection: Connection,
        client: Option<Stream>,
        shared: Arc<Shared>,
        reactor: Arc<Reactor>,
    ) -> Self {
        reactor.connections.fetch_add(1, Ordering::Relaxed);
        Self {
            run: Some(Box::new(Run {
                connection,
                legs: client.into_iter().map(|client| (Leg::CLIENT, client)).collect(),
                jobs: Vec::new(),
                alarm: Alarm::default(),
                waker: Waker::noop().clone(),
                shared: Arc::clone(&shared),
                reactor: Arc::clone(&reactor),
            })),
            shared,
            reactor,
        }
    }
}

impl Future for Drive {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { run, shared, .. } = &mut *self;
        let Some(run) = run else {
            return Poll::Ready(());
        };
        let polled = shared.guarded(|| run.poll(cx));
        polled.unwrap_or(Poll::Ready(()))
    }
}

impl Drop for Drive {
    fn drop(&mut self) {
        let run = self.run.take();
        self.shared.guarded(|| drop(run));
        self.reactor.connections.fetch_sub(1, Ordering::Relaxed);
        self.shared.departed();
    }
}

struct Run {
    connection: Connection,
    legs: Vec<(Leg, Stream)>,
    jobs: Vec<Task<Computed>>,
    alarm: Alarm,
    waker: Waker,
    shared: Arc<Shared>,
    reactor: Arc<Reactor>,
}

impl Drop for Run {
    fn drop(&mut self) {
        self.reactor.alarms.stop(&mut self.alarm);
    }
}

enum Round {
    Again,
    Over,
}

impl Run {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.waker.will_wake(cx.waker()) {
            self.waker.clone_from(cx.waker());
            self.connection.set_waker(&self.waker);
            self.reactor.alarms.stop(&mut self.alarm);
        }
        let now = self.shared.clock.now();
        READ.with_borrow_mut(|scratch| {
            for _ in 0..ROUNDS {
                match ready!(self.round(cx, now, scratch)) {
                    Round::Again => {}
                    Round::Over => return Poll::Ready(()),
                }
            }
            // Those who come before it in the queue.
            self.reactor.look();
            cx.waker().wake_by_ref();
            Poll::Pending
        })
    }

    /// Does the next step of the connection. Pending when there is nothing to do until one of its
    /// legs, its jobs, its deadline or its bell wakes the task.
    fn round(&mut self, cx: &mut Context<'_>, now: Now, scratch: &mut [u8]) -> Poll<Round> {
        match self.connection.step(now) {
            Step::Wait(wait) => {
                if let Poll::Ready(computed) = poll_jobs(&mut self.jobs, cx) {
                    self.connection.handle(now, Input::Computed(computed));
                    return Poll::Ready(Round::Again);
                }
                for (index, (leg, stream)) in self.legs.iter_mut().enumerate() {
                    let leg = *leg;
                    let (outgoing, wants_read) = (wait.outgoing(leg), wait.wants_read(leg));
                    let room = scratch.len().min(wait.read_at_most(leg));
                    let room = scratch.get_mut(..room).unwrap_or_default();
                    if let Poll::Ready(event) = stream.poll(cx, outgoing, wants_read, room) {
                        // Whoever moved is asked last next time.
                        self.legs.rotate_left(index + 1);
                        self.handle(now, leg, event, scratch);
                        return Poll::Ready(Round::Again);
                    }
                }
                watch(&mut self.alarm, &self.reactor.alarms, wait.deadline(), now, cx);
                return Poll::Pending;
            }
            Step::Dial(dial) => self.legs.push((
                dial.leg,
                Stream::dialing(dial, self.shared.gateway.lookups(), &self.reactor),
            )),
            Step::Secure(leg, tls) => {
                if let Some(stream) = stream(&mut self.legs, leg) {
                    stream.secure(tls);
                }
            }
            Step::Compute(job) => self.jobs.push(unblock(|| job.run())),
            Step::Note(note) => (self.shared.log)(&note, now),
            Step::Hangup(leg) => {
                if let Some(stream) = stream(&mut self.legs, leg) {
                    stream.hang_up(cx);
                }
            }
            Step::Drop(leg) => self.legs.retain(|(other, _)| *other != leg),
            Step::Closed => return Poll::Ready(Round::Over),
        }
        Poll::Ready(Round::Again)
    }

    fn handle(&mut self, now: Now, leg: Leg, event: Event, scratch: &[u8]) {
        let input = match event {
            Event::Dialed(result) => Input::Dialed(leg, result),
            Event::Secured(info) => Input::Secured(leg, info),
            Event::Sent(length) => Input::Sent(leg, length),
            Event::Data(length) => Input::Data(leg, scratch.get(..length).unwrap_or_default()),
            Event::Eof => Input::Eof(leg),
            Event::Broken(why) => Input::Broken(leg, why),
        };
        self.connection.handle(now, input);
    }
}

fn stream(legs: &mut [(Leg, Stream)], leg: Leg) -> Option<&mut Stream> {
    legs.iter_mut()
        .find(|(other, _)| *other == leg)
        .map(|(_, stream)| stream)
}

fn poll_jobs(jobs: &mut Vec<Task<Computed>>, cx: &mut Context<'_>) -> Poll<Computed> {
    for index in 0..jobs.len() {
        if let Some(job) = jobs.get_mut(index)
            && let Poll::Ready(computed) = Pin::new(job).poll(cx)
        {
            drop(jobs.swap_remove(index));
            return Poll::Ready(computed);
        }
    }
    Poll::Pending
}

/// Has the task woken by `deadline`. An alarm that was set for earlier rings first: a deadline that moves
/// away with every message costs nothing per message, only one step too many.
fn watch(alarm: &mut Alarm, alarms: &Alarms, deadline: Option<Moment>, now: Now, cx: &Context<'_>) {
    if let Some(deadline) = deadline
        && alarm.at().is_none_or(|at| at <= now.at || deadline < at)
    {
        alarms.set(alarm, deadline, cx.waker());
    }
}
