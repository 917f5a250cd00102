//! Limits on connections: in all and per address, taken at accept, before any TLS work.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::Gateway;
use crate::bell::Bell;
use crate::budget::AddressKey;

/// The open connections of a gateway, counted.
#[derive(Debug, Default)]
pub(crate) struct Admissions {
    table: Mutex<Table>,
    /// Since the start.
    refused: AtomicU64,
    /// How many of those the log was told of.
    told: AtomicU64,
}

#[derive(Debug, Default)]
struct Table {
    open: usize,
    per_address: BTreeMap<AddressKey, usize>,
}

impl Table {
    fn enter(&mut self, key: Option<AddressKey>, limit: usize) -> bool {
        let Some(key) = key else { return true };
        let here = self.per_address.get(&key).copied().unwrap_or(0);
        if here < limit {
            self.per_address.insert(key, here + 1);
        }
        here < limit
    }

    fn leave(&mut self, key: Option<AddressKey>) {
        let Some(key) = key else { return };
        if let Some(here) = self.per_address.get_mut(&key) {
            *here = here.saturating_sub(1);
            if *here == 0 {
                self.per_address.remove(&key);
            }
        }
    }
}

/// Returns what `address` is counted as; loopback addresses count in all only.
fn key(address: IpAddr) -> Option<AddressKey> {
    (!address.to_canonical().is_loopback()).then(|| AddressKey::of(address))
}

impl Admissions {
    /// Takes a slot, and one of `key` if there is one.
    fn enter(&self, key: Option<AddressKey>, limit: usize, limit_per_address: usize) -> bool {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let entered = table.open < limit && table.enter(key, limit_per_address);
        if entered {
            table.open += 1;
        }
        drop(table);
        self.count(entered)
    }

    /// Gives the slot of `old` to `new`.
    fn rename(&self, old: Option<AddressKey>, new: Option<AddressKey>, limit_per_address: usize) -> bool {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let entered = table.enter(new, limit_per_address);
        if entered {
            table.leave(old);
        }
        drop(table);
        self.count(entered)
    }

    fn leave(&self, key: Option<AddressKey>) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.open = table.open.saturating_sub(1);
        table.leave(key);
    }

    fn count(&self, entered: bool) -> bool {
        if !entered {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        entered
    }

    /// Returns how many connections are open.
    pub(crate) fn open(&self) -> usize {
        self.table.lock().unwrap_or_else(PoisonError::into_inner).open
    }

    /// Returns how many were refused since the start.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Returns how many were refused since the last call.
    pub(crate) fn take_refused(&self) -> u64 {
        let refused = self.refused();
        refused.saturating_sub(self.told.swap(refused, Ordering::Relaxed))
    }
}

/// A slot for one connection. It is given back when this value is dropped, whatever happened.
#[derive(Debug)]
pub struct Admission {
    gateway: Arc<Gateway>,
    /// Whether it counts as a connection.
    counted: bool,
    key: Option<AddressKey>,
    bell: Arc<Bell>,
    number: u64,
}

impl Admission {
    pub(super) fn new(
        gateway: &Arc<Gateway>,
        address: Option<IpAddr>,
        limit: usize,
        limit_per_address: usize,
    ) -> Option<Self> {
        let key = address.and_then(key);
        if !gateway.admissions.enter(key, limit, limit_per_address) {
            return None;
        }
        let (number, bell) = gateway.bells.hang();
        Some(Self {
            gateway: Arc::clone(gateway),
            counted: true,
            key,
            bell,
            number,
        })
    }

    /// A place for what is no connection of anybody: it counts nowhere.
    pub(crate) fn keeper(gateway: &Arc<Gateway>) -> Self {
        let (number, bell) = gateway.bells.hang();
        Self {
            gateway: Arc::clone(gateway),
            counted: false,
            key: None,
            bell,
            number,
        }
    }

    /// Counts the connection as one of `address` from now on; `false` if that has too many.
    pub(crate) fn belongs_to(&mut self, address: IpAddr) -> bool {
        let new = key(address);
        let limit = self.gateway.limit_per_address(&self.gateway.rules());
        let moved = self.gateway.admissions.rename(self.key, new, limit);
        if moved {
            self.key = new;
        }
        moved
    }

    pub(crate) const fn gateway(&self) -> &Arc<Gateway> {
        &self.gateway
    }

    pub(crate) const fn bell(&self) -> &Arc<Bell> {
        &self.bell
    }

    /// Returns the number of the connection, unique within the gateway.
    pub(crate) const fn number(&self) -> u64 {
        self.number
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.gateway.bells.take_down(self.number);
        if self.counted {
            self.gateway.admissions.leave(self.key);
        }
    }
}
