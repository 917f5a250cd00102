//! The embedded demo: what somebody sees who starts a program without a configuration.

use std::net::{Ipv4Addr, SocketAddr};

use countersign_core::ops::demo::{Demo, DemoMaterial};
use countersign_core::time::{Moment, Now};

use crate::client::{Frame, get, upgrade};
use crate::sim::START;
use crate::world::{Kind, Setup, Stage, World};

/// Starts the demo; returns its printout, too.
fn start(world: &World) -> (Stage, String) {
    let certificate_pem =
        String::from_utf8(Setup::standard().tls().all_files()["server.pem"].clone()).unwrap();
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let now = match world.kind() {
        Kind::Sim => Now {
            at: Moment::START,
            unix: START,
        },
        Kind::Smol | Kind::Std => Now {
            at: Moment::START,
            unix: crate::world::wall_clock(),
        },
    };
    let demo = Demo::new(
        DemoMaterial {
            certificate_pem,
            listen,
            random: [5; 32],
        },
        now,
    );
    let stage = world.start_in_memory(demo.path.clone(), demo.files.clone(), &demo.pages);
    let printout = demo.printout("countersign", stage.port(0));
    (stage, printout)
}

fn printed<'p>(printout: &'p str, name: &str) -> &'p str {
    let line = printout.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.strip_prefix(": "))
        .unwrap_or_else(|| panic!("no {name} in {printout}"))
}

/// The printed password and the printed token open the printed address, and nothing else does.
pub fn demo_printed_credentials_work(world: &World) {
    let (stage, printout) = start(world);
    let (user, password) = (printed(&printout, "user"), printed(&printout, "password"));
    let token = printed(&printout, "token");
    let mut client = stage.connect();
    assert_eq!(client.ask(&upgrade("/api/ws")).status, 401);
    client.open(&upgrade("/api/ws").basic(user, password));
    client.expect_echo(&Frame::text("hello"));
    stage.connect().open(&upgrade("/api/ws").bearer(token));
    stage
        .connect()
        .open(&upgrade(&format!("/api/ws?access_token={token}")));
    let offer = upgrade("/api/ws").protocols(&format!("access_token, {token}"));
    stage
        .connect()
        .open(&offer.origin(&format!("https://localhost:{}", stage.port(0))));
    assert_eq!(
        stage
            .connect()
            .ask(&upgrade("/api/ws").basic(user, "wrong"))
            .status,
        401
    );
    assert!(!stage.log().contains(password) && !stage.log().contains(token));
}

/// The token reads the demo's data points, follows them and sets them.
pub fn demo_points_are_read_and_set(world: &World) {
    let (stage, printout) = start(world);
    let token = printed(&printout, "token");
    let read = |path| stage.connect().ask(&get(path).bearer(token));
    for path in ["/points/temperature", "/points/pressure"] {
        assert_eq!(
            (read(path).status, stage.connect().ask(&get(path)).status),
            (200, 401)
        );
    }
    let mut client = stage.connect();
    client.open(&upgrade("/points/pressure").bearer(token));
    client.read_message();
    client.send_frame(&Frame::text("{\"value\": 42}"));
    client.read_message();
    assert!(read("/points/pressure").body.starts_with(b"{\"value\":42,"));
}

/// R17: the page is public, hardened, and has no script or style of its own in it.
pub fn r17_the_page_is_hardened(world: &World) {
    let (stage, _) = start(world);
    let page = stage.connect().ask(&get("/"));
    assert_eq!(page.status, 200);
    assert!(page.one("Content-Type").unwrap().starts_with("text/html"));
    let policy = page.one("Content-Security-Policy").unwrap();
    assert!(
        policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
        "{policy}"
    );
    assert!(!policy.contains("unsafe"));
    assert_eq!(page.one("X-Content-Type-Options"), Some("nosniff"));
    let text = String::from_utf8(page.body).unwrap();
    for (index, _) in text.match_indices("<script") {
        let tag = text[index..].split('>').next().unwrap();
        assert!(tag.contains("src="), "an inline script: {tag}");
    }
    assert!(!text.contains("<style") && !text.contains(" style=") && !text.contains(" onclick="));
    for reference in ["src=\"", "href=\""] {
        for rest in text.split(reference).skip(1) {
            let target = rest.split('"').next().unwrap();
            if !target.starts_with('/') || target == "/" {
                continue;
            }
            assert_eq!(stage.connect().ask(&get(target)).status, 200, "{target}");
        }
    }
}

/// R2, R17: pages take GET and HEAD, and hosts are checked for them as for everything.
pub fn r17_pages_take_get_and_head(world: &World) {
    let (stage, _) = start(world);
    let mut client = stage.connect();
    client.send(&get("/").method("HEAD").bytes());
    let head = client.expect_head();
    assert_eq!((head.status, head.closes()), (200, false));
    assert_eq!(
        client.ask(&get("/")).body.len().to_string(),
        head.one("Content-Length").unwrap()
    );
    let answer = super::refused(&stage, &get("/").method("POST"), 405);
    assert_eq!(answer.one("Allow"), Some("GET, HEAD"));
    super::refused(&stage, &get("/").with("Host", "evil.example"), 421);
}
