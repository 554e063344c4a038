//! The calls that a pool and a batch have in common, with their documentation, written once.

/// The calls, as methods: `$runner` makes a [`Runner`](crate::pool::caller::runner::Runner) of `self`.
macro_rules! calls {
    (|$self:ident| $runner:expr) => {
        /// Runs `task` on every item and gives the results in input order. Blocks until all are there.
        ///
        /// A task of one parameter takes the item itself, of none `()`, of several a tuple.
        ///
        /// ```
        /// use offspring::{Pool, task};
        ///
        /// #[task]
        /// fn square(x: u64) -> u64 {
        ///     x * x
        /// }
        ///
        /// #[task]
        /// fn sum(a: u64, b: u64) -> u64 {
        ///     a + b
        /// }
        ///
        /// let pool = Pool::new()?;
        /// assert_eq!(pool.map(square, 0..4)?, [0, 1, 4, 9]);
        /// assert_eq!(pool.map(sum, [(1, 2), (3, 4)])?, [3, 7]);
        /// # Ok::<(), offspring::Error>(())
        /// ```
        ///
        /// # Errors
        ///
        /// The first item, in input order, that has no value: it panicked, its worker died and no tries were left, it ran too long, or
        /// it could not be sent. The rest of the batch is then cancelled; the pool stays usable. `try_map` keeps the others'
        /// results.
        ///
        /// # Panics
        ///
        /// If `task` is a function without `#[task]`, before anything is sent. A panic of `items` itself passes through, after the
        /// batch was cancelled.
        #[doc(alias = "starmap")]
        #[track_caller]
        pub fn map<F, M, I>(&self, task: F, items: I) -> Result<Vec<F::Output>, TaskError>
        where
            F: TaskFn<M>,
            I: IntoIterator,
            I::Item: Accept<M>,
        {
            let $self = self;
            $runner.map(task, items)
        }

        /// As `map`, but one bad item does not cost the others: each has its own result.
        ///
        /// Where the batch is ended early, by [`OnError`](crate::OnError) or a token, what was not begun has an error that says so, and
        /// what was not read of `items` by then has no result.
        ///
        /// ```
        /// use offspring::{Pool, task};
        ///
        /// #[task]
        /// fn half(x: u64) -> u64 {
        ///     assert!(x % 2 == 0, "{x} is odd");
        ///     x / 2
        /// }
        ///
        /// let results = Pool::new()?.try_map(half, [2, 3, 4])?;
        /// assert_eq!((&results[0], &results[2]), (&Ok(1), &Ok(2)));
        /// assert_eq!(results[1].as_ref().unwrap_err().message(), Some("3 is odd"));
        /// # Ok::<(), offspring::Error>(())
        /// ```
        ///
        /// # Errors
        ///
        /// Only when the batch as a whole failed: the pool was closed, or no worker could be started.
        ///
        /// # Panics
        ///
        /// As `map`.
        #[track_caller]
        pub fn try_map<F, M, I>(&self, task: F, items: I) -> Result<Vec<Result<F::Output, TaskError>>, TaskError>
        where
            F: TaskFn<M>,
            I: IntoIterator,
            I::Item: Accept<M>,
        {
            let $self = self;
            $runner.try_map(task, items)
        }

        /// As `map`, but results stay where the workers wrote them, in shared memory, and are read there.
        ///
        /// For results that are large, or many: nothing is copied and nothing allocated.
        ///
        /// ```
        /// use offspring::{Pool, task};
        ///
        /// #[task]
        /// fn row(width: u32) -> Vec<u8> {
        ///     vec![7; width as usize]
        /// }
        ///
        /// let rows = Pool::new()?.map_in_place(row, [1000, 2000])?;
        /// assert_eq!(rows.iter().map(|row| row.len()).sum::<usize>(), 3000); // nothing was copied
        /// # Ok::<(), offspring::Error>(())
        /// ```
        ///
        /// # Errors
        ///
        /// As `map`.
        ///
        /// # Panics
        ///
        /// As `map`.
        #[track_caller]
        pub fn map_in_place<F, M, I>(&self, task: F, items: I) -> Result<Views<F::Output>, TaskError>
        where
            F: TaskFn<M>,
            I: IntoIterator,
            I::Item: Accept<M>,
        {
            let $self = self;
            $runner.map_in_place(task, items)
        }

        /// As `map_in_place`, with a handle for each result.
        ///
        /// # Errors
        ///
        /// As `map`.
        ///
        /// # Panics
        ///
        /// As `map`.
        #[track_caller]
        pub fn map_archived<F, M, I>(&self, task: F, items: I) -> Result<Vec<View<F::Output>>, TaskError>
        where
            F: TaskFn<M>,
            I: IntoIterator,
            I::Item: Accept<M>,
        {
            let $self = self;
            Ok($runner.map_in_place(task, items)?.into_views())
        }

        /// Hands each result to `callback` as it comes, with its item's index, in the calling thread. Blocks until all are there; input and
        /// results are held in windows, as `imap_unordered` does.
        ///
        /// A callback that panics is reported on standard error as any panic is, and counted; the batch goes on.
        ///
        /// # Errors
        ///
        /// The pool is closed.
        ///
        /// # Panics
        ///
        /// As `map`.
        ///
        /// # Examples
        ///
        /// ```
        /// use offspring::{Pool, task};
        ///
        /// #[task]
        /// fn half(x: u64) -> u64 {
        ///     assert!(x % 2 == 0, "{x} is odd");
        ///     x / 2
        /// }
        ///
        /// let pool = Pool::builder().workers(2).build()?;
        /// let mut sum = 0;
        /// let tally = pool.map_with(half, 0..10, |_index, result| match result {
        ///     Ok(value) => sum += value,
        ///     Err(error) => assert!(error.is_panicked()),
        /// })?;
        /// assert_eq!((sum, tally.items, tally.failed), (0 + 1 + 2 + 3 + 4, 10, 5));
        /// # Ok::<(), offspring::Error>(())
        /// ```
        #[doc(alias = "map_async")]
        #[doc(alias = "callback")]
        #[track_caller]
        pub fn map_with<F, M, I>(
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
            let $self = self;
            $runner.map_with(task, items, callback)
        }

        /// Results in input order, lazily: `items` is read in the caller's thread, a few chunks a worker ahead, so endless input is
        /// normal and memory stays bounded. Nothing begins before the first `next`. Results that are there are handed out before more
        /// input is read; but input that waits for results still to come waits for ever, as both are this thread's: see
        /// `imap_ahead`.
        ///
        /// A failed item is an `Err` in its place; the iteration can go on.
        ///
        /// ```
        /// use offspring::{Pool, task};
        ///
        /// #[task]
        /// fn square(x: u64) -> u64 {
        ///     x * x
        /// }
        ///
        /// let pool = Pool::new()?;
        /// for (x, square) in pool.imap(square, 0..).enumerate() {
        ///     if square? > 1000 {
        ///         assert_eq!(x, 32);
        ///         break;
        ///     }
        /// }
        /// # Ok::<(), offspring::Error>(())
        /// ```
        ///
        /// # Panics
        ///
        /// As `map`. A panic of `items` itself passes through `next`, after the results of the items before it.
        #[track_caller]
        pub fn imap<F, M, I>(&self, task: F, items: I) -> Imap<F, M, I::IntoIter>
        where
            F: TaskFn<M>,
            I: IntoIterator,
            I::Item: Accept<M>,
        {
            let $self = self;
            $runner.imap(task, items)
        }

        /// As `imap`, but results come as they are done, each with its item's index.
        ///
        /// When the pool is terminated or cannot start workers, one last error comes, with the index that the next item would have had.
        ///
        /// ```
        /// use offspring::{Pool, task};
        ///
        /// #[task]
        /// fn square(x: u64) -> u64 {
        ///     x * x
        /// }
        ///
        /// let mut sum = 0;
        /// for (_index, square) in Pool::new()?.imap_unordered(square, 0..10) {
        ///     sum += square?;
        /// }
        /// assert_eq!(sum, 285);
        /// # Ok::<(), offspring::Error>(())
        /// ```
        #[doc(alias = "as_completed")]
        #[track_caller]
        pub fn imap_unordered<F, M, I>(&self, task: F, items: I) -> ImapUnordered<F, M, I::IntoIter>
        where
            F: TaskFn<M>,
            I: IntoIterator,
            I::Item: Accept<M>,
        {
            let $self = self;
            $runner.imap_unordered(task, items)
        }

        /// As `imap`, but `items` is read by a thread of its own, which begins at once and keeps a few hundred items ahead. So input
        /// may wait for results still to come, and slow input and slow use of results overlap.
        ///
        /// When the iterator is dropped, the thread ends with the next item that it gets.
        ///
        /// # Panics
        ///
        /// As `imap`.
        ///
        /// # Examples
        ///
        /// ```
        /// use offspring::{Pool, task};
        /// use std::sync::mpsc;
        ///
        /// #[task]
        /// fn double(x: u64) -> u64 {
        ///     2 * x
        /// }
        ///
        /// let pool = Pool::builder().workers(2).build()?;
        /// // Each item is made of the result before it.
        /// let (next, items) = mpsc::channel();
        /// next.send(1).unwrap();
        /// let mut results = pool.imap_ahead(double, items);
        /// for expected in [2, 4, 8, 16] {
        ///     let result = results.next().unwrap()?;
        ///     assert_eq!(result, expected);
        ///     next.send(result).unwrap();
        /// }
        /// # Ok::<(), offspring::Error>(())
        /// ```
        #[track_caller]
        pub fn imap_ahead<F, M, I>(&self, task: F, items: I) -> Imap<F, M, Ahead<I::Item>>
        where
            F: TaskFn<M>,
            I: IntoIterator,
            I::IntoIter: Send + 'static,
            I::Item: Accept<M> + Send + 'static,
        {
            let $self = self;
            $runner.imap_ahead(task, items)
        }

        /// Runs `task` once and waits for its value.
        ///
        /// ```
        /// use offspring::{Pool, task};
        ///
        /// #[task]
        /// fn add(a: u64, b: u64) -> u64 {
        ///     a + b
        /// }
        ///
        /// assert_eq!(Pool::new()?.call(add, (1, 2))?, 3);
        /// # Ok::<(), offspring::Error>(())
        /// ```
        ///
        /// # Errors
        ///
        /// Why there is no value; see [`TaskError`].
        ///
        /// # Panics
        ///
        /// As `map`.
        #[doc(alias = "apply")]
        #[track_caller]
        pub fn call<F, M, A>(&self, task: F, input: A) -> Result<F::Output, TaskError>
        where
            F: TaskFn<M>,
            A: Accept<M>,
        {
            self.submit(task, input)?.get()
        }

        /// Hands a call to the pool and returns at once.
        ///
        /// ```
        /// use offspring::{Pool, task};
        ///
        /// #[task]
        /// fn square(x: u64) -> u64 {
        ///     x * x
        /// }
        ///
        /// let pool = Pool::new()?;
        /// let handles = [3, 4].map(|x| pool.submit(square, x));
        /// let sum = handles.into_iter().map(|handle| handle?.get()).sum::<Result<u64, _>>()?;
        /// assert_eq!(sum, 25);
        /// # Ok::<(), offspring::Error>(())
        /// ```
        ///
        /// # Errors
        ///
        /// [`TaskError::PoolClosed`], [`TaskError::NotSendable`] when the input cannot be sent, or [`TaskError::Cancelled`] when the batch's
        /// token was cancelled before.
        ///
        /// # Panics
        ///
        /// As `map`.
        #[doc(alias = "starmap_async")]
        #[doc(alias = "apply_async")]
        #[track_caller]
        pub fn submit<F, M, A>(&self, task: F, input: A) -> Result<TaskHandle<F::Output>, TaskError>
        where
            F: TaskFn<M>,
            A: Accept<M>,
        {
            let $self = self;
            $runner.submit(task, input)
        }

        /// How it runs things, as far as that was said.
        pub(crate) fn policy(&self) -> &$crate::pool::policy::Policy {
            let $self = self;
            $runner.policy
        }

        /// Runs a program over items, part by part: what a flow is made of.
        pub(crate) fn run_chunks<P, I>(&self, items: I, options: ProgramOptions) -> Chunks<P, I>
        where
            P: Program,
            I: Iterator,
            I::Item: Accept<Fused<P>>,
        {
            let $self = self;
            $runner.run_chunks(items, options)
        }
    };
}

pub(in crate::pool) use calls;
