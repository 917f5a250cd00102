//! What a client may put where a credential travels: cookies, subprotocols, and a query.

use std::sync::{Arc, LazyLock};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_core::gateway::Gateway;
use countersign_core::http::cookie::{cookies as named, pairs};
use countersign_core::http::{HeadLimits, Method, RequestHead, Target};
use serde_json::json;

use crate::client::{Request, Response, upgrade};
use crate::solo::Solo;
use crate::talk;
use crate::world::{Setup, decisions, gateway, written};

/// Longest name that is logged (R10): what is longer and in the log is no name.
const LOGGED_NAME: usize = 32;

fn realm(carriers: &[&str]) -> Setup {
    Setup::standard()
        .patient()
        .realm("carriers", json!(carriers))
        .service("subprotocols", json!(["chat", "v2"]))
}

static BY_COOKIE: LazyLock<Arc<Gateway>> = LazyLock::new(|| gateway(realm(&["cookie:sid"]).load().unwrap()));
static BY_QUERY: LazyLock<Arc<Gateway>> = LazyLock::new(|| gateway(realm(&["query:t"]).load().unwrap()));
/// Strict and lenient, with anonymous clients so that answers to offers are seen as well.
static BY_SUBPROTOCOL: LazyLock<[Arc<Gateway>; 2]> = LazyLock::new(|| {
    [false, true].map(|lenient| {
        let setup = realm(&["subprotocol:m"])
            .realm("anonymous", json!({}))
            .realm("lenientSubprotocolToken", lenient);
        gateway(setup.load().unwrap())
    })
});

/// Asks on a new connection. `None` if the head is not even a request.
fn ask(gateway: &Arc<Gateway>, request: &[u8]) -> (Option<Response>, Solo) {
    let mut solo = Solo::new(gateway);
    solo.offer(request);
    solo.run_jobs();
    (Response::read(&solo.sent, false), solo)
}

fn reason(solo: &Solo) -> &'static str {
    let decided = decisions(&solo.notes);
    decided.first().map_or("", |decision| decision.reason.code())
}

/// Lines of Cookie fields. No value reaches over a separator, what is found by name is what is there,
/// a name that is there twice is refused unjudged, and nobody forges a token.
pub fn cookies(data: &[u8]) {
    let mut request = upgrade("/api/ws").origin("https://app.example").bytes();
    request.truncate(request.len() - 2);
    for line in data.split(|byte| *byte == b'\n') {
        request.extend([b"Cookie: ", line, b"\r\n"].concat());
    }
    request.extend(b"\r\n");
    let Ok(head) = RequestHead::parse(&request, HeadLimits::default()) else {
        return;
    };
    let lines: Vec<&[u8]> = head.fields().get_all("cookie").collect();
    let separators = |line: &&[u8]| line.iter().filter(|byte| **byte == b';').count() + 1;
    let all: Vec<_> = pairs(head.fields()).collect();
    assert!(
        all.len() <= lines.iter().map(separators).sum(),
        "more cookies than pieces"
    );
    for (name, value) in &all {
        assert!(!name.contains(&b'=') && !name.contains(&b';') && !value.contains(&b';'));
        for side in [value.first(), value.last()] {
            assert!(!matches!(side, Some(b' ' | b'\t')), "a space is left");
        }
        let name = String::from_utf8_lossy(name);
        let alike = named(head.fields(), &name).filter(|found| found == value);
        assert!(
            name.contains('\u{FFFD}') || alike.count() > 0,
            "a cookie is not found by its name"
        );
    }
    let ours: Vec<_> = named(head.fields(), "sid").collect();
    let (answer, solo) = ask(&BY_COOKIE, &request);
    let answer = answer.expect("a whole request is answered");
    match ours.as_slice() {
        [] | [b""] => assert_eq!((answer.status, reason(&solo)), (401, "no_credential")),
        [_] => assert!(matches!(answer.status, 400 | 401), "{answer:?}"),
        [_, _, ..] => assert_eq!((answer.status, reason(&solo)), (400, "carrier_conflict")),
    }
}

/// Puts a good token where `good` stands, and its coded form where `m.good` does.
fn with_token_for_good(line: &[u8], token: &str) -> Vec<u8> {
    let single = format!("m.{}", URL_SAFE_NO_PAD.encode(token));
    let put = |item| match item {
        // To take a bare CR away would make a request of what is none.
        item if <[u8]>::contains(item, &b'\r') => item,
        item if without_spaces(item) == b"good" => token.as_bytes(),
        item if without_spaces(item) == b"m.good" => single.as_bytes(),
        item => item,
    };
    let items = line.split(|byte| *byte == b',').map(put);
    items.collect::<Vec<_>>().join(&b","[..])
}

