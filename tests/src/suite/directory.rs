//! Files of a folder, and what is before them.

use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use super::form::log_in;
use super::{closed_after, load_error, refused, refused_but_kept};
use crate::client::{Client, Frame, Request, Response, get, upgrade};
use crate::sim::FarEnd;
use crate::world::{ALICE, BOB, Kind, Setup, World};

const PAGE: &str = "<!doctype html><title>Page</title>";

/// A public folder at `/`, beside the standard echo service.
fn public() -> Setup {
    Setup::standard()
        .set(
            "/services/site",
            json!({"type": "directory", "public": true, "accept": "/", "directory": "site"}),
        )
        .file("site/index.html", PAGE)
        .file("site/app.js", "let a;")
        .file("site/deep/er/logo.PNG", [137, 80, 78, 71])
        .file("site/deep/index.html", "deep")
        .file("site/with space", "odd")
        .file("site/empty.txt", "")
        .file("site/.env", "secret")
        .file("site/deep/.git/config", "secret")
}

/// The same folder behind the standard realm.
fn guarded() -> Setup {
    public()
        .unset("/services/site/public")
        .set("/services/site/realm", "demo")
        .set("/services/site/origins", json!(["https://app.example"]))
}

fn with_form() -> Setup {
    guarded().realm("form", json!({})).realm(
        "carriers",
        json!(["authorization", "cookie:__Host-session", "query:t"]),
    )
}

fn fetch(client: &mut Client, path: &str) -> Response {
    let answer = client.ask(&get(path));
    assert_eq!(
        (answer.status, answer.closes()),
        (200, false),
        "{path}: {answer:?}"
    );
    answer
}

fn bob(path: &str) -> Request {
    get(path).basic(BOB.0, BOB.1)
}

/// What a browser says that goes somewhere.
fn browser(path: &str) -> Request {
    get(path).field(
        "Accept",
        "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    )
}

/// M18: a file has its bytes, its length and a type by its name.
pub fn m18_files_are_served_with_their_types(world: &World) {
    let stage = public().start(world);
    let mut client = stage.connect();
    for (path, kind, body) in [
        ("/index.html", "text/html; charset=utf-8", PAGE.as_bytes()),
        ("/app.js?v=1", "text/javascript; charset=utf-8", b"let a;"),
        ("/%61pp.js", "text/javascript; charset=utf-8", b"let a;"),
        ("/deep/er/logo.PNG", "image/png", &[137, 80, 78, 71]),
        ("/with%20space", "application/octet-stream", b"odd"),
        ("/empty.txt", "text/plain; charset=utf-8", b""),
    ] {
        let answer = fetch(&mut client, path);
        assert_eq!(
            (answer.one("Content-Type"), &answer.body[..]),
            (Some(kind), body),
            "{path}"
        );
        client.send(&get(path).method("HEAD").bytes());
        let head = client.expect_head();
        assert_eq!((head.status, head.one("Content-Type")), (200, Some(kind)));
        assert_eq!(head.one("Content-Length"), Some(&*body.len().to_string()));
        assert_eq!(head.one("ETag"), answer.one("ETag"));
    }
    let decision = &stage.decisions(12)[0];
    assert_eq!((decision.status, decision.reason.code()), (200, "granted"));
    assert_eq!(decision.service.as_deref(), Some("site"));
}

/// M18: a folder is its index.html; without its slash it is asked for once more, so that links in
/// the page lead where they should.
pub fn m18_a_folder_is_its_index(world: &World) {
    let stage = public()
        .set("/services/site/accept", json!(["/", "/also"]))
        .start(world);
    let mut client = stage.connect();
    for (path, body) in [
        ("/", PAGE),
        ("/deep/", "deep"),
        ("/also/", PAGE),
        ("/also/deep/", "deep"),
    ] {
        assert_eq!(fetch(&mut client, path).body, body.as_bytes(), "{path}");
    }
    for (path, location) in [
        ("/deep", "/deep/"),
        ("/deep?x=1", "/deep/?x=1"),
        ("/also", "/also/"),
    ] {
        let answer = client.ask(&get(path));
        assert_eq!(
            (answer.status, answer.one("Location")),
            (303, Some(location)),
            "{path}"
        );
    }
    for path in ["/deep/er", "/deep/er/", "/app.js/", "/absent/"] {
        assert_eq!(client.ask(&get(path)).status, 404, "{path}");
    }
}

/// M18, R2: what is not there, hidden, or written as if it were outside is 404.
pub fn m18_what_is_not_to_be_seen_is_404(world: &World) {
    let stage = public().start(world);
    for path in [
        "/absent",
        "/.env",
        "/%2eenv",
        "/deep/.git/config",
        "/..%2fcountersign.json",
        "/../countersign.json",
        "/%2e%2e/countersign.json",
        "/deep/../app.js",
        "/deep%2findex.html",
        "/deep%5cindex.html",
        "//app.js",
        "/app.js%00",
        "/%ff",
        "/..;/countersign.json",
    ] {
        let answer = refused_but_kept(&stage, &get(path), 404);
        assert_eq!(answer.body, b"not found\n", "{path}");
    }
}

/// M18: no link leads out, wherever it stands on the way; one that stays inside is a file.
pub fn m18_links_do_not_lead_out(world: &World) {
    let stage = public().start(world);
    let Some(folder) = stage.folder() else { return };
    let site = folder.join("site");
    symlink("../secret.key", site.join("out")).unwrap();
    symlink(folder, site.join("up")).unwrap();
    symlink(folder.join("secret.key"), site.join("absolute")).unwrap();
    symlink("/proc/self/environ", site.join("proc")).unwrap();
    symlink("app.js", site.join("within.js")).unwrap();
    symlink(".env", site.join("alias")).unwrap();
    for path in ["/out", "/up/secret.key", "/absolute", "/proc"] {
        refused_but_kept(&stage, &get(path), 404);
    }
    assert_eq!(fetch(&mut stage.connect(), "/within.js").body, b"let a;");
}

/// R2: files are read.
pub fn m18_other_methods_are_405(world: &World) {
    let stage = public().start(world);
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"] {
        let answer = refused(&stage, &get("/app.js").method(method), 405);
        assert_eq!((answer.one("Allow"), answer.body.len()), (Some("GET, HEAD"), 0));
    }
    refused(&stage, &get("/app.js").method("BREW"), 501);
}

