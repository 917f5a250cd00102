//! What the gateway costs beside a floor and beside servers of others: the server's own processor time for
//! one piece of work, and its memory for one idle connection. The server has one processor and the client
//! the others; the columns take turns within each row, and the least of all rounds counts.
//!
//! `cargo build --release && cargo bench -p countersign-tests --bench cost -- --quick`

#![allow(clippy::print_stdout, reason = "the figures are the output")]

mod configuration;
mod crowd;
mod deeds;
mod epoll;
mod figures;
mod floor;
mod growth;
mod hold;
mod lane;
mod load;
mod material;
mod meter;
mod options;
mod peers;
mod programs;
mod rows;
mod samples;
mod server;
mod soak;

use std::error::Error;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use std::{env, fs, process, thread};

use self::configuration::Setup;
use self::crowd::Around;
use self::figures::Figures;
use self::lane::{Bench, Lane};
use self::load::Work;
use self::material::Material;
use self::options::{Mode, Options, PINNED};
use self::programs::{Program, Start, Watch};
use self::rows::{Part, ROWS, Row};
use self::server::Server;

pub(crate) type Outcome<T> = Result<T, Box<dyn Error>>;

pub(crate) fn failed<T>(why: &str) -> Outcome<T> {
    Err(why.into())
}

fn main() -> Outcome<()> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let words: Vec<_> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["floor", kind, folder] => return floor::run(kind, Path::new(folder)),
        ["crowd", folder, address, count, tls, look] => {
            let look = Duration::from_secs(look.parse()?);
            return crowd::run(Path::new(folder), address, count.parse()?, tls.parse()?, look);
        }
        _ => {}
    }
    let options = Options::read()?;
    if !options.pinned && thread::available_parallelism()?.get() > 1 {
        let client = format!("1-{}", thread::available_parallelism()?.get() - 1);
        let mut pinned = Command::new("taskset");
        pinned
            .args(["-c", &client])
            .arg(env::current_exe()?)
            .args(arguments)
            .arg(PINNED);
        match pinned.status() {
            Ok(status) if status.success() => return Ok(()),
            Ok(status) => return failed(&status.to_string()),
            Err(error) => println!("Client and server share all processors: taskset: {error}"),
        }
    }
    let folder = env::temp_dir().join(format!("countersign-cost-{}", process::id()));
    fs::create_dir_all(&folder)?;
    let done = Material::write(&folder).and_then(|material| run(&options, &material));
    fs::remove_dir_all(&folder)?;
    done
}

fn run(options: &Options, material: &Material) -> Outcome<()> {
    let start = Start {
        folder: &material.folder,
        configuration: Path::new(""),
        log_level: "info",
        watch: Watch::Shared,
        upstream: 0,
    };
    let upstream = Server::start(&Program::Floor("smol"), &start)?;
    let bench = Bench {
        material,
        upstream: upstream.port(false)?,
        quick: options.quick,
        rounds: options.rounds,
        pinned: options.pinned,
    };
    let mut figures = Figures::default();
    let done = match options.mode {
        Mode::Table => table(&bench, options, &mut figures),
        Mode::Growth => growth::run(
            &bench,
            &options.programs,
            |name| options.wants(name),
            &mut figures,
        ),
        Mode::Hold(minutes) => hold::run(&bench, &options.programs, minutes, &mut figures),
        Mode::Soak(minutes) => soak::run(
            &bench,
            &options.programs,
            minutes,
            |name| options.wants(name),
            &mut figures,
        ),
    };
    // What was found before a fault is worth having, and a fault that was found most of all.
    if let Some(path) = &options.json {
        figures.write(path, options.quick, options.partial())?;
    }
    done
}

/// Returns the columns: ours, the floor of each, and others.
fn columns(options: &Options, figures: &mut Figures) -> Vec<Program> {
    let ours = |name: &str| Program::Gateway(options.programs.join(name));
    let mut columns = vec![
        ours("countersign-smol"),
        Program::Floor("smol"),
        ours("countersign-std"),
        Program::Floor("std"),
    ];
    if options.peers {
        let (found, missing) = peers::installed(&options.root);
        columns.extend(found);
        for peer in missing {
            figures.note(format!("Not installed, and left out: {peer}"));
        }
    }
    columns
}

fn lane(row: &Row, program: &Program, bench: &Bench<'_>) -> Outcome<Option<Lane>> {
    let Some(credential) = row.asked_of(program) else {
        return Ok(None);
    };
    // Members get what others send by a lock that is not part of a floor with threads.
    if matches!(
        (row.work, program),
        (Work::Broadcast { .. }, Program::Floor("std"))
    ) {
        return Ok(None);
    }
    let setup = match row.part {
        Part::Own | Part::Service => Setup::Default,
        Part::Proxy => Setup::Proxy,
    };
    Ok(Some(Lane {
        name: program.name(),
        program: program.clone(),
        configuration: setup.write(bench.material, bench.upstream)?,
        log_level: row.log_level,
        two: false,
        around: Around::Nobody,
        credential,
        tls: row.tls,
    }))
}

fn table(bench: &Bench<'_>, options: &Options, figures: &mut Figures) -> Outcome<()> {
    let programs = columns(options, figures);
    let what = if options.instructions {
        "user-mode instructions of one, in thousands"
    } else {
        "processor time of one, in µs; resident memory of one, in KiB"
    };
    let mut names: Vec<_> = programs.iter().map(Program::name).collect();
    names.extend(RATIOS.map(|(name, ..)| name.to_owned()));
    figures.head(what, &names);
    for row in ROWS.iter().filter(|row| options.wants(row.name)) {
        let mut lanes = Vec::new();
        for program in &programs {
            lanes.extend(lane(row, program, bench)?);
        }
        let (unit, found) = match (options.instructions, row.work) {
            (true, Work::Idle) => continue,
            (true, work) => ("thousand instructions", bench.count(work, &lanes)?),
            (false, Work::Idle) => ("KiB", bench.measure(row.work, &lanes)?),
            (false, work) => ("µs", bench.measure(work, &lanes)?),
        };
        let value = |name: &str| {
            let at = lanes.iter().position(|lane| lane.name == name)?;
            found.get(at).copied()
        };
        let mut values: Vec<_> = programs
            .iter()
            .map(|program| (program.name(), value(&program.name())))
            .collect();
        values.extend(RATIOS.map(|(ratio, ours, floor)| {
            let ratio_of = value(ours).zip(value(floor)).map(|(ours, floor)| ours / floor);
            (ratio.to_owned(), ratio_of)
        }));
        figures.row("table", row.name, unit, &values);
    }
    Ok(())
}

/// Columns that compare two others.
const RATIOS: [(&str, &str, &str); 2] = [
    ("smol / floor", "smol", "smol floor"),
    ("std / floor", "std", "std floor"),
];
