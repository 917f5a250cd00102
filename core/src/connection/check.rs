//! The second state: the credential is checked, roles and scopes are compared, the answer is found.

use std::sync::Arc;
use std::time::Duration;

use super::answer::Asked;
use super::form::Submission;
use super::head::{RETRY_AFTER, Refusal, SocketWish};
use super::ticket::Mint;
use super::{Connection, State};
use crate::auth::challenge::BearerError;
use crate::auth::grant::{ANONYMOUS, Authority, Grant, Identity};
use crate::auth::login::{Login, PasswordTask, Progress, Refused};
use crate::auth::present::{Credential, Marker, Pass};
use crate::auth::realm::Realm;
use crate::budget::{AddressKey, Claim};
use crate::gateway::{Membership, Place, Proof, Redeemed};
use crate::http::{Reply, Status};
use crate::job::{Computed, Job};
use crate::reason::Reason;
use crate::rules::Service;
use crate::time::Now;
use crate::timers::Timer;

/// How long a verdict may take, waiting for a share of the budget included. Longer than any hash that
/// loads takes on a slow machine, shorter than what clients wait.
const CHECK_TIMEOUT: Duration = Duration::from_secs(10);

/// A check that waits for a job.
#[derive(Debug)]
pub(super) struct Checking {
    asked: Asked,
    purpose: Purpose,
    login: Login,
    bearer: bool,
    /// The share of the budget that is waited for, with what it is for.
    waiting: Option<(Claim, PasswordTask)>,
    /// The job whose result is awaited.
    job: u64,
}

/// What a good credential is for.
#[derive(Debug)]
pub(super) enum Purpose {
    /// An open socket.
    Socket(Wished),
    /// A session.
    Login(Box<Submission>),
    /// A ticket.
    Ticket(Box<Mint>),
}

/// What is granted if the credential is good.
#[derive(Debug)]
pub(super) struct Wished {
    service: Arc<Service>,
    place: Place,
    accept: String,
    protocols: Vec<String>,
    marker: Marker,
}

impl Connection {
    /// Begins the check of a wish for a socket.
    pub(super) fn check(&mut self, now: Now, asked: Asked, wish: SocketWish) {
        let SocketWish {
            service,
            accept,
            presentation,
            place,
        } = wish;
        let wished = Wished {
            service: Arc::clone(&service),
            place,
            accept,
            protocols: presentation.protocols,
            marker: presentation.marker,
        };
        let Some(realm) = &service.realm else {
            return self.decide(now, asked, wished, Proof::default());
        };
        match presentation.presented {
            Some(presented) => {
                self.prove(now, asked, realm, presented.credential, Purpose::Socket(wished));
            }
            None => self.without_credential(now, asked, realm, Purpose::Socket(wished)),
        }
    }

    /// Nobody in particular asks.
    fn without_credential(&mut self, now: Now, asked: Asked, realm: &Arc<Realm>, purpose: Purpose) {
        match (purpose, &realm.anonymous) {
            (Purpose::Socket(wished), Some(roles)) => {
                let proof = Proof::of(anonymous(realm, roles));
                self.decide(now, asked, wished, proof);
            }
            (Purpose::Socket(_) | Purpose::Login(_) | Purpose::Ticket(_), _) => {
                let reply = unauthorized(realm, &asked, None);
                self.answer(now, &asked, reply, Reason::NoCredential);
            }
        }
    }

    /// Begins the check of a credential.
    pub(super) fn prove(
        &mut self,
        now: Now,
        asked: Asked,
        realm: &Arc<Realm>,
        credential: Credential,
        purpose: Purpose,
    ) {
        if let Credential::Pass(pass) = &credential {
            return self.redeem(now, asked, realm, pass, purpose);
        }
        let checking = Checking {
            asked,
            purpose,
            bearer: matches!(credential, Credential::Token(_)),
            login: Login::new(Arc::clone(realm), credential),
            waiting: None,
            job: 0,
        };
        self.timers.set(Timer::Check, now.at.after(CHECK_TIMEOUT));
        self.go_on(now, Box::new(checking));
    }

