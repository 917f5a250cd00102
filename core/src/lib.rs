//! The sans-IO core of countersign, the authenticated front door for WebSockets: bytes in, bytes
//! out, time as an argument. No socket, file, clock, thread or entropy call is made here.

pub mod config;
pub mod entropy;
pub mod reason;
pub mod secret;
pub mod time;
