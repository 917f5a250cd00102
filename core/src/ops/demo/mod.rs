//! The demo: a whole configuration in memory, with one user and one token that nobody knew before.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ring::hmac;
use serde_json::{Value, json};

use crate::auth::jwt::sign_hs256;
use crate::auth::password::hash_password;
use crate::config::{MemoryFiles, Page};
use crate::secret::Secret;

use crate::time::Now;

/// How long the demo's token is good for: a working day, and not the next one.
const TOKEN_LIFE: Duration = Duration::from_secs(12 * 60 * 60);

const USER: &str = "demo";
const ISSUER: &str = "https://localhost/demo";
const AUDIENCE: &str = "countersign-demo";

/// The names in memory, all in one folder because the configuration names its files relatively.
const FOLDER: &str = "demo";
const CONFIG: &str = "countersign.json";
const CERTIFICATE: &str = "server.pem";
const PASSWORDS: &str = "users.htpasswd";
const SECRET: &str = "token.key";

/// Letters and digits that nobody confuses when reading them aloud (Crockford's base 32).
const LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// An upgrade by hand, up to what tells the three of them apart. `--http1.1` because curl would
/// offer HTTP/2, where an upgrade means nothing.
const CURL: &str = "curl -k -i -N --http1.1 --max-time 2 -H 'Connection: Upgrade' -H 'Upgrade: websocket' \
    -H 'Sec-WebSocket-Version: 13' -H 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=='";

const PAGES: [Page; 3] = [
    Page {
        path: "/",
        content_type: "text/html; charset=utf-8",
        body: include_bytes!("index.html"),
    },
    Page {
        path: "/demo.css",
        content_type: "text/css; charset=utf-8",
        body: include_bytes!("demo.css"),
    },
    Page {
        path: "/demo.js",
        content_type: "text/javascript; charset=utf-8",
        body: include_bytes!("demo.js"),
    },
];

/// What the adapter gives the demo, because it takes a system call.
#[derive(Clone)]
pub struct DemoMaterial {
    /// A fresh certificate for `localhost`, `127.0.0.1` and `::1`, and its private key, as PEM.
    pub certificate_pem: String,
    /// Where to listen.
    pub listen: SocketAddr,
    /// 32 bytes from the operating system's generator; the password and the key of the token are
    /// derived from them.
    pub random: [u8; 32],
}

impl fmt::Debug for DemoMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DemoMaterial")
            .field("listen", &self.listen)
            .finish_non_exhaustive()
    }
}

/// A configuration in memory, for `Config::load`, and what its user has to know.
pub struct Demo {
    /// The configuration's path in `files`.
    pub path: PathBuf,
    /// The configuration and every file that it names.
    pub files: MemoryFiles,
    /// The pages to be served to everybody.
    pub pages: Vec<Page>,
    /// The name of the one user.
    pub user: String,
    password: Secret<String>,
    token: Secret<String>,
    host: String,
}

impl fmt::Debug for Demo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Demo")
            .field("path", &self.path)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

impl Demo {
    /// Makes the user, the password, the token and the configuration. Hashes a password, which
    /// takes some 20 milliseconds.
    pub fn new(material: DemoMaterial, now: Now) -> Self {
        let host = host_to_visit(material.listen);
        let password = readable(&derived(&material.random, "password"));
        let secret = derived(&material.random, "token key");
        let token = sign_hs256(&claims(&material.random, now), &secret);
        let [salt, _] = halves(&derived(&material.random, "password salt"));
        // A hash that could not be made is an empty one, which the loader refuses.
        let hash = hash_password(password.as_bytes(), salt).unwrap_or_default();
        let files = in_memory([
            (CONFIG, configuration(&host, material.listen).into_bytes()),
            (CERTIFICATE, material.certificate_pem.into_bytes()),
            (PASSWORDS, format!("{USER}:{hash}\n").into_bytes()),
            (SECRET, secret.to_vec()),
        ]);
        Self {
            path: PathBuf::from(FOLDER).join(CONFIG),
            files,
            pages: PAGES.to_vec(),
            user: USER.to_owned(),
            password: Secret::new(password),
            token: Secret::new(token),
            host,
        }
    }

    /// Returns what to print on standard output, never in the log: `user:`, `password:` and
    /// `token:` lines, each followed by what to type next. `port` is the port that is bound.
    pub fn printout(&self, program: &str, port: u16) -> String {
        let authority = format!("{}:{port}", self.host);
        let (user, password, token) = (&self.user, self.password.expose(), self.token.expose());
        format!(
            "{program} demo: https://{authority}/ and wss://{authority}/api/ws
The certificate was made a moment ago and nobody vouches for it: hence -k, and the warning of a browser.

user: {user}
  Nobody passes without a credential: 401, and a line for each way to answer.
    {CURL} https://{authority}/api/ws

password: {password}
  With the password: 101. After two seconds curl gives up waiting for a frame.
    {CURL} -u '{user}:{password}' https://{authority}/api/ws

token: {token}
  With the token, good for {hours} hours: 101.
    {CURL} -H 'Authorization: Bearer {token}' https://{authority}/api/ws
  In a browser, where a script cannot set that field:
    https://{authority}/#token={token}
  Or sign in there with user and password:
    https://{authority}/login

To serve a configuration of your own: {program} --config FILE

",
            hours = TOKEN_LIFE.as_secs() / 3600,
        )
    }
}

