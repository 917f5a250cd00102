//! Idle connections for a long time: memory stays, and nobody is lost.

use std::io::BufRead as _;
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::configuration::Setup;
use crate::crowd::{Around, LOOK, hold};
use crate::failed;
use crate::figures::Figures;
use crate::lane::{Bench, Lane};
use crate::material::EPHEMERAL;
use crate::programs::Program;
use crate::samples::Samples;

/// How many connections: what the usual limit of 20,000 descriptors leaves room for.
const CONNECTIONS: usize = 15_000;
/// Time between two samples.
const SAMPLE: Duration = Duration::from_secs(5);

/// Holds them for `minutes`.
pub(crate) fn run(bench: &Bench<'_>, programs: &Path, minutes: f64, figures: &mut Figures) -> Outcome<()> {
    let lane = Lane {
        name: "smol".to_owned(),
        program: Program::Gateway(programs.join("countersign-smol")),
        configuration: Setup::Default.write(bench.material, bench.upstream)?,
        log_level: "info",
        two: false,
        around: Around::Nobody,
        credential: EPHEMERAL,
        tls: true,
    };
    let server = bench.start(&lane, bench.watch(&lane))?;
    let count = if bench.quick { CONNECTIONS / 8 } else { CONNECTIONS };
    let empty = server.resident()?;
    let mut holder = hold(
        &server,
        bench.material,
        lane.credential,
        ("127.0.0.1", count, lane.tls, LOOK),
    )?;
    let left = Arc::new(AtomicUsize::new(count));
    let (told, out) = (
        Arc::clone(&left),
        holder.stdout.take().ok_or("no standard output")?,
    );
    thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            told.store(line.parse().unwrap_or_default(), Ordering::Relaxed);
        }
    });
    let (mut samples, began) = (Samples::new(), Instant::now());
    let busy = server.busy()?;
    while began.elapsed().as_secs_f64() < minutes * 60.0 {
        thread::sleep(SAMPLE);
        samples.take(&server, &format!("{} connections", left.load(Ordering::Relaxed)))?;
    }
    let busy = (server.busy()? - busy) as f64 / began.elapsed().as_nanos() as f64;
    let left = left.load(Ordering::Relaxed);
    let [before, after] = samples.resident();
    let each = (server.resident()?.saturating_sub(empty)) as f64 / 1024.0 / count as f64;
    let flat = samples.flat() && left == count && server.faults() == 0;
    figures.note(format!(
        "{count} idle connections with TLS and pings for {minutes} minutes: {left} are left; {before:.1} MiB in \
         the second third, {after:.1} in the last, {each:.2} KiB each; {:.1} % of a processor; {}",
        busy * 100.0,
        if flat { "flat" } else { "NOT FLAT" },
    ));
    let values = [
        ("KiB each".to_owned(), Some(each)),
        ("MiB, second third".to_owned(), Some(before)),
        ("MiB, last third".to_owned(), Some(after)),
    ];
    figures.row(
        "hold",
        &format!("{count} idle, TLS, pings, {minutes} minutes"),
        "KiB",
        &values,
    );
    drop(holder.stdin.take());
    holder.wait()?;
    if flat {
        Ok(())
    } else {
        failed("it did not stay flat")
    }
}
