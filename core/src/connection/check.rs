//! The second state: the credential is checked, roles and scopes are compared, the answer is found.

use std::sync::Arc;
use std::time::Duration;

use super::answer::Asked;
use super::form::Submission;
use super::head::{RETRY_AFTER, Refusal, ServiceWish};
use super::opening::Granted;
use super::read::Goal;
use super::renewal::{Renewing, SOCKET};
use super::serve::{Held, Way};
use super::ticket::Mint;
use super::{Connection, State};
use crate::auth::basis::Basis;
use crate::auth::challenge::BearerError;
use crate::auth::grant::Grant;
use crate::auth::login::{Login, Means, PasswordTask, Progress, Refused};
use crate::auth::present::{Credential, Marker};
use crate::auth::realm::Realm;
use crate::authz::acl;
use crate::budget::{AddressKey, Claim};
use crate::config::{Scheme, UpstreamProtocol};
use crate::gateway::StepUp;
use crate::gateway::throttle::Source;
use crate::gateway::{Asked as Inquiry, Waiting};
use crate::gateway::{Place, Proof};
use crate::http::upgrade::accept_key;
use crate::http::{Reply, RequestHead, Status};
use crate::job::{Computed, Job};
use crate::reason::Reason;
use crate::rules::{Proxy, Service};
use crate::time::{Moment, Now};
use crate::timers::Timer;
use crate::trace::Check;

/// How long a verdict may take, waiting for a share of the budget included. Longer than any hash that
/// loads takes on a slow machine, shorter than what clients wait.
const CHECK_TIMEOUT: Duration = Duration::from_secs(10);

/// How much longer than a question's own time a check waits for its answer.
const ASKING_SLACK: Duration = Duration::from_secs(1);

/// A check that waits for a job or an answer.
#[derive(Debug)]
pub(super) struct Checking {
    asked: Asked,
    purpose: Purpose,
    login: Login,
    began: Moment,
    /// Whose failure it is if it fails.
    source: Source,
    bearer: bool,
    /// The share of the budget that is waited for, with what it is for.
    waiting: Option<(Claim, PasswordTask)>,
    /// The answer from elsewhere that is waited for.
    asking: Option<Waiting>,
    /// The job whose result is awaited.
    job: u64,
}

/// What a good credential is for.
#[derive(Debug)]
pub(super) enum Purpose {
    /// A service: an open socket, or what a GET reads.
    Service(Box<Wished>),
    /// A session.
    Login(Box<Submission>),
    /// A ticket.
    Ticket(Box<Mint>),
    /// More time for open sockets.
    Renewal(Box<Renewing>),
}

/// What is granted if the credential is good.
#[derive(Debug)]
pub(super) struct Wished {
    /// The request, to be judged again if the rules change meanwhile.
    pub(super) head: RequestHead,
    pub(super) service: Arc<Service>,
    pub(super) place: Place,
    goal: Goal,
    pub(super) protocols: Vec<String>,
    pub(super) marker: Marker,
    /// The factors that were passed before this one.
    passed: Option<Box<StepUp>>,
}

impl Wished {
    /// Returns the request if it is one for something to read, and not for a socket.
    pub(super) const fn read_by(&self) -> Option<&RequestHead> {
        match self.goal {
            Goal::Read | Goal::File { .. } => Some(&self.head),
            Goal::Socket { .. } => None,
        }
    }

    /// Returns the name of the data point that it reads, if it reads one.
    fn point(&self) -> Option<&str> {
        self.service.points.get(&self.place.path).map(|name| &**name)
    }

    /// Returns the first realm: who is refused begins there.
    pub(super) fn realm(&self) -> Option<&Arc<Realm>> {
        self.service.realm.as_ref()
    }
}

