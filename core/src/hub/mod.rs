//! What connections leave for each other. Its locks are taken below the gateway's, held for no call out,
//! and bells are rung after they were let go.

mod outbox;
mod points;
mod topics;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use self::outbox::Outbox;
pub(crate) use self::outbox::{SHARED_BYTES, Write};
use self::points::Point;
pub(crate) use self::points::Reader;
use self::topics::Topic;
pub(crate) use self::topics::{Found, Member, Speaker};
use crate::bell::Bell;
use crate::bus::{Desk, Node, Stamp};

/// What the connections of a gateway share beyond its rules.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    /// The data points that somebody has asked for, by name. Only the rules name points, so there are
    /// as many as the configuration has.
    points: Mutex<BTreeMap<Arc<str>, Arc<Point>>>,
    /// The bytes of all last values.
    held: Arc<AtomicUsize>,
    /// What other nodes are to be told.
    outbox: Arc<Outbox>,
    /// The topics that somebody has joined, by the names of their services.
    topics: Mutex<BTreeMap<Arc<str>, Arc<Topic>>>,
}

impl Hub {
    /// Returns the last state of a data point; `None` if nobody ever wrote it.
    pub(crate) fn state(&self, name: &str) -> Option<Bytes> {
        let points = self.points.lock().unwrap_or_else(PoisonError::into_inner);
        let point = points.get(name).map(Arc::clone)?;
        drop(points);
        point.state()
    }

    /// Joins the readers of a data point as the connection `number`, whose bell is rung at every write.
    pub(crate) fn join(&self, name: &Arc<str>, number: u64, bell: &Arc<Bell>) -> Reader {
        Reader::new(self.point(name), number, bell)
    }

