//! Login by a form, the sessions that begin there, and the way out.

use serde_json::json;

use super::{closed_after, load_error, refused};
use crate::client::{Client, Frame, Request, Response, get, upgrade};
use crate::world::{Setup, Stage, World};

const COOKIE: &str = "__Host-session";
/// The origin that the standard service allows.
pub const APP: &str = "https://app.example";

/// The standard realm with a form, and sessions beside tokens.
pub fn with_form() -> Setup {
    Setup::standard()
        .realm("form", json!({}))
        .realm("carriers", json!(["authorization", "cookie:__Host-session"]))
}

/// A POST of a form's fields, as a page of the server itself sends it.
pub fn post(stage: &Stage, path: &str, body: &str) -> Request {
    get(path)
        .method("POST")
        .origin(&format!("http://localhost:{}", stage.port(0)))
        .field("Content-Type", "application/x-www-form-urlencoded")
        .field("Content-Length", &body.len().to_string())
        .then(body.as_bytes())
}

/// What a browser knows that has the login page open.
pub struct Page {
    /// The pair that it sends back.
    pub cookie: String,
    csrf: String,
}

impl Page {
    /// Loads the page as a browser without cookies.
    ///
    /// # Panics
    /// If it is not served, or sets another cookie.
    pub fn open(client: &mut Client) -> Self {
        Self::open_at(client, "/login")
    }

    /// Loads the page at `path`.
    ///
    /// # Panics
    /// As [`Page::open`].
    pub fn open_at(client: &mut Client, path: &str) -> Self {
        let answer = client.ask(&get(path));
        assert_eq!(answer.status, 200, "{answer:?}");
        let set = answer.one("Set-Cookie").expect("a csrf cookie");
        let cookie = set.split(';').next().unwrap().to_owned();
        assert_eq!(set, format!("{cookie}; Secure; HttpOnly; SameSite=Lax; Path=/"));
        assert!(cookie.starts_with("__Host-csrf="), "{cookie}");
        Self {
            cookie,
            csrf: hidden(&answer, "csrf"),
        }
    }

    /// Fills the form in, and asks to be led to `/app?x=1`.
    pub fn submit(&self, stage: &Stage, user: &str, password: &str) -> Request {
        self.submit_to(stage, "/login", user, password)
    }

    /// Fills the form at `path` in.
    pub fn submit_to(&self, stage: &Stage, path: &str, user: &str, password: &str) -> Request {
        let body = format!(
            "username={user}&password={}&csrf={}&next=%2Fapp%3Fx%3D1",
            password.replace(' ', "+"),
            self.csrf
        );
        post(stage, path, &body).field("Cookie", &self.cookie)
    }
}

/// Returns the value of a hidden field.
fn hidden(page: &Response, name: &str) -> String {
    let html = String::from_utf8(page.body.clone()).unwrap();
    let start = format!("name=\"{name}\" value=\"");
    let (_, rest) = html
        .split_once(&start)
        .unwrap_or_else(|| panic!("no {name}: {html}"));
    rest.split('"').next().unwrap().to_owned()
}

/// Logs out at `path`.
///
/// # Panics
/// If that is refused.
pub fn log_out(stage: &Stage, path: &str, cookie: &str) {
    let request = post(stage, path, "").field("Cookie", cookie);
    assert_eq!(stage.connect().ask(&request).status, 303);
}

/// Logs alice in, and returns the session's cookie.
pub fn log_in(stage: &Stage) -> String {
    session_cookie_of(&mut stage.connect(), stage)
}

/// Logs alice in on this connection, and returns the session's cookie.
pub fn session_cookie_of(client: &mut Client, stage: &Stage) -> String {
    let page = Page::open(client);
    session_of(&client.ask(&page.submit(stage, "alice", "correct horse")))
}

/// Returns the cookie that a right login has set.
///
/// # Panics
/// If the login was not right.
pub fn session_of(answer: &Response) -> String {
    assert_eq!(answer.status, 303, "{answer:?}");
    let set = answer.all("Set-Cookie");
    let cookie = set.iter().find(|set| set.starts_with("__Host-session="));
    let cookie = cookie.expect("a session").split(';').next().unwrap();
    assert_eq!(cookie.len(), "__Host-session=".len() + 43, "{cookie}");
    cookie.to_owned()
}

