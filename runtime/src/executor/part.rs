//! What an engine gives back of a program: chunk by chunk, where the workers left it.
#![allow(unsafe_code)]

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;

use crate::RunOptions;
use crate::message::{Decoder, EncodeError, Encoder, HeapSink, Message};
use crate::task::{SlotLayout, Slots, TaskError};

/// How a program is to be run.
#[derive(Debug, Clone, Default)]
pub struct ProgramOptions {
    /// What a user may say; the rest is as the engine has it.
    pub run: RunOptions,
    /// Pull from the input only what workers need.
    pub lazy: bool,
    /// Give parts as they are done, not in the order of their items.
    pub unordered: bool,
}

/// What a chunk gave.
#[derive(Debug)]
pub struct Part<R> {
    /// Index of its first item.
    pub first: usize,
    /// How many items it has, the lost ones included.
    pub items: usize,
    /// Its result; `None` when the chunk was given up, and each item of it is among the lost.
    pub outcome: Option<Kept<R>>,
    /// Items that are not in the result for reasons the workers know nothing of.
    pub lost: Vec<Lost>,
    /// If it has but one item.
    pub ran: Option<Ran>,
}

/// How an item was run, as far as its engine has measured that.
#[derive(Debug, Clone, Copy)]
pub struct Ran {
    /// How long its last try took.
    pub nanos: u64,
    /// The process that ran it.
    pub worker: u32,
    /// How often it was tried.
    pub tries: u32,
}

/// An item that its worker died of, or that was never begun.
#[derive(Debug)]
pub struct Lost {
    /// Its index.
    pub item: usize,
    /// Which task of the program it was at, from 1; 0 if none.
    pub stage: u32,
    /// Why.
    pub error: TaskError,
}

/// A chunk's result, where its worker wrote it.
pub struct Kept<R> {
    slot: *const u8,
    _keep: Rc<dyn Any>,
    types: PhantomData<fn() -> R>,
}

impl<R> fmt::Debug for Kept<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").field("slot", &self.slot).finish_non_exhaustive()
    }
}

impl<R: Message> Kept<R> {
    /// The result at `slot`.
    ///
    /// # Safety
    /// A valid archived `R` lies there, which nobody changes while `keep` lives. If the sinks of this engine's inputs say that they reach it,
    /// it is readable at the same distance from the input slots wherever those are read.
    pub unsafe fn new(slot: *const u8, keep: Rc<dyn Any>) -> Self {
        Kept { slot, _keep: keep, types: PhantomData }
    }

    /// A result that this process made itself, on its heap.
    pub(crate) fn of(value: &R) -> Result<Self, EncodeError> {
        let slot = Slots::new(SlotLayout::of::<R::Archived>(), 1);
        let mut encoder = Encoder::new(Box::new(HeapSink::new()));
        // SAFETY: a slot of this message's layout, on the heap, as is what the encoder writes besides.
        unsafe { encoder.put(value, slot.as_ptr())? };
        let at = slot.as_ptr();
        // SAFETY: just written, and both are kept. An engine whose programs run elsewhere does not reach the heap, and takes it by value.
        Ok(unsafe { Kept::new(at, Rc::new((slot, encoder))) })
    }

    /// The same value, elsewhere. `None`: it cannot be read or written.
    pub(crate) fn copy(&self) -> Option<Self> {
        Kept::of(&R::read(self.get(), &mut Decoder::new()).ok()?).ok()
    }

    /// The result, to be read in place.
    pub fn get(&self) -> &R::Archived {
        // SAFETY: said by whoever made it, as long as what it keeps lives, which is as long as `self`.
        unsafe { &*self.slot.cast::<R::Archived>() }
    }
}

impl<R> Kept<R> {
    /// The same result, for somebody else.
    pub(crate) fn share(&self) -> Kept<R> {
        Kept { slot: self.slot, _keep: self._keep.clone(), types: PhantomData }
    }

    /// Where it lies.
    pub(crate) fn slot(&self) -> *const u8 {
        self.slot
    }
}
