//! What errors of the operating system mean to a connection and to the operator.

// The kinds of `io::Error` are the standard library's, and more of them come with every version.
#![allow(clippy::wildcard_enum_match_arm)]

use std::io;
use std::io::ErrorKind::{
    AddrInUse, AddrNotAvailable, BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset,
    HostUnreachable, InvalidData, NetworkDown, NetworkUnreachable, PermissionDenied, TimedOut,
};

use crate::gateway::Listener;
use crate::leg::{Break, DialError};

/// Returns why a leg broke whose stream failed with `error`. What rustls refuses arrives from it
/// as invalid data.
pub fn broken(error: &io::Error) -> Break {
    match error.kind() {
        ConnectionReset | ConnectionAborted | BrokenPipe => Break::Reset,
        InvalidData => Break::Tls,
        _ => Break::Io,
    }
}

/// Returns why a TCP stream could not be opened.
pub fn undialed(error: &io::Error) -> DialError {
    match error.kind() {
        ConnectionRefused => DialError::Refused,
        HostUnreachable | NetworkUnreachable | NetworkDown | AddrNotAvailable | TimedOut => {
            DialError::Unreachable
        }
        _ => DialError::Io,
    }
}

/// Returns `error`, that of binding `listener`, with the words that tell the operator which
/// address it was and what to do about it.
pub fn unbound(listener: &Listener, error: &io::Error) -> io::Error {
    let remedy = match error.kind() {
        AddrInUse => "stop what listens there already, or choose another port",
        PermissionDenied => {
            "choose a port from 1024 on, or give the program the capability CAP_NET_BIND_SERVICE"
        }
        AddrNotAvailable => "choose an address of this machine; 0.0.0.0 and [::] stand for all of them",
        _ => "choose another address",
    };
    let (address, server) = (listener.address, &listener.id);
    io::Error::new(
        error.kind(),
        format!("could not bind {address} of server {server:?}: {error}; {remedy}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_in_use_names_itself_and_a_remedy() {
        let listener = Listener {
            server: 0,
            id: "edge".into(),
            address: ([127, 0, 0, 1], 8443).into(),
            tls: true,
        };
        let shown = unbound(&listener, &AddrInUse.into()).to_string();
        assert!(shown.contains("127.0.0.1:8443 of server \"edge\""), "{shown}");
        assert!(shown.contains("choose another port"), "{shown}");
    }

    #[test]
    fn a_peer_that_is_gone_is_a_reset_and_a_bad_record_is_tls() {
        assert_eq!(broken(&BrokenPipe.into()), Break::Reset);
        assert_eq!(broken(&InvalidData.into()), Break::Tls);
        assert_eq!(undialed(&ConnectionRefused.into()), DialError::Refused);
        assert_eq!(undialed(&TimedOut.into()), DialError::Unreachable);
    }
}
