//! Connections that are there while others work: open WebSockets, held by processes of their own since each
//! process has a limit of descriptors, and heads that never end.

use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use countersign_tests::client::{Frame, PING, PONG};

use crate::load::{SETTLE, Secured, Stream, answered, secured};
use crate::material::{Credential, Material, trusted};
use crate::server::Server;
use crate::{Outcome, failed};

/// Where a crowd's request is.
const REQUEST: &str = "crowd.request";
/// How often a crowd looks for pings.
pub(crate) const LOOK: Duration = Duration::from_secs(1);
/// How often a crowd looks that gets none: each look takes time from the client.
const GLANCE: Duration = Duration::from_secs(10);
/// Where a crowd connects to that is there while others work. Were it the address of those, they would have
/// to search for a free port among those of the crowd, for longer than an upgrade takes, and a server that
/// waits between two upgrades falls asleep and is woken up for each.
pub(crate) const ASIDE: &str = "127.0.0.2";
/// When the gateway gives up on a head, by default.
const HEAD_DEADLINE: Duration = Duration::from_secs(10);
/// How much later it may be: the machine is busy.
const LATE: Duration = Duration::from_secs(5);
/// Half of a request.
const HALF: &[u8] = b"GET /ephemeral HTTP/1.1\r\nHost: local";

/// Who is there during a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Around {
    /// Nobody.
    Nobody,
    /// This many open WebSockets.
    Open(usize),
    /// This many heads that are half sent.
    Half(usize),
}

/// A crowd around a server.
pub(crate) struct Crowd {
    around: Around,
    /// It ends when its standard input does.
    holder: Option<Child>,
    halves: Vec<(Instant, TcpStream)>,
}

impl Crowd {
    /// Lets the crowd come that stays.
    pub(crate) fn gather(
        around: Around,
        server: &Server,
        material: &Material,
        credential: Credential,
    ) -> Outcome<Self> {
        let holder = match around {
            Around::Open(count) => Some(hold(server, material, credential, (ASIDE, count, false, GLANCE))?),
            Around::Nobody | Around::Half(_) => None,
        };
        Ok(Self {
            around,
            holder,
            halves: Vec::new(),
        })
    }

    /// Lets those come who do not stay.
    pub(crate) fn ready(&mut self, server: &Server) -> Outcome<()> {
        if let Around::Half(count) = self.around {
            for _ in 0..count {
                // Before it connects: a client that has to wait for a processor would think the end early.
                let since = Instant::now();
                let mut stream = server.connect(false)?;
                stream.set_read_timeout(Some(HEAD_DEADLINE + 2 * LATE))?;
                stream.write_all(HALF)?;
                self.halves.push((since, stream));
            }
        }
        if self.around != Around::Nobody {
            // What its coming costs is not what its presence costs.
            thread::sleep(SETTLE);
        }
        Ok(())
    }

    /// Waits until the server has ended each half-sent head.
    ///
    /// # Errors
    /// One was ended too early or too late.
    pub(crate) fn settle(&mut self) -> Outcome<()> {
        for (since, mut stream) in self.halves.drain(..) {
            let early = since.elapsed() < HEAD_DEADLINE;
            io::copy(&mut stream, &mut io::sink())?;
            let lived = since.elapsed();
            if early && (lived < HEAD_DEADLINE.mul_f64(0.99) || lived > HEAD_DEADLINE + LATE) {
                return failed(&format!("a half-sent head was ended after {lived:?}"));
            }
        }
        Ok(())
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        if let Some(mut holder) = self.holder.take() {
            drop(holder.stdin.take());
            let _ = holder.wait();
        }
    }
}

/// Starts a process that opens `count` WebSockets to `address`, and waits until they are open. It ends with its
/// standard input; its standard output tells after each `look` how many are left.
pub(crate) fn hold(
    server: &Server,
    material: &Material,
    credential: Credential,
    (address, count, tls, look): (&str, usize, bool, Duration),
) -> Outcome<Child> {
    fs::write(material.folder.join(REQUEST), material.request(credential, 0)?)?;
    let mut holder = Command::new(env::current_exe()?)
        .arg("crowd")
        .arg(&material.folder)
        .arg(format!("{address}:{}", server.port(tls)?))
        .args([count.to_string(), tls.to_string(), look.as_secs().to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    let out = holder.stdout.as_mut().ok_or("no standard output")?;
    // A byte at a time, so that nothing behind the line is lost.
    BufReader::with_capacity(1, out).read_line(&mut line)?;
    if line.trim() == "ready" {
        return Ok(holder);
    }
    let _ = holder.kill();
    let _ = holder.wait();
    failed("a crowd has not come together")
}

/// One of its connections.
enum Held {
    Plain(TcpStream),
    Tls(Box<Secured>),
}

impl Held {
    fn stream(&mut self) -> &mut dyn Stream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => &mut **stream,
        }
    }

    fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => &stream.sock,
        }
    }
}

/// What such a process does.
pub(crate) fn run(folder: &Path, address: &str, count: usize, tls: bool, look: Duration) -> Outcome<()> {
    let request = fs::read(folder.join(REQUEST))?;
    let client = trusted(folder)?;
    let mut streams = Vec::new();
    for _ in 0..count {
        let socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        let mut held = if tls {
            Held::Tls(Box::new(secured(socket, &client)?))
        } else {
            Held::Plain(socket)
        };
        answered(held.stream(), &request, b"HTTP/1.1 101 ")?;
        held.socket().set_nonblocking(true)?;
        streams.push(held);
    }
    println!("ready");
    let (ending, end) = mpsc::channel::<()>();
    thread::spawn(move || {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        drop(ending);
    });
    while end.recv_timeout(look) == Err(RecvTimeoutError::Timeout) {
        streams.retain_mut(|held| answer_pings(held.stream()));
        println!("{}", streams.len());
    }
    Ok(())
}

/// Answers what has arrived. False if the stream has ended.
fn answer_pings(stream: &mut dyn Stream) -> bool {
    let mut bytes = [0; 1024];
    match stream.read(&mut bytes) {
        Ok(0) => false,
        Ok(length) => {
            let mut rest = bytes.get(..length).unwrap_or_default();
            while let Some((frame, used)) = Frame::read(rest) {
                rest = rest.get(used..).unwrap_or_default();
                if frame.opcode != PING {
                    return false;
                }
                let pong = Frame::whole(PONG, &frame.payload).masked();
                if stream.write_all(&pong).and_then(|()| stream.flush()).is_err() {
                    return false;
                }
            }
            rest.is_empty()
        }
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
    }
}
