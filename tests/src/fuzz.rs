//! The bodies of the fuzz targets. They live here so that a plain `cargo test` compiles them and
//! replays their seeds; the targets themselves are shims.

mod carriers;
mod files;
mod relay;
mod replies;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use countersign_core::auth::algorithm::Algorithm;
use countersign_core::auth::digest::DigestCredentials;
use countersign_core::auth::jwk::KeySet;
use countersign_core::auth::jwt::{Rules, Token, verify};
use countersign_core::auth::nonce::Issue;
use countersign_core::entropy::{Entropy, Seed};
use countersign_core::exchange::ldap::{Rehearsal, Scenery, Verdict};
use countersign_core::exchange::redis;
use countersign_core::gateway::Gateway;
use countersign_core::http::credentials::{Authorization, Rest};
use countersign_core::http::syntax::trim_ows;
use countersign_core::http::{FIELD_LIMIT, HeadLimits, HeadScanner, Scan};
use countersign_core::leg::Break;

pub use carriers::{cookies, query, subprotocols};
pub use files::files;
pub use relay::relay;
pub use replies::http_reply;

use crate::client::Response;
use crate::keys;
use crate::sim::START;
use crate::solo::Solo;
use crate::talk;
use crate::world::{Setup, gateway};

/// A request head: scanned whole and split at any place, with the same outcome, and what passes says the
/// same to httparse.
pub fn head(data: &[u8]) {
    let (at, bytes) = data
        .split_first()
        .map_or((0, data), |(at, bytes)| (usize::from(*at), bytes));
    let whole = scan(&[bytes]);
    let (first, second) = bytes.split_at(at.min(bytes.len()));
    assert_eq!(scan(&[first, second]), whole, "a split changes the outcome");
    let pieces: Vec<_> = bytes.chunks(1).collect();
    assert_eq!(scan(&pieces), whole, "single bytes change the outcome");
}

/// What a scanner says of bytes that arrive in pieces.
fn scan(pieces: &[&[u8]]) -> String {
    let mut scanner = HeadScanner::new(HeadLimits {
        request_line: 512,
        head: 2048,
    });
    let mut before = 0;
    for piece in pieces {
        match scanner.push(piece) {
            Scan::More => before += piece.len(),
            Scan::Done { used } => {
                assert!(used <= piece.len(), "more was used than there was");
                let head = scanner.finish();
                let fields = head.as_ref().map(|head| head.fields().iter().collect::<Vec<_>>());
                if let (Ok(head), Ok(fields)) = (&head, &fields) {
                    let bytes = pieces.concat();
                    let bytes = bytes.get(..before + used).unwrap_or_default();
                    assert!(is_read_alike(bytes, head.target().as_str(), fields));
                }
                return format!("{} {head:?} {fields:?}", before + used);
            }
            Scan::Bad(error) => return format!("{error:?}"),
        }
    }
    format!("more, {}", scanner.has_bytes())
}

/// Says whether httparse finds this target and these fields in a head.
fn is_read_alike(bytes: &[u8], target: &str, fields: &[(&str, &[u8])]) -> bool {
    let mut known = bytes.strip_prefix(b"\r\n").unwrap_or(bytes).to_vec();
    // Minor versions beyond 1 are read as 1 here, and not known there.
    if let Some(end) = known.iter().position(|byte| *byte == b'\r')
        && let Some(minor @ b'2'..=b'9') = known.get_mut(end.saturating_sub(1))
    {
        *minor = b'1';
    }
    let mut slots = [httparse::EMPTY_HEADER; FIELD_LIMIT];
    let mut other = httparse::Request::new(&mut slots);
    let complete =
        matches!(other.parse(&known), Ok(httparse::Status::Complete(length)) if length == known.len());
    let theirs = other
        .headers
        .iter()
        .map(|field| (field.name, trim_ows(field.value)));
    complete && other.path == Some(target) && theirs.eq(fields.iter().copied())
}