impl Connection {
    /// Begins the check of a wish for a service.
    pub(super) fn check(&mut self, now: Now, asked: Asked, wish: ServiceWish, head: RequestHead) {
        let ServiceWish {
            service,
            goal,
            presentation,
            place,
            passed,
        } = wish;
        let wished = Box::new(Wished {
            head,
            service: Arc::clone(&service),
            place,
            goal,
            protocols: presentation.protocols,
            marker: presentation.marker,
            passed,
        });
        let (Some(first), Some(realm)) = (&service.realm, asked.realm.as_ref().map(Arc::clone)) else {
            return self.decide(now, asked, *wished, Proof::default());
        };
        match presentation.presented {
            Some(presented) => {
                // A custom scheme has no error parameters, not even on the line of Bearer beside it.
                let bearer = presented.scheme == Scheme::Bearer;
                let purpose = Purpose::Service(wished);
                self.prove(now, asked, &realm, (presented.credential, bearer), purpose);
            }
            // Who is asked for a further factor and brings none begins anew.
            None => self.without_credential(now, asked, first, Purpose::Service(wished)),
        }
    }

    /// Nobody in particular asks.
    pub(super) fn without_credential(
        &mut self,
        now: Now,
        mut asked: Asked,
        realm: &Arc<Realm>,
        purpose: Purpose,
    ) {
        match (purpose, realm.anonymous_grant()) {
            (Purpose::Service(wished), Some(grant)) if wished.passed.is_none() => {
                let proof = Proof {
                    basis: Basis::anonymous(realm, grant.clone()),
                    ..Proof::of(grant)
                };
                self.decide(now, asked, *wished, proof);
            }
            (
                purpose
                @ (Purpose::Service(_) | Purpose::Login(_) | Purpose::Ticket(_) | Purpose::Renewal(_)),
                _,
            ) => {
                asked.trace.begin(Check::Verify);
                let reply = self
                    .invitation(&purpose, realm, &asked)
                    .unwrap_or_else(|| self.unauthorized(now, realm, &asked, None, false));
                self.answer(now, &asked, reply, Reason::NoCredential);
            }
        }
    }

    /// Begins the check of a credential; the flag says that it is a bearer token.
    pub(super) fn prove(
        &mut self,
        now: Now,
        mut asked: Asked,
        realm: &Arc<Realm>,
        (credential, bearer): (Credential, bool),
        purpose: Purpose,
    ) {
        asked.trace.begin(Check::Verify);
        if let Credential::Pass(pass) = &credential {
            let source = self.source(&credential);
            return self.redeem(now, asked, realm, (pass, source), purpose);
        }
        let checking = Checking {
            asked,
            purpose,
            bearer,
            source: self.source(&credential),
            login: Login::new(Arc::clone(realm), credential),
            began: now.at,
            waiting: None,
            asking: None,
            job: 0,
        };
        self.timers.set(Timer::Check, now.at.after(CHECK_TIMEOUT));
        self.go_on(now, Box::new(checking));
    }

    /// Goes on with a credential that was found good.
    pub(super) fn proven(&mut self, now: Now, asked: Asked, purpose: Purpose, proof: Proof) {
        if self.gateway().is_revoked(&proof.basis, now) {
            return self.refuse_revoked(now, &asked, &purpose);
        }
        match purpose {
            Purpose::Service(wished) => self.decide(now, asked, *wished, proof),
            Purpose::Login(submission) => self.logged_in(now, asked, &submission, proof),
            Purpose::Ticket(mint) => self.mint(now, asked, &mint, proof),
            Purpose::Renewal(renewing) => self.renew(now, asked, &renewing, &proof),
        }
    }

