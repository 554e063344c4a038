//! The pool over ranks: rank 0 goes on in `main`, the others run tasks.
//!
//! `channel` (bytes between ranks, none of it blocking for the one that sends), `greeting` (what ranks say of themselves), `master` and `serve` (the two
//! sides of it). All MPI calls of a rank are made by one thread, which also runs the rank's tasks where it has no processes for that.

mod channel;
mod greeting;
mod master;
mod serve;

use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::Duration;

use offspring::engine::{self, Loopback, RemotePool, Runner, Transport};
use offspring::{Inline, Pool, RunOptions};

use crate::{MpiError, Result, env, sys};
use master::Master;

pub use greeting::RankInfo;

/// A pool whose workers are the ranks of an MPI job: the same program, started by `mpirun` or `srun`.
///
/// Rank 0 goes on after [`new`](Self::new); the other ranks serve in there, and end when rank 0 drops the pool. So what stands before it in `main`
/// is done by every rank, what stands after it by rank 0 alone. Started without a launcher, the program is its own only rank, and the pool is one of
/// processes on this machine.
///
/// It offers what [`Executor`](offspring::Executor) says; bring that into scope.
///
/// ```no_run
/// use offspring::{Executor, task};
/// use offspring_mpi::MpiPool;
///
/// #[task]
/// fn square(x: u64) -> u64 {
///     x * x
/// }
///
/// fn main() -> offspring_mpi::Result<()> {
///     let pool = MpiPool::new()?;
///     assert_eq!(pool.map(square, 0..4)?, [0, 1, 4, 9]);
///     Ok(())
/// }
/// ```
///
/// # One rank for each core, or for each machine
///
/// Without options each rank runs tasks itself, one at a time: start as many ranks as there are cores, and one more. A task that panics costs its item;
/// one that crashes ends the job. With [`local_workers`](MpiPoolBuilder::local_workers) each rank has a pool of processes instead: start one rank on each
/// machine. Then a crash costs its item, too, and retries, time limits and cancellation by force work as in a [`Pool`](offspring::Pool).
///
/// # When something dies
///
/// | what | what happens |
/// | --- | --- |
/// | a task panics | its item is an error |
/// | a task crashes, with local workers | its item is an error, or tried again; the rank lives |
/// | a task crashes, without | its rank dies: see below |
/// | a rank or its machine | the launcher ends the whole job within seconds, says which rank, and exits with an error; with a [journal](offspring::RunOptions) the next run goes on |
/// | rank 0 | the same |
///
/// # What it cannot carry
///
/// Handles of shared objects (queues, locks, values) belong to one machine: an item or a result with one is an error. `slots` and named resources are refused.
/// What a task emits, notes or says of its progress stays on its rank.
///
/// # Other uses of MPI in the program
///
/// All MPI calls are made by the pool's own thread, from [`new`](Self::new) to the end of the pool, which is the end of MPI in the process: use either this
/// or [`Comm`](crate::Comm) in one run of a program, and one pool.
#[doc(alias = "MPIPoolExecutor")]
#[doc(alias = "MPICommExecutor")]
#[derive(Debug)]
pub struct MpiPool {
    remote: Arc<RemotePool>,
    ranks: Arc<[RankInfo]>,
}

engine::delegate!(MpiPool, |pool| &*pool.remote);

type Make<T> = Box<dyn FnOnce() -> offspring::Result<T> + Send>;

/// Who runs a rank's tasks.
enum Local {
    /// Its own thread, or a process if there is but one rank.
    Unsaid,
    Workers(usize),
    Pool(Make<Pool>),
    Inline(Make<Inline>),
}

/// Options for an [`MpiPool`]; every rank must give the same.
#[must_use = "a builder does nothing until `build` is called"]
pub struct MpiPoolBuilder {
    local: Local,
    options: RunOptions,
    patience: Duration,
}

impl std::fmt::Debug for MpiPoolBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MpiPoolBuilder").field("options", &self.options).finish_non_exhaustive()
    }
}

/// So long rank 0 waits for the others to come.
const PATIENCE: Duration = Duration::from_secs(60);
/// So long a program that exits waits for the end of a pool that is still there.
const EXIT_PATIENCE: Duration = Duration::from_secs(10);

