//! What the programs do alike around their runtimes.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::panic::PanicHookInfo;
use std::path::Path;
use std::sync::Arc;

use crate::config::{Config, ConfigErrors, Files, Page};
use crate::entropy::Seed;
use crate::gateway::{Capacity, Gateway, Listener};
use crate::note::Note;
use crate::rules::ADMIN;

/// Where the demo listens unless the operator says otherwise.
pub const DEMO_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8443);

/// Returns the line that `version` prints, without its end.
pub fn version(program: &str) -> String {
    format!("{program} {}", env!("CARGO_PKG_VERSION"))
}

/// Loads a configuration with every file that it names and builds the gateway of it, with pages of
/// the program's own beside what the file has.
///
/// # Errors
/// Everything that is wrong with them, each with its place.
pub fn load(
    path: &Path,
    files: &mut dyn Files,
    pages: &[Page],
    seed: Seed,
    capacity: Capacity,
) -> Result<Arc<Gateway>, ConfigErrors> {
    let mut config = Config::load(path, files)?;
    config.pages = pages.to_vec();
    Gateway::new(config, seed, capacity)
}

/// Returns the note that `listener` is bound to `address`, which has the real port.
pub fn listening(listener: &Listener, address: SocketAddr) -> Note {
    let scheme = match (listener.tls, &*listener.id) {
        (true, _) => "wss",
        (false, ADMIN) => "http",
        (false, _) => "ws",
    };
    Note::Listening {
        server: Arc::clone(&listener.id),
        url: format!("{scheme}://{address}"),
    }
}

/// Returns the note about a panic: where it happened, never its message, which may hold what a
/// peer sent. It is to be logged by another thread: the one that panicked may hold the log's lock.
pub fn panicked(info: &PanicHookInfo<'_>) -> Note {
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    Note::Warning {
        message: format!("panicked at {place}: this is a bug, please report it"),
    }
}

/// Returns the password in a line that was typed or piped: one line end is not part of it.
pub fn password(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_listening_url_has_the_address_as_a_literal_and_the_real_port() {
        let listener = Listener {
            server: 0,
            id: "edge".into(),
            address: SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 0)),
            tls: true,
        };
        let note = listening(&listener, SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 4433)));
        assert!(matches!(note, Note::Listening { url, .. } if url == "wss://[::1]:4433"));
    }

    #[test]
    fn one_line_end_is_not_part_of_a_password() {
        assert_eq!(password(b"open sesame \r\n"), b"open sesame ");
        assert_eq!(password(b"a\n\n"), b"a\n");
        assert_eq!(password(b""), b"");
    }
}
