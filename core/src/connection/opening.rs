//! The state between a grant and the socket behind a proxy: the upstream is dialed and asked, and the
//! client gets its 101 only with the upstream's.

use std::sync::Arc;

use super::answer::Asked;
use super::check::Purpose;
use super::decide::Wished;
use super::head::Refusal;
use super::socket::{Held, Way};
use super::{Connection, State};
use crate::auth::present::Marker;
use crate::config::UpstreamProtocol;
use crate::gateway::{Membership, Proof};
use crate::http::{Reply, Status};
use crate::leg::{Leg, LegEvent};
use crate::reason::Reason;
use crate::rules::{Found, Proxy, Service, Target};
use crate::service::relay::{AnswerReader, Client, Order, Scan, order};
use crate::time::Now;
use crate::timers::Timer;

use super::relay::Relay;

/// A socket that is granted and waits for its upstream.
pub(super) struct Opening {
    granted: Granted,
    proxy: Arc<Proxy>,
    leg: Leg,
    /// What a WebSocket upstream is asked.
    order: Option<Order>,
    reader: AnswerReader,
}

/// A client that has passed every check, and what it holds already.
pub(super) struct Granted {
    pub(super) asked: Asked,
    pub(super) wish: Box<Wished>,
    pub(super) proof: Proof,
    pub(super) held: Held,
    /// The answer to its key.
    pub(super) reply: Reply,
}

