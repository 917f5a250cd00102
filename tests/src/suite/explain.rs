//! An explanation is what the gateway does, not what somebody thinks that it does.

use std::time::Duration;

use countersign_core::ops::explain::{Question, explain};
use countersign_core::time::{Moment, Now};

use crate::client::{Request, mask_date, upgrade};
use crate::world::{ALICE, Setup, Stage, World};

/// The lines of an explanation, and the bytes of the answer behind them.
fn ask(stage: &Stage, bytes: &[u8]) -> (Vec<String>, String) {
    let now = Now {
        at: Moment::new(Duration::from_secs(1)),
        unix: stage.unix(),
    };
    let said = explain(&stage.gateway(), &Question::default(), now, bytes).unwrap();
    let said = String::from_utf8(said).unwrap();
    let (lines, answer) = said.split_once("\n\n").unwrap();
    (lines.lines().map(str::to_owned).collect(), mask_date(answer))
}

fn requests(stage: &Stage) -> Vec<Request> {
    let good = upgrade("/api/ws").bearer(&stage.token("alice").text());
    vec![
        good.clone(),
        good.clone().with("Host", "other.example"),
        good.clone().method("POST"),
        good.clone().origin("https://evil.example"),
        good.clone().with("Sec-WebSocket-Version", "8"),
        good.clone().basic(ALICE.0, ALICE.1),
        upgrade("/api/ws").basic(ALICE.0, ALICE.1),
        upgrade("/api/ws").basic(ALICE.0, "wrong"),
        upgrade("/api/ws"),
        upgrade("/nowhere"),
        good.with("Host", "a b"),
    ]
}

/// B3: byte for byte the same answer as on the wire.
pub fn b3_an_explanation_is_what_the_gateway_does(world: &World) {
    let stage = Setup::standard().start(world);
    for request in requests(&stage) {
        let answer = stage.connect().ask(&request);
        let (_, explained) = ask(&stage, &request.bytes());
        assert_eq!(explained, answer.masked());
    }
}

/// B3: a line for each check, those behind the refusal not reached.
pub fn b3_each_check_has_its_line(world: &World) {
    let stage = Setup::standard().start(world);
    let (granted, _) = ask(&stage, &requests(&stage)[0].bytes());
    let expected = [
        "limits passed",
        "framing passed",
        "host passed",
        "route passed",
        "method passed",
        "origin passed",
        "upgrade passed",
        "available passed",
        "carrier passed",
        "missing_origin passed",
        "throttle passed",
        "verify passed",
        "authorize passed",
        "factor skipped",
        "subprotocol passed",
        "grant passed",
    ];
    assert_eq!(granted, expected);
    for (request, line) in requests(&stage)[1..].iter().zip([
        "host refused:bad_host",
        "method refused:bad_method",
        "origin refused:bad_origin",
        "upgrade refused:bad_upgrade",
        "carrier refused:carrier_conflict",
        "grant passed",
        "verify refused:bad_password",
        "verify refused:no_credential",
        "route refused:no_route",
        "framing refused:bad_request",
    ]) {
        let (lines, _) = ask(&stage, &request.bytes());
        let at = lines
            .iter()
            .position(|found| found == line)
            .unwrap_or_else(|| panic!("{line}: {lines:?}"));
        assert!(
            lines[..at]
                .iter()
                .all(|line| line.ends_with(" passed") || line.ends_with(" skipped"))
        );
        assert!(
            lines[at + 1..].iter().all(|line| line.ends_with(" not_reached")),
            "{lines:?}"
        );
    }
    let (cut, answer) = ask(&stage, b"GET /api/ws HTTP/1.1\r\n");
    assert!(cut.contains(&"framing refused:bad_request".to_owned()) && answer.starts_with("HTTP/1.1 400 "));
}
