//! The builder's options for workers: what they begin and end with, when they are replaced, what they may use.

use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use super::hook;
use crate::ErrorKind;
use crate::pool::layout::KINDS;
use crate::pool::{Pool, PoolBuilder, PoolError};
use crate::seeing::output::OutputMode;
use crate::task::{Accept, TaskError, TaskFn};

impl PoolBuilder {
    /// Has each worker run `task` on `input` before its first task.
    ///
    /// For what is process-wide: a logger, a seed, a warm cache. What tasks are to *borrow* belongs into a
    /// [`state`](PoolBuilder::state). Where it panics, or returns an `Err`, the pool fails: whoever waits for it gets
    /// [`TaskError::NoWorker`] with that reason, and no more workers are started. One that kills its worker is tried three times.
    ///
    /// ```
    /// use std::sync::OnceLock;
    ///
    /// use offspring::{Pool, task};
    ///
    /// static GREETING: OnceLock<String> = OnceLock::new();
    ///
    /// #[task]
    /// fn set_up(greeting: String) {
    ///     GREETING.set(greeting).expect("set once in each process");
    /// }
    ///
    /// #[task]
    /// fn greet(name: &str) -> String {
    ///     format!("{} {name}", GREETING.get().map_or("", String::as_str))
    /// }
    ///
    /// let pool = Pool::builder().workers(2).initializer(set_up, "hello".to_string()).build()?;
    /// assert_eq!(pool.map(greet, ["Ada", "Eve"])?, ["hello Ada", "hello Eve"]);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[doc(alias = "initargs")]
    pub fn initializer<F, M, A>(mut self, task: F, input: A) -> Self
    where
        F: TaskFn<M>,
        A: Accept<M> + Send + 'static,
    {
        self.initializer = Some(hook::prepare("initializer", task, input));
        self
    }

    /// Has each worker run `task` on `input` after its last task; [`Pool::finalizer_results`] has what it returned.
    ///
    /// It runs when a worker ends by itself: the pool was closed or dropped, or the worker is recycled, idle for too long or too many.
    /// Not in one that is killed; and a dropped pool waits two seconds at most.
    ///
    /// ```
    /// use offspring::{Pool, task};
    /// use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
    ///
    /// static DONE: AtomicU64 = AtomicU64::new(0); // each worker has its own
    ///
    /// #[task]
    /// fn work(_: u64) {
    ///     DONE.fetch_add(1, Relaxed);
    /// }
    ///
    /// #[task]
    /// fn tell() -> u64 {
    ///     DONE.load(Relaxed)
    /// }
    ///
    /// let pool = Pool::builder().workers(2).finalizer(tell, ()).build()?;
    /// pool.map(work, 0..10)?;
    /// pool.close();
    /// pool.join()?;
    /// assert_eq!(pool.finalizer_results(tell)?.into_iter().sum::<Result<u64, _>>()?, 10);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[doc(alias = "worker_exit")]
    pub fn finalizer<F, M, A>(mut self, task: F, input: A) -> Self
    where
        F: TaskFn<M>,
        A: Accept<M> + Send + 'static,
    {
        self.finalizer = Some(hook::prepare("finalizer", task, input));
        self
    }

    /// Replaces a worker after so many items at most: against tasks that leak.
    ///
    /// A worker takes whole chunks, and none that would bring it beyond; so it may end a little earlier. Chunks that the pool chooses are never
    /// larger than this. Each worker takes one chunk at least, however large you made it with [`chunk_size`](crate::Batch::chunk_size).
    ///
    /// ```
    /// use offspring::{Pool, task};
    ///
    /// #[task]
    /// fn square(x: u64) -> u64 {
    ///     x * x
    /// }
    ///
    /// let pool = Pool::builder().workers(1).max_tasks_per_worker(10).build()?;
    /// pool.map(square, 0..30)?;
    /// assert!(pool.stats().started >= 3);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[doc(alias = "maxtasksperchild")]
    pub fn max_tasks_per_worker(mut self, items: u64) -> Self {
        if items == 0 {
            self.options.limits.refuse("a worker does one task at least: `max_tasks_per_worker(0)`".into());
        }
        self.options.limits.max_tasks = Some(items);
        self
    }

