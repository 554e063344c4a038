//! An array, locked.
//!
//! Invariant of the unsafe code here: a guard exists only while its thread holds the lock and no part is claimed.
#![allow(unsafe_code)]

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::Ordering;
use std::thread;

use super::{Array, Held};
use crate::Plain;

/// An array's lock is held until this is dropped. Derefs to the items.
///
/// A panic while it is held poisons the array, as does the death of the process.
#[must_use = "a lock whose guard is dropped at once guards nothing"]
pub struct ArrayGuard<'a, T: Plain> {
    array: &'a Array<T>,
    held: Held<'a>,
    calm: bool,
    stays: PhantomData<*const ()>,
}

impl<'a, T: Plain> ArrayGuard<'a, T> {
    pub(super) fn new(array: &'a Array<T>, held: Held<'a>) -> Self {
        held.root.dirty.store(1, Ordering::Release);
        ArrayGuard { array, held, calm: !thread::panicking(), stays: PhantomData }
    }
}

impl<T: Plain> Deref for ArrayGuard<'_, T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: the items of the array, which lives as long as its handle; the lock keeps others off.
        unsafe { std::slice::from_raw_parts(self.array.data().as_ptr(), self.array.len()) }
    }
}

impl<T: Plain> DerefMut for ArrayGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.array.data().as_ptr(), self.array.len()) }
    }
}

impl<T: Plain> Drop for ArrayGuard<'_, T> {
    fn drop(&mut self) {
        if self.array.handle.check().is_err() {
            return;
        }
        if self.calm && thread::panicking() {
            self.held.root.poisoned.store(1, Ordering::Release);
        }
        // From here on a death poisons nothing; `held` unlocks.
        self.held.root.dirty.store(0, Ordering::Release);
    }
}

impl<T: Plain + fmt::Debug> fmt::Debug for ArrayGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
