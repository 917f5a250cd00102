//! A meter: what a server uses over a span of time, and what of it somebody else has caused.

use std::thread;
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::server::Server;

/// The span without load over which it is measured what those cost who are there anyway.
const SPAN: Duration = Duration::from_secs(1);

/// Begins a span.
pub(crate) struct Meter<'a> {
    server: &'a Server,
    since: Instant,
    busy: u64,
}

/// What a span took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spent {
    /// Processor time of the server, in nanoseconds.
    busy: u64,
    elapsed: Duration,
}

impl<'a> Meter<'a> {
    pub(crate) fn start(server: &'a Server) -> Outcome<Self> {
        Ok(Self {
            server,
            since: Instant::now(),
            busy: server.busy()?,
        })
    }

    pub(crate) fn spent(&self) -> Outcome<Spent> {
        Ok(Spent {
            busy: self.server.busy()?.saturating_sub(self.busy),
            elapsed: self.since.elapsed(),
        })
    }
}

impl Spent {
    /// Returns the share of one processor.
    pub(crate) fn share(self) -> f64 {
        self.busy as f64 / self.elapsed.as_nanos() as f64
    }

    /// Returns the nanoseconds that are left when a load of `standing`, a share of one processor, is taken
    /// off for as long as the span was.
    pub(crate) fn without(self, standing: f64) -> f64 {
        (self.busy as f64 - standing * self.elapsed.as_nanos() as f64).max(0.0)
    }
}

/// Returns what a server uses that nobody asks for anything, as a share of one processor.
pub(crate) fn standing(server: &Server) -> Outcome<f64> {
    let meter = Meter::start(server)?;
    thread::sleep(SPAN);
    Ok(meter.spent()?.share())
}
