//! Flows with a journal: what each item gave to the flow's end is recorded, and the end is made of that again.
//!
//! This stands between a flow and whatever engine runs it. It looks at each item before the engine gets it: what is recorded is taken from
//! the journal, what is not is run, one item a chunk, so that a part is what one item gave. Parts are handed on in the order of the items,
//! wherever they came from, so an end cannot tell the difference.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;

use rkyv::result::ArchivedResult;

use super::chain::Chain;
use super::drive::{Course, Names};
use super::mishap::Mishap;
use super::program::{Outcome, Work, fault_of};
use super::terminal::Terminal;
use super::{Item, Run};
use crate::ErrorKind;
use crate::executor::{Executor, Kept, Lost, Part, ProgramOptions};
use crate::journal::{self, Admitted, Known, Running};
use crate::message::{Decoder, EncodeError, Message};
use crate::pool::policy::Policy;
use crate::task::{Fused, Program, TaskContext, TaskError, TaskFault};

/// What became of one item: what it gave to the end, and where something of it ended early.
#[derive(Debug)]
pub(crate) struct Fate<P> {
    pub(crate) partial: Option<P>,
    pub(crate) marks: Vec<Mark>,
}

/// Where a value ended its way early, and why.
#[derive(Debug)]
pub(crate) struct Mark {
    /// Of this part of the flow, from 1.
    pub(crate) stage: u32,
    /// The text of an error that the task returned; or why there is no value.
    pub(crate) why: Result<String, TaskError>,
}

impl Mark {
    #[cfg(feature = "journal")]
    pub(crate) fn refused(stage: u32, text: String) -> Mark {
        Mark { stage, why: Ok(text) }
    }

    pub(crate) fn lost(stage: u32, error: TaskError) -> Mark {
        Mark { stage, why: Err(error) }
    }
}

/// So many recorded items in a row end a run of the engine, which would have to wait for them.
const MOST_ASIDE: usize = 256;
/// So many parts that wait for one before them end a run of the engine, which would make more and more of them.
const MOST_AHEAD: usize = 1024;

impl<'e, E: Executor, I: Iterator + 'e> Run<'e, E, I> {
    /// What the items give, chunk by chunk; with a journal, item by item, and from there where it has them.
    pub(super) fn parts<S, C, T>(self) -> Course<'e, T::Partial>
    where
        I::Item: Item<S>,
        S: Message,
        C: Chain<S>,
        T: Terminal<C::Out>,
    {
        let Some(journal) = self.options.run.over(&Policy::default()).journal else {
            return Box::new(self.engine.run_program::<Work<S, C, T>, I>(self.items, self.options));
        };
        let mut name = "flow".to_owned();
        let mut versions = Vec::new();
        for stage in self.stages.iter().chain(&self.end.first).chain(&self.end.stage) {
            name += &format!(".{}({})", stage.method, stage.task);
            versions.push(stage.version);
        }
        if self.end.stage.is_none() {
            name += &format!(".{}()", self.end.method);
        }
        match journal::Run::begin_flow(&journal, <Work<S, C, T> as Program>::ENTRY, name.into(), &versions) {
            Ok(journal) => Box::new(Durable::<'e, E, I, S, C, T>::new(self, journal)),
            Err(error) => Box::new(std::iter::once(Err(error))),
        }
    }
}

/// An item that no worker gets.
enum Aside {
    Known(Known),
    /// It cannot be written.
    Failed(TaskError),
}

/// The items, and what the journal says of them.
struct Source<I: Iterator> {
    items: I,
    journal: journal::Run,
    /// The index of the next item.
    next: usize,
    /// Looked at, and to be run.
    held: Option<(I::Item, usize, Running)>,
    /// Found while an engine pulled, with their indices.
    aside: VecDeque<(usize, Aside)>,
    /// What the engine has: of which item that is, until its part is there.
    passed: VecDeque<Option<(usize, Running)>>,
    /// The engine's number of the first of those.
    first: usize,
    /// How many parts are there before their turn.
    ahead: usize,
}

