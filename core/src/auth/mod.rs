//! Who a client is: the pure, CPU-only building blocks that judge a credential. No HTTP and no
//! connection here, and time is an argument.

pub mod algorithm;
pub(crate) mod basis;
mod chain;
pub(crate) mod challenge;
mod curve;
mod der;
pub mod digest;
pub mod digestfile;
mod digestlogin;
pub(crate) mod ephemeral;
pub mod grant;
pub mod groupfile;
pub(crate) mod introspection;
pub mod json;
pub mod jwk;
pub mod jws;
pub mod jwt;
pub(crate) mod login;
pub mod nonce;
pub mod nonces;
pub(crate) mod origins;
pub mod password;
pub(crate) mod present;
mod publickey;
pub(crate) mod question;
pub(crate) mod realm;
pub(crate) mod remote;
pub(crate) mod revoked;
mod token;
pub mod userfile;
pub(crate) mod verdicts;

/// Roles that the gateway itself gives out. Coming from a group file or a claim they are ignored,
/// or whoever writes those could make an anonymous client of a named one and the reverse.
pub const RESERVED_ROLES: [&str; 2] = ["Everyone", "Anonymous"];

/// Says whether `role` is one that only the gateway itself may give.
#[must_use]
pub fn is_reserved_role(role: &str) -> bool {
    RESERVED_ROLES.contains(&role)
}