/// Takes away what may stand around an item (RFC 9110 section 5.6.3): another control byte makes a
/// request of none.
fn without_spaces(item: &[u8]) -> &[u8] {
    let inner = |byte: &u8| !matches!(byte, b' ' | b'\t');
    let start = item.iter().position(inner).unwrap_or(item.len());
    let end = item.iter().rposition(inner).map_or(start, |last| last + 1);
    &item[start..end]
}

/// The value of Sec-WebSocket-Protocol behind a byte that says whether tokens are taken leniently.
/// Only what was offered is answered, and never the item that holds a token.
pub fn subprotocols(data: &[u8]) {
    let (lenient, data) = data
        .split_first()
        .map_or((false, data), |(first, rest)| (first % 2 == 1, rest));
    let mut request = upgrade("/api/ws").bytes();
    request.truncate(request.len() - 2);
    let token = talk::token();
    for line in data.split(|byte| *byte == b'\n') {
        request.extend(b"Sec-WebSocket-Protocol: ");
        request.extend(with_token_for_good(line, &token));
        request.extend(b"\r\n");
    }
    request.extend(b"\r\n");
    let (answer, solo) = ask(&BY_SUBPROTOCOL[usize::from(lenient)], &request);
    let Some(answer) = answer else {
        panic!("a whole request is answered");
    };
    let text = String::from_utf8_lossy(data);
    let items: Vec<&str> = text
        .split(['\n', ','])
        .map(|item| item.trim_matches([' ', '\t']))
        .filter(|item| !item.is_empty())
        .collect();
    let chosen = answer.one("Sec-WebSocket-Protocol");
    // An item is a token if it stands behind a marker that is not itself behind one.
    let (mut held, mut pair, mut tokens, mut offered) = (false, false, Vec::new(), Vec::new());
    for item in &items {
        if held {
            held = false;
            tokens.push(*item);
        } else if *item == "m" {
            held = true;
            pair = true;
        } else if let Some(single) = item.strip_prefix("m.") {
            tokens.push(single);
        } else {
            offered.push(*item);
        }
    }
    let with_token = offered.len() < items.len();
    if answer.status == 101 {
        assert!(
            tokens == ["good"] || (tokens.is_empty() && !with_token),
            "a token is forged: {items:?}"
        );
        let wanted = ["chat", "v2"].into_iter().find(|wanted| offered.contains(wanted));
        assert_eq!(chosen, wanted.or_else(|| pair.then_some("m")), "{items:?}");
        assert!(!answer.masked().contains(&token), "the token is answered");
    } else {
        assert!(matches!(answer.status, 400 | 401 | 431), "{answer:?}");
        assert_eq!(chosen, None, "a refusal names a subprotocol");
        assert!(
            with_token || answer.status != 401,
            "nothing was presented, and something refused"
        );
    }
    drop(solo);
}

/// What stands behind the `?` of a target. Decoding never adds bytes, a name that is there twice is
/// refused unjudged, and no value is logged.
pub fn query(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let raw = format!("/api/ws?{text}");
    let Ok(target) = Target::parse(&raw, Method::Get) else {
        return;
    };
    assert_eq!(target.as_str(), raw);
    assert_eq!(target.path(), "/api/ws");
    let mut ours = Vec::new();
    for param in target.params() {
        let value = param.value.expose();
        let escapes = param.raw.matches('%').count();
        let equals = usize::from(param.raw.contains('='));
        assert_eq!(
            param.name.len() + value.len() + equals + 2 * escapes,
            param.raw.len(),
            "decoding loses or adds bytes"
        );
        if param.name.as_ref() == b"t" {
            ours.push(value.clone());
        }
    }
    let request: Request = upgrade(&raw);
    let (answer, solo) = ask(&BY_QUERY, &request.bytes());
    let answer = answer.expect("a whole request is answered");
    match ours.as_slice() {
        _ if matches!(answer.status, 414 | 431) => {}
        [] => assert_eq!((answer.status, reason(&solo)), (401, "no_credential")),
        [value] if value.is_empty() => assert_eq!(reason(&solo), "no_credential"),
        [_] => assert!(matches!(answer.status, 400 | 401), "{answer:?}"),
        [_, _, ..] => assert_eq!((answer.status, reason(&solo)), (400, "carrier_conflict")),
    }
    let log = written(&solo.notes, solo.now());
    for value in ours.iter().filter(|value| value.len() > LOGGED_NAME) {
        let value = String::from_utf8_lossy(value);
        assert!(!log.contains(value.as_ref()), "a token is logged");
    }
}
