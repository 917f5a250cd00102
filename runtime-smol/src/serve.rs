//! Serving until a signal ends it: start, reload, shutdown.

use std::io;
use std::net::SocketAddr;
use std::panic;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use countersign_core::config::Files;
use countersign_core::entropy::Seed;
use countersign_core::note::Note;
use countersign_core::ops::args::{EXIT_BIND, EXIT_CONFIG, EXIT_OK};
use countersign_core::ops::demo::{Demo, DemoMaterial};
use countersign_core::ops::log::LogQueue;
use countersign_core::ops::program;
use countersign_smol::{Clock, Listeners, Log, Options, Server, SystemFiles, capacity};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use crate::log::LogWriter;
use crate::{NAME, complain, print};

/// Why the program ends before it serves.
enum Failure {
    /// The configuration was refused, and the log says why.
    Config,
    /// An address could not be bound, or the operating system refused something else.
    Start(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Start(error)
    }
}

/// Serves `config`, or the demo, until a signal ends it. Returns the exit code.
pub(crate) fn serve(config: Option<PathBuf>, listen: Option<SocketAddr>, queue: LogQueue) -> u8 {
    let clock = Clock::start();
    let writer = match LogWriter::start(queue, clock) {
        Ok(writer) => writer,
        Err(error) => {
            complain(&error);
            return EXIT_BIND;
        }
    };
    let log: Log = Arc::new(writer.log());
    report_panics(&log, clock);
    let ended = run(config, listen, clock, &log);
    writer.finish();
    match ended {
        Ok(()) => EXIT_OK,
        Err(Failure::Config) => EXIT_CONFIG,
        Err(Failure::Start(error)) => {
            complain(&error);
            EXIT_BIND
        }
    }
}

fn run(config: Option<PathBuf>, listen: Option<SocketAddr>, clock: Clock, log: &Log) -> Result<(), Failure> {
    let (path, mut files, demo): (_, Box<dyn Files + Send>, _) = match &config {
        Some(path) => (path.clone(), Box::new(SystemFiles), None),
        None => {
            let demo = demo(listen.unwrap_or(program::DEMO_ADDRESS), clock)?;
            (demo.path.clone(), Box::new(demo.files.clone()), Some(demo))
        }
    };
    let pages = demo.as_ref().map_or(&[][..], |demo| &demo.pages);
    let gateway = match program::load(&path, &mut *files, pages, Seed::new(random()?), capacity()) {
        Ok(gateway) => gateway,
        Err(errors) => {
            log(&Note::ConfigRefused(errors), clock.now());
            return Err(Failure::Config);
        }
    };
    if let Some(note) = gateway.fit_descriptors(raise_descriptors()) {
        log(&note, clock.now());
    }
    let listeners = Listeners::bind(&gateway)?;
    if let (Some(demo), Some(address)) = (demo, listeners.addresses().first()) {
        print(demo.printout(NAME, address.port()));
    }
    // Before anybody is told that the program listens, and may want to end it.
    let signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    let options = Options {
        clock,
        log: Arc::clone(log),
        config,
        files,
    };
    let server = Server::serve(listeners, gateway, options)?;
    obey(signals, &server);
    server.stop();
    Ok(())
}

/// Does what signals ask for, until the server is drained. A second signal to end kills.
fn obey(mut signals: Signals, server: &Server) {
    let handle = signals.handle();
    thread::scope(|scope| {
        let mut draining = false;
        for signal in signals.forever() {
            if signal == SIGHUP {
                server.reload();
            } else if draining {
                let _ = emulate_default_handler(signal);
            } else {
                draining = true;
                let handle = handle.clone();
                let drain = move || {
                    server.drain();
                    handle.close();
                };
                let drain = thread::Builder::new().spawn_scoped(scope, drain);
                if drain.is_err() {
                    return;
                }
            }
        }
    });
}

fn demo(listen: SocketAddr, clock: Clock) -> io::Result<Demo> {
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let made = rcgen::generate_simple_self_signed(names).map_err(io::Error::other)?;
    let material = DemoMaterial {
        certificate_pem: made.cert.pem() + &made.signing_key.serialize_pem(),
        listen,
        random: random()?,
    };
    Ok(Demo::new(material, clock.now()))
}

/// Returns bytes of the operating system's generator.
pub(crate) fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    let generator = rustls::crypto::ring::default_provider().secure_random;
    match generator.fill(&mut bytes) {
        Ok(()) => Ok(bytes),
        Err(_) => Err(io::Error::other("the operating system has no random bytes")),
    }
}

/// Raises the soft limit of open descriptors to the hard one. Returns what it is then.
fn raise_descriptors() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    let limit = if setrlimit(Resource::Nofile, raised).is_ok() {
        raised
    } else {
        limit
    };
    limit.current.unwrap_or(u64::MAX)
}

/// Has panics logged, by a thread of its own each, since any other may be in their way.
fn report_panics(log: &Log, clock: Clock) {
    let log = Arc::clone(log);
    panic::set_hook(Box::new(move |info| {
        let (log, note) = (Arc::clone(&log), program::panicked(info));
        let _ = thread::Builder::new().spawn(move || log(&note, clock.now()));
    }));
}
