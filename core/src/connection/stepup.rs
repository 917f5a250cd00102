//! Further factors (R6): a service may ask for several realms, one after the other, each of which has
//! to prove the same subject.

use std::sync::Arc;

use super::Connection;
use super::answer::Asked;
use super::head::Refusal;
use crate::auth::challenge::BearerError;
use crate::gateway::{Proof, StepUp};
use crate::http::{FieldError, Reply, RequestHead, Status};
use crate::reason::Reason;
use crate::rules::Service;
use crate::time::Now;

/// What a client that has passed a factor is given, and brings with the next one.
const IDENTITY: &str = "Sec-Challenge-Identity";

impl Connection {
    /// Returns the factors that the client passed before, if it says so. An identity that is unknown,
    /// expired, spent or for something else is ignored: the request is judged as a first one.
    pub(super) fn passed_factors(
        &self,
        now: Now,
        head: &RequestHead,
        service: &Arc<Service>,
    ) -> Result<Option<Box<StepUp>>, Refusal> {
        if service.further.is_empty() {
            return Ok(None);
        }
        match head.fields().single(IDENTITY) {
            Ok(Some(identity)) => {
                let passed = self.gateway().step_ups().take(identity.as_bytes(), service, now);
                Ok(passed.map(Box::new))
            }
            Ok(None) | Err(FieldError::NotText) => Ok(None),
            Err(FieldError::Duplicate) => Err((Reply::closing(Status::BadRequest), Reason::CarrierConflict)),
        }
    }

    /// Adds what the last factor proves to what the ones before did. Refuses with the first realm's
    /// challenge who is not the same, and with the next realm's who has more to prove.
    pub(super) fn join_factors(
        &self,
        now: Now,
        asked: &Asked,
        service: &Arc<Service>,
        passed: Option<Box<StepUp>>,
        proof: Proof,
    ) -> Result<Proof, Refusal> {
        let again = |reason, description| {
            let error = BearerError {
                description,
                ..BearerError::INVALID_TOKEN
            };
            let error = asked.with_bearer().then_some(error);
            match &service.realm {
                Some(realm) => (self.unauthorized(now, realm, asked, error, false), reason),
                None => (Reply::closing(Status::InternalServerError), Reason::Internal),
            }
        };
        let grant = &proof.grant;
        let (index, proof) = match passed {
            None => (0, proof),
            // This realm knows nobody of the name that is to be proven once more.
            Some(passed) if grant.is_anonymous() || passed.proof.grant.subject() != grant.subject() => {
                return Err(again(Reason::UnknownUser, None));
            }
            Some(passed) => (passed.next, passed.proof.join(proof)),
        };
        let Some(realm) = service.factor(index + 1) else {
            // What was proven half a minute ago may have ended since.
            return match proof.grant.expires {
                Some(expires) if index > 0 && expires.is_due(now) => {
                    Err(again(Reason::Expired, Some("token expired")))
                }
                Some(_) | None if proof.session_is_over(now) => Err(again(Reason::Revoked, None)),
                Some(_) | None => Ok(proof),
            };
        };
        let step_up = StepUp {
            service: Arc::clone(service),
            next: index + 1,
            proof,
        };
        let gateway = self.gateway();
        let identity = gateway
            .step_ups()
            .issue(gateway.entropy(), step_up, service.step_up_lifetime, now);
        // Who has no subject cannot prove it a second time.
        let Some(identity) = identity else {
            return Err(again(Reason::UnknownUser, None));
        };
        let reply = self.unauthorized(now, realm, asked, Some(BearerError::STEP_UP), false);
        Err((reply.field(IDENTITY, identity), Reason::NoCredential))
    }
}
