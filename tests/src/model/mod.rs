//! A reference model of the gateway (P9): what SPEC and REFERENCE say of a described request to a
//! described configuration. Nothing here calls the core but [`compare`], which asks both.
//!
//! Where the documents leave an order or a reason open, the model gives every answer that they allow.

pub mod compare;
pub mod config;
pub mod fewer;
pub mod login;
pub mod make;
pub mod request;
pub mod verdict;
