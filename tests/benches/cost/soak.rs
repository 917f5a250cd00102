//! A soak: mixed load with faults at four fifths of what one processor can do, for a long time. Memory and
//! descriptors have to stay, and every answer has to be the one that the deed deserves.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use countersign_std::SPARE_ALARMS;

use crate::configuration::Setup;
use crate::crowd::Around;
use crate::deeds::{DEEDS, Deed, LINGERING};
use crate::figures::Figures;
use crate::lane::{Bench, Lane};
use crate::load::{Client, answered};
use crate::material::{Credential, EPHEMERAL};
use crate::programs::Program;
use crate::samples::Samples;
use crate::server::{Descriptors, Server};
use crate::{Outcome, failed};

/// How much of one processor the server is to use.
const CAPACITY: f64 = 0.8;
/// Threads that do one deed after the other.
const WORKERS: usize = 8;
/// Most time between two deeds of a worker, in microseconds.
const LONGEST_PAUSE: u64 = 200_000;
/// How often the pace is corrected.
const CORRECTION: Duration = Duration::from_millis(500);
/// Corrections between two samples.
const CORRECTIONS: usize = 10;
/// Corrections between two reloads.
const RELOAD: usize = 14;
/// How long the server may take to let go of everything in the end.
const LAST: Duration = Duration::from_secs(30);
/// Tokens that are shown before the clock starts: as many signatures as the programs remember, so that memory has
/// its plateau from the start and a short soak is one, too.
const REMEMBERED: usize = 65_536;
/// Where the numbers of those tokens begin, so that none is shown once more.
const BEFORE: usize = 1 << 40;
/// Descriptors other than eventfds that may be left more than at the start: files that are read again.
const LEFT: usize = 4;
/// The programs, and how many eventfds each may keep for connections to come.
const PROGRAMS: [(&str, usize); 2] = [("smol", 0), ("std", SPARE_ALARMS)];
/// Most faults that are kept to be shown.
const SHOWN: usize = 20;

/// What the threads of a soak share.
struct Shared {
    ending: AtomicBool,
    /// Microseconds between two deeds.
    pause: AtomicU64,
    done: AtomicUsize,
    wrong: AtomicUsize,
    shown: Mutex<Vec<String>>,
}

impl Shared {
    /// Does a deed and counts how it went.
    fn perform(&self, deed: &Deed, bench: &Bench<'_>, server: &Server, number: usize) {
        match (deed.run)(bench.material, server, number) {
            Ok(()) => {
                self.done.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                self.wrong.fetch_add(1, Ordering::Relaxed);
                let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
                if shown.len() < SHOWN {
                    shown.push(format!("{}: {error}", deed.name));
                }
            }
        }
    }

    fn ended(&self) -> bool {
        self.ending.load(Ordering::Relaxed)
    }
}

/// Soaks the programs that `wanted` names, one after the other, each for `minutes`.
pub(crate) fn run(
    bench: &Bench<'_>,
    programs: &Path,
    minutes: f64,
    wanted: impl Fn(&str) -> bool,
    figures: &mut Figures,
) -> Outcome<()> {
    let mut good = true;
    for (program, spare) in PROGRAMS.into_iter().filter(|(program, _)| wanted(program)) {
        let path = programs.join(format!("countersign-{program}"));
        good &= soak(bench, path, (program, spare), minutes, figures)?;
    }
    if good {
        Ok(())
    } else {
        failed("the soak has found something")
    }
}

/// What a server has open more than at the start.
struct Left {
    eventfds: usize,
    others: usize,
}

impl Left {
    fn of(server: &Server, at_first: Descriptors) -> Outcome<Self> {
        let now = server.descriptors()?;
        let others = |open: Descriptors| open.all.saturating_sub(open.eventfds);
        Ok(Self {
            eventfds: now.eventfds.saturating_sub(at_first.eventfds),
            others: others(now).saturating_sub(others(at_first)),
        })
    }

    const fn good(&self, spare: usize) -> bool {
        self.eventfds <= spare && self.others <= LEFT
    }
}

