//! Key sets that their issuers publish (E8): fetched at start and in turn, and once more for a key
//! that is not known.

use std::time::Duration;

use serde_json::{Value, json};

use super::load_error;
use crate::client::{Frame, upgrade};
use crate::fake::idp::{Idp, Mood};
use crate::keys::Signer;
use crate::world::{Setup, Stage, World};

fn setup(jwks: Value) -> Setup {
    Setup::standard()
        .tokens_only()
        .jwt("verification", json!({ "jwks": jwks }))
}

fn start(world: &World, kids: &[&str], change: impl FnOnce(&mut Value)) -> (Idp, Stage) {
    let idp = Idp::new();
    publish(&idp, kids);
    let mut jwks = json!({"url": format!("http://{}/keys", world.fake(idp.fake(), false))});
    change(&mut jwks);
    (idp, setup(jwks).start(world))
}

fn publish(idp: &Idp, kids: &[&str]) {
    let key = Signer::of("EdDSA");
    let keys: Vec<_> = kids.iter().map(|kid| key.jwk(kid)).collect();
    idp.publish(json!({ "keys": keys }).to_string());
}

fn token(stage: &Stage, kid: &str) -> String {
    stage
        .token("alice")
        .parameter("kid", kid)
        .signed(&Signer::of("EdDSA"))
}

fn ask(stage: &Stage, kid: &str) -> u16 {
    let request = upgrade("/api/ws").bearer(&token(stage, kid));
    stage.connect().ask(&request).status
}

/// E8: keys are fetched before the first token needs them, and tokens fetch none.
pub fn e08_keys_are_fetched_at_the_start(world: &World) {
    let (idp, stage) = start(world, &["1"], |_| {});
    stage.wait_until("the fetch", |_| idp.asked().len() == 1);
    assert!(idp.asked()[0].starts_with("GET /keys HTTP/1.1\r\nhost: 127.0.0.1:"));
    assert_eq!([ask(&stage, "1"), ask(&stage, "1")], [101; 2]);
    assert_eq!(idp.asked().len(), 1);
}

/// E8: a key that is not known is fetched, at most once in the interval whatever tokens say.
pub fn e08_an_unknown_kid_fetches_once_in_the_interval(world: &World) {
    let (idp, stage) = start(world, &["1"], |jwks| jwks["refetchInterval"] = json!("1 second"));
    assert_eq!(ask(&stage, "1"), 101);
    publish(&idp, &["1", "2"]);
    if stage.sim().is_some() {
        assert_eq!(
            [ask(&stage, "2"), ask(&stage, "2")],
            [401; 2],
            "the first fetch is too young"
        );
        assert_eq!(idp.asked().len(), 1);
    }
    stage.pass(Duration::from_millis(1100));
    assert_eq!(ask(&stage, "2"), 101, "waits for the fetch");
    assert_eq!(idp.asked().len(), 2);
    if stage.sim().is_some() {
        assert_eq!(
            [ask(&stage, "3"), ask(&stage, "4"), ask(&stage, "1")],
            [401, 401, 101]
        );
        assert_eq!(idp.asked().len(), 2);
    }
}

/// E8: two hundred handshakes with an unknown key make one fetch.
pub fn e08_two_hundred_unknown_kids_make_one_fetch(world: &World) {
    let (idp, stage) = start(world, &["1"], |jwks| jwks["refetchInterval"] = json!("1 second"));
    assert_eq!(ask(&stage, "1"), 101);
    stage.pass(Duration::from_millis(1100));
    publish(&idp, &["1", "2"]);
    idp.is(Mood::Silent);
    let mut clients: Vec<_> = (0..200)
        .map(|_| {
            let mut client = stage.connect();
            client.send(&upgrade("/api/ws").bearer(&token(&stage, "2")).bytes());
            client
        })
        .collect();
    stage.wait_until("all of them waiting", |stage| {
        stage.gateway().stats().asking == 200
    });
    idp.is(Mood::Well);
    stage.nudge();
    for client in &mut clients {
        assert_eq!(client.expect_head().status, 101);
    }
    assert_eq!(idp.asked().len(), 2);
}

/// E8: a fetch that fails keeps the old keys; who brings an unknown one is refused.
pub fn e08_a_failed_fetch_keeps_the_old_keys(world: &World) {
    let (idp, stage) = start(world, &["1"], |jwks| {
        jwks["refetchInterval"] = json!("1 second");
        jwks["refresh"] = json!("1 second");
    });
    let mut client = stage.connect();
    client.open(&upgrade("/api/ws").bearer(&token(&stage, "1")));
    for mood in [
        Mood::Dead,
        Mood::Says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]".to_vec()),
        Mood::Says(b"HTTP/1.1 301 Moved\r\nLocation: /x\r\nContent-Length: 11\r\n\r\n{\"keys\":[]}".to_vec()),
    ] {
        idp.is(mood);
        stage.pass(Duration::from_millis(1100));
        assert_eq!([ask(&stage, "1"), ask(&stage, "2")], [101, 401]);
    }
    client.expect_echo(&Frame::text("still here"));
    let warned = stage.log().matches("cannot be fetched").count();
    assert_eq!(warned, 2, "once for each format of the log: {}", stage.log());
}

