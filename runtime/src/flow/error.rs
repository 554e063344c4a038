//! Why an item of a flow is not in its result.

use std::fmt;
use std::sync::Arc;

use crate::ErrorKind;
use crate::task::TaskError;

/// Why an item of a flow is not in its result: which item, at which stage, and what happened.
///
/// ```
/// use offspring::{Executor, Inline, task};
///
/// #[task]
/// fn parse(text: &str) -> Result<u64, String> {
///     text.parse().map_err(|error| format!("`{text}`: {error}"))
/// }
///
/// let mut bad = Vec::new();
/// let good = Inline::new().flow(["1", "x", "3"]).try_map(parse).on_failure(|error| bad.push(error)).collect()?;
/// assert_eq!(good, [1, 3]);
/// assert_eq!((bad[0].item(), bad[0].stage()), (Some(1), 1));
/// assert_eq!(bad[0].text(), Some("`x`: invalid digit found in string"));
/// # Ok::<(), offspring::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowError(Box<Inner>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Inner {
    item: Option<usize>,
    stage: u32,
    task: Arc<str>,
    cause: Cause,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Cause {
    /// The task had no value.
    Task(TaskError),
    /// A stage of `try_map` returned an error.
    Refused(String),
}

impl FlowError {
    pub(super) fn task_error(item: Option<usize>, stage: u32, task: Arc<str>, error: TaskError) -> FlowError {
        let error = error.with_task(task.clone());
        let error = match item {
            Some(item) => error.with_item(item),
            None => error,
        };
        FlowError(Box::new(Inner { item, stage, task, cause: Cause::Task(error) }))
    }

    pub(super) fn refused(item: usize, stage: u32, task: Arc<str>, text: String) -> FlowError {
        FlowError(Box::new(Inner { item: Some(item), stage, task, cause: Cause::Refused(text) }))
    }

    /// The index of the item that it is about, among those that entered this part of the flow; `None` when it is about the whole, or about
    /// the merging of what chunks gave.
    pub fn item(&self) -> Option<usize> {
        self.0.item
    }

    /// Which stage it happened at: 1 is the first method after `flow(..)`, 0 the input itself.
    pub fn stage(&self) -> usize {
        self.0.stage as usize
    }

    /// The name of the task that is that stage.
    pub fn task(&self) -> &str {
        &self.0.task
    }

    /// The error that a stage of `try_map` returned, as text; `None` when the task panicked, its worker died and the like.
    pub fn text(&self) -> Option<&str> {
        match &self.0.cause {
            Cause::Refused(text) => Some(text),
            Cause::Task(_) => None,
        }
    }

    /// Why there is no value, where that was not the task's own decision.
    pub fn as_task_error(&self) -> Option<&TaskError> {
        match &self.0.cause {
            Cause::Refused(_) => None,
            Cause::Task(error) => Some(error),
        }
    }

    /// The kind of this failure; [`ErrorKind::Failed`] for an error that a stage of `try_map` returned.
    pub fn kind(&self) -> ErrorKind {
        match &self.0.cause {
            Cause::Refused(_) => ErrorKind::Failed,
            Cause::Task(error) => error.kind(),
        }
    }
}

impl fmt::Display for FlowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { item, stage, task, cause } = &*self.0;
        write!(f, "stage {stage} of a flow: ")?;
        match (cause, item) {
            (Cause::Task(error), _) => write!(f, "{error}"),
            (Cause::Refused(text), Some(item)) => write!(f, "task `{task}`, item {item}: {text}"),
            (Cause::Refused(text), None) => write!(f, "task `{task}`: {text}"),
        }
    }
}

impl std::error::Error for FlowError {}
