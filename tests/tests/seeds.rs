//! Replays the seeds of the fuzz targets, so that a plain test run compiles and runs their bodies.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::Path;

use countersign_tests::fuzz;
use countersign_tests::random::Random;

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fuzz/seeds")
        .join(target);
    let entries = fs::read_dir(folder).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{target} has no seeds");
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// Runs every seed, and each of them mutated a few times.
fn replay(target: &str, body: fn(&[u8]), mutations: usize) {
    let mut random = Random::new(14);
    for seed in seeds(target) {
        body(&seed);
        for _ in 0..mutations {
            let mut data = seed.clone();
            for _ in 0..random.between(1, 4) {
                let at = random.below(data.len() + 1);
                match random.below(3) {
                    0 => data.insert(at, random.next() as u8),
                    1 if at < data.len() => data[at] = random.next() as u8,
                    _ => data.truncate(data.len().max(at)),
                }
            }
            body(&data);
        }
    }
}

#[test]
fn head() {
    replay("head", fuzz::head, 200);
}

#[test]
fn auth_params() {
    replay("auth_params", fuzz::auth_params, 500);
}

#[test]
fn digest() {
    replay("digest", fuzz::digest, 500);
}

#[test]
fn jwt() {
    replay("jwt", fuzz::jwt, 200);
}

#[test]
fn ldap() {
    replay("ldap", fuzz::ldap, 500);
}

#[test]
fn redis() {
    replay("redis", fuzz::redis, 500);
}

#[test]
fn http_reply() {
    replay("http_reply", fuzz::http_reply, 500);
}

#[test]
fn files() {
    replay("files", fuzz::files, 500);
}

#[test]
fn cookies() {
    replay("cookies", fuzz::cookies, 100);
}

#[test]
fn subprotocols() {
    replay("subprotocols", fuzz::subprotocols, 100);
}

#[test]
fn query() {
    replay("query", fuzz::query, 100);
}

#[test]
fn connection() {
    replay("connection", fuzz::connection, 60);
}

#[test]
fn relay() {
    replay("relay", fuzz::relay, 300);
}
