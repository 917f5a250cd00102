//! The floor: the least that answers the same requests with the same libraries. No limits, no timers, no
//! log, one configuration, and trust in every peer. What is above it is what the gateway costs.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;
use std::{fs, thread};

use async_executor::Executor;
use async_io::Async;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use countersign_tests::keys::{AUDIENCE, ISSUER};
use futures_lite::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use futures_rustls::TlsAcceptor;
use ring::{digest, hmac, signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;

use crate::epoll;
use crate::material::{CERTIFICATE, PRIVATE_KEY, PUBLIC_KEYS, SECRET};
use crate::{Outcome, failed};

/// What is read at once, and what an idle connection holds, in bytes.
const SMALL: usize = 2 * 1024;
/// What is read at once from who sends much, in bytes.
const LARGE: usize = 64 * 1024;
/// Most fields of a head.
const FIELDS: usize = 32;
/// Bytes of an uncompressed point on P-256.
const POINT: usize = 65;
/// What the key of a handshake is hashed with (RFC 6455 section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Where everybody is let in: what is behind a proxy.
pub(crate) const OPEN: &str = "/open";
/// Where a proxy asks whether a request has a good credential.
pub(crate) const CHECK: &str = "/check";
/// Where messages go to all others.
pub(crate) const BROADCAST: &str = "/broadcast";

/// What credentials are checked with.
pub(crate) struct Keys {
    secret: hmac::Key,
    /// By the name of their algorithm in a token's header.
    public: Vec<(
        &'static str,
        &'static dyn signature::VerificationAlgorithm,
        Vec<u8>,
    )>,
}

impl Keys {
    fn read(folder: &Path) -> io::Result<Self> {
        let kinds: [&dyn signature::VerificationAlgorithm; 2] = [
            &signature::ECDSA_P256_SHA256_FIXED,
            &signature::RSA_PKCS1_2048_8192_SHA256,
        ];
        let public = PUBLIC_KEYS.into_iter().zip(kinds).map(|((name, file), kind)| {
            let pem = fs::read_to_string(folder.join(file))?;
            let text: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
            let mut key = STANDARD.decode(text).map_err(io::Error::other)?;
            if name == "ES256" {
                // The point is what the BIT STRING at the end holds (RFC 5480 section 2.2).
                key.drain(..key.len().saturating_sub(POINT));
            }
            Ok((name, kind, key))
        });
        Ok(Self {
            secret: hmac::Key::new(hmac::HMAC_SHA256, SECRET),
            public: public.collect::<io::Result<_>>()?,
        })
    }

    /// Says whether this `Authorization` is a good one.
    fn accept(&self, field: &[u8]) -> bool {
        let Ok(field) = std::str::from_utf8(field) else {
            return false;
        };
        match field.split_once(' ') {
            Some(("Basic", rest)) => self.accept_basic(rest),
            Some(("Bearer", token)) => self.accept_token(token).is_some(),
            Some(_) | None => false,
        }
    }

    fn accept_basic(&self, text: &str) -> bool {
        let Some(pair) = STANDARD.decode(text).ok() else {
            return false;
        };
        let Some(colon) = pair.iter().rposition(|byte| *byte == b':') else {
            return false;
        };
        let (user, password) = pair.split_at(colon);
        let tag = STANDARD.decode(password.get(1..).unwrap_or_default());
        tag.is_ok_and(|tag| hmac::verify(&self.secret, user, &tag).is_ok())
    }

    fn accept_token(&self, token: &str) -> Option<()> {
        let (signed, tag) = token.rsplit_once('.')?;
        let (head, claims) = signed.split_once('.')?;
        let read = |part| serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(part).ok()?).ok();
        let (head, claims) = (read(head)?, read(claims)?);
        let name = head["alg"].as_str()?;
        let (_, kind, key) = self.public.iter().find(|(public, ..)| *public == name)?;
        let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
        signature::UnparsedPublicKey::new(*kind, key)
            .verify(signed.as_bytes(), &tag)
            .ok()?;
        let now = SystemTime::UNIX_EPOCH.elapsed().ok()?.as_secs();
        let good = claims["iss"] == ISSUER && claims["aud"] == AUDIENCE && claims["exp"].as_u64()? > now;
        good.then_some(())
    }
}

/// Where one connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Requests are answered.
    Http,
    /// Frames come back.
    Echo,
    /// Frames go to all other members.
    Member,
}

/// One connection: bytes in, bytes out.
pub(crate) struct Talk {
    input: Vec<u8>,
    filled: usize,
    state: State,
}

impl Talk {
    pub(crate) fn new() -> Self {
        Self {
            input: vec![0; SMALL],
            filled: 0,
            state: State::Http,
        }
    }

