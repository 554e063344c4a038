//! Who is to be rung when an object changes: processes, by their slots.

use std::sync::atomic::Ordering;

use super::lock::Object;
use crate::arena::ArenaError;

impl<K> Object<'_, K> {
    /// Tells those who wait for this object, by `wait_any`, that it has changed. Call it after the change, which has to be
    /// sequentially consistent (`SeqCst`), as is this look at who watches: so either the watcher sees the change, or this sees
    /// the watcher.
    #[inline]
    pub(crate) fn ring(&self) {
        if self.header().watched.load(Ordering::SeqCst) != 0 {
            self.ring_all();
        }
    }

    #[cold]
    fn ring_all(&self) {
        for (at, word) in self.header().watchers.0.iter().enumerate() {
            let mut bits = word.load(Ordering::SeqCst);
            while bits != 0 {
                self.arena().ring(at * 64 + bits.trailing_zeros() as usize);
                bits &= bits - 1;
            }
        }
    }

    /// From now on the process of `slot` is rung.
    pub(super) fn add_watcher(&self, slot: usize) -> Result<(), ArenaError> {
        let _locked = self.lock()?;
        let header = self.header();
        // The summary last, and first when it goes: it may say too much, never too little.
        header.watchers.0[slot / 64].fetch_or(1 << (slot % 64), Ordering::SeqCst);
        header.watched.fetch_or(1 << (slot / 64), Ordering::SeqCst);
        Ok(())
    }

    /// The process of `slot` is not rung any more.
    pub(super) fn forget_watcher(&self, slot: usize) -> Result<(), ArenaError> {
        let header = self.header();
        let (word, bit) = (&header.watchers.0[slot / 64], 1 << (slot % 64));
        if word.load(Ordering::SeqCst) & bit == 0 {
            return Ok(());
        }
        let _locked = self.lock()?;
        if word.fetch_and(!bit, Ordering::SeqCst) & !bit == 0 {
            header.watched.fetch_and(!(1 << (slot / 64)), Ordering::SeqCst);
        }
        Ok(())
    }
}
