//! The encoder's memory for resolvers while a message is written: a stack, since rkyv frees in reverse order.

use std::alloc::{Layout, alloc, dealloc};
use std::ptr::NonNull;

const SIZE: usize = 32 * 1024;

/// A stack of bytes, with the heap for what does not fit.
///
/// Invariants: `used <= SIZE`; `heap` lists exactly the live heap allocations with their layouts. An encoding that
/// fails may leave entries behind: `reset` gives them back.
pub(super) struct Scratch {
    stack: Option<Box<[u64; SIZE / 8]>>,
    used: usize,
    heap: Vec<(NonNull<u8>, Layout)>,
}

impl Scratch {
    pub(super) fn new() -> Self {
        Scratch { stack: None, used: 0, heap: Vec::new() }
    }

    /// Memory of `layout`, or `None` when there is none. `layout` may have any size and alignment.
    pub(super) fn push(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        let stack = self.stack.get_or_insert_with(|| Box::new([0; SIZE / 8]));
        let base = stack.as_mut_ptr().cast::<u8>();
        let at = (base as usize + self.used).next_multiple_of(layout.align()) - base as usize;
        if at.checked_add(layout.size()).is_some_and(|end| end <= SIZE) {
            self.used = at + layout.size();
            // SAFETY: `at <= SIZE`, so the pointer is inside or one past the stack, and not null.
            return Some(unsafe { NonNull::new_unchecked(base.add(at)) });
        }
        // SAFETY: the size is above zero: a size of zero fits the stack unless its alignment exceeds it, see `max`.
        let ptr = NonNull::new(unsafe { alloc(nonzero(layout)) })?;
        self.heap.push((ptr, nonzero(layout)));
        Some(ptr)
    }

    /// Takes back the newest memory. Out of order, nothing is freed before `reset`.
    pub(super) fn pop(&mut self, ptr: NonNull<u8>) {
        if let Some(base) = self.stack.as_mut().map(|stack| stack.as_mut_ptr() as usize)
            && (base..=base + self.used).contains(&(ptr.as_ptr() as usize))
        {
            self.used = ptr.as_ptr() as usize - base;
        } else if let Some(&(last, layout)) = self.heap.last()
            && last == ptr
        {
            self.heap.pop();
            // SAFETY: allocated in `push` with this layout, and just removed from the list.
            unsafe { dealloc(ptr.as_ptr(), layout) };
        }
    }

    /// Takes back everything.
    pub(super) fn reset(&mut self) {
        self.used = 0;
        for (ptr, layout) in self.heap.drain(..) {
            // SAFETY: allocated in `push` with this layout, and just removed from the list.
            unsafe { dealloc(ptr.as_ptr(), layout) };
        }
    }
}

fn nonzero(layout: Layout) -> Layout {
    Layout::from_size_align(layout.size().max(1), layout.align()).unwrap_or(layout)
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.reset();
    }
}
