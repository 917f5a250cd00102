//! What clients of a soak do: right and wrong, each with the answer that it deserves.

use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use countersign_tests::client::{BINARY, CLOSE, Frame, upgrade};

use crate::load::{Client, Stream, answered};
use crate::material::{Credential, EPHEMERAL, Material};
use crate::server::Server;
use crate::{Outcome, failed};

/// Messages of one conversation.
const MESSAGES: usize = 8;
/// How many of them are on their way at once.
const DEPTH: usize = 16;
/// Half-sent heads at once.
const HALVES: usize = 20;
/// When the gateway gives up on a head, by default.
const HEAD_DEADLINE: Duration = Duration::from_secs(10);
/// How much later anything may happen than it should: the machine is busy.
const LATE: Duration = Duration::from_secs(5);
/// When the gateway gives up on who does not read, by default.
const STALL: Duration = Duration::from_secs(10);
/// How long a write waits before the other side counts as full.
const FULL: Duration = Duration::from_millis(500);
/// The leeway of a token's end, by default, in seconds.
const LEEWAY: u64 = 30;
/// Seconds since the end of a token that the leeway still lets in for a moment.
const ENDED: u64 = 26;

/// Something that a client does.
pub(crate) struct Deed {
    pub(crate) name: &'static str,
    /// Does it; the number makes it another one. An error is an answer that it does not deserve.
    pub(crate) run: fn(&Material, &Server, usize) -> Outcome<()>,
}

const fn deed(name: &'static str, run: fn(&Material, &Server, usize) -> Outcome<()>) -> Deed {
    Deed { name, run }
}

/// What is done one after the other.
pub(crate) static DEEDS: &[Deed] = &[
    deed("conversation, Basic", |material, server, _| {
        talk(&client(material, server, EPHEMERAL, false))
    }),
    deed("conversation, fresh token", |material, server, number| {
        // Numbered by the clock of the load, so that no token is seen twice.
        let request = material.request(Credential::Fresh("ES256"), number)?;
        let mut stream = client(material, server, EPHEMERAL, false).open()?;
        answered(&mut *stream, &request, b"HTTP/1.1 101 ")?;
        converse(&mut *stream)
    }),
    deed("conversation, TLS", |material, server, _| {
        talk(&client(material, server, Credential::User, true))
    }),
    deed("no credential", |material, server, _| {
        refused(material, server, &upgrade("/ES256").bytes())
    }),
    deed("wrong password", |material, server, number| {
        let request = upgrade("/users").basic("alice", &format!("wrong {number}"));
        refused(material, server, &request.bytes())
    }),
    deed("wrong signature", |material, server, number| {
        let request = material.request(Credential::Fresh("RS256"), number)?;
        let request = String::from_utf8(request)?.replace("GET /RS256", "GET /ES256");
        refused(material, server, request.as_bytes())
    }),
    deed("garbage instead of a frame", garbage),
    deed("connection aborted", |material, server, number| {
        let mut stream = client(material, server, EPHEMERAL, number.is_multiple_of(2)).upgraded()?;
        let frame = Frame::whole(BINARY, &[0x5A; 1000]).masked();
        // What comes back is never read: the operating system resets the connection.
        stream.write_all(&frame.repeat(DEPTH))?;
        Ok(())
    }),
    deed("head aborted", |_, server, number| {
        let mut stream = server.connect(number.is_multiple_of(2))?;
        stream.write_all(b"GET /eph")?;
        Ok(())
    }),
];

/// What takes its time, and is always under way.
pub(crate) static LINGERING: &[Deed] = &[
    deed("half-sent heads", halves),
    deed("slow reader", slow_reader),
    deed("token that ends", ending),
];

const fn client<'a>(
    material: &'a Material,
    server: &'a Server,
    credential: Credential,
    tls: bool,
) -> Client<'a> {
    Client {
        server,
        material,
        credential,
        tls,
    }
}

fn talk(client: &Client<'_>) -> Outcome<()> {
    converse(&mut *client.upgraded()?)
}

/// Small messages, a large one, and an orderly end.
fn converse(stream: &mut dyn Stream) -> Outcome<()> {
    let small = Frame::whole(BINARY, &[0x5A; 125]);
    let large = Frame::whole(BINARY, &[0xA5; 16 * 1024]);
    for _ in 0..MESSAGES {
        echo(
            stream,
            &small.masked().repeat(DEPTH),
            &small.unmasked().repeat(DEPTH),
        )?;
    }
    echo(stream, &large.masked(), &large.unmasked())?;
    let close = Frame::close(1000, "");
    echo(stream, &close.masked(), &close.unmasked())
}

