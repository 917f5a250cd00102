//! Request heads: what is refused, with which status, and that it closes.

use std::time::Duration;

use super::{closed_after, refused};
use crate::client::{End, Response, get, upgrade};
use crate::world::{Setup, Stage, World};

/// Heads that are wrong, and the status that says so (R2). `H` stands for a right Host line.
const MALFORMED: &[(&str, &str, u16)] = &[
    ("bare LF", "GET /api/ws HTTP/1.1\r\nHost: localhost\n\r\n", 400),
    (
        "bare LF in the request line",
        "GET /api/ws HTTP/1.1\nHost: localhost\r\n\r\n",
        400,
    ),
    (
        "bare CR in a value",
        "GET /api/ws HTTP/1.1\r\nH\r\nX: a\rb\r\n\r\n",
        400,
    ),
    ("CR CR LF", "GET /api/ws HTTP/1.1\r\r\nH\r\n\r\n", 400),
    (
        "NUL in a value",
        "GET /api/ws HTTP/1.1\r\nH\r\nX: a\0b\r\n\r\n",
        400,
    ),
    (
        "control byte in a value",
        "GET /api/ws HTTP/1.1\r\nH\r\nX: a\x01b\r\n\r\n",
        400,
    ),
    (
        "DEL in a value",
        "GET /api/ws HTTP/1.1\r\nH\r\nX: a\x7fb\r\n\r\n",
        400,
    ),
    (
        "space before the colon",
        "GET /api/ws HTTP/1.1\r\nHost : localhost\r\n\r\n",
        400,
    ),
    (
        "space before the colon of a coding",
        "GET /api/ws HTTP/1.1\r\nH\r\nTransfer-Encoding : chunked\r\n\r\n",
        400,
    ),
    (
        "leading space",
        "GET /api/ws HTTP/1.1\r\n Host: localhost\r\n\r\n",
        400,
    ),
    (
        "folded line",
        "GET /api/ws HTTP/1.1\r\nH\r\nAuthorization: Bearer\r\n x\r\n\r\n",
        400,
    ),
    ("bad name", "GET /api/ws HTTP/1.1\r\nH\r\nX(y): a\r\n\r\n", 400),
    ("empty name", "GET /api/ws HTTP/1.1\r\nH\r\n: a\r\n\r\n", 400),
    ("no colon", "GET /api/ws HTTP/1.1\r\nH\r\nnothing\r\n\r\n", 400),
    (
        "length and coding",
        "POST /api/ws HTTP/1.1\r\nH\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        400,
    ),
    (
        "two lengths",
        "POST /api/ws HTTP/1.1\r\nH\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        400,
    ),
    (
        "signed length",
        "POST /api/ws HTTP/1.1\r\nH\r\nContent-Length: +5\r\n\r\n",
        400,
    ),
    (
        "list of lengths",
        "POST /api/ws HTTP/1.1\r\nH\r\nContent-Length: 5,5\r\n\r\n",
        400,
    ),
    (
        "list of two lengths",
        "POST /api/ws HTTP/1.1\r\nH\r\nContent-Length: 5, 6\r\n\r\n",
        400,
    ),
    (
        "coding on HTTP/1.0",
        "POST /api/ws HTTP/1.0\r\nH\r\nTransfer-Encoding: chunked\r\n\r\n",
        400,
    ),
    (
        "chunked not last",
        "POST /api/ws HTTP/1.1\r\nH\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
        400,
    ),
    (
        "xchunked",
        "POST /api/ws HTTP/1.1\r\nH\r\nTransfer-Encoding: xchunked\r\n\r\n",
        400,
    ),
    (
        "another coding before chunked",
        "POST /api/ws HTTP/1.1\r\nH\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        501,
    ),
    ("no Host", "GET /api/ws HTTP/1.1\r\nX: a\r\n\r\n", 400),
    ("Host twice", "GET /api/ws HTTP/1.1\r\nH\r\nH\r\n\r\n", 400),
    (
        "bad Host",
        "GET /api/ws HTTP/1.1\r\nHost: local host\r\n\r\n",
        400,
    ),
    (
        "Host with a path",
        "GET /api/ws HTTP/1.1\r\nHost: localhost/x\r\n\r\n",
        400,
    ),
    (
        "Host with a bad port",
        "GET /api/ws HTTP/1.1\r\nHost: localhost:8x\r\n\r\n",
        400,
    ),
    (
        "absolute form of another host",
        "GET http://other/api/ws HTTP/1.1\r\nH\r\n\r\n",
        400,
    ),
    (
        "Host that is not served",
        "GET /api/ws HTTP/1.1\r\nHost: other.example\r\n\r\n",
        421,
    ),
    ("fragment", "GET /api/ws#x HTTP/1.1\r\nH\r\n\r\n", 400),
    ("bad percent escape", "GET /api/%zz HTTP/1.1\r\nH\r\n\r\n", 400),
    ("cut percent escape", "GET /api/%4 HTTP/1.1\r\nH\r\n\r\n", 400),
    ("bad byte in the path", "GET /api/<ws> HTTP/1.1\r\nH\r\n\r\n", 400),
    (
        "bad byte in the query",
        "GET /api/ws?a=\"b\" HTTP/1.1\r\nH\r\n\r\n",
        400,
    ),
    (
        "byte over 127 in the path",
        "GET /api/w\u{e9} HTTP/1.1\r\nH\r\n\r\n",
        400,
    ),
    ("two spaces", "GET  /api/ws HTTP/1.1\r\nH\r\n\r\n", 400),
    ("HTTP/0.9", "GET /api/ws\r\n\r\n", 400),
    ("version in lower case", "GET /api/ws http/1.1\r\nH\r\n\r\n", 400),
    ("version that is none", "GET /api/ws HTTP/1\r\nH\r\n\r\n", 400),
    ("major version 2", "GET /api/ws HTTP/2.0\r\nH\r\n\r\n", 505),
    ("major version 3", "GET /api/ws HTTP/3.0\r\nH\r\n\r\n", 505),
    ("unknown method", "BREW /api/ws HTTP/1.1\r\nH\r\n\r\n", 501),
    (
        "unknown method, unknown route",
        "BREW /nowhere HTTP/1.1\r\nH\r\n\r\n",
        501,
    ),
    ("method in lower case", "get /api/ws HTTP/1.1\r\nH\r\n\r\n", 501),
    (
        "method that is no token",
        "G(T /api/ws HTTP/1.1\r\nH\r\n\r\n",
        400,
    ),
    (
        "POST",
        "POST /api/ws HTTP/1.1\r\nH\r\nContent-Length: 0\r\n\r\n",
        405,
    ),
    ("no upgrade", "GET /api/ws HTTP/1.1\r\nH\r\n\r\n", 426),
];

