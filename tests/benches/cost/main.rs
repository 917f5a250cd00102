//! What the gateway costs beside a floor: the server's own processor time for one piece of work, and its
//! memory for one idle connection. The server has one processor and the client the others; the columns
//! take turns within each row, and the least of all rounds counts.
//!
//! `cargo build --release && cargo bench -p countersign-tests --bench cost -- --quick`

#![allow(clippy::print_stdout, reason = "the figures are the output")]

mod floor;
mod load;
mod material;
mod server;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, process, thread};

use self::load::{Client, Work};
use self::material::{Credential, Material};
use self::server::{Program, Server, Watch};

/// How often each column has its turn in a row; the least counts.
const ROUNDS: usize = 5;
/// Where the programs are, if they are not named.
const PROGRAMS: &str = "target/release";
/// The argument after which the client is on a processor of its own.
const PINNED: &str = "--pinned";

const USAGE: &str = "usage: cost [--quick] [--only NAME]... [--programs FOLDER] [--rounds N]
  --quick            an eighth of the work, two rounds: shows that it runs, not what it costs
  --only NAME        rows whose name contains NAME; `--only echo --only idle` takes both
  --programs FOLDER  where countersign-smol and countersign-std are; target/release if not given
  --instructions     user-mode instructions by Callgrind instead of time: no noise, and no system calls
  --rounds N         how often each column has its turn; the least counts";

pub(crate) type Outcome<T> = Result<T, Box<dyn Error>>;

pub(crate) fn failed<T>(why: &str) -> Outcome<T> {
    Err(why.into())
}

/// One line of the table.
struct Row {
    name: &'static str,
    work: Work,
    tls: bool,
    credential: Credential,
    /// What the floor is asked for instead, where it has nothing of the kind.
    floor: Credential,
    log_level: &'static str,
}

const fn row(name: &'static str, work: Work, credential: Credential) -> Row {
    Row {
        name,
        work,
        tls: false,
        credential,
        floor: credential,
        log_level: "info",
    }
}

impl Row {
    const fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    const fn beside(mut self, floor: Credential) -> Self {
        self.floor = floor;
        self
    }

    /// Returns what this program is shown.
    const fn asked_of(&self, program: &Program) -> Credential {
        match program {
            Program::Gateway(_) => self.credential,
            Program::Floor(_) => self.floor,
        }
    }

    const fn quiet(mut self) -> Self {
        self.log_level = "warn";
        self
    }
}

const fn echo(bytes: usize, depth: usize) -> Work {
    Work::Echo { bytes, depth }
}

static ROWS: &[Row] = &[
    row("upgrade, Basic (HMAC)", Work::Upgrade, Credential::Ephemeral),
    row(
        "upgrade, Basic (HMAC), log warn",
        Work::Upgrade,
        Credential::Ephemeral,
    )
    .quiet(),
    row(
        "upgrade, Basic (bcrypt), repeated",
        Work::Upgrade,
        Credential::User,
    )
    .beside(Credential::Ephemeral),
    row("upgrade, ES256", Work::Upgrade, Credential::Fresh("ES256")),
    row("upgrade, RS256", Work::Upgrade, Credential::Fresh("RS256")),
    row(
        "upgrade, ES256, repeated (floor: Basic)",
        Work::Upgrade,
        Credential::Repeated("ES256"),
    )
    .beside(Credential::Ephemeral),
    row("401, new connection", Work::Refusal, Credential::None),
    row("401, new connection, log warn", Work::Refusal, Credential::None).quiet(),
    row("401, kept alive", Work::KeptRefusal, Credential::None),
    row("401, kept alive, log warn", Work::KeptRefusal, Credential::None).quiet(),
    row(
        "upgrade, TLS 1.3, Basic (HMAC)",
        Work::Upgrade,
        Credential::Ephemeral,
    )
    .tls(),
    row(
        "upgrade, TLS 1.3, ES256",
        Work::Upgrade,
        Credential::Fresh("ES256"),
    )
    .tls(),
    row("echo 125 B, depth 1", echo(125, 1), Credential::Ephemeral),
    row("echo 125 B, depth 16", echo(125, 16), Credential::Ephemeral),
    row("echo 16 KiB, depth 4", echo(16 * 1024, 4), Credential::Ephemeral),
    row("echo 125 B, depth 1, TLS", echo(125, 1), Credential::Ephemeral).tls(),
    row(
        "echo 16 KiB, depth 4, TLS",
        echo(16 * 1024, 4),
        Credential::Ephemeral,
    )
    .tls(),
    row("idle", Work::Idle, Credential::Ephemeral),
    row("idle, TLS", Work::Idle, Credential::Ephemeral).tls(),
];