fn soak(
    bench: &Bench<'_>,
    path: PathBuf,
    (program, spare): (&str, usize),
    minutes: f64,
    figures: &mut Figures,
) -> Outcome<bool> {
    let lane = Lane {
        name: program.to_owned(),
        program: Program::Gateway(path),
        configuration: Setup::Soak.write(bench.material, bench.upstream)?,
        log_level: "info",
        two: false,
        around: Around::Nobody,
        credential: EPHEMERAL,
        tls: false,
    };
    let server = bench.start(&lane, bench.watch(&lane))?;
    let at_first = server.descriptors()?;
    let shared = Shared {
        ending: AtomicBool::new(false),
        pause: AtomicU64::new(1000),
        done: AtomicUsize::new(0),
        wrong: AtomicUsize::new(0),
        shown: Mutex::default(),
    };
    println!("\nsoak of {program}, {minutes} minutes");
    fill(bench, &server)?;
    let mut samples = Samples::new();
    let load = thread::scope(|scope| -> Outcome<f64> {
        for worker in 0..WORKERS {
            let (shared, server) = (&shared, &server);
            scope.spawn(move || {
                let mut number = worker;
                while !shared.ended() {
                    if let Some(deed) = DEEDS.get(number % DEEDS.len()) {
                        shared.perform(deed, bench, server, number);
                    }
                    number += WORKERS + 1;
                    thread::sleep(Duration::from_micros(shared.pause.load(Ordering::Relaxed)));
                }
            });
        }
        for deed in LINGERING {
            let (shared, server) = (&shared, &server);
            scope.spawn(move || {
                let mut number = 0;
                while !shared.ended() {
                    shared.perform(deed, bench, server, number);
                    number += 1;
                }
            });
        }
        let load = watch(&server, &shared, minutes, &mut samples);
        shared.ending.store(true, Ordering::Relaxed);
        load
    })?;
    let began = Instant::now();
    let mut left = Left::of(&server, at_first)?;
    while !left.good(spare) && began.elapsed() < LAST {
        thread::sleep(CORRECTION);
        left = Left::of(&server, at_first)?;
    }
    let [before, after] = samples.resident();
    let (done, wrong) = (shared.done.into_inner(), shared.wrong.into_inner());
    let faults = server.faults();
    let good = samples.flat() && left.good(spare) && wrong == 0 && faults == 0;
    figures.note(format!(
        "soak of {program}, {minutes} minutes at {:.0} % of one processor: {done} deeds, {wrong} with an answer \
         that they did not deserve, {faults} faults in the log; {before:.1} MiB at most in the second third, \
         {after:.1} in the last; left open more than at the start: {} eventfds of {spare} that may be kept, {} other \
         descriptors; {}",
        load * 100.0,
        left.eventfds,
        left.others,
        if good { "GOOD" } else { "NOT GOOD" },
    ));
    for line in shared.shown.into_inner().unwrap_or_else(PoisonError::into_inner) {
        println!("  {line}");
    }
    let values = [
        ("deeds".to_owned(), Some(done as f64)),
        ("wrong".to_owned(), Some(wrong as f64)),
        ("MiB, second third".to_owned(), Some(before)),
        ("MiB, last third".to_owned(), Some(after)),
    ];
    figures.row("soak", &format!("{program}, {minutes} minutes"), "", &values);
    Ok(good)
}

/// Fills the cache of signatures.
fn fill(bench: &Bench<'_>, server: &Server) -> Outcome<()> {
    let each = if bench.quick { REMEMBERED / 8 } else { REMEMBERED } / WORKERS;
    let show = |worker: usize| -> Result<(), String> {
        let client = Client {
            server,
            material: bench.material,
            credential: EPHEMERAL,
            tls: false,
        };
        for number in 0..each {
            let number = BEFORE + worker * each + number;
            let request = bench.material.request(Credential::Fresh("ES256"), number);
            let shown =
                request.and_then(|request| answered(&mut *client.open()?, &request, b"HTTP/1.1 101 "));
            shown.map_err(|error| error.to_string())?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|worker| scope.spawn(move || show(worker)))
            .collect();
        for worker in workers {
            worker.join().map_err(|_| "a worker has panicked")??;
        }
        Ok(())
    })
}

/// Keeps the pace, samples and reloads. Returns how much of a processor the server has used.
fn watch(server: &Server, shared: &Shared, minutes: f64, samples: &mut Samples) -> Outcome<f64> {
    let (began, first) = (Instant::now(), server.busy()?);
    let (mut since, mut used) = (began, first);
    for number in 1.. {
        thread::sleep(CORRECTION);
        let (now, busy) = (Instant::now(), server.busy()?);
        let load = (busy - used) as f64 / (now - since).as_nanos() as f64;
        (since, used) = (now, busy);
        let pause = shared.pause.load(Ordering::Relaxed);
        // Half of what is missing, so that it does not swing.
        let pause = pause as f64 * (1.0 + (load / CAPACITY - 1.0).clamp(-0.5, 1.0) / 2.0);
        let pause = (pause as u64).clamp(10, LONGEST_PAUSE);
        shared.pause.store(pause, Ordering::Relaxed);
        if number % RELOAD == 0 {
            server.reload()?;
        }
        if number % CORRECTIONS == 0 {
            let (done, wrong) = (
                shared.done.load(Ordering::Relaxed),
                shared.wrong.load(Ordering::Relaxed),
            );
            let besides = format!("{:3.0} % busy, {done} deeds, {wrong} wrong", load * 100.0);
            samples.take(server, &besides)?;
        }
        if began.elapsed().as_secs_f64() >= minutes * 60.0 {
            break;
        }
    }
    Ok((server.busy()? - first) as f64 / began.elapsed().as_nanos() as f64)
}
