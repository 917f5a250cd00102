//! A client's end of a simulated stream.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use countersign_core::leg::Leg;

use super::{End, Sim, Speaks, Stuck};
use crate::client::{Link, Received};

/// A client's end of a simulated stream: reading from it makes time pass.
#[derive(Debug)]
pub struct SimLink {
    sim: Rc<RefCell<Sim>>,
    line: Option<u64>,
}

impl SimLink {
    /// Opens a stream to a server; over a limit it is closed at once.
    pub fn open(sim: &Rc<RefCell<Sim>>, server: usize, speaks: Speaks) -> Self {
        let line = sim.borrow_mut().accept(server, None, speaks);
        Self {
            sim: Rc::clone(sim),
            line,
        }
    }
}

impl Link for SimLink {
    fn send(&mut self, bytes: &[u8]) -> bool {
        self.line
            .is_some_and(|line| self.sim.borrow_mut().write(line, Leg::CLIENT, bytes))
    }

    fn half_close(&mut self) {
        if let Some(line) = self.line {
            self.sim.borrow_mut().finish(line, Leg::CLIENT);
        }
    }

    fn abort(&mut self) {
        if let Some(line) = self.line.take() {
            self.sim.borrow_mut().reset(line, Leg::CLIENT);
        }
    }

    fn stop_reading(&mut self, room: usize) {
        if let Some(line) = self.line {
            let mut sim = self.sim.borrow_mut();
            if let Some(stream) = sim.stream(line, Leg::CLIENT) {
                stream.room = room;
            }
        }
    }

    fn receive(&mut self, patience: Duration) -> Received {
        let Some(line) = self.line else {
            return Received::End(End::Reset);
        };
        let mut sim = self.sim.borrow_mut();
        if let Some(stream) = sim.stream(line, Leg::CLIENT) {
            stream.room = usize::MAX;
            sim.tend(line);
        }
        let stuck = sim.run_until(patience, |sim| {
            let stream = sim.stream(line, Leg::CLIENT);
            stream.is_none_or(|stream| !stream.received.is_empty() || stream.ended.is_some())
        });
        match stuck {
            Ok(()) => {}
            Err(Stuck::Late) => return Received::Nothing,
            Err(Stuck::Asleep) => panic!("asleep with nothing to wait for, but the client expects more"),
        }
        let Some(stream) = sim.stream(line, Leg::CLIENT) else {
            return Received::End(End::Reset);
        };
        if stream.received.is_empty() {
            Received::End(stream.ended.unwrap_or(End::Eof))
        } else {
            Received::Bytes(std::mem::take(&mut stream.received))
        }
    }
}
