//! A worker's state: made once by a `#[task(state)]` function, lent to each task whose first parameter is `&mut S`.
#![allow(unsafe_code)]

use std::any::{Any, type_name};
use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64};

use super::entry::TaskEntry;
use super::fault::TaskFault;
use super::run::RunCtx;
use crate::ErrorKind;
use crate::message::{Encoder, HeapSink};

/// Who runs the tasks: it decides what is to be done where a state is missing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Home {
    /// A pool's worker.
    #[default]
    Pool,
    /// The calling process, by [`Inline`](crate::Inline).
    Inline,
    /// A process of one task.
    Process,
}

impl Home {
    /// What to do about a missing state.
    fn cure(self) -> &'static str {
        match self {
            Home::Pool => "give the pool one with `Pool::builder().state(constructor, input)`",
            Home::Inline => "give the executor one with `Inline::with_state(constructor, input)`",
            Home::Process => {
                "a process of one task has none: run the task in a pool, with `Pool::builder().state(constructor, input)`"
            }
        }
    }
}

/// The state that this worker's tasks borrow.
///
/// It is made when a task first asks for it, and again after a task panicked with it in its hands.
pub struct WorkerState {
    made: Option<Made>,
    maker: Option<Maker>,
    home: Home,
}

struct Made {
    value: Box<dyn Any>,
    type_name: &'static str,
}

#[derive(Clone, Copy)]
struct Maker {
    entry: &'static TaskEntry,
    input: *const u8,
}

impl fmt::Debug for WorkerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerState")
            .field("made", &self.made.as_ref().map(|made| made.type_name))
            .field("maker", &self.maker.map(|maker| maker.entry.name()))
            .finish()
    }
}

impl WorkerState {
    /// No state: tasks that borrow one are refused.
    pub fn none(home: Home) -> Self {
        WorkerState { made: None, maker: None, home }
    }

    /// State that `entry`, a `#[task(state)]` function, makes of the input slot at `input`.
    ///
    /// # Safety
    /// `entry` has the role of a state constructor. `input` is a valid input slot of it, and stays so, with its data, as long as the state is in use.
    pub unsafe fn made_by(entry: &'static TaskEntry, input: *const u8, home: Home) -> Self {
        WorkerState { made: None, maker: Some(Maker { entry, input }), home }
    }

    /// Makes the state now, if it is not there yet.
    ///
    /// # Errors
    /// There is no constructor, or it failed.
    pub fn prepare(&mut self) -> Result<(), TaskFault> {
        if self.made.is_none() {
            let maker = self.maker.ok_or_else(|| TaskFault::NoState {
                reason: format!("there is no worker state; {}", self.home.cure()),
                kind: ErrorKind::InvalidInput,
            })?;
            self.made = Some(maker.make()?);
        }
        Ok(())
    }

    /// The state, as the task `S` expects.
    pub(crate) fn lend<S: 'static>(&mut self) -> Result<&mut S, TaskFault> {
        self.prepare()?;
        let (have, value) = match &mut self.made {
            Some(made) => (made.type_name, made.value.downcast_mut::<S>()),
            None => ("none", None),
        };
        value.ok_or_else(|| TaskFault::NoState {
            reason: format!(
                "the task borrows a worker state of type `{}`, but this one is `{have}`; {} that makes it",
                type_name::<S>(),
                self.home.cure()
            ),
            kind: ErrorKind::InvalidInput,
        })
    }

    pub(super) fn set<S: 'static>(&mut self, value: S) {
        self.made = Some(Made { value: Box::new(value), type_name: type_name::<S>() });
    }

    /// A task panicked with the state in its hands: whoever needs it next gets a new one.
    pub(crate) fn spoil(&mut self) {
        if let Some(made) = self.made.take() {
            // Its drop may panic as well, on the same broken invariants.
            let _ = super::panic::catch(move || drop(made));
        }
    }
}

impl Maker {
    fn make(self) -> Result<Made, TaskFault> {
        let name = self.entry.name();
        let (mut fault, mut state) = (None, WorkerState::none(Home::default()));
        let mut encoder = Encoder::new(Box::new(HeapSink::new()));
        let mut cx = RunCtx {
            inputs: self.input,
            outputs: std::ptr::null_mut(),
            lo: 0,
            hi: 1,
            progress: &AtomicU64::new(0),
            encoder: &mut encoder,
            state: &mut state,
            fault: &mut |_, why| fault = Some(why),
            attention: &AtomicU32::new(0),
            attend: &mut |_, _| true,
            mishap: &mut |_| (),
            skips: &[],
            most_mishaps: usize::MAX,
            caught: || (),
        };
        // SAFETY: `made_by` was given a state constructor and a valid input; a constructor writes no output slot.
        unsafe { self.entry.run(&mut cx) };
        match (state.made, fault) {
            (Some(made), None) => Ok(made),
            (_, Some(TaskFault::NoState { reason, kind })) => {
                Err(TaskFault::NoState { reason: format!("its state constructor `{name}` failed: {reason}"), kind })
            }
            (_, Some(TaskFault::Panicked(panic))) => Err(TaskFault::NoState {
                reason: format!("its state constructor `{name}` panicked at {}: {}", panic.location, panic.message),
                kind: ErrorKind::Panicked,
            }),
            (_, Some(fault)) => Err(fault),
            (None, None) => Err(TaskFault::NoState {
                reason: format!("`{name}` is no state constructor: write #[task(state)] above it"),
                kind: ErrorKind::InvalidInput,
            }),
        }
    }
}
