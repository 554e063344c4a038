//! `Process`: what a child of one task should be like.
#![allow(unsafe_code)]

use std::ffi::OsStr;
use std::fmt;
use std::marker::PhantomData;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::boot::Role;
use super::child_handle::Child;
use super::error::SpawnError;
use super::spec::{ChildSpec, StartMethod};
use super::stream::Stream;
use super::supervisor;
use super::task_block::TaskBlock;
use crate::arena::{self, Block};
use crate::task::{self, registry};
use crate::{Accept, ErrorKind, Message, TaskContext, TaskFn};

/// A process that runs one task: its options, until [`spawn`](Process::spawn).
///
/// `R` is what the task returns. The input is written into shared memory by [`new`](Process::new), so that a large one is copied
/// once.
///
/// The child never outlives the process that spawned it, however that ends.
///
/// # Examples
/// ```
/// use offspring::{Process, task};
///
/// #[task]
/// fn greeting() -> String {
///     std::env::var("GREETING").unwrap_or_default()
/// }
///
/// # fn main() -> offspring::Result<()> {
/// let child = Process::new(greeting, ()).name("greeter").env("GREETING", "hello").spawn()?;
/// assert_eq!(child.join()?, "hello");
/// # Ok(())
/// # }
/// ```
pub struct Process<R> {
    spec: Result<Prepared, SpawnError>,
    streams: [Stream; 3],
    _result: PhantomData<fn() -> R>,
}

struct Prepared {
    spec: ChildSpec,
    block: Block,
    view: TaskBlock,
    context: TaskContext,
}

impl<R: Message> Process<R> {
    /// A process that will run `task` on `input`: the value itself for one parameter, a tuple for several, `()` for none.
    ///
    /// Does not block and starts nothing. What is wrong with task or input, [`spawn`](Process::spawn) says.
    ///
    /// ```
    /// use offspring::{Process, task};
    ///
    /// #[task]
    /// fn square(x: u64) -> u64 {
    ///     x * x
    /// }
    ///
    /// let child = Process::new(square, 7).name("squarer").spawn()?;
    /// assert_eq!(child.join()?, 49);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn new<F, M, I>(task: F, input: I) -> Process<R>
    where
        F: TaskFn<M, Output = R>,
        I: Accept<M>,
    {
        // Only the type says which task it is.
        _ = task;
        let streams = [Stream::inherit(), Stream::inherit(), Stream::inherit()];
        Process { spec: Prepared::new::<F, M, I>(input), streams, _result: PhantomData }
    }

    fn with(mut self, change: impl FnOnce(&mut ChildSpec)) -> Self {
        if let Ok(prepared) = &mut self.spec {
            change(&mut prepared.spec);
        }
        self
    }

    /// Names the process: for [`Child::name`], [`process::current`](fn@crate::process::current) in the child, and, its first 15 bytes, for
    /// `ps` and `top`. Without a name it gets one with a number.
    #[must_use]
    pub fn name(self, name: impl Into<String>) -> Self {
        self.with(|spec| spec.name = name.into())
    }

    /// A daemon is ended at the end of the program; others are waited for. Default: `false`.
    ///
    /// ```
    /// use offspring::{Process, task};
    ///
    /// #[task]
    /// fn watch() {
    ///     loop {
    ///         std::thread::sleep(std::time::Duration::from_secs(1)); // looks after something
    ///     }
    /// }
    ///
    /// let child = Process::new(watch, ()).daemon(true).spawn()?;
    /// assert!(child.is_daemon() && child.is_alive()); // ends with the program
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[must_use]
    pub fn daemon(self, daemon: bool) -> Self {
        self.with(|spec| spec.daemon = daemon)
    }

    /// Sets an environment variable in the child.
    ///
    /// ```
    /// use offspring::{Process, task};
    ///
    /// #[task]
    /// fn greeting() -> Option<String> {
    ///     std::env::var("GREETING").ok()
    /// }
    ///
    /// let child = Process::new(greeting, ()).env("GREETING", "hello").spawn()?;
    /// assert_eq!(child.join()?.as_deref(), Some("hello"));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[must_use]
    pub fn env(self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.envs([(key, value)])
    }

