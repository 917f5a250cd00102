#![allow(clippy::unwrap_used)]

use super::*;

fn scanner() -> HeadScanner {
    HeadScanner::new(HeadLimits::default())
}

#[test]
fn every_byte_is_looked_at_once() {
    let head = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(10_000));
    let mut dribble = scanner();
    let mut allocations = 0;
    for byte in head.as_bytes() {
        let before = dribble.buffer.0.capacity();
        let _ = dribble.push(&[*byte]);
        allocations += usize::from(dribble.buffer.0.capacity() != before);
    }
    assert_eq!(dribble.seen, head.len());
    assert!(allocations <= 6, "doubling from 512 bytes: {allocations}");
    let mut whole = scanner();
    assert_eq!(whole.push(head.as_bytes()), Scan::Done { used: head.len() });
    assert_eq!(whole.seen, head.len());
    assert_eq!(*whole.buffer.0, *dribble.buffer.0);
}

#[test]
fn memory_follows_what_arrived_and_ends_at_the_limit() {
    let mut scanner = scanner();
    assert_eq!(scanner.buffer.0.capacity(), 0);
    let _ = scanner.push(b"GET / HTTP/1.1\r\n");
    assert!(scanner.buffer.0.capacity() <= 1024);
    for _ in 0..20_000 {
        let _ = scanner.push(b"a:b\r\n");
        assert!(scanner.buffer.0.capacity() <= HeadLimits::default().head + 4);
    }
    let flood = vec![b'a'; 1 << 20];
    let mut scanner = HeadScanner::new(HeadLimits::default());
    assert!(matches!(scanner.push(&flood), Scan::Bad(_)));
    assert!(scanner.buffer.0.is_empty() && scanner.buffer.0.capacity() == 0);
}

#[test]
fn an_empty_line_alone_is_no_head() {
    let mut scanner = scanner();
    assert!(!scanner.has_bytes());
    assert_eq!(scanner.push(b"\r"), Scan::More);
    assert!(!scanner.has_bytes());
    assert_eq!(scanner.push(b"\n"), Scan::More);
    assert!(!scanner.has_bytes());
    assert_eq!(scanner.push(b"G"), Scan::More);
    assert!(scanner.has_bytes());
}

#[test]
fn bytes_behind_the_head_are_not_taken() {
    let mut scanner = scanner();
    let bytes = b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n\x81\x80more";
    assert_eq!(
        scanner.push(bytes),
        Scan::Done {
            used: bytes.len() - 6
        }
    );
    assert_eq!(scanner.push(b"more"), Scan::Done { used: 0 });
    assert!(scanner.finish().is_ok());
}

#[test]
fn a_fault_is_final() {
    let mut scanner = scanner();
    let first = scanner.push(b"GET / HTTP/1.1\n");
    assert_eq!(first, Scan::Bad(HeadError::BareLf { at: 14 }));
    assert_eq!(scanner.push(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"), first);
    assert_eq!(scanner.finish().unwrap_err(), HeadError::BareLf { at: 14 });
}

#[test]
fn an_incomplete_head_is_no_request() {
    let mut scanner = scanner();
    let _ = scanner.push(b"GET / HTTP/1.1\r\nHost: a\r\n");
    assert_eq!(scanner.finish().unwrap_err(), HeadError::Incomplete);
}

#[test]
fn a_head_in_one_piece_takes_the_short_way() {
    let limits = HeadLimits {
        request_line: 16,
        head: 64,
    };
    let short = |head: &str| HeadScanner::new(limits).whole(head.as_bytes()) == Some(head.len());
    assert!(short(
        "GET /?a HTTP/1.1\r\nHost: a\r\nX:\r\nY: \tcaf\u{e9}\r\n\r\n"
    ));
    assert!(short("GET /%4a HTTP/1.1\r\n\r\n".strip_prefix("GE").unwrap()));
    // One byte beyond the request line, and beyond the head.
    assert!(short("GET /1b HTTP/1.1\r\n\r\n") && !short("GET /1bc HTTP/1.1\r\n\r\n"));
    let line = |length| format!("GET / HTTP/1.1\r\nX:{}\r\n\r\n", "v".repeat(length));
    assert!(short(&line(42)) && line(42).len() == 64 && !short(&line(43)));
    // All that the states take too, and all that they refuse.
    for other in [
        "GET / HTTP/1.0\r\n\r\n",
        "\r\nGET / HTTP/1.1\r\n\r\n",
        "GET a HTTP/1.1\r\n\r\n",
        "GET /%4 HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nX: a\n\r\n\r\n",
        "GET / HTTP/1.1\r\nX : a\r\n\r\n",
        "GET / HTTP/1.1\r\n: a\r\n\r\n",
        "GET / HTTP/1.1\r\nX: a\r\n b\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n\r\n",
        " / HTTP/1.1\r\n\r\n",
    ] {
        assert!(!short(other), "{other:?}");
    }
    let fields = |count| format!("GET / HTTP/1.1\r\n{}\r\n", "a:\r\n".repeat(count));
    for (count, taken) in [(FIELD_LIMIT, true), (FIELD_LIMIT + 1, false)] {
        let head = fields(count);
        assert_eq!(scanner().whole(head.as_bytes()).is_some(), taken);
        assert_eq!(
            matches!(scanner().push(head.as_bytes()), Scan::Done { .. }),
            taken
        );
    }
}