    /// Returns where the next bytes are read to.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        if self.filled == self.input.len() {
            self.input.resize(LARGE, 0);
        }
        self.input.get_mut(self.filled..).unwrap_or_default()
    }

    /// Takes in `length` more bytes, and puts what answers them into `out`. False at the end.
    pub(crate) fn take(&mut self, length: usize, keys: &Keys, out: &mut Vec<u8>) -> bool {
        self.filled += length;
        if length == 0 {
            return false;
        }
        let mut used = 0;
        while let Some(bytes) = self.input.get_mut(used..self.filled)
            && !bytes.is_empty()
        {
            let step = match self.state {
                State::Echo | State::Member => match echo(bytes, out) {
                    Some(step) => step,
                    None => return false,
                },
                State::Http => {
                    let (step, state) = answer(bytes, keys, out);
                    self.state = state;
                    step
                }
            };
            if step == 0 {
                break;
            }
            used += step;
        }
        self.input.copy_within(used..self.filled, 0);
        self.filled -= used;
        true
    }
}

/// Answers a request head. Returns how many bytes it took, none if it is not whole, and what follows.
fn answer(bytes: &[u8], keys: &Keys, out: &mut Vec<u8>) -> (usize, State) {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut head = httparse::Request::new(&mut fields);
    let Ok(httparse::Status::Complete(length)) = head.parse(bytes) else {
        return (0, State::Http);
    };
    let find = |name: &str| {
        let mut fields = head.headers.iter();
        let field = fields.find(|field| field.name.eq_ignore_ascii_case(name))?;
        Some(field.value)
    };
    let path = head.path.unwrap_or_default();
    // Behind a proxy the client was checked already.
    let accepted = path == OPEN || find("Authorization").is_some_and(|field| keys.accept(field));
    if path == CHECK && accepted {
        out.extend_from_slice(b"HTTP/1.1 204 No Content\r\n\r\n");
        return (length, State::Http);
    }
    if let Some(key) = find("Sec-WebSocket-Key").filter(|_| accepted) {
        let mut hash = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
        hash.update(key);
        hash.update(GUID);
        out.extend_from_slice(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Accept: ",
        );
        out.extend_from_slice(STANDARD.encode(hash.finish()).as_bytes());
        out.extend_from_slice(b"\r\n\r\n");
        let state = if path == BROADCAST {
            State::Member
        } else {
            State::Echo
        };
        return (length, state);
    }
    out.extend_from_slice(
        b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer realm=\"floor\"\r\nContent-Length: 0\r\n\r\n",
    );
    (length, State::Http)
}

/// Sends a whole frame back. Returns how many bytes it took, none if it is not whole; nothing at a Close.
fn echo(bytes: &mut [u8], out: &mut Vec<u8>) -> Option<usize> {
    let (&[first, second], rest) = bytes
        .split_first_chunk_mut::<2>()
        .map(|(a, b)| (&*a, b))
        .unwrap_or((&[0, 0], &mut []));
    if first & 0x0F == 0x8 {
        return None;
    }
    let (extended, payload) = match second & 0x7F {
        126 => match rest.first_chunk::<2>() {
            Some(length) => (2, usize::from(u16::from_be_bytes(*length))),
            None => return Some(0),
        },
        127 => return None,
        short => (0, usize::from(short)),
    };
    let Some((mask, data)) = rest
        .get_mut(extended..)
        .and_then(|rest| rest.split_first_chunk_mut::<4>())
    else {
        return Some(0);
    };
    let Some(data) = data.get(..payload) else {
        return Some(0);
    };
    out.push(first);
    out.push(second & 0x7F);
    if let (126, Ok(length)) = (second & 0x7F, u16::try_from(payload)) {
        out.extend_from_slice(&length.to_be_bytes());
    }
    let start = out.len();
    out.extend_from_slice(data);
    let wide = u64::from_ne_bytes([
        mask[0], mask[1], mask[2], mask[3], mask[0], mask[1], mask[2], mask[3],
    ]);
    let mut chunks = out.get_mut(start..).unwrap_or_default().chunks_exact_mut(8);
    for chunk in &mut chunks {
        if let Ok(bytes) = <[u8; 8]>::try_from(&*chunk) {
            chunk.copy_from_slice(&(u64::from_ne_bytes(bytes) ^ wide).to_ne_bytes());
        }
    }
    for (byte, mask) in chunks.into_remainder().iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
    Some(2 + extended + 4 + payload)
}

