//! The configuration's files, read from the file system.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use countersign_core::config::{FileStamp, Files};
use rustix::fs::OFlags;

/// The file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemFiles;

impl Files for SystemFiles {
    fn stat(&mut self, path: &Path) -> io::Result<FileStamp> {
        stamp(&std::fs::metadata(path)?)
    }

    fn read(&mut self, path: &Path, limit: usize) -> io::Result<(Vec<u8>, FileStamp)> {
        let mut options = File::options();
        // Opening a named pipe would wait for a writer.
        options
            .read(true)
            .custom_flags(OFlags::NONBLOCK.bits().cast_signed());
        let file = options.open(path)?;
        let stamp = stamp(&file.metadata()?)?;
        let mut contents = Vec::new();
        let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
        file.take(most).read_to_end(&mut contents)?;
        if contents.len() > limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok((contents, stamp))
    }

    fn folder(&mut self, path: &Path) -> io::Result<PathBuf> {
        let path = path.canonicalize()?;
        if std::fs::metadata(&path)?.is_dir() {
            Ok(path)
        } else {
            Err(io::ErrorKind::NotADirectory.into())
        }
    }
}

fn stamp(metadata: &Metadata) -> io::Result<FileStamp> {
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    Ok(FileStamp {
        modified_nanos: i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec()),
        size: metadata.len(),
        inode: metadata.ino(),
    })
}
