//! Log lines: one a note, whole, in order, from a bounded queue that never makes anybody wait.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::config::{ConfigError, ConfigErrors};
use crate::http::date::{rfc3339, rfc3339_bytes};
use crate::http::syntax::put_decimal;
use crate::note::{Closed, Decision, Note};
use crate::time::Now;

/// How many bytes of lines wait before `decision` and `closed` lines are dropped: some 4000
/// requests, a few seconds of a disk that does not answer.
pub const QUEUE_BYTES: usize = 1024 * 1024;

/// How many bytes of lines wait before any line is dropped. What is not made by a request is
/// rare, so this is only reached when nobody takes lines any more.
pub const HARD_QUEUE_BYTES: usize = 2 * QUEUE_BYTES;

/// How long whoever writes the lines lets them gather after a write: a server under load writes many
/// at once instead of waking up for each. A line that comes after a quiet time is not held up.
pub const GATHER: Duration = Duration::from_millis(5);

/// Where a value that a peer can make is cut, in bytes (R10).
const VALUE_BYTES: usize = 256;

/// Where a text of our own or of the operating system is cut, in bytes.
const MESSAGE_BYTES: usize = 4096;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One readable line.
    Text,
    /// One JSON object a line.
    Json,
}

/// How severe an event is, most severe first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Something was refused or broke.
    Error,
    /// The operator should look.
    Warn,
    /// The ordinary course.
    Info,
    /// Everything.
    Debug,
}

impl Level {
    /// Every level, most severe first.
    pub const ALL: [Self; 4] = [Self::Error, Self::Warn, Self::Info, Self::Debug];

    /// Returns the level as it stands on the command line and in JSON lines.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }

    const fn label(self) -> &'static str {
        match self {
            Self::Error => "ERROR",
            Self::Warn => "WARN",
            Self::Info => "INFO",
            Self::Debug => "DEBUG",
        }
    }
}

/// Lines between those who have something to say and the one thread that writes.
#[derive(Debug)]
pub struct LogQueue {
    format: Format,
    level: Level,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: Vec<u8>,
    dropped: u64,
}

impl LogQueue {
    /// An empty queue of lines that look like `format` and are at least as severe as `level`.
    pub fn new(format: Format, level: Level) -> Self {
        Self {
            format,
            level,
            waiting: Mutex::default(),
        }
    }

    /// Queues the line of `note`, or drops and counts it if the queue is full. Returns whether the
    /// writer has to be woken: it emptied the queue and may sleep. Never waits for the writer.
    pub fn push(&self, note: &Note, now: Now) -> bool {
        let (_, level) = name_and_level(note);
        // Whoever starts the program waits for this line, so no level hides it.
        if level > self.level && !matches!(note, Note::Listening { .. }) {
            return false;
        }
        let limit = match note {
            Note::Decision(_) | Note::Closed(_) => QUEUE_BYTES,
            Note::Listening { .. }
            | Note::Reloaded
            | Note::ReloadFailed(_)
            | Note::ConfigRefused(_)
            | Note::OverLimit { .. }
            | Note::LogDropped { .. }
            | Note::AcceptFailed { .. }
            | Note::Panicked
            | Note::Draining
            | Note::Revocation(_)
            | Note::Bus { .. }
            | Note::Warning { .. } => HARD_QUEUE_BYTES,
        };
        let mut waiting = self.lock();
        let before = waiting.lines.len();
        if before < limit {
            write_note(&mut waiting.lines, self.format, note, now);
        }
        if before >= limit || waiting.lines.len() > limit {
            waiting.lines.truncate(before);
            waiting.dropped += 1;
        }
        before == 0 && !waiting.lines.is_empty()
    }

    /// Takes all lines that wait, in order; empty if there are none. If lines were dropped since
    /// the last time, the last line says how many.
    pub fn take(&self, now: Now) -> Vec<u8> {
        let mut waiting = self.lock();
        let mut lines = std::mem::take(&mut waiting.lines);
        let dropped = std::mem::take(&mut waiting.dropped);
        drop(waiting);
        if dropped > 0 && self.level >= Level::Warn {
            write_note(&mut lines, self.format, &Note::LogDropped { count: dropped }, now);
        }
        lines
    }

