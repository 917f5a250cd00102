//! Files that change: what is looked at, what is read again, and what then holds.

use std::collections::BTreeMap;
use std::io;
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

/// What every named file was when it was looked at last, good or bad.
type Stamps = BTreeMap<PathBuf, Option<FileStamp>>;

/// What has to be remembered between two looks.
#[derive(Debug)]
pub(super) struct Reload {
    path: PathBuf,
    /// The configuration's text: a named file that changes is read again under this very one.
    text: Arc<str>,
    pages: Vec<Page>,
    listen: Vec<Vec<std::net::SocketAddr>>,
    stamps: Stamps,
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
            listen: listens(&config),
            path: config.path,
            text: config.text,
            pages: config.pages,
            stamps,
            clocks: None,
            warnings,
        }
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

/// Returns where every server listens, the admin listener last.
fn listens(config: &Config) -> Vec<Vec<std::net::SocketAddr>> {
    let servers = config.servers.iter().map(|server| server.listen.clone());
    let admin = config.admin.iter().map(|admin| admin.listen.clone());
    servers.chain(admin).collect()
}

/// Looks at the files again.
fn look(stamps: &Stamps, files: &mut dyn Files) -> Stamps {
    stamps
        .keys()
        .map(|path| (path.clone(), files.stat(path).ok()))
        .collect()
}

/// Files beside a configuration whose text is held, whatever its file says by now.
struct Held<'a> {
    path: PathBuf,
    text: Arc<str>,
    files: &'a mut dyn Files,
}

impl Files for Held<'_> {
    fn stat(&mut self, path: &Path) -> io::Result<FileStamp> {
        self.files.stat(path)
    }

    fn read(&mut self, path: &Path, limit: usize) -> io::Result<(Vec<u8>, FileStamp)> {
        if path == self.path {
            return Ok((self.text.as_bytes().to_vec(), FileStamp::default()));
        }
        self.files.read(path, limit)
    }

    fn folder(&mut self, path: &Path) -> io::Result<PathBuf> {
        self.files.folder(path)
    }
}

impl Gateway {
    /// Looks at every named file, reloads what changed, and rings connections after the clocks
    /// jumped. The adapter calls it every 2 seconds from a thread of its own and logs the notes.
    pub fn refresh(&self, files: &mut dyn Files, now: Now) -> Vec<Note> {
        let mut notes = Vec::new();
        self.step_ups.sweep(now);
        let refused = self.admissions.take_refused();
        if refused > 0 {
            notes.push(Note::OverLimit { count: refused });
        }
        notes.extend(self.unproxied());
        notes.extend(self.take_warnings());
        let (known, path, text, jumped) = {
            let mut reload = self.reload.lock().unwrap_or_else(PoisonError::into_inner);
            let jumped = reload.clocks_jumped(now);
            (
                reload.stamps.clone(),
                reload.path.clone(),
                Arc::clone(&reload.text),
                jumped,
            )
        };
        if jumped {
            self.bells.ring_all();
        }
        let found = look(&known, files);
        if found != known {
            // Remembered as it is now, so that a bad file is reported once.
            self.remember(found);
            let mut files = Held {
                path: path.clone(),
                text,
                files,
            };
            notes.extend(self.told(&path, &mut files, now));
        }
        notes
    }

