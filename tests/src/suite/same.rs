//! One scripted conversation, to be held in every world: the answers are the same bytes (M38).

use std::fmt::Write;

use serde_json::json;

use crate::client::{Client, Frame, Request, get, mask_date, upgrade};
use crate::suite::head::malformed;
use crate::world::{ALICE, BJORN, BOB, Setup, Stage, World};

/// Holds the conversation and returns everything that the clients got, dates taken out.
pub fn conversation(world: &World) -> String {
    let carriers = json!([
        "authorization",
        "query:access_token",
        "subprotocol:access_token",
        "cookie:token"
    ]);
    let setup = Setup::standard()
        .realm("carriers", carriers)
        .service("subprotocols", json!(["chat"]))
        .service("requireRoles", json!(["Everyone"]));
    let stage = setup.start(world);
    let mut heard = String::new();
    for (name, head, _) in malformed() {
        listen(&mut heard, name, said(&stage, &head));
    }
    for (number, request) in requests(&stage).iter().enumerate() {
        listen(
            &mut heard,
            &format!("request {number}"),
            said(&stage, &request.bytes()),
        );
    }
    listen(&mut heard, "a kept connection", kept(&stage));
    listen(&mut heard, "a socket", socket(&stage));
    stage.drain();
    listen(
        &mut heard,
        "draining",
        said(&stage, &upgrade("/api/ws").bearer("x").bytes()),
    );
    heard
}

fn listen(heard: &mut String, what: &str, got: Vec<u8>) {
    writeln!(
        heard,
        "{what}: {}",
        mask_date(&got.escape_ascii().to_string().replace("\\r\\n", "\r\n"))
    )
    .unwrap();
}

/// Says something on a connection of its own, ends it once an answer is there, and returns what came.
/// To end it earlier would be to race: the answer says whether the connection is kept.
fn said(stage: &Stage, bytes: &[u8]) -> Vec<u8> {
    let mut client = stage.connect();
    client.send(bytes);
    client.expect_response();
    client.half_close();
    client.read_to_end();
    client.transcript
}

fn requests(stage: &Stage) -> Vec<Request> {
    let token = stage.token("alice").text();
    let path = "/api/ws";
    let mut requests = vec![
        get(path),
        upgrade(path),
        upgrade("/nowhere"),
        upgrade(path).with("Host", "other.example"),
        upgrade(path).with("Sec-WebSocket-Version", "12"),
        upgrade(path).origin("https://evil.example"),
        upgrade(path).bearer("opaque"),
        upgrade(path).bearer(&stage.token("alice").claim("aud", "x").text()),
        upgrade(path).bearer(&stage.token("alice").claim("exp", 1).text()),
        upgrade(path).bearer(&token).protocols("access_token, x"),
        upgrade(&format!("{path}?access_token=x")),
        upgrade(&format!("{path}?access_token={token}&access_token={token}")),
        upgrade(path).field("Cookie", &format!("token={token}")),
        upgrade(path).field("Authorization", "Basic !"),
        upgrade(path).basic("alice", "wrong"),
        upgrade(path).basic("nobody", "wrong"),
    ];
    requests.extend([ALICE, BOB, BJORN].map(|(user, password)| upgrade(path).basic(user, password)));
    requests
}

/// Three requests on one connection, and the upgrade of the last.
fn kept(stage: &Stage) -> Vec<u8> {
    let mut client = stage.connect();
    client.ask(&upgrade("/api/ws"));
    client.ask(&upgrade("/nowhere"));
    let token = stage.token("alice").text();
    client.ask(&upgrade("/api/ws").protocols(&format!("access_token, {token}, chat")));
    end(client)
}

/// Frames of every kind, and a Close.
fn socket(stage: &Stage) -> Vec<u8> {
    let mut client = stage.connect();
    client.open(&upgrade("/api/ws").bearer(&stage.token("alice").text()));
    for length in [0, 1, 125, 126, 65_535, 65_536] {
        client.expect_echo(&Frame::whole(2, &vec![7; length]));
    }
    client.send_frame(&Frame::whole(9, b"ping"));
    client.read_message();
    end(client)
}

fn end(mut client: Client) -> Vec<u8> {
    client.send_frame(&Frame::close(1000, ""));
    client.read_message();
    client.expect_eof();
    client.transcript
}
