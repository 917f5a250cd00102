//! A WebSocket echo server on fastwebsockets and hyper that checks credentials before the upgrade, as a user would
//! write it: tokens by `jsonwebtoken`, Basic by an HMAC. One argument, the folder with the keys of the bench. Says
//! `tcp PORT` on standard error.
//!
//! Buffers are what the libraries make of themselves: fastwebsockets begins with 8 KiB for a connection, hyper takes no
//! limit below that.

use std::convert::Infallible;
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::{env, fs, io::Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use fastwebsockets::upgrade::{UpgradeFut, is_upgrade_request, upgrade};
use fastwebsockets::{FragmentCollector, OpCode, WebSocketError};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use ring::hmac;
use serde::Deserialize;
use tokio::net::{TcpListener, TcpStream};

/// What is looked at in a token besides what the library checks.
#[derive(Deserialize)]
struct Claims {
    #[allow(dead_code, reason = "it has to be there")]
    sub: String,
}

/// What credentials are checked with.
struct Keys {
    secret: hmac::Key,
    public: Vec<(Algorithm, DecodingKey, Validation)>,
}

impl Keys {
    fn read(folder: &Path) -> Result<Self, Box<dyn Error>> {
        let validation = |algorithm| {
            let mut validation = Validation::new(algorithm);
            validation.set_issuer(&["https://idp.example"]);
            validation.set_audience(&["ws"]);
            validation
        };
        let (ec, rsa) = (
            fs::read(folder.join("ES256.pem"))?,
            fs::read(folder.join("RS256.pem"))?,
        );
        Ok(Self {
            secret: hmac::Key::new(hmac::HMAC_SHA256, &fs::read(folder.join("shared.secret"))?),
            public: vec![
                (
                    Algorithm::ES256,
                    DecodingKey::from_ec_pem(&ec)?,
                    validation(Algorithm::ES256),
                ),
                (
                    Algorithm::RS256,
                    DecodingKey::from_rsa_pem(&rsa)?,
                    validation(Algorithm::RS256),
                ),
            ],
        })
    }

    fn accept(&self, fields: &HeaderMap) -> bool {
        let field = fields
            .get(header::AUTHORIZATION)
            .and_then(|field| field.to_str().ok());
        match field.and_then(|field| field.split_once(' ')) {
            Some(("Basic", text)) => self.accept_basic(text).is_some(),
            Some(("Bearer", token)) => self.accept_token(token),
            _ => false,
        }
    }

    fn accept_basic(&self, text: &str) -> Option<()> {
        let pair = STANDARD.decode(text).ok()?;
        let colon = pair.iter().rposition(|byte| *byte == b':')?;
        let tag = STANDARD.decode(pair.get(colon + 1..)?).ok()?;
        hmac::verify(&self.secret, pair.get(..colon)?, &tag).ok()
    }

    fn accept_token(&self, token: &str) -> bool {
        let Ok(head) = decode_header(token) else {
            return false;
        };
        let mut keys = self.public.iter();
        keys.find(|(algorithm, ..)| *algorithm == head.alg)
            .is_some_and(|(_, key, validation)| decode::<Claims>(token, key, validation).is_ok())
    }
}

/// Says no.
fn refused(status: StatusCode) -> Response<Empty<Bytes>> {
    let mut response = Response::new(Empty::new());
    *response.status_mut() = status;
    if status == StatusCode::UNAUTHORIZED {
        let challenge = header::HeaderValue::from_static("Bearer realm=\"fastwebsockets\"");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    response
}

async fn answer(
    keys: Arc<Keys>,
    mut request: Request<Incoming>,
) -> Result<Response<Empty<Bytes>>, Infallible> {
    if !keys.accept(request.headers()) {
        return Ok(refused(StatusCode::UNAUTHORIZED));
    }
    if !is_upgrade_request(&request) {
        return Ok(refused(StatusCode::UPGRADE_REQUIRED));
    }
    let Ok((response, socket)) = upgrade(&mut request) else {
        return Ok(refused(StatusCode::BAD_REQUEST));
    };
    // It ends with the connection, whatever the reason.
    tokio::spawn(echo(socket));
    Ok(response)
}

async fn echo(socket: UpgradeFut) -> Result<(), WebSocketError> {
    let mut socket = FragmentCollector::new(socket.await?);
    loop {
        let frame = socket.read_frame().await?;
        match frame.opcode {
            OpCode::Text | OpCode::Binary => socket.write_frame(frame).await?,
            OpCode::Close => return Ok(()),
            // The library answers them, and puts fragments together.
            OpCode::Ping | OpCode::Pong | OpCode::Continuation => {}
        }
    }
}

async fn serve(stream: TcpStream, keys: Arc<Keys>) {
    let service = service_fn(move |request| answer(Arc::clone(&keys), request));
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    // A client that is gone is no fault.
    let _ = connection.with_upgrades().await;
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = env::args_os()
        .nth(1)
        .ok_or("usage: countersign-bench-fastwebsockets FOLDER")?;
    let keys = Arc::new(Keys::read(Path::new(&folder))?);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        writeln!(std::io::stderr(), "tcp {}", listener.local_addr()?.port())?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(serve(stream, Arc::clone(&keys)));
        }
    })
}
