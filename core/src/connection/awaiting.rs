//! What has to wait for Redis: upgrades until it is known what is revoked, sessions of other nodes,
//! and tickets. Nothing waits long, and whoever waited in vain is answered 503.

use std::sync::Arc;
use std::time::Duration;

use super::answer::Asked;
use super::check::Purpose;
use super::{Connection, State};
use crate::auth::realm::Realm;
use crate::bus::{Pending, key_of};
use crate::exchange::redis::Reply as Said;
use crate::gateway::throttle::Source;
use crate::gateway::{Foreign, Redeeming, SessionKey};
use crate::http::{Reply, RequestHead};
use crate::reason::Reason;
use crate::time::Now;
use crate::timers::Timer;

/// How long somebody waits for Redis. It answers within a millisecond if it is well.
const PATIENCE: Duration = Duration::from_secs(2);

/// Somebody who waits for Redis.
#[derive(Debug)]
pub(super) struct Awaiting {
    asked: Asked,
    what: What,
    /// The answer that is waited for; without one it is the revocations.
    pending: Option<Pending>,
}

#[derive(Debug)]
enum What {
    /// An upgrade, until it is known what is revoked.
    Upgrade(Box<RequestHead>),
    /// A session or a ticket that was presented.
    Pass(Box<Passing>),
    /// A ticket that is being stored, with the answer that hands it out.
    Ticket(Box<Reply>),
    /// The session of another node whose user wants to leave.
    Logout(Arc<Realm>, SessionKey),
}

/// A session or a ticket of which another node may know more.
#[derive(Debug)]
struct Passing {
    realm: Arc<Realm>,
    redeeming: Redeeming,
    source: Source,
    purpose: Purpose,
}

impl Connection {
    /// Holds an upgrade until it is known what is revoked.
    pub(super) fn await_revocations(&mut self, now: Now, asked: Asked, head: RequestHead) {
        self.wait(now, asked, What::Upgrade(Box::new(head)), None);
    }

    /// Asks what another node knows about a session or a ticket.
    pub(super) fn await_pass(
        &mut self,
        now: Now,
        asked: Asked,
        realm: &Arc<Realm>,
        (redeeming, source): (Redeeming, Source),
        purpose: Purpose,
    ) {
        let words = redeeming.words();
        let passing = Passing {
            realm: Arc::clone(realm),
            redeeming,
            source,
            purpose,
        };
        self.ask_bus(now, asked, What::Pass(Box::new(passing)), &words);
    }

    /// Has a ticket stored before `reply` hands it out.
    pub(super) fn await_ticket(&mut self, now: Now, asked: Asked, words: &[Vec<u8>], reply: Reply) {
        self.ask_bus(now, asked, What::Ticket(Box::new(reply)), words);
    }

    /// Looks whether the session of another node is one of `realm`, to end it.
    pub(super) fn await_logout(&mut self, now: Now, asked: Asked, realm: &Arc<Realm>, key: SessionKey) {
        let words = [b"GET".to_vec(), key_of(&key)];
        self.ask_bus(now, asked, What::Logout(Arc::clone(realm), key), &words);
    }

    fn ask_bus(&mut self, now: Now, asked: Asked, what: What, words: &[Vec<u8>]) {
        let words: Vec<_> = words.iter().map(Vec::as_slice).collect();
        let bell = self.admission.bell();
        let pending = self.gateway().bus().and_then(|bus| bus.ask(&words, bell));
        match pending {
            Some(pending) => self.wait(now, asked, what, Some(pending)),
            None => self.unavailable(now, &asked),
        }
    }

    fn wait(&mut self, now: Now, asked: Asked, what: What, pending: Option<Pending>) {
        self.timers.set(Timer::Check, now.at.after(PATIENCE));
        self.state = State::Awaiting(Box::new(Awaiting { asked, what, pending }));
    }

    /// Goes on as soon as what was waited for is there.
    pub(super) fn tick_await(&mut self, now: Now) {
        let State::Awaiting(awaiting) = &self.state else {
            return;
        };
        let said = match &awaiting.pending {
            None if self.gateway().is_reading() => return,
            None => Ok(Said::Nil),
            Some(pending) => match pending.answer() {
                None => return,
                Some(said) => said,
            },
        };
        let Some(awaiting) = self.end_await() else {
            return;
        };
        let Awaiting { asked, what, .. } = *awaiting;
        match said {
            Ok(said) => self.found(now, asked, what, &said),
            Err(_) => self.unavailable(now, &asked),
        }
        self.use_pending(now);
    }

    fn found(&mut self, now: Now, asked: Asked, what: What, said: &Said) {
        match (what, said) {
            // Redis refuses what it was asked: it says nothing about what was presented.
            (What::Pass(_) | What::Ticket(_) | What::Logout(..), Said::Error(_)) => {
                self.unavailable(now, &asked);
            }
            (What::Upgrade(head), _) => {
                self.rules = self.gateway().rules();
                self.judge(now, *head, asked.request);
            }
            (What::Pass(passing), said) => {
                let Passing {
                    realm,
                    redeeming,
                    source,
                    purpose,
                } = *passing;
                let is_ticket = redeeming.is_ticket();
                let redeemed = self.gateway().redeemed(redeeming, said, &realm, now);
                self.redeemed(now, asked, &realm, (is_ticket, source), purpose, redeemed);
            }
            (What::Ticket(reply), _) => self.answer(now, &asked, *reply, Reason::Granted),
            (What::Logout(realm, key), said) => {
                let gateway = Arc::clone(self.gateway());
                let session = gateway.session_found(key, said, now);
                let session = session.filter(|session| session.is_of(&realm.name));
                self.logged_out(now, asked, &realm, session.as_ref());
            }
        }
    }

    /// Redis did not answer in time.
    pub(super) fn await_is_late(&mut self, now: Now) {
        if let Some(awaiting) = self.end_await() {
            self.unavailable(now, &awaiting.asked);
        }
    }

    /// Takes what waits out of the state.
    fn end_await(&mut self) -> Option<Box<Awaiting>> {
        let awaiting = self.begin_anew(|state| {
            if let State::Awaiting(awaiting) = state {
                Ok(awaiting)
            } else {
                Err(state)
            }
        })?;
        self.timers.stop(Timer::Check);
        Some(awaiting)
    }

    /// Does what a session or a ticket allows that nobody else has to be asked about.
    pub(super) fn foreign(
        &mut self,
        now: Now,
        asked: Asked,
        realm: &Arc<Realm>,
        (foreign, source): (Foreign, Source),
        purpose: Purpose,
    ) {
        match foreign {
            Foreign::Ask(redeeming) => self.await_pass(now, asked, realm, (*redeeming, source), purpose),
            Foreign::Away => self.unavailable(now, &asked),
        }
    }
}