impl MpiPoolBuilder {
    /// Each rank runs its tasks in so many processes of its own, so that a crash costs one item, and one rank serves a whole machine.
    pub fn local_workers(mut self, workers: usize) -> Self {
        self.local = Local::Workers(workers.max(1));
        self
    }

    /// Each rank runs its tasks in the pool that `make` makes there: with a state, limits, an initializer.
    ///
    /// Its processes should not be taken for ranks: have the launcher's variables removed (`env_remove`) where tasks start MPI themselves.
    pub fn local_pool(mut self, make: impl FnOnce() -> offspring::Result<Pool> + Send + 'static) -> Self {
        self.local = Local::Pool(Box::new(make));
        self
    }

    /// Each rank runs its tasks itself, by the executor that `make` makes there: with a state, for instance.
    pub fn inline(mut self, make: impl FnOnce() -> offspring::Result<Inline> + Send + 'static) -> Self {
        self.local = Local::Inline(Box::new(make));
        self
    }

    /// How work is run where its batch does not say otherwise.
    pub fn options(mut self, options: &RunOptions) -> Self {
        self.options = options.clone();
        self
    }

    /// How long rank 0 waits for the others to come. Default a minute.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// On rank 0, the pool. The other ranks serve in here and end with the pool: this does not return there, unless it fails.
    ///
    /// Blocks until all ranks have come.
    ///
    /// # Errors
    ///
    /// [`MpiError::OtherBuild`] when a rank is another build of the program, [`MpiError::Absent`] when one does not come, [`MpiError::Unusable`] when MPI is
    /// in use already, [`MpiError::Call`] when it cannot be started.
    pub fn build(self) -> Result<MpiPool> {
        let MpiPoolBuilder { local, options, patience } = self;
        let ranks = Arc::new(Mutex::new(Vec::new()));
        let known = ranks.clone();
        let remote = RemotePool::start("offspring-mpi", &options, move || {
            let transport = connect(local, patience)?;
            *known.lock().unwrap_or_else(PoisonError::into_inner) = transport.ranks();
            Ok::<_, MpiError>(transport)
        })?;
        let ranks = std::mem::take(&mut *ranks.lock().unwrap_or_else(PoisonError::into_inner));
        let remote = Arc::new(remote);
        OPEN.set(&remote);
        Ok(MpiPool { remote, ranks: ranks.into() })
    }
}

/// Starts MPI in this thread. Of rank 0, comes back with the way to the others.
fn connect(local: Local, patience: Duration) -> Result<Way> {
    env::start()?;
    env::at_exit(end_pool);
    let world = sys::dup(sys::world())?;
    let (rank, size) = (sys::rank(world)?, sys::size(world)?);
    if size == 1 {
        let runner = runner(local, true).map_err(task_error)?;
        return Ok(Way::Alone { loopback: Loopback::new(runner)?, host: sys::host() });
    }
    if rank != 0 {
        let made = runner(local, false).map_err(task_error).and_then(|runner| serve::serve(world, rank, runner));
        let code = match made {
            Ok(()) => 0,
            Err(error) => {
                serve::complain(rank, &error);
                1
            }
        };
        if code != 0 {
            // The others must not wait for this one.
            sys::abort(code);
        }
        OPEN.finish();
        env::finish();
        std::process::exit(code);
    }
    Ok(Way::Ranks(Box::new(Master::welcome(world, size, patience)?)))
}

fn task_error(error: offspring::Error) -> MpiError {
    MpiError::Local(Box::new(error))
}

fn runner(local: Local, alone: bool) -> offspring::Result<Runner> {
    let workers = match local {
        Local::Pool(make) => return Ok(Runner::pooled(make()?)),
        Local::Inline(make) => return Ok(Runner::inline(make()?)),
        Local::Workers(workers) => workers,
        Local::Unsaid if alone => 1,
        Local::Unsaid => return Ok(Runner::inline(Inline::new())),
    };
    let launchers = std::env::vars_os().map(|(name, _)| name).filter(|name| {
        let name = name.to_string_lossy();
        ["OMPI_", "PMIX_", "PMI_", "PRTE_", "MPI_", "HYDRA_"].iter().any(|prefix| name.starts_with(prefix))
    });
    let builder =
        launchers.fold(Pool::builder().workers(workers).name("rank"), |builder, name| builder.env_remove(name));
    Ok(Runner::pooled(builder.build()?))
}

