//! Commands: other programs, run so that they end with the process that started them.
//!
//! A command is plain data until it is started, so it can be sent to a worker like any other message. It runs in a process group of its own,
//! and two things end it when its starter dies: the signal at the end of the thread that made it (the supervisor's, which lives as long as
//! the process), and a pipe whose reading end it holds and whose `SIGKILL` goes to the whole group as soon as the writing end is closed,
//! which the kernel does for a dead starter. The second reaches what the command has started, too, and needs no number that could be
//! another group's by then.
#![allow(unsafe_code, reason = "the trampolines of the tasks; nothing here by hand")]

mod error;
mod output;
mod running;
mod start;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use offspring_macros::{message, task};

use crate::ExitStatus;
pub use error::{ArchivedCommandError, CommandError};
pub use output::{ArchivedOutput, Output};
pub use running::RunningCommand;

/// Another program, with arguments and surroundings: what to run, not yet running.
///
/// It is a message, and [`status`](Command::status), [`check`](Command::check), [`output`](Command::output) and [`read`](Command::read) are
/// tasks: `pool.map(Command::output, commands)` runs commands in workers.
///
/// A command runs in a process group of its own and never outlives the process that started it: when that ends, however it does, the command
/// and all that is left of its group get `SIGKILL`. So a task's command is ended with the task's worker, by a timeout or a cancellation, too.
/// What moves into another group or session (a daemon) escapes that.
///
/// Without a word its standard input is empty, and its output goes where this process's goes. It begins with default handling of all signals
/// and none blocked, but for signals that this process was started to ignore (`nohup`).
///
/// # Examples
/// ```
/// use offspring::{Pool, process::Command};
/// use std::time::Duration;
///
/// fn main() -> offspring::Result<()> {
///     assert_eq!(Command::shell("exit 3").status()?.code(), Some(3));
///     assert_eq!(Command::new("sort").input("b\na\n").read()?, "a\nb\n");
///
///     // Many, each with a timeout, in the workers of a pool:
///     let lengths = ["1", "22"].map(|text| Command::new("wc").arg("-c").input(text).timeout(Duration::from_secs(60)));
///     for output in Pool::new()?.map(Command::output, lengths)? {
///         println!("{}", output?.text());
///     }
///     Ok(())
/// }
/// ```
#[doc(alias = "Popen")]
#[doc(alias = "subprocess")]
#[message(crate = crate)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    program: OsString,
    args: Vec<OsString>,
    env_clear: bool,
    /// In order; `None`: removed.
    env: Vec<(OsString, Option<OsString>)>,
    directory: Option<PathBuf>,
    stdin: Option<Redirect>,
    stdout: Option<Redirect>,
    stderr: Option<Redirect>,
    input: Vec<u8>,
    timeout: Option<Duration>,
    interactive: bool,
}

/// Where a command's standard input comes from, or its output or error goes.
///
/// ```
/// use offspring::process::{Command, Redirect};
///
/// # fn main() -> offspring::Result<()> {
/// let directory = std::env::temp_dir().join(format!("redirect-{}", std::process::id()));
/// std::fs::create_dir_all(&directory)?;
/// let log = directory.join("log");
/// Command::shell("echo out; echo err >&2").stdout(Redirect::File(log.clone())).stderr(Redirect::Stdout).check()?;
/// assert_eq!(std::fs::read_to_string(&log)?, "out\nerr\n");
/// std::fs::remove_dir_all(&directory)?;
/// # Ok(())
/// # }
/// ```
#[message(crate = crate)]
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Redirect {
    /// That of the process which runs the command.
    Inherit,
    /// `/dev/null`: reads nothing, and what is written is gone.
    #[doc(alias = "DEVNULL")]
    Null,
    /// A pipe: collected by [`Command::output`]; by [`Command::spawn`] given to the caller.
    #[doc(alias = "PIPE")]
    Piped,
    /// A file: for input it must exist, for output it is made or emptied. A relative path starts from the directory of the process which
    /// runs the command.
    File(PathBuf),
    /// A file that is made or added to. Not for input.
    Append(PathBuf),
    /// For standard error: where standard output goes.
    #[doc(alias = "STDOUT")]
    Stdout,
}

