//! What a check has found out: a grant, what it rests on, and the sessions that it came by.

use std::fmt;
use std::sync::Arc;

use super::Gateway;
use super::names::Names;
use super::session::{Key, Session};
use super::sessions::Looked;
use super::tickets::{Place, Ticket};
use crate::auth::basis::Basis;
use crate::auth::grant::Grant;
use crate::auth::present::Pass;
use crate::auth::realm::Realm;
use crate::bus::{Standing, key_of};
use crate::exchange::redis::Reply;
use crate::reason::Reason;
use crate::time::Now;

/// A grant with what it depends on. [`Proof::join`] makes one of several.
#[derive(Clone, Debug, Default)]
pub(crate) struct Proof {
    pub(crate) grant: Arc<Grant>,
    pub(crate) basis: Basis,
    /// The sessions that end it: one for each factor that came by one, directly or by a ticket.
    pub(crate) sessions: Vec<Arc<Session>>,
}

impl Proof {
    /// A grant that rests on `basis`, and that no session can end.
    pub(crate) const fn of(grant: Arc<Grant>, basis: Basis) -> Self {
        Self {
            grant,
            basis,
            sessions: Vec::new(),
        }
    }

    /// Adds what a further factor proves: the rights of both, and all that ends either.
    #[must_use]
    pub(crate) fn join(mut self, next: Self) -> Self {
        self.sessions.extend(next.sessions);
        Self {
            grant: Arc::new(Arc::unwrap_or_clone(self.grant).join(&next.grant)),
            basis: self.basis.join(next.basis),
            sessions: self.sessions,
        }
    }

    /// Returns this with the credential of `renewed` in the place of the one that the same realm was
    /// passed by. Sessions stay: what began with one ends with it.
    pub(crate) fn renewed_by(&self, renewed: &Self) -> Self {
        Self {
            grant: Arc::clone(&self.grant),
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
    /// Another node knows more.
    Foreign(Foreign),
}

/// How to find out what another node knows.
#[derive(Debug)]
pub(crate) enum Foreign {
    /// By asking Redis.
    Ask(Box<Redeeming>),
    /// Not at all: Redis is away.
    Away,
}

/// A session or a ticket of which another node may know more.
pub(crate) enum Redeeming {
    /// The session with this key.
    Session(Key),
    /// The ticket with this key, that is to be used at a place.
    Ticket(Key, Place),
    /// A ticket that was taken, by the sessions that it depends on: those that are known to live, and
    /// those that are not, the one that is asked about last.
    TicketOf(Box<Ticket>, Place, Vec<Arc<Session>>, Vec<Key>),
}

impl fmt::Debug for Redeeming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Session(_) => "Session",
            Self::Ticket(..) => "Ticket",
            Self::TicketOf(..) => "TicketOf",
        })
    }
}

impl Redeeming {
    /// Says whether it is about a ticket.
    pub(crate) const fn is_ticket(&self) -> bool {
        match self {
            Self::Session(_) => false,
            Self::Ticket(..) | Self::TicketOf(..) => true,
        }
    }

    /// Returns the command that asks Redis. It takes a ticket away: nobody else gets it.
    pub(crate) fn words(&self) -> [Vec<u8>; 2] {
        match self {
            Self::Session(key) => [b"GET".to_vec(), key_of(key)],
            Self::Ticket(key, _) => [b"GETDEL".to_vec(), key_of(key)],
            Self::TicketOf(.., keys) => [b"GET".to_vec(), keys.last().map(key_of).unwrap_or_default()],
        }
    }
}

impl Gateway {
    /// Judges what this gateway has issued, under the rules of `realm`. A ticket is spent by it.
    pub(crate) fn redeem(&self, pass: &Pass, realm: &Arc<Realm>, place: &Place, now: Now) -> Redeemed {
        let renewed = match pass {
            Pass::Session(id) => match self.sessions.find(self.names(), id.expose(), &realm.name, now) {
                Looked::Found(session) => self.sessions.renew(&session, realm, now),
                Looked::Elsewhere => return Redeemed::Elsewhere,
                Looked::Unknown => Err(Reason::UnknownKey),
                Looked::Ask(key) => return self.foreign(Redeeming::Session(key)),
            },
            Pass::Ticket(ticket) if self.bus().is_some() => {
                if Names::may_have_made(ticket.expose()) {
                    let key = self.names().ticket(ticket.expose());
                    return self.foreign(Redeeming::Ticket(key, place.clone()));
                }
                Err(Reason::UnknownKey)
            }
            Pass::Ticket(ticket) => self
                .tickets
                .spend(self.names(), ticket.expose(), &realm.name, place, now)
                .and_then(|proof| proof.renew(realm, now)),
        };
        Redeemed::from(renewed)
    }

    fn foreign(&self, redeeming: Redeeming) -> Redeemed {
        let away = self.bus().is_none_or(|bus| bus.standing() != Standing::Up);
        Redeemed::Foreign(if away {
            Foreign::Away
        } else {
            Foreign::Ask(Box::new(redeeming))
        })
    }

    /// Judges what Redis has said about a session or a ticket.
    pub(crate) fn redeemed(
        &self,
        redeeming: Redeeming,
        said: &Reply,
        realm: &Arc<Realm>,
        now: Now,
    ) -> Redeemed {
        match redeeming {
            Redeeming::Session(key) => match self.session_found(key, said, now) {
                Some(session) if session.is_of(&realm.name) => {
                    Redeemed::from(self.sessions.renew(&session, realm, now))
                }
                Some(_) => Redeemed::Elsewhere,
                None => {
                    self.sessions.forget(&key);
                    Redeemed::Refused(Reason::UnknownKey)
                }
            },
            Redeeming::Ticket(key, place) => match self.ticket_found(&key, said, now) {
                Ok((ticket, keys)) => self.ticket_of(Box::new(ticket), place, (Vec::new(), keys), realm, now),
                Err(true) => Redeemed::Refused(Reason::Replayed),
                Err(false) => Redeemed::Refused(Reason::UnknownKey),
            },
            Redeeming::TicketOf(ticket, place, mut sessions, mut keys) => {
                let session = keys.pop().and_then(|key| self.session_found(key, said, now));
                match session {
                    Some(session) => {
                        sessions.push(session);
                        self.ticket_of(ticket, place, (sessions, keys), realm, now)
                    }
                    // The session has ended, and so has what it granted.
                    None => Redeemed::Refused(Reason::Revoked),
                }
            }
        }
    }

    /// Judges a ticket as soon as all the sessions that it depends on are known to live.
    fn ticket_of(
        &self,
        mut ticket: Box<Ticket>,
        place: Place,
        (mut sessions, mut keys): (Vec<Arc<Session>>, Vec<Key>),
        realm: &Arc<Realm>,
        now: Now,
    ) -> Redeemed {
        while let Some(key) = keys.pop() {
            match self.sessions.own(&key, now) {
                Some(session) => sessions.push(session),
                None => {
                    keys.push(key);
                    return self.foreign(Redeeming::TicketOf(ticket, place, sessions, keys));
                }
            }
        }
        ticket.proof.sessions = sessions;
        let redeemed = ticket.redeem(&realm.name, &place, now);
        Redeemed::from(redeemed.and_then(|proof| proof.renew(realm, now)))
    }
}

impl From<Result<Proof, Reason>> for Redeemed {
    fn from(result: Result<Proof, Reason>) -> Self {
        match result {
            Ok(proof) => Self::Proof(Box::new(proof)),
            Err(reason) => Self::Refused(reason),
        }
    }
}
