//! What every engine that runs tasks offers.

mod inline;
mod part;

pub use inline::Inline;
pub use part::{Kept, Lost, Part, ProgramOptions, Ran};

use crate::flow::{Flow, Item, Start};
use crate::pool::hand_out;
use crate::task::{Accept, Fused, Program, TaskError, TaskFn};
use crate::{Batch, Pool, RunOptions, Tally, TaskHandle};

/// Something that runs tasks: a [`Pool`] of processes on this machine, or [`Inline`] in the calling process.
///
/// Write a program against this trait and choose the engine in `main`. The calls mean the same on each; their full
/// description stands at [`Pool`].
///
/// ```
/// use offspring::{Executor, Inline, Pool, TaskError, task};
///
/// #[task]
/// fn square(x: u64) -> u64 {
///     x * x
/// }
///
/// fn sum_of_squares(engine: &impl Executor, n: u64) -> Result<u64, TaskError> {
///     Ok(engine.map(square, 0..n)?.into_iter().sum())
/// }
///
/// assert_eq!(sum_of_squares(&Inline::new(), 4)?, 14);
/// assert_eq!(sum_of_squares(&Pool::new()?, 4)?, 14);
/// # Ok::<(), offspring::Error>(())
/// ```
pub trait Executor {
    /// The same engine, with options for what it runs. What they do not say is as the engine has it.
    ///
    /// [`Inline`] runs one item after the other and can end none by force: a [timeout](RunOptions::timeout) makes
    /// [`task::cancelled`](crate::task::cancelled) true and the result of an item that ran longer an error, retries and the like have
    /// nothing to do. A token and [`OnError`](crate::OnError) are looked at before each item, in flows too.
    fn with_options(&self, options: &RunOptions) -> impl Executor + '_;

    /// What the engine itself has been told of how to run things, for what is built on it.
    // Not public API: flows call it.
    #[doc(hidden)]
    fn own_options(&self) -> RunOptions {
        RunOptions::new()
    }

    /// Runs `task` on every item; results in input order. As [`Pool::map`].
    ///
    /// # Errors
    ///
    /// The first item, in input order, that has no value.
    fn map<F, M, I>(&self, task: F, items: I) -> Result<Vec<F::Output>, TaskError>
    where
        F: TaskFn<M>,
        I: IntoIterator,
        I::Item: Accept<M>;

    /// As [`map`](Self::map), each item with its own result. As [`Pool::try_map`].
    ///
    /// # Errors
    ///
    /// Only when the batch as a whole failed.
    fn try_map<F, M, I>(&self, task: F, items: I) -> Result<Vec<Result<F::Output, TaskError>>, TaskError>
    where
        F: TaskFn<M>,
        I: IntoIterator,
        I::Item: Accept<M>;

    /// Results in input order, lazily. As [`Pool::imap`].
    fn imap<F, M, I>(&self, task: F, items: I) -> impl Iterator<Item = Result<F::Output, TaskError>>
    where
        F: TaskFn<M>,
        I: IntoIterator,
        I::Item: Accept<M>;

    /// Results as they are done, each with its item's index. As [`Pool::imap_unordered`].
    fn imap_unordered<F, M, I>(&self, task: F, items: I) -> impl Iterator<Item = (usize, Result<F::Output, TaskError>)>
    where
        F: TaskFn<M>,
        I: IntoIterator,
        I::Item: Accept<M>;

    /// Hands each result to `callback` as it comes, with its item's index, in the calling thread. As [`Pool::map_with`].
    ///
    /// # Errors
    ///
    /// The engine is closed.
    fn map_with<F, M, I>(
        &self,
        task: F,
        items: I,
        callback: impl FnMut(usize, Result<F::Output, TaskError>),
    ) -> Result<Tally, TaskError>
    where
        F: TaskFn<M>,
        I: IntoIterator,
        I::Item: Accept<M>,
    {
        Ok(hand_out(self.imap_unordered(task, items), callback))
    }

    /// Hands in one call. As [`Pool::submit`].
    ///
    /// # Errors
    ///
    /// The engine is closed, or the input cannot be sent.
    fn submit<F, M, A>(&self, task: F, input: A) -> Result<TaskHandle<F::Output>, TaskError>
    where
        F: TaskFn<M>,
        A: Accept<M>;

    /// Runs `task` once and waits for its value. As [`Pool::call`].
    ///
    /// # Errors
    ///
    /// Why there is no value.
    fn call<F, M, A>(&self, task: F, input: A) -> Result<F::Output, TaskError>
    where
        F: TaskFn<M>,
        A: Accept<M>,
    {
        self.submit(task, input)?.get()
    }

    /// Begins a flow over `items`. As [`Pool::flow`].
    fn flow<I, S>(&self, items: I) -> Flow<'_, Self, I::IntoIter, S, Start>
    where
        Self: Sized,
        I: IntoIterator,
        I::Item: Item<S>,
    {
        Flow::new(self, items.into_iter())
    }

    /// Runs a program over items: what a flow is made of. Each part is one chunk's; parts come lazily, in order unless asked otherwise.
    /// An error is about the run as a whole, and the last thing that comes.
    // Not public API: engines implement it, flows call it.
    #[doc(hidden)]
    fn run_program<P, I>(
        &self,
        items: I,
        options: ProgramOptions,
    ) -> impl Iterator<Item = Result<Part<P::Output>, TaskError>>
    where
        P: Program,
        I: Iterator,
        I::Item: Accept<Fused<P>>;
}

/// The calls of a type that has them as methods of its own.
macro_rules! by_methods {
    ($type:ty, |$engine:ident| $batch:expr) => {
        impl Executor for $type {
            fn with_options(&self, options: &RunOptions) -> impl Executor + '_ {
                let $engine = self;
                $batch.with_options(options)
            }

            fn own_options(&self) -> RunOptions {
                RunOptions::of(self.policy())
            }

            #[track_caller]
            fn map<F, M, I>(&self, task: F, items: I) -> Result<Vec<F::Output>, TaskError>
            where
                F: TaskFn<M>,
                I: IntoIterator,
                I::Item: Accept<M>,
            {
                <$type>::map(self, task, items)
            }

            #[track_caller]
            fn try_map<F, M, I>(&self, task: F, items: I) -> Result<Vec<Result<F::Output, TaskError>>, TaskError>
            where
                F: TaskFn<M>,
                I: IntoIterator,
                I::Item: Accept<M>,
            {
                <$type>::try_map(self, task, items)
            }

            #[track_caller]
            fn imap<F, M, I>(&self, task: F, items: I) -> impl Iterator<Item = Result<F::Output, TaskError>>
            where
                F: TaskFn<M>,
                I: IntoIterator,
                I::Item: Accept<M>,
            {
                <$type>::imap(self, task, items)
            }

            #[track_caller]
            fn imap_unordered<F, M, I>(
                &self,
                task: F,
                items: I,
            ) -> impl Iterator<Item = (usize, Result<F::Output, TaskError>)>
            where
                F: TaskFn<M>,
                I: IntoIterator,
                I::Item: Accept<M>,
            {
                <$type>::imap_unordered(self, task, items)
            }

            #[track_caller]
            fn submit<F, M, A>(&self, task: F, input: A) -> Result<TaskHandle<F::Output>, TaskError>
            where
                F: TaskFn<M>,
                A: Accept<M>,
            {
                <$type>::submit(self, task, input)
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
                self.run_chunks::<P, I>(items, options)
            }
        }
    };
}

by_methods!(Pool, |pool| pool.batch());
by_methods!(Batch<'_>, |batch| batch);
