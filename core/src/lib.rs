//! The sans-IO core of countersign, the authenticated front door for WebSockets: bytes in, bytes
//! out, time as an argument. No socket, file, clock, thread or entropy call is made here.
//!
//! A runtime makes one [`gateway::Gateway`] of a loaded [`config::Config`], asks it for an
//! [`gateway::Admission`] for every stream that it accepts, and drives one
//! [`connection::Connection`] for each: [`connection::Connection::handle`] takes in what happened,
//! [`connection::Connection::step`] says what to do next. The examples `script` and `tokio` are two
//! whole runtimes.
//!
//! Modules, each using only those below it:
//!
//! | module | what it holds |
//! |---|---|
//! | `ops` | what programs share: command line, log lines, deadlines, the demo, explanations |
//! | [`connection`] | one socket's life, one file per state |
//! | [`gateway`] | what all connections share: admission, budgets, reload, shutdown |
//! | `service` | what stands behind the door: one file per service |
//! | `rules` | the configuration with every file read, as one snapshot |
//! | `hub` | what connections leave for each other: data points, topics |
//! | `bus` | what all nodes share: names, seals, what waits to be sent |
//! | [`auth`] | credentials: carriers, login chain, tokens, passwords, challenges |
//! | `authz` | what a client may do: access control lists |
//! | [`exchange`] | conversations with verifiers elsewhere: one file per protocol |
//! | `ws` | tungstenite over a stream in memory, frame headers |
//! | [`note`] | what is told to the operator |
//! | [`config`] | the configuration file, with a place for every error |
//! | [`http`] | request heads, targets, origins, answers |
//! | `proxy_protocol` | what a balancer says before everything else |
//! | `tls`, `budget`, `bell`, `legs`, `buffer`, `timers` | what the machine is made of |
//! | [`job`], [`leg`], [`reason`], [`secret`], [`entropy`], [`time`], [`trace`] | plain data |

pub mod auth;
pub mod config;
pub mod connection;
pub mod entropy;
pub mod exchange;
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
pub mod trace;
pub mod ws;

mod authz;
mod bell;
mod budget;
mod buffer;
mod bus;
mod hub;
mod legs;
mod proxy_protocol;
mod rules;
mod timers;
mod tls;

/// The pages for who builds on the core: what they show is compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../docs/service.md")]
struct Pages;
