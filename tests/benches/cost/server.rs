//! A server under measurement: a process, its ports, and what it has used.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;
use std::{env, fs, thread};

use serde_json::Value;

use crate::Outcome;
use crate::material::CONFIGURATION;

/// Unit of the times in `/proc/PID/stat`, in nanoseconds: Linux always shows hundredths of a second.
const TICK: u64 = 10_000_000;
/// Where Callgrind writes what it has counted.
const COUNTS: &str = "callgrind.out";
/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The processor that the servers run on; the client has the others.
const PROCESSOR: &str = "0";

/// What is run.
#[derive(Clone, Debug)]
pub(crate) enum Program {
    /// One of ours.
    Gateway(PathBuf),
    /// A floor of this kind.
    Floor(&'static str),
}

/// How a server runs while it is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Watch {
    /// On any processor.
    Shared,
    /// On a processor of its own.
    Pinned,
    /// Under Callgrind, which counts instructions; 50 times slower.
    Counted,
}

/// A process that is ended with the measurement.
pub(crate) struct Server {
    child: Child,
    ports: BTreeMap<String, u16>,
}

impl Server {
    /// Starts `program` in the way that it is to be watched.
    pub(crate) fn start(program: &Program, folder: &Path, log_level: &str, watch: Watch) -> Outcome<Self> {
        let path = match program {
            Program::Gateway(path) => path.clone(),
            Program::Floor(_) => env::current_exe()?,
        };
        let mut command = match watch {
            Watch::Shared => Command::new(&path),
            Watch::Pinned => {
                let mut command = Command::new("taskset");
                command.args(["-c", PROCESSOR]).arg(&path);
                command
            }
            Watch::Counted => {
                let mut command = Command::new("taskset");
                command
                    .args([
                        "-c",
                        PROCESSOR,
                        "valgrind",
                        "--tool=callgrind",
                        "--log-file=/dev/null",
                    ])
                    .arg(format!("--callgrind-out-file={}", folder.join(COUNTS).display()))
                    .arg(&path);
                command
            }
        };
        match program {
            Program::Gateway(_) => command.arg("--config").arg(folder.join(CONFIGURATION)).args([
                "--log",
                "json",
                "--log-level",
                log_level,
            ]),
            Program::Floor(kind) => command.args(["floor", kind]).arg(folder),
        };
        let mut child = command
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{}: {error}", path.display()))?;
        let log = child.stderr.take().ok_or("no standard error")?;
        let mut server = Self {
            child,
            ports: BTreeMap::new(),
        };
        let mut log = server.listening(log)?;
        // Somebody has to read the log, as somebody would.
        thread::spawn(move || io::copy(&mut log, &mut io::sink()));
        Ok(server)
    }

    /// Reads standard error until both listeners are there.
    fn listening(&mut self, log: ChildStderr) -> Outcome<BufReader<ChildStderr>> {
        let mut log = BufReader::new(log);
        while self.ports.len() < 2 {
            let mut line = String::new();
            if log.read_line(&mut line)? == 0 {
                return Err("the program ended".into());
            }
            // A floor writes `NAME PORT`, a gateway a JSON object.
            let found = match serde_json::from_str::<Value>(&line) {
                Ok(event) => event["url"].as_str().and_then(|url| {
                    let (_, port) = url.rsplit_once(':')?;
                    Some((event["server"].as_str()?.to_owned(), port.parse().ok()?))
                        .filter(|_| event["event"] == "listening")
                }),
                Err(_) => None,
            };
            let found = match found {
                Some(found) => Some(found),
                None => line
                    .trim()
                    .split_once(' ')
                    .and_then(|(name, port)| Some((name.to_owned(), port.parse().ok()?))),
            };
            match found {
                Some((name, port)) => {
                    self.ports.insert(name, port);
                }
                None if line.starts_with('{') => {}
                None => return Err(line.into()),
            }
        }
        Ok(log)
    }

    /// Returns the process's number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Opens a stream.
    pub(crate) fn connect(&self, tls: bool) -> Outcome<TcpStream> {
        let name = if tls { "tls" } else { "tcp" };
        let port = self.ports.get(name).ok_or("no such server")?;
        let stream = TcpStream::connect(("127.0.0.1", *port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(stream)
    }

    /// Ends a server that is [`Watch::Counted`] and returns its instructions.
    pub(crate) fn instructions(mut self, folder: &Path) -> Outcome<u64> {
        Command::new("kill").arg(self.id().to_string()).status()?;
        self.child.wait()?;
        let counts = fs::read_to_string(folder.join(COUNTS))?;
        let total = counts
            .lines()
            .find_map(|line| {
                line.strip_prefix("totals: ")
                    .or_else(|| line.strip_prefix("summary: "))
            })
            .ok_or("Callgrind has written no sum")?;
        Ok(total.trim().parse()?)
    }

    /// Returns the resident memory, in bytes.
    pub(crate) fn resident(&self) -> Outcome<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .ok_or("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
    }

    /// Returns the processor time of all its threads, in nanoseconds.
    pub(crate) fn busy(&self) -> Outcome<u64> {
        Ok(self.running_threads()?.max(self.all_threads()?))
    }

    /// Exact, but threads that have ended are missing.
    fn running_threads(&self) -> Outcome<u64> {
        let mut sum = 0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.id()))? {
            // A thread may end meanwhile.
            let times = fs::read_to_string(thread?.path().join("schedstat")).unwrap_or_default();
            let first = times.split(' ').next().unwrap_or_default();
            sum += first.parse::<u64>().unwrap_or_default();
        }
        Ok(sum)
    }

    /// Threads that have ended are in it, but it counts in [`TICK`]s.
    fn all_threads(&self) -> Outcome<u64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id()))?;
        // The name in parentheses may hold anything; utime and stime are fields 14 and 15, proc(5).
        let (_, fields) = stat.rsplit_once(") ").ok_or("no fields")?;
        let ticks: Vec<u64> = fields
            .split(' ')
            .skip(11)
            .take(2)
            .map(str::parse)
            .collect::<Result<_, _>>()?;
        Ok(ticks.iter().sum::<u64>() * TICK)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
