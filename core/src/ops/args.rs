//! The command line, the same in every program.

use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::explain::Question;
use super::log::{Format, Level};
use crate::time::UnixTime;

/// Exit code: done.
pub const EXIT_OK: u8 = 0;
/// Exit code: the configuration, or a file that it names, cannot be read or is refused.
pub const EXIT_CONFIG: u8 = 1;
/// Exit code: the command line is wrong.
pub const EXIT_USAGE: u8 = 2;
/// Exit code: an address could not be bound.
pub const EXIT_BIND: u8 = 3;

const COMMANDS: [&str; 7] = ["serve", "check", "explain", "hash", "schema", "help", "version"];
const OPTIONS: [&str; 9] = [
    "--config",
    "--listen",
    "--log",
    "--log-level",
    "--server",
    "--peer",
    "--at",
    "--help",
    "--version",
];

/// Similarity (Jaro-Winkler, 0 to 1) from which a known word is offered for an unknown one: it
/// pairs one typing error in a short word, and does not pair two words of this command line.
const NEAR: f64 = 0.8;

/// What the operator asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// What to do.
    pub command: Command,
    /// How log lines look.
    pub format: Format,
    /// The least severe level that is logged.
    pub level: Level,
}

/// What a program can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Serve a configuration, or the demo if there is none.
    Serve {
        /// The configuration file; absent for the demo.
        config: Option<PathBuf>,
        /// Where the demo listens instead of its own address; never beside a configuration.
        listen: Option<SocketAddr>,
    },
    /// Report everything that is wrong with a configuration.
    Check {
        /// The configuration file.
        config: PathBuf,
    },
    /// Say what becomes of one request, and why.
    Explain {
        /// The configuration file.
        config: PathBuf,
        /// Where, whence and when the request came.
        question: Question,
    },
    /// Read a password, print its hash.
    Hash,
    /// Print the JSON Schema of the configuration.
    Schema,
    /// Print the help text.
    Help,
    /// Print the version.
    Version,
}

/// What is wrong with the command line. Its `Display` is two lines: the fault, with the nearest
/// known word, and the usage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageError {
    fault: String,
    program: String,
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}", self.fault, usage(&self.program))
    }
}

impl std::error::Error for UsageError {}

/// Reads the arguments that follow the program's name.
///
/// # Errors
/// An unknown command or option, a missing, repeated or unreadable value, or an option that does
/// not belong to the command.
pub fn parse(program: &str, args: impl IntoIterator<Item = OsString>) -> Result<Invocation, UsageError> {
    Words::default()
        .collect(args)
        .and_then(Words::into_invocation)
        .map_err(|fault| UsageError {
            fault,
            program: program.to_owned(),
        })
}

/// The arguments as they were given, each option at most once.
#[derive(Default)]
struct Words {
    command: Option<String>,
    config: Option<OsString>,
    listen: Option<OsString>,
    log: Option<OsString>,
    log_level: Option<OsString>,
    server: Option<OsString>,
    peer: Option<OsString>,
    at: Option<OsString>,
}

