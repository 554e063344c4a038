//! The methods that end a flow and run it.

use std::hash::Hash;

use super::adapters::stage_of;
use super::chain::{Chain, Map};
use super::drive::{Tree, partial};
use super::keyed::{GroupByKey, ReduceByKey, Table};
use super::stage::{FoldFn, LookFn, StageFn};
use super::stream::{FlowStream, Parts};
use super::terminal::{Collect, Count, Fold, MaxByKey, MinByKey, Reduce, Terminal};
use super::{End, Flow, FlowError, Item, Run, Stage, unchanged};
use crate::Executor;
use crate::executor::ProgramOptions;
use crate::message::Message;
use crate::task::{TaskError, TaskFn};

impl<'e, E: Executor, I: Iterator + 'e> Run<'e, E, I> {
    /// Runs the flow and gives what each chunk made to `take`, in order.
    fn each<S, C, T>(self, mut take: impl FnMut(T::Partial)) -> Result<(), FlowError>
    where
        I::Item: Item<S>,
        S: Message,
        C: Chain<S>,
        T: Terminal<C::Out>,
    {
        let (names, parts) = (self.names.clone(), self.parts::<S, C, T>());
        for part in parts {
            match part {
                Ok(part) => {
                    let kept = names.open(part, false, |error| names.tell(error));
                    kept.and_then(|kept| partial(&kept)).into_iter().for_each(&mut take);
                }
                Err(error) => names.fatal(error),
            }
            if names.is_over() {
                break;
            }
        }
        names.report.borrow_mut().result(())
    }

    /// Runs the flow and has what the chunks made merged by the workers.
    fn merged<S, C, T>(self) -> Result<Option<T::Partial>, FlowError>
    where
        I::Item: Item<S>,
        S: Message,
        C: Chain<S>,
        C::Out: 'static,
        T: Terminal<C::Out>,
    {
        let (names, engine) = (self.names.clone(), self.engine);
        let mut tree = Tree::<'_, '_, E, C::Out, T>::new(engine, &names, &self.options.run);
        let run = || -> Result<Option<T::Partial>, TaskError> {
            for part in self.with(|options| options.unordered = false).parts::<S, C, T>() {
                if let Some(kept) = names.open(part?, false, |error| names.tell(error)) {
                    tree.push(kept)?;
                }
                if names.is_over() {
                    return Ok(None);
                }
            }
            Ok(tree.finish()?.and_then(|kept| partial(&kept)))
        };
        let value = run().unwrap_or_else(|error| {
            names.fatal(error);
            None
        });
        names.report.borrow_mut().result(value)
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
    /// All values, in the order of their items.
    ///
    /// Blocks until all items are done.
    ///
    /// ```
    /// use offspring::{Executor, Inline, task};
    ///
    /// #[task]
    /// fn half(x: u64) -> u64 {
    ///     x / 2
    /// }
    ///
    /// assert_eq!(Inline::new().flow(0..6u64).map(half).collect()?, [0, 0, 1, 1, 2, 2]);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// What was lost, if there is no handler for it, or the flow failed as a whole: the pool is closed, no worker could be started.
    /// So for all ends.
    #[doc(alias = "list")]
    pub fn collect(self) -> Result<Vec<C::Out>, FlowError> {
        let mut all = Vec::new();
        if Self::IS_EMPTY {
            let Run { items, names, .. } = self.into_run(End::COLLECT);
            all.extend(unchanged::<I, S, C>(items, names.clone()));
            return names.report.borrow_mut().result(all);
        }
        self.into_run(End::COLLECT).each::<S, C, Collect>(|mut part| match all.is_empty() {
            true => all = part,
            false => all.append(&mut part),
        })?;
        Ok(all)
    }

    /// How many values there are.
    ///
    /// ```
    /// use offspring::{Executor, Inline, task};
    ///
    /// #[task]
    /// fn is_even(x: &u64) -> bool {
    ///     x % 2 == 0
    /// }
    ///
    /// assert_eq!(Inline::new().flow(0..7u64).filter(is_even).count()?, 4);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`collect`](Self::collect).
    #[doc(alias = "len")]
    pub fn count(self) -> Result<u64, FlowError> {
        let mut all = 0;
        if Self::IS_EMPTY {
            let Run { items, names, .. } = self.into_run(End::named("count"));
            all = items.count() as u64;
            return names.report.borrow_mut().result(all);
        }
        self.into_run(End::named("count")).each::<S, C, Count>(|part| all += part)?;
        Ok(all)
    }

    /// Calls `task` with each value, for what it does outside.
    ///
    /// ```
    /// use offspring::{Executor, Inline, task};
    ///
    /// #[task]
    /// fn check(n: u64) {
    ///     assert!(n < 10);
    /// }
    ///
    /// Inline::new().flow(0..3).for_each(check)?;
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`collect`](Self::collect).
    #[track_caller]
    pub fn for_each<F, M: 'static>(self, task: F) -> Result<(), FlowError>
    where
        F: StageFn<C::Out, M, Output = ()>,
    {
        let _ = task;
        let end = End::of(stage_of::<F>("for_each"));
        self.into_run(end).each::<S, Map<C, F, M>, Count>(|_| ())
    }

    /// Two values become one by `task`, until one is left; `None` if there was none.
    ///
    /// `task` is to be associative: `f(f(a, b), c) == f(a, f(b, c))`. It need not be commutative: the values stay in order. It runs in
    /// the workers, on each chunk and then on what chunks gave.
    ///
    /// ```
    /// use offspring::{Executor, Inline, task};
    ///
    /// #[task]
    /// fn join(a: String, b: String) -> String {
    ///     a + &b
    /// }
    ///
    /// assert_eq!(Inline::new().flow(["a", "b", "c"]).reduce(join)?, Some("abc".to_string()));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`collect`](Self::collect).
    #[track_caller]
    pub fn reduce<F>(self, task: F) -> Result<Option<C::Out>, FlowError>
    where
        F: FoldFn<C::Out, C::Out>,
    {
        let _ = task;
        let end = End::of(stage_of::<F>("reduce"));
        Ok(self.into_run(end).merged::<S, C, Reduce<F>>()?.flatten())
    }

    /// Values are put to what `start` gives by `fold`, chunk by chunk; what chunks gave becomes one by `merge`.
    ///
    /// `start` is called once a chunk, so what it gives is to be neutral: `merge(start(), a) == a`.
    ///
    /// ```
    /// use offspring::{Executor, Inline, task};
    ///
    /// #[task]
    /// fn nothing() -> (f64, u64) {
    ///     (0.0, 0)
    /// }
    ///
    /// #[task]
    /// fn add((sum, n): (f64, u64), x: f64) -> (f64, u64) {
    ///     (sum + x, n + 1)
    /// }
    ///
    /// #[task]
    /// fn both(a: (f64, u64), b: (f64, u64)) -> (f64, u64) {
    ///     (a.0 + b.0, a.1 + b.1)
    /// }
    ///
    /// let (sum, n) = Inline::new().flow([1.0, 2.0, 6.0]).fold(nothing, add, both)?;
    /// assert_eq!(sum / n as f64, 3.0);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`collect`](Self::collect).
    #[doc(alias = "aggregate")]
    #[track_caller]
    pub fn fold<A, N, F, G>(self, start: N, fold: F, merge: G) -> Result<A, FlowError>
    where
        A: Message,
        N: Fn() -> A + Copy + 'static,
        F: FoldFn<A, C::Out>,
        G: FoldFn<A, A>,
    {
        let _ = (fold, merge);
        let (engine, first) = (self.engine, stage_of::<N>("fold"));
        // It joins what chunks gave; what an item gives does not depend on it.
        stage_of::<G>("fold");
        let end = End { first: Some(first), ..End::of(stage_of::<F>("fold")) };
        match self.into_run(end).merged::<S, C, Fold<N, F, G>>()?.flatten() {
            Some(all) => Ok(all),
            None => nothing(engine, start, first.task),
        }
    }

    /// The value with the least key by `key`, a `fn(&T) -> K`; of equals the first.
    ///
    /// ```
    /// use offspring::{Executor, Inline, task};
    ///
    /// #[task]
    /// fn length(word: &str) -> usize {
    ///     word.len()
    /// }
    ///
    /// let words = ["two", "to", "do"];
    /// assert_eq!(Inline::new().flow(words).min_by_key(length)?, Some("to".to_string()));
    /// assert_eq!(Inline::new().flow(words).max_by_key(length)?, Some("two".to_string()));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`collect`](Self::collect).
    #[track_caller]
    pub fn min_by_key<F, M: 'static>(self, key: F) -> Result<Option<C::Out>, FlowError>
    where
        F: LookFn<C::Out, M, Output: Ord>,
    {
        let _ = key;
        let end = End::of(stage_of::<F>("min_by_key"));
        Ok(self.into_run(end).merged::<S, C, MinByKey<F, M>>()?.flatten().map(|(_, value)| value))
    }

    /// The value with the greatest key by `key`, a `fn(&T) -> K`; of equals the last.
    ///
    /// ```
    /// use offspring::{Executor, Inline, task};
    ///
    /// #[task]
    /// fn length(word: &str) -> usize {
    ///     word.len()
    /// }
    ///
    /// assert_eq!(Inline::new().flow(["to", "three", "seven"]).max_by_key(length)?, Some("seven".to_string()));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`collect`](Self::collect).
    #[track_caller]
    pub fn max_by_key<F, M: 'static>(self, key: F) -> Result<Option<C::Out>, FlowError>
    where
        F: LookFn<C::Out, M, Output: Ord>,
    {
        let _ = key;
        let end = End::of(stage_of::<F>("max_by_key"));
        Ok(self.into_run(end).merged::<S, C, MaxByKey<F, M>>()?.flatten().map(|(_, value)| value))
    }

    /// Results while the input is still being read: lazily, in order unless [`unordered`](Self::unordered) was said, and in bounded memory.
    ///
    /// `items` is read in the caller's thread, a few chunks a worker ahead. Nothing begins before the first `next`.
    ///
    /// ```
    /// use offspring::{Executor, Inline, task};
    ///
    /// #[task]
    /// fn square(n: u64) -> u64 {
    ///     n * n
    /// }
    ///
    /// let inline = Inline::new();
    /// let mut squares = inline.flow(0..).map(square).stream();
    /// assert_eq!(squares.nth(1000).unwrap()?, 1_000_000);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[doc(alias = "imap")]
    #[doc(alias = "imap_unordered")]
    pub fn stream(self) -> FlowStream<'e, C::Out> {
        let is_empty = Self::IS_EMPTY;
        let run = self.into_run(End::COLLECT);
        let names = run.names.clone();
        if is_empty {
            let values = unchanged::<I, S, C>(run.items, names.clone());
            return FlowStream::new(Parts::Here(Box::new(values)), names, true);
        }
        let ordered = !run.options.unordered;
        let begin = move |ordered: bool| {
            let lazily = |options: &mut ProgramOptions| (options.lazy, options.unordered) = (true, !ordered);
            run.with(lazily).parts::<S, C, Collect>()
        };
        FlowStream::new(Parts::Later(Box::new(begin)), names, ordered)
    }

    /// One value for each key of the pairs that come out: all values of a key become one by `task`, as by [`reduce`](Self::reduce).
    ///
    /// The tables are made in the workers, chunk by chunk, and merged by them. Each is in memory whole.
    ///
    /// ```
    /// use offspring::{Executor, Inline, task};
    ///
    /// #[task]
    /// fn sum(a: u64, b: u64) -> u64 {
    ///     a + b
    /// }
    ///
    /// let table = Inline::new().flow([('a', 1), ('b', 2), ('a', 3)]).reduce_by_key(sum)?;
    /// assert_eq!(table.sorted_by_key(), [('a', 4), ('b', 2)]);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`collect`](Self::collect).
    #[doc(alias = "Counter")]
    #[track_caller]
    pub fn reduce_by_key<K, V, F>(self, task: F) -> Result<Table<K, V>, FlowError>
    where
        C: Chain<S, Out = (K, V)>,
        K: Message + Hash + Eq,
        V: Message,
        F: FoldFn<V, V>,
    {
        let _ = task;
        let end = End::of(stage_of::<F>("reduce_by_key"));
        Ok(Table::new(self.into_run(end).merged::<S, C, ReduceByKey<F>>()?.unwrap_or_default()))
    }

    /// All values for each key of the pairs that come out, in the order of their items.
    ///
    /// All of them are in memory at the end. Where they are only counted, added or the like, [`reduce_by_key`](Self::reduce_by_key) needs less.
    ///
    /// ```
    /// use offspring::{Executor, Inline, task};
    ///
    /// #[task]
    /// fn by_length(word: String) -> (usize, String) {
    ///     (word.len(), word)
    /// }
    ///
    /// let groups = Inline::new().flow(["do", "and", "to"]).map(by_length).group_by_key()?.sorted_by_key();
    /// assert_eq!(groups[0], (2, vec!["do".to_string(), "to".to_string()]));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`collect`](Self::collect).
    #[doc(alias = "groupby")]
    pub fn group_by_key<K, V>(self) -> Result<Table<K, Vec<V>>, FlowError>
    where
        C: Chain<S, Out = (K, V)>,
        K: Message + Hash + Eq,
        V: Message,
    {
        Ok(Table::new(
            self.into_run(End { stage: Some(Stage::GROUP), ..End::named("group_by_key") })
                .merged::<S, C, GroupByKey>()?
                .unwrap_or_default(),
        ))
    }
}

/// What a fold over nothing gives: made by a worker, as all that tasks give.
fn nothing<E: Executor, A, N, M>(engine: &E, start: N, name: &'static str) -> Result<A, FlowError>
where
    N: TaskFn<M, Output = A>,
    (): crate::task::Accept<M>,
{
    engine.call(start, ()).map_err(|error| FlowError::task_error(None, 0, name.into(), error))
}
