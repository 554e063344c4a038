//! One run with options of its own.

use std::sync::Arc;

use super::calls::calls;
use super::chunks::Chunks;
use super::runner::{Runner, Tally};
use crate::View;
use crate::executor::ProgramOptions;
use crate::pool::master::core::Core;
use crate::pool::options::policy::{Policy, run_options};
use crate::pool::{Ahead, Imap, ImapUnordered, RunOptions, TaskHandle, Views};
use crate::task::{Accept, Fused, Program, TaskError, TaskFn};

/// Options for one batch, or some calls; made by [`Pool::batch`](crate::Pool::batch).
///
/// What is not said is as the pool has it.
///
/// A worker that is killed costs the item that it was at, or nothing with [`retries`](Batch::retries).
///
/// ```
/// use offspring::{Pool, task};
///
/// #[task]
/// fn square(x: u64) -> u64 {
///     x * x
/// }
///
/// let pool = Pool::new()?;
/// let squares = pool.batch().chunk_size(64).retries(1).map(square, 0..1000)?;
/// assert_eq!(squares[999], 998_001);
/// # Ok::<(), offspring::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "a batch does nothing until `map` or a relative of it is called"]
pub struct Batch<'p> {
    core: &'p Arc<Core>,
    policy: Policy,
}

impl<'p> Batch<'p> {
    pub(in crate::pool) fn new(core: &'p Arc<Core>) -> Self {
        Batch { core, policy: core.options.policy.clone() }
    }

    /// The same with other options, where they say anything.
    pub(crate) fn with_options(&self, options: &RunOptions) -> Self {
        Batch { core: self.core, policy: options.over(&self.policy) }
    }

    fn set(mut self, change: impl FnOnce(&mut Policy)) -> Self {
        change(&mut self.policy);
        self
    }

    run_options!();
    calls!(|batch| Runner { core: batch.core, policy: &batch.policy });
}
