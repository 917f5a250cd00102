//! The program as the operator sees it: exit codes, lines, signals.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};

/// How long a test waits for what has to happen.
const PATIENCE: Duration = Duration::from_secs(10);

/// A configuration file of its own, gone with the test.
struct ConfigFile(PathBuf);

impl ConfigFile {
    fn new(text: &str) -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("countersign-smol-{}-{number}.json", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::write(&path, text).unwrap();
        Self(path)
    }

    fn echo_on(address: &str) -> Self {
        Self::new(&format!(
            r#"{{
                "servers": [{{"id": "edge", "listen": ["{address}"], "plaintext": true}}],
                "services": {{"echo": {{"type": "echo", "accept": "/ws", "public": true}}}}
            }}"#
        ))
    }

    fn option(&self) -> String {
        format!("--config={}", self.0.display())
    }
}

impl Drop for ConfigFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn program(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign-smol"));
    command
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn output(args: &[&str]) -> (i32, String, String) {
    said(&program(args).output().unwrap())
}

fn said(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (
        output.status.code().unwrap(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

/// Waits for the next line of the log.
fn next_line(stderr: &mut BufReader<ChildStderr>) -> String {
    if stderr.buffer().is_empty() {
        let patience = Timespec::try_from(PATIENCE).unwrap();
        let ready = poll(
            &mut [PollFd::new(stderr.get_ref(), PollFlags::IN)],
            Some(&patience),
        );
        assert_eq!(ready.unwrap(), 1, "no line comes");
    }
    let mut line = String::new();
    assert!(stderr.read_line(&mut line).unwrap() > 0, "the log has ended");
    line
}

/// A program that runs, and is killed with the test.
struct Running {
    child: Child,
    stderr: BufReader<ChildStderr>,
    address: String,
}

impl Running {
    /// Starts the program with JSON lines and waits until it listens.
    fn start(args: &[&str]) -> Self {
        let mut child = program(args).args(["--log", "json"]).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let address = loop {
            let line = next_line(&mut stderr);
            if line.contains("\"event\":\"listening\"") {
                let (_, url) = line.split_once("://").unwrap();
                break url.split('"').next().unwrap().to_owned();
            }
        };
        Self {
            child,
            stderr,
            address,
        }
    }

    fn signal(&self, signal: Signal) {
        let id = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        kill_process(id, signal).unwrap();
    }

    fn ended(&mut self) -> Option<i32> {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("it does not end");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_wrong_command_line_is_exit_code_2() {
    let (code, out, err) = output(&["--confg", "x"]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("--config") && err.contains("usage:"), "{err}");
}

#[test]
fn a_wrong_configuration_is_exit_code_1_with_its_place() {
    let config = ConfigFile::new("{\n  \"servers\": [],\n  \"sevices\": {}\n}");
    for command in ["check", "serve"] {
        let (code, out, err) = output(&[command, &config.option()]);
        assert_eq!((code, out.as_str()), (1, ""), "{err}");
        let place = format!("{}:3:", config.0.display());
        assert!(
            err.lines()
                .any(|line| line.starts_with(&place) && line.contains("did you mean \"services\"?")),
            "{err}"
        );
    }
    let (code, _, err) = output(&["check", "--log=json", "--config=/nonexistent"]);
    assert_eq!(code, 1);
    assert!(err.contains("\"event\":\"config_error\""), "{err}");
}

#[test]
fn check_is_silent_about_a_good_configuration() {
    let config = ConfigFile::echo_on("127.0.0.1:0");
    let silence = (0, String::new(), String::new());
    assert_eq!(output(&["check", &config.option()]), silence);
}

#[test]
fn the_admin_listener_is_checked_told_of_and_answers() {
    let token = ConfigFile::new("a-token-for-administrators\n");
    let admin = format!(
        r#""admin": {{"listen": ["127.0.0.1:0"], "tokenFile": "{}"}}, "#,
        token.0.display()
    );
    let config = ConfigFile::echo_on("127.0.0.1:0");
    let text = fs::read_to_string(&config.0).unwrap();
    fs::write(&config.0, text.replacen('{', &format!("{{{admin}"), 1)).unwrap();
    let (code, out, err) = output(&["check", &config.option()]);
    assert_eq!((code, out.as_str()), (0, ""), "{err}");
    assert!(err.contains("revocations") && err.lines().count() == 1, "{err}");
    let mut running = Running::start(&[&config.option()]);
    let line = next_line(&mut running.stderr);
    assert!(
        line.contains(r#""server":"admin","url":"http://127.0.0.1:"#),
        "{line}"
    );
    let (_, url) = line.split_once("://").unwrap();
    let mut client = TcpStream::connect(url.split('"').next().unwrap()).unwrap();
    client
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nok\n"),
        "{answer}"
    );
}

#[test]
fn an_address_in_use_is_exit_code_3_and_names_it() {
    let config = ConfigFile::echo_on("127.0.0.1:0");
    let first = Running::start(&[&config.option()]);
    let config = ConfigFile::echo_on(&first.address);
    let (code, _, err) = output(&[&config.option()]);
    assert_eq!(code, 3);
    assert!(
        err.contains(&first.address) && err.contains("choose another port"),
        "{err}"
    );
}

#[test]
fn the_demo_prints_its_credentials_and_ends_when_it_is_told() {
    let mut demo = Running::start(&["--listen", "127.0.0.1:0"]);
    demo.signal(Signal::TERM);
    assert_eq!(demo.ended(), Some(0));
    let mut out = String::new();
    demo.child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut out)
        .unwrap();
    for name in ["user: ", "password: ", "token: "] {
        assert!(out.lines().any(|line| line.starts_with(name)), "{out}");
    }
    let mut err = String::new();
    demo.stderr.read_to_string(&mut err).unwrap();
    assert!(!err.contains("password"), "{err}");
}

#[test]
fn a_reload_of_a_bad_file_is_reported_and_the_server_goes_on() {
    let config = ConfigFile::echo_on("127.0.0.1:0");
    let mut running = Running::start(&[&config.option()]);
    fs::write(&config.0, "{").unwrap();
    running.signal(Signal::HUP);
    let line = next_line(&mut running.stderr);
    assert!(line.contains("\"event\":\"reload_failed\""), "{line}");
    assert!(TcpStream::connect(&running.address).is_ok());
    running.signal(Signal::INT);
    assert_eq!(running.ended(), Some(0));
}

#[test]
fn nobody_waits_for_a_log_that_is_not_read() {
    /// More lines than the pipe of standard error takes.
    const REQUESTS: usize = 2000;
    let config = ConfigFile::echo_on("127.0.0.1:0");
    let mut running = Running::start(&[&config.option()]);
    let mut client = TcpStream::connect(&running.address).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    for _ in 0..REQUESTS {
        client
            .write_all(b"GET /absent HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .unwrap();
        let mut start = [0; 12];
        client.read_exact(&mut start).unwrap();
        assert_eq!(&start, b"HTTP/1.1 404");
        let mut rest = [0; 4096];
        let length = client.read(&mut rest).unwrap();
        if rest[..length]
            .to_ascii_lowercase()
            .windows(17)
            .any(|w| w == b"connection: close")
        {
            client = TcpStream::connect(&running.address).unwrap();
        }
    }
    drop(client);
    running.signal(Signal::TERM);
    assert_eq!(running.ended(), Some(0));
}

#[test]
fn hash_reads_one_line_and_prints_one_argon2id_string() {
    let mut child = program(&["hash"]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"open sesame\n").unwrap();
    let (code, out, err) = said(&child.wait_with_output().unwrap());
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(
        out.starts_with("$argon2id$") && out.ends_with('\n') && out.lines().count() == 1,
        "{out}"
    );
}

#[test]
fn explain_prints_each_check_and_the_answer_and_is_done() {
    let config = ConfigFile::echo_on("127.0.0.1:0");
    let ask = |options: &[&str], head: &[u8]| {
        let option = config.option();
        let args = [&["explain", option.as_str()], options].concat();
        let mut child = program(&args).stdin(Stdio::piped()).spawn().unwrap();
        // A program that refuses its options ends without reading.
        let _ = child.stdin.take().unwrap().write_all(head);
        said(&child.wait_with_output().unwrap())
    };
    let options = [
        "--server",
        "edge",
        "--peer=2001:db8::1",
        "--at",
        "1994-11-06T08:49:37Z",
    ];
    let (code, out, err) = ask(&options, b"GET /ws HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(
        out.starts_with("limits passed\nframing passed\nhost passed\n"),
        "{out}"
    );
    assert!(
        out.contains("\nupgrade refused:bad_upgrade\navailable not_reached\n"),
        "{out}"
    );
    assert!(out.contains("\n\nHTTP/1.1 426 Upgrade Required\r\n"), "{out}");
    assert!(out.contains("Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"), "{out}");
    let (code, out, err) = ask(&["--server", "egde"], b"");
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("did you mean \"edge\"?"), "{err}");
}

#[test]
fn schema_help_and_version_go_to_standard_output() {
    for (command, part) in [
        ("schema", "\"$schema\""),
        ("help", "usage:"),
        ("version", "countersign-smol 0."),
    ] {
        let (code, out, err) = output(&[command]);
        assert_eq!((code, err.as_str()), (0, ""));
        assert!(out.contains(part), "{out}");
    }
}
