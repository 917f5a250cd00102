//! Files of the disk: those that the configuration names, and those that are served.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
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
        // It may have grown since: never more than one byte over the limit is held.
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            return Err(ErrorKind::FileTooLarge.into());
        }
        Ok((bytes, stamp))
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

fn stamp(metadata: &std::fs::Metadata) -> io::Result<FileStamp> {
    if metadata.is_dir() {
        return Err(ErrorKind::IsADirectory.into());
    }
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    use rustix::fs::{CWD, FileType, mknodat};

    use super::*;

    /// A folder with a file, a folder, a pipe, and links that lead out of it. Gone when dropped.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("countersign-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&folder);
            let root = folder.join("root");
            fs::create_dir_all(root.join("inner")).unwrap();
            fs::write(folder.join("secret"), "out of bounds").unwrap();
            fs::write(root.join("inner/page.txt"), "a page").unwrap();
            symlink("../secret", root.join("out")).unwrap();
            symlink("/proc/self/exe", root.join("magic")).unwrap();
            symlink("inner/page.txt", root.join("within")).unwrap();
            mknodat(CWD, root.join("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
            Self(folder)
        }

        fn open(&self, path: &str) -> Result<(Served, Opened), DialError> {
            let segments: Vec<_> = path.split('/').map(str::to_owned).collect();
            Served::open(&self.0.join("root"), &segments)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn m18_a_file_beneath_the_root_has_its_contents_length_and_time() {
        let folder = Folder::new("served");
        for path in ["inner/page.txt", "within"] {
            let (mut file, opened) = folder.open(path).unwrap();
            assert_eq!((opened.length, opened.remote), (Some(6), None));
            assert!(opened.modified.is_some());
            // It grows after it was announced.
            fs::write(folder.0.join("root/inner/page.txt"), "a page and more").unwrap();
            let mut scratch = [0; 64];
            assert_eq!(file.read(&mut scratch).unwrap(), 6);
            assert_eq!(file.read(&mut scratch).unwrap(), 0);
            fs::write(folder.0.join("root/inner/page.txt"), "a page").unwrap();
        }
    }

    #[test]
    fn m18_nothing_leads_out_of_the_root_and_only_regular_files_open() {
        let folder = Folder::new("root");
        for path in [
            "../secret",
            "out",
            "magic",
            "inner",
            "inner/page.txt/x",
            "absent",
            "/etc/hostname",
            "pipe",
            "",
        ] {
            assert_eq!(folder.open(path).unwrap_err(), DialError::NotFound, "{path}");
        }
    }

    #[test]
    fn m10_a_named_file_is_read_up_to_its_limit_and_no_pipe_blocks() {
        let folder = Folder::new("named");
        let path = folder.0.join("secret");
        let (contents, stamp) = SystemFiles.read(&path, 13).unwrap();
        assert_eq!(contents, b"out of bounds");
        assert_eq!(SystemFiles.stat(&path).unwrap(), stamp);
        let error = SystemFiles.read(&path, 12).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FileTooLarge);
        // Each is told for what it is.
        for (name, kind) in [
            ("root/pipe", ErrorKind::InvalidInput),
            ("root", ErrorKind::IsADirectory),
        ] {
            let error = SystemFiles.read(&folder.0.join(name), 13).unwrap_err();
            assert_eq!(error.kind(), kind, "{name}");
            assert_eq!(SystemFiles.stat(&folder.0.join(name)).unwrap_err().kind(), kind);
        }
    }
}
