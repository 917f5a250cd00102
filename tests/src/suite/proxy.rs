//! The proxy: what the upstream is asked, what becomes of its answer, and who is refused before it is.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::refused;
use crate::client::{Client, Frame, Request, Response, upgrade};
use crate::fake::upstream::{Mood, Upstream};
use crate::world::{Setup, Stage, World};

const SECOND: Duration = Duration::from_secs(1);

/// The proxy service of every row, to a WebSocket upstream at `address`.
pub(super) fn app(address: &str) -> Value {
    json!({"type": "proxy", "accept": "/app", "realm": "demo", "origins": ["https://app.example"],
           "connect": format!("ws://{address}/"), "timeout": "1 second",
           "forward": {"subject": "X-Auth-Subject", "issuer": "X-Auth-Issuer", "roles": "X-Auth-Roles",
                       "claims": {"email": "X-Auth-Email"}}})
}

/// A gateway before `upstream`.
pub(super) fn setup(world: &World, upstream: &Upstream) -> Setup {
    let address = world.fake(upstream.fake(), false);
    Setup::standard().set("/services/app", app(&address))
}

/// An upgrade of alice's.
pub(super) fn alice(stage: &Stage, target: &str) -> Request {
    upgrade(target).bearer(&stage.token("alice").text())
}

/// A socket of alice's.
pub(super) fn open(stage: &Stage) -> Client {
    let mut client = stage.connect();
    client.open(&alice(stage, "/app"));
    client
}

fn ask(stage: &Stage, request: &Request) -> Response {
    stage.connect().ask(request)
}

/// The lines of the last request that `upstream` got, but for those that are the same in every one.
fn asked(upstream: &Upstream) -> Vec<String> {
    let head = upstream.heads().pop().unwrap();
    let lines = head.trim_end().split("\r\n").map(str::to_owned);
    lines
        .filter(|line| !line.starts_with("Host:") && !line.starts_with("X-Forwarded-Host:"))
        .filter(|line| !line.starts_with("Sec-WebSocket-Key:"))
        .collect()
}

/// M18: after both 101s messages go through, whatever their size, and the log counts bytes.
pub fn m18_messages_go_through_and_come_back(world: &World) {
    let upstream = Upstream::echoing();
    let stage = setup(world, &upstream).start(world);
    let mut client = open(&stage);
    client.expect_echo(&Frame::text("hello"));
    client.expect_echo(&Frame::whole(0x2, &[7; 200_000]));
    client.send_frame(&Frame::close(4321, "bye"));
    client.expect_close_frame(4321, "bye");
    client.expect_eof();
    client.half_close();
    let closed = &stage.closings(1)[0];
    assert_eq!((closed.code, &*closed.service), (4321, "app"));
    assert_eq!(closed.bytes_in, 11 + 200_014 + 11);
    assert_eq!(closed.bytes_out, 7 + 200_010 + 7);
    assert_eq!(stage.decisions(1)[0].subject.as_deref(), Some("alice"));
    stage.wait_until("the end", |stage| {
        stage.gateway().stats().sockets == 0 && upstream.open() == 0
    });
}

