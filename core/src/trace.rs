//! How far a request came: the checks of R1 in their order, and what became of each. The connection
//! itself writes it down while it judges, so that an explanation is never a second opinion.

use std::fmt;

use crate::reason::Reason;

/// A check that a request has to pass, in the order in which they are made (R1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    /// Length of line and head, time until it is complete.
    Limits,
    /// Well-formed HTTP/1, and nothing that smuggles.
    Framing,
    /// The Host is served here.
    Host,
    /// Something has this path.
    Route,
    /// The method is allowed there.
    Method,
    /// An Origin that is present is allowed.
    Origin,
    /// The WebSocket part of the request is right.
    Upgrade,
    /// The service is switched on, and the gateway is not shutting down.
    Available,
    /// At most one credential counts, and it is well-formed.
    Carrier,
    /// An Origin is there if a browser may have attached the credential unasked (R11).
    MissingOrigin,
    /// Its source has not failed too often.
    Throttle,
    /// A login chain accepts the credential.
    Verify,
    /// Roles, scopes and entitlements are sufficient.
    Authorize,
    /// Further factors were presented (R6).
    Factor,
    /// A subprotocol is agreed on where one is needed.
    Subprotocol,
    /// The socket may be opened: 101.
    Grant,
}

impl Check {
    /// Every check, in order.
    pub const ALL: [Self; 16] = [
        Self::Limits,
        Self::Framing,
        Self::Host,
        Self::Route,
        Self::Method,
        Self::Origin,
        Self::Upgrade,
        Self::Available,
        Self::Carrier,
        Self::MissingOrigin,
        Self::Throttle,
        Self::Verify,
        Self::Authorize,
        Self::Factor,
        Self::Subprotocol,
        Self::Grant,
    ];

    /// Returns the name as `explain` prints it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Limits => "limits",
            Self::Framing => "framing",
            Self::Host => "host",
            Self::Route => "route",
            Self::Method => "method",
            Self::Origin => "origin",
            Self::Upgrade => "upgrade",
            Self::Available => "available",
            Self::Carrier => "carrier",
            Self::MissingOrigin => "missing_origin",
            Self::Throttle => "throttle",
            Self::Verify => "verify",
            Self::Authorize => "authorize",
            Self::Factor => "factor",
            Self::Subprotocol => "subprotocol",
            Self::Grant => "grant",
        }
    }

    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// What became of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The request passed it.
    Passed,
    /// The request was refused by it, for this reason.
    Refused(Reason),
    /// The request did not need it.
    Skipped,
    /// The request was refused before.
    NotReached,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed => f.write_str("passed"),
            Self::Refused(reason) => write!(f, "refused:{}", reason.code()),
            Self::Skipped => f.write_str("skipped"),
            Self::NotReached => f.write_str("not_reached"),
        }
    }
}

/// The checks that were begun with one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    begun: u16,
    last: Check,
}

impl Trace {
    /// A request whose first check was `check`, and those before it were passed.
    pub(crate) fn from(check: Check) -> Self {
        let before = Check::ALL.into_iter().take_while(|other| *other < check);
        Self {
            begun: before.fold(check.bit(), |begun, other| begun | other.bit()),
            last: check,
        }
    }

    /// Notes that the check before was passed, and that `check` is made now.
    pub(crate) const fn begin(&mut self, check: Check) {
        self.begun |= check.bit();
        self.last = check;
    }

    /// Returns what became of each check, in order, if the request was answered for `reason`.
    pub fn outcomes(self, reason: Reason) -> impl Iterator<Item = (Check, Outcome)> {
        let granted = reason == Reason::Granted;
        Check::ALL.into_iter().map(move |check| {
            let outcome = if check == self.last && !granted {
                Outcome::Refused(reason)
            } else if self.begun & check.bit() != 0 {
                Outcome::Passed
            } else if granted || check < self.last {
                Outcome::Skipped
            } else {
                Outcome::NotReached
            };
            (check, outcome)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b3_checks_stand_in_the_order_in_which_they_are_made() {
        assert!(Check::ALL.is_sorted());
        let bits = Check::ALL.iter().fold(0u16, |bits, check| bits | check.bit());
        assert_eq!(bits.count_ones() as usize, Check::ALL.len());
    }

    #[test]
    fn b3_what_was_begun_before_the_last_check_was_passed() {
        let mut trace = Trace::from(Check::Framing);
        trace.begin(Check::Host);
        trace.begin(Check::Method);
        let refused: Vec<_> = trace
            .outcomes(Reason::BadMethod)
            .map(|(_, outcome)| outcome)
            .collect();
        let expected = [
            Outcome::Passed,
            Outcome::Passed,
            Outcome::Passed,
            Outcome::Skipped,
            Outcome::Refused(Reason::BadMethod),
            Outcome::NotReached,
        ];
        assert_eq!(refused[..6], expected);
        let granted: Vec<_> = trace
            .outcomes(Reason::Granted)
            .map(|(_, outcome)| outcome)
            .collect();
        assert_eq!(
            granted[3..6],
            [Outcome::Skipped, Outcome::Passed, Outcome::Skipped]
        );
    }
}
