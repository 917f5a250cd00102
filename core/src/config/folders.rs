//! The folders whose files are served: that they are there, and that no file is in two worlds at once.

use std::io;
use std::path::{Path, PathBuf};

use super::error::{ConfigError, quote};
use super::files::Files;
use super::model::Service;
use super::{Config, FileRef};

/// A folder that is served, under its one name.
struct Served<'c> {
    service: &'c Service,
    path: PathBuf,
}

/// Returns what is wrong with the folders that `config` serves.
pub(super) fn check(config: &Config, files: &mut dyn Files) -> Vec<ConfigError> {
    let mut errors = Vec::new();
    let mut served: Vec<Served<'_>> = Vec::new();
    let mut fault = |folder: &FileRef, message: String| {
        errors.push(ConfigError::new(&config.path, folder.place.clone(), message));
    };
    let services = config.services.values();
    for (service, folder) in services.filter_map(|service| Some((service, service.directory.as_ref()?))) {
        let path = match files.folder(or_here(&folder.path)) {
            Ok(path) => path,
            Err(error) => {
                fault(folder, why_not(&error));
                continue;
            }
        };
        // Keys and passwords, most of all.
        let named = config.file_refs().map(|file| file.path.as_path());
        let inside = named.chain([config.path.as_path()]).find(|file| {
            let parent = file.parent().map(or_here);
            let parent = parent.and_then(|parent| files.folder(parent).ok());
            parent.is_some_and(|parent| parent.starts_with(&path))
        });
        if let Some(file) = inside {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            let message = format!(
                "the folder would serve {}, which belongs to this configuration: move one of them",
                quote(&name)
            );
            fault(folder, message);
        }
        let nested = |other: &&Served<'_>| {
            other.service.access != service.access
                && (path.starts_with(&other.path) || other.path.starts_with(&path))
        };
        if let Some(other) = served.iter().find(nested) {
            let message = format!(
                "the folder contains that of service {}, or lies in it, and their realms differ: who may read its \
                 files must not depend on the path",
                quote(&other.service.name)
            );
            fault(folder, message);
        }
        served.push(Served { service, path });
    }
    errors
}

/// The name of the folder in which a file without one is.
fn or_here(folder: &Path) -> &Path {
    if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    }
}

/// Says why a folder cannot be served, and what to do.
fn why_not(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::NotFound {
        "there is no such folder: create it, or correct the name (relative names start at the configuration's \
         folder)"
            .to_owned()
    } else if error.kind() == io::ErrorKind::NotADirectory {
        "this is no folder".to_owned()
    } else if error.kind() == io::ErrorKind::PermissionDenied {
        "permission denied: give the server's user the right to read the folder".to_owned()
    } else {
        format!("the folder cannot be opened: {}", error.kind())
    }
}
