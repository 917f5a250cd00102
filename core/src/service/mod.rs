//! What a socket or a path is for.

pub mod page;