/// What the next item turned out to be.
enum Found {
    /// It is held now.
    Runs,
    Aside(usize, Aside),
    /// There is none.
    End,
}

impl<I: Iterator> Source<I> {
    fn look<S, C, T>(&mut self) -> Found
    where
        I::Item: Item<S>,
        S: Message,
        C: Chain<S>,
        T: Terminal<C::Out>,
    {
        if self.held.is_some() {
            return Found::Runs;
        }
        let Some(item) = self.items.next() else { return Found::End };
        let index = self.next;
        self.next += 1;
        match self.journal.admit::<Fused<Work<S, C, T>>, _>(&item, index) {
            Admitted::Runs(running) => {
                self.held = Some((item, index, running));
                Found::Runs
            }
            Admitted::Known(known) => Found::Aside(index, Aside::Known(known)),
            Admitted::Failed(error) => Found::Aside(index, Aside::Failed(error)),
        }
    }

    /// Does this item come before all that the engine has?
    fn is_next(&self, index: usize) -> bool {
        let first = self.passed.front().and_then(|passed| Some(passed.as_ref()?.0));
        first.is_none_or(|first| index < first)
    }

    /// What was found aside and is to be handed on now: before item `ready`, and before anything that the engine has.
    fn take_aside(&mut self, ready: Option<usize>, unordered: bool) -> Option<(usize, Aside)> {
        let index = self.aside.front()?.0;
        let is_next = unordered || ready.is_none_or(|ready| index < ready) && self.is_next(index);
        if is_next { self.aside.pop_front() } else { None }
    }

    /// The item that the engine knows by this number.
    fn take_passed(&mut self, number: usize) -> Option<(usize, Running)> {
        let found = self.passed.get_mut(number.checked_sub(self.first)?)?.take();
        while let Some(None) = self.passed.front() {
            self.passed.pop_front();
            self.first += 1;
        }
        found
    }
}

/// The items that an engine is to run.
struct Passing<I: Iterator, S, C, T> {
    source: Rc<RefCell<Source<I>>>,
    is_over: bool,
    types: PhantomData<fn() -> (S, C, T)>,
}

impl<I, S, C, T> Iterator for Passing<I, S, C, T>
where
    I: Iterator,
    I::Item: Item<S>,
    S: Message,
    C: Chain<S>,
    T: Terminal<C::Out>,
{
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        let mut source = self.source.borrow_mut();
        self.is_over |= source.ahead >= MOST_AHEAD;
        for _ in 0..MOST_ASIDE {
            if self.is_over {
                return None;
            }
            match source.look::<S, C, T>() {
                Found::Runs => {
                    let (item, index, running) = source.held.take()?;
                    source.passed.push_back(Some((index, running)));
                    return Some(item);
                }
                Found::Aside(index, aside) => source.aside.push_back((index, aside)),
                Found::End => self.is_over = true,
            }
        }
        self.is_over = true;
        None
    }
}

/// A flow's parts, with a journal.
struct Durable<'e, E, I: Iterator, S, C, T: Terminal<C::Out>>
where
    C: Chain<S>,
{
    engine: &'e E,
    options: ProgramOptions,
    names: Names<'e>,
    source: Rc<RefCell<Source<I>>>,
    /// While the engine runs some.
    course: Option<Course<'e, T::Partial>>,
    /// The item that was there when it began.
    began_with: Option<usize>,
    /// What it gave, recorded, before its turn.
    ahead: BTreeMap<usize, Part<Outcome<T::Partial>>>,
    /// Why there will be no more, once all that is there in its turn was handed on.
    failed: Option<TaskError>,
    /// Are parts handed on as they come?
    unordered: bool,
    is_over: bool,
    types: PhantomData<fn() -> (S, C)>,
}

