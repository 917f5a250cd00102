//! Opening what the core asks for: TCP streams, and files beneath a root.

use std::fs::File;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use blocking::{Unblock, unblock};
use countersign_core::gateway::Lookups;
use countersign_core::leg::{ClientTls, Destination, DialError, Opened};
use countersign_core::ops::faults;
use countersign_core::time::UnixTime;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::reactor::Reactor;
use crate::socket::Socket;
use crate::stream::{Io, secured};

/// How many bytes of a file the thread pool reads ahead: one scratch buffer.
const READ_AHEAD: usize = 16 * 1024;

/// How often an open beneath a root is tried: a rename elsewhere can make the kernel unsure whether the
/// path stays inside, and then it asks to be asked again.
const OPEN_ATTEMPTS: usize = 8;

/// Opens a stream. There is no time limit: the core drops what takes too long.
pub(crate) async fn dial(
    to: Destination,
    lookups: Arc<Lookups>,
    reactor: Arc<Reactor>,
) -> Result<(Io, Opened), DialError> {
    match to {
        Destination::Tcp { host, port, tls } => tcp(host, port, tls, &lookups, &reactor).await,
        Destination::File { root, segments } => {
            let (file, opened) = unblock(move || beneath(&root, &segments)).await?;
            Ok((
                Io::File(Box::new(Unblock::with_capacity(READ_AHEAD, file))),
                opened,
            ))
        }
    }
}

async fn tcp(
    host: String,
    port: u16,
    tls: Option<ClientTls>,
    lookups: &Arc<Lookups>,
    reactor: &Arc<Reactor>,
) -> Result<(Io, Opened), DialError> {
    let mut failure = DialError::Name;
    for address in resolve(host, port, lookups).await? {
        let socket = match Socket::connect(address, reactor).await {
            Ok(socket) => socket,
            Err(error) => {
                failure = faults::undialed(&error);
                continue;
            }
        };
        // Without it only latency is lost.
        let _ = socket.get_ref().set_nodelay(true);
        let opened = Opened {
            remote: Some(address),
            ..Opened::default()
        };
        let io = match tls {
            None => Io::Plain(socket),
            Some(tls) => Io::Tls(secured(socket, tls).await.map_err(|_| DialError::Tls)?),
        };
        return Ok((io, opened));
    }
    Err(failure)
}

/// Returns the addresses of `host`, in the resolver's order.
async fn resolve(host: String, port: u16, lookups: &Arc<Lookups>) -> Result<Vec<SocketAddr>, DialError> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let place = lookups.begin().ok_or(DialError::Name)?;
    let found = unblock(move || {
        let found = (host.as_str(), port).to_socket_addrs().map(Vec::from_iter);
        drop(place);
        found
    })
    .await;
    found.map_err(|_| DialError::Name)
}

/// Opens a regular file beneath `root`; no link and no `..` leads out of it.
fn beneath(root: &Path, segments: &[String]) -> Result<(File, Opened), DialError> {
    let folder = rustix::fs::open(
        root,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(file_error)?;
    let path: PathBuf = segments.iter().collect();
    let open = || {
        rustix::fs::openat2(
            &folder,
            &path,
            // Opening a named pipe would wait for a writer.
            OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY,
            Mode::empty(),
            ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS,
        )
    };
    let mut opened = open();
    for _ in 1..OPEN_ATTEMPTS {
        if !matches!(opened, Err(Errno::AGAIN | Errno::INTR)) {
            break;
        }
        opened = open();
    }
    let file = File::from(opened.map_err(file_error)?);
    let metadata = file.metadata().map_err(|_| DialError::Io)?;
    if !metadata.is_file() {
        return Err(DialError::NotFound);
    }
    let modified = metadata.modified().ok();
    let opened = Opened {
        remote: None,
        length: Some(metadata.len()),
        modified: modified
            .and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok())
            .map(UnixTime::new),
    };
    Ok((file, opened))
}

fn file_error(error: Errno) -> DialError {
    match error {
        // EXDEV: the path leads out of the root.
        Errno::NOENT
        | Errno::NOTDIR
        | Errno::XDEV
        | Errno::LOOP
        | Errno::NAMETOOLONG
        | Errno::NXIO
        | Errno::INVAL => DialError::NotFound,
        _ => DialError::Io,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use futures_lite::io::AsyncReadExt;

    use super::*;

    /// A folder with a file, a folder, and links that lead out of it.
    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("countersign-dial-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder.join("root/inner")).unwrap();
        fs::write(folder.join("secret"), "out of bounds").unwrap();
        fs::write(folder.join("root/inner/page.txt"), "a page").unwrap();
        symlink("../secret", folder.join("root/out")).unwrap();
        symlink("/proc/self/exe", folder.join("root/magic")).unwrap();
        symlink("inner/page.txt", folder.join("root/within")).unwrap();
        folder
    }

    fn open(folder: &Path, path: &str) -> Result<(String, Opened), DialError> {
        let segments = path.split('/').map(str::to_owned).collect();
        let to = Destination::File {
            root: folder.join("root"),
            segments,
        };
        Reactor::of_thread().block_on(async {
            let (Io::File(mut file), opened) = dial(to, Arc::default(), Reactor::of_thread()).await? else {
                panic!("a file was dialed");
            };
            let mut contents = String::new();
            file.read_to_string(&mut contents).await.unwrap();
            Ok((contents, opened))
        })
    }

    #[test]
    fn a_file_beneath_the_root_has_its_contents_length_and_time() {
        let folder = folder("file");
        for path in ["inner/page.txt", "within"] {
            let (contents, opened) = open(&folder, path).unwrap();
            assert_eq!((contents.as_str(), opened.length), ("a page", Some(6)));
            assert!(opened.modified.is_some() && opened.remote.is_none());
        }
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn nothing_leads_out_of_the_root_and_only_regular_files_open() {
        let folder = folder("out");
        let pipe = folder.join("root/pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, Mode::RUSR, 0).unwrap();
        for path in [
            "../secret",
            "out",
            "magic",
            "inner",
            "inner/page.txt/x",
            "absent",
            "/etc/hostname",
            "pipe",
        ] {
            assert_eq!(open(&folder, path).unwrap_err(), DialError::NotFound, "{path}");
        }
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn the_second_address_of_a_name_is_tried_after_the_first_refused() {
        // `localhost` is [::1] and 127.0.0.1 in some order; only one of them listens.
        let listener = std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let reactor = Reactor::of_thread();
        let dial = |host: &str| {
            reactor.block_on(tcp(
                host.to_owned(),
                address.port(),
                None,
                &Arc::default(),
                &reactor,
            ))
        };
        let (_, opened) = dial("localhost").unwrap_or_else(|_| panic!());
        assert_eq!(opened.remote, Some(address));
        drop(listener);
        assert_eq!(dial("127.0.0.1").err(), Some(DialError::Refused));
    }
}
