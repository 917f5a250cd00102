//! What a connection does about guessing: before a credential is judged, and again with the verdict.

use super::Connection;
use super::head::Refusal;
use crate::auth::login::Refused;
use crate::auth::present::Credential;
use crate::gateway::throttle::{Source, Throttled, is_guess};
use crate::http::{Reply, Status};
use crate::reason::Reason;
use crate::time::Now;

impl Connection {
    /// Returns whose failure it is if this credential is not good.
    pub(super) fn source(&self, credential: &Credential) -> Source {
        let address = self.peer.remote.ip();
        Source::of(
            address,
            credential,
            &self.rules.throttle,
            self.gateway().entropy(),
        )
    }

    /// Refuses a credential unseen if its source failed too often.
    pub(super) fn check_throttle(&self, now: Now, credential: &Credential) -> Result<(), Refusal> {
        self.still_allowed(now, self.source(credential))
    }

    /// Refuses a good credential whose source failed too often while it was judged: many guesses at
    /// the same time get no more verdicts than as many one after the other.
    pub(super) fn still_allowed(&self, now: Now, source: Source) -> Result<(), Refusal> {
        let throttle = self.gateway().throttle();
        throttle
            .check(source, &self.rules.throttle, now.at)
            .map_err(refusal)
    }

    /// Counts a credential that is not good, unless it was good once.
    pub(super) fn count_failure(&self, now: Now, source: Source, refused: Refused) -> Result<(), Refusal> {
        // Right but for its claims, it is answered 403.
        if refused.claims_alone || !is_guess(refused.reason) {
            return self.still_allowed(now, source);
        }
        let throttle = self.gateway().throttle();
        throttle
            .fail(source, &self.rules.throttle, now.at)
            .map_err(refusal)
    }
}

fn refusal(throttled: Throttled) -> Refusal {
    let reply = Reply::closing(Status::TooManyRequests).retry_after(throttled.retry_after);
    (reply, Reason::Throttled)
}
