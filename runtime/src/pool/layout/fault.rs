//! Fault records: why an item has no value, as its worker wrote it down.

use std::mem::size_of;
use std::sync::atomic::Ordering;

use super::JobView;
use crate::arena::{Arena, ArenaError, mutant};
use crate::pool::protocol::mutants;

/// Why an item has no value, as its worker wrote it down. Followed by `len` bytes.
#[repr(C)]
struct FaultRecord {
    next: u64,
    item: u64,
    worker: u64,
    len: u64,
}

/// A fault record, copied out.
#[derive(Debug)]
pub(in crate::pool) struct Fault {
    pub(in crate::pool) item: usize,
    pub(in crate::pool) worker: u32,
    pub(in crate::pool) bytes: Vec<u8>,
}

/// Writes a fault record into a new child of the job's block and pushes it on the job's list.
pub(in crate::pool) fn push_fault(arena: &'static Arena, job: &JobView<'_>, fault: &Fault) -> Result<(), ArenaError> {
    let block = arena.alloc(size_of::<FaultRecord>() + fault.bytes.len())?;
    let (base, pos) = (block.as_ptr(), block.pos());
    let mut next = job.header.faults.load(Ordering::Acquire);
    let record =
        FaultRecord { next, item: fault.item as u64, worker: fault.worker.into(), len: fault.bytes.len() as u64 };
    // SAFETY: the block is large enough and aligned, and ours alone until the push below.
    unsafe {
        base.cast::<FaultRecord>().write(record);
        base.add(size_of::<FaultRecord>()).copy_from_nonoverlapping(fault.bytes.as_ptr(), fault.bytes.len());
    }
    if mutant(mutants::FAULT_UNOWNED) {
        job.header.faults.swap(pos, Ordering::AcqRel);
        return block.adopt_into(job.id);
    }
    // The job owns the record before its list names it, so the list never names memory that an audit may free.
    block.adopt_into(job.id)?;
    while let Err(now) = job.header.faults.compare_exchange(next, pos, Ordering::AcqRel, Ordering::Acquire) {
        next = now;
        // SAFETY: as above; the job keeps the block alive, and the record is not on the list yet.
        unsafe { (&raw mut (*base.cast::<FaultRecord>()).next).write(next) };
    }
    Ok(())
}

/// The fault records of a job. What a worker may have spoiled ends the walk.
pub(in crate::pool) fn faults(arena: &Arena, job: &JobView<'_>) -> Vec<Fault> {
    let mut found = Vec::new();
    let mut pos = job.header.faults.load(Ordering::Acquire);
    // An item may have two records, if its worker was killed just after it pushed the first; a spoiled list may be a circle.
    let most = job.items().saturating_mul(2).saturating_add(1024);
    while pos != 0 && found.len() < most {
        let Some(at) = arena.at(pos, size_of::<FaultRecord>()) else { break };
        if !at.cast::<FaultRecord>().is_aligned() {
            break;
        }
        // SAFETY: inside the mapping and aligned (just checked); plain numbers, written before the push that we acquired.
        let record = unsafe { at.cast::<FaultRecord>().read() };
        let bytes = pos + size_of::<FaultRecord>() as u64;
        let (Ok(len), Ok(item)) = (usize::try_from(record.len), usize::try_from(record.item)) else { break };
        let Some(bytes) = arena.at(bytes, len) else { break };
        // SAFETY: inside the mapping (just checked).
        let bytes = unsafe { std::slice::from_raw_parts(bytes.as_ptr(), len) }.to_vec();
        if item < job.items() {
            found.push(Fault { item, worker: record.worker as u32, bytes });
        }
        pos = record.next;
    }
    found
}