/// Returns heads that are wrong, each with its name and the status that says so.
pub fn malformed() -> impl Iterator<Item = (&'static str, Vec<u8>, u16)> {
    MALFORMED
        .iter()
        .map(|(name, head, status)| {
            (
                *name,
                head.replace("\r\nH\r\n", "\r\nHost: localhost\r\n"),
                *status,
            )
        })
        .map(|(name, head, status)| {
            (
                name,
                head.replace("\r\nH\r\n", "\r\nHost: localhost\r\n").into_bytes(),
                status,
            )
        })
}

/// R2: what is wrong with a head is answered, and the connection ends behind the answer.
pub fn r02_malformed_heads_are_refused_and_close(world: &World) {
    let stage = Setup::standard().start(world);
    for (name, head, status) in malformed() {
        let mut client = stage.connect();
        client.send(&head);
        let (bytes, end) = client.read_to_end();
        let answer = sole(name, &bytes);
        assert_eq!((answer.status, end), (status, End::Eof), "{name}: {answer:?}");
        assert!(answer.closes(), "{name} is not announced to close");
    }
}

/// R2: a client that shuts down its writing right behind the head is answered the same.
pub fn r02_malformed_heads_are_refused_after_half_close(world: &World) {
    let stage = Setup::standard().start(world);
    for (name, head, status) in malformed() {
        let mut client = stage.connect();
        client.send(&head);
        client.half_close();
        let (bytes, end) = client.read_to_end();
        let answer = sole(name, &bytes);
        assert_eq!((answer.status, end), (status, End::Eof), "{name}: {answer:?}");
    }
}

