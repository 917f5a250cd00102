//! What tables know ids by: MACs, so that a copy of a table opens no door. Where nodes share what is in
//! the table, all of them use the same names.

use crate::bus::{Bus, Kind, Name};
use crate::entropy::{Entropy, Label};

/// How ids are made and what they are known by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Names<'g> {
    pub(super) entropy: &'g Entropy,
    pub(super) bus: Option<&'g Bus>,
}

/// Characters of a session's id and of a ticket: 32 bytes in base64url.
const ID_CHARACTERS: usize = 43;

impl Names<'_> {
    /// Says whether `id` looks like what nodes issue: nobody is asked about anything else.
    pub(super) fn may_have_made(id: &[u8]) -> bool {
        let is_ours = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        id.len() == ID_CHARACTERS && id.iter().all(is_ours)
    }

    /// Returns what the session with this id is known by.
    pub(super) fn session(&self, id: &[u8]) -> Name {
        self.name(Kind::Session, Label::SessionKey, id)
    }

    /// Returns what a ticket is known by.
    pub(super) fn ticket(&self, ticket: &[u8]) -> Name {
        self.name(Kind::Ticket, Label::TicketKey, ticket)
    }

    fn name(&self, kind: Kind, label: Label, id: &[u8]) -> Name {
        match self.bus {
            Some(bus) => bus.name(kind, id),
            None => self.entropy.tagged(label, id),
        }
    }
}
