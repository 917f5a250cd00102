//! Data points on several nodes that share a Redis.

use serde_json::{Value, json};

use super::bus::{node, open, settle, two, wait_for};
use crate::client::{Client, Frame, Request, get, upgrade};
use crate::fake::redis::Redis;
use crate::world::{Setup, Stage, World};

fn with_points() -> Setup {
    Setup::standard().set(
        "/services/points",
        json!({
            "type": "points", "realm": "demo", "origins": [], "endpoints": {"/a": "a", "/b": "b"},
            "acl": {"entries": [{"role": "Everyone", "allow": ["read", "write", "websocket.connect"]}]},
        }),
    )
}

fn point(path: &str) -> Request {
    upgrade(path).basic("alice", "correct horse")
}

/// Returns the value of the next state that a client is sent.
fn next_value(client: &mut Client) -> Value {
    let frame = client.read_message();
    let state: Value = serde_json::from_slice(&frame.payload).unwrap();
    state["value"].clone()
}

fn set(client: &mut Client, value: &Value) {
    client.send_frame(&Frame::text(&json!({"value": value}).to_string()));
    assert_eq!(next_value(client), *value);
}

fn read(stage: &Stage, path: &str) -> Value {
    let answer = stage.connect().ask(&get(path).basic("alice", "correct horse"));
    assert_eq!(answer.status, 200, "{answer:?}");
    let state: Value = serde_json::from_slice(&answer.body).unwrap();
    state["value"].clone()
}

/// M16: what is written on one node is read on all, every write in its order, and by who starts later
/// at once; nobody hears its own writes twice.
pub fn m16_a_data_point_is_one_on_all_nodes(world: &World) {
    let redis = Redis::new();
    let (one, two) = two(world, &redis, with_points());
    let (mut writer, mut reader) = (open(&one, &point("/a")), open(&two, &point("/a")));
    let mut other = open(&two, &point("/b"));
    for client in [&mut writer, &mut reader, &mut other] {
        assert_eq!(next_value(client), Value::Null);
    }
    for number in 1..=20 {
        set(&mut writer, &json!(number));
    }
    settle(&[&one, &two]);
    for number in 1..=20 {
        assert_eq!(next_value(&mut reader), json!(number));
    }
    set(&mut reader, &json!("back"));
    settle(&[&two, &one]);
    assert_eq!(next_value(&mut writer), json!("back"));
    set(&mut other, &json!("b"));
    settle(&[&two, &one]);
    assert_eq!((read(&one, "/a"), read(&one, "/b")), (json!("back"), json!("b")));
    let address = world.fake(redis.fake(), false);
    let three = node(with_points(), &address).start(world);
    wait_for(&three, true);
    assert_eq!(read(&three, "/a"), json!("back"));
    assert!(!redis.seen().windows(4).any(|part| part == b"back"));
}

/// M16: while Redis is away each node has its own values; then the latest one counts on all.
pub fn m16_data_points_catch_up_after_redis_was_away(world: &World) {
    let redis = Redis::new();
    let (one, two) = two(world, &redis, with_points());
    let open = |stage: &Stage, path: &str| {
        let mut client = open(stage, &point(path));
        next_value(&mut client);
        client
    };
    let (mut a, mut b) = (open(&one, "/a"), open(&one, "/b"));
    set(&mut b, &json!("before"));
    settle(&[&one, &two]);
    redis.is_away(true);
    settle(&[&one, &two]);
    for stage in [&one, &two] {
        wait_for(stage, false);
    }
    set(&mut a, &json!("alone"));
    assert_eq!(read(&two, "/a"), Value::Null);
    redis.forget();
    redis.is_away(false);
    for stage in [&one, &two] {
        wait_for(stage, true);
    }
    settle(&[&one, &two]);
    assert_eq!(
        (read(&two, "/a"), read(&two, "/b")),
        (json!("alone"), json!("before"))
    );
}