    /// Takes what is to be said about the configuration that was loaded; [`Gateway::refresh`] says it
    /// otherwise.
    pub fn take_warnings(&self) -> Vec<Note> {
        let warnings = {
            let mut reload = self.reload.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut reload.warnings)
        };
        let warning = |message| Note::Warning { message };
        warnings.into_iter().map(warning).collect()
    }

    /// Tells of balancers that do not say whose connections they pass on, at most once a look.
    fn unproxied(&self) -> Option<Note> {
        let count = self.unproxied.swap(0, Ordering::Relaxed);
        let message = format!(
            "closed {count} connections from proxyProtocol networks that did not begin with a right PROXY \
             header of version 2: let the balancer send it (HAProxy: send-proxy-v2)"
        );
        (count > 0).then_some(Note::Warning { message })
    }

    /// Reads the configuration file and all files that it names again (SIGHUP). A bad one changes
    /// nothing. The notes say which it was.
    pub fn reload(&self, path: &Path, files: &mut dyn Files, now: Now) -> Vec<Note> {
        // What is read now is known, good or bad: the next look is not to report it once more.
        let known = {
            let reload = self.reload.lock().unwrap_or_else(PoisonError::into_inner);
            reload.stamps.clone()
        };
        self.remember(look(&known, files));
        self.told(path, files, now)
    }

    fn remember(&self, stamps: Stamps) {
        self.reload.lock().unwrap_or_else(PoisonError::into_inner).stamps = stamps;
    }

    /// Reloads, and returns what is to be said about it.
    fn told(&self, path: &Path, files: &mut dyn Files, now: Now) -> Vec<Note> {
        match self.try_reload(path, files, now) {
            Ok(warnings) => {
                let warnings = warnings.into_iter().map(|message| Note::Warning { message });
                warnings.chain([Note::Reloaded]).collect()
            }
            Err(errors) => vec![Note::ReloadFailed(errors)],
        }
    }

    fn try_reload(&self, path: &Path, files: &mut dyn Files, now: Now) -> Result<Vec<String>, ConfigErrors> {
        let mut config = Config::load(path, files)?;
        let (pages, listen) = {
            let reload = self.reload.lock().unwrap_or_else(PoisonError::into_inner);
            (reload.pages.clone(), reload.listen.clone())
        };
        config.pages = pages;
        if listens(&config) != listen {
            let place = Place {
                line: 1,
                column: 1,
                path: "servers".to_owned(),
            };
            let message = "the servers' listen addresses have changed: restart to listen on others";
            return Err(ConfigError::new(path, place, message).into());
        }
        // Parsed outside of all locks; the swap is all that a handshake can wait for.
        let mut built = rules::build(&config, &self.rules().remote_keys)?;
        let before = self.rules().bus.as_ref().map(|bus| bus.id);
        if built.bus.as_ref().map(|bus| bus.id) != before {
            let place = Place {
                line: 1,
                column: 1,
                path: "bus".to_owned(),
            };
            let message = "the bus has changed, or its secret: restart to use another one";
            return Err(ConfigError::new(path, place, message).into());
        }
        if let (Some(bus), Some(settings)) = (&self.bus, &built.bus) {
            bus.log_in_as(&settings.login);
        }
        let warnings = std::mem::take(&mut built.warnings);
        {
            let mut rules = self.rules.write().unwrap_or_else(PoisonError::into_inner);
            built.generation = rules.generation + 1;
            // Behind the swap it would be seen late by who holds the old rules, and before it never.
            let generation = built.generation;
            *rules = Arc::new(built);
            self.generation.store(generation, Ordering::Release);
        }
        let points = config
            .services
            .values()
            .flat_map(|service| service.endpoints.values());
        self.hub.keep(&points.map(String::as_str).collect());
        self.hub
            .keep_topics(&config.services.keys().map(String::as_str).collect());
        {
            let mut reload = self.reload.lock().unwrap_or_else(PoisonError::into_inner);
            let clocks = reload.clocks;
            *reload = Reload::new(config, Vec::new());
            reload.clocks = clocks;
        }
        self.end_revoked(now);
        self.bells.ring_all();
        Ok(warnings)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::config::MemoryFiles;
    use crate::entropy::Seed;
    use crate::gateway::{Capacity, DESCRIPTORS_BESIDE, FEW_CONNECTIONS};
    use crate::time::{Moment, UnixTime};

    const PATH: &str = "c.json";

    fn config(limits: &str) -> String {
        format!(
            r#"{{"servers": [{{"id": "s", "listen": ["127.0.0.1:0"], "plaintext": true}}], "limits": {limits},
                "realms": {{"r": {{"loginModules": [{{"type": "users", "success": "required",
                    "passwords": "users"}}], "carriers": ["authorization"]}}}},
                "services": {{"e": {{"type": "echo", "accept": "/", "realm": "r", "origins": []}}}}}}"#
        )
    }

    fn start(limits: &str) -> (Arc<Gateway>, MemoryFiles) {
        start_with(limits, 5)
    }

    fn start_with(limits: &str, connections: usize) -> (Arc<Gateway>, MemoryFiles) {
        let mut files = MemoryFiles::new();
        files.insert(PATH, config(limits));
        files.insert("users", "");
        let loaded = Config::load(Path::new(PATH), &mut files).unwrap();
        let capacity = Capacity {
            cores: 1,
            connections,
            descriptors_per_connection: 1,
        };
        (Gateway::new(loaded, Seed::new([1; 32]), capacity).unwrap(), files)
    }

    fn now(at: u64, unix: u64) -> Now {
        Now {
            at: Moment::new(Duration::from_secs(at)),
            unix: UnixTime::from_secs(unix),
        }
    }

    #[test]
    fn m15_a_named_file_reloads_by_itself_and_the_configuration_by_signal_alone() {
        let (gateway, mut files) = start("{}");
        assert!(gateway.refresh(&mut files, now(0, 0)).is_empty());
        files.insert(PATH, "no configuration at all");
        assert!(gateway.refresh(&mut files, now(2, 2)).is_empty());
        files.insert("users", "# still nobody\n");
        let notes = gateway.refresh(&mut files, now(4, 4));
        assert!(matches!(notes[..], [Note::Reloaded]), "{notes:?}");
        let notes = gateway.reload(Path::new(PATH), &mut files, now(5, 5));
        assert!(matches!(notes[..], [Note::ReloadFailed(_)]), "{notes:?}");
    }

    #[test]
    fn e16_a_bad_file_is_reported_once_and_changes_nothing() {
        let (gateway, mut files) = start("{}");
        let before = gateway.rules();
        files.insert("users", "alice:cleartext\n");
        let notes = gateway.refresh(&mut files, now(0, 0));
        assert!(matches!(notes[..], [Note::ReloadFailed(_)]), "{notes:?}");
        assert!(gateway.refresh(&mut files, now(2, 2)).is_empty());
        assert!(Arc::ptr_eq(&before, &gateway.rules()));
    }

    #[test]
    fn e15_a_reload_moves_the_connection_limit_both_ways_below_what_fits() {
        let (gateway, mut files) = start(r#"{"connections": 10}"#);
        let limit = |gateway: &Gateway| gateway.connection_limit(&gateway.rules());
        assert!(gateway.fit_descriptors(64 + 50).is_none());
        assert_eq!(limit(&gateway), 10);
        for (limits, expected) in [
            (r#"{"connections": 3}"#, 3),
            (r#"{"connections": 90}"#, 50),
            ("{}", 5),
        ] {
            files.insert(PATH, config(limits));
            gateway.reload(Path::new(PATH), &mut files, now(0, 0));
            assert_eq!(limit(&gateway), expected, "{limits}");
        }
    }

    #[test]
    fn e15_a_limit_that_does_not_fit_is_a_warning_if_it_was_asked_for_or_if_little_is_left() {
        let warns = |limits: &str, capacity, fit: usize| {
            let (gateway, _) = start_with(limits, capacity);
            let descriptors = DESCRIPTORS_BESIDE + u64::try_from(fit).unwrap();
            let note = gateway.fit_descriptors(descriptors);
            assert_eq!(gateway.connection_limit(&gateway.rules()), fit);
            note.is_some()
        };
        assert!(!warns("{}", 100_000, FEW_CONNECTIONS));
        assert!(warns("{}", 100_000, FEW_CONNECTIONS - 1));
        assert!(warns(r#"{"connections": 100000}"#, 5, 99_999));
        assert!(!warns(r#"{"connections": 100000}"#, 5, 100_000));
    }

    #[test]
    fn e15_a_file_that_is_being_sent_takes_a_descriptor_too() {
        let mut files = MemoryFiles::new();
        let site =
            r#""services": {"d": {"type": "directory", "public": true, "accept": "/f", "directory": "d"},"#;
        files.insert(PATH, config("{}").replace(r#""services": {"#, site));
        files.insert("users", "");
        files.insert("d/index.html", "");
        let loaded = Config::load(Path::new(PATH), &mut files).unwrap();
        let capacity = Capacity {
            cores: 1,
            connections: 100,
            descriptors_per_connection: 1,
        };
        let gateway = Gateway::new(loaded, Seed::new([1; 32]), capacity).unwrap();
        gateway.fit_descriptors(DESCRIPTORS_BESIDE + 50);
        assert_eq!(gateway.connection_limit(&gateway.rules()), 25);
    }

    #[test]
    fn r14_a_jump_of_either_clock_rings_everybody() {
        let (_, files) = start("{}");
        drop(files);
        let mut reload = Reload::new(Config::parse(&config("{}"), Path::new(PATH)).unwrap(), Vec::new());
        assert!(!reload.clocks_jumped(now(0, 1_000)));
        assert!(!reload.clocks_jumped(now(2, 1_002)));
        assert!(reload.clocks_jumped(now(4, 1_060)));
        assert!(reload.clocks_jumped(now(6, 1_000)));
        assert!(!reload.clocks_jumped(now(8, 1_002)));
    }
}
