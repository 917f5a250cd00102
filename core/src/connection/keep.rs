//! The background connection: no client, but legs to everybody who has to be asked.

mod bridge;
mod link;

use self::link::Link;
use super::{Connection, Peer, State};
use crate::auth::question::{Begun, Question};
use crate::bus::Standing;
use crate::exchange::{Fault, Line, Talk};
use crate::gateway::{Admission, Errand, Gateway};
use crate::leg::{Leg, LegEvent};
use crate::legs::Legs;
use crate::note::Note;
use crate::time::{Moment, Now};
use crate::timers::{Timer, Timers};

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// The questions that are out.
#[derive(Debug, Default)]
pub(super) struct Keeping {
    out: Vec<Out>,
    /// The way to what all nodes share.
    bus: Option<Link>,
}

/// One question that is out.
#[derive(Debug)]
struct Out {
    leg: Leg,
    errand: Errand,
    talk: Talk,
    /// When it is given up.
    until: Moment,
}

impl Connection {
    /// What asks verifiers elsewhere for all connections of `gateway`, and keeps what they publish
    /// fresh. It has no client leg and ends by itself only by a fault: then the adapter makes another.
    /// There is to be one of it before the first accept.
    pub fn keeper(gateway: &Arc<Gateway>, now: Now) -> Self {
        let nobody = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let admission = Admission::keeper(gateway);
        gateway.outside().set_keeper(admission.bell());
        let bus = gateway.bus().map(|bus| {
            bus.desk().set_keeper(admission.bell());
            // Whoever kept it before has gone, and the streams with it.
            if bus.standing() == Standing::Up {
                bus.desk().stand(Standing::Away);
            }
            Link::new((admission.number(), Arc::clone(admission.bell())), now)
        });
        let keeping = Keeping {
            bus,
            ..Keeping::default()
        };
        Self {
            rules: gateway.rules(),
            admission,
            peer: Peer {
                server: usize::MAX,
                remote: nobody,
                local: nobody,
            },
            legs: Legs::without_client(),
            timers: Timers::default(),
            notes: VecDeque::new(),
            job: None,
            state: State::Keeping(Box::new(keeping)),
            pending: Vec::new(),
            requests: 0,
            attempts: 0,
            late: false,
            secured: false,
        }
    }

    /// Goes out with what is to be asked, and gives up what takes too long.
    pub(super) fn tick_keep(&mut self, now: Now) {
        let State::Keeping(keeping) = &mut self.state else {
            return;
        };
        let gateway = self.admission.gateway();
        let (late, out) = std::mem::take(&mut keeping.out)
            .into_iter()
            .partition(|out| now.at >= out.until);
        keeping.out = out;
        for Out { leg, errand, .. } in late {
            self.legs.let_go(leg);
            let told = errand.end(Err(Fault::Late), gateway.verdicts(), now);
            tell(&mut self.notes, told);
        }
        let rules = gateway.rules();
        for keys in rules.remote_keys.iter().filter(|keys| keys.due() <= now.at) {
            gateway
                .outside()
                .ask_for_all(Question::Keys(Arc::clone(keys)), gateway.entropy());
        }
        while let Some(errand) = gateway.outside().take() {
            let Some(begun) = errand.begin(now) else {
                // One question that cannot be written is no reason to lose the others.
                let told = errand.end(Err(Fault::Unusable), gateway.verdicts(), now);
                tell(&mut self.notes, told);
                continue;
            };
            let Begun { to, timeout, talk } = begun;
            let Some(leg) = self.legs.dial(to) else {
                // Out of numbers: the adapter makes another keeper, which has all of them.
                self.state = State::Closed;
                return;
            };
            keeping.out.push(Out {
                leg,
                errand,
                talk,
                until: now.at.after(timeout),
            });
        }
        // What is due already is being asked: its end is the next thing to happen, and no time.
        let fetches = rules.remote_keys.iter().map(|keys| keys.due());
        let fetches = fetches.filter(|due| *due > now.at);
        let next_on_bus = keeping
            .bus
            .as_mut()
            .and_then(|link| link.tick(gateway, &mut self.legs, &mut self.notes, now));
        let times = keeping.out.iter().map(|out| out.until).chain(fetches);
        match times.chain(next_on_bus).min() {
            Some(next) => self.timers.set(Timer::Dial, next),
            None => self.timers.stop(Timer::Dial),
        }
    }

