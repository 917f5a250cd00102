//! Data points: read by GET, followed and written by sockets.

use std::time::Duration;

use countersign_core::ops::explain::{Question, explain};
use countersign_core::time::{Moment, Now};
use serde_json::{Value, json};

use super::{refused, refused_but_kept};
use crate::client::{BINARY, Client, Frame, Request, TEXT, get, upgrade};
use crate::world::{ALICE, BOB, FILE, Kind, Setup, Stage, World};

const BOILER: &str = "/plant/boiler";
const VALVE: &str = "/plant/valve";
const UNWRITTEN: &str = r#"{"value":null,"time":null,"quality":"bad"}"#;

/// Everybody known reads, and alice, who is an operator, writes.
fn rights() -> Value {
    json!({"inherit": false, "entries": [
        {"role": "Everyone", "allow": ["websocket.connect", "read"]},
        {"role": "operators", "allow": ["write"]},
    ]})
}

fn setup() -> Setup {
    Setup::standard().set(
        "/services/plant",
        json!({
            "type": "points", "realm": "demo", "origins": ["https://app.example"], "acl": rights(),
            "endpoints": {BOILER: "Plant.Boiler", VALVE: "Plant.Valve"},
        }),
    )
}

fn with_acl(acl: Value) -> Setup {
    setup().set("/services/plant/acl", acl)
}

fn alice(request: Request) -> Request {
    request.basic(ALICE.0, ALICE.1)
}

fn bob(request: Request) -> Request {
    request.basic(BOB.0, BOB.1)
}

/// A socket of alice's that was told the state.
fn writer(stage: &Stage, path: &str) -> Client {
    let mut client = stage.connect();
    client.open(&alice(upgrade(path)));
    told(&mut client);
    client
}

/// A socket of bob's, and the state that it was told.
fn reader(stage: &Stage, path: &str) -> (Client, Value) {
    let mut client = stage.connect();
    client.open(&bob(upgrade(path)));
    let state = told(&mut client);
    (client, state)
}

fn told(client: &mut Client) -> Value {
    let frame = client.read_message();
    assert_eq!(frame.opcode, TEXT, "{frame:?}");
    serde_json::from_slice(&frame.payload).unwrap()
}

fn write(client: &mut Client, message: &Value) {
    client.send_frame(&Frame::text(&message.to_string()));
}

/// Writes a value, and waits until the writer is told of it.
fn set(client: &mut Client, value: &Value) -> Value {
    write(client, &json!({"value": value}));
    let state = told(client);
    assert_eq!(&state["value"], value);
    state
}

fn read(client: &mut Client, path: &str) -> Value {
    let answer = client.ask(&bob(get(path)));
    assert_eq!((answer.status, answer.closes()), (200, false), "{answer:?}");
    serde_json::from_slice(&answer.body).unwrap()
}

/// M16: a GET is an ordinary answer in HTTP; the connection goes on, to a socket if the client likes.
pub fn m16_a_get_reads_the_last_value(world: &World) {
    let stage = setup().start(world);
    let mut client = stage.connect();
    let answer = client.ask(&bob(get(BOILER)));
    let expected = format!(
        "HTTP/1.1 200 OK\r\nVary: Authorization, Cookie\r\nCache-Control: private, no-cache\r\n\
         X-Content-Type-Options: nosniff\r\nContent-Type: application/json\r\nContent-Length: 42\r\n\r\n\
         {UNWRITTEN}"
    );
    assert_eq!(sorted(&answer.masked()), sorted(&expected));
    let written = set(&mut writer(&stage, BOILER), &json!({"deg": 21.5}));
    assert_eq!(read(&mut client, BOILER), written);
    assert_eq!(written["quality"], "good");
    let time = written["time"].as_str().unwrap();
    assert!(time.len() == 24 && time.ends_with('Z'), "{time}");
    assert_eq!(read(&mut client, VALVE)["quality"], "bad");
    client.open(&bob(upgrade(BOILER)));
    assert_eq!(told(&mut client), written);
    let decisions = stage.decisions(2);
    assert_eq!(
        (decisions[0].status, decisions[0].reason.code()),
        (200, "granted")
    );
    assert_eq!(decisions[0].subject.as_deref(), Some(BOB.0));
}

/// The lines of a head in an order that does not matter.
fn sorted(answer: &str) -> Vec<&str> {
    let mut lines: Vec<_> = answer.split("\r\n").collect();
    lines.sort_unstable();
    lines
}

