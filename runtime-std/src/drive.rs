//! The life of one connection on its thread: the core says what to do, this does it.

use std::io;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use countersign_core::connection::{Connection, Input, Step};
use countersign_core::leg::Leg;

use crate::legs::{Legs, Woken};
use crate::mailbox::{Mail, Mailbox};
use crate::scratch::Scratch;
use crate::server::Shared;
use crate::stream::{Event, Stream};

/// Events in a row after which the thread looks at all its descriptors again, so that a busy leg
/// drowns neither the other legs nor the mail.
const EVENTS_PER_LOOK: u32 = 16;

/// How long nothing happens on a connection before it counts as quiet and gives back what only a busy
/// one needs. Long enough that one that talks all the time never does.
const QUIET: Duration = Duration::from_millis(500);

/// A connection with all its streams, on whichever thread it is.
pub(crate) struct Session {
    connection: Connection,
    legs: Legs,
    mailbox: Arc<Mailbox>,
    /// The client was answered. Whatever takes a deep stack, a handshake and a decision, is behind it.
    answered: bool,
    /// It is on the thread where it stays.
    pub(crate) settled: bool,
}

impl Session {
    /// A connection and its accepted stream; the keeper's has none, and stays where it is.
    pub(crate) fn new(
        shared: &Shared,
        mut connection: Connection,
        client: Option<Stream>,
        mailbox: &Arc<Mailbox>,
    ) -> Box<Self> {
        connection.set_waker(&Waker::from(Arc::clone(mailbox)));
        Box::new(Self {
            connection,
            settled: client.is_none(),
            legs: Legs::new(client, Arc::clone(mailbox), shared.aides.clone()),
            mailbox: Arc::clone(mailbox),
            answered: false,
        })
    }

    /// Leads the connection to its end, unless it becomes quiet for the first time before: then it is
    /// returned, to go on where less memory is held for it.
    ///
    /// # Errors
    /// The operating system has no memory to wait with. The connection is lost then.
    pub(crate) fn drive(mut self: Box<Self>, shared: &Shared) -> io::Result<Option<Box<Self>>> {
        let mut scratch = Scratch::new();
        let mut events = 0;
        loop {
            let now = shared.clock.now();
            let wait = match self.connection.step(now) {
                Step::Wait(wait) => wait,
                Step::Dial(dial) => {
                    let leg = dial.leg;
                    if let Some(result) = self.legs.dial(dial, shared.gateway.lookups()) {
                        self.connection.handle(now, Input::Dialed(leg, result));
                    }
                    continue;
                }
                Step::Secure(leg, tls) => {
                    if let Err(why) = self.legs.secure(leg, tls) {
                        self.connection.handle(now, Input::Broken(leg, why));
                    }
                    continue;
                }
                Step::Compute(job) => {
                    let mailbox = Arc::clone(&self.mailbox);
                    let compute = move || mailbox.post(Mail::Computed(job.run()));
                    // A job for which there is no thread is dropped: the core answers 503 in its time.
                    let _ = shared.aides.run(Box::new(compute));
                    continue;
                }
                Step::Note(note) => {
                    shared.note(&note, now);
                    continue;
                }
                Step::Hangup(leg) => {
                    self.legs.hang_up(leg);
                    continue;
                }
                Step::Drop(leg) => {
                    self.legs.forget(leg);
                    continue;
                }
                Step::Closed => return Ok(None),
            };
            let busy = events < EVENTS_PER_LOOK;
            let event = busy.then(|| self.legs.advance(wait, &mut scratch)).flatten();
            if let Some((leg, event)) = event {
                events += 1;
                let mut read = 0;
                let input = match event {
                    Event::Secured(info) => Input::Secured(leg, info),
                    Event::Dialed(result) => Input::Dialed(leg, result),
                    Event::Data(length) => {
                        read = length;
                        Input::Data(leg, scratch.read(length))
                    }
                    Event::Eof => Input::Eof(leg),
                    Event::Sent(sent) => {
                        self.answered |= leg == Leg::CLIENT;
                        Input::Sent(leg, sent)
                    }
                    Event::Broken(why) => Input::Broken(leg, why),
                };
                self.connection.handle(now, input);
                scratch.grow_after(read);
                continue;
            }
            let left = wait.deadline().map(|deadline| deadline.since(now.at));
            // Only who has something to give back is asked whether it is quiet.
            let may_rest = scratch.is_large() || (self.answered && !self.settled);
            let rests = busy && may_rest && left.is_none_or(|left| left > QUIET);
            let timeout = match (busy, rests) {
                (false, _) => Some(Duration::ZERO),
                (true, true) => Some(QUIET),
                (true, false) => left,
            };
            events = 0;
            match self.legs.poll(wait, timeout)? {
                Woken::Rung => {
                    if self.collect(shared) {
                        return Ok(None);
                    }
                }
                Woken::Late if rests && !self.settled && self.answered => return Ok(Some(self)),
                Woken::Late if rests => scratch.shrink(),
                Woken::Late | Woken::Ready => {}
            }
        }
    }

    /// Hands the mail to the core; true if the server ends.
    fn collect(&mut self, shared: &Shared) -> bool {
        let now = shared.clock.now();
        for mail in self.mailbox.collect() {
            match mail {
                Mail::Computed(computed) => self.connection.handle(now, Input::Computed(computed)),
                Mail::Resolved(leg, addresses) => {
                    if let Some(error) = self.legs.resolved(leg, addresses) {
                        self.connection.handle(now, Input::Dialed(leg, Err(error)));
                    }
                }
                Mail::Stop => return true,
            }
        }
        false
    }
}