    /// Lets an exchange hear what happened on its leg.
    pub(super) fn keeper_event(&mut self, now: Now, leg: Leg, event: LegEvent<'_>) {
        let State::Keeping(keeping) = &mut self.state else {
            return;
        };
        let gateway = self.admission.gateway();
        let event = match &mut keeping.bus {
            Some(link) if link.is_on(leg) => {
                return link.hear(gateway, &mut self.legs, &mut self.notes, (leg, event), now);
            }
            Some(_) | None => event,
        };
        let Some(index) = keeping.out.iter().position(|out| out.leg == leg) else {
            return;
        };
        let Some(out) = keeping.out.get_mut(index) else {
            return;
        };
        let mut line = Line::new(&mut self.legs, leg);
        if let Some(said) = out.talk.hear(&mut line, event) {
            let Out { errand, .. } = keeping.out.swap_remove(index);
            self.legs.let_go(leg);
            let gateway = self.admission.gateway();
            let first_keys = errand.is_for_first_keys();
            let told = errand.end(said, gateway.verdicts(), now);
            if first_keys {
                // Open sockets may wait to be judged by them.
                gateway.ring_all();
            }
            tell(&mut self.notes, told);
        }
    }
}

fn tell(notes: &mut VecDeque<Note>, told: Vec<String>) {
    notes.extend(told.into_iter().map(|message| Note::Warning { message }));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::path::Path;
    use std::time::Duration;

    use super::super::Step;
    use super::*;
    use crate::config::{Config, MemoryFiles};
    use crate::entropy::Seed;
    use crate::gateway::Capacity;

    const PATH: &str = "c.json";

    fn config(verification: &str) -> String {
        format!(
            r#"{{"servers": [{{"id": "s", "listen": ["127.0.0.1:0"], "plaintext": true}}],
                "realms": {{"r": {{"loginModules": [{{"type": "jwt", "success": "required",
                    "issuer": "i", "audience": "a", "verification": {verification}}}]}}}},
                "services": {{"e": {{"type": "echo", "accept": "/", "realm": "r"}}}}}}"#
        )
    }

    /// Steps `keeper` until it waits, and returns how often it dialed and until when it waits.
    fn settle(keeper: &mut Connection, now: Now) -> (usize, Option<Moment>) {
        let mut dialed = 0;
        loop {
            match keeper.step(now) {
                Step::Dial(_) => dialed += 1,
                Step::Wait(wait) => return (dialed, wait.deadline()),
                Step::Note(_) | Step::Drop(_) => {}
                other @ (Step::Secure(..) | Step::Compute(_) | Step::Hangup(_) | Step::Closed) => {
                    panic!("{other:?}")
                }
            }
        }
    }

    #[test]
    fn e08_a_key_set_that_comes_back_while_it_is_fetched_does_not_make_the_keeper_spin() {
        let (remote, fixed) = (
            config(r#"{"jwks": {"url": "http://127.0.0.1:1/"}}"#),
            config(r#"{"secret": {"HS256": {"keyFile": "k"}}}"#),
        );
        let mut files = MemoryFiles::new();
        files.insert(PATH, &*remote);
        files.insert("k", "0123456789abcdef0123456789abcdef");
        let loaded = Config::load(Path::new(PATH), &mut files).unwrap();
        let capacity = Capacity {
            cores: 1,
            connections: 5,
            descriptors_per_connection: 1,
        };
        let gateway = Gateway::new(loaded, Seed::new([1; 32]), capacity).unwrap();
        let mut now = Now::default();
        let mut keeper = Connection::keeper(&gateway, now);
        assert_eq!(settle(&mut keeper, now).0, 1);
        for text in [fixed, remote] {
            files.insert(PATH, &*text);
            gateway.reload(Path::new(PATH), &mut files, now);
        }
        // The first fetch still goes on, and is the same for the new rules.
        now = now.after(Duration::from_secs(1));
        let (dialed, deadline) = settle(&mut keeper, now);
        assert_eq!(dialed, 0);
        assert!(deadline.is_some_and(|deadline| deadline > now.at), "{deadline:?}");
        // It fails, and the rules that hold ask for themselves.
        now = now.after(Duration::from_secs(5));
        assert_eq!(settle(&mut keeper, now).0, 1);
    }
}
