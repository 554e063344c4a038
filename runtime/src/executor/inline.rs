//! Tasks in the calling process: for debugging and for tests.
#![allow(unsafe_code)]

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::{HashSet, VecDeque};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Executor, Kept, Lost, Part, ProgramOptions};
use crate::journal::{Admitted, Run};
use crate::message::{self, EncodeError, Encoder, HeapSink, Pin, Sink, SinkSpan};
use crate::pool::policy::Policy;
use crate::seeing::progress::Meter;
use crate::task::{
    Accept, CurrentTask, Emission, EmitError, Fused, Home, Program, Role, RunCtx, Runner, Slots, StateFn, TaskContext,
    TaskEntry, TaskError, TaskFault, TaskFn, WorkerState, install_panic_hook, keep_note, registry, within,
};
use crate::{CancelToken, ErrorKind, RunOptions, TaskHandle};

/// An [`Executor`] that runs each task in the calling thread, one after the other.
///
/// Inputs and results take the same way through messages as in a [`Pool`](crate::Pool), and errors have the same types, so
/// a debugger sees what a worker would. There is no isolation: a task that crashes takes the program along.
///
/// ```
/// use offspring::{Executor, Inline, task};
///
/// #[task]
/// fn square(x: u64) -> u64 {
///     x * x
/// }
///
/// assert_eq!(Inline::new().map(square, 0..4)?, [0, 1, 4, 9]);
/// # Ok::<(), offspring::Error>(())
/// ```
///
/// Threads can share it, and a task can use the one that runs it.
#[doc(alias = "multiprocessing.dummy")]
#[derive(Debug, Default)]
pub struct Inline {
    maker: Option<Maker>,
    states: States,
    /// What chunks of flows give is passed by value, as an engine over a network passes it.
    apart: bool,
}

/// What state is made of: a constructor, and its encoded input.
#[derive(Debug)]
struct Maker {
    entry: &'static TaskEntry,
    input: Slots,
    /// Keeps what of the input lies outside its slot. Never used again.
    _spilled: Encoder,
}

/// The states that no call has in its hands: as in a pool, one for each of the calls that ran at the same time.
///
/// They are lent by being taken out, so that a task that runs tasks inline waits for nothing.
#[derive(Debug, Default)]
struct States(Mutex<Vec<WorkerState>>);

// SAFETY: after `with_state` the slot and what the encoder spilled are only read, as input slots are by many workers at a time, and the
// encoder is only dropped; its sink and all else of it are memory of the heap. Nothing in here belongs to one thread.
unsafe impl Send for Maker {}
// SAFETY: as above.
unsafe impl Sync for Maker {}
// SAFETY: a made state was made by the constructor that `with_state` was given, whose result is `Send` by its bounds; without one
// nothing is ever made. The pointer in it is to the input of `Maker`, which may be read by any thread.
unsafe impl Send for States {}
// SAFETY: the mutex lets one thread at a time take a state out or put one back, and whoever took it has it alone.
unsafe impl Sync for States {}

/// The task or state constructor that `F` is, or the panic that names the cure when it is none.
#[track_caller]
fn task_of<F: 'static>(role: Role) -> &'static TaskEntry {
    match registry::entry_of::<F>(role) {
        Ok((_, entry)) => entry,
        Err(error) => panic!("{error}"),
    }
}

impl States {
    fn lock(&self) -> MutexGuard<'_, Vec<WorkerState>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inline {
    /// An inline executor.
    pub fn new() -> Inline {
        Inline::default()
    }

