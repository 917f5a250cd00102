//! Answers in HTTP: what is added to every one of them, what it does to the connection, and the
//! `decision` line.

use std::borrow::Cow;
use std::sync::Arc;

use super::paths::Cors;
use super::{Connection, State};
use crate::auth::present::Presented;
use crate::auth::realm::Realm;
use crate::config::{Carrier, Scheme, TICKET_PARAMETER};
use crate::http::{Method, Reply, RequestHead, Status, Target};
use crate::note::{Decision, Note, RequestId};
use crate::reason::Reason;
use crate::rules::Service;
use crate::time::Now;
use crate::timers::Timer;
use crate::trace::{Check, Trace};

/// The longest value of a peer's that is kept for the log, in bytes (R10).
const LOGGED_VALUE: usize = 256;

/// The longest parameter name that is logged as it is, in bytes (R10).
const LOGGED_NAME: usize = 32;

/// The most parameter names that are logged (R10).
const LOGGED_NAMES: usize = 16;

/// What an answer has to know about its request. It holds no credential.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) request: RequestId,
    pub(super) method: Option<Method>,
    path: Option<Arc<str>>,
    params: Vec<String>,
    pub(super) service: Option<Arc<Service>>,
    pub(super) realm: Option<Arc<Realm>>,
    pub(super) carrier: Option<Cow<'static, str>>,
    pub(super) scheme: Option<Cow<'static, str>>,
    pub(super) subject: Option<String>,
    /// The request asked for the end of the connection, or cannot be followed by another.
    pub(super) closes: bool,
    /// The request asked for an upgrade: bytes behind it are nobody's request (R7).
    pub(super) upgrade: bool,
    pub(super) with_origin: bool,
    /// A credential may have come in the query: no copy of the answer is to be kept (R10).
    pub(super) query_carrier: bool,
    /// A page of another origin may read the answer.
    pub(super) cors: Option<Cors>,
    /// The checks that were begun.
    pub(super) trace: Trace,
}

impl Asked {
    /// A request whose head cannot be read: `check` is what it did not pass.
    pub(super) fn unreadable(request: RequestId, check: Check) -> Self {
        Self {
            request,
            method: None,
            path: None,
            params: Vec::new(),
            service: None,
            realm: None,
            carrier: None,
            scheme: None,
            subject: None,
            closes: true,
            upgrade: false,
            with_origin: false,
            query_carrier: false,
            cors: None,
            trace: Trace::from(check),
        }
    }

    pub(super) fn new(request: RequestId, head: &RequestHead) -> Self {
        Self {
            method: Some(head.method()),
            path: Some(cut(head.target().path()).into()),
            params: params(head.target(), &[]),
            // A body that nobody reads would be taken for the next request.
            closes: head.wants_close() || !head.body().is_empty(),
            upgrade: head.wants_websocket(),
            with_origin: head.fields().has("origin"),
            ..Self::unreadable(request, Check::Framing)
        }
    }

    /// Says whether the credential that counts is a bearer token, which an error may be told of.
    pub(super) fn with_bearer(&self) -> bool {
        self.scheme.as_deref() == Some(Scheme::Bearer.name())
    }

    /// Says whether the credential that counts is a ticket.
    pub(super) fn with_ticket(&self) -> bool {
        self.carrier.as_deref() == Some(TICKET_PARAMETER)
    }

    /// Remembers what the request is for, and whether its query may hold a credential.
    pub(super) fn is_for(&mut self, service: &Arc<Service>, head: &RequestHead) {
        self.service = Some(Arc::clone(service));
        self.realm = service.realm.as_ref().map(Arc::clone);
        if head.target().query().is_none() {
            return;
        }
        let carriers = service
            .realms()
            .flat_map(|realm| service.carriers.as_deref().unwrap_or(&realm.carriers));
        let with_tickets = service.realms().any(|realm| realm.tickets.is_some());
        let ticket = with_tickets.then_some(TICKET_PARAMETER);
        let names: Vec<&str> = carriers
            .filter_map(|carrier| match carrier {
                Carrier::Query(name) => Some(name.as_str()),
                Carrier::Authorization
                | Carrier::Header(_)
                | Carrier::Cookie(_)
                | Carrier::Subprotocol(_) => None,
            })
            .chain(ticket)
            .collect();
        self.may_hold(&names, head);
    }

    /// Remembers that the request is for a realm itself. `judges` says whether a credential is looked
    /// for in it.
    pub(super) fn is_of(&mut self, realm: &Arc<Realm>, head: &RequestHead, judges: bool) {
        self.realm = Some(Arc::clone(realm));
        let names: Vec<&str> = realm.query_names.iter().map(String::as_str).collect();
        self.may_hold(&names, head);
        self.query_carrier &= judges;
    }

