//! Where bytes land on their way from a socket or a file into the core.

/// Bytes that are read at once from who sends little.
const SMALL: usize = 2 * 1024;

/// Bytes that are read at once from who sends much: the largest TLS record.
const LARGE: usize = 16 * 1024;

/// A small buffer on the stack of the connection's thread, and a large one while there is much to read.
#[derive(Debug)]
pub(crate) struct Scratch {
    small: [u8; SMALL],
    large: Vec<u8>,
}

impl Scratch {
    /// The small buffer alone.
    pub(crate) const fn new() -> Self {
        Self {
            small: [0; SMALL],
            large: Vec::new(),
        }
    }

    /// Returns the buffer in use, at most `room` bytes of it.
    pub(crate) fn room(&mut self, room: usize) -> &mut [u8] {
        let buffer = if self.large.is_empty() {
            &mut self.small[..]
        } else {
            &mut self.large
        };
        let room = room.min(buffer.len());
        buffer.get_mut(..room).unwrap_or_default()
    }

    /// Returns the first `read` bytes of the buffer in use.
    pub(crate) fn read(&self, read: usize) -> &[u8] {
        let buffer = if self.is_large() {
            &self.large
        } else {
            &self.small[..]
        };
        buffer.get(..read).unwrap_or_default()
    }

    /// Makes room for more at once, if `read` bytes were all that the small buffer takes. What is in it
    /// is lost.
    pub(crate) fn grow_after(&mut self, read: usize) {
        if read >= SMALL {
            self.grow();
        }
    }

    /// Makes room for much at once. What is in the small buffer is lost.
    pub(crate) fn grow(&mut self) {
        self.large.resize(LARGE, 0);
    }

    /// Gives the large buffer back.
    pub(crate) fn shrink(&mut self) {
        self.large = Vec::new();
    }

    /// Says whether it holds the large buffer.
    pub(crate) const fn is_large(&self) -> bool {
        !self.large.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_after_a_full_read_and_shrinks_when_told() {
        let mut scratch = Scratch::new();
        assert_eq!(scratch.room(usize::MAX).len(), SMALL);
        scratch.room(3).copy_from_slice(b"abc");
        assert_eq!(scratch.read(3), b"abc");
        scratch.grow_after(SMALL - 1);
        assert!(!scratch.is_large());
        scratch.grow_after(SMALL);
        assert_eq!(scratch.room(usize::MAX).len(), LARGE);
        assert_eq!(scratch.room(5).len(), 5);
        assert_eq!(scratch.read(LARGE).len(), LARGE);
        scratch.shrink();
        assert_eq!(scratch.room(usize::MAX).len(), SMALL);
    }
}