    /// An inline executor with a state that its tasks borrow, as [`PoolBuilder::state`](crate::PoolBuilder::state) has it.
    ///
    /// The state is made when a task first borrows it, and anew after a task panicked with it in its hands. Calls that run at
    /// the same time, in several threads or one in the other, have a state each, as the workers of a pool have.
    ///
    /// ```
    /// use offspring::{Executor, Inline, task};
    ///
    /// struct Counter(u64);
    ///
    /// #[task(state)]
    /// fn counter(start: u64) -> Counter {
    ///     Counter(start)
    /// }
    ///
    /// #[task]
    /// fn count(counter: &mut Counter, by: u64) -> u64 {
    ///     counter.0 += by;
    ///     counter.0
    /// }
    ///
    /// let inline = Inline::with_state(counter, 100)?;
    /// assert_eq!(inline.map(count, [1, 2])?, [101, 103]);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`TaskError::NotSendable`] when the input cannot be made into a message. A constructor that fails is told to each task
    /// that borrows the state: [`TaskError::NoState`].
    ///
    /// # Panics
    ///
    /// If `constructor` is no function with `#[task(state)]`.
    #[track_caller]
    pub fn with_state<F, M, A>(_: F, input: A) -> Result<Inline, TaskError>
    where
        F: StateFn<M>,
        F::State: Send,
        A: Accept<M>,
    {
        let entry = task_of::<F>(Role::State);
        let slot = Slots::new(entry.input(), 1);
        let mut encoder = Encoder::new(Box::new(HeapSink::new()));
        // SAFETY: a slot of the layout that the constructor's entry states; it and what the encoder spills are on the heap.
        unsafe { input.write(&mut encoder, slot.as_ptr()) }.map_err(|error| TaskError::NotSendable {
            context: TaskContext::new(entry.name(), None),
            reason: error.to_string(),
            kind: error.kind(),
        })?;
        Ok(Inline { maker: Some(Maker { entry, input: slot, _spilled: encoder }), ..Inline::default() })
    }

    /// The same, but flows as over a network: what their chunks give is passed by value. Only in `testing` builds.
    #[cfg(feature = "testing")]
    #[doc(hidden)]
    #[must_use]
    pub fn apart(self) -> Inline {
        Inline { apart: true, ..self }
    }

    /// Takes back what [`borrow_state`](Self::borrow_state) gave.
    #[cfg(feature = "engine")]
    pub(crate) fn return_state(&self, state: WorkerState) {
        if self.maker.is_some() {
            self.states.lock().push(state);
        }
    }

    /// A state that no other call has.
    pub(crate) fn borrow_state(&self) -> WorkerState {
        let idle = self.states.lock().pop();
        idle.unwrap_or_else(|| match &self.maker {
            // SAFETY: looked up as a state constructor, with an input that was encoded for it and that lives as long as all
            // states, which never leave this executor.
            Some(maker) => unsafe { WorkerState::made_by(maker.entry, maker.input.as_ptr(), Home::Inline) },
            None => WorkerState::none(Home::Inline),
        })
    }

    /// Runs a batch, item by item as results are asked for.
    #[track_caller]
    fn results<F, M, I>(
        &self,
        policy: Policy,
        items: I,
    ) -> impl Iterator<Item = Result<F::Output, TaskError>> + use<'_, F, M, I>
    where
        F: TaskFn<M>,
        I: IntoIterator,
        I::Item: Accept<M>,
    {
        let entry = task_of::<F>(Role::Task);
        let mut journal = policy.journal.as_ref().map(|journal| Run::begin(journal, entry));
        let course = Course::new(self, policy, entry);
        let items = items.into_iter();
        let mut meter = Meter::begin(course.policy.progress.as_ref(), exact(&items));
        let mut items = items.enumerate();
        let mut next = move || {
            if course.ended.get() {
                return None;
            }
            if let Some(Err(_)) = journal {
                course.ended.set(true);
                return journal.take().and_then(Result::err).map(|error| (Err(error), true));
            }
            let Some((index, item)) = items.next() else {
                let finished = journal.take().and_then(Result::ok).map_or(Ok(()), |journal| journal.finish());
                return finished.err().map(|error| (Err(error), true));
            };
            let failures = course.failures.get();
            let over = |result, failed: bool| Some((result, failed || course.failures.get() > failures));
            let Some(Ok(journal)) = &mut journal else { return over(course.next::<F, M, _>(item, index), false) };
            match journal.admit::<M, _>(&item, index) {
                Admitted::Known(known) => over(journal.recall(known), false),
                Admitted::Runs(running) => {
                    over(journal.settle(running, None, course.next::<F, M, _>(item, index)), false)
                }
                Admitted::Failed(error) => over(Err(error), true),
            }
        };
        let (mut came, mut is_whole) = (0, true);
        std::iter::from_fn(move || {
            let Some((result, failed)) = next() else {
                if let Some(meter) = meter.take().filter(|_| is_whole) {
                    meter.set_total(Some(came));
                }
                return None;
            };
            came += 1;
            match &meter {
                Some(meter) if !is_given_up(&result) => meter.done(1, failed.into()),
                _ => is_whole &= !is_given_up(&result),
            }
            Some(result)
        })
    }

