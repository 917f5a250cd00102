//! A folder for the files of one gateway, gone when the test is over.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::{env, fs, process};

static MADE: AtomicU64 = AtomicU64::new(0);

/// A folder of its own in the system's folder for such.
#[derive(Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new() -> Self {
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("countersign-{}-{number}", process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file in whole: first beside it, then over it.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) {
        let fresh = self.0.join(format!("{name}.new"));
        fs::create_dir_all(fresh.parent().unwrap()).unwrap();
        fs::write(&fresh, bytes).unwrap();
        fs::rename(fresh, self.0.join(name)).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder that cannot be removed is a nuisance, not a failure of what was tested.
        fs::remove_dir_all(&self.0).ok();
    }
}
