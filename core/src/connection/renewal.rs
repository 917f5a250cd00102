//! Renewal (M28): a client that presents a fresh credential over HTTP keeps its sockets.

use std::fmt;
use std::sync::Arc;

use super::answer::Asked;
use super::check::Purpose;
use super::head::Refusal;
use super::{Connection, State};
use crate::auth::present::Presented;
use crate::auth::realm::Realm;
use crate::config::Scheme;
use crate::gateway::{Order, Proof, Renewed};
use crate::http::{FieldError, Reply, RequestHead, Status};
use crate::reason::Reason;
use crate::secret::Secret;
use crate::time::Now;
use crate::ws::Close;

/// The field that names a socket, in the 101 and in the renewal.
pub(super) const SOCKET: &str = "Countersign-Socket";

/// A renewal whose credential is not judged yet.
pub(super) struct Renewal {
    pub(super) realm: Arc<Realm>,
    presented: Presented,
    /// The id of the only socket that it is about.
    socket: Option<Secret<Vec<u8>>>,
}

impl fmt::Debug for Renewal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Renewal")
            .field("realm", &self.realm.name)
            .finish_non_exhaustive()
    }
}

/// What is renewed as soon as the credential is found good.
pub(super) struct Renewing {
    pub(super) realm: Arc<Realm>,
    socket: Option<Secret<Vec<u8>>>,
}

impl fmt::Debug for Renewing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Renewing")
            .field("realm", &self.realm.name)
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// Finds the credential of a renewal.
    pub(super) fn renewal(
        &self,
        now: Now,
        head: &RequestHead,
        realm: &Arc<Realm>,
        asked: &mut Asked,
    ) -> Result<Renewal, Refusal> {
        let socket = match head.fields().single(SOCKET) {
            Ok(id) => id.map(|id| Secret::new(id.as_bytes().to_vec())),
            Err(FieldError::NotText) => Some(Secret::new(Vec::new())),
            Err(FieldError::Duplicate) => {
                return Err((Reply::closing(Status::BadRequest), Reason::BadRequest));
            }
        };
        let presented = self.own_credential(now, head, realm, asked)?;
        Ok(Renewal {
            realm: Arc::clone(realm),
            presented,
            socket,
        })
    }

    /// Begins the check of a renewal's credential.
    pub(super) fn begin_renewal(&mut self, now: Now, asked: Asked, renewal: Renewal) {
        let Renewal {
            realm,
            presented,
            socket,
        } = renewal;
        let bearer = presented.scheme == Scheme::Bearer;
        let renewing = Renewing {
            realm: Arc::clone(&realm),
            socket,
        };
        let purpose = Purpose::Renewal(Box::new(renewing));
        self.prove(now, asked, &realm, (presented.credential, bearer), purpose);
    }

    /// Renews with a credential that was found good.
    pub(super) fn renew(&mut self, now: Now, mut asked: Asked, renewing: &Renewing, proof: &Proof) {
        asked.subject = proof.grant.subject().map(str::to_owned);
        let gateway = self.gateway();
        let id = renewing.socket.as_ref().map(|id| id.expose().as_slice());
        let (status, reason) =
            match gateway
                .renewals()
                .renew(gateway.entropy(), id, &renewing.realm.name, proof)
            {
                Renewed::Told => (Status::NoContent, Reason::Granted),
                Renewed::Changed => (Status::Forbidden, Reason::UnknownUser),
                Renewed::Unknown => (Status::NotFound, Reason::NoRoute),
            };
        let reply = Reply::new(status);
        let reply = if asked.query_carrier {
            reply
        } else {
            reply.field("Cache-Control", "no-store")
        };
        self.answer(now, &asked, reply, reason);
    }

    /// Takes up a renewal of the open socket: the new credential takes the place of the old one of its
    /// realm, and it is decided again at once (R14).
    pub(super) fn take_renewal(&mut self, now: Now) -> Option<Close> {
        let State::Serving(serving) = &self.state else {
            return None;
        };
        let renewed = match serving.order()? {
            Order::Changed => return Some(Close::SubjectChanged),
            Order::Renew(renewed) => renewed,
        };
        let proof = serving.proof().renewed_by(&renewed);
        if self.gateway().is_revoked(&proof.basis, now) {
            return Some(Close::Revoked);
        }
        match self.review(serving.service(), &proof, now) {
            Ok((service, grant)) => {
                let proof = Proof { grant, ..proof };
                self.go_on_renewed(now, service, proof, *renewed);
                self.watch_end(now)
            }
            Err(Reason::Expired) => Some(Close::TokenExpired),
            Err(_) => Some(Close::AccessChanged),
        }
    }
}