    #[track_caller]
    fn over<F, M, A>(&self, policy: Policy, input: A) -> TaskHandle<F::Output>
    where
        F: TaskFn<M>,
        A: Accept<M>,
    {
        let course = Course::new(self, policy, task_of::<F>(Role::Task));
        let result = match course.ending(None) {
            Some(error) => Err(error),
            None => course.run::<F, M, A>(input, None).0,
        };
        TaskHandle::over(course.context(None), result, course.emitted.take())
    }
}

/// The runs of one batch or call, one after the other.
struct Course<'a> {
    inline: &'a Inline,
    policy: Policy,
    entry: &'static TaskEntry,
    name: Arc<str>,
    /// How many items have failed.
    failures: Cell<usize>,
    /// It was told of the first item that was not run.
    ended: Cell<bool>,
    /// What the last run emitted.
    emitted: RefCell<VecDeque<Box<dyn Any + Send>>>,
}

impl<'a> Course<'a> {
    fn new(inline: &'a Inline, policy: Policy, entry: &'static TaskEntry) -> Self {
        let (failures, ended, emitted) = Default::default();
        Course { inline, policy, entry, name: entry.name().into(), failures, ended, emitted }
    }
}

impl Course<'_> {
    fn context(&self, item: Option<usize>) -> TaskContext {
        TaskContext::new(self.name.clone(), item)
    }

    /// Why the next item is not to be run, if it is not.
    fn ending(&self, index: Option<usize>) -> Option<TaskError> {
        if self.policy.token.as_ref().is_some_and(CancelToken::is_cancelled) {
            return Some(TaskError::Cancelled { context: self.context(index) });
        }
        let failures = self.failures.get();
        let too_many = index.is_some() && self.policy.on_error.most().is_some_and(|most| failures >= most);
        too_many.then(|| TaskError::Stopped { context: self.context(index), failures })
    }

    /// The result of the next item.
    fn next<F, M, A>(&self, item: A, index: usize) -> Result<F::Output, TaskError>
    where
        F: TaskFn<M>,
        A: Accept<M>,
    {
        if let Some(error) = self.ending(Some(index)) {
            self.ended.set(true);
            return Err(error);
        }
        let (result, failed) = self.run::<F, M, A>(item, Some(index));
        self.failures.set(self.failures.get() + usize::from(failed));
        result
    }

    /// Runs one item; also tells whether it failed, by an error of its own included.
    fn run<F, M, A>(&self, item: A, index: Option<usize>) -> (Result<F::Output, TaskError>, bool)
    where
        F: TaskFn<M>,
        A: Accept<M>,
    {
        let mut judged = false;
        let result = self.value::<F, M, A>(item, index, &mut judged);
        let failed = judged || result.is_err();
        (result, failed)
    }

    fn value<F, M, A>(&self, item: A, index: Option<usize>, judged: &mut bool) -> Result<F::Output, TaskError>
    where
        F: TaskFn<M>,
        A: Accept<M>,
    {
        let (inline, entry, context) = (self.inline, self.entry, self.context(index));
        let (input, output) = (Slots::new(entry.input(), 1), Slots::new(entry.output(), 1));
        let mut encoder = Encoder::new(Box::new(HeapSink::new()));
        // SAFETY: a slot of the layout that the task's entry states for its input; both slots and what the encoder spills
        // are on the heap of this process, and outlive the call.
        unsafe { item.write(&mut encoder, input.as_ptr()) }.map_err(|error| TaskError::NotSendable {
            context: context.clone(),
            reason: error.to_string(),
            kind: error.kind(),
        })?;
        let (progress, attention) = (AtomicU64::new(0), AtomicU32::new(0));
        // No note: this process is nobody's worker.
        install_panic_hook(|_| ());
        let mut failed = None;
        let mut fault = |_: usize, fault: TaskFault| failed = Some(fault);
        let mut state = inline.borrow_state();
        let mut run = RunCtx {
            inputs: input.as_ptr(),
            outputs: output.as_ptr(),
            lo: 0,
            hi: 1,
            progress: &progress,
            encoder: &mut encoder,
            state: &mut state,
            fault: &mut fault,
            attention: &attention,
            attend: &mut |_, _| true,
            mishap: &mut |_| (),
            skips: &[],
            most_mishaps: usize::MAX,
            caught: || (),
        };
        let limit = self.policy.timeout;
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        let (item, token, said) = (index.into(), self.policy.token.clone(), RefCell::default());
        let current = Rc::new(Current { entry, item, deadline: deadline.into(), token, said });
        // SAFETY: one input slot that this task's own type was encoded into, and one output slot of its layout.
        within(current.clone(), || unsafe { entry.run(&mut run) });
        let Saying { emitted, notes } = current.said.take();
        *self.emitted.borrow_mut() = emitted;
        let context = context.having(|seen| seen.notes = notes);
        if inline.maker.is_some() {
            inline.states.lock().push(state);
        }
        if let Some(fault) = failed {
            return Err(fault.into_error(context, std::process::id(), 1));
        }
        // Nobody could end it, but its result comes too late all the same.
        if let Some(limit) = limit.filter(|_| deadline.is_some_and(|deadline| Instant::now() > deadline)) {
            return Err(TaskError::TimedOut { context, limit, worker: std::process::id(), tries: 1 });
        }
        // SAFETY: the run reported no fault, so the output slot holds a result of this task.
        *judged = unsafe { entry.failure(output.as_ptr()) }.is_some();
        // SAFETY: as above.
        unsafe { message::decode::<F::Output>(output.as_ptr()) }.map_err(|error| TaskError::NotSendable {
            context,
            reason: error.to_string(),
            kind: ErrorKind::InvalidData,
        })
    }
}

