//! Lanes: servers that are measured side by side, taking turns; the least of all rounds counts.

use std::path::PathBuf;

use crate::Outcome;
use crate::crowd::{Around, Crowd};
use crate::load::{Client, Work};
use crate::material::{Credential, Material};
use crate::meter;
use crate::programs::{Program, Start, Watch};
use crate::server::Server;

/// How often each lane has its turn; the least counts.
const ROUNDS: usize = 5;

/// What all measurements share.
pub(crate) struct Bench<'a> {
    pub(crate) material: &'a Material,
    /// The port of the floor behind proxies.
    pub(crate) upstream: u16,
    pub(crate) quick: bool,
    pub(crate) rounds: Option<usize>,
    /// Whether the client is on a processor of its own.
    pub(crate) pinned: bool,
}

/// One server and what it is asked for.
pub(crate) struct Lane {
    pub(crate) name: String,
    pub(crate) program: Program,
    /// What one of ours is configured by; others do not look at it.
    pub(crate) configuration: PathBuf,
    pub(crate) log_level: &'static str,
    /// It has two processors instead of one.
    pub(crate) two: bool,
    pub(crate) around: Around,
    pub(crate) credential: Credential,
    pub(crate) tls: bool,
}

/// What was found of one lane.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// For one piece of work, in microseconds or KiB; without what the crowd costs.
    pub(crate) each: f64,
    /// What the crowd around costs while nothing else happens, as a share of one processor.
    pub(crate) crowd: f64,
}

impl Cost {
    const UNKNOWN: Self = Self {
        each: f64::INFINITY,
        crowd: f64::INFINITY,
    };
}

impl Bench<'_> {
    /// Starts the server of a lane.
    pub(crate) fn start(&self, lane: &Lane, watch: Watch) -> Outcome<Server> {
        let start = Start {
            folder: &self.material.folder,
            configuration: &lane.configuration,
            log_level: lane.log_level,
            watch,
            upstream: self.upstream,
        };
        Server::start(&lane.program, &start).map_err(|error| format!("{}: {error}", lane.name).into())
    }

    /// Returns how a lane's server runs.
    pub(crate) const fn watch(&self, lane: &Lane) -> Watch {
        match (self.pinned, lane.two) {
            (false, _) => Watch::Shared,
            (true, false) => Watch::Pinned,
            (true, true) => Watch::Two,
        }
    }

    fn client<'a>(&'a self, lane: &Lane, server: &'a Server) -> Client<'a> {
        Client {
            server,
            material: self.material,
            credential: lane.credential,
            tls: lane.tls,
        }
    }

    /// Returns what each lane used for one piece of `work`, in microseconds or KiB.
    pub(crate) fn measure(&self, work: Work, lanes: &[Lane]) -> Outcome<Vec<f64>> {
        let found = self.measure_beside(work, lanes)?;
        Ok(found.into_iter().map(|cost| cost.each).collect())
    }

    /// The same, and what each lane's crowd cost by itself.
    pub(crate) fn measure_beside(&self, work: Work, lanes: &[Lane]) -> Outcome<Vec<Cost>> {
        let times = work.times(self.quick);
        let (rounds, unit) = match (work, self.rounds) {
            // Memory that was given back is not given out anew: each process is asked once.
            (Work::Idle, _) => (1, 1024.0),
            (_, Some(rounds)) => (rounds, 1000.0),
            (_, None) => (if self.quick { 2 } else { ROUNDS }, 1000.0),
        };
        let mut least = vec![Cost::UNKNOWN; lanes.len()];
        if work == Work::Idle {
            // One after the other: together they would need more memory than many machines have.
            for (lane, least) in lanes.iter().zip(&mut least) {
                let server = self.start(lane, self.watch(lane))?;
                // Fewer threads than connections would end the program's; it says so itself.
                let times = times.min(most_connections(lane));
                least.each = self.client(lane, &server).measure(work, times, 0, 0.0)? / unit;
            }
            return Ok(least);
        }
        // Those who are alone, too: what is taken off one is taken off all.
        let crowded = lanes.iter().any(|lane| lane.around != Around::Nobody);
        let mut servers = Vec::new();
        for lane in lanes {
            let server = self.start(lane, self.watch(lane))?;
            let crowd = Crowd::gather(lane.around, &server, self.material, lane.credential)?;
            servers.push((lane, server, crowd));
        }
        for round in 0..rounds {
            for ((lane, server, crowd), least) in servers.iter_mut().zip(&mut least) {
                crowd.ready(server)?;
                // Measured anew in each round, and taken off in it: the crowd is the same in both spans.
                let standing = if crowded { meter::standing(server)? } else { 0.0 };
                let client = self.client(lane, server);
                let used = client.measure(work, times, round * (times + 1), standing)?;
                *least = Cost {
                    each: least.each.min(used / unit),
                    crowd: least.crowd.min(standing),
                };
                crowd.settle()?;
            }
        }
        Ok(least)
    }

    /// Returns how many instructions each lane needs for one piece of `work`, in thousands: the
    /// difference between two runs of different lengths.
    pub(crate) fn count(&self, work: Work, lanes: &[Lane]) -> Outcome<Vec<f64>> {
        let times = work.times(true);
        let mut all = Vec::new();
        for lane in lanes {
            let run = |times| -> Outcome<u64> {
                let server = self.start(lane, Watch::Counted)?;
                self.client(lane, &server).measure(work, times, 0, 0.0)?;
                server.instructions(&self.material.folder)
            };
            let more = run(2 * times)?.saturating_sub(run(times)?);
            all.push(more as f64 / times as f64 / 1000.0);
        }
        Ok(all)
    }
}

/// Returns how many connections a program takes under its default limits.
fn most_connections(lane: &Lane) -> usize {
    /// What `countersign-std` takes, a few less.
    const STD: usize = 3900;
    if lane.name.starts_with("std") {
        STD
    } else {
        usize::MAX
    }
}
