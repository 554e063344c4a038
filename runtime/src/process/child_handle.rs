//! `Child`: a process that runs one task, as its parent sees it.
#![allow(unsafe_code)]

use std::fmt;
use std::io::{self, PipeReader, PipeWriter};
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::handle::{ChildHandle, Death};
use super::task_block::{Outcome, TaskBlock};
use crate::arena::Block;
use crate::object::wait_any::{Bell, Waitable, sealed};
use crate::process::Usage;
use crate::{ErrorKind, ExitStatus, Message, Result, Signal, TaskContext, TaskError, message};

/// A process that runs a task returning `R`.
///
/// Dropping it neither ends nor waits for the process: see [`Process::daemon`](crate::Process::daemon) for what happens at the end of the
/// program. Its exit status is fetched at once when it ends, so no zombie stays.
///
/// When the process is killed, [`join`](Child::join) gives an error that says by which signal; nobody waits for it any longer. When the process
/// that has the handle dies, in any way, the child is killed.
///
/// In a process that the program forks by itself this is no child: waits for it fail, and its status is [`ExitStatus::Unknown`].
///
/// # Examples
/// ```
/// use offspring::{Signal, spawn, task};
///
/// #[task]
/// fn sleep(seconds: u64) {
///     std::thread::sleep(std::time::Duration::from_secs(seconds));
/// }
///
/// # fn main() -> offspring::Result<()> {
/// let mut child = spawn(sleep, 600)?;
/// assert!(child.is_alive());
/// child.terminate()?;
/// assert_eq!(child.wait()?.signal(), Some(Signal::TERM));
/// # Ok(())
/// # }
/// ```
pub struct Child<R> {
    handle: Arc<ChildHandle>,
    _block: Arc<Block>,
    view: TaskBlock,
    context: TaskContext,
    taken: bool,
    /// The writing end of its standard input, if that is [`Stream::piped`](crate::process::Stream::piped).
    pub stdin: Option<PipeWriter>,
    /// The reading end of its standard output, if that is piped.
    pub stdout: Option<PipeReader>,
    /// The reading end of its standard error, if that is piped.
    pub stderr: Option<PipeReader>,
    _result: PhantomData<fn() -> R>,
}

type Pipes = (Option<PipeWriter>, Option<PipeReader>, Option<PipeReader>);

impl<R> Child<R> {
    pub(super) fn new(
        handle: Arc<ChildHandle>,
        block: Arc<Block>,
        view: TaskBlock,
        context: TaskContext,
        (stdin, stdout, stderr): Pipes,
    ) -> Child<R> {
        Child { handle, _block: block, view, context, taken: false, stdin, stdout, stderr, _result: PhantomData }
    }

    /// Its process id. While this handle says that it is alive, no other process has it.
    #[doc(alias = "ident")]
    pub fn pid(&self) -> u32 {
        self.handle.pid()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.handle.name()
    }

    /// Is it a daemon, ended and not waited for at the end of the program?
    pub fn is_daemon(&self) -> bool {
        self.handle.is_daemon()
    }

    /// Has it not ended? Does not block.
    pub fn is_alive(&self) -> bool {
        self.handle.status().is_none()
    }

    /// How it ended; `None` while it runs. Does not block.
    ///
    /// ```
    /// use offspring::task;
    ///
    /// #[task]
    /// fn leave(code: i32) {
    ///     std::process::exit(code);
    /// }
    ///
    /// let mut child = offspring::spawn(leave, 3)?;
    /// child.wait()?;
    /// assert_eq!(child.exit_status().and_then(|status| status.code()), Some(3));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[doc(alias = "exitcode")]
    pub fn exit_status(&self) -> Option<ExitStatus> {
        self.handle.status()
    }

    /// What it had used: CPU time and memory. `None` while it runs, and where somebody else took its exit status.
    pub fn usage(&self) -> Option<Usage> {
        self.handle.death()?.usage
    }

    /// Was it killed by the kernel, as memory ran out? By the count of such victims that the kernel keeps for the cgroup; where other
    /// processes live in that cgroup, one of them may have been the victim. `None` while it runs, and where nothing tells.
    pub fn oom_killed(&self) -> Option<bool> {
        self.handle.death()?.oom_killed
    }

    /// The last 4 KiB at most of what it wrote to its standard error. `None` while it runs, and without
    /// [`Process::stderr_tail`](crate::Process::stderr_tail).
    pub fn stderr_tail(&self) -> Option<String> {
        self.handle.death()?.stderr
    }

