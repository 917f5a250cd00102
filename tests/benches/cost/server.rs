//! A server under measurement: a process, its ports, and what it has used.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{fs, thread};

use serde_json::Value;

use crate::Outcome;
use crate::programs::{COUNTS, Ports, Program, Start};

/// Unit of the times in `/proc/PID/stat`, in nanoseconds: Linux always shows hundredths of a second.
const TICK: u64 = 10_000_000;
/// What a line of a log holds that tells of a fault of the program's own.
const FAULTS: [&str; 3] = ["\"event\":\"panic", "\"reason\":\"internal\"", "panicked at"];
/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a server that does not tell its ports may take to answer there.
const STARTUP: Duration = Duration::from_secs(10);
/// How long between two attempts to reach it.
const ATTEMPT: Duration = Duration::from_millis(20);

/// Descriptors that a process has open.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Descriptors {
    pub(crate) all: usize,
    /// Those of them by which threads are woken up.
    pub(crate) eventfds: usize,
}

/// A process that is ended with the measurement.
pub(crate) struct Server {
    child: Child,
    ports: BTreeMap<String, u16>,
    startup: Duration,
    faults: Arc<AtomicUsize>,
}

impl Server {
    /// Starts `program` and waits until it accepts connections.
    pub(crate) fn start(program: &Program, start: &Start<'_>) -> Outcome<Self> {
        let (mut command, ports) = program.command(start)?;
        let began = Instant::now();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{}: {error}", program.name()))?;
        let log = child.stderr.take().ok_or("no standard error")?;
        let mut out = child.stdout.take().ok_or("no standard output")?;
        let mut server = Self {
            child,
            ports: BTreeMap::new(),
            startup: Duration::ZERO,
            faults: Arc::default(),
        };
        thread::spawn(move || io::copy(&mut out, &mut io::sink()));
        let mut log = BufReader::new(log);
        match ports {
            Ports::Told(count) => server.listening(&mut log, count)?,
            Ports::Chosen(tcp, tls) => {
                server
                    .ports
                    .extend([("tcp".to_owned(), tcp), ("tls".to_owned(), tls)]);
                server.reached(tcp)?;
            }
        }
        server.startup = began.elapsed();
        let faults = Arc::clone(&server.faults);
        // Somebody has to read the log, as somebody would.
        thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                if FAULTS.iter().any(|fault| line.contains(fault)) {
                    faults.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        Ok(server)
    }

    /// Waits until somebody listens.
    fn reached(&mut self, port: u16) -> Outcome<()> {
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if self.child.try_wait()?.is_some() || began.elapsed() > STARTUP {
                return Err("a server has not started".into());
            }
            thread::sleep(ATTEMPT);
        }
        Ok(())
    }

    /// Reads standard error until all `count` listeners are there.
    fn listening(&mut self, log: &mut impl BufRead, count: usize) -> Outcome<()> {
        let mut last = String::new();
        while self.ports.len() < count {
            let mut line = String::new();
            if log.read_line(&mut line)? == 0 {
                return Err(format!("the program ended: {last}").into());
            }
            last.clone_from(&line);
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
        Ok(())
    }

    /// Returns how long it took from its start until it listened.
    pub(crate) const fn startup(&self) -> Duration {
        self.startup
    }

    /// Returns how many lines of its log told of a fault of its own.
    pub(crate) fn faults(&self) -> usize {
        self.faults.load(Ordering::Relaxed)
    }

    /// Returns the port of its listener without TLS, or with.
    pub(crate) fn port(&self, tls: bool) -> Outcome<u16> {
        let name = if tls { "tls" } else { "tcp" };
        Ok(*self.ports.get(name).ok_or("no such listener")?)
    }

    /// Has it read its configuration again.
    pub(crate) fn reload(&self) -> Outcome<()> {
        Command::new("kill")
            .args(["-HUP", &self.id().to_string()])
            .status()?;
        Ok(())
    }

    /// Returns the descriptors that it has open.
    pub(crate) fn descriptors(&self) -> Outcome<Descriptors> {
        let mut found = Descriptors::default();
        for descriptor in fs::read_dir(format!("/proc/{}/fd", self.id()))? {
            found.all += 1;
            // It may be closed meanwhile.
            let what = fs::read_link(descriptor?.path()).unwrap_or_default();
            if what.as_os_str() == "anon_inode:[eventfd]" {
                found.eventfds += 1;
            }
        }
        Ok(found)
    }

    /// Returns the process's number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Opens a stream.
    pub(crate) fn connect(&self, tls: bool) -> Outcome<TcpStream> {
        let stream = TcpStream::connect(("127.0.0.1", self.port(tls)?))?;
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

    /// Returns the resident memory of it and all processes that it started, in bytes.
    pub(crate) fn resident(&self) -> Outcome<u64> {
        let mut sum = 0;
        for process in self.processes() {
            let status = fs::read_to_string(format!("/proc/{process}/status"))?;
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix("VmRSS:"))
                .ok_or("no VmRSS")?;
            sum += line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024;
        }
        Ok(sum)
    }

    /// Returns the processor time of it and all processes that it started, in nanoseconds.
    pub(crate) fn busy(&self) -> Outcome<u64> {
        let used = self
            .processes()
            .into_iter()
            .map(|process| Ok(running_threads(process)?.max(all_threads(process)?)));
        used.sum()
    }

    /// Returns the numbers of the process and of its workers.
    fn processes(&self) -> Vec<u32> {
        let mut found = vec![self.id()];
        let mut at = 0;
        while let Some(process) = found.get(at) {
            let children = format!("/proc/{process}/task/{process}/children");
            let children = fs::read_to_string(children).unwrap_or_default();
            found.extend(children.split(' ').filter_map(|child| child.parse::<u32>().ok()));
            at += 1;
        }
        found
    }
}

/// Exact, but threads that have ended are missing.
fn running_threads(process: u32) -> Outcome<u64> {
    let mut sum = 0;
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        // A thread may end meanwhile.
        let times = fs::read_to_string(thread?.path().join("schedstat")).unwrap_or_default();
        let first = times.split(' ').next().unwrap_or_default();
        sum += first.parse::<u64>().unwrap_or_default();
    }
    Ok(sum)
}

/// Threads that have ended are in it, but it counts in [`TICK`]s.
fn all_threads(process: u32) -> Outcome<u64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
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

impl Drop for Server {
    fn drop(&mut self) {
        // A master without its workers would leave them; it ends them when it is asked to end.
        if self.processes().len() > 1 {
            let _ = Command::new("kill").arg(self.id().to_string()).status();
            let _ = self.child.wait();
        }
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
