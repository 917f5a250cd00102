//! A WebSocket echo server on axum that checks credentials before the upgrade, as a user would write it: tokens
//! by `jsonwebtoken`, Basic by an HMAC. One argument, the folder with the keys of the bench. Says `tcp PORT` on
//! standard error.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::{env, fs, io::Write};

use axum::Router;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use ring::hmac;
use serde::Deserialize;

/// What is read at once, in bytes: the default of 128 KiB is zeroed for every read.
const READ_BUFFER: usize = 4096;

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
        let (ec, rsa) = (fs::read(folder.join("ES256.pem"))?, fs::read(folder.join("RS256.pem"))?);
        Ok(Self {
            secret: hmac::Key::new(hmac::HMAC_SHA256, &fs::read(folder.join("shared.secret"))?),
            public: vec![
                (Algorithm::ES256, DecodingKey::from_ec_pem(&ec)?, validation(Algorithm::ES256)),
                (Algorithm::RS256, DecodingKey::from_rsa_pem(&rsa)?, validation(Algorithm::RS256)),
            ],
        })
    }

    fn accept(&self, fields: &HeaderMap) -> bool {
        let field = fields.get(header::AUTHORIZATION).and_then(|field| field.to_str().ok());
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
        let Ok(head) = decode_header(token) else { return false };
        let mut keys = self.public.iter();
        keys.find(|(algorithm, ..)| *algorithm == head.alg)
            .is_some_and(|(_, key, validation)| decode::<Claims>(token, key, validation).is_ok())
    }
}

async fn answer(State(keys): State<Arc<Keys>>, request: Request) -> Response {
    if !keys.accept(request.headers()) {
        let challenge = [(header::WWW_AUTHENTICATE, "Bearer realm=\"axum\"")];
        return (StatusCode::UNAUTHORIZED, challenge).into_response();
    }
    let (mut parts, _) = request.into_parts();
    match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
        Ok(upgrade) => upgrade.read_buffer_size(READ_BUFFER).on_upgrade(echo),
        Err(refused) => refused.into_response(),
    }
}

async fn echo(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        let sent = match message {
            Message::Text(_) | Message::Binary(_) => socket.send(message).await,
            // The library answers them.
            Message::Ping(_) | Message::Pong(_) => Ok(()),
            Message::Close(_) => return,
        };
        if sent.is_err() {
            return;
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = env::args_os().nth(1).ok_or("usage: countersign-bench-axum FOLDER")?;
    let keys = Arc::new(Keys::read(Path::new(&folder))?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        writeln!(std::io::stderr(), "tcp {}", listener.local_addr()?.port())?;
        use axum::serve::ListenerExt as _;
        let listener = listener.tap_io(|stream| {
            let _ = stream.set_nodelay(true);
        });
        axum::serve(listener, Router::new().fallback(answer).with_state(keys)).await?;
        Ok(())
    })
}
