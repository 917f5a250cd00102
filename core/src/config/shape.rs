//! Compares a parsed file with the tables and collects everything that does not fit: unknown,
//! repeated, missing and refused members, wrong types, values outside their language.

use std::collections::{BTreeMap, BTreeSet};

use jsonc_parser::ast::{Array, Object, ObjectProp, StringLit, Value};
use jsonc_parser::common::Ranged;

use super::error::{ConfigError, Place, entry_path, hint, member_path, quote};
use super::source::Source;
use super::syntax;
use super::table::{Format, Kind, LATER, Row, State, Tagged, Variant, Word};

/// The errors found so far, in one file.
pub(super) struct Report<'s> {
    source: &'s Source<'s>,
    errors: Vec<ConfigError>,
}

impl<'s> Report<'s> {
    pub(super) const fn new(source: &'s Source<'s>) -> Self {
        let errors = Vec::new();
        Self { source, errors }
    }

    /// Adds `message` about the byte at `offset`, which belongs to `path`.
    fn at(&mut self, offset: usize, path: &str, message: impl Into<String>) {
        let place = self.source.place(offset, path);
        self.add(place, message);
    }

    /// Adds `message` about `place`.
    pub(super) fn add(&mut self, place: Place, message: impl Into<String>) {
        self.errors
            .push(ConfigError::new(self.source.file(), place, message));
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.errors.is_empty()
    }

    pub(super) fn into_errors(self) -> Vec<ConfigError> {
        self.errors
    }
}

/// Checks `value`, which stands at `path`, against `kind`.
pub(super) fn check(report: &mut Report<'_>, value: &Value<'_>, path: &str, kind: Kind) {
    let at = value.start();
    match kind {
        Kind::Text(format) => {
            if let Some(text) = expect_text(report, value, path) {
                check_text(report, at, path, (format.check)(&text.value));
            }
        }
        Kind::Boolean => {
            if value.as_boolean_lit().is_none() {
                wrong_type(report, value, path, "true or false");
            }
        }
        Kind::Count { min, max } => {
            let fits = |n: &u64| (min..=max).contains(n);
            if whole_number(value).filter(fits).is_none() {
                wrong_number(
                    report,
                    value,
                    path,
                    &format!("a whole number from {min} to {max}"),
                );
            }
        }
        Kind::Number(known) => {
            if whole_number(value).filter(|n| known.contains(n)).is_none() {
                let known: Vec<_> = known.iter().map(u64::to_string).collect();
                wrong_number(report, value, path, &known.join(", "));
            }
        }
        Kind::Duration { min } => check_duration(report, value, path, min),
        Kind::File => {
            if let Some(text) = expect_text(report, value, path) {
                check_text(report, at, path, syntax::plain(&text.value));
            }
        }
        Kind::Word(words) => check_word(report, value, path, words),
        Kind::List { of, min } => match value.as_array() {
            Some(list) => check_list(report, list, path, *of, min),
            None => wrong_type(report, value, path, "a list"),
        },
        Kind::OneOrMany(of) => match value.as_array() {
            Some(list) => check_list(report, list, path, *of, 1),
            None => check(report, value, path, *of),
        },
        Kind::Map { of, name, min } => {
            if let Some(object) = expect_object(report, value, path) {
                check_map(report, object, path, *of, name, min);
            }
        }
        Kind::Object(rows) => {
            if let Some(object) = expect_object(report, value, path) {
                check_members(report, object, path, &[rows], &[]);
                check_required(report, object, path, &[rows]);
            }
        }
        Kind::Single(rows) => {
            if let Some(object) = expect_object(report, value, path) {
                check_members(report, object, path, &[rows], &[]);
                check_single(report, object, path, rows);
            }
        }
        Kind::Tagged(tagged) => {
            if let Some(object) = expect_object(report, value, path) {
                check_tagged(report, object, path, tagged);
            }
        }
    }
}

fn check_text(report: &mut Report<'_>, at: usize, path: &str, verdict: Result<(), String>) {
    if let Err(message) = verdict {
        report.at(at, path, message);
    }
}

fn check_duration(report: &mut Report<'_>, value: &Value<'_>, path: &str, min: u64) {
    if let Some(number) = whole_number(value) {
        let message = format!("a duration is a string with a unit: \"{number} seconds\"");
        report.at(value.start(), path, message);
    } else if let Some(text) = expect_text(report, value, path) {
        match syntax::duration(&text.value) {
            Ok(length) if length.as_millis() < u128::from(min) => {
                report.at(value.start(), path, "the duration must not be zero");
            }
            Ok(_) => {}
            Err(message) => report.at(value.start(), path, message),
        }
    }
}

