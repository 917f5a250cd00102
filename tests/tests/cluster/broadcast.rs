//! Broadcast among three nodes on bad days: delays, partitions of one node and of all, nodes that stand
//! still, a Redis that restarts, repeats what it has heard, and reads late what was sent long ago.

use std::collections::BTreeMap;
use std::time::Duration;

use countersign_core::note::Note;
use countersign_tests::client::{Client, Frame, upgrade};
use countersign_tests::fake::redis::Redis;
use countersign_tests::random::Random;
use countersign_tests::sim::Habits;
use countersign_tests::world::{Kind, Stage, World};
use serde_json::json;

use super::{NODES, for_all_seeds, is_up, setup};

const STEPS: usize = 80;

/// Longer than a node waits for an answer of Redis.
const TOO_LONG: Duration = Duration::from_secs(6);

/// A node, a member that speaks, and one that hears.
struct Node {
    stage: Stage,
    speaker: Client,
    listener: Client,
    /// How much it has said.
    said: usize,
    /// It stands still.
    paused: bool,
}

/// A message: who said it, and the how many-th of this node it is.
type Message = (usize, usize);

/// A message that has to be heard everywhere, unless a node was alone meanwhile.
struct Sent {
    message: Message,
    /// How often each node was alone until then; `None` for who is so now.
    alone: [Option<usize>; NODES],
}

struct Cluster {
    redis: Redis,
    nodes: Vec<Node>,
    sent: Vec<Sent>,
    /// The last message of each node that each listener has heard.
    heard: [BTreeMap<usize, usize>; NODES],
    /// How many messages were heard from other nodes.
    crossed: usize,
}

/// Returns how often a node was alone; `None` while it is.
fn alone(stage: &Stage) -> Option<usize> {
    let downs = stage
        .notes()
        .iter()
        .filter(|note| matches!(note, Note::Bus { up: false }))
        .count();
    is_up(stage).then_some(downs)
}

impl Cluster {
    fn new(seed: u64, habits: Habits) -> Self {
        let redis = Redis::new();
        let world = World::new(Kind::Sim, seed, habits);
        let places: Vec<_> = (0..NODES)
            .map(|place| world.fake(redis.fake_for(place), false))
            .collect();
        let nodes = places.iter().map(|address| {
            let chat = json!({"type": "broadcast", "accept": "/chat", "public": true});
            let stage = setup(address).set("/services/chat", chat).start(&world);
            stage.wait_until("the bus", is_up);
            let open = || {
                let mut client = stage.connect();
                client.open(&upgrade("/chat"));
                client
            };
            let (speaker, listener) = (open(), open());
            Node {
                stage,
                speaker,
                listener,
                said: 0,
                paused: false,
            }
        });
        Self {
            redis,
            nodes: nodes.collect(),
            sent: Vec::new(),
            heard: Default::default(),
            crossed: 0,
        }
    }

    /// Lets time pass on all nodes that do not stand still.
    fn pass(&self, time: Duration) {
        for node in self.nodes.iter().filter(|node| !node.paused) {
            node.stage.nudge();
            node.stage.pass(time);
        }
    }

    fn settle(&self) {
        for _ in 0..20 {
            self.pass(Duration::from_millis(2));
        }
    }

    fn say(&mut self, index: usize) {
        let alone = std::array::from_fn(|index| alone(&self.nodes[index].stage));
        let node = &mut self.nodes[index];
        node.said += 1;
        let message = (index, node.said);
        node.speaker
            .send_frame(&Frame::text(&format!("{index} {}", node.said)));
        if !node.paused {
            node.stage.pass(Duration::from_millis(1));
        }
        self.sent.push(Sent { message, alone });
    }

    fn disturb(&mut self, random: &mut Random) {
        let index = random.below(NODES);
        match random.below(12) {
            // A delay, or a partition if it lasts.
            0 => self.redis.is_cut(index, true),
            1 | 2 => self.redis.is_cut(index, false),
            3 => (0..NODES).for_each(|place| self.redis.is_cut(place, true)),
            4 => {
                self.redis.is_away(true);
                self.pass(Duration::from_millis(5));
                self.redis.is_away(false);
            }
            5 => self.nodes[index].paused = true,
            6 | 7 => self.nodes[index].paused = false,
            8 => self.redis.repeat(),
            9 => self.redis.read_late(),
            10 => self.pass(TOO_LONG),
            _ => self.settle(),
        }
    }

    /// Lets everything become well, has every node speak, and reads what every listener has heard.
    fn check(&mut self) {
        for node in &mut self.nodes {
            node.paused = false;
        }
        for place in 0..NODES {
            self.redis.is_cut(place, false);
        }
        self.settle();
        for _ in 0..1000 {
            if self.nodes.iter().all(|node| is_up(&node.stage)) {
                break;
            }
            self.pass(Duration::from_millis(100));
        }
        self.settle();
        // What was sent before a node was alone may be read now.
        self.redis.read_late();
        self.settle();
        let last: Vec<_> = (0..NODES)
            .map(|index| {
                self.say(index);
                self.nodes[index].said
            })
            .collect();
        for _ in 0..3 {
            self.settle();
        }
        let mut heard = vec![Vec::new(); NODES];
        for (index, heard) in heard.iter_mut().enumerate() {
            while !last
                .iter()
                .enumerate()
                .all(|last| heard.contains(&(last.0, *last.1)))
            {
                heard.push(self.hear(index));
            }
        }
        let now: Vec<_> = self.nodes.iter().map(|node| alone(&node.stage)).collect();
        for Sent { message, alone } in std::mem::take(&mut self.sent) {
            let connected = |index: usize| alone[index].is_some() && alone[index] == now[index];
            for (index, heard) in heard.iter().enumerate() {
                let (sender, _) = message;
                if sender == index || (connected(sender) && connected(index)) {
                    assert!(
                        heard.contains(&message),
                        "node {index} has missed {message:?}: {heard:?}"
                    );
                }
                self.crossed += usize::from(sender != index && heard.contains(&message));
            }
        }
    }

    /// Reads the next message of one listener, which comes behind all others of its sender.
    fn hear(&mut self, index: usize) -> Message {
        let payload = self.nodes[index].listener.read_message().payload;
        let text = String::from_utf8(payload).unwrap();
        let (sender, number) = text.split_once(' ').unwrap();
        let (sender, number) = (sender.parse().unwrap(), number.parse().unwrap());
        let before = self.heard[index].insert(sender, number);
        assert!(
            before.is_none_or(|before| before < number),
            "node {index} has heard {number} of {sender} behind {before:?}"
        );
        (sender, number)
    }
}

fn run(seed: u64, habits: Habits) {
    let mut random = Random::new(seed);
    let mut cluster = Cluster::new(seed, habits);
    for _ in 0..STEPS {
        match random.below(20) {
            0 => cluster.check(),
            1..14 => cluster.say(random.below(NODES)),
            _ => cluster.disturb(&mut random),
        }
    }
    cluster.check();
    assert!(
        cluster.crossed > STEPS / 4,
        "{} is too few to tell",
        cluster.crossed
    );
    // Nobody was lost on the way: every speaker and every listener is there.
    for node in &cluster.nodes {
        assert_eq!(node.stage.gateway().stats().sockets, 2);
    }
}

#[test]
fn m18_members_miss_nothing_hear_nothing_twice_and_every_sender_in_order() {
    for_all_seeds(40, |seed| run(seed, Habits::CALM));
}

#[test]
fn m18_so_it_is_with_short_reads_short_writes_and_delays() {
    for_all_seeds(20, |seed| run(seed, Habits::ROUGH));
}