/// M18: a file is never held as a whole, and arrives as it is.
pub fn m18_a_large_file_arrives_whole_and_bounded(world: &World) {
    let length = match world.kind() {
        Kind::Sim => 200_000,
        Kind::Smol | Kind::Std => 20_000_000_u32,
    };
    let bytes: Vec<u8> = (0..length).map(|number| (number % 251) as u8).collect();
    let stage = public().unsplit().file("site/large.bin", &bytes).start(world);
    let mut client = stage.connect();
    client.stop_reading(1000);
    client.send(&get("/large.bin").bytes());
    if let Some(sim) = stage.sim() {
        stage.pass(std::time::Duration::from_secs(1));
        // What waits for the client is told by length in what is shown for debugging.
        let shown = sim.borrow().shown();
        let waits = |text: &str| {
            text.split(' ')
                .next()
                .and_then(|number| number.parse::<usize>().ok())
        };
        let most = shown.split("Outgoing(").skip(1).filter_map(waits).max();
        assert!(most.is_some_and(|most| most < 100_000), "{most:?} bytes are held");
    }
    let answer = client.expect_response();
    assert!(answer.body == bytes, "{} bytes came", answer.body.len());
    fetch(&mut client, "/app.js");
}

/// M18: a file that becomes shorter while it is sent must not be filled up with what comes next.
pub fn m18_a_file_that_shrinks_ends_the_connection(world: &World) {
    let stage = public().start(world);
    let mut client = stage.connect();
    if let Some(sim) = stage.sim() {
        let far = FarEnd::Announced(b"short".to_vec(), 1000);
        sim.borrow_mut().place("site/app.js", far);
        client.send(&[get("/app.js").bytes(), get("/").bytes()].concat());
    } else {
        let path = stage.folder().unwrap().join("site/shrinks.bin");
        std::fs::write(&path, vec![7; 60_000_000]).unwrap();
        client.send(&get("/shrinks.bin").bytes());
        client.read_bytes(1000);
        std::fs::write(&path, b"short").unwrap();
        client.send(&get("/").bytes());
    }
    client.half_close();
    let (bytes, _) = client.read_to_end();
    assert!(bytes.len() < 60_000_000);
    assert!(!bytes.windows(PAGE.len()).any(|part| part == PAGE.as_bytes()));
}

