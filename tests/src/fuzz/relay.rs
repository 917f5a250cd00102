//! What an upstream may send: the answer to the upgrade, and frames.

use countersign_core::http::upgrade::accept_key;
use countersign_core::service::relay::{ANSWER_LIMIT, AnswerReader, Boundary, Offer, Scan};

/// What begins the part of the data that is frames.
const FRAMES: u8 = b'F';

/// An upstream's bytes, whole and split at any place, with the same outcome. The first byte says where;
/// the second what they are: an answer, or frames.
pub fn relay(data: &[u8]) {
    let [at, kind, bytes @ ..] = data else { return };
    let (first, second) = bytes.split_at(usize::from(*at).min(bytes.len()));
    let pieces: Vec<_> = bytes.chunks(1).collect();
    if *kind == FRAMES {
        let whole = ends(&[bytes]);
        assert_eq!(ends(&[first, second]), whole, "a split moves a frame's end");
        assert_eq!(ends(&pieces), whole, "single bytes move a frame's end");
        let mut passed = Boundary::default();
        passed.pass(bytes);
        assert_eq!((passed.is_here(), passed.closed()), (whole.1, whole.2));
    } else {
        let whole = answer(&[bytes]);
        assert_eq!(answer(&[first, second]), whole, "a split changes the answer");
        assert_eq!(answer(&pieces), whole, "single bytes change the answer");
    }
}

/// Where the frames in `pieces` end, whether they end with one, and the code of a Close.
fn ends(pieces: &[&[u8]]) -> (Vec<usize>, bool, Option<u16>) {
    let (mut boundary, mut ends, mut at) = (Boundary::default(), Vec::new(), 0);
    for piece in pieces {
        let mut rest = *piece;
        while !rest.is_empty() {
            let used = boundary.to_end(rest);
            assert!(used > 0 && used <= rest.len(), "no step, or one too far");
            at += used;
            rest = &rest[used..];
            if boundary.is_here() {
                ends.push(at);
            }
        }
    }
    (ends, boundary.is_here(), boundary.closed())
}

/// What comes of an answer that arrives in `pieces`: what the client would be told, and where it ends.
fn answer(pieces: &[&[u8]]) -> Option<(Vec<u8>, usize)> {
    let offer = Offer {
        accept: accept_key("dGhlIHNhbXBsZSBub25jZQ=="),
        protocols: vec!["chat".to_owned(), "v2".to_owned()],
        extensions: vec!["permessage-deflate".to_owned()],
    };
    let (mut reader, mut before) = (AnswerReader::default(), 0);
    for piece in pieces {
        match reader.push(piece, &offer) {
            Scan::More => before += piece.len(),
            Scan::Refused => return None,
            Scan::Accepted(accepted, used) => {
                let end = before + used;
                assert!(
                    used <= piece.len() && end <= ANSWER_LIMIT,
                    "more was used than there was"
                );
                let mut reply = Vec::new();
                accepted
                    .reply(&offer.accept, accepted.protocol.as_deref())
                    .write(&mut reply);
                let text = String::from_utf8_lossy(&reply).to_lowercase();
                let known = ["upgrade", "connection", "set-cookie", "sec-websocket-"];
                for line in text.trim_end().split("\r\n").skip(1) {
                    assert!(
                        known.iter().any(|name| line.starts_with(name)),
                        "{line:?} is handed on"
                    );
                }
                return Some((reply, end));
            }
        }
    }
    None
}
