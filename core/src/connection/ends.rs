//! When the right to an open socket ends, by two clocks that need not agree.

use std::sync::Arc;
use std::time::Duration;

use super::{Connection, State};
use crate::auth::realm::Realm;
use crate::gateway::Proof;
use crate::rules::Service;
use crate::time::{Deadline, Now};
use crate::timers::Timer;
use crate::ws::Close;

/// How much earlier the wall clock has to want a deadline before the timer is moved for it: the two
/// clocks are read one after the other and never agree to the nanosecond.
const CLOCK_SLACK: Duration = Duration::from_millis(100);

/// When a right to a socket ends, and what the socket is told then.
pub(super) type End = (Deadline, Close);

/// All ends of a right to a socket. Each is looked at by itself: which of two is the nearer one, the
/// clocks need not agree on.
#[derive(Clone, Copy, Default)]
pub(super) struct Ends {
    token: Option<Deadline>,
    session: Option<Deadline>,
    authorization: Option<Deadline>,
}

impl Ends {
    /// The ends of a socket that was opened at `opened`, whose realms were passed last at
    /// `authorized`, and that was renewed by a session that ends at `renewed`.
    pub(super) fn of(
        rules: &Service,
        proof: &Proof,
        opened: Now,
        authorized: &[(Arc<str>, Now)],
        renewed: Option<Deadline>,
    ) -> Self {
        // Under a session the time counts from its login, else from the upgrade.
        let logged_in = |realm: &Arc<Realm>| proof.sessions.iter().any(|session| session.is_of(&realm.name));
        let elsewhere = rules.realms().filter(|realm| !logged_in(realm));
        let timeouts = elsewhere.filter_map(|realm| realm.session_timeout);
        let by_login = proof.sessions.iter().map(|session| session.ends());
        let by_session = by_login
            .chain(renewed)
            .chain(timeouts.map(|timeout| Deadline::after(timeout, opened)))
            .reduce(Deadline::or);
        let by_realm = |realm: &Arc<Realm>| {
            let (_, passed) = authorized.iter().find(|(name, _)| *name == realm.name)?;
            Some(Deadline::after(realm.authorization_timeout?, *passed))
        };
        Self {
            token: proof.grant.expires,
            session: by_session,
            authorization: rules.realms().filter_map(by_realm).reduce(Deadline::or),
        }
    }

    fn all(self) -> impl Iterator<Item = End> {
        let all = [
            (self.token, Close::TokenExpired),
            (self.session, Close::SessionTimeout),
            (self.authorization, Close::AuthorizationTimeout),
        ];
        all.into_iter()
            .filter_map(|(deadline, close)| Some((deadline?, close)))
    }

    /// Returns what is due as soon as one of the ends is.
    fn first(&self) -> Option<Deadline> {
        either(either(self.token, self.session), self.authorization)
    }

    /// Returns the end that has come, the one that came first if there are several.
    fn due(&self, now: Now) -> Option<Close> {
        let due = self.all().filter(|(deadline, _)| deadline.is_due(now));
        Some(due.min_by_key(|(deadline, _)| deadline.at)?.1)
    }

    /// Returns what ends as soon as one of both does.
    pub(super) fn or(self, other: Self) -> Self {
        Self {
            token: either(self.token, other.token),
            session: either(self.session, other.session),
            authorization: either(self.authorization, other.authorization),
        }
    }
}

/// Returns what is due as soon as one of both is, if there is one.
fn either(one: Option<Deadline>, other: Option<Deadline>) -> Option<Deadline> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.or(other)),
        (one, None) => one,
        (None, other) => other,
    }
}

impl Connection {
    /// Returns the end that has come; otherwise runs the timer of the nearest one.
    pub(super) fn watch_end(&mut self, now: Now) -> Option<Close> {
        let State::Serving(serving) = &self.state else {
            return None;
        };
        let Some(first) = serving.socket.ends.first() else {
            self.timers.stop(Timer::Expiry);
            return None;
        };
        if first.is_due(now) {
            return serving.socket.ends.due(now);
        }
        let by_wall = first.moment(now);
        let at = if by_wall.after(CLOCK_SLACK) < first.at {
            by_wall
        } else {
            first.at
        };
        self.timers.set(Timer::Expiry, at);
        None
    }
}
