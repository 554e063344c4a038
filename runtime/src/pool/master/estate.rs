//! What of a pool outlives it, until its last worker is gone.

use std::sync::atomic::{AtomicUsize, Ordering::*};
use std::sync::{Arc, Mutex};

use crate::arena::{Arena, Block, BlockId};
use crate::pool::job::Job;
use crate::pool::layout::{self, ControlView};
use crate::pool::options::hook::Hook;
use crate::pool::options::state::StateInput;
use crate::seeing::records::Relay;
use crate::sync::permits::{self, Permits};

/// What workers begin and end with.
#[derive(Debug, Default)]
pub(in crate::pool) struct Inputs {
    /// What they make their state of.
    pub(in crate::pool) state: Option<StateInput>,
    pub(in crate::pool) initializer: Option<Hook>,
    pub(in crate::pool) finalizer: Option<Hook>,
}

/// What the last worker of a pool needs to find, even after the pool itself is gone: everything a worker may still touch.
#[derive(Debug)]
pub(in crate::pool) struct Estate {
    pub(in crate::pool) arena: &'static Arena,
    pub(in crate::pool) control: Block,
    /// Seats that were ever in use.
    pub(in crate::pool) seats: AtomicUsize,
    /// The permits to run of this pool's tree, where it is the first in it.
    pub(in crate::pool) permits: Option<Block>,
    /// What workers begin and end with.
    pub(in crate::pool) inputs: Inputs,
    /// What the seats' workers can make a result part of, by seat; see `hook.rs`.
    pub(in crate::pool) anchors: Mutex<Vec<Option<Block>>>,
    /// Where workers' log records come to, if anybody wants them.
    pub(in crate::pool) records: Option<Arc<Relay>>,
    /// Finished jobs that a worker still named when they were finished.
    pub(in crate::pool) retired: Mutex<Vec<Arc<Job>>>,
}

impl Estate {
    /// The shared side.
    pub(in crate::pool) fn control(&self) -> ControlView<'_> {
        layout::control_of(&self.control, self.seats.load(Acquire))
    }

    /// The permits to run of the tree that this pool is in.
    pub(in crate::pool) fn permits(&self) -> Option<&'static Permits> {
        permits::at(self.arena, BlockId::from_raw(self.control().control.permits.load(Acquire))?)
    }

    /// Does it share the permits of another pool, in a worker of which it was made?
    pub(in crate::pool) fn is_nested(&self) -> bool {
        self.permits.is_none()
    }

    /// Says how many workers of the tree may run at once, if that is this pool's to say.
    pub(in crate::pool) fn set_permits(&self, count: usize) {
        if let (false, Some(permits)) = (self.is_nested(), self.permits()) {
            permits.resize(count);
        }
    }

    pub(in crate::pool) fn control_id(&self) -> BlockId {
        self.control.id()
    }

    /// Frees a job's memory as soon as no worker looks at it any more. Looks at all seats, so small jobs are gathered first.
    pub(in crate::pool) fn retire(&self, job: Arc<Job>) {
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
    pub(in crate::pool) fn retired(&self, id: BlockId) -> Option<Arc<Job>> {
        let retired = self.retired.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        retired.iter().find(|job| job.id() == id).cloned()
    }

    /// Frees finished jobs that no worker looks at any more.
    pub(in crate::pool) fn sweep(&self) {
        if !self.arena.is_here() {
            return;
        }
        let named = self.control().named();
        let mut retired = self.retired.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        retired.retain(|job| named.contains(&job.id().raw()));
    }
}
