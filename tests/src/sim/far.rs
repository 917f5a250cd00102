//! Fake peers behind dialed legs, and fake files.

use countersign_core::leg::DialError;

use crate::fake::Fake;

/// Who answers at a dialed address.
#[derive(Clone, Debug)]
pub enum FarEnd {
    /// Nobody: dialing fails.
    Dead(DialError),
    /// Dialing never ends.
    Silent,
    /// Sends back what it gets; ends when the core ends.
    Echo,
    /// Sends these bytes and then its end of stream, whatever it gets.
    Bytes(Vec<u8>),
    /// A file that was announced as longer or shorter than it turns out to be.
    Announced(Vec<u8>, u64),
    /// Answers as this fake does.
    Fake(Fake),
}
