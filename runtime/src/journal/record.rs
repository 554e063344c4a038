//! What a journal keeps of one finished item, and how that is written in a segment.
//!
//! A *segment* is what was recorded between two commits: records one after the other, then their checksum. All numbers are little-endian.
//!
//! ```text
//! record   len u32 | key 16 | task u32 | index u64 | outcome u8 | tries u32 | worker u32 | nanos u64 | at u64 | text u32 | text | value
//! segment  record.. | first 16 bytes of the BLAKE3 hash of all before
//! ```
//! `len` counts what follows it.

use std::collections::HashMap;

use crate::sys::clock;

/// Names an item: the first half of a hash of its task, its input, and how many equal ones came before it.
pub(crate) type Key = [u8; 16];

/// What there is by key. They are hashes already; another round spreads them over the table, at next to no cost.
pub(super) type ByKey<V> = HashMap<Key, V, foldhash::fast::RandomState>;

const CHECKSUM: usize = 16;
const FIXED: usize = 16 + 4 + 8 + 1 + 4 + 4 + 8 + 8 + 4;

/// How an item ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It has its value.
    Done,
    /// Its value is an error of the task's own.
    Failed,
    /// It has no value: the task panicked, its process ended, or it took too long.
    Lost,
}

impl Outcome {
    fn from_raw(raw: u8) -> Option<Outcome> {
        [Outcome::Done, Outcome::Failed, Outcome::Lost].into_iter().find(|outcome| *outcome as u8 == raw)
    }
}

/// A record, borrowed from its segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    pub(crate) key: Key,
    /// Number of the task in the journal's table of tasks.
    pub(crate) task: u32,
    /// The item's index in its batch.
    pub(crate) index: u64,
    pub(crate) outcome: Outcome,
    pub(crate) tries: u32,
    /// The process that ran it; 0 where nobody knows.
    pub(crate) worker: u32,
    /// How long it ran; where nobody measured that, from when it was handed out to when its result was there.
    pub(crate) nanos: u64,
    /// Milliseconds since 1970.
    pub(crate) at: u64,
    /// Why it failed.
    pub(crate) text: &'a str,
    /// The bytes of its value, or of what is known of its error.
    pub(crate) value: &'a [u8],
}

/// Now, as records have it.
pub(super) fn now() -> u64 {
    clock::wall_millis()
}

impl<'a> Record<'a> {
    /// Appends the record; `None` if it is too long for one.
    pub(crate) fn write(&self, out: &mut Vec<u8>) -> Option<()> {
        let len = u32::try_from(FIXED + self.text.len() + self.value.len()).ok()?;
        out.reserve(4 + len as usize);
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(&self.key);
        out.extend_from_slice(&self.task.to_le_bytes());
        out.extend_from_slice(&self.index.to_le_bytes());
        out.push(self.outcome as u8);
        out.extend_from_slice(&self.tries.to_le_bytes());
        out.extend_from_slice(&self.worker.to_le_bytes());
        out.extend_from_slice(&self.nanos.to_le_bytes());
        out.extend_from_slice(&self.at.to_le_bytes());
        out.extend_from_slice(&(self.text.len() as u32).to_le_bytes());
        out.extend_from_slice(self.text.as_bytes());
        out.extend_from_slice(self.value);
        Some(())
    }

    /// The record at the start of `bytes`, and what is behind it; `None` where none is.
    pub(crate) fn read(bytes: &'a [u8]) -> Option<(Record<'a>, &'a [u8])> {
        let (len, rest) = bytes.split_first_chunk::<4>()?;
        let (body, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
        let mut body = body;
        let key = *take::<16>(&mut body)?;
        let task = u32::from_le_bytes(*take(&mut body)?);
        let index = u64::from_le_bytes(*take(&mut body)?);
        let outcome = Outcome::from_raw(take::<1>(&mut body)?[0])?;
        let tries = u32::from_le_bytes(*take(&mut body)?);
        let worker = u32::from_le_bytes(*take(&mut body)?);
        let nanos = u64::from_le_bytes(*take(&mut body)?);
        let at = u64::from_le_bytes(*take(&mut body)?);
        let text = u32::from_le_bytes(*take(&mut body)?);
        let (text, value) = body.split_at_checked(text as usize)?;
        let text = std::str::from_utf8(text).ok()?;
        Some((Record { key, task, index, outcome, tries, worker, nanos, at, text, value }, rest))
    }
}

fn take<'a, const N: usize>(bytes: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (first, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(first)
}

/// Ends a segment.
pub(super) fn seal(segment: &mut Vec<u8>) {
    let hash = blake3::hash(segment);
    segment.extend_from_slice(&hash.as_bytes()[..CHECKSUM]);
}

/// The records of a segment; `None` if it is not as it was sealed.
pub(super) fn unseal(segment: &[u8]) -> Option<&[u8]> {
    let (records, checksum) = segment.split_at_checked(segment.len().checked_sub(CHECKSUM)?)?;
    (blake3::hash(records).as_bytes()[..CHECKSUM] == *checksum).then_some(records)
}

/// The records in the unsealed bytes of a segment, each with its offset; `None` where something else lies between.
pub(super) fn records(bytes: &[u8]) -> impl Iterator<Item = Option<(usize, Record<'_>)>> {
    let mut rest = Some(bytes);
    std::iter::from_fn(move || {
        let left = rest.filter(|left| !left.is_empty())?;
        let offset = bytes.len() - left.len();
        let found = Record::read(left);
        rest = found.map(|(_, rest)| rest);
        Some(found.map(|(record, _)| (offset, record)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_and_damaged_segments_do_not() {
        let record = |index: u64| Record {
            key: [index as u8; 16],
            task: 1,
            index,
            outcome: Outcome::Failed,
            tries: 2,
            worker: 77,
            nanos: 5,
            at: now(),
            text: "why",
            value: &[1, 2, 3],
        };
        let mut segment = Vec::new();
        (0..3).for_each(|index| record(index).write(&mut segment).unwrap());
        seal(&mut segment);
        let found: Vec<u64> = records(unseal(&segment).unwrap()).map(|found| found.unwrap().1.index).collect();
        assert_eq!(found, [0, 1, 2]);
        for at in 0..segment.len() {
            let mut damaged = segment.clone();
            damaged[at] ^= 0x10;
            assert_eq!(unseal(&damaged), None);
            assert_eq!(unseal(&segment[..at]), None);
        }
        // Without the checksum a record that is cut off is told from the end all the same.
        let cut = &unseal(&segment).unwrap()[..100];
        assert_eq!(records(cut).map(|found| found.is_some()).collect::<Vec<_>>(), [true, false]);
    }
}
