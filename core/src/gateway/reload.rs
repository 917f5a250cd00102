//! Files that change: what is looked at, what is read again, and what then holds.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::Gateway;
use crate::config::{Config, ConfigError, ConfigErrors, FileStamp, Files, Page, Place};
use crate::note::Note;
use crate::rules;
use crate::time::Now;

/// How far the two clocks may drift apart between two looks before it counts as a jump: a machine
/// that slept, or a wall clock that was set.
const JUMP: Duration = Duration::from_secs(1);

/// What has to be remembered between two looks.
#[derive(Debug)]
pub(super) struct Reload {
    path: PathBuf,
    pages: Vec<Page>,
    listen: Vec<Vec<std::net::SocketAddr>>,
    /// What every named file was when it was read, good or bad.
    stamps: BTreeMap<PathBuf, Option<FileStamp>>,
    clocks: Option<Now>,
    /// What is to be said about the rules that hold.
    warnings: Vec<String>,
}

impl Reload {
    pub(super) fn new(config: Config, warnings: Vec<String>) -> Self {
        let stamps = config
            .files
            .iter()
            .map(|(path, file)| (path.clone(), Some(file.stamp)))
            .collect();
        Self {
            listen: config
                .servers
                .iter()
                .map(|server| server.listen.clone())
                .collect(),
            path: config.path,
            pages: config.pages,
            stamps,
            clocks: None,
            warnings,
        }
    }

    /// Says whether a named file is not what it was when it was read last; it is remembered as it is
    /// now, so that a bad file is reported once.
    fn has_changed(&mut self, files: &mut dyn Files) -> bool {
        let mut changed = false;
        for (path, stamp) in &mut self.stamps {
            let found = files.stat(path).ok();
            changed |= found != *stamp;
            *stamp = found;
        }
        changed
    }

    /// Says whether one clock went on by more than the other since the last look.
    fn clocks_jumped(&mut self, now: Now) -> bool {
        let Some(before) = self.clocks.replace(now) else {
            return false;
        };
        let at = now.at.since(before.at);
        let (forward, backward) = (now.unix.since(before.unix), before.unix.since(now.unix));
        backward > JUMP || forward.abs_diff(at) > JUMP
    }
}

impl Gateway {
    /// Looks at every named file, reloads what changed, and rings connections after the clocks
    /// jumped. The adapter calls it every 2 seconds from a thread of its own and logs the notes.
    pub fn refresh(&self, files: &mut dyn Files, now: Now) -> Vec<Note> {
        let mut notes = Vec::new();
        let refused = self.admissions.take_refused();
        if refused > 0 {
            notes.push(Note::OverLimit { count: refused });
        }
        let (changed, jumped, path) = {
            let mut reload = self.reload.lock().unwrap_or_else(PoisonError::into_inner);
            let warnings = std::mem::take(&mut reload.warnings);
            notes.extend(warnings.into_iter().map(|message| Note::Warning { message }));
            (
                reload.has_changed(files),
                reload.clocks_jumped(now),
                reload.path.clone(),
            )
        };
        if jumped {
            self.bells.ring_all();
        }
        if changed {
            notes.extend(self.reload(&path, files, now));
        }
        notes
    }

    /// Reads the configuration file and all files that it names again (SIGHUP). A bad one changes
    /// nothing. The notes say which it was.
    pub fn reload(&self, path: &Path, files: &mut dyn Files, _now: Now) -> Vec<Note> {
        // What is read now is known, good or bad: the next look is not to report it once more.
        self.reload
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .has_changed(files);
        match self.try_reload(path, files) {
            Ok(warnings) => {
                let warnings = warnings.into_iter().map(|message| Note::Warning { message });
                warnings.chain([Note::Reloaded]).collect()
            }
            Err(errors) => vec![Note::ReloadFailed(errors)],
        }
    }

    fn try_reload(&self, path: &Path, files: &mut dyn Files) -> Result<Vec<String>, ConfigErrors> {
        let mut config = Config::load(path, files)?;
        let (pages, listen) = {
            let reload = self.reload.lock().unwrap_or_else(PoisonError::into_inner);
            (reload.pages.clone(), reload.listen.clone())
        };
        config.pages = pages;
        let now_listen: Vec<_> = config
            .servers
            .iter()
            .map(|server| server.listen.clone())
            .collect();
        if now_listen != listen {
            let place = Place {
                line: 1,
                column: 1,
                path: "servers".to_owned(),
            };
            let message = "the servers' listen addresses have changed: restart to listen on others";
            return Err(ConfigError::new(path, place, message).into());
        }
        // Parsed outside of all locks; the swap is all that a handshake can wait for.
        let mut built = rules::build(&config)?;
        let warnings = std::mem::take(&mut built.warnings);
        if let Some(limit) = built.limits.connections {
            self.connection_limit.fetch_min(limit, Ordering::Relaxed);
        }
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(built);
        {
            let mut reload = self.reload.lock().unwrap_or_else(PoisonError::into_inner);
            let clocks = reload.clocks;
            *reload = Reload::new(config, Vec::new());
            reload.clocks = clocks;
        }
        self.bells.ring_all();
        Ok(warnings)
    }
}
