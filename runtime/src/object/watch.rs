//! Who is to be rung when an object changes: processes, by their slots.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, Mutex, PoisonError};

use super::handle::{Handle, Hold};
use super::kind::Kind;
use super::lock::Object;
use crate::arena::{ArenaError, BlockId};

impl<K> Object<'_, K> {
    /// Tells those who wait for this object, by `wait_any`, that it has changed. Call it after the change: either the watcher
    /// sees that, or this sees the watcher.
    #[inline]
    pub(crate) fn ring(&self) {
        fence(Ordering::SeqCst);
        self.ring_after();
    }

    /// As [`Object::ring`], without a fence: the change was itself sequentially consistent, and is read so.
    #[inline]
    pub(crate) fn ring_after(&self) {
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

    /// How many processes watch.
    #[cfg(feature = "testing")]
    pub(super) fn count_watchers(&self) -> u32 {
        self.header().watchers.0.iter().map(|word| word.load(Ordering::SeqCst).count_ones()).sum()
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

/// How many watches of this process each object has, by the id of the arena and of the object.
static WATCHED: Mutex<Option<HashMap<(u64, BlockId), usize>>> = Mutex::new(None);

/// As long as it lives, this process's doorbell is rung when the object changes.
pub(crate) struct Watch {
    hold: Arc<Hold>,
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

impl Watch {
    pub(crate) fn new<K: Kind>(handle: &Handle<K>) -> Result<Watch, ArenaError> {
        handle.check()?;
        let hold = handle.keep();
        let mut watched = WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
        match watched.get_or_insert_default().entry(hold.key()) {
            Entry::Occupied(entry) => *entry.into_mut() += 1,
            Entry::Vacant(entry) => {
                hold.object().add_watcher(handle.arena().me().slot())?;
                entry.insert(1);
            }
        }
        Ok(Watch { hold })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let object = self.hold.object();
        if !object.arena().is_here() {
            return;
        }
        let mut watched = WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut entry) = watched.get_or_insert_default().entry(self.hold.key()) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
                // A refusal leaves rings that nobody needs.
                let _ = object.forget_watcher(object.arena().me().slot());
            }
        }
    }
}
