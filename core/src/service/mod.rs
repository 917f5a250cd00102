//! What stands behind the door: a service is one file behind [`Service`].

mod broadcast;
mod echo;
mod points;
pub mod relay;
mod tunnel;

use std::fmt;

pub(crate) use broadcast::Broadcast;
pub(crate) use echo::Echo;
pub(crate) use points::{Points, UNWRITTEN, claimed};
pub(crate) use tunnel::Tunnel;

use crate::auth::grant::Grant;
pub use crate::leg::LegEvent;
use crate::leg::{ClientTls, Destination, Leg};
use crate::legs::Legs;
use crate::rules;
use crate::time::{Moment, Now};
use crate::ws::{self, Close, Encoded, Message};

/// What serves one open WebSocket. It is made after the grant, lives until the socket ends, and is
/// dropped then, whatever ends it. `Sync`, so that a runtime that moves its tasks between threads
/// can hold a [`Wait`](crate::connection::Wait) while it waits.
pub trait Service: Send + Sync {
    /// The socket is open.
    fn opened(&mut self, context: &mut Context<'_>) {
        let _ = context;
    }

    /// A whole message arrived.
    fn message(&mut self, context: &mut Context<'_>, message: Message);

    /// The connection goes on, perhaps because somebody has rung its bell or the client has taken what
    /// waited for it: time to send what others have left. Called at every step, so nothing to do must
    /// cost nothing.
    fn rung(&mut self, context: &mut Context<'_>) {
        let _ = context;
    }

    /// Says whether the service can take another message. While it cannot, the client is not read; what
    /// was read already still arrives. Asked at every step: whoever changes the answer rings the bell.
    fn takes_messages(&self) -> bool {
        true
    }

    /// Returns when the service is to be called at the latest, whatever happens. It has to be later, or
    /// none, once it was.
    fn deadline(&self) -> Option<Moment> {
        None
    }

    /// Something happened on a leg that the service has dialed.
    fn leg(&mut self, context: &mut Context<'_>, leg: Leg, event: LegEvent<'_>) {
        let _ = (context, leg, event);
    }
}

/// Stands where the service of a socket was that is being closed: nothing is served any more, and what
/// the service held is given back before the closing handshake is over.
#[derive(Debug)]
pub(crate) struct Ended;

impl Service for Ended {
    fn message(&mut self, _context: &mut Context<'_>, _message: Message) {}
}

/// Makes the service of one socket; called once per grant.
pub type ServiceFactory = dyn Fn(&Grant) -> Box<dyn Service> + Send + Sync;

/// What a service may do, lent for the time of one call.
pub struct Context<'a> {
    pub(crate) now: Now,
    pub(crate) grant: &'a Grant,
    /// The service by the rules of now: a reload may change them under an open socket.
    pub(crate) rules: &'a rules::Service,
    pub(crate) legs: &'a mut Legs,
    pub(crate) sent: &'a mut Tally,
    pub(crate) close: &'a mut Option<Close>,
}

/// What was sent to the client, for the log.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
}

impl fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}

impl Context<'_> {
    /// Returns both clocks.
    pub const fn now(&self) -> Now {
        self.now
    }

    /// Returns who is served, with roles, scopes and claims.
    pub const fn grant(&self) -> &Grant {
        self.grant
    }

    /// Sends a message to the client.
    pub fn send(&mut self, message: &Message) {
        self.sent.messages += 1;
        self.sent.bytes += message.payload().len() as u64;
        ws::send(message, self.legs.client_out());
    }

    /// Sends a message that was encoded already, for others too.
    pub(crate) fn send_encoded(&mut self, message: &Encoded) {
        self.sent.messages += 1;
        self.sent.bytes += message.payload_len() as u64;
        self.legs.client_out().push(message.frame());
    }

    /// Returns how many bytes wait for the client to take them.
    pub fn backlog(&self) -> usize {
        self.legs.waiting(Leg::CLIENT)
    }

    /// Ends the socket with this Close once the call returns. The first call counts.
    pub const fn close(&mut self, close: Close) {
        if self.close.is_none() {
            *self.close = Some(close);
        }
    }

    /// Asks for a stream; `None` if the connection has used up its numbers. Answered by
    /// [`LegEvent::Opened`] or [`LegEvent::Failed`].
    pub fn dial(&mut self, to: Destination) -> Option<Leg> {
        self.legs.dial(to)
    }

    /// Starts TLS on an open leg. Answered by [`LegEvent::Secured`] or [`LegEvent::Broken`].
    pub fn secure(&mut self, leg: Leg, tls: ClientTls) {
        self.legs.secure(leg, tls);
    }

    /// Queues bytes for an open leg.
    pub fn write(&mut self, leg: Leg, bytes: &[u8]) {
        self.legs.write(leg, bytes);
    }

    /// Ends our side of a leg when its queue is empty; reads go on until its end of stream.
    pub fn hang_up(&mut self, leg: Leg) {
        self.legs.hang_up(leg);
    }

    /// Lets go of a leg at once. Never the client's.
    pub fn let_go(&mut self, leg: Leg) {
        self.legs.let_go(leg);
    }
}
