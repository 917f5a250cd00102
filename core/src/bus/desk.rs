//! What waits to be sent to Redis. Nobody waits for room: what does not fit is dropped and counted, or
//! refused.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::{Name, News};
use crate::bell::Bell;
use crate::exchange::Fault;
use crate::exchange::redis::Reply;

/// The most orders that wait to be sent: some seconds of what a Redis takes.
pub(crate) const ORDERS: usize = 100_000;

/// The most bytes of orders that wait to be sent.
pub(crate) const ORDER_BYTES: usize = 16 * 1024 * 1024;

/// How things stand between this node and Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is there, or is being dialed for the first time; what is revoked is not known yet.
    Reading,
    /// Everything is known.
    Up,
    /// It cannot be reached: the node is on its own.
    Away,
}

impl Standing {
    const ALL: [Self; 3] = [Self::Reading, Self::Up, Self::Away];
}

/// Something to be sent.
#[derive(Debug)]
pub(crate) enum Order {
    /// A command whose answer interests nobody.
    Command(Vec<u8>),
    /// A command that somebody waits for.
    Question(Vec<u8>, Promise),
    /// Something to tell all others.
    News(News, Vec<u8>),
}

impl Order {
    fn len(&self) -> usize {
        match self {
            Self::Command(bytes) | Self::Question(bytes, _) | Self::News(_, bytes) => bytes.len(),
        }
    }
}

/// What the next answer of Redis is for.
#[derive(Debug)]
pub(crate) enum Expected {
    /// Nobody.
    Nothing,
    /// Who waits for it.
    Promise(Promise),
    /// What others have left under the key of a session.
    Session(Name),
    /// The last value of a data point.
    Point(Arc<str>),
    /// The last values of all data points are known.
    Loaded,
    /// The next page of revocations.
    Page,
}

/// What waits to be sent, and how things stand.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    standing: AtomicU8,
    dropped: AtomicU64,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    orders: VecDeque<Order>,
    bytes: usize,
    keeper: Option<Arc<Bell>>,
}

struct Slot {
    answer: OnceLock<Result<Reply, Fault>>,
    bell: Arc<Bell>,
}

/// An answer that is owed. However it goes, whoever waits is told.
pub(crate) struct Promise(Arc<Slot>);

impl fmt::Debug for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Promise")
    }
}

impl Promise {
    /// Hands the answer over.
    pub(crate) fn keep(self, reply: Reply) {
        // Set once: the promise is gone then.
        let _ = self.0.answer.set(Ok(reply));
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        let _ = self.0.answer.set(Err(Fault::Unreachable));
        self.0.bell.ring();
    }
}

/// An answer that is waited for.
pub(crate) struct Pending(Arc<Slot>);

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pending")
    }
}

impl Pending {
    /// Returns the answer if it is there.
    pub(crate) fn answer(&self) -> Option<Result<Reply, Fault>> {
        self.0.answer.get().cloned()
    }
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns how things stand.
    pub(crate) fn standing(&self) -> Standing {
        let code = usize::from(self.standing.load(Ordering::Acquire));
        Standing::ALL.get(code).copied().unwrap_or(Standing::Away)
    }

    /// Notes how things stand. What waited for a Redis that is gone is dropped: whatever must not be
    /// lost is told by who knows it, as soon as there is one again.
    pub(crate) fn stand(&self, standing: Standing) {
        self.standing.store(standing as u8, Ordering::Release);
        if standing != Standing::Up {
            let gone = {
                let mut table = self.lock();
                table.bytes = 0;
                std::mem::take(&mut table.orders)
            };
            drop(gone);
        }
    }

    /// Makes `bell` the one that rings when there is something to send.
    pub(crate) fn set_keeper(&self, bell: &Arc<Bell>) {
        self.lock().keeper = Some(Arc::clone(bell));
    }

    /// Has the keeper look whether there is something to send.
    pub(crate) fn ring(&self) {
        let keeper = self.lock().keeper.as_ref().map(Arc::clone);
        if let Some(keeper) = keeper {
            keeper.ring();
        }
    }

    /// Returns how many orders were dropped for want of room.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Counts something that is too large to be sent.
    pub(crate) fn drop_one(&self) {
        self.drop_many(1);
    }

    /// Counts what is not sent for want of room.
    pub(crate) fn drop_many(&self, count: u64) {
        self.dropped.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn tell(&self, order: Order) {
        if self.standing() != Standing::Up {
            return;
        }
        if self.put(order) {
            self.ring();
        } else {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn ask(&self, command: Vec<u8>, bell: &Arc<Bell>) -> Option<Pending> {
        if self.standing() != Standing::Up {
            return None;
        }
        let slot = Arc::new(Slot {
            answer: OnceLock::new(),
            bell: Arc::clone(bell),
        });
        let order = Order::Question(command, Promise(Arc::clone(&slot)));
        if !self.put(order) {
            return None;
        }
        self.ring();
        Some(Pending(slot))
    }

    /// Puts an order behind the others, if there is room and Redis is there.
    fn put(&self, order: Order) -> bool {
        let mut table = self.lock();
        let bytes = table.bytes.saturating_add(order.len());
        let fits = table.orders.len() < ORDERS && bytes <= ORDER_BYTES;
        // Looked at within the lock: nothing is put where nobody takes it away.
        if fits && self.standing() == Standing::Up {
            table.bytes = bytes;
            table.orders.push_back(order);
            return true;
        }
        drop(table);
        false
    }

    /// Takes the next order.
    pub(crate) fn take(&self) -> Option<Order> {
        let mut table = self.lock();
        let order = table.orders.pop_front()?;
        table.bytes = table.bytes.saturating_sub(order.len());
        Some(order)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn up() -> Desk {
        let desk = Desk::default();
        desk.stand(Standing::Up);
        desk
    }

    #[test]
    fn what_waits_is_bounded_in_number_and_in_bytes() {
        let desk = up();
        for _ in 0..ORDERS {
            desk.tell(Order::Command(Vec::new()));
        }
        assert_eq!(desk.dropped(), 0);
        desk.tell(Order::Command(Vec::new()));
        assert!(desk.ask(Vec::new(), &Arc::default()).is_none());
        assert_eq!(desk.dropped(), 1);
        let desk = up();
        desk.tell(Order::Command(vec![0; ORDER_BYTES]));
        assert_eq!(desk.dropped(), 0);
        desk.tell(Order::Command(vec![0; 1]));
        assert_eq!(desk.dropped(), 1);
        assert!(desk.take().is_some() && desk.take().is_none());
        assert!(desk.ask(vec![0; ORDER_BYTES], &Arc::default()).is_some());
    }

    #[test]
    fn whoever_waits_is_answered_also_when_redis_goes() {
        let desk = up();
        let waiting = desk.ask(Vec::new(), &Arc::default()).unwrap();
        assert!(waiting.answer().is_none());
        desk.stand(Standing::Away);
        assert_eq!(waiting.answer(), Some(Err(Fault::Unreachable)));
        assert!(desk.ask(Vec::new(), &Arc::default()).is_none() && desk.take().is_none());
        let desk = up();
        let waiting = desk.ask(Vec::new(), &Arc::default()).unwrap();
        let Some(Order::Question(_, promise)) = desk.take() else {
            panic!("no question");
        };
        promise.keep(Reply::Nil);
        assert_eq!(waiting.answer(), Some(Ok(Reply::Nil)));
    }
}
