//! Tokens and key sets as a login module uses them.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod claims;
mod curves;
mod fixtures;
mod keyset;
mod token;
mod wycheproof;