    /// Sends it a signal; to it and no other, also when its pid is in use again. After its end this does nothing.
    ///
    /// ```
    /// use offspring::{Signal, task};
    ///
    /// #[task]
    /// fn sleep() {
    ///     std::thread::sleep(std::time::Duration::from_secs(600));
    /// }
    ///
    /// let mut child = offspring::spawn(sleep, ())?;
    /// child.signal(Signal::HUP)?;
    /// assert_eq!(child.wait()?.signal(), Some(Signal::HUP));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// The caller may not signal it, as its task has changed its credentials.
    #[doc(alias = "pidfd_send_signal")]
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let context = || format!("sending {signal} to process {} ({})", self.pid(), self.name());
        self.handle
            .signal(signal)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", context())).into())
    }

    /// Sends `SIGTERM`, which ends it unless its task handles that.
    ///
    /// ```
    /// use offspring::{Signal, task};
    ///
    /// #[task]
    /// fn sleep() {
    ///     std::thread::sleep(std::time::Duration::from_secs(600));
    /// }
    ///
    /// let mut child = offspring::spawn(sleep, ())?;
    /// child.terminate()?;
    /// let status = child.wait()?;
    /// assert_eq!((status.signal(), status.exitcode()), (Some(Signal::TERM), Some(-15)));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`signal`](Child::signal).
    pub fn terminate(&self) -> Result<()> {
        self.signal(Signal::TERM)
    }

    /// Sends `SIGKILL`, which ends it.
    ///
    /// ```
    /// use offspring::{ErrorKind, task};
    ///
    /// #[task]
    /// fn sleep() {
    ///     std::thread::sleep(std::time::Duration::from_secs(600));
    /// }
    ///
    /// let child = offspring::spawn(sleep, ())?;
    /// child.kill()?;
    /// assert_eq!(child.join().unwrap_err().kind(), ErrorKind::WorkerDied);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`signal`](Child::signal).
    pub fn kill(&self) -> Result<()> {
        self.signal(Signal::KILL)
    }

    /// Sends `SIGINT`, as Ctrl-C does.
    ///
    /// ```
    /// use offspring::{Signal, task};
    ///
    /// #[task]
    /// fn sleep() {
    ///     std::thread::sleep(std::time::Duration::from_secs(600));
    /// }
    ///
    /// let mut child = offspring::spawn(sleep, ())?;
    /// child.interrupt()?;
    /// # child.kill()?; // where interrupts are ignored, as in the background of a shell
    /// assert!(child.wait()?.signal().is_some());
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`signal`](Child::signal).
    pub fn interrupt(&self) -> Result<()> {
        self.signal(Signal::INT)
    }

    /// Waits for its end. Closes [`stdin`](Child::stdin) first, so that a child which reads to the end does end.
    ///
    /// Its value can still be taken afterwards.
    ///
    /// ```
    /// use offspring::task;
    ///
    /// #[task]
    /// fn faulty() {
    ///     panic!("something went wrong");
    /// }
    ///
    /// let mut child = offspring::spawn(faulty, ())?;
    /// assert_eq!(child.wait()?.code(), Some(101));
    /// assert_eq!(child.join().unwrap_err().message(), Some("something went wrong"));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// This process is a fork of the one whose child it is.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        drop(self.stdin.take());
        self.handle.check()?;
        Ok(self.handle.wait(None).unwrap_or(ExitStatus::Unknown))
    }

    /// How it ended; `None` while it runs. Does not block, and leaves [`stdin`](Child::stdin) open.
    ///
    /// ```
    /// use offspring::task;
    ///
    /// #[task]
    /// fn sleep() {
    ///     std::thread::sleep(std::time::Duration::from_secs(600));
    /// }
    ///
    /// let mut child = offspring::spawn(sleep, ())?;
    /// assert_eq!(child.try_wait()?, None);
    /// child.kill()?;
    /// # child.wait()?;
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`wait`](Child::wait).
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>> {
        self.handle.check()?;
        Ok(self.handle.status())
    }

    /// Waits for its end, for this long at most. `false`: it still runs.
    ///
    /// Leaves [`stdin`](Child::stdin) open, as more may be written while it goes on: where the child reads to the end, drop it first.
    ///
    /// ```
    /// use offspring::task;
    /// use std::time::Duration;
    ///
    /// #[task]
    /// fn quick() {}
    ///
    /// let mut child = offspring::spawn(quick, ())?;
    /// assert!(child.wait_timeout(Duration::from_secs(60))?);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`wait`](Child::wait).
    pub fn wait_timeout(&mut self, timeout: Duration) -> Result<bool> {
        self.handle.check()?;
        Ok(self.handle.wait(Instant::now().checked_add(timeout)).is_some())
    }
}

