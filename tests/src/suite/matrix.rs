//! The matrix of R3: each carrier and scheme with a credential that is good, bad, absent, there twice,
//! or beside another one.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::form::log_in;
use super::{refused, refused_but_kept};
use crate::client::{Digest, Request, Response, digest_line, get, upgrade};
use crate::world::{ALICE, Setup, Stage, World};

const ORIGIN: &str = "https://app.example";

/// A carrier, with the scheme where it has several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Bearer,
    Basic,
    Digest,
    Custom,
    Header,
    Query,
    Cookie,
    Session,
    Pair,
    Single,
    Ticket,
}

const EXPLICIT: [Way; 9] = [
    Way::Bearer,
    Way::Basic,
    Way::Digest,
    Way::Custom,
    Way::Header,
    Way::Query,
    Way::Pair,
    Way::Single,
    Way::Ticket,
];

/// What a browser attaches by itself; Basic and Digest only beside an Origin.
const AMBIENT: [Way; 4] = [Way::Basic, Way::Digest, Way::Cookie, Way::Session];

/// What a carrier holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holds {
    Good,
    Bad,
    Nothing,
}
use Holds::{Bad, Good, Nothing};

impl Way {
    /// Returns what holds it: of these a request has one each.
    const fn carrier(self) -> &'static str {
        match self {
            Self::Bearer | Self::Basic | Self::Digest | Self::Custom => "authorization",
            Self::Header => "header:X-Token",
            Self::Query => "query:access_token",
            Self::Cookie => "cookie:token",
            Self::Session => "session",
            Self::Pair | Self::Single => "subprotocol:access_token",
            Self::Ticket => "ticket",
        }
    }

    /// Says whether a refusal tells Bearer's `error`.
    const fn is_bearer(self) -> bool {
        match self {
            Self::Bearer
            | Self::Header
            | Self::Query
            | Self::Cookie
            | Self::Pair
            | Self::Single
            | Self::Ticket => true,
            Self::Basic | Self::Digest | Self::Custom | Self::Session => false,
        }
    }
}

/// A realm that takes everything.
fn start(world: &World) -> Stage {
    let carriers = json!([
        "authorization",
        "header:X-Token",
        "subprotocol:access_token",
        "query:access_token",
        "cookie:token",
        "cookie:__Host-session"
    ]);
    Setup::standard()
        .patient()
        .realm("challenges", json!(["Bearer", "Digest", "Basic", "Token"]))
        .realm("carriers", carriers)
        .realm("form", json!({}))
        .realm("tickets", json!({}))
        .set("/realms/demo/loginModules/0/digests", "users.htdigest")
        .file("users.htdigest", digest_line("SHA-256", "R", ALICE))
        .service("subprotocols", json!(["chat"]))
        .start(world)
}

fn ticket(stage: &Stage) -> String {
    let order = get("/ticket")
        .method("POST")
        .field("Content-Length", "0")
        .bearer(&stage.token("alice").text());
    let answer = stage.connect().ask(&order);
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    body["ticket"].as_str().unwrap().to_owned()
}

/// Writes an upgrade whose carriers hold this. The order is the one in which they are written.
fn ask(stage: &Stage, held: &[(Way, Holds)]) -> Request {
    let token = |holds| match holds {
        Good => stage.token("alice").text(),
        Bad => "bad".to_owned(),
        Nothing => String::new(),
    };
    let password = |holds| if holds == Good { ALICE.1 } else { "wrong" };
    let (mut query, mut cookies, mut items) = (Vec::new(), Vec::new(), Vec::new());
    for (way, holds) in held {
        match way {
            Way::Query => query.push(format!("access_token={}", token(*holds))),
            Way::Ticket if *holds == Good => query.push(format!("ticket={}", ticket(stage))),
            Way::Ticket => query.push(format!("ticket={}", token(*holds))),
            Way::Cookie => cookies.push(format!("token={}", token(*holds))),
            Way::Session if *holds == Good => cookies.push(log_in(stage)),
            Way::Session => cookies.push(format!("__Host-session={}", token(*holds))),
            Way::Pair => items.push(format!("access_token, {}", token(*holds))),
            Way::Single => items.push(format!("access_token.{}", URL_SAFE_NO_PAD.encode(token(*holds)))),
            Way::Bearer | Way::Basic | Way::Digest | Way::Custom | Way::Header => {}
        }
    }
    let mut target = "/api/ws".to_owned();
    if !query.is_empty() {
        target += &format!("?{}", query.join("&"));
    }
    let mut request = upgrade(&target);
    for (way, holds) in held {
        let authorization = match way {
            Way::Bearer if *holds == Nothing => String::new(),
            Way::Bearer => format!("Bearer {}", token(*holds)),
            Way::Custom => format!("Token {}", token(*holds)),
            Way::Basic => {
                let pair = format!("{}:{}", ALICE.0, password(*holds));
                format!("Basic {}", STANDARD.encode(pair))
            }
            Way::Digest => {
                let challenge = stage.connect().ask(&upgrade("/api/ws"));
                let answer = Digest::of(&challenge, (ALICE.0, password(*holds)));
                answer.with_uri(&target).field()
            }
            Way::Header => {
                request = request.field("X-Token", &token(*holds));
                continue;
            }
            Way::Query | Way::Cookie | Way::Session | Way::Pair | Way::Single | Way::Ticket => continue,
        };
        request = request.field("Authorization", &authorization);
    }
    if !cookies.is_empty() {
        request = request.field("Cookie", &cookies.join("; "));
    }
    items.push("chat".to_owned());
    request.protocols(&items.join(", "))
}