    /// Says whether no line waits.
    pub fn is_empty(&self) -> bool {
        self.lock().lines.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // The lines are plain bytes: whoever panicked in here left at worst half a line.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const fn name_and_level(note: &Note) -> (&'static str, Level) {
    match note {
        Note::Decision(_) => ("decision", Level::Info),
        Note::Closed(_) => ("closed", Level::Info),
        Note::Listening { .. } => ("listening", Level::Info),
        Note::Reloaded => ("reloaded", Level::Info),
        Note::ReloadFailed(_) => ("reload_failed", Level::Error),
        Note::ConfigRefused(_) => ("config_error", Level::Error),
        Note::OverLimit { .. } => ("over_limit", Level::Warn),
        Note::LogDropped { .. } => ("log_dropped", Level::Warn),
        Note::AcceptFailed { .. } => ("accept_failed", Level::Warn),
        Note::Panicked => ("panicked", Level::Error),
        Note::Draining => ("draining", Level::Info),
        // Shown at every usual level: the operator keeps it.
        Note::Revocation(_) => ("revocation", Level::Warn),
        // One in many lines, and what is shared depends on it: shown at every usual level.
        Note::Bus { .. } => ("bus", Level::Warn),
        Note::Warning { .. } => ("warning", Level::Warn),
    }
}

fn write_note(out: &mut Vec<u8>, format: Format, note: &Note, now: Now) {
    match (note, format) {
        (Note::ConfigRefused(errors), Format::Text) => write_error_lines(out, errors, ""),
        (Note::ConfigRefused(errors), Format::Json) => {
            for error in errors {
                out.extend_from_slice(error.to_json().as_bytes());
                out.push(b'\n');
            }
        }
        (Note::ReloadFailed(errors), Format::Text) => {
            let start = format!("{} {} reload_failed ", rfc3339(now.unix), Level::Error.label());
            write_error_lines(out, errors, &start);
        }
        (
            Note::ReloadFailed(_)
            | Note::Decision(_)
            | Note::Closed(_)
            | Note::Listening { .. }
            | Note::Reloaded
            | Note::OverLimit { .. }
            | Note::LogDropped { .. }
            | Note::AcceptFailed { .. }
            | Note::Panicked
            | Note::Draining
            | Note::Revocation(_)
            | Note::Bus { .. }
            | Note::Warning { .. },
            _,
        ) => {
            let mut line = Line::begin(out, format, note, now);
            write_members(&mut line, note);
            line.end();
        }
    }
}

fn write_members(line: &mut Line<'_>, note: &Note) {
    match note {
        Note::Decision(decision) => write_decision(line, decision),
        Note::Closed(closed) => write_closed(line, closed),
        Note::Listening { server, url } => {
            line.string("server", server);
            line.message("url", url);
        }
        Note::ReloadFailed(errors) => {
            let objects: Vec<String> = errors.iter().map(ConfigError::to_json).collect();
            line.raw("errors", &format!("[{}]", objects.join(",")));
        }
        Note::OverLimit { count } | Note::LogDropped { count } => line.number("count", *count),
        Note::AcceptFailed { server, error } => {
            line.string("server", server);
            line.message("error", error);
        }
        Note::Revocation(revocation) => {
            let members = [
                ("subject", &revocation.subject),
                ("jti", &revocation.jti),
                ("issuer", &revocation.issuer),
                ("realm", &revocation.realm),
            ];
            for (name, value) in members {
                // Whole, or the line would revoke somebody else once it stands in the file.
                if let Some(value) = value {
                    line.message(name, value);
                }
            }
            line.string("until", &rfc3339(revocation.until));
        }
        Note::Bus { up } => line.string("state", if *up { "up" } else { "down" }),
        Note::Warning { message } => line.message("message", message),
        // The first two have lines of their own; the others have no members.
        Note::ConfigRefused(_) | Note::Reloaded | Note::Panicked | Note::Draining => {}
    }
}

fn write_decision(line: &mut Line<'_>, decision: &Decision) {
    line.number("status", u64::from(decision.status));
    line.string("reason", decision.reason.code());
    line.string("server", &decision.server);
    line.optional("service", decision.service.as_deref());
    line.optional("realm", decision.realm.as_deref());
    line.optional("subject", decision.subject.as_deref());
    line.optional("carrier", decision.carrier.as_deref());
    line.optional("scheme", decision.scheme.as_deref());
    line.optional("method", decision.method);
    line.optional("path", decision.path.as_deref());
    // Whoever reads the lines by program finds the member wherever there was a target.
    if !decision.params.is_empty() || (line.format == Format::Json && decision.path.is_some()) {
        line.list("params", &decision.params);
    }
    line.address("peer", decision.peer);
    line.hex("request", decision.request.0);
}

fn write_closed(line: &mut Line<'_>, closed: &Closed) {
    line.number("code", u64::from(closed.code));
    line.string("reason", &closed.reason);
    line.string("server", &closed.server);
    line.string("service", &closed.service);
    let milliseconds = u64::try_from(closed.duration.as_millis()).unwrap_or(u64::MAX);
    line.number("duration_ms", milliseconds);
    line.number("messages_in", closed.messages_in);
    line.number("messages_out", closed.messages_out);
    line.number("bytes_in", closed.bytes_in);
    line.number("bytes_out", closed.bytes_out);
    line.hex("request", closed.request.0);
}

/// The errors as `FILE:LINE:COLUMN: PATH: MESSAGE`, each behind `start`.
fn write_error_lines(out: &mut Vec<u8>, errors: &ConfigErrors, start: &str) {
    for error in errors {
        out.extend_from_slice(start.as_bytes());
        // A name in the file may hold anything; a line break in it must not forge a line.
        for c in error.to_string().chars() {
            if c.is_control() {
                escape(out, c);
            } else {
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
        out.push(b'\n');
    }
}

/// One line under construction.
struct Line<'a> {
    out: &'a mut Vec<u8>,
    format: Format,
}

impl<'a> Line<'a> {
    fn begin(out: &'a mut Vec<u8>, format: Format, note: &Note, now: Now) -> Self {
        let (event, level) = name_and_level(note);
        let time = &rfc3339_bytes(now.unix)[..];
        let parts = match format {
            Format::Text => [
                time,
                b" ",
                level.label().as_bytes(),
                b" ",
                event.as_bytes(),
                b"",
                b"",
            ],
            Format::Json => [
                b"{\"event\":\"",
                event.as_bytes(),
                b"\",\"time\":\"",
                time,
                b"\",\"level\":\"",
                level.name().as_bytes(),
                b"\"",
            ],
        };
        for part in parts {
            out.extend_from_slice(part);
        }
        Self { out, format }
    }

    fn end(self) {
        match self.format {
            Format::Text => self.out.push(b'\n'),
            Format::Json => self.out.extend_from_slice(b"}\n"),
        }
    }

    fn name(&mut self, name: &str) {
        let (before, behind) = match self.format {
            Format::Text => (" ", "="),
            Format::Json => (",\"", "\":"),
        };
        for part in [before, name, behind] {
            self.out.extend_from_slice(part.as_bytes());
        }
    }

    fn number(&mut self, name: &str, value: u64) {
        self.name(name);
        put_decimal(self.out, value);
    }

    /// A value that a peer may have made.
    fn string(&mut self, name: &str, value: &str) {
        self.text(name, cut(value, VALUE_BYTES));
    }

    fn message(&mut self, name: &str, value: &str) {
        self.text(name, cut(value, MESSAGE_BYTES));
    }

    fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        match self.format {
            Format::Text if is_plain(value) => self.out.extend_from_slice(value.as_bytes()),
            Format::Text | Format::Json => quote(self.out, value),
        }
    }

    /// An address and its port.
    fn address(&mut self, name: &str, address: SocketAddr) {
        let SocketAddr::V4(v4) = address else {
            return self.string(name, &address.to_string());
        };
        self.bare(name, |out| {
            for (index, octet) in v4.ip().octets().into_iter().enumerate() {
                if index > 0 {
                    out.push(b'.');
                }
                put_decimal(out, octet.into());
            }
            out.push(b':');
            put_decimal(out, v4.port().into());
        });
    }

    /// Hexadecimal digits.
    fn hex(&mut self, name: &str, bytes: [u8; 8]) {
        self.bare(name, |out| {
            let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble & 0xF)];
            let mut text = [0; 16];
            for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
                pair.copy_from_slice(&[digit(byte >> 4), digit(byte)]);
            }
            out.extend_from_slice(&text);
        });
    }

    /// A value in which nothing needs to be escaped: a JSON string, or text without quotes.
    fn bare(&mut self, name: &str, write: impl FnOnce(&mut Vec<u8>)) {
        self.name(name);
        match self.format {
            Format::Text => write(self.out),
            Format::Json => {
                self.out.push(b'"');
                write(self.out);
                self.out.push(b'"');
            }
        }
    }

    fn optional(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.string(name, value);
        }
    }

    /// A list of strings: a JSON array, or text joined by commas.
    fn list(&mut self, name: &str, values: &[String]) {
        match self.format {
            Format::Text => self.string(name, &values.join(",")),
            Format::Json => {
                self.name(name);
                self.out.push(b'[');
                for (index, value) in values.iter().enumerate() {
                    if index > 0 {
                        self.out.push(b',');
                    }
                    quote(self.out, cut(value, VALUE_BYTES));
                }
                self.out.push(b']');
            }
        }
    }

    /// A value that is JSON already.
    fn raw(&mut self, name: &str, value: &str) {
        self.name(name);
        self.out.extend_from_slice(value.as_bytes());
    }
}

