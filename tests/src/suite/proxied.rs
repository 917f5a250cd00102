//! Behind a balancer: whose connection it is comes first, from declared networks alone.

use std::time::Duration;

use countersign_core::ops::explain::{Question, explain};
use countersign_core::time::Now;
use serde_json::json;

use crate::client::{Client, Frame, upgrade};
use crate::world::{ALICE, Setup, Stage, World};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn setup() -> Setup {
    Setup::standard().set("/servers/0/proxyProtocol", json!(["127.0.0.0/8"]))
}

fn header(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family], &length, block].concat()
}

/// The header of a client at 192.0.2.`host`, port 5555.
fn v4(host: u8) -> Vec<u8> {
    header(0x21, 0x11, &[192, 0, 2, host, 10, 0, 0, 1, 0x15, 0xB3, 1, 187])
}

/// The header of a client at 2001:db8::7, port 5555, with a TLV behind.
fn v6() -> Vec<u8> {
    let mut block = vec![0; 36];
    block[..4].copy_from_slice(&[0x20, 0x01, 0x0D, 0xB8]);
    block[15] = 7;
    block[32..34].copy_from_slice(&[0x15, 0xB3]);
    block.extend(b"\x05\0\x04abcd");
    header(0x21, 0x21, &block)
}

fn opened(stage: &Stage, header: &[u8]) -> Client {
    let mut client = stage.connect_behind(header);
    client.open(&upgrade("/api/ws").basic(ALICE.0, ALICE.1));
    client.expect_echo(&Frame::text("hello"));
    client
}

fn peers(stage: &Stage, count: usize) -> Vec<String> {
    let decisions = stage.decisions(count);
    decisions
        .iter()
        .map(|decision| decision.peer.to_string())
        .collect()
}

/// E13: IPv4 and IPv6, in every line of the log.
pub fn e13_the_peer_is_who_the_header_names(world: &World) {
    let stage = setup().start(world);
    opened(&stage, &v4(7));
    opened(&stage, &v6());
    assert_eq!(peers(&stage, 2), ["192.0.2.7:5555", "[2001:db8::7]:5555"]);
}

/// E13: the header is in the clear, the handshake follows it.
pub fn e13_the_header_comes_before_tls(world: &World) {
    let stage = setup().tls().start(world);
    opened(&stage, &v4(7));
    opened(&stage, &v6());
    assert_eq!(peers(&stage, 2), ["192.0.2.7:5555", "[2001:db8::7]:5555"]);
}

/// E13: a LOCAL header, as health checks have it, leaves the connection's own peer.
pub fn e13_a_balancer_may_speak_for_itself(world: &World) {
    let stage = setup().start(world);
    opened(&stage, &header(0x20, 0, b""));
    opened(&stage, &header(0x20, 0x11, &[1; 12]));
    assert!(peers(&stage, 2).iter().all(|peer| peer.starts_with("127.0.0.1:")));
}

/// E13: no header, the old one, a bad one, one that is too long: closed without a word.
pub fn e13_malformed_headers_close(world: &World) {
    for setup in [setup(), setup().tls()] {
        let stage = setup.start(world);
        let long = header(0x21, 0x11, &[0; 521]);
        let bad = [
            upgrade("/api/ws").bytes(),
            b"PROXY TCP4 192.0.2.7 10.0.0.1 5555 443\r\n".to_vec(),
            header(0x31, 0x11, &[0; 12]),
            header(0x22, 0x11, &[0; 12]),
            header(0x21, 0x12, &[0; 12]),
            header(0x21, 0x00, b""),
            header(0x21, 0x11, &[0; 11]),
            long[..16].to_vec(),
        ];
        for bytes in &bad {
            stage.connect_behind(bytes).expect_end();
        }
        assert!(
            stage
                .notes()
                .iter()
                .all(|note| !format!("{note:?}").contains("Decision"))
        );
        stage.wait_until("a warning", |stage| stage.log().contains("send-proxy-v2"));
        assert_eq!(stage.gateway().stats().connections, 0);
    }
}

