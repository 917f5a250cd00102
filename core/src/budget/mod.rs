//! Budgets that all connections share: each claim on one is a value whose `Drop` gives it back.

mod address;
mod memory;
mod slots;

pub(crate) use address::AddressKey;
pub(crate) use memory::{Memory, MemoryClaim};
pub(crate) use slots::{Claim, Slots};