/// Runs until it is killed. Says `NAME PORT` of both its listeners on standard error first.
pub(crate) fn run(kind: &str, folder: &Path) -> Outcome<()> {
    let keys: &'static Keys = Box::leak(Box::new(Keys::read(folder)?));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain = CertificateDer::pem_file_iter(folder.join(CERTIFICATE))?.collect::<Result<_, _>>()?;
    let tls = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(folder.join(PRIVATE_KEY))?)?;
    let tls = Arc::new(tls);
    let mut listeners = Vec::new();
    for name in ["tcp", "tls"] {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        writeln!(io::stderr(), "{name} {port}")?;
        listeners.push((listener, (name == "tls").then(|| Arc::clone(&tls))));
    }
    match kind {
        "smol" => run_smol(listeners, keys),
        "std" => run_std(listeners, keys),
        "epoll" => match listeners.first() {
            Some((listener, _)) => epoll::run(listener, keys),
            None => failed("no listener"),
        },
        _ => failed("a floor is smol, std or epoll"),
    }
}

type Listening = (TcpListener, Option<Arc<ServerConfig>>);

fn run_smol(listeners: Vec<Listening>, keys: &'static Keys) -> Outcome<()> {
    let executor: &'static Executor<'static> = Box::leak(Box::new(Executor::new()));
    for (listener, tls) in listeners {
        let listener = Async::new(listener)?;
        let acceptor = tls.map(TlsAcceptor::from);
        let accepting = async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.get_ref().set_nodelay(true);
                let acceptor = acceptor.clone();
                let talk = async move {
                    match acceptor {
                        None => {
                            let stream = Arc::new(stream);
                            serve(&*stream, keys, Some(&stream)).await
                        }
                        Some(acceptor) => serve(acceptor.accept(stream).await?, keys, None).await,
                    }
                };
                executor.spawn(talk).detach();
            }
        };
        executor.spawn(accepting).detach();
    }
    async_io::block_on(executor.run(std::future::pending()))
}

/// Serves one connection; without TLS, when it may be a member, `own` is the same stream.
async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    keys: &Keys,
    own: Option<&Arc<Async<TcpStream>>>,
) -> io::Result<()> {
    let (mut talk, mut out) = (Talk::new(), Vec::new());
    let mut membership = None;
    loop {
        let length = stream.read(talk.room()).await?;
        if !talk.take(length, keys, &mut out) {
            return stream.close().await;
        }
        if let Some(member) = &membership {
            everybody_else(member, &out)?;
            out.clear();
        } else if !out.is_empty() {
            if let (State::Member, Some(own)) = (talk.state, own) {
                membership = Some(Membership::new(own));
            }
            stream.write_all(&out).await?;
            stream.flush().await?;
            out.clear();
        }
    }
}

/// Whoever gets what others send.
static MEMBERS: Mutex<Vec<Arc<Async<TcpStream>>>> = Mutex::new(Vec::new());

/// A place among the members, until it is dropped.
struct Membership(Arc<Async<TcpStream>>);

impl Membership {
    fn new(stream: &Arc<Async<TcpStream>>) -> Self {
        let mut members = MEMBERS.lock().unwrap_or_else(PoisonError::into_inner);
        members.push(Arc::clone(stream));
        Self(Arc::clone(stream))
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let mut members = MEMBERS.lock().unwrap_or_else(PoisonError::into_inner);
        members.retain(|member| !Arc::ptr_eq(member, &self.0));
    }
}

/// Writes to all other members. It trusts that the operating system takes everything at once.
fn everybody_else(sender: &Membership, bytes: &[u8]) -> io::Result<()> {
    let members = MEMBERS.lock().unwrap_or_else(PoisonError::into_inner);
    for member in members.iter().filter(|member| !Arc::ptr_eq(member, &sender.0)) {
        if member.get_ref().write(bytes)? != bytes.len() {
            return Err(io::ErrorKind::WriteZero.into());
        }
    }
    Ok(())
}

fn run_std(listeners: Vec<Listening>, keys: &'static Keys) -> Outcome<()> {
    let accepting = listeners.into_iter().map(|(listener, tls)| {
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let tls = tls.clone();
                thread::spawn(move || talk_blocking(stream, tls, keys));
            }
        })
    });
    for thread in accepting.collect::<Vec<_>>() {
        // Neither ends.
        let _ = thread.join();
    }
    Ok(())
}

fn talk_blocking(stream: TcpStream, tls: Option<Arc<ServerConfig>>, keys: &Keys) -> io::Result<()> {
    stream.set_nodelay(true)?;
    match tls {
        None => serve_blocking(stream, keys),
        Some(tls) => {
            let session = ServerConnection::new(tls).map_err(io::Error::other)?;
            serve_blocking(StreamOwned::new(session, stream), keys)
        }
    }
}

fn serve_blocking(mut stream: impl Read + Write, keys: &Keys) -> io::Result<()> {
    let (mut talk, mut out) = (Talk::new(), Vec::new());
    loop {
        let length = stream.read(talk.room())?;
        if !talk.take(length, keys, &mut out) {
            return Ok(());
        }
        if !out.is_empty() {
            stream.write_all(&out)?;
            out.clear();
        }
    }
}