    /// Asks the modules until a job is needed or the verdict is there.
    fn go_on(&mut self, now: Now, mut checking: Box<Checking>) {
        let gateway = Arc::clone(self.gateway());
        let means = Means {
            entropy: gateway.entropy(),
            nonces: gateway.nonces(),
            verdicts: gateway.verdicts(),
            now,
        };
        match checking.login.advance(means) {
            Progress::Ask(question) => {
                // The question has its own time; this one is for what is lost.
                let patience = CHECK_TIMEOUT.max(question.timeout() + ASKING_SLACK);
                self.timers.set(Timer::Check, now.at.after(patience));
                let bell = self.admission.bell();
                match gateway
                    .outside()
                    .ask(question, bell, (gateway.entropy(), gateway.verdicts()), now)
                {
                    Inquiry::Now(answer) => {
                        checking.login.answered(answer);
                        self.go_on(now, checking);
                    }
                    Inquiry::Later(waiting) => {
                        checking.asking = Some(waiting);
                        self.state = State::Checking(checking);
                    }
                }
            }
            Progress::Unavailable => self.unavailable(now, &checking.asked),
            Progress::Compare(task) => {
                let remote = self.peer.remote.ip();
                let address = (!remote.to_canonical().is_loopback()).then(|| AddressKey::of(remote));
                let bell = self.admission.bell();
                let Some(claim) = self.gateway().slots().claim(task.memory_bytes(), address, bell) else {
                    return self.unavailable(now, &checking.asked);
                };
                checking.waiting = Some((claim, task));
                self.state = State::Checking(checking);
                self.tick_check(now);
            }
            Progress::Granted(grant) => {
                match self.checked(now, &checking).still_allowed(now, checking.source) {
                    Ok(()) => {
                        let basis = checking.login.take_basis();
                        let proof = Proof {
                            basis,
                            ..Proof::of(*grant)
                        };
                        self.proven(now, checking.asked, checking.purpose, proof);
                    }
                    Err((reply, reason)) => self.answer(now, &checking.asked, reply, reason),
                }
            }
            Progress::Refused(refused) => {
                let counted = self
                    .checked(now, &checking)
                    .count_failure(now, checking.source, refused);
                let (reply, reason) = match (counted, &checking.purpose) {
                    (Err(throttled), _) => throttled,
                    (Ok(()), Purpose::Login(submission)) => (self.login_failed(submission), refused.reason),
                    (Ok(()), Purpose::Service(_) | Purpose::Ticket(_) | Purpose::Renewal(_)) => {
                        (self.refusal(now, &checking, refused), refused.reason)
                    }
                };
                self.answer(now, &checking.asked, reply, reason);
            }
        }
    }

    /// Counts a verdict.
    fn checked(&self, now: Now, checking: &Checking) -> &Self {
        self.gateway().meters().checked(now.at.since(checking.began));
        self
    }

    /// Starts the job as soon as its share of the budget is granted; goes on with what was asked
    /// elsewhere as soon as it is answered.
    pub(super) fn tick_check(&mut self, now: Now) {
        let State::Checking(checking) = &mut self.state else {
            return;
        };
        if let Some(answer) = checking.asking.as_ref().and_then(Waiting::answer) {
            if let Some(mut checking) = self.end_check() {
                checking.asking = None;
                self.resume(now, checking, |login| login.answered(answer));
            }
            return;
        }
        if !checking
            .waiting
            .as_ref()
            .is_some_and(|(claim, _)| claim.is_granted())
        {
            return;
        }
        if let Some((claim, task)) = checking.waiting.take() {
            checking.job += 1;
            self.job = Some(Job::new(checking.job, claim, move || task.run()));
        }
    }

    /// Takes in the result of a job.
    pub(super) fn computed(&mut self, now: Now, computed: Computed) {
        let State::Checking(checking) = &self.state else {
            return;
        };
        if computed.number() != checking.job || checking.waiting.is_some() || checking.asking.is_some() {
            return;
        }
        let Some(checking) = self.end_check() else {
            return;
        };
        match computed.into::<bool>() {
            Some(right) => {
                let gateway = Arc::clone(self.gateway());
                self.resume(now, checking, |login| {
                    login.compared(right, gateway.verdicts(), now)
                });
            }
            None => {
                let reply = Reply::closing(Status::InternalServerError);
                self.answer(now, &checking.asked, reply, Reason::Internal);
                self.use_pending(now);
            }
        }
    }

    /// Goes on with a check that has waited.
    fn resume(&mut self, now: Now, mut checking: Box<Checking>, found: impl FnOnce(&mut Login)) {
        let rules = self.gateway().rules();
        let same = Arc::ptr_eq(&rules, &self.rules);
        match checking.purpose {
            // What was found may not count any more: no grant by rules that are gone.
            Purpose::Service(wished) if !same => {
                self.rules = rules;
                self.judge(now, wished.head, checking.asked.request);
            }
            // A session and a ticket are judged by the rules of every moment at which they are used.
            purpose
            @ (Purpose::Service(_) | Purpose::Login(_) | Purpose::Ticket(_) | Purpose::Renewal(_)) => {
                found(&mut checking.login);
                self.go_on(now, Box::new(Checking { purpose, ..*checking }));
            }
        }
        self.use_pending(now);
    }

