//! Files of the disk: those that the configuration names, and those that are served.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::SystemTime;

use countersign_core::config::{FileStamp, Files};
use countersign_core::leg::{DialError, Opened};
use countersign_core::time::UnixTime;
use rustix::fs::{Mode, OFlags, ResolveFlags, open, openat2};
use rustix::io::Errno;

/// How often an open beneath a root is tried: a rename elsewhere can make the kernel unsure whether
/// the path stays inside, and then it asks to be asked again.
const OPEN_ATTEMPTS: usize = 8;

/// The file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemFiles;

impl Files for SystemFiles {
    fn stat(&mut self, path: &Path) -> io::Result<FileStamp> {
        stamp(&std::fs::metadata(path)?)
    }

    fn read(&mut self, path: &Path, limit: usize) -> io::Result<(Vec<u8>, FileStamp)> {
        // Not waiting at open: a named pipe in the place of a file would hold the thread for ever.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = File::from(open(path, flags, Mode::empty())?);
        // Of the open descriptor, so that stamp and contents are of the same file.
        let stamp = stamp(&file.metadata()?)?;
        let limit = u64::try_from(limit).unwrap_or(u64::MAX);
        if stamp.size > limit {
            return Err(ErrorKind::FileTooLarge.into());
        }
        let mut bytes = Vec::new();
        let read = file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
        if u64::try_from(read).unwrap_or(u64::MAX) > limit {
            return Err(ErrorKind::FileTooLarge.into());
        }
        Ok((bytes, stamp))
    }
}

fn stamp(metadata: &std::fs::Metadata) -> io::Result<FileStamp> {
    if !metadata.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "not a regular file"));
    }
    Ok(FileStamp {
        modified_nanos: i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec()),
        size: metadata.size(),
        inode: metadata.ino(),
    })
}

/// A regular file that is being sent: never more than the length that was announced.
#[derive(Debug)]
pub(crate) struct Served(io::Take<File>);

impl Served {
    /// Opens the file at `segments` beneath `root`; no link leads out of it.
    ///
    /// # Errors
    /// `NotFound` if it is not there, not a regular file, or out of the root, `Io` otherwise.
    pub(crate) fn open(root: &Path, segments: &[String]) -> Result<(Self, Opened), DialError> {
        let root = open(
            root,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(dial_error)?;
        let file = open_beneath(&root, segments).map_err(dial_error)?;
        let metadata = file.metadata().map_err(|_| DialError::Io)?;
        if !metadata.is_file() {
            return Err(DialError::NotFound);
        }
        let opened = Opened {
            length: Some(metadata.len()),
            modified: metadata
                .modified()
                .ok()
                .and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok())
                .map(UnixTime::new),
            ..Opened::default()
        };
        Ok((Self(file.take(metadata.len())), opened))
    }

    /// Reads the next bytes; 0 at the end of the file.
    ///
    /// # Errors
    /// What the operating system says.
    pub(crate) fn read(&mut self, scratch: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.0.read(scratch) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    }
}

fn open_beneath(root: &OwnedFd, segments: &[String]) -> rustix::io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let mut opened = Err(Errno::AGAIN);
    for _ in 0..OPEN_ATTEMPTS {
        opened = openat2(root, segments.join("/"), flags, Mode::empty(), resolve);
        if !matches!(opened, Err(Errno::AGAIN | Errno::INTR)) {
            break;
        }
    }
    opened.map(File::from)
}

fn dial_error(error: Errno) -> DialError {
    let not_there = [
        Errno::NOENT,
        Errno::NOTDIR,
        Errno::XDEV,
        Errno::LOOP,
        Errno::NAMETOOLONG,
        Errno::NXIO,
        Errno::INVAL,
    ];
    if not_there.contains(&error) {
        DialError::NotFound
    } else {
        DialError::Io
    }
}
