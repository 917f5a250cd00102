//! The login chain of R15: what a module's verdict does to the ones after it.

use crate::config::Flag;
use crate::reason::Reason;

/// What one module said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The credential is good.
    Success,
    /// It is not, for this reason.
    Failure(Reason),
    /// It is none of the module's business; the reason is told if every module says so.
    Ignored(Option<Reason>),
    /// Nobody knows: who would have to be asked cannot be.
    Unavailable,
}

/// The verdicts so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chain {
    required_failure: Option<Reason>,
    first_error: Option<Reason>,
    /// A required module could not be asked.
    required_unavailable: bool,
    /// Some module could not be asked.
    unavailable: bool,
    ignored: Option<Reason>,
    any_success: bool,
    ended: bool,
    claims_alone: bool,
}

/// What the whole chain says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChainVerdict {
    /// The successful modules are to be committed.
    Pass,
    /// The login failed for this reason; `None` if every module ignored the credential without one.
    Fail(Option<Reason>),
    /// It hangs on a module that could not be asked.
    Unavailable,
}

impl Chain {
    /// No module was asked yet.
    pub(crate) const fn new() -> Self {
        Self {
            required_failure: None,
            first_error: None,
            required_unavailable: false,
            unavailable: false,
            ignored: None,
            any_success: false,
            ended: false,
            claims_alone: false,
        }
    }

    /// Takes in the verdict of the next module. Must not be called after [`Chain::has_ended`].
    pub(crate) const fn record(&mut self, flag: Flag, outcome: Outcome) {
        match outcome {
            Outcome::Ignored(reason) => {
                if self.ignored.is_none() {
                    self.ignored = reason;
                }
            }
            Outcome::Success => {
                self.any_success = true;
                if matches!(flag, Flag::Sufficient)
                    && self.required_failure.is_none()
                    && !self.required_unavailable
                {
                    self.ended = true;
                }
            }
            Outcome::Unavailable => {
                self.unavailable = true;
                match flag {
                    Flag::Required => self.required_unavailable = true,
                    Flag::Requisite => {
                        self.required_unavailable = true;
                        self.ended = true;
                    }
                    Flag::Sufficient | Flag::Optional => {}
                }
            }
            Outcome::Failure(reason) => {
                if matches!(reason, Reason::ClaimsMismatch) {
                    self.claims_alone = true;
                }
                match flag {
                    Flag::Required | Flag::Requisite => {
                        if self.required_failure.is_none() {
                            self.required_failure = Some(reason);
                        }
                        if matches!(flag, Flag::Requisite) {
                            self.ended = true;
                        }
                    }
                    Flag::Sufficient | Flag::Optional => {
                        if self.first_error.is_none() {
                            self.first_error = Some(reason);
                        }
                    }
                }
            }
        }
    }

    /// Says whether the modules that are left are not to be asked.
    pub(crate) const fn has_ended(&self) -> bool {
        self.ended
    }

    /// Returns the verdict on what was recorded.
    pub(crate) const fn verdict(&self) -> ChainVerdict {
        if let Some(reason) = self.required_failure {
            ChainVerdict::Fail(Some(reason))
        } else if self.required_unavailable {
            ChainVerdict::Unavailable
        } else if self.any_success {
            ChainVerdict::Pass
        } else if self.unavailable {
            // Its success would have been enough: a refusal would be one of somebody who may be right.
            ChainVerdict::Unavailable
        } else if let Some(reason) = self.first_error {
            ChainVerdict::Fail(Some(reason))
        } else {
            ChainVerdict::Fail(self.ignored)
        }
    }

    /// Says whether some module failed by its claims alone: everything else about the token was good.
    pub(crate) const fn claims_alone(&self) -> bool {
        self.claims_alone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Outcome = Outcome::Success;
    const F: Outcome = Outcome::Failure(Reason::BadPassword);
    const I: Outcome = Outcome::Ignored(None);

    fn run(modules: &[(Flag, Outcome)]) -> (bool, usize) {
        let mut chain = Chain::new();
        let mut asked = 0;
        for (flag, outcome) in modules {
            if chain.has_ended() {
                break;
            }
            asked += 1;
            chain.record(*flag, *outcome);
        }
        (chain.verdict() == ChainVerdict::Pass, asked)
    }

    #[test]
    fn m22_single_modules() {
        use Flag::{Optional, Required, Requisite, Sufficient};
        for flag in [Required, Requisite, Sufficient, Optional] {
            assert_eq!(run(&[(flag, S)]), (true, 1), "{flag:?}");
            assert_eq!(run(&[(flag, F)]), (false, 1), "{flag:?}");
            assert_eq!(
                run(&[(flag, I)]),
                (false, 1),
                "ignored never counts as success: {flag:?}"
            );
        }
    }

    #[test]
    fn e02_who_cannot_be_asked_decides_nothing() {
        use ChainVerdict::{Fail, Pass, Unavailable};
        use Flag::{Optional, Required, Requisite, Sufficient};
        const U: Outcome = Outcome::Unavailable;
        let wrong = Fail(Some(Reason::BadPassword));
        for (modules, verdict, asked) in [
            ([(Required, U), (Required, S)], Unavailable, 2),
            // Whatever the first would have said, the second refuses.
            ([(Required, U), (Required, F)], wrong, 2),
            ([(Requisite, U), (Required, F)], Unavailable, 1),
            ([(Sufficient, U), (Sufficient, S)], Pass, 2),
            ([(Sufficient, U), (Sufficient, F)], Unavailable, 2),
            ([(Sufficient, F), (Sufficient, U)], Unavailable, 2),
            ([(Optional, U), (Required, S)], Pass, 2),
            ([(Optional, U), (Optional, I)], Unavailable, 2),
            ([(Required, U), (Sufficient, S)], Unavailable, 2),
            ([(Sufficient, S), (Required, U)], Pass, 1),
        ] {
            let mut chain = Chain::new();
            let mut count = 0;
            for (flag, outcome) in modules {
                if !chain.has_ended() {
                    chain.record(flag, outcome);
                    count += 1;
                }
            }
            assert_eq!((chain.verdict(), count), (verdict, asked), "{modules:?}");
        }
    }

    #[test]
    fn m22_pairs() {
        use Flag::{Optional, Required, Requisite, Sufficient};
        for (modules, pass, asked) in [
            ([(Required, F), (Required, S)], false, 2),
            ([(Required, F), (Sufficient, S)], false, 2),
            ([(Required, S), (Sufficient, F)], true, 2),
            ([(Required, I), (Required, S)], true, 2),
            ([(Requisite, F), (Required, S)], false, 1),
            ([(Requisite, S), (Required, S)], true, 2),
            ([(Requisite, S), (Required, F)], false, 2),
            ([(Sufficient, S), (Required, F)], true, 1),
            ([(Sufficient, F), (Required, S)], true, 2),
            ([(Sufficient, F), (Sufficient, F)], false, 2),
            ([(Sufficient, I), (Sufficient, S)], true, 2),
            ([(Optional, S), (Required, F)], false, 2),
            ([(Optional, F), (Optional, S)], true, 2),
            ([(Optional, S), (Sufficient, F)], true, 2),
            ([(Optional, I), (Required, I)], false, 2),
        ] {
            assert_eq!(run(&modules), (pass, asked), "{modules:?}");
        }
    }
}