    /// The verdict was not found in time.
    pub(super) fn check_is_late(&mut self, now: Now) {
        if let Some(checking) = self.end_check() {
            self.job = None;
            self.unavailable(now, &checking.asked);
        }
    }

    /// Takes the check out of the state. Whatever is answered begins from a head that is awaited: in
    /// [`State::Closed`] the answer would never be sent.
    fn end_check(&mut self) -> Option<Box<Checking>> {
        if !matches!(self.state, State::Checking(_)) {
            return None;
        }
        let awaited = State::Head(Self::scanner(&self.rules));
        match std::mem::replace(&mut self.state, awaited) {
            State::Checking(checking) => Some(checking),
            State::Preface(_)
            | State::Head(_)
            | State::Body(_)
            | State::Opening(_)
            | State::Fetching(_)
            | State::Awaiting(_)
            | State::Serving(_)
            | State::Closing(_)
            | State::Keeping(_)
            | State::Closed => None,
        }
    }

    pub(super) fn unavailable(&mut self, now: Now, asked: &Asked) {
        let reply = Reply::closing(Status::ServiceUnavailable).retry_after(RETRY_AFTER);
        self.answer(now, asked, reply, Reason::Unavailable);
    }

    /// Decides on a good credential: roles, scopes, subprotocol, and then the socket is open.
    fn decide(&mut self, now: Now, mut asked: Asked, mut wish: Wished, proof: Proof) {
        let mut trace = asked.trace;
        let joined = if self.gateway().is_draining() {
            trace.begin(Check::Available);
            Err(self.draining())
        } else {
            if !wish.service.further.is_empty() {
                trace.begin(Check::Factor);
            }
            self.join_factors(now, &asked, &wish.service, wish.passed.take(), proof)
        };
        asked.trace = trace;
        match joined {
            Ok(proof) => self.let_in(now, asked, wish, proof),
            Err((reply, reason)) => self.answer(now, &asked, reply, reason),
        }
    }

    /// Decides on a client that has passed every factor.
    fn let_in(&mut self, now: Now, mut asked: Asked, wish: Wished, proof: Proof) {
        let mut trace = asked.trace;
        // The login has succeeded: a refusal from here on has a name too. It is said by the first
        // realm who that is, whichever was the last.
        asked.subject = proof.grant.subject().map(str::to_owned);
        asked.realm = wish.service.realm.as_ref().map(Arc::clone);
        trace.begin(Check::Authorize);
        let revocations = self.gateway().revocations().generation();
        if let Err((reply, reason)) = self.authorize(now, &wish, &proof.grant, &asked) {
            asked.trace = trace;
            return self.answer(now, &asked, reply, reason);
        }
        // Of several factors only the last one was held against the revocations. A socket is once more,
        // when it can be found.
        if wish.read_by().is_some() && self.gateway().is_revoked(&proof.basis, now) {
            asked.trace = trace;
            return self.refuse_revoked(now, &asked, &Purpose::Service(Box::new(wish)));
        }
        let key = match &wish.goal {
            Goal::Socket { key } => key,
            Goal::Read => {
                asked.trace = trace;
                let (reply, reason) = self.point(&wish.service, &wish.place.path, &asked);
                return self.answer(now, &asked, reply, reason);
            }
            Goal::File { at } => {
                asked.trace = trace;
                let path = (wish.place.path.as_str(), *at);
                return self.fetch(now, asked, &wish.service, &wish.head, path);
            }
        };
        trace.begin(Check::Subprotocol);
        let decided = choose(&wish).and_then(|protocol| {
            trace.begin(Check::Grant);
            let limit = self.rules.limits.sockets_per_subject;
            let too_many = || {
                let reply = Reply::closing(Status::TooManyRequests).retry_after(RETRY_AFTER);
                (reply, Reason::Throttled)
            };
            let counted = self
                .gateway()
                .open_socket(&proof.grant, limit)
                .ok_or_else(too_many)?;
            let memberships = self.join(now, &proof, &asked)?;
            let reply = Reply::switching(&accept_key(key), protocol.as_deref());
            Ok((reply, counted, memberships))
        });
        asked.trace = trace;
        match decided {
            Err((reply, reason)) => self.answer(now, &asked, reply, reason),
            // The rules changed meanwhile: no grant by those that are gone.
            Ok(granted) if !self.gateway().is_in_force(&self.rules) => {
                drop(granted);
                self.let_in_anew(now, asked, wish, proof);
            }
            // Redis has come back meanwhile: it is about to be known who is revoked.
            Ok(_) if self.gateway().is_reading() => self.unavailable(now, &asked),
            // Looked at last: who revokes from here on finds an open socket, and rings it.
            Ok(_) if self.gateway().is_revoked(&proof.basis, now) => {
                self.refuse_revoked(now, &asked, &Purpose::Service(Box::new(wish)));
            }
            Ok((reply, counted, memberships)) => {
                let held = Held {
                    counted,
                    memberships,
                    registration: None,
                    revocations,
                };
                let (upstream, path) = (self.upstream(&wish.service), wish.place.path.clone());
                let granted = Granted {
                    asked,
                    wish,
                    proof,
                    held,
                    reply,
                };
                match upstream {
                    Some(upstream) => self.reach(now, granted, upstream),
                    None => self.open(now, granted, Way::Served(&path)),
                }
            }
        }
    }

