//! Flows: tasks one after the other on each item, and an end that makes something of all of them.
//!
//! How they work is in `README.md` beside this file. From the bottom up: `stage` (tasks as stages), `chain` (stages after one
//! another), `terminal` and `keyed` (ends), `program` (what a worker runs), `source` (items), `drive` (the caller's side), `durable` (journals), `stream`
//! and the methods in `adapters` and `ends`.

mod adapters;
mod chain;
mod drive;
mod durable;
mod ends;
mod error;
mod keyed;
mod mishap;
mod program;
mod report;
mod source;
mod stage;
mod stream;
mod terminal;

use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;

pub(crate) use chain::Start;
pub(crate) use durable::{Fate, Mark};
pub use error::FlowError;
pub use keyed::Table;
pub(crate) use source::Item;
pub use stream::FlowStream;

use crate::Executor;
use crate::executor::ProgramOptions;
use crate::message::Message;
use crate::pool::policy::Policy;
use chain::Chain;
use drive::{Names, Progress};
use report::Report;

/// Types that public signatures mention and nobody needs to name.
pub(crate) mod internals {
    pub use super::chain::*;
    pub use super::keyed::*;
    pub use super::mishap::Mishap;
    pub use super::program::*;
    pub use super::source::Item;
    pub use super::stage::*;
    pub use super::terminal::*;
}

/// Tasks one after the other on each item; made by [`Pool::flow`](crate::Pool::flow) or [`Executor::flow`].
///
/// Methods like [`map`](Self::map) and [`filter`](Self::filter) add a stage; methods like [`collect`](Self::collect) and
/// [`reduce`](Self::reduce) end the flow, and run it. A stage is a function with `#[task]`. A worker takes a chunk of items, runs all
/// stages on each, and gives back one result for the chunk; values between stages never leave the worker and are not encoded.
///
/// # What is lost
///
/// An item whose task panics, whose worker dies or for which a stage of [`try_map`](Self::try_map) returns an error ends its way
/// there; the rest goes on. A handler set by [`on_failure`](Self::on_failure) is told of each. Without one, errors of `try_map` are
/// passed over, and all others make the end return the first of them, when all items were run.
///
/// An item is in the result once, or not at all. When a worker dies, the chunk that it had begun is run again without the item that it
/// was running, if that has no tries left ([`retries`](Self::retries)); so the stages of other items of the chunk may run twice, but
/// count once. Where that matters outside, say [`chunk_size(1)`](Self::chunk_size).
///
/// # Memory
///
/// Input is pulled as workers need it, so it may be endless; what is in flight is bounded. An end holds what it gives: `collect` and
/// `group_by_key` all values, `reduce_by_key` one for each key, in the worker for its chunk and in the caller for all;
/// `count`, `reduce`, `fold` and `for_each` next to nothing, `stream` a few chunks.
///
/// # Kept in a file
///
/// With the option `journal` (a feature of the crate), what each item gave to the end is recorded, and not done again by the next run of the
/// program; what ended early is, too, with its stage. Each item is a chunk of its own then.
///
/// ```
/// use offspring::{Pool, task};
///
/// #[task]
/// fn words(text: &str) -> Vec<String> {
///     text.split_whitespace().map(str::to_lowercase).collect()
/// }
///
/// #[task]
/// fn is_long(word: &str) -> bool {
///     word.len() > 3
/// }
///
/// #[task]
/// fn once(word: String) -> (String, u64) {
///     (word, 1)
/// }
///
/// #[task]
/// fn sum(a: u64, b: u64) -> u64 {
///     a + b
/// }
///
/// let pool = Pool::new()?;
/// let texts = ["some words and some more", "more of the same"];
/// let table = pool.flow(texts).flat_map(words).filter(is_long).map(once).reduce_by_key(sum)?;
/// assert_eq!(table.top_by_value(2), [("more".to_string(), 2), ("some".to_string(), 2)]);
/// # Ok::<(), offspring::Error>(())
/// ```
#[must_use = "a flow does nothing until its end is named: `collect`, `reduce`, `for_each`, .."]
pub struct Flow<'e, E, I, S, C> {
    engine: &'e E,
    items: I,
    options: ProgramOptions,
    stages: Vec<Stage>,
    /// Stages of the parts before.
    base: u32,
    report: Rc<RefCell<Report<'e>>>,
    progress: Progress<'e>,
    chain: PhantomData<fn() -> (S, C)>,
}