/// E5: no carrier of a credential reaches the upstream, and nothing else is lost.
pub fn e05_the_upstream_sees_no_credential(world: &World) {
    let upstream = Upstream::accepting();
    let carriers = json!([
        "authorization",
        "header:X_Token",
        "cookie:tok",
        "query:access_token",
        "subprotocol:bearer"
    ]);
    let stage = setup(world, &upstream).realm("carriers", carriers).start(world);
    let token = stage.token("alice").text();
    let origin = |request: Request| request.origin("https://app.example");
    for request in [
        upgrade("/app").bearer(&token),
        upgrade("/app").field("x_token", &token),
        origin(upgrade("/app").field("Cookie", &format!("tok={token}"))),
        upgrade(&format!("/app?access%5Ftoken={token}")),
        upgrade("/app").protocols(&format!("bearer, {token}")),
        origin(upgrade(&format!("/app?access_token={token}")).field("Cookie", "tok=stale.to.ken")),
        upgrade("/app").bearer(&token).field("X-TOKEN", ""),
        upgrade("/app").bearer(&token).field("x-token", "stale.to.ken"),
    ] {
        stage.connect().open(&request);
        let head = upstream.heads().pop().unwrap();
        for secret in [
            &token,
            "stale",
            "Authorization",
            "bearer",
            "access",
            "tok=",
            "oken:",
        ] {
            assert!(!head.contains(secret), "{secret} in {head}");
        }
        assert!(head.starts_with("GET / HTTP/1.1\r\n"), "{head}");
    }
    let request = upgrade(&format!("/app?a=1&access_token={token}&b=%41"))
        .field("Cookie", "a=b; tok=; c=\"d\"")
        .field("User-Agent", "ua")
        .field("Sec-WebSocket-Extensions", "permessage-deflate; x=1")
        .protocols("v1")
        .protocols("v2, v1");
    stage.connect().open(&request);
    let asked = asked(&upstream);
    for line in [
        "GET /?a=1&b=%41 HTTP/1.1",
        "Cookie: a=b; c=\"d\"",
        "User-Agent: ua",
        "Sec-WebSocket-Extensions: permessage-deflate; x=1",
        "Sec-WebSocket-Protocol: v1, v2, v1",
        "X-Auth-Subject: alice",
    ] {
        assert_eq!(
            asked.iter().filter(|found| *found == line).count(),
            1,
            "{line} in {asked:#?}"
        );
    }
}

/// E5, R9: a ticket, and a session, are credentials as well.
pub fn e05_what_the_gateway_issued_is_not_handed_on(world: &World) {
    let upstream = Upstream::accepting();
    let stage = setup(world, &upstream)
        .realm("tickets", json!({"path": "/ticket"}))
        .realm(
            "form",
            json!({"path": "/login", "logout": "/logout", "cookie": "__Host-session"}),
        )
        .realm("carriers", json!(["authorization", "cookie:__Host-session"]))
        .start(world);
    let mint = Request::bearer(upgrade("/ticket"), &stage.token("alice").text())
        .method("POST")
        .without("Upgrade")
        .without("Connection");
    let answer = ask(&stage, &mint);
    assert_eq!(answer.status, 200, "{answer:?}");
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    let ticket = body["ticket"].as_str().unwrap();
    let request = upgrade(&format!("/app?x&ticket={ticket}")).field("Cookie", "__Host-csrf=c; k=v");
    stage.connect().open(&request);
    let head = upstream.heads().pop().unwrap();
    assert!(head.starts_with("GET /?x HTTP/1.1\r\n"), "{head}");
    assert!(
        head.contains("\r\nCookie: k=v\r\n") && !head.contains(ticket),
        "{head}"
    );
}