/// The host to type: `localhost` where it leads here, else the address itself.
fn host_to_visit(listen: SocketAddr) -> String {
    match listen {
        SocketAddr::V4(v4) if !v4.ip().is_loopback() && !v4.ip().is_unspecified() => v4.ip().to_string(),
        SocketAddr::V6(v6) if !v6.ip().is_loopback() && !v6.ip().is_unspecified() => format!("[{}]", v6.ip()),
        SocketAddr::V4(_) | SocketAddr::V6(_) => "localhost".to_owned(),
    }
}

fn configuration(host: &str, listen: SocketAddr) -> String {
    let mut hosts = vec!["localhost", "127.0.0.1", "[::1]"];
    if !hosts.contains(&host) {
        hosts.push(host);
    }
    let configuration = json!({
        "servers": [{
            "id": "demo",
            "listen": [listen.to_string()],
            "serverCertificate": CERTIFICATE,
            "hosts": hosts,
        }],
        "realms": {
            "demo": {
                "description": "countersign demo",
                "challenges": ["Bearer", "Basic"],
                "carriers": [
                    "authorization", "query:access_token", "subprotocol:access_token", "cookie:__Host-session",
                ],
                "form": {},
                "tickets": {},
                // The page asks for tickets by itself: a refusal must not open the browser's own prompt.
                "suppressBrowserPrompt": true,
                "loginModules": [
                    {"type": "users", "success": "sufficient", "passwords": PASSWORDS},
                    {
                        "type": "jwt", "success": "sufficient",
                        "issuer": ISSUER, "audience": AUDIENCE,
                        "verification": {"secret": {"HS256": {"keyFile": SECRET}}},
                    },
                ],
            },
        },
        "services": {
            "echo": {"type": "echo", "accept": "/api/ws", "realm": "demo", "origins": []},
            "points": {
                "type": "points", "realm": "demo", "origins": [],
                "endpoints": {"/points/temperature": "Demo.Temperature", "/points/pressure": "Demo.Pressure"},
                "acl": {"entries": [{"role": "Everyone", "allow": ["websocket.connect", "read", "write"]}]},
            },
        },
    });
    format!("{configuration:#}\n")
}

fn claims(random: &[u8; 32], now: Now) -> Value {
    let jti = derived(random, "token id");
    let [id, _] = halves(&jti);
    json!({
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": USER,
        "iat": now.unix.as_secs(),
        "exp": now.unix.after(TOKEN_LIFE).as_secs(),
        "jti": format!("{:032x}", u128::from_be_bytes(id)),
    })
}

fn in_memory<const N: usize>(named: [(&str, Vec<u8>); N]) -> MemoryFiles {
    let mut files = MemoryFiles::new();
    for (name, bytes) in named {
        files.insert(PathBuf::from(FOLDER).join(name), bytes);
    }
    files
}

/// The 32 bytes that belong to `label`: HMAC-SHA-256 of it under `random`.
fn derived(random: &[u8; 32], label: &str) -> [u8; 32] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, random), label.as_bytes());
    let mut bytes = [0; 32];
    for (byte, made) in bytes.iter_mut().zip(tag.as_ref()) {
        *byte = *made;
    }
    bytes
}

fn halves(bytes: &[u8; 32]) -> [[u8; 16]; 2] {
    let mut halves = [[0; 16]; 2];
    for (byte, made) in halves.as_flattened_mut().iter_mut().zip(bytes) {
        *byte = *made;
    }
    halves
}

