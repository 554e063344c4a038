//! Marks: what the worker writes between the output of two items.

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};

use crate::sys;

/// What a mark begins with: known to a pool and its workers only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Nonce(pub(crate) [u8; 16]);

/// Bytes of a mark: the nonce, the number of the batch or 0, the item.
pub(crate) const MARK: usize = 32;

impl Nonce {
    /// A new one.
    pub(crate) fn new() -> Nonce {
        use std::hash::{BuildHasher, RandomState};
        let half = || RandomState::new().hash_one(std::process::id());
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&half().to_le_bytes());
        bytes[8..].copy_from_slice(&half().to_le_bytes());
        // Rare in any output, so the search for it is quick.
        bytes[0] = 0x1e;
        Nonce(bytes)
    }

    /// As it crosses.
    pub(crate) fn words(self) -> [u64; 2] {
        let word = |at: usize| self.0[at..at + 8].iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
        [word(0), word(8)]
    }

    pub(crate) fn from_words(words: [u64; 2]) -> Nonce {
        let mut bytes = [0; 16];
        bytes.iter_mut().zip(words.into_iter().flat_map(u64::to_le_bytes)).for_each(|(to, from)| *to = from);
        Nonce(bytes)
    }

    /// The mark that what follows belongs to this item of this batch.
    pub(crate) fn mark(self, batch: u64, item: u64) -> [u8; MARK] {
        let mut mark = [0; MARK];
        mark[..16].copy_from_slice(&self.0);
        mark[16..24].copy_from_slice(&batch.to_le_bytes());
        mark[24..].copy_from_slice(&item.to_le_bytes());
        mark
    }
}

/// A worker's side: it writes the marks.
#[derive(Debug)]
pub(crate) struct Marks {
    nonce: Nonce,
    /// Copies of the pipes: a task may put something else into the place of descriptors 1 and 2.
    pipes: [OwnedFd; 2],
}

impl Marks {
    /// For this process, whose descriptors 1 and 2 are pipes. `None`: they are not open.
    pub(crate) fn install(nonce: Nonce) -> Option<Marks> {
        let copy = |stream| sys::fd::copy_above_streams(stream).ok();
        let pipes = [copy(1)?, copy(2)?];
        sys::fd::buffer_c_output_by_lines();
        Some(Marks { nonce, pipes })
    }

    /// What is written from now on belongs to this item; batch 0: to none. May wait for room in the pipes.
    pub(crate) fn set(&self, batch: u64, item: u64) {
        // It is the pipe's other end that is gone then, and this process with it.
        _ = std::io::stdout().flush();
        sys::fd::flush_c_output();
        let mark = self.nonce.mark(batch, item);
        for pipe in &self.pipes {
            _ = nix::unistd::write(pipe.as_fd(), &mark);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_crosses_and_no_two_are_equal() {
        let nonce = Nonce::new();
        assert_eq!(Nonce::from_words(nonce.words()), nonce);
        assert_ne!(Nonce::new(), nonce);
    }
}
