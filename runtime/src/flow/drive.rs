//! The caller's side of a running flow: reads what chunks gave, reports what was lost, and has partial results merged.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use rkyv::result::ArchivedResult;

use super::mishap::Mishap;
use super::program::{Merge, Outcome, fault_of};
use super::report::Report;
use super::terminal::Terminal;
use super::{FlowError, Mark};
use crate::executor::{Executor, Kept, Part, ProgramOptions};
use crate::message::{Decoder, Message};
use crate::task::{TaskContext, TaskError};
use crate::{ErrorKind, OnError, RunOptions};

/// The parts of a run.
pub(super) type Course<'e, P> = Box<dyn Iterator<Item = Result<Part<Outcome<P>>, TaskError>> + 'e>;

/// What a part of a flow needs to know to report an item.
#[derive(Debug, Clone)]
pub(super) struct Names<'e> {
    /// The stages' tasks; the first is `base + 1`.
    pub(super) stages: Rc<[&'static str]>,
    /// Stages of the parts before.
    pub(super) base: u32,
    pub(super) report: Rc<RefCell<Report<'e>>>,
    pub(super) progress: Progress<'e>,
}

/// Who is told how far this part of the flow is, and how far that is.
#[derive(Clone, Default)]
pub(super) struct Progress<'e> {
    pub(super) handler: Option<Rc<RefCell<dyn FnMut(u64) + 'e>>>,
    done: Rc<Cell<u64>>,
}

impl fmt::Debug for Progress<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Progress").field("done", &self.done).finish_non_exhaustive()
    }
}

impl Progress<'_> {
    fn advance(&self, items: usize) {
        if let Some(handler) = &self.handler {
            self.done.set(self.done.get() + items as u64);
            (handler.borrow_mut())(self.done.get());
        }
    }
}

impl Names<'_> {
    fn name(&self, stage: u32) -> Arc<str> {
        let name = (stage as usize).checked_sub(1).and_then(|at| self.stages.get(at.min(self.stages.len().max(1) - 1)));
        name.copied().unwrap_or("a flow's input").into()
    }

    fn error(&self, item: Option<usize>, stage: u32, error: TaskError) -> FlowError {
        FlowError::task_error(item, self.base + stage, self.name(stage), error)
    }

    /// The number of the last stage.
    pub(super) fn last(&self) -> u32 {
        self.stages.len() as u32
    }

    /// What is said of a value that ended its way early.
    pub(super) fn text(&self, item: usize, mark: &Mark) -> String {
        match &mark.why {
            Ok(text) => self.refusal(item, mark.stage, text.clone()).to_string(),
            Err(error) => self.error(Some(item), mark.stage, error.clone()).to_string(),
        }
    }

    fn refusal(&self, item: usize, stage: u32, text: String) -> FlowError {
        FlowError::refused(item, self.base + stage, self.name(stage), text)
    }

    /// An item could not be read from the input.
    pub(super) fn tell_input(&self, item: usize, error: &crate::message::EncodeError) {
        let context = TaskContext::new(self.name(0), Some(item));
        let error = TaskError::NotSendable { context, reason: error.to_string(), kind: error.kind() };
        self.tell(self.error(Some(item), 0, error));
    }

    pub(super) fn tell(&self, error: FlowError) {
        self.report.borrow_mut().tell(error);
    }

    /// Have more items failed than the flow is to bear?
    pub(super) fn is_over(&self) -> bool {
        self.report.borrow().is_over()
    }

    /// The run cannot go on.
    pub(super) fn fatal(&self, error: TaskError) {
        let error = self.error(None, 0, error);
        self.report.borrow_mut().tell_fatal(error);
    }

    /// What a chunk gave, if it gave something; what it lost goes to `tell`, in the order of the items. `merged`: its items are what other chunks
    /// gave.
    pub(super) fn open<P: Message>(
        &self,
        part: Part<Outcome<P>>,
        merged: bool,
        mut tell: impl FnMut(FlowError),
    ) -> Option<Kept<Outcome<P>>> {
        let Part { first, items, outcome, lost, .. } = part;
        let last = self.last();
        let item = |item: usize| (!merged).then_some(item);
        let stage = |stage: u32| if merged { last } else { stage };
        let mut told: Vec<(usize, FlowError)> = Vec::new();
        for lost in lost {
            told.push((lost.item, self.error(item(lost.item), stage(lost.stage), lost.error)));
        }
        let mut kept = None;
        if let Some(outcome) = outcome {
            match outcome.get() {
                ArchivedResult::Ok(parts) => {
                    for mishap in parts.1.iter() {
                        // Numbers, text and bytes: it can be read.
                        let Ok(mishap) = Mishap::read(mishap, &mut Decoder::new()) else { continue };
                        let at = first + mishap.item as usize;
                        let number = stage(mishap.stage);
                        let error = match mishap.refused {
                            Some(text) => self.refusal(at, number, text),
                            None => {
                                let context = TaskContext::new(self.name(number), item(at));
                                let fault = crate::task::TaskFault::decode(&mishap.fault);
                                self.error(item(at), number, fault.into_error(context, mishap.worker, 1))
                            }
                        };
                        told.push((at, error));
                    }
                    kept = Some(outcome);
                }
                ArchivedResult::Err(bytes) => {
                    let context = TaskContext::new(self.name(last), item(first));
                    let error = fault_of(bytes).into_error(context, 0, 1);
                    told.push((first, self.error(item(first), last, error)));
                }
            }
        }
        told.sort_by_key(|(item, _)| *item);
        told.into_iter().for_each(|(_, error)| tell(error));
        if !merged {
            self.progress.advance(items);
        }
        kept
    }
}

