//! What must not leave: a wrapper that no `Debug` prints and that is zeroed when it is dropped.

use std::fmt;

use zeroize::Zeroize;

/// A secret value: a password, a token, a key. `Debug` prints a fixed mask, the memory is zeroed
/// when the value is dropped, and there is no `Display` and no `PartialEq`.
#[derive(Clone, Default)]
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    /// Takes `value` into custody.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// Lends the value to the code that checks it. What is lent must not be stored or printed.
    pub const fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// Compares two byte strings in a time that depends on their lengths alone.
#[must_use]
pub fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    // ring marks its own comparison as deprecated because it is not about TLS any more; a MAC of
    // both sides under a key of the process would cost more and say the same.
    a.len() == b.len()
        && a.iter()
            .zip(b)
            .fold(0u8, |acc, (x, y)| std::hint::black_box(acc | (x ^ y)))
            == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r10_debug_prints_a_fixed_mask() {
        assert_eq!(format!("{:?}", Secret::new("hunter2".to_owned())), "Secret(***)");
        assert_eq!(format!("{:?}", Secret::new(vec![1u8, 2, 3])), "Secret(***)");
    }

    #[test]
    fn compares_by_value() {
        assert!(constant_time_eq(b"abc", b"abc"));
        assert!(!constant_time_eq(b"abc", b"abd"));
        assert!(!constant_time_eq(b"abc", b"ab"));
    }
}
