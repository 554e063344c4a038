//! Why a task gave no value.

use std::sync::Arc;
use std::time::Duration;

use super::seen::{Seen, TaskOutput};
use crate::process::{CrashTrace, Usage};
use crate::{ErrorKind, ExitStatus};

/// Which run of which task a failure belongs to.
///
/// Cheap to clone; part of every [`TaskError`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TaskContext {
    /// The task's registered name, `module::path::function`.
    pub task: Arc<str>,
    /// The item's index in its batch; `None` for a single call or process.
    pub item: Option<usize>,
    /// What is known of the run beside its failure.
    seen: Option<Arc<Seen>>,
}

impl TaskContext {
    pub(crate) fn new(task: impl Into<Arc<str>>, item: Option<usize>) -> TaskContext {
        TaskContext { task: task.into(), item, seen: None }
    }

    /// The same of a run that has left something.
    pub(crate) fn having(mut self, change: impl FnOnce(&mut Seen)) -> TaskContext {
        let mut seen = self.seen.take().map_or_else(Seen::default, Arc::unwrap_or_clone);
        change(&mut seen);
        self.seen = (seen != Seen::default()).then(|| Arc::new(seen));
        self
    }

    /// The same of a run that ended by a crash.
    pub(crate) fn crashed(self, trace: &CrashTrace) -> TaskContext {
        self.having(|seen| seen.crash = Some(trace.clone()))
    }

    fn epilogue(&self) -> String {
        self.seen.as_ref().map_or_else(String::new, |seen| seen.epilogue())
    }
}

impl std::fmt::Display for TaskContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "task `{}`", self.task)?;
        match self.item {
            Some(item) => write!(f, ", item {item}"),
            None => Ok(()),
        }
    }
}