/// E13: byte by byte it is the same header, and what follows it at once is not lost.
pub fn e13_a_header_may_come_in_pieces(world: &World) {
    let stage = setup().start(world);
    let mut client = stage.connect_behind(b"");
    for byte in v6() {
        client.send(&[byte]);
    }
    client.open(&upgrade("/api/ws").basic(ALICE.0, ALICE.1));
    let request = upgrade("/api/ws").basic(ALICE.0, ALICE.1).bytes();
    let mut client = stage.connect_behind(&[v4(8), request].concat());
    assert_eq!(client.expect_response().status, 101);
    assert_eq!(peers(&stage, 2), ["[2001:db8::7]:5555", "192.0.2.8:5555"]);
}

/// E13: silence, and half a header, end at `headTimeout`, which the header does not start anew.
pub fn e13_a_missing_header_is_let_go_at_the_head_timeout(world: &World) {
    let stage = setup().limit("headTimeout", "400 ms").start(world);
    for start in [&b""[..], &v4(7)[..20]] {
        stage.connect_behind(start).expect_end();
    }
    let mut client = stage.connect_behind(&v4(7));
    client.send(b"GET /api/ws HTTP/1.1\r\n");
    assert_eq!(client.expect_response().status, 408);
}

/// E13: a header from elsewhere is what it is, a malformed request.
pub fn e13_from_others_a_header_is_an_error(world: &World) {
    let elsewhere = || setup().set("/servers/0/proxyProtocol", json!(["10.0.0.0/8", "::1"]));
    let stage = elsewhere().start(world);
    let mut client = stage.connect_behind(&v4(7));
    assert_eq!(client.expect_response().status, 400);
    assert!(peers(&stage, 1)[0].starts_with("127.0.0.1:"));
    opened(&stage, b"");
}

/// E13, E15: the limit on connections of one address holds for the clients, not for the balancer.
pub fn e13_connections_count_for_the_client(world: &World) {
    let stage = setup().limit("connectionsPerAddress", 2).start(world);
    let mut first = opened(&stage, &v4(7));
    let _second = opened(&stage, &v4(7));
    stage.connect_behind(&v4(7)).expect_end();
    let _other = opened(&stage, &v4(8));
    first.send_frame(&Frame::close(1000, ""));
    first.half_close();
    stage.wait_until("the free place", |stage| stage.gateway().stats().connections == 2);
    opened(&stage, &v4(7));
}

/// B3: whom a question names as its peer is the one whom a header would have named.
pub fn e13_explain_takes_the_peer_as_named(world: &World) {
    let stage = setup().tls().start(world);
    let now = Now {
        unix: stage.unix(),
        ..Now::default()
    };
    let head = upgrade("/api/ws").basic(ALICE.0, ALICE.1).bytes();
    let said = explain(&stage.gateway(), &Question::default(), now, &head).unwrap();
    assert!(
        String::from_utf8(said)
            .unwrap()
            .contains("\ngrant passed\n\nHTTP/1.1 101 ")
    );
}

/// E14: who fails too often behind a balancer does not lock out those beside.
pub fn e14_behind_a_balancer_each_client_is_throttled_alone(world: &World) {
    let stage = setup().set("/throttle", json!({"failures": 2})).start(world);
    let ask = |host: u8, password: &str| {
        let mut client = stage.connect_behind(&v4(host));
        client.ask(&upgrade("/api/ws").basic(ALICE.0, password)).status
    };
    assert_eq!([ask(7, "a"), ask(7, "b"), ask(7, ALICE.1)], [401, 401, 429]);
    assert_eq!(ask(8, ALICE.1), 101);
    stage.pass(Duration::from_millis(10));
    let other = stage
        .connect_behind(&header(0x20, 0, b""))
        .ask(&upgrade("/api/ws"));
    assert_eq!(other.status, 401);
}
