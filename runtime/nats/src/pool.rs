//! The pool whose workers are elsewhere.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use offspring::engine::{self, RemotePool};
use offspring::{Pool, PoolError, RunOptions};

use crate::transport::Begun;
use crate::worker::MakePool;
use crate::{NatsError, NatsOptions, Result, Worker};

/// The environment variable that makes a process of the program a worker: the URL of the server.
const SERVE: &str = "OFFSPRING_NATS_SERVE";
/// Between two looks at how many workers there are.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A pool of workers on any machines that reach the same NATS server: all calls of [`Executor`](offspring::Executor).
///
/// Workers are processes of the same program file, started anywhere and at any time: with the server's URL in the environment variable
/// `OFFSPRING_NATS_SERVE`, or by calling [`serve`](crate::serve). Each runs tasks in a local pool. They come and go as they like; while there is none, work
/// waits. Workers of another build of the program never get its tasks.
///
/// # Starting workers by the environment
/// `OFFSPRING_NATS_SERVE=nats://host:4222 ./program` runs `main` up to the point where a `NatsPool` is made. There it becomes a worker, and the
/// process ends when the worker does: on SIGTERM or SIGINT. So make the pool early, before `main` does what only one process should. In
/// processes that this library has made, such as a task's, the variable means nothing.
///
/// # What is promised
/// The value of each task is delivered once, as long as the server keeps what it has stored and some worker lives: over the deaths of workers, of
/// their hosts, and of the server's process, over lost connections, and with a journal over the death of the program itself. To that
/// end a task may be *run* more than once, when a worker is lost or cut off while it runs: its effects outside must bear that.
///
/// # Examples
///
/// ```no_run
/// use offspring::{Executor, task};
/// use offspring_nats::NatsPool;
///
/// #[task]
/// fn square(x: u64) -> u64 {
///     x * x
/// }
///
/// // In a worker, `connect` does not return.
/// let pool = NatsPool::connect("nats://127.0.0.1:4222")?;
/// assert_eq!(pool.map(square, 0..4)?, [0, 1, 4, 9]);
/// # Ok::<(), offspring_nats::NatsError>(())
/// ```
pub struct NatsPool {
    remote: RemotePool,
    strangers: Arc<AtomicUsize>,
}

impl fmt::Debug for NatsPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsPool")
            .field("workers", &self.workers())
            .field("strangers", &self.strangers())
            .finish_non_exhaustive()
    }
}

engine::delegate!(NatsPool, |pool| &pool.remote);

/// A [`NatsPool`] with options; see [`NatsPool::builder`].
#[must_use]
pub struct NatsPoolBuilder {
    url: String,
    options: NatsOptions,
    defaults: RunOptions,
    local: MakePool,
}

impl fmt::Debug for NatsPoolBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsPoolBuilder")
            .field("url", &crate::link::public(&self.url))
            .field("options", &self.options)
            .field("defaults", &self.defaults)
            .finish_non_exhaustive()
    }
}

impl NatsPool {
    /// Connects to the server at `url`: one address, `nats://host:4222`, or several of one cluster with commas between them.
    ///
    /// Where the environment says that this process is a worker, it serves, and does not return.
    ///
    /// # Errors
    ///
    /// The server cannot be reached within 10 seconds, refuses this client, or has no JetStream.
    pub fn connect(url: &str) -> Result<NatsPool> {
        NatsPool::builder(url).connect()
    }

    /// A pool with options.
    pub fn builder(url: impl Into<String>) -> NatsPoolBuilder {
        NatsPoolBuilder {
            url: url.into(),
            options: NatsOptions::new(),
            defaults: RunOptions::new(),
            local: Box::new(Pool::new),
        }
    }

    /// How many tasks can run at a time, with all workers that are there now.
    pub fn workers(&self) -> usize {
        self.remote.workers()
    }

    /// How many workers are at the server that are of another build, or another program, while none of this build is there.
    ///
    /// They never get its tasks. Where the count is not 0 for long, somebody has forgotten to bring the workers up to date.
    pub fn strangers(&self) -> usize {
        self.strangers.load(Relaxed)
    }

    /// Waits until so many tasks can run at a time; `false`: not within `timeout`.
    ///
    /// Work need not wait for workers; this is for programs that would rather do something else without them.
    pub fn wait_for_workers(&self, workers: usize, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        while self.workers() < workers {
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(LOOK_EVERY.min(deadline.saturating_duration_since(Instant::now())));
        }
        true
    }

    /// Takes no more work. What was begun goes on.
    pub fn close(&self) {
        self.remote.close();
    }

    /// Gives up all that is not done: whoever waits for it gets [`TaskError::PoolClosed`](offspring::TaskError::PoolClosed). Tasks that run are ended.
    pub fn terminate(&self) {
        self.remote.terminate();
    }

    /// Closes it, waits for what is under way, and removes what it has on the server. Dropping it does the same.
    pub fn join(self) {
        self.remote.join();
    }
}

impl NatsPoolBuilder {
    /// How to use the server.
    pub fn options(mut self, options: NatsOptions) -> Self {
        self.options = options;
        self
    }

    /// Options of all runs that do not say otherwise.
    pub fn defaults(mut self, options: RunOptions) -> Self {
        self.defaults = options;
        self
    }

    /// The local pool of a worker that the environment makes of this process: with a state, limits, or another number of processes. The pool that
    /// connects has none.
    pub fn local(mut self, make: impl FnOnce() -> Result<Pool, PoolError> + Send + 'static) -> Self {
        self.local = Box::new(make);
        self
    }

    /// Connects; see [`NatsPool::connect`].
    ///
    /// # Errors
    ///
    /// As [`NatsPool::connect`]; and [`NatsError::InvalidInput`] for options that make no sense.
    pub fn connect(self) -> Result<NatsPool> {
        let NatsPoolBuilder { url, options, defaults, local } = self;
        if let Some(url) = serves_at() {
            Worker::new(url?).options(options).local_boxed(local).serve()?;
            std::process::exit(0);
        }
        let begun = Begun::begin(url, options)?;
        let strangers = begun.strangers();
        let remote =
            RemotePool::start("offspring-nats-pool", &defaults, move || Ok::<_, NatsError>(begun.transport()))?;
        Ok(NatsPool { remote, strangers })
    }
}

/// Where the environment wants this process to serve, if it does.
fn serves_at() -> Option<Result<String>> {
    let url = std::env::var_os(SERVE).filter(|url| !url.is_empty() && offspring::process::parent().is_none())?;
    Some(url.into_string().map_err(|_| NatsError::InvalidInput(format!("{SERVE} is not UTF-8"))))
}
