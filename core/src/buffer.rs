//! Bytes that wait for the operating system to take them.

use std::collections::VecDeque;
use std::fmt;

use bytes::Bytes;

/// Payloads beyond this size are kept as they are instead of being copied behind what waits, in bytes. A
/// write of its own for a frame's header costs more than a copy of a payload that fills a TLS record.
const COPY_LIMIT: usize = 16 * 1024;

/// Bytes are appended to a part until it has this many. Only a whole part is given back, so a peer
/// that never lets the queue run empty would otherwise make one part grow for ever.
const PART_LIMIT: usize = 32 * 1024;

/// The first allocation of a part, in bytes: the head of a 101 or of a 401, or an answer to a small message.
const FIRST_ALLOCATION: usize = 384;

/// The bytes that wait to be written to a leg: small ones side by side, large ones as they came.
#[derive(Default)]
pub(crate) struct Outgoing {
    /// Mostly the only one: a queue that is used anew for every answer would be an allocation of each.
    first: Option<Part>,
    rest: VecDeque<Part>,
    /// Bytes of the first part that were taken already.
    taken: usize,
    len: usize,
}

enum Part {
    Shared(Bytes),
    Own(Vec<u8>),
}

/// Shows how much waits, never what: a session's id may be among it.
impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Outgoing({} bytes)", self.len)
    }
}

impl Part {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Shared(bytes) => bytes,
            Self::Own(bytes) => bytes,
        }
    }
}

impl Outgoing {
    /// Returns the number of bytes that wait.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Says whether nothing waits.
    pub(crate) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Lets `write` append bytes behind what waits already.
    pub(crate) fn append(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.make_room(FIRST_ALLOCATION);
        self.write(write);
    }

    /// Appends a copy of `bytes`.
    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        self.make_room(bytes.len());
        self.write(|tail| tail.extend_from_slice(bytes));
    }

    fn write(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if let Some(Part::Own(tail)) = self.last() {
            let before = tail.len();
            write(tail);
            self.len += tail.len().saturating_sub(before);
        }
    }

    /// Appends `payload`, without a copy if it is large, or if nothing else waits.
    pub(crate) fn push(&mut self, payload: &Bytes) {
        if payload.len() <= COPY_LIMIT && self.len > 0 {
            self.extend(payload);
        } else if !payload.is_empty() {
            if self.len == 0 {
                self.clear();
            }
            self.len += payload.len();
            self.add(Part::Shared(Bytes::clone(payload)));
        }
    }

    /// Makes the last part one that about `length` bytes can be appended to.
    fn make_room(&mut self, length: usize) {
        match self.last() {
            Some(Part::Own(tail)) if tail.len() < PART_LIMIT => {}
            // It was to be written alone, and is one write with what comes now.
            Some(last @ Part::Shared(_)) if last.bytes().len() <= COPY_LIMIT => {
                let shared = last.bytes();
                let mut own = Vec::with_capacity(FIRST_ALLOCATION.max(shared.len() + length));
                own.extend_from_slice(shared);
                *last = Part::Own(own);
            }
            Some(_) | None => self.add(Part::Own(Vec::with_capacity(FIRST_ALLOCATION.max(length)))),
        }
    }

    fn last(&mut self) -> Option<&mut Part> {
        self.rest.back_mut().or(self.first.as_mut())
    }

    fn add(&mut self, part: Part) {
        if self.first.is_none() {
            self.first = Some(part);
        } else {
            self.rest.push_back(part);
        }
    }

    /// Returns the next bytes to write; empty only if nothing waits.
    pub(crate) fn chunk(&self) -> &[u8] {
        self.first
            .as_ref()
            .and_then(|part| part.bytes().get(self.taken..))
            .unwrap_or_default()
    }

    /// Forgets the first `n` bytes: the operating system has them.
    pub(crate) fn advance(&mut self, n: usize) {
        if n >= self.len {
            return self.clear();
        }
        let mut left = n;
        self.len -= left;
        while left > 0 {
            let step = left.min(self.chunk().len());
            self.taken += step;
            left -= step;
            while self.chunk().is_empty()
                && let Some(next) = self.rest.pop_front()
            {
                self.first = Some(next);
                self.taken = 0;
            }
        }
    }

    /// Forgets everything that waits, and gives its memory back: most connections are idle.
    pub(crate) fn clear(&mut self) {
        self.taken = 0;
        self.len = 0;
        self.first = None;
        // Mostly there never was one.
        if self.rest.capacity() > 0 {
            self.rest = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_in_order_whatever_the_steps() {
        for step in [1, 3, 1000, 5000, 100_000] {
            let mut out = Outgoing::default();
            let mut expected = Vec::new();
            for (i, size) in [3, 20_000, 0, 7, COPY_LIMIT, COPY_LIMIT + 1, 1, 9000]
                .into_iter()
                .enumerate()
            {
                let payload = vec![u8::try_from(i).unwrap_or(0); size];
                expected.extend_from_slice(&payload);
                out.push(&Bytes::from(payload));
            }
            let mut got = Vec::new();
            while !out.is_empty() {
                let n = out.chunk().len().min(step);
                assert!(n > 0, "bytes wait, so there is a next chunk");
                got.extend_from_slice(&out.chunk()[..n]);
                out.advance(n);
                assert_eq!(out.len(), expected.len() - got.len());
            }
            assert_eq!(got, expected);
            assert!(out.chunk().is_empty());
            out.push(&Bytes::from(vec![7; COPY_LIMIT + 1]));
            assert_eq!(out.chunk().len(), COPY_LIMIT + 1);
        }
    }

    #[test]
    fn what_waits_alone_is_shared_and_what_comes_behind_it_joins_its_write() {
        let mut out = Outgoing::default();
        let first = Bytes::from(vec![1; COPY_LIMIT]);
        out.push(&first);
        assert_eq!(out.chunk().as_ptr(), first.as_ptr());
        // In the middle of a write, too.
        out.advance(COPY_LIMIT - 2);
        out.push(&Bytes::from_static(&[2]));
        out.extend(&[3]);
        assert_eq!((out.chunk(), out.len()), (&[1, 1, 2, 3][..], 4));
        out.advance(4);
        out.push(&Bytes::new());
        assert!(out.is_empty() && out.chunk().is_empty());
    }

    #[test]
    fn e15_a_queue_that_never_runs_empty_does_not_grow() {
        let mut out = Outgoing::default();
        out.push(&Bytes::from_static(b"never sent whole"));
        for _ in 0..10_000 {
            out.push(&Bytes::from(vec![7; 1000]));
            out.advance(1000);
        }
        assert_eq!(out.len(), 16);
        let held = |part: &Part| match part {
            Part::Shared(bytes) => bytes.len(),
            Part::Own(own) => own.capacity(),
        };
        let held: usize = out.first.iter().chain(&out.rest).map(held).sum();
        assert!(held <= 4 * PART_LIMIT, "{held} bytes for 16");
    }
}