impl<R: Message> Child<R> {
    /// Waits for its end and takes the task's value. Closes [`stdin`](Child::stdin) first.
    ///
    /// ```
    /// use offspring::task;
    ///
    /// #[task]
    /// fn check(x: i64) -> i64 {
    ///     assert!(x > 0, "{x} is too small");
    ///     x
    /// }
    ///
    /// assert_eq!(offspring::spawn(check, 7)?.join()?, 7);
    /// let error = offspring::spawn(check, -7)?.join().unwrap_err();
    /// assert_eq!(error.message(), Some("-7 is too small"));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// There is no value: the task panicked (message and place are told, also where panics abort), the process was killed, crashed or
    /// called `exit`, the value could not be sent, or this process is a fork of the one whose child it is. See [`TaskError`].
    pub fn join(mut self) -> Result<R, TaskError> {
        drop(self.stdin.take());
        self.handle.wait(None);
        self.take()
    }

    /// Takes the task's value if the child has ended; `None` while it runs. Does not block, and leaves [`stdin`](Child::stdin) open.
    ///
    /// ```
    /// use offspring::task;
    ///
    /// #[task]
    /// fn square(x: u64) -> u64 {
    ///     x * x
    /// }
    ///
    /// let mut child = offspring::spawn(square, 7)?;
    /// let value = loop {
    ///     match child.try_join()? {
    ///         Some(value) => break value,
    ///         None => std::thread::yield_now(), // something else meanwhile
    ///     }
    /// };
    /// assert_eq!(value, 49);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`join`](Child::join). A second taking is of kind [`ErrorKind::Taken`].
    pub fn try_join(&mut self) -> Result<Option<R>, TaskError> {
        match self.is_alive() {
            true => Ok(None),
            false => self.take().map(Some),
        }
    }

    /// Waits for its end, for this long at most, and takes the task's value.
    ///
    /// Leaves [`stdin`](Child::stdin) open, as more may be written while it goes on: where the child reads to the end, drop it first.
    ///
    /// ```
    /// use offspring::{ErrorKind, task};
    /// use std::time::Duration;
    ///
    /// #[task]
    /// fn nap(millis: u64) -> u64 {
    ///     std::thread::sleep(Duration::from_millis(millis));
    ///     millis
    /// }
    ///
    /// let mut child = offspring::spawn(nap, 600_000)?;
    /// assert_eq!(child.join_timeout(Duration::from_millis(20)).unwrap_err().kind(), ErrorKind::Timeout);
    /// child.kill()?;
    /// assert_eq!(child.join().unwrap_err().kind(), ErrorKind::WorkerDied);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`join`](Child::join), and of kind [`ErrorKind::Timeout`] while it runs, after which it can be joined again. A second taking is
    /// of kind [`ErrorKind::Taken`].
    pub fn join_timeout(&mut self, timeout: Duration) -> Result<R, TaskError> {
        if self.taken {
            return Err(TaskError::Taken { context: self.context.clone() });
        }
        match self.handle.wait(Instant::now().checked_add(timeout)) {
            Some(_) => self.take(),
            None => Err(TaskError::Timeout { context: self.context.clone(), waited: timeout }),
        }
    }

    /// The value of a child that has ended.
    fn take(&mut self) -> Result<R, TaskError> {
        let context = self.context.clone();
        if std::mem::replace(&mut self.taken, true) {
            return Err(TaskError::Taken { context });
        }
        // The value lies in memory that a fork does not have.
        if let Err(error) = self.handle.check() {
            let (reason, kind) = (error.to_string(), ErrorKind::Unsupported);
            return Err(TaskError::NotSendable { context, reason, kind });
        }
        let Some(death) = self.handle.death() else {
            return Err(TaskError::Timeout { context, waited: Duration::ZERO });
        };
        match self.view.outcome() {
            Outcome::Value(slot) if !has_crashed(death.status) => {
                // SAFETY: the child, of this build, said that its value is complete, and has ended without a sign that it wrote where it
                // should not; the block is held by this handle.
                let value = unsafe { message::decode(slot) };
                value.map_err(|error| {
                    let (reason, kind) = (format!("its result cannot be read: {error}"), error.kind());
                    TaskError::NotSendable { context, reason, kind }
                })
            }
            Outcome::Fault(fault) if !has_crashed(death.status) => Err(fault.into_error(context, death.pid, 1)),
            _ => Err(why_there_is_no_value(context, death)),
        }
    }
}