/// The value of an `Authorization` field.
pub fn auth_params(data: &[u8]) {
    // Both outcomes are right: what is asked is that there is one, and that it is shown safely.
    if let Ok(authorization) = Authorization::parse(data) {
        let _ = format!("{authorization:?}");
    }
}

/// A Digest credential for `/api/ws`. Nobody forges a nonce, or answers for a password that nobody has.
pub fn digest(data: &[u8]) {
    let Ok(Authorization { rest, .. }) = Authorization::parse(data) else {
        return;
    };
    let Rest::Params(params) = rest else { return };
    let Ok(credentials) = DigestCredentials::parse(&params, "GET", "/api/ws") else {
        return;
    };
    assert!(params.duplicate().is_none(), "a parameter is repeated");
    assert_ne!(credentials.count(), 0, "the count of no request");
    assert_eq!(format!("{credentials:?}"), "DigestCredentials(***)");
    for length in [0, 16, 32] {
        assert!(
            !credentials.is_answer_of(&vec![0; length]),
            "a response is forged"
        );
    }
    let (nonce, opaque) = credentials.nonce();
    let entropy = Entropy::new(&Seed::new([7; 32]));
    let issue = Issue::read(&entropy, "demo", nonce, opaque);
    assert!(issue.is_none(), "a nonce is forged");
}

static KEYS: LazyLock<KeySet> =
    LazyLock::new(|| KeySet::from_secret(Algorithm::Hs256, keys::SECRET).unwrap());

/// A token: first as it is, then as the claims of one whose signature is good.
pub fn jwt(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let signer = keys::Signer::of("HS256");
    let signed = keys::raw_token("{\"alg\":\"HS256\"}", text, &signer);
    for text in [text, &signed] {
        let Ok(token) = Token::parse(text) else { continue };
        let rules = Rules {
            issuer: Some(keys::ISSUER.to_owned()),
            audience: Some(keys::AUDIENCE.to_owned()),
            ..Rules::default()
        };
        if let Ok(verified) = verify(&token, &KEYS, &rules, START) {
            assert!(
                verified.expires.is_some_and(|expiry| expiry > START),
                "an expired token passes"
            );
            assert!(verified.subject.as_deref() != Some(""), "an empty subject passes");
        }
    }
}

/// The most that a login keeps of what a directory has said: a message that is not whole yet, and the
/// entry and the groups that were found.
const KEPT_OF_A_DIRECTORY: usize = 600 * 1024;

/// A directory that says anything. The first byte is what it is asked for, then there are pieces, each
/// behind its length in two bytes. The user's password goes nowhere but into the bind as an entry.
pub fn ldap(data: &[u8]) {
    let (&scenery, mut rest) = data.split_first().unwrap_or((&0, data));
    let mut rehearsal = Rehearsal::new(Scenery {
        start_tls: scenery & 1 != 0,
        account: scenery & 2 != 0,
        groups: scenery & 4 != 0,
    })
    .expect("the scenery is right");
    let mut asked = rehearsal.asked();
    let mut outcome = None;
    while let Some((length, after)) = rest.split_at_checked(2) {
        let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
        let (piece, after) = after.split_at(length.min(after.len()));
        rest = after;
        let said = rehearsal.say(piece);
        asked.extend(rehearsal.asked());
        assert!(rehearsal.held() <= KEPT_OF_A_DIRECTORY, "too much is kept");
        assert!(said.is_none() || outcome.is_none(), "two outcomes");
        outcome = outcome.or(said);
    }
    let password = Rehearsal::PASSWORD.as_bytes();
    let binds = asked.windows(password.len()).filter(|window| *window == password);
    let binds = binds.count();
    match outcome {
        Some(Ok(Verdict::Good(user))) => {
            assert!(!user.dn.is_empty() && !user.name.is_empty(), "nobody was found");
            assert!(user.groups.iter().all(|group| !group.contains(char::is_control)));
            assert_eq!(binds, 1, "somebody else's bind was taken for the user's");
        }
        Some(Ok(Verdict::WrongPassword)) => assert_eq!(binds, 1, "a verdict without a bind"),
        Some(Ok(Verdict::UnknownUser | Verdict::Ambiguous)) => assert_eq!(binds, 0, "bound as nobody"),
        Some(Err(_)) | None => assert!(binds <= 1, "the password was said twice"),
    }
}