impl Words {
    fn collect(mut self, args: impl IntoIterator<Item = OsString>) -> Result<Self, String> {
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            let Some(word) = arg.to_str() else {
                return Err(format!(
                    "argument {arg:?} is not UTF-8; write \"--config FILE\" with a space"
                ));
            };
            let (name, joined) = match word.split_once('=') {
                Some((name, value)) if name.starts_with("--") => (name, Some(OsString::from(value))),
                Some(_) | None => (word, None),
            };
            let place = match name {
                "--config" => &mut self.config,
                "--listen" => &mut self.listen,
                "--log" => &mut self.log,
                "--log-level" => &mut self.log_level,
                "--server" => &mut self.server,
                "--peer" => &mut self.peer,
                "--at" => &mut self.at,
                // The answer to a cry for help is help, whatever else stands on the line.
                "-h" | "--help" => return Ok(Self::asking("help")),
                "-V" | "--version" => return Ok(Self::asking("version")),
                _ if name.starts_with('-') => return Err(unknown("option", name, &OPTIONS)),
                _ => {
                    if let Some(first) = self.command.replace(word.to_owned()) {
                        return Err(format!("unexpected argument {word:?} after {first:?}"));
                    }
                    continue;
                }
            };
            let value = match joined.or_else(|| args.next()) {
                Some(value) if !value.is_empty() => value,
                Some(_) | None => return Err(format!("option \"{name}\" needs a value")),
            };
            if place.replace(value).is_some() {
                return Err(format!("option \"{name}\" is given twice"));
            }
        }
        Ok(self)
    }

    fn asking(command: &str) -> Self {
        Self {
            command: Some(command.to_owned()),
            ..Self::default()
        }
    }

    fn into_invocation(self) -> Result<Invocation, String> {
        let format = choice(
            "--log",
            self.log,
            &[("text", Format::Text), ("json", Format::Json)],
        )?;
        let levels = Level::ALL.map(|level| (level.name(), level));
        let level = choice("--log-level", self.log_level, &levels)?;
        let config = self.config.map(PathBuf::from);
        let listen = self.listen.map(address).transpose()?;
        let name = self.command.as_deref().unwrap_or("serve");
        let question = question(self.server, self.peer, self.at)?;
        if question != Question::default() && name != "explain" {
            return Err("options \"--server\", \"--peer\" and \"--at\" are for \"explain\" alone".to_owned());
        }
        if listen.is_some() && (config.is_some() || name != "serve") {
            return Err(
                "option \"--listen\" is for the demo alone; a configuration has \"listen\" in its servers"
                    .to_owned(),
            );
        }
        let command = match (name, config) {
            ("serve", config) => Command::Serve { config, listen },
            ("check", Some(config)) => Command::Check { config },
            ("check", None) => return Err("\"check\" needs \"--config FILE\"".to_owned()),
            ("explain", Some(config)) => Command::Explain { config, question },
            ("explain", None) => return Err("\"explain\" needs \"--config FILE\"".to_owned()),
            ("hash", None) => Command::Hash,
            ("schema", None) => Command::Schema,
            ("help", _) => Command::Help,
            ("version", _) => Command::Version,
            ("hash" | "schema", Some(_)) => return Err(format!("\"{name}\" takes no \"--config\"")),
            (_, _) => return Err(unknown("command", name, &COMMANDS)),
        };
        Ok(Invocation {
            command,
            format: format.unwrap_or(Format::Text),
            level: level.unwrap_or(Level::Info),
        })
    }
}

fn choice<T: Copy>(name: &str, value: Option<OsString>, known: &[(&str, T)]) -> Result<Option<T>, String> {
    let Some(value) = value else { return Ok(None) };
    match known.iter().find(|(word, _)| value == *word) {
        Some((_, meaning)) => Ok(Some(*meaning)),
        None => {
            let words: Vec<&str> = known.iter().map(|(word, _)| *word).collect();
            Err(format!(
                "option \"{name}\" is one of {}, not {value:?}",
                words.join(", ")
            ))
        }
    }
}

fn address(value: OsString) -> Result<SocketAddr, String> {
    value.to_str().and_then(|text| text.parse().ok()).ok_or_else(|| {
        format!("option \"--listen\" is an address and a port like 127.0.0.1:8443, not {value:?}")
    })
}

/// Reads the options of `explain`.
fn question(
    server: Option<OsString>,
    peer: Option<OsString>,
    at: Option<OsString>,
) -> Result<Question, String> {
    let server = server.map(|id| {
        let id = id.into_string();
        id.map_err(|id| format!("option \"--server\" is the id of a server, not {id:?}"))
    });
    let peer = peer.map(|value| {
        let peer = value.to_str().and_then(|text| text.parse().ok());
        peer.ok_or_else(|| format!("option \"--peer\" is an IP address, not {value:?}"))
    });
    let at = at.map(|value| {
        let at = value.to_str().and_then(UnixTime::from_rfc3339);
        at.ok_or_else(|| format!("option \"--at\" is a time like 2026-01-31T12:00:00Z, not {value:?}"))
    });
    Ok(Question {
        server: server.transpose()?,
        peer: peer.transpose()?,
        at: at.transpose()?,
    })
}

/// Returns the word of `known` that `word` was probably meant to be.
pub(super) fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    known
        .iter()
        .map(|candidate| (strsim::jaro_winkler(word, candidate), *candidate))
        .filter(|(similarity, _)| *similarity >= NEAR)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

fn unknown(kind: &str, word: &str, known: &[&str]) -> String {
    match nearest(word, known) {
        Some(candidate) => format!("unknown {kind} {word:?}; did you mean \"{candidate}\"?"),
        None => format!("unknown {kind} {word:?}"),
    }
}

fn usage(program: &str) -> String {
    format!(
        "usage: {program} [serve|check|explain|hash|schema] [--config FILE] [--listen ADDR] \
         [--log text|json] [--log-level error|warn|info|debug]"
    )
}

