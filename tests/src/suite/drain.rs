//! Shutting down: nobody is cut off without a word.

use std::time::Duration;

use crate::client::{Frame, upgrade};
use crate::world::{Setup, World};

/// E18: open sockets get Close 1001 at once.
pub fn e18_open_sockets_are_told(world: &World) {
    let stage = Setup::standard().start(world);
    let mut clients: Vec<_> = (0..3)
        .map(|_| {
            let mut client = stage.connect();
            client.open(&upgrade("/api/ws").bearer(&stage.token("alice").text()));
            client
        })
        .collect();
    stage.drain();
    for client in &mut clients {
        client.expect_close(1001, "server shutting down");
    }
    stage.wait_until("the last connection", |stage| {
        stage.gateway().stats().connections == 0
    });
    assert!(stage.closings(3).iter().all(|closed| closed.code == 1001));
}

/// E18: new upgrades are 503 with a time to come back, on old and new connections.
pub fn e18_new_upgrades_are_503(world: &World) {
    let stage = Setup::standard().start(world);
    let request = upgrade("/api/ws").bearer(&stage.token("alice").text());
    let mut kept = stage.connect();
    assert_eq!(kept.ask(&upgrade("/nowhere")).status, 404);
    stage.drain();
    let answer = super::refused(&stage, &request, 503);
    assert!(answer.one("Retry-After").unwrap().parse::<u32>().unwrap() >= 1);
    assert_eq!(stage.decisions(2).last().unwrap().reason.code(), "draining");
    let (bytes, _) = {
        kept.send(&request.bytes());
        kept.half_close();
        kept.read_to_end()
    };
    assert!(
        bytes.is_empty() || bytes.starts_with(b"HTTP/1.1 503 "),
        "{}",
        bytes.escape_ascii()
    );
}

/// E18: who was told everything, but never ends its side of the stream, does not hold up the exit.
pub fn e18_who_never_hangs_up_does_not_hold_up_the_exit(world: &World) {
    let stage = Setup::standard().limit("closeTimeout", "1 minute").start(world);
    let mut client = stage.connect();
    client.open(&upgrade("/api/ws").bearer(&stage.token("alice").text()));
    let mut idle = stage.connect();
    assert_eq!(idle.ask(&upgrade("/nowhere")).status, 404);
    let began = stage.unix();
    stage.drain();
    let close = Frame::close(1001, "server shutting down");
    assert_eq!(client.read_message(), close);
    client.send_frame(&close);
    stage.wait_until("the last connection", |stage| {
        stage.gateway().stats().connections == 0
    });
    assert!(stage.unix().since(began) < Duration::from_secs(5));
    assert_eq!(stage.closings(1)[0].code, 1001);
    drop((client, idle));
}

/// E18: a message that is on its way is still echoed or dropped, but the close is whole.
pub fn e18_a_close_follows_whole_frames(world: &World) {
    let stage = Setup::standard().start(world);
    let mut client = stage.connect();
    client.open(&upgrade("/api/ws").bearer(&stage.token("alice").text()));
    let frame = Frame::whole(2, &[9; 50_000]);
    client.send_frame(&frame);
    stage.drain();
    let first = client.read_message();
    if first == frame {
        client.expect_close_frame(1001, "server shutting down");
    } else {
        assert_eq!(first, Frame::close(1001, "server shutting down"));
    }
}
