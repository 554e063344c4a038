//! What a running task says, and what is written down of its items, in the killer's hands.
//!
//! Unsafe is that emitted values are read, which is only done with those that were found on a job's list, and with a check.
#![allow(unsafe_code)]

use super::*;
use crate::pool::layout::{LastNote, Told};

/// Where the last of many notes of an item stands.
#[derive(Debug, Clone, Copy)]
pub struct LastPlace(&'static LastNote);

impl LastPlace {
    /// Writes over it.
    pub fn write(&self, text: &str) {
        self.0.write(text);
    }
}

impl Table {
    /// As [`Table::lay`], with a record of each item.
    pub fn lay_recorded(arena: crate::testing::Arena, items: usize, chunk: usize) -> Table {
        let policy = Policy { account: true, ..Policy::default() };
        Table::squares(arena.inner(), square, items, chunk, policy)
    }

    /// Item `item` notes something.
    pub fn note(&self, arena: crate::testing::Arena, item: usize, text: &str) {
        layout::push_note(arena.inner(), &self.job().view(), item, text).expect("memory for a note");
    }

    /// Item `item` emits something.
    pub fn emit(&self, arena: crate::testing::Arena, item: usize, value: &Vec<String>) {
        layout::push_value(arena.inner(), &self.job().view(), item, value).expect("memory for a value");
    }

    /// A place for the last note of item `item`.
    pub fn last_place(&self, arena: crate::testing::Arena, item: usize) -> LastPlace {
        LastPlace(layout::push_last(arena.inner(), &self.job().view(), item).expect("memory for a note"))
    }

    /// All that was said, oldest first.
    pub fn told(&self) -> Vec<String> {
        let (job, arena, mut all) = (self.job().view(), self.job().arena(), Vec::new());
        layout::told(arena, &job, layout::newest(&job), 0, |item, told| {
            all.push(match told {
                Told::Note(text) => format!("{item}: {text}"),
                Told::Value { reader, slot } => {
                    // SAFETY: it is on the job's list, and checked.
                    let value = unsafe { layout::read_value(arena, reader, slot, true) };
                    let value = value.and_then(Result::ok).and_then(|value| value.downcast::<Vec<String>>().ok());
                    value.map_or_else(|| "spoiled".to_owned(), |value| format!("{item}: {value:?}"))
                }
            });
        });
        all.reverse();
        all
    }

    /// Items that are done, with a value, and of which it is not written down when they began and ended, and where.
    pub fn without_record(&self) -> Vec<usize> {
        let (ends, job) = (self.ends(), self.job().view());
        let is_bare = |item: &usize| {
            let record = job.records[*item].read();
            record.began == 0 || record.ended < record.began || record.worker == 0
        };
        (0..ends.len()).filter(|item| ends[*item].starts_with('=')).filter(is_bare).collect()
    }
}
