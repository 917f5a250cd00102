//! Bad days in the simulator: anything at any time, and every connection ends in order.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::PathBuf;
use std::time::Duration;

use countersign_core::note::Note;
use countersign_tests::fake::upstream::Upstream;
use countersign_tests::sim::{FarEnd, Habits, Sim};
use countersign_tests::talk;
use countersign_tests::world::{FILE, Setup, gateway};
use serde_json::json;

/// How many days are simulated; each of them twice.
const DAYS: u64 = 25;

fn day(setup: &Setup, habits: Habits, seed: u64) -> u64 {
    let gateway = gateway(setup.load().unwrap());
    let mut sim = Sim::new(gateway, setup.memory(), PathBuf::from(FILE), seed, habits);
    sim.bad_day(12, |random, _| talk::anything(random));
    sim.hash()
}

/// A day with many clients of a broadcast, a proxy and a folder. Returns what happened, and how many
/// messages one member heard of others, how many came back from the upstream, and how many files were sent.
fn busy_day(habits: Habits, seed: u64) -> (u64, [u64; 3]) {
    let setup = with_services();
    let gateway = gateway(setup.load().unwrap());
    let mut sim = Sim::new(gateway, setup.memory(), PathBuf::from(FILE), seed, habits);
    let upstream = Upstream::echoing().forgiving();
    sim.place(UPSTREAM, FarEnd::Fake(upstream.fake()));
    sim.bad_day(40, talk::anything_with_services);
    assert_eq!(upstream.open(), 0, "seed {seed}: somebody holds the upstream");
    let mut seen = [0; 3];
    for note in sim.notes() {
        if let Note::Closed(closed) = note {
            match &*closed.service {
                "chat" => seen[0] += closed.messages_out,
                "app" => seen[1] += closed.bytes_out,
                _ => {}
            }
        } else if let Note::Decision(decision) = note {
            seen[2] += u64::from(decision.status == 200);
        }
    }
    (sim.hash(), seen)
}

fn days(setup: &Setup, habits: Habits) {
    for seed in 0..DAYS {
        let run = || std::panic::catch_unwind(|| day(setup, habits, seed));
        let (first, second) = (run(), run());
        match (first, second) {
            (Ok(first), Ok(second)) => assert_eq!(first, second, "seed {seed}: two runs differ"),
            (Err(_), _) | (_, Err(_)) => panic!("seed {seed} with {habits:?}"),
        }
    }
}

fn short_limits() -> Setup {
    Setup::standard()
        .limit("headTimeout", "2 seconds")
        .limit("keepAliveTimeout", "3 seconds")
        .limit("stallTimeout", "1 second")
        .limit("messageBytes", 50_000)
        .service("pingInterval", "2 seconds")
        .service("idleTimeout", "4 seconds")
}

/// Where the upstream is.
const UPSTREAM: &str = "127.0.0.1:1234";

fn with_services() -> Setup {
    short_limits()
        .set(
            "/services/chat",
            json!({"type": "broadcast", "accept": "/chat", "realm": "demo", "origins": [], "mailboxBytes": 30_000,
                   "idleTimeout": "5 seconds"}),
        )
        .set(
            "/services/app",
            json!({"type": "proxy", "accept": "/app", "realm": "demo", "origins": [], "connect": format!("ws://{UPSTREAM}/"),
                   "timeout": "1 second", "idleTimeout": "5 seconds"}),
        )
        .set(
            "/services/files",
            json!({"type": "directory", "accept": "/files", "public": true, "directory": "site"}),
        )
        .file("site/index.html", "<!doctype html>")
        .file("site/large", [b'x'; 100_000])
        .file("site/deep/index.html", "deep")
}

#[test]
fn busy_days_end_in_order() {
    let mut sum = [0; 3];
    for seed in 0..DAYS {
        let (first, seen) = busy_day(Habits::ROUGH, seed);
        assert_eq!(
            busy_day(Habits::ROUGH, seed),
            (first, seen),
            "seed {seed}: two runs differ"
        );
        sum = std::array::from_fn(|index| sum[index] + seen[index]);
    }
    assert!(
        sum.iter().all(|sum| *sum > DAYS),
        "too little has happened: {sum:?}"
    );
}

#[test]
fn rough_days_end_in_order() {
    days(&short_limits(), Habits::ROUGH);
}

#[test]
fn calm_days_end_in_order() {
    days(&Setup::standard(), Habits::CALM);
}

#[test]
fn days_with_lost_jobs_end_in_order() {
    let habits = Habits {
        lost_jobs: 2,
        latency: Duration::from_millis(40),
        ..Habits::ROUGH
    };
    days(&short_limits(), habits);
}

#[test]
fn days_under_tls_end_in_order() {
    days(&short_limits().tls(), Habits::ROUGH);
}
