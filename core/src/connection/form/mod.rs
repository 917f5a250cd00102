//! Login by an HTML form (R16): the page, what it sends, and the way out.

mod next;
mod page;

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

pub(super) use self::next::local_path;
use self::page::{POLICY, Page};
use super::Connection;
use super::answer::Asked;
use super::check::Purpose;
use super::head::Refusal;
use super::paths::session_cookie;
use crate::auth::present::Credential;
use crate::auth::realm::Realm;
use crate::config::CSRF_COOKIE;
use crate::entropy::Label;
use crate::gateway::{Looked, Proof, Session};
use crate::http::cookie::cookies;
use crate::http::{Reply, RequestHead, Status, form_fields};
use crate::reason::Reason;
use crate::secret::{Secret, constant_time_eq};
use crate::time::Now;
use crate::trace::Check;

/// The content type of a form's fields.
const FORM: &str = "application/x-www-form-urlencoded";

/// Bytes of the csrf cookie before they are encoded.
const CSRF_BYTES: usize = 32;

/// What every cookie of ours has. `Lax` is enough, since the Origin decides (R16), and lets who comes
/// by a link from elsewhere find the session.
const COOKIE_FLAGS: &str = "; Secure; HttpOnly; SameSite=Lax; Path=/";

/// A login that a page has sent, or is sending.
pub(super) struct Submission {
    realm: Arc<Realm>,
    /// The session that the browser has, which the login replaces.
    session: Option<Secret<Vec<u8>>>,
    /// The page's cookie.
    cookie: Option<String>,
    /// Where the login leads to.
    next: String,
}

impl fmt::Debug for Submission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Submission")
            .field("realm", &self.realm.name)
            .finish_non_exhaustive()
    }
}

impl Submission {
    /// Takes what the head of a login holds.
    ///
    /// # Errors
    /// 415 for another content type than that of forms.
    pub(super) fn new(head: &RequestHead, realm: &Arc<Realm>) -> Result<Self, Refusal> {
        if !has_content_type(head, FORM) {
            return Err((Reply::closing(Status::UnsupportedMediaType), Reason::BadRequest));
        }
        Ok(Self {
            realm: Arc::clone(realm),
            session: session_cookie(head, realm),
            cookie: csrf_cookie(head),
            next: "/".to_owned(),
        })
    }
}

/// The fields of the form, each at most once.
#[derive(Default)]
struct Fields {
    username: Option<Zeroizing<Vec<u8>>>,
    password: Option<Zeroizing<Vec<u8>>>,
    csrf: Option<Zeroizing<Vec<u8>>>,
    next: Option<Zeroizing<Vec<u8>>>,
}

impl Fields {
    fn read(body: &[u8]) -> Option<Self> {
        let mut fields = Self::default();
        for (name, value) in form_fields(body) {
            let field = match name.as_slice() {
                b"username" => &mut fields.username,
                b"password" => &mut fields.password,
                b"csrf" => &mut fields.csrf,
                b"next" => &mut fields.next,
                _ => continue,
            };
            if field.replace(value).is_some() {
                return None;
            }
        }
        Some(fields)
    }
}

impl Connection {
    /// Answers with the login page.
    pub(super) fn login_page(&self, head: &RequestHead, realm: &Realm) -> Reply {
        let next = head
            .target()
            .params()
            .find(|param| param.name.as_ref() == b"next");
        let next = next.map_or_else(|| "/".to_owned(), |param| local_path(param.value.expose(), realm));
        // A second tab must not make the first one's field worthless.
        let known = csrf_cookie(head);
        let cookie = known.clone().unwrap_or_else(|| {
            let fresh = self.gateway().entropy().bytes::<CSRF_BYTES>(Label::CsrfCookie);
            URL_SAFE_NO_PAD.encode(fresh)
        });
        let reply = self.page_with(Reply::new(Status::Ok), realm, &cookie, &next, false);
        match known {
            Some(_) => reply,
            None => reply.field("Set-Cookie", format!("{CSRF_COOKIE}={cookie}{COOKIE_FLAGS}")),
        }
    }

    fn page_with(&self, reply: Reply, realm: &Realm, cookie: &str, next: &str, failed: bool) -> Reply {
        let page = Page {
            realm: &realm.challenges.realm,
            action: realm.form.as_ref().map_or("", |form| form.path.as_str()),
            csrf: &self.csrf_field(realm, cookie),
            next,
            failed,
        };
        let reply = reply
            .content("text/html; charset=utf-8", page.html().into_bytes())
            .field("Content-Security-Policy", POLICY.as_str())
            // With `no-referrer` the form's own POST would carry `Origin: null` (R17).
            .field("Referrer-Policy", "same-origin");
        self.hardened(no_store(reply))
    }

    /// Returns the value of the `csrf` field that belongs to `cookie`.
    fn csrf_field(&self, realm: &Realm, cookie: &str) -> String {
        let message = format!("{}\0{cookie}", realm.name);
        URL_SAFE_NO_PAD.encode(self.gateway().csrf_tag(message.as_bytes()))
    }