/// Four groups of five letters, 100 bits: short enough to type, too long to guess.
fn readable(bytes: &[u8; 32]) -> String {
    let mut text = String::new();
    for (index, byte) in bytes.iter().take(20).enumerate() {
        if index > 0 && index % 5 == 0 {
            text.push('-');
        }
        // Five bits of a byte each: all of them are equally likely.
        text.extend(
            LETTERS
                .get(usize::from(byte & 31))
                .map(|letter| char::from(*letter)),
        );
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;
    use crate::auth::password::StoredHash;
    use crate::config::{Config, Files as _};
    use crate::time::UnixTime;

    fn demo(listen: &str, random: u8) -> Demo {
        let material = DemoMaterial {
            certificate_pem: "PEM".to_owned(),
            listen: listen.parse().unwrap(),
            random: [random; 32],
        };
        let now = Now {
            unix: UnixTime::from_secs(1_000_000),
            ..Now::default()
        };
        Demo::new(material, now)
    }

    fn file(demo: &mut Demo, name: &str) -> Vec<u8> {
        let path = demo.path.with_file_name(name);
        demo.files.read(&path, 1 << 20).unwrap().0
    }

    fn after<'a>(printout: &'a str, start: &str) -> &'a str {
        printout
            .lines()
            .find_map(|line| line.strip_prefix(start))
            .unwrap()
    }

    #[test]
    fn every_named_file_is_there() {
        let mut demo = demo("127.0.0.1:8443", 1);
        let config: Value = serde_json::from_slice(&file(&mut demo, CONFIG)).unwrap();
        assert_eq!(config["servers"][0]["listen"][0], "127.0.0.1:8443");
        assert_eq!(file(&mut demo, CERTIFICATE), b"PEM");
        assert_eq!(file(&mut demo, SECRET).len(), 32);
        let users = String::from_utf8(file(&mut demo, PASSWORDS)).unwrap();
        let (user, hash) = users.trim_end().split_once(':').unwrap();
        assert_eq!(user, demo.user);
        assert!(
            StoredHash::parse(hash)
                .unwrap()
                .verify(demo.password.expose().as_bytes())
        );
    }

    #[test]
    fn the_ordinary_loader_takes_the_configuration() {
        let mut demo = demo("127.0.0.1:0", 7);
        let config = Config::load(&demo.path, &mut demo.files).unwrap();
        assert_eq!(config.servers.len(), 1);
        assert!(config.services.contains_key("echo"));
    }

    #[test]
    fn the_printout_names_user_password_and_token_and_what_to_type() {
        let mut demo = demo("127.0.0.1:0", 2);
        let printout = demo.printout("countersign-test", 43_211);
        let password = after(&printout, "password: ");
        let token = after(&printout, "token: ");
        assert_eq!(after(&printout, "user: "), demo.user);
        assert_eq!(password.len(), 23);
        assert!(printout.contains(&format!("-u 'demo:{password}' https://localhost:43211/api/ws\n")));
        assert!(printout.contains(&format!("Authorization: Bearer {token}'")));
        assert!(printout.contains(&format!("https://localhost:43211/#token={token}\n")));

        let (signed, signature) = token.rsplit_once('.').unwrap();
        let key = hmac::Key::new(hmac::HMAC_SHA256, &file(&mut demo, SECRET));
        hmac::verify(
            &key,
            signed.as_bytes(),
            &URL_SAFE_NO_PAD.decode(signature).unwrap(),
        )
        .unwrap();
        let payload = URL_SAFE_NO_PAD.decode(signed.split_once('.').unwrap().1).unwrap();
        let claims: Value = serde_json::from_slice(&payload).unwrap();
        assert_eq!(claims["exp"], 1_000_000 + 12 * 60 * 60);
        assert_eq!(claims["aud"], "countersign-demo");
    }

    #[test]
    fn other_random_bytes_make_other_credentials() {
        let (one, other) = (demo("127.0.0.1:0", 3), demo("127.0.0.1:0", 4));
        assert_ne!(one.password.expose(), other.password.expose());
        assert_ne!(one.token.expose(), other.token.expose());
        assert_eq!(one.password.expose(), demo("127.0.0.1:0", 3).password.expose());
    }

    #[test]
    fn an_address_that_localhost_does_not_reach_is_visited_and_served_by_itself() {
        let mut demo = demo("192.0.2.7:8443", 5);
        assert!(demo.printout("p", 8443).contains("https://192.0.2.7:8443/"));
        let config: Value = serde_json::from_slice(&file(&mut demo, CONFIG)).unwrap();
        assert_eq!(config["servers"][0]["hosts"][3], "192.0.2.7");
        assert_eq!(host_to_visit("[::1]:1".parse().unwrap()), "localhost");
        assert_eq!(host_to_visit("0.0.0.0:1".parse().unwrap()), "localhost");
        assert_eq!(host_to_visit("[2001:db8::1]:1".parse().unwrap()), "[2001:db8::1]");
    }

    #[test]
    fn r10_debug_shows_no_credential() {
        let demo = demo("127.0.0.1:0", 6);
        let shown = format!("{demo:?}");
        assert!(!shown.contains(demo.password.expose()) && !shown.contains(demo.token.expose()));
    }

    #[test]
    fn r17_the_pages_hold_no_script_or_style_of_their_own_and_load_nothing_from_elsewhere() {
        let html = str::from_utf8(PAGES[0].body).unwrap();
        assert!(!html.contains("style=") && !html.contains("<style") && !html.contains(" onclick"));
        assert!(
            html.contains("<script src=\"demo.js\" defer></script>") && html.matches("<script").count() == 1
        );
        for page in PAGES {
            let text = str::from_utf8(page.body).unwrap();
            assert!(!text.contains("https://") && !text.contains("innerHTML") && !text.contains("eval("));
        }
    }
}