/// A chunk of a program's items, encoded.
struct Chunk {
    inputs: Slots,
    /// Keeps what of them lies outside their slots.
    encoder: Encoder,
    items: usize,
    /// Index of the first.
    first: usize,
}

impl Inline {
    /// Runs a program over a chunk, and tells how many items ended their way in it; `None` if its token was cancelled meanwhile.
    fn run_chunk<P: Program>(&self, policy: &Policy, chunk: Chunk) -> Option<(Kept<P::Output>, usize)> {
        let Chunk { inputs, mut encoder, items, first } = chunk;
        let output = Slots::new(P::ENTRY.output(), 1);
        install_panic_hook(|_| ());
        let mut state = self.borrow_state();
        let (token, said) = (policy.token.clone(), RefCell::default());
        let current = Rc::new(Current { entry: P::ENTRY, item: None.into(), deadline: None.into(), token, said });
        let (mut stopped, mut failed) = (false, HashSet::new());
        let mut mishap = |item: usize| {
            failed.insert(item);
        };
        let mut attend = |item: usize, _: &Encoder| {
            current.item.set(Some(first + item));
            current.deadline.set(policy.timeout.and_then(|limit| Instant::now().checked_add(limit)));
            stopped |= is_cancelled(policy);
            !stopped
        };
        let mut run = RunCtx {
            inputs: inputs.as_ptr(),
            outputs: output.as_ptr(),
            lo: 0,
            hi: items,
            progress: &AtomicU64::new(0),
            encoder: &mut encoder,
            state: &mut state,
            // A program tells of faults in its output.
            fault: &mut |_, _| (),
            attention: &AtomicU32::new(1),
            attend: &mut attend,
            mishap: &mut mishap,
            skips: &[],
            most_mishaps: policy.on_error.most().unwrap_or(usize::MAX),
            caught: || (),
        };
        // SAFETY: as many input slots as said, that this program's own items were encoded into, and one output slot of its layout.
        within(current.clone(), || unsafe { P::ENTRY.run(&mut run) });
        if self.maker.is_some() {
            self.states.lock().push(state);
        }
        let slot = output.as_ptr();
        // SAFETY: the program was not stopped, so it left its output in the slot. All that it may refer to is kept.
        (!stopped).then(|| (unsafe { Kept::new(slot, Rc::new((output, inputs, encoder))) }, failed.len()))
    }

