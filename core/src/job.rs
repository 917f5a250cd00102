//! Work for a processor: what takes longer than an IO loop may stand still.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a job found out.
pub(crate) type Outcome = Box<dyn Any + Send>;

/// A piece of work to run away from the IO path. It holds its share of the gateway's budget, which
/// is given back when the job ends or is dropped unrun.
#[must_use = "a job that is not run ends in 503 for its client"]
pub struct Job {
    number: u64,
    work: Box<dyn FnOnce() -> Outcome + Send + Sync>,
    claim: Box<dyn Any + Send + Sync>,
}

impl Job {
    /// A job whose share of the budget is `claim`.
    pub(crate) fn new<T: Send + 'static>(
        number: u64,
        claim: impl Any + Send + Sync,
        work: impl FnOnce() -> T + Send + Sync + 'static,
    ) -> Self {
        Self {
            number,
            work: Box::new(move || Box::new(work())),
            claim: Box::new(claim),
        }
    }

    /// Runs the work on the calling thread. A panic inside becomes a failed result.
    pub fn run(self) -> Computed {
        let Self { number, work, claim } = self;
        let outcome = catch_unwind(AssertUnwindSafe(work)).ok();
        drop(claim);
        Computed { number, outcome }
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

/// The result of a [`Job`], to be handed back to the connection that asked for it.
pub struct Computed {
    number: u64,
    outcome: Option<Outcome>,
}

impl Computed {
    pub(crate) const fn number(&self) -> u64 {
        self.number
    }

    /// Returns what was found; `None` if the work panicked.
    pub(crate) fn into<T: 'static>(self) -> Option<T> {
        self.outcome?.downcast().ok().map(|found| *found)
    }
}

impl fmt::Debug for Computed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Computed")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_job_gives_its_claim_back_when_it_ends_panics_or_is_dropped() {
        let claim = Arc::new(());
        let done = Job::new(1, claim.clone(), || 7u8).run();
        assert_eq!((done.number(), done.into::<u8>()), (1, Some(7)));
        let failed = Job::new(2, claim.clone(), || -> u8 { panic!("expected in this test") }).run();
        assert_eq!(failed.into::<u8>(), None);
        drop(Job::new(3, claim.clone(), || 7u8));
        assert_eq!(Arc::strong_count(&claim), 1);
    }
}
