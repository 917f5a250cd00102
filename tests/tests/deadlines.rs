//! Ten thousand sockets, each with a deadline of its own, on clocks that do not agree.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use countersign_core::leg::Leg;
use countersign_core::note::Note;
use countersign_core::time::Moment;
use countersign_tests::client::{get, upgrade};
use countersign_tests::keys::Token;
use countersign_tests::random::Random;
use countersign_tests::sim::{Habits, Sim, Speaks};
use countersign_tests::world::{FILE, Setup, gateway};

const SOCKETS: usize = 10_000;

/// How long a closing handshake may take that nobody answers: no socket ends later after its deadline.
const CLOSE: Duration = Duration::from_millis(100);

/// When a socket is to be closed, and what it is told then.
#[derive(Clone, Copy)]
struct Fate {
    at: Moment,
    session_ends: Moment,
    reason: &'static str,
}

impl Fate {
    fn of(now: Moment, token: Duration, authorization: Duration, session_ends: Moment) -> Self {
        let fates = [
            (now.after(token), "token expired"),
            (session_ends, "session timeout"),
            (now.after(authorization), "authorization timeout"),
        ];
        let (at, reason) = fates.into_iter().min_by_key(|(at, _)| *at).unwrap();
        Self {
            at,
            session_ends,
            reason,
        }
    }
}

const fn seconds(count: usize) -> Duration {
    Duration::from_secs(count as u64)
}

#[test]
fn r14_ten_thousand_sockets_each_close_at_their_own_deadline() {
    const AUTHORIZATION: Duration = Duration::from_secs(701);
    const SESSION: Duration = Duration::from_secs(1009);
    let setup = Setup::standard()
        .jwt("leeway", "0s")
        .realm("renewal", "/renew")
        .realm("authorizationTimeout", "701s")
        .realm("sessionTimeout", "1009s")
        .limit("connections", 2 * SOCKETS)
        .limit("closeTimeout", "100 ms")
        .service("pingInterval", "1 day");
    let gateway = gateway(setup.load().unwrap());
    let mut sim = Sim::new(gateway, setup.memory(), PathBuf::from(FILE), 6, Habits::CALM);
    let mut random = Random::new(6);
    let mut fates: BTreeMap<String, Fate> = BTreeMap::new();
    let say = |sim: &mut Sim, bytes: &[u8]| {
        let line = sim.accept(0, None, Speaks::Plain).unwrap();
        assert!(sim.write(line, Leg::CLIENT, bytes));
    };
    // Whole seconds of the wall clock, so that an expiry is due when a second begins.
    for number in 0..SOCKETS {
        let (name, life) = (format!("client{number}"), seconds(random.between(100, 1500)));
        let token = Token::new(&name, sim.now().unix).expires_in(life);
        say(&mut sim, &upgrade("/api/ws").bearer(&token.text()).bytes());
        let now = sim.now().at;
        fates.insert(name, Fate::of(now, life, AUTHORIZATION, now.after(SESSION)));
    }
    let (mut seen, mut ended) = (0, 0);
    let mut clients = BTreeMap::new();
    for second in 0..1012 {
        if second % 5 == 3 && second < 700 {
            // Who is renewed gets the new token's time, but no other session.
            for _ in 0..10 {
                let name = format!("client{}", random.below(SOCKETS));
                let now = sim.now().at;
                let Some(fate) = fates
                    .get_mut(&name)
                    .filter(|fate| fate.at > now.after(seconds(2)))
                else {
                    continue;
                };
                let life = seconds(random.between(5, 1500));
                let token = Token::new(&name, sim.now().unix).expires_in(life).text();
                let request = get("/renew").method("POST").bearer(&token);
                say(&mut sim, &request.field("Connection", "close").bytes());
                *fate = Fate::of(now, life, AUTHORIZATION, fate.session_ends);
            }
        }
        if second % 100 == 50 {
            // A wall clock that is set back gives nobody more time.
            sim.step_wall_clock(seconds(1 + random.below(3600)), true);
        }
        sim.run_for(Duration::from_secs(1));
        let now = sim.now().at;
        for note in &sim.notes()[seen..] {
            match note {
                Note::Decision(decision) if decision.status == 101 => {
                    clients.insert(decision.request.0, decision.subject.clone().unwrap());
                }
                Note::Closed(closed) => {
                    let name = &clients[&closed.request.0];
                    let fate = fates.remove(name).unwrap();
                    assert_eq!(closed.reason, fate.reason, "{name}");
                    let early = now.after(CLOSE) < fate.at;
                    let late = now > fate.at.after(CLOSE + Duration::from_millis(1100));
                    assert!(!early && !late, "{name} ends at {:?}, and it is {now:?}", fate.at);
                    ended += 1;
                }
                Note::Decision(_)
                | Note::Listening { .. }
                | Note::Reloaded
                | Note::ReloadFailed(_)
                | Note::ConfigRefused(_)
                | Note::OverLimit { .. }
                | Note::LogDropped { .. }
                | Note::AcceptFailed { .. }
                | Note::Panicked
                | Note::Draining
                | Note::Revocation(_)
                | Note::Bus { .. }
                | Note::Warning { .. } => {}
            }
        }
        seen = sim.notes().len();
    }
    assert_eq!((ended, fates.len()), (SOCKETS, 0));
}
