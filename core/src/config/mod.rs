//! Placeholder until the configuration lands.
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// All errors of a configuration.
#[derive(Clone, Debug, Default)]
pub struct ConfigErrors(pub Vec<String>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}
impl std::error::Error for ConfigErrors {}

/// A file's identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct FileStamp {
    /// Modification time in nanoseconds.
    pub modified_nanos: i128,
    /// Size.
    pub size: u64,
    /// Inode.
    pub inode: u64,
}

/// How the core reads files.
pub trait Files {
    /// Looks at a file.
    ///
    /// # Errors
    /// What the operating system says.
    fn stat(&mut self, path: &Path) -> io::Result<FileStamp>;
    /// Reads a file of at most `limit` bytes.
    ///
    /// # Errors
    /// What the operating system says.
    fn read(&mut self, path: &Path, limit: usize) -> io::Result<(Vec<u8>, FileStamp)>;
}

/// Files in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryFiles(pub BTreeMap<PathBuf, Vec<u8>>);

impl Files for MemoryFiles {
    fn stat(&mut self, path: &Path) -> io::Result<FileStamp> {
        self.read(path, usize::MAX).map(|(_, stamp)| stamp)
    }
    fn read(&mut self, path: &Path, _: usize) -> io::Result<(Vec<u8>, FileStamp)> {
        let bytes = self.0.get(path).cloned().ok_or(io::ErrorKind::NotFound)?;
        let stamp = FileStamp {
            size: bytes.len() as u64,
            ..FileStamp::default()
        };
        Ok((bytes, stamp))
    }
}

/// The configuration.
#[derive(Clone, Debug, Default)]
pub struct Config;

impl Config {
    /// Loads a configuration and every file that it names.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn load(_path: &Path, _files: &mut dyn Files) -> Result<Self, ConfigErrors> {
        Ok(Self)
    }
}
