//! The password file: one `user:hash` a line, as `htpasswd` writes it, compact enough for a million
//! users.

use std::collections::BTreeMap;
use std::fmt;

use super::password::{HashError, Parameters, StoredHash};
use crate::entropy::{Entropy, Label};
use crate::secret::Secret;

/// Largest file, in bytes: some four million users.
pub const MAX_FILE_BYTES: usize = 512 * 1024 * 1024;
/// Longest line, in bytes; the longest hash that is accepted has under 300.
pub const MAX_LINE_BYTES: usize = 1024;
/// Longest user name, in bytes.
pub const MAX_NAME_BYTES: usize = 255;
/// Most faults that are reported for one file: a wrong file has one on every line.
pub const MAX_FAULTS: usize = 100;

/// The users of one password file and their hashes, all of them well-formed.
#[derive(Clone, Default)]
pub struct UserFile {
    /// Names and hash strings, one behind the other.
    arena: Secret<String>,
    /// Sorted by name.
    users: Vec<User>,
    /// Each parameter set of the file with how many users have it or one before it.
    weights: Vec<(Parameters, u64)>,
}

/// Where one user's name, and the hash behind it, lie in the arena.
#[derive(Clone, Copy)]
struct User {
    start: u32,
    name: u16,
    hash: u16,
}

impl UserFile {
    /// Reads a password file. Blank lines and those that start with `#` are skipped, spaces around a
    /// line and CR LF do not matter.
    ///
    /// # Errors
    /// Every faulty line, at most [`MAX_FAULTS`]: no colon, an empty or repeated name, or a hash
    /// that is not accepted. The messages never carry a value.
    pub fn parse(bytes: &[u8]) -> Result<Self, Vec<LineError>> {
        if bytes.len() > MAX_FILE_BYTES {
            return Err(vec![LineError::new(1, Fault::FileTooLarge)]);
        }
        let mut arena = String::new();
        let mut users = Vec::new();
        let mut counts: BTreeMap<Parameters, u64> = BTreeMap::new();
        let mut faults = Vec::new();
        for (line, text) in lines(bytes, MAX_LINE_BYTES) {
            match text.and_then(read_line) {
                Ok(None) => {}
                Ok(Some((name, hash, parameters))) => {
                    // The bounds on file, line and name make these casts exact.
                    let user = User {
                        start: arena.len() as u32,
                        name: name.len() as u16,
                        hash: hash.len() as u16,
                    };
                    arena.push_str(name);
                    arena.push_str(hash);
                    users.push((user, line));
                    *counts.entry(parameters).or_default() += 1;
                }
                Err(fault) => faults.push(LineError::new(line, fault)),
            }
            if faults.len() >= MAX_FAULTS {
                return Err(faults);
            }
        }

        users.sort_by(|(a, line_a), (b, line_b)| {
            name_in(&arena, *a)
                .cmp(name_in(&arena, *b))
                .then(line_a.cmp(line_b))
        });
        let repeated = users.windows(2).filter_map(|pair| match pair {
            [(a, first), (b, line)] if name_in(&arena, *a) == name_in(&arena, *b) => {
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
        let weights = counts
            .into_iter()
            .scan(0, |sum, (parameters, count)| {
                *sum += count;
                Some((parameters, *sum))
            })
            .collect();
        Ok(Self {
            arena: Secret::new(arena),
            users: users.into_iter().map(|(user, _)| user).collect(),
            weights,
        })
    }

    /// Returns the hash of the user `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<StoredHash> {
        StoredHash::parse(self.hash_text(name)?).ok()
    }

    /// Returns the hash string of the user `name`: part of the key under which a verdict is cached,
    /// and how a change at reload is noticed. Never to be printed.
    #[must_use]
    pub fn hash_text(&self, name: &str) -> Option<&str> {
        let arena = self.arena.expose();
        let at = self
            .users
            .binary_search_by(|user| name_in(arena, *user).cmp(name))
            .ok()?;
        let user = self.users.get(at)?;
        let start = user.start as usize + usize::from(user.name);
        arena.get(start..start + usize::from(user.hash))
    }

    /// Returns the hash that stands in for the unknown user `name`, so that the refusal costs what
    /// one of a known user costs: always the same for the same name, with a parameter set of this
    /// file, as frequent as it is here. No password verifies against it. `None` if the file is
    /// empty.
    #[must_use]
    pub fn decoy(&self, entropy: &Entropy, name: &str) -> Option<StoredHash> {
        let &(_, total) = self.weights.last()?;
        let tag: [u8; 24] = entropy.tagged(Label::UnknownUser, name.as_bytes());
        let (pick, salt) = (tag.first_chunk::<8>()?, tag.last_chunk::<16>()?);
        // Multiply and shift instead of a remainder: the bias is under total / 2^64.
        let pick = (u128::from(u64::from_be_bytes(*pick)) * u128::from(total)) >> 64;
        let at = self.weights.partition_point(|&(_, sum)| u128::from(sum) <= pick);
        let &(parameters, _) = self.weights.get(at)?;
        Some(StoredHash::decoy(parameters, *salt))
    }

    /// Returns the number of users.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.users.len()
    }

    /// Says whether there is no user.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.users.is_empty()
    }
}

