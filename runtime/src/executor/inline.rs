//! Tasks in the calling process: for debugging and for tests.
#![allow(unsafe_code)]

use std::alloc::{self, Layout};
use std::ptr::NonNull;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicU64};

use super::Executor;
use crate::message::{self, Encoder, HeapSink};
use crate::task::{
    Accept, Role, RunCtx, SlotLayout, TaskContext, TaskEntry, TaskError, TaskFault, TaskFn, WorkerState,
    install_panic_hook, registry,
};
use crate::{ErrorKind, TaskHandle};

/// An [`Executor`] that runs each task in the calling thread, one after the other.
///
/// Inputs and results take the same way through messages as in a [`Pool`](crate::Pool), and errors have the same types, so
/// a debugger sees what a worker would. There is no isolation: a task that crashes takes the program along.
///
/// ```
/// use offspring::{Executor, Inline, task};
///
/// #[task]
/// fn square(x: u64) -> u64 {
///     x * x
/// }
///
/// assert_eq!(Inline::new().map(square, 0..4)?, [0, 1, 4, 9]);
/// # Ok::<(), offspring::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Inline {
    state: Mutex<WorkerState>,
}

/// A slot on the heap, zeroed.
struct Slot {
    at: NonNull<u8>,
    layout: Layout,
}

impl Slot {
    fn new(slot: SlotLayout) -> Slot {
        // A slot may have no size; an allocation must have one.
        let layout = Layout::from_size_align(slot.size.max(1), slot.align).unwrap_or(Layout::new::<[u64; 8]>());
        // SAFETY: the layout has a size.
        let at = unsafe { alloc::alloc_zeroed(layout) };
        let at = NonNull::new(at).unwrap_or_else(|| alloc::handle_alloc_error(layout));
        Slot { at, layout }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout.
        unsafe { alloc::dealloc(self.at.as_ptr(), self.layout) }
    }
}

/// The task that `F` is, or the panic that names the cure when it is none.
#[track_caller]
fn task_of<F: 'static>(role: Role) -> &'static TaskEntry {
    match registry::entry_of::<F>(role) {
        Ok((_, entry)) => entry,
        Err(error) => panic!("{error}"),
    }
}

impl Inline {
    /// An inline executor.
    pub fn new() -> Inline {
        Inline::default()
    }

    #[track_caller]
    fn run<F, M, A>(&self, item: A, index: Option<usize>) -> Result<F::Output, TaskError>
    where
        F: TaskFn<M>,
        A: Accept<M>,
    {
        let entry = task_of::<F>(Role::Task);
        let context = TaskContext { task: entry.name().into(), item: index };
        let (input, output) = (Slot::new(entry.input()), Slot::new(entry.output()));
        let mut encoder = Encoder::new(Box::new(HeapSink::new()));
        // SAFETY: a slot of the layout that the task's entry states for its input; both slots and what the encoder spills
        // are on the heap of this process, and outlive the call.
        unsafe { item.write(&mut encoder, input.at.as_ptr()) }.map_err(|error| TaskError::NotSendable {
            context: context.clone(),
            reason: error.to_string(),
            kind: error.kind(),
        })?;
        let (progress, stop) = (AtomicU64::new(0), AtomicU32::new(0));
        // No note: this process is nobody's worker.
        install_panic_hook(|_| ());
        let mut failed = None;
        let mut fault = |_: usize, fault: TaskFault| failed = Some(fault);
        let mut state = self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let mut run = RunCtx {
            inputs: input.at.as_ptr(),
            outputs: output.at.as_ptr(),
            lo: 0,
            hi: 1,
            progress: &progress,
            encoder: &mut encoder,
            state: &mut state,
            fault: &mut fault,
            stop: &stop,
        };
        // SAFETY: one input slot that this task's own type was encoded into, and one output slot of its layout.
        unsafe { entry.run(&mut run) };
        if let Some(fault) = failed {
            return Err(fault.into_error(context, std::process::id()));
        }
        // SAFETY: the run reported no fault, so the output slot holds a value of the task's output type.
        unsafe { message::decode::<F::Output>(output.at.as_ptr()) }.map_err(|error| TaskError::NotSendable {
            context,
            reason: error.to_string(),
            kind: ErrorKind::InvalidData,
        })
    }
}

impl Executor for Inline {
    #[track_caller]
    fn map<F, M, I>(&self, _: F, items: I) -> Result<Vec<F::Output>, TaskError>
    where
        F: TaskFn<M>,
        I: IntoIterator,
        I::Item: Accept<M>,
    {
        items.into_iter().enumerate().map(|(index, item)| self.run::<F, M, _>(item, Some(index))).collect()
    }

    #[track_caller]
    fn try_map<F, M, I>(&self, _: F, items: I) -> Result<Vec<Result<F::Output, TaskError>>, TaskError>
    where
        F: TaskFn<M>,
        I: IntoIterator,
        I::Item: Accept<M>,
    {
        Ok(items.into_iter().enumerate().map(|(index, item)| self.run::<F, M, _>(item, Some(index))).collect())
    }

    #[track_caller]
    fn imap<F, M, I>(&self, _: F, items: I) -> impl Iterator<Item = Result<F::Output, TaskError>>
    where
        F: TaskFn<M>,
        I: IntoIterator,
        I::Item: Accept<M>,
    {
        items.into_iter().enumerate().map(|(index, item)| self.run::<F, M, _>(item, Some(index)))
    }

    #[track_caller]
    fn imap_unordered<F, M, I>(&self, _: F, items: I) -> impl Iterator<Item = (usize, Result<F::Output, TaskError>)>
    where
        F: TaskFn<M>,
        I: IntoIterator,
        I::Item: Accept<M>,
    {
        items.into_iter().enumerate().map(|(index, item)| (index, self.run::<F, M, _>(item, Some(index))))
    }

    #[track_caller]
    fn submit<F, M, A>(&self, _: F, input: A) -> Result<TaskHandle<F::Output>, TaskError>
    where
        F: TaskFn<M>,
        A: Accept<M>,
    {
        let entry = task_of::<F>(Role::Task);
        let context = TaskContext { task: entry.name().into(), item: None };
        Ok(TaskHandle::over(context, self.run::<F, M, A>(input, None)))
    }
}