/// After such an end nothing that the process wrote is trusted.
fn has_crashed(status: ExitStatus) -> bool {
    matches!(status.signal(), Some(Signal::SEGV | Signal::BUS | Signal::ILL | Signal::ABRT))
}

fn why_there_is_no_value(context: TaskContext, death: Death) -> TaskError {
    if let Some(reason) = death.start_failure() {
        return TaskError::NoWorker { context, reason, kind: ErrorKind::Spawn };
    }
    death.as_error(context, 1)
}

impl<R> sealed::Sealed for Child<R> {
    fn is_ready(&self) -> bool {
        !self.is_alive()
    }

    fn ring_when_ready(&self, bell: &Bell) {
        self.handle.ring_at_end(bell);
    }
}

impl<R> Waitable for Child<R> {}

impl<R> fmt::Debug for Child<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Child")
            .field("task", &self.context.task)
            .field("name", &self.name())
            .field("pid", &self.pid())
            .field("exit_status", &self.exit_status())
            .finish()
    }
}

/// A child of this process that had not ended when [`active_children`](super::active_children) was called.
///
/// # Examples
/// ```
/// // At the end of a program that has lost its handles:
/// for child in offspring::process::active_children() {
///     child.terminate().ok();
/// }
/// ```
#[derive(Debug, Clone)]
pub struct ActiveChild(Arc<ChildHandle>);

impl ActiveChild {
    pub(super) fn new(handle: Arc<ChildHandle>) -> ActiveChild {
        ActiveChild(handle)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.0.pid()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.0.name()
    }

    /// Is it a daemon, ended and not waited for at the end of the program?
    pub fn is_daemon(&self) -> bool {
        self.0.is_daemon()
    }

    /// Has it not ended?
    pub fn is_alive(&self) -> bool {
        self.0.status().is_none()
    }

    /// How it ended; `None` while it runs.
    pub fn exit_status(&self) -> Option<ExitStatus> {
        self.0.status()
    }

    /// Sends it a signal, as [`Child::signal`](crate::Child::signal) does.
    ///
    /// ```
    /// use offspring::{Signal, process, task};
    ///
    /// #[task]
    /// fn sleep() {
    ///     std::thread::sleep(std::time::Duration::from_secs(600));
    /// }
    ///
    /// offspring::spawn(sleep, ())?; // its handle is gone, it is not
    /// for child in process::active_children() {
    ///     child.signal(Signal::TERM)?;
    ///     assert_eq!(child.wait().signal(), Some(Signal::TERM));
    /// }
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// The caller may not signal it.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let context = || format!("sending {signal} to process {} ({})", self.pid(), self.name());
        self.0.signal(signal).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", context())).into())
    }

    /// Sends `SIGTERM`.
    ///
    /// # Errors
    /// As for [`signal`](ActiveChild::signal).
    pub fn terminate(&self) -> Result<()> {
        self.signal(Signal::TERM)
    }

    /// Sends `SIGKILL`.
    ///
    /// # Errors
    /// As for [`signal`](ActiveChild::signal).
    pub fn kill(&self) -> Result<()> {
        self.signal(Signal::KILL)
    }

    /// Sends `SIGINT`, as Ctrl-C does.
    ///
    /// # Errors
    /// As for [`signal`](ActiveChild::signal).
    pub fn interrupt(&self) -> Result<()> {
        self.signal(Signal::INT)
    }

    /// Waits for its end.
    pub fn wait(&self) -> ExitStatus {
        self.0.wait(None).unwrap_or(ExitStatus::Unknown)
    }

    /// Waits for its end, for this long at most. `false`: it still runs.
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        self.0.wait(Instant::now().checked_add(timeout)).is_some()
    }
}

impl sealed::Sealed for ActiveChild {
    fn is_ready(&self) -> bool {
        !self.is_alive()
    }

    fn ring_when_ready(&self, bell: &Bell) {
        self.0.ring_at_end(bell);
    }
}

impl Waitable for ActiveChild {}
