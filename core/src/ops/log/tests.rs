#![allow(clippy::unwrap_used)]

use std::borrow::Cow;
use std::time::Duration;

use serde_json::Value;

use super::*;
use crate::config::Place;
use crate::note::RequestId;
use crate::reason::Reason;
use crate::time::UnixTime;
use crate::trace::{Check, Trace};

fn now() -> Now {
    Now {
        unix: UnixTime::new(Duration::from_millis(1_788_000_000_042)),
        ..Now::default()
    }
}

fn decision() -> Decision {
    Decision {
        server: "edge".into(),
        status: 401,
        reason: Reason::NoCredential,
        service: Some("echo".into()),
        realm: None,
        subject: None,
        carrier: Some("query:access_token".into()),
        scheme: Some(Cow::Borrowed("Bearer")),
        method: Some("GET"),
        path: Some("/api/ws".into()),
        params: vec!["access_token".to_owned(), "?".to_owned()],
        peer: "127.0.0.1:5000".parse().unwrap(),
        request: RequestId([0, 1, 2, 3, 4, 5, 6, 7]),
        trace: Trace::from(Check::Verify),
    }
}

fn text_of(note: &Note) -> String {
    let queue = LogQueue::new(Format::Text, Level::Debug);
    assert!(queue.push(note, now()));
    String::from_utf8(queue.take(now())).unwrap()
}

fn json_of(note: &Note) -> Value {
    let queue = LogQueue::new(Format::Json, Level::Debug);
    assert!(queue.push(note, now()));
    let line = String::from_utf8(queue.take(now())).unwrap();
    assert!(line.is_ascii() && line.ends_with('\n') && line.trim_end().lines().count() == 1);
    serde_json::from_str(&line).unwrap()
}

#[test]
fn e17_a_decision_is_one_line_in_both_formats() {
    let note = Note::Decision(Box::new(decision()));
    assert_eq!(
        text_of(&note),
        "2026-08-29T10:40:00.042Z INFO decision status=401 reason=no_credential server=edge \
         service=echo carrier=query:access_token scheme=Bearer method=GET path=/api/ws \
         params=access_token,? peer=127.0.0.1:5000 request=0001020304050607\n"
    );
    let line = json_of(&note);
    assert_eq!(line["event"], "decision");
    assert_eq!(line["time"], "2026-08-29T10:40:00.042Z");
    assert_eq!(line["level"], "info");
    assert_eq!(line["status"], 401);
    assert_eq!(line["params"], serde_json::json!(["access_token", "?"]));
    assert!(line.get("subject").is_none());
    let none = Note::Decision(Box::new(Decision {
        params: Vec::new(),
        ..decision()
    }));
    assert!(!text_of(&none).contains("params"));
    assert_eq!(json_of(&none)["params"], serde_json::json!([]));
}

