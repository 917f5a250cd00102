//! The life of one connection on its thread: the core says what to do, this does it.

use std::io;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use countersign_core::connection::{Connection, Input, Step};

use crate::legs::Legs;
use crate::mailbox::{Mail, Mailbox};
use crate::server::Shared;
use crate::stream::{Event, Stream};

/// Events in a row after which the thread looks at all its descriptors again, so that a busy leg
/// drowns neither the other legs nor the mail.
const EVENTS_PER_LOOK: u32 = 16;

/// Leads `connection` from its accepted stream to its end; the keeper's has none.
///
/// # Errors
/// The operating system has no memory to wait with. The connection is lost then.
pub(crate) fn drive(
    shared: &Shared,
    mut connection: Connection,
    client: Option<Stream>,
    mailbox: &Arc<Mailbox>,
) -> io::Result<()> {
    connection.set_waker(&Waker::from(Arc::clone(mailbox)));
    let mut legs = Legs::new(client, Arc::clone(mailbox), shared.aides.clone());
    // Bytes on their way from a socket into the core. Let go before the thread falls asleep.
    let mut scratch = Vec::new();
    let mut events = 0;
    loop {
        let now = shared.clock.now();
        let wait = match connection.step(now) {
            Step::Wait(wait) => wait,
            Step::Dial(dial) => {
                let leg = dial.leg;
                if let Some(result) = legs.dial(dial, shared.gateway.lookups()) {
                    connection.handle(now, Input::Dialed(leg, result));
                }
                continue;
            }
            Step::Secure(leg, tls) => {
                if let Err(why) = legs.secure(leg, tls) {
                    connection.handle(now, Input::Broken(leg, why));
                }
                continue;
            }
            Step::Compute(job) => {
                let mailbox = Arc::clone(mailbox);
                // A job for which there is no thread is dropped: the core answers 503 in its time.
                let _ = shared.aides.run(move || mailbox.post(Mail::Computed(job.run())));
                continue;
            }
            Step::Note(note) => {
                shared.note(&note);
                continue;
            }
            Step::Hangup(leg) => {
                legs.hang_up(leg);
                continue;
            }
            Step::Drop(leg) => {
                legs.forget(leg);
                continue;
            }
            Step::Closed => return Ok(()),
        };
        let event = if events < EVENTS_PER_LOOK {
            legs.advance(wait, &mut scratch)
        } else {
            None
        };
        if let Some((leg, event)) = event {
            events += 1;
            let input = match event {
                Event::Secured(info) => Input::Secured(leg, info),
                Event::Dialed(result) => Input::Dialed(leg, result),
                Event::Data(read) => Input::Data(leg, scratch.get(..read).unwrap_or_default()),
                Event::Eof => Input::Eof(leg),
                Event::Sent(sent) => Input::Sent(leg, sent),
                Event::Broken(why) => Input::Broken(leg, why),
            };
            connection.handle(shared.clock.now(), input);
            continue;
        }
        let timeout = if events < EVENTS_PER_LOOK {
            scratch = Vec::new();
            wait.deadline().map(|deadline| deadline.since(now.at))
        } else {
            Some(Duration::ZERO)
        };
        events = 0;
        if legs.poll(wait, timeout)? {
            let now = shared.clock.now();
            for mail in mailbox.collect() {
                match mail {
                    Mail::Computed(computed) => connection.handle(now, Input::Computed(computed)),
                    Mail::Resolved(leg, addresses) => {
                        if let Some(error) = legs.resolved(leg, addresses) {
                            connection.handle(now, Input::Dialed(leg, Err(error)));
                        }
                    }
                    Mail::Stop => return Ok(()),
                }
            }
        }
    }
}