fn by_session(cookie: &str) -> Request {
    upgrade("/api/ws").field("Cookie", cookie).origin(APP)
}

/// M35, R16: the right password leads on, with a cookie that opens a socket.
pub fn m35_a_form_login_begins_a_session(world: &World) {
    let stage = with_form().start(world);
    let mut client = stage.connect();
    let page = Page::open(&mut client);
    let answer = client.ask(&page.submit(&stage, "alice", "correct horse"));
    assert_eq!((answer.status, answer.one("Location")), (303, Some("/app?x=1")));
    assert_eq!(answer.one("Cache-Control"), Some("no-store"));
    let session = session_of(&answer);
    let set = answer.all("Set-Cookie");
    assert_eq!(
        set[0],
        format!("{session}; Secure; HttpOnly; SameSite=Lax; Path=/")
    );
    assert_eq!(
        set[1],
        "__Host-csrf=; Secure; HttpOnly; SameSite=Lax; Path=/; Max-Age=0"
    );
    // The connection is kept: the socket opens on it.
    client.open(&by_session(&session));
    client.expect_echo(&Frame::text("hello"));
    let decisions = stage.decisions(3);
    assert_eq!(decisions[1].subject.as_deref(), Some("alice"));
    let last = &decisions[2];
    assert_eq!(
        (last.carrier.as_deref(), last.scheme.as_deref()),
        (Some("session"), None)
    );
    assert_eq!(last.subject.as_deref(), Some("alice"));
    let log = stage.log();
    for secret in ["correct", session.split_once('=').unwrap().1, &page.csrf] {
        assert!(!log.contains(secret), "{secret} is in {log}");
    }
}

/// M35, R16: a bad password is the page again, with a challenge that opens no prompt; an unknown user
/// is told the same in every byte.
pub fn m35_a_bad_password_is_the_page_with_401(world: &World) {
    let stage = with_form().start(world);
    let mut client = stage.connect();
    let page = Page::open(&mut client);
    let wrong = client.ask(&page.submit(&stage, "alice", "wrong"));
    assert_eq!(wrong.status, 401);
    assert_eq!(
        wrong.all("WWW-Authenticate"),
        ["Bearer realm=\"R\", scope=\"a b\""]
    );
    assert_eq!(wrong.one("Cache-Control"), Some("no-store"));
    assert!(wrong.all("Set-Cookie").is_empty() && !wrong.closes());
    assert_eq!(hidden(&wrong, "next"), "/app?x=1");
    assert_eq!(hidden(&wrong, "csrf"), page.csrf);
    let unknown = client.ask(&page.submit(&stage, "nobody", "wrong"));
    assert_eq!(wrong.masked(), unknown.masked());
    let reasons: Vec<_> = stage
        .decisions(3)
        .iter()
        .map(|decision| decision.reason.code())
        .collect();
    assert_eq!(reasons, ["granted", "bad_password", "unknown_user"]);
}

/// R16: without the page's own field and cookie there is no login.
pub fn r16_a_login_needs_the_pages_field_and_cookie(world: &World) {
    let stage = with_form().start(world);
    let page = Page::open(&mut stage.connect());
    let other = Page::open(&mut stage.connect());
    let right = page.submit(&stage, "alice", "correct horse");
    for request in [
        right.clone().without("Cookie"),
        right.clone().with("Cookie", &other.cookie),
        right.clone().field("Cookie", &other.cookie),
        right.clone().with("Cookie", "__Host-csrf=x"),
        post(&stage, "/login", "username=alice&password=correct+horse").field("Cookie", &page.cookie),
    ] {
        let answer = stage.connect().ask(&request);
        assert_eq!(answer.status, 403, "{answer:?}");
        assert!(answer.all("Set-Cookie").is_empty() && answer.all("WWW-Authenticate").is_empty());
    }
    assert_eq!(stage.connect().ask(&right).status, 303);
}

