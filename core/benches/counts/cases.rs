//! What is counted.

use countersign_core::auth::algorithm::Algorithm;
use countersign_core::leg::Leg;

use crate::drive::{Ends, gateway, request};
use crate::tokens::{hs256, ring_alone, verified};
use crate::{Outcome, count};

/// Bytes of a small message.
const SMALL: usize = 125;
/// Bytes of a large message.
const LARGE: usize = 16 * 1024;
/// Members that get what one more sends.
const MEMBERS: usize = 100;

/// One thing that is counted.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// Whether it is ring's share of the case behind it.
    pub(crate) ring: bool,
    /// Prepares it and counts.
    pub(crate) run: fn() -> Outcome<()>,
}

const fn case(name: &'static str, run: fn() -> Outcome<()>) -> Case {
    Case {
        name,
        ring: false,
        run,
    }
}

const fn share(run: fn() -> Outcome<()>) -> Case {
    Case {
        name: "ring",
        ring: true,
        run,
    }
}

/// All cases; ring's share comes before what it is subtracted from.
pub(crate) static CASES: &[Case] = &[
    case("401 on a new connection", refusal),
    case("401 on a kept connection", refusal_again),
    case("grant by a cached token, new connection", grant),
    share(|| ring_alone(Algorithm::Hs256)),
    case("HS256 token beyond ring", || verified(Algorithm::Hs256)),
    share(|| ring_alone(Algorithm::Rs256)),
    case("RS256 token beyond ring", || verified(Algorithm::Rs256)),
    share(|| ring_alone(Algorithm::Ps256)),
    case("PS256 token beyond ring", || verified(Algorithm::Ps256)),
    share(|| ring_alone(Algorithm::Es256)),
    case("ES256 token beyond ring", || verified(Algorithm::Es256)),
    share(|| ring_alone(Algorithm::EdDsa)),
    case("EdDSA token beyond ring", || verified(Algorithm::EdDsa)),
    case("echo of 125 B", echo),
    case("relay of 16 KiB, there and back", relay),
    case("broadcast of 125 B to 100", broadcast),
];

/// A whole message from a client, under a mask.
fn from_client(length: usize) -> Vec<u8> {
    /// The masking key of RFC 6455 section 5.7.
    const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];
    let mut bytes = header(length, 0x80);
    bytes.extend(MASK);
    bytes.extend(MASK.iter().cycle().map(|byte| byte ^ 0x5A).take(length));
    bytes
}

/// A whole message from a server.
fn from_server(length: usize) -> Vec<u8> {
    let mut bytes = header(length, 0);
    bytes.resize(bytes.len() + length, 0x5A);
    bytes
}

/// The header of a binary message (RFC 6455 section 5.2); 64 KiB and more are not needed.
fn header(length: usize, mask: u8) -> Vec<u8> {
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ ..126), _) => vec![0x82, mask | short],
        (_, length) => {
            let [high, low] = length.unwrap_or(u16::MAX).to_be_bytes();
            vec![0x82, mask | 126, high, low]
        }
    }
}

fn expect(found: usize, expected: usize) -> Outcome<()> {
    if found == expected {
        return Ok(());
    }
    Err(format!("{found} bytes come out instead of {expected}").into())
}

fn refusal() -> Outcome<()> {
    let (gateway, request) = (gateway()?, request("/echo", None));
    count(|| {
        let mut ends = Ends::accepted(&gateway)?;
        if ends.exchange(Leg::CLIENT, &request)? == 0 {
            return Err("no answer".into());
        }
        ends.end()
    })
}

fn refusal_again() -> Outcome<()> {
    let (gateway, request) = (gateway()?, request("/echo", None));
    let mut ends = Ends::accepted(&gateway)?;
    let first = ends.exchange(Leg::CLIENT, &request)?;
    count(|| expect(ends.exchange(Leg::CLIENT, &request)?, first))
}

fn grant() -> Outcome<()> {
    let (gateway, request) = (gateway()?, request("/echo", Some(&hs256())));
    count(|| Ends::upgraded(&gateway, &request)?.end())
}

fn echo() -> Outcome<()> {
    let mut ends = Ends::upgraded(&gateway()?, &request("/echo", Some(&hs256())))?;
    let (message, back) = (from_client(SMALL), from_server(SMALL).len());
    count(|| expect(ends.exchange(Leg::CLIENT, &message)?, back))
}

fn relay() -> Outcome<()> {
    let mut ends = Ends::upgraded(&gateway()?, &request("/app", Some(&hs256())))?;
    let upstream = ends.upstream.ok_or("no upstream")?;
    let (there, back) = (from_client(LARGE), from_server(LARGE));
    count(|| {
        expect(ends.exchange(Leg::CLIENT, &there)?, there.len())?;
        expect(ends.exchange(upstream, &back)?, back.len())
    })
}

fn broadcast() -> Outcome<()> {
    let (gateway, request) = (gateway()?, request("/room", Some(&hs256())));
    let mut sender = Ends::upgraded(&gateway, &request)?;
    let members = (0..MEMBERS).map(|_| Ends::upgraded(&gateway, &request));
    let mut members = members.collect::<Outcome<Vec<_>>>()?;
    let (message, back) = (from_client(SMALL), from_server(SMALL).len());
    count(|| {
        sender.exchange(Leg::CLIENT, &message)?;
        members
            .iter_mut()
            .try_for_each(|member| expect(member.settle()?, back))
    })
}