    /// Sets environment variables in the child.
    #[must_use]
    pub fn envs<K: AsRef<OsStr>, V: AsRef<OsStr>>(mut self, vars: impl IntoIterator<Item = (K, V)>) -> Self {
        for (key, value) in vars {
            let mut set = Ok(());
            self = self.with(|spec| set = spec.env.set(key.as_ref(), value.as_ref()));
            if let Err(reason) = set {
                self.spec = self.spec.and(Err(SpawnError::InvalidInput { reason }));
            }
        }
        self
    }

    /// Removes an environment variable in the child.
    #[must_use]
    pub fn env_remove(self, key: impl AsRef<OsStr>) -> Self {
        self.with(|spec| _ = spec.env.vars.insert(key.as_ref().into(), None))
    }

    /// Gives the child an empty environment, but for what [`env`](Process::env) adds before or after.
    ///
    /// A program that needs `LD_LIBRARY_PATH` to find its libraries will not start without it by [`StartMethod::Spawn`].
    #[must_use]
    pub fn env_clear(self) -> Self {
        self.with(|spec| spec.env.clear = true)
    }

    /// Sets the child's working directory; a relative path starts from that of the caller.
    ///
    /// ```
    /// use offspring::{Process, task};
    /// use std::path::PathBuf;
    ///
    /// #[task]
    /// fn here() -> PathBuf {
    ///     std::env::current_dir().unwrap()
    /// }
    ///
    /// assert_eq!(Process::new(here, ()).current_dir("/").spawn()?.join()?, PathBuf::from("/"));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[must_use]
    pub fn current_dir(self, path: impl AsRef<Path>) -> Self {
        self.with(|spec| spec.cwd = Some(path.as_ref().into()))
    }

    /// Sets the child's standard input.
    #[must_use]
    pub fn stdin(mut self, stream: impl Into<Stream>) -> Self {
        self.streams[0] = stream.into();
        self
    }

    /// Sets the child's standard output.
    #[must_use]
    pub fn stdout(mut self, stream: impl Into<Stream>) -> Self {
        self.streams[1] = stream.into();
        self
    }

    /// Sets the child's standard error.
    #[must_use]
    pub fn stderr(mut self, stream: impl Into<Stream>) -> Self {
        self.streams[2] = stream.into();
        self
    }

    /// Keeps the last 4 KiB of what the child writes to its standard error, for [`Child::stderr_tail`]. Default: `false`.
    ///
    /// All of it still goes where it would go: this process reads it from a pipe and passes it on. So for the child standard error is no
    /// terminal, and its lines come out a little later than they were written.
    #[must_use]
    pub fn stderr_tail(self, keep: bool) -> Self {
        self.with(|spec| spec.stderr_tail = keep)
    }

    /// Sets the child's niceness, from -20 (first served) to 19. Lowering it takes a privilege.
    #[must_use]
    pub fn nice(self, nice: i32) -> Self {
        self.with(|spec| spec.nice = Some(nice))
    }

    /// Sets the CPUs that the child may use, by number.
    #[must_use]
    pub fn cpus(self, cpus: impl IntoIterator<Item = usize>) -> Self {
        self.with(|spec| spec.cpus = Some(cpus.into_iter().collect()))
    }

    /// Limits the child's private memory, in bytes (`RLIMIT_DATA`). An allocation beyond fails, which ends most programs by `SIGABRT`.
    ///
    /// Memory shared by the family does not count.
    #[must_use]
    pub fn memory_limit(self, bytes: u64) -> Self {
        self.with(|spec| spec.limits.memory = Some(bytes))
    }

    /// Limits the CPU time of the child, in whole seconds, rounded up. It is sent `SIGXCPU` at the limit and `SIGKILL` a second later.
    ///
    /// ```
    /// use offspring::{Process, Signal, task};
    /// use std::time::Duration;
    ///
    /// #[task]
    /// fn spin() {
    ///     loop {
    ///         std::hint::spin_loop();
    ///     }
    /// }
    ///
    /// let mut child = Process::new(spin, ()).cpu_time_limit(Duration::from_millis(100)).spawn()?;
    /// assert_eq!(child.wait()?.signal(), Some(Signal::XCPU));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[must_use]
    pub fn cpu_time_limit(self, time: Duration) -> Self {
        self.with(|spec| spec.limits.cpu_time = Some(time))
    }

    /// Sets how the process is made. Default: [`StartMethod::Spawn`].
    #[must_use]
    pub fn start_method(self, method: StartMethod) -> Self {
        self.with(|spec| spec.method = method)
    }

