//! A listener that several threads accept from.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustix::net::{SocketFlags, acceptfrom_with};

use crate::reactor::{Kind, Reactor, Registration, Way};

/// How many connections are accepted in a row before other work gets its turn.
const ACCEPTS: usize = 16;

/// One thread's share in a listener.
#[derive(Debug)]
pub(crate) struct Acceptor {
    // Dropped before the listener, as it has to be.
    registration: Registration,
    listener: Arc<TcpListener>,
    burst: Burst,
}

/// How many connections are accepted before the operating system is asked whether there are more. That costs
/// nothing when it is asked for others anyway; trying costs a call that finds nothing.
#[derive(Debug, Default)]
struct Burst {
    /// Of this turn of the thread.
    turn: u64,
    most: usize,
    left: usize,
}

impl Burst {
    /// Says whether one more may be tried in this turn. After a turn that left some behind, twice as many.
    fn more(&mut self, turn: u64) -> bool {
        if self.turn != turn {
            let again = self.turn.wrapping_add(1) == turn && self.left == 0;
            self.most = if again {
                (self.most * 2).clamp(1, ACCEPTS)
            } else {
                1
            };
            self.left = self.most;
            self.turn = turn;
        }
        let more = self.left > 0;
        self.left = self.left.saturating_sub(1);
        more
    }
}

impl Acceptor {
    /// Waits for connections on the thread of `reactor`.
    ///
    /// # Errors
    /// The operating system refused to watch one more.
    pub(crate) fn new(listener: &Arc<TcpListener>, reactor: &Arc<Reactor>) -> io::Result<Self> {
        Ok(Self {
            registration: Registration::new(reactor, listener, Kind::Listening)?,
            listener: Arc::clone(listener),
            burst: Burst::default(),
        })
    }

    /// Ready with a connection that never waits by itself, or with why there is none.
    pub(crate) fn poll_accept(&mut self, cx: &Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        loop {
            ready!(self.registration.poll(cx, Way::In));
            if !self.burst.more(self.registration.turns()) {
                // If there are more, it is reported again.
                self.registration.refused(Way::In);
                continue;
            }
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            match acceptfrom_with(&*self.listener, flags).map_err(io::Error::from) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.registration.refused(Way::In);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok((stream, remote)) => {
                    // A TCP stream has a peer with an address.
                    let remote = remote.and_then(|remote| SocketAddr::try_from(remote).ok());
                    let remote = remote.ok_or(io::ErrorKind::AddrNotAvailable)?;
                    return Poll::Ready(Ok((TcpStream::from(stream), remote)));
                }
            }
        }
    }

    /// Leaves what comes to the others.
    pub(crate) fn withdraw(self) {
        self.registration.withdraw(&*self.listener);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns how many may be tried in this turn, of `there`.
    fn tried(burst: &mut Burst, turn: u64, there: usize) -> usize {
        (0..there).take_while(|_| burst.more(turn)).count()
    }

    #[test]
    fn a_burst_doubles_up_to_its_bound_and_a_pause_ends_it() {
        let mut burst = Burst::default();
        for (turn, most) in (7..).zip([1, 2, 4, 8, ACCEPTS, ACCEPTS]) {
            assert_eq!(tried(&mut burst, turn, 100), most);
        }
        assert_eq!(tried(&mut burst, 20, 100), 1, "there was a turn without any");
        assert_eq!(tried(&mut burst, 21, 1), 1, "fewer than there might be");
        assert_eq!(tried(&mut burst, 22, 100), 1);
    }
}