/// M18: a file that becomes longer is sent as it was announced.
pub fn m18_a_file_that_grows_is_sent_as_announced(world: &World) {
    let stage = public().start(world);
    let Some(sim) = stage.sim() else { return };
    let far = FarEnd::Announced(b"let a; and more".to_vec(), 6);
    sim.borrow_mut().place("site/app.js", far);
    let mut client = stage.connect();
    assert_eq!(fetch(&mut client, "/app.js").body, b"let a;");
    assert_eq!(fetch(&mut client, "/").body, PAGE.as_bytes());
}

/// M18: what a client has already is not sent again; ranges are not spoken.
pub fn m18_what_is_known_is_304(world: &World) {
    let stage = public().start(world);
    let mut client = stage.connect();
    let first = fetch(&mut client, "/app.js");
    let (tag, modified) = (first.one("ETag").unwrap(), first.one("Last-Modified").unwrap());
    assert!(tag.starts_with("W/\""), "{tag}");
    for (field, value, status) in [
        ("If-None-Match", tag, 304),
        ("If-None-Match", &tag[2..], 304),
        ("If-None-Match", &format!("\"x\", {tag}"), 304),
        ("If-None-Match", "*", 304),
        ("If-None-Match", "\"x\"", 200),
        ("If-Modified-Since", modified, 304),
        ("If-Modified-Since", "Fri, 01 Jan 2100 00:00:00 GMT", 304),
        ("If-Modified-Since", "Thu, 01 Jan 1970 00:00:00 GMT", 200),
        ("If-Modified-Since", "yesterday", 200),
        ("Range", "bytes=0-1", 200),
    ] {
        let answer = client.ask(&get("/app.js").field(field, value));
        assert_eq!(answer.status, status, "{field}: {value}");
        assert_eq!(
            (answer.one("ETag"), answer.body.is_empty()),
            (Some(tag), status == 304)
        );
    }
    // The tag decides where both are there.
    let both = get("/app.js")
        .field("If-None-Match", "\"x\"")
        .field("If-Modified-Since", modified);
    assert_eq!(client.ask(&both).status, 200);
    let head = get("/app.js").method("HEAD").field("If-None-Match", tag);
    client.send(&head.bytes());
    assert_eq!(client.expect_head().status, 304);
}

/// M34: an ordinary answer keeps the connection, and the next request on it upgrades.
pub fn m34_a_file_and_then_an_upgrade_on_one_connection(world: &World) {
    let stage = public().start(world);
    let mut client = stage.connect();
    fetch(&mut client, "/");
    assert_eq!(client.ask(&get("/absent")).status, 404);
    fetch(&mut client, "/app.js");
    client.open(&upgrade("/api/ws").bearer(&stage.token("alice").text()));
    client.expect_echo(&Frame::text("hello"));
    // An upgrade where there are files alone is a GET.
    assert_eq!(
        fetch(&mut stage.connect(), "/app.js").body,
        stage.connect().ask(&upgrade("/app.js")).body
    );
}

/// M34: requests that arrive together are answered one after the other.
pub fn m34_pipelined_requests_are_answered_in_order(world: &World) {
    let stage = public().start(world);
    let mut client = stage.connect();
    let requests = ["/app.js", "/deep/", "/absent", "/empty.txt", "/with%20space"];
    client.send(
        &requests
            .iter()
            .flat_map(|path| get(path).bytes())
            .collect::<Vec<_>>(),
    );
    for body in ["let a;", "deep", "not found\n", "", "odd"] {
        assert_eq!(client.expect_response().body, body.as_bytes());
    }
    client.send(&get("/").field("Connection", "close").bytes());
    assert_eq!(closed_after(&mut client).body, PAGE.as_bytes());
    let mut half = stage.connect();
    half.send(&get("/app.js").bytes());
    half.half_close();
    assert_eq!(half.expect_response().body, b"let a;");
    half.expect_eof();
}

