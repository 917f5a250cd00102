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
    refused: AtomicU64,
}

#[derive(Debug, Default)]
struct Table {
    open: usize,
    per_address: BTreeMap<AddressKey, usize>,
}

impl Admissions {
    /// Takes a slot for `address`; loopback addresses count in all only.
    fn enter(&self, address: IpAddr, limit: usize, limit_per_address: usize) -> bool {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let key = AddressKey::of(address);
        let exempt = address.to_canonical().is_loopback();
        let here = table.per_address.get(&key).copied().unwrap_or(0);
        if table.open >= limit || (!exempt && here >= limit_per_address) {
            drop(table);
            self.refused.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        table.open += 1;
        if !exempt {
            table.per_address.insert(key, here + 1);
        }
        true
    }

    fn leave(&self, address: IpAddr) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.open = table.open.saturating_sub(1);
        let key = AddressKey::of(address);
        if let Some(here) = table.per_address.get_mut(&key) {
            *here -= 1;
            if *here == 0 {
                table.per_address.remove(&key);
            }
        }
    }

    /// Returns how many connections are open.
    pub(crate) fn open(&self) -> usize {
        self.table.lock().unwrap_or_else(PoisonError::into_inner).open
    }

    /// Returns how many were refused since the last call.
    pub(crate) fn take_refused(&self) -> u64 {
        self.refused.swap(0, Ordering::Relaxed)
    }
}

/// A slot for one connection. It is given back when this value is dropped, whatever happened.
#[derive(Debug)]
pub struct Admission {
    gateway: Arc<Gateway>,
    address: IpAddr,
    bell: Arc<Bell>,
    number: u64,
}

impl Admission {
    pub(super) fn new(
        gateway: &Arc<Gateway>,
        address: IpAddr,
        limit: usize,
        limit_per_address: usize,
    ) -> Option<Self> {
        if !gateway.admissions.enter(address, limit, limit_per_address) {
            return None;
        }
        let (number, bell) = gateway.bells.hang();
        Some(Self {
            gateway: Arc::clone(gateway),
            address,
            bell,
            number,
        })
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
        self.gateway.admissions.leave(self.address);
    }
}
