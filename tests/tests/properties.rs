//! Properties that hold for every input, on one connection with chosen inputs. P2, P3 and P10 are
//! checked at every step of every test by the watch on the connection.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;
use std::time::Duration;

use countersign_core::gateway::Gateway;
use countersign_core::leg::Break;
use countersign_tests::client::{Frame, Response, get, upgrade};
use countersign_tests::random::Random;
use countersign_tests::solo::Solo;
use countersign_tests::talk;
use countersign_tests::world::{FILE, Setup, gateway, written};

fn standard() -> Arc<Gateway> {
    gateway(Setup::standard().load().unwrap())
}

/// What a conversation leads to, in one text.
fn outcome(pieces: &[&[u8]]) -> String {
    let mut solo = Solo::new(&standard());
    for piece in pieces {
        solo.offer(piece);
    }
    solo.run_jobs();
    let log = written(&solo.notes, solo.now());
    format!(
        "{} over={} hung_up={}\n{log}",
        solo.sent.escape_ascii(),
        solo.is_over(),
        solo.hung_up
    )
}

/// Cuts `bytes` at random places.
fn cut<'b>(random: &mut Random, bytes: &'b [u8]) -> Vec<&'b [u8]> {
    let mut rest = bytes;
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let most = if random.one_in(2) { 3 } else { rest.len() };
        let (piece, after) = rest.split_at(random.between(1, most.min(rest.len())));
        pieces.push(piece);
        rest = after;
    }
    pieces
}

#[test]
fn p1_any_split_of_the_bytes_gives_the_same_output() {
    let mut random = Random::new(1);
    for bytes in talk::refused().iter().chain(&talk::sockets()) {
        let whole = outcome(&[bytes]);
        for _ in 0..3 {
            let pieces = cut(&mut random, bytes);
            assert_eq!(outcome(&pieces), whole, "{}", bytes.escape_ascii());
        }
    }
}

#[test]
fn p1_one_byte_at_a_time_gives_the_same_output() {
    for bytes in talk::refused().iter().chain(&talk::sockets()) {
        let pieces: Vec<_> = bytes.chunks(1).collect();
        assert_eq!(outcome(&pieces), outcome(&[bytes]), "{}", bytes.escape_ascii());
    }
}

#[test]
fn p1b_bytes_behind_a_refused_upgrade_are_never_parsed() {
    let behind = upgrade("/api/ws").bearer(&talk::token()).bytes();
    for request in talk::refused() {
        let mut solo = Solo::new(&standard());
        solo.offer(&[request.as_slice(), &behind].concat());
        solo.run_jobs();
        let answer = Response::read(&solo.sent, false);
        let answer = answer.unwrap_or_else(|| panic!("no answer to {}", request.escape_ascii()));
        assert!(answer.status >= 400, "{answer:?}");
        assert_eq!(answer.raw.len(), solo.sent.len(), "{}", solo.sent.escape_ascii());
        assert!(answer.closes() && solo.hung_up, "{answer:?}");
    }
}

#[test]
fn p2_extra_steps_change_nothing() {
    for bytes in talk::sockets() {
        let (mut one, mut other) = (Solo::new(&standard()), Solo::new(&standard()));
        for piece in bytes.chunks(7) {
            one.offer(piece);
            other.offer(piece);
            other.nudge();
            other.nudge();
        }
        assert_eq!(
            one.sent.escape_ascii().to_string(),
            other.sent.escape_ascii().to_string()
        );
    }
}

#[test]
fn p4_before_a_grant_nothing_but_refusals_reach_the_client() {
    let mut random = Random::new(4);
    for _ in 0..300 {
        let mut solo = Solo::new(&standard());
        for _ in 0..random.between(1, 4) {
            let mut bytes = random.pick(&talk::refused()).clone();
            if !bytes.is_empty() && random.one_in(2) {
                let at = random.below(bytes.len());
                bytes[at] = random.next() as u8;
            }
            solo.offer(&bytes);
            solo.run_jobs();
        }
        let mut rest = solo.sent.as_slice();
        while let Some(answer) = Response::read(rest, false) {
            assert!(answer.status >= 400, "{}", solo.sent.escape_ascii());
            rest = &rest[answer.raw.len()..];
        }
        assert!(rest.is_empty(), "no answer: {}", rest.escape_ascii());
        assert_eq!(solo.dials, 0);
    }
}