fn check_word(report: &mut Report<'_>, value: &Value<'_>, path: &str, words: &[Word]) {
    let Some(text) = expect_text(report, value, path) else {
        return;
    };
    match words.iter().find(|word| word.text == text.value) {
        Some(word) => {
            check_state(report, value.start(), path, word.state);
        }
        None => {
            let known = words.iter().filter(|word| word.state == State::Built);
            let known: Vec<_> = known.map(|word| word.text).collect();
            let hint = hint(&text.value, known.iter().copied());
            let message = format!(
                "unknown value {}{hint} ({})",
                quote(&text.value),
                known.join(", ")
            );
            report.at(value.start(), path, message);
        }
    }
}

/// Reports a name that the tables know and refuse. Says whether it can be used.
fn check_state(report: &mut Report<'_>, at: usize, path: &str, state: State) -> bool {
    match state {
        State::Built => return true,
        State::Later => report.at(at, path, LATER),
        State::Refused(why) => report.at(at, path, why),
    }
    false
}

fn check_list(report: &mut Report<'_>, list: &Array<'_>, path: &str, of: Kind, min: usize) {
    if list.elements.len() < min {
        report.at(list.start(), path, "the list must not be empty");
    }
    let mut seen = BTreeMap::new();
    for (index, entry) in list.elements.iter().enumerate() {
        let path = entry_path(path, index);
        check(report, entry, &path, of);
        if let Some(text) = entry.as_string_lit()
            && let Some(first) = seen.insert(&*text.value, index)
        {
            report.at(entry.start(), &path, format!("repeats entry {first}"));
        }
    }
}

fn check_map(report: &mut Report<'_>, object: &Object<'_>, path: &str, of: Kind, name: &Format, min: usize) {
    if object.properties.len() < min {
        report.at(object.start(), path, "the object must not be empty");
    }
    let mut seen = BTreeSet::new();
    for property in &object.properties {
        let path = member_path(path, property.name.as_str());
        check_once(report, property, &path, &mut seen);
        check_text(
            report,
            property.start(),
            &path,
            (name.check)(property.name.as_str()),
        );
        check(report, &property.value, &path, of);
    }
}

/// Reports a member that came before.
fn check_once<'p>(
    report: &mut Report<'_>,
    property: &'p ObjectProp<'_>,
    path: &str,
    seen: &mut BTreeSet<&'p str>,
) {
    if !seen.insert(property.name.as_str()) {
        report.at(property.start(), path, "the member appears twice");
    }
}