#[test]
fn r10_a_peers_value_is_cut_and_cannot_forge_a_line_or_steer_a_terminal() {
    let path = format!("/\n2026 INFO \u{1b}[2J \"x\" \u{202e}ö😀{}", "a".repeat(300));
    let note = Note::Decision(Box::new(Decision {
        path: Some(path.as_str().into()),
        ..decision()
    }));
    let text = text_of(&note);
    assert_eq!(text.lines().count(), 1);
    assert!(
        text.trim_end().bytes().all(|b| (0x20..0x7f).contains(&b)),
        "{text}"
    );
    assert!(text.contains(r#"path="/\u000a2026 INFO \u001b[2J \"x\" \u202e\u00f6\ud83d\ude00aaa"#));
    let line = json_of(&note);
    let logged = line["path"].as_str().unwrap();
    assert!(path.starts_with(logged));
    assert_eq!(logged.len(), VALUE_BYTES);
}

#[test]
fn a_closed_line_has_its_figures() {
    let line = json_of(&Note::Closed(Box::new(Closed {
        server: "edge".into(),
        service: "echo".into(),
        code: 3000,
        reason: Cow::Borrowed("token expired"),
        request: RequestId([0xff; 8]),
        duration: Duration::from_millis(1500),
        messages_in: 1,
        messages_out: 2,
        bytes_in: 3,
        bytes_out: 4,
    })));
    assert_eq!(line["reason"], "token expired");
    assert_eq!(line["duration_ms"], 1500);
    assert_eq!(line["bytes_out"], 4);
    assert_eq!(line["request"], "ffffffffffffffff");
}

#[test]
fn listening_is_printed_whatever_the_level() {
    let queue = LogQueue::new(Format::Json, Level::Error);
    assert!(!queue.push(&Note::Reloaded, now()));
    assert!(!queue.push(
        &Note::Warning {
            message: "x".to_owned()
        },
        now()
    ));
    assert!(queue.push(
        &Note::Listening {
            server: "edge".into(),
            url: "wss://127.0.0.1:1".to_owned()
        },
        now()
    ));
    let line: Value = serde_json::from_slice(&queue.take(now())).unwrap();
    assert_eq!(line["url"], "wss://127.0.0.1:1");
}

#[test]
fn the_writer_is_woken_once_until_it_has_taken_everything() {
    let queue = LogQueue::new(Format::Text, Level::Info);
    assert!(queue.is_empty());
    assert!(queue.push(&Note::Reloaded, now()));
    assert!(!queue.push(&Note::Draining, now()));
    let lines = String::from_utf8(queue.take(now())).unwrap();
    assert!(lines.contains("reloaded\n") && lines.ends_with("draining\n"));
    assert!(queue.is_empty() && queue.take(now()).is_empty());
    assert!(queue.push(&Note::Reloaded, now()));
}

#[test]
fn a_full_queue_drops_decisions_counts_them_and_keeps_the_rest() {
    let queue = LogQueue::new(Format::Json, Level::Info);
    let note = Note::Decision(Box::new(decision()));
    let mut pushed = 0u64;
    loop {
        queue.push(&note, now());
        pushed += 1;
        if queue.lock().dropped == 3 {
            break;
        }
    }
    assert!(queue.lock().lines.len() <= QUEUE_BYTES);
    queue.push(&Note::Panicked, now());
    let taken = String::from_utf8(queue.take(now())).unwrap();
    assert_eq!(taken.matches("\"decision\"").count() as u64, pushed - 3);
    let last: Vec<&str> = taken.lines().rev().take(2).collect();
    assert!(last[1].contains("panicked"), "{}", last[1]);
    let count: Value = serde_json::from_str(last[0]).unwrap();
    assert_eq!(
        (&count["event"], &count["count"]),
        (&"log_dropped".into(), &3.into())
    );
    assert!(queue.take(now()).is_empty());
}

#[test]
fn nothing_makes_the_queue_grow_past_the_hard_limit() {
    let queue = LogQueue::new(Format::Text, Level::Info);
    let note = Note::Warning {
        message: "w".repeat(VALUE_BYTES),
    };
    for _ in 0..=HARD_QUEUE_BYTES / VALUE_BYTES {
        queue.push(&note, now());
    }
    assert!(queue.lock().lines.len() <= HARD_QUEUE_BYTES);
    assert!(queue.lock().dropped > 0);
}

#[test]
fn a_refused_configuration_is_its_errors_and_nothing_else() {
    let error = |line, path: &str, message: &str| {
        let place = Place {
            line,
            column: 2,
            path: path.to_owned(),
        };
        ConfigError::new("a.json", place, message)
    };
    let errors = vec![error(1, "servers", "x"), error(3, "roles", "\ny")];
    let errors = ConfigErrors::from_vec(errors).unwrap();
    assert_eq!(
        text_of(&Note::ConfigRefused(errors.clone())),
        "a.json:1:2: servers: x\na.json:3:2: roles: \\u000ay\n"
    );
    let text = text_of(&Note::ReloadFailed(errors.clone()));
    assert!(
        text.lines()
            .all(|line| line.contains(" ERROR reload_failed a.json:"))
    );
    let line = json_of(&Note::ReloadFailed(errors));
    assert_eq!(line["errors"].as_array().unwrap().len(), 2);
}
