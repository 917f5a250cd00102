//! The first state: a request head arrives and is judged in the order of R1, up to the credential.

use std::sync::Arc;

use super::answer::Asked;
use super::paths::Visit;
use super::read::{Goal, is_fetched_from_elsewhere, is_read};
use super::{Connection, State};
use crate::auth::present::{Conflict, Presentation, Presented, Ways, present};
use crate::auth::realm::Realm;
use crate::config::{CONTENT_SECURITY_POLICY, Page};
use crate::gateway::{Place, StepUp};
use crate::http::{FieldError, HeadError, Method, Origin, Reply, RequestHead, Scan, Status, upgrade};
use crate::note::RequestId;
use crate::reason::Reason;
use crate::rules::{Found, Service, Target};
use crate::time::Now;
use crate::timers::Timer;
use crate::trace::Check;

/// A refusal: the answer and why.
pub(super) type Refusal = (Reply, Reason);

/// What a request asks for, once everything before the credential is in order.
#[allow(
    clippy::large_enum_variant,
    reason = "it is taken apart where it is made, and most requests have the largest one"
)]
pub(super) enum Wish {
    Page(Page),
    Health,
    Service(ServiceWish),
    Realm(Visit),
}

/// A well-formed wish for a service from a page that may have it.
pub(super) struct ServiceWish {
    pub(super) service: Arc<Service>,
    pub(super) goal: Goal,
    pub(super) presentation: Presentation,
    /// The factors that the client passed before this one.
    pub(super) passed: Option<Box<StepUp>>,
}

impl Connection {
    /// Takes in bytes while a head is awaited. What follows the head is kept for what comes next.
    pub(super) fn head_bytes(&mut self, now: Now, bytes: &[u8]) {
        let State::Head(scanner) = &mut self.state else {
            return;
        };
        let scan = scanner.push(bytes);
        if scanner.has_bytes() && self.timers.get(Timer::Head).is_none() {
            self.timers.stop(Timer::KeepAlive);
            let at = now.at.after(self.rules.limits.head_timeout);
            self.timers.set(Timer::Head, at);
        }
        match scan {
            Scan::More => {}
            Scan::Bad(error) => {
                self.refuse_head(now, error);
            }
            Scan::Done { used } => {
                self.pending = bytes.get(used..).unwrap_or_default().to_vec();
                self.timers.stop_all();
                // The rules of now: a connection can have waited for its request through a reload.
                self.take_new_rules();
                // Whatever is answered begins from here; a refusal that keeps the connection starts over.
                let anew = State::Head(Self::scanner(&self.rules));
                let State::Head(scanner) = std::mem::replace(&mut self.state, anew) else {
                    return;
                };
                match scanner.finish() {
                    Ok(head) => {
                        let request = self.request_id();
                        self.judge(now, head, request);
                    }
                    Err(error) => self.refuse_head(now, error),
                }
            }
        }
    }

    /// Refuses a head that is not one.
    fn refuse_head(&mut self, now: Now, error: HeadError) {
        let unknown_method = matches!(error, HeadError::UnknownMethod);
        let reply = Reply::bad_head(error);
        let too_much = matches!(reply.status(), Status::UriTooLong | Status::HeadTooLarge);
        let (check, reason) = if unknown_method {
            (Check::Method, Reason::BadMethod)
        } else if too_much {
            (Check::Limits, Reason::BadRequest)
        } else {
            (Check::Framing, Reason::BadRequest)
        };
        let asked = Asked::unreadable(self.request_id(), check);
        self.answer(now, &asked, reply, reason);
    }

    /// The head has not arrived in time. Who has sent nothing of it is not answered.
    pub(super) fn head_is_late(&mut self, now: Now) {
        let State::Head(scanner) = &self.state else {
            return;
        };
        if scanner.has_bytes() {
            let asked = Asked::unreadable(self.request_id(), Check::Limits);
            self.answer(
                now,
                &asked,
                Reply::closing(Status::RequestTimeout),
                Reason::BadRequest,
            );
        } else {
            self.begin_close(now);
        }
    }

