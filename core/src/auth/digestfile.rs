//! The digest file: one `user:realm:HA1` a line, as `htdigest` writes it; 32 hexadecimal digits are
//! MD5, 64 are SHA-256. A user has a line for each algorithm. Compact enough for a million users.

use std::fmt;

use super::digest::unhex;
use super::userfile::{Fault, LineError, MAX_FAULTS, MAX_FILE_BYTES, MAX_LINE_BYTES, MAX_NAME_BYTES, lines};
use crate::config::DigestAlgorithm;
use crate::secret::Secret;

/// The users of one digest file. What is stored for a user, HA1, is as good as the password for
/// whoever speaks Digest to this realm.
#[derive(Clone, Default)]
pub struct DigestFile {
    /// Names and digests, one behind the other.
    arena: Secret<Vec<u8>>,
    /// Sorted by name, then by algorithm.
    entries: Vec<Entry>,
}

/// Where a user's name, and the digest behind it, lie in the arena.
#[derive(Clone, Copy)]
struct Entry {
    start: u32,
    name: u16,
    algorithm: DigestAlgorithm,
}

/// What one line says.
struct Line<'a> {
    name: &'a str,
    algorithm: DigestAlgorithm,
    digest: Secret<Vec<u8>>,
}

impl DigestFile {
    /// Reads a digest file of the realm whose challenge says `realm`. Blank lines and those that
    /// start with `#` are skipped, spaces around a line and CR LF do not matter.
    ///
    /// # Errors
    /// Every faulty line, at most [`MAX_FAULTS`]: not three fields, an empty or repeated name,
    /// another realm, or a digest of neither length. The messages never carry a value.
    pub fn parse(bytes: &[u8], realm: &str) -> Result<Self, Vec<LineError>> {
        if bytes.len() > MAX_FILE_BYTES {
            return Err(vec![LineError::new(1, Fault::FileTooLarge)]);
        }
        // Never moved while it grows: no copies of digests are left behind.
        let mut arena = Vec::with_capacity(bytes.len());
        let mut entries = Vec::new();
        let mut faults = Vec::new();
        for (number, text) in lines(bytes, MAX_LINE_BYTES) {
            match text.and_then(|text| read_line(text, realm)) {
                Ok(None) => {}
                Ok(Some(line)) => {
                    // The bounds on file and name make these casts exact.
                    let entry = Entry {
                        start: arena.len() as u32,
                        name: line.name.len() as u16,
                        algorithm: line.algorithm,
                    };
                    arena.extend_from_slice(line.name.as_bytes());
                    arena.extend_from_slice(line.digest.expose());
                    entries.push((entry, number));
                }
                Err(fault) => faults.push(LineError::new(number, fault)),
            }
            if faults.len() >= MAX_FAULTS {
                return Err(faults);
            }
        }
        entries.sort_by(|(a, line_a), (b, line_b)| {
            key(&arena, *a).cmp(&key(&arena, *b)).then(line_a.cmp(line_b))
        });
        let repeated = entries.windows(2).filter_map(|pair| match pair {
            [(a, first), (b, line)] if key(&arena, *a) == key(&arena, *b) => {
                Some(LineError::new(*line, Fault::Repeated { first: *first }))
            }
            _ => None,
        });
        faults.extend(repeated.take(MAX_FAULTS));
        if !faults.is_empty() {
            faults.sort_by_key(|fault| fault.line);
            faults.truncate(MAX_FAULTS);
            return Err(faults);
        }
        Ok(Self {
            arena: Secret::new(arena),
            entries: entries.into_iter().map(|(entry, _)| entry).collect(),
        })
    }

    /// Returns the stored bytes of `H(user:realm:password)` of the user `name` under `algorithm`.
    /// Never to be printed.
    #[must_use]
    pub fn ha1(&self, name: &str, algorithm: DigestAlgorithm) -> Option<&[u8]> {
        let arena = self.arena.expose();
        let at = self
            .entries
            .binary_search_by(|entry| key(arena, *entry).cmp(&(name.as_bytes(), algorithm)))
            .ok()?;
        let entry = self.entries.get(at)?;
        let start = entry.start as usize + usize::from(entry.name);
        arena.get(start..start + algorithm.length())
    }

    /// Returns how many users have a line for `algorithm`.
    #[must_use]
    pub fn count(&self, algorithm: DigestAlgorithm) -> usize {
        let same = self.entries.iter().filter(|entry| entry.algorithm == algorithm);
        same.count()
    }
}

impl fmt::Debug for DigestFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DigestFile({} lines)", self.entries.len())
    }
}

fn key(arena: &[u8], entry: Entry) -> (&[u8], DigestAlgorithm) {
    let start = entry.start as usize;
    let name = arena.get(start..start + usize::from(entry.name));
    (name.unwrap_or_default(), entry.algorithm)
}