/// M16: what is refused is refused like an upgrade.
pub fn m16_refusals_of_a_get_are_those_of_an_upgrade(world: &World) {
    let stage = setup().start(world);
    let answer = refused_but_kept(&stage, &get(BOILER), 401);
    assert_eq!(answer.all("WWW-Authenticate").len(), 2);
    assert!(!answer.masked().contains("error"));
    refused_but_kept(&stage, &get(BOILER).basic("alice", "wrong"), 401);
    let expired = stage.token("alice").expired_for(Duration::from_secs(60)).text();
    let answer = refused_but_kept(&stage, &get(BOILER).bearer(&expired), 401);
    assert!(answer.masked().contains("token expired"));
    refused_but_kept(&stage, &alice(get("/plant/boile")), 404);
    refused_but_kept(&stage, &alice(get("/plant/boiler/")), 404);
    refused(&stage, &alice(get(BOILER)).with("Host", "other.example"), 421);
    let both = alice(get(BOILER)).bearer(&stage.token("alice").text());
    refused(&stage, &both, 400);
}

/// M16: points are read, so GET and HEAD are all there is.
pub fn m16_other_methods_are_405(world: &World) {
    let stage = setup().start(world);
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"] {
        let answer = refused(&stage, &alice(get(BOILER)).method(method), 405);
        assert_eq!((answer.one("Allow"), answer.body.len()), (Some("GET"), 0));
    }
    let mut client = stage.connect();
    client.send(&alice(get(BOILER)).method("HEAD").bytes());
    let answer = client.expect_head();
    assert_eq!((answer.status, answer.one("Content-Length")), (200, Some("42")));
    // Nothing but the head came: the next answer begins right behind it.
    assert_eq!(read(&mut client, BOILER)["quality"], "bad");
}

/// M16: an upgrade that is none is a GET where something else than a socket is served.
pub fn m16_half_an_upgrade_is_a_get(world: &World) {
    let stage = setup().start(world);
    for request in [
        upgrade(BOILER).without("Upgrade"),
        upgrade(BOILER).without("Connection"),
        upgrade(BOILER).with("Upgrade", "h2c"),
    ] {
        assert_eq!(stage.connect().ask(&bob(request)).status, 200);
    }
    refused(&stage, &bob(upgrade(BOILER).version("HTTP/1.0")), 200);
    refused(
        &stage,
        &bob(upgrade(BOILER)).with("Sec-WebSocket-Version", "8"),
        426,
    );
}

/// R11: pages elsewhere neither fetch nor embed a value; who comes without Origin may read.
pub fn r11_a_get_is_for_pages_that_are_allowed(world: &World) {
    let stage = setup().start(world);
    let request = || bob(get(BOILER));
    refused(&stage, &request().origin("https://evil.example"), 403);
    refused(&stage, &get(BOILER).origin("https://evil.example"), 403);
    for site in ["cross-site", "same-site"] {
        let fetched = request().field("Sec-Fetch-Site", site);
        refused(&stage, &fetched.clone().field("Sec-Fetch-Mode", "no-cors"), 403);
        refused(&stage, &fetched.clone(), 403);
        let link = fetched.field("Sec-Fetch-Mode", "navigate");
        assert_eq!(stage.connect().ask(&link).status, 200);
    }
    for allowed in [
        request().field("Sec-Fetch-Site", "same-origin"),
        request()
            .origin("https://app.example")
            .field("Sec-Fetch-Site", "cross-site"),
    ] {
        assert_eq!(stage.connect().ask(&allowed).status, 200);
    }
}

/// R11: a cookie reads without Origin, and opens no socket without.
pub fn r11_a_cookie_reads_without_origin(world: &World) {
    let stage = setup().realm("carriers", json!(["cookie:token"])).start(world);
    let cookie = format!("token={}", stage.token("alice").text());
    let answer = stage.connect().ask(&get(BOILER).field("Cookie", &cookie));
    assert_eq!(answer.status, 200);
    refused(&stage, &upgrade(BOILER).field("Cookie", &cookie), 403);
}

/// R17, R10: the headers of an answer with a value.
pub fn r17_values_are_hardened(world: &World) {
    let setup = setup()
        .set("/servers/0/hsts", "1 day")
        .realm("carriers", json!(["query:t"]));
    let stage = setup.start(world);
    let target = format!("{BOILER}?t={}", stage.token("alice").text());
    let answer = stage.connect().ask(&get(&target));
    assert_eq!(answer.status, 200);
    assert_eq!(answer.one("Strict-Transport-Security"), Some("max-age=86400"));
    assert_eq!(answer.one("X-Content-Type-Options"), Some("nosniff"));
    assert_eq!(answer.one("Cache-Control"), Some("no-store"));
    assert_eq!(answer.one("Referrer-Policy"), Some("no-referrer"));
}

