//! Threads that are used again: a short connection or a short job does not pay for a new one.

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};
use std::{fmt, io};

/// Idle threads that a crew keeps. More end when their task does.
const IDLE_LIMIT: usize = 64;

/// How long an idle thread waits for its next task. The one that became idle last is taken first, so
/// that after a burst the others reach this age although tasks keep coming.
const IDLE_TIME: Duration = Duration::from_secs(10);

/// What a thread of a crew does once.
pub(crate) type Task = Box<dyn FnOnce() + Send>;

/// A crew of equal threads. There are as many as there are tasks at a time: the limits are the
/// caller's, who hands a task in only with a slot in hand.
#[derive(Clone)]
pub(crate) struct Crew(Arc<Inner>);

struct Inner {
    name: &'static str,
    stack: usize,
    idle_time: Duration,
    bench: Mutex<Bench>,
}

#[derive(Default)]
struct Bench {
    idle: Vec<Arc<Seat>>,
    dismissed: bool,
}

/// Where an idle thread waits, and what it is told.
struct Seat {
    thread: Thread,
    call: Mutex<Call>,
}

enum Call {
    None,
    Task(Task),
    Leave,
}

/// The operating system has no thread to give.
pub(crate) struct NoThread {
    /// Why not.
    pub(crate) error: io::Error,
    /// What was not run.
    pub(crate) task: Option<Task>,
}

impl fmt::Debug for NoThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NoThread").field(&self.error).finish()
    }
}

impl Crew {
    /// A crew without threads, whose threads will have `stack` bytes of stack.
    pub(crate) fn new(name: &'static str, stack: usize) -> Self {
        Self::with_idle_time(name, stack, IDLE_TIME)
    }

    fn with_idle_time(name: &'static str, stack: usize, idle_time: Duration) -> Self {
        Self(Arc::new(Inner {
            name,
            stack,
            idle_time,
            bench: Mutex::default(),
        }))
    }

    /// Runs `task` on an idle thread or a new one. A panic of it ends nothing but the task.
    ///
    /// # Errors
    /// The operating system has no thread to give; the task comes back.
    pub(crate) fn run(&self, task: Task) -> Result<(), NoThread> {
        let seat = self.0.bench().idle.pop();
        if let Some(seat) = seat {
            seat.tell(Call::Task(task));
            return Ok(());
        }
        let inner = Arc::clone(&self.0);
        let first = Arc::new(Mutex::new(Some(task)));
        let taken = Arc::clone(&first);
        let spawned = thread::Builder::new()
            .name(inner.name.to_owned())
            .stack_size(inner.stack)
            .spawn(move || inner.work(&taken));
        spawned.map(drop).map_err(|error| NoThread {
            error,
            task: lock(&first).take(),
        })
    }

    /// Lets the idle threads go, and the others as soon as their task ends.
    pub(crate) fn dismiss(&self) {
        let mut bench = self.0.bench();
        bench.dismissed = true;
        let idle = mem::take(&mut bench.idle);
        drop(bench);
        for seat in idle {
            seat.tell(Call::Leave);
        }
    }
}

impl Inner {
    fn bench(&self) -> MutexGuard<'_, Bench> {
        lock(&self.bench)
    }

    fn work(&self, first: &Mutex<Option<Task>>) {
        let mut task = lock(first).take();
        let seat = Arc::new(Seat {
            thread: thread::current(),
            call: Mutex::new(Call::None),
        });
        while let Some(run) = task {
            // Whoever handed the task in reports its panics; the thread must survive them.
            let _ = catch_unwind(AssertUnwindSafe(run));
            task = self.next(&seat);
        }
    }

    /// Waits for a task; `None` if the thread is not needed any more.
    fn next(&self, seat: &Arc<Seat>) -> Option<Task> {
        {
            let mut bench = self.bench();
            if bench.dismissed || bench.idle.len() >= IDLE_LIMIT {
                return None;
            }
            bench.idle.push(Arc::clone(seat));
        }
        let until = Instant::now() + self.idle_time;
        loop {
            match mem::replace(&mut *lock(&seat.call), Call::None) {
                Call::Task(task) => return Some(task),
                Call::Leave => return None,
                Call::None => {}
            }
            let left = until.saturating_duration_since(Instant::now());
            if !left.is_zero() {
                thread::park_timeout(left);
            } else if self.retire(seat) {
                return None;
            } else {
                // Somebody took the seat from the bench and is about to call.
                thread::park();
            }
        }
    }

    /// Takes `seat` from the bench; false if it is not there any more.
    fn retire(&self, seat: &Arc<Seat>) -> bool {
        let mut bench = self.bench();
        let all = bench.idle.len();
        bench.idle.retain(|other| !Arc::ptr_eq(other, seat));
        bench.idle.len() < all
    }
}

