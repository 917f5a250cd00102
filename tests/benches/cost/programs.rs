//! The programs that are measured, and how each is started.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use crate::Outcome;
use crate::peers::{self, Place};

/// Most threads that Callgrind takes: `std` has one for each connection, and a broadcast a thousand. By itself it
/// stops at 500.
const THREADS: usize = 5000;
/// The processor that the servers run on; the client has the others.
const PROCESSOR: &str = "0";
/// Where Callgrind writes what it has counted.
pub(crate) const COUNTS: &str = "callgrind.out";

/// What is run.
#[derive(Clone, Debug)]
pub(crate) enum Program {
    /// One of ours.
    Gateway(PathBuf),
    /// A floor of this kind.
    Floor(&'static str),
    /// HAProxy in front of a floor.
    Haproxy(PathBuf),
    /// nginx in front of a floor.
    Nginx(PathBuf),
    /// A server on this library.
    Library(&'static str, PathBuf),
}

/// How a server runs while it is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Watch {
    /// On any processor that the client has.
    Shared,
    /// On a processor of its own.
    Pinned,
    /// On two processors, one of them the client's.
    Two,
    /// Under Callgrind, which counts instructions; 50 times slower.
    Counted,
}

/// How a server is started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start<'a> {
    /// Where keys and configurations are.
    pub(crate) folder: &'a Path,
    /// What one of ours is configured by.
    pub(crate) configuration: &'a Path,
    pub(crate) log_level: &'a str,
    pub(crate) watch: Watch,
    /// The port of the floor behind a proxy.
    pub(crate) upstream: u16,
}

/// How a program tells its ports.
pub(crate) enum Ports {
    /// On standard error, this many.
    Told(usize),
    /// They were chosen for it: without TLS, and with.
    Chosen(u16, u16),
}

impl Program {
    /// Returns the command that runs it.
    pub(crate) fn command(&self, start: &Start<'_>) -> Outcome<(Command, Ports)> {
        let path = match self {
            Self::Gateway(path) | Self::Haproxy(path) | Self::Nginx(path) | Self::Library(_, path) => {
                path.clone()
            }
            Self::Floor(_) => env::current_exe()?,
        };
        let folder = start.folder;
        let mut command = Command::new("taskset");
        match start.watch {
            Watch::Shared => command = Command::new(&path),
            Watch::Pinned => {
                command.args(["-c", PROCESSOR]).arg(&path);
            }
            Watch::Two => {
                command.args(["-c", "0,1"]).arg(&path);
            }
            Watch::Counted => {
                command
                    .args(["-c", PROCESSOR, "valgrind", "--tool=callgrind"])
                    .arg("--log-file=/dev/null")
                    .arg(format!("--max-threads={THREADS}"))
                    .arg(format!("--callgrind-out-file={}", folder.join(COUNTS).display()))
                    .arg(&path);
            }
        }
        let ports = match self {
            Self::Gateway(_) => {
                command.arg("--config").arg(start.configuration);
                command.args(["--log", "json", "--log-level", start.log_level]);
                Ports::Told(2)
            }
            Self::Floor(kind) => {
                command.args(["floor", kind]).arg(folder);
                Ports::Told(2)
            }
            Self::Library(..) => {
                command.arg(folder);
                Ports::Told(1)
            }
            Self::Haproxy(_) => {
                let place = Place::choose(folder, start.upstream)?;
                let file = folder.join("haproxy.cfg");
                fs::write(&file, peers::haproxy(&place))?;
                command.arg("-db").arg("-f").arg(&file);
                Ports::Chosen(place.tcp, place.tls)
            }
            Self::Nginx(_) => {
                let place = Place::choose(folder, start.upstream)?;
                let file = folder.join("nginx.conf");
                fs::write(&file, peers::nginx(&place))?;
                command
                    .arg("-e")
                    .arg(folder.join("nginx.log"))
                    .arg("-c")
                    .arg(&file);
                Ports::Chosen(place.tcp, place.tls)
            }
        };
        Ok((command, ports))
    }

    /// Returns the column's name.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Gateway(path) => {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                name.trim_start_matches("countersign-").to_owned()
            }
            Self::Floor(kind) => format!("{kind} floor"),
            Self::Haproxy(_) => "HAProxy".to_owned(),
            Self::Nginx(_) => "nginx".to_owned(),
            Self::Library(name, _) => (*name).to_owned(),
        }
    }
}