    /// No head is going to be completed by a peer that has shut down its writing side, and none is
    /// awaited while the gateway shuts down.
    pub(super) fn tick_head(&mut self, now: Now) {
        let State::Head(scanner) = &self.state else {
            return;
        };
        let (has_bytes, eof) = (scanner.has_bytes(), self.legs.client().eof);
        if !self.pending.is_empty() {
            return;
        }
        if eof && has_bytes {
            let asked = Asked::unreadable(self.request_id(), Check::Framing);
            self.answer(
                now,
                &asked,
                Reply::closing(Status::BadRequest),
                Reason::BadRequest,
            );
        } else if (eof || (self.gateway().is_draining() && (self.requests > 0 || !self.late))) && !has_bytes {
            self.begin_close(now);
        }
    }

    /// Judges a complete head: everything of R1 that needs no credential work.
    pub(super) fn judge(&mut self, now: Now, head: RequestHead, request: RequestId) {
        let mut asked = Asked::new(request, &head);
        match self.wish(now, &head, &mut asked) {
            Ok(Wish::Health) => {
                let (reply, reason) = if self.gateway().is_draining() {
                    (Reply::new(Status::ServiceUnavailable), Reason::Draining)
                } else {
                    (
                        Reply::new(Status::Ok).content("text/plain; charset=utf-8", &b"ok\n"[..]),
                        Reason::Granted,
                    )
                };
                self.answer(now, &asked, reply.field("Cache-Control", "no-store"), reason);
            }
            Ok(Wish::Page(page)) => {
                let reply = self.page(page);
                self.answer(now, &asked, reply, Reason::Granted);
            }
            // Who is revoked may not be known yet.
            Ok(Wish::Service(_)) if self.gateway().is_reading() => self.await_revocations(now, asked, head),
            Ok(Wish::Service(wish)) => self.check(now, asked, wish, head),
            Ok(Wish::Realm(Visit::Answer(reply))) => self.answer(now, &asked, reply, Reason::Granted),
            Ok(Wish::Realm(Visit::Post(length, posted))) => self.receive(now, asked, &head, length, posted),
            Err((reply, reason)) => self.answer(now, &asked, reply, reason),
        }
    }