    /// Replaces a worker that has more private memory than this in use, in bytes, between two chunks of items.
    ///
    /// Looked at every 10 ms at most. Memory that the family shares does not count, nor what is swapped out. Nothing is lost: for a limit
    /// that a single task cannot break, see [`memory_limit`](Self::memory_limit).
    pub fn recycle_above(mut self, bytes: u64) -> Self {
        self.options.limits.recycle_above = Some(bytes.max(1));
        self
    }

    /// Limits the private memory of each worker, in bytes (`RLIMIT_DATA`).
    ///
    /// An allocation beyond fails: code that asks (`Vec::try_reserve`) gets an error, other code ends its worker by `SIGABRT`, which is
    /// [`TaskError::WorkerDied`] for the item it was running. Counted is what a process may write to and shares with nobody, touched or
    /// not: heap, thread stacks, private mappings. Not counted: shared mappings, so also the family's memory, and files that are mapped to be
    /// read. The system enforces it at once and without any watching.
    ///
    /// ```
    /// use offspring::{ErrorKind, Pool, task};
    ///
    /// #[task]
    /// fn take(bytes: usize) -> usize {
    ///     vec![1u8; bytes].len()
    /// }
    ///
    /// let pool = Pool::builder().workers(1).memory_limit(256 << 20).build()?;
    /// let results = pool.try_map(take, [1 << 20, 1 << 30])?;
    /// assert_eq!(results[0], Ok(1 << 20));
    /// assert_eq!(results[1].as_ref().unwrap_err().kind(), ErrorKind::WorkerDied);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.options.limits.memory = Some(bytes);
        self
    }

    /// Limits the CPU time of one task, of all threads of the worker together.
    ///
    /// At the limit the worker gets `SIGXCPU`, which ends it unless the task handles that signal: [`TaskError::WorkerDied`] for the
    /// item. The clock starts with each chunk of items, so the items of a chunk share the time: relevant where you choose a
    /// [`chunk_size`](crate::Batch::chunk_size), as chunks that the pool chooses last about a millisecond. Fine to some milliseconds.
    pub fn cpu_time_limit(mut self, time: Duration) -> Self {
        if time.is_zero() {
            self.options.limits.refuse("a CPU time limit of nothing: no task could run".into());
        }
        self.options.limits.cpu_time = Some(time);
        self
    }

    /// Sets the workers' niceness, from -20 (first served) to 19. Lowering it takes a privilege.
    pub fn nice(mut self, nice: i32) -> Self {
        if !(-20..=19).contains(&nice) {
            self.options.limits.refuse(format!("a niceness of {nice}: it goes from -20 to 19"));
        }
        self.options.limits.nice = Some(nice);
        self
    }

    /// Sets the CPUs that the workers may use, by number.
    pub fn cpus(mut self, cpus: impl IntoIterator<Item = usize>) -> Self {
        self.options.limits.cpus = Some(cpus.into_iter().collect());
        self
    }

    /// Keeps each worker on one CPU of those that it may use: worker 0 on the first, worker 1 on the second, and so on, round again
    /// where there are more workers. Default: `false`, the system moves them.
    pub fn pin_cpus(mut self, pin: bool) -> Self {
        self.options.limits.pin = pin;
        self
    }

    /// Sets an environment variable in the workers.
    ///
    /// ```
    /// use offspring::{Pool, task};
    ///
    /// #[task]
    /// fn setting() -> Option<String> {
    ///     std::env::var("SETTING").ok()
    /// }
    ///
    /// let pool = Pool::builder().env("SETTING", "on").build()?;
    /// assert_eq!(pool.call(setting, ())?.as_deref(), Some("on"));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn env(self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.envs([(key, value)])
    }

    /// Sets environment variables in the workers.
    pub fn envs<K: AsRef<OsStr>, V: AsRef<OsStr>>(mut self, vars: impl IntoIterator<Item = (K, V)>) -> Self {
        for (key, value) in vars {
            if let Err(reason) = self.options.limits.env.set(key.as_ref(), value.as_ref()) {
                self.options.limits.refuse(reason);
            }
        }
        self
    }

    /// Removes an environment variable in the workers.
    pub fn env_remove(mut self, key: impl AsRef<OsStr>) -> Self {
        self.options.limits.env.vars.insert(key.as_ref().into(), None);
        self
    }

    /// Gives the workers an empty environment, but for what [`env`](Self::env) adds before or after.
    pub fn env_clear(mut self) -> Self {
        self.options.limits.env.clear = true;
        self
    }

    /// Sets the workers' working directory; a relative path starts from this process's when a worker is started.
    pub fn current_dir(mut self, path: impl AsRef<Path>) -> Self {
        self.options.limits.cwd = Some(path.as_ref().into());
        self
    }

    /// Ends a worker that has been idle for so long. It is started again when there is work. Default: idle workers stay.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.options.limits.idle_timeout = Some(timeout);
        self
    }

    /// How many threads numerical libraries may use in each worker. Default: the CPUs that this process may use, divided by the workers, so
    /// that all workers together do not use more.
    ///
    /// Told to them by `OMP_NUM_THREADS`, `OPENBLAS_NUM_THREADS`, `MKL_NUM_THREADS`, `BLIS_NUM_THREADS`, `VECLIB_MAXIMUM_THREADS`,
    /// `NUMEXPR_NUM_THREADS`, `NUMBA_NUM_THREADS`, `RAYON_NUM_THREADS` and `POLARS_MAX_THREADS`. A variable that is set, in this
    /// process or by [`env`](Self::env), stays as it is.
    pub fn library_threads(mut self, threads: usize) -> Self {
        if threads == 0 {
            self.options.limits.refuse("a library uses one thread at least: `library_threads(0)`".into());
        }
        self.options.limits.library_threads = Some(threads);
        self
    }

    /// Gives the pool so many tokens of a kind, for tasks that need some: devices, licences, connections. A batch says with
    /// [`needs`](crate::Batch::needs) how many each of its tasks takes while it runs. A pool has 8 kinds at most.
    ///
    /// ```
    /// use offspring::{Pool, task};
    ///
    /// #[task]
    /// fn train(x: u64) -> u64 {
    ///     x
    /// }
    ///
    /// // Four workers, but never more than two of these at once.
    /// let pool = Pool::builder().workers(4).resource("gpu", 2).build()?;
    /// assert_eq!(pool.batch().needs("gpu", 1).map(train, 0..8)?.len(), 8);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn resource(mut self, kind: impl Into<String>, count: u32) -> Self {
        let (kind, tokens) = (kind.into(), &mut self.options.limits.resources.tokens);
        if tokens.iter().any(|(known, _)| *known == kind) {
            self.options.limits.refuse(format!("the resource {kind:?} was given twice"));
        } else if tokens.len() == KINDS {
            self.options.limits.refuse(format!("a pool has {KINDS} kinds of resources at most"));
        } else {
            tokens.push((kind, count));
        }
        self
    }

    /// How much memory the tasks that run at once may have declared together, in bytes; see [`memory`](crate::Batch::memory). Default: any
    /// amount, as long as the system has it available when a task begins.
    pub fn memory_for_tasks(mut self, bytes: u64) -> Self {
        self.options.limits.resources.memory = Some(bytes);
        self
    }

    /// Begins no task while less than this much memory is available, in bytes: to the system, or under the limit of this program's
    /// cgroup. One task of the pool runs in any case. Looked at every 10 ms at most, and again after 50 ms while workers wait for it.
    pub fn min_free_memory(mut self, bytes: u64) -> Self {
        self.options.limits.resources.keep_free = Some(bytes);
        self
    }

    /// How many workers of this pool and of all pools that its tasks make run tasks at once. Default: the pool's
    /// [`workers`](PoolBuilder::workers).
    ///
    /// A tree of pools has one such budget, that of its first pool; in a pool that is made by a task this option means nothing. Workers
    /// beyond it wait. A task that waits for the results of another pool leaves its place to others meanwhile.
    pub fn budget(mut self, running: usize) -> Self {
        if running == 0 {
            self.options.limits.refuse("a budget of no running worker: no task could run".into());
        }
        self.options.limits.budget = Some(running);
        self
    }

    /// Do workers' log records come to this process? Default: where the features `tracing` or `log` are on and this process has a
    /// subscriber, or a logger, when the pool is built.
    ///
    /// With `false` workers log nothing, unless an [`initializer`](Self::initializer) sets up a subscriber or a logger of their own, which it
    /// can do only then.
    pub fn forward_records(mut self, forward: bool) -> Self {
        self.options.limits.records = Some(forward);
        self
    }

    /// What becomes of what tasks write to standard output and standard error, by Rust, C or a command. Default
    /// [`OutputMode::Inherit`]: it goes where this process's goes. A batch may choose [otherwise](crate::Batch::output).
    ///
    /// With anything else the workers' descriptors 1 and 2 are pipes, so no terminal for them. What is written while no task runs, and by
    /// threads or commands that outlive their task, goes on as it comes, or counts as the next task's.
    ///
    /// ```
    /// use offspring::{OutputMode, Pool, task};
    ///
    /// #[task]
    /// fn hash(name: &str) -> usize {
    ///     eprintln!("hashing {name}");
    ///     name.len()
    /// }
    ///
    /// // Prints `[worker-1 hash #0] hashing a`, and so on.
    /// let pool = Pool::builder().workers(2).output(OutputMode::Tagged).build()?;
    /// assert_eq!(pool.map(hash, ["a", "bc"])?, [1, 2]);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn output(mut self, mode: OutputMode) -> Self {
        self.options.limits.pipes = mode != OutputMode::Inherit;
        self.options.policy.output = mode;
        self
    }

    /// How much of each stream of a task is kept, in bytes, where output is kept: one half from its beginning and one from its end. Default
    /// 1 MiB. A task may write more than that, or gigabytes: the rest is counted and thrown away.
    pub fn output_limit(mut self, bytes: usize) -> Self {
        self.options.limits.output_limit = Some(bytes);
        self
    }

    /// Has panics told with their backtrace, in [`TaskError::backtrace`]. Default: where `RUST_BACKTRACE` asks for it, as everywhere.
    ///
    /// It costs some milliseconds for a worker's first panic, as the program's debug information is read, and less for those after it. Where
    /// a worker *crashed* is told in any case.
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
    /// let pool = Pool::builder().workers(1).backtraces(true).build()?;
    /// let error = pool.call(half, 3).unwrap_err();
    /// assert!(error.backtrace().unwrap().contains("half"));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn backtraces(mut self, tell: bool) -> Self {
        self.options.limits.backtraces = tell;
        self
    }

    /// Keeps the last 4 KiB of what each worker writes to its standard error, for the error of the task that it dies in. Default: `false`.
    ///
    /// All of it still goes to this process's standard error; but through a pipe, so for the workers that is no terminal, and lines come
    /// out a little later than they were written.
    pub fn stderr_tail(mut self, keep: bool) -> Self {
        self.options.limits.stderr_tail = keep;
        self
    }
}