/// What the command line asks for.
struct Options {
    quick: bool,
    only: Vec<String>,
    programs: PathBuf,
    rounds: Option<usize>,
    instructions: bool,
    pinned: bool,
}

impl Options {
    fn read() -> Outcome<Self> {
        let mut options = Self {
            quick: false,
            only: Vec::new(),
            // Cargo runs a bench in the folder of its package.
            programs: Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(PROGRAMS),
            rounds: None,
            instructions: false,
            pinned: false,
        };
        let mut arguments = env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(USAGE);
            match argument.as_str() {
                "--quick" => options.quick = true,
                "--only" => options.only.push(value()?),
                "--programs" => options.programs = value()?.into(),
                "--rounds" => options.rounds = Some(value()?.parse()?),
                "--instructions" => options.instructions = true,
                PINNED => options.pinned = true,
                // Cargo says so to every bench.
                "--bench" => {}
                _ => return failed(USAGE),
            }
        }
        Ok(options)
    }
}

fn main() -> Outcome<()> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    if let [first, kind, folder] = arguments.as_slice()
        && first == "floor"
    {
        return floor::run(kind, Path::new(folder));
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
    let done = Material::write(&folder).and_then(|material| table(&options, &material, &folder));
    fs::remove_dir_all(&folder)?;
    done
}

/// The columns: ours and the floor of each, side by side.
fn columns(options: &Options) -> [(&'static str, Program); 4] {
    let ours = |name: &str| Program::Gateway(options.programs.join(name));
    [
        ("smol", ours("countersign-smol")),
        ("floor", Program::Floor("smol")),
        ("std", ours("countersign-std")),
        ("floor", Program::Floor("std")),
    ]
}

fn table(options: &Options, material: &Material, folder: &Path) -> Outcome<()> {
    let what = if options.instructions {
        "user-mode instructions of one, in thousands"
    } else {
        "processor time of one, in µs; resident memory of one, in KiB"
    };
    println!("| {what} | smol | floor | ratio | std | floor | ratio |");
    println!("|---|---|---|---|---|---|---|");
    for row in ROWS {
        let wanted = |only: &String| row.name.contains(only.as_str());
        if !options.only.is_empty() && !options.only.iter().any(wanted) {
            continue;
        }
        let found = match (options.instructions, row.work) {
            (true, Work::Idle) => continue,
            (true, _) => counts(row, options, material, folder)?,
            (false, _) => figures(row, options, material, folder)?,
        };
        print!("| {} |", row.name);
        for pair in found.chunks(2) {
            if let [ours, floor] = pair {
                print!(" {ours:.2} | {floor:.2} | {:.2} |", ours / floor);
            }
        }
        println!();
    }
    Ok(())
}

/// Returns what each column used for the work of a row.
fn figures(row: &Row, options: &Options, material: &Material, folder: &Path) -> Outcome<Vec<f64>> {
    let programs = columns(options);
    let watch = if options.pinned {
        Watch::Pinned
    } else {
        Watch::Shared
    };
    let start = |program| Server::start(program, folder, row.log_level, watch);
    let mut least = vec![f64::INFINITY; programs.len()];
    let mut servers = Vec::new();
    for (_, program) in &programs {
        servers.push((program, start(program)?));
    }
    let rounds = match (row.work, options.rounds) {
        // Memory that was given back is not given out anew: each process is asked once.
        (Work::Idle, _) => 1,
        (_, Some(rounds)) => rounds,
        (_, None) if options.quick => 2,
        (_, None) => ROUNDS,
    };
    let times = row.work.times(options.quick);
    for round in 0..rounds {
        for ((program, server), least) in servers.iter().zip(&mut least) {
            let client = Client {
                server,
                material,
                credential: row.asked_of(program),
                tls: row.tls,
            };
            let used = client.measure(row.work, times, round * (times + 1))?;
            *least = least.min(used / if row.work == Work::Idle { 1024.0 } else { 1000.0 });
        }
    }
    Ok(least)
}

/// Returns how many instructions each column needs for the work of a row: the difference between two
/// runs of different lengths.
fn counts(row: &Row, options: &Options, material: &Material, folder: &Path) -> Outcome<Vec<f64>> {
    let times = row.work.times(true);
    let mut all = Vec::new();
    for (_, program) in columns(options) {
        let run = |times| -> Outcome<u64> {
            let server = Server::start(&program, folder, row.log_level, Watch::Counted)?;
            let client = Client {
                server: &server,
                material,
                credential: row.asked_of(&program),
                tls: row.tls,
            };
            client.measure(row.work, times, 0)?;
            server.instructions(folder)
        };
        let more = run(2 * times)?.saturating_sub(run(times)?);
        all.push(more as f64 / times as f64 / 1000.0);
    }
    Ok(all)
}
