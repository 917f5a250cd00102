//! What a long run takes down of a server, and whether it stayed flat.

use std::time::Instant;

use crate::Outcome;
use crate::server::Server;

/// By how much the last third may be above the second: what an allocator may do. The first third is for
/// what fills up to its bound: caches, pools, the allocator's arenas.
const GROWTH: f64 = 1.05;
/// What is no growth in any case, in bytes.
const SLACK: u64 = 1024 * 1024;
const MEBIBYTE: f64 = 1024.0 * 1024.0;

/// One look at a server.
struct Sample {
    resident: u64,
    descriptors: usize,
}

/// All looks at a server.
pub(crate) struct Samples {
    began: Instant,
    all: Vec<Sample>,
}

impl Samples {
    pub(crate) fn new() -> Self {
        Self {
            began: Instant::now(),
            all: Vec::new(),
        }
    }

    /// Takes one and prints it, with `besides`.
    pub(crate) fn take(&mut self, server: &Server, besides: &str) -> Outcome<()> {
        let sample = Sample {
            resident: server.resident()?,
            descriptors: server.descriptors()?.all,
        };
        println!(
            "{:6.0} s: {:8.1} MiB, {:6} descriptors, {besides}",
            self.began.elapsed().as_secs_f64(),
            sample.resident as f64 / MEBIBYTE,
            sample.descriptors,
        );
        self.all.push(sample);
        Ok(())
    }

    fn third(&self, number: usize) -> &[Sample] {
        let third = self.all.len() / 3;
        let end = if number == 2 {
            self.all.len()
        } else {
            (number + 1) * third
        };
        self.all.get(number * third..end).unwrap_or_default()
    }

    /// Returns the most resident memory in the second and in the last third, in MiB.
    pub(crate) fn resident(&self) -> [f64; 2] {
        [1, 2].map(|number| {
            let most = self.third(number).iter().map(|sample| sample.resident).max();
            most.unwrap_or_default() as f64 / MEBIBYTE
        })
    }

    /// Says whether neither memory nor descriptors grew from the second third to the last. The first is
    /// for warming up.
    pub(crate) fn flat(&self) -> bool {
        let [before, after] = self.resident();
        let most = |number: usize| self.third(number).iter().map(|sample| sample.descriptors).max();
        let descriptors = most(1).zip(most(2));
        after <= before * GROWTH + SLACK as f64 / MEBIBYTE
            && descriptors.is_some_and(|(before, after)| after as f64 <= before as f64 * GROWTH + 16.0)
    }
}