/// The same, as a page of an allowed origin asks.
fn ask_from_page(stage: &Stage, held: &[(Way, Holds)]) -> Request {
    ask(stage, held).origin(ORIGIN)
}

fn granted(stage: &Stage, request: &Request, way: Way) {
    let answer = stage.connect().open(request);
    assert_eq!(answer.one("Sec-WebSocket-Protocol"), Some("chat"), "{way:?}");
    let granted = || {
        let notes = stage.decisions(1);
        notes.into_iter().rfind(|decision| decision.status == 101)
    };
    stage.wait_until("the grant", |_| granted().is_some());
    assert_eq!(granted().unwrap().carrier.as_deref(), Some(way.carrier()));
}

fn error(answer: &Response) -> Option<String> {
    let lines = answer.all("WWW-Authenticate");
    let behind = lines.iter().find_map(|line| line.split_once("error=\""))?;
    behind.1.split('"').next().map(str::to_owned)
}

fn conflict(stage: &Stage, request: &Request, what: &[Way]) {
    let answer = refused(stage, request, 400);
    assert_eq!(error(&answer).as_deref(), Some("invalid_request"), "{what:?}");
    let reasons = || {
        let all = stage.decisions(1).into_iter();
        all.map(|decision| decision.reason.code())
    };
    stage.wait_until("the refusal", |_| {
        reasons().any(|reason| reason == "carrier_conflict")
    });
}

fn good(world: &World, ways: &[Way]) {
    let (stage, way) = (start(world), ways[0]);
    granted(&stage, &ask_from_page(&stage, &[(way, Good)]), way);
    if !matches!(way, Way::Cookie | Way::Session) {
        granted(&stage, &ask(&stage, &[(way, Good)]), way);
    }
}

fn bad(world: &World, ways: &[Way]) {
    let (stage, way) = (start(world), ways[0]);
    let answer = refused_but_kept(&stage, &ask_from_page(&stage, &[(way, Bad)]), 401);
    assert_eq!(answer.all("WWW-Authenticate").len(), 4, "{answer:?}");
    let told = way.is_bearer().then(|| "invalid_token".to_owned());
    assert_eq!(error(&answer), told);
}

fn absent(world: &World, ways: &[Way]) {
    let (stage, way) = (start(world), ways[0]);
    let answer = refused_but_kept(&stage, &ask_from_page(&stage, &[(way, Nothing)]), 401);
    assert_eq!(error(&answer), None);
    let decision = stage.decisions(1).pop().unwrap();
    assert_eq!(decision.reason.code(), "no_credential");
    // An empty one is no second one either.
    let other = if way == Way::Header {
        Way::Query
    } else {
        Way::Header
    };
    granted(
        &stage,
        &ask_from_page(&stage, &[(way, Nothing), (other, Good)]),
        other,
    );
}

fn duplicated(world: &World, ways: &[Way]) {
    let stage = start(world);
    for holds in [[Good, Good], [Good, Bad], [Bad, Good]] {
        let held: Vec<_> = ways.iter().copied().zip(holds).collect();
        conflict(&stage, &ask_from_page(&stage, &held), ways);
    }
}

fn conflicting(world: &World, ways: &[Way]) {
    let (stage, way) = (start(world), ways[0]);
    for other in EXPLICIT {
        if other.carrier() != way.carrier() {
            let held = [(way, Good), (other, Good)];
            conflict(&stage, &ask(&stage, &held), &[way, other]);
        }
    }
}