#[test]
fn p6_with_no_further_input_every_connection_ends() {
    let mut random = Random::new(6);
    for _ in 0..400 {
        let mut solo = Solo::new(&standard());
        for _ in 0..random.between(0, 4) {
            match random.below(8) {
                0 => solo.pass(Duration::from_millis(random.next() % 20_000)),
                1 => solo.run_jobs(),
                2 => solo.lose_jobs(),
                3 => solo.step_wall_clock(random.next() as i32 % 100_000),
                4 => solo.take(random.one_in(2)),
                5 if random.one_in(4) => solo.finish(),
                6 if random.one_in(8) => solo.break_off(Break::Reset),
                _ => solo.offer(&talk::anything(&mut random)),
            }
        }
        solo.take(random.one_in(2));
        solo.starve();
    }
}

#[test]
fn p6_every_connection_gives_its_place_back() {
    let gateway = standard();
    let mut random = Random::new(66);
    for _ in 0..100 {
        let mut solo = Solo::new(&gateway);
        solo.offer(&talk::anything(&mut random));
        drop(solo);
    }
    let stats = gateway.stats();
    assert_eq!(
        (
            stats.connections,
            stats.sockets,
            stats.jobs_running,
            stats.jobs_waiting
        ),
        (0, 0, 0, 0)
    );
}

/// Says whether a socket was opened and not closed again with 3003.
fn is_served(solo: &Solo) -> bool {
    let ended = ["access changed", "revoked"].map(|reason| Frame::close(3003, reason).unmasked());
    solo.sent.starts_with(b"HTTP/1.1 101 ") && !ended.iter().any(|close| solo.sent.ends_with(close))
}

#[test]
fn r14_no_grant_races_a_revocation() {
    let request = upgrade("/api/ws").basic("alice", "correct horse").bytes();
    let revoked = Setup::passwords().replace("alice:", "zoe:");
    // Before the head, within it, behind it with the job not run, and behind the grant.
    for moment in 0..4 {
        let setup = Setup::standard();
        let (gateway, mut files) = (gateway(setup.load().unwrap()), setup.memory());
        let mut solo = Solo::new(&gateway);
        let mut revoke = |solo: &mut Solo, at| {
            if at == moment {
                files.insert("users.htpasswd", revoked.as_bytes());
                gateway.reload(FILE.as_ref(), &mut files, solo.now());
                solo.nudge();
            }
        };
        revoke(&mut solo, 0);
        solo.offer(&request[..60]);
        revoke(&mut solo, 1);
        solo.offer(&request[60..]);
        revoke(&mut solo, 2);
        solo.run_jobs();
        revoke(&mut solo, 3);
        solo.run_jobs();
        assert!(
            !is_served(&solo),
            "revoked at {moment}: {}",
            solo.sent.escape_ascii()
        );
    }
}

/// The bytes that revoke alice.
fn revocation() -> Vec<u8> {
    let body = r#"{"subject": "alice"}"#;
    get("/revoke")
        .method("POST")
        .bearer("token")
        .field("Content-Length", &body.len().to_string())
        .then(body.as_bytes())
        .bytes()
}

#[test]
fn e20_no_grant_races_a_posted_revocation() {
    let admin = serde_json::json!({"listen": ["127.0.0.1:0"], "tokenFile": "admin.token"});
    let setup = Setup::standard()
        .set("/admin", admin)
        .file("admin.token", "token");
    let by_password = upgrade("/api/ws").basic("alice", "correct horse").bytes();
    let by_token = upgrade("/api/ws").bearer(&talk::token()).bytes();
    for request in [by_password, by_token] {
        // Before each byte, before the job is run, and behind the grant.
        for moment in 0..request.len() + 3 {
            let gateway = gateway(setup.load().unwrap());
            let mut solo = Solo::new(&gateway);
            let mut step = 0;
            let mut revoke = |solo: &mut Solo| {
                if step == moment {
                    let mut admin = Solo::to(&gateway, 1, solo.now());
                    admin.offer(&revocation());
                    assert!(admin.sent.starts_with(b"HTTP/1.1 204 "));
                    solo.nudge();
                }
                step += 1;
            };
            for byte in &request {
                revoke(&mut solo);
                solo.offer(&[*byte]);
            }
            revoke(&mut solo);
            solo.run_jobs();
            revoke(&mut solo);
            revoke(&mut solo);
            assert!(
                !is_served(&solo),
                "revoked at {moment}: {}",
                solo.sent.escape_ascii()
            );
        }
    }
}
