//! What tasks write to their standard output and standard error: told apart by task, kept or passed on.
//!
//! The workers of such a pool have pipes in the place of descriptors 1 and 2, so whatever writes there is heard: Rust, C, commands. Before
//! each item and after the last of a chunk the worker writes a *mark* into both, which begins with a number that only this pool knows.
//! Marks are shorter than what a pipe takes whole, so a killed worker leaves a whole one or none, and all that was written before.
//!
//! One thread reads the pipes of all pools ([`service`]), so a task that writes without end waits for nobody but those who read what is
//! passed on. Whoever hands out a result reads what is in the pipes first ([`Sources::sync`]): the item's end mark was written before its
//! result was committed, so its output is complete by then.

mod mark;
mod parse;
mod service;
mod source;
mod store;

pub(crate) use mark::{Marks, Nonce};
pub(crate) use service::flush;
pub(crate) use source::Sources;
pub(crate) use store::{Hear, Key, Store};

/// What becomes of what tasks write to standard output and standard error; see [`PoolBuilder::output`](crate::PoolBuilder::output).
///
/// It is all that is written to descriptors 1 and 2, also by C code and by commands that a task runs. Rust's and C's buffers are emptied
/// after each item; what a process that is killed still has in them is lost, as everywhere: Rust keeps a part of a line that was printed
/// with `print!`, not what was printed with `eprint!`.
///
/// # Examples
///
/// ```
/// use offspring::{OutputMode, Pool, task};
///
/// #[task]
/// fn check(name: &str) -> usize {
///     println!("looking at {name}");
///     assert!(name.is_ascii(), "{name} is not ASCII");
///     name.len()
/// }
///
/// let pool = Pool::builder().workers(2).output(OutputMode::Capture).build()?;
/// let results = pool.try_map(check, ["a", "ä"])?;
/// let error = results[1].as_ref().unwrap_err();
/// assert_eq!(error.output().unwrap().stdout_text(), "looking at ä\n");
/// # Ok::<(), offspring::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum OutputMode {
    /// It goes where this process's goes, at once. Costs nothing. The default.
    #[default]
    Inherit,
    /// It is kept for each task, up to a limit, and handed over with its result: [`TaskError::output`](crate::TaskError::output),
    /// [`TaskHandle::output`](crate::TaskHandle::output), [`Batch::on_output`](crate::Batch::on_output).
    Capture,
    /// It is passed on as it comes, line by line, with a tag: `[worker-1 my_task #17] the line`. Lines are never mixed.
    Tagged,
    /// It is kept as with `Capture`, and passed on when the task's result is handed out: so it comes in the order of the results, and what
    /// one task wrote stays together.
    Ordered,
}

impl OutputMode {
    /// Is it kept until the result is handed out?
    pub(crate) fn is_kept(self) -> bool {
        matches!(self, OutputMode::Capture | OutputMode::Ordered)
    }
}