/// M17: the very path beats every folder above it, the nearer folder the farther one.
pub fn m17_exact_beats_prefix_and_longer_beats_shorter(world: &World) {
    let stage = public()
        .set(
            "/services/docs",
            json!({"type": "directory", "public": true, "accept": ["/docs", "wss://docs.example/hosted"],
                   "directory": "docs"}),
        )
        .file("docs/index.html", "docs")
        .file("docs/a.txt", "a of docs")
        .file("site/docs/a.txt", "a of site")
        .file("site/docsy.txt", "y")
        .file("site/api/ws", "not this")
        .start(world);
    let mut client = stage.connect();
    assert_eq!(fetch(&mut client, "/docs/a.txt").body, b"a of docs");
    assert_eq!(fetch(&mut client, "/docs/").body, b"docs");
    assert_eq!(fetch(&mut client, "/docsy.txt").body, b"y");
    let named = get("/hosted/a.txt");
    assert_eq!(client.ask(&named).status, 404);
    assert_eq!(client.ask(&named.with("Host", "docs.example")).body, b"a of docs");
    assert_eq!(client.ask(&get("/docs/absent")).status, 404);
    refused(&stage, &get("/api/ws"), 426);
}

/// M17: the path decides the realm, and no spelling of it leads around.
pub fn m17_each_folder_has_its_realm(world: &World) {
    let module = json!({"type": "users", "success": "required", "passwords": "users.htpasswd"});
    let stage = public()
        .set("/realms/inner", json!({"description": "I", "loginModules": [module]}))
        .set(
            "/services/inner",
            json!({"type": "directory", "realm": "inner", "accept": "/inner", "directory": "inner", "origins": []}),
        )
        .file("inner/a.txt", "inner")
        .start(world);
    for path in [
        "/inner/a.txt",
        "/inner",
        "/inner/",
        "/inner/absent",
        "/%69nner/a.txt",
        "/inner/.env",
    ] {
        let answer = refused_but_kept(&stage, &get(path), 401);
        assert_eq!(
            answer.one("WWW-Authenticate"),
            Some("Basic realm=\"I\", charset=\"UTF-8\""),
            "{path}"
        );
    }
    refused_but_kept(&stage, &get("/inner/a.txt").basic("bob", "wrong"), 401);
    assert_eq!(stage.connect().ask(&bob("/inner/a.txt")).body, b"inner");
    for path in ["/Inner/a.txt", "/x/../inner/a.txt", "//inner/a.txt"] {
        refused_but_kept(&stage, &get(path), 404);
    }
}

/// M8: a file is read.
pub fn m08_a_file_needs_read(world: &World) {
    for (allowed, status) in [
        (json!(["websocket.connect", "write"]), 403),
        (json!(["read"]), 200),
    ] {
        let acl = json!({"inherit": false, "entries": [{"role": "Everyone", "allow": allowed}]});
        let stage = guarded().set("/services/site/acl", acl).start(world);
        assert_eq!(stage.connect().ask(&bob("/app.js")).status, status, "{allowed}");
    }
    let stage = guarded()
        .set("/services/site/requireRoles", json!(["operators"]))
        .start(world);
    assert_eq!(stage.connect().ask(&bob("/absent")).status, 403);
    let alice = get("/app.js").basic(ALICE.0, ALICE.1);
    assert_eq!(stage.connect().ask(&alice).status, 200);
}

