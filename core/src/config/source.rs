//! The configuration's text: strict JSON within bounds, and where each byte of it stands.

use std::path::Path;

use jsonc_parser::ast::Value;
use jsonc_parser::{CollectOptions, ParseOptions};
use serde::de::IgnoredAny;

use super::error::{ConfigError, Place, ROOT};

/// Largest configuration file, in bytes: a thousand services with their realms stay under it.
pub const MAX_CONFIG_BYTES: usize = 1024 * 1024;

/// Deepest nesting of lists and objects: the model needs 9, and a parser's stack holds far more.
pub const MAX_NESTING: usize = 32;

/// Bytes between two stored character counts, so that a place costs the same on a line of any length.
const STRIDE: usize = 256;

/// The text of a configuration file and the index that tells places.
pub(super) struct Source<'t> {
    file: &'t Path,
    text: &'t str,
    /// Where each line starts, in bytes.
    lines: Vec<usize>,
    /// How many characters start before each multiple of `STRIDE` bytes.
    characters: Vec<usize>,
}

impl<'t> Source<'t> {
    pub(super) fn new(file: &'t Path, text: &'t str) -> Self {
        let mut lines = vec![0];
        let mut characters = Vec::new();
        let mut seen = 0;
        for (at, byte) in text.bytes().enumerate() {
            if at % STRIDE == 0 {
                characters.push(seen);
            }
            if is_character_start(byte) {
                seen += 1;
            }
            if byte == b'\n' {
                lines.push(at + 1);
            }
        }
        characters.push(seen);
        Self {
            file,
            text,
            lines,
            characters,
        }
    }

    /// Returns the file that the text came from.
    pub(super) const fn file(&self) -> &'t Path {
        self.file
    }

    /// Returns the place of the byte at `offset`, which belongs to `path`.
    pub(super) fn place(&self, offset: usize, path: &str) -> Place {
        let line = self.lines.partition_point(|start| *start <= offset).max(1);
        let start = self.lines.get(line - 1).copied().unwrap_or_default();
        let column = self
            .characters_before(offset)
            .saturating_sub(self.characters_before(start))
            + 1;
        Place {
            line: u32::try_from(line).unwrap_or(u32::MAX),
            column: u32::try_from(column).unwrap_or(u32::MAX),
            path: path.to_owned(),
        }
    }

    /// Parses the text as strict JSON: no comments, no trailing commas, bounded nesting. Duplicate
    /// members are kept and reported by whoever reads the object.
    pub(super) fn parse(&self) -> Result<Value<'t>, ConfigError> {
        if self.text.len() > MAX_CONFIG_BYTES {
            return Err(self.error(0, format!("the file is over {MAX_CONFIG_BYTES} bytes")));
        }
        if let Some(offset) = too_deep(self.text) {
            return Err(self.error(offset, format!("nested deeper than {MAX_NESTING} levels")));
        }
        // serde_json judges the grammar. It is the stricter of the two: the other also takes vertical
        // tabs and Unicode spaces between values, and raw control characters inside strings.
        if let Err(error) = serde_json::from_str::<IgnoredAny>(self.text) {
            return Err(self.grammar_error(&error));
        }
        let collect = CollectOptions::default();
        match jsonc_parser::parse_to_ast(self.text, &collect, &strict()) {
            Ok(parsed) => parsed
                .value
                .ok_or_else(|| self.error(0, "the file is empty".to_owned())),
            Err(error) => Err(self.error(error.range().start, format!("not JSON: {}", error.kind()))),
        }
    }

    fn error(&self, offset: usize, message: String) -> ConfigError {
        ConfigError::new(self.file, self.place(offset, ROOT), message)
    }

    fn grammar_error(&self, error: &serde_json::Error) -> ConfigError {
        // The library counts columns in bytes, and the end of the text as one behind the last.
        let start = self.lines.get(error.line().saturating_sub(1)).copied();
        let offset = start.unwrap_or_default() + error.column().saturating_sub(1);
        let offset = offset.min(self.text.len());
        let found = self.text.as_bytes().get(offset..).unwrap_or_default();
        let told = error.to_string();
        let told = told.split(" at line ").next().unwrap_or_default();
        let message = if self.text.trim().is_empty() {
            "the file is empty".to_owned()
        } else if self.text.starts_with('\u{feff}') {
            "the file starts with a byte order mark: save it as UTF-8 without one".to_owned()
        } else if found.starts_with(b"//") || found.starts_with(b"/*") {
            "not JSON: comments are not allowed".to_owned()
        } else {
            format!("not JSON: {told}")
        };
        self.error(offset, message)
    }

    fn characters_before(&self, offset: usize) -> usize {
        let mark = offset / STRIDE;
        let counted = self.characters.get(mark).or_else(|| self.characters.last());
        let rest = self
            .text
            .as_bytes()
            .get(mark * STRIDE..offset)
            .unwrap_or_default();
        counted.copied().unwrap_or_default() + rest.iter().filter(|byte| is_character_start(**byte)).count()
    }
}