    /// Starts the process. Blocks until it exists, not until it runs.
    ///
    /// The child dies with this process, however that ends.
    ///
    /// ```
    /// use offspring::{Process, task};
    ///
    /// #[task]
    /// fn nothing() {}
    ///
    /// let child = Process::new(nothing, ()).spawn()?;
    /// assert!(child.pid() > 1);
    /// child.join()?;
    /// let error = Process::new(nothing, ()).current_dir("/no/such/directory").spawn().unwrap_err();
    /// assert!(error.to_string().contains("/no/such/directory"));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// A limit is reached, an option cannot be met, the function is no task, the input is no message or does not fit into shared memory:
    /// see [`SpawnError`]. What only the child can find out, such as a niceness that it may not have, [`Child::join`] says.
    pub fn spawn(self) -> Result<Child<R>, SpawnError> {
        let Prepared { mut spec, block, view, context } = self.spec?;
        if spec.name.is_empty() {
            spec.name = default_name();
        }
        let failed = || SpawnError::io("opening a standard stream for a child");
        let [stdin, stdout, stderr] = self.streams;
        let (input, stdin) = stdin.open_for_reading().map_err(failed())?;
        let (output, stdout) = stdout.open_for_writing().map_err(failed())?;
        let (errors, stderr) = stderr.open_for_writing().map_err(failed())?;
        spec.streams = [input, output, errors];
        // The child writes into it as long as it lives, whatever becomes of the handle.
        let block = Arc::new(block);
        let kept = block.clone();
        spec.on_death = Some(Box::new(move |_| {
            // The input is read no more: what it refers to is not kept for as long as somebody has the handle. A refusal means that it is.
            if let Ok(arena) = arena::family() {
                _ = arena.give_back(kept.id());
            }
        }));
        let handle = supervisor::start(spec)?;
        Ok(Child::new(handle, block, view, context, (stdin, stdout, stderr)))
    }
}

impl Prepared {
    fn new<F, M, I>(input: I) -> Result<Prepared, SpawnError>
    where
        F: TaskFn<M>,
        I: Accept<M>,
    {
        let lookup = |error: registry::LookupError| match error.kind() {
            ErrorKind::DuplicateTask => SpawnError::DuplicateTask { reason: error.to_string() },
            _ => SpawnError::UnknownTask { reason: error.to_string() },
        };
        let (task, entry) = registry::entry_of::<F>(task::Role::Task).map_err(lookup)?;
        let context = TaskContext::new(entry.name(), None);
        let (block, view) = TaskBlock::create(arena::family()?, task, entry)?;
        // SAFETY: the view's input slot was made for this task's input layout, is nobody else's yet, and lies in the mapping of the encoder's
        // spans.
        unsafe { input.write(&mut view.input_encoder(), view.input()) }.map_err(|error| {
            let reason = format!("the input of {context} cannot be sent: {error}");
            match error.kind() {
                ErrorKind::OutOfMemory => SpawnError::OutOfMemory { reason },
                _ => SpawnError::NotSendable { reason },
            }
        })?;
        let spec = ChildSpec::new(Role::Task, block.id(), StartMethod::Spawn);
        Ok(Prepared { spec, block, view, context })
    }
}

/// `Process-1`, `Process-2`, ..., counted in each process.
fn default_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(1);
    format!("Process-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

impl<R> fmt::Debug for Process<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Process");
        match &self.spec {
            Ok(prepared) => out.field("task", &prepared.context.task).field("name", &prepared.spec.name),
            Err(error) => out.field("error", error),
        };
        out.finish_non_exhaustive()
    }
}

/// Starts a process that runs `task` on `input`: the short form of [`Process`].
///
/// Blocks until the process exists, not until it runs.
///
/// # Examples
/// ```
/// use offspring::task;
///
/// #[task]
/// fn square(x: u64) -> u64 {
///     x * x
/// }
///
/// # fn main() -> offspring::Result<()> {
/// let (three, four) = (offspring::spawn(square, 3)?, offspring::spawn(square, 4)?);
/// assert_eq!(three.join()? + four.join()?, 25);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// As for [`Process::spawn`].
pub fn spawn<F, M, I>(task: F, input: I) -> Result<Child<F::Output>, SpawnError>
where
    F: TaskFn<M>,
    I: Accept<M>,
{
    Process::new(task, input).spawn()
}
