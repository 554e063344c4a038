//! What is kept of the output of a batch or a call, in the pool's process.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::OutputMode;
use super::service;
use super::source::Sources;
use crate::task::{KeptOutput, TaskOutput};

/// An item's index in its batch, or [`u64::MAX`] for a single call.
pub(crate) type Key = u64;

/// Told of a task's output when its result is handed out.
#[derive(Clone)]
pub(crate) struct Hear(pub(crate) Arc<dyn Fn(Option<usize>, &TaskOutput) + Send + Sync>);

impl fmt::Debug for Hear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hear")
    }
}

/// The output of one batch or call.
#[derive(Debug)]
pub(crate) struct Store {
    /// Names it in marks; not 0.
    number: u64,
    pub(super) mode: OutputMode,
    /// The task, for tags.
    pub(super) task: Arc<str>,
    /// Bytes that are kept of each stream of a task.
    limit: usize,
    hear: Option<Hear>,
    sources: Weak<Sources>,
    /// Where it was made: a `fork` that the program makes itself has a copy, which is to pass on nothing.
    process: u32,
    tasks: Mutex<BTreeMap<Key, Task>>,
}

#[derive(Debug, Default)]
struct Task {
    streams: [Buffer; 2],
    /// It was passed on, and told.
    is_out: bool,
}

impl Task {
    fn output(&self) -> TaskOutput {
        let [stdout, stderr] = &self.streams;
        TaskOutput { stdout: stdout.kept(), stderr: stderr.kept() }
    }
}

/// The beginning and the end of a stream.
#[derive(Debug, Default)]
struct Buffer {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    cut: u64,
}

impl Buffer {
    fn push(&mut self, bytes: &[u8], limit: usize) {
        let (first, last) = (limit.div_ceil(2), limit / 2);
        let (head, rest) = bytes.split_at(bytes.len().min(first.saturating_sub(self.head.len())));
        self.head.extend_from_slice(head);
        // Only the end of what is longer than the room.
        let (skipped, rest) = rest.split_at(rest.len().saturating_sub(last));
        let excess = (self.tail.len() + rest.len()).saturating_sub(last).min(self.tail.len());
        self.tail.drain(..excess);
        self.tail.extend(rest);
        self.cut += (skipped.len() + excess) as u64;
    }

    fn kept(&self) -> KeptOutput {
        let mut bytes = self.head.clone();
        let (front, back) = self.tail.as_slices();
        bytes.extend_from_slice(front);
        bytes.extend_from_slice(back);
        KeptOutput { bytes, cut: self.cut, cut_at: self.head.len() }
    }
}

static STORES: Mutex<Option<HashMap<u64, Weak<Store>>>> = Mutex::new(None);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store {
    pub(crate) fn new(
        mode: OutputMode,
        task: Arc<str>,
        limit: usize,
        hear: Option<Hear>,
        sources: &Arc<Sources>,
    ) -> Arc<Store> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let number = NEXT.fetch_add(1, Relaxed);
        let (sources, process, tasks) = (Arc::downgrade(sources), std::process::id(), Mutex::default());
        let store = Arc::new(Store { number, mode, task, limit, hear, sources, process, tasks });
        lock(&STORES).get_or_insert_default().insert(number, Arc::downgrade(&store));
        store
    }

    /// The store of this number, as long as there is one.
    pub(super) fn find(number: u64) -> Option<Arc<Store>> {
        lock(&STORES).as_ref()?.get(&number)?.upgrade()
    }

    /// Its number in marks.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Adds what a task has written.
    pub(super) fn push(&self, key: Key, stream: usize, bytes: &[u8]) {
        lock(&self.tasks).entry(key).or_default().streams[stream].push(bytes, self.limit);
    }

    /// Reads all that has been written so far.
    pub(crate) fn sync(&self) {
        if let Some(sources) = self.sources.upgrade() {
            sources.sync();
        }
    }

    /// What is kept of the output of a task; `None` if it has written nothing.
    pub(crate) fn output(&self, key: Key) -> Option<TaskOutput> {
        Some(lock(&self.tasks).get(&key)?.output()).filter(|output| !output.is_empty())
    }

    /// The tasks among these that have written something.
    pub(crate) fn written(&self, keys: std::ops::Range<Key>) -> Vec<Key> {
        lock(&self.tasks).range(keys).map(|(key, _)| *key).collect()
    }

    /// The result of this task is about to be handed out: passes on what is to be passed on then, once. In the caller's thread.
    pub(crate) fn hand_over(&self, key: Key) {
        if !self.mode.is_kept() {
            return;
        }
        let is_new = match lock(&self.tasks).get_mut(&key) {
            Some(task) => !std::mem::replace(&mut task.is_out, true),
            None => false,
        };
        let Some(output) = self.output(key).filter(|_| is_new) else { return };
        if self.mode == OutputMode::Ordered {
            pass_on(&output);
        }
        if let Some(Hear(hear)) = &self.hear {
            hear(usize::try_from(key).ok().filter(|_| key != Key::MAX), &output);
        }
        // Nobody can ask for that of an item any more; of a call, its handle may.
        if key != Key::MAX {
            lock(&self.tasks).remove(&key);
        }
    }
}

/// Writes what a task wrote to where it would have gone.
fn pass_on(output: &TaskOutput) {
    let texts = [output.stdout_text(), output.stderr_text()];
    let whole = if output.cut() > 0 {
        texts.each_ref().map(|text| text.as_bytes())
    } else {
        [output.stdout(), output.stderr()]
    };
    service::write_whole(&[(1, whole[0]), (2, whole[1])]);
}

impl Drop for Store {
    /// What was not handed out goes on all the same, where it is to be passed on.
    fn drop(&mut self) {
        if self.process != std::process::id() {
            return;
        }
        if let Some(stores) = &mut *lock(&STORES) {
            stores.remove(&self.number);
        }
        if self.mode == OutputMode::Ordered {
            let tasks = self.tasks.get_mut().unwrap_or_else(PoisonError::into_inner);
            for task in tasks.values().filter(|task| !task.is_out) {
                pass_on(&task.output());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_keeps_the_beginning_and_the_end_and_counts_the_rest() {
        for part in 1..40 {
            let all: Vec<u8> = (0..=255).collect();
            let mut buffer = Buffer::default();
            all.chunks(part).for_each(|bytes| buffer.push(bytes, 21));
            let kept = buffer.kept();
            assert_eq!((kept.cut, kept.cut_at), (256 - 21, 11), "{part}");
            assert_eq!(kept.bytes, [&all[..11], &all[246..]].concat());
        }
        let mut short = Buffer::default();
        short.push(b"twelve bytes", 12);
        assert_eq!((short.kept().cut, &short.kept().bytes[..]), (0, &b"twelve bytes"[..]));
        short.push(b"x", 0);
        assert_eq!(short.kept().cut, 7);
    }
}