impl fmt::Debug for UserFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserFile({} users)", self.users.len())
    }
}

fn name_in(arena: &str, user: User) -> &str {
    let start = user.start as usize;
    arena
        .get(start..start + usize::from(user.name))
        .unwrap_or_default()
}

fn read_line(text: &str) -> Result<Option<(&str, &str, Parameters)>, Fault> {
    if text.is_empty() || text.starts_with('#') {
        return Ok(None);
    }
    let (name, hash) = text.split_once(':').ok_or(Fault::NoColon)?;
    if name.is_empty() || name.len() > MAX_NAME_BYTES || name.chars().any(char::is_control) {
        return Err(Fault::BadName);
    }
    let parameters = StoredHash::parse(hash).map_err(Fault::Hash)?.parameters();
    Ok(Some((name, hash, parameters)))
}

/// The lines of a file with their numbers from 1, trimmed, each decoded by itself so that a stray
/// byte is reported with its line.
pub(super) fn lines(bytes: &[u8], limit: usize) -> impl Iterator<Item = (usize, Result<&str, Fault>)> {
    bytes
        .split(|&byte| byte == b'\n')
        .enumerate()
        .map(move |(at, line)| {
            let text = if line.len() > limit {
                Err(Fault::LineTooLong { limit })
            } else {
                std::str::from_utf8(line.trim_ascii()).map_err(|_| Fault::NotUtf8)
            };
            (at + 1, text)
        })
}

/// A faulty line of a user, digest or group file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineError {
    /// Its number, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub fault: Fault,
}

impl LineError {
    pub(super) const fn new(line: usize, fault: Fault) -> Self {
        Self { line, fault }
    }
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.fault)
    }
}

impl std::error::Error for LineError {}

