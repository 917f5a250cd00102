//! Broadcast: what one member sends, all others receive.

use std::time::Duration;

use serde_json::{Value, json};

use super::refused;
use crate::client::{BINARY, Client, Frame, Request, TEXT, get, upgrade};
use crate::world::{ALICE, BOB, FILE, Kind, Setup, Stage, World};

const CHAT: &str = "/chat";
const NEWS: &str = "/news";

/// How long is waited for what must not come.
const SILENCE: Duration = Duration::from_millis(50);

fn setup() -> Setup {
    let service = |path: &str| json!({"type": "broadcast", "accept": path, "realm": "demo", "origins": ["https://app.example"]});
    Setup::standard()
        .set("/services/chat", service(CHAT))
        .set("/services/news", service(NEWS))
}

fn chat(base: Setup, member: &str, value: impl Into<Value>) -> Setup {
    base.set(&format!("/services/chat/{member}"), value)
}

fn alice(request: Request) -> Request {
    request.basic(ALICE.0, ALICE.1)
}

/// A member: it is in the topic before its 101 is sent.
fn member(stage: &Stage, path: &str) -> Client {
    let mut client = stage.connect();
    client.open(&upgrade(path).basic(BOB.0, BOB.1));
    client
}

fn members<const N: usize>(stage: &Stage) -> [Client; N] {
    std::array::from_fn(|_| member(stage, CHAT))
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

/// M18: text stays text, binary stays binary, and the sender gets no copy.
pub fn m18_what_one_says_all_others_hear(world: &World) {
    let stage = setup().start(world);
    let [mut one, mut two, mut three] = members(&stage);
    for frame in [
        Frame::text("hällo"),
        Frame::whole(BINARY, &[0, 255, 0]),
        Frame::text(""),
        Frame::whole(BINARY, &vec![7; 70_000]),
    ] {
        one.send_frame(&frame);
        assert_eq!(two.read_message(), frame);
        assert_eq!(three.read_message(), frame);
    }
    // A message in fragments is one message.
    let mut first = Frame::text("in ");
    first.last = false;
    three.send(&[first.masked(), Frame::whole(0, b"parts").masked()].concat());
    hear(&mut one, "in parts");
    hear(&mut two, "in parts");
    for client in [&mut one, &mut two, &mut three] {
        client.expect_silence(SILENCE);
    }
}

/// M18: everybody hears what each sender said in its order.
pub fn m18_each_sender_is_heard_in_order(world: &World) {
    let stage = setup().start(world);
    let [mut one, mut two, mut listener] = members(&stage);
    for number in 0..100 {
        say(&mut one, &format!("1 {number}"));
        say(&mut two, &format!("2 {number}"));
    }
    let mut heard = [0, 0];
    while heard != [100, 100] {
        let text = String::from_utf8(listener.read_message().payload).unwrap();
        let (sender, number) = text.split_once(' ').unwrap();
        let next = &mut heard[sender.parse::<usize>().unwrap() - 1];
        assert_eq!(number, next.to_string());
        *next += 1;
    }
    for number in 0..100 {
        hear(&mut one, &format!("2 {number}"));
        hear(&mut two, &format!("1 {number}"));
    }
}

/// M18: who reads is not dropped because somebody sends faster than the gateway hands on: the sender
/// is read as fast as the others have their turns.
pub fn m18_a_burst_reaches_everybody_who_reads(world: &World) {
    let stage = chat(setup(), "mailboxBytes", 100_000).start(world);
    let [mut sender, mut one, mut two] = members(&stage);
    let pad = "x".repeat(1_000);
    let texts: Vec<_> = (0..1_000).map(|number| format!("{number} {pad}")).collect();
    let burst: Vec<_> = texts.iter().flat_map(|text| Frame::text(text).masked()).collect();
    sender.send(&burst);
    for text in &texts {
        hear(&mut one, text);
        hear(&mut two, text);
    }
    say(&mut one, "thanks");
    hear(&mut sender, "thanks");
}

/// M18: what waits for a member is bounded; one that does not read is dropped with 1013, and the
/// others hear everything meanwhile.
pub fn m18_a_slow_member_is_1013_and_hurts_nobody(world: &World) {
    // More than two socket buffers of an operating system, but not of the simulator.
    let (count, length) = match world.kind() {
        Kind::Sim => (100, 4_000),
        Kind::Smol | Kind::Std => (120, 200_000),
    };
    let stage = chat(setup(), "mailboxBytes", 300_000)
        .unsplit()
        .limit("stallTimeout", "1 hour")
        .limit("closeTimeout", "1 minute")
        .start(world);
    let [mut sender, mut slow, mut one, mut two] = members(&stage);
    slow.stop_reading(4096);
    let pad = "x".repeat(length);
    for number in 0..count {
        let text = format!("{number} {pad}");
        say(&mut sender, &text);
        hear(&mut one, &text);
        hear(&mut two, &text);
    }
    let mut next = 0;
    let close = loop {
        let frame = slow.read_message();
        if frame.opcode != TEXT {
            break frame;
        }
        // What was on its way already still arrives, in order and whole.
        assert_eq!(frame.payload, format!("{next} {pad}").as_bytes());
        next += 1;
    };
    assert_eq!(close, Frame::close(1013, "slow consumer"));
    assert!(next < count, "{next} of {count} messages waited");
    slow.half_close();
    slow.expect_eof();
    let closed = &stage.closings(1)[0];
    assert_eq!((closed.code, &*closed.reason), (1013, "slow consumer"));
    say(&mut sender, "still here");
    hear(&mut one, "still here");
    hear(&mut two, "still here");
}

/// M18: a thousand members, one of which does not read, hear everything.
pub fn m18_a_thousand_members_hear_beside_a_slow_one(world: &World) {
    // Real ones would cost more descriptors than many systems allow.
    let (count, length) = match world.kind() {
        Kind::Sim => (1_000, 4_000),
        Kind::Smol | Kind::Std => (100, 4_000),
    };
    let public = json!({"type": "broadcast", "accept": "/all", "public": true, "mailboxBytes": 20_000});
    let stage = Setup::standard()
        .set("/services/all", public)
        .limit("connections", 2_000)
        .unsplit()
        .start(world);
    let open = || {
        let mut client = stage.connect();
        client.open(&upgrade("/all"));
        client
    };
    let (mut sender, mut slow) = (open(), open());
    let mut others: Vec<_> = (0..count).map(|_| open()).collect();
    slow.stop_reading(1_000);
    let texts: Vec<_> = (0..40)
        .map(|number| format!("{number} {}", "x".repeat(length)))
        .collect();
    sender.send(
        &texts
            .iter()
            .flat_map(|text| Frame::text(text).masked())
            .collect::<Vec<_>>(),
    );
    for other in &mut others {
        for text in &texts {
            hear(other, text);
        }
    }
    if world.kind() == Kind::Sim {
        stage.wait_until("the end of the slow one", |stage| {
            stage.gateway().stats().sockets == count + 1
        });
    }
}

/// M18: a member with an empty mailbox is not slow, however long the message.
pub fn m18_a_message_longer_than_the_mailbox_passes(world: &World) {
    let stage = chat(setup(), "mailboxBytes", 10).start(world);
    let [mut one, mut two] = members(&stage);
    for length in [1, 100, 100_000] {
        let text = "x".repeat(length);
        say(&mut one, &text);
        hear(&mut two, &text);
    }
}

/// M18: what was sent before a Close is heard, even where the sender would have had to wait.
pub fn m18_the_last_words_are_heard(world: &World) {
    let stage = chat(setup(), "mailboxBytes", 2_000).start(world);
    let [mut sender, mut other] = members(&stage);
    let texts = ["1", "2", "3"].map(|number| number.repeat(600));
    let mut bytes: Vec<_> = texts.iter().flat_map(|text| Frame::text(text).masked()).collect();
    bytes.extend(Frame::close(1000, "").masked());
    sender.send(&bytes);
    sender.expect_close_frame(1000, "");
    for text in &texts {
        hear(&mut other, text);
    }
}

/// M18: a member whose Close was sent, and who does not answer it, is waited for by nobody.
pub fn m18_who_is_leaving_holds_up_nobody(world: &World) {
    let stage = chat(setup(), "mailboxBytes", 1_000)
        .jwt("leeway", "0s")
        .limit("closeTimeout", "1 minute")
        .start(world);
    let token = stage.token("alice").expires_in(Duration::from_secs(1)).text();
    let [mut sender, mut other] = members(&stage);
    let mut leaving = stage.connect();
    leaving.open(&upgrade(CHAT).bearer(&token));
    leaving.wait_at_most(Duration::from_secs(60));
    leaving.expect_close_frame(3000, "token expired");
    for number in 0..20 {
        let text = format!("{number} {}", "x".repeat(300));
        say(&mut sender, &text);
        hear(&mut other, &text);
    }
    leaving.expect_silence(SILENCE);
}

/// M17: a topic is its service's name.
pub fn m18_topics_do_not_mix(world: &World) {
    let stage = setup().start(world);
    let (mut one, mut two) = (member(&stage, CHAT), member(&stage, CHAT));
    let mut other = member(&stage, NEWS);
    say(&mut one, "chat");
    hear(&mut two, "chat");
    other.expect_silence(SILENCE);
    say(&mut other, "nobody is there");
    one.expect_silence(SILENCE);
}

/// M8: whoever is in a broadcast may send, and being in it is an entitlement.
pub fn m08_a_broadcast_needs_websocket_connect(world: &World) {
    for (allowed, status) in [
        (json!(["read", "write"]), 403),
        (json!(["websocket.connect"]), 101),
    ] {
        let acl = json!({"inherit": false, "entries": [{"role": "Everyone", "allow": allowed}]});
        let stage = chat(setup(), "acl", acl).start(world);
        let answer = stage.connect().ask(&alice(upgrade(CHAT)));
        assert_eq!(answer.status, status, "{allowed}");
    }
}

/// M16: there is nothing to GET.
pub fn m16_a_broadcast_is_reached_by_sockets_alone(world: &World) {
    let stage = setup().start(world);
    refused(&stage, &alice(get(CHAT)), 426);
    let answer = refused(&stage, &alice(upgrade(CHAT)).method("POST"), 405);
    assert_eq!(answer.one("Allow"), Some("GET"));
    refused(&stage, &alice(get(CHAT)).method("HEAD"), 405);
}

/// R14: hearing others is use enough.
pub fn r14_a_member_that_hears_is_not_idle(world: &World) {
    let stage = chat(setup(), "idleTimeout", "2 seconds").start(world);
    let [mut one, mut two] = members(&stage);
    for number in 0..4 {
        stage.pass(Duration::from_millis(600));
        say(&mut one, &number.to_string());
        hear(&mut two, &number.to_string());
    }
    two.expect_close(1001, "idle");
}

/// E16: members stay together through a reload, old ones and new ones.
pub fn e16_a_topic_survives_a_reload(world: &World) {
    let stage = setup().start(world);
    let mut old = member(&stage, CHAT);
    let moved = chat(setup(), "accept", "/moved");
    stage.replace(FILE, &moved.all_files()[FILE]);
    stage.reload();
    stage.wait_until("the new path", |stage| {
        stage.connect().ask(&alice(get("/moved"))).status == 426
    });
    let mut new = member(&stage, "/moved");
    say(&mut old, "old");
    hear(&mut new, "old");
    say(&mut new, "new");
    hear(&mut old, "new");
}

/// E1: the right to listen ends with the token, and so does the right to speak.
pub fn e01_an_expired_member_hears_no_more(world: &World) {
    let stage = setup().jwt("leeway", "0s").start(world);
    let token = stage.token("alice").expires_in(Duration::from_secs(2)).text();
    let mut expiring = stage.connect();
    expiring.open(&upgrade(CHAT).bearer(&token));
    let mut other = member(&stage, CHAT);
    say(&mut other, "before");
    hear(&mut expiring, "before");
    expiring.expect_close_frame(3000, "token expired");
    say(&mut other, "behind");
    say(&mut expiring, "too late");
    expiring.expect_silence(SILENCE);
    other.expect_silence(SILENCE);
}
