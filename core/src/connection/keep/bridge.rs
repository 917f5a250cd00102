//! The broadcast services of all nodes as one: this node's link to Redis is in every topic, hands on what
//! it hears there, and says there what the other nodes have heard.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::bell::Bell;
use crate::bus::{Bus, MESSAGE_BYTES, Said};
use crate::gateway::Gateway;
use crate::hub::{Found, Speaker};
use crate::note::Note;
use crate::time::{Moment, Now};
use crate::ws::Encoded;

/// The most bytes of one service's messages that wait for Redis. From a quarter of them on senders wait,
/// as they do for a member that is slow; if they wait for nothing, all of it is dropped.
const OUTGOING_BYTES: usize = 8 * 1024 * 1024;

/// The most bytes of other nodes' messages for one service that wait for members here. Beyond it nobody
/// is waited for: Redis cannot be told to wait.
const INCOMING_BYTES: usize = 8 * 1024 * 1024;

/// How often the operator is told of messages that were dropped, at most.
const LOST_NEWS: Duration = Duration::from_secs(60);

/// The link's places in all topics, as long as it is up.
#[derive(Debug)]
pub(super) struct Bridge {
    /// The number of the link's connection, and its bell.
    link: (u64, Arc<Bell>),
    /// The generation of the rules whose topics it is in.
    generation: Option<u64>,
    /// The topics by the names of their services, in the order of their turns.
    topics: VecDeque<(Arc<str>, Speaker)>,
    /// When the operator was told last that messages were dropped.
    lost_told: Option<Moment>,
}

impl Bridge {
    pub(super) const fn new(link: (u64, Arc<Bell>)) -> Self {
        Self {
            link,
            generation: None,
            topics: VecDeque::new(),
            lost_told: None,
        }
    }

    /// Joins the topics of the rules in force, and leaves all others.
    pub(super) fn join(&mut self, gateway: &Gateway) {
        let rules = gateway.rules();
        if self.generation.replace(rules.generation) == Some(rules.generation) {
            return;
        }
        self.topics.retain(|(name, _)| rules.topics.contains(name));
        for name in &rules.topics {
            if !self.topics.iter().any(|(joined, _)| joined == name) {
                let link = (self.link.0, &self.link.1);
                let member = gateway.hub().enter_for_nodes(name, link, OUTGOING_BYTES);
                self.topics.push_back((Arc::clone(name), Speaker::new(member)));
            }
        }
    }

    /// Returns the next message for the other nodes, as they read it. Every service has its turn.
    pub(super) fn next(&mut self, bus: &Bus, now: Now) -> Option<Vec<u8>> {
        for _ in 0..self.topics.len() {
            self.topics.rotate_left(1);
            let (name, speaker) = self.topics.back()?;
            loop {
                match speaker.hear(true) {
                    Found::Message(message) if message.payload_len() > MESSAGE_BYTES => {
                        bus.desk().drop_one();
                    }
                    Found::Message(message) => {
                        let said = Said {
                            service: name,
                            time: now.unix,
                            message: message.message(),
                        };
                        return Some(said.to_bytes());
                    }
                    // Only now: as long as Redis takes nothing, senders wait for it no second time.
                    Found::Overflow => speaker.reopen(),
                    Found::Nothing => break,
                }
            }
        }
        None
    }

    /// Says here what a member on another node has said.
    pub(super) fn hear(&mut self, bus: &Bus, body: &[u8], now: Now) {
        let said = Said::read(body, now.unix);
        let topic = said.and_then(|said| {
            let mut topics = self.topics.iter_mut();
            let (_, speaker) = topics.find(|(name, _)| **name == *said.service)?;
            Some((speaker, Encoded::new(&said.message)))
        });
        let Some((speaker, message)) = topic else {
            return bus.refuse();
        };
        // No more than it takes: who keeps up has time for the rest, and who does not is dropped alone.
        while speaker.waiting().saturating_add(message.len()) > INCOMING_BYTES {
            if !speaker.say_first_anyway() {
                break;
            }
        }
        speaker.say(message, now.at);
    }