impl Command {
    /// A program by its path, or by its name, which is then looked for in the `PATH` that the command gets.
    pub fn new(program: impl AsRef<OsStr>) -> Command {
        Command {
            program: program.as_ref().into(),
            args: vec![],
            env_clear: false,
            env: vec![],
            directory: None,
            stdin: None,
            stdout: None,
            stderr: None,
            input: vec![],
            timeout: None,
            interactive: false,
        }
    }

    /// A line for the shell: `sh -c LINE`. Never build the line from strings that come from elsewhere: use [`new`](Command::new) and
    /// [`arg`](Command::arg).
    #[doc(alias = "system")]
    pub fn shell(line: impl AsRef<OsStr>) -> Command {
        Command::new("sh").arg("-c").arg(line)
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().into()));
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((key.as_ref().into(), Some(value.as_ref().into())));
        self
    }

    /// Removes an environment variable.
    #[must_use]
    pub fn env_remove(mut self, key: impl AsRef<OsStr>) -> Self {
        self.env.push((key.as_ref().into(), None));
        self
    }

    /// Begins with an empty environment, but for what [`env`](Command::env) adds before or after.
    #[must_use]
    pub fn env_clear(mut self) -> Self {
        self.env_clear = true;
        self
    }

    /// Sets its working directory, which is also where a relative path of the program starts.
    #[doc(alias = "cwd")]
    #[must_use]
    pub fn current_dir(mut self, path: impl AsRef<Path>) -> Self {
        self.directory = Some(path.as_ref().into());
        self
    }

    /// Sets its standard input. Default: [`Redirect::Null`].
    #[must_use]
    pub fn stdin(mut self, from: Redirect) -> Self {
        self.stdin = Some(from);
        self
    }

    /// Sets its standard output. Default: [`Redirect::Inherit`]; for [`output`](Command::output) and [`read`](Command::read)
    /// [`Redirect::Piped`].
    #[must_use]
    pub fn stdout(mut self, to: Redirect) -> Self {
        self.stdout = Some(to);
        self
    }

    /// Sets its standard error. Default: [`Redirect::Inherit`]; for [`output`](Command::output) [`Redirect::Piped`].
    #[must_use]
    pub fn stderr(mut self, to: Redirect) -> Self {
        self.stderr = Some(to);
        self
    }

    /// Gives it this to read as its standard input, by the forms that wait for its end.
    #[must_use]
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = bytes.into();
        self.stdin = Some(Redirect::Piped);
        self
    }

    /// The longest that the forms which wait for its end let it run: then it is killed, with all of its group, and they give
    /// [`CommandError::TimedOut`].
    ///
    /// ```
    /// use offspring::{ErrorKind, process::Command};
    /// use std::time::Duration;
    ///
    /// let error = Command::new("sleep").arg("600").timeout(Duration::from_millis(50)).status().unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::Timeout);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// For a program that a person works with: it stays in the caller's process group, so that it may read from the terminal and Ctrl-C reaches it,
    /// and its standard input is the caller's. It is still ended with the process that started it; what it has started itself is not.
    #[must_use]
    pub fn interactive(mut self) -> Self {
        self.interactive = true;
        self
    }

    /// Starts it, and does not wait.
    ///
    /// ```
    /// use offspring::{Signal, process::Command};
    ///
    /// let mut sleeper = Command::new("sleep").arg("600").spawn()?;
    /// assert!(sleeper.is_alive());
    /// sleeper.kill()?;
    /// assert_eq!(sleeper.wait()?.signal(), Some(Signal::KILL));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// It could not be started. [`timeout`](Command::timeout) and [`input`](Command::input) are for the forms that wait: an error here.
    #[doc(alias = "Popen")]
    pub fn spawn(&self) -> Result<RunningCommand, CommandError> {
        if self.timeout.is_some() || !self.input.is_empty() {
            let reason = "a timeout or an input is for the forms that wait for the command's end";
            return Err(CommandError::not_started(self, reason.into(), Some(libc::EINVAL)));
        }
        self.start([Redirect::Inherit, Redirect::Inherit])
    }

    /// Replaces this program by the command, in the same process. Returns only if that fails.
    ///
    /// This program's children end; nothing of it runs any more, no destructor and no handler of its exit.
    /// [`timeout`](Command::timeout) and [`input`](Command::input) have no meaning here.
    ///
    /// ```no_run
    /// use offspring::process::Command;
    ///
    /// fn main() -> offspring::Result<()> {
    ///     Err(Command::new("sh").exec().into())
    /// }
    /// ```
    #[doc(alias = "execvp")]
    #[must_use = "it returns only if it failed"]
    pub fn exec(&self) -> CommandError {
        self.replace_this_program()
    }

    fn deadline(&self) -> Option<Instant> {
        // One too far away for the clock is none.
        self.timeout.and_then(|timeout| Instant::now().checked_add(timeout))
    }
}

