//! The methods that add to a flow.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::rc::Rc;

use super::chain::{Chain, Filter, FlatMap, Inspect, Map, Start, TryMap};
use super::drive::Progress;
use super::stage::{LookFn, StageFn};
use super::{Flow, FlowError, Item, Stage};
use crate::Executor;
use crate::message::Message;
use crate::pool::policy::{Policy, run_options};
use crate::task::{Role, registry};

/// The items of a flow that goes on after [`Flow::take`] or [`Flow::chunks`].
type Cut<'e, T> = Box<dyn Iterator<Item = T> + 'e>;

/// The task that `F` is, or the panic that names the cure when it is none.
#[track_caller]
pub(super) fn stage_of<F: 'static>(method: &'static str) -> Stage {
    match registry::entry_of::<F>(Role::Task) {
        Ok((_, entry)) => Stage { method, task: entry.name(), version: entry.source().version },
        Err(error) => panic!("{error}"),
    }
}

impl<'e, E, I, S, C> Flow<'e, E, I, S, C> {
    run_options!();

    fn set(mut self, change: impl Fn(&mut Policy) + Send + Sync + 'static) -> Self {
        self.options.run = std::mem::take(&mut self.options.run).set(change);
        self
    }

    /// Results come as they are done. For [`stream`](Self::stream) and [`collect`](Self::collect); other ends do not depend on it.
    pub fn unordered(mut self) -> Self {
        self.options.unordered = true;
        self
    }

    /// Results come in the order of their items: so it is if nothing is said.
    pub fn ordered(mut self) -> Self {
        self.options.unordered = false;
        self
    }

    /// Tells `handler` of each item that is lost, instead of making the end fail. It runs in the caller's thread, in the order of the
    /// items.
    ///
    /// The end still fails when the flow as a whole does: the pool was closed, no worker could be started.
    ///
    /// ```
    /// use offspring::{Executor, Inline, task};
    ///
    /// #[task]
    /// fn parse(text: &str) -> Result<u64, String> {
    ///     text.parse().map_err(|_| format!("`{text}` is no number"))
    /// }
    ///
    /// let mut bad = Vec::new();
    /// let good = Inline::new().flow(["1", "x"]).try_map(parse).on_failure(|error| bad.push(error.to_string())).collect()?;
    /// assert_eq!((good, bad.len()), (vec![1], 1));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn on_failure(self, handler: impl FnMut(FlowError) + 'e) -> Self {
        self.report.borrow_mut().handler = Some(Box::new(handler));
        self
    }

    /// Tells `handler` after each chunk how many items are done, the lost ones included. It runs in the caller's thread, after what was lost
    /// of the chunk was told.
    ///
    /// Counted are the items that this part of the flow begins with: after [`take`](Self::take) or [`chunks`](Self::chunks) those that come
    /// out of them.
    pub fn on_progress(mut self, handler: impl FnMut(u64) + 'e) -> Self {
        self.progress.handler = Some(Rc::new(RefCell::new(handler)));
        self
    }

    fn with<D>(mut self, stage: Stage) -> Flow<'e, E, I, S, D> {
        self.stages.push(stage);
        let Flow { engine, items, options, stages, base, report, progress, .. } = self;
        Flow { engine, items, options, stages, base, report, progress, chain: PhantomData }
    }
}

