//! Digest at one realm: its challenge, the judgement of a response, and the nonce's one use.

use std::hint::black_box;

use super::chain::Outcome;
use super::challenge::DigestChallenge;
use super::digest::DigestCredentials;
use super::nonce::{Issue, opaque};
use super::nonces::{Nonces, Spent};
use super::realm::{Realm, UsersModule};
use crate::config::Scheme;
use crate::entropy::Entropy;
use crate::note::RequestId;
use crate::reason::Reason;
use crate::time::Now;

/// What stands in for the HA1 of a user that there is not: the longest of them.
const DECOY: [u8; 32] = [0; 32];

impl Realm {
    /// Makes what the Digest challenge of the answer to `request` says, if the realm has one. `stale`
    /// tells the client that its response was right and its nonce was not.
    pub(crate) fn digest_challenge(
        &self,
        entropy: &Entropy,
        request: RequestId,
        stale: bool,
        now: Now,
    ) -> Option<DigestChallenge> {
        self.schemes.contains(&Scheme::Digest).then(|| DigestChallenge {
            nonce: Issue::new(entropy, request, now).nonce(entropy, &self.name),
            opaque: opaque(entropy, &self.name),
            stale,
        })
    }

    /// Returns the user of `users` whose password the client knows. The nonce is not judged here.
    pub(crate) fn judge_digest(
        &self,
        users: &UsersModule,
        credentials: &DigestCredentials,
    ) -> Result<String, Outcome> {
        let digests = users.digests.as_ref().ok_or(Outcome::Ignored(None))?;
        // Another text is another protection space: the response was made for somebody else.
        if credentials.realm() != self.challenges.realm.as_bytes() {
            return Err(Outcome::Failure(Reason::WrongAudience));
        }
        let offered = |algorithm: &_| self.challenges.digest_algorithms.contains(algorithm);
        let algorithm = credentials
            .algorithm()
            .filter(offered)
            .ok_or(Outcome::Failure(Reason::WrongAlgorithm))?;
        let user = credentials.user();
        match user.and_then(|user| Some((user, digests.ha1(user, algorithm)?))) {
            Some((user, ha1)) if credentials.is_answer_of(ha1) => Ok(user.to_owned()),
            Some(_) => Err(Outcome::Failure(Reason::BadPassword)),
            None => {
                // The same work as for a user that there is (R5), whatever comes out.
                let decoy = DECOY.get(..algorithm.length()).unwrap_or_default();
                black_box(credentials.is_answer_of(decoy));
                Err(Outcome::Failure(Reason::UnknownUser))
            }
        }
    }

    /// Uses the nonce of `credentials`, whose response was right. Nothing before this leaves a trace
    /// of it, so that only who knows a password can fill the table.
    ///
    /// # Errors
    /// The nonce is too old, was used with this count, or is none of this process for this realm: the
    /// client may repeat the request with another (`stale`).
    pub(crate) fn spend_nonce(
        &self,
        credentials: &DigestCredentials,
        entropy: &Entropy,
        nonces: &Nonces,
        now: Now,
    ) -> Result<(), Reason> {
        let (nonce, opaque) = credentials.nonce();
        let issue = Issue::read(entropy, &self.name, nonce, opaque)
            .filter(|issue| issue.is_fresh(self.nonce_lifetime, now))
            .ok_or(Reason::StaleNonce)?;
        match nonces.spend(issue, credentials.count()) {
            Spent::Fresh => Ok(()),
            Spent::Reused => Err(Reason::ReusedNonce),
            Spent::Forgotten => Err(Reason::StaleNonce),
        }
    }
}