/// R2: no malformed head draws a challenge or a credential check.
pub fn r02_malformed_heads_draw_no_challenge(world: &World) {
    let stage = Setup::standard().start(world);
    for (name, head, _) in malformed() {
        let mut client = stage.connect();
        client.send(&head);
        let answer = client.expect_response();
        assert!(answer.all("WWW-Authenticate").is_empty(), "{name}: {answer:?}");
    }
}

fn sole(name: &str, bytes: &[u8]) -> Response {
    let answer = Response::read(bytes, false).unwrap_or_else(|| panic!("{name}: no answer in {bytes:?}"));
    assert_eq!(answer.raw.len(), bytes.len(), "{name}: more than one answer");
    answer
}

/// R2: a bare LF does not end a line.
pub fn r02_bare_lf_is_400(world: &World) {
    let stage = Setup::standard().start(world);
    let mut client = stage.connect();
    client.send(b"GET /api/ws HTTP/1.1\nHost: localhost\n\n");
    assert_eq!(closed_after(&mut client).status, 400);
}

/// R2, reference I: the preface of HTTP/2 is answered as soon as its line ends.
pub fn r02_http2_preface_is_505(world: &World) {
    let stage = Setup::standard().start(world);
    let mut client = stage.connect();
    client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    let answer = closed_after(&mut client);
    let reference =
        "HTTP/1.1 505 HTTP Version Not Supported\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(answer.masked(), reference);
}

/// R2, reference G: another method than GET.
pub fn r02_post_is_405(world: &World) {
    let stage = Setup::standard().start(world);
    let answer = refused(&stage, &get("/api/ws").method("POST"), 405);
    let reference =
        "HTTP/1.1 405 Method Not Allowed\r\nAllow: GET\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(answer.masked(), reference);
}

/// R2: a path that is not canonical is no route, before any route is looked up, and no credential
/// is asked for.
pub fn r02_paths_that_are_not_canonical_are_404(world: &World) {
    let stage = Setup::standard().start(world);
    let paths = [
        "//api/ws",
        "/api//ws",
        "/api/./ws",
        "/api/../api/ws",
        "/api/ws/..",
        "/api/%2e/ws",
        "/api/%2E%2e/ws",
        "/api%2Fws",
        "/api%2fws",
        "/api%5Cws",
        "/api/ws%00",
        "/api/ws%0a",
        "/api/ws%7f",
    ];
    for path in paths {
        assert_eq!(first_answer(&stage, path).status, 404, "{path}");
    }
}

/// R2: escapes of unreserved characters are decoded once, before routing.
pub fn r02_unreserved_escapes_are_decoded_once(world: &World) {
    let stage = Setup::standard().start(world);
    assert_eq!(first_answer(&stage, "/%61pi/w%73").status, 401);
    assert_eq!(first_answer(&stage, "/%2561pi/ws").status, 404);
}

fn first_answer(stage: &Stage, path: &str) -> Response {
    stage.connect().ask(&upgrade(path))
}

/// R2: an unknown path keeps the connection, and the next request on it can upgrade.
pub fn r02_no_route_is_404_and_keeps(world: &World) {
    let stage = Setup::standard().start(world);
    let mut client = stage.connect();
    for path in ["/nowhere", "/api/ws/", "/API/ws", "/api"] {
        let answer = client.ask(&upgrade(path));
        assert_eq!((answer.status, answer.closes()), (404, false), "{path}");
        assert_eq!(answer.body, b"not found\n");
    }
    client.open(&upgrade("/api/ws").bearer(&stage.token("alice").text()));
}