/// Says whether `byte` of UTF-8 text starts a character.
const fn is_character_start(byte: u8) -> bool {
    byte & 0b1100_0000 != 0b1000_0000
}

const fn strict() -> ParseOptions {
    ParseOptions {
        allow_comments: false,
        allow_loose_object_property_names: false,
        allow_trailing_commas: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    }
}

/// Returns where the nesting exceeds [`MAX_NESTING`]. Looked at before any parser, since parsers
/// recurse: what this scan misjudges is not JSON and is refused without recursion.
fn too_deep(text: &str) -> Option<usize> {
    let mut depth = 0usize;
    let mut in_string = false;
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                if depth > MAX_NESTING {
                    return Some(at);
                }
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn fault(text: &str) -> (u32, u32, String) {
        let error = Source::new(Path::new("c.json"), text).parse().unwrap_err();
        (error.line, error.column, error.message)
    }

    #[test]
    fn m10_places_count_characters_on_lines_of_any_length() {
        let line = "\u{e4}".repeat(700);
        let text = format!("[\n{line}\n]");
        let source = Source::new(Path::new("c.json"), &text);
        for character in [0, 1, 127, 128, 129, 255, 256, 699, 700] {
            let place = source.place(2 + 2 * character, "x");
            assert_eq!(
                (place.line, place.column),
                (2, u32::try_from(character).unwrap() + 1)
            );
        }
        let end = source.place(text.len() - 1, "x");
        assert_eq!((end.line, end.column), (3, 1));
        assert_eq!(source.place(usize::MAX / 2, "x").line, 3);
    }

    #[test]
    fn m10_what_is_not_strict_json_has_a_place() {
        assert_eq!(fault("{\"a\": 1,}").1, 9);
        assert_eq!(
            fault("{\n  // note\n}"),
            (2, 3, "not JSON: comments are not allowed".to_owned())
        );
        assert_eq!(fault(" \n").2, "the file is empty");
        assert_eq!(fault("\u{feff}{}").0, 1);
        assert!(fault("\u{feff}{}").2.contains("byte order mark"));
        for text in [
            "{a: 1}",
            "{'a': 1}",
            "[1 2]",
            "[0x1]",
            "[+1]",
            "[.5]",
            "[NaN]",
            "[\"\t\"]",
            "[\u{a0}1]",
            "[\u{b}1]",
            "{} {}",
            "[\"\\x41\"]",
            "[\"\\ud800\"]",
            "{\"a\"",
            "[",
            "\"",
            "/* [",
        ] {
            let (line, column, message) = fault(text);
            assert!(line == 1 && column >= 1, "{text}");
            assert!(message.starts_with("not JSON: "), "{text}: {message}");
        }
    }

    #[test]
    fn nesting_is_bounded_before_any_parser_recurses() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(Source::new(Path::new("c"), &nested(MAX_NESTING)).parse().is_ok());
        let (line, column, message) = fault(&nested(MAX_NESTING + 1));
        assert_eq!((line, column), (1, 33));
        assert!(message.contains("32 levels"));
        assert!(fault(&"{\"a\":[".repeat(100_000)).2.contains("levels"));
        let brackets_in_text = format!("[\"\\\"{}\"]", "[".repeat(100));
        assert!(Source::new(Path::new("c"), &brackets_in_text).parse().is_ok());
    }

    #[test]
    fn the_size_is_bounded() {
        let padded = |bytes: usize| format!("{}[]", " ".repeat(bytes - 2));
        assert!(
            Source::new(Path::new("c"), &padded(MAX_CONFIG_BYTES))
                .parse()
                .is_ok()
        );
        assert!(
            fault(&padded(MAX_CONFIG_BYTES + 1))
                .2
                .contains("over 1048576 bytes")
        );
    }
}
