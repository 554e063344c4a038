//! What a running task hands to its handle before it is over.
#![allow(unsafe_code)]

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::pool::job::Job;
use crate::pool::layout::{self, Told};
use crate::pool::master::core::Core;
use crate::pool::protocol::bell;

/// Values that a task has emitted, as they come; made by [`TaskHandle::emitted`](crate::TaskHandle::emitted).
///
/// Each value is given out once, whichever iterator of the handle asks for it. Ends when the task is over and all its values of
/// this type were given out.
pub struct Emitted<'a, T> {
    source: Source<'a>,
    values: PhantomData<fn() -> T>,
}

impl<T> fmt::Debug for Emitted<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emitted").finish_non_exhaustive()
    }
}

/// What a handle knows of emitted values.
#[derive(Default)]
pub(in crate::pool) struct Emissions(Mutex<Known>);

#[derive(Default)]
struct Known {
    /// Up to here the job's records were read.
    newest: u64,
    /// Not given out, oldest first.
    values: VecDeque<Box<dyn Any + Send>>,
}

/// Where values come from.
pub(in crate::pool) struct Source<'a> {
    pub(in crate::pool) emissions: &'a Emissions,
    /// `None`: the task is over, and there are no more.
    pub(in crate::pool) pooled: Option<(&'a Core, &'a Job)>,
}

impl Emissions {
    pub(in crate::pool) fn of(values: VecDeque<Box<dyn Any + Send>>) -> Emissions {
        Emissions(Mutex::new(Known { newest: 0, values }))
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // Nothing panics while it holds the lock; what it guards is whole at any time.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next value of this type that is there.
    fn take<T: 'static>(&self, job: Option<&Job>) -> Option<T> {
        let mut known = self.lock();
        if let Some(job) = job {
            known.read(job);
        }
        let at = known.values.iter().position(|value| value.is::<T>())?;
        known.values.remove(at)?.downcast().ok().map(|value| *value)
    }
}

impl Known {
    /// Reads the values that came since it was last called.
    fn read(&mut self, job: &Job) {
        let (arena, view) = (job.arena(), job.view());
        let newest = layout::newest(&view);
        let mut new = Vec::new();
        layout::told(arena, &view, newest, self.newest, |_, told| {
            if let Told::Value { reader, slot } = told {
                // SAFETY: the record is on the list of this job; where a worker has died in it, it is checked. What cannot be read is
                // left out: only a worker that has trampled on shared memory leaves such a thing.
                let value = unsafe { layout::read_value(arena, reader, slot, job.is_suspect()) };
                new.extend(value.and_then(Result::ok));
            }
        });
        self.newest = newest;
        self.values.extend(new.into_iter().rev());
    }
}

impl<'a, T: 'static> Emitted<'a, T> {
    pub(in crate::pool) fn new(source: Source<'a>) -> Self {
        Emitted { source, values: PhantomData }
    }

    /// The next value, if it is there. Never blocks.
    pub fn try_next(&mut self) -> Option<T> {
        self.source.emissions.take(self.source.pooled.filter(|(core, _)| core.is_here()).map(|(_, job)| job))
    }

    /// The next value, waiting at most `timeout`. `None` when none came, or none will: see
    /// [`TaskHandle::is_ready`](crate::TaskHandle::is_ready).
    pub fn next_timeout(&mut self, timeout: Duration) -> Option<T> {
        self.next_until(Instant::now().checked_add(timeout))
    }

    fn next_until(&mut self, deadline: Option<Instant>) -> Option<T> {
        let Some((core, job)) = self.source.pooled.filter(|(core, _)| core.is_here()) else { return self.try_next() };
        let next = bell::wait_until(
            job.bell(),
            deadline,
            || job.say_wanted(None),
            || {
                // Asked first: what comes after that comes from nobody.
                let over = job.all_done(&mut 0) || core.is_hopeless();
                let value = self.source.emissions.take(Some(job));
                (over || value.is_some()).then_some(value)
            },
        );
        next.flatten()
    }
}

impl<T: 'static> Iterator for Emitted<'_, T> {
    type Item = T;

    /// The next value; waits for it. `None` when the task is over.
    fn next(&mut self) -> Option<T> {
        self.next_until(None)
    }
}
