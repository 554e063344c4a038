//! Blocks that belong to blocks: adoption, and freeing with everything below.
//!
//! The chain of a block's children is push-only while the block lives. To free the block, its holder closes the chain for
//! good (so that no push succeeds from then on), then unlinks one leaf after the other. The `other` word of the holder's
//! hold entry names the parent while a block is handed over, and the leaf while it is unlinked; which of both, the closed
//! bit of the entry's own block says.

use std::sync::atomic::Ordering;

use super::block::Located;
use super::header::{Children, Stage, State};
use super::id::{ALIGN, BlockId, Owner, Pos};
use super::layout::Hold;
use super::local::lock;
use super::{Arena, ArenaError, mutant, mutants, step};

/// How an unfinished handing over stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settled {
    /// It is decided and done.
    Done,
    /// The parent is being freed right now by somebody who may or may not have the block on its chain: ask again later.
    Later,
}

impl Arena {
    /// Hands the block `id`, which entry `hold` of this process names, over to `parent`.
    /// `mark` says what kind of child it becomes: 0, or [`PINS`](super::header::PINS).
    pub(crate) fn adopt(&'static self, index: u32, id: BlockId, parent: BlockId, mark: u32) -> Result<(), ArenaError> {
        const GONE: ArenaError = ArenaError::Foreign { what: "the block that was to become a parent" };
        let hold = self.my_hold(index);
        if mutant(mutants::ADOPT_WITHOUT_INTENT) {
            hold.block.store(0, Ordering::Release);
        } else {
            hold.other.store(parent.raw(), Ordering::Release);
        }
        step();
        if self.push(id, parent, mark) {
            step();
            hold.other.store(0, Ordering::Relaxed);
            step();
            hold.block.store(0, Ordering::Release);
            lock(&self.local.holds).put(index);
            return Ok(());
        }
        if let Some(child) = self.locate(id.pos()) {
            child.header.state.store(State::held(id.generation(), self.me).raw(), Ordering::Release);
        }
        step();
        hold.other.store(0, Ordering::Release);
        self.free(index, id);
        Err(GONE)
    }