fn decides_alone(world: &World, ways: &[Way]) {
    let (stage, way) = (start(world), ways[0]);
    for other in AMBIENT {
        if other.carrier() == way.carrier() {
            continue;
        }
        let beside = |holds, attached| ask_from_page(&stage, &[(way, holds), (other, attached)]);
        granted(&stage, &beside(Good, Bad), way);
        granted(&stage, &beside(Good, Good), way);
        let answer = refused_but_kept(&stage, &beside(Bad, Good), 401);
        let told = way.is_bearer().then(|| "invalid_token".to_owned());
        assert_eq!(error(&answer), told, "{other:?}");
    }
}

macro_rules! cells {
    ($($name:ident = $check:ident($($way:ident),+);)*) => {
        $(
            #[doc = concat!("R3: ", stringify!($($way),+), ", ", stringify!($check), ".")]
            pub fn $name(world: &World) {
                $check(world, &[$(Way::$way),+]);
            }
        )*
    };
}

cells! {
    m21_bearer_alone_is_granted = good(Bearer);
    m21_basic_alone_is_granted = good(Basic);
    m21_digest_alone_is_granted = good(Digest);
    m21_custom_alone_is_granted = good(Custom);
    m21_header_alone_is_granted = good(Header);
    m21_query_alone_is_granted = good(Query);
    m21_cookie_alone_is_granted = good(Cookie);
    m21_session_alone_is_granted = good(Session);
    m21_pair_alone_is_granted = good(Pair);
    m21_single_alone_is_granted = good(Single);
    m21_ticket_alone_is_granted = good(Ticket);
    r03_bearer_bad_is_401 = bad(Bearer);
    r03_basic_bad_is_401 = bad(Basic);
    r03_digest_bad_is_401 = bad(Digest);
    r03_custom_bad_is_401 = bad(Custom);
    r03_header_bad_is_401 = bad(Header);
    r03_query_bad_is_401 = bad(Query);
    r03_cookie_bad_is_401 = bad(Cookie);
    r03_session_bad_is_401 = bad(Session);
    r03_pair_bad_is_401 = bad(Pair);
    r03_single_bad_is_401 = bad(Single);
    r03_ticket_bad_is_401 = bad(Ticket);
    r03_authorization_empty_is_absent = absent(Bearer);
    r03_header_empty_is_absent = absent(Header);
    r03_query_empty_is_absent = absent(Query);
    r03_cookie_empty_is_absent = absent(Cookie);
    r03_session_empty_is_absent = absent(Session);
    r03_ticket_empty_is_absent = absent(Ticket);
    r03_bearer_duplicated_is_400 = duplicated(Bearer, Bearer);
    r03_basic_duplicated_is_400 = duplicated(Basic, Basic);
    r03_digest_duplicated_is_400 = duplicated(Digest, Digest);
    r03_custom_duplicated_is_400 = duplicated(Custom, Custom);
    r03_header_duplicated_is_400 = duplicated(Header, Header);
    r03_query_duplicated_is_400 = duplicated(Query, Query);
    r03_cookie_duplicated_is_400 = duplicated(Cookie, Cookie);
    r03_session_duplicated_is_400 = duplicated(Session, Session);
    r03_pair_duplicated_is_400 = duplicated(Pair, Pair);
    r03_single_duplicated_is_400 = duplicated(Single, Single);
    r03_ticket_duplicated_is_400 = duplicated(Ticket, Ticket);
    r03_two_schemes_in_authorization_are_400 = duplicated(Bearer, Basic);
    r03_both_subprotocol_forms_are_400 = duplicated(Pair, Single);
    r03_bearer_beside_another_explicit_one_is_400 = conflicting(Bearer);
    r03_basic_beside_another_explicit_one_is_400 = conflicting(Basic);
    r03_digest_beside_another_explicit_one_is_400 = conflicting(Digest);
    r03_custom_beside_another_explicit_one_is_400 = conflicting(Custom);
    r03_header_beside_another_explicit_one_is_400 = conflicting(Header);
    r03_query_beside_another_explicit_one_is_400 = conflicting(Query);
    r03_pair_beside_another_explicit_one_is_400 = conflicting(Pair);
    r03_single_beside_another_explicit_one_is_400 = conflicting(Single);
    r03_ticket_beside_another_explicit_one_is_400 = conflicting(Ticket);
    r03_bearer_decides_alone_beside_ambient_ones = decides_alone(Bearer);
    r03_custom_decides_alone_beside_ambient_ones = decides_alone(Custom);
    r03_header_decides_alone_beside_ambient_ones = decides_alone(Header);
    r03_query_decides_alone_beside_ambient_ones = decides_alone(Query);
    r03_pair_decides_alone_beside_ambient_ones = decides_alone(Pair);
    r03_single_decides_alone_beside_ambient_ones = decides_alone(Single);
    r03_ticket_decides_alone_beside_ambient_ones = decides_alone(Ticket);
}
