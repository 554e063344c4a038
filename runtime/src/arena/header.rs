//! The words of a block's header.

use super::id::{ALIGN, BLOCK_GENERATION_MAX, Owner, Pos};

/// In which stage of its life a block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Nobody's; all-zero headers say so.
    Free = 0,
    /// In the hands of the process that the state names, in whose hold table it stands.
    Held = 1,
    /// On the chain of children of another block, and freed with it.
    Child = 2,
    /// Freed by a process that does not own its span, which is yet to collect it.
    Given = 3,
}

/// The state word: generation 30 bits, stage 2 bits, holder 32 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) generation: u32,
    pub(crate) stage: Stage,
    /// In stage `Held` the holder's [`Owner::raw`], or [`QUARANTINE`], [`SHARED`], [`OWNED`]. In stage `Child` 0, [`PINS`] or
    /// [`LENT`].
    pub(crate) holder: u32,
}

/// The holder of blocks that nobody may have again. Its generation is 0, so that it is no process.
pub(crate) const QUARANTINE: u32 = 1;
/// The holder of objects: all who have a reference to them.
pub(crate) const SHARED: u32 = 2;
/// The holder of blocks that an object's own words lead to.
pub(crate) const OWNED: u32 = 3;
/// In the place of a holder in stage `Child`: the block holds references, which go with it.
pub(crate) const PINS: u32 = 1;
/// The same, of an input: they may go before the block does, once the input was read for the last time.
pub(crate) const LENT: u32 = 2;

impl State {
    #[inline]
    pub(crate) fn new(generation: u32, stage: Stage) -> State {
        State { generation, stage, holder: 0 }
    }

    #[inline]
    pub(crate) fn held(generation: u32, holder: Owner) -> State {
        State { generation, stage: Stage::Held, holder: holder.raw() }
    }

    /// Held by no process: `holder` is [`SHARED`] or [`OWNED`].
    #[inline]
    pub(crate) fn held_by(generation: u32, holder: u32) -> State {
        State { generation, stage: Stage::Held, holder }
    }

    /// On a chain; `mark` is 0, [`PINS`] or [`LENT`].
    #[inline]
    pub(crate) fn child(generation: u32, mark: u32) -> State {
        State { generation, stage: Stage::Child, holder: mark }
    }

    #[inline]
    pub(crate) fn from_raw(raw: u64) -> State {
        let stage = match raw >> 32 & 3 {
            0 => Stage::Free,
            1 => Stage::Held,
            2 => Stage::Child,
            _ => Stage::Given,
        };
        State { generation: (raw >> 34) as u32, stage, holder: raw as u32 }
    }

    #[inline]
    pub(crate) fn raw(self) -> u64 {
        u64::from(self.generation) << 34 | (self.stage as u64) << 32 | u64::from(self.holder)
    }

    /// Whether somebody relies on the block's bytes.
    #[inline]
    pub(crate) fn is_live(self) -> bool {
        matches!(self.stage, Stage::Held | Stage::Child)
    }
}

const CLOSED: u64 = 1 << 29;
const CHILDREN_GENERATION: u64 = CLOSED - 1;

/// The word a block's chain of children hangs from: position / 64 of the first child in 34 bits, a bit that closes the
/// chain for good, and 29 bits of the block's own generation, so that a late adopter cannot push onto a later block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Children(u64);

impl Children {
    #[inline]
    pub(crate) fn none(generation: u32) -> Children {
        Children(u64::from(generation) & CHILDREN_GENERATION)
    }

    #[inline]
    pub(crate) fn from_raw(raw: u64) -> Children {
        Children(raw)
    }

    #[inline]
    pub(crate) fn raw(self) -> u64 {
        self.0
    }

    /// Whether the word is that of a block in its life `generation`.
    #[inline]
    pub(crate) fn is_of(self, generation: u32) -> bool {
        self.0 & CHILDREN_GENERATION == u64::from(generation) & CHILDREN_GENERATION
    }

    #[inline]
    pub(crate) fn is_closed(self) -> bool {
        self.0 & CLOSED != 0
    }

    #[inline]
    pub(crate) fn close(self) -> Children {
        Children(self.0 | CLOSED)
    }

    /// The first child, 0 if there is none.
    #[inline]
    pub(crate) fn first(self) -> Pos {
        (self.0 >> 30) * ALIGN as u64
    }

    #[inline]
    pub(crate) fn with_first(self, first: Pos) -> Children {
        Children((first / ALIGN as u64) << 30 | self.0 & (CLOSED | CHILDREN_GENERATION))
    }
}

const _: () = assert!(BLOCK_GENERATION_MAX as u64 >> 30 == 0);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_their_raw_form() {
        let owner = Owner::new(1023, 77).unwrap();
        let state = State::held(BLOCK_GENERATION_MAX, owner);
        assert_eq!(State::from_raw(state.raw()), state);
        assert!(state.is_live());
        assert_eq!(State::from_raw(0), State::new(0, Stage::Free));
        let children = Children::none(BLOCK_GENERATION_MAX).with_first((1 << 40) - 64);
        assert_eq!(children.first(), (1 << 40) - 64);
        assert!(children.is_of(BLOCK_GENERATION_MAX) && !children.is_of(3) && !children.is_closed());
        let closed = children.close().with_first(128);
        assert!(closed.is_closed() && closed.is_of(BLOCK_GENERATION_MAX));
        assert_eq!(closed.first(), 128);
    }
}