#[task(crate = crate)]
impl Command {
    /// Runs it and waits for its end: how it ended. What it writes to a pipe is read and dropped.
    ///
    /// ```
    /// use offspring::process::Command;
    ///
    /// assert!(Command::new("true").status()?.success());
    /// assert_eq!(Command::shell("exit 3").status()?.code(), Some(3));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// It could not be started, or it took longer than [`timeout`](Command::timeout). That it failed is no error: see [`check`](Command::check).
    #[doc(alias = "call")]
    pub fn status(&self) -> Result<ExitStatus, CommandError> {
        self.run([Redirect::Inherit, Redirect::Inherit]).map(|output| output.status)
    }

    /// Runs it and waits for its end, which must be a success.
    ///
    /// ```
    /// use offspring::process::Command;
    ///
    /// Command::new("true").check()?;
    /// let error = Command::new("false").check().unwrap_err();
    /// assert_eq!(error.to_string(), "`false` failed: exit code 1");
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`status`](Command::status); and [`CommandError::Failed`], with its name and status, if it ended in any other way than by exit code 0.
    #[doc(alias = "check_call")]
    pub fn check(&self) -> Result<(), CommandError> {
        let output = self.run([Redirect::Inherit, Redirect::Inherit])?;
        output.check(self)
    }

    /// Runs it, waits for its end and collects what it wrote, of any size; input is fed at the same time.
    ///
    /// Like a shell it waits until everybody has closed the pipes, also what the command left running in the background.
    ///
    /// ```
    /// use offspring::process::Command;
    ///
    /// let output = Command::shell("cat; echo done >&2").input("text").output()?;
    /// assert!(output.status.success());
    /// assert_eq!((output.stdout.as_slice(), output.stderr.as_slice()), (&b"text"[..], &b"done\n"[..]));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`status`](Command::status). What had been written until a timeout is in the error.
    #[doc(alias = "getstatusoutput")]
    #[doc(alias = "run")]
    #[doc(alias = "communicate")]
    pub fn output(&self) -> Result<Output, CommandError> {
        self.run([Redirect::Piped, Redirect::Piped])
    }

    /// Runs it, waits for its end, which must be a success, and gives what it wrote to its standard output.
    ///
    /// Standard error goes to the caller's. What is no UTF-8 is replaced: use [`output`](Command::output) for bytes.
    ///
    /// ```
    /// use offspring::process::Command;
    ///
    /// assert_eq!(Command::new("echo").arg("hello").read()?, "hello\n");
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`check`](Command::check).
    #[doc(alias = "check_output")]
    #[doc(alias = "getoutput")]
    pub fn read(&self) -> Result<String, CommandError> {
        let output = self.run([Redirect::Piped, Redirect::Inherit])?;
        output.check(self)?;
        Ok(output.text().into_owned())
    }
}

/// As a person would write it into a shell, more or less: for messages.
impl std::fmt::Display for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let plain =
            |text: &str| !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || "-_./=:,+%@".contains(c));
        for (index, word) in std::iter::once(&self.program).chain(&self.args).enumerate() {
            let word = word.to_string_lossy();
            f.write_str(if index > 0 { " " } else { "" })?;
            if plain(&word) { f.write_str(&word)? } else { write!(f, "'{}'", word.replace('\'', "'\\''"))? }
        }
        Ok(())
    }
}
