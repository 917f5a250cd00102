//! Rules that change under an open socket: its right is judged again, and a socket that has lost it is
//! closed (R14, B12). One that is still allowed is never closed for it.

use std::sync::Arc;

use super::answer::Asked;
use super::check::Purpose;
use super::{Connection, State};
use crate::auth::challenge::BearerError;
use crate::auth::grant::Grant;
use crate::authz::acl;
use crate::gateway::Proof;
use crate::http::{Reply, Status};
use crate::reason::Reason;
use crate::rules::Service;
use crate::time::Now;
use crate::ws::Close;

impl Connection {
    /// Judges what `proof` is worth at `service`, or at the data point that it reads there, by the rules that the connection holds now.
    ///
    /// # Errors
    /// Why a new handshake with the same credentials would be refused.
    pub(super) fn review(
        &self,
        (service, point): (&Service, Option<&str>),
        proof: &Proof,
        now: Now,
    ) -> Result<(Arc<Service>, Arc<Grant>), Reason> {
        let found = self.rules.service(self.peer.server, &service.name);
        let found = found.ok_or(Reason::NoRoute)?;
        // A point that is found elsewhere by now is still the same.
        let has_point = point.is_none_or(|point| found.points.values().any(|name| **name == *point));
        if found.kind != service.kind || !has_point {
            return Err(Reason::NoRoute);
        }
        if !found.enabled {
            return Err(Reason::Disabled);
        }
        let grant = proof.basis.renew(found.realms(), &proof.grant, now)?;
        match found.lacks(&grant, acl::to_connect(found.kind)) {
            Some(reason) => Err(reason),
            None => Ok((Arc::clone(found), grant)),
        }
    }

    /// Refuses what is revoked: to a bearer of the token that is so, for this reason (R5).
    pub(super) fn refuse_revoked(&mut self, now: Now, asked: &Asked, purpose: &Purpose) {
        let realm = match purpose {
            Purpose::Login(submission) => {
                let reply = self.login_failed(submission);
                return self.answer(now, asked, reply, Reason::Revoked);
            }
            Purpose::Service(wished) => wished.realm(),
            Purpose::Ticket(_) | Purpose::Renewal(_) => asked.realm.as_ref(),
        };
        let Some(realm) = realm else {
            let reply = Reply::closing(Status::InternalServerError);
            return self.answer(now, asked, reply, Reason::Internal);
        };
        let description = asked.with_bearer().then_some("token revoked");
        let error = (asked.with_bearer() || asked.with_ticket()).then_some(BearerError {
            description,
            ..BearerError::INVALID_TOKEN
        });
        let reply = self.unauthorized(now, realm, asked, error, false);
        self.answer(now, asked, reply, Reason::Revoked);
    }

    /// Judges an open socket by new revocations and new rules, if there are some.
    pub(super) fn review_socket(&mut self, now: Now) -> Option<Close> {
        let gateway = self.admission.gateway();
        let State::Serving(serving) = &mut self.state else {
            return None;
        };
        let same_rules = gateway.is_in_force(&self.rules);
        let news = serving.is_behind(gateway.revocations().generation()) || !same_rules;
        if news && gateway.is_revoked(&serving.proof().basis, now) {
            return Some(Close::Revoked);
        }
        if same_rules {
            return None;
        }
        let rules = self.gateway().rules();
        let before = std::mem::replace(&mut self.rules, rules);
        let State::Serving(serving) = &self.state else {
            return None;
        };
        match self.review(serving.service(), serving.proof(), now) {
            Ok((service, grant)) => {
                self.go_on_serving(now, service, grant);
                None
            }
            Err(Reason::Expired) => Some(Close::TokenExpired),
            // Whoever would know cannot be asked: that ends no open socket, and it is judged as soon as
            // somebody knows.
            Err(Reason::Unavailable) => {
                self.rules = before;
                None
            }
            Err(_) => Some(Close::AccessChanged),
        }
    }
}
