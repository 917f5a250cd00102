//! What is wrong with a configuration, and where.

use std::error::Error;
use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

/// How many characters of a peer's or an author's text a message quotes.
const QUOTED_CHARACTERS: usize = 64;

/// How many known names a hint considers, so that a file full of errors is still judged at once.
const HINTED_NAMES: usize = 500;

/// The path that stands for the file's outermost value.
pub(super) const ROOT: &str = "$";

/// A place in the configuration file: what a message points at.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Line, counted from 1.
    pub line: u32,
    /// Column, in characters, counted from 1.
    pub column: u32,
    /// The member, such as `servers[0].listen`; `$` is the whole file.
    pub path: String,
}

/// One thing wrong with a configuration. No message holds the content of a file or the value of a
/// member that names one, since both may be secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file: the configuration, or a file that it names.
    pub file: PathBuf,
    /// Line in `file`, counted from 1.
    pub line: u32,
    /// Column in `file`, in characters, counted from 1.
    pub column: u32,
    /// The member of the configuration, such as `servers[0].listen`; `$` is the whole file.
    pub path: String,
    /// What is wrong, in one line.
    pub message: String,
}

impl ConfigError {
    /// The error `message` at `place` of `file`.
    pub fn new(file: impl Into<PathBuf>, place: Place, message: impl Into<String>) -> Self {
        Self {
            file: file.into(),
            line: place.line,
            column: place.column,
            path: place.path,
            message: message.into(),
        }
    }

    /// Returns the error as a log line without its line end:
    /// `{"event":"config_error","file","line","column","path","message"}`.
    #[must_use]
    pub fn to_json(&self) -> String {
        #[derive(Serialize)]
        struct Line<'e> {
            event: &'static str,
            file: String,
            line: u32,
            column: u32,
            path: &'e str,
            message: &'e str,
        }
        let line = Line {
            event: "config_error",
            file: self.file.display().to_string(),
            line: self.line,
            column: self.column,
            path: &self.path,
            message: &self.message,
        };
        // Strings and numbers always serialise.
        serde_json::to_string(&line).unwrap_or_default()
    }
}

impl fmt::Display for ConfigError {
    /// Writes `FILE:LINE:COLUMN: PATH: MESSAGE`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        write!(
            f,
            "{file}:{}:{}: {}: {}",
            self.line, self.column, self.path, self.message
        )
    }
}

impl Error for ConfigError {}

/// Everything wrong with a configuration: at least one error, in the order of their places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    /// Puts `errors` in order. `None` if there is none.
    #[must_use]
    pub fn from_vec(mut errors: Vec<ConfigError>) -> Option<Self> {
        errors.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
        errors.dedup();
        (!errors.is_empty()).then_some(Self(errors))
    }

    /// Returns the errors, in the order of their places.
    #[must_use]
    pub fn as_slice(&self) -> &[ConfigError] {
        &self.0
    }

    /// Returns the errors in the order of their places.
    pub fn iter(&self) -> std::slice::Iter<'_, ConfigError> {
        self.0.iter()
    }
}

impl From<ConfigError> for ConfigErrors {
    fn from(error: ConfigError) -> Self {
        Self(vec![error])
    }
}

impl<'e> IntoIterator for &'e ConfigErrors {
    type Item = &'e ConfigError;
    type IntoIter = std::slice::Iter<'e, ConfigError>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for ConfigErrors {
    /// Writes one error a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl Error for ConfigErrors {}

/// Returns `text` in quotes for a message: escaped, so that it stays on one line, and cut.
pub(super) fn quote(text: &str) -> String {
    match text.char_indices().nth(QUOTED_CHARACTERS) {
        Some((end, _)) => format!("{:?}...", text.get(..end).unwrap_or_default()),
        None => format!("{text:?}"),
    }
}

/// Returns the path of the member `name` of the object at `path`.
pub(super) fn member_path(path: &str, name: &str) -> String {
    let plain = !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_-@".contains(&b));
    match (path == ROOT, plain) {
        (true, true) => name.to_owned(),
        (false, true) => format!("{path}.{name}"),
        (_, false) => format!("{path}[{}]", quote(name)),
    }
}

/// Returns the path of entry `index` of the list at `path`.
pub(super) fn entry_path(path: &str, index: usize) -> String {
    format!("{path}[{index}]")
}

/// Returns the known name that was probably meant by `given`: within a third of its length, and
/// within three edits, regardless of case.
pub(super) fn nearest<'n>(given: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    // Longer names are no typing errors, and the distance costs length times length.
    if given.len() > QUOTED_CHARACTERS {
        return None;
    }
    let sane = (given.len() / 3).clamp(1, 3);
    let folded = given.to_ascii_lowercase();
    known
        .into_iter()
        .take(HINTED_NAMES)
        .filter(|name| name.len().abs_diff(given.len()) <= 3 * sane)
        .map(|name| (strsim::osa_distance(&folded, &name.to_ascii_lowercase()), name))
        .filter(|(distance, name)| *distance <= sane && *distance < name.len())
        .min()
        .map(|(_, name)| name)
}

/// Returns `; did you mean "NAME"?` with the nearest known name, or nothing.
pub(super) fn hint<'n>(given: &str, known: impl IntoIterator<Item = &'n str>) -> String {
    nearest(given, known).map_or_else(String::new, |name| format!("; did you mean {name:?}?"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn paths_are_written_as_in_the_reference() {
        assert_eq!(
            member_path(&entry_path(&member_path(ROOT, "servers"), 0), "hosts"),
            "servers[0].hosts"
        );
        assert_eq!(
            member_path("claims", "https://a.example/role"),
            "claims[\"https://a.example/role\"]"
        );
        assert_eq!(member_path("realms", "two\nlines"), "realms[\"two\\nlines\"]");
    }

    #[test]
    fn the_nearest_name_is_within_a_sane_distance() {
        let known = ["serverCertificate", "services", "hosts"];
        assert_eq!(nearest("serverCertificat", known), Some("serverCertificate"));
        assert_eq!(nearest("ServerCertificate", known), Some("serverCertificate"));
        assert_eq!(nearest("host", known), Some("hosts"));
        assert_eq!(nearest("colour", known), None);
        assert_eq!(nearest("x", ["y"]), None);
        assert_eq!(nearest(&"s".repeat(65), known), None);
    }

    #[test]
    fn errors_are_sorted_by_place_and_written_one_a_line() {
        let at = |line, message: &str| {
            let place = Place {
                line,
                column: 2,
                path: "a".to_owned(),
            };
            ConfigError::new("c.json", place, message)
        };
        let errors = ConfigErrors::from_vec(vec![at(3, "late"), at(1, "early"), at(3, "late")]).unwrap();
        assert_eq!(errors.to_string(), "c.json:1:2: a: early\nc.json:3:2: a: late");
        assert!(ConfigErrors::from_vec(Vec::new()).is_none());
        assert_eq!(
            at(1, "a \"b\"").to_json(),
            r#"{"event":"config_error","file":"c.json","line":1,"column":2,"path":"a","message":"a \"b\""}"#
        );
    }
}
