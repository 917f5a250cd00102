//! The login page from outside: what its bodies must not lead to.

#![allow(clippy::unwrap_used)]

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;

use countersign_core::auth::password::hash_password;
use countersign_core::config::{Config, MemoryFiles};
use countersign_core::connection::{Connection, Input, Peer, Step};
use countersign_core::entropy::Seed;
use countersign_core::gateway::{Capacity, Gateway};
use countersign_core::leg::Leg;
use countersign_core::time::{Moment, Now, UnixTime};

const CONFIG: &str = r#"{
  "servers": [{"id": "edge", "listen": ["127.0.0.1:0"], "plaintext": true}],
  "realms": {"demo": {
    "carriers": ["authorization", "cookie:__Host-session"], "form": {}, "tickets": {},
    "loginModules": [{"type": "users", "success": "required", "passwords": "users"}]}},
  "services": {"echo": {"type": "echo", "accept": "/api/ws", "realm": "demo", "origins": []}}
}"#;

const NOW: Now = Now {
    at: Moment::START,
    unix: UnixTime::from_secs(1_800_000_000),
};

fn gateway() -> Arc<Gateway> {
    let mut files = MemoryFiles::new();
    files.insert("countersign.json", CONFIG);
    let alice = hash_password(b"right", [7; 16]).unwrap();
    files.insert("users", format!("alice:{alice}\n"));
    let config = Config::load(Path::new("countersign.json"), &mut files).unwrap();
    let capacity = Capacity {
        cores: 1,
        connections: 10,
        descriptors_per_connection: 1,
    };
    Gateway::new(config, Seed::new([7; 32]), capacity).unwrap()
}

/// A browser with one connection.
struct Browser {
    connection: Connection,
}

impl Browser {
    fn of(gateway: &Arc<Gateway>) -> Self {
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let peer = Peer {
            server: 0,
            remote: (address, 40_000).into(),
            local: (address, 8443).into(),
        };
        let admission = gateway.admit(0, address, NOW).unwrap();
        Self {
            connection: Connection::client(admission, peer, NOW),
        }
    }

    fn send(&mut self, bytes: &str) {
        self.connection
            .handle(NOW, Input::Data(Leg::CLIENT, bytes.as_bytes()));
    }

    /// Returns what comes back.
    fn hear(&mut self) -> String {
        let mut out = Vec::new();
        loop {
            match self.connection.step(NOW) {
                Step::Wait(wait) => {
                    let chunk = wait.outgoing(Leg::CLIENT).to_vec();
                    if chunk.is_empty() {
                        break;
                    }
                    out.extend_from_slice(&chunk);
                    self.connection.handle(NOW, Input::Sent(Leg::CLIENT, chunk.len()));
                }
                Step::Compute(job) => {
                    self.connection.handle(NOW, Input::Computed(job.run()));
                }
                Step::Note(_) | Step::Hangup(_) | Step::Dial(_) | Step::Secure(..) | Step::Drop(_) => {}
                Step::Closed => break,
            }
        }
        String::from_utf8(out).unwrap()
    }

    fn ask(&mut self, bytes: &str) -> String {
        self.send(bytes);
        self.hear()
    }
}

/// Returns what stands between two texts.
fn between<'t>(text: &'t str, before: &str, after: &str) -> &'t str {
    let (_, rest) = text.split_once(before).unwrap();
    rest.split_once(after).unwrap().0
}

/// Returns the head and the body of a login with `password` and with more `fields`.
fn login(gateway: &Arc<Gateway>, password: &str, fields: &str) -> (String, String) {
    let page = Browser::of(gateway).ask("GET /login HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let cookie = between(&page, "Set-Cookie: ", ";");
    let csrf = between(&page, "name=\"csrf\" value=\"", "\"");
    let body = format!("username=alice&csrf={csrf}&password={password}&next=/");
    let head = format!(
        "POST /login HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost:8443\r\nCookie: {cookie}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n{fields}\r\n",
        body.len()
    );
    (head, body)
}

/// Says whether `shown` holds `secret`, as text or as `Debug` shows bytes.
fn shows(shown: &str, secret: &str) -> bool {
    let bytes = format!("{:?}", secret.as_bytes());
    shown.contains(secret) || shown.contains(bytes.trim_matches(['[', ']']))
}

#[test]
fn r10_debug_shows_no_part_of_a_body_nor_what_waits_behind_a_head_or_for_the_client() {
    let gateway = gateway();
    let (head, body) = login(&gateway, "right", "");
    let mut browser = Browser::of(&gateway);
    browser.send(&format!("{head}{}", body.trim_end_matches("next=/")));
    let shown = format!("{:?}", browser.connection);
    assert!(!shows(&shown, "right"), "{shown}");
    // While the first login is checked another one waits behind it.
    let (next_head, next_body) = login(&gateway, "another", "");
    browser.send(&format!("next=/{next_head}{next_body}"));
    let shown = format!("{:?}", browser.connection);
    assert!(!shows(&shown, "another"), "{shown}");
    // The session is on its way, and not taken yet.
    let mut shown = String::new();
    while let Step::Compute(job) = browser.connection.step(NOW) {
        let computed = job.run();
        browser.connection.handle(NOW, Input::Computed(computed));
        shown = format!("{:?}", browser.connection);
    }
    let answer = browser.hear();
    let session = between(&answer, "__Host-session=", ";");
    assert!(!shown.is_empty() && !shows(&shown, session), "{shown}");
}

#[test]
fn p1_a_login_that_offers_an_upgrade_is_answered_alike_however_it_is_split() {
    let gateway = gateway();
    let offer = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    let (head, body) = login(&gateway, "right", offer);
    let behind = "GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let whole = Browser::of(&gateway).ask(&format!("{head}{body}{behind}"));
    let mut browser = Browser::of(&gateway);
    let pieces = [head.as_str(), &body, behind].map(|piece| browser.ask(piece));
    let statuses = |answer: &str| answer.matches("HTTP/1.1 ").count();
    assert_eq!(statuses(&whole), statuses(&pieces.concat()), "{whole}");
}
