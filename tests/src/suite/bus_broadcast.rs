//! Broadcast on several nodes that share a Redis: members hear each other wherever they are.

use std::time::Duration;

use serde_json::{Value, json};

use super::bus::{metric, node, open, settle, two, wait_for};
use crate::client::{BINARY, Client, Frame, TEXT, upgrade};
use crate::fake::redis::Redis;
use crate::world::{BOB, FILE, Kind, Setup, Stage, World};

/// How long is waited for what must not come.
const SILENCE: Duration = Duration::from_millis(50);

fn topic(path: &str) -> Value {
    json!({"type": "broadcast", "accept": path, "realm": "demo", "origins": []})
}

fn with_chat() -> Setup {
    Setup::standard().set("/services/chat", topic("/chat"))
}

fn member(stage: &Stage) -> Client {
    member_of(stage, "/chat")
}

fn member_of(stage: &Stage, path: &str) -> Client {
    open(stage, &upgrade(path).basic(BOB.0, BOB.1))
}

fn say(client: &mut Client, text: &str) {
    client.send_frame(&Frame::text(text));
}

fn hear(client: &mut Client, text: &str) {
    let frame = client.read_message();
    assert_eq!(
        frame,
        Frame::text(text),
        "{:?}",
        String::from_utf8_lossy(&frame.payload)
    );
}

/// Waits until a member of one node is heard on the other.
fn meet(stages: &[&Stage; 2], from: &mut Client, to: &mut Client) {
    say(from, "end");
    settle(&stages[..]);
    hear(to, "end");
}

/// M18: what a member says is heard on all nodes, text as text and binary as binary; who said it hears
/// nothing, and Redis understands nothing.
pub fn m18_a_broadcast_is_one_on_all_nodes(world: &World) {
    let redis = Redis::new();
    let (one, two) = two(world, &redis, with_chat().set("/services/news", topic("/news")));
    let (mut sender, mut here, mut there) = (member(&one), member(&one), member(&two));
    let mut other = member_of(&two, "/news");
    for frame in [
        Frame::text("hällo, all of you"),
        Frame::whole(BINARY, &[0, 255, 0]),
        Frame::text(""),
        Frame::whole(BINARY, &vec![7; 70_000]),
    ] {
        sender.send_frame(&frame);
        assert_eq!(here.read_message(), frame);
        settle(&[&one, &two]);
        assert_eq!(there.read_message(), frame);
    }
    say(&mut there, "back");
    settle(&[&two, &one]);
    hear(&mut sender, "back");
    hear(&mut here, "back");
    for client in [&mut sender, &mut here, &mut there, &mut other] {
        client.expect_silence(SILENCE);
    }
    assert!(!redis.seen().windows(4).any(|part| part == b"back"));
    assert!(metric(&two, "countersign_bus_unopened_total 0"));
    assert!(metric(&one, "countersign_bus_dropped_total 0"));
}

/// M18: everybody hears what each sender said in its order, wherever both are, and a burst is not too
/// much for who reads.
pub fn m18_a_burst_is_heard_on_all_nodes_in_order(world: &World) {
    let redis = Redis::new();
    // The bursts are larger than a mailbox. On a busy machine a member may have no turn for longer than others wait
    // for it, and what they say then has to have room.
    let mailbox = match world.kind() {
        Kind::Sim => 100_000,
        Kind::Smol | Kind::Std => 500_000,
    };
    let setup = with_chat().set("/services/chat/mailboxBytes", mailbox);
    let (one, two) = two(world, &redis, setup);
    let (mut a, mut b, mut here, mut there) = (member(&one), member(&two), member(&one), member(&two));
    let pad = "x".repeat(1_000);
    for (name, client) in [("a", &mut a), ("b", &mut b)] {
        let texts = (0..300).map(|number| format!("{name} {number} {pad}"));
        let burst: Vec<_> = texts.flat_map(|text| Frame::text(&text).masked()).collect();
        client.send(&burst);
    }
    settle(&[&one, &two, &one, &two]);
    for (client, counts) in [
        (&mut here, [300, 300]),
        (&mut there, [300, 300]),
        (&mut a, [0, 300]),
        (&mut b, [300, 0]),
    ] {
        let mut heard = [0, 0];
        while heard != counts {
            let text = String::from_utf8(client.read_message().payload).unwrap();
            let mut words = text.split(' ');
            let sender = usize::from(words.next() == Some("b"));
            assert_eq!(words.next().unwrap(), heard[sender].to_string());
            heard[sender] += 1;
        }
    }
}

