//! Tickets over HTTP (B1): a page that has a credential asks for something that may stand in a URL.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use super::Connection;
use super::answer::Asked;
use super::check::Purpose;
use super::head::{RETRY_AFTER, Refusal};
use crate::auth::json;
use crate::auth::present::Presented;
use crate::auth::realm::Realm;
use crate::bus::Standing;
use crate::config::Scheme;
use crate::gateway::{Bound, NoTicket, Proof};
use crate::http::{Host, Origin, Reply, RequestHead, Status, Target as RequestTarget};
use crate::reason::Reason;
use crate::rules::{Found, Target};
use crate::time::Now;

/// What a ticket is asked for with, up to the body.
pub(super) struct Order {
    realm: Arc<Realm>,
    presented: Presented,
    host: Option<Host>,
    origin: Option<Origin>,
}

impl fmt::Debug for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Order")
            .field("realm", &self.realm.name)
            .finish_non_exhaustive()
    }
}

/// A ticket that is made as soon as the credential is found good.
#[derive(Debug)]
pub(super) struct Mint {
    pub(super) realm: Arc<Realm>,
    bound: Bound,
}

impl Connection {
    /// Finds the credential of a request for a ticket.
    pub(super) fn ticket_order(
        &self,
        now: Now,
        head: &RequestHead,
        realm: &Arc<Realm>,
        origin: Option<Origin>,
        asked: &mut Asked,
    ) -> Result<Order, Refusal> {
        let presented = self.own_credential(now, head, realm, asked)?;
        Ok(Order {
            realm: Arc::clone(realm),
            presented,
            host: head.host().cloned(),
            origin,
        })
    }

    /// Begins the check of the credential of a request for a ticket.
    pub(super) fn order_ticket(&mut self, now: Now, asked: Asked, order: Order, body: &[u8]) {
        match self.bound(&order, body) {
            Ok(bound) => {
                let mint = Mint {
                    realm: Arc::clone(&order.realm),
                    bound,
                };
                let bearer = order.presented.scheme == Scheme::Bearer;
                let credential = (order.presented.credential, bearer);
                self.prove(
                    now,
                    asked,
                    &order.realm,
                    credential,
                    Purpose::Ticket(Box::new(mint)),
                );
            }
            Err(status) => self.answer(now, &asked, Reply::new(status), Reason::BadRequest),
        }
    }

    /// Reads what the ticket is to be good for. The body is JSON, whatever its type is said to be: many
    /// clients name another one unasked, and what a page may send was decided by its Origin.
    fn bound(&self, order: &Order, body: &[u8]) -> Result<Bound, Status> {
        let server = self.server().ok_or(Status::InternalServerError)?;
        let endpoint = if body.is_empty() {
            None
        } else {
            let members = json::object(body).map_err(|_| Status::BadRequest)?;
            if members.keys().any(|name| name != "endpoint") {
                return Err(Status::BadRequest);
            }
            match members.get("endpoint") {
                None => None,
                Some(Value::String(path)) => Some(self.endpoint(order, path).ok_or(Status::BadRequest)?),
                Some(_) => return Err(Status::BadRequest),
            }
        };
        Ok(Bound {
            server: Arc::clone(&server.id),
            endpoint,
            origin: order.origin.clone(),
        })
    }

    /// Returns the canonical path of an endpoint, if it is one of a service of the realm here.
    fn endpoint(&self, order: &Order, path: &str) -> Option<String> {
        let target = RequestTarget::parse(path, crate::http::Method::Get).ok()?;
        let path = target.canonical_path().ok()?;
        let Found::Here(Target::Service(service) | Target::Below(service, _) | Target::Directory(service, _)) =
            self.server()?
                .route(order.host.as_ref(), &path, self.peer.local.port())
        else {
            return None;
        };
        let judges = service.realms().any(|realm| realm.name == order.realm.name);
        (judges && target.query().is_none()).then(|| path.into_owned())
    }

    /// Makes the ticket.
    pub(super) fn mint(&mut self, now: Now, mut asked: Asked, mint: &Mint, proof: Proof) {
        asked.subject = proof.grant.subject().map(str::to_owned);
        let Some(tickets) = &mint.realm.tickets else {
            let reply = Reply::closing(Status::InternalServerError);
            return self.answer(now, &asked, reply, Reason::Internal);
        };
        let gateway = Arc::clone(self.gateway());
        if gateway.bus().is_some_and(|bus| bus.standing() != Standing::Up) {
            return self.unavailable(now, &asked);
        }
        let made = gateway.tickets().make(
            gateway.names(),
            proof,
            mint.bound.clone(),
            tickets.lifetime,
            self.rules.limits.tickets,
            now,
        );
        let (reply, reason) = match made {
            Ok(ticket) => {
                let body = format!(
                    "{{\"ticket\":\"{}\",\"expiresIn\":{}}}",
                    ticket.expose(),
                    tickets.lifetime.as_secs()
                );
                let reply = Reply::new(Status::Ok).content("application/json", body.into_bytes());
                let reply = if asked.query_carrier {
                    reply
                } else {
                    reply.field("Cache-Control", "no-store")
                };
                // A client may be faster than what Redis is told: the ticket is there before it is known.
                if let Some(words) = gateway.ticket_words(ticket.expose(), now) {
                    return self.await_ticket(now, asked, &words, reply);
                }
                (reply, Reason::Granted)
            }
            Err(NoTicket::Enough(wait)) => {
                let reply = Reply::closing(Status::TooManyRequests).retry_after(wait.max(RETRY_AFTER));
                (reply, Reason::Throttled)
            }
            // Without a subject there is nobody whom the ticket could be bound to.
            Err(NoTicket::Nobody) => (Reply::new(Status::Forbidden), Reason::MissingEntitlement),
        };
        self.answer(now, &asked, reply, reason);
    }
}