    /// Runs a program over items, chunk by chunk as parts are asked for.
    fn parts<P, I>(
        &self,
        policy: &Policy,
        mut items: I,
        options: ProgramOptions,
    ) -> impl Iterator<Item = Result<Part<P::Output>, TaskError>> + use<'_, P, I>
    where
        P: Program,
        I: Iterator,
        I::Item: Accept<Fused<P>>,
    {
        let policy = options.run.over(policy);
        let mut meter = Meter::begin(policy.progress.as_ref(), exact(&items));
        let by_one = options.lazy || policy.on_error.most().is_some();
        let size = match policy.timeout {
            // What comes too late is to cost that item alone.
            Some(_) => 1,
            None => policy.chunk.unwrap_or(if by_one { 1 } else { INLINE_CHUNK }),
        };
        let (mut next, mut ended) = (0, false);
        std::iter::from_fn(move || {
            let entry = P::ENTRY;
            let context = |item| TaskContext::new(entry.name(), item);
            if !ended && is_cancelled(&policy) {
                ended = true;
                return Some(Err(TaskError::Cancelled { context: context(None) }));
            }
            let (first, inputs) = (next, Slots::new(entry.input(), size));
            let mut encoder = Encoder::new(Box::new(Here { heap: HeapSink::new(), reaches: !self.apart }));
            let (mut written, mut lost) = (0, Vec::new());
            while !ended && written < size && lost.is_empty() {
                let Some(item) = items.next() else {
                    ended = true;
                    break;
                };
                // SAFETY: one of `size` slots of the layout that the program's entry states for its inputs; slots and what is spilled are on
                // the heap of this process, and are kept as long as the part.
                match unsafe { item.write(&mut encoder, inputs.as_ptr().add(written * entry.input().size)) } {
                    Ok(()) => written += 1,
                    Err(error) => {
                        let (context, reason) = (context(Some(next)), error.to_string());
                        let error = TaskError::NotSendable { context, reason, kind: error.kind() };
                        lost.push(Lost { item: next, stage: 0, error });
                    }
                }
                next += 1;
            }
            if written == 0 {
                match (&meter, lost.len()) {
                    (_, 0) => meter = None,
                    (Some(meter), lost) => meter.done(lost as u64, lost as u64),
                    (None, _) => {}
                }
                return (!lost.is_empty()).then_some(Ok(Part {
                    first,
                    items: next - first,
                    outcome: None,
                    lost,
                    ran: None,
                }));
            }
            let begun = Instant::now();
            let Some((kept, failed)) = self.run_chunk::<P>(&policy, Chunk { inputs, encoder, items: written, first })
            else {
                ended = true;
                return Some(Err(TaskError::Cancelled { context: context(None) }));
            };
            let mut outcome = Some(kept);
            if self.apart {
                outcome = outcome.and_then(|kept| kept.copy());
            }
            if let Some(limit) = policy.timeout.filter(|limit| begun.elapsed() > *limit) {
                // Nobody could end it, and at which stage its time was up is not known.
                let (context, worker) = (context(Some(first)), std::process::id());
                let error = TaskError::TimedOut { context, limit, worker, tries: 1 };
                lost.push(Lost { item: first, stage: 0, error });
                outcome = None;
            }
            if let Some(meter) = &meter {
                meter.done((next - first) as u64, (failed + lost.len()) as u64);
            }
            Some(Ok(Part { first, items: next - first, outcome, lost, ran: None }))
        })
    }
}

/// How many items there are, where that is known.
fn exact<T>(items: &impl Iterator<Item = T>) -> Option<u64> {
    let (least, most) = items.size_hint();
    most.filter(|most| *most == least).map(|most| most as u64)
}

/// Was the item not run, as its batch has ended?
fn is_given_up<R>(result: &Result<R, TaskError>) -> bool {
    result.as_ref().is_err_and(|error| error.is_cancelled() || error.is_stopped())
}

fn is_cancelled(policy: &Policy) -> bool {
    policy.token.as_ref().is_some_and(CancelToken::is_cancelled)
}

/// Memory of this process, which is all there is: what lies in it is read where it lies, unless that is to be as elsewhere.
struct Here {
    heap: HeapSink,
    reaches: bool,
}

impl Sink for Here {
    fn more(&mut self, min: usize) -> Result<SinkSpan, EncodeError> {
        self.heap.more(min)
    }

    fn pin(&mut self, pin: &Pin) -> Result<(), EncodeError> {
        self.heap.pin(pin)
    }

    fn reaches(&self, _: *const u8) -> bool {
        self.reaches
    }
}

/// Items of a chunk where nothing else is said.
const INLINE_CHUNK: usize = 16;

/// What a task that runs inline can ask about itself.
struct Current {
    entry: &'static TaskEntry,
    item: Cell<Option<usize>>,
    deadline: Cell<Option<Instant>>,
    token: Option<CancelToken>,
    said: RefCell<Saying>,
}