/// Why a task gave no value.
///
/// A task's own `Result` is not one of these: it is the value.
///
/// ```
/// use offspring::{Executor, Inline, task};
///
/// #[task]
/// fn half(x: u64) -> u64 {
///     assert!(x % 2 == 0, "{x} is odd");
///     x / 2
/// }
///
/// let halves = Inline::new().try_map(half, [4, 5])?;
/// assert_eq!(halves[0], Ok(2));
/// let error = halves[1].as_ref().unwrap_err();
/// assert!(error.is_panicked());
/// assert_eq!((error.item(), error.message()), (Some(1), Some("5 is odd")));
/// # Ok::<(), offspring::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// The task panicked.
    #[error("{context} panicked at {location}: {message}{}", context.epilogue())]
    Panicked {
        /// Which task and item.
        context: TaskContext,
        /// The panic's message.
        message: String,
        /// `file:line:column` of the panic.
        location: String,
        /// The process that ran it.
        worker: u32,
        /// How often the task was begun, this time included: more than once where workers had died with it.
        tries: u32,
        /// The backtrace, when `RUST_BACKTRACE` asks for one.
        backtrace: Option<Box<str>>,
    },
    /// The process that ran the task ended before it gave a value: it was killed, it crashed or it called `exit`.
    #[error("{context}: its process {worker} ended ({status}{}), tries: {tries}{}", because(*status, *oom_killed, note.as_deref()), last_words(context, stderr.as_deref()))]
    WorkerDied {
        /// Which task and item.
        context: TaskContext,
        /// How the process ended.
        status: ExitStatus,
        /// The process that ran it.
        worker: u32,
        /// How often the task was tried, this time included.
        tries: u32,
        /// What the process could still say of a fatal signal, such as a stack overflow.
        note: Option<String>,
        /// Did the kernel kill it because memory ran out? `None`: nothing tells.
        oom_killed: Option<bool>,
        /// What the process had used; `None` where somebody else took its exit status.
        usage: Option<Box<Usage>>,
        /// The last that it wrote to its standard error, where that was asked for.
        stderr: Option<Box<str>>,
    },
    /// The task ran longer than its limit and was ended.
    #[error("{context} ran longer than {limit:?} and was ended{}", context.epilogue())]
    TimedOut {
        /// Which task and item.
        context: TaskContext,
        /// The limit.
        limit: Duration,
        /// The process that ran it.
        worker: u32,
        /// How often the task was begun, this time included.
        tries: u32,
    },
    /// The task was cancelled before it gave a value.
    #[error("{context} was cancelled")]
    Cancelled {
        /// Which task and item.
        context: TaskContext,
    },
    /// The task was not begun, as too many others of its batch had failed; see [`OnError`](crate::OnError).
    #[error("{context} was not run: {failures} {} of the batch had failed", if *failures == 1 { "item" } else { "items" })]
    Stopped {
        /// Which task and item.
        context: TaskContext,
        /// How many.
        failures: usize,
    },
    /// The task was given up, as worker after worker had died of its batch; see
    /// [`PoolBuilder::crash_limit`](crate::PoolBuilder::crash_limit).
    #[error("{context} was given up: {deaths} workers in a row had died of its batch; the last one: {last}")]
    CrashLimit {
        /// Which task and item.
        context: TaskContext,
        /// How many.
        deaths: u32,
        /// How the last one ended.
        last: String,
    },
    /// The input or the output could not be made into a message, or not be read back.
    #[error("{context}: {reason}")]
    NotSendable {
        /// Which task and item.
        context: TaskContext,
        /// What was wrong, and what to do.
        reason: String,
        /// The finer kind: [`ErrorKind::NotSendable`], [`ErrorKind::OutOfMemory`] or [`ErrorKind::InvalidData`].
        kind: ErrorKind,
    },
    /// The pool was closed or terminated.
    #[error("{context}: the pool is closed; create another with `Pool::new`")]
    PoolClosed {
        /// Which task and item.
        context: TaskContext,
    },
    /// No worker could be started, workers ended over and over before they took any work, or none can ever have what the task needs.
    #[error("{context}: no worker can run it: {reason}")]
    NoWorker {
        /// Which task and item.
        context: TaskContext,
        /// Why not, and what to do.
        reason: String,
        /// The finer kind: [`ErrorKind::Spawn`], [`ErrorKind::Limit`], [`ErrorKind::UnknownTask`] and the like.
        kind: ErrorKind,
    },
    /// The task borrows a worker's state, and there is none for it: none was given, it is of another type, or it could not be
    /// made.
    #[error("{context}: {reason}")]
    NoState {
        /// Which task and item.
        context: TaskContext,
        /// Why not, and what to do.
        reason: String,
        /// The finer kind: [`ErrorKind::InvalidInput`] when there is none of this type, otherwise what became of its
        /// constructor, such as [`ErrorKind::Panicked`] or [`ErrorKind::Failed`].
        kind: ErrorKind,
    },
    /// A wait with a timeout ended before the task did; the task goes on.
    #[error("{context} is not done after {waited:?}; it goes on")]
    Timeout {
        /// Which task and item.
        context: TaskContext,
        /// How long the caller waited.
        waited: Duration,
    },
    /// The batch's journal cannot be opened, read or written.
    #[error("{context}: {reason}")]
    Journal {
        /// Which task and item.
        context: TaskContext,
        /// What is wrong with which file, and what to do.
        reason: String,
        /// The finer kind: [`ErrorKind::InUse`], [`ErrorKind::InvalidData`], [`ErrorKind::Io`].
        kind: ErrorKind,
    },
    /// The value was already taken from this handle.
    #[error("{context}: its value was already taken from this handle")]
    Taken {
        /// Which task and item.
        context: TaskContext,
    },
}

