//! The command line.

use std::env;
use std::path::{Path, PathBuf};

use crate::{Outcome, failed};

/// Where the programs are, if they are not named.
const PROGRAMS: &str = "target/release";
/// The argument after which the client is on a processor of its own.
pub(crate) const PINNED: &str = "--pinned";

const USAGE: &str = "usage: cost [OPTION]...
  --quick            an eighth of the work, two rounds: shows that it runs, not what it costs
  --only NAME        rows (of a soak: programs) whose name contains NAME; `--only echo --only idle` takes both
  --programs FOLDER  where countersign-smol and countersign-std are; target/release if not given
  --rounds N         how often each column has its turn; the least counts
  --peers            HAProxy, nginx, servers on axum and fastwebsockets beside them, those that are there
  --growth           instead: the same work beside many connections, users, keys, services, rules; threads; start-up
  --hold MINUTES     instead: 15,000 idle connections with TLS and pings, and whether the memory stays
  --soak MINUTES     instead: mixed load with faults, and whether memory, descriptors and answers stay right
  --json FILE        writes everything there, too
  --instructions     user-mode instructions by Callgrind instead of time: no noise, and no system calls";

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mode {
    /// The rows of the table.
    Table,
    /// What does not have to grow.
    Growth,
    /// Idle connections, for this many minutes.
    Hold(f64),
    /// Mixed load with faults, for this many minutes.
    Soak(f64),
}

/// What the command line asks for.
pub(crate) struct Options {
    pub(crate) mode: Mode,
    pub(crate) quick: bool,
    only: Vec<String>,
    /// The root of the repository.
    pub(crate) root: PathBuf,
    pub(crate) programs: PathBuf,
    pub(crate) rounds: Option<usize>,
    pub(crate) peers: bool,
    pub(crate) json: Option<PathBuf>,
    pub(crate) instructions: bool,
    pub(crate) pinned: bool,
}

impl Options {
    pub(crate) fn read() -> Outcome<Self> {
        // Cargo runs a bench in the folder of its package.
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut options = Self {
            mode: Mode::Table,
            quick: false,
            only: Vec::new(),
            programs: root.join(PROGRAMS),
            root,
            rounds: None,
            peers: false,
            json: None,
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
                "--peers" => options.peers = true,
                "--growth" => options.mode = Mode::Growth,
                "--hold" => options.mode = Mode::Hold(value()?.parse()?),
                "--soak" => options.mode = Mode::Soak(value()?.parse()?),
                "--json" => options.json = Some(options.root.join(value()?)),
                "--instructions" => options.instructions = true,
                PINNED => options.pinned = true,
                // Cargo says so to every bench.
                "--bench" => {}
                _ => return failed(USAGE),
            }
        }
        Ok(options)
    }

    /// Says whether there are rows that are not asked for.
    pub(crate) fn partial(&self) -> bool {
        !self.only.is_empty()
    }

    /// Says whether the row of this name is asked for.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| name.contains(only.as_str()))
    }
}