impl Runner for Current {
    fn current(&self) -> Option<CurrentTask> {
        let (task, item, worker) = (self.entry.name(), self.item.get(), std::process::id());
        let (deadline, cancelled) = (self.deadline.get(), self.is_cancelled());
        Some(CurrentTask { task, item, tries: 1, worker, deadline, cancelled })
    }

    /// Its time being up counts, too: nobody else could tell it.
    fn is_cancelled(&self) -> bool {
        self.token.as_ref().is_some_and(CancelToken::is_cancelled)
            || self.deadline.get().is_some_and(|deadline| Instant::now() >= deadline)
    }

    fn sleep(&self, deadline: Option<Instant>) {
        let deadline = deadline.into_iter().chain(self.deadline.get()).min();
        let left = deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(Instant::now()));
        match &self.token {
            Some(token) => drop(token.wait_timeout(left)),
            None => std::thread::sleep(left),
        }
    }

    fn emit(&self, value: Box<dyn Emission>) -> Result<(), EmitError> {
        // What an item of a batch emits has no taker.
        if self.item.get().is_none() {
            self.said.borrow_mut().emitted.push_back(value.into_any());
        }
        Ok(())
    }

    fn progress(&self, _: u64, _: u64) {}

    fn note(&self, text: &str) {
        keep_note(&mut self.said.borrow_mut().notes, text);
    }
}

/// What a task said while it ran.
#[derive(Default)]
struct Saying {
    emitted: VecDeque<Box<dyn Any + Send>>,
    notes: Vec<String>,
}

/// An inline executor with options for its runs.
struct InlineRun<'a> {
    inline: &'a Inline,
    policy: Policy,
}

macro_rules! inline_executor {
    ($type:ty, |$engine:ident| $inline:expr, $policy:expr) => {
        impl Executor for $type {
            fn with_options(&self, options: &RunOptions) -> impl Executor + '_ {
                let $engine = self;
                InlineRun { inline: $inline, policy: options.over(&$policy) }
            }

            fn own_options(&self) -> RunOptions {
                let $engine = self;
                let _ = $engine;
                RunOptions::of(&$policy)
            }

            #[track_caller]
            fn map<F, M, I>(&self, _: F, items: I) -> Result<Vec<F::Output>, TaskError>
            where
                F: TaskFn<M>,
                I: IntoIterator,
                I::Item: Accept<M>,
            {
                let $engine = self;
                $inline.results::<F, M, I>($policy, items).collect()
            }

            #[track_caller]
            fn try_map<F, M, I>(&self, _: F, items: I) -> Result<Vec<Result<F::Output, TaskError>>, TaskError>
            where
                F: TaskFn<M>,
                I: IntoIterator,
                I::Item: Accept<M>,
            {
                let $engine = self;
                Ok($inline.results::<F, M, I>($policy, items).collect())
            }

            #[track_caller]
            fn imap<F, M, I>(&self, _: F, items: I) -> impl Iterator<Item = Result<F::Output, TaskError>>
            where
                F: TaskFn<M>,
                I: IntoIterator,
                I::Item: Accept<M>,
            {
                let $engine = self;
                $inline.results::<F, M, I>($policy, items)
            }

            #[track_caller]
            fn imap_unordered<F, M, I>(
                &self,
                _: F,
                items: I,
            ) -> impl Iterator<Item = (usize, Result<F::Output, TaskError>)>
            where
                F: TaskFn<M>,
                I: IntoIterator,
                I::Item: Accept<M>,
            {
                let $engine = self;
                $inline.results::<F, M, I>($policy, items).enumerate()
            }

            #[track_caller]
            fn submit<F, M, A>(&self, _: F, input: A) -> Result<TaskHandle<F::Output>, TaskError>
            where
                F: TaskFn<M>,
                A: Accept<M>,
            {
                let $engine = self;
                Ok($inline.over::<F, M, A>($policy, input))
            }

            fn run_program<P, I>(
                &self,
                items: I,
                options: ProgramOptions,
            ) -> impl Iterator<Item = Result<Part<P::Output>, TaskError>>
            where
                P: Program,
                I: Iterator,
                I::Item: Accept<Fused<P>>,
            {
                let $engine = self;
                $inline.parts::<P, I>(&$policy, items, options)
            }
        }
    };
}

inline_executor!(Inline, |inline| inline, Policy::default());
inline_executor!(InlineRun<'_>, |run| run.inline, run.policy.clone());
