//! Conversations with verifiers elsewhere: bytes in, bytes out, one file per protocol.
//!
//! An exchange is told what happens on the one leg that was dialed for it, and answers by writing to
//! that leg, until it has found what it was begun for. It knows neither who asked nor how long that
//! one waits: whoever runs it drops it, with its leg, when the time is over.

pub mod http;
pub mod ldap;
pub mod redis;

use std::fmt;

use crate::leg::{ClientTls, Leg, LegEvent};
use crate::legs::Legs;

/// The leg of an exchange, lent for one call.
pub(crate) struct Line<'a> {
    legs: &'a mut Legs,
    leg: Leg,
}

impl fmt::Debug for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Line").field(&self.leg).finish()
    }
}

impl<'a> Line<'a> {
    pub(crate) const fn new(legs: &'a mut Legs, leg: Leg) -> Self {
        Self { legs, leg }
    }

    /// Queues bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.legs.write(self.leg, bytes);
    }

    /// Starts TLS; answered by [`LegEvent::Secured`] or [`LegEvent::Broken`].
    pub(crate) fn secure(&mut self, tls: ClientTls) {
        self.legs.secure(self.leg, tls);
    }
}

/// An exchange under way.
#[derive(Debug)]
pub(crate) enum Talk {
    /// A request over HTTP.
    Http(Box<http::Fetch>),
    /// A login at a directory.
    Ldap(Box<ldap::Talk>),
}

/// What an exchange has found.
#[derive(Debug)]
pub(crate) enum Said {
    /// The answer to a request over HTTP.
    Http(http::Reply),
    /// What a directory says of a user and a password.
    Ldap(ldap::Verdict),
}

impl Said {
    /// Returns the answer to a request over HTTP; nobody else is asked so.
    pub(crate) fn http(self) -> Result<http::Reply, Fault> {
        match self {
            Self::Http(reply) => Ok(reply),
            Self::Ldap(_) => Err(Fault::Unusable),
        }
    }

    /// Returns what a directory says; nobody else is asked so.
    pub(crate) fn ldap(self) -> Result<ldap::Verdict, Fault> {
        match self {
            Self::Ldap(verdict) => Ok(verdict),
            Self::Http(_) => Err(Fault::Unusable),
        }
    }
}

impl Talk {
    /// Takes in what happened on the leg; some as soon as there is nothing more to find.
    pub(crate) fn hear(&mut self, line: &mut Line<'_>, event: LegEvent<'_>) -> Option<Result<Said, Fault>> {
        match self {
            Self::Http(fetch) => fetch.hear(line, event).map(|ended| ended.map(Said::Http)),
            Self::Ldap(talk) => talk.hear(line, event).map(|ended| ended.map(Said::Ldap)),
        }
    }
}

/// Why an exchange found nothing. None of them is the client's fault: it is answered 503.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The other side cannot be reached, or it ended the conversation too early.
    Unreachable,
    /// What it says is not of the protocol, or is larger than what is read of it.
    Unusable,
    /// It says no, by this HTTP status.
    Status(u16),
    /// It did not answer in time.
    Late,
    /// Too many are asking it already.
    Busy,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable => f.write_str("it cannot be reached"),
            Self::Unusable => f.write_str("its answer is of no use"),
            Self::Status(status) => write!(f, "it answers with status {status}"),
            Self::Late => f.write_str("it did not answer in time"),
            Self::Busy => f.write_str("too many questions wait for it"),
        }
    }
}
