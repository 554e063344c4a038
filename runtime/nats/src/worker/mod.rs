//! The worker's side: serving whatever pools of this build are there.

mod crew;
mod recent;
mod run;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use offspring::{Pool, PoolError};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use self::crew::Crew;
use self::run::{Run, Signals};
use crate::link::Link;
use crate::names::{self, Names};
use crate::wire::{Beat, Here};
use crate::{NatsError, NatsOptions, Result, random, streams};
use offspring::engine::{self, Runner};

/// Between two looks for streams of pools that crashed.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// The pause before a server that could not be reached is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// What makes the local pool of a worker.
pub(crate) type MakePool = Box<dyn FnOnce() -> Result<Pool, PoolError> + Send>;

/// A worker of pools on other machines, with options; [`serve`] is one without.
///
/// # Examples
///
/// ```no_run
/// use std::time::Duration;
/// use offspring::Pool;
/// use offspring_nats::Worker;
///
/// Worker::new("nats://nats.example.org")
///     .local(|| Pool::builder().workers(4).memory_limit(2 << 30).build())
///     .leave_within(Duration::from_secs(60))
///     .serve()?;
/// # Ok::<(), offspring_nats::NatsError>(())
/// ```
#[must_use]
pub struct Worker {
    url: String,
    options: NatsOptions,
    local: MakePool,
    leave_within: Duration,
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("url", &crate::link::public(&self.url))
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// Serves the pools of this program that use the server at `url`, until the process is told to end by SIGTERM or SIGINT.
///
/// Tasks run in a local pool with as many processes as this one may use CPUs. `url` is one address, `nats://host:4222`, or several of one
/// cluster with commas between them; who the worker is, is said by the URL or by the environment: see [`NatsOptions::new`]. [`Worker`] has options.
///
/// It need not be there first: a worker waits for a server, tries again for ever when it loses it, and finds pools whenever they come.
/// When it is told to end, it takes nothing more, gives back what has not begun, finishes what has, and returns.
///
/// # Errors
///
/// The URL makes no sense, the server refuses this client, or the local pool cannot be started.
///
/// # Examples
///
/// ```no_run
/// # use offspring::task;
/// #[task]
/// fn square(x: u64) -> u64 {
///     x * x
/// }
///
/// fn main() -> Result<(), offspring_nats::NatsError> {
///     match std::env::args().nth(1).as_deref() {
///         Some("worker") => offspring_nats::serve("nats://127.0.0.1:4222"),
///         _ => Ok(()), // the program
///     }
/// }
/// ```
pub fn serve(url: &str) -> Result<()> {
    Worker::new(url).serve()
}

impl Worker {
    /// A worker for the server at `url`.
    pub fn new(url: impl Into<String>) -> Worker {
        Worker {
            url: url.into(),
            options: NatsOptions::new(),
            local: Box::new(Pool::new),
            leave_within: Duration::from_secs(25),
        }
    }

    /// How to use the server.
    pub fn options(mut self, options: NatsOptions) -> Self {
        self.options = options;
        self
    }

    /// Runs tasks in the pool that this makes: with a state, limits, or another number of processes.
    pub fn local(mut self, make: impl FnOnce() -> Result<Pool, PoolError> + Send + 'static) -> Self {
        self.local = Box::new(make);
        self
    }

    /// How long tasks that run may go on when the worker is told to end; then they are ended, and others run them anew. Default 25 seconds, as
    /// Kubernetes kills after 30.
    pub fn leave_within(mut self, grace: Duration) -> Self {
        self.leave_within = grace;
        self
    }

    pub(crate) fn local_boxed(mut self, make: MakePool) -> Self {
        self.local = make;
        self
    }

