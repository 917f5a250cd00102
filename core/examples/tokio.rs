//! The core in a runtime that it does not know: its whole loop on tokio, without any policy. The
//! example serves one client of its own and ends. `cargo run -p countersign-core --example tokio`

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "an adapter is where clocks and sockets are"
)]

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use countersign_core::config::{Config, MemoryFiles};
use countersign_core::connection::{Connection, Input, Peer, Step};
use countersign_core::entropy::Seed;
use countersign_core::gateway::{Capacity, Gateway};
use countersign_core::leg::{Break, Leg};
use countersign_core::time::{Moment, Now, UnixTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// Both clocks, read in one place.
fn now(epoch: Instant) -> Now {
    let unix = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    Now {
        at: Moment::new(epoch.elapsed()),
        unix: UnixTime::new(unix),
    }
}

/// What the core rings when another connection, or the gateway, has something for this one.
struct Bell(Notify);

impl std::task::Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

/// Drives one connection until it is over: the whole adapter, for plain text and one leg.
async fn drive(mut connection: Connection, mut stream: TcpStream, epoch: Instant) {
    let (mut reader, mut writer) = stream.split();
    let bell = Arc::new(Bell(Notify::new()));
    connection.set_waker(&Arc::clone(&bell).into());
    let mut buffer = [0; 4096];
    loop {
        match connection.step(now(epoch)) {
            Step::Wait(wait) => {
                let outgoing = wait.outgoing(Leg::CLIENT);
                let wants_read = wait.wants_read(Leg::CLIENT);
                let room = buffer.len().min(wait.read_at_most(Leg::CLIENT));
                let deadline = wait.deadline().map(|at| epoch + at.since_start());
                let input = tokio::select! {
                    sent = writer.write(outgoing), if !outgoing.is_empty() => match sent {
                        Ok(n) => Input::Sent(Leg::CLIENT, n),
                        Err(_) => Input::Broken(Leg::CLIENT, Break::Io),
                    },
                    read = reader.read(&mut buffer[..room]), if wants_read => match read {
                        Ok(0) => Input::Eof(Leg::CLIENT),
                        Ok(n) => Input::Data(Leg::CLIENT, &buffer[..n]),
                        Err(_) => Input::Broken(Leg::CLIENT, Break::Reset),
                    },
                    () = bell.0.notified() => continue,
                    () = tokio::time::sleep_until(deadline.unwrap_or(epoch).into()), if deadline.is_some() => continue,
                };
                connection.handle(now(epoch), input);
            }
            Step::Compute(job) => {
                if let Ok(computed) = tokio::task::spawn_blocking(|| job.run()).await {
                    connection.handle(now(epoch), Input::Computed(computed));
                }
            }
            Step::Hangup(_) => drop(writer.shutdown().await),
            // Echo dials nothing, and the notes are for a log.
            Step::Note(_) | Step::Dial(_) | Step::Secure(..) | Step::Drop(_) => {}
            Step::Closed => return,
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut files = MemoryFiles::new();
    files.insert(
        "countersign.json",
        r#"{"servers": [{"id": "edge", "listen": ["127.0.0.1:0"], "plaintext": true}],
            "services": {"echo": {"type": "echo", "accept": "/", "public": true}}}"#,
    );
    let config = Config::load(Path::new("countersign.json"), &mut files)?;
    let capacity = Capacity {
        cores: 1,
        connections: 1000,
        descriptors_per_connection: 1,
    };
    // A real server takes 32 bytes from the operating system's generator.
    let gateway = Gateway::new(config, Seed::new([7; 32]), capacity)?;
    let epoch = Instant::now();

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let local = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, remote)) = listener.accept().await {
            let now = now(epoch);
            if let Some(admission) = gateway.admit(0, remote.ip(), now) {
                let connection = Connection::client(
                    admission,
                    Peer {
                        server: 0,
                        remote,
                        local,
                    },
                    now,
                );
                tokio::spawn(drive(connection, stream, epoch));
            }
        }
    });

    let mut client = TcpStream::connect(local).await?;
    let request = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    client.write_all(request.as_bytes()).await?;
    client.write_all(b"\x81\x82\x00\x00\x00\x00hi").await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\x81\x02hi") {
        if client.read_buf(&mut answer).await? == 0 {
            return Err(format!("the server ended: {}", answer.escape_ascii()).into());
        }
    }
    assert!(answer.starts_with(b"HTTP/1.1 101 "));
    Ok(())
}
