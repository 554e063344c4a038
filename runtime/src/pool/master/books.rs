//! The jobs of a pool that are not finished: how they get to the workers, and how they leave.

use std::sync::Arc;
use std::sync::atomic::Ordering::*;

use super::core::{Core, Inner};
use super::phase::Phase;
use crate::pool::ending::interrupt;
use crate::pool::job::Job;
use crate::pool::job::errand::Ending;
use crate::pool::layout::ControlView;
use crate::pool::protocol::admission;
use crate::pool::protocol::bell;
use crate::sys::clock::monotonic_nanos;

impl Core {
    /// Lets workers have a job, wakes them, and starts more where that helps.
    pub(in crate::pool) fn publish(self: &Arc<Self>, job: &Arc<Job>) {
        self.time(job);
        if job.errand().policy.account {
            self.ledger.begin(monotonic_nanos());
            job.note_published();
        }
        if let Some(gauge) = job.errand().gauge.get() {
            gauge.add(job);
        }
        let control = self.estate.control();
        {
            let mut inner = self.lock();
            job.errand().note_job(job);
            inner.jobs.insert(job.id(), job.clone());
            inner.enter(&control, job.clone());
            if !inner.overflow.is_empty() || !inner.waiting.is_empty() {
                drop(inner);
                self.wait_for_room();
            }
        }
        if interrupt::interrupted() {
            // Too late for `interrupt` to see it.
            job.cancel(Ending::Pool(Phase::Interrupted), false);
            job.ring();
        }
        let wanted = job.view().words.len();
        let woken = control.wake(wanted);
        if woken < wanted {
            self.hire();
        }
    }

    /// Is there a chunk that no worker has claimed, or one that is to be tried again later?
    pub(in crate::pool) fn has_work(&self, inner: &Inner) -> bool {
        self.unclaimed(inner) > 0 || inner.jobs.values().any(|job| job.is_delayed())
    }

    /// How many chunks no worker has claimed.
    pub(in crate::pool) fn unclaimed(&self, inner: &Inner) -> u64 {
        let control = self.estate.control();
        let entered = control.entries().chain(control.jobs_in_lanes()).filter_map(|id| inner.jobs.get(&id));
        entered.chain(&inner.overflow).chain(inner.waiting.jobs()).map(|job| job.unclaimed()).sum()
    }

    /// Ends a job: its memory goes back as soon as no worker looks at it.
    pub(in crate::pool) fn finish(&self, job: &Arc<Job>) {
        self.strike(job);
        self.estate.retire(job.clone());
    }

    /// Takes a finished job off the books, without giving its memory back.
    pub(in crate::pool) fn strike(&self, job: &Arc<Job>) {
        self.estimates.learn(job);
        job.tell_progress();
        self.untime(job);
        self.see_end(job);
        let control = self.estate.control();
        {
            let mut inner = self.lock();
            inner.jobs.remove(&job.id());
            if !inner.overflow.is_empty() && !job.is_entered() {
                inner.overflow.retain(|waiting| !Arc::ptr_eq(waiting, job));
            }
            if job.demand().is_some() {
                inner.waiting.remove(job);
            }
            job.unpublish(&control);
            inner.refill(&control);
        }
        self.throw_away(2);
    }

    /// Takes in what was measured and counted of a job that is over, where somebody wants to know.
    fn see_end(&self, job: &Arc<Job>) {
        if job.errand().policy.account {
            self.account(job);
        }
        if let Some(gauge) = job.errand().gauge.get() {
            gauge.close(job);
        }
    }

    /// Frees what is done of the oldest few jobs that nobody waits for.
    pub(in crate::pool) fn throw_away(&self, few: usize) {
        let mut done = Vec::new();
        {
            let mut inner = self.lock();
            for _ in 0..few.min(inner.detached.len()) {
                match inner.detached.pop_front() {
                    Some(old) if old.all_done(&mut 0) => done.push(old),
                    Some(old) => inner.detached.push_back(old),
                    None => break,
                }
            }
            for job in &done {
                inner.jobs.remove(&job.id());
                job.unpublish(&self.estate.control());
            }
        }
        for job in done {
            self.untime(&job);
            self.see_end(&job);
            self.estate.retire(job);
        }
    }

