//! Slots on the heap: for runs in the calling process.
#![allow(unsafe_code)]

use std::alloc::{self, Layout};
use std::ptr::NonNull;

use super::SlotLayout;

/// Some slots in a row, zeroed.
#[derive(Debug)]
pub struct Slots {
    at: NonNull<u8>,
    layout: Layout,
}

impl Slots {
    /// `count` slots.
    pub fn new(slot: SlotLayout, count: usize) -> Slots {
        // Slots may have no size; an allocation must have one.
        let size = slot.size.saturating_mul(count).max(1);
        let layout = Layout::from_size_align(size, slot.align).unwrap_or(Layout::new::<[u64; 8]>());
        // No memory, or more than there can be: the same end.
        if layout.size() < size {
            alloc::handle_alloc_error(layout);
        }
        // SAFETY: the layout has a size.
        let at = unsafe { alloc::alloc_zeroed(layout) };
        let at = NonNull::new(at).unwrap_or_else(|| alloc::handle_alloc_error(layout));
        Slots { at, layout }
    }

    /// The first.
    pub fn as_ptr(&self) -> *mut u8 {
        self.at.as_ptr()
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout.
        unsafe { alloc::dealloc(self.at.as_ptr(), self.layout) }
    }
}
