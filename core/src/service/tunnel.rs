//! `proxy` to `tcp://`: the payloads of binary messages are one stream of bytes, and what comes back
//! is sent as binary messages.

use bytes::Bytes;

use super::{Context, Service};
use crate::leg::{Leg, LegEvent};
use crate::ws::{Close, Message};

/// One tunnel.
#[derive(Debug)]
pub(crate) struct Tunnel {
    leg: Leg,
}

impl Tunnel {
    /// A tunnel to an upstream that is open already.
    pub(crate) const fn new(leg: Leg) -> Self {
        Self { leg }
    }
}

impl Service for Tunnel {
    fn message(&mut self, context: &mut Context<'_>, message: Message) {
        match message {
            Message::Binary(payload) => context.write(self.leg, &payload),
            Message::Text(_) => context.close(Close::Unsupported),
        }
    }

    fn leg(&mut self, context: &mut Context<'_>, leg: Leg, event: LegEvent<'_>) {
        if leg != self.leg {
            return;
        }
        match event {
            LegEvent::Data(bytes) => context.send(&Message::Binary(Bytes::copy_from_slice(bytes))),
            LegEvent::Eof => context.close(Close::Normal),
            LegEvent::Broken(_) | LegEvent::Failed(_) => context.close(Close::Internal),
            LegEvent::Opened(_) | LegEvent::Secured(_) => {}
        }
    }
}