impl Pool {
    /// What the workers' [`finalizer`](PoolBuilder::finalizer), `task`, returned: one result for each worker that has ended by itself,
    /// oldest first. Each is given out once. Does not wait: [`close`](Pool::close) and [`join`](Pool::join) come before, as a rule.
    ///
    /// They are kept in shared memory until they are taken, so take them now and then where workers are replaced often.
    ///
    /// # Errors
    ///
    /// [`PoolError::Hook`] when `task` is not this pool's finalizer. An inner error when the finalizer of that worker panicked.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::atomic::{AtomicU64, Ordering};
    ///
    /// use offspring::{Pool, task};
    ///
    /// static DONE: AtomicU64 = AtomicU64::new(0);
    ///
    /// #[task]
    /// fn work(x: u64) {
    ///     DONE.fetch_add(x, Ordering::Relaxed);
    /// }
    ///
    /// #[task]
    /// fn total() -> u64 {
    ///     DONE.load(Ordering::Relaxed)
    /// }
    ///
    /// let pool = Pool::builder().workers(2).finalizer(total, ()).build()?;
    /// pool.map(work, 0..100)?;
    /// pool.close();
    /// pool.join()?;
    /// let totals: Vec<u64> = pool.finalizer_results(total)?.into_iter().collect::<Result<_, _>>()?;
    /// assert_eq!(totals.iter().sum::<u64>(), 4950);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn finalizer_results<F, M>(&self, task: F) -> Result<Vec<Result<F::Output, TaskError>>, PoolError>
    where
        F: TaskFn<M>,
    {
        // Only the type says which task it is.
        _ = task;
        let estate = &self.core.estate;
        let Some(hook) = estate.inputs.finalizer.as_ref().filter(|hook| hook.is::<F>()) else {
            let reason = format!("`{}` is not the finalizer of this pool", std::any::type_name::<F>());
            return Err(PoolError::Hook { what: "finalizer", reason, kind: ErrorKind::InvalidInput });
        };
        if !self.core.is_here() {
            return Ok(Vec::new());
        }
        let left = std::mem::take(&mut self.core.lock().left);
        Ok(left.into_iter().map(|left| left.value::<F::Output>(estate.arena, hook)).collect())
    }
}