/// Returns the text of `--help`.
pub fn help(program: &str) -> String {
    format!(
        "{program} {version}: the authenticated front door for WebSockets

{usage}

commands
  serve             serve a configuration; without --config the demo (this is the default)
  check             report everything that is wrong with a configuration, each with its place
  explain           read a request head from standard input; print what becomes of it, check by check
  hash              read a password from the terminal or standard input, print its argon2id string
  schema            print the JSON Schema of the configuration
  help, version

options
  --config FILE     the configuration, one JSON file
  --listen ADDR     where the demo listens (127.0.0.1:8443)
  --log FORMAT      text or json, on standard error (text)
  --log-level LEVEL error, warn, info or debug (info)
  --server ID, --peer IP, --at TIME
                    for explain: where, whence and when the request came (first server, 127.0.0.1, now)

signals
  SIGHUP            read the configuration and every file that it names again
  SIGTERM, SIGINT   close every socket with 1001 and end; a second one ends at once

exit codes
  0 done   1 configuration   2 usage   3 could not bind
",
        version = env!("CARGO_PKG_VERSION"),
        usage = usage(program)
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Invocation, UsageError> {
        parse("countersign-test", line.split_whitespace().map(OsString::from))
    }

    fn command(line: &str) -> Command {
        parsed(line).unwrap().command
    }

    fn fault(line: &str) -> String {
        parsed(line).unwrap_err().to_string()
    }

    #[test]
    fn nothing_at_all_is_the_demo_with_text_lines() {
        let invocation = parsed("").unwrap();
        assert_eq!(
            invocation.command,
            Command::Serve {
                config: None,
                listen: None
            }
        );
        assert_eq!((invocation.format, invocation.level), (Format::Text, Level::Info));
    }

    #[test]
    fn options_stand_before_or_after_the_command_and_take_an_equals_sign() {
        let config = PathBuf::from("a.json");
        assert_eq!(
            command("check --config a.json"),
            Command::Check {
                config: config.clone()
            }
        );
        assert_eq!(
            command("--config=a.json check"),
            Command::Check {
                config: config.clone()
            }
        );
        assert_eq!(
            command("--config a.json"),
            Command::Serve {
                config: Some(config),
                listen: None
            }
        );
        let invocation = parsed("serve --log json --log-level=debug").unwrap();
        assert_eq!(
            (invocation.format, invocation.level),
            (Format::Json, Level::Debug)
        );
    }

    #[test]
    fn listen_belongs_to_the_demo_alone() {
        assert_eq!(
            command("--listen [::1]:0"),
            Command::Serve {
                config: None,
                listen: Some("[::1]:0".parse().unwrap())
            }
        );
        assert!(fault("--config a.json --listen 127.0.0.1:0").contains("for the demo alone"));
        assert!(fault("hash --listen 127.0.0.1:0").contains("for the demo alone"));
        assert!(fault("--listen 8443").contains("like 127.0.0.1:8443"));
    }

    #[test]
    fn a_typing_error_gets_the_nearest_word_and_the_usage() {
        let shown = fault("--confg a.json");
        assert!(shown.contains("did you mean \"--config\"?"), "{shown}");
        assert!(shown.contains("\nusage: countersign-test "), "{shown}");
        assert!(fault("serv").contains("did you mean \"serve\"?"));
        assert!(!fault("--zzz").contains("did you mean"));
    }

    #[test]
    fn missing_repeated_and_foreign_values_are_refused() {
        assert!(fault("--config").contains("needs a value"));
        assert!(fault("--config=").contains("needs a value"));
        assert!(fault("--config a --config b").contains("given twice"));
        assert!(fault("--log xml").contains("one of text, json"));
        assert!(fault("--log-level loud").contains("error, warn, info, debug"));
        assert!(fault("check").contains("needs \"--config FILE\""));
        assert!(fault("schema --config a").contains("takes no"));
        assert!(fault("check extra --config a").contains("unexpected argument"));
    }

    #[test]
    fn explain_asks_about_a_server_a_peer_and_a_time() {
        assert_eq!(
            command("explain --config a --server edge --peer 2001:db8::1 --at 1970-01-02T00:00:00Z"),
            Command::Explain {
                config: PathBuf::from("a"),
                question: Question {
                    server: Some("edge".into()),
                    peer: "2001:db8::1".parse().ok(),
                    at: Some(UnixTime::from_secs(86_400)),
                }
            }
        );
        assert!(fault("explain").contains("needs \"--config FILE\""));
        assert!(fault("explain --config a --at noon").contains("like 2026-01-31T12:00:00Z"));
        assert!(fault("explain --config a --peer localhost").contains("an IP address"));
        assert!(fault("check --config a --peer ::1").contains("for \"explain\" alone"));
    }

    #[test]
    fn help_and_version_win_over_everything_before_them() {
        assert_eq!(command("check --help"), Command::Help);
        assert_eq!(command("-V"), Command::Version);
        assert!(help("p").lines().all(|line| line.len() <= 150));
    }
}
