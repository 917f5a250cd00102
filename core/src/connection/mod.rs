//! One socket's whole life: upgrade, credential check, service, close.

mod contract;

use std::task::Waker;

pub use contract::{Input, Peer, Step, Wait};

use crate::gateway::Admission;
use crate::leg::Leg;
use crate::time::{Moment, Now};

/// One socket's whole life: upgrade, credential check, service, close. Made at accept, before TLS.
#[derive(Debug)]
pub struct Connection {
    admission: Admission,
    _peer: Peer,
    out: crate::buffer::Outgoing,
    eof: bool,
    hung_up: bool,
    over: bool,
}

impl Connection {
    /// A connection that `peer` has opened.
    pub fn client(admission: Admission, peer: Peer, _now: Now) -> Self {
        Self {
            admission,
            _peer: peer,
            out: crate::buffer::Outgoing::default(),
            eof: false,
            hung_up: false,
            over: false,
        }
    }

    /// Stores what the core wakes when another connection or the gateway has something for this
    /// one. `wake` must take no lock of the adapter's.
    pub fn set_waker(&mut self, waker: &Waker) {
        self.admission.bell().set(waker);
    }

    /// Takes in what happened. A peer's mistake is a transition, never an error.
    pub fn handle(&mut self, _now: Now, input: Input<'_>) {
        match input {
            Input::Data(_, bytes) => self.out.append(|o| o.extend_from_slice(bytes)),
            Input::Sent(_, n) => self.out.advance(n),
            Input::Eof(_) => {
                self.eof = true;
                if self.hung_up {
                    self.over = true;
                }
            }
            Input::Broken(..) => self.over = true,
            Input::Secured(..) | Input::Dialed(..) | Input::Computed(_) => {}
        }
    }

    /// Fires due timers, collects what others left, and says what to do next. To be called until
    /// it answers [`Step::Wait`] or [`Step::Closed`].
    pub fn step(&mut self, _now: Now) -> Step<'_> {
        if self.over {
            return Step::Closed;
        }
        if self.eof && !self.hung_up {
            self.hung_up = true;
            self.over = true;
            return Step::Hangup(Leg::CLIENT);
        }
        Step::Wait(Wait(self))
    }

    fn deadline(&self) -> Option<Moment> {
        None
    }

    fn wants_read(&self, _leg: Leg) -> bool {
        !self.eof && self.out.len() < 65536
    }

    fn outgoing(&self, _leg: Leg) -> &[u8] {
        self.out.chunk()
    }

    fn legs(&self) -> impl Iterator<Item = Leg> + use<'_> {
        std::iter::once(Leg::CLIENT)
    }
}
