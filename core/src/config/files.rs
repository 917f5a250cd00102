//! The files that a configuration names, as the adapter lends them.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::secret::Secret;

/// Largest named file, in bytes: a password file with a million users stays under it, with argon2id strings (100
/// bytes) and mail addresses for names, too.
pub const MAX_FILE_BYTES: usize = 256 * 1024 * 1024;

/// What identifies one state of a file: when any of it changes, the file is read again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileStamp {
    /// Modification time, in nanoseconds since 1970-01-01T00:00:00Z.
    pub modified_nanos: i128,
    /// Size in bytes.
    pub size: u64,
    /// The file system's number of the file.
    pub inode: u64,
}

/// How the core sees files: the adapter binds it to the operating system, tests and the demo to
/// [`MemoryFiles`]. Both calls may block.
pub trait Files {
    /// Returns the identity of the file at `path`.
    ///
    /// # Errors
    /// Whatever the operating system says.
    fn stat(&mut self, path: &Path) -> io::Result<FileStamp>;

    /// Reads the whole file at `path` with the identity it had while it was read.
    ///
    /// # Errors
    /// [`io::ErrorKind::FileTooLarge`] if it has more than `limit` bytes, else whatever the operating
    /// system says.
    fn read(&mut self, path: &Path, limit: usize) -> io::Result<(Vec<u8>, FileStamp)>;

    /// Returns the one name of the folder at `path`: absolute, and without links.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotADirectory`] if it is none, else whatever the operating system says.
    fn folder(&mut self, path: &Path) -> io::Result<PathBuf>;
}

/// The content of a named file. Every one of them is treated as a secret.
#[derive(Clone, Debug)]
pub struct LoadedFile {
    /// The bytes as they were read.
    pub bytes: Secret<Vec<u8>>,
    /// The file's identity when it was read.
    pub stamp: FileStamp,
}

/// Files in memory, for tests and the demo.
#[derive(Clone, Debug, Default)]
pub struct MemoryFiles {
    files: BTreeMap<PathBuf, LoadedFile>,
    written: u64,
}

impl MemoryFiles {
    /// No files.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes the file at `path`; its identity differs from that of every earlier one.
    pub fn insert(&mut self, path: impl Into<PathBuf>, bytes: impl Into<Vec<u8>>) {
        let bytes = bytes.into();
        self.written += 1;
        let stamp = FileStamp {
            modified_nanos: i128::from(self.written),
            size: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            inode: self.written,
        };
        let bytes = Secret::new(bytes);
        self.files.insert(path.into(), LoadedFile { bytes, stamp });
    }

    /// Removes the file at `path`, if there is one.
    pub fn remove(&mut self, path: &Path) {
        self.files.remove(path);
    }

    fn find(&self, path: &Path) -> io::Result<&LoadedFile> {
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        self.files.get(path).ok_or_else(missing)
    }
}

impl Files for MemoryFiles {
    fn stat(&mut self, path: &Path) -> io::Result<FileStamp> {
        Ok(self.find(path)?.stamp)
    }

    fn read(&mut self, path: &Path, limit: usize) -> io::Result<(Vec<u8>, FileStamp)> {
        let file = self.find(path)?;
        let bytes = file.bytes.expose();
        if bytes.len() > limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok((bytes.clone(), file.stamp))
    }

    /// A folder is where some file is.
    fn folder(&mut self, path: &Path) -> io::Result<PathBuf> {
        let path: PathBuf = path.iter().filter(|part| *part != ".").collect();
        if self.files.contains_key(&path) {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let inside = |file: &PathBuf| file.starts_with(&path);
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        self.files
            .keys()
            .any(inside)
            .then_some(path.clone())
            .ok_or_else(missing)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_written_file_has_a_new_identity_and_a_bounded_read() {
        let mut files = MemoryFiles::new();
        let path = Path::new("/a");
        files.insert(path, "one");
        let (bytes, first) = files.read(path, 3).unwrap();
        assert_eq!(bytes, b"one");
        files.insert(path, "two");
        assert_ne!(files.stat(path).unwrap(), first);
        assert_eq!(
            files.read(path, 2).unwrap_err().kind(),
            io::ErrorKind::FileTooLarge
        );
        files.remove(path);
        assert_eq!(files.stat(path).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(!format!("{files:?}").contains("two"));
    }
}