/// M18: Redis cannot make members hear anything twice, or anything that nobody has said.
pub fn m18_what_redis_repeats_or_invents_is_not_heard(world: &World) {
    let redis = Redis::new();
    let (one, two) = two(world, &redis, with_chat());
    let (mut sender, mut here, mut there) = (member(&one), member(&one), member(&two));
    for text in ["first", "second"] {
        say(&mut sender, text);
        settle(&[&one, &two]);
        hear(&mut there, text);
        hear(&mut here, text);
    }
    redis.repeat();
    let sealed = redis.last_published().unwrap();
    let mut changed = sealed.clone();
    changed[60] ^= 1;
    for message in [&b"garbage"[..], &[], &sealed[..sealed.len() - 1], &changed] {
        redis.say(message);
    }
    settle(&[&one, &two]);
    for client in [&mut sender, &mut here, &mut there] {
        client.expect_silence(SILENCE);
    }
    for stage in [&one, &two] {
        stage.wait_until("four that do not open", |stage| {
            stage.nudge();
            metric(stage, "countersign_bus_unopened_total 4")
        });
    }
    meet(&[&one, &two], &mut sender, &mut there);
}

/// M18: a message for a service that this node does not have, or that is another one here, is dropped
/// and counted, whoever has sealed it.
pub fn m18_a_message_for_no_broadcast_of_this_node_is_dropped(world: &World) {
    let redis = Redis::new();
    let address = world.fake(redis.fake(), false);
    let one = node(
        with_chat()
            .set("/services/elsewhere", topic("/elsewhere"))
            .set("/services/points", topic("/points")),
        &address,
    )
    .start(world);
    let points = json!({"type": "points", "public": true, "endpoints": {"/points": "points"}});
    let two = node(with_chat().set("/services/points", points), &address).start(world);
    for stage in [&one, &two] {
        wait_for(stage, true);
    }
    let mut there = member(&two);
    let mut reader = open(&two, &upgrade("/points"));
    assert_eq!(reader.read_message().opcode, TEXT);
    for path in ["/elsewhere", "/points"] {
        say(&mut member_of(&one, path), r#"{"value": 1}"#);
    }
    let mut sender = member(&one);
    meet(&[&one, &two], &mut sender, &mut there);
    for client in [&mut reader, &mut there] {
        client.expect_silence(SILENCE);
    }
    assert!(metric(&two, "countersign_bus_unopened_total 2"));
}

/// M18: without Redis members hear those of their own node, and nothing of that time is told later.
pub fn m18_while_redis_is_away_members_hear_their_own_node(world: &World) {
    let redis = Redis::new();
    let (one, two) = two(world, &redis, with_chat());
    let (mut sender, mut here, mut there) = (member(&one), member(&one), member(&two));
    meet(&[&one, &two], &mut sender, &mut there);
    hear(&mut here, "end");
    redis.is_away(true);
    settle(&[&one, &two]);
    for stage in [&one, &two] {
        wait_for(stage, false);
    }
    for number in 0..20 {
        say(&mut sender, &number.to_string());
        hear(&mut here, &number.to_string());
    }
    redis.is_away(false);
    for stage in [&one, &two] {
        wait_for(stage, true);
    }
    redis.repeat();
    settle(&[&one, &two]);
    there.expect_silence(SILENCE);
    meet(&[&one, &two], &mut sender, &mut there);
    hear(&mut here, "end");
    for client in [&mut sender, &mut here, &mut there] {
        client.expect_silence(SILENCE);
    }
}

/// M18: a member that does not read is dropped by its own node; whoever else hears, on either, hears
/// everything.
pub fn m18_a_slow_member_on_another_node_is_1013_and_hurts_nobody(world: &World) {
    let (count, length) = match world.kind() {
        Kind::Sim => (100, 4_000),
        Kind::Smol | Kind::Std => (120, 200_000),
    };
    let redis = Redis::new();
    let setup = with_chat()
        .set("/services/chat/mailboxBytes", 300_000)
        .unsplit()
        .limit("stallTimeout", "1 hour")
        .limit("closeTimeout", "1 minute");
    let (one, two) = two(world, &redis, setup);
    let (mut sender, mut here, mut there, mut slow) =
        (member(&one), member(&one), member(&two), member(&two));
    slow.stop_reading(4096);
    let pad = "x".repeat(length);
    for number in 0..count {
        let text = format!("{number} {pad}");
        say(&mut sender, &text);
        hear(&mut here, &text);
        settle(&[&one, &two]);
        hear(&mut there, &text);
    }
    let mut next = 0;
    let close = loop {
        let frame = slow.read_message();
        if frame.opcode != TEXT {
            break frame;
        }
        assert_eq!(frame.payload, format!("{next} {pad}").as_bytes());
        next += 1;
    };
    assert_eq!(close, Frame::close(1013, "slow consumer"));
    assert!(next < count, "{next} of {count} messages waited");
    meet(&[&one, &two], &mut sender, &mut there);
    hear(&mut here, "end");
}

/// M18: the longest message that nodes tell each other, and one byte more.
pub fn m18_a_message_of_more_than_4_mib_stays_on_its_node(world: &World) {
    const LONGEST: usize = 4 * 1024 * 1024;
    let redis = Redis::new();
    let setup = with_chat().unsplit().limit("messageBytes", LONGEST + 1);
    let (one, two) = two(world, &redis, setup);
    let (mut sender, mut here, mut there) = (member(&one), member(&one), member(&two));
    for length in [LONGEST + 1, LONGEST] {
        let frame = Frame::whole(BINARY, &vec![7; length]);
        sender.send_frame(&frame);
        assert!(here.read_message() == frame);
    }
    settle(&[&one, &two]);
    assert_eq!(there.read_message().payload.len(), LONGEST);
    assert!(metric(&one, "countersign_bus_dropped_total 1"));
    one.wait_until("a warning", |stage| {
        stage.log().contains("limits.messageBytes is 4194305")
    });
}

/// M18: senders wait for a Redis that takes nothing, for a short time; then it is the other nodes that
/// miss something, which is counted and said.
pub fn m18_a_slow_redis_holds_senders_up_for_a_short_time(world: &World) {
    // More than are sent before the first of them is answered, and then more bytes than wait.
    const MANY: u16 = 1_100;
    const LARGE: u16 = 14;
    let redis = Redis::new();
    let setup = with_chat()
        .unsplit()
        .set("/services/chat/mailboxBytes", 4_000_000);
    let (one, two) = two(world, &redis, setup);
    let (mut sender, mut here, mut there) = (member(&one), member(&one), member(&two));
    let frame = |number: u16| {
        let mut payload = vec![7; if number < MANY { 2 } else { 900_000 }];
        payload[..2].copy_from_slice(&number.to_be_bytes());
        Frame::whole(BINARY, &payload)
    };
    redis.is_silent(true);
    let many: Vec<_> = (0..MANY).flat_map(|number| frame(number).masked()).collect();
    sender.send(&many);
    for number in 0..MANY {
        if number % 100 == 0 {
            // It is slow, not gone: however long all this takes, no answer is late.
            redis.answers_one();
        }
        assert!(here.read_message() == frame(number));
    }
    for number in MANY..MANY + LARGE {
        redis.answers_one();
        sender.send_frame(&frame(number));
        assert!(here.read_message() == frame(number));
    }
    redis.answers_one();
    one.wait_until("a warning", |stage| {
        stage.log().contains("are heard on this node alone")
    });
    assert!(!metric(&one, "countersign_bus_dropped_total 0"));
    redis.is_silent(false);
    settle(&[&one, &two]);
    // What was not dropped arrives, in its order.
    let mut last = None;
    while last < Some(1000) {
        let payload = there.read_message().payload;
        let number = u16::from_be_bytes([payload[0], payload[1]]);
        assert!(last.is_none_or(|last| last < number));
        last = Some(number);
    }
    assert!(metric(&one, "countersign_bus_up 1"));
}

/// E16: a service that a reload adds is shared, and one that it removes is not any more.
pub fn m18_a_topic_is_shared_as_soon_as_it_is_configured(world: &World) {
    let redis = Redis::new();
    let address = world.fake(redis.fake(), false);
    let setup = node(with_chat(), &address);
    let (one, two) = (setup.clone().start(world), setup.clone().start(world));
    for stage in [&one, &two] {
        wait_for(stage, true);
    }
    let later = setup
        .set("/services/chat", topic("/moved"))
        .set("/services/later", topic("/chat"));
    for stage in [&one, &two] {
        stage.replace(FILE, &later.all_files()[FILE]);
        stage.reload();
        stage.wait_until("the new path", |stage| {
            stage.connect().ask(&upgrade("/moved").basic(BOB.0, BOB.1)).status == 101
        });
    }
    for path in ["/moved", "/chat"] {
        let (mut sender, mut there) = (member_of(&one, path), member_of(&two, path));
        meet(&[&one, &two], &mut sender, &mut there);
    }
}
