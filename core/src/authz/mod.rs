//! What a client that was let through the login may do.

pub(crate) mod acl;
