//! A bad day: many clients that say anything at any time, and an operator who interferes.

use std::time::Duration;

use countersign_core::leg::Leg;

use super::{Sim, Speaks};
use crate::client::{CLOSE, Frame, Response};
use crate::random::Random;
use crate::talk;

/// What a client says as its how many-th deed.
pub type Talk = fn(&mut Random, usize) -> Vec<u8>;

/// What one client does next, and after how long.
#[derive(Debug)]
enum Deed {
    Say(Vec<u8>),
    ShutDown,
    Reset,
    StopReading(usize),
    Read,
}

/// One client: when it does what.
#[derive(Debug)]
struct Script {
    speaks: Speaks,
    deeds: Vec<(Duration, Deed)>,
}

fn script(random: &mut Random, say: Talk) -> Script {
    let mut after = Duration::ZERO;
    let deeds = (0..random.between(0, 6)).map(|index| {
        after += Duration::from_millis(random.next() % 4000);
        let deed = match random.below(16) {
            0 => Deed::ShutDown,
            1 => Deed::Reset,
            2 => Deed::StopReading(random.below(3000)),
            3 => Deed::Read,
            4..=6 if index > 0 => Deed::Say(random.pick(&talk::sockets()).clone()),
            _ => Deed::Say(say(random, index)),
        };
        (after, deed)
    });
    let deeds = deeds.collect();
    let speaks = *random.pick(&[Speaks::Plain, Speaks::Tls, Speaks::Nothing]);
    Script { speaks, deeds }
}

impl Sim {
    /// Lets `clients` clients do anything, most of it what `say` says, while the operator drains, reloads and sets clocks, and
    /// then runs until nobody is left.
    ///
    /// # Panics
    /// If a connection outlives the day, or what a client got is no sequence of answers and frames.
    pub fn bad_day(&mut self, clients: usize, say: Talk) {
        let mut random = Random::new(self.random.next());
        let mut deeds = Vec::new();
        for _ in 0..clients {
            let start = Duration::from_millis(random.next() % 10_000);
            let script = script(&mut random, say);
            deeds.push((start, None, script));
        }
        let mut interference: Vec<_> = (0..random.below(4))
            .map(|_| (Duration::from_millis(random.next() % 15_000), random.below(4)))
            .collect();
        interference.sort_unstable();
        for _ in 0..200 {
            let at = self.now.at.since_start();
            for (start, line, script) in &mut deeds {
                if *start > at {
                    continue;
                }
                if line.is_none() {
                    *line = Some(self.accept(0, None, script.speaks));
                }
                while script
                    .deeds
                    .first()
                    .is_some_and(|(after, _)| *start + *after <= at)
                {
                    let (_, deed) = script.deeds.remove(0);
                    if let Some(Some(line)) = line {
                        self.perform(*line, deed);
                    }
                }
            }
            while interference.first().is_some_and(|(when, _)| *when <= at) {
                let (_, what) = interference.remove(0);
                self.interfere(what, &mut random);
            }
            self.run_for(Duration::from_millis(100));
        }
        self.run_for(Duration::from_secs(24 * 3600));
        assert_eq!(
            self.open(),
            0,
            "somebody is still here after a day: {}",
            self.shown()
        );
        let stats = self.gateway.stats();
        assert_eq!(
            (
                stats.connections,
                stats.sockets,
                stats.jobs_running,
                stats.jobs_waiting
            ),
            (0, 0, 0, 0)
        );
        self.judge_what_was_received();
    }

    fn perform(&mut self, line: u64, deed: Deed) {
        match deed {
            Deed::Say(bytes) => {
                self.write(line, Leg::CLIENT, &bytes);
            }
            Deed::ShutDown => self.finish(line, Leg::CLIENT),
            Deed::Reset => self.reset(line, Leg::CLIENT),
            Deed::StopReading(room) => self.set_room(line, room),
            Deed::Read => self.set_room(line, usize::MAX),
        }
    }

    fn set_room(&mut self, line: u64, room: usize) {
        if let Some(stream) = self.stream(line, Leg::CLIENT) {
            stream.room = room;
        }
        self.tend(line);
    }

    fn interfere(&mut self, what: usize, random: &mut Random) {
        match what {
            0 => self.reload(),
            1 => self.drain(),
            _ => {
                let by = Duration::from_secs(random.next() % 7200);
                self.step_wall_clock(by, random.one_in(2));
            }
        }
    }

    /// Every client got whole answers, then, behind a 101, whole frames, and nothing behind a
    /// Close; the last of it may be cut where the stream was.
    fn judge_what_was_received(&mut self) {
        for line in self.lines.values() {
            let Some(stream) = line.streams.get(&Leg::CLIENT) else {
                continue;
            };
            let mut rest = stream.received.as_slice();
            while let Some(answer) = Response::read(rest, false) {
                rest = &rest[answer.raw.len()..];
                if answer.status == 101 {
                    judge_frames(rest);
                    rest = &[];
                }
            }
            let cut = rest.is_empty() || b"HTTP/1.1 ".starts_with(&rest[..rest.len().min(9)]);
            assert!(cut, "no answer: {}", rest.escape_ascii());
        }
    }
}

fn judge_frames(mut rest: &[u8]) {
    while let Some((frame, length)) = Frame::read(rest) {
        rest = &rest[length..];
        assert!(
            frame.opcode != CLOSE || rest.is_empty(),
            "bytes behind a Close: {}",
            rest.escape_ascii()
        );
    }
}
