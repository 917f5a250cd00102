//! Streams other than the client's: dialing, StartTLS and files, by a service that does as it is told.

use crate::client::{Client, Frame, upgrade};
use crate::probe::Probe;
use crate::world::{START_TLS, Setup, Stage, World};

fn probe(stage: &Stage) -> Client {
    stage
        .gateway()
        .replace_service("echo", |_| Box::new(Probe::default()));
    let mut client = stage.connect();
    client.open(&upgrade("/api/ws").bearer(&stage.token("alice").text()));
    client
}

fn tell(client: &mut Client, command: &str) {
    client.send_frame(&Frame::text(command));
}

fn hear(client: &mut Client, told: &str) {
    assert_eq!(String::from_utf8_lossy(&client.read_message().payload), told);
}

/// What is written to a dialed peer comes back, and so does the end of the stream.
pub fn legs_dial_write_and_end(world: &World) {
    let stage = Setup::standard().start(world);
    let mut client = probe(&stage);
    tell(&mut client, &format!("dial {}", stage.echo_peer(false)));
    hear(&mut client, "opened");
    tell(&mut client, "write hello there");
    let mut heard = String::new();
    while heard != "hello there" {
        let payload = client.read_message().payload;
        heard += std::str::from_utf8(&payload)
            .unwrap()
            .strip_prefix("data ")
            .unwrap();
    }
    tell(&mut client, "hang up");
    hear(&mut client, "eof");
}

/// Where nobody listens, dialing fails, and the next dial is another stream.
pub fn legs_a_refused_dial_is_told(world: &World) {
    let stage = Setup::standard().start(world);
    let mut client = probe(&stage);
    for _ in 0..3 {
        tell(&mut client, &format!("dial {}", stage.no_peer()));
        hear(&mut client, "failed Refused");
    }
    tell(&mut client, &format!("dial {}", stage.echo_peer(false)));
    hear(&mut client, "opened");
}

/// A stream that begins with TLS counts as open after the handshake.
pub fn legs_tls_from_the_start(world: &World) {
    let stage = Setup::standard().start(world);
    let mut client = probe(&stage);
    tell(&mut client, &format!("tls {}", stage.echo_peer(true)));
    hear(&mut client, "opened");
    tell(&mut client, "write x");
    hear(&mut client, "data x");
}

/// A stream that turns to TLS on the way (StartTLS).
pub fn legs_start_tls(world: &World) {
    let stage = Setup::standard().start(world);
    let mut client = probe(&stage);
    tell(&mut client, &format!("dial {}", stage.echo_peer(false)));
    hear(&mut client, "opened");
    tell(&mut client, &format!("write {START_TLS}"));
    let mut heard = String::new();
    while heard != START_TLS {
        let payload = client.read_message().payload;
        heard += std::str::from_utf8(&payload)
            .unwrap()
            .strip_prefix("data ")
            .unwrap();
    }
    tell(&mut client, "secure");
    hear(&mut client, "secured");
    tell(&mut client, "write x");
    hear(&mut client, "data x");
    tell(&mut client, "hang up");
    hear(&mut client, "eof");
}

/// A file has a length, bytes and an end; what is no regular file beneath the root is not found.
pub fn legs_files(world: &World) {
    let stage = Setup::standard().start(world);
    let mut client = probe(&stage);
    let root = stage.write_file("x", b"y");
    tell(&mut client, &format!("file {root} x"));
    hear(&mut client, "opened 1");
    hear(&mut client, "data y");
    hear(&mut client, "eof");
    for missing in ["nothing", "x x", ".. etc passwd", "../x"] {
        tell(&mut client, &format!("file {root} {missing}"));
        hear(&mut client, "failed NotFound");
    }
}

/// A stream that was let go is never heard of again, even while it is being dialed.
pub fn legs_let_go_is_the_end(world: &World) {
    let stage = Setup::standard().start(world);
    let mut client = probe(&stage);
    let peer = stage.echo_peer(false);
    for _ in 0..5 {
        tell(&mut client, &format!("dial {peer}"));
        tell(&mut client, "let go");
    }
    // What was opened before it was let go may have been told; nothing of it is told behind this.
    let root = stage.write_file("x", b"y");
    tell(&mut client, &format!("file {root} nothing"));
    while client.read_message().payload != b"failed NotFound" {}
    tell(&mut client, &format!("dial {peer}"));
    hear(&mut client, "opened");
    tell(&mut client, "write x");
    hear(&mut client, "data x");
}

/// The end of the socket is the end of its streams.
pub fn legs_end_with_the_socket(world: &World) {
    let stage = Setup::standard().start(world);
    let mut client = probe(&stage);
    tell(&mut client, &format!("dial {}", stage.echo_peer(false)));
    hear(&mut client, "opened");
    tell(&mut client, "nonsense");
    let close = client.read_message();
    assert_eq!((close.opcode, &close.payload[..2]), (8, [0x03, 0xEB].as_slice()));
    client.half_close();
    client.expect_eof();
    stage.wait_until("the end", |stage| stage.gateway().stats().connections == 0);
}