/// R11, R16: only pages of the server itself, and those that every service allows, log in.
pub fn r16_a_foreign_or_missing_origin_cannot_log_in(world: &World) {
    let stage = with_form().start(world);
    let page = Page::open(&mut stage.connect());
    let right = page.submit(&stage, "alice", "correct horse");
    for origin in ["https://evil.example", "null", "http://localhost:1", "x"] {
        refused(&stage, &right.clone().with("Origin", origin), 403);
    }
    refused(&stage, &right.clone().without("Origin"), 403);
    refused(&stage, &right.clone().origin("https://evil.example"), 400);
    assert_eq!(stage.connect().ask(&right.with("Origin", APP)).status, 303);

    let stage = with_form()
        .realm("origins", json!(["https://sso.example"]))
        .start(world);
    let page = Page::open(&mut stage.connect());
    let right = page.submit(&stage, "alice", "correct horse");
    refused(&stage, &right.clone().with("Origin", APP), 403);
    assert_eq!(
        stage
            .connect()
            .ask(&right.with("Origin", "https://sso.example"))
            .status,
        303
    );
}

/// R16: a browser that says the form was sent by a page of another site is believed, whatever its Origin.
pub fn r16_a_form_from_another_site_is_refused(world: &World) {
    let stage = with_form().start(world);
    let page = Page::open(&mut stage.connect());
    let login = page.submit(&stage, "alice", "correct horse");
    let logout = post(&stage, "/logout", "");
    for (site, logged_in, logged_out) in [
        ("cross-site", 403, 403),
        ("same-site", 303, 303),
        ("same-origin", 303, 303),
    ] {
        let from = |request: &Request| {
            stage
                .connect()
                .ask(&request.clone().field("Sec-Fetch-Site", site))
        };
        let answers = (from(&login).status, from(&logout).status);
        assert_eq!(answers, (logged_in, logged_out), "{site}");
    }
}

/// E14: guessing at the form is guessing: it is throttled with everything else from its address.
pub fn e14_guessing_at_the_form_is_throttled(world: &World) {
    let stage = with_form().set("/throttle", json!({"failures": 2})).start(world);
    let page = Page::open(&mut stage.connect());
    let login = |password: &str| stage.connect().ask(&page.submit(&stage, "alice", password));
    let answers = [login("wrong").status, login("wrong").status];
    assert_eq!(answers, [401, 401]);
    let throttled = login("correct horse");
    assert_eq!(throttled.status, 429);
    assert!(throttled.one("Retry-After").is_some() && throttled.all("Set-Cookie").is_empty());
    // The page is there for who waits.
    assert_eq!(stage.connect().ask(&get("/login")).status, 200);
}

/// A session that has ended is sent by the browser all the same: it must not keep its user from the login.
pub fn e14_a_dead_session_is_no_guess(world: &World) {
    let stage = with_form().set("/throttle", json!({"failures": 2})).start(world);
    let dead = upgrade("/api/ws")
        .field("Cookie", "__Host-session=dead")
        .origin(APP);
    for _ in 0..5 {
        assert_eq!(stage.connect().ask(&dead).status, 401);
    }
    log_in(&stage);
}

/// R11: the page is for who goes there, not for pages that fetch it.
pub fn r11_the_page_is_not_fetched_from_elsewhere(world: &World) {
    let stage = with_form().start(world);
    let from = |site: &str, mode: &str| {
        get("/login")
            .field("Sec-Fetch-Site", site)
            .field("Sec-Fetch-Mode", mode)
    };
    for (site, mode, status) in [
        ("cross-site", "no-cors", 403),
        ("same-site", "cors", 403),
        ("cross-site", "navigate", 200),
        ("same-origin", "cors", 200),
        ("none", "navigate", 200),
    ] {
        assert_eq!(
            stage.connect().ask(&from(site, mode)).status,
            status,
            "{site} {mode}"
        );
    }
}