impl TaskError {
    /// The kind of this failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            TaskError::Panicked { .. } => ErrorKind::Panicked,
            TaskError::WorkerDied { .. } | TaskError::CrashLimit { .. } => ErrorKind::WorkerDied,
            TaskError::TimedOut { .. } | TaskError::Timeout { .. } => ErrorKind::Timeout,
            TaskError::Cancelled { .. } | TaskError::Stopped { .. } => ErrorKind::Cancelled,
            TaskError::NotSendable { kind, .. }
            | TaskError::NoWorker { kind, .. }
            | TaskError::NoState { kind, .. }
            | TaskError::Journal { kind, .. } => *kind,
            TaskError::PoolClosed { .. } => ErrorKind::Closed,
            TaskError::Taken { .. } => ErrorKind::Taken,
        }
    }

    fn context_mut(&mut self) -> &mut TaskContext {
        match self {
            TaskError::Panicked { context, .. }
            | TaskError::WorkerDied { context, .. }
            | TaskError::TimedOut { context, .. }
            | TaskError::Cancelled { context }
            | TaskError::Stopped { context, .. }
            | TaskError::CrashLimit { context, .. }
            | TaskError::NotSendable { context, .. }
            | TaskError::PoolClosed { context }
            | TaskError::NoWorker { context, .. }
            | TaskError::NoState { context, .. }
            | TaskError::Timeout { context, .. }
            | TaskError::Journal { context, .. }
            | TaskError::Taken { context } => context,
        }
    }

    /// The same about this item.
    pub(crate) fn with_item(mut self, item: usize) -> TaskError {
        self.context_mut().item = Some(item);
        self
    }

    /// Changes which run this is about.
    pub(crate) fn change_context(&mut self, change: impl FnOnce(TaskContext) -> TaskContext) {
        let context = self.context_mut();
        *context = change(context.clone());
    }

    /// The same about this task.
    pub(crate) fn with_task(mut self, task: Arc<str>) -> TaskError {
        self.context_mut().task = task;
        self
    }

    /// Which task and item this is about.
    pub fn context(&self) -> &TaskContext {
        match self {
            TaskError::Panicked { context, .. }
            | TaskError::WorkerDied { context, .. }
            | TaskError::TimedOut { context, .. }
            | TaskError::Cancelled { context }
            | TaskError::Stopped { context, .. }
            | TaskError::CrashLimit { context, .. }
            | TaskError::NotSendable { context, .. }
            | TaskError::PoolClosed { context }
            | TaskError::NoWorker { context, .. }
            | TaskError::NoState { context, .. }
            | TaskError::Timeout { context, .. }
            | TaskError::Journal { context, .. }
            | TaskError::Taken { context } => context,
        }
    }

    /// The task's name.
    pub fn task(&self) -> &str {
        &self.context().task
    }

    /// The item's index in its batch.
    pub fn item(&self) -> Option<usize> {
        self.context().item
    }

    /// Did the task panic?
    pub fn is_panicked(&self) -> bool {
        matches!(self, TaskError::Panicked { .. })
    }

    /// Did the process end before it gave a value?
    pub fn is_worker_died(&self) -> bool {
        matches!(self, TaskError::WorkerDied { .. })
    }

    /// Was the task ended because it ran too long?
    pub fn is_timed_out(&self) -> bool {
        matches!(self, TaskError::TimedOut { .. })
    }

    /// Was the task cancelled?
    pub fn is_cancelled(&self) -> bool {
        matches!(self, TaskError::Cancelled { .. })
    }

    /// Was the task not begun, as too many others of its batch had failed?
    pub fn is_stopped(&self) -> bool {
        matches!(self, TaskError::Stopped { .. })
    }

    /// Was the task given up, as worker after worker had died of its batch?
    pub fn is_crash_limit(&self) -> bool {
        matches!(self, TaskError::CrashLimit { .. })
    }

    /// Could the input or the output not be made into a message, or not be read back?
    pub fn is_not_sendable(&self) -> bool {
        matches!(self, TaskError::NotSendable { .. })
    }

    /// Was the pool closed or terminated?
    pub fn is_pool_closed(&self) -> bool {
        matches!(self, TaskError::PoolClosed { .. })
    }

    /// Could no worker be started?
    pub fn is_no_worker(&self) -> bool {
        matches!(self, TaskError::NoWorker { .. })
    }

    /// Is there no worker's state for the task to borrow?
    pub fn is_no_state(&self) -> bool {
        matches!(self, TaskError::NoState { .. })
    }

    /// Did a wait end before the task did?
    pub fn is_timeout(&self) -> bool {
        matches!(self, TaskError::Timeout { .. })
    }

    /// Is it the batch's journal that cannot be used?
    pub fn is_journal(&self) -> bool {
        matches!(self, TaskError::Journal { .. })
    }

    /// Was the value already taken from this handle?
    pub fn is_taken(&self) -> bool {
        matches!(self, TaskError::Taken { .. })
    }

    /// The panic's message, where a panic is the reason.
    pub fn message(&self) -> Option<&str> {
        match self {
            TaskError::Panicked { message, .. } => Some(message),
            _ => None,
        }
    }

    /// `file:line:column` of the panic, where a panic is the reason.
    pub fn location(&self) -> Option<&str> {
        match self {
            TaskError::Panicked { location, .. } => Some(location),
            _ => None,
        }
    }

    /// The process that ran the task, where it panicked, ran too long or the process ended.
    pub fn worker(&self) -> Option<u32> {
        match self {
            TaskError::Panicked { worker, .. }
            | TaskError::TimedOut { worker, .. }
            | TaskError::WorkerDied { worker, .. } => Some(*worker),
            _ => None,
        }
    }

    /// How often the task was begun, where it panicked, ran too long or its process ended.
    pub fn tries(&self) -> Option<u32> {
        match self {
            TaskError::Panicked { tries, .. }
            | TaskError::TimedOut { tries, .. }
            | TaskError::WorkerDied { tries, .. } => Some(*tries),
            _ => None,
        }
    }

    /// Did the kernel kill the task's process because memory ran out? `None` where that is not known, or is not what happened.
    pub fn oom_killed(&self) -> Option<bool> {
        match self {
            TaskError::WorkerDied { oom_killed, .. } => *oom_killed,
            _ => None,
        }
    }

    /// What the task's process had used when it ended, where that is the reason and the kernel told.
    pub fn usage(&self) -> Option<Usage> {
        match self {
            TaskError::WorkerDied { usage, .. } => usage.as_deref().copied(),
            _ => None,
        }
    }

    /// The last that the task's process wrote to its standard error, where its end is the reason and that was kept.
    pub fn stderr(&self) -> Option<&str> {
        match self {
            TaskError::WorkerDied { stderr, .. } => stderr.as_deref(),
            _ => None,
        }
    }

    /// What the task noted before it failed, with [`task::note`](crate::task::note); oldest first. Of one that was tried several times, the
    /// notes of all tries.
    pub fn notes(&self) -> &[String] {
        self.context().seen.as_ref().map_or(&[], |seen| &seen.notes)
    }

    /// What the task wrote before it failed, where that was captured; see [`OutputMode::Capture`](crate::OutputMode::Capture). Of one that was
    /// tried several times, the output of all tries.
    pub fn output(&self) -> Option<&TaskOutput> {
        self.context().seen.as_ref()?.output.as_deref()
    }

    /// Where the task's process was when a fatal signal ended it, such as `SIGSEGV` or `SIGABRT`, as far as it could still say.
    pub fn crash(&self) -> Option<&CrashTrace> {
        self.context().seen.as_ref()?.crash.as_ref()
    }

    /// The way to the failure as text, one call a line: of a panic, where `RUST_BACKTRACE` or
    /// [`PoolBuilder::backtraces`](crate::PoolBuilder::backtraces) asked for it; of a crash, see [`CrashTrace`].
    pub fn backtrace(&self) -> Option<String> {
        match self {
            TaskError::Panicked { backtrace, .. } => backtrace.as_deref().map(str::to_owned),
            _ => self.crash().map(ToString::to_string),
        }
    }

    /// How the process ended, where that is the reason.
    pub fn exit_status(&self) -> Option<ExitStatus> {
        match self {
            TaskError::WorkerDied { status, .. } => Some(*status),
            _ => None,
        }
    }
}

