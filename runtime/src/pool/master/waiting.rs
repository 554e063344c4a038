//! Jobs that found no lane, until there is one for them: in the private memory of the pool's process, in their order.
//!
//! There are 64 lanes, and there may be any number of jobs with needs or a priority. So that neither is lost, a job that comes before one in a
//! lane takes its place, and that one waits here. And jobs that compete for the same things, of which the later ones could not begin anyway,
//! do not take all lanes: each *class* of jobs has one at least. Both rules together come to an end: the first takes no class its last lane and makes
//! the lanes' ranks lower each time, the second raises the number of classes that have a lane.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::pool::job::Job;

/// What kinds of things a job competes for, whatever the amounts: a bit for each.
pub(in crate::pool) type Class = u32;

/// Jobs by class, then by rank: lower is first.
#[derive(Debug, Default)]
pub(in crate::pool) struct Waiting {
    classes: BTreeMap<Class, BTreeMap<u64, Arc<Job>>>,
    len: usize,
}

impl Waiting {
    pub(in crate::pool) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(in crate::pool) fn len(&self) -> usize {
        self.len
    }

    pub(in crate::pool) fn clear(&mut self) {
        *self = Waiting::default();
    }

    pub(in crate::pool) fn jobs(&self) -> impl Iterator<Item = &Arc<Job>> {
        self.classes.values().flat_map(BTreeMap::values)
    }

    pub(in crate::pool) fn push(&mut self, rank: u64, job: Arc<Job>) {
        let Some(class) = job.demand().map(|demand| demand.class()) else { return };
        if self.classes.entry(class).or_default().insert(rank, job).is_none() {
            self.len += 1;
        }
    }

    /// Takes this one out, if it is here.
    pub(in crate::pool) fn remove(&mut self, job: &Job) {
        if let Some(demand) = job.demand() {
            // One without a rank was never here.
            self.take_at(demand.class(), job.rank(|| u64::MAX));
        }
    }

    fn take_at(&mut self, class: Class, rank: u64) -> Option<(u64, Arc<Job>)> {
        let jobs = self.classes.get_mut(&class)?;
        let job = jobs.remove(&rank)?;
        self.len -= 1;
        if jobs.is_empty() {
            self.classes.remove(&class);
        }
        Some((rank, job))
    }

    fn firsts(&self) -> impl Iterator<Item = (Class, u64)> {
        self.classes.iter().filter_map(|(class, jobs)| Some((*class, *jobs.keys().next()?)))
    }

    /// The rank of the first of all.
    pub(in crate::pool) fn first_rank(&self) -> Option<u64> {
        self.firsts().map(|(_, rank)| rank).min()
    }

    /// Is there one of a class that has no lane?
    pub(in crate::pool) fn has_class_without(&self, has_lane: impl Fn(Class) -> bool) -> bool {
        self.classes.keys().any(|class| !has_lane(*class))
    }

    /// Takes the first of those classes that have no lane, or the first of all.
    pub(in crate::pool) fn take(&mut self, has_lane: impl Fn(Class) -> bool) -> Option<(u64, Arc<Job>)> {
        let (class, rank) = self.firsts().min_by_key(|(class, rank)| (has_lane(*class), *rank))?;
        self.take_at(class, rank)
    }
}