impl<'e, E, I, S, C> Flow<'e, E, I, S, C>
where
    I: Iterator,
    I::Item: Item<S>,
    S: Message,
    C: Chain<S>,
{
    /// Each value becomes what `task` makes of it.
    ///
    /// ```
    /// use offspring::{Executor, Inline, task};
    ///
    /// #[task]
    /// fn length(text: &str) -> usize {
    ///     text.len()
    /// }
    ///
    /// assert_eq!(Inline::new().flow(["a", "bcd"]).map(length).collect()?, [1, 3]);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Panics
    ///
    /// If `task` is a function without `#[task]`. So do all methods that take one.
    #[doc(alias = "imap")]
    #[track_caller]
    pub fn map<F, M>(self, task: F) -> Flow<'e, E, I, S, Map<C, F, M>>
    where
        F: StageFn<C::Out, M>,
    {
        let _ = task;
        self.with(stage_of::<F>("map"))
    }

    /// As [`map`](Self::map) for a task that returns a `Result`: an `Ok` goes on as the value in it, an `Err` ends its way.
    ///
    /// ```
    /// use offspring::{Executor, Inline, task};
    ///
    /// #[task]
    /// fn parse(text: &str) -> Result<u64, String> {
    ///     text.parse().map_err(|error| format!("{text}: {error}"))
    /// }
    ///
    /// assert_eq!(Inline::new().flow(["1", "x", "3"]).try_map(parse).collect()?, [1, 3]);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[track_caller]
    pub fn try_map<F, M, T, X>(self, task: F) -> Flow<'e, E, I, S, TryMap<C, F, M>>
    where
        F: StageFn<C::Out, M, Output = Result<T, X>>,
    {
        let _ = task;
        self.with(stage_of::<F>("try_map"))
    }

    /// Each value becomes any number of others: `task` returns a `Vec`, an `Option` or another collection.
    ///
    /// ```
    /// use offspring::{Executor, Inline, task};
    ///
    /// #[task]
    /// fn divisors(n: u64) -> Vec<u64> {
    ///     (1..=n).filter(|d| n % d == 0).collect()
    /// }
    ///
    /// assert_eq!(Inline::new().flow([4, 3]).flat_map(divisors).collect()?, [1, 2, 4, 1, 3]);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[doc(alias = "filter_map")]
    #[track_caller]
    pub fn flat_map<F, M>(self, task: F) -> Flow<'e, E, I, S, FlatMap<C, F, M>>
    where
        F: StageFn<C::Out, M, Output: IntoIterator>,
    {
        let _ = task;
        self.with(stage_of::<F>("flat_map"))
    }

    /// Only values for which `task`, a `fn(&T) -> bool`, says `true` go on.
    ///
    /// ```
    /// use offspring::{Executor, Inline, task};
    ///
    /// #[task]
    /// fn is_even(n: &u64) -> bool {
    ///     n % 2 == 0
    /// }
    ///
    /// assert_eq!(Inline::new().flow(0..5).filter(is_even).collect()?, [0, 2, 4]);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[track_caller]
    pub fn filter<F, M>(self, task: F) -> Flow<'e, E, I, S, Filter<C, F, M>>
    where
        F: LookFn<C::Out, M, Output = bool>,
    {
        let _ = task;
        self.with(stage_of::<F>("filter"))
    }

    /// Calls `task`, a `fn(&T)`, with each value that passes.
    ///
    /// ```
    /// use offspring::{Executor, Inline, task};
    ///
    /// #[task]
    /// fn note(n: &u64) {
    ///     assert!(*n < 10);
    /// }
    ///
    /// assert_eq!(Inline::new().flow(0..3).inspect(note).count()?, 3);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[track_caller]
    pub fn inspect<F, M>(self, task: F) -> Flow<'e, E, I, S, Inspect<C, F, M>>
    where
        F: LookFn<C::Out, M, Output = ()>,
    {
        let _ = task;
        self.with(stage_of::<F>("inspect"))
    }
}

impl<'e, E, I, S, C> Flow<'e, E, I, S, C>
where
    E: Executor,
    I: Iterator + 'e,
    I::Item: Item<S>,
    S: Message,
    C: Chain<S>,
    C::Out: Message,
{
    /// The first `n` values, in order, go on; the rest is not run, but for what workers had already begun.
    ///
    /// Values come back to the caller here, as by [`stream`](Self::stream), and go out again to the stages after it.
    ///
    /// ```
    /// use offspring::{Executor, Inline, task};
    ///
    /// #[task]
    /// fn square(n: u64) -> u64 {
    ///     n * n
    /// }
    ///
    /// assert_eq!(Inline::new().flow(1..).map(square).take(3).collect()?, [1, 4, 9]);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[doc(alias = "islice")]
    pub fn take(self, n: usize) -> Flow<'e, E, Cut<'e, C::Out>, C::Out, Start> {
        self.cut(|values| {
            // Dropped with the last value that is wanted: that ends what runs for it.
            let mut values = (n > 0).then_some(values);
            let mut left = n;
            std::iter::from_fn(move || {
                let value = values.as_mut()?.next();
                left -= 1;
                if left == 0 || value.is_none() {
                    values = None;
                }
                value
            })
        })
    }

    /// Values go on by the `n`, as a `Vec`; the last one may be shorter.
    ///
    /// Values come back to the caller here, as by [`stream`](Self::stream), and go out again to the stages after it.
    ///
    /// ```
    /// use offspring::{Executor, Inline, task};
    ///
    /// #[task]
    /// fn total(batch: &[u64]) -> u64 {
    ///     batch.iter().sum()
    /// }
    ///
    /// assert_eq!(Inline::new().flow(1..=5).chunks(2).map(total).collect()?, [3, 7, 5]);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Panics
    ///
    /// If `n` is 0.
    #[doc(alias = "batched")]
    #[track_caller]
    pub fn chunks(self, n: usize) -> Flow<'e, E, Cut<'e, Vec<C::Out>>, Vec<C::Out>, Start> {
        assert!(n > 0, "a chunk has at least one value");
        self.cut(|mut values| {
            std::iter::from_fn(move || {
                let chunk: Vec<C::Out> = values.by_ref().take(n).collect();
                (!chunk.is_empty()).then_some(chunk)
            })
        })
    }

    fn cut<U, J>(self, shape: impl FnOnce(Cut<'e, C::Out>) -> J) -> Flow<'e, E, Cut<'e, U>, U, Start>
    where
        J: Iterator<Item = U> + 'e,
        C::Out: 'e,
    {
        let (engine, options, report) = (self.engine, self.options.clone(), self.report.clone());
        let base = self.base + self.stages.len() as u32 + 1;
        let mut upstream = self;
        // What comes after takes its values in order.
        upstream.options.unordered = false;
        let values = upstream.stream().values();
        let items: Cut<'e, U> = Box::new(shape(Box::new(values)));
        let progress = Progress::default();
        Flow { engine, items, options, stages: Vec::new(), base, report, progress, chain: PhantomData }
    }
}