    fn wish(&self, now: Now, head: &RequestHead, asked: &mut Asked) -> Result<Wish, Refusal> {
        let internal = || (Reply::closing(Status::InternalServerError), Reason::Internal);
        let server = self.server().ok_or_else(internal)?;
        let local_port = self.peer.local.port();
        let path = head.target().canonical_path();
        if let (Some(health), Ok(path)) = (&server.health, &path)
            && path == health.as_str()
            && matches!(head.method(), Method::Get | Method::Head)
        {
            asked.trace.begin(Check::Available);
            return Ok(Wish::Health);
        }
        asked.trace.begin(Check::Host);
        if !server.serves(head.host()) {
            return Err((Reply::closing(server.unknown_host), Reason::BadHost));
        }
        if head.target().wants_tls() && server.tls.is_none() {
            return Err((Reply::closing(Status::MisdirectedRequest), Reason::BadHost));
        }
        asked.trace.begin(Check::Route);
        let no_route = || (Reply::new(Status::NotFound), Reason::NoRoute);
        let path = path.map_err(|_| no_route())?;
        let (service, reading) = match server.route(head.host(), &path, local_port) {
            Found::Nothing => return Err(no_route()),
            Found::OtherPort => return Err((Reply::closing(Status::Forbidden), Reason::NoRoute)),
            Found::Here(Target::Page(page)) => {
                asked.trace.begin(Check::Method);
                return match head.method() {
                    Method::Get | Method::Head => Ok(Wish::Page(*page)),
                    Method::Post
                    | Method::Put
                    | Method::Delete
                    | Method::Connect
                    | Method::Options
                    | Method::Trace
                    | Method::Patch => Err((Reply::method_not_allowed("GET, HEAD"), Reason::BadMethod)),
                };
            }
            Found::Here(Target::Admin(path)) => return self.visit_admin(head, *path, asked),
            Found::Here(Target::Realm(path)) => return self.visit(now, head, path, asked).map(Wish::Realm),
            Found::Here(Target::Service(service) | Target::Below(service, _)) => {
                (Arc::clone(service), Goal::Read)
            }
            Found::Here(Target::Directory(service, at)) => (Arc::clone(service), Goal::File { at: *at }),
        };
        asked.is_for(&service, head);
        asked.trace.begin(Check::Method);
        let read = is_read(head, &service)?;
        asked.trace.begin(Check::Origin);
        self.check_origin(head, &service)?;
        if read {
            if !asked.with_origin && is_fetched_from_elsewhere(head) {
                return Err((Reply::closing(Status::Forbidden), Reason::BadOrigin));
            }
        } else {
            asked.trace.begin(Check::Upgrade);
            if !asked.upgrade {
                return Err((Reply::upgrade_required(), Reason::BadUpgrade));
            }
        }
        let passed = self.passed_factors(now, head, &service)?;
        asked.realm = service
            .factor(passed.as_ref().map_or(0, |passed| passed.next))
            .map(Arc::clone);
        let (goal, protocols) = if read {
            (reading, Vec::new())
        } else {
            upgrade_goal(head, asked.realm.as_deref())?
        };
        asked.trace.begin(Check::Available);
        // Neither answer depends on a credential, so none is looked at.
        if self.gateway().is_draining() {
            return Err(self.draining());
        }
        if !service.enabled {
            let reply = Reply::closing(Status::ServiceUnavailable).retry_after(RETRY_AFTER);
            return Err((reply, Reason::Disabled));
        }
        let presentation = match &asked.realm {
            None => Presentation::of_protocols(protocols),
            Some(realm) => {
                asked.trace.begin(Check::Carrier);
                present(head, protocols, realm.ways(service.carriers.as_deref()))
                    .map_err(|conflict| Self::conflict(conflict, realm))?
            }
        };
        if let Some(presented) = &presentation.presented {
            asked.came_by(presented);
            // Only now is it known whether a browser may have attached the credential unasked (R11).
            asked.trace.begin(Check::MissingOrigin);
            if !read && presented.ambient && !asked.with_origin && !service.allow_missing_origin {
                return Err((Reply::closing(Status::Forbidden), Reason::BadOrigin));
            }
            asked.trace.begin(Check::Throttle);
            self.check_throttle(now, &presented.credential)?;
        }
        Ok(Wish::Service(ServiceWish {
            service,
            goal,
            presentation,
            passed,
        }))
    }

    /// Returns where a request for a service stands, whose path was found canonical.
    pub(super) fn place(&self, head: &RequestHead) -> Option<Place> {
        Some(Place {
            server: Arc::clone(&self.server()?.id),
            path: head.target().canonical_path().ok()?.into_owned(),
            origin: head
                .fields()
                .single("origin")
                .ok()
                .flatten()
                .and_then(|origin| Origin::parse(origin.as_bytes()).ok()),
        })
    }

    /// Judges an Origin that is present (R11); one that is missing is judged with the credential.
    fn check_origin(&self, head: &RequestHead, service: &Service) -> Result<(), Refusal> {
        let forbidden = || (Reply::closing(Status::Forbidden), Reason::BadOrigin);
        let value = match head.fields().single("origin") {
            Ok(None) => return Ok(()),
            Ok(Some(value)) => value,
            Err(FieldError::Duplicate) => {
                return Err((Reply::closing(Status::BadRequest), Reason::BadOrigin));
            }
            Err(FieldError::NotText) => return Err(forbidden()),
        };
        if service.origins.is_none() {
            return Ok(());
        }
        let server = self.server().ok_or_else(forbidden)?;
        let origin = Origin::parse(value.as_bytes()).map_err(|_| forbidden())?;
        if service.allows(&origin, server, self.peer.local.port()) {
            Ok(())
        } else {
            Err(forbidden())
        }
    }

