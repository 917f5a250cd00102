//! Rules that change under an open socket: its right is judged again, and a socket that has lost it is
//! closed (R14, B12). One that is still allowed is never closed for it.

use std::sync::Arc;

use super::{Connection, State};
use crate::auth::grant::Grant;
use crate::gateway::Proof;
use crate::reason::Reason;
use crate::rules::Service;
use crate::time::Now;
use crate::ws::Close;

impl Connection {
    /// Judges what `proof` is worth at `service` by the rules that the connection holds now.
    ///
    /// # Errors
    /// Why a new handshake with the same credentials would be refused.
    pub(super) fn review(
        &self,
        service: &Service,
        proof: &Proof,
        now: Now,
    ) -> Result<(Arc<Service>, Grant), Reason> {
        let found = self.rules.service(self.peer.server, &service.name);
        let found = found.ok_or(Reason::NoRoute)?;
        if found.kind != service.kind {
            return Err(Reason::NoRoute);
        }
        if !found.enabled {
            return Err(Reason::Disabled);
        }
        let grant = proof.basis.renew(found.realms(), &proof.grant, now)?;
        match found.lacks(&grant) {
            Some(reason) => Err(reason),
            None => Ok((Arc::clone(found), grant)),
        }
    }

    /// Judges an open socket by new rules, if there are some.
    pub(super) fn review_socket(&mut self, now: Now) -> Option<Close> {
        if self.gateway().is_in_force(&self.rules) {
            return None;
        }
        self.rules = self.gateway().rules();
        let State::Serving(serving) = &self.state else {
            return None;
        };
        match self.review(serving.service(), serving.proof(), now) {
            Ok((service, grant)) => {
                self.go_on_serving(now, service, grant);
                None
            }
            Err(Reason::Expired) => Some(Close::TokenExpired),
            Err(_) => Some(Close::AccessChanged),
        }
    }
}