/// What is wrong with a line. Never carries a hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The file is over its limit.
    FileTooLarge,
    /// The line is over its limit.
    LineTooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// Not UTF-8.
    NotUtf8,
    /// No colon.
    NoColon,
    /// A name that is empty, too long, or has characters that a name cannot have.
    BadName,
    /// Not `user:realm:digest`.
    NotThreeFields,
    /// A digest for another realm than the one whose challenge it is to answer.
    OtherRealm,
    /// A digest that has neither 32 nor 64 hexadecimal digits.
    BadDigest,
    /// The name occurs twice.
    Repeated {
        /// The line where it occurs first.
        first: usize,
    },
    /// The hash is not accepted.
    Hash(HashError),
    /// An included group is nowhere defined.
    UnknownGroup(String),
    /// The groups include each other.
    Cycle(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FileTooLarge => f.write_str("the file is too large"),
            Self::LineTooLong { limit } => write!(f, "the line has over {limit} bytes"),
            Self::NotUtf8 => f.write_str("the line is not UTF-8"),
            Self::NoColon => f.write_str("the line has no colon"),
            Self::BadName => f.write_str("the name is empty, too long or has forbidden characters"),
            Self::NotThreeFields => f.write_str("the line is not user:realm:digest"),
            Self::OtherRealm => f.write_str(
                "the line is of another realm: it must have the text of the realm's \"description\"",
            ),
            Self::BadDigest => {
                f.write_str("the digest has neither 32 (MD5) nor 64 (SHA-256) hexadecimal digits")
            }
            Self::Repeated { first } => write!(f, "the name is already on line {first}"),
            Self::Hash(error) => error.fmt(f),
            Self::UnknownGroup(name) => write!(f, "there is no group {name:?}"),
            Self::Cycle(name) => write!(f, "the group {name:?} includes itself by way of others"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::entropy::Seed;

    const BCRYPT: &str = "$2b$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e";
    const SHA256: &str = "$5$rounds=1000$saltsalt$R6e4P8ccT9iMqkYg7Z8YtpId/lfsIfnuPkp8WXposU8";

    fn faults(text: &str) -> Vec<(usize, Fault)> {
        let errors = UserFile::parse(text.as_bytes()).unwrap_err();
        errors
            .into_iter()
            .map(|error| (error.line, error.fault))
            .collect()
    }

    #[test]
    fn m23_a_password_file_is_read() {
        let text = format!("# users\r\n\r\nzoe:{SHA256}\r\n  bob:{BCRYPT}  \n\u{e9}ve:{BCRYPT}");
        let users = UserFile::parse(text.as_bytes()).unwrap();
        assert_eq!(users.len(), 3);
        for name in ["zoe", "bob", "\u{e9}ve"] {
            assert!(users.get(name).unwrap().verify(b"correct horse"), "{name}");
        }
        assert_eq!(users.hash_text("zoe"), Some(SHA256));
        for unknown in ["", "alice", "BOB", "bo", "bobb", "zoe:"] {
            assert!(users.get(unknown).is_none(), "{unknown}");
        }
        assert!(UserFile::parse(b"").unwrap().is_empty());
    }

    #[test]
    fn m23_faulty_lines_are_named_and_their_values_are_not() {
        let text = format!("a:{BCRYPT}\nb:hunter2\n#\nhunter3\n:{BCRYPT}\na:{SHA256}\nc:{BCRYPT}:x\n");
        let found = faults(&text);
        let lines: Vec<_> = found.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [2, 4, 5, 6, 7]);
        assert_eq!(found[1].1, Fault::NoColon);
        assert_eq!(found[2].1, Fault::BadName);
        assert_eq!(found[3].1, Fault::Repeated { first: 1 });
        let shown: Vec<_> = found
            .iter()
            .map(|(_, fault)| format!("{fault} {fault:?}"))
            .collect();
        assert!(!shown.concat().contains("hunter"));
        let errors = UserFile::parse(b"a:\xff").unwrap_err();
        assert_eq!(errors, [LineError::new(1, Fault::NotUtf8)]);
    }

    #[test]
    fn m23_lines_names_and_reports_are_bounded() {
        let name = |length| format!("{}:{BCRYPT}", "x".repeat(length));
        assert!(UserFile::parse(name(MAX_NAME_BYTES).as_bytes()).is_ok());
        assert_eq!(faults(&name(MAX_NAME_BYTES + 1)), [(1, Fault::BadName)]);
        let comment = |length| format!("#{}", "x".repeat(length - 1));
        assert!(UserFile::parse(comment(MAX_LINE_BYTES).as_bytes()).is_ok());
        let limit = MAX_LINE_BYTES;
        assert_eq!(faults(&comment(limit + 1)), [(1, Fault::LineTooLong { limit })]);
        assert_eq!(faults(&"x\n".repeat(1000)).len(), MAX_FAULTS);
        assert_eq!(faults(&format!("a:{BCRYPT}\n").repeat(1000)).len(), MAX_FAULTS);
    }

    #[test]
    fn r5_an_unknown_user_costs_what_a_known_one_does() {
        let entropy = Entropy::new(&Seed::new([1; 32]));
        let mut text = format!("a:{SHA256}\n");
        for user in 0..9 {
            text.push_str(&format!("user{user}:{BCRYPT}\n"));
        }
        let users = UserFile::parse(text.as_bytes()).unwrap();
        let decoys: Vec<_> = (0..1000)
            .map(|name| users.decoy(&entropy, &format!("unknown{name}")).unwrap())
            .collect();
        let bcrypt = Parameters::Bcrypt { cost: 4 };
        let share = decoys.iter().filter(|decoy| decoy.parameters() == bcrypt).count();
        assert!((850..950).contains(&share), "{share} of 1000, expected about 900");
        let sha = Parameters::Sha256Crypt { rounds: 1000 };
        assert!(
            decoys
                .iter()
                .all(|decoy| [bcrypt, sha].contains(&decoy.parameters()))
        );
        assert!(!decoys[0].verify(b"correct horse"));
        let again = users.decoy(&entropy, "unknown0").unwrap();
        assert!(again.same_parameters(&decoys[0]));
        assert!(UserFile::parse(b"").unwrap().decoy(&entropy, "x").is_none());
    }

    #[test]
    fn r10_debug_shows_no_user() {
        let users = UserFile::parse(format!("alice:{BCRYPT}").as_bytes()).unwrap();
        assert_eq!(format!("{users:?}"), "UserFile(1 users)");
    }
}
