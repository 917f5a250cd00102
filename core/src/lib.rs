//! The sans-IO core of countersign, the authenticated front door for WebSockets: bytes in, bytes
//! out, time as an argument. No socket, file, clock, thread or entropy call is made here.

pub mod auth;
pub mod config;
pub mod connection;
pub mod entropy;
pub mod gateway;
pub mod http;
pub mod job;
pub mod leg;
pub mod note;
pub mod ops;
pub mod reason;
pub mod secret;
pub mod service;
pub mod time;
pub mod timers;
pub mod ws;

mod bell;
mod budget;
mod buffer;
mod legs;
mod rules;
mod tls;