    /// Says what waits to be said here, as far as the members keep up. Returns when to look again.
    pub(super) fn go_on(&mut self, now: Now) -> Option<Moment> {
        let topics = self.topics.iter_mut();
        let untils = topics.filter_map(|(_, speaker)| {
            speaker.go_on(now.at);
            speaker.deadline()
        });
        untils.min()
    }

    /// Counts what was dropped since the last look, and tells the operator once in a while.
    pub(super) fn tell_lost(&mut self, bus: &Bus, notes: &mut VecDeque<Note>, now: Now) {
        let lost = self.topics.iter().map(|(_, speaker)| speaker.take_lost());
        let lost = lost.fold(0, u64::saturating_add);
        bus.desk().drop_many(lost);
        if lost > 0 && self.lost_told.is_none_or(|told| now.at >= told.after(LOST_NEWS)) {
            let message = "bus: Redis takes less than members of broadcast services send: some messages are \
                           heard on this node alone; see countersign_bus_dropped_total";
            notes.push_back(Note::Warning {
                message: message.to_owned(),
            });
            self.lost_told = Some(now.at);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use bytes::Bytes;

    use super::*;
    use crate::bus::{Keys, SECRET_BYTES, Settings};
    use crate::entropy::{Entropy, Seed};
    use crate::hub::Hub;
    use crate::leg::Destination;
    use crate::secret::Secret;
    use crate::ws::Message;

    fn bus() -> Bus {
        let settings = Settings {
            id: [0; 32],
            to: Destination::Tcp {
                host: "127.0.0.1".into(),
                port: 6379,
                tls: None,
            },
            login: Arc::default(),
            keys: Arc::new(Keys::new(&Secret::new(vec![1; SECRET_BYTES]))),
        };
        Bus::new(settings, &Entropy::new(&Seed::new([1; 32])))
    }

    fn bridge(hub: &Hub, names: &[&str]) -> Bridge {
        let mut bridge = Bridge::new((0, Arc::default()));
        for name in names {
            let name: Arc<str> = (*name).into();
            let member = hub.enter_for_nodes(&name, (0, &Arc::default()), OUTGOING_BYTES);
            bridge.topics.push_back((name, Speaker::new(member)));
        }
        bridge
    }

    fn binary(length: usize) -> Message {
        Message::Binary(Bytes::from(vec![7; length]))
    }

    fn said(service: &str, message: Message) -> Vec<u8> {
        let said = Said {
            service,
            time: Now::default().unix,
            message,
        };
        said.to_bytes()
    }

    #[test]
    fn m18_every_service_has_its_turn() {
        let (hub, bus) = (Hub::default(), bus());
        let mut bridge = bridge(&hub, &["a", "b"]);
        for (name, count) in [("a", 4), ("b", 2)] {
            let mut sender = hub.enter(&name.into(), (1, &Arc::default()), 1000);
            for _ in 0..count {
                assert!(sender.publish(&Encoded::new(&binary(1))));
            }
        }
        let now = Now::default();
        let names = std::iter::from_fn(|| bridge.next(&bus, now));
        let names: String = names
            .map(|said| Said::read(&said, now.unix).unwrap().service.to_owned())
            .collect();
        assert_eq!(names, "ababaa");
    }

    #[test]
    fn m18_a_message_that_is_too_long_for_the_bus_is_counted_and_skipped() {
        let (hub, bus) = (Hub::default(), bus());
        let mut bridge = bridge(&hub, &["a"]);
        let sender = hub.enter(&"a".into(), (1, &Arc::default()), 1000);
        for (length, fits) in [(MESSAGE_BYTES, true), (MESSAGE_BYTES + 1, false)] {
            sender.publish_anyway(&Encoded::new(&binary(length)));
            assert_eq!(bridge.next(&bus, Now::default()).is_some(), fits);
            assert_eq!(bus.desk().dropped(), u64::from(!fits));
        }
    }

    #[test]
    fn m18_what_waits_for_members_is_bounded_and_so_is_the_wait() {
        let (hub, bus) = (Hub::default(), bus());
        let mut bridge = bridge(&hub, &["a"]);
        let member = hub.enter(&"a".into(), (1, &Arc::default()), 100 * 1024 * 1024);
        let (now, body) = (Now::default(), said("a", binary(1024 * 1024)));
        let mut heard = 0;
        // It is crowded from a quarter of its mailbox on.
        while bridge.go_on(now).is_none() {
            bridge.hear(&bus, &body, now);
            heard += 1;
        }
        assert_eq!(heard, 26);
        let waiting = |bridge: &Bridge| bridge.topics[0].1.waiting();
        for _ in 2..INCOMING_BYTES / (1024 * 1024) {
            bridge.hear(&bus, &body, now);
            assert!(waiting(&bridge) <= INCOMING_BYTES);
            heard += 1;
        }
        let most = waiting(&bridge);
        assert!(most > INCOMING_BYTES - 2 * 1024 * 1024);
        bridge.hear(&bus, &body, now);
        assert_eq!(waiting(&bridge), most, "the member has one more");
        heard += 1;
        let until = bridge.go_on(now).unwrap();
        assert!(bridge.go_on(now.after(until.since(now.at))).is_none());
        for _ in 0..heard {
            assert!(matches!(member.take(true), Found::Message(_)));
        }
        assert_eq!(member.take(true), Found::Nothing);
    }

    #[test]
    fn m18_a_slow_member_costs_nobody_else_a_message_however_much_other_nodes_say() {
        let (hub, bus) = (Hub::default(), bus());
        let mut bridge = bridge(&hub, &["a"]);
        let [slow, good] = [1, 2].map(|number| hub.enter(&"a".into(), (number, &Arc::default()), 256 * 1024));
        let (now, body) = (Now::default(), said("a", binary(16 * 1024)));
        let all = 4 * INCOMING_BYTES / (16 * 1024);
        let mut heard = 0;
        let mut hear = || loop {
            match good.take(true) {
                Found::Message(_) => heard += 1,
                Found::Nothing => return heard,
                Found::Overflow => panic!("dropped for the slowness of another after {heard}"),
            }
        };
        for _ in 0..all {
            bridge.hear(&bus, &body, now);
            assert!(bridge.topics[0].1.waiting() <= INCOMING_BYTES);
            hear();
        }
        assert_eq!(slow.take(true), Found::Overflow);
        while bridge.go_on(now).is_some() {
            hear();
        }
        assert_eq!(hear(), all);
    }

    #[test]
    fn m18_what_another_node_says_is_kept_once_for_all_members() {
        let (hub, bus) = (Hub::default(), bus());
        let mut bridge = bridge(&hub, &["a"]);
        let members: Vec<_> = (1..=100)
            .map(|number| hub.enter(&"a".into(), (number, &Arc::default()), 1000))
            .collect();
        bridge.hear(&bus, &said("a", binary(100)), Now::default());
        let places = members.iter().map(|member| match member.take(true) {
            Found::Message(message) => message.frame().as_ptr(),
            Found::Nothing | Found::Overflow => panic!("nothing was heard"),
        });
        let places: Vec<_> = places.collect();
        assert!(places.iter().all(|place| *place == places[0]));
    }

    #[test]
    fn m18_what_is_for_no_topic_of_this_node_is_refused() {
        let (hub, bus) = (Hub::default(), bus());
        let mut bridge = bridge(&hub, &["a"]);
        for (body, unopened) in [
            (said("a", binary(1)), 0),
            (said("b", binary(1)), 1),
            (b"?".to_vec(), 2),
        ] {
            bridge.hear(&bus, &body, Now::default());
            assert_eq!(bus.unopened(), unopened);
        }
    }
}