    /// Serves until the process is told to end; see [`serve`].
    ///
    /// # Errors
    ///
    /// As [`serve`].
    pub fn serve(self) -> Result<()> {
        self.options.check()?;
        let pool = (self.local)()?;
        let crew = Arc::new(Crew::start(Runner::pooled(pool))?);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let server = Server { url: self.url, options: self.options, crew: crew.clone(), id: random() };
        let is_idle = runtime.block_on(server.serve(self.leave_within))?;
        if !is_idle {
            crew.abort();
        }
        Ok(())
    }
}

struct Server {
    url: String,
    options: NatsOptions,
    crew: Arc<Crew>,
    id: u64,
}

/// A run that is served.
struct Served {
    heard: watch::Sender<Option<Instant>>,
    task: JoinHandle<()>,
}

/// What asks a worker to end.
struct Ending {
    terminate: Signal,
    interrupt: Signal,
}

impl Ending {
    fn new() -> Result<Ending> {
        Ok(Ending { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn comes(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

impl Server {
    /// Serves; `false`: what runs did not end in time.
    async fn serve(&self, leave_within: Duration) -> Result<bool> {
        let mut ending = Ending::new()?;
        let link = tokio::select! {
            link = self.connect() => link?,
            () = ending.comes() => return Ok(true),
        };
        let build = engine::build_id();
        let pools = link.client.subscribe(names::pools(build)).await;
        let mut pools = pools.map_err(|error| NatsError::server("cannot listen for pools", error))?;
        let (leave, leaves) = watch::channel(false);
        let mut runs: HashMap<u64, Served> = HashMap::new();
        let mut tick = tokio::time::interval(self.options.beat);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut sweep = tokio::time::interval(SWEEP_EVERY);
        let mut sweeps = JoinSet::new();
        let mut connected = link.connected.clone();
        loop {
            tokio::select! {
                Some(message) = pools.next() => {
                    if let Some(beat) = Beat::decode(message.payload) {
                        self.heard(beat, &link, build, &leaves, &mut runs);
                    }
                }
                _ = tick.tick() => {
                    self.beat(&link, build, self.crew.slots()).await;
                    runs.retain(|_, run| !run.task.is_finished());
                }
                Ok(()) = connected.changed() => self.beat(&link, build, self.crew.slots()).await,
                _ = sweep.tick() => {
                    let link = link.clone();
                    sweeps.spawn(async move { streams::sweep(&link).await });
                }
                Some(_) = sweeps.join_next() => {}
                () = ending.comes() => break,
            }
        }
        self.beat(&link, build, 0).await;
        let _ = leave.send(true);
        let finish = async {
            for run in runs.into_values() {
                // Held until the end: else the run would take its pool for gone.
                let Served { heard, task } = run;
                let _ = task.await;
                drop(heard);
            }
        };
        let is_idle = tokio::time::timeout(leave_within, finish).await.is_ok();
        let _ = tokio::time::timeout(PAUSE, link.client.flush()).await;
        Ok(is_idle)
    }

    /// Connects, however often it takes; but not with options that can never work.
    async fn connect(&self) -> Result<Link> {
        loop {
            match Link::connect(&self.url, &self.options, "offspring worker").await {
                Ok(link) => return Ok(link),
                Err(error @ (NatsError::InvalidInput(_) | NatsError::Refused { .. })) => return Err(error),
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    async fn beat(&self, link: &Link, build: u64, slots: usize) {
        let slots = u32::try_from(slots).unwrap_or(u32::MAX);
        let here = Here { worker: self.id, slots, every: self.options.beat };
        let _ = link.client.publish(names::workers(build), here.encode()).await;
    }

    /// A pool said that it is there, or that it ends.
    fn heard(
        &self,
        beat: Beat,
        link: &Link,
        build: u64,
        leaves: &watch::Receiver<bool>,
        runs: &mut HashMap<u64, Served>,
    ) {
        let known = runs.get(&beat.run).filter(|run| !run.task.is_finished());
        match (known, beat.is_over) {
            (Some(run), is_over) => {
                let _ = run.heard.send((!is_over).then(Instant::now));
            }
            (None, true) => {}
            (None, false) => {
                let (heard, hears) = watch::channel(Some(Instant::now()));
                let signals = Signals { heard: hears, leave: leaves.clone() };
                let attach = Run::attach(
                    link.clone(),
                    Names::new(build, beat.run),
                    self.options.clone(),
                    self.id,
                    self.crew.clone(),
                    signals,
                );
                // Not attached: the next beat tries again.
                let task = tokio::spawn(async move {
                    if let Ok(run) = attach.await {
                        run.serve().await;
                    }
                });
                runs.insert(beat.run, Served { heard, task });
            }
        }
    }
}
