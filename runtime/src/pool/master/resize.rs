//! More or fewer workers while a pool runs, and the blocks that go with a seat.
//!
//! A pool has address space for all seats that there can be. Workers sit on those below `limit`. When that falls, it is stored first, then
//! the seats beyond are ordered to be left; a worker that has just sat down looks at the limit after it has taken the seat. Both are
//! sequentially consistent, so at least one sees the other.

use std::sync::atomic::Ordering::*;
use std::sync::{Arc, PoisonError};

use super::core::Core;
use super::estate::Estate;
use crate::arena::ArenaError;
use crate::pool::layout::{MAX_SEATS, orders};
use crate::pool::options::hook::Left;
use crate::pool::{Pool, PoolError};
use crate::sys::futex;

impl Pool {
    /// Sets the most workers that run at once, also while they do.
    ///
    /// More are started when there is work for them. Where there are too many, those that are idle end now and those that are busy after
    /// their current chunk of items, each by way of the finalizer; no work is lost. Does not wait for that.
    ///
    /// # Errors
    ///
    /// [`PoolError::InvalidWorkers`], as [`PoolBuilder::build`](crate::PoolBuilder::build).
    ///
    /// # Examples
    ///
    /// ```
    /// use offspring::{Pool, task};
    ///
    /// #[task]
    /// fn square(x: u64) -> u64 {
    ///     x * x
    /// }
    ///
    /// let pool = Pool::builder().workers(1).build()?;
    /// pool.resize(3)?;
    /// assert_eq!(pool.map(square, 0..4)?, [0, 1, 4, 9]);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn resize(&self, workers: usize) -> Result<(), PoolError> {
        if workers == 0 || workers >= MAX_SEATS {
            return Err(PoolError::InvalidWorkers { asked: workers, most: MAX_SEATS - 1 });
        }
        if self.core.is_here() {
            self.core.resize(workers)?;
        }
        Ok(())
    }
}

impl Core {
    fn resize(self: &Arc<Self>, workers: usize) -> Result<(), ArenaError> {
        {
            // Two at once would mix up limit and orders.
            let _inner = self.lock();
            let seats = workers.max(self.estate.seats.load(Acquire));
            self.estate.seats.store(seats, Release);
            self.estate.anchor_seats()?;
            let control = self.estate.control();
            control.control.seats.store(seats as u32, SeqCst);
            control.control.limit.store(workers as u32, SeqCst);
            self.limit.store(workers, SeqCst);
            self.estate.set_permits(self.options.limits.budget.unwrap_or(workers));
            for (at, seat) in control.seats.iter().enumerate() {
                if at < workers {
                    seat.orders.fetch_and(!orders::LEAVE, SeqCst);
                } else if seat.orders.fetch_or(orders::LEAVE, SeqCst) & orders::LEAVE == 0 {
                    control.set_idle(at, false);
                    seat.bell.fetch_add(1, SeqCst);
                    futex::wake(&seat.bell, 1);
                }
            }
        }
        self.hire();
        Ok(())
    }
}

impl Estate {
    /// Gives each seat an anchor that has none, where the workers may have something to leave.
    pub(in crate::pool) fn anchor_seats(&self) -> Result<(), ArenaError> {
        if self.inputs.initializer.is_none() && self.inputs.finalizer.is_none() {
            return Ok(());
        }
        let mut anchors = self.anchors.lock().unwrap_or_else(PoisonError::into_inner);
        let control = self.control();
        let seats = control.seats.len().max(anchors.len());
        anchors.resize_with(seats, || None);
        for (seat, anchor) in control.seats.iter().zip(anchors.iter_mut()) {
            if anchor.is_none() {
                let block = self.arena.alloc(64)?;
                seat.anchor.store(block.id().raw(), Release);
                *anchor = Some(block);
            }
        }
        Ok(())
    }

    /// What the dead worker of seat `at` left.
    pub(in crate::pool) fn take_left(&self, at: usize, worker: u32) -> Option<Left> {
        let mut anchors = self.anchors.lock().unwrap_or_else(PoisonError::into_inner);
        Left::take(&self.control().seats[at], anchors.get_mut(at)?, worker)
    }
}
