//! What happens on the wires: reads, writes, timers, jobs, dials, and what the core wants next.

use std::ffi::OsStr;
use std::mem;
use std::path::PathBuf;

use countersign_core::config::Files;
use countersign_core::connection::Input;
use countersign_core::job::Job;
use countersign_core::leg::{Break, Destination, Dial, DialError, Leg, Opened, Tls as Role, TlsInfo};
use countersign_core::time::Moment;

use super::agenda::Event;
use super::line::{End, Stream, Tls};
use super::{FarEnd, HANDSHAKE, Habits, Sim, Speaks};
use crate::watched::Action;

/// The most bytes of one read, as in both adapters.
const READ_SIZE: usize = 16 * 1024;

impl Sim {
    pub(super) fn happen(&mut self, event: Event) {
        match event {
            Event::Secured(line, leg) => {
                if let Some(stream) = self.stream(line, leg) {
                    stream.tls = Tls::Open;
                    self.input(line, Input::Secured(leg, TlsInfo::default()));
                }
            }
            Event::Broken(line, leg) => {
                if let Some(stream) = self.stream(line, leg) {
                    let broken = if stream.tls == Tls::Pending {
                        Break::Tls
                    } else {
                        Break::Reset
                    };
                    stream.ended = Some(End::Reset);
                    self.input(line, Input::Broken(leg, broken));
                }
            }
            Event::Deliver(line, leg) => self.deliver(line, leg),
            Event::Take(line, leg, bytes) => self.take(line, leg, bytes),
            Event::Alarm(line, moment) => {
                let due = self
                    .lines
                    .get_mut(&line)
                    .filter(|line| line.armed == Some(moment));
                if let Some(due) = due {
                    due.armed = None;
                    self.tend(line);
                }
            }
            Event::Ring(line) => self.tend(line),
            Event::Computed(line, computed) => self.input(line, Input::Computed(computed)),
            Event::Dialed(line, leg, result) => self.dialed(line, leg, result),
            Event::Refresh => {
                let notes = self.gateway.refresh(&mut self.files, self.now);
                self.log(notes);
                self.later(super::REFRESH, Event::Refresh);
            }
        }
        self.collect_rings();
    }

    /// Asks all fakes whether they have more to say by now.
    pub fn nudge(&mut self) {
        let streams = self.lines.iter().flat_map(|(line, entry)| {
            let fakes = entry.streams.iter().filter(|(_, stream)| stream.talker.is_some());
            fakes.map(|(leg, _)| (*line, *leg))
        });
        for (line, leg) in streams.collect::<Vec<_>>() {
            self.answer(line, leg);
            self.tend(line);
        }
    }

    /// Lets a far end write. Says whether somebody is there to read it.
    pub fn write(&mut self, line: u64, leg: Leg, bytes: &[u8]) -> bool {
        let open = self.lines.get(&line).is_some_and(|line| line.watched.is_some());
        if let Some(stream) = self.stream(line, leg).filter(|_| open) {
            stream.inbound.extend(bytes);
            self.tend(line);
        }
        open
    }

    /// Lets a far end shut down its writing.
    pub(super) fn finish(&mut self, line: u64, leg: Leg) {
        if let Some(stream) = self.stream(line, leg) {
            stream.finished = true;
            self.tend(line);
        }
    }

    /// Lets a far end reset.
    pub(super) fn reset(&mut self, line: u64, leg: Leg) {
        self.soon(Event::Broken(line, leg));
    }

    pub(super) fn stream(&mut self, line: u64, leg: Leg) -> Option<&mut Stream> {
        self.lines.get_mut(&line)?.streams.get_mut(&leg)
    }

    fn input(&mut self, line: u64, input: Input<'_>) {
        let now = self.now;
        if let Some(watched) = self.lines.get_mut(&line).and_then(|line| line.watched.as_mut()) {
            watched.handle(now, input);
            self.tend(line);
        }
    }