impl<'e, E, I, S, C, T> Durable<'e, E, I, S, C, T>
where
    E: Executor,
    I: Iterator + 'e,
    I::Item: Item<S>,
    S: Message,
    C: Chain<S>,
    T: Terminal<C::Out>,
{
    fn new(run: Run<'e, E, I>, journal: journal::Run) -> Self {
        let Run { engine, items, options, names, .. } = run;
        let run = options.run.set(|policy| {
            policy.chunk = Some(1);
            policy.timed = true;
            // That is what this is for.
            policy.journal = None;
        });
        let unordered = options.unordered;
        // What is done is recorded, whatever before it is not.
        let options = ProgramOptions { run, unordered: true, ..options };
        let (held, aside, passed) = (None, VecDeque::new(), VecDeque::new());
        let source = Source { items, journal, next: 0, held, aside, passed, first: 0, ahead: 0 };
        let source = Rc::new(RefCell::new(source));
        Durable {
            engine,
            options,
            names,
            source,
            course: None,
            began_with: None,
            ahead: BTreeMap::new(),
            failed: None,
            unordered,
            is_over: false,
            types: PhantomData,
        }
    }

    /// The next part; `None`: there is none.
    fn part(&mut self) -> Option<Result<Part<Outcome<T::Partial>>, TaskError>> {
        loop {
            let ready = self.ahead.first_key_value().map(|(index, _)| *index);
            let aside = self.source.borrow_mut().take_aside(ready, self.unordered);
            if let Some((index, aside)) = aside {
                return Some(self.part_aside(index, aside));
            }
            if let Some(index) = ready.filter(|index| self.unordered || self.source.borrow().is_next(*index)) {
                let part = self.ahead.remove(&index);
                self.source.borrow_mut().ahead = self.ahead.len();
                return part.map(Ok);
            }
            if let Some(error) = self.failed.take() {
                return Some(Err(error));
            }
            let Some(course) = &mut self.course else {
                // Nothing is under way: what is recorded needs no engine.
                let found = self.source.borrow_mut().look::<S, C, T>();
                match found {
                    Found::Runs => self.begin(),
                    Found::Aside(index, aside) => return Some(self.part_aside(index, aside)),
                    Found::End => {
                        self.is_over = true;
                        return self.source.borrow().journal.finish().err().map(Err);
                    }
                }
                continue;
            };
            match course.next() {
                Some(part) => match part.and_then(|part| self.record(part)) {
                    Ok(part) => {
                        self.ahead.insert(part.first, part);
                        self.source.borrow_mut().ahead = self.ahead.len();
                    }
                    Err(error) => {
                        self.course = None;
                        self.failed = Some(error);
                    }
                },
                None => self.end(),
            }
        }
    }

    /// The engine's run is over.
    fn end(&mut self) {
        self.course = None;
        let mut source = self.source.borrow_mut();
        source.passed.clear();
        // What began this run was not taken, and nobody says why: it never will be.
        if let Some((_, index, _)) = source.held
            && self.began_with == Some(index)
        {
            drop(source);
            self.failed = Some(TaskError::Cancelled { context: self.context(index) });
        }
    }

    fn begin(&mut self) {
        let mut source = self.source.borrow_mut();
        source.first = 0;
        self.began_with = source.held.as_ref().map(|(_, index, _)| *index);
        let items = Passing::<I, S, C, T> { source: self.source.clone(), is_over: false, types: PhantomData };
        self.course = Some(Box::new(self.engine.run_program::<Work<S, C, T>, _>(items, self.options.clone())));
    }

    /// The part of an item that no worker got.
    fn part_aside(&self, index: usize, aside: Aside) -> Result<Part<Outcome<T::Partial>>, TaskError> {
        match aside {
            Aside::Known(known) => {
                let fate = self.source.borrow_mut().journal.recall_fate(known)?;
                part_of(index, fate).map_err(|error| TaskError::NotSendable {
                    context: self.context(index),
                    reason: error.to_string(),
                    kind: error.kind(),
                })
            }
            Aside::Failed(error) => Ok(Part {
                first: index,
                items: 1,
                outcome: None,
                lost: vec![Lost { item: index, stage: 0, error }],
                ran: None,
            }),
        }
    }

    fn context(&self, index: usize) -> TaskContext {
        TaskContext::new(<Work<S, C, T> as Program>::ENTRY.name(), Some(index))
    }

    /// A part that the engine gave, recorded.
    fn record(&self, mut part: Part<Outcome<T::Partial>>) -> Result<Part<Outcome<T::Partial>>, TaskError> {
        let mut source = self.source.borrow_mut();
        let found = source.take_passed(part.first).filter(|_| part.items == 1);
        let Some((index, running)) = found else {
            return Err(TaskError::NotSendable {
                context: self.context(part.first),
                reason: "this engine does not run the items of a flow one by one, as a journal needs it".into(),
                kind: ErrorKind::Unsupported,
            });
        };
        part.first = index;
        part.lost.iter_mut().for_each(|lost| lost.item = index);
        if let Some(fate) = self.fate_of(&part, index)? {
            let text = fate.marks.first().map(|mark| self.names.text(index, mark));
            source.journal.keep_fate(running, part.ran, fate, text)?;
        }
        Ok(part)
    }

    /// What a part says of its item; `None` if that is nothing that stays.
    fn fate_of(&self, part: &Part<Outcome<T::Partial>>, index: usize) -> Result<Option<Fate<T::Partial>>, TaskError> {
        let unreadable = |error: crate::message::DecodeError| TaskError::NotSendable {
            context: self.context(index),
            reason: error.to_string(),
            kind: ErrorKind::InvalidData,
        };
        let fault = |fault: TaskFault, worker| fault.into_error(self.context(index), worker, 1);
        let mut fate = Fate { partial: None, marks: Vec::new() };
        fate.marks.extend(part.lost.iter().map(|lost| Mark::lost(lost.stage, lost.error.clone())));
        match part.outcome.as_ref().map(Kept::get) {
            Some(ArchivedResult::Ok(parts)) => {
                fate.partial = Some(T::Partial::read(&parts.0, &mut Decoder::new()).map_err(unreadable)?);
                for mishap in parts.1.iter() {
                    let Mishap { stage, worker, refused, fault: bytes, .. } =
                        Mishap::read(mishap, &mut Decoder::new()).map_err(unreadable)?;
                    let why = refused.ok_or_else(|| fault(TaskFault::decode(&bytes), worker));
                    fate.marks.push(Mark { stage, why });
                }
            }
            Some(ArchivedResult::Err(bytes)) => {
                let last = self.names.last();
                fate.marks.push(Mark::lost(last, fault(fault_of(bytes), 0)));
            }
            // Not even begun.
            None if fate.marks.is_empty() => return Ok(None),
            None => {}
        }
        Ok(Some(fate))
    }
}

