//! HTTP/1.1 as far as a front door needs it: request heads in, answers out. Pure functions and
//! small types; nothing here knows the configuration.

pub mod cookie;
pub mod credentials;
pub mod date;
mod error;
mod fields;
mod form;
mod framing;
mod head;
mod host;
pub(crate) mod media;
mod origin;
mod reply;
mod request;
mod status;
pub mod syntax;
mod target;
#[cfg(test)]
mod tests;
pub mod upgrade;

pub use error::{HeadError, Part};
pub use fields::{FieldError, Fields};
pub use form::form_fields;
pub use framing::BodyLength;
pub use head::{FIELD_LIMIT, HeadLimits, HeadScanner, Scan};
pub use host::{BadHost, Host, HostPattern};
pub use origin::{BadOrigin, Origin, OriginPattern};
pub use reply::{BadField, Reply, check_field, quoted};
pub(crate) use reply::{Lines, put_quoted};
pub use request::{Method, RequestHead, Version};
pub use status::Status;
pub use target::{BadTarget, NotCanonical, Param, Target, TargetForm};
