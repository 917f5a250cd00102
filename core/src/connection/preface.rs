//! Before everything else: a balancer in a declared network says whose connection this is (E13).

use super::{Connection, State};
use crate::proxy_protocol::{HeaderScanner, Scan};
use crate::time::Now;

impl Connection {
    /// Begins TLS where it is spoken. No byte of the client's stream was taken that belongs to it.
    pub(super) fn begin_tls(&mut self) {
        let tls = self.server().and_then(|server| server.tls.clone());
        if let Some(config) = tls.filter(|_| !self.secured) {
            self.legs.accept_tls(config);
        }
    }

    /// Takes in bytes while a header is awaited.
    pub(super) fn preface_bytes(&mut self, now: Now, bytes: &[u8]) {
        let mut rest = bytes;
        while let State::Preface(scanner) = &mut self.state {
            let Some((taken, left)) = rest.split_at_checked(scanner.wanted().min(rest.len())) else {
                return;
            };
            if taken.is_empty() {
                return;
            }
            let scan = scanner.push(taken);
            rest = left;
            match scan {
                Scan::More => {}
                Scan::Done(source) => {
                    if let Some(remote) = source {
                        self.peer.remote = remote;
                        if !self.admission.belongs_to(remote.ip()) {
                            return self.over();
                        }
                    }
                    self.state = State::Head(Self::scanner(&self.rules));
                    self.begin_tls();
                }
                Scan::Bad => return self.end_preface(),
            }
        }
        if rest.is_empty() {
            return;
        }
        if self.secured {
            self.client_data(now, rest);
        } else {
            // The adapter has read on into the TLS handshake, which nobody can give back to it.
            self.over();
        }
    }

    /// The header has not arrived in time, or what arrived is none. There is nobody to be answered:
    /// whoever sends something else does not speak HTTP yet.
    pub(super) fn end_preface(&mut self) {
        if let State::Preface(scanner) = &self.state
            && scanner.has_bytes()
        {
            self.gateway().count_unproxied();
        }
        self.over();
    }

    /// A balancer that only looks whether somebody listens is let go, and so is one that is idle
    /// while the gateway shuts down.
    pub(super) fn tick_preface(&mut self) {
        let State::Preface(scanner) = &self.state else {
            return;
        };
        let idle = self.gateway().is_draining() && !self.late && !scanner.has_bytes();
        if self.legs.client().eof || idle {
            self.end_preface();
        }
    }

    /// The state in which a connection begins.
    pub(super) fn first_state(&self) -> State {
        match self.server() {
            None => State::Closed,
            Some(server) if server.is_balancer(self.peer.remote.ip()) => {
                State::Preface(HeaderScanner::default())
            }
            Some(_) => State::Head(Self::scanner(&self.rules)),
        }
    }
}
