//! What a check has found out: a grant, what it rests on, and the sessions that it came by.

use std::sync::Arc;

use super::Gateway;
use super::sessions::{Looked, Session};
use super::tickets::Place;
use crate::auth::basis::Basis;
use crate::auth::grant::Grant;
use crate::auth::present::Pass;
use crate::auth::realm::Realm;
use crate::reason::Reason;
use crate::time::Now;

/// A grant with what it depends on. [`Proof::join`] makes one of several.
#[derive(Clone, Debug, Default)]
pub(crate) struct Proof {
    pub(crate) grant: Grant,
    pub(crate) basis: Basis,
    /// The sessions that end it: one for each factor that came by one, directly or by a ticket.
    pub(crate) sessions: Vec<Arc<Session>>,
}

impl Proof {
    /// A grant that nothing but itself can end.
    pub(crate) fn of(grant: Grant) -> Self {
        Self {
            grant,
            ..Self::default()
        }
    }

    /// Adds what a further factor proves: the rights of both, and all that ends either.
    #[must_use]
    pub(crate) fn join(mut self, next: Self) -> Self {
        self.sessions.extend(next.sessions);
        Self {
            grant: self.grant.join(next.grant),
            basis: self.basis.join(next.basis),
            sessions: self.sessions,
        }
    }

    /// Returns this with the credential of `renewed` in the place of the one that the same realm was
    /// passed by. Sessions stay: what began with one ends with it.
    pub(crate) fn renewed_by(&self, renewed: &Self) -> Self {
        Self {
            grant: self.grant.clone(),
            basis: self.basis.clone().replace(&renewed.basis),
            sessions: self.sessions.clone(),
        }
    }

    /// Says whether one of its sessions is over.
    pub(crate) fn session_is_over(&self, now: Now) -> bool {
        self.sessions.iter().any(|session| session.is_over(now))
    }

    /// Judges again what was granted earlier: by the clocks, by the session, and by the files of
    /// `realm`.
    ///
    /// # Errors
    /// Why it is worth nothing any more.
    pub(super) fn renew(&self, realm: &Arc<Realm>, now: Now) -> Result<Self, Reason> {
        let over = self.grant.expires.is_some_and(|expires| expires.is_due(now));
        if over || self.session_is_over(now) {
            return Err(Reason::Expired);
        }
        let renewed = self.basis.renew([realm], &self.grant, now);
        let grant = renewed.map_err(|reason| {
            if reason == Reason::Expired {
                reason
            } else {
                Reason::Revoked
            }
        })?;
        Ok(Self {
            grant,
            ..self.clone()
        })
    }
}

/// What a session or a ticket is worth.
#[derive(Debug)]
pub(crate) enum Redeemed {
    /// This.
    Proof(Box<Proof>),
    /// It belongs to another realm: here it counts as absent.
    Elsewhere,
    /// Nothing, for this reason.
    Refused(Reason),
}

impl Gateway {
    /// Judges what this gateway has issued, under the rules of `realm`. A ticket is spent by it.
    pub(crate) fn redeem(&self, pass: &Pass, realm: &Arc<Realm>, place: &Place, now: Now) -> Redeemed {
        let renewed = match pass {
            Pass::Session(id) => match self.sessions.find(&self.entropy, id.expose(), &realm.name, now) {
                Looked::Found(session) => self.sessions.renew(&session, realm, now),
                Looked::Elsewhere => return Redeemed::Elsewhere,
                Looked::Unknown => Err(Reason::UnknownKey),
            },
            Pass::Ticket(ticket) => self
                .tickets
                .spend(&self.entropy, ticket.expose(), &realm.name, place, now)
                .and_then(|proof| proof.renew(realm, now)),
        };
        match renewed {
            Ok(proof) => Redeemed::Proof(Box::new(proof)),
            Err(reason) => Redeemed::Refused(reason),
        }
    }
}
