//! The whole life of one socket without any IO: bytes written down here go in, what comes out is
//! printed, and time is a number. `cargo run -p countersign-core --example script`

#![allow(clippy::print_stdout, reason = "an example talks to its reader")]

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;

use countersign_core::auth::jwt::sign_hs256;
use countersign_core::config::{Config, MemoryFiles};
use countersign_core::connection::{Connection, Input, Peer, Step};
use countersign_core::entropy::Seed;
use countersign_core::gateway::{Capacity, Gateway};
use countersign_core::leg::Leg;
use countersign_core::time::{Moment, Now, UnixTime};

const CONFIG: &str = r#"{
  "servers": [{"id": "edge", "listen": ["127.0.0.1:0"], "plaintext": true}],
  "realms": {"demo": {"loginModules": [{"type": "jwt", "success": "required",
    "verification": {"secret": {"HS256": {"keyFile": "token.key"}}}}]}},
  "services": {"echo": {"type": "echo", "accept": "/api/ws", "realm": "demo"}}
}"#;

const SECRET: &[u8] = b"an example's secret of 32 bytes!";

fn main() -> Result<(), Box<dyn Error>> {
    let mut files = MemoryFiles::new();
    files.insert("countersign.json", CONFIG);
    files.insert("token.key", SECRET);
    let config = Config::load(Path::new("countersign.json"), &mut files)?;
    let capacity = Capacity {
        cores: 1,
        connections: 10,
        descriptors_per_connection: 1,
    };
    let gateway = Gateway::new(config, Seed::new([7; 32]), capacity)?;

    let start = Now {
        at: Moment::START,
        unix: UnixTime::from_secs(1_800_000_000),
    };
    let client = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let admission = gateway.admit(0, client, start).ok_or("full")?;
    let peer = Peer {
        server: 0,
        remote: (client, 40_000).into(),
        local: (client, 8443).into(),
    };
    let mut connection = Connection::client(admission, peer, start);

    // Without a credential: 401, and the connection is kept.
    let upgrade = "GET /api/ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let refused = turn(&mut connection, start, format!("{upgrade}\r\n").as_bytes());
    assert!(refused.starts_with(b"HTTP/1.1 401 "));

    // With a token that is good for a minute: 101, and a masked frame is echoed.
    let token = sign_hs256(
        &serde_json::json!({"sub": "alice", "exp": start.unix.as_secs() + 60}),
        SECRET,
    );
    let request = format!("{upgrade}Authorization: Bearer {token}\r\n\r\n");
    let granted = turn(&mut connection, start, request.as_bytes());
    assert!(granted.starts_with(b"HTTP/1.1 101 "));
    let echo = turn(&mut connection, start, b"\x81\x82\x00\x00\x00\x00hi");
    assert_eq!(echo, b"\x81\x02hi");

    // The token's end, and the leeway of 30 seconds: Close 3000.
    let later = start.after(Duration::from_secs(90));
    let close = turn(&mut connection, later, b"");
    assert_eq!(close, b"\x88\x0f\x0b\xb8token expired");
    Ok(())
}

/// Hands bytes in, takes everything that comes out, and prints both.
fn turn(connection: &mut Connection, now: Now, bytes: &[u8]) -> Vec<u8> {
    if !bytes.is_empty() {
        println!("> {}", bytes.escape_ascii());
        connection.handle(now, Input::Data(Leg::CLIENT, bytes));
    }
    let mut out = Vec::new();
    loop {
        match connection.step(now) {
            Step::Wait(wait) => {
                let chunk = wait.outgoing(Leg::CLIENT).to_vec();
                if chunk.is_empty() {
                    break;
                }
                out.extend_from_slice(&chunk);
                connection.handle(now, Input::Sent(Leg::CLIENT, chunk.len()));
            }
            Step::Compute(job) => connection.handle(now, Input::Computed(job.run())),
            Step::Note(note) => println!("  {note:?}"),
            Step::Hangup(_) | Step::Dial(_) | Step::Secure(..) | Step::Drop(_) => {}
            Step::Closed => break,
        }
    }
    println!("< {}\n", out.escape_ascii());
    out
}
