//! Not public API. Runs a task over items in memory, without processes: what encoding, running and decoding cost.
#![allow(unsafe_code, missing_docs)]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64};

use super::{Accept, Home, Role, RunCtx, SlotLayout, TaskEntry, TaskFault, TaskFn, WorkerState, registry};
use crate::message::{Decoder, Encoder, HeapSink, Message};

/// Input and output slots of a number of items.
#[derive(Debug)]
pub struct Bench {
    entry: &'static TaskEntry,
    inputs: Slots,
    outputs: Slots,
    items: usize,
    encoder: Encoder,
    progress: AtomicU64,
    stop: AtomicU32,
}

#[derive(Debug)]
struct Slots(NonNull<u8>, Layout, usize);

impl Slots {
    fn new(slot: SlotLayout, items: usize) -> Slots {
        let layout = Layout::from_size_align((slot.size * items).max(1), 64).unwrap_or(Layout::new::<[u64; 8]>());
        // SAFETY: the layout has a size.
        let ptr = unsafe { alloc_zeroed(layout) };
        let slots = Slots(NonNull::new(ptr).unwrap_or_else(|| handle_alloc_error(layout)), layout, slot.size);
        // First touch is the kernel's work, not ours.
        // SAFETY: this many bytes were just allocated.
        unsafe { std::ptr::write_bytes(slots.0.as_ptr(), 1, layout.size()) };
        slots
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout.
        unsafe { dealloc(self.0.as_ptr(), self.1) };
    }
}

impl Bench {
    /// For the task `F`.
    pub fn new<F: 'static>(_: F, items: usize) -> Option<Bench> {
        let (_, entry) = registry::entry_of::<F>(Role::Task).ok()?;
        Some(Bench {
            entry,
            inputs: Slots::new(entry.input(), items),
            outputs: Slots::new(entry.output(), items),
            items,
            encoder: Encoder::new(Box::new(HeapSink::new())),
            progress: AtomicU64::new(0),
            stop: AtomicU32::new(0),
        })
    }

    /// Writes the items; returns how many.
    #[inline(never)]
    pub fn encode<F: TaskFn<M>, M, I: IntoIterator<Item: Accept<M>>>(&mut self, _: F, items: I) -> usize {
        let (mut slot, mut count) = (self.inputs.0.as_ptr(), 0);
        for item in items.into_iter().take(self.items) {
            // SAFETY: `count < self.items`, and slots of the layout of this task were allocated for all.
            unsafe {
                if item.write(&mut self.encoder, slot).is_err() {
                    break;
                }
                slot = slot.add(self.inputs.2);
            }
            count += 1;
        }
        count
    }

    /// Runs the task over the items; returns the number of faults.
    #[inline(never)]
    pub fn run(&mut self) -> usize {
        let mut faults = 0;
        let mut cx = RunCtx {
            inputs: self.inputs.0.as_ptr(),
            outputs: self.outputs.0.as_ptr(),
            lo: 0,
            hi: self.items,
            progress: &self.progress,
            skips: &[],
            most_mishaps: usize::MAX,
            caught: || (),
            encoder: &mut self.encoder,
            state: &mut WorkerState::none(Home::default()),
            fault: &mut |_, _: TaskFault| faults += 1,
            attention: &self.stop,
            attend: &mut |_, _| false,
            mishap: &mut |_| (),
        };
        // SAFETY: `encode` wrote all inputs; the slots have the task's layouts; all is on the heap.
        unsafe { self.entry.run(&mut cx) };
        faults
    }

    /// Reads the results.
    #[inline(never)]
    pub fn decode<F: TaskFn<M>, M>(&self, _: F) -> Vec<F::Output> {
        let slots = self.outputs.0.as_ptr().cast::<<F::Output as Message>::Archived>();
        let mut results = Vec::with_capacity(self.items);
        for item in 0..self.items {
            // SAFETY: `run` wrote all outputs.
            match F::Output::read(unsafe { &*slots.add(item) }, &mut Decoder::new()) {
                Ok(result) => results.push(result),
                Err(_) => break,
            }
        }
        results
    }
}
