//! The streams of one connection: what waits on each, and what the adapter has to be told of them.

use std::collections::VecDeque;
use std::sync::Arc;

use rustls::ServerConfig;

use crate::buffer::Outgoing;
use crate::leg::{ClientTls, Destination, Dial, Leg, Tls};

/// While more than this waits for the client, nothing is read that could add to it, in bytes.
pub(crate) const HIGH_WATER: usize = 64 * 1024;

/// What the adapter has to be told of legs, in order.
#[derive(Debug)]
pub(crate) enum LegAction {
    Dial(Dial),
    Secure(Leg, Tls),
    Drop(Leg),
}

/// All streams of a connection.
#[derive(Debug, Default)]
pub(crate) struct Legs {
    client: LegState,
    others: Vec<(Leg, LegState)>,
    dialed: u32,
    actions: VecDeque<LegAction>,
}

/// One stream.
#[derive(Debug, Default)]
pub(crate) struct LegState {
    pub(crate) out: Outgoing,
    pub(crate) open: bool,
    pub(crate) eof: bool,
    hangup: Hangup,
}

/// How far our side of a stream has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Hangup {
    #[default]
    No,
    Wanted,
    Told,
}

impl Legs {
    /// The client's stream alone.
    pub(crate) fn new() -> Self {
        Self {
            client: LegState {
                open: true,
                ..LegState::default()
            },
            ..Self::default()
        }
    }

    /// No stream yet, and never one of a client.
    pub(crate) fn without_client() -> Self {
        Self::default()
    }

    pub(crate) const fn client(&self) -> &LegState {
        &self.client
    }

    pub(crate) const fn client_out(&mut self) -> &mut Outgoing {
        &mut self.client.out
    }

    pub(crate) fn get(&self, leg: Leg) -> Option<&LegState> {
        if leg == Leg::CLIENT {
            return Some(&self.client);
        }
        self.others
            .iter()
            .find(|(other, _)| *other == leg)
            .map(|(_, state)| state)
    }

    pub(crate) fn get_mut(&mut self, leg: Leg) -> Option<&mut LegState> {
        if leg == Leg::CLIENT {
            return Some(&mut self.client);
        }
        self.others
            .iter_mut()
            .find(|(other, _)| *other == leg)
            .map(|(_, state)| state)
    }

    /// Returns every leg that the adapter holds or is opening, the client's first.
    pub(crate) fn all(&self) -> impl Iterator<Item = Leg> + use<'_> {
        let client = self.client.open.then_some(Leg::CLIENT);
        client.into_iter().chain(self.others.iter().map(|(leg, _)| *leg))
    }

    /// Returns how many bytes wait to be written to a leg.
    pub(crate) fn waiting(&self, leg: Leg) -> usize {
        self.get(leg).map_or(0, |state| state.out.len())
    }

    pub(crate) fn dial(&mut self, to: Destination) -> Option<Leg> {
        let number = self.dialed.checked_add(1)?;
        self.dialed = number;
        let leg = Leg::numbered(number);
        self.others.push((leg, LegState::default()));
        self.actions.push_back(LegAction::Dial(Dial { leg, to }));
        Some(leg)
    }

    pub(crate) fn secure(&mut self, leg: Leg, tls: ClientTls) {
        if leg != Leg::CLIENT && self.get(leg).is_some_and(|state| state.open) {
            self.actions.push_back(LegAction::Secure(leg, Tls::Client(tls)));
        }
    }

    /// Starts TLS as a server on the client's stream.
    pub(crate) fn accept_tls(&mut self, config: Arc<ServerConfig>) {
        self.actions
            .push_back(LegAction::Secure(Leg::CLIENT, Tls::Server(config)));
    }

    pub(crate) fn write(&mut self, leg: Leg, bytes: &[u8]) {
        if let Some(state) = self.get_mut(leg)
            && state.hangup == Hangup::No
        {
            state.out.extend(bytes);
        }
    }

    pub(crate) fn hang_up(&mut self, leg: Leg) {
        if let Some(state) = self.get_mut(leg)
            && state.hangup == Hangup::No
        {
            state.hangup = Hangup::Wanted;
        }
    }

    pub(crate) fn let_go(&mut self, leg: Leg) {
        if leg != Leg::CLIENT && self.forget(leg) {
            // What was not even dialed yet need not be.
            let dial = |action: &LegAction| matches!(action, LegAction::Dial(dial) if dial.leg == leg);
            match self.actions.iter().position(dial) {
                Some(index) => drop(self.actions.remove(index)),
                None => self.actions.push_back(LegAction::Drop(leg)),
            }
        }
    }

    /// Forgets a leg that the adapter has given up by itself.
    pub(crate) fn forget(&mut self, leg: Leg) -> bool {
        let before = self.others.len();
        self.others.retain(|(other, _)| *other != leg);
        self.others.len() < before
    }

    /// Returns how much waits for the leg, other than the client's, for which most does.
    pub(crate) fn others_waiting(&self) -> usize {
        self.others
            .iter()
            .map(|(_, state)| state.out.len())
            .max()
            .unwrap_or(0)
    }

    /// Ends our side of every leg but the client's as soon as it has taken what waits for it; where
    /// nothing does, it is let go at once.
    pub(crate) fn end_others(&mut self) {
        let others: Vec<_> = self.others.iter().map(|(leg, _)| *leg).collect();
        for leg in others {
            let waits = self
                .get(leg)
                .is_some_and(|state| state.open && !state.out.is_empty());
            if waits {
                self.hang_up(leg);
            } else {
                self.let_go(leg);
            }
        }
    }

    /// Lets go of every leg but the client's.
    pub(crate) fn let_go_of_others(&mut self) {
        let others: Vec<_> = self.others.iter().map(|(leg, _)| *leg).collect();
        for leg in others {
            self.let_go(leg);
        }
    }

    pub(crate) fn next_action(&mut self) -> Option<LegAction> {
        let action = self.actions.pop_front();
        if action.is_some() && self.actions.is_empty() {
            // There are few of them in the life of a connection, and an idle one holds nothing for them.
            self.actions = VecDeque::new();
        }
        action
    }

    /// Returns a leg on which everything was sent and whose end was wanted, once.
    pub(crate) fn next_hangup(&mut self) -> Option<Leg> {
        let ready = |state: &mut LegState| {
            let ready = state.hangup == Hangup::Wanted && state.open && state.out.is_empty();
            if ready {
                state.hangup = Hangup::Told;
            }
            ready
        };
        if ready(&mut self.client) {
            return Some(Leg::CLIENT);
        }
        self.others
            .iter_mut()
            .find_map(|(leg, state)| ready(state).then_some(*leg))
    }

    /// Says whether the adapter was told to end our side of the client's stream.
    pub(crate) const fn client_hung_up(&self) -> bool {
        matches!(self.client.hangup, Hangup::Told)
    }
}
