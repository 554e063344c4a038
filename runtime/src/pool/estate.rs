//! What of a pool outlives it, until its last worker is gone.

use std::sync::atomic::{AtomicUsize, Ordering::*};
use std::sync::{Arc, Mutex};

use super::hook::Hook;
use super::job::Job;
use super::layout::{self, ControlView};
use super::state::StateInput;
use crate::arena::{Arena, Block, BlockId};
use crate::seeing::records::Relay;
use crate::sync::permits::{self, Permits};

/// What workers begin and end with.
#[derive(Debug, Default)]
pub(super) struct Inputs {
    /// What they make their state of.
    pub(super) state: Option<StateInput>,
    pub(super) initializer: Option<Hook>,
    pub(super) finalizer: Option<Hook>,
}

/// What the last worker of a pool needs to find, even after the pool itself is gone: everything a worker may still touch.
#[derive(Debug)]
pub(super) struct Estate {
    pub(super) arena: &'static Arena,
    pub(super) control: Block,
    /// Seats that were ever in use.
    pub(super) seats: AtomicUsize,
    /// The permits to run of this pool's tree, where it is the first in it.
    pub(super) permits: Option<Block>,
    /// What workers begin and end with.
    pub(super) inputs: Inputs,
    /// What the seats' workers can make a result part of, by seat; see `hook.rs`.
    pub(super) anchors: Mutex<Vec<Option<Block>>>,
    /// Where workers' log records come to, if anybody wants them.
    pub(super) records: Option<Arc<Relay>>,
    /// Finished jobs that a worker still named when they were finished.
    pub(super) retired: Mutex<Vec<Arc<Job>>>,
}

impl Estate {
    /// The shared side.
    pub(super) fn control(&self) -> ControlView<'_> {
        layout::control_of(&self.control, self.seats.load(Acquire))
    }

    /// The permits to run of the tree that this pool is in.
    pub(super) fn permits(&self) -> Option<&'static Permits> {
        permits::at(self.arena, BlockId::from_raw(self.control().control.permits.load(Acquire))?)
    }

    /// Does it share the permits of another pool, in a worker of which it was made?
    pub(super) fn is_nested(&self) -> bool {
        self.permits.is_none()
    }

    /// Says how many workers of the tree may run at once, if that is this pool's to say.
    pub(super) fn set_permits(&self, count: usize) {
        if let (false, Some(permits)) = (self.is_nested(), self.permits()) {
            permits.resize(count);
        }
    }

    pub(super) fn control_id(&self) -> BlockId {
        self.control.id()
    }

    /// Frees a job's memory as soon as no worker looks at it any more. Looks at all seats, so small jobs are gathered first.
    pub(super) fn retire(&self, job: Arc<Job>) {
        if !self.arena.is_here() {
            return;
        }
        let large = job.size() >= 1 << 16;
        let due = {
            let mut retired = self.retired.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            retired.push(job);
            large || retired.len() > 16 + 2 * self.seats.load(Relaxed)
        };
        if due {
            self.sweep();
        }
    }

    /// A finished job that a worker may still name.
    pub(super) fn retired(&self, id: BlockId) -> Option<Arc<Job>> {
        let retired = self.retired.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        retired.iter().find(|job| job.id() == id).cloned()
    }

    /// Frees finished jobs that no worker looks at any more.
    pub(super) fn sweep(&self) {
        if !self.arena.is_here() {
            return;
        }
        let named = self.control().named();
        let mut retired = self.retired.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        retired.retain(|job| named.contains(&job.id().raw()));
    }
}
