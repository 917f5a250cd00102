//! Which of two statements is the later one, on whichever nodes they were made.

use std::time::Duration;

use super::Node;
use crate::time::UnixTime;

/// When something was said, and by whom: of two statements about the same the later one counts, and of
/// two of the same moment that of the greater node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stamp {
    /// In microseconds, which is what nodes tell each other.
    pub(crate) time: UnixTime,
    pub(crate) node: Node,
}

impl Stamp {
    /// The stamp of what is said at `now`, after what `before` says.
    pub(crate) fn new(before: Option<Self>, node: Node, now: UnixTime) -> Self {
        let tick = Duration::from_micros(1);
        let micros = u64::try_from(now.since_epoch().as_micros()).unwrap_or(u64::MAX);
        let time = UnixTime::new(Duration::from_micros(micros));
        Self {
            time: before.map_or(time, |before| time.max(before.time.after(tick))),
            node,
        }
    }

    /// Returns it as bytes.
    pub(crate) fn to_bytes(self) -> [u8; 24] {
        let micros = u64::try_from(self.time.since_epoch().as_micros()).unwrap_or(u64::MAX);
        let mut bytes = [0; 24];
        let (time, node) = bytes.split_at_mut(8);
        time.copy_from_slice(&micros.to_be_bytes());
        node.copy_from_slice(&self.node.0);
        bytes
    }

    /// Takes one off the front of `bytes`.
    pub(crate) fn take(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (time, rest) = bytes.split_first_chunk::<8>()?;
        let (node, rest) = rest.split_first_chunk::<16>()?;
        let stamp = Self {
            time: UnixTime::new(Duration::from_micros(u64::from_be_bytes(*time))),
            node: Node(*node),
        };
        Some((stamp, rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_later_counts_whatever_the_clock_does() {
        let (one, two) = (Node([1; 16]), Node([2; 16]));
        let first = Stamp::new(None, two, UnixTime::from_secs(9));
        let second = Stamp::new(Some(first), one, UnixTime::from_secs(3));
        assert!(second > first);
        assert!(first > Stamp::new(None, one, UnixTime::from_secs(9)));
        let bytes = [&second.to_bytes()[..], b"rest"].concat();
        assert_eq!(Stamp::take(&bytes), Some((second, &b"rest"[..])));
        assert_eq!(Stamp::take(&bytes[..23]), None);
    }
}
