//! An open socket: who it serves, by what, and until when.

use std::fmt;
use std::sync::Arc;

use super::ends::Ends;
use super::relay::Relay;
use crate::gateway::{Membership, OpenSocket, Order, Proof, Registration, Session as LoginSession};
use crate::leg::Leg;
use crate::legs::Legs;
use crate::note::RequestId;
use crate::rules::Service as ServiceRules;
use crate::service::{Context, Service, Tally};
use crate::time::{Deadline, Moment, Now};
use crate::ws::{Close, Session};

/// An open socket and the protocol on it.
#[derive(Debug)]
pub(super) struct Serving {
    pub(super) wire: Wire,
    pub(super) socket: Socket,
}

/// What becomes of the bytes.
#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "it lives in a box, and most sockets have the larger one"
)]
pub(super) enum Wire {
    /// The messages in them are for the service.
    Session(Session),
    /// They go to the upstream, and what comes from there goes to the client.
    Relay(Relay),
}

/// Where a granted socket leads.
pub(super) enum Way<'a> {
    /// To the service, which was asked for at this path.
    Served(&'a str),
    /// To a WebSocket upstream that has accepted.
    Relay(Relay),
    /// To an upstream without WebSocket, on this leg.
    Tunnel(Leg),
}

/// An open socket: who it serves, by what, and until when.
pub(super) struct Socket {
    pub(super) service: Box<dyn Service>,
    pub(super) rules: Arc<ServiceRules>,
    /// The name of the data point that it reads.
    pub(super) point: Option<Box<str>>,
    /// Who it serves, and what that rests on.
    pub(super) proof: Proof,
    pub(super) request: RequestId,
    pub(super) opened: Now,
    /// When the right to the socket ends, and what it is told then.
    pub(super) ends: Ends,
    /// When a message passed last.
    pub(super) used: Moment,
    /// When the client was heard of last.
    pub(super) heard: Moment,
    /// A Ping was sent and nothing was heard since.
    pub(super) pinged: bool,
    /// Our Close was sent.
    pub(super) closing: Option<Close>,
    pub(super) received: Tally,
    pub(super) sent: Tally,
    /// Its place among the sockets of each session that it came by.
    pub(super) memberships: Vec<Membership>,
    /// When each realm was passed or renewed last.
    pub(super) authorized: Vec<(Arc<str>, Now)>,
    /// The sessions by which realms were renewed last: at most one for each.
    pub(super) renewed: Vec<RenewedBy>,
    /// Where a renewal finds it.
    pub(super) registration: Option<Registration>,
    /// When the sessions were told last that it is used.
    pub(super) told: Moment,
    /// The generation of the revocations that it was held against.
    pub(super) revocations: u64,
    pub(super) _counted: OpenSocket,
}

/// A session by which a realm was renewed, and the socket's place in it.
pub(super) struct RenewedBy {
    pub(super) realm: Arc<str>,
    pub(super) session: Arc<LoginSession>,
    pub(super) membership: Membership,
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("service", &self.rules.name)
            .field("closing", &self.closing)
            .finish_non_exhaustive()
    }
}

/// What an open socket holds of what all share.
pub(super) struct Held {
    pub(super) counted: OpenSocket,
    pub(super) memberships: Vec<Membership>,
    pub(super) registration: Option<Registration>,
    /// The generation of the revocations that it was held against.
    pub(super) revocations: u64,
}

impl Serving {
    pub(super) fn wants_read(&self) -> bool {
        match &self.wire {
            Wire::Session(session) => !session.is_blocked() && self.socket.service.takes_messages(),
            // Once its right has ended, nothing of the client's goes on.
            Wire::Relay(_) => self.socket.closing.is_none(),
        }
    }

    /// Returns when the service wants to be called.
    pub(super) fn deadline(&self) -> Option<Moment> {
        self.socket.service.deadline()
    }

    /// Says whether its bytes go to an upstream as they are.
    pub(super) const fn is_relayed(&self) -> bool {
        matches!(self.wire, Wire::Relay(_))
    }

    /// Says whether a message waits for memory.
    pub(super) const fn is_blocked(&self) -> bool {
        match &self.wire {
            Wire::Session(session) => session.is_blocked(),
            Wire::Relay(_) => false,
        }
    }

    /// Returns the rules of the service, and the data point that it reads, if it reads one.
    pub(super) fn service(&self) -> (&ServiceRules, Option<&str>) {
        (&self.socket.rules, self.socket.point.as_deref())
    }

    /// Returns what the socket was told since the last time.
    pub(super) fn order(&self) -> Option<Order> {
        self.socket.registration.as_ref()?.take()
    }

    /// Returns who the socket serves.
    pub(super) const fn proof(&self) -> &Proof {
        &self.socket.proof
    }

    /// Says whether something was revoked since this was asked last.
    pub(super) const fn is_behind(&mut self, revocations: u64) -> bool {
        let behind = self.socket.revocations != revocations;
        self.socket.revocations = revocations;
        behind
    }

    /// Takes note of how much still waits for the client.
    pub(super) fn settle(&mut self, waiting: usize) {
        match &mut self.wire {
            Wire::Session(session) => session.settle(waiting),
            Wire::Relay(_) => {}
        }
    }
}

impl Socket {
    /// Returns when the right to it ends by what is known now.
    pub(super) fn ends_now(&self) -> Ends {
        let renewed = self.renewed.iter().map(|by| by.session.ends());
        let renewed = renewed.reduce(Deadline::or);
        Ends::of(&self.rules, &self.proof, self.opened, &self.authorized, renewed)
    }

    /// Calls the service, and returns the Close that it wants.
    pub(super) fn call(
        &mut self,
        now: Now,
        legs: &mut Legs,
        call: impl FnOnce(&mut dyn Service, &mut Context<'_>),
    ) -> Option<Close> {
        let mut close = None;
        let mut context = Context {
            now,
            grant: &self.proof.grant,
            rules: &self.rules,
            legs,
            sent: &mut self.sent,
            close: &mut close,
        };
        call(self.service.as_mut(), &mut context);
        close
    }
}