    /// Lets `take` take what the state holds; if it does, whatever follows begins from a head that is awaited:
    /// in [`State::Closed`] an answer would never be sent.
    pub(super) fn begin_anew<T>(&mut self, take: impl FnOnce(State) -> Result<T, State>) -> Option<T> {
        match take(std::mem::replace(&mut self.state, State::Closed)) {
            Ok(taken) => {
                self.state = State::Head(Self::scanner(&self.rules));
                Some(taken)
            }
            Err(state) => {
                self.state = state;
                None
            }
        }
    }

    /// Finds the credential of a request to one of our own endpoints, which needs one of its own: a ticket
    /// opens one socket and does nothing else.
    pub(super) fn own_credential(
        &self,
        now: Now,
        head: &RequestHead,
        realm: &Arc<Realm>,
        asked: &mut Asked,
    ) -> Result<Presented, Refusal> {
        let ways = Ways {
            ticket: false,
            ..realm.ways(None)
        };
        asked.trace.begin(Check::Carrier);
        let presentation =
            present(head, Vec::new(), ways).map_err(|conflict| Self::conflict(conflict, realm))?;
        let Some(presented) = presentation.presented else {
            asked.trace.begin(Check::Verify);
            let reply = self.unauthorized(now, realm, asked, None, false);
            return Err((reply, Reason::NoCredential));
        };
        asked.came_by(&presented);
        asked.trace.begin(Check::MissingOrigin);
        if presented.ambient && !asked.with_origin {
            return Err((Reply::closing(Status::Forbidden), Reason::BadOrigin));
        }
        asked.trace.begin(Check::Throttle);
        self.check_throttle(now, &presented.credential)?;
        Ok(presented)
    }

    pub(super) fn conflict(conflict: Conflict, realm: &Realm) -> Refusal {
        let reply = match realm.challenges.invalid_request().filter(|_| conflict.bearer) {
            Some(challenge) => Reply::closing(Status::BadRequest).field("WWW-Authenticate", challenge),
            None => Reply::closing(Status::BadRequest),
        };
        (reply, conflict.reason)
    }

    pub(super) fn draining(&self) -> Refusal {
        let reply = Reply::closing(Status::ServiceUnavailable).retry_after(self.rules.drain_grace);
        (reply, Reason::Draining)
    }

    /// Answers with one of the gateway's own pages (R17).
    fn page(&self, page: Page) -> Reply {
        let reply = Reply::new(Status::Ok)
            .content(page.content_type, page.body)
            .field("Cache-Control", "no-cache")
            .field("Content-Security-Policy", CONTENT_SECURITY_POLICY)
            .field("Referrer-Policy", "no-referrer");
        self.hardened(reply)
    }
}

/// Judges the WebSocket part of a request, and returns what it offers as subprotocols too.
fn upgrade_goal(head: &RequestHead, realm: Option<&Realm>) -> Result<(Goal, Vec<String>), Refusal> {
    let mut upgrade = if realm.is_some_and(|realm| realm.lenient_subprotocol_token) {
        upgrade::check_lenient(head)
    } else {
        upgrade::check(head)
    }
    .map_err(|error| (Reply::bad_upgrade(error), Reason::BadUpgrade))?;
    let protocols = std::mem::take(&mut *upgrade.protocols);
    Ok((Goal::Socket { key: upgrade.key }, protocols))
}

/// What a client is told to wait before it tries again, where nothing better is known.
pub(super) const RETRY_AFTER: std::time::Duration = std::time::Duration::from_secs(1);