    /// Judges what this gateway has issued itself.
    fn redeem(&mut self, now: Now, asked: Asked, realm: &Arc<Realm>, pass: &Pass, purpose: Purpose) {
        let Some(server) = self.server() else {
            let reply = Reply::closing(Status::InternalServerError);
            return self.answer(now, &asked, reply, Reason::Internal);
        };
        let place = match &purpose {
            Purpose::Socket(wished) => wished.place.clone(),
            Purpose::Login(_) | Purpose::Ticket(_) => Place::nowhere(&server.id),
        };
        match self.gateway().redeem(pass, realm, &place, now) {
            Redeemed::Proof(proof) => self.proven(now, asked, purpose, *proof),
            Redeemed::Elsewhere => self.without_credential(now, asked, realm, purpose),
            Redeemed::Refused(reason) => {
                // `error` is for what the client holds as a token: a session is the browser's.
                let error = match pass {
                    Pass::Ticket(_) => Some(BearerError::INVALID_TOKEN),
                    Pass::Session(_) => None,
                };
                let reply = unauthorized(realm, &asked, error);
                self.answer(now, &asked, reply, reason);
            }
        }
    }

    /// Goes on with a credential that was found good.
    fn proven(&mut self, now: Now, asked: Asked, purpose: Purpose, proof: Proof) {
        match purpose {
            Purpose::Socket(wished) => self.decide(now, asked, wished, proof),
            Purpose::Login(submission) => self.logged_in(now, asked, &submission, proof),
            Purpose::Ticket(mint) => self.mint(now, asked, &mint, proof),
        }
    }

    /// Asks the modules until a job is needed or the verdict is there.
    fn go_on(&mut self, now: Now, mut checking: Box<Checking>) {
        match checking.login.advance(self.gateway().entropy(), now) {
            Progress::Compare(task) => {
                let remote = self.peer.remote.ip();
                let address = (!remote.to_canonical().is_loopback()).then(|| AddressKey::of(remote));
                let bell = self.admission.bell();
                let Some(claim) = self.gateway().slots().claim(task.memory_bytes(), address, bell) else {
                    return self.unavailable(now, &checking.asked);
                };
                checking.waiting = Some((claim, task));
                self.state = State::Checking(checking);
                self.tick_check();
            }
            Progress::Granted(grant) => {
                let basis = checking.login.take_basis();
                let proof = Proof {
                    basis,
                    ..Proof::of(*grant)
                };
                self.proven(now, checking.asked, checking.purpose, proof);
            }
            Progress::Refused(refused) => match &checking.purpose {
                Purpose::Login(submission) => {
                    self.login_failed(now, &checking.asked, submission, refused.reason);
                }
                Purpose::Socket(_) | Purpose::Ticket(_) => {
                    let reply = refusal(&checking, refused);
                    self.answer(now, &checking.asked, reply, refused.reason);
                }
            },
        }
    }

    /// Starts the job as soon as its share of the budget is granted.
    pub(super) fn tick_check(&mut self) {
        let State::Checking(checking) = &mut self.state else {
            return;
        };
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
        if computed.number() != checking.job || checking.waiting.is_some() {
            return;
        }
        let State::Checking(mut checking) = std::mem::replace(&mut self.state, State::Closed) else {
            return;
        };
        match computed.into::<bool>() {
            Some(right) => {
                checking.login.compared(right);
                self.go_on(now, checking);
            }
            None => {
                let reply = Reply::closing(Status::InternalServerError);
                self.answer(now, &checking.asked, reply, Reason::Internal);
            }
        }
        self.use_pending(now);
    }

    /// The verdict was not found in time.
    pub(super) fn check_is_late(&mut self, now: Now) {
        if let State::Checking(checking) = std::mem::replace(&mut self.state, State::Closed) {
            self.job = None;
            self.unavailable(now, &checking.asked);
        }
    }

    fn unavailable(&mut self, now: Now, asked: &Asked) {
        let reply = Reply::closing(Status::ServiceUnavailable).retry_after(RETRY_AFTER);
        self.answer(now, asked, reply, Reason::Unavailable);
    }

