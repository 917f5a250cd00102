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
}

/// The verdicts so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chain {
    required_failure: Option<Reason>,
    first_error: Option<Reason>,
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
}

impl Chain {
    /// No module was asked yet.
    pub(crate) const fn new() -> Self {
        Self {
            required_failure: None,
            first_error: None,
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
                if matches!(flag, Flag::Sufficient) && self.required_failure.is_none() {
                    self.ended = true;
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
        } else if self.any_success {
            ChainVerdict::Pass
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
