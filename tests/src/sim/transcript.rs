//! What happened, as one number: two runs with the same seed have the same.

/// An FNV-1a hash over what came out of the core, and when.
#[derive(Clone, Debug)]
pub struct Transcript(u64);

impl Default for Transcript {
    fn default() -> Self {
        Self(0xCBF2_9CE4_8422_2325)
    }
}

impl Transcript {
    /// Adds bytes.
    pub fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
        }
    }

    /// Adds a number.
    pub fn number(&mut self, number: u64) {
        self.add(&number.to_be_bytes());
    }

    /// Returns the hash of all that was added.
    pub const fn hash(&self) -> u64 {
        self.0
    }
}
