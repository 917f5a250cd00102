//! The thread of a listener, which does nothing but accept.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use countersign_core::connection::Peer;
use countersign_core::gateway::Listener;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{SocketFlags, acceptfrom_with};

use crate::mailbox::Alarm;
use crate::server::Shared;

/// How long accepting pauses after an error: most of them, like a lack of descriptors, last.
const ACCEPT_PAUSE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};

/// Accepts connections and gives each a thread, until `stop` rings and the socket is shut down.
pub(crate) fn accept_all(
    shared: &Arc<Shared>,
    listener: &Arc<Listener>,
    socket: &TcpListener,
    address: SocketAddr,
    stop: &Alarm,
) {
    loop {
        let accepted = accept(socket);
        if stop.is_rung() {
            return;
        }
        let admitted = accepted.and_then(|(stream, remote)| {
            let local = if address.ip().is_unspecified() {
                stream.local_addr()
            } else {
                Ok(address)
            };
            // A client that has gone again already has no address: nothing to pause for.
            local.map_or(Ok(()), |local| {
                let server = listener.server;
                let peer = Peer {
                    server,
                    remote,
                    local,
                };
                admit(shared, listener, stream, peer)
            })
        });
        let Err(error) = admitted else {
            continue;
        };
        if matches!(
            error.kind(),
            ErrorKind::ConnectionAborted | ErrorKind::Interrupted
        ) {
            continue;
        }
        // Whoever waits for the last connection waits for those without a thread, too.
        shared.tell_if_awaited();
        shared.failed(listener, &error);
        // Sleeps for the whole pause, unless it is to stop.
        let _ = poll(&mut [PollFd::new(stop, PollFlags::IN)], Some(&ACCEPT_PAUSE));
    }
}

/// Waits for a connection. Its socket does not block.
fn accept(socket: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let (accepted, remote) = acceptfrom_with(socket, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)?;
    let remote = remote.ok_or(ErrorKind::ConnectionAborted)?;
    let remote = SocketAddr::try_from(remote).map_err(io::Error::from)?;
    Ok((TcpStream::from(accepted), remote))
}

/// Makes a connection of an accepted stream, or closes it if a limit is reached.
///
/// # Errors
/// There is no thread for it.
fn admit(shared: &Arc<Shared>, listener: &Arc<Listener>, socket: TcpStream, peer: Peer) -> io::Result<()> {
    let now = shared.clock.now();
    let Some(admission) = shared.gateway.admit(peer.server, peer.remote.ip(), now) else {
        return Ok(());
    };
    let (greeting, listener) = (Arc::clone(shared), Arc::clone(listener));
    let greet = move || greeting.greet(listener, socket, peer, admission);
    shared.greeters.run(Box::new(greet)).map_err(|none| none.error)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::thread;

    use rustix::fs::{OFlags, fcntl_getfl};
    use rustix::net::sockopt::{set_tcp_nodelay, tcp_nodelay};
    use rustix::net::{Shutdown, shutdown};

    use super::*;

    #[test]
    fn an_accepted_socket_neither_blocks_nor_delays_and_whoever_accepts_is_let_go() {
        let socket = Arc::new(TcpListener::bind("127.0.0.1:0").unwrap());
        set_tcp_nodelay(&socket, true).unwrap();
        let address = socket.local_addr().unwrap();
        let client = TcpStream::connect(address).unwrap();
        let (accepted, remote) = accept(&socket).unwrap();
        assert_eq!(remote, client.local_addr().unwrap());
        assert_eq!(accepted.local_addr().unwrap(), address);
        assert!(fcntl_getfl(&accepted).unwrap().contains(OFlags::NONBLOCK));
        assert!(tcp_nodelay(&accepted).unwrap());
        thread::scope(|scope| {
            let waiting = scope.spawn(|| accept(&socket));
            shutdown(&socket, Shutdown::Both).unwrap();
            // Whether it slept already or not.
            assert!(waiting.join().unwrap().is_err());
        });
    }
}