/// A socket is told the state at once and then every write, the writer too; other points are none of
/// its business.
pub fn points_every_reader_is_told_of_every_write(world: &World) {
    let stage = setup().start(world);
    let mut writer = writer(&stage, BOILER);
    let (mut one, before) = reader(&stage, BOILER);
    let (mut other, _) = reader(&stage, VALVE);
    assert_eq!(before, serde_json::from_str::<Value>(UNWRITTEN).unwrap());
    let messages: Vec<_> = (0..50)
        .map(|number| json!({"value": number}).to_string())
        .collect();
    writer.send(
        &messages
            .iter()
            .flat_map(|text| Frame::text(text).masked())
            .collect::<Vec<_>>(),
    );
    for number in 0..50 {
        assert_eq!(told(&mut writer)["value"], number);
        assert_eq!(told(&mut one)["value"], number);
    }
    let (_, now) = reader(&stage, BOILER);
    assert_eq!(now["value"], 49);
    other.expect_silence(Duration::from_millis(50));
}

/// What the writer says of the quality is kept; the time is the server's whatever it says.
pub fn points_the_server_stamps_the_time(world: &World) {
    let stage = setup().start(world);
    let mut client = writer(&stage, BOILER);
    write(
        &mut client,
        &json!({"value": "x", "quality": "uncertain", "time": "1999-01-01T00:00:00Z"}),
    );
    let state = told(&mut client);
    assert_eq!(
        (&state["value"], &state["quality"]),
        (&json!("x"), &json!("uncertain"))
    );
    assert!(!state["time"].as_str().unwrap().starts_with("1999"));
}

/// Without `write` a message is the end of the socket, and nothing is set.
pub fn points_without_the_entitlement_a_write_is_3003(world: &World) {
    let stage = setup().start(world);
    let (mut client, _) = reader(&stage, BOILER);
    write(&mut client, &json!({"value": 1}));
    client.expect_close(3003, "not allowed to write");
    assert_eq!(reader(&stage, BOILER).1["value"], Value::Null);
    // Nobody writes where there is no list, nor on a public service.
    let stage = setup().unset("/services/plant/acl").start(world);
    let mut client = writer(&stage, BOILER);
    write(&mut client, &json!({"value": 1}));
    client.expect_close(3003, "not allowed to write");
    let public = json!({"type": "points", "public": true, "endpoints": {BOILER: "P"}});
    let stage = Setup::standard().set("/services/plant", public).start(world);
    let mut client = stage.connect();
    client.open(&upgrade(BOILER));
    told(&mut client);
    write(&mut client, &json!({"value": 1}));
    client.expect_close(3003, "not allowed to write");
}

/// A message that is no value is the end of the socket, and nothing is set.
pub fn points_what_is_no_value_ends_the_socket(world: &World) {
    let stage = setup().limit("messageBytes", 100).start(world);
    for (message, code, reason) in [
        (Frame::text("21.5"), 1007, ""),
        (Frame::text("{\"valu\":1}"), 1007, ""),
        (Frame::text("{\"value\":1"), 1007, ""),
        (Frame::text("{\"value\":1,\"quality\":\"fine\"}"), 1007, ""),
        (Frame::whole(BINARY, b"{\"value\":1}"), 1003, ""),
        (
            Frame::text(
                &json!({"value": [1e9, 1e9, 1e9, 1e9, 1e9, 1e9, 1e9, 1e9]})
                    .to_string()
                    .replace("1000000000.0", "1e9"),
            ),
            1009,
            "message too big",
        ),
    ] {
        let mut client = writer(&stage, BOILER);
        client.send_frame(&message);
        client.expect_close(code, reason);
    }
    assert_eq!(reader(&stage, BOILER).1["value"], Value::Null);
}

/// M8: a GET needs `read`, a socket `websocket.connect` too.
pub fn m08_reading_and_following_are_entitlements(world: &World) {
    for (allowed, got, opened) in [
        (json!(["read"]), 200, 403),
        (json!(["websocket.connect"]), 403, 403),
        (json!(["write"]), 403, 403),
        (json!(["websocket.connect", "read"]), 200, 101),
    ] {
        let entries = json!([{"role": "Everyone", "allow": allowed}]);
        let stage = with_acl(json!({"inherit": false, "entries": entries})).start(world);
        assert_eq!(stage.connect().ask(&alice(get(BOILER))).status, got, "{allowed}");
        let answer = stage.connect().ask(&alice(upgrade(BOILER)));
        assert_eq!(answer.status, opened, "{allowed}");
        assert!(answer.all("WWW-Authenticate").is_empty());
    }
}

