//! What this gateway has issued itself, presented again: sessions and tickets.

use std::sync::Arc;

use super::Connection;
use super::answer::Asked;
use super::check::Purpose;
use super::head::Refusal;
use crate::auth::challenge::BearerError;
use crate::auth::login::Refused;
use crate::auth::present::Pass;
use crate::auth::realm::Realm;
use crate::gateway::throttle::Source;
use crate::gateway::{Membership, Place, Proof, Redeemed, Session};
use crate::http::{Reply, Status};
use crate::reason::Reason;
use crate::time::Now;

impl Connection {
    /// Judges what this gateway has issued itself.
    pub(super) fn redeem(
        &mut self,
        now: Now,
        asked: Asked,
        realm: &Arc<Realm>,
        (pass, source): (&Pass, Source),
        purpose: Purpose,
    ) {
        let Some(server) = self.server() else {
            let reply = Reply::closing(Status::InternalServerError);
            return self.answer(now, &asked, reply, Reason::Internal);
        };
        let place = match &purpose {
            Purpose::Socket(wished) => wished.place.clone(),
            Purpose::Login(_) | Purpose::Ticket(_) | Purpose::Renewal(_) => Place::nowhere(&server.id),
        };
        match self.gateway().redeem(pass, realm, &place, now) {
            Redeemed::Proof(proof) => self.proven(now, asked, purpose, *proof),
            Redeemed::Elsewhere => self.without_credential(now, asked, realm, purpose),
            Redeemed::Refused(reason) => {
                let refused = Refused {
                    reason,
                    claims_alone: false,
                };
                // `error` is for what the client holds as a token: a session is the browser's, which
                // goes on to send it when it has ended, and must not be kept from the next login.
                let (error, counted) = match pass {
                    Pass::Ticket(_) => (
                        Some(BearerError::INVALID_TOKEN),
                        self.count_failure(now, source, refused),
                    ),
                    Pass::Session(_) => (None, Ok(())),
                };
                let (reply, reason) = match counted {
                    Ok(()) => (self.unauthorized(now, realm, &asked, error, false), reason),
                    Err(throttled) => throttled,
                };
                self.answer(now, &asked, reply, reason);
            }
        }
    }

    /// Takes a place among the sockets of every session, so that a logout from here on is noticed.
    pub(super) fn join(&self, now: Now, proof: &Proof, asked: &Asked) -> Result<Vec<Membership>, Refusal> {
        let join = |session: &Arc<Session>| session.join(self.admission.number(), self.admission.bell());
        let memberships: Vec<_> = proof.sessions.iter().map(join).collect();
        if memberships.iter().all(|membership| membership.ended().is_none()) {
            return Ok(memberships);
        }
        Err(match &asked.realm {
            Some(realm) => (self.unauthorized(now, realm, asked, None, false), Reason::Revoked),
            None => (Reply::closing(Status::InternalServerError), Reason::Internal),
        })
    }
}