/// The partial result in what a chunk gave.
pub(super) fn partial<P: Message>(kept: &Kept<Outcome<P>>) -> Option<P> {
    match kept.get() {
        ArchivedResult::Ok(parts) => P::read(&parts.0, &mut Decoder::new()).ok(),
        ArchivedResult::Err(_) => None,
    }
}

/// Partial results on their way to one: those of level `l + 1` are each made of a row of those of level `l`, and older.
pub(super) struct Tree<'f, 'e, E, V, T: Terminal<V>> {
    engine: &'e E,
    names: &'f Names<'e>,
    options: ProgramOptions,
    levels: Vec<Vec<Kept<Outcome<T::Partial>>>>,
    values: std::marker::PhantomData<fn() -> V>,
}

/// What is merged stands for many items, and merging has been begun anew before for less: a death costs them only if it comes again
/// and again.
const MERGE_RETRIES: u32 = 10;
/// So many rows are merged at the same time, that all workers have some.
const ROWS: usize = 4;

impl<'f, 'e, E: Executor, V: 'static, T: Terminal<V>> Tree<'f, 'e, E, V, T> {
    pub(super) fn new(engine: &'e E, names: &'f Names<'e>, run: &RunOptions) -> Self {
        let run = run.clone().set(|policy| {
            policy.chunk = Some(T::FAN);
            policy.retries = policy.retries.max(MERGE_RETRIES);
            // Those are for items. What fails in merging is counted here.
            policy.timeout = None;
            policy.on_error = OnError::Continue;
            // Told of are items, not what is made of them.
            policy.progress = None;
        });
        let options = ProgramOptions { run, ..ProgramOptions::default() };
        Tree { engine, names, options, levels: Vec::new(), values: std::marker::PhantomData }
    }

    /// Adds the next.
    pub(super) fn push(&mut self, kept: Kept<Outcome<T::Partial>>) -> Result<(), TaskError> {
        let mut new = vec![kept];
        for level in 0.. {
            if level == self.levels.len() {
                self.levels.push(Vec::new());
            }
            self.levels[level].append(&mut new);
            if self.levels[level].len() < T::FAN * ROWS {
                break;
            }
            let row = std::mem::take(&mut self.levels[level]);
            new = self.merge(row)?;
        }
        Ok(())
    }

    /// The one that all come to; `None` if there was none.
    pub(super) fn finish(mut self) -> Result<Option<Kept<Outcome<T::Partial>>>, TaskError> {
        let mut rest: Vec<_> = std::mem::take(&mut self.levels).into_iter().rev().flatten().collect();
        while rest.len() > 1 {
            let before = rest.len();
            rest = self.merge(rest)?;
            if rest.len() >= before {
                // An engine that has no room for two.
                let context = TaskContext::new(self.names.name(self.names.stages.len() as u32), None);
                let reason = "partial results are too large to be merged".to_owned();
                return Err(TaskError::NotSendable { context, reason, kind: ErrorKind::OutOfMemory });
            }
        }
        Ok(rest.pop())
    }

    fn merge(&self, row: Vec<Kept<Outcome<T::Partial>>>) -> Result<Vec<Kept<Outcome<T::Partial>>>, TaskError> {
        let mut merged = Vec::with_capacity(row.len().div_ceil(T::FAN));
        // The row is kept until all of it is merged: the workers read it in place.
        let run = self.engine.run_program::<Merge<V, T>, _>(row.iter().map(Kept::share), self.options.clone());
        for part in run {
            merged.extend(self.names.open(part?, true, |error| self.names.tell(error)));
        }
        Ok(merged)
    }
}
