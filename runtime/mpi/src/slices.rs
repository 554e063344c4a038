//! Slices of plain data: sent from where they lie to where they are wanted, without being written as messages.
#![allow(unsafe_code)]

use offspring::Plain;

use crate::comm::{Comm, Source, Status, Tag};
use crate::sys::{self, Op, PIECE, Scalar};
use crate::{MpiError, Result};

fn bytes_of<T: Plain>(values: &[T]) -> &[u8] {
    // SAFETY: `Plain` types have no padding and no pointers.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}

fn bytes_of_mut<T: Plain>(values: &mut [T]) -> &mut [u8] {
    // SAFETY: as in `bytes_of`; and any bytes are a valid `Plain` value.
    unsafe { std::slice::from_raw_parts_mut(values.as_mut_ptr().cast(), size_of_val(values)) }
}

impl Comm {
    /// Sends a slice to rank `to`, where [`recv_slice`](Self::recv_slice) receives it.
    #[doc(alias = "Send")]
    pub fn send_slice<T: Plain>(&self, values: &[T], to: usize, tag: u32) -> Result<()> {
        let (to, tag) = (self.rank_of(to)?, Comm::tag_of(tag)?);
        let bytes = bytes_of(values);
        let mut pieces = bytes.chunks_exact(PIECE);
        for piece in &mut pieces {
            sys::send(self.raw.messages, piece, to, tag)?;
        }
        // The last is shorter than a piece, so the receiver knows that it is the last.
        sys::send(self.raw.messages, pieces.remainder(), to, tag)
    }

    /// Receives a slice into the first elements of `values`; how many there are.
    ///
    /// # Errors
    ///
    /// [`MpiError::InvalidInput`] when `values` is too short; the message is lost then.
    #[doc(alias = "Recv")]
    pub fn recv_slice<T: Plain>(
        &self,
        values: &mut [T],
        from: impl Into<Source>,
        tag: impl Into<Tag>,
    ) -> Result<(usize, Status)> {
        let (mut from, mut tag) = (self.source_of(from.into())?, Comm::tags_of(tag.into())?);
        let mut rest = bytes_of_mut(values);
        let mut len = 0;
        loop {
            let room = &mut *rest;
            let found = sys::receive(self.raw.messages, from, tag, |len| {
                let have = room.len();
                room.get_mut(..len).ok_or_else(|| {
                    MpiError::InvalidInput(format!("{len} more bytes are received, and there is room for {have}"))
                })
            })?;
            len += found.len;
            if found.len < PIECE {
                if len % size_of::<T>().max(1) != 0 {
                    return Err(MpiError::NotSendable(format!(
                        "{len} bytes were received, no whole number of elements"
                    )));
                }
                return Ok((len / size_of::<T>().max(1), Status { len, ..found.into() }));
            }
            (from, tag) = (found.source, found.tag);
            rest = &mut rest[PIECE..];
        }
    }

    /// Makes `values` on all ranks what they are on rank `root`; they have the same length everywhere.
    #[doc(alias = "Bcast")]
    pub fn bcast_slice<T: Plain>(&self, values: &mut [T], root: usize) -> Result<()> {
        sys::broadcast(self.raw.messages, bytes_of_mut(values), self.rank_of(root)?)
    }

    /// Combines the numbers of all ranks element by element, in place, on every rank; they are as many everywhere.
    #[doc(alias = "Allreduce")]
    pub fn allreduce_slice<T: Scalar>(&self, values: &mut [T], op: Op) -> Result<()> {
        let from = values.to_vec();
        sys::all_reduce(self.raw.messages, &from, values, op)
    }

    /// Combines the numbers of all ranks element by element; the result on rank `root`, `None` on the others.
    #[doc(alias = "Reduce")]
    pub fn reduce_slice<T: Scalar>(&self, values: &[T], op: Op, root: usize) -> Result<Option<Vec<T>>> {
        let raw_root = self.rank_of(root)?;
        let mut result = (self.rank() == root).then(|| values.to_vec());
        sys::reduce(self.raw.messages, values, result.as_deref_mut(), op, raw_root)?;
        Ok(result)
    }
}
