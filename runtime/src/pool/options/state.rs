//! What workers make their state of: encoded once by the pool, read by each worker.
#![allow(unsafe_code)]

use std::sync::atomic::Ordering::*;

use crate::ErrorKind;
use crate::arena::{Arena, Block};
use crate::message::Encoder;
use crate::object::Spill;
use crate::pool::PoolError;
use crate::pool::layout::ControlView;
use crate::task::{Accept, Home, Role, StateFn, TaskId, WorkerState, registry};

/// A state constructor's input, in shared memory.
#[derive(Debug)]
pub(in crate::pool) struct StateInput {
    task: TaskId,
    block: Block,
}

/// Encodes it when the pool is built. Boxed, as the builder does not know its types.
pub(in crate::pool) type Prepare = Box<dyn FnOnce(&'static Arena) -> Result<StateInput, PoolError> + Send>;

/// What the builder keeps of `state(constructor, input)`.
pub(in crate::pool) fn prepare<F, M, A>(_: F, input: A) -> Prepare
where
    F: StateFn<M>,
    A: Accept<M> + Send + 'static,
{
    Box::new(move |arena| {
        let refused = |kind: ErrorKind, reason: String| PoolError::State { reason, kind };
        let (task, entry) =
            registry::entry_of::<F>(Role::State).map_err(|error| refused(error.kind(), error.to_string()))?;
        let block = arena.alloc(entry.input().size)?;
        let mut encoder = Encoder::new(Box::new(Spill::new(arena, block.id())));
        // SAFETY: a slot of the layout that the constructor's entry states; blocks are aligned to 64, the largest alignment
        // of a slot. Nobody reads it before the pool's control block names it.
        unsafe { input.write(&mut encoder, block.as_ptr()) }
            .map_err(|error| refused(error.kind(), error.to_string()))?;
        Ok(StateInput { task, block })
    })
}

impl StateInput {
    /// Tells the workers where it lies. Before the first worker starts.
    pub(in crate::pool) fn announce(&self, control: &ControlView<'_>) {
        control.control.state_input.store(self.block.pos(), Release);
        control.control.state_task.store(self.task.as_raw() + 1, Release);
    }
}

/// What a worker makes its state of.
pub(in crate::pool) fn of_worker(arena: &'static Arena, control: &ControlView<'_>) -> WorkerState {
    let Some(task) = control.control.state_task.load(Acquire).checked_sub(1) else {
        return WorkerState::none(Home::Pool);
    };
    let Ok(entry) = registry::get(TaskId::from_raw(task)) else { return WorkerState::none(Home::Pool) };
    let Some(input) = arena.at(control.control.state_input.load(Acquire), entry.input().size) else {
        return WorkerState::none(Home::Pool);
    };
    // SAFETY: `announce` named a state constructor (`prepare` looked it up as one) and a slot that was encoded for it, in a
    // block that the pool's estate keeps until the last worker is gone.
    unsafe { WorkerState::made_by(entry, input.as_ptr(), Home::Pool) }
}