    fn point(&self, name: &Arc<str>) -> Arc<Point> {
        let mut points = self.points.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Point::new(name, &self.held, &self.outbox));
        Arc::clone(points.entry(Arc::clone(name)).or_insert_with(new))
    }

    /// Shares the points with other nodes, as `node`; `desk` is rung when they are to be told something.
    pub(crate) fn share(&self, node: Node, desk: &Arc<Desk>) {
        self.outbox.share(node, desk);
    }

    /// Takes in what another node, or Redis, knows of a point; nothing at all if it is `None`. What is
    /// older than what this node knows is told so.
    pub(crate) fn take_in(&self, name: &Arc<str>, said: Option<(Bytes, Stamp)>) {
        let point = self.point(name);
        match (said, point.stamp()) {
            (Some((_, stamp)), Some(known)) if known == stamp => self.outbox.take_back(name),
            (Some((_, stamp)), Some(known)) if known > stamp => self.outbox.put_last(name),
            (None, Some(_)) => self.outbox.put_last(name),
            (None, None) => {}
            (Some((state, stamp)), _) => {
                self.outbox.take_back(name);
                point.take_in(state, stamp);
            }
        }
    }

    /// Forgets which writes wait to be told: last values are compared instead.
    pub(crate) fn begin_telling(&self) {
        self.outbox.clear();
    }

    /// Returns the next write that the other nodes are to be told of.
    pub(crate) fn take_untold(&self) -> Option<Write> {
        if let Some(write) = self.outbox.take() {
            return Some(write);
        }
        while let Some(name) = self.outbox.take_point() {
            let point = {
                let points = self.points.lock().unwrap_or_else(PoisonError::into_inner);
                points.get(&name).map(Arc::clone)
            };
            if let Some(write) = point.and_then(|point| point.last()) {
                return Some(write);
            }
        }
        None
    }

    /// Joins a topic as the connection `number`, whose bell is rung when there is news; at most
    /// `mailbox_bytes` wait for it.
    pub(crate) fn enter(
        &self,
        topic: &Arc<str>,
        (number, bell): (u64, &Arc<Bell>),
        mailbox_bytes: usize,
    ) -> Member {
        self.topic(topic).join(number, bell, mailbox_bytes)
    }

    /// Joins a topic for all other nodes, as the connection `number`, which tells them what is said.
    pub(crate) fn enter_for_nodes(
        &self,
        topic: &Arc<str>,
        (number, bell): (u64, &Arc<Bell>),
        mailbox_bytes: usize,
    ) -> Member {
        self.topic(topic).join_for_nodes(number, bell, mailbox_bytes)
    }

    fn topic(&self, name: &Arc<str>) -> Arc<Topic> {
        let mut topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(topics.entry(Arc::clone(name)).or_default())
    }

    /// Forgets every topic that is none of `services` and that nobody is in.
    pub(crate) fn keep_topics(&self, services: &BTreeSet<&str>) {
        let mut topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        topics.retain(|name, topic| services.contains(&**name) || Arc::strong_count(topic) > 1);
    }

    /// Forgets every data point that `named` does not have and that nobody reads.
    pub(crate) fn keep(&self, named: &BTreeSet<&str>) {
        let mut points = self.points.lock().unwrap_or_else(PoisonError::into_inner);
        // Readers join and leave with the table locked or an `Arc` in hand: who is left out here has gone.
        points.retain(|name, point| named.contains(&**name) || Arc::strong_count(point) > 1);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::time::UnixTime;

    #[test]
    fn of_two_writes_on_two_nodes_the_later_one_counts_on_both() {
        let bell = Arc::new(Bell::default());
        let hubs = [1, 2].map(|node| {
            let hub = Hub::default();
            hub.share(Node([node; 16]), &Arc::default());
            hub
        });
        let [one, two] = &hubs;
        let name: Arc<str> = "p".into();
        let write = |hub: &Hub, text: &'static str, at| {
            let reader = hub.join(&name, 1, &bell);
            reader
                .write(Bytes::from_static(text.as_bytes()), UnixTime::from_secs(at))
                .unwrap();
        };
        let tell = |from: &Hub, to: &Hub| {
            let mut told = 0;
            while let Some(write) = from.take_untold() {
                to.take_in(&write.point, Some((write.state, write.stamp)));
                told += 1;
            }
            told
        };
        write(one, "1", 5);
        write(one, "2", 4);
        assert_eq!(tell(one, two), 2);
        assert_eq!(two.state("p").as_deref(), Some(&b"2"[..]));
        write(two, "later", 9);
        write(one, "earlier", 8);
        // Who hears what is old by now says what is new.
        assert_eq!((tell(one, two), tell(two, one)), (1, 2));
        for hub in [one, two] {
            assert_eq!(hub.state("p").as_deref(), Some(&b"later"[..]));
            assert!(hub.take_untold().is_none());
        }
        // A Redis that has forgotten it is told again.
        one.begin_telling();
        one.take_in(&name, None);
        assert_eq!(tell(one, two), 1);
        assert!(two.take_untold().is_none());
        two.take_in(&"unwritten".into(), None);
        assert!(two.take_untold().is_none());
    }

    #[test]
    fn points_survive_by_name_or_by_their_readers() {
        let hub = Hub::default();
        let bell = Arc::new(Bell::default());
        for name in ["named", "read", "neither"] {
            let reader = hub.join(&name.into(), 1, &bell);
            reader
                .write(Bytes::from_static(b"1"), UnixTime::default())
                .unwrap();
        }
        let reader = hub.join(&"read".into(), 2, &bell);
        hub.keep(&BTreeSet::from(["named"]));
        let known = |name| hub.state(name).is_some();
        assert!(known("named") && known("read") && !known("neither"));
        drop(reader);
        hub.keep(&BTreeSet::from(["named"]));
        assert!(known("named") && !known("read"));
    }

    #[test]
    fn topics_survive_by_name_or_by_their_members() {
        let hub = Hub::default();
        let bell = Arc::default();
        let enter = |name: &str| hub.enter(&name.into(), (1, &bell), 100);
        drop((enter("named"), enter("neither")));
        let member = enter("joined");
        let left = || hub.topics.lock().unwrap().keys().cloned().collect::<Vec<_>>();
        hub.keep_topics(&BTreeSet::from(["named"]));
        assert_eq!(left(), ["joined".into(), "named".into()]);
        drop(member);
        hub.keep_topics(&BTreeSet::new());
        assert!(left().is_empty());
    }
}
