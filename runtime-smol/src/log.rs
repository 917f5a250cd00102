//! The thread that writes the log, so that nobody else ever waits for standard error.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use countersign_core::note::Note;
use countersign_core::ops::log::{GATHER, LogQueue};
use countersign_core::time::Now;
use countersign_smol::Clock;
use rustix::event::{PollFd, PollFlags, poll};

/// How long the end of the program waits for lines that standard error does not take.
const LAST_FLUSH: Duration = Duration::from_secs(1);

/// Lines on their way to standard error.
#[derive(Debug)]
pub(crate) struct LogWriter {
    queue: Arc<LogQueue>,
    ending: Arc<AtomicBool>,
    ended: Receiver<()>,
    writer: Thread,
}

impl LogWriter {
    /// Starts the thread that writes what comes into `queue`.
    ///
    /// # Errors
    /// The thread could not be started.
    pub(crate) fn start(queue: LogQueue, clock: Clock) -> io::Result<Self> {
        let queue = Arc::new(queue);
        let ending = Arc::new(AtomicBool::new(false));
        let (end, ended) = channel();
        let writer = {
            let (queue, ending) = (Arc::clone(&queue), Arc::clone(&ending));
            thread::Builder::new().name("log".to_owned()).spawn(move || {
                write_lines(&queue, &ending, clock);
                drop::<Sender<()>>(end);
            })?
        };
        Ok(Self {
            queue,
            ending,
            ended,
            writer: writer.thread().clone(),
        })
    }

    /// Returns what queues a note and never waits.
    pub(crate) fn log(&self) -> impl Fn(&Note, Now) + Send + Sync + Clone + use<> {
        let (queue, writer) = (Arc::clone(&self.queue), self.writer.clone());
        move |note, now| {
            if queue.push(note, now) {
                writer.unpark();
            }
        }
    }

    /// Writes what is queued and ends the thread; waits at most [`LAST_FLUSH`].
    pub(crate) fn finish(self) {
        self.ending.store(true, Ordering::Release);
        self.writer.unpark();
        // Whether it ended or standard error is stuck: the program ends.
        let _ = self.ended.recv_timeout(LAST_FLUSH);
    }
}

fn write_lines(queue: &LogQueue, ending: &AtomicBool, clock: Clock) {
    loop {
        // Read before the queue: what was pushed before the end is then surely taken.
        let last = ending.load(Ordering::Acquire);
        let lines = queue.take(clock.now());
        if !lines.is_empty() {
            write_all(&lines);
            rest(ending);
        } else if last {
            return;
        } else {
            thread::park();
        }
    }
}

/// Lets lines gather, unless the program is ending.
fn rest(ending: &AtomicBool) {
    let until = Instant::now() + GATHER;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() || ending.load(Ordering::Acquire) {
            return;
        }
        thread::park_timeout(left);
    }
}

/// Writes to standard error, which may be non-blocking, since others can hold the same pipe. What
/// it refuses for good is lost: there is no other place to say so.
fn write_all(mut lines: &[u8]) {
    let mut stderr = io::stderr();
    while !lines.is_empty() {
        match stderr.write(lines) {
            Ok(0) => return,
            Ok(written) => lines = lines.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let _ = poll(&mut [PollFd::new(&stderr, PollFlags::OUT)], None);
            }
            Err(_) => return,
        }
    }
}