    /// Ends a job nobody waits for: now if it is done, else when a later one is detached or the pool ends.
    pub(in crate::pool) fn detach(&self, job: &Arc<Job>) {
        if !self.is_here() {
            return;
        }
        if job.all_done(&mut 0) {
            return self.finish(job);
        }
        self.lock().detached.push_back(job.clone());
        // A few of the oldest each time keep pace with those that are added.
        self.throw_away(4);
    }
}

impl Core {
    /// The ring is full: the watching thread goes on publishing as workers make room.
    fn wait_for_room(self: &Arc<Self>) {
        let control = self.estate.control();
        control.control.room_bell.store(1, SeqCst);
        if !self.start_watching() {
            // No thread is to be had, so this one waits. There is room when a worker has passed an entry.
            while !self.is_hopeless() && !self.refill() {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            return;
        }
        // Workers that passed an entry before they could see the flag.
        bell::ring_word(&control.control.watch_bell);
    }

    /// Publishes jobs that found the ring full, as far as there is room now. `true` when none is left.
    pub(in crate::pool) fn refill(&self) -> bool {
        let control = self.estate.control();
        let mut inner = self.lock();
        let waiting = |inner: &Inner| inner.overflow.len() + inner.waiting.len();
        let before = waiting(&inner);
        inner.refill(&control);
        let left = waiting(&inner);
        let published = before - left;
        if left == 0 {
            control.control.room_bell.store(0, SeqCst);
        }
        drop(inner);
        if published > 0 {
            control.wake(published);
        }
        left == 0
    }
}

impl Inner {
    fn enter(&mut self, control: &ControlView<'_>, job: Arc<Job>) {
        if let Some(demand) = job.demand() {
            let rank = job.rank(|| admission::rank(demand.priority, self.next_number()));
            self.waiting.push(rank, job);
            return self.fill_lanes(control);
        }
        if self.overflow.is_empty()
            && let Some(seq) = control.publish(job.id())
        {
            job.note_entry(seq);
        } else {
            self.overflow.push_back(job);
        }
    }

    /// Publishes a job again that has free chunks which its old place in the ring may have been passed with.
    pub(in crate::pool) fn enter_again(&mut self, control: &ControlView<'_>, job: &Arc<Job>) {
        self.enter(control, job.clone());
    }

    fn next_number(&mut self) -> u64 {
        self.laned += 1;
        self.laned
    }

    /// Has those stand in lanes whose turn it is.
    fn fill_lanes(&mut self, control: &ControlView<'_>) {
        while !self.waiting.is_empty() {
            if control.has_vacant_lane() {
                let Some((_, job)) = self.waiting.take(|class| control.lanes_of(class) > 0) else { return };
                // Over before there was room? Its memory may go with this.
                if self.jobs.contains_key(&job.id()) {
                    self.stand_in_lane(control, &job);
                }
                continue;
            }
            // All are taken: by some that come later, or that compete for the same thing where another waits for something else?
            let best = self.waiting.first_rank().unwrap_or(u64::MAX);
            let neglected = self.waiting.has_class_without(|class| control.lanes_of(class) > 0);
            let Some(entry) = control.dispensable_lane(if neglected { 0 } else { best }) else { return };
            if let Some(job) = control.take_out_of_lane(entry).and_then(|id| self.jobs.get(&id)) {
                self.waiting.push(job.rank(|| best), job.clone());
            }
        }
    }

    fn stand_in_lane(&mut self, control: &ControlView<'_>, job: &Arc<Job>) {
        let (Some(demand), number) = (job.demand(), self.next_number()) else { return };
        let rank = job.rank(|| admission::rank(demand.priority, number));
        match control.publish_in_lane(job.id(), demand, rank, number) {
            Some(entry) => job.note_entry(entry),
            None => self.waiting.push(rank, job.clone()),
        }
    }

    pub(in crate::pool) fn refill(&mut self, control: &ControlView<'_>) {
        self.fill_lanes(control);
        while let Some(job) = self.overflow.front() {
            if !self.jobs.contains_key(&job.id()) {
                self.overflow.pop_front();
                continue;
            }
            let Some(seq) = control.publish(job.id()) else { break };
            job.note_entry(seq);
            self.overflow.pop_front();
        }
    }
}