/// What is known of a death beside its status, to be said after that: in [`TaskError::WorkerDied`]'s text, and in reports.
pub(crate) fn because(status: ExitStatus, oom_killed: Option<bool>, note: Option<&str>) -> String {
    let memory = if oom_killed == Some(true) { ": memory ran out" } else { "" };
    let Some(note) = note else { return memory.to_owned() };
    // The note of a fatal signal begins with its name, which the status says already.
    match status.signal().and_then(|signal| note.strip_prefix(signal.name()?)) {
        Some(circumstances) => format!("{circumstances}{memory}"),
        None => format!("{memory}: {note}"),
    }
}

/// The end of that text: what it left beside, and the last lines.
fn last_words(context: &TaskContext, stderr: Option<&str>) -> String {
    let mut text = context.epilogue();
    if let Some(words) = stderr.map(str::trim).filter(|text| !text.is_empty()) {
        text += &format!("; its last words:\n{words}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fatal_signal_is_named_once() {
        let segfault = ExitStatus::Signaled { signal: crate::Signal::SEGV, core_dumped: false };
        let said = |note| because(segfault, None, Some(note));
        assert_eq!(said("SIGSEGV at address 0x10"), " at address 0x10");
        assert_eq!(said("SIGSEGV"), "");
        assert_eq!(said("SIGABRT"), ": SIGABRT");
    }

    #[test]
    fn every_variant_has_its_own_predicate() {
        let context = TaskContext::new("task", Some(3));
        let (reason, kind, wait) = (|| "why".to_owned(), ErrorKind::InvalidInput, Duration::ZERO);
        let status = ExitStatus::Exited(3);
        let (message, location) = ("m".to_owned(), "l".to_owned());
        let died = TaskError::WorkerDied {
            context: context.clone(),
            status,
            worker: 8,
            tries: 2,
            note: Some("a note".to_owned()),
            oom_killed: Some(true),
            usage: None,
            stderr: Some("a line\n".into()),
        };
        let text = died.to_string();
        assert!(text.ends_with("memory ran out: a note), tries: 2; its last words:\na line"), "{text}");
        let errors = [
            TaskError::Panicked { context: context.clone(), message, location, worker: 7, tries: 3, backtrace: None },
            died,
            TaskError::TimedOut { context: context.clone(), limit: wait, worker: 9, tries: 1 },
            TaskError::Cancelled { context: context.clone() },
            TaskError::Stopped { context: context.clone(), failures: 1 },
            TaskError::CrashLimit { context: context.clone(), deaths: 4, last: "m".to_owned() },
            TaskError::NotSendable { context: context.clone(), reason: reason(), kind },
            TaskError::PoolClosed { context: context.clone() },
            TaskError::NoWorker { context: context.clone(), reason: reason(), kind },
            TaskError::NoState { context: context.clone(), reason: reason(), kind },
            TaskError::Timeout { context: context.clone(), waited: wait },
            TaskError::Taken { context },
        ];
        let predicates: [fn(&TaskError) -> bool; 12] = [
            TaskError::is_panicked,
            TaskError::is_worker_died,
            TaskError::is_timed_out,
            TaskError::is_cancelled,
            TaskError::is_stopped,
            TaskError::is_crash_limit,
            TaskError::is_not_sendable,
            TaskError::is_pool_closed,
            TaskError::is_no_worker,
            TaskError::is_no_state,
            TaskError::is_timeout,
            TaskError::is_taken,
        ];
        for (at, error) in errors.iter().enumerate() {
            let holds: Vec<usize> = (0..predicates.len()).filter(|&other| predicates[other](error)).collect();
            assert_eq!((holds, error.item()), (vec![at], Some(3)), "{error:?}");
            assert_eq!(*error, error.clone());
        }
        let facts = |error: &TaskError| {
            (error.message().is_some(), error.location().is_some(), error.worker(), error.tries(), error.exit_status())
        };
        assert_eq!(facts(&errors[0]), (true, true, Some(7), Some(3), None));
        assert_eq!(facts(&errors[1]), (false, false, Some(8), Some(2), Some(status)));
        assert_eq!(facts(&errors[2]), (false, false, Some(9), Some(1), None));
    }
}