    /// Decides on a good credential: roles, scopes, subprotocol, and then the socket is open.
    fn decide(&mut self, now: Now, mut asked: Asked, wish: Wished, proof: Proof) {
        let grant = &proof.grant;
        let decided = if self.gateway().is_draining() {
            Err(self.draining())
        } else {
            authorize(&wish.service, grant, &asked)
                .and_then(|()| choose(&wish))
                .and_then(|protocol| {
                    let limit = self.rules.limits.sockets_per_subject;
                    let too_many = || {
                        let reply = Reply::closing(Status::TooManyRequests).retry_after(RETRY_AFTER);
                        (reply, Reason::Throttled)
                    };
                    let counted = self.gateway().open_socket(grant, limit).ok_or_else(too_many)?;
                    let membership = self.join(&proof, &asked)?;
                    Ok((protocol, counted, membership))
                })
        };
        match decided {
            Err((reply, reason)) => self.answer(now, &asked, reply, reason),
            Ok((protocol, counted, membership)) => {
                asked.subject = grant.subject().map(str::to_owned);
                let reply = Reply::switching(&wish.accept, protocol.as_deref());
                self.legs.client_out().append(|out| reply.write(out));
                self.note_decision(&asked, Status::SwitchingProtocols, Reason::Granted);
                self.serve(now, asked.request, wish.service, proof, (counted, membership));
            }
        }
    }

    /// Takes a place among the sockets of a session, so that a logout from here on is noticed.
    fn join(&self, proof: &Proof, asked: &Asked) -> Result<Option<Membership>, Refusal> {
        let Some(session) = &proof.session else {
            return Ok(None);
        };
        let membership = session.join(self.admission.number(), self.admission.bell());
        match (membership.ended(), &asked.realm) {
            (None, _) => Ok(Some(membership)),
            (Some(_), Some(realm)) => Err((unauthorized(realm, asked, None), Reason::Revoked)),
            (Some(_), None) => Err((Reply::closing(Status::InternalServerError), Reason::Internal)),
        }
    }
}

fn anonymous(realm: &Realm, roles: &[String]) -> Grant {
    Grant {
        identity: Some(Identity {
            realm: Arc::clone(&realm.name),
            authority: Authority::Anonymous,
            subject: Some("anonymous".to_owned()),
        }),
        roles: roles.iter().cloned().chain([ANONYMOUS.to_owned()]).collect(),
        ..Grant::default()
    }
}

fn unauthorized(realm: &Realm, asked: &Asked, error: Option<BearerError>) -> Reply {
    Reply::unauthorized(realm.challenges.lines(error, asked.with_origin))
}

/// The answer to a credential that is not good.
fn refusal(checking: &Checking, refused: Refused) -> Reply {
    let Some(realm) = &checking.asked.realm else {
        return Reply::closing(Status::InternalServerError);
    };
    if refused.claims_alone || realm.failure_is_403 {
        return Reply::new(Status::Forbidden);
    }
    let error = checking.bearer.then(|| BearerError {
        description: description(refused.reason),
        ..BearerError::INVALID_TOKEN
    });
    unauthorized(realm, &checking.asked, error)
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

/// Compares what the service requires with what was granted.
fn authorize(service: &Service, grant: &Grant, asked: &Asked) -> Result<(), Refusal> {
    let Some(realm) = &service.realm else {
        return Ok(());
    };
    // An anonymous client may log in and come back: it is asked to.
    let refuse = |challenge: Option<String>, reason| {
        if grant.is_anonymous() {
            return (unauthorized(realm, asked, None), reason);
        }
        let reply = Reply::new(Status::Forbidden);
        let reply = match challenge {
            Some(challenge) => reply.field("WWW-Authenticate", challenge),
            None => reply,
        };
        (reply, reason)
    };
    if !service
        .require_roles
        .iter()
        .all(|role| grant.roles.contains(role))
    {
        return Err(refuse(None, Reason::MissingRole));
    }
    if !service
        .require_scopes
        .iter()
        .all(|scope| grant.scopes.contains(scope))
    {
        let challenge = realm.challenges.insufficient_scope(&service.require_scopes);
        return Err(refuse(challenge, Reason::MissingScope));
    }
    Ok(())
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
    match &wish.marker {
        Marker::None => Ok(None),
        Marker::Pair(marker) => Ok(Some(marker.clone())),
        // A browser fails the connection if nothing is echoed, and the one item must not be.
        Marker::Single => Err(bad_upgrade),
    }
}
