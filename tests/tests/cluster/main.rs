//! Three simulated nodes that share a Redis which comes and goes: what holds whatever happens in
//! whichever order.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod broadcast;

use std::collections::BTreeMap;
use std::time::Duration;

use countersign_core::note::Note;
use countersign_tests::client::{Client, Frame, get, upgrade};
use countersign_tests::fake::redis::Redis;
use countersign_tests::random::Random;
use countersign_tests::sim::Habits;
use countersign_tests::world::{Kind, Setup, Stage, World};
use serde_json::{Value, json};

const NODES: usize = 3;
const STEPS: usize = 60;

fn setup(redis: &str) -> Setup {
    Setup::standard()
        .patient()
        .set(
            "/bus",
            json!({"redis": format!("redis://{redis}"), "secretFile": "bus.secret"}),
        )
        .file("bus.secret", "0123456789abcdef0123456789abcdef")
        .set(
            "/admin",
            json!({"listen": ["127.0.0.1:0"], "tokenFile": "admin.token"}),
        )
        .file("admin.token", "t")
        .set(
            "/services/points",
            json!({
                "type": "points", "public": true, "endpoints": {"/p": "p"},
            }),
        )
        .set(
            "/services/writers",
            json!({
                "type": "points", "realm": "demo", "origins": [], "endpoints": {"/w": "p"},
                "acl": {"entries": [
                    {"role": "Everyone", "allow": ["read", "write", "websocket.connect"]},
                ]},
            }),
        )
}

/// A node, who writes at it, and what its reader has read.
struct Node {
    stage: Stage,
    writer: Client,
    reader: Client,
    read: Vec<String>,
}

fn settle(nodes: &[Node]) {
    for _ in 0..20 {
        for node in nodes {
            node.stage.nudge();
            node.stage.pass(Duration::from_millis(2));
        }
    }
}

fn is_up(stage: &Stage) -> bool {
    let states = stage.notes().into_iter().filter_map(|note| {
        let Note::Bus { up } = note else { return None };
        Some(up)
    });
    states.last() == Some(true)
}

fn status(stage: &Stage, user: (&str, &str)) -> u16 {
    stage
        .connect()
        .ask(&upgrade("/api/ws").basic(user.0, user.1))
        .status
}

fn revoke(stage: &Stage, time: &str) {
    let body = json!({"subject": "alice", "for": time}).to_string();
    let order = get("/revoke")
        .method("POST")
        .field("Content-Length", &body.len().to_string())
        .then(body.as_bytes())
        .bearer("t");
    assert_eq!(stage.connect_to(1).ask(&order).status, 204);
}

fn run(seed: u64) {
    let mut random = Random::new(seed);
    let redis = Redis::new();
    let world = World::new(Kind::Sim, seed, Habits::CALM);
    let address = world.fake(redis.fake(), false);
    let mut nodes: Vec<Node> = (0..NODES)
        .map(|_| {
            let stage = setup(&address).start(&world);
            stage.wait_until("the bus", is_up);
            let open = |path: &str| {
                let mut client = stage.connect();
                client.open(&upgrade(path).basic("bob", "battery staple"));
                client.read_message();
                client
            };
            let (writer, reader) = (open("/w"), open("/p"));
            Node {
                stage,
                writer,
                reader,
                read: Vec::new(),
            }
        })
        .collect();
    let (mut away, mut written) = (false, 0);
    for _ in 0..STEPS {
        let index = random.below(NODES);
        match random.below(8) {
            0..4 => {
                written += 1;
                let value = format!("{index} {written:04}");
                let node = &mut nodes[index];
                node.writer
                    .send_frame(&Frame::text(&json!({"value": value}).to_string()));
                node.stage.pass(Duration::from_millis(1));
            }
            4 => revoke(
                &nodes[index].stage,
                if random.below(2) == 0 { "0s" } else { "1 hour" },
            ),
            5 => {
                away = !away;
                redis.is_away(away);
                if random.below(3) == 0 {
                    redis.forget();
                }
            }
            _ => settle(&nodes),
        }
    }
    redis.is_away(false);
    for _ in 0..3 {
        settle(&nodes);
        for node in &nodes {
            node.stage.wait_until("the bus", |stage| {
                stage.nudge();
                is_up(stage)
            });
        }
    }
    settle(&nodes);
    // One last word, and one last post: everybody is connected.
    nodes[0]
        .writer
        .send_frame(&Frame::text(&json!({"value": "end"}).to_string()));
    settle(&nodes);
    for node in &mut nodes {
        loop {
            let state: Value = serde_json::from_slice(&node.reader.read_message().payload).unwrap();
            let value = state["value"].as_str().unwrap().to_owned();
            let ended = value == "end";
            node.read.push(value);
            if ended {
                break;
            }
        }
    }
    for node in &nodes {
        // Nothing twice, and what one node has said in its order.
        let mut last: BTreeMap<&str, &str> = BTreeMap::new();
        for value in node.read.iter().filter(|value| *value != "end") {
            let (sender, number) = value.split_once(' ').unwrap();
            let before = last.insert(sender, number);
            assert!(before.is_none_or(|before| before < number), "{:?}", node.read);
        }
    }
    let alice = ("alice", "correct horse");
    let statuses: Vec<_> = nodes.iter().map(|node| status(&node.stage, alice)).collect();
    assert!(
        statuses.iter().all(|status| *status == statuses[0]),
        "{statuses:?}"
    );
    revoke(&nodes[NODES - 1].stage, "1 hour");
    settle(&nodes);
    for node in &nodes {
        assert_eq!(status(&node.stage, alice), 401);
        assert_eq!(status(&node.stage, ("bob", "battery staple")), 101);
    }
}

fn for_all_seeds(count: u64, run: impl Fn(u64) + std::panic::RefUnwindSafe) {
    for seed in 0..count {
        let run = std::panic::catch_unwind(|| run(seed));
        if let Err(panic) = run {
            eprintln_seed(seed);
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn nodes_agree_in_the_end_and_nothing_is_told_twice_or_out_of_order() {
    for_all_seeds(20, run);
}

#[allow(clippy::print_stderr, reason = "whoever sees a failure needs its seed")]
fn eprintln_seed(seed: u64) {
    eprintln!("with seed {seed}");
}