    /// Decides again under new rules on a client that has passed every factor.
    pub(super) fn let_in_anew(&mut self, now: Now, asked: Asked, mut wish: Wished, mut proof: Proof) {
        self.rules = self.gateway().rules();
        match self.review((&wish.service, wish.point()), &proof, now) {
            Ok((service, grant)) => {
                wish.service = service;
                proof.grant = grant;
                self.let_in(now, asked, wish, proof);
            }
            Err(_) => self.judge(now, wish.head, asked.request),
        }
    }

    /// Sends the 101, and serves.
    pub(super) fn open(&mut self, now: Now, granted: Granted, way: Way<'_>) {
        let Granted {
            asked,
            wish,
            proof,
            mut held,
            mut reply,
        } = granted;
        if wish.service.realms().any(|realm| realm.renewal.is_some()) {
            let gateway = self.gateway();
            let bell = self.admission.bell();
            let (id, registration) = gateway.renewals().register(gateway.entropy(), &proof.basis, bell);
            reply = reply.field(SOCKET, id.expose());
            held.registration = Some(registration);
        }
        self.legs.client_out().append(|out| reply.write(out));
        self.note_decision(&asked, Status::SwitchingProtocols, Reason::Granted);
        self.serve(now, asked.request, wish.service, way, proof, held);
    }
}

impl Connection {
    /// The answer that asks for a credential. `stale`: one was right but for its nonce.
    pub(super) fn unauthorized(
        &self,
        now: Now,
        realm: &Realm,
        asked: &Asked,
        error: Option<BearerError>,
        stale: bool,
    ) -> Reply {
        let digest = realm.digest_challenge(self.gateway().entropy(), asked.request, stale, now);
        Reply::unauthorized(realm.challenges.lines(error, digest.as_ref(), asked.with_origin))
    }

    /// The answer to a credential that is not good.
    fn refusal(&self, now: Now, checking: &Checking, refused: Refused) -> Reply {
        let asked = &checking.asked;
        // Who fails at a further factor begins anew, whatever that factor's challenge would say.
        let (realm, begins_anew) = match &checking.purpose {
            Purpose::Service(wished) => (&wished.service.realm, wished.passed.is_some()),
            Purpose::Login(_) | Purpose::Ticket(_) | Purpose::Renewal(_) => (&asked.realm, false),
        };
        let Some(realm) = realm else {
            return Reply::closing(Status::InternalServerError);
        };
        let stale = refused.is_stale() && !begins_anew;
        // Who is to repeat the request with another nonce has to be told which.
        if refused.claims_alone || (realm.failure_is_403 && !stale) {
            return Reply::new(Status::Forbidden);
        }
        let error = checking.bearer.then(|| BearerError {
            description: description(refused.reason),
            ..BearerError::INVALID_TOKEN
        });
        self.unauthorized(now, realm, asked, error, stale)
    }

