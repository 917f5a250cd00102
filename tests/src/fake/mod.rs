//! Verifiers elsewhere as the tests play them: words in, words out, the same in all three worlds.

pub mod directory;
pub mod idp;
pub mod redis;
pub mod upstream;

use std::fmt;
use std::sync::Arc;

/// One stream to a fake, seen from its side.
pub trait Talker: Send {
    /// Takes in what arrived, which may be nothing: then somebody only asks whether there is more to say.
    fn hear(&mut self, bytes: &[u8]) -> Reply;
}

/// What a fake says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Whether it ends its stream behind them.
    pub end: bool,
    /// Whether TLS begins behind them.
    pub tls: bool,
}

impl Reply {
    /// Nothing yet.
    pub const SILENCE: Self = Self {
        bytes: Vec::new(),
        end: false,
        tls: false,
    };

    /// These bytes, and then the end.
    pub fn last(bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            bytes: bytes.into(),
            end: true,
            tls: false,
        }
    }
}

/// Answers every stream to one address.
#[derive(Clone)]
pub struct Fake(Arc<dyn Fn() -> Box<dyn Talker> + Send + Sync>);

impl Fake {
    /// A fake that gives each stream a talker of its own.
    pub fn new<T: Talker + 'static>(talker: impl Fn() -> T + Send + Sync + 'static) -> Self {
        Self(Arc::new(move || Box::new(talker())))
    }

    /// Answers one more stream.
    pub fn talker(&self) -> Box<dyn Talker> {
        (self.0)()
    }
}

impl fmt::Debug for Fake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fake")
    }
}
