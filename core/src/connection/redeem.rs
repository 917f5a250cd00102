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
use crate::gateway::{Membership, Place, Proof, Redeemed};
use crate::http::{Reply, Status};
use crate::reason::Reason;
use crate::time::Now;

impl Purpose {
    /// Returns the realm in which whoever fails begins anew: for a further factor, the first one's.
    fn first<'r>(&'r self, realm: &'r Arc<Realm>) -> &'r Arc<Realm> {
        match self {
            Self::Service(wished) => wished.service.realm.as_ref().unwrap_or(realm),
            Self::Login(_) | Self::Ticket(_) | Self::Renewal(_) => realm,
        }
    }
}

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
            Purpose::Service(wished) => wished.place.clone(),
            Purpose::Login(_) | Purpose::Ticket(_) | Purpose::Renewal(_) => Place::nowhere(&server.id),
        };
        let is_ticket = match pass {
            Pass::Ticket(_) => true,
            Pass::Session(_) => false,
        };
        let redeemed = self.gateway().redeem(pass, realm, &place, now);
        self.redeemed(now, asked, realm, (is_ticket, source), purpose, redeemed);
    }

    /// Goes on with what a session or a ticket turned out to be worth.
    pub(super) fn redeemed(
        &mut self,
        now: Now,
        asked: Asked,
        realm: &Arc<Realm>,
        (is_ticket, source): (bool, Source),
        purpose: Purpose,
        redeemed: Redeemed,
    ) {
        match redeemed {
            Redeemed::Foreign(foreign) => self.foreign(now, asked, realm, (foreign, source), purpose),
            Redeemed::Proof(proof) => self.proven(now, asked, purpose, *proof),
            Redeemed::Elsewhere => {
                let first = Arc::clone(purpose.first(realm));
                self.without_credential(now, asked, &first, purpose);
            }
            Redeemed::Refused(reason) => {
                let refused = Refused {
                    reason,
                    claims_alone: false,
                };
                // `error` is for what the client holds as a token: a session is the browser's, which
                // goes on to send it when it has ended, and must not be kept from the next login.
                let (error, counted) = if is_ticket {
                    let counted = self.count_failure(now, source, refused);
                    (Some(BearerError::INVALID_TOKEN), counted)
                } else {
                    (None, Ok(()))
                };
                let (reply, reason) = match counted {
                    Ok(()) => {
                        let first = purpose.first(realm);
                        let invitation = if is_ticket {
                            None
                        } else {
                            self.invitation(&purpose, first, &asked)
                        };
                        let refusal = || self.unauthorized(now, first, &asked, error, false);
                        (invitation.unwrap_or_else(refusal), reason)
                    }
                    Err(throttled) => throttled,
                };
                self.answer(now, &asked, reply, reason);
            }
        }
    }

    /// Takes a place among the sockets of every session behind `proof`, so that a logout from here on
    /// is noticed.
    pub(super) fn join(&self, now: Now, proof: &Proof, asked: &Asked) -> Result<Vec<Membership>, Refusal> {
        let (number, bell) = (self.admission.number(), self.admission.bell());
        let joined = proof.sessions.iter().map(|session| session.join(number, bell));
        let memberships: Vec<_> = joined.collect();
        let ended = memberships.iter().any(|membership| membership.ended().is_some());
        match (ended, &asked.realm) {
            (false, _) => Ok(memberships),
            (true, Some(realm)) => Err((self.unauthorized(now, realm, asked, None, false), Reason::Revoked)),
            (true, None) => Err((Reply::closing(Status::InternalServerError), Reason::Internal)),
        }
    }
}