    fn deliver(&mut self, line: u64, leg: Leg) {
        let whole = !self.habits.splits;
        let mut random = self.random.clone();
        let watched = self.lines.get(&line).and_then(|line| line.watched.as_ref());
        let levels = watched.and_then(|watched| watched.levels().leg(leg));
        let at_most = levels.map_or(READ_SIZE, |levels| levels.at_most.min(READ_SIZE));
        let Some(stream) = self.stream(line, leg) else {
            return;
        };
        stream.delivering = false;
        let there = stream.inbound.len().min(at_most);
        if there == 0 {
            stream.told = true;
            self.input(line, Input::Eof(leg));
            return;
        }
        let count = Habits::some(&mut random, whole, there);
        let bytes: Vec<u8> = stream.inbound.drain(..count).collect();
        self.random = random;
        self.input(line, Input::Data(leg, &bytes));
    }

    fn take(&mut self, line: u64, leg: Leg, bytes: Vec<u8>) {
        let (now, at) = (self.now, self.now.at.since_start());
        let Some(entry) = self.lines.get_mut(&line) else {
            return;
        };
        let Some(watched) = entry.watched.as_mut() else {
            return;
        };
        let Some(stream) = entry.streams.get_mut(&leg) else {
            return;
        };
        stream.taking = false;
        let waiting = watched.levels().leg(leg).map_or(0, |levels| levels.outgoing);
        assert!(
            waiting >= bytes.len(),
            "bytes that were being written have vanished"
        );
        stream.room = stream.room.saturating_sub(bytes.len());
        stream.received.extend_from_slice(&bytes);
        watched.handle(now, Input::Sent(leg, bytes.len()));
        self.transcript.number(line);
        self.transcript.number(at.as_nanos() as u64);
        self.transcript.add(&bytes);
        self.answer(line, leg);
        self.tend(line);
    }

    /// Lets a fake peer answer what it got.
    fn answer(&mut self, line: u64, leg: Leg) {
        let Some(stream) = self.stream(line, leg) else {
            return;
        };
        let got = match stream.far {
            None => return,
            Some(_) => mem::take(&mut stream.received),
        };
        match stream.far {
            Some(FarEnd::Echo) => stream.inbound.extend(got),
            Some(FarEnd::Fake(_)) => {
                if let Some(talker) = &mut stream.talker
                    && !stream.finished
                {
                    let reply = talker.hear(&got);
                    stream.inbound.extend(reply.bytes);
                    stream.finished = reply.end;
                }
            }
            Some(FarEnd::Bytes(_) | FarEnd::Announced(..) | FarEnd::Dead(_) | FarEnd::Silent) | None => {}
        }
    }

    fn dialed(&mut self, line: u64, leg: Leg, result: Result<Opened, DialError>) {
        if self.stream(line, leg).is_none() {
            return;
        }
        // Some end a stream without a word.
        self.answer(line, leg);
        if result.is_err() {
            self.lines.get_mut(&line).map(|entry| entry.streams.remove(&leg));
        }
        self.input(line, Input::Dialed(leg, result));
    }

    /// Steps a connection, does what it wants, and arranges what it waits for.
    pub(super) fn tend(&mut self, line: u64) {
        let now = self.now;
        let Some(watched) = self.lines.get_mut(&line).and_then(|entry| entry.watched.as_mut()) else {
            return;
        };
        let actions = watched.settle(now);
        let (over, levels) = (watched.is_over(), watched.levels().clone());
        for action in actions {
            self.act(line, action);
        }
        self.collect_rings();
        if over {
            self.transcript.number(line);
            if let Some(entry) = self.lines.get_mut(&line) {
                entry.let_go();
            }
            return;
        }
        for leg in &levels.legs {
            self.arrange(line, leg.leg, leg.wants_read, leg.outgoing);
        }
        self.arm(line, levels.deadline);
    }

    fn arrange(&mut self, line: u64, leg: Leg, wants_read: bool, outgoing: usize) {
        let (now, whole) = (self.now, !self.habits.partial);
        let mut random = self.random.clone();
        let Some(entry) = self.lines.get_mut(&line) else {
            return;
        };
        let Some(stream) = entry.streams.get_mut(&leg) else {
            return;
        };
        let deliver = wants_read && stream.has_input() && !stream.delivering;
        stream.delivering |= deliver;
        let room = outgoing.min(stream.room);
        let writable = stream.tls == Tls::Open && stream.ended.is_none();
        let taken = if room > 0 && writable && !stream.taking {
            stream.taking = true;
            let count = Habits::some(&mut random, whole, room);
            entry
                .watched
                .as_mut()
                .map(|watched| watched.outgoing(now, leg, count))
        } else {
            None
        };
        self.random = random;
        if deliver {
            self.soon(Event::Deliver(line, leg));
        }
        if let Some(bytes) = taken {
            self.soon(Event::Take(line, leg, bytes));
        }
    }