impl Seat {
    fn tell(&self, call: Call) {
        *lock(&self.call) = call;
        self.thread.unpark();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::mpsc::{self, Receiver};
    use std::thread::ThreadId;

    use super::*;

    const STACK: usize = 256 * 1024;

    /// Longer than any test.
    const ALWAYS: Duration = Duration::from_secs(3600);

    /// Waits until so many threads are idle.
    fn wait_for_idle(crew: &Crew, idle: usize) {
        while crew.0.bench().idle.len() != idle {
            thread::yield_now();
        }
    }

    /// Runs a task that names its thread and ends when the returned sender is dropped.
    fn occupy(crew: &Crew) -> (Receiver<ThreadId>, mpsc::Sender<()>) {
        let (told, tell) = mpsc::channel();
        let (hold, held) = mpsc::channel::<()>();
        let task = move || {
            told.send(thread::current().id()).unwrap();
            let _ = held.recv();
        };
        crew.run(Box::new(task)).unwrap();
        (tell, hold)
    }

    #[test]
    fn a_thread_survives_a_panic_and_is_used_again() {
        let crew = Crew::with_idle_time("test", STACK, ALWAYS);
        crew.run(Box::new(|| panic!("expected in this test"))).unwrap();
        wait_for_idle(&crew, 1);
        let first = occupy(&crew).0.recv().unwrap();
        for _ in 0..16 {
            wait_for_idle(&crew, 1);
            assert_eq!(occupy(&crew).0.recv().unwrap(), first);
        }
        wait_for_idle(&crew, 1);
        crew.dismiss();
        wait_for_idle(&crew, 0);
    }

    #[test]
    fn no_more_threads_stay_idle_than_the_limit() {
        let crew = Crew::with_idle_time("test", STACK, ALWAYS);
        let busy: Vec<_> = (0..=IDLE_LIMIT).map(|_| occupy(&crew)).collect();
        for (tell, _) in &busy {
            tell.recv().unwrap();
        }
        drop(busy);
        // The last one holds the crew until it has left.
        wait_for_idle(&crew, IDLE_LIMIT);
        while Arc::strong_count(&crew.0) > IDLE_LIMIT + 1 {
            thread::yield_now();
        }
        assert_eq!(crew.0.bench().idle.len(), IDLE_LIMIT);
        crew.dismiss();
        while Arc::strong_count(&crew.0) > 1 {
            thread::yield_now();
        }
    }

    #[test]
    fn an_idle_thread_ends_after_its_time() {
        let crew = Crew::with_idle_time("test", STACK, Duration::from_millis(20));
        for _ in 0..3 {
            drop(occupy(&crew));
            while Arc::strong_count(&crew.0) > 1 {
                thread::yield_now();
            }
            assert!(crew.0.bench().idle.is_empty());
        }
    }

    #[test]
    fn a_task_that_meets_a_retiring_thread_is_run() {
        let crew = Crew::with_idle_time("test", STACK, Duration::ZERO);
        for _ in 0..500 {
            let (told, tell) = mpsc::channel();
            crew.run(Box::new(move || told.send(()).unwrap())).unwrap();
            tell.recv_timeout(Duration::from_secs(10)).unwrap();
        }
    }
}
