//! What verifiers elsewhere may answer over HTTP.

use countersign_core::exchange::http::Rehearsal;

/// The most that is kept of what a server says: a head that is not whole yet, or the content, and one
/// piece.
const KEPT: usize = 16 * 1024 + Rehearsal::LIMIT + PIECE;

/// Bytes of one piece, at most.
const PIECE: usize = 255;

/// A server that says anything: pieces, each behind its length in one byte, then the end of its stream.
/// All at once it says the same.
pub fn http_reply(data: &[u8]) {
    let mut rehearsal = Rehearsal::new().expect("a right request");
    let (mut whole, mut rest, mut outcome) = (Vec::new(), data, None);
    while let Some((&length, after)) = rest.split_first() {
        let (piece, after) = after.split_at(usize::from(length).min(after.len()));
        rest = after;
        whole.extend_from_slice(piece);
        if outcome.is_none() {
            outcome = rehearsal.say(Some(piece));
            assert!(rehearsal.held() <= KEPT, "too much is kept");
        }
    }
    let outcome = outcome.or_else(|| rehearsal.say(None));
    let outcome = outcome.expect("an end of stream is an outcome");
    if let Ok((status, body)) = &outcome {
        assert!(
            (200..1000).contains(status),
            "an interim answer is taken for the answer"
        );
        assert!(body.len() <= Rehearsal::LIMIT);
    }
    let mut at_once = Rehearsal::new().expect("a right request");
    let same = at_once.say(Some(&whole)).or_else(|| at_once.say(None));
    match (&outcome, &same) {
        // Which fault is told may hang on how much was there when it was found.
        (Err(_), Some(Err(_))) => {}
        (outcome, same) => assert_eq!(Some(outcome), same.as_ref(), "splits change the answer"),
    }
}