    /// Begins the check of a login whose fields are here.
    pub(super) fn log_in(&mut self, now: Now, mut asked: Asked, mut submission: Submission, body: &[u8]) {
        let Some(fields) = Fields::read(body) else {
            return self.answer(
                now,
                &asked,
                Reply::closing(Status::BadRequest),
                Reason::BadRequest,
            );
        };
        let genuine = submission.cookie.as_ref().is_some_and(|cookie| {
            let expected = self.csrf_field(&submission.realm, cookie);
            let sent = fields.csrf.as_ref().map_or(&[][..], |sent| sent.as_slice());
            constant_time_eq(expected.as_bytes(), sent)
        });
        if !genuine {
            return self.answer(now, &asked, Reply::closing(Status::Forbidden), Reason::BadOrigin);
        }
        if let Some(next) = &fields.next {
            submission.next = local_path(next, &submission.realm);
        }
        let text = |field: Option<Zeroizing<Vec<u8>>>| {
            let bytes = field.unwrap_or_default();
            str::from_utf8(&bytes).map(str::to_owned).ok()
        };
        let (Some(user), Some(password)) = (text(fields.username), text(fields.password)) else {
            let reply = Reply::closing(Status::BadRequest);
            return self.answer(now, &asked, reply, Reason::MalformedCredential);
        };
        let credential = Credential::Basic {
            user,
            password: Secret::new(password.into_bytes()),
        };
        asked.trace.begin(Check::Throttle);
        if let Err((reply, reason)) = self.check_throttle(now, &credential) {
            return self.answer(now, &asked, reply, reason);
        }
        let realm = Arc::clone(&submission.realm);
        self.prove(
            now,
            asked,
            &realm,
            (credential, false),
            Purpose::Login(Box::new(submission)),
        );
    }

    /// Begins a session, and leads to where the user wanted to go.
    pub(super) fn logged_in(&mut self, now: Now, mut asked: Asked, submission: &Submission, proof: Proof) {
        let realm = &submission.realm;
        let Some(form) = &realm.form else {
            let reply = Reply::closing(Status::InternalServerError);
            return self.answer(now, &asked, reply, Reason::Internal);
        };
        asked.subject = proof.grant.subject().map(str::to_owned);
        let replaced = submission.session.as_ref();
        let replaced = replaced.map(|id| id.expose().as_slice());
        let id = self.gateway().open_session(realm, proof, replaced, now);
        let session = Zeroizing::new(format!("{}={}{COOKIE_FLAGS}", form.cookie, id.expose()));
        let reply = Reply::new(Status::SeeOther)
            .field("Location", &submission.next)
            .field("Set-Cookie", session.as_str())
            .field("Set-Cookie", cleared(CSRF_COOKIE));
        let reply = self.hardened(no_store(reply));
        self.answer(now, &asked, reply, Reason::Granted);
    }

    /// Answers a login that failed with the page, and with a challenge at which no browser opens a
    /// prompt of its own.
    pub(super) fn login_failed(&self, submission: &Submission) -> Reply {
        let realm = &submission.realm;
        let cookie = submission.cookie.as_deref().unwrap_or_default();
        let reply = Reply::new(Status::Unauthorized).field("WWW-Authenticate", realm.challenges.form());
        self.page_with(reply, realm, cookie, &submission.next, true)
    }

    /// Ends a session and its sockets.
    pub(super) fn log_out(
        &mut self,
        now: Now,
        asked: Asked,
        realm: &Arc<Realm>,
        session: Option<&Secret<Vec<u8>>>,
    ) {
        let gateway = Arc::clone(self.gateway());
        let looked = session.map(|id| {
            let sessions = gateway.sessions();
            sessions.find(gateway.names(), id.expose(), &realm.name, now)
        });
        match looked {
            Some(Looked::Found(session)) => self.logged_out(now, asked, realm, Some(&session)),
            Some(Looked::Ask(key)) => self.await_logout(now, asked, realm, key),
            Some(Looked::Elsewhere | Looked::Unknown) | None => self.logged_out(now, asked, realm, None),
        }
    }

    /// Ends the session that was found, and answers.
    pub(super) fn logged_out(
        &mut self,
        now: Now,
        mut asked: Asked,
        realm: &Realm,
        session: Option<&Arc<Session>>,
    ) {
        if let Some(session) = session {
            self.gateway().close_session(session, now);
            asked.subject = session.subject();
        }
        let (path, cookie) = realm
            .form
            .as_ref()
            .map_or(("/", ""), |form| (form.path.as_str(), form.cookie.as_str()));
        let reply = Reply::new(Status::SeeOther)
            .field("Location", path)
            .field("Set-Cookie", cleared(cookie));
        let reply = self.hardened(no_store(reply));
        self.answer(now, &asked, reply, Reason::Granted);
    }
}

/// Keeps every cache from keeping a copy.
fn no_store(reply: Reply) -> Reply {
    reply.field("Cache-Control", "no-store")
}

/// Says whether the content of `head` is of this type, parameters aside, and not encoded.
fn has_content_type(head: &RequestHead, wanted: &str) -> bool {
    let Ok(Some(value)) = head.fields().single("content-type") else {
        return false;
    };
    let name = value.split(';').next().unwrap_or_default().trim_ascii();
    name.eq_ignore_ascii_case(wanted) && !head.fields().has("content-encoding")
}

/// Returns the csrf cookie, if there is one and it can be one of ours.
fn csrf_cookie(head: &RequestHead) -> Option<String> {
    let mut found = cookies(head.fields(), CSRF_COOKIE);
    let (Some(value), None) = (found.next(), found.next()) else {
        return None;
    };
    let bytes = URL_SAFE_NO_PAD.decode(value).ok()?;
    let text = str::from_utf8(value).ok()?;
    (bytes.len() == CSRF_BYTES).then(|| text.to_owned())
}

fn cleared(cookie: &str) -> String {
    format!("{cookie}={COOKIE_FLAGS}; Max-Age=0")
}