    /// Pushes `id` onto the chain of `parent`; `false` if that is gone or closed.
    fn push(&self, id: BlockId, parent: BlockId, mark: u32) -> bool {
        let (Some(child), Some(above)) = (self.locate(id.pos()), self.locate(parent.pos())) else { return false };
        // CHILD before the push: a block that is still HELD was certainly not pushed.
        child.header.state.store(State::child(id.generation(), mark).raw(), Ordering::Release);
        let mut seen = above.header.children.load(Ordering::Acquire);
        loop {
            let word = Children::from_raw(seen);
            if !takes_children(&above, parent, word) {
                return false;
            }
            child.header.next.store(word.first(), Ordering::Relaxed);
            let pushed = word.with_first(id.pos()).raw();
            match above.header.children.compare_exchange_weak(seen, pushed, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
    }

    /// Whether `id` is on the chain that hangs from `word`, as far as it can be followed.
    fn is_below(&self, id: BlockId, word: Children) -> bool {
        let mut pos = word.first();
        // A chain that is being freed meanwhile may lead astray, even round in circles; it cannot be longer than the arena.
        for _ in 0..self.map.layout.len / ALIGN {
            if pos == 0 {
                return false;
            }
            if pos == id.pos() {
                return true;
            }
            let Some(child) = self.locate(pos) else { return false };
            if child.state().stage != Stage::Child {
                return false;
            }
            pos = child.header.next.load(Ordering::Acquire);
        }
        false
    }

    /// Decides the handing over of `id` to `parent` that a dead process had begun. `entry` is its hold entry, in the table of
    /// `slot`; cleared when the matter is done. Repeatable.
    pub(crate) fn settle_adoption(
        &'static self,
        (slot, index): (usize, u32),
        id: BlockId,
        parent: BlockId,
        holder: Owner,
    ) -> Result<Settled, ArenaError> {
        let hold = self.map.hold(slot, index);
        let Some(child) = self.locate(id.pos()) else { return Ok(self.forget(hold)) };
        loop {
            let state = child.state();
            if state.generation != id.generation() || !state.is_live() {
                // It was on the chain, and freed with it.
                return Ok(self.forget(hold));
            }
            let above = self.locate(parent.pos());
            let word = above.as_ref().map(|above| Children::from_raw(above.header.children.load(Ordering::Acquire)));
            match (above, word) {
                (Some(above), Some(word)) if takes_children(&above, parent, word) => {
                    if state.stage == Stage::Child && self.is_below(id, word) {
                        return Ok(self.forget(hold));
                    }
                    // Not there, and only this audit could put it there. If the word has not changed since the walk began,
                    // nothing that the walk said is out of date.
                    // What was not yet a child holds no references yet.
                    let mark = if state.stage == Stage::Child { state.holder } else { 0 };
                    child.header.state.store(State::child(id.generation(), mark).raw(), Ordering::Release);
                    child.header.next.store(word.first(), Ordering::Relaxed);
                    let pushed = word.with_first(id.pos()).raw();
                    let swap =
                        above.header.children.compare_exchange(word.raw(), pushed, Ordering::AcqRel, Ordering::Relaxed);
                    if swap.is_ok() {
                        return Ok(self.forget(hold));
                    }
                }
                (Some(above), Some(_)) if state.stage == Stage::Child && is_live_as(&above, parent) => {
                    return Ok(Settled::Later);
                }
                _ => {
                    // The parent is gone, or the block was never pushed. The chain was freed to its end before the parent was,
                    // so a block that is still here was not on it.
                    child.header.state.store(State::held(id.generation(), holder).raw(), Ordering::Release);
                    step();
                    hold.other.store(0, Ordering::Release);
                    step();
                    self.let_go(slot, index, id)?;
                    return Ok(Settled::Done);
                }
            }
        }
    }

    fn forget(&self, hold: &Hold) -> Settled {
        hold.other.store(0, Ordering::Relaxed);
        step();
        hold.block.store(0, Ordering::Release);
        Settled::Done
    }

    /// Frees everything below the block `id`, which the entry `hold` names. Repeatable, by an auditor too.
    pub(crate) fn drain(&'static self, hold: &Hold, id: BlockId) -> Result<(), ArenaError> {
        let Some(root) = self.locate(id.pos()) else { return Ok(()) };
        if root.state().generation != id.generation() || !root.state().is_live() {
            return Ok(());
        }
        close(&root);
        if let Some(leaf) = BlockId::from_raw(hold.other.load(Ordering::Acquire)) {
            self.finish_unlinking(hold, &root, leaf)?;
        }
        while let Some((above, leaf)) = self.leaf_below(&root) {
            if mutant(mutants::UNLINK_FIRST) {
                self.unlink(&above, leaf.pos());
            }
            hold.other.store(leaf.raw(), Ordering::Release);
            step();
            self.unlink(&above, leaf.pos());
            step();
            self.recycle(leaf)?;
            step();
            hold.other.store(0, Ordering::Release);
            if mutant(mutants::REMOTE_BIT_LAST)
                && let Some(found) = self.locate(leaf.pos())
            {
                step();
                self.tell_owner(&found);
            }
        }
        Ok(())
    }

    /// Goes on where the freeing of `leaf` was interrupted.
    fn finish_unlinking(&'static self, hold: &Hold, root: &Located<'_>, leaf: BlockId) -> Result<(), ArenaError> {
        if let Some((above, next)) = self.leaf_below(root)
            && next == leaf
        {
            self.unlink(&above, leaf.pos());
        }
        step();
        if let Some(found) = self.locate(leaf.pos()) {
            let state = found.state();
            if state.generation == leaf.generation() && state.stage == Stage::Child {
                self.recycle(leaf)?;
            } else if state == State::new(leaf.generation(), Stage::Given) {
                // Killed between the header and the bit; or after it, which does no harm.
                self.tell_owner(&found);
            }
        }
        step();
        hold.other.store(0, Ordering::Release);
        Ok(())
    }

    /// The first block without children on the way of first children down from `root`, and its parent. Closes what it passes.
    fn leaf_below<'a>(&'a self, root: &Located<'a>) -> Option<(Located<'a>, BlockId)> {
        let mut above = self.same(root);
        let mut pos = Children::from_raw(above.header.children.load(Ordering::Acquire)).first();
        (pos != 0).then_some(())?;
        loop {
            let found = self.locate(pos).filter(|child| child.state().stage == Stage::Child);
            let Some(child) = found else {
                // Only memory that was overwritten leads here: a leak is the lesser evil.
                self.cut_chain(&above);
                return self.leaf_below(root);
            };
            close(&child);
            let first = Children::from_raw(child.header.children.load(Ordering::Acquire)).first();
            if first == 0 {
                return BlockId::new(pos, child.state().generation).map(|leaf| (above, leaf));
            }
            (above, pos) = (child, first);
        }
    }

    fn same<'a>(&'a self, found: &Located<'a>) -> Located<'a> {
        Located { header: found.header, ..*found }
    }

    fn cut_chain(&self, above: &Located<'_>) {
        let word = Children::from_raw(above.header.children.load(Ordering::Acquire));
        above.header.children.store(word.with_first(0).raw(), Ordering::Release);
    }

    /// Takes the first child `pos` of `above` off its chain.
    fn unlink(&self, above: &Located<'_>, pos: Pos) {
        let word = Children::from_raw(above.header.children.load(Ordering::Acquire));
        if word.first() == pos {
            let next = self.locate(pos).map_or(0, |child| child.header.next.load(Ordering::Acquire));
            above.header.children.store(word.with_first(next).raw(), Ordering::Release);
        }
    }
}

fn close(block: &Located<'_>) {
    let word = Children::from_raw(block.header.children.load(Ordering::Acquire));
    if !word.is_closed() {
        block.header.children.fetch_or(word.close().raw() ^ word.raw(), Ordering::AcqRel);
    }
}

fn is_live_as(block: &Located<'_>, id: BlockId) -> bool {
    let state = block.state();
    state.generation == id.generation() && state.is_live()
}

fn takes_children(block: &Located<'_>, id: BlockId, word: Children) -> bool {
    is_live_as(block, id) && word.is_of(id.generation()) && !word.is_closed()
}