/// R17: files say no more than they are, and those of a realm are for who asked alone.
pub fn r17_files_are_hardened(world: &World) {
    for (setup, control, realm) in [
        (public(), "no-cache", false),
        (guarded(), "private, no-cache", true),
    ] {
        let stage = setup.set("/servers/0/hsts", "1 day").start(world);
        let mut client = stage.connect();
        let first = client.ask(&bob("/app.js"));
        let tag = first.one("ETag").unwrap().to_owned();
        let known = client.ask(&bob("/app.js").field("If-None-Match", &tag));
        let folder = client.ask(&bob("/deep"));
        for (answer, status) in [(first, 200), (known, 304), (folder, 303)] {
            assert_eq!(answer.status, status);
            assert_eq!(answer.one("X-Content-Type-Options"), Some("nosniff"));
            assert_eq!(answer.one("Strict-Transport-Security"), Some("max-age=86400"));
            assert_eq!(answer.one("Cache-Control"), Some(control));
            assert_eq!(answer.one("Vary"), realm.then_some("Authorization, Cookie"));
            assert_eq!(
                answer.one("Cross-Origin-Resource-Policy"),
                realm.then_some("same-origin")
            );
        }
    }
    let stage = with_form().start(world);
    let answer = stage
        .connect()
        .ask(&get(&format!("/app.js?t={}", stage.token("bob").text())));
    assert_eq!(
        (answer.status, answer.one("Cache-Control")),
        (200, Some("no-store"))
    );
    assert_eq!(answer.one("Referrer-Policy"), Some("no-referrer"));
    let answer = stage
        .connect()
        .ask(&get(&format!("/deep?t={}&x=1", stage.token("bob").text())));
    assert_eq!((answer.status, answer.one("Location")), (303, Some("/deep/?x=1")));
}

/// R11: pages elsewhere neither fetch nor embed a file.
pub fn r11_pages_elsewhere_do_not_fetch_files(world: &World) {
    let stage = guarded().start(world);
    refused(&stage, &bob("/app.js").origin("https://evil.example"), 403);
    let fetched = bob("/app.js").field("Sec-Fetch-Site", "cross-site");
    refused(&stage, &fetched.clone().field("Sec-Fetch-Mode", "no-cors"), 403);
    let link = fetched.field("Sec-Fetch-Mode", "navigate");
    assert_eq!(stage.connect().ask(&link).status, 200);
    assert_eq!(
        stage
            .connect()
            .ask(&bob("/app.js").origin("https://app.example"))
            .status,
        200
    );
}

/// E22: a person is led to the login and back; a program is told.
pub fn e22_a_browser_without_a_session_is_sent_to_the_login(world: &World) {
    let stage = with_form().start(world);
    let mut client = stage.connect();
    for (path, location) in [
        ("/", "/login?next=/"),
        ("/deep/?a=b&c", "/login?next=/deep/%3Fa%3Db%26c"),
        ("/deep/?t=&x=1", "/login?next=/deep/%3Fx%3D1"),
        ("/with%20space", "/login?next=/with%2520space"),
    ] {
        let answer = client.ask(&browser(path));
        assert_eq!(
            (answer.status, answer.one("Location")),
            (303, Some(location)),
            "{path}"
        );
        assert_eq!(
            (answer.one("Cache-Control"), answer.closes()),
            (Some("no-store"), false)
        );
        assert!(answer.all("WWW-Authenticate").is_empty());
    }
    // The login's page keeps where it was.
    let page = client.ask(&get("/login?next=/deep/%3Fa%3Db%26c"));
    assert!(String::from_utf8(page.body).unwrap().contains("/deep/?a=b&amp;c"));
    let told = [
        get("/"),
        get("/").field("Accept", "*/*"),
        get("/").field("Accept", "application/json"),
        get("/").field("Accept", "application/json, text/html;q=0"),
        browser("/").basic("bob", "wrong"),
        browser("/").bearer("x"),
        browser("/")
            .field("Upgrade", "websocket")
            .field("Connection", "Upgrade"),
        upgrade("/").field("Accept", "text/html"),
        upgrade("/api/ws")
            .origin("https://app.example")
            .field("Accept", "text/html"),
    ];
    for request in told {
        let answer = stage.connect().ask(&request);
        assert_eq!(
            (answer.status, answer.one("Location")),
            (401, None),
            "{request:?}"
        );
    }
    let cookie = log_in(&stage);
    let with = |cookie: &str| browser("/deep/").field("Cookie", cookie);
    assert_eq!(client.ask(&with(&cookie)).body, b"deep");
    // A session that has ended is none.
    let answer = client.ask(&with(&format!("__Host-session={}", "A".repeat(43))));
    assert_eq!(
        (answer.status, answer.one("Location")),
        (303, Some("/login?next=/deep/"))
    );
    // Without a form there is nowhere to go.
    let stage = guarded().start(world);
    assert_eq!(stage.connect().ask(&browser("/")).status, 401);
    let decision = &stage.decisions(1)[0];
    assert_eq!(decision.reason.code(), "no_credential");
}