/// E5: who the client is says the gateway, once, however the client claims to be somebody else.
pub fn e05_claimed_identities_are_dropped(world: &World) {
    let upstream = Upstream::accepting();
    let address = world.fake(upstream.fake(), false);
    let public = json!({"type": "proxy", "accept": "/public", "public": true,
                        "connect": format!("ws://{address}/base")});
    let stage = Setup::standard()
        .set("/services/app", app(&address))
        .set("/services/public", public)
        .start(world);
    let token = stage
        .token("alice")
        .claim("group", json!(["admin"]))
        .claim("email", "a@example");
    let forge = |request: Request| {
        let names = [
            "X-Auth-Subject",
            "x-auth-subject",
            "X_Auth_Subject",
            "x_AUTH-roles",
            "X-Auth-Issuer",
            "X-AUTH_EMAIL",
            "Forwarded",
            "X-Forwarded-For",
            "X_Forwarded_For",
            "X-Forwarded-User",
            "X-Real-IP",
            "x_real_ip",
            "X-Hop",
            "Keep-Alive",
            "TE",
            "Trailer",
            "Proxy-Authorization",
            "Proxy_Connection",
            "Expect",
            "Sec-Challenge-Identity",
            "Countersign-Socket",
            "Sec_WebSocket_Protocol",
            "Sec-WebSocket-Accept",
        ];
        let request = request
            .without("Connection")
            .field("Connection", "Upgrade, X-Hop, X-Auth-Roles");
        names
            .iter()
            .fold(request, |request, name| request.field(name, "evil"))
    };
    let own = [
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "X-Forwarded-For: 127.0.0.1",
        "X-Forwarded-Proto: http",
    ];
    stage
        .connect()
        .open(&forge(upgrade("/app").bearer(&token.text())));
    let told = [
        "X-Auth-Subject: alice",
        "X-Auth-Issuer: https://issuer.test",
        "X-Auth-Roles: Everyone,admin",
        "X-Auth-Email: a@example",
    ];
    let mut found = asked(&upstream);
    let issuer = format!("X-Auth-Issuer: {}", crate::keys::ISSUER);
    let told = told.map(|line| {
        if line.starts_with("X-Auth-Issuer") {
            issuer.as_str()
        } else {
            line
        }
    });
    assert_eq!(found.remove(0), "GET / HTTP/1.1");
    assert_eq!(found, [&own[..], &told].concat());
    let stolen = upgrade("/public?access_token=kept").field("Authorization", "Bearer evil");
    stage.connect().open(&forge(stolen));
    let mut found = asked(&upstream);
    assert_eq!(found.remove(0), "GET /base?access_token=kept HTTP/1.1");
    assert_eq!(found, own);
}

/// E6: what does not fit into a field is not handed on in part: the client is refused, and nobody dialed.
pub fn e06_an_identity_that_does_not_fit_is_403(world: &World) {
    let upstream = Upstream::accepting();
    let stage = setup(world, &upstream).start(world);
    let values = [
        "a\r\nX-Auth-Roles: admin",
        "a\nb",
        "caf\u{e9}",
        " a",
        "a ",
        "\u{7f}",
    ];
    for email in values {
        let token = stage.token("alice").claim("email", email).text();
        let answer = ask(&stage, &upgrade("/app").bearer(&token));
        assert_eq!(answer.status, 403, "{email:?}");
        assert!(answer.all("WWW-Authenticate").is_empty());
    }
    let token = stage.token("alice").claim("group", json!(["a,admin"])).text();
    assert_eq!(ask(&stage, &upgrade("/app").bearer(&token)).status, 403);
    let token = stage.token("caf\u{e9}").text();
    assert_eq!(ask(&stage, &upgrade("/app").bearer(&token)).status, 403);
    assert_eq!(upstream.streams(), 0);
    let token = stage
        .token("alice")
        .claim("email", json!({"a": [1, null]}))
        .text();
    stage.connect().open(&upgrade("/app").bearer(&token));
    assert!(asked(&upstream).contains(&"X-Auth-Email: {\"a\":[1,null]}".to_owned()));
}