/// R16: what is no form, or too large, is not read.
pub fn r16_other_bodies_are_refused(world: &World) {
    let stage = with_form().start(world);
    let page = Page::open(&mut stage.connect());
    let right = page.submit(&stage, "alice", "correct horse");
    for content_type in ["application/json", "multipart/form-data", "text/plain", ""] {
        refused(&stage, &right.clone().with("Content-Type", content_type), 415);
    }
    refused(&stage, &right.clone().without("Content-Type"), 415);
    refused(&stage, &right.clone().field("Content-Encoding", "gzip"), 415);
    let body = |length: usize| post(&stage, "/login", &"x".repeat(length)).field("Cookie", &page.cookie);
    refused(&stage, &body(8 * 1024 + 1), 413);
    assert_eq!(stage.connect().ask(&body(8 * 1024)).status, 403);
    let huge = right.clone().with("Content-Length", "18446744073709551615");
    refused(&stage, &huge, 413);
    let chunked = right
        .clone()
        .without("Content-Length")
        .field("Transfer-Encoding", "chunked");
    refused(&stage, &chunked, 411);
    let twice = post(&stage, "/login", "username=a&username=b").field("Cookie", &page.cookie);
    assert_eq!(stage.connect().ask(&twice).status, 400);
    let typed = right.with(
        "Content-Type",
        "Application/X-WWW-form-urlencoded ; charset=utf-8",
    );
    assert_eq!(stage.connect().ask(&typed).status, 303);
}

/// R17: the page's fields; HEAD has them too.
pub fn r17_the_login_page_is_hardened(world: &World) {
    let stage = with_form().set("/servers/0/hsts", "1 day").start(world);
    let page = stage.connect().ask(&get("/login?next=/a%3Faccess_token=s%26b"));
    let policy = page.one("Content-Security-Policy").unwrap();
    assert!(
        policy.starts_with("default-src 'none'; style-src 'sha256-"),
        "{policy}"
    );
    assert!(policy.contains("form-action 'self'") && policy.contains("frame-ancestors 'none'"));
    assert!(!policy.contains("unsafe") && !policy.contains("script-src"));
    for (name, value) in [
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "same-origin"),
        ("Cache-Control", "no-store"),
        ("Strict-Transport-Security", "max-age=86400"),
        ("Content-Type", "text/html; charset=utf-8"),
    ] {
        assert_eq!(page.one(name), Some(value), "{name}");
    }
    let html = String::from_utf8(page.body).unwrap();
    assert!(!html.contains("<script") && !html.contains(" style="));
    let mut client = stage.connect();
    client.send(&get("/login").method("HEAD").bytes());
    let head = client.expect_head();
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.one("Referrer-Policy"), Some("same-origin"));
}

/// R16: where the login leads to is a local path, without credentials.
pub fn r16_next_is_a_local_path(world: &World) {
    let stage = with_form()
        .realm(
            "carriers",
            json!(["authorization", "cookie:__Host-session", "query:t"]),
        )
        .start(world);
    for (next, leads_to) in [
        ("%2Fapp%3Fa%3D1%26t%3Dsecret%23x", "/app?a=1#x"),
        ("%2F%2Fevil.example", "/"),
        ("%2F%5Cevil.example", "/"),
        ("https%3A%2F%2Fevil.example", "/"),
        ("%2Fa%0D%0ASet-Cookie:x", "/"),
    ] {
        let mut client = stage.connect();
        let page = Page::open(&mut client);
        let body = format!(
            "username=alice&password=correct+horse&csrf={}&next={next}",
            page.csrf
        );
        let answer = client.ask(&post(&stage, "/login", &body).field("Cookie", &page.cookie));
        assert_eq!(
            (answer.status, answer.one("Location")),
            (303, Some(leads_to)),
            "{next}"
        );
        let shown = stage.connect().ask(&get(&format!("/login?next={next}")));
        assert_eq!(hidden(&shown, "next"), leads_to);
    }
}