/// What waits for a slow reader is bounded: it misses values, but never the last one.
pub fn points_a_slow_reader_is_told_the_last_value(world: &World) {
    // More than two socket buffers of an operating system, but not of the simulator.
    let (count, length) = match world.kind() {
        Kind::Sim => (100, 4_000),
        Kind::Smol | Kind::Std => (120, 200_000),
    };
    let stage = setup().unsplit().limit("stallTimeout", "1 hour").start(world);
    let mut writer = writer(&stage, BOILER);
    let (mut slow, _) = reader(&stage, BOILER);
    slow.stop_reading(4096);
    let pad = "x".repeat(length);
    for number in 0..count {
        set(&mut writer, &json!([number, pad]));
    }
    let mut seen = 0;
    let mut last = -1;
    while last < count - 1 {
        let number = told(&mut slow)["value"][0].as_i64().unwrap();
        assert!(number > last, "{number} after {last}");
        last = number;
        seen += 1;
    }
    assert!(seen < count, "{seen} of {count} values waited");
    // From then on it keeps up.
    set(&mut writer, &json!("next"));
    assert_eq!(told(&mut slow)["value"], "next");
}

/// E15: large values that wait for readers come out of `messageMemory`; who finds none left there is told
/// the last one as soon as there is.
pub fn e15_large_values_for_slow_readers_claim_memory(world: &World) {
    const MEMORY: usize = 300_000;
    let stage = setup()
        .unsplit()
        .limit("stallTimeout", "1 hour")
        .limit("messageMemory", MEMORY)
        .start(world);
    // An operating system takes the values off our hands, as many as it likes.
    if stage.sim().is_none() {
        return;
    }
    let free = |stage: &Stage| stage.gateway().stats().message_memory_free;
    let mut readers: Vec<_> = (0..6).map(|_| reader(&stage, BOILER).0).collect();
    for reader in &mut readers {
        reader.stop_reading(4096);
    }
    let mut writer = writer(&stage, BOILER);
    let pad = "x".repeat(100_000);
    set(&mut writer, &json!(pad));
    stage.wait_until("three readers with a claim", |stage| free(stage) < 100_000);
    let mut late = stage.connect();
    late.open(&bob(upgrade(BOILER)));
    for reader in readers {
        reader.abort();
    }
    assert_eq!(told(&mut late)["value"], pad);
    stage.wait_until("all of it given back", |stage| free(stage) == MEMORY);
}

/// E15: so do large values that wait for those who asked by GET; where there is none left it is 503.
pub fn e15_large_answers_claim_memory(world: &World) {
    let stage = setup().unsplit().limit("messageMemory", 250_000).start(world);
    if stage.sim().is_none() {
        return;
    }
    let pad = "x".repeat(100_000);
    set(&mut writer(&stage, BOILER), &json!(pad));
    let free = |stage: &Stage| stage.gateway().stats().message_memory_free;
    let mut slow: Vec<_> = (0..2).map(|_| stage.connect()).collect();
    for client in &mut slow {
        client.stop_reading(4096);
        client.send(&bob(get(BOILER)).bytes());
    }
    stage.wait_until("two answers with a claim", |stage| free(stage) < 100_000);
    let answer = stage.connect().ask(&bob(get(BOILER)));
    assert_eq!((answer.status, answer.closes()), (503, true), "{answer:?}");
    assert_eq!(answer.one("Retry-After"), Some("1"));
    for client in &mut slow {
        let answer = client.expect_response();
        let state: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!((answer.status, &state["value"]), (200, &json!(pad)));
    }
    assert_eq!(read(&mut slow[0], BOILER)["value"], pad);
}

