//! What a connection, an upgrade and an echo cost a running program: its memory and its processor time, as
//! the kernel counts them. Starts each program itself, with its log at the default level.
//!
//! `cargo run --release -p countersign-tests --example measure -- --program target/release/countersign-smol`

#![allow(clippy::print_stdout, reason = "the figures are the output")]

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use std::{env, fs, process, thread};

use countersign_core::time::UnixTime;
use countersign_tests::client::{BINARY, Frame, upgrade};
use countersign_tests::keys::{AUDIENCE, ISSUER, Signer, Token};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};

/// Idle TLS connections whose memory is measured; a descriptor limit of 1024 leaves room for them.
const IDLE: u32 = 1000;
/// Upgrades, each on a connection of its own and with a token never seen before.
const UPGRADES: u32 = 4000;
/// Round trips of the echo at each depth, in messages.
const ECHOES: u32 = 64_000;
/// Messages that are on their way at once, in one write.
const DEPTHS: [u32; 2] = [1, 16];
/// The longest payload whose length fits a frame's first two bytes (RFC 6455 section 5.2).
const PAYLOAD: [u8; 125] = [0x5A; 125];
/// A server's frame of that payload: two bytes of header and no mask.
const ECHO_BYTES: usize = 2 + PAYLOAD.len();
/// Unit of the times in `/proc/PID/stat`, in microseconds: Linux always shows hundredths of a second.
const TICK_MICROS: u64 = 10_000;
/// How long a program is left alone before its memory is read.
const SETTLE: Duration = Duration::from_millis(500);
/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let mut programs = Vec::new();
    let mut arguments = env::args_os().skip(1);
    while let Some(argument) = arguments.next() {
        match (argument.to_str(), arguments.next()) {
            (Some("--program"), Some(path)) => programs.push(PathBuf::from(path)),
            (Some(_) | None, _) => return Err("usage: measure [--program PATH]...".into()),
        }
    }
    if programs.is_empty() {
        programs = ["countersign-smol", "countersign-std"]
            .map(|name| Path::new("target/release").join(name))
            .into();
    }
    let folder = env::temp_dir().join(format!("countersign-measure-{}", process::id()));
    fs::create_dir_all(&folder)?;
    let done = measure(&programs, &folder);
    fs::remove_dir_all(&folder)?;
    done
}

fn measure(programs: &[PathBuf], folder: &Path) -> Outcome<()> {
    let material = Material::write(folder)?;
    for program in programs {
        println!("{}", program.display());
        // A program for each figure, so that none sees what another one left behind.
        idle(&Server::start(program, folder)?, &material)?;
        upgrades(&Server::start(program, folder)?, &material)?;
        echoes(&Server::start(program, folder)?, &material)?;
    }
    Ok(())
}

/// Resident memory of open TLS connections on which nothing happens.
fn idle(server: &Server, material: &Material) -> Outcome<()> {
    // The first connection pays for what all of them share.
    let first = material.tls(server)?;
    thread::sleep(SETTLE);
    let before = server.resident_kib()?;
    let connections: Vec<_> = (0..IDLE).map(|_| material.tls(server)).collect::<Outcome<_>>()?;
    thread::sleep(SETTLE);
    let grown = server.resident_kib()?.saturating_sub(before);
    let each = grown as f64 / f64::from(IDLE);
    println!("  idle TLS connection: {each:.1} KiB resident each ({IDLE}; {before} KiB before)");
    drop((first, connections));
    Ok(())
}

/// Processor time of upgrades on fresh TCP connections, from accept to close.
fn upgrades(server: &Server, material: &Material) -> Outcome<()> {
    let requests: Vec<_> = (0..UPGRADES + 1).map(|number| material.request(number)).collect();
    let (first, rest) = requests.split_first().ok_or("no request")?;
    granted(server.connect("tcp")?, first)?;
    let before = server.busy_micros()?;
    for request in rest {
        granted(server.connect("tcp")?, request)?;
    }
    thread::sleep(SETTLE);
    let spent = server.busy_micros()? - before;
    let each = spent as f64 / f64::from(UPGRADES);
    println!("  upgrade over TCP, ES256: {each:.0} us each ({UPGRADES}; new connection, new token)");
    Ok(())
}

/// Processor time of echoes on one TCP connection.
fn echoes(server: &Server, material: &Material) -> Outcome<()> {
    let mut stream = granted(server.connect("tcp")?, &material.request(0))?;
    let message = Frame::whole(BINARY, &PAYLOAD).masked();
    for depth in DEPTHS {
        let burst = message.repeat(depth as usize);
        let mut answer = vec![0; ECHO_BYTES * depth as usize];
        let before = server.busy_micros()?;
        for _ in 0..ECHOES / depth {
            stream.write_all(&burst)?;
            stream.read_exact(&mut answer)?;
        }
        let spent = server.busy_micros()? - before;
        if !answer.ends_with(&PAYLOAD) {
            return Err("what came back is no echo".into());
        }
        let (bytes, each) = (PAYLOAD.len(), spent as f64 / f64::from(ECHOES));
        println!("  echo of {bytes} bytes, depth {depth}: {each:.2} us each ({ECHOES})");
    }
    Ok(())
}

