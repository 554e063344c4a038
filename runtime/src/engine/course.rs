//! A batch or a call of a pool over a network, and its chunks.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::received::Received;
use crate::ErrorKind;
use crate::pool::policy::Policy;
use crate::seeing::progress::{Meter, Reading};
use crate::task::{TaskContext, TaskEntry, TaskError, TaskId};

/// Why what is not done never will be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ending {
    /// Somebody cancelled it, or nobody wants it any more.
    Cancelled,
    /// So many items had failed.
    Stopped { failures: usize },
    /// The pool was closed.
    Closed,
    /// The engine is gone.
    Broken(Arc<str>),
}

impl Ending {
    pub(super) fn error(&self, context: TaskContext) -> TaskError {
        match self {
            Ending::Cancelled => TaskError::Cancelled { context },
            Ending::Stopped { failures } => TaskError::Stopped { context, failures: *failures },
            Ending::Closed => TaskError::PoolClosed { context },
            Ending::Broken(why) => TaskError::NoWorker { context, reason: why.to_string(), kind: ErrorKind::Closed },
        }
    }
}

/// Called when a call is over.
pub(super) type OnOver = Box<dyn FnOnce() + Send>;

/// A batch, or a call.
pub(super) struct Course {
    pub(super) run: u64,
    pub(super) task: TaskId,
    pub(super) entry: &'static TaskEntry,
    pub(super) name: Arc<str>,
    pub(super) policy: Policy,
    /// Nobody waits for it: it ends with the pool.
    pub(super) unwanted: AtomicBool,
    /// Chunks that are done.
    done: AtomicUsize,
    /// Bytes of replies that nobody has taken.
    kept: AtomicUsize,
    /// Whoever waits is woken when so many chunks are done.
    wake_at: AtomicUsize,
    state: Mutex<State>,
    news: Condvar,
    /// Where somebody is told how far it is: the items that are over.
    counts: Option<Arc<Counts>>,
}

#[derive(Debug, Default)]
struct Counts {
    done: AtomicU64,
    failed: AtomicU64,
    retried: AtomicU64,
}

#[derive(Default)]
struct State {
    ending: Option<Ending>,
    failures: usize,
    /// Counts what those who wait should look at.
    changes: u64,
    callbacks: VecDeque<OnOver>,
}

impl fmt::Debug for Course {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Course").field("run", &self.run).field("task", &self.name).finish_non_exhaustive()
    }
}

/// Whoever waits looks this often whether the user has asked the program to end.
const LOOK_EVERY: Duration = Duration::from_millis(200);