    fn may_hold(&mut self, names: &[&str], head: &RequestHead) {
        self.query_carrier = head
            .target()
            .params()
            .any(|param| names.iter().any(|name| name.as_bytes() == param.name.as_ref()));
        self.params = params(head.target(), names);
    }

    /// Remembers how the credential came.
    pub(super) fn came_by(&mut self, presented: &Presented) {
        let (carrier, scheme) = presented.logged();
        self.carrier = Some(carrier);
        self.scheme = scheme;
    }
}

/// Cuts a value of a peer's to the length that is kept for the log.
fn cut(value: &str) -> &str {
    if value.len() <= LOGGED_VALUE {
        return value;
    }
    let end = (0..=LOGGED_VALUE.min(value.len()))
        .rev()
        .find(|end| value.is_char_boundary(*end))
        .unwrap_or(0);
    value.get(..end).unwrap_or_default()
}

/// Returns the names of the parameters as they may be logged: a name can be a pasted secret too.
fn params(target: &Target, carriers: &[&str]) -> Vec<String> {
    if target.query().is_none() {
        return Vec::new();
    }
    target
        .params()
        .take(LOGGED_NAMES)
        .map(|param| {
            let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            let known = carriers.iter().any(|name| name.as_bytes() == param.name.as_ref());
            let short = param.name.len() <= LOGGED_NAME && param.name.iter().all(plain);
            if known || short {
                String::from_utf8_lossy(&param.name).into_owned()
            } else {
                "?".to_owned()
            }
        })
        .collect()
}

impl Connection {
    /// Returns the id of the request that is being answered.
    pub(super) fn request_id(&mut self) -> RequestId {
        self.requests = self.requests.saturating_add(1);
        let (connection, request) = (self.admission.number(), self.requests);
        RequestId(self.gateway().entropy().request(connection, request))
    }

    /// Sends a refusal or a page, and goes on to the next head or to the end.
    pub(super) fn answer(&mut self, now: Now, asked: &Asked, reply: Reply, reason: Reason) {
        let closes = self.begin_answer(now, asked, reply, reason);
        self.end_answer(now, closes);
    }

    /// Sends an answer up to where a body begins that it only announces. Says whether the connection
    /// closes behind it, for [`Connection::end_answer`].
    pub(super) fn begin_answer(&mut self, now: Now, asked: &Asked, mut reply: Reply, reason: Reason) -> bool {
        let status = reply.status();
        if status == Status::Unauthorized {
            self.attempts += 1;
            if self.attempts >= self.rules.limits.attempts_per_connection {
                reply = reply.close();
            }
        }
        let ends_here = self.legs.client().eof && self.pending.is_empty();
        if asked.closes || (asked.upgrade && !self.pending.is_empty()) || ends_here {
            reply = reply.close();
        }
        if asked.query_carrier {
            if status != Status::Unauthorized {
                reply = reply.field("Cache-Control", "no-store");
            }
            reply = reply.field("Referrer-Policy", "no-referrer");
        }
        if let Some(cors) = &asked.cors {
            reply = cors.add_to(reply);
        }
        if asked.method == Some(Method::Head) {
            reply = reply.without_body();
        }
        let reply = reply.date(now.unix);
        let out = self.legs.client_out();
        out.append(|out| reply.write(out));
        if let Some(body) = reply.shared_body() {
            out.push(body);
        }
        self.note_decision(asked, status, reason);
        reply.closes()
    }

    /// Goes on to the next head or to the end.
    pub(super) fn end_answer(&mut self, now: Now, closes: bool) {
        if closes {
            self.begin_close(now);
        } else {
            self.timers.stop_all();
            let at = now.at.after(self.rules.limits.keep_alive_timeout);
            self.timers.set(Timer::KeepAlive, at);
            // New rules hold from the next request on.
            self.take_new_rules();
            self.state = State::Head(Self::scanner(&self.rules));
        }
    }

    pub(super) fn note_decision(&mut self, asked: &Asked, status: Status, reason: Reason) {
        let Some(server) = self.server() else { return };
        let decision = Box::new(Decision {
            server: Arc::clone(&server.id),
            status: status.code(),
            reason,
            service: asked.service.as_ref().map(|service| Arc::clone(&service.name)),
            realm: asked.realm.as_ref().map(|realm| Arc::clone(&realm.name)),
            subject: asked.subject.clone(),
            carrier: asked.carrier.clone(),
            scheme: asked.scheme.clone(),
            method: asked.method.map(Method::as_str),
            path: asked.path.clone(),
            params: asked.params.clone(),
            peer: self.peer.remote,
            request: asked.request,
            trace: asked.trace,
        });
        self.gateway().meters().decided(&decision);
        self.notes.push_back(Note::Decision(decision));
    }
}
