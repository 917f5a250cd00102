//! What a good credential is granted: roles, scopes, subprotocol, and then the socket is open, or the
//! answer is given that was asked for.

use std::sync::Arc;

use super::Connection;
use super::answer::Asked;
use super::check::Purpose;
use super::head::{RETRY_AFTER, Refusal};
use super::opening::Granted;
use super::read::Goal;
use super::renewal::SOCKET;
use super::socket::{Held, Way};
use crate::auth::grant::Grant;
use crate::auth::present::Marker;
use crate::auth::realm::Realm;
use crate::authz::acl;
use crate::config::UpstreamProtocol;
use crate::gateway::{Place, Proof, StepUp};
use crate::http::upgrade::accept_key_bytes;
use crate::http::{Reply, RequestHead, Status};
use crate::reason::Reason;
use crate::rules::{Proxy, Service};
use crate::time::Now;
use crate::trace::Check;

/// What is granted if the credential is good.
#[derive(Debug)]
pub(super) struct Wished {
    /// The request, to be judged again if the rules change meanwhile.
    pub(super) head: RequestHead,
    pub(super) service: Arc<Service>,
    pub(super) place: Place,
    pub(super) goal: Goal,
    pub(super) protocols: Vec<String>,
    pub(super) marker: Marker,
    /// The factors that were passed before this one.
    pub(super) passed: Option<Box<StepUp>>,
}

impl Wished {
    /// Returns the request if it is one for something to read, and not for a socket.
    pub(super) fn read_by(&self) -> Option<&RequestHead> {
        self.goal.is_read().then_some(&self.head)
    }

    /// Returns the name of the data point that it reads, if it reads one.
    pub(super) fn point(&self) -> Option<&str> {
        self.service.points.get(&self.place.path).map(|name| &**name)
    }

    /// Returns the first realm: who is refused begins there.
    pub(super) fn realm(&self) -> Option<&Arc<Realm>> {
        self.service.realm.as_ref()
    }
}

impl Connection {
    /// Decides on a good credential: roles, scopes, subprotocol, and then the socket is open.
    pub(super) fn decide(&mut self, now: Now, mut asked: Asked, mut wish: Box<Wished>, proof: Proof) {
        let mut trace = asked.trace;
        let joined = if self.gateway().is_draining() {
            trace.begin(Check::Available);
            Err(self.draining())
        } else {
            if !wish.service.further.is_empty() {
                trace.begin(Check::Factor);
            }
            self.join_factors(now, &asked, &wish.service, wish.passed.take(), proof)
        };
        asked.trace = trace;
        match joined {
            Ok(proof) => self.let_in(now, asked, wish, proof),
            Err((reply, reason)) => self.answer(now, &asked, reply, reason),
        }
    }

    /// Decides on a client that has passed every factor.
    fn let_in(&mut self, now: Now, mut asked: Asked, wish: Box<Wished>, proof: Proof) {
        let mut trace = asked.trace;
        // The login has succeeded: a refusal from here on has a name too. It is said by the first
        // realm who that is, whichever was the last.
        asked.subject = proof.grant.subject().map(str::to_owned);
        asked.realm = wish.service.realm.as_ref().map(Arc::clone);
        trace.begin(Check::Authorize);
        let revocations = self.gateway().revocations().generation();
        if let Err((reply, reason)) = self.authorize(now, &wish, &proof.grant, &asked) {
            asked.trace = trace;
            return self.answer(now, &asked, reply, reason);
        }
        // Of several factors only the last one was held against the revocations. A socket is once more,
        // when it can be found.
        if wish.read_by().is_some() && self.gateway().is_revoked(&proof.basis, now) {
            asked.trace = trace;
            return self.refuse_revoked(now, &asked, &Purpose::Service(wish));
        }
        let key = match &wish.goal {
            Goal::Socket { key } => key,
            Goal::Read => {
                asked.trace = trace;
                let (reply, reason) = self.point(&wish.service, &wish.place.path, &asked);
                return self.answer(now, &asked, reply, reason);
            }
            Goal::File { at } => {
                asked.trace = trace;
                let path = (wish.place.path.as_str(), *at);
                return self.fetch(now, asked, &wish.service, &wish.head, path);
            }
        };
        trace.begin(Check::Subprotocol);
        let decided = choose(&wish).and_then(|protocol| {
            trace.begin(Check::Grant);
            let limit = self.rules.limits.sockets_per_subject;
            let too_many = || {
                let reply = Reply::closing(Status::TooManyRequests).retry_after(RETRY_AFTER);
                (reply, Reason::Throttled)
            };
            let counted = self
                .gateway()
                .open_socket(&proof.grant, limit)
                .ok_or_else(too_many)?;
            let memberships = self.join(now, &proof, &asked)?;
            let reply = Reply::switching(accept_key_bytes(key.as_str()), protocol.as_deref());
            Ok((reply, counted, memberships))
        });
        asked.trace = trace;
        match decided {
            Err((reply, reason)) => self.answer(now, &asked, reply, reason),
            // The rules changed meanwhile: no grant by those that are gone.
            Ok(granted) if !self.gateway().is_in_force(&self.rules) => {
                drop(granted);
                self.let_in_anew(now, asked, wish, proof);
            }
            // Redis has come back meanwhile: it is about to be known who is revoked.
            Ok(_) if self.gateway().is_reading() => self.unavailable(now, &asked),
            // Looked at last: who revokes from here on finds an open socket, and rings it.
            Ok(_) if self.gateway().is_revoked(&proof.basis, now) => {
                self.refuse_revoked(now, &asked, &Purpose::Service(wish));
            }
            Ok((reply, counted, memberships)) => {
                let held = Held {
                    counted,
                    memberships,
                    registration: None,
                    revocations,
                };
                let upstream = self.upstream(&wish.service);
                let mut granted = Granted {
                    asked,
                    wish,
                    proof,
                    held,
                    reply,
                };
                match upstream {
                    Some(upstream) => self.reach(now, granted, upstream),
                    None => {
                        let path = std::mem::take(&mut granted.wish.place.path);
                        self.open(now, granted, Way::Served(&path));
                    }
                }
            }
        }
    }