    /// Compares what the service requires with what was granted.
    fn authorize(&self, now: Now, wish: &Wished, grant: &Grant, asked: &Asked) -> Result<(), Refusal> {
        let service = &wish.service;
        let Some(realm) = &service.realm else {
            return Ok(());
        };
        let needed = match &wish.goal {
            Goal::Socket { .. } => acl::to_connect(service.kind),
            Goal::Read | Goal::File { .. } => acl::to_read(service.kind),
        };
        let Some(reason) = service.lacks(grant, needed) else {
            return Ok(());
        };
        // An anonymous client may log in and come back: it is asked to.
        if grant.is_anonymous() {
            let invitation = self.invitation_to(wish.read_by(), realm, asked);
            let refusal = || self.unauthorized(now, realm, asked, None, false);
            return Err((invitation.unwrap_or_else(refusal), reason));
        }
        let reply = Reply::new(Status::Forbidden);
        let challenge = (reason == Reason::MissingScope)
            .then(|| realm.challenges.insufficient_scope(&service.require_scopes))
            .flatten();
        let reply = match challenge {
            Some(challenge) => reply.field("WWW-Authenticate", challenge),
            None => reply,
        };
        Err((reply, reason))
    }
}

/// Returns what the client is told beyond `invalid_token`, from a fixed list (R5). The reasons are
/// found only after the signature was verified.
const fn description(reason: Reason) -> Option<&'static str> {
    match reason {
        Reason::Expired => Some("token expired"),
        Reason::NotYetValid => Some("token not yet valid"),
        Reason::Revoked => Some("token revoked"),
        Reason::Granted
        | Reason::BadRequest
        | Reason::BadHost
        | Reason::NoRoute
        | Reason::BadMethod
        | Reason::BadOrigin
        | Reason::BadUpgrade
        | Reason::NoCredential
        | Reason::CarrierConflict
        | Reason::MalformedCredential
        | Reason::BadSignature
        | Reason::UnknownKey
        | Reason::WrongAlgorithm
        | Reason::WrongIssuer
        | Reason::WrongAudience
        | Reason::BadPassword
        | Reason::UnknownUser
        | Reason::StaleNonce
        | Reason::ReusedNonce
        | Reason::ClaimsMismatch
        | Reason::MissingRole
        | Reason::MissingScope
        | Reason::MissingEntitlement
        | Reason::Replayed
        | Reason::Throttled
        | Reason::Unavailable
        | Reason::Disabled
        | Reason::Draining
        | Reason::Internal => None,
    }
}

/// Chooses the subprotocol (R9): the first of the server's that the client offered too.
fn choose(wish: &Wished) -> Result<Option<String>, Refusal> {
    let service = &wish.service;
    let common = service
        .subprotocols
        .iter()
        .find(|ours| wish.protocols.iter().any(|theirs| theirs == *ours));
    if let Some(protocol) = common {
        return Ok(Some(protocol.clone()));
    }
    let bad_upgrade = (Reply::closing(Status::BadRequest), Reason::BadUpgrade);
    if service.require_subprotocol {
        let supported = service.subprotocols.join(", ");
        return Err((
            bad_upgrade.0.field("Sec-WebSocket-Protocol", supported),
            bad_upgrade.1,
        ));
    }
    // Behind a proxy the upstream chooses, among whatever the client offered.
    let relayed = |proxy: &Arc<Proxy>| proxy.protocol == UpstreamProtocol::WebSocket;
    let upstream_chooses = service.proxy.as_ref().is_some_and(relayed) && !wish.protocols.is_empty();
    match &wish.marker {
        Marker::None => Ok(None),
        Marker::Single if upstream_chooses => Ok(None),
        Marker::Pair(marker) => Ok(Some(marker.clone())),
        // A browser fails the connection if nothing is echoed, and the one item must not be.
        Marker::Single => Err(bad_upgrade),
    }
}
