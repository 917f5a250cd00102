//! The table of revocations at its bound, through the listener that fills it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use countersign_tests::client::get;
use countersign_tests::sim::Habits;
use countersign_tests::world::{Kind, Setup, World};
use serde_json::json;

/// REFERENCE: the table takes a hundred thousand and evicts none: then it is 507, and a log line.
const BOUND: usize = 100_000;

/// Orders that are sent at once.
const TOGETHER: usize = 500;

fn order(subject: usize) -> Vec<u8> {
    let body = json!({"subject": format!("user-{subject}")}).to_string();
    get("/revoke")
        .method("POST")
        .bearer("an-administrators-token")
        .field("Content-Length", &body.len().to_string())
        .then(body.as_bytes())
        .bytes()
}

#[test]
fn e20_a_full_table_is_507_and_forgets_nobody() {
    let world = World::new(Kind::Sim, 20, Habits::CALM);
    let stage = Setup::standard()
        .set(
            "/admin",
            json!({"listen": ["127.0.0.1:0"], "tokenFile": "admin.token"}),
        )
        .file("admin.token", "an-administrators-token")
        .start(&world);
    let mut client = stage.connect_to(1);
    for first in (0..BOUND).step_by(TOGETHER) {
        let orders: Vec<u8> = (first..first + TOGETHER).flat_map(order).collect();
        client.send(&orders);
        for _ in 0..TOGETHER {
            assert_eq!(client.expect_response().status, 204);
        }
    }
    client.send(&order(BOUND));
    assert_eq!(client.expect_response().status, 507);
    // Who is in the table already can be revoked for another time.
    client.send(&order(0));
    assert_eq!(client.expect_response().status, 204);
    assert!(stage.log().contains("507"), "the log tells");
}
