//! Whole heads: the table of R2, the limits, and that no split of the bytes changes anything.

#![allow(clippy::unwrap_used)]

use super::*;

const LIMITS: HeadLimits = HeadLimits {
    request_line: 8192,
    head: 16384,
};

/// Feeds `bytes` in portions of the given sizes, the last one repeating, up to the end of the head.
fn feed(bytes: &[u8], limits: HeadLimits, sizes: &[usize]) -> (Result<RequestHead, HeadError>, usize) {
    let mut scanner = HeadScanner::new(limits);
    let (mut rest, mut used, mut sizes) = (bytes, 0, sizes.iter().copied());
    let mut size = rest.len();
    while !rest.is_empty() {
        size = sizes.next().unwrap_or(size).clamp(1, rest.len());
        let (portion, behind) = rest.split_at(size);
        match scanner.push(portion) {
            Scan::More => used += portion.len(),
            Scan::Done { used: last } => return (scanner.finish(), used + last),
            Scan::Bad(error) => return (Err(error), 0),
        }
        rest = behind;
    }
    (scanner.finish(), used)
}

/// Everything that a head says, as text.
fn shown(result: &(Result<RequestHead, HeadError>, usize)) -> String {
    match result {
        (Err(error), _) => format!("{error:?}"),
        (Ok(head), used) => format!(
            "{used} {:?} {:?} {} {:?} {:?} {:?} {:?} {}",
            head.method(),
            head.version(),
            head.target().as_str(),
            head.host(),
            head.body(),
            head.fields().iter().collect::<Vec<_>>(),
            head.wants_close(),
            head.wants_websocket(),
        ),
    }
}

fn parse(head: &str) -> Result<RequestHead, HeadError> {
    RequestHead::parse(head.as_bytes(), LIMITS)
}

fn code(head: &str) -> u16 {
    parse(head).map_or_else(|error| error.status().code(), |_| 0)
}

