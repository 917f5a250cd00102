//! The second state: the credential is checked.

use std::sync::Arc;
use std::time::Duration;

use super::answer::Asked;
use super::decide::Wished;
use super::form::Submission;
use super::head::{RETRY_AFTER, ServiceWish};
use super::renewal::Renewing;
use super::ticket::Mint;
use super::{Connection, State};
use crate::auth::basis::Basis;
use crate::auth::challenge::BearerError;
use crate::auth::login::{Login, Means, PasswordTask, Progress, Refused};
use crate::auth::present::{Credential, Presentation};
use crate::auth::realm::Realm;
use crate::budget::{AddressKey, Claim};
use crate::config::Scheme;
use crate::gateway::throttle::Source;
use crate::gateway::{Asked as Inquiry, Proof, StepUp, Waiting};
use crate::http::{Reply, RequestHead, Status};
use crate::job::{Computed, Job};
use crate::reason::Reason;
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

/// Says whether `realm` lets in who brings no credential. Who is asked for a further factor and brings none
/// begins anew.
const fn lets_in_anybody(realm: &Realm, passed: Option<&StepUp>) -> bool {
    realm.anonymous.is_some() && passed.is_none()
}

impl Connection {
    /// Begins the check of a wish for a service.
    pub(super) fn check(&mut self, now: Now, asked: Asked, wish: ServiceWish, head: RequestHead) {
        let ServiceWish {
            service,
            goal,
            presentation,
            passed,
        } = wish;
        let Presentation {
            presented,
            protocols,
            marker,
        } = presentation;
        if let (None, Some(realm)) = (&presented, &service.realm)
            && !lets_in_anybody(realm, passed.as_deref())
        {
            // Nothing of the request is needed any more.
            let read = goal.is_read().then_some(&head);
            return self.ask_for_credential(now, asked, realm, read);
        }
        let Some(place) = self.place(&head) else {
            let reply = Reply::closing(Status::InternalServerError);
            return self.answer(now, &asked, reply, Reason::Internal);
        };
        let wished = Box::new(Wished {
            head,
            service: Arc::clone(&service),
            place,
            goal,
            protocols,
            marker,
            passed,
        });
        let (Some(first), Some(realm)) = (&service.realm, asked.realm.as_ref().map(Arc::clone)) else {
            return self.decide(now, asked, wished, Proof::default());
        };
        match presented {
            Some(presented) => {
                // A custom scheme has no error parameters, not even on the line of Bearer beside it.
                let bearer = presented.scheme == Scheme::Bearer;
                let purpose = Purpose::Service(wished);
                self.prove(now, asked, &realm, (presented.credential, bearer), purpose);
            }
            None => self.without_credential(now, asked, first, Purpose::Service(wished)),
        }
    }

    /// Nobody in particular asks.
    pub(super) fn without_credential(
        &mut self,
        now: Now,
        asked: Asked,
        realm: &Arc<Realm>,
        purpose: Purpose,
    ) {
        match (purpose, realm.anonymous_grant()) {
            (Purpose::Service(wished), Some(grant)) if lets_in_anybody(realm, wished.passed.as_deref()) => {
                let grant = Arc::new(grant);
                let basis = Basis::anonymous(realm, Arc::clone(&grant));
                self.decide(now, asked, wished, Proof::of(grant, basis));
            }
            (Purpose::Service(wished), _) => self.ask_for_credential(now, asked, realm, wished.read_by()),
            (Purpose::Login(_) | Purpose::Ticket(_) | Purpose::Renewal(_), _) => {
                self.ask_for_credential(now, asked, realm, None);
            }
        }
    }

    /// Refuses who brings no credential; `read` is the request if it is one for something to read.
    fn ask_for_credential(&mut self, now: Now, mut asked: Asked, realm: &Realm, read: Option<&RequestHead>) {
        asked.trace.begin(Check::Verify);
        let reply = self
            .invitation_to(read, realm, &asked)
            .unwrap_or_else(|| self.unauthorized(now, realm, &asked, None, false));
        self.answer(now, &asked, reply, Reason::NoCredential);
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
            Purpose::Service(wished) => self.decide(now, asked, wished, proof),
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
                        self.proven(now, checking.asked, checking.purpose, Proof::of(grant, basis));
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

    /// Takes the check out of the state.
    fn end_check(&mut self) -> Option<Box<Checking>> {
        self.begin_anew(|state| {
            if let State::Checking(checking) = state {
                Ok(checking)
            } else {
                Err(state)
            }
        })
    }

    pub(super) fn unavailable(&mut self, now: Now, asked: &Asked) {
        let reply = Reply::closing(Status::ServiceUnavailable).retry_after(RETRY_AFTER);
        self.answer(now, asked, reply, Reason::Unavailable);
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
        let lines = if error.is_none() && digest.is_none() {
            realm.invitation.lines(asked.with_origin).clone()
        } else {
            realm.challenges.lines(error, digest.as_ref(), asked.with_origin)
        };
        Reply::with_lines(Status::Unauthorized, lines)
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
