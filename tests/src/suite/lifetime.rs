//! No socket outlives the credential that opened it.

use std::time::Duration;

use crate::client::{Client, Frame, PING, upgrade};
use crate::keys::Token;
use crate::world::{Kind, Setup, Stage, World};

const SECOND: Duration = Duration::from_secs(1);

fn open(stage: &Stage, token: &Token) -> Client {
    let mut client = stage.connect();
    client.open(&upgrade("/api/ws").bearer(&token.text()));
    client
}

/// E1, reference K: at the end of its token a socket gets Close 3000, not before, not later.
pub fn e01_an_expired_token_closes_the_socket(world: &World) {
    let stage = Setup::standard().jwt("leeway", "0s").start(world);
    let token = stage.token("alice").expires_in(2 * SECOND);
    let expiry = stage.unix().as_secs() + 2;
    let mut client = open(&stage, &token);
    client.expect_echo(&Frame::text("before"));
    assert_eq!(client.read_bytes(17), b"\x88\x0f\x0b\xb8token expired");
    let closed = stage.unix().since_epoch().as_secs_f64();
    assert!(
        closed >= expiry as f64 && closed < expiry as f64 + 1.0,
        "closed at {closed}, expired at {expiry}"
    );
    client.send_frame(&Frame::close(3000, ""));
    client.half_close();
    client.expect_eof();
    let ended = &stage.closings(1)[0];
    assert_eq!((ended.code, &*ended.reason), (3000, "token expired"));
}

/// E1: the leeway counts for the socket as it counts for the handshake.
pub fn e01_the_leeway_belongs_to_the_lifetime(world: &World) {
    let stage = Setup::standard().jwt("leeway", "2s").start(world);
    let token = stage.token("alice").expired_for(SECOND);
    let expiry = stage.unix().as_secs() + 1;
    let mut client = open(&stage, &token);
    client.expect_close_frame(3000, "token expired");
    assert!(stage.unix().as_secs() >= expiry);
}

/// E1: a client that does not answer the close is let go after `closeTimeout`.
pub fn e01_a_client_that_ignores_the_close_is_let_go(world: &World) {
    let setup = Setup::standard()
        .jwt("leeway", "0s")
        .limit("closeTimeout", "200 ms");
    let stage = setup.start(world);
    let mut client = open(&stage, &stage.token("alice").expires_in(SECOND));
    client.expect_close_frame(3000, "token expired");
    client.expect_end();
    stage.wait_until("the end", |stage| stage.gateway().stats().connections == 0);
}

/// R14: an expiry in the middle of a message closes between frames.
pub fn r14_expiry_does_not_cut_a_frame(world: &World) {
    let stage = Setup::standard().jwt("leeway", "0s").start(world);
    let mut client = open(&stage, &stage.token("alice").expires_in(2 * SECOND));
    let frame = Frame::whole(2, &[5; 100_000]);
    let bytes = frame.masked();
    client.send(&bytes[..60_000]);
    client.expect_close_frame(3000, "token expired");
}

/// M27: a session ends when its time is over, whatever the token says.
pub fn m27_the_session_timeout_closes_the_socket(world: &World) {
    let stage = Setup::standard().realm("sessionTimeout", "1 second").start(world);
    let start = stage.unix();
    let mut client = open(&stage, &stage.token("alice"));
    client.expect_close_frame(3000, "session timeout");
    let lived = stage.unix().since(start);
    assert!(lived >= SECOND && lived < 2 * SECOND, "{lived:?}");
    let mut client = stage.connect();
    client.open(&upgrade("/api/ws").basic("alice", "correct horse"));
    client.expect_close_frame(3000, "session timeout");
}

/// R14: the nearer of the two deadlines counts.
pub fn r14_the_nearest_deadline_counts(world: &World) {
    let stage = Setup::standard()
        .realm("sessionTimeout", "1 hour")
        .jwt("leeway", "0s")
        .start(world);
    let mut client = open(&stage, &stage.token("alice").expires_in(SECOND));
    client.expect_close_frame(3000, "token expired");
}

/// R14: a socket on which nothing passes is closed where so configured, one that is used is not.
pub fn r14_an_idle_socket_is_closed(world: &World) {
    let stage = Setup::standard().service("idleTimeout", "400 ms").start(world);
    let mut idle = open(&stage, &stage.token("alice"));
    let mut busy = open(&stage, &stage.token("alice"));
    for _ in 0..6 {
        stage.pass(Duration::from_millis(100));
        busy.expect_echo(&Frame::text("busy"));
    }
    idle.expect_close_frame(1001, "idle");
    busy.expect_echo(&Frame::text("still here"));
}

/// R14: when the wall clock jumps forward over the expiry, it is due; when it steps back, nothing
/// is extended. Only the simulator can move clocks.
pub fn r14_clock_jumps_never_extend(world: &World) {
    if world.kind() != Kind::Sim {
        return;
    }
    let hour = Duration::from_secs(3600);
    let stage = Setup::standard().start(world);
    let sim = stage.sim().unwrap();
    let mut client = open(&stage, &stage.token("alice").expires_in(hour));
    sim.borrow_mut().step_wall_clock(2 * hour, false);
    client.wait_at_most(Duration::from_secs(30));
    client.expect_close_frame(3000, "token expired");
    let mut client = open(&stage, &stage.token("alice").expires_in(hour));
    sim.borrow_mut().step_wall_clock(12 * hour, true);
    client.wait_at_most(hour + Duration::from_secs(31));
    loop {
        let frame = client.read_frame();
        if frame.opcode != PING {
            assert_eq!(frame, Frame::close(3000, "token expired"));
            break;
        }
        client.send_frame(&Frame::whole(0xA, &frame.payload));
    }
}
