//! What the library knows of one task: filled in by `#[task]`, collected by `inventory`.
#![allow(unsafe_code)]

use std::any::TypeId;

use super::run::{RunCtx, SlotLayout};
use super::wire::Wire;

/// What the macro saw of a task.
// Not public API. Used by generated code.
#[derive(Debug, Clone, Copy)]
pub struct TaskSource {
    /// `module::path::[Type::]function[::<instance>]`, or what `#[task(name = ..)]` says.
    pub name: &'static str,
    /// Where the attribute stands.
    pub file: &'static str,
    /// Where the attribute stands.
    pub line: u32,
    /// Where the attribute stands.
    pub column: u32,
    /// The function's signature, as text.
    pub signature: &'static str,
    /// What `#[task(version = ..)]` says; 0 without.
    pub version: u32,
}

/// The key under which a task is found: equal in every process of one build.
pub(super) type Key = (&'static str, &'static str, u32, u32);

/// How a task is run, without its types.
// Not public API. Used by generated code.
#[derive(Debug, Clone, Copy)]
pub struct TaskCall {
    pub(super) run: unsafe fn(&mut RunCtx<'_>),
    pub(super) type_id: fn() -> TypeId,
    pub(super) input: SlotLayout,
    pub(super) output: SlotLayout,
    pub(super) role: Role,
    pub(super) grain: Grain,
    pub(super) failure: Option<unsafe fn(*const u8) -> Option<String>>,
    pub(super) wire: Wire,
    pub(super) show: Option<unsafe fn(*const u8) -> Option<String>>,
}

/// What a registered function is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It computes a message of messages.
    Task,
    /// It makes a worker's state.
    State,
}

/// A registered task.
// Not public API. Used by generated code.
#[derive(Debug)]
pub struct TaskEntry {
    source: TaskSource,
    call: TaskCall,
}

/// What is committed at once, and what a slot of results is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grain {
    /// Each item: it has an output slot of its own, and stands although its worker dies later.
    Item,
    /// Each chunk: one output slot for all its items. What was done of a chunk whose worker dies is done again.
    Chunk {
        /// What a chunk should last.
        nanos: u64,
    },
}

impl TaskCall {
    /// A program that runs several tasks on each item of a chunk.
    pub(crate) const fn of_program<P: 'static>(
        run: unsafe fn(&mut RunCtx<'_>),
        input: SlotLayout,
        output: SlotLayout,
        nanos: u64,
        wire: Wire,
    ) -> TaskCall {
        TaskCall {
            run,
            type_id: TypeId::of::<P>,
            input,
            output,
            role: Role::Task,
            grain: Grain::Chunk { nanos },
            failure: None,
            wire,
            show: None,
        }
    }
}

impl TaskEntry {
    /// An entry for the registry.
    // Not public API. Used by generated code.
    pub const fn new(source: TaskSource, call: TaskCall) -> Self {
        TaskEntry { source, call }
    }

    /// What the macro saw.
    pub fn source(&self) -> &TaskSource {
        &self.source
    }

    /// Its registered name.
    pub fn name(&self) -> &'static str {
        self.source.name
    }

    /// A task, or a constructor of a worker's state?
    pub fn role(&self) -> Role {
        self.call.role
    }

    /// What is committed at once?
    pub fn grain(&self) -> Grain {
        self.call.grain
    }

    /// Size and alignment of one input slot.
    pub fn input(&self) -> SlotLayout {
        self.call.input
    }

    /// Size and alignment of one output slot.
    pub fn output(&self) -> SlotLayout {
        self.call.output
    }

    /// Runs items `lo..hi` of `cx`: see [`RunCtx`].
    ///
    /// # Safety
    /// As said at the fields of [`RunCtx`], for this task's layouts and types.
    pub unsafe fn run(&self, cx: &mut RunCtx<'_>) {
        // SAFETY: passed on to the caller.
        unsafe { (self.call.run)(cx) }
    }

    /// The text of the error that the result at `output` is, if this task returns a `Result` and it is one.
    ///
    /// # Safety
    /// `output` is a valid output slot of this task.
    pub unsafe fn failure(&self, output: *const u8) -> Option<String> {
        // SAFETY: passed on to the caller.
        self.call.failure.and_then(|failure| unsafe { failure(output) })
    }

    /// What is needed of its types where slots may hold anything.
    pub(crate) fn wire(&self) -> Wire {
        self.call.wire
    }

    /// Can a result of this task be an error of its own?
    pub(crate) fn can_fail(&self) -> bool {
        self.call.failure.is_some()
    }

    /// The input at `input` in short, where all parameters can be shown.
    ///
    /// # Safety
    /// `input` is a valid input slot of this task, and what it refers to is alive.
    pub(crate) unsafe fn show_input(&self, input: *const u8) -> Option<String> {
        // SAFETY: passed on to the caller.
        self.call.show.and_then(|show| unsafe { show(input) })
    }

    pub(super) fn key(&self) -> Key {
        (self.source.name, self.source.file, self.source.line, self.source.column)
    }

    pub(super) fn type_id(&self) -> TypeId {
        (self.call.type_id)()
    }
}

inventory::collect!(TaskEntry);
