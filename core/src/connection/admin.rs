//! The admin listener's own paths: health, figures, and revocation (E17, E19, E20). It is plain HTTP
//! on loopback addresses; what changes something needs the token.

use std::time::Duration;

use super::Connection;
use super::answer::Asked;
use super::body::body_length;
use super::head::{Refusal, Wish};
use super::paths::{Posted, Visit};
use crate::auth::json;
use crate::auth::revoked::Revoked;
use crate::config::parse_duration;
use crate::gateway::METRICS_TYPE;
use crate::http::{Method, Reply, RequestHead, Status};
use crate::note::{Note, Revocation};
use crate::reason::Reason;
use crate::rules::AdminPath;
use crate::time::Now;
use crate::trace::Check;

/// How long a revocation holds that does not say it: longer than tokens usually live.
const USUAL_TIME: Duration = Duration::from_secs(24 * 60 * 60);

/// Returns what stands behind `Bearer`. The token is the operator's own, and may have characters that
/// RFC 6750 does not give to tokens.
fn bearer(field: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = field.split_at_checked("bearer ".len())?;
    let token = token.trim_ascii();
    (scheme.eq_ignore_ascii_case(b"bearer ") && !token.is_empty()).then_some(token)
}

impl Connection {
    /// Judges a request to the admin listener, up to its body.
    pub(super) fn visit_admin(
        &self,
        head: &RequestHead,
        path: AdminPath,
        asked: &mut Asked,
    ) -> Result<Wish, Refusal> {
        asked.trace.begin(Check::Method);
        match (path, head.method()) {
            (AdminPath::Health, Method::Get | Method::Head) => Ok(Wish::Health),
            (AdminPath::Metrics, Method::Get | Method::Head) => {
                let reply = Reply::new(Status::Ok)
                    .content(METRICS_TYPE, self.gateway().metrics().into_bytes())
                    .field("Cache-Control", "no-store");
                Ok(Wish::Realm(Visit::Answer(reply)))
            }
            (AdminPath::Revoke, Method::Post) => {
                self.check_admin(head, asked)?;
                Ok(Wish::Realm(Visit::Post(body_length(head)?, Posted::Revocation)))
            }
            (AdminPath::Health | AdminPath::Metrics, Method::Post)
            | (AdminPath::Revoke, Method::Get | Method::Head)
            | (
                AdminPath::Health | AdminPath::Metrics | AdminPath::Revoke,
                Method::Put
                | Method::Delete
                | Method::Connect
                | Method::Options
                | Method::Trace
                | Method::Patch,
            ) => Err((Reply::method_not_allowed(path.methods()), Reason::BadMethod)),
        }
    }

    /// Looks for the token.
    fn check_admin(&self, head: &RequestHead, asked: &mut Asked) -> Result<(), Refusal> {
        asked.trace.begin(Check::Verify);
        let token = self.server().and_then(|server| server.admin.as_ref());
        let mut fields = head.fields().get_all("authorization");
        let (field, further) = (fields.next(), fields.next());
        let presented = field.filter(|_| further.is_none()).and_then(bearer);
        let (challenge, reason) = match (token, presented) {
            (Some(token), Some(presented)) if token.is(presented) => return Ok(()),
            (_, Some(_)) => (
                "Bearer realm=\"admin\", error=\"invalid_token\"",
                Reason::UnknownKey,
            ),
            (_, None) => ("Bearer realm=\"admin\"", Reason::NoCredential),
        };
        Err((Reply::unauthorized([challenge]), reason))
    }

    /// Revokes what the body says, or lifts it.
    pub(super) fn revoke(&mut self, now: Now, asked: &Asked, body: &[u8]) {
        let Some((revoked, time)) = self.read_revocation(body) else {
            let reply = Reply::new(Status::BadRequest);
            return self.answer(now, asked, reply, Reason::BadRequest);
        };
        let note = Note::Revocation(Box::new(Revocation {
            subject: revoked.subject_text().map(str::to_owned),
            jti: revoked.token_id().map(str::to_owned),
            issuer: revoked.issuer().map(str::to_owned),
            realm: revoked.realm().map(str::to_owned),
            until: now.unix.after(time),
        }));
        if self.gateway().revoke(revoked, time, now).is_ok() {
            self.notes.push_back(note);
            self.answer(now, asked, Reply::new(Status::NoContent), Reason::Granted);
        } else {
            let message = "the table of revocations is full: nothing more can be revoked until some have ended. \
                           List long ones in admin.revocations, or change the keys";
            self.notes.push_back(Note::Warning {
                message: message.to_owned(),
            });
            let reply = Reply::new(Status::InsufficientStorage);
            self.answer(now, asked, reply, Reason::Unavailable);
        }
    }

    /// Reads what is to be revoked and for how long. A realm that there is not would be a slip of the
    /// pen that revokes nobody.
    fn read_revocation(&self, body: &[u8]) -> Option<(Revoked, Duration)> {
        let mut members = json::object(body).ok()?;
        let time = match members.remove("for") {
            None => USUAL_TIME,
            Some(text) => parse_duration(text.as_str()?).ok()?,
        };
        let revoked = Revoked::take(&mut members).ok()?;
        let known = revoked.realm().is_none_or(|realm| self.rules.has_realm(realm));
        (members.is_empty() && known).then_some((revoked, time))
    }
}