/// E8: only where no key was ever loaded nobody can tell: 503, until there is one.
pub fn e08_without_any_key_503_until_there_is_one(world: &World) {
    let idp = Idp::new();
    publish(&idp, &["1"]);
    idp.is(Mood::Dead);
    let url = format!("http://{}/keys", world.fake(idp.fake(), false));
    let stage = setup(json!({ "url": url })).start(world);
    let request = upgrade("/api/ws").bearer(&token(&stage, "1"));
    let refused = stage.connect().ask(&request);
    assert_eq!(refused.status, 503);
    assert!(refused.one("Retry-After").is_some());
    idp.is(Mood::Well);
    stage.wait_until("recovery", |stage| ask(stage, "1") == 101);
}

/// E8, M15: a reload keeps what was fetched; a key that its issuer withdraws is gone with the next fetch.
pub fn e08_a_reload_fetches_nothing_and_withdrawn_keys_end(world: &World) {
    let (idp, stage) = start(world, &["1", "2"], |jwks| {
        jwks["refetchInterval"] = json!("1 second")
    });
    assert_eq!(ask(&stage, "1"), 101);
    stage.reload();
    stage.wait_until("the reload", |stage| stage.log().contains("reloaded"));
    assert_eq!(ask(&stage, "1"), 101);
    assert_eq!(idp.asked().len(), 1);
    publish(&idp, &["2"]);
    stage.pass(Duration::from_millis(1100));
    assert_eq!(
        [ask(&stage, "3"), ask(&stage, "1"), ask(&stage, "2")],
        [401, 401, 101]
    );
}

/// E8: the issuer may ask for more frequent fetches, not for rarer ones.
pub fn e08_cache_control_is_heard_within_limits(world: &World) {
    let (idp, stage) = start(world, &["1"], |jwks| jwks["refresh"] = json!("60 seconds"));
    if stage.sim().is_none() {
        return;
    }
    for (control, pause) in [
        ("max-age=40", 40),
        ("max-age=3600", 60),
        ("no-cache", 30),
        ("", 60),
    ] {
        idp.cache_control(control);
        let before = idp.asked().len();
        while idp.asked().len() == before {
            stage.pass(Duration::from_secs(1));
        }
        stage.pass(Duration::from_secs(pause - 3));
        assert_eq!(idp.asked().len(), before + 1, "too early after {control:?}");
        stage.pass(Duration::from_secs(4));
        assert_eq!(idp.asked().len(), before + 2, "too late after {control:?}");
    }
}

/// E8: a `refresh` below the default of `refetchInterval` is meant, whatever the issuer says of caching.
pub fn e08_a_short_refresh_alone_is_heard(world: &World) {
    let (idp, stage) = start(world, &["1"], |jwks| jwks["refresh"] = json!("2 seconds"));
    idp.cache_control("max-age=60");
    let fetched = |count| move |idp: &Idp| idp.asked().len() >= count;
    for count in [2, 3] {
        stage.wait_until("another fetch", |_| fetched(count)(&idp));
    }
    assert_eq!(ask(&stage, "1"), 101);
}

/// A configuration that cannot mean what it says does not load.
pub fn e08_mistakes_do_not_load(world: &World) {
    let _ = world;
    let path = "realms.demo.loginModules[0].verification.jwks";
    for (jwks, at, says) in [
        (json!({}), "", "\"keyFile\" or \"url\" is required"),
        (
            json!({"url": "https://x/", "keyFile": "k"}),
            ".url",
            "exclude each other",
        ),
        (json!({"url": "http://idp.example/"}), ".url", "https://"),
        (json!({"url": "gopher://x/"}), ".url", "https://"),
        (
            json!({"keyFile": "k", "refresh": "1 hour"}),
            ".refresh",
            "only beside \"url\"",
        ),
        (
            json!({"url": "http://127.0.0.1/", "refresh": "5s", "refetchInterval": "6s"}),
            ".refetchInterval",
            "longer than",
        ),
        (
            json!({"url": "http://127.0.0.1/", "refetchinterval": "6s"}),
            ".refetchinterval",
            "refetchInterval",
        ),
    ] {
        let error = load_error(&setup(jwks.clone()));
        assert!(error.contains(&format!("{path}{at}: ")), "{jwks}: {error}");
        assert!(error.contains(says), "{jwks}: {error}");
    }
}

/// B12, E8: a reload that names a key set which cannot be fetched ends no open socket; as soon as it is
/// there the socket is judged by it.
pub fn b12_keys_that_are_not_there_yet_end_no_socket(world: &World) {
    let (idp, other) = (Idp::new(), Idp::new());
    publish(&idp, &["1"]);
    publish(&other, &["2"]);
    let [url, other_url] = [&idp, &other].map(|idp| format!("http://{}/keys", world.fake(idp.fake(), false)));
    let stage = setup(json!({ "url": url })).start(world);
    let mut client = stage.connect();
    client.open(&upgrade("/api/ws").bearer(&token(&stage, "1")));
    other.is(Mood::Dead);
    let changed = setup(json!({ "url": other_url })).all_files();
    stage.replace(crate::world::FILE, &changed[crate::world::FILE]);
    stage.reload();
    stage.wait_until("the reload", |stage| stage.log().contains("reloaded"));
    client.expect_echo(&Frame::text("nobody knows"));
    assert_eq!(ask(&stage, "2"), 503);
    client.expect_echo(&Frame::text("still nobody"));
    other.is(Mood::Well);
    client.expect_close(3003, "access changed");
}
