//! What connections leave for each other. Its locks are taken below the gateway's, held for no call out,
//! and bells are rung after they were let go.

mod points;
mod topics;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use self::points::Point;
pub(crate) use self::points::Reader;
use self::topics::Topic;
pub(crate) use self::topics::{Found, Member};
use crate::bell::Bell;

/// What the connections of a gateway share beyond its rules.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    /// The data points that somebody has asked for, by name. Only the rules name points, so there are
    /// as many as the configuration has.
    points: Mutex<BTreeMap<Arc<str>, Arc<Point>>>,
    /// The bytes of all last values.
    held: Arc<AtomicUsize>,
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
        let mut points = self.points.lock().unwrap_or_else(PoisonError::into_inner);
        let point = points
            .entry(Arc::clone(name))
            .or_insert_with(|| Arc::new(Point::new(&self.held)));
        let point = Arc::clone(point);
        drop(points);
        Reader::new(point, number, bell)
    }

    /// Joins a topic as the connection `number`, whose bell is rung when there is news; at most
    /// `mailbox_bytes` wait for it.
    pub(crate) fn enter(
        &self,
        topic: &Arc<str>,
        (number, bell): (u64, &Arc<Bell>),
        mailbox_bytes: usize,
    ) -> Member {
        let mut topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        let topic = Arc::clone(topics.entry(Arc::clone(topic)).or_default());
        drop(topics);
        topic.join(number, bell, mailbox_bytes)
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

    #[test]
    fn points_survive_by_name_or_by_their_readers() {
        let hub = Hub::default();
        let bell = Arc::new(Bell::default());
        for name in ["named", "read", "neither"] {
            let reader = hub.join(&name.into(), 1, &bell);
            reader.write(Bytes::from_static(b"1")).unwrap();
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