/// Checks the members of `object` against `rows`; those of `others` are left alone.
fn check_members(
    report: &mut Report<'_>,
    object: &Object<'_>,
    path: &str,
    rows: &[&'static [Row]],
    others: &[Other],
) {
    let mut seen = BTreeSet::new();
    for property in &object.properties {
        let name = property.name.as_str();
        let path = member_path(path, name);
        check_once(report, property, &path, &mut seen);
        let row = rows.iter().copied().flatten().find(|row| row.name == name);
        match (row, others.iter().find(|other| other.name == name)) {
            (Some(row), _) => {
                if check_state(report, property.start(), &path, row.state) {
                    check(report, &property.value, &path, row.kind);
                }
            }
            (None, Some(Other { of: None, .. })) => {}
            (None, Some(Other { of: Some(kind), .. })) => {
                report.at(
                    property.start(),
                    &path,
                    format!("only type {kind:?} has this member"),
                );
            }
            (None, None) => {
                let usable = rows
                    .iter()
                    .copied()
                    .flatten()
                    .filter(|row| row.state == State::Built);
                let known = usable
                    .map(|row| row.name)
                    .chain(others.iter().map(|other| other.name));
                let message = format!("unknown member{}", hint(name, known));
                report.at(property.start(), &path, message);
            }
        }
    }
}

/// A member that the tables know, but not among the rows in question.
struct Other {
    name: &'static str,
    /// The type that has the member, if it is out of place here.
    of: Option<&'static str>,
}

fn check_required(report: &mut Report<'_>, object: &Object<'_>, path: &str, rows: &[&'static [Row]]) {
    for row in rows.iter().copied().flatten().filter(|row| row.required) {
        if object.get(row.name).is_none() {
            report.at(object.start(), path, format!("{:?} is required", row.name));
        }
    }
}

fn check_single(report: &mut Report<'_>, object: &Object<'_>, path: &str, rows: &'static [Row]) {
    if object.properties.len() != 1 {
        let usable = rows.iter().filter(|row| row.state == State::Built);
        let names: Vec<_> = usable.map(|row| row.name).collect();
        report.at(
            object.start(),
            path,
            format!("needs exactly one of: {}", names.join(", ")),
        );
    }
}

/// The member that chooses a variant. No table lists it: it is part of every tagged object.
pub(super) const TAG: &str = "type";

fn check_tagged(report: &mut Report<'_>, object: &Object<'_>, path: &str, tagged: &'static Tagged) {
    let tag = Other { name: TAG, of: None };
    match chosen(report, object, path, tagged) {
        Some(variant) if variant.state == State::Built => {
            let mut others = vec![tag];
            others.extend(foreign(tagged, variant));
            let rows = [tagged.common, variant.rows];
            check_members(report, object, path, &rows, &others);
            check_required(report, object, path, &rows);
        }
        // Nothing is known about the members of its own, so only the common ones can be judged.
        Some(_) | None => {
            let common = |name: &str| tagged.common.iter().any(|row| row.name == name);
            let known = object.properties.iter().filter(|p| common(p.name.as_str()));
            let object = Object {
                range: object.range,
                properties: known.cloned().collect(),
            };
            check_members(report, &object, path, &[tagged.common], &[tag]);
        }
    }
}

/// The members of the other variants, which are out of place in `variant`.
fn foreign(tagged: &'static Tagged, variant: &'static Variant) -> impl Iterator<Item = Other> {
    let others = tagged.variants.iter().filter(|other| other.name != variant.name);
    others.flat_map(|other| {
        other.rows.iter().map(|row| Other {
            name: row.name,
            of: Some(other.name),
        })
    })
}

fn chosen(
    report: &mut Report<'_>,
    object: &Object<'_>,
    path: &str,
    tagged: &'static Tagged,
) -> Option<&'static Variant> {
    let names = || {
        let usable = tagged
            .variants
            .iter()
            .filter(|variant| variant.state == State::Built);
        usable.map(|variant| variant.name)
    };
    let list = || names().collect::<Vec<_>>().join(", ");
    let Some(tag) = object.get(TAG) else {
        report.at(object.start(), path, format!("\"type\" is required: {}", list()));
        return None;
    };
    let path = member_path(path, TAG);
    let text = expect_text(report, &tag.value, &path)?;
    let Some(variant) = tagged.variant(&text.value) else {
        let hint = hint(&text.value, names());
        let message = format!("unknown type {}{hint} ({})", quote(&text.value), list());
        report.at(tag.value.start(), &path, message);
        return None;
    };
    check_state(report, tag.value.start(), &path, variant.state);
    Some(variant)
}

fn expect_text<'v, 't>(
    report: &mut Report<'_>,
    value: &'v Value<'t>,
    path: &str,
) -> Option<&'v StringLit<'t>> {
    let text = value.as_string_lit();
    if text.is_none() {
        wrong_type(report, value, path, "a string");
    }
    text
}

fn expect_object<'v, 't>(
    report: &mut Report<'_>,
    value: &'v Value<'t>,
    path: &str,
) -> Option<&'v Object<'t>> {
    let object = value.as_object();
    if object.is_none() {
        wrong_type(report, value, path, "an object");
    }
    object
}

/// Reports a value of another type than `wanted`, without repeating it: it may be a secret.
fn wrong_type(report: &mut Report<'_>, value: &Value<'_>, path: &str, wanted: &str) {
    let found = match value {
        Value::StringLit(_) => "a string",
        Value::NumberLit(_) => "a number",
        Value::BooleanLit(_) => "true or false",
        Value::Object(_) => "an object",
        Value::Array(_) => "a list",
        Value::NullKeyword(_) => "null",
    };
    report.at(value.start(), path, format!("expected {wanted}, found {found}"));
}

fn wrong_number(report: &mut Report<'_>, value: &Value<'_>, path: &str, wanted: &str) {
    match value.as_number_lit() {
        Some(number) => {
            let message = format!("expected {wanted}, found {}", cut(number.value));
            report.at(value.start(), path, message);
        }
        None => wrong_type(report, value, path, wanted),
    }
}

/// Returns the first digits of a number, as many as the largest whole number has.
fn cut(digits: &str) -> &str {
    digits.get(..20).unwrap_or(digits)
}

/// Reads a number without sign, fraction and exponent.
pub(super) fn whole_number(value: &Value<'_>) -> Option<u64> {
    let digits = value.as_number_lit()?.value;
    let plain = digits.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}