impl<E, I, S, C> fmt::Debug for Flow<'_, E, I, S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flow").field("stages", &self.stages).field("options", &self.options).finish_non_exhaustive()
    }
}

impl<'e, E: Executor, I, S> Flow<'e, E, I, S, Start> {
    pub(crate) fn new(engine: &'e E, items: I) -> Self {
        let options = ProgramOptions { run: engine.own_options(), ..ProgramOptions::default() };
        let (report, progress) = (Rc::default(), Progress::default());
        Flow { engine, items, options, stages: Vec::new(), base: 0, report, progress, chain: PhantomData }
    }
}

/// A task in a flow: by which method it came in, and what it is.
#[derive(Debug, Clone, Copy)]
struct Stage {
    method: &'static str,
    task: &'static str,
    version: u32,
}

impl Stage {
    /// In the place of a task, at an end that has none.
    const GROUP: Stage = Stage { method: "group_by_key", task: "group_by_key", version: 0 };
}

/// How a flow ends.
#[derive(Debug, Clone, Copy)]
struct End {
    method: &'static str,
    /// Makes what a fold begins with.
    first: Option<Stage>,
    /// The end's own task.
    stage: Option<Stage>,
}

impl End {
    /// All values, whoever wants them.
    const COLLECT: End = End::named("collect");

    const fn named(method: &'static str) -> End {
        End { method, first: None, stage: None }
    }

    const fn of(stage: Stage) -> End {
        End { stage: Some(stage), ..End::named(stage.method) }
    }
}

/// What an end needs of a flow.
struct Run<'e, E, I> {
    engine: &'e E,
    items: I,
    options: ProgramOptions,
    names: Names<'e>,
    stages: Vec<Stage>,
    end: End,
}

impl<E, I> Run<'_, E, I> {
    /// The same with other options.
    fn with(mut self, change: impl FnOnce(&mut ProgramOptions)) -> Self {
        change(&mut self.options);
        self
    }
}

impl<'e, E, I, S, C> Flow<'e, E, I, S, C> {
    /// Takes the flow apart for an end.
    fn into_run(self, end: End) -> Run<'e, E, I> {
        let most = self.options.run.over(&Policy::default()).on_error.most();
        self.report.borrow_mut().most = most;
        let stages = self.stages.iter().chain(&end.stage).map(|stage| stage.task).collect();
        let names = Names { stages, base: self.base, report: self.report, progress: self.progress };
        Run { engine: self.engine, items: self.items, options: self.options, names, stages: self.stages, end }
    }
}

impl<'e, E, I, S, C> Flow<'e, E, I, S, C>
where
    I: Iterator + 'e,
    I::Item: Item<S>,
    S: Message,
    C: Chain<S>,
{
    /// Is there nothing for a worker to do?
    const IS_EMPTY: bool = C::LEN == 0;
}

/// The values of items that no stage changes.
fn unchanged<'e, I, S, C>(items: I, names: Names<'e>) -> impl Iterator<Item = C::Out> + 'e
where
    I: Iterator + 'e,
    I::Item: Item<S>,
    S: Message,
    C: Chain<S>,
    C::Out: Message,
{
    items.enumerate().filter_map(move |(index, item)| match item.into_value() {
        Ok(value) => C::unchanged(value).ok(),
        Err(error) => {
            names.tell_input(index, &error);
            None
        }
    })
}
