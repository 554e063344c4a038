//! Calls that all ranks make together, with values of any type.
//!
//! Only [`bcast`](Comm::bcast) and the barrier are the library's own; the others are made of messages on a communicator that the program does
//! not see, as Python's mpi4py does it for objects. Reductions go along a binary tree that keeps the order of ranks, so the operation need
//! not be commutative.

use offspring::Message;

use crate::comm::Comm;
use crate::object::{Incoming, Outgoing, refused};
use crate::request::SendRequest;
use crate::{MpiError, Result, sys};

/// What a root sends instead of a length when its value cannot be written: the others must not wait for it.
const FAILED: u64 = u64::MAX;

impl Comm {
    fn give<T: Message>(&self, value: &T, to: usize, step: i32) -> Result<()> {
        Outgoing::of(self, value)?.send(&self.raw, self.raw.inner, self.rank_of(to)?, step)
    }

    fn begin_to_give<T: Message>(&self, value: &T, to: usize, step: i32) -> Result<SendRequest> {
        SendRequest::begin(&self.raw, self.raw.inner, Outgoing::of(self, value)?, self.rank_of(to)?, step)
    }

    fn take<T: Message>(&self, from: usize, step: i32) -> Result<T> {
        Incoming::receive(self, self.raw.inner, self.rank_of(from)?, step)?.value()
    }

    fn given<T>(&self, value: Option<T>, root: usize, what: &str) -> Result<T> {
        value.ok_or_else(|| MpiError::InvalidInput(format!("{what}: rank {root} is the root and must give a value")))
    }

    /// The value that rank `root` gives, on every rank. What the others give is not looked at: they pass `None`.
    pub fn bcast<T: Message>(&self, value: Option<T>, root: usize) -> Result<T> {
        let raw_root = self.rank_of(root)?;
        let mut buffer = self.buffers.take()?;
        if self.rank() == root {
            let written = match &value {
                Some(value) => buffer.put(value).map_err(refused),
                None => self.given(None::<()>, root, "bcast"),
            };
            let len = written.as_ref().map_or(FAILED, |()| buffer.bytes().len() as u64);
            sys::broadcast(self.raw.inner, &mut len.to_le_bytes(), raw_root)?;
            written?;
            sys::broadcast(self.raw.inner, buffer.bytes_with(0).map_err(refused)?, raw_root)?;
            return self.given(value, root, "bcast");
        }
        let mut len = [0; 8];
        sys::broadcast(self.raw.inner, &mut len, raw_root)?;
        if u64::from_le_bytes(len) == FAILED {
            return Err(MpiError::NotSendable(format!("rank {root} could not send its value: its own error says why")));
        }
        let room = buffer.room(u64::from_le_bytes(len) as usize).map_err(refused)?;
        sys::broadcast(self.raw.inner, room, raw_root)?;
        buffer.get().map_err(refused)
    }

    /// Value number N of those that rank `root` gives, on rank N. The others pass `None`.
    #[doc(alias = "Scatter")]
    pub fn scatter<T: Message>(&self, values: Option<Vec<T>>, root: usize) -> Result<T> {
        if self.rank() != root {
            return self.take(root, 1);
        }
        let values = self.given(values, root, "scatter")?;
        if values.len() != self.size() {
            return Err(MpiError::InvalidInput(format!("scatter: {} values for {} ranks", values.len(), self.size())));
        }
        let mut mine = None;
        let mut sendings = Vec::new();
        for (to, value) in values.into_iter().enumerate() {
            if to == root {
                mine = Some(value);
            } else {
                sendings.push(self.begin_to_give(&value, to, 1)?);
            }
        }
        sendings.iter_mut().try_for_each(SendRequest::wait)?;
        self.given(mine, root, "scatter")
    }

    /// The values of all ranks, in their order, on rank `root`; `None` on the others.
    #[doc(alias = "Gather")]
    pub fn gather<T: Message>(&self, value: T, root: usize) -> Result<Option<Vec<T>>> {
        if self.rank() != root {
            self.give(&value, root, 2)?;
            return Ok(None);
        }
        let mut mine = Some(value);
        let values = (0..self.size()).map(|from| match mine.take_if(|_| from == root) {
            Some(value) => Ok(value),
            None => self.take(from, 2),
        });
        values.collect::<Result<Vec<T>>>().map(Some)
    }

    /// The values of all ranks, in their order, on every rank.
    #[doc(alias = "Allgather")]
    pub fn allgather<T: Message>(&self, value: T) -> Result<Vec<T>> {
        self.bcast(self.gather(value, 0)?, 0)
    }

    /// Gives value number N to rank N, and returns what each rank gave to this one.
    #[doc(alias = "Alltoall")]
    pub fn alltoall<T: Message>(&self, values: Vec<T>) -> Result<Vec<T>> {
        if values.len() != self.size() {
            return Err(MpiError::InvalidInput(format!("alltoall: {} values for {} ranks", values.len(), self.size())));
        }
        let mut mine = None;
        let mut sendings = Vec::new();
        for (to, value) in values.into_iter().enumerate() {
            if to == self.rank() {
                mine = Some(value);
            } else {
                sendings.push(self.begin_to_give(&value, to, 3)?);
            }
        }
        let received = (0..self.size()).map(|from| match mine.take_if(|_| from == self.rank()) {
            Some(value) => Ok(value),
            None => self.take(from, 3),
        });
        let received = received.collect::<Result<Vec<T>>>()?;
        sendings.iter_mut().try_for_each(SendRequest::wait)?;
        Ok(received)
    }

    /// The values of all ranks, combined in the order of ranks, on rank `root`; `None` on the others. `op` must be associative.
    pub fn reduce<T: Message>(&self, value: T, op: impl Fn(T, T) -> T, root: usize) -> Result<Option<T>> {
        self.rank_of(root)?;
        let (rank, size) = (self.rank(), self.size());
        let mut combined = value;
        let mut step = 1;
        while step < size {
            if rank % (2 * step) != 0 {
                self.give(&combined, rank - step, 4)?;
                // Its part is done, unless it is the root.
                return if rank == root { self.take(0, 5).map(Some) } else { Ok(None) };
            }
            if rank + step < size {
                combined = op(combined, self.take(rank + step, 4)?);
            }
            step *= 2;
        }
        if root == 0 {
            return Ok(Some(combined));
        }
        self.give(&combined, root, 5)?;
        Ok(None)
    }

    /// The values of all ranks, combined in the order of ranks, on every rank. `op` must be associative.
    pub fn allreduce<T: Message>(&self, value: T, op: impl Fn(T, T) -> T) -> Result<T> {
        self.bcast(self.reduce(value, op, 0)?, 0)
    }

    /// The values of the ranks up to and with this one, combined in their order.
    #[doc(alias = "Scan")]
    #[doc(alias = "exscan")]
    pub fn scan<T: Message>(&self, value: T, op: impl Fn(T, T) -> T) -> Result<T> {
        let combined = match self.rank() {
            0 => value,
            rank => op(self.take(rank - 1, 6)?, value),
        };
        if self.rank() + 1 < self.size() {
            self.give(&combined, self.rank() + 1, 6)?;
        }
        Ok(combined)
    }
}