/// R2: another method is 405, and says which there are.
pub fn r02_realm_paths_know_their_methods(world: &World) {
    let stage = with_form().start(world);
    for (path, method, allow) in [
        ("/login", "PUT", "GET, HEAD, POST"),
        ("/login", "OPTIONS", "GET, HEAD, POST"),
        ("/logout", "GET", "POST"),
        ("/logout", "HEAD", "POST"),
    ] {
        let mut client = stage.connect();
        client.send(&get(path).method(method).bytes());
        let answer = if method == "HEAD" {
            client.expect_head()
        } else {
            client.expect_response()
        };
        assert_eq!(
            (answer.status, answer.one("Allow")),
            (405, Some(allow)),
            "{method} {path}"
        );
    }
    assert_eq!(
        Setup::standard()
            .start(world)
            .connect()
            .ask(&get("/login"))
            .status,
        404
    );
}

/// R7, R8: what follows a body is the next request; what ends within one is none.
pub fn r07_bodies_end_where_they_say(world: &World) {
    let stage = with_form().unsplit().start(world);
    let page = Page::open(&mut stage.connect());
    let login = page.submit(&stage, "alice", "correct horse").bytes();
    let mut client = stage.connect();
    let mut both = login.clone();
    both.extend(get("/login").bytes());
    client.send(&both);
    assert_eq!(client.expect_response().status, 303);
    assert_eq!(client.expect_response().status, 200);

    let mut client = stage.connect();
    for byte in login.chunks(7) {
        client.send(byte);
    }
    assert_eq!(client.expect_response().status, 303);

    let mut client = stage.connect();
    client.send(&login[..login.len() - 1]);
    client.half_close();
    assert_eq!(closed_after(&mut client).status, 400);

    let mut client = stage.connect();
    client.send(&login);
    client.half_close();
    // Whether the end was seen before the answer was written is a matter of luck; that it ends is not.
    assert_eq!(client.expect_response().status, 303);
    client.expect_eof();
}

/// R2: a body that does not come in time is 408.
pub fn r02_a_late_body_is_408(world: &World) {
    let stage = with_form().limit("headTimeout", "500ms").start(world);
    let page = Page::open(&mut stage.connect());
    let login = page.submit(&stage, "alice", "correct horse").bytes();
    let mut client = stage.connect();
    client.send(&login[..login.len() - 1]);
    assert_eq!(closed_after(&mut client).status, 408);
}

/// RFC 9110 section 10.1.1: who waits for leave to send the body gets it.
pub fn r02_expect_continue_is_answered(world: &World) {
    let stage = with_form().start(world);
    let page = Page::open(&mut stage.connect());
    let login = page
        .submit(&stage, "alice", "correct horse")
        .field("Expect", "100-continue")
        .bytes();
    let end = login.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let mut client = stage.connect();
    client.send(&login[..end]);
    assert_eq!(client.read_bytes(25), b"HTTP/1.1 100 Continue\r\n\r\n");
    client.send(&login[end..]);
    assert_eq!(client.expect_response().status, 303);
}

/// R16: what cannot work does not load.
pub fn r16_forms_that_cannot_work_do_not_load(world: &World) {
    let _ = world;
    let fault = |setup: Setup, said: &str| {
        let errors = load_error(&setup);
        assert!(errors.contains(said), "{errors}");
    };
    fault(
        with_form().realm("form", json!({"cookie": "session"})),
        "must begin with \"__Host-\"",
    );
    fault(
        with_form().realm("carriers", json!(["authorization"])),
        "nothing reads its sessions",
    );
    fault(with_form().service("accept", "/login"), "has the same path");
    fault(
        with_form().realm("form", json!({"path": "/a", "logout": "/a"})),
        "which is \"form.path\"",
    );
    fault(
        with_form().set("/servers/0/health", "/logout"),
        "which is \"health\"",
    );
    fault(
        with_form().unset("/services/echo/origins"),
        "\"origins\" is required",
    );
    fault(
        with_form().tokens_only().service("origins", json!([])),
        "no login module judges passwords",
    );
    assert!(
        with_form()
            .realm("form", json!({"cookie": format!("{COOKIE}2")}))
            .load()
            .is_err()
    );
}
