//! Bad days in the simulator: anything at any time, and every connection ends in order.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::PathBuf;
use std::time::Duration;

use countersign_tests::sim::{Habits, Sim};
use countersign_tests::world::{FILE, Setup, gateway};

/// How many days are simulated; each of them twice.
const DAYS: u64 = 25;

fn day(setup: &Setup, habits: Habits, seed: u64) -> u64 {
    let gateway = gateway(setup.load().unwrap());
    let mut sim = Sim::new(gateway, setup.memory(), PathBuf::from(FILE), seed, habits);
    sim.bad_day(12);
    sim.hash()
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