fn echo(stream: &mut dyn Stream, sent: &[u8], expected: &[u8]) -> Outcome<()> {
    stream.write_all(sent)?;
    let mut answer = vec![0; expected.len()];
    stream.read_exact(&mut answer)?;
    if answer == expected {
        Ok(())
    } else {
        failed("no echo")
    }
}

fn refused(material: &Material, server: &Server, request: &[u8]) -> Outcome<()> {
    let mut stream = client(material, server, EPHEMERAL, false).open()?;
    answered(&mut *stream, request, b"HTTP/1.1 401 ")
}

/// Reads up to a Close and compares its code.
fn closed(stream: &mut dyn Stream, code: u16) -> Outcome<()> {
    let mut head = [0; 4];
    stream.read_exact(&mut head)?;
    let [first, _, high, low] = head;
    let found = u16::from_be_bytes([high, low]);
    if first & 0x0F == CLOSE && found == code {
        return Ok(());
    }
    failed(&format!("{head:02x?} instead of Close {code}"))
}

/// A frame without a mask is a protocol error (RFC 6455 section 5.1).
fn garbage(material: &Material, server: &Server, _: usize) -> Outcome<()> {
    let mut stream = client(material, server, EPHEMERAL, false).upgraded()?;
    stream.write_all(&Frame::text("no mask").unmasked())?;
    closed(&mut *stream, 1002)
}

fn halves(_: &Material, server: &Server, _: usize) -> Outcome<()> {
    let mut streams = Vec::new();
    for _ in 0..HALVES {
        let mut stream = server.connect(false)?;
        stream.write_all(b"GET /ephemeral HTTP/1.1\r\nHost: local")?;
        stream.set_read_timeout(Some(HEAD_DEADLINE + 2 * LATE))?;
        streams.push((Instant::now(), stream));
    }
    for (since, mut stream) in streams {
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let lived = since.elapsed();
        if !answer.starts_with(b"HTTP/1.1 408 ") || lived > HEAD_DEADLINE + LATE {
            let text = String::from_utf8_lossy(&answer);
            return failed(&format!("ended after {lived:?} with {text:?}"));
        }
    }
    Ok(())
}

/// Sends without reading until nothing fits any more; the gateway has to end that.
fn slow_reader(material: &Material, server: &Server, _: usize) -> Outcome<()> {
    let mut stream = server.connect(false)?;
    let request = material.request(EPHEMERAL, 0)?;
    answered(&mut stream, &request, b"HTTP/1.1 101 ")?;
    stream.set_write_timeout(Some(FULL))?;
    let frame = Frame::whole(BINARY, &vec![0x5A; 16 * 1024]).masked();
    let began = Instant::now();
    let mut unsent = frame.as_slice();
    // It may be ended while it still sends. A server that is busy for a moment is not full yet, and
    // would have taken everything by the time it is asked: so this goes on for as long as it takes.
    while began.elapsed() < STALL + LATE {
        match stream.write(unsent) {
            Ok(sent) => {
                unsent = unsent
                    .get(sent..)
                    .filter(|rest| !rest.is_empty())
                    .unwrap_or(&frame)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
    }
    // Whoever reads again in time is no slow reader any more.
    std::thread::sleep(STALL + LATE);
    stream.set_read_timeout(Some(STALL + LATE))?;
    match io::copy(&mut stream, &mut io::sink()) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(()),
        Err(error) => {
            let _ = stream.shutdown(Shutdown::Both);
            failed(&format!("who does not read is not ended: {error}"))
        }
    }
}

/// A token's end is the socket's. Where client and server together take so long that the token has ended before
/// it is shown, a refusal is what it deserves.
fn ending(material: &Material, server: &Server, number: usize) -> Outcome<()> {
    // Ends are whole seconds, so it is good for up to a second less than it seems.
    let least = Duration::from_secs(LEEWAY - ENDED - 1);
    let began = Instant::now();
    let request = material.request(Credential::Ended(ENDED), number)?;
    let mut stream = client(material, server, EPHEMERAL, number.is_multiple_of(2)).open()?;
    if let Err(error) = answered(&mut *stream, &request, b"HTTP/1.1 101 ") {
        let late = began.elapsed() >= least && error.to_string().starts_with("HTTP/1.1 401 ");
        return if late { Ok(()) } else { Err(error) };
    }
    closed(&mut *stream, 3000)?;
    let lived = began.elapsed();
    if lived > least + Duration::from_secs(1) + LATE {
        return failed(&format!("a token that has ended was good for {lived:?}"));
    }
    Ok(())
}