/// A Redis that says anything, in pieces: what is a frame is the same frame however it arrives, and what
/// was read of it is gone.
pub fn redis(data: &[u8]) {
    let (&size, said) = data.split_first().unwrap_or((&0, data));
    let mut whole = said.to_vec();
    let mut at_once = Vec::new();
    let ended = loop {
        match redis::take(&mut whole) {
            Ok(Some(frame)) => at_once.push(frame),
            Ok(None) => break Ok(()),
            Err(fault) => break Err(fault),
        }
    };
    assert!(whole.len() <= said.len(), "more than there was");
    let (mut held, mut in_pieces) = (Vec::new(), Vec::new());
    let mut outcome = Ok(());
    'pieces: for piece in said.chunks(usize::from(size).max(1)) {
        held.extend_from_slice(piece);
        loop {
            match redis::take(&mut held) {
                Ok(Some(frame)) => in_pieces.push(frame),
                Ok(None) => break,
                Err(fault) => {
                    outcome = Err(fault);
                    break 'pieces;
                }
            }
        }
    }
    assert!(
        at_once == in_pieces && ended == outcome,
        "pieces make a difference"
    );
}

static GATEWAY: LazyLock<Arc<Gateway>> = LazyLock::new(|| gateway(Setup::standard().load().unwrap()));

/// A list of inputs and time steps against one connection. Whatever they are, deadlines move on
/// (P3), nothing but refusals goes out before a grant (P4), memory is given back (P5) and the
/// connection ends (P6).
pub fn connection(data: &[u8]) {
    let mut solo = Solo::new(&GATEWAY);
    let mut rest = data;
    while let Some((&what, after)) = rest.split_first() {
        let (&argument, after) = after.split_first().unwrap_or((&0, after));
        rest = after;
        match what % 10 {
            0 => solo.offer(&talk::granted().bytes()),
            1 => solo.pass(Duration::from_millis(u64::from(argument) * 100)),
            2 => solo.run_jobs(),
            3 => solo.lose_jobs(),
            4 => solo.step_wall_clock((i32::from(argument) - 128) * 60),
            5 => solo.take(argument % 2 == 0),
            6 if argument == 0 => solo.finish(),
            7 if argument == 0 => solo.break_off(Break::Reset),
            8 => {
                let requests = talk::refused();
                solo.offer(&requests[usize::from(argument) % requests.len()]);
            }
            _ => {
                let (said, after) = rest.split_at(usize::from(argument).min(rest.len()));
                solo.offer(said);
                rest = after;
            }
        }
    }
    let before = solo.sent.clone();
    judge(&before);
    solo.starve();
    drop(solo);
    let stats = GATEWAY.stats();
    let free = Setup::standard().load().unwrap().limits.message_memory;
    assert_eq!(stats.message_memory_free, free, "P5: memory is not given back");
}

/// P4: what was sent is answers, and frames only behind a 101.
fn judge(sent: &[u8]) {
    let mut rest = sent;
    while let Some(answer) = Response::read(rest, false) {
        rest = &rest[answer.raw.len()..];
        if answer.status == 101 {
            return;
        }
    }
    // A refusal to HEAD has a length, but no body; another answer may stand right behind it.
    assert!(
        rest.is_empty() || rest.starts_with(b"HTTP/1.1 "),
        "P4: no answer: {}",
        rest.escape_ascii()
    );
}
