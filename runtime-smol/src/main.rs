//! The program: the command line, and what happens around the server.

mod log;
mod serve;
mod terminal;

use std::env::args_os;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use countersign_core::auth::password::hash_password;
use countersign_core::config::schema;
use countersign_core::entropy::Seed;
use countersign_core::gateway::Gateway;
use countersign_core::note::Note;
use countersign_core::ops;
use countersign_core::ops::args::{self, Command, EXIT_CONFIG, EXIT_OK, EXIT_USAGE};
use countersign_core::ops::explain::{HEAD_LIMIT, Question};
use countersign_core::ops::log::LogQueue;
use countersign_core::ops::program;
use countersign_smol::{Clock, SystemFiles, capacity};

/// The name that the operator knows.
const NAME: &str = env!("CARGO_PKG_NAME");

fn main() -> ExitCode {
    let invocation = match args::parse(NAME, args_os().skip(1)) {
        Ok(invocation) => invocation,
        Err(error) => {
            complain(&error);
            return EXIT_USAGE.into();
        }
    };
    let queue = LogQueue::new(invocation.format, invocation.level);
    let code = match invocation.command {
        Command::Serve { config, listen } => serve::serve(config, listen, queue),
        Command::Check { config } => check(&config, &queue),
        Command::Explain { config, question } => explain(&config, &question, &queue),
        Command::Hash => hash(),
        Command::Schema => print(schema()),
        Command::Help => print(args::help(NAME)),
        Command::Version => print(format!("{}\n", program::version(NAME))),
    };
    code.into()
}

/// Writes to standard output. Whoever does not read it to its end has seen enough.
fn print(text: impl AsRef<[u8]>) -> u8 {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_ref()).and_then(|()| out.flush());
    EXIT_OK
}

/// Says on standard error why the program ends.
fn complain(error: &dyn std::fmt::Display) {
    let _ = writeln!(io::stderr(), "{NAME}: {error}");
}

/// Loads a configuration to look at it; reports everything that is wrong with it.
fn load(config: &Path, queue: &LogQueue) -> Option<Arc<Gateway>> {
    // Nothing is derived from this seed that outlives the look.
    let loaded = program::load(config, &mut SystemFiles, &[], Seed::new([0; 32]), capacity());
    loaded
        .map_err(|errors| {
            let now = Clock::start().now();
            queue.push(&Note::ConfigRefused(errors), now);
            let _ = io::stderr().write_all(&queue.take(now));
        })
        .ok()
}

/// Reports everything that is wrong with a configuration, and what may be better.
fn check(config: &Path, queue: &LogQueue) -> u8 {
    let Some(gateway) = load(config, queue) else {
        return EXIT_CONFIG;
    };
    let now = Clock::start().now();
    for warning in gateway.take_warnings() {
        queue.push(&warning, now);
    }
    let _ = io::stderr().write_all(&queue.take(now));
    EXIT_OK
}

/// Prints what becomes of the request head on standard input.
fn explain(config: &Path, question: &Question, queue: &LogQueue) -> u8 {
    let Some(gateway) = load(config, queue) else {
        return EXIT_CONFIG;
    };
    let mut head = Vec::new();
    let read = io::stdin().lock().take(HEAD_LIMIT).read_to_end(&mut head);
    let explained = read.map_err(|error| error.to_string()).and_then(|_| {
        let now = Clock::start().now();
        ops::explain::explain(&gateway, question, now, &head).map_err(|why| why.to_string())
    });
    match explained {
        Ok(text) => print(text),
        Err(why) => {
            complain(&why);
            EXIT_USAGE
        }
    }
}

/// Prints the hash of a password that is typed or piped.
fn hash() -> u8 {
    let hashed = terminal::read_line()
        .and_then(|line| hash_password(program::password(&line), serve::random()?).map_err(io::Error::other));
    match hashed {
        Ok(text) => print(format!("{text}\n")),
        Err(error) => {
            complain(&error);
            EXIT_USAGE
        }
    }
}
