//! Threads that are used again: a short connection or a short job does not pay for a new one.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::{io, thread};

/// Idle threads that a crew keeps. More end when their task does.
const IDLE_LIMIT: usize = 64;

type Task = Box<dyn FnOnce() + Send>;

/// A crew of equal threads. There are as many as there are tasks at a time: the limits are the
/// caller's, who hands a task in only with a slot in hand.
#[derive(Clone)]
pub(crate) struct Crew(Arc<Inner>);

struct Inner {
    name: &'static str,
    stack: usize,
    bench: Mutex<Bench>,
    called: Condvar,
}

#[derive(Default)]
struct Bench {
    idle: usize,
    tasks: VecDeque<Task>,
    dismissed: bool,
}

impl Crew {
    /// A crew without threads, whose threads will have `stack` bytes of stack.
    pub(crate) fn new(name: &'static str, stack: usize) -> Self {
        Self(Arc::new(Inner {
            name,
            stack,
            bench: Mutex::default(),
            called: Condvar::new(),
        }))
    }

    /// Runs `task` on an idle thread or a new one. A panic of it ends nothing but the task.
    ///
    /// # Errors
    /// The operating system has no thread to give. The task is dropped unrun.
    pub(crate) fn run(&self, task: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let mut bench = self.0.bench.lock().unwrap_or_else(PoisonError::into_inner);
        if bench.idle > bench.tasks.len() {
            bench.tasks.push_back(Box::new(task));
            drop(bench);
            self.0.called.notify_one();
            return Ok(());
        }
        drop(bench);
        let inner = Arc::clone(&self.0);
        thread::Builder::new()
            .name(inner.name.to_owned())
            .stack_size(inner.stack)
            .spawn(move || inner.work(Box::new(task)))
            .map(drop)
    }

    /// Lets the idle threads go, and the others as soon as their task ends.
    pub(crate) fn dismiss(&self) {
        self.0
            .bench
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .dismissed = true;
        self.0.called.notify_all();
    }
}

impl Inner {
    fn work(&self, first: Task) {
        let mut task = Some(first);
        while let Some(run) = task {
            // Whoever handed the task in reports its panics; the thread must survive them.
            let _ = catch_unwind(AssertUnwindSafe(run));
            task = self.next();
        }
    }

    /// Waits for a task; `None` if the thread is not needed any more.
    fn next(&self) -> Option<Task> {
        let mut bench = self.bench.lock().unwrap_or_else(PoisonError::into_inner);
        if bench.idle >= IDLE_LIMIT {
            return None;
        }
        bench.idle += 1;
        while bench.tasks.is_empty() && !bench.dismissed {
            bench = self.called.wait(bench).unwrap_or_else(PoisonError::into_inner);
        }
        bench.idle -= 1;
        bench.tasks.pop_front()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::mpsc;
    use std::thread::ThreadId;

    use super::*;

    #[test]
    fn a_thread_survives_a_panic_and_is_used_again() {
        let crew = Crew::new("test", 256 * 1024);
        let (told, tell) = mpsc::channel::<ThreadId>();
        crew.run(|| panic!("expected in this test")).unwrap();
        // The first thread comes back to the bench before or after this one asks: two at most.
        let mut threads = Vec::new();
        for _ in 0..16 {
            let told = told.clone();
            crew.run(move || told.send(thread::current().id()).unwrap())
                .unwrap();
            threads.push(tell.recv().unwrap());
            while crew.0.bench.lock().unwrap().idle == 0 {
                thread::yield_now();
            }
        }
        threads.sort_by_key(|id| format!("{id:?}"));
        threads.dedup();
        assert!(threads.len() <= 2, "{threads:?}");
        crew.dismiss();
    }
}