/// E22, E10: who is nobody yet and lacks a role may log in.
pub fn e22_an_anonymous_browser_may_log_in(world: &World) {
    let stage = with_form()
        .realm("anonymous", json!({"roles": []}))
        .set("/services/site/requireRoles", json!(["operators"]))
        .start(world);
    let answer = stage.connect().ask(&browser("/app.js"));
    assert_eq!(
        (answer.status, answer.one("Location")),
        (303, Some("/login?next=/app.js"))
    );
    assert_eq!(stage.connect().ask(&get("/app.js")).status, 401);
    assert_eq!(
        stage
            .connect()
            .ask(&browser("/app.js").basic(BOB.0, BOB.1))
            .status,
        403
    );
}

/// B1: a ticket opens one file once.
pub fn b01_a_ticket_reads_a_file(world: &World) {
    let stage = guarded().realm("tickets", json!({})).start(world);
    let body = json!({"endpoint": "/app.js"}).to_string();
    let request = get("/ticket")
        .method("POST")
        .bearer(&stage.token("alice").text())
        .field("Content-Type", "application/json")
        .field("Content-Length", &body.len().to_string())
        .then(body.as_bytes());
    let answer = stage.connect().ask(&request);
    let answer: Value = serde_json::from_slice(&answer.body).unwrap();
    let target = format!("/app.js?ticket={}", answer["ticket"].as_str().unwrap());
    assert_eq!(fetch(&mut stage.connect(), &target).body, b"let a;");
    assert_eq!(stage.connect().ask(&get(&target)).status, 401);
}

/// E16: a folder is looked at when it is asked for.
pub fn e16_files_change_without_a_reload(world: &World) {
    let stage = public().start(world);
    let mut client = stage.connect();
    fetch(&mut client, "/app.js");
    stage.replace("site/app.js", b"let b = 1;");
    stage.replace("site/new.txt", b"new");
    assert_eq!(fetch(&mut client, "/app.js").body, b"let b = 1;");
    assert_eq!(fetch(&mut client, "/new.txt").body, b"new");
}

/// E18: nothing begins during a shutdown.
pub fn e18_a_file_during_a_shutdown_is_503(world: &World) {
    let stage = public().start(world);
    let mut client = stage.connect();
    client.open(&upgrade("/api/ws").bearer(&stage.token("alice").text()));
    stage.drain();
    client.expect_close_frame(1001, "server shutting down");
    assert!(refused(&stage, &get("/app.js"), 503).one("Retry-After").is_some());
}

/// M18: what is wrong with a folder is told before anything is served.
pub fn m18_folders_that_cannot_be_served_do_not_load(world: &World) {
    if world.kind() != Kind::Sim {
        return;
    }
    let folder = |name: &str| public().set("/services/site/directory", name);
    let at = "services.site.directory: ";
    for (setup, said) in [
        (folder("absent"), "there is no such folder"),
        (folder("site/app.js"), "this is no folder"),
        (folder("."), "would serve"),
        (
            folder("site")
                .jwt(
                    "verification",
                    json!({"secret": {"HS256": {"keyFile": "site/secret.key"}}}),
                )
                .file("site/secret.key", crate::keys::SECRET),
            "would serve \"secret.key\"",
        ),
        (
            public().unset("/services/site/directory"),
            "\"directory\" is required",
        ),
    ] {
        let error = load_error(&setup);
        assert!(error.contains(said) && error.contains("services.site"), "{error}");
    }
    let other = |access: &str, value: Value, folder: &str| {
        let service = json!({"type": "directory", "accept": "/other", "directory": folder, "origins": []});
        let setup = public().set("/services/other", service);
        setup.set(&format!("/services/other/{access}"), value)
    };
    for nested in ["site", "site/deep", "site/deep/er"] {
        let error = load_error(&other("realm", json!("demo"), nested));
        assert!(error.contains(at) && error.contains("\"other\""), "{error}");
        other("public", json!(true), nested).load().unwrap();
    }
    let apart = other("realm", json!("demo"), "apart").file("apart/x", "");
    apart.load().unwrap();
}