/// What an item gave, as a part of a run.
fn part_of<P: Message>(index: usize, fate: Fate<P>) -> Result<Part<Outcome<P>>, EncodeError> {
    let mut part = Part { first: index, items: 1, outcome: None, lost: Vec::new(), ran: None };
    let mut mishaps = Vec::new();
    for Mark { stage, why } in fate.marks {
        match why {
            Ok(text) => mishaps.push(Mishap::refused(0, stage, text)),
            // As it was told the first time: among the others, in their order.
            Err(error) => match Mishap::again(stage, &error).filter(|_| fate.partial.is_some()) {
                Some(mishap) => mishaps.push(mishap),
                None => part.lost.push(Lost { item: index, stage, error }),
            },
        }
    }
    if let Some(partial) = fate.partial {
        part.outcome = Some(Kept::of(&Ok((partial, mishaps)))?);
    }
    Ok(part)
}

impl<'e, E, I, S, C, T> Iterator for Durable<'e, E, I, S, C, T>
where
    E: Executor,
    I: Iterator + 'e,
    I::Item: Item<S>,
    S: Message,
    C: Chain<S>,
    T: Terminal<C::Out>,
{
    type Item = Result<Part<Outcome<T::Partial>>, TaskError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let part = self.part()?;
        self.is_over = part.is_err();
        Some(part)
    }
}

impl<E, I: Iterator, S, C, T: Terminal<C::Out>> fmt::Debug for Durable<'_, E, I, S, C, T>
where
    C: Chain<S>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Durable").finish_non_exhaustive()
    }
}