impl Course {
    pub(super) fn new(run: u64, (task, entry): (TaskId, &'static TaskEntry), policy: Policy) -> Arc<Course> {
        let counts = policy.progress.is_some().then(Arc::default);
        Arc::new(Course {
            run,
            counts,
            task,
            entry,
            name: entry.name().into(),
            policy,
            unwanted: AtomicBool::new(false),
            done: AtomicUsize::new(0),
            kept: AtomicUsize::new(0),
            wake_at: AtomicUsize::new(usize::MAX),
            state: Mutex::default(),
            news: Condvar::new(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn context(&self, item: Option<usize>) -> TaskContext {
        TaskContext::new(self.name.clone(), item)
    }

    /// Why it was given up, if it was.
    pub(super) fn ending(&self) -> Option<Ending> {
        self.state().ending.clone()
    }

    /// Gives it up; the first reason stands. Whoever waits looks again.
    pub(super) fn end(&self, ending: Ending) {
        let mut state = self.state();
        state.ending.get_or_insert(ending);
        state.changes += 1;
        drop(state);
        self.news.notify_all();
    }

    /// Counts failed items. `true`: they are too many, and it was given up for that just now.
    pub(super) fn note_failures(&self, failures: usize) -> bool {
        let Some(most) = self.policy.on_error.most().filter(|_| failures > 0) else { return false };
        let mut state = self.state();
        state.failures += failures;
        let failures = state.failures;
        let over = failures >= most && state.ending.is_none();
        if over {
            state.ending = Some(Ending::Stopped { failures });
        }
        over
    }

    /// How many failures it can bear yet; `None`: any number.
    pub(super) fn failures_left(&self) -> Option<usize> {
        let most = self.policy.on_error.most()?;
        Some(most.saturating_sub(self.state().failures).max(1))
    }

    /// The error of an item that was not begun.
    pub(super) fn not_begun(&self, context: TaskContext) -> TaskError {
        self.ending().unwrap_or(Ending::Cancelled).error(context)
    }

    /// Has `callback` called when `flight`, the only one of a call, is done; at once, if it is.
    pub(super) fn when_done(&self, flight: &Flight, callback: OnOver) {
        let mut state = self.state();
        state.callbacks.push_back(callback);
        // From now on whoever finishes it looks here.
        self.wake_at.store(0, SeqCst);
        if !flight.is_done() {
            return;
        }
        let callbacks = std::mem::take(&mut state.callbacks);
        drop(state);
        callbacks.into_iter().for_each(|callback| callback());
    }

    /// Begins to tell how far it is, if somebody wants to know.
    pub(super) fn watch(&self) -> Option<Meter> {
        let (watcher, counts) = (self.policy.progress.as_ref()?, self.counts.clone()?);
        let read = move || Reading {
            done: counts.done.load(SeqCst),
            failed: counts.failed.load(SeqCst),
            retried: counts.retried.load(SeqCst),
            workers: Vec::new(),
        };
        Some(Meter::with_gauge(watcher, None, Some(Box::new(read))))
    }

    pub(super) fn is_watched(&self) -> bool {
        self.counts.is_some()
    }

    /// So many items are over, of which so many have failed; so many runs were lost and are tried again.
    pub(super) fn count(&self, done: usize, failed: usize, retried: u64) {
        if let Some(counts) = &self.counts {
            counts.done.fetch_add(done as u64, SeqCst);
            counts.failed.fetch_add(failed as u64, SeqCst);
            counts.retried.fetch_add(retried, SeqCst);
        }
    }

    /// What became of some items is known.
    fn count_piece(&self, piece: &Piece) {
        if self.counts.is_none() {
            return;
        }
        match piece {
            Piece::Reply(reply) => {
                let head = reply.head();
                let items = reply.range().len();
                self.count(items.saturating_sub(head.given_up), head.failures.min(items), head.retried);
            }
            Piece::Lost { why: Lost::Ended(_), .. } => {}
            Piece::Lost { range, why: Lost::Error(_) } => self.count(range.len(), range.len(), 0),
        }
    }

    /// How many chunks are done.
    pub(super) fn done(&self) -> usize {
        self.done.load(SeqCst)
    }

    /// Bytes of replies that nobody has taken.
    pub(super) fn kept(&self) -> usize {
        self.kept.load(SeqCst)
    }

    /// A chunk's replies of so many bytes were taken.
    pub(super) fn note_taken(&self, bytes: usize) {
        self.kept.fetch_sub(bytes, SeqCst);
    }

    fn note_done(&self, bytes: usize) {
        self.kept.fetch_add(bytes, SeqCst);
        let done = self.done.fetch_add(1, SeqCst) + 1;
        if done < self.wake_at.load(SeqCst) {
            return;
        }
        let mut state = self.state();
        state.changes += 1;
        let callbacks = std::mem::take(&mut state.callbacks);
        drop(state);
        self.news.notify_all();
        callbacks.into_iter().for_each(|callback| callback());
    }

    /// Waits until so many chunks are done, until it is given up, or until the deadline.
    ///
    /// The count is looked at after it was said what is waited for, as a chunk counts before it is looked at who waits.
    pub(super) fn wait(&self, deadline: Option<Instant>, done: usize) {
        self.wake_at.store(done, SeqCst);
        let seen = self.state().changes;
        let mut state = self.state();
        while self.done() < done && state.changes == seen {
            let most = deadline
                .map_or(LOOK_EVERY, |deadline| deadline.saturating_duration_since(Instant::now()).min(LOOK_EVERY));
            if most.is_zero() {
                break;
            }
            let (woken, timeout) = self.news.wait_timeout(state, most).unwrap_or_else(PoisonError::into_inner);
            state = woken;
            if timeout.timed_out() {
                break;
            }
        }
        drop(state);
        self.wake_at.store(usize::MAX, SeqCst);
    }
}

/// What became of some items of a chunk.
#[derive(Debug, Clone)]
pub(super) enum Piece {
    /// They were run.
    Reply(Arc<Received>),
    /// They have no results.
    Lost { range: Range<usize>, why: Lost },
}

/// Why not.
#[derive(Debug, Clone)]
pub(super) enum Lost {
    Ended(Ending),
    Error(TaskError),
}

/// One chunk.
pub(super) struct Flight {
    pub(super) course: Arc<Course>,
    /// The slots that are to be run.
    pub(super) range: Range<usize>,
    /// Index of the first slot's item; `None` for a call.
    pub(super) first: Option<usize>,
    done: OnceLock<Vec<Piece>>,
    /// Where it was cut into pieces: how many are left, and those that are there.
    pieces: Mutex<(usize, Vec<Piece>)>,
    /// What it is a piece of.
    whole: Option<Arc<Flight>>,
}

impl fmt::Debug for Flight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flight").field("range", &self.range).field("first", &self.first).finish_non_exhaustive()
    }
}

impl Flight {
    pub(super) fn new(course: &Arc<Course>, range: Range<usize>, first: Option<usize>) -> Arc<Flight> {
        Arc::new(Flight {
            course: course.clone(),
            range,
            first,
            done: OnceLock::new(),
            pieces: Mutex::default(),
            whole: None,
        })
    }

    /// Cuts it into its items.
    pub(super) fn cut(self: &Arc<Flight>) -> Vec<Arc<Flight>> {
        self.pieces.lock().unwrap_or_else(PoisonError::into_inner).0 = self.range.len();
        let piece = |item: usize| Flight {
            course: self.course.clone(),
            range: item..item + 1,
            first: self.first,
            done: OnceLock::new(),
            pieces: Mutex::default(),
            whole: Some(self.clone()),
        };
        self.range.clone().map(|item| Arc::new(piece(item))).collect()
    }

    /// The error's context of the item in a slot.
    pub(super) fn context(&self, slot: usize) -> TaskContext {
        self.course.context(self.first.map(|first| first + slot))
    }

    pub(super) fn is_done(&self) -> bool {
        self.done.get().is_some()
    }

    /// What became of it, in the order of its items; nothing as long as it is not done.
    pub(super) fn outcome(&self) -> &[Piece] {
        self.done.get().map_or(&[], Vec::as_slice)
    }

    /// Says what became of it. Only the first time counts.
    pub(super) fn finish(&self, piece: Piece) {
        if self.is_done() {
            return;
        }
        // Before anybody learns that it is done, and no more is told.
        self.course.count_piece(&piece);
        match &self.whole {
            None => self.settle(vec![piece]),
            Some(whole) => {
                if self.done.set(vec![piece.clone()]).is_err() {
                    return;
                }
                let mut pieces = whole.pieces.lock().unwrap_or_else(PoisonError::into_inner);
                pieces.0 -= 1;
                pieces.1.push(piece);
                if pieces.0 > 0 {
                    return;
                }
                let mut all = std::mem::take(&mut pieces.1);
                drop(pieces);
                all.sort_by_key(|piece| match piece {
                    Piece::Reply(reply) => reply.range().start,
                    Piece::Lost { range, .. } => range.start,
                });
                whole.settle(all);
            }
        }
    }

    fn settle(&self, pieces: Vec<Piece>) {
        let bytes = pieces.iter().map(Piece::bytes).sum();
        if self.done.set(pieces).is_ok() {
            self.course.note_done(bytes);
        }
    }

    /// It was given up.
    pub(super) fn give_up(&self, why: Lost) {
        self.finish(Piece::Lost { range: self.range.clone(), why });
    }
}

impl Piece {
    fn bytes(&self) -> usize {
        match self {
            Piece::Reply(reply) => reply.len(),
            Piece::Lost { .. } => 0,
        }
    }

    pub(super) fn has(&self, slot: usize) -> bool {
        match self {
            Piece::Reply(reply) => reply.range().contains(&slot),
            Piece::Lost { range, .. } => range.contains(&slot),
        }
    }
}

impl Flight {
    /// Bytes of the replies that are kept of it.
    pub(super) fn bytes(&self) -> usize {
        self.outcome().iter().map(Piece::bytes).sum()
    }
}

impl Lost {
    pub(super) fn error(&self, context: TaskContext) -> TaskError {
        match self {
            Lost::Ended(ending) => ending.error(context),
            Lost::Error(error) => match context.item {
                Some(item) => error.clone().with_item(item),
                None => error.clone(),
            },
        }
    }
}