/// E23: subprotocol, extensions and cookies of the upstream's 101 are the client's; nothing else is.
pub fn e23_the_upstreams_choice_is_handed_on(world: &World) {
    let fields = "Sec-WebSocket-Protocol: v2\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\
                  Set-Cookie: a=b\r\nServer: evil\r\nX-Auth-Subject: evil\r\n";
    let upstream = Upstream::new(Mood::Accepts(fields.to_owned()));
    let stage = setup(world, &upstream)
        .realm("carriers", json!(["authorization", "subprotocol:access_token"]))
        .start(world);
    let offer = |request: Request| request.field("Sec-WebSocket-Extensions", "x, permessage-deflate; y");
    let answer = stage
        .connect()
        .open(&offer(alice(&stage, "/app").protocols("v1, v2")));
    assert_eq!(answer.one("Sec-WebSocket-Accept").unwrap().len(), 28);
    assert_eq!(answer.one("Sec-WebSocket-Protocol"), Some("v2"));
    assert_eq!(answer.one("Sec-WebSocket-Extensions"), Some("permessage-deflate"));
    assert_eq!(answer.one("Set-Cookie"), Some("a=b"));
    assert_eq!((answer.one("Server"), answer.one("X-Auth-Subject")), (None, None));
    // Without any choice of the upstream's, the marker of the pair form is echoed (R9).
    upstream.is(Mood::Accepts(String::new()));
    let token = stage.token("alice").text();
    let pair = upgrade("/app").protocols(&format!("access_token, {token}, v1"));
    let answer = stage.connect().open(&pair);
    assert_eq!(answer.one("Sec-WebSocket-Protocol"), Some("access_token"));
    assert_eq!(answer.one("Sec-WebSocket-Extensions"), None);
    // With the single form there is nothing to echo: the upstream has to choose.
    let single = format!("access_token.{}", URL_SAFE_NO_PAD.encode(&token));
    let statuses = [format!("{single}, v1"), single.clone()].map(|list| {
        let answer = ask(&stage, &upgrade("/app").protocols(&list));
        answer.status
    });
    assert_eq!((statuses, upstream.streams()), ([400, 400], 3));
    upstream.is(Mood::Accepts("Sec-WebSocket-Protocol: v1\r\n".to_owned()));
    let answer = stage
        .connect()
        .open(&upgrade("/app").protocols(&format!("{single}, v1")));
    assert_eq!(answer.one("Sec-WebSocket-Protocol"), Some("v1"));
    assert!(asked(&upstream).contains(&"Sec-WebSocket-Protocol: v1".to_owned()));
}

/// E23: what nobody asked for, or what is no right 101, is 502.
pub fn e23_another_answer_than_a_right_101_is_502(world: &World) {
    let upstream = Upstream::accepting();
    let stage = setup(world, &upstream).patient().start(world);
    let accepts = |fields: &str| Mood::Accepts(fields.to_owned());
    let says = |answer: &str| Mood::Says(answer.as_bytes().to_vec());
    let moods = [
        accepts("Sec-WebSocket-Protocol: v3\r\n"),
        accepts("Sec-WebSocket-Protocol: v1\r\nSec-WebSocket-Protocol: v1\r\n"),
        accepts("Sec-WebSocket-Extensions: permessage-bzip2\r\n"),
        accepts("Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n"),
        accepts(&format!("X-Long: {}\r\n", "x".repeat(16 * 1024))),
        says("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        says("HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"evil\"\r\n\r\n"),
        says("HTTP/1.1 302 Found\r\nLocation: http://evil.example/\r\n\r\n"),
        says("HTTP/1.1 101 Switching Protocols\r\n\r\n"),
        says(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n",
        ),
        says("HTTP/1.1 101 Switch"),
        says("SSH-2.0-OpenSSH_9.9\r\n"),
        says(""),
        Mood::Dead,
    ];
    let request = || {
        alice(&stage, "/app")
            .protocols("v1")
            .field("Sec-WebSocket-Extensions", "permessage-deflate")
    };
    for mood in moods {
        upstream.is(mood.clone());
        let answer = refused(&stage, &request(), 502);
        assert_eq!(answer.body, b"bad gateway\n", "{mood:?}");
        assert!(answer.all("WWW-Authenticate").is_empty() && answer.all("Location").is_empty());
    }
    assert!(
        stage
            .decisions(14)
            .iter()
            .all(|decision| decision.reason.code() == "unavailable")
    );
    // The next handshake tries again.
    upstream.is(accepts(""));
    let mut client = stage.connect();
    client.open(&request());
    client.abort();
    stage.wait_until("the end", |_| upstream.open() == 0);
}

