//! `echo`: sends every message back, as text or binary as it came.

use super::{Context, Service};
use crate::ws::Message;

/// The echo service.
#[derive(Debug)]
pub(crate) struct Echo;

impl Service for Echo {
    fn message(&mut self, context: &mut Context<'_>, message: Message) {
        context.send(&message);
    }
}