    /// Decides again under new rules on a client that has passed every factor.
    pub(super) fn let_in_anew(&mut self, now: Now, asked: Asked, mut wish: Box<Wished>, mut proof: Proof) {
        self.rules = self.gateway().rules();
        match self.review((&wish.service, wish.point()), &proof, now) {
            Ok((service, grant)) => {
                wish.service = service;
                proof.grant = grant;
                self.let_in(now, asked, wish, proof);
            }
            Err(_) => self.judge(now, wish.head, asked.request),
        }
    }

    /// Sends the 101, and serves.
    pub(super) fn open(&mut self, now: Now, granted: Granted, way: Way<'_>) {
        let Granted {
            asked,
            wish,
            proof,
            mut held,
            mut reply,
        } = granted;
        if wish.service.realms().any(|realm| realm.renewal.is_some()) {
            let gateway = self.gateway();
            let bell = self.admission.bell();
            let (id, registration) = gateway.renewals().register(gateway.entropy(), &proof.basis, bell);
            reply = reply.field(SOCKET, id.expose());
            held.registration = Some(registration);
        }
        self.legs.client_out().append(|out| reply.write(out));
        self.note_decision(&asked, Status::SwitchingProtocols, Reason::Granted);
        self.serve(now, asked.request, wish.service, way, proof, held);
    }

    /// Compares what the service requires with what was granted.
    fn authorize(&self, now: Now, wish: &Wished, grant: &Grant, asked: &Asked) -> Result<(), Refusal> {
        let service = &wish.service;
        let Some(realm) = &service.realm else {
            return Ok(());
        };
        let needed = match &wish.goal {
            Goal::Socket { .. } => acl::to_connect(service.kind),
            Goal::Read | Goal::File { .. } => acl::to_read(service.kind),
        };
        let Some(reason) = service.lacks(grant, needed) else {
            return Ok(());
        };
        // An anonymous client may log in and come back: it is asked to.
        if grant.is_anonymous() {
            let invitation = self.invitation_to(wish.read_by(), realm, asked);
            let refusal = || self.unauthorized(now, realm, asked, None, false);
            return Err((invitation.unwrap_or_else(refusal), reason));
        }
        let reply = Reply::new(Status::Forbidden);
        let challenge = (reason == Reason::MissingScope)
            .then(|| realm.challenges.insufficient_scope(&service.require_scopes))
            .flatten();
        let reply = match challenge {
            Some(challenge) => reply.field("WWW-Authenticate", challenge),
            None => reply,
        };
        Err((reply, reason))
    }
}

/// Chooses the subprotocol (R9): the first of the server's that the client offered too.
fn choose(wish: &Wished) -> Result<Option<String>, Refusal> {
    let service = &wish.service;
    let common = service
        .subprotocols
        .iter()
        .find(|ours| wish.protocols.iter().any(|theirs| theirs == *ours));
    if let Some(protocol) = common {
        return Ok(Some(protocol.clone()));
    }
    let bad_upgrade = (Reply::closing(Status::BadRequest), Reason::BadUpgrade);
    if service.require_subprotocol {
        let supported = service.subprotocols.join(", ");
        return Err((
            bad_upgrade.0.field("Sec-WebSocket-Protocol", supported),
            bad_upgrade.1,
        ));
    }
    // Behind a proxy the upstream chooses, among whatever the client offered.
    let relayed = |proxy: &Arc<Proxy>| proxy.protocol == UpstreamProtocol::WebSocket;
    let upstream_chooses = service.proxy.as_ref().is_some_and(relayed) && !wish.protocols.is_empty();
    match &wish.marker {
        Marker::None => Ok(None),
        Marker::Single if upstream_chooses => Ok(None),
        Marker::Pair(marker) => Ok(Some(marker.clone())),
        // A browser fails the connection if nothing is echoed, and the one item must not be.
        Marker::Single => Err(bad_upgrade),
    }
}
