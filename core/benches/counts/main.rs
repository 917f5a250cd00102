//! How many instructions the core needs, counted by Callgrind: exact where processor time is noise, and the same
//! on every machine with the same toolchain. `baseline.json` says what they were; `cargo bench -p countersign-core
//! --bench counts` fails if one has grown by more than a twentieth, `-- --record` writes the file anew.

#![allow(clippy::print_stdout, reason = "the figures are the output")]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a bench starts a program and reads what it has written"
)]

mod cases;
mod drive;
mod tokens;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, process};

use serde_json::{Map, Value, json};

use self::cases::{CASES, Case};

pub(crate) type Outcome<T> = Result<T, Box<dyn Error>>;

/// What a count may grow by before it is a failure.
const TOLERANCE: f64 = 0.05;
/// How often a case is repeated; what one costs is the average.
const TIMES: usize = 20;
/// The function that is counted, with everything that it calls.
const COUNTED: &str = "counts::counted_work";
/// Where the counts are that others are compared with.
const BASELINE: &str = "benches/counts/baseline.json";

fn main() -> Outcome<()> {
    let arguments: Vec<_> = env::args().skip(1).filter(|word| word != "--bench").collect();
    let words: Vec<_> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["run"] => {
            println!("{}", processor());
            for case in CASES {
                (case.run)()?;
            }
            Ok(())
        }
        [] => compare(false),
        ["--record"] => compare(true),
        _ => Err("usage: counts [--record]".into()),
    }
}

/// Does `work` so often that Callgrind can count it; once before, so that nothing is done for the first time.
pub(crate) fn count(mut work: impl FnMut() -> Outcome<()>) -> Outcome<()> {
    work()?;
    counted_work(&mut work)
}

/// What Callgrind looks for by its name.
#[inline(never)]
fn counted_work(work: &mut dyn FnMut() -> Outcome<()>) -> Outcome<()> {
    (0..TIMES).try_for_each(|_| work())
}

/// Returns what the program sees of the processor, which is what Callgrind has of it.
fn processor() -> String {
    #[cfg(target_arch = "x86_64")]
    let features = [
        ("sse4.1", is_x86_feature_detected!("sse4.1")),
        ("avx2", is_x86_feature_detected!("avx2")),
        ("bmi2", is_x86_feature_detected!("bmi2")),
        ("adx", is_x86_feature_detected!("adx")),
        ("sha", is_x86_feature_detected!("sha")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
    ];
    #[cfg(not(target_arch = "x86_64"))]
    let features = [("", false)];
    let has = features.iter().filter(|(_, has)| *has).map(|(name, _)| *name);
    format!("{} {}", env::consts::ARCH, has.collect::<Vec<_>>().join(" "))
}

/// Counts, prints, and compares with the baseline or writes it.
fn compare(record: bool) -> Outcome<()> {
    let folder = env::temp_dir().join(format!("countersign-counts-{}", process::id()));
    fs::create_dir_all(&folder)?;
    let measured = measure(&folder);
    fs::remove_dir_all(&folder)?;
    let (toolchain, counts) = measured?;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(BASELINE);
    let now = json!({"toolchain": toolchain, "instructions": counts});
    if record {
        fs::write(path, format!("{now:#}\n"))?;
        println!("{now:#}");
        return Ok(());
    }
    let before: Value = serde_json::from_str(&fs::read_to_string(path)?)?;
    println!("| instructions of one | baseline | now | change |\n|---|---|---|---|");
    let mut grown = Vec::new();
    for (name, now) in &counts {
        let now = now.as_f64().unwrap_or_default();
        let Some(before) = before["instructions"][name].as_f64() else {
            println!("| {name} | - | {now:.0} | new |");
            grown.push(name.clone());
            continue;
        };
        let change = now / before - 1.0;
        println!("| {name} | {before:.0} | {now:.0} | {:+.1} % |", change * 100.0);
        if change > TOLERANCE {
            grown.push(name.clone());
        }
    }
    if before["toolchain"] != toolchain {
        println!(
            "\nAnother toolchain than the baseline's, so nothing follows from it.\nbaseline: {}\nhere:     {toolchain}",
            before["toolchain"]
        );
        return Ok(());
    }
    if grown.is_empty() {
        return Ok(());
    }
    Err(format!(
        "More than {} % over the baseline: {}. If that has to be, say why in the commit that holds what\n\
         `cargo bench -p countersign-core --bench counts -- --record` writes.",
        TOLERANCE * 100.0,
        grown.join("; ")
    )
    .into())
}

/// Returns the toolchain and the instructions of one of each.
fn measure(folder: &Path) -> Outcome<(Value, Map<String, Value>)> {
    let file = folder.join("counts");
    let out = Command::new("valgrind")
        .args(["--tool=callgrind", "--dump-instr=no"])
        .arg(format!("--toggle-collect={COUNTED}"))
        .arg(format!("--dump-after={COUNTED}"))
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(format!("--log-file={}", folder.join("log").display()))
        .arg(env::current_exe()?)
        .arg("run")
        .output()
        .map_err(|error| format!("valgrind: {error}"))?;
    if !out.status.success() {
        return Err(String::from_utf8_lossy(&out.stderr).into_owned().into());
    }
    let toolchain = json!({
        "rustc": said("rustc", &["--version"])?,
        "libc": said("getconf", &["GNU_LIBC_VERSION"])?,
        "valgrind": said("valgrind", &["--version"])?,
        "processor": String::from_utf8_lossy(&out.stdout).trim(),
    });
    let mut counts = Map::new();
    let mut ring = 0;
    for (case, number) in CASES.iter().zip(1..) {
        let one = total(&file.with_extension(number.to_string()))? / TIMES as u64;
        match case {
            // Its share of the next one.
            Case { ring: true, .. } => ring = one,
            Case {
                ring: false, name, ..
            } => {
                counts.insert((*name).to_owned(), one.saturating_sub(ring).into());
                ring = 0;
            }
        }
    }
    Ok((toolchain, counts))
}

/// Returns the sum of a file of Callgrind's.
fn total(path: &PathBuf) -> Outcome<u64> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut sums = text.lines().filter_map(|line| line.strip_prefix("totals: "));
    Ok(sums
        .next()
        .ok_or("Callgrind has written no sum")?
        .trim()
        .parse()?)
}

fn said(program: &str, arguments: &[&str]) -> Outcome<String> {
    let out = Command::new(program).args(arguments).output()?;
    Ok(String::from_utf8_lossy(&out.stdout).trim().to_owned())
}