/// E16: values stay through a reload, by their names, wherever they are found then.
pub fn e16_values_survive_a_reload_by_name(world: &World) {
    let stage = setup().start(world);
    let mut client = writer(&stage, BOILER);
    let written = set(&mut client, &json!(7));
    let mut gone = writer(&stage, VALVE);
    let left = set(&mut gone, &json!("open"));
    gone.send_frame(&Frame::close(1000, ""));
    gone.expect_close_frame(1000, "");
    gone.half_close();
    gone.expect_eof();
    let moved = setup().set(
        "/services/plant/endpoints",
        json!({"/moved": "Plant.Boiler", BOILER: "Other", VALVE: "Plant.Valve"}),
    );
    stage.replace(FILE, &moved.all_files()[FILE]);
    stage.reload();
    let mut reader = stage.connect();
    stage.wait_until("the new path", |stage| {
        stage.connect().ask(&bob(get("/moved"))).status == 200
    });
    assert_eq!(read(&mut reader, "/moved"), written);
    assert_eq!(read(&mut reader, BOILER)["value"], Value::Null);
    assert_eq!(read(&mut reader, VALVE), left);
    // The socket is still one of the same point.
    let written = set(&mut client, &json!(8));
    assert_eq!(read(&mut reader, "/moved"), written);
}

/// R14: a socket on which values are told is not idle.
pub fn r14_a_reader_that_is_told_is_not_idle(world: &World) {
    let stage = setup()
        .set("/services/plant/idleTimeout", "2 seconds")
        .start(world);
    let mut writer = writer(&stage, BOILER);
    let (mut reader, _) = reader(&stage, BOILER);
    for number in 0..4 {
        stage.pass(Duration::from_millis(600));
        set(&mut writer, &json!(number));
        assert_eq!(told(&mut reader)["value"], number);
    }
    reader.expect_close(1001, "idle");
}

/// E18: nothing begins during a shutdown.
pub fn e18_a_get_during_a_shutdown_is_503(world: &World) {
    let stage = setup().start(world);
    let mut client = writer(&stage, BOILER);
    stage.drain();
    client.expect_close_frame(1001, "server shutting down");
    let answer = refused(&stage, &bob(get(BOILER)), 503);
    assert!(answer.one("Retry-After").is_some());
}

/// B3: an explanation ends with the answer, before the service's first word.
pub fn b03_an_explanation_of_a_reader_ends_with_the_head(world: &World) {
    let stage = setup().start(world);
    let explained = |request: Request| {
        let now = Now {
            at: Moment::START,
            unix: stage.unix(),
        };
        let said = explain(&stage.gateway(), &Question::default(), now, &request.bytes()).unwrap();
        String::from_utf8(said).unwrap()
    };
    let said = explained(bob(upgrade(BOILER)));
    assert!(
        said.contains("grant passed\n\nHTTP/1.1 101 ") && said.ends_with("\r\n\r\n"),
        "{said}"
    );
    let said = explained(bob(get(BOILER)));
    assert!(
        said.contains("upgrade skipped\n") && said.contains("authorize passed\n"),
        "{said}"
    );
    assert!(said.ends_with(UNWRITTEN), "{said}");
}

/// B1: a ticket reads once, at the path for which it was made.
pub fn b01_a_ticket_reads_a_value_once(world: &World) {
    let stage = setup().realm("tickets", json!({})).start(world);
    let ticket = || {
        let body = json!({"endpoint": BOILER}).to_string();
        let request = get("/ticket")
            .method("POST")
            .bearer(&stage.token("alice").text())
            .field("Content-Type", "application/json")
            .field("Content-Length", &body.len().to_string())
            .then(body.as_bytes());
        let answer = stage.connect().ask(&request);
        let answer: Value = serde_json::from_slice(&answer.body).unwrap();
        answer["ticket"].as_str().unwrap().to_owned()
    };
    let read = |path: &str, ticket: &str| {
        stage
            .connect()
            .ask(&get(&format!("{path}?ticket={ticket}")))
            .status
    };
    let one = ticket();
    assert_eq!((read(BOILER, &one), read(BOILER, &one)), (200, 401));
    assert_eq!(read(VALVE, &ticket()), 401);
}

/// M26: further factors are asked for by a GET too.
pub fn m26_a_get_passes_every_factor(world: &World) {
    let module = json!({"type": "users", "success": "required", "passwords": "users.htpasswd"});
    let stage = setup()
        .set("/realms/second", json!({"loginModules": [module]}))
        .set("/services/plant/realm", json!(["demo", "second"]))
        .start(world);
    let mut client = stage.connect();
    let answer = client.ask(&bob(get(BOILER)));
    assert_eq!(answer.status, 401);
    let identity = answer.one("Sec-Challenge-Identity").unwrap().to_owned();
    let answer = client.ask(&bob(get(BOILER)).field("Sec-Challenge-Identity", &identity));
    assert_eq!((answer.status, &answer.body[..]), (200, UNWRITTEN.as_bytes()));
}
