//! The lock of an object, without its redo record: loom's threads do not die in the middle of a change.
use std::ptr;

use loom::sync::{Mutex, MutexGuard};

use crate::sync::prim::{AtomicU32, Ordering};
use crate::sync::raw::Place;

#[derive(Debug)]
pub(crate) struct Object(Mutex<()>);

impl Object {
    pub(crate) fn new() -> Object {
        Object(Mutex::new(()))
    }
}

/// A word that lives as long as the model runs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Set(*const AtomicU32, u32);

impl Place for Object {
    type Error = ();
    type Locked<'a> = MutexGuard<'a, ()>;
    type Set = Set;

    fn lock(&self) -> Result<MutexGuard<'_, ()>, ()> {
        self.0.lock().map_err(|_| ())
    }

    fn set(word: &AtomicU32, value: u32) -> Set {
        Set(ptr::from_ref(word), value)
    }

    fn store(_: &MutexGuard<'_, ()>, sets: &[Set]) {
        for Set(word, value) in sets {
            // SAFETY: a kernel stores to words of its own, or to those that it was lent for the call.
            let word = unsafe { &**word };
            // loom has no one order of a plain store and the read-modify-write that stands for the kernel's look at a word: it would
            // let a sleeper see, after it was woken, what was there before.
            word.swap(*value, Ordering::AcqRel);
        }
    }
}
