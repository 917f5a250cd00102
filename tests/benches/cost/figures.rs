//! What came out: printed as tables, and written as JSON.

use std::path::Path;
use std::process::Command;
use std::{env, fs, thread};

use serde_json::{Value, json};

use crate::Outcome;

/// All that was measured in one run.
#[derive(Default)]
pub(crate) struct Figures {
    rows: Vec<Value>,
    notes: Vec<String>,
}

impl Figures {
    /// Prints the head of a table.
    pub(crate) fn head(&self, what: &str, columns: &[String]) {
        println!("\n| {what} | {} |", columns.join(" | "));
        println!("|---|{}", "---|".repeat(columns.len()));
    }

    /// Takes in and prints one row of the table `table`; `None` is a column that has nothing of the kind.
    pub(crate) fn row(&mut self, table: &str, name: &str, unit: &str, values: &[(String, Option<f64>)]) {
        let cells = values.iter().map(|(_, value)| match value {
            Some(value) if *value < 10.0 => format!(" {value:.2} |"),
            Some(value) => format!(" {value:.1} |"),
            None => " - |".to_owned(),
        });
        println!("| {name} |{}", cells.collect::<String>());
        // As pairs: the order of the columns means something, and that of an object's members nothing.
        let values: Vec<_> = values
            .iter()
            .filter_map(|(column, value)| Some(json!([column, (*value)?])))
            .collect();
        self.rows
            .push(json!({"table": table, "name": name, "unit": unit, "values": values}));
    }

    /// Takes in and prints what those cost by themselves that were around in the last row, in percent of one
    /// processor.
    pub(crate) fn crowds(&mut self, shares: &[(String, f64)]) {
        if let (Some(row), false) = (self.rows.last_mut(), shares.is_empty()) {
            row["crowds"] = json!(shares);
            let shares = shares.iter().map(|(name, share)| format!("{name} {share:.1} %"));
            println!(
                "  (by themselves, taken off: {})",
                shares.collect::<Vec<_>>().join(", ")
            );
        }
    }

    /// Takes in and prints what has to be said besides.
    pub(crate) fn note(&mut self, text: String) {
        println!("\n{text}");
        self.notes.push(text);
    }

    /// Writes everything, what it was measured on, and whether there is more that was not asked for.
    pub(crate) fn write(&self, path: &Path, quick: bool, partial: bool) -> Outcome<()> {
        let all = json!({
            "machine": {
                "processor": field("/proc/cpuinfo", "model name"),
                "processors": thread::available_parallelism()?.get().max(online()),
                "memory": field("/proc/meminfo", "MemTotal"),
                "kernel": fs::read_to_string("/proc/sys/kernel/osrelease")?.trim(),
                "rustc": said("rustc", &["--version"]),
                "date": said("date", &["-u", "+%Y-%m-%d"]),
            },
            "quick": quick,
            "partial": partial,
            "arguments": env::args().skip(1).collect::<Vec<_>>(),
            "rows": self.rows,
            "notes": self.notes,
        });
        fs::write(path, format!("{all:#}\n"))?;
        Ok(())
    }
}

/// Returns how many processors there are, those of others included.
fn online() -> usize {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    text.lines().filter(|line| line.starts_with("processor")).count()
}

fn field(path: &str, name: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = text
        .lines()
        .find(|line| line.starts_with(name))
        .unwrap_or_default();
    line.split_once(':')
        .map_or("", |(_, value)| value)
        .trim()
        .to_owned()
}

fn said(program: &str, arguments: &[&str]) -> String {
    let out = Command::new(program).args(arguments).output();
    out.map_or_else(
        |_| String::new(),
        |out| String::from_utf8_lossy(&out.stdout).trim().to_owned(),
    )
}