/// Reads one line. The realm may hold colons, the others cannot.
fn read_line<'a>(text: &'a str, realm: &str) -> Result<Option<Line<'a>>, Fault> {
    if text.is_empty() || text.starts_with('#') {
        return Ok(None);
    }
    let (name, rest) = text.split_once(':').ok_or(Fault::NotThreeFields)?;
    let (line_realm, digest) = rest.rsplit_once(':').ok_or(Fault::NotThreeFields)?;
    if name.is_empty() || name.len() > MAX_NAME_BYTES || name.chars().any(char::is_control) {
        return Err(Fault::BadName);
    }
    if line_realm != realm {
        return Err(Fault::OtherRealm);
    }
    let digest = Secret::new(unhex(digest.as_bytes()).ok_or(Fault::BadDigest)?);
    let algorithm = DigestAlgorithm::ALL
        .into_iter()
        .find(|algorithm| algorithm.length() == digest.expose().len())
        .ok_or(Fault::BadDigest)?;
    Ok(Some(Line {
        name,
        algorithm,
        digest,
    }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const MD5: &str = "939e7578ed9e3c518a452acee763bce9";
    const SHA256: &str = "0123456789abcdef0123456789ABCDEF0123456789abcdef0123456789abcdef";

    fn faults(text: &str) -> Vec<(usize, Fault)> {
        let errors = DigestFile::parse(text.as_bytes(), "R").unwrap_err();
        errors
            .into_iter()
            .map(|error| (error.line, error.fault))
            .collect()
    }

    #[test]
    fn r13_a_digest_file_is_read() {
        let text = format!("# users\r\n\r\nzoe:R:{SHA256}\r\n  bob:R:{MD5}  \nzoe:R:{MD5}\n\u{e9}ve:R:{MD5}");
        let file = DigestFile::parse(text.as_bytes(), "R").unwrap();
        for name in ["zoe", "bob", "\u{e9}ve"] {
            let ha1 = file.ha1(name, DigestAlgorithm::Md5).unwrap();
            assert_eq!((ha1.len(), ha1[0]), (16, 0x93), "{name}");
        }
        let ha1 = file.ha1("zoe", DigestAlgorithm::Sha256).unwrap();
        assert_eq!((ha1.len(), ha1[15]), (32, 0xEF));
        for unknown in ["", "alice", "BOB", "bo", "bobb", "zoe:R"] {
            assert!(file.ha1(unknown, DigestAlgorithm::Md5).is_none(), "{unknown}");
        }
        assert!(file.ha1("bob", DigestAlgorithm::Sha256).is_none());
        let counts = DigestAlgorithm::ALL.map(|algorithm| file.count(algorithm));
        assert_eq!(counts, [1, 3]);
        assert_eq!(
            DigestFile::parse(b"", "R").unwrap().count(DigestAlgorithm::Md5),
            0
        );
    }

    #[test]
    fn r13_the_realm_may_hold_colons() {
        let text = format!("a:R: 1:{MD5}");
        assert!(DigestFile::parse(text.as_bytes(), "R: 1").is_ok());
        assert!(DigestFile::parse(text.as_bytes(), "R").is_err());
    }

    #[test]
    fn m23_faulty_lines_are_named_and_their_values_are_not() {
        let text = format!(
            "a:R:{MD5}\nb:hunter2\n#\nhunter3\n:R:{MD5}\na:R:{MD5}\nc:r:{MD5}\nd:R:hunter4\ne:R:{MD5}0\n"
        );
        let found = faults(&text);
        let expected = [
            (2, Fault::NotThreeFields),
            (4, Fault::NotThreeFields),
            (5, Fault::BadName),
            (6, Fault::Repeated { first: 1 }),
            (7, Fault::OtherRealm),
            (8, Fault::BadDigest),
            (9, Fault::BadDigest),
        ];
        assert_eq!(found, expected);
        let shown: Vec<_> = found
            .iter()
            .map(|(_, fault)| format!("{fault} {fault:?}"))
            .collect();
        assert!(!shown.concat().contains("hunter"));
    }

    #[test]
    fn m23_names_and_reports_are_bounded() {
        let name = |length| format!("{}:R:{MD5}", "x".repeat(length));
        assert!(DigestFile::parse(name(MAX_NAME_BYTES).as_bytes(), "R").is_ok());
        assert_eq!(faults(&name(MAX_NAME_BYTES + 1)), [(1, Fault::BadName)]);
        assert_eq!(faults(&"x\n".repeat(1000)).len(), MAX_FAULTS);
        assert_eq!(faults(&format!("a:R:{MD5}\n").repeat(1000)).len(), MAX_FAULTS);
    }

    #[test]
    fn r10_debug_shows_no_user() {
        let file = DigestFile::parse(format!("alice:R:{MD5}").as_bytes(), "R").unwrap();
        assert_eq!(format!("{file:?}"), "DigestFile(1 lines)");
    }
}