/// Asks for an upgrade and gives the stream back when it is granted.
fn granted<S: Read + Write>(mut stream: S, request: &[u8]) -> Outcome<S> {
    stream.write_all(request)?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        // One byte at a time: what follows the head belongs to the WebSocket.
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.extend(byte);
    }
    if !head.starts_with(b"HTTP/1.1 101 ") {
        return Err(head.escape_ascii().to_string().into());
    }
    Ok(stream)
}

/// What the programs and the client agree on.
struct Material {
    signer: Signer,
    client: Arc<ClientConfig>,
}

impl Material {
    /// Writes a configuration with one TLS server and one plain-text server, and what it names.
    fn write(folder: &Path) -> Outcome<Self> {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()])?;
        let signer = Signer::of("ES256");
        let config = json!({
            "servers": [
                {"id": "tls", "listen": ["127.0.0.1:0"], "serverCertificate": "server.pem"},
                {"id": "tcp", "listen": ["127.0.0.1:0"], "plaintext": true},
            ],
            "realms": {"measured": {"loginModules": [{
                "type": "jwt", "success": "required", "issuer": ISSUER, "audience": AUDIENCE,
                "verification": {"publicKey": {"ES256": {"keyFile": "issuer.pem"}}},
            }]}},
            "services": {"echo": {"type": "echo", "accept": "/echo", "realm": "measured"}},
        });
        fs::write(
            folder.join("server.pem"),
            cert.pem() + &signing_key.serialize_pem(),
        )?;
        fs::write(folder.join("issuer.pem"), signer.public_pem())?;
        fs::write(folder.join("edge.json"), config.to_string())?;
        Ok(Self {
            signer,
            client: trusting(cert.der().clone())?,
        })
    }

    /// An upgrade request; each `number` has a token of its own.
    fn request(&self, number: u32) -> Vec<u8> {
        let now = UnixTime::new(SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default());
        let token = Token::new("alice", now)
            .claim("jti", number.to_string())
            .signed(&self.signer);
        upgrade("/echo").bearer(&token).bytes()
    }

    /// An open WebSocket over TLS.
    fn tls(&self, server: &Server) -> Outcome<impl Read + Write + use<>> {
        let session = ClientConnection::new(Arc::clone(&self.client), ServerName::try_from("localhost")?)?;
        granted(
            StreamOwned::new(session, server.connect("tls")?),
            &self.request(0),
        )
    }
}

fn trusting(certificate: CertificateDer<'static>) -> Outcome<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(Arc::new(
        builder.with_root_certificates(roots).with_no_client_auth(),
    ))
}

/// A program that runs, and is ended with the measurement.
struct Server {
    child: Child,
    ports: BTreeMap<String, u16>,
}

impl Server {
    fn start(program: &Path, folder: &Path) -> Outcome<Self> {
        let mut child = Command::new(program)
            .arg("--config")
            .arg(folder.join("edge.json"))
            .args(["--log", "json"])
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{}: {error}", program.display()))?;
        let log = child.stderr.take().ok_or("no standard error")?;
        let mut server = Self {
            child,
            ports: BTreeMap::new(),
        };
        let mut log = server.listening(log)?;
        // Somebody has to read the log, as somebody would.
        thread::spawn(move || io::copy(&mut log, &mut io::sink()));
        Ok(server)
    }

    /// Reads the log until both servers listen.
    fn listening(&mut self, log: ChildStderr) -> Outcome<BufReader<ChildStderr>> {
        let mut log = BufReader::new(log);
        while self.ports.len() < 2 {
            let mut line = String::new();
            if log.read_line(&mut line)? == 0 {
                return Err("the program ended".into());
            }
            let event: Value = serde_json::from_str(&line)?;
            if event["event"] == "listening" {
                let url = event["url"].as_str().ok_or("no URL")?;
                let (_, port) = url.rsplit_once(':').ok_or("no port")?;
                let name = event["server"].as_str().unwrap_or_default();
                self.ports.insert(name.to_owned(), port.parse()?);
            }
        }
        Ok(log)
    }

    fn connect(&self, name: &str) -> Outcome<TcpStream> {
        let port = self.ports.get(name).ok_or("no such server")?;
        let stream = TcpStream::connect(("127.0.0.1", *port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(stream)
    }

    /// Returns the resident memory, in KiB.
    fn resident_kib(&self) -> Outcome<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .ok_or("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }

    /// Returns the processor time of all its threads, ended ones included, in microseconds.
    fn busy_micros(&self) -> Outcome<u64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The name in parentheses may hold anything; utime and stime are fields 14 and 15, proc(5).
        let (_, fields) = stat.rsplit_once(") ").ok_or("no fields")?;
        let ticks: Vec<u64> = fields
            .split(' ')
            .skip(11)
            .take(2)
            .map(str::parse)
            .collect::<Result<_, _>>()?;
        Ok(ticks.iter().sum::<u64>() * TICK_MICROS)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