fn cut(value: &str, limit: usize) -> &str {
    if value.len() <= limit {
        return value;
    }
    let end = (0..=limit.min(value.len()))
        .rev()
        .find(|&end| value.is_char_boundary(end));
    value.get(..end.unwrap_or(0)).unwrap_or_default()
}

/// Says whether `value` can stand in a text line without quotes.
fn is_plain(value: &str) -> bool {
    !value.is_empty()
        && value.bytes().fold(true, |all, b| {
            all & (b.is_ascii_graphic() && !matches!(b, b'"' | b'\\' | b'='))
        })
}

/// Writes `value` as a JSON string in printable ASCII, in text lines too: no terminal obeys it
/// and no character can pass for another.
fn quote(out: &mut Vec<u8>, value: &str) {
    out.push(b'"');
    let plain = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
    // Without an early end the compiler looks at many bytes at once.
    if value.as_bytes().iter().fold(true, |all, byte| all & plain(byte)) {
        out.extend_from_slice(value.as_bytes());
    } else {
        for c in value.chars() {
            match c {
                '"' | '\\' => out.extend_from_slice(&[b'\\', c as u8]),
                ' '..='~' => out.push(c as u8),
                _ => escape(out, c),
            }
        }
    }
    out.push(b'"');
}

fn escape(out: &mut Vec<u8>, c: char) {
    for unit in c.encode_utf16(&mut [0; 2]) {
        let _ = write!(out, "\\u{unit:04x}");
    }
}

#[cfg(test)]
mod tests;
