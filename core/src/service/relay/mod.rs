//! The proxy: an upgrade is handed on without its credentials, and then bytes go from leg to leg. Here
//! is what can be said without a connection: what the upstream is asked, whether its answer is right,
//! and where its frames end.

mod answer;
mod boundary;
mod request;

pub use answer::{ANSWER_LIMIT, Accepted, AnswerReader, Offer, Scan};
pub use boundary::Boundary;
pub(crate) use request::{Client, Order, order};

use super::{Context, Service};
use crate::ws::{Close, Message};

/// What stands where a relayed socket's service would be: its messages are not read.
#[derive(Debug)]
pub(crate) struct Unread;

impl Service for Unread {
    fn message(&mut self, context: &mut Context<'_>, _message: Message) {
        context.close(Close::Internal);
    }
}