/// The status of a GET with Host and these fields, 0 if it passes.
fn with(fields: &str) -> u16 {
    code(&format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"))
}

/// A head, and the status that refuses it; 0 if it passes.
const CORPUS: &[(&str, u16)] = &[
    ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 0),
    ("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 0),
    (
        "GET /x?y=%41 HTTP/1.1\r\nHost: a:1\r\nX:\ty z \r\nY:\r\n\r\nbehind\r\n\r\n",
        0,
    ),
    ("GET / HTTP/1.0\r\n\r\n", 0),
    ("GET / HTTP/1.5\r\nHost: a\r\n\r\n", 0),
    ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 0),
    ("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 0),
    ("GET http://[::1]:80/ HTTP/1.1\r\nHost: [::1]\r\n\r\n", 0),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        0,
    ),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: caf\u{e9}\r\n\r\n", 0),
    ("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    (" GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET / HTTP/1.1\nHost: a\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\n\n", 400),
    ("GET / HTTP/1.1\rHost: a\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHo\rst: a\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\n\r\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: a\x01b\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: a\x7Fb\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\n Host: x\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\n\tHost: x\r\n\r\n", 400),
    (
        "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer\r\n x\r\n\r\n",
        400,
    ),
    ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nX\t: a\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\n: a\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nX(Y): a\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nX\u{e9}: a\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nnocolon\r\n\r\n", 400),
    ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET /  HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400),
    ("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET /\r\nHost: a\r\n\r\n", 400),
    ("GET / \r\nHost: a\r\n\r\n", 400),
    ("GET\r\n\r\n", 400),
    ("GET / http/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET / HTTP/1\r\nHost: a\r\n\r\n", 400),
    ("GET / HTTP/1.\r\nHost: a\r\n\r\n", 400),
    ("GET / HTTP/11\r\nHost: a\r\n\r\n", 400),
    ("GET / HTTP/1.10\r\nHost: a\r\n\r\n", 400),
    ("GET / HTTP/10.1\r\nHost: a\r\n\r\n", 400),
    ("GET / HTTP/0.9\r\nHost: a\r\n\r\n", 400),
    ("GET / HTTPS/1.1\r\nHost: a\r\n\r\n", 400),
    ("G@T / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET /a%4 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET /a%zz HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET /[a] HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET http://a/[b] HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET http://a?[b] HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    ("GET / HTTP/2.0\r\n", 505),
    ("GET / HTTP/3.7\r\nHost: a\r\n\r\n", 505),
    ("BREW / HTTP/9.9\r\n", 505),
    ("PROPFIND / HTTP/1.1\r\nHost: a\r\n\r\n", 501),
    ("get / HTTP/1.1\r\nHost: a\r\n\r\n", 501),
    ("PRI * HTTP/1.1\r\n\r\n", 501),
    ("BREW /\r\n", 400),
];

#[test]
fn r02_corpus() {
    for (head, expected) in CORPUS {
        assert_eq!(code(head), *expected, "{head:?}");
    }
}

#[test]
fn m02_no_split_changes_anything() {
    let small = HeadLimits {
        request_line: 20,
        head: 60,
    };
    let edges = [
        "GET /aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa HTTP/1.1\r\n",
        "GET /aaaaaa HTTP/1.1\r\nHost: a\r\nX: aaaaaaaaaaaaaaaaaaaaaaaa\r\n\r\n",
        "GET /aaaaaa HTTP/1.1\r\nHost: a\r\nX: aaaaaaaaaaaaaaaaaaaaaaaaa\r\n\r\n",
        "GET /aaaaaaa HTTP/1.1\nx",
    ];
    let heads = CORPUS.iter().map(|(head, _)| *head).chain(edges);
    for head in heads {
        for limits in [LIMITS, small] {
            let bytes = head.as_bytes();
            let whole = shown(&feed(bytes, limits, &[bytes.len()]));
            assert_eq!(shown(&feed(bytes, limits, &[1])), whole, "{head:?} byte by byte");
            for at in 1..bytes.len() {
                let split = feed(bytes, limits, &[at, bytes.len()]);
                assert_eq!(shown(&split), whole, "{head:?} at {at}");
            }
        }
    }
}

#[test]
fn r02_the_first_offending_byte_decides() {
    let long = "a".repeat(9000);
    assert_eq!(code(&format!("GET /\"{long}")), 400);
    assert_eq!(code(&format!("GET /{long}\"")), 414);
    assert_eq!(code(&format!("GET /{long} HTTP/2.0\r\n")), 414);
    assert_eq!(code("GET /\" HTTP/2.0\r\n"), 400);
    assert_eq!(code("GET / HTTP/2.0\r\n bad\n"), 505);
    assert_eq!(with(&format!("X: {long}{long}\0")), 431);
    assert_eq!(with(&format!("X: \0{long}{long}")), 400);
    // The method is judged with the complete head, and before Host.
    assert_eq!(code("BREW / HTTP/1.1\r\nX : a\r\n\r\n"), 400);
    assert_eq!(code("BREW / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"), 501);
    assert_eq!(code("BREW * HTTP/1.1\r\n\r\n"), 501);
}

#[test]
fn r02_request_line_limit() {
    let line = |length: usize| format!("GET /{} HTTP/1.1", "a".repeat(length - 14));
    let head = |length| format!("{}\r\nHost: a\r\n\r\n", line(length));
    assert_eq!(line(8192).len(), 8192);
    assert_eq!(code(&head(8191)), 0);
    assert_eq!(code(&head(8192)), 0);
    assert_eq!(code(&head(8193)), 414);
    // Before the end of the line is seen, and not a byte earlier.
    let mut scanner = HeadScanner::new(LIMITS);
    assert_eq!(scanner.push(&line(9000).as_bytes()[..8192]), Scan::More);
    assert_eq!(
        scanner.push(b"a"),
        Scan::Bad(HeadError::RequestLineTooLong { limit: 8192 })
    );
    // The empty line before it does not count.
    assert_eq!(code(&format!("\r\n{}", head(8192))), 0);
    assert_eq!(code(&"A".repeat(8193)), 414);
}

#[test]
fn r02_head_limit() {
    let head = |length: usize| {
        let start = "GET / HTTP/1.1\r\nHost: a\r\nX: ";
        format!("{start}{}\r\n\r\n", "a".repeat(length - start.len() - 4))
    };
    assert_eq!(head(16384).len(), 16384);
    assert_eq!(code(&head(16383)), 0);
    assert_eq!(code(&head(16384)), 0);
    assert_eq!(code(&head(16385)), 431);
    assert_eq!(code(&format!("\r\n{}", head(16384))), 0);
    // A token of 100 kB.
    assert_eq!(
        with(&format!("Authorization: Bearer {}\r\n", "a".repeat(100_000))),
        431
    );
}

#[test]
fn r02_field_limit() {
    let fields = |count: usize| with(&"a:\r\n".repeat(count - 1));
    assert_eq!(fields(FIELD_LIMIT - 1), 0);
    assert_eq!(fields(FIELD_LIMIT), 0);
    assert_eq!(fields(FIELD_LIMIT + 1), 431);
    assert_eq!(with(&("a:\r\n".repeat(FIELD_LIMIT - 1) + " b:\r\n")), 400);
}

#[test]
fn r02_content_length() {
    for (fields, expected) in [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", 400),
        ("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", 400),
        ("Content-Length: +5\r\n", 400),
        ("Content-Length: -5\r\n", 400),
        ("Content-Length: 5,5\r\n", 400),
        ("Content-Length: 5, 6\r\n", 400),
        ("Content-Length: 5\r\nContent-Length: 5\r\n", 400),
        ("Content-Length: 5\r\nContent-Length: 6\r\n", 400),
        ("Content-Length:\r\n", 400),
        ("Content-Length: 0x5\r\n", 400),
        ("Content-Length: 5 5\r\n", 400),
        ("Content-Length: 18446744073709551616\r\n", 400),
        ("Content-Length: 18446744073709551615\r\n", 0),
        ("Content-Length: 0\r\n", 0),
    ] {
        assert_eq!(with(fields), expected, "{fields}");
    }
    let body = |fields: &str| {
        parse(&format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"))
            .unwrap()
            .body()
    };
    assert_eq!(body("content-length: \t5 \r\n"), BodyLength::Length(5));
    assert_eq!(body("Transfer-Encoding: Chunked\r\n"), BodyLength::Chunked);
    assert_eq!(body(""), BodyLength::None);
}

#[test]
fn r02_transfer_encoding() {
    for (fields, expected) in [
        ("Transfer-Encoding: chunked\r\n", 0),
        ("Transfer-Encoding : chunked\r\n", 400),
        ("Transfer-Encoding: xchunked\r\n", 400),
        ("Transfer-Encoding: chunked;a=b\r\n", 400),
        ("Transfer-Encoding: \"chunked\"\r\n", 400),
        ("Transfer-Encoding: gzip\r\n", 400),
        ("Transfer-Encoding: identity\r\n", 400),
        ("Transfer-Encoding: chunked, identity\r\n", 400),
        ("Transfer-Encoding: chunked,\r\n", 400),
        ("Transfer-Encoding: ,chunked\r\n", 400),
        ("Transfer-Encoding:\r\n", 400),
        ("Transfer-Encoding: \x0Bchunked\r\n", 400),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
            400,
        ),
        ("Transfer-Encoding: gzip, chunked\r\n", 501),
        ("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", 501),
        ("Transfer-Encoding: chunked, chunked\r\n", 501),
    ] {
        assert_eq!(with(fields), expected, "{fields}");
    }
    assert_eq!(code("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), 400);
}

#[test]
fn r02_host() {
    for (head, expected) in [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: http://a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a:x\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: caf\u{e9}\r\n\r\n", 400),
        ("GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n", 400),
        ("GET http://a:81/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET http://a/ HTTP/1.1\r\n\r\n", 400),
        ("GET http://A./ HTTP/1.1\r\nHost: a:80\r\n\r\n", 0),
        ("GET https://a:443/ HTTP/1.1\r\nHost: a\r\n\r\n", 0),
        ("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/1.0\r\nHost: a/b\r\n\r\n", 400),
    ] {
        assert_eq!(code(head), expected, "{head:?}");
    }
    assert!(parse("GET / HTTP/1.0\r\n\r\n").unwrap().host().is_none());
    let old = parse("GET http://a/ HTTP/1.0\r\n\r\n").unwrap();
    assert_eq!(old.host().unwrap().name(), "a");
}

#[test]
fn r02_framing_comes_before_host() {
    assert_eq!(
        code("GET / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"),
        501
    );
}

#[test]
fn wanting_websocket_needs_whole_members() {
    let wants = |fields: &str| {
        parse(&format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"))
            .unwrap()
            .wants_websocket()
    };
    for (fields, expected) in [
        ("Upgrade: websocket\r\nConnection: Upgrade\r\n", true),
        ("Upgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n", true),
        ("Upgrade: h2c, websocket\r\nConnection: upgrade\r\n", true),
        (
            "Upgrade: h2c\r\nUpgrade: websocket\r\nConnection: a\r\nConnection: upgrade\r\n",
            true,
        ),
        ("Upgrade: h2c\r\nConnection: Upgrade\r\n", false),
        ("Upgrade: websocketx\r\nConnection: Upgrade\r\n", false),
        ("Upgrade: websocket/13\r\nConnection: Upgrade\r\n", false),
        ("Upgrade: websocket\r\nConnection: xupgrade\r\n", false),
        ("Upgrade: websocket\r\n", false),
        ("Connection: Upgrade\r\n", false),
    ] {
        assert_eq!(wants(fields), expected, "{fields}");
    }
    let old = parse("GET / HTTP/1.0\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n").unwrap();
    assert!(!old.wants_websocket() && old.wants_close());
    let closing = parse("GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n").unwrap();
    assert!(closing.wants_close());
    assert!(!parse("GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap().wants_close());
}

#[test]
fn higher_minor_versions_are_read_as_1_1() {
    let head = parse("\r\nGET / HTTP/1.9\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!(head.version(), Version::Http11);
    assert_eq!(
        parse("GET / HTTP/1.0\r\n\r\n").unwrap().version(),
        Version::Http10
    );
}

/// Says whether httparse reads the same in these bytes as `head` does.
fn is_read_alike(bytes: &[u8], head: &RequestHead) -> bool {
    let bytes = bytes.strip_prefix(b"\r\n").unwrap_or(bytes);
    // Minor versions beyond 1 are read as 1 here, and not known there.
    let first = bytes.iter().position(|byte| *byte == b'\r').unwrap();
    let mut known = bytes.to_vec();
    if known[first - 1] != b'0' {
        known[first - 1] = b'1';
    }
    let mut slots = [httparse::EMPTY_HEADER; FIELD_LIMIT];
    let mut other = httparse::Request::new(&mut slots);
    let Ok(httparse::Status::Complete(_)) = other.parse(&known) else {
        return false;
    };
    let fields = other
        .headers
        .iter()
        .map(|field| (field.name, syntax::trim_ows(field.value)));
    other.method == Some(head.method().as_str())
        && other.path == Some(head.target().as_str())
        && fields.eq(head.fields().iter())
}

/// The scanner must take less than httparse does: then a head means the same to both.
#[test]
fn a_head_that_passes_means_the_same_to_httparse() {
    for byte in 0..=255u8 {
        for (before, behind) in [
            (&b"GET /a"[..], &b"b HTTP/1.1\r\nHost: a\r\n\r\n"[..]),
            (b"GET http://a", b"/ HTTP/1.1\r\nHost: a\r\n\r\n"),
            (b"GE", b"T / HTTP/1.1\r\nHost: a\r\n\r\n"),
            (b"GET / HTTP/1.", b"\r\nHost: a\r\n\r\n"),
            (b"GET / HTTP/1.1\r\nHost: a\r\nX", b"Y: a\r\n\r\n"),
            (b"GET / HTTP/1.1\r\nHost: a\r\nX: a", b"b\r\n\r\n"),
            (b"GET / HTTP/1.1\r\nHost: a\r\nX:", b"\r\n\r\n"),
            (b"GET / HTTP/1.1\r\n", b"Host: a\r\n\r\n"),
            (b"", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ] {
            let head = [before, &[byte], behind].concat();
            match RequestHead::parse(&head, LIMITS) {
                Ok(read) => assert!(is_read_alike(&head, &read), "{head:?}"),
                Err(error) => assert_ne!(error, HeadError::Unparsable, "{head:?}"),
            }
        }
    }
}

/// Every head of the corpus with every byte replaced by every byte that means something somewhere.
#[test]
fn m02_no_split_changes_a_mutated_head() {
    for (head, _) in CORPUS {
        for at in 0..head.len() {
            for byte in *b"\0\t\n\r :/?%#[]*a1H,\x7F\x80" {
                let mut bytes = head.as_bytes().to_vec();
                bytes[at] = byte;
                let whole = feed(&bytes, LIMITS, &[bytes.len()]);
                match &whole.0 {
                    Ok(read) => assert!(is_read_alike(&bytes, read), "{bytes:?}"),
                    Err(error) => assert_ne!(*error, HeadError::Unparsable, "{bytes:?}"),
                }
                assert_eq!(shown(&feed(&bytes, LIMITS, &[1])), shown(&whole), "{bytes:?}");
            }
        }
    }
}
