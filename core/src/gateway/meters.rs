//! Figures for whoever watches the gateway, in the text format of Prometheus (E17).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::Gateway;
use crate::bus::Standing;
use crate::note::{Closed, Decision};

/// The content type of the text (Prometheus exposition format 0.0.4).
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The most combinations of labels that are counted apart. Labels come from the configuration and
/// from fixed lists, so that no client makes new ones; what is beyond is counted under `other`.
const SERIES: usize = 4096;

/// Upper bounds of the classes of check times, in milliseconds: from an HMAC to the longest wait.
const CLASSES: [u64; 12] = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 10_000];

/// Counters since the start.
#[derive(Debug, Default)]
pub(crate) struct Meters(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    decisions: BTreeMap<DecisionLabels, u64>,
    closed: BTreeMap<(u16, Cow<'static, str>), u64>,
    checks: [u64; CLASSES.len() + 1],
    check_time: Duration,
}

/// Server, status, reason, carrier, scheme.
type DecisionLabels = (Arc<str>, u16, &'static str, Cow<'static, str>, Cow<'static, str>);

impl Meters {
    /// Counts an answered request.
    pub(crate) fn decided(&self, decision: &Decision) {
        let labels = (
            Arc::clone(&decision.server),
            decision.status,
            decision.reason.code(),
            decision.carrier.clone().unwrap_or_default(),
            decision.scheme.clone().unwrap_or_default(),
        );
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let other = || ("other".into(), 0, "other", "other".into(), "other".into());
        count(&mut counts.decisions, labels, other);
    }

    /// Counts a socket that ended. A code that the peer has made up is counted as 0.
    pub(crate) fn closed(&self, closed: &Closed) {
        let known = matches!(closed.code, 1000..=1015 | 3000 | 3003);
        let code = if known { closed.code } else { 0 };
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        count(&mut counts.closed, (code, closed.reason.clone()), || {
            (0, "other".into())
        });
    }

    /// Counts a credential whose check has taken `time`.
    pub(crate) fn checked(&self, time: Duration) {
        let class = CLASSES.partition_point(|bound| Duration::from_millis(*bound) < time);
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.check_time = counts.check_time.saturating_add(time);
        if let Some(count) = counts.checks.get_mut(class) {
            *count += 1;
        }
    }
}

fn count<K: Ord>(counts: &mut BTreeMap<K, u64>, key: K, other: impl FnOnce() -> K) {
    let key = if counts.len() < SERIES || counts.contains_key(&key) {
        key
    } else {
        other()
    };
    *counts.entry(key).or_default() += 1;
}

/// Text under construction.
struct Text(String);

impl Text {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(
            self.0,
            "# HELP countersign_{name} {help}\n# TYPE countersign_{name} {kind}"
        );
    }

    fn gauge(&mut self, name: &str, help: &str, value: usize) {
        self.head(name, "gauge", help);
        let _ = writeln!(self.0, "countersign_{name} {value}");
    }
}

/// Writes a label's value as the format demands.
fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

impl Gateway {
    pub(crate) const fn meters(&self) -> &Meters {
        &self.meters
    }

    /// Returns all figures as text.
    pub(crate) fn metrics(&self) -> String {
        let mut text = Text(String::new());
        let stats = self.stats();
        let (good, bad) = self.verdicts.len();
        for (name, help, value) in [
            (
                "connections",
                "Open connections, whatever their state.",
                stats.connections,
            ),
            ("sockets", "Open WebSockets.", stats.sockets),
            ("jobs_running", "Heavy jobs that run.", stats.jobs_running),
            (
                "jobs_waiting",
                "Heavy jobs that wait for their turn.",
                stats.jobs_waiting,
            ),
            (
                "checks_asking",
                "Checks that wait for an answer from elsewhere.",
                stats.asking,
            ),
            (
                "verdicts_good",
                "Remembered signatures, passwords and answers.",
                good,
            ),
            ("verdicts_bad", "Remembered refusals from elsewhere.", bad),
            (
                "throttle_windows",
                "Addresses and users whose failures are counted.",
                self.throttle.len(),
            ),
            (
                "digest_nonces",
                "Digest nonces whose use is remembered.",
                self.nonces.len(),
            ),
            (
                "message_memory_free_bytes",
                "Bytes of messageMemory that are not claimed.",
                stats.message_memory_free,
            ),
            ("sessions", "Sessions of form logins.", self.sessions.len()),
            ("tickets", "Unspent tickets.", self.tickets.len()),
            (
                "step_ups",
                "Logins that wait for a further factor.",
                self.step_ups.len(),
            ),
            (
                "revocations_posted",
                "Revocations that were posted.",
                self.revocations.len(),
            ),
            (
                "revocations_listed",
                "Revocations that the file lists.",
                self.rules().revocations.len(),
            ),
            (
                "draining",
                "1 while the gateway shuts down.",
                usize::from(self.is_draining()),
            ),
        ] {
            text.gauge(name, help, value);
        }
        text.head(
            "over_limit_total",
            "counter",
            "Connections that were closed at accept because a limit was reached.",
        );
        let _ = writeln!(
            text.0,
            "countersign_over_limit_total {}",
            self.admissions.refused()
        );
        if let Some(bus) = self.bus() {
            let up = usize::from(bus.standing() == Standing::Up);
            text.gauge("bus_up", "1 while the node shares with the others.", up);
            for (name, help, value) in [
                (
                    "bus_dropped_total",
                    "What was not told to other nodes for want of room.",
                    bus.desk().dropped(),
                ),
                (
                    "bus_unopened_total",
                    "What came from Redis and no node has sealed, or none with this configuration.",
                    bus.unopened(),
                ),
            ] {
                text.head(name, "counter", help);
                let _ = writeln!(text.0, "countersign_{name} {value}");
            }
        }
        self.meters.write(&mut text);
        text.0
    }
}

impl Meters {
    fn write(&self, text: &mut Text) {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        text.head("decisions_total", "counter", "Answered requests.");
        for ((server, status, reason, carrier, scheme), count) in &counts.decisions {
            let _ = writeln!(
                text.0,
                "countersign_decisions_total{{server=\"{}\",status=\"{status}\",reason=\"{reason}\",carrier=\"{}\",\
                 scheme=\"{}\"}} {count}",
                escaped(server),
                escaped(carrier),
                escaped(scheme)
            );
        }
        text.head("closed_total", "counter", "Sockets that ended.");
        for ((code, reason), count) in &counts.closed {
            let _ = writeln!(
                text.0,
                "countersign_closed_total{{code=\"{code}\",reason=\"{}\"}} {count}",
                escaped(reason)
            );
        }
        text.head(
            "check_seconds",
            "histogram",
            "Time from a credential to its verdict.",
        );
        let mut sum = 0;
        for (index, count) in counts.checks.iter().enumerate() {
            sum += count;
            let bound = CLASSES.get(index).map_or_else(
                || "+Inf".to_owned(),
                |bound| Duration::from_millis(*bound).as_secs_f64().to_string(),
            );
            let _ = writeln!(text.0, "countersign_check_seconds_bucket{{le=\"{bound}\"}} {sum}");
        }
        let seconds = counts.check_time.as_secs_f64();
        let _ = writeln!(
            text.0,
            "countersign_check_seconds_sum {seconds}\ncountersign_check_seconds_count {sum}"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e17_the_number_of_series_is_bounded() {
        let meters = Meters::default();
        let mut counts = BTreeMap::new();
        for number in 0..SERIES + 10 {
            count(&mut counts, number, || usize::MAX);
        }
        assert_eq!((counts.len(), counts.get(&usize::MAX)), (SERIES + 1, Some(&10)));
        meters.checked(Duration::from_millis(1));
        meters.checked(Duration::from_millis(3));
        meters.checked(Duration::from_secs(60));
        let mut text = Text(String::new());
        meters.write(&mut text);
        for line in [
            "countersign_check_seconds_bucket{le=\"0.001\"} 1",
            "countersign_check_seconds_bucket{le=\"0.005\"} 2",
            "countersign_check_seconds_bucket{le=\"10\"} 2",
            "countersign_check_seconds_bucket{le=\"+Inf\"} 3",
            "countersign_check_seconds_sum 60.004",
            "countersign_check_seconds_count 3",
        ] {
            assert!(text.0.contains(line), "{line} is not in {}", text.0);
        }
    }

    #[test]
    fn e17_a_label_cannot_end_its_line() {
        assert_eq!(escaped("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    }
}