/// R2: the absolute form of the right host is the same request.
pub fn r02_absolute_form_is_the_same_request(world: &World) {
    let stage = Setup::standard().start(world);
    let request = upgrade("http://localhost/api/ws").bearer(&stage.token("alice").text());
    stage.connect().open(&request);
}

/// RFC 9112 section 2.2: one empty line before a request is skipped, two are not.
pub fn r02_one_leading_empty_line_is_skipped(world: &World) {
    let stage = Setup::standard().start(world);
    let request = upgrade("/api/ws").bytes();
    let mut client = stage.connect();
    client.send(&[b"\r\n", request.as_slice()].concat());
    assert_eq!(client.expect_response().status, 401);
    let mut client = stage.connect();
    client.send(&[b"\r\n\r\n", request.as_slice()].concat());
    assert_eq!(closed_after(&mut client).status, 400);
}

/// R2: a request line over the limit is answered before its end is seen.
pub fn r02_long_request_line_is_414(world: &World) {
    let stage = Setup::standard().limit("requestLineBytes", 200).start(world);
    let mut client = stage.connect();
    client.send(format!("GET /{}", "a".repeat(300)).as_bytes());
    assert_eq!(closed_after(&mut client).status, 414);
    assert_eq!(first_answer(&stage, &format!("/{}", "a".repeat(150))).status, 404);
}

/// R2: a head over the limit is answered before its end is seen; M3's token of 100 kB is one.
pub fn r02_large_head_is_431(world: &World) {
    let stage = Setup::standard().start(world);
    let mut client = stage.connect();
    client.send(
        format!(
            "GET /api/ws HTTP/1.1\r\nHost: localhost\r\nX: {}",
            "a".repeat(17_000)
        )
        .as_bytes(),
    );
    assert_eq!(closed_after(&mut client).status, 431);
    let mut client = stage.connect();
    client.send(&upgrade("/api/ws").bearer(&"a".repeat(100_000)).bytes());
    assert_eq!(closed_after(&mut client).status, 431);
    assert_eq!(
        stage
            .connect()
            .ask(&upgrade("/api/ws").field("X", &"a".repeat(15_000)))
            .status,
        401
    );
}

/// R2: more than a hundred fields are too many.
pub fn r02_too_many_fields_are_431(world: &World) {
    let stage = Setup::standard().start(world);
    let many = (0..120).fold(upgrade("/api/ws"), |request, _| request.field("X", "a"));
    assert_eq!(refused(&stage, &many, 431).status, 431);
}

/// R2: a head that is not complete in time is 408, but a peer that said nothing is not answered.
pub fn r02_incomplete_head_is_408_and_silence_is_not_answered(world: &World) {
    let stage = Setup::standard().limit("headTimeout", "200 ms").start(world);
    let mut silent = stage.connect();
    let mut slow = stage.connect();
    slow.send(b"GET /api/ws HT");
    assert_eq!(closed_after(&mut slow).status, 408);
    silent.expect_eof();
}

/// R2: dribbling bytes does not move the time by which the head must be complete.
pub fn r02_dribbling_does_not_extend_the_head_timeout(world: &World) {
    let stage = Setup::standard().limit("headTimeout", "300 ms").start(world);
    let mut client = stage.connect();
    for byte in b"GET /api/ws" {
        client.send(&[*byte]);
        client.expect_silence(Duration::from_millis(10));
    }
    let start = stage.unix();
    assert_eq!(closed_after(&mut client).status, 408);
    assert!(stage.unix().since(start) < Duration::from_millis(280));
}

/// R7: a kept connection that says nothing more ends silently.
pub fn r07_kept_connection_ends_silently_when_unused(world: &World) {
    let stage = Setup::standard().limit("keepAliveTimeout", "200 ms").start(world);
    let mut client = stage.connect();
    assert_eq!(client.ask(&upgrade("/nowhere")).status, 404);
    client.expect_eof();
}
