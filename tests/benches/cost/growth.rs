//! What does not have to grow: the cost of one piece of work beside many open connections, half-sent heads,
//! users, keys, services or rules, with a second thread, and the time from start to listening.

use std::path::{Path, PathBuf};

use crate::Outcome;
use crate::configuration::Setup;
use crate::crowd::Around;
use crate::figures::Figures;
use crate::lane::{Bench, Lane};
use crate::load::Work;
use crate::material::{Credential, EPHEMERAL};
use crate::programs::Program;

/// Lines of the largest file of users.
const USERS: usize = 1_000_000;
/// The table's name.
const TABLE: &str = "growth";
/// Connections at once where two threads have something to do.
const AT_ONCE: usize = 16;
/// Messages of this many bytes.
const MESSAGE: usize = 125;

/// One way to become larger: a name, and what is around and configured then.
type Size = (&'static str, Around, Setup);

/// Work that is done at several sizes.
struct Growth {
    name: &'static str,
    work: Work,
    credential: Credential,
    sizes: &'static [Size],
    /// Whether a program with a thread for each connection can be asked, too.
    std: bool,
}

const OPEN: &[Size] = &[
    ("alone", Around::Nobody, Setup::Quiet),
    ("1,000 open", Around::Open(1000), Setup::Quiet),
    ("5,000 open", Around::Open(5000), Setup::Quiet),
    ("15,000 open", Around::Open(15_000), Setup::Quiet),
];

const fn growth(name: &'static str, work: Work, credential: Credential, sizes: &'static [Size]) -> Growth {
    Growth {
        name,
        work,
        credential,
        sizes,
        std: true,
    }
}

impl Growth {
    const fn smol_alone(mut self) -> Self {
        self.std = false;
        self
    }
}

static GROWTHS: &[Growth] = &[
    growth("upgrade, open connections", Work::Upgrade, EPHEMERAL, OPEN).smol_alone(),
    growth(
        "echo 125 B, open connections",
        Work::Echo {
            bytes: MESSAGE,
            depth: 1,
        },
        EPHEMERAL,
        OPEN,
    )
    .smol_alone(),
    growth(
        "upgrade, open connections (std)",
        Work::Upgrade,
        EPHEMERAL,
        &[
            ("alone", Around::Nobody, Setup::Quiet),
            ("1,000 open", Around::Open(1000), Setup::Quiet),
            ("3,500 open", Around::Open(3500), Setup::Quiet),
        ],
    ),
    growth(
        "upgrade, half-sent heads",
        Work::Upgrade,
        EPHEMERAL,
        &[
            ("alone", Around::Nobody, Setup::Default),
            ("1,000 half-sent", Around::Half(1000), Setup::Default),
        ],
    ),
    growth(
        "upgrade, users",
        Work::Upgrade,
        Credential::User,
        &[
            ("1 user", Around::Nobody, Setup::Users(1)),
            ("1,000,000 users", Around::Nobody, Setup::Users(USERS)),
        ],
    ),
    growth(
        "upgrade, keys of a set",
        Work::Upgrade,
        Credential::Keyed,
        &[
            ("1 key", Around::Nobody, Setup::Keys(1)),
            ("1,000 keys", Around::Nobody, Setup::Keys(1000)),
        ],
    ),
    growth(
        "upgrade, services and realms",
        Work::Upgrade,
        EPHEMERAL,
        &[
            ("1", Around::Nobody, Setup::Services(1)),
            ("1,000", Around::Nobody, Setup::Services(1000)),
        ],
    ),
    growth(
        "upgrade, entries of an access control list",
        Work::Upgrade,
        EPHEMERAL,
        &[
            ("1", Around::Nobody, Setup::Rules(1)),
            ("1,000", Around::Nobody, Setup::Rules(1000)),
        ],
    ),
];

fn lane(name: String, program: PathBuf, configuration: PathBuf, credential: Credential) -> Lane {
    Lane {
        name,
        program: Program::Gateway(program),
        configuration,
        log_level: "info",
        two: false,
        around: Around::Nobody,
        credential,
        tls: false,
    }
}

/// Measures everything that `wanted` names.
pub(crate) fn run(
    bench: &Bench<'_>,
    programs: &Path,
    wanted: impl Fn(&str) -> bool,
    figures: &mut Figures,
) -> Outcome<()> {
    for growth in GROWTHS.iter().filter(|growth| wanted(growth.name)) {
        let columns: Vec<_> = growth.sizes.iter().map(|(name, ..)| (*name).to_owned()).collect();
        figures.head(growth.name, &columns);
        for program in ["smol", "std"] {
            if (program == "std" && !growth.std) || (program == "smol" && growth.name.ends_with("(std)")) {
                continue;
            }
            let mut lanes = Vec::new();
            for (name, around, setup) in growth.sizes {
                let path = programs.join(format!("countersign-{program}"));
                let configuration = setup.write(bench.material, bench.upstream)?;
                let mut lane = lane((*name).to_owned(), path, configuration, growth.credential);
                lane.around = if bench.quick { fewer(*around) } else { *around };
                lanes.push(lane);
            }
            report(
                bench,
                &format!("{}, {program}", growth.name),
                growth.work,
                &lanes,
                figures,
            )?;
        }
    }
    threads(bench, programs, &wanted, figures)?;
    start_up(bench, programs, &wanted, figures)
}

/// Returns an eighth of a crowd.
const fn fewer(around: Around) -> Around {
    match around {
        Around::Nobody => Around::Nobody,
        Around::Open(count) => Around::Open(count / 8),
        Around::Half(count) => Around::Half(count / 8),
    }
}

fn report(bench: &Bench<'_>, name: &str, work: Work, lanes: &[Lane], figures: &mut Figures) -> Outcome<()> {
    let found = bench.measure_beside(work, lanes)?;
    let values: Vec<_> = lanes
        .iter()
        .zip(&found)
        .map(|(lane, cost)| (lane.name.clone(), Some(cost.each)))
        .collect();
    figures.row(TABLE, name, "µs", &values);
    let crowds: Vec<_> = lanes
        .iter()
        .zip(&found)
        .filter(|(lane, _)| lane.around != Around::Nobody)
        .map(|(lane, cost)| (lane.name.clone(), cost.crowd * 100.0))
        .collect();
    figures.crowds(&crowds);
    Ok(())
}

/// A program has as many threads for IO as it has processors.
fn threads(
    bench: &Bench<'_>,
    programs: &Path,
    wanted: &impl Fn(&str) -> bool,
    figures: &mut Figures,
) -> Outcome<()> {
    let works = [
        ("threads, upgrade", Work::Upgrades { at_once: AT_ONCE }),
        (
            "threads, echo 125 B",
            Work::Echoes {
                bytes: MESSAGE,
                connections: AT_ONCE,
            },
        ),
    ];
    if !bench.pinned {
        return Ok(());
    }
    let mut first = true;
    for (name, work) in works.into_iter().filter(|(name, _)| wanted(name)) {
        let configuration = Setup::Default.write(bench.material, bench.upstream)?;
        // What a second thread costs where none has anything to do with the other is the machine's.
        for who in ["smol", "bare epoll"] {
            let mut lanes = Vec::new();
            for (two, label) in [(false, "one processor"), (true, "two processors")] {
                let path = programs.join("countersign-smol");
                let mut lane = lane(label.to_owned(), path, configuration.clone(), EPHEMERAL);
                if who != "smol" {
                    lane.program = Program::Floor("epoll");
                }
                lane.two = two;
                lanes.push(lane);
            }
            if std::mem::take(&mut first) {
                figures.head(
                    "threads",
                    &["one processor".to_owned(), "two processors".to_owned()],
                );
            }
            report(bench, &format!("{name}, {who}"), work, &lanes, figures)?;
        }
    }
    Ok(())
}

/// From the start of the process until it listens.
fn start_up(
    bench: &Bench<'_>,
    programs: &Path,
    wanted: &impl Fn(&str) -> bool,
    figures: &mut Figures,
) -> Outcome<()> {
    const NAME: &str = "start-up, 1,000,000 users";
    if !wanted(NAME) {
        return Ok(());
    }
    let columns = ["seconds", "processor seconds", "resident MiB"].map(str::to_owned);
    figures.head(NAME, &columns);
    for program in ["smol", "std"] {
        let path = programs.join(format!("countersign-{program}"));
        let configuration = Setup::Users(USERS).write(bench.material, bench.upstream)?;
        let lane = lane(program.to_owned(), path, configuration, EPHEMERAL);
        let mut least = [f64::INFINITY; 3];
        for _ in 0..bench.rounds.unwrap_or(2) {
            let server = bench.start(&lane, bench.watch(&lane))?;
            let found = [
                server.startup().as_secs_f64(),
                server.busy()? as f64 / 1e9,
                server.resident()? as f64 / f64::from(1 << 20),
            ];
            for (least, found) in least.iter_mut().zip(found) {
                *least = least.min(found);
            }
        }
        let values: Vec<_> = columns.iter().cloned().zip(least.map(Some)).collect();
        figures.row(TABLE, &format!("{NAME}, {program}"), "s", &values);
    }
    Ok(())
}