/// The way to the workers.
enum Way {
    Ranks(Box<Master>),
    Alone { loopback: Loopback, host: String },
}

impl Way {
    fn ranks(&self) -> Vec<RankInfo> {
        match self {
            Way::Ranks(master) => master.ranks(),
            Way::Alone { host, .. } => {
                vec![RankInfo { rank: 0, host: host.clone(), process: std::process::id(), workers: 1 }]
            }
        }
    }
}

macro_rules! either {
    ($way:expr, $inner:ident => $call:expr) => {
        match $way {
            Way::Ranks($inner) => $call,
            Way::Alone { loopback: $inner, .. } => $call,
        }
    };
}

impl Transport for Way {
    fn send(&mut self, peer: engine::PeerId, parcel: &Arc<engine::Parcel>) -> Result<(), String> {
        either!(self, way => way.send(peer, parcel))
    }

    fn cancel(&mut self, peer: engine::PeerId, parcel: &Arc<engine::Parcel>, level: offspring::CancelLevel) {
        either!(self, way => way.cancel(peer, parcel, level));
    }

    fn poll(&mut self, wait: Option<Duration>, events: &mut Vec<engine::Event>) {
        either!(self, way => way.poll(wait, events));
    }

    fn waker(&self) -> Arc<dyn Fn() + Send + Sync> {
        either!(self, way => way.waker())
    }

    fn close(&mut self, stuck: &[engine::PeerId]) {
        either!(self, way => way.close(stuck));
        env::finish();
        OPEN.finish();
    }
}

/// The pool of this process, for the program's exit.
struct Open {
    pool: Mutex<Option<Weak<RemotePool>>>,
    /// MPI has ended.
    over: Mutex<bool>,
    news: Condvar,
}

static OPEN: Open = Open { pool: Mutex::new(None), over: Mutex::new(false), news: Condvar::new() };

impl Open {
    fn set(&self, pool: &Arc<RemotePool>) {
        *self.pool.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::downgrade(pool));
    }

    fn finish(&self) {
        *self.over.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.news.notify_all();
    }
}

/// Called when the program exits well: a pool that was not dropped is ended, so that its ranks end.
fn end_pool() {
    let pool = OPEN.pool.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(pool) = pool.as_ref().and_then(Weak::upgrade) else { return };
    pool.terminate();
    let over = OPEN.over.lock().unwrap_or_else(PoisonError::into_inner);
    let waited = OPEN.news.wait_timeout_while(over, EXIT_PATIENCE, |over| !*over);
    if waited.is_ok_and(|(_, timeout)| timeout.timed_out()) {
        sys::abort(1);
    }
    // The thread that ran it is not waited for: what is left of it ends with the process.
    std::mem::forget(pool);
}

impl MpiPool {
    /// The pool of this job's ranks. See [`MpiPoolBuilder::build`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn new() -> Result<MpiPool> {
        MpiPool::builder().build()
    }

    /// Options for a pool.
    pub fn builder() -> MpiPoolBuilder {
        MpiPoolBuilder { local: Local::Unsaid, options: RunOptions::new(), patience: PATIENCE }
    }

    /// The ranks that run tasks: all but rank 0, or rank 0 if it is the only one.
    #[doc(alias = "get_comm_workers")]
    pub fn ranks(&self) -> &[RankInfo] {
        &self.ranks
    }

    /// How many tasks run at a time, on all ranks.
    #[doc(alias = "num_workers")]
    pub fn workers(&self) -> usize {
        self.remote.workers()
    }

    /// Takes no more work. What was begun goes on.
    pub fn close(&self) {
        self.remote.close();
    }

    /// Closes it, and waits until all work is done and all other ranks have been told to end.
    pub fn join(&self) {
        self.remote.join();
    }

    /// Gives up what is not done: whoever waits for it gets [`TaskError::PoolClosed`](offspring::TaskError::PoolClosed).
    pub fn terminate(&self) {
        self.remote.terminate();
    }
}