/// Shows where it goes, never who goes there.
impl std::fmt::Debug for Opening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opening")
            .field("to", &self.proxy.authority)
            .field("leg", &self.leg)
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// Returns the upstream of a service that is relayed.
    pub(super) fn upstream(&self, service: &Service) -> Option<Arc<Proxy>> {
        let proxy = service.proxy.as_ref()?;
        (!self.gateway().is_replaced(&service.name)).then(|| Arc::clone(proxy))
    }

    /// Goes to the upstream. Everything that can be refused without it has been.
    pub(super) fn reach(&mut self, now: Now, granted: Granted, proxy: Arc<Proxy>) {
        if self.legs.client().eof {
            // Whoever has left already needs no upstream.
            return self.begin_close(now);
        }
        let order = match proxy.protocol {
            UpstreamProtocol::Tcp => None,
            UpstreamProtocol::WebSocket => match self.order(&proxy, &granted) {
                Ok(order) => Some(order),
                Err((reply, reason)) => return self.answer(now, &granted.asked, reply, reason),
            },
        };
        let Some(leg) = self.legs.dial(proxy.to.clone()) else {
            return self.unreachable(now, &granted.asked, Status::BadGateway);
        };
        self.timers.stop_all();
        self.timers.set(Timer::Dial, now.at.after(proxy.timeout));
        self.state = State::Opening(Box::new(Opening {
            granted,
            proxy,
            leg,
            order,
            reader: AnswerReader::default(),
        }));
    }

    fn order(&self, proxy: &Proxy, granted: &Granted) -> Result<Order, Refusal> {
        let internal = (Reply::closing(Status::InternalServerError), Reason::Internal);
        let Some(server) = self.server() else {
            return Err(internal);
        };
        let head = &granted.wish.head;
        let path = &granted.wish.place.path;
        let segments = match server.route(head.host(), path, self.peer.local.port()) {
            Found::Here(Target::Below(_, segments)) => Some(*segments),
            Found::Here(
                Target::Service(_)
                | Target::Directory(..)
                | Target::Page(_)
                | Target::Realm(_)
                | Target::Admin(_),
            )
            | Found::OtherPort
            | Found::Nothing => None,
        };
        let client = Client {
            head,
            protocols: &granted.wish.protocols,
            grant: &granted.proof.grant,
            address: self.peer.remote.ip(),
            tls: server.tls.is_some(),
            segments,
        };
        order(proxy, &client).map_err(|_| (Reply::new(Status::Forbidden), Reason::ClaimsMismatch))
    }

    /// Takes the opening out of the state.
    fn end_opening(&mut self) -> Option<Box<Opening>> {
        self.begin_anew(|state| {
            if let State::Opening(opening) = state {
                Ok(opening)
            } else {
                Err(state)
            }
        })
    }

    /// What happened on the way to the upstream.
    pub(super) fn opening_event(&mut self, now: Now, leg: Leg, event: LegEvent<'_>) {
        let Some(mut opening) = self.end_opening() else {
            return;
        };
        if opening.leg != leg {
            self.state = State::Opening(opening);
            return;
        }
        match (event, &opening.order) {
            (LegEvent::Opened(_), Some(order)) => {
                self.legs.write(leg, &order.bytes);
                self.state = State::Opening(opening);
            }
            (LegEvent::Opened(_), None) => self.reached(now, opening, Way::Tunnel(leg), &[]),
            (LegEvent::Data(bytes), Some(order)) => match opening.reader.push(bytes, &order.offer) {
                Scan::More => self.state = State::Opening(opening),
                Scan::Accepted(accepted, used) => {
                    let protocol = match (&accepted.protocol, &opening.granted.wish.marker) {
                        (Some(protocol), _) => Some(protocol.as_str()),
                        (None, Marker::Pair(marker)) => Some(marker.as_str()),
                        (None, Marker::None) => None,
                        // There is nothing that may be echoed, and a browser fails without (R9).
                        (None, Marker::Single) => {
                            self.legs.let_go(leg);
                            let reply = Reply::closing(Status::BadRequest);
                            self.answer(now, &opening.granted.asked, reply, Reason::BadUpgrade);
                            return self.use_pending(now);
                        }
                    };
                    opening.granted.reply = accepted.reply(&order.offer.accept, protocol);
                    let rest = bytes.get(used..).unwrap_or_default();
                    self.reached(now, opening, Way::Relay(Relay::new(leg, now)), rest);
                }
                Scan::Refused => self.not_reached(now, &opening, Status::BadGateway),
            },
            (LegEvent::Data(_) | LegEvent::Secured(_), _) => self.state = State::Opening(opening),
            (LegEvent::Failed(_) | LegEvent::Broken(_), _) => {
                // The adapter has given it up by itself.
                self.legs.forget(leg);
                self.not_reached(now, &opening, Status::BadGateway);
            }
            (LegEvent::Eof, _) => self.not_reached(now, &opening, Status::BadGateway),
        }
    }

    /// Opens the socket; `rest` follows the upstream's 101.
    fn reached(&mut self, now: Now, opening: Box<Opening>, way: Way<'_>, rest: &[u8]) {
        let Some(opening) = self.still_granted(now, opening) else {
            return;
        };
        let Opening { granted, leg, .. } = *opening;
        self.open(now, granted, way);
        if !rest.is_empty() {
            self.leg_event(now, leg, LegEvent::Data(rest));
        }
        self.use_pending(now);
    }

    /// The upstream did not answer as it should.
    fn not_reached(&mut self, now: Now, opening: &Opening, status: Status) {
        self.legs.let_go(opening.leg);
        self.unreachable(now, &opening.granted.asked, status);
        self.use_pending(now);
    }

    fn unreachable(&mut self, now: Now, asked: &Asked, status: Status) {
        self.answer(now, asked, Reply::closing(status), Reason::Unavailable);
    }

    /// The upstream has not answered in time.
    pub(super) fn opening_is_late(&mut self, now: Now) {
        if let Some(opening) = self.end_opening() {
            self.not_reached(now, &opening, Status::GatewayTimeout);
        }
    }

    /// The client has left: nobody needs the upstream any more.
    pub(super) fn leave_opening(&mut self, now: Now) {
        if let Some(opening) = self.end_opening() {
            self.legs.let_go(opening.leg);
            self.begin_close(now);
        }
    }

    /// Looks whether the grant still holds.
    pub(super) fn tick_opening(&mut self, now: Now) {
        if let Some(opening) = self.end_opening()
            && let Some(opening) = self.still_granted(now, opening)
        {
            self.state = State::Opening(opening);
        }
    }

    /// Returns the opening if what was granted holds still; otherwise the client is judged anew.
    fn still_granted(&mut self, now: Now, opening: Box<Opening>) -> Option<Box<Opening>> {
        let gateway = Arc::clone(self.gateway());
        let Granted { proof, held, .. } = &opening.granted;
        let draining = gateway.is_draining();
        let changed = !gateway.is_in_force(&self.rules);
        let revoked =
            held.revocations != gateway.revocations().generation() && gateway.is_revoked(&proof.basis, now);
        let over = proof.grant.expires.is_some_and(|expires| expires.is_due(now))
            || held
                .memberships
                .iter()
                .any(|membership| Membership::ended(membership).is_some());
        // Redis has come back meanwhile: it is about to be known who is revoked.
        let reading = gateway.is_reading();
        if !(draining || changed || revoked || over || reading) {
            return Some(opening);
        }
        self.legs.let_go(opening.leg);
        self.timers.stop_all();
        let Granted {
            asked,
            wish,
            proof,
            held,
            ..
        } = opening.granted;
        // Given back first: whoever is decided on anew must not stand in its own way.
        drop(held);
        if draining {
            let (reply, reason) = self.draining();
            self.answer(now, &asked, reply, reason);
        } else if revoked {
            self.refuse_revoked(now, &asked, &Purpose::Service(wish));
        } else if reading {
            self.unavailable(now, &asked);
        } else if over {
            self.rules = gateway.rules();
            self.judge(now, wish.head, asked.request);
        } else {
            self.let_in_anew(now, asked, wish, proof);
        }
        self.use_pending(now);
        None
    }
}
