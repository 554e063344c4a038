//! What is known of the items of a job when they are over: why some have no value, what they noted and wrote.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering::*;

use super::errand::Ending;
use super::{Job, window};
use crate::executor::Ran;
use crate::pool::layout::{self, Told, attention};
use crate::pool::protocol::claim::Chunk;
use crate::seeing::output::Key;
use crate::sys::clock;
use crate::task::{TaskError, TaskFault, TaskOutput};

impl Job {
    /// What was measured of an item that is done.
    pub(in crate::pool) fn ran(&self, item: usize) -> Option<Ran> {
        let read = self.view().records.get(item)?.read();
        if read.began == 0 {
            return None;
        }
        // It ended with its worker, just now.
        let ended = if read.ended == 0 { clock::monotonic_nanos() } else { read.ended };
        let before = if self.is_suspect() { self.losses().tries.get(&item).copied().unwrap_or(0) } else { 0 };
        Some(Ran { nanos: ended.saturating_sub(read.began), worker: read.worker, tries: before + 1 })
    }

    /// How many items are over without a value.
    pub(in crate::pool) fn count_lost(&self) -> usize {
        if self.view().header.faults.load(Acquire) == 0 {
            return self.losses().lost.len();
        }
        let mut items: HashSet<usize> =
            layout::faults(self.arena(), &self.view()).iter().map(|fault| fault.item).collect();
        items.extend(self.losses().lost.keys());
        items.len()
    }

    /// The input of an item in short.
    pub(in crate::pool) fn show_input(&self, item: usize) -> Option<String> {
        // Objects that an input refers to may be gone; and a worker that died may have written anywhere.
        let is_there = self.view().header.lent.load(Relaxed) == 0;
        is_there.then(|| window::show_input(self.errand.entry, self, item, self.is_suspect())).flatten()
    }

    /// The items that have no value, with the reasons and with what is known of them beside. Complete for chunks that are done.
    pub(in crate::pool) fn failures(&self) -> BTreeMap<usize, TaskError> {
        let mut failures = self.bare_failures();
        if failures.is_empty() {
            return failures;
        }
        let mut notes = self.notes();
        let output = self.errand.output.get();
        output.iter().for_each(|output| output.sync());
        for (item, error) in &mut failures {
            let output = output.and_then(|output| output.output(self.key(*item)));
            if notes.contains_key(item) || output.is_some() {
                error.change_context(|context| {
                    context.having(|seen| {
                        seen.notes = notes.remove(item).unwrap_or_default();
                        seen.output = output.map(Arc::new);
                    })
                });
            }
        }
        failures
    }

    /// Under which the output of an item is kept.
    fn key(&self, item: usize) -> Key {
        self.first.map_or(Key::MAX, |first| (first + item) as Key)
    }

    /// What is known of the output of an item that is over.
    pub(in crate::pool) fn output(&self, item: usize) -> Option<TaskOutput> {
        let store = self.errand.output.get()?;
        store.sync();
        store.output(self.key(item))
    }

    /// Results of this job are about to be handed out: their output is complete from here on.
    pub(in crate::pool) fn read_output(&self) {
        self.errand.output.get().iter().for_each(|output| output.sync());
    }

    /// The results of these items are about to be handed out: so is their output.
    pub(in crate::pool) fn hand_over(&self, items: std::ops::Range<usize>) {
        let Some(store) = self.errand.output.get().filter(|_| !items.is_empty()) else { return };
        let last = self.key(items.end - 1);
        let mut written = store.written(self.key(items.start)..last);
        written.push(last);
        written.into_iter().for_each(|key| store.hand_over(key));
    }

    fn bare_failures(&self) -> BTreeMap<usize, TaskError> {
        let view = self.view();
        let losses = self.losses();
        let mut failures: BTreeMap<usize, TaskError> = layout::faults(self.arena(), &view)
            .into_iter()
            .map(|fault| {
                let context = self.context(fault.item);
                let before = losses.tries.get(&fault.item).copied().unwrap_or(0);
                (fault.item, TaskFault::decode(&fault.bytes).into_error(context, fault.worker, before + 1))
            })
            .collect();
        for (item, error) in &losses.lost {
            failures.entry(*item).or_insert_with(|| error.clone());
        }
        for (chunk, word) in view.words.iter().enumerate() {
            let Chunk::Done { end } = Chunk::load(word, SeqCst) else { continue };
            let range = view.range(chunk);
            for item in range.start + end..range.end {
                let why = || match &losses.why {
                    Some(why) => why.clone(),
                    // Its worker stopped it, and this process has not seen that yet.
                    None => self.errand.ending_by_failures().unwrap_or(Ending::Cancelled),
                };
                failures.entry(item).or_insert_with(|| why().error(self.context(item)));
            }
        }
        failures
    }

    /// The items of a range that were lost with their workers, the task of a program that each was at, and why.
    pub(in crate::pool) fn lost_in(&self, items: std::ops::Range<usize>) -> Vec<(usize, u32, TaskError)> {
        if self.losses().lost.range(items.clone()).next().is_none() {
            return Vec::new();
        }
        let failures = self.failures();
        let losses = self.losses();
        let stage = |item: &usize| losses.stages.get(item).copied().unwrap_or(0);
        let lost =
            losses.lost.range(items).filter_map(|(item, _)| Some((*item, stage(item), failures.get(item)?.clone())));
        lost.collect()
    }

    /// Why chunks of this job were given up.
    pub(in crate::pool) fn why_given_up(&self) -> Ending {
        // Its worker stopped it, and this process may not have seen that yet.
        let why = self.losses().why.clone();
        why.or_else(|| self.errand.ending_by_failures()).unwrap_or(Ending::Cancelled)
    }

    /// What the runs of these items noted, oldest first.
    pub(in crate::pool) fn notes(&self) -> BTreeMap<usize, Vec<String>> {
        let mut notes: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        let (view, arena) = (self.view(), self.arena());
        layout::told(arena, &view, layout::newest(&view), 0, |item, told| {
            if let Told::Note(text) = told {
                notes.entry(item).or_default().push(text);
            }
        });
        notes.values_mut().for_each(|notes| notes.reverse());
        notes
    }

    /// The first item's error that is not for the sake of another's.
    pub(in crate::pool) fn first_cause(&self) -> Option<TaskError> {
        self.failures().into_values().find(|error| !error.is_stopped())
    }

    /// Did every item so far get its value?
    pub(in crate::pool) fn is_clean(&self) -> bool {
        let header = self.view().header;
        // A worker may have stopped it without this process knowing yet.
        let stopped = self.cancelled.load(SeqCst) || header.attention.load(SeqCst) & attention::STOP != 0;
        !stopped && header.faults.load(Acquire) == 0 && self.losses().lost.is_empty()
    }

    /// Did a worker die in here? Then what it wrote is checked before it is read.
    pub(in crate::pool) fn is_suspect(&self) -> bool {
        self.crashed.load(SeqCst)
    }
}
