//! The shape of the sources: which module may name which, and what the core may depend on.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Crates that bring a runtime, a socket or a file. None of them is below the core.
const RUNTIMES: [&str; 12] = [
    "tokio",
    "mio",
    "smol",
    "async-io",
    "async-executor",
    "async-std",
    "polling",
    "blocking",
    "futures-rustls",
    "socket2",
    "rustix",
    "rcgen",
];

/// Who may depend on the operating system's generator: `rand` for tungstenite's client role, ring,
/// which the core asks for nothing random, and bcrypt, for salts that the core never makes with it.
const MAY_GET_RANDOM: [&str; 5] = ["ring", "rand", "rand_core", "rand_chacha", "bcrypt"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Returns the lines of a file without their comments.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let lines = text
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

/// Returns which module of the core names which others.
fn names() -> BTreeMap<String, BTreeSet<String>> {
    let source = root().join("core/src");
    let mut names: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for path in sources(&source) {
        let first = path
            .strip_prefix(&source)
            .unwrap()
            .iter()
            .next()
            .unwrap()
            .to_str()
            .unwrap();
        let module = first.trim_end_matches(".rs").to_owned();
        if module == "lib" {
            continue;
        }
        let named = names.entry(module.clone()).or_default();
        for rest in code(&path).split("crate::").skip(1) {
            let other: String = rest
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
                .collect();
            if other != module && other.starts_with(|c: char| c.is_ascii_lowercase()) {
                named.insert(other);
            }
        }
    }
    names
}

#[test]
fn modules_of_the_core_are_acyclic() {
    let mut names = names();
    // Whoever names nobody that is left is taken away, until nobody is left.
    while !names.is_empty() {
        let leaves: Vec<_> = names
            .iter()
            .filter(|(_, others)| !others.iter().any(|other| names.contains_key(other)))
            .map(|(module, _)| module.clone())
            .collect();
        assert!(
            !leaves.is_empty(),
            "these name each other in a circle: {names:#?}"
        );
        for leaf in leaves {
            names.remove(&leaf);
        }
    }
}

#[test]
fn gateway_never_names_connection() {
    for module in ["gateway", "service", "rules", "auth", "ws", "http", "config"] {
        assert!(
            !names()[module].contains("connection"),
            "{module} names connection"
        );
    }
}

#[test]
fn nothing_names_ops() {
    for (module, others) in names() {
        assert!(!others.contains("ops"), "{module} names ops");
    }
}

#[test]
fn adapters_never_name_each_other() {
    for (adapter, other) in [("runtime-smol", "std"), ("runtime-std", "smol")] {
        let folder = root().join(adapter);
        for path in sources(&folder.join("src")) {
            let name = format!("countersign_{other}");
            assert!(!code(&path).contains(&name), "{} names {name}", path.display());
        }
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        assert!(
            !manifest.contains(&format!("countersign-{other}")),
            "{adapter} depends on {other}"
        );
    }
}

/// Returns each dependency of the core, however far below, with who depends on it.
fn dependencies() -> Vec<(String, String)> {
    let arguments = [
        "tree",
        "--offline",
        "--locked",
        "-p",
        "countersign-core",
        "-e",
        "normal",
    ];
    let shape = ["--prefix", "depth", "--no-dedupe", "--format", " {p}"];
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .args(shape)
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let mut above: Vec<String> = Vec::new();
    let mut found = Vec::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let (depth, package) = line.split_once(' ').unwrap();
        let name = package.split(' ').next().unwrap();
        above.truncate(depth.parse().unwrap());
        if let Some(parent) = above.last() {
            found.push((name.to_owned(), parent.clone()));
        }
        above.push(name.to_owned());
    }
    found
}

#[test]
fn the_core_depends_on_no_runtime() {
    let dependencies = dependencies();
    assert!(dependencies.len() > 10, "{dependencies:?}");
    for (name, parent) in dependencies {
        assert!(!RUNTIMES.contains(&name.as_str()), "{parent} brings {name}");
        let random = name == "getrandom" && !MAY_GET_RANDOM.contains(&parent.as_str());
        assert!(!random, "{parent} brings {name}");
    }
}

#[test]
fn every_row_of_the_suite_is_mounted() {
    let suite = root().join("tests/src/suite");
    let list = code(&suite.join("mod.rs"));
    for path in sources(&suite) {
        for line in code(&path).lines() {
            let Some(rest) = line.strip_prefix("pub fn ") else {
                continue;
            };
            let Some((name, arguments)) = rest.split_once('(') else {
                continue;
            };
            let mounted = list.contains(&format!(" {name},"));
            assert!(
                mounted || !arguments.contains("world: &World) {"),
                "{name} is not mounted"
            );
        }
    }
}