    fn arm(&mut self, line: u64, deadline: Option<Moment>) {
        let Some(entry) = self.lines.get_mut(&line) else {
            return;
        };
        if entry.armed == deadline {
            return;
        }
        entry.armed = deadline;
        if let Some(deadline) = deadline {
            let late = self.habits.lateness(&mut self.random);
            let after = deadline.since(self.now.at).saturating_add(late);
            self.later(after, Event::Alarm(line, deadline));
        }
    }

    fn act(&mut self, line: u64, action: Action) {
        match action {
            Action::Note(note) => self.log(vec![note]),
            Action::Hangup(leg) => {
                if let Some(stream) = self.stream(line, leg) {
                    stream.ended = Some(End::Eof);
                    // A peer that only answers has nothing more to say.
                    stream.finished |= stream.far.is_some();
                }
            }
            Action::Drop(leg) => {
                self.lines.get_mut(&line).map(|entry| entry.streams.remove(&leg));
            }
            Action::Compute(job) => self.compute(line, job),
            Action::Secure(leg, role) => self.secure(line, leg, &role),
            Action::Dial(dial) => self.dial(line, &dial),
        }
    }

    fn secure(&mut self, line: u64, leg: Leg, role: &Role) {
        let speaks = self.lines.get(&line).map(|line| line.speaks);
        let Some(stream) = self.stream(line, leg) else {
            return;
        };
        stream.tls = Tls::Pending;
        match (role, speaks) {
            (Role::Client(_), _) | (Role::Server(_), Some(Speaks::Tls)) => {
                self.later(HANDSHAKE, Event::Secured(line, leg));
            }
            (Role::Server(_), Some(Speaks::Plain)) => self.later(HANDSHAKE, Event::Broken(line, leg)),
            (Role::Server(_), Some(Speaks::Nothing) | None) => {}
        }
    }

    fn compute(&mut self, line: u64, job: Job) {
        self.jobs += 1;
        let lost = self.habits.lost_jobs;
        if lost > 0 && self.random.one_in(lost) {
            drop(job);
        } else {
            self.soon(Event::Computed(line, job.run()));
        }
    }

    /// Returns the file of the disk that is dialed, if there is one.
    fn file(&mut self, to: &Destination) -> Option<FarEnd> {
        let Destination::File { root, segments } = to else {
            return None;
        };
        let path: PathBuf = root.iter().chain(segments.iter().map(OsStr::new)).collect();
        let (bytes, _) = self.files.read(&path, usize::MAX).ok()?;
        Some(FarEnd::Bytes(bytes))
    }

    fn dial(&mut self, line: u64, dial: &Dial) {
        let nobody = match &dial.to {
            Destination::Tcp { .. } => DialError::Refused,
            Destination::File { .. } => DialError::NotFound,
        };
        let address = match &dial.to {
            Destination::Tcp { host, port, .. } => format!("{host}:{port}"),
            Destination::File { root, segments } => format!("{}/{}", root.display(), segments.join("/")),
        };
        let placed = self.far_ends.get(&address).cloned();
        let far = placed
            .or_else(|| self.file(&dial.to))
            .unwrap_or(FarEnd::Dead(nobody));
        let mut stream = Stream::new(Tls::Open, Some(far.clone()));
        let result = match far {
            FarEnd::Silent => None,
            FarEnd::Dead(error) => Some(Err(error)),
            FarEnd::Echo | FarEnd::Fake(_) => Some(Ok(Opened::default())),
            FarEnd::Bytes(bytes) => Some(Ok(stream.give(&bytes, bytes.len() as u64))),
            FarEnd::Announced(bytes, length) => Some(Ok(stream.give(&bytes, length))),
        };
        let Some(entry) = self.lines.get_mut(&line) else {
            return;
        };
        entry.streams.insert(dial.leg, stream);
        if let Some(result) = result {
            self.soon(Event::Dialed(line, dial.leg, result));
        }
    }
}
