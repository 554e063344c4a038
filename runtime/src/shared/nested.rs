//! A function that changes an entry, and is called without a lock, must not change the same entry by itself: its result would
//! be refused, it would be called again, and so for ever. This notes which entries the calling thread is changing by functions,
//! and whether one of these changed its own entry. It is asked only when a result was refused.

use std::cell::{Cell, RefCell};

use super::SharedError;
use crate::arena::Pos;

/// An entry that stands for all of a structure.
pub(super) const ALL: u64 = u64::MAX;
/// An entry that is none: what comes or goes at the end of a list.
pub(super) const END: u64 = u64::MAX - 1;

struct Frame {
    object: Pos,
    entry: u64,
    touched: bool,
}

thread_local! {
    static DEPTH: Cell<usize> = const { Cell::new(0) };
    static FRAMES: RefCell<Vec<Frame>> = const { RefCell::new(Vec::new()) };
}

/// While this lives, the calling thread runs a user's function for an entry, or commits what that gave.
pub(super) struct Calling {
    at: usize,
}

/// Notes that the calling thread runs a function for this entry.
pub(super) fn calling(object: Pos, entry: u64) -> Calling {
    // In a thread that is being torn down nothing is noted.
    let at = FRAMES.try_with(|frames| {
        let mut frames = frames.borrow_mut();
        frames.push(Frame { object, entry, touched: false });
        frames.len() - 1
    });
    DEPTH.set(DEPTH.get() + 1);
    Calling { at: at.unwrap_or(usize::MAX) }
}

impl Calling {
    /// What the function gave was refused: an error if that is its own doing.
    pub(super) fn refused(self) -> Result<(), SharedError> {
        let touched = FRAMES.try_with(|frames| frames.borrow().get(self.at).is_some_and(|frame| frame.touched));
        if touched.unwrap_or(false) { Err(SharedError::Nested) } else { Ok(()) }
    }
}

impl Drop for Calling {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
        // Those further in are gone already.
        let _ = FRAMES.try_with(|frames| frames.borrow_mut().truncate(self.at));
    }
}

/// The calling thread changes this entry.
#[inline]
pub(super) fn touch(object: Pos, entry: u64) {
    if DEPTH.get() != 0 {
        note(object, entry);
    }
}

#[cold]
fn note(object: Pos, entry: u64) {
    let _ = FRAMES.try_with(|frames| {
        for frame in frames.borrow_mut().iter_mut().filter(|frame| frame.object == object) {
            frame.touched |= frame.entry == entry || frame.entry == ALL || entry == ALL;
        }
    });
}