/// R2: nobody there is 502, nobody who answers is 504; what happened is in the log.
pub fn m18_a_silent_upstream_is_504_and_a_missing_one_502(world: &World) {
    let upstream = Upstream::new(Mood::Silent);
    let stage = setup(world, &upstream)
        .set("/services/gone", {
            let mut gone = app("127.0.0.1:1");
            gone["accept"] = json!("/gone");
            gone
        })
        .start(world);
    let answer = refused(&stage, &alice(&stage, "/app"), 504);
    assert_eq!(answer.body, b"gateway timeout\n");
    refused(&stage, &alice(&stage, "/gone"), 502);
    let decisions = stage.decisions(2);
    let found: Vec<_> = decisions
        .iter()
        .map(|decision| {
            (
                decision.status,
                decision.reason.code(),
                decision.subject.as_deref(),
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            (504, "unavailable", Some("alice")),
            (502, "unavailable", Some("alice"))
        ]
    );
    stage.wait_until("the end", |_| upstream.open() == 0);
    assert_eq!(stage.gateway().stats().sockets, 0);
}

/// P4: who is refused does not reach the upstream, in no way.
pub fn e05_nobody_is_dialed_before_the_grant(world: &World) {
    let upstream = Upstream::accepting();
    let stage = setup(world, &upstream)
        .patient()
        .set("/services/app/requireRoles", json!(["admin"]))
        .set("/services/app/subprotocols", json!(["v1"]))
        .set("/services/app/requireSubprotocol", json!(true))
        .start(world);
    let admin = || stage.token("alice").claim("group", json!(["admin"])).text();
    for (request, status) in [
        (upgrade("/app"), 401),
        (upgrade("/app").basic("alice", "wrong"), 401),
        (
            upgrade("/app").bearer(&stage.token("alice").expired_for(60 * SECOND).text()),
            401,
        ),
        (alice(&stage, "/app"), 403),
        (
            upgrade("/app").bearer(&admin()).origin("https://evil.example"),
            403,
        ),
        (upgrade("/app").bearer(&admin()), 400),
        (upgrade("/app").bearer(&admin()).method("POST"), 405),
        (upgrade("/app").bearer(&admin()).without("Upgrade"), 426),
        (upgrade("/app/x").bearer(&admin()), 404),
    ] {
        assert_eq!(ask(&stage, &request).status, status);
    }
    assert_eq!(upstream.streams(), 0);
    stage
        .connect()
        .open(&upgrade("/app").bearer(&admin()).protocols("v0, v1"));
    assert_eq!(upstream.streams(), 1);
}

/// R8: what follows the client's head goes to the upstream, once and behind its 101.
pub fn r08_bytes_behind_the_head_reach_the_upstream_once(world: &World) {
    let upstream = Upstream::echoing();
    let stage = setup(world, &upstream).start(world);
    let early = Frame::text("early");
    let mut client = stage.connect();
    client.open(&alice(&stage, "/app").then(&early.masked()));
    assert_eq!(client.read_message(), early);
    client.expect_echo(&Frame::text("late"));
    let expected = [early.masked(), Frame::text("late").masked()].concat();
    assert_eq!(upstream.heard(), expected);
}

/// M18: a path that ends in `/*` hands on what follows; exact beats prefix, longer beats shorter.
pub fn m18_paths_below_a_prefix_are_handed_on(world: &World) {
    let (one, two, exact) = (
        Upstream::accepting(),
        Upstream::accepting(),
        Upstream::accepting(),
    );
    let service = |upstream: &Upstream, accept: &str, path: &str| {
        let address = world.fake(upstream.fake(), false);
        json!({"type": "proxy", "accept": accept, "public": true, "connect": format!("ws://{address}{path}")})
    };
    let stage = Setup::standard()
        .set("/services/one", service(&one, "/app/*", "/"))
        .set("/services/two", service(&two, "/app/room/*", "/base?k=v"))
        .set("/services/exact", service(&exact, "/app/room/main", "/main"))
        .start(world);
    let mut expected = Vec::new();
    for (path, upstream, line) in [
        ("/app/", &one, "GET / HTTP/1.1"),
        ("/app/socket.io/?EIO=4", &one, "GET /socket.io/?EIO=4 HTTP/1.1"),
        ("/%61pp/%7Ea/b%20c", &one, "GET /%7Ea/b%20c HTTP/1.1"),
        ("/app/room", &one, "GET /room HTTP/1.1"),
        ("/app/room/7?a", &two, "GET /base/7?k=v&a HTTP/1.1"),
        ("/app/room/main", &exact, "GET /main HTTP/1.1"),
        ("/app/room/main/x", &two, "GET /base/main/x?k=v HTTP/1.1"),
    ] {
        stage.connect().open(&upgrade(path));
        assert_eq!(asked(upstream)[0], line, "{path}");
        expected.push(101);
    }
    for path in [
        "/app",
        "/app/../x",
        "/app/%2e%2e/x",
        "/app/a//b",
        "/app/a%2fb",
        "/app/a%5cb",
        "/app/..;x/b",
    ] {
        assert_eq!(ask(&stage, &upgrade(path)).status, 404, "{path}");
    }
    assert_eq!(one.streams() + two.streams() + exact.streams(), expected.len());
}

/// M18: an upstream with TLS is one that its certificate authority vouches for.
pub fn m18_an_upstream_with_tls_is_verified(world: &World) {
    let upstream = Upstream::echoing();
    let address = world.fake(upstream.fake(), true);
    let secure = |accept: &str, authority: &str| {
        let port = address.rsplit(':').next().unwrap();
        json!({"type": "proxy", "accept": accept, "public": true, "caFile": authority,
               "connect": format!("wss://localhost:{port}/")})
    };
    let stage = Setup::standard()
        .file("ca.pem", Setup::authority())
        .file("other.pem", Setup::other_authority())
        .set("/services/good", secure("/good", "ca.pem"))
        .set("/services/bad", secure("/bad", "other.pem"))
        .start(world);
    // The simulator has neither names nor TLS.
    if stage.sim().is_some() {
        return;
    }
    let mut client = stage.connect();
    client.open(&upgrade("/good"));
    client.expect_echo(&Frame::text("through TLS"));
    refused(&stage, &upgrade("/bad"), 502);
    assert_eq!(upstream.heads().len(), 1);
}

/// E15: sockets of one subject count while they wait for their upstream as well.
pub fn e15_relayed_sockets_count_for_their_subject(world: &World) {
    let upstream = Upstream::new(Mood::Silent);
    let stage = setup(world, &upstream)
        .set("/services/app/timeout", json!("9 seconds"))
        .limit("socketsPerSubject", 1)
        .start(world);
    let mut first = stage.connect();
    first.send(&alice(&stage, "/app").bytes());
    stage.wait_until("the dial", |_| upstream.heads().len() == 1);
    assert_eq!(ask(&stage, &alice(&stage, "/app")).status, 429);
    upstream.is(Mood::Accepts(String::new()));
    stage.nudge();
    assert_eq!(first.expect_head().status, 101);
    assert_eq!(ask(&stage, &alice(&stage, "/app")).status, 429);
    drop(first);
}

/// DESIGN section 3: a client that leaves takes its upstream with it.
pub fn m18_a_client_that_leaves_frees_the_upstream(world: &World) {
    let upstream = Upstream::new(Mood::Silent);
    let stage = setup(world, &upstream)
        .set("/services/app/timeout", json!("9 seconds"))
        .start(world);
    for reset in [true, false] {
        let mut client = stage.connect();
        client.send(&alice(&stage, "/app").bytes());
        stage.wait_until("the dial", |_| {
            upstream.open() == 1 && !upstream.heads().is_empty()
        });
        if reset {
            client.abort();
        } else {
            client.half_close();
            client.expect_eof();
        }
        stage.wait_until("the end", |stage| {
            upstream.open() == 0 && stage.gateway().stats().sockets == 0
        });
    }
}
