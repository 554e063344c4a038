//! A pool without processes: what the single-step killer steps through. Only in `testing` builds.
#![allow(missing_docs, clippy::missing_panics_doc)]

pub(crate) mod phases;
mod told;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::*;
use std::time::{Duration, Instant};

use crate::arena::{Arena, Block, Owner};
use crate::flow::internals::{Collect, Map, Outcome, StageFn, Start, Whole, Work};
use crate::message::Message;
use crate::pool::job::errand::Errand;
use crate::pool::job::estimate::Outlook;
use crate::pool::job::window::{self, Window};
use crate::pool::job::{Bell, Job};
use crate::pool::layout::{self, ControlView, Fault};
use crate::pool::options::policy::Policy;
use crate::pool::protocol::admission::{Needs, Resources, Turn};
use crate::pool::protocol::claim::{self, Chunk};
use crate::pool::worker;
use crate::pool::worker::recycle::Rules;
use crate::pool::worker::run::Worker;
use crate::process::Death;
use crate::sync::permits::{self, Permits};
use crate::task::{
    Fuse, Fused, Home, Role, TaskEntry, TaskError, TaskFault, TaskFn, TaskId, TaskSource, WorkerState, lookup_program,
    param, plain, registry,
};
use crate::{ErrorKind, ExitStatus, Signal};

pub use told::LastPlace;

/// Seeded mistakes of the pool's protocols, for `testing::select_mutant`.
pub const MUTANTS: &[(u32, &str)] = crate::pool::protocol::mutants::ALL;

fn square(x: u64) -> u64 {
    const _: () = {
        inventory::submit! {
            TaskEntry::new(
                TaskSource {
                    name: "offspring::testing::square",
                    file: file!(),
                    line: line!(),
                    column: column!(),
                    signature: "fn square(x: u64) -> u64",
                    version: 0,
                },
                plain::n1(&square, param::<u64, _>()),
            )
        }
    };
    x * x
}

/// How many killed workers were found in each phase of their work by this process: idle, claim, run, commit; how many were dead before the
/// audit of another was over; how many auditors in the middle of an audit.
pub fn phases() -> [(&'static str, u64); 6] {
    let phases = &phases::PHASES;
    [
        ("idle", phases.idle.load(Relaxed)),
        ("claim", phases.claim.load(Relaxed)),
        ("run", phases.run.load(Relaxed)),
        ("commit", phases.commit.load(Relaxed)),
        ("audit", phases.audit.load(Relaxed)),
        ("auditor", phases.auditor.load(Relaxed)),
    ]
}

/// How often a watched job of this pool was looked at; and of how many tokens this process hears for how many batches and calls.
pub fn looks(pool: &crate::Pool) -> (u64, usize, usize) {
    let (tokens, errands) = crate::pool::ending::cancel::heard();
    (pool.core.watched.looks(), tokens, errands)
}

/// Control block and one published job: of squares, unless it is a [`FlowTable`].
#[derive(Debug)]
pub struct Table<R = u64> {
    control: Block,
    window: Window<R>,
}

/// A job of a flow that collects squares: its chunks are committed as a whole.
pub type FlowTable = Table<Outcome<Vec<u64>>>;

const SEATS: usize = 4;

impl Table {
    /// Lays the table in the arena of the pool's process: items `0..items`, in chunks of `chunk`.
    pub fn lay(arena: crate::testing::Arena, items: usize, chunk: usize, retries: u32) -> Table {
        Table::squares(arena.inner(), square, items, chunk, Policy { retries, ..Policy::default() })
    }

    fn squares<F: TaskFn<M, Output = u64>, M>(
        arena: &'static Arena,
        _: F,
        items: usize,
        chunk: usize,
        policy: Policy,
    ) -> Table
    where
        u64: crate::Accept<M>,
    {
        let task = registry::entry_of::<F>(Role::Task).expect("the task is registered");
        Table::of::<F, M>(arena, task, (items, chunk), policy)
    }
}

impl FlowTable {
    /// As [`Table::lay`], of a flow.
    pub fn lay_flow(arena: crate::testing::Arena, items: usize, chunk: usize, retries: u32) -> FlowTable {
        FlowTable::flow(arena.inner(), square, (items, chunk), retries)
    }

    fn flow<F: StageFn<u64, Whole, Output = u64>>(
        arena: &'static Arena,
        _: F,
        shape: (usize, usize),
        retries: u32,
    ) -> FlowTable {
        type Squares<F> = Work<u64, Map<Start, F, Whole>, Collect>;
        let program = lookup_program::<Squares<F>>().expect("it can be found");
        let policy = Policy { retries, ..Policy::default() };
        Table::of::<Fuse<Squares<F>>, Fused<Squares<F>>>(arena, program, shape, policy)
    }
}

/// What became of the items of a table.
pub trait Ends {
    /// Every item's end: `=value`, or the kind of its error; `?` for an item that is not done. Waits for nothing.
    fn ends(&self) -> Vec<String>;
}

impl Ends for Table {
    fn ends(&self) -> Vec<String> {
        let reader = self.window.reader();
        let end = |item| match reader.read(item) {
            Ok(value) => format!("={value}"),
            Err(error) => format!("{:?}", error.kind()),
        };
        self.chunks(|_, items| items.map(end).collect())
    }
}

impl Ends for FlowTable {
    fn ends(&self) -> Vec<String> {
        self.chunks(|chunk, items| {
            let outcome = self.window.value_of_chunk(chunk).expect("a result");
            let (values, mishaps) = outcome.expect("the chunk's result could be written");
            assert_eq!(mishaps.len(), 0);
            let lost: BTreeMap<usize, TaskError> =
                self.job().lost_in(items.clone()).into_iter().map(|(item, _, error)| (item, error)).collect();
            let mut values = values.into_iter();
            let end = |item| match (lost.get(&item), &mut values) {
                (Some(error), _) => format!("{:?}", error.kind()),
                (None, values) => values.next().map_or("nothing".to_owned(), |value| format!("={value}")),
            };
            let ends = items.map(end).collect();
            assert_eq!(values.len(), 0, "an item is in the result that was lost, or is in it twice");
            ends
        })
    }
}

impl<R: Message> Table<R> {
    fn of<F: TaskFn<M, Output = R>, M>(
        arena: &'static Arena,
        task: (TaskId, &'static TaskEntry),
        (items, chunk): (usize, usize),
        policy: Policy,
    ) -> Table<R>
    where
        u64: crate::Accept<M>,
    {
        let control = layout::new_control(arena, SEATS).expect("a control block");
        let bell = Some(Bell::new(arena).expect("a bell"));
        let errand = Arc::new(Errand::new(arena, task, policy, false, bell));
        // Known to be fast, so that one window takes all of them.
        let outlook =
            Outlook { chunk: Some(chunk), nanos: Some(1.0), remaining: (items, Some(items)), ..Outlook::SINGLE };
        let built = window::build::<F, M, _>(&errand, &outlook, &mut (0..items as u64), Some(0)).expect("a job");
        let table = Table { control, window: built.window.expect("a job") };
        table.publish();
        table
    }

    /// The ends of all items: what `of` says of the chunks that are done.
    fn chunks(&self, of: impl Fn(usize, std::ops::Range<usize>) -> Vec<String>) -> Vec<String> {
        let view = self.job().view();
        let ends = |chunk: usize| match Chunk::load(&view.words[chunk], SeqCst) {
            Chunk::Done { .. } => of(chunk, view.range(chunk)),
            _ => view.range(chunk).map(|_| "?".to_owned()).collect(),
        };
        (0..view.words.len()).flat_map(ends).collect()
    }

    fn control(&self) -> ControlView<'_> {
        layout::control_of(&self.control, SEATS)
    }

    fn job(&self) -> &Arc<Job> {
        self.window.job()
    }

    fn publish(&self) {
        let seq = self.control().publish(self.job().id()).expect("room in the ring");
        self.job().note_entry(seq);
    }

    /// Takes a seat for a member, before the stepping begins.
    pub fn sit(&self, seat: usize, member: crate::testing::Member) {
        self.control().seats[seat].owner.store(member.raw(), SeqCst);
    }

    /// The whole of a worker's part: claims, runs and commits chunks until none is left.
    pub fn work(&self, arena: crate::testing::Arena, seat: usize) {
        let control = self.control();
        let arena = arena.inner();
        let mut worker = Worker {
            arena,
            me: arena.me(),
            seat: &control.seats[seat],
            state: WorkerState::none(Home::Pool),
            rules: Rules::default(),
            at: seat,
            single: false,
            crowded: false,
            leaving: false,
            aside: false,
            permits: None,
            permitted: 0,
            now: None,
            marks: None,
        };
        while let Some((seq, job)) = control.oldest() {
            worker.work_on(&control, seq, job).expect("a job that makes sense");
        }
    }

    /// One chunk whose first item fails: claim, fault record, commit.
    pub fn fail(&self, arena: crate::testing::Arena, seat: usize) {
        let control = self.control();
        let arena = arena.inner();
        let (seat, job) = (&control.seats[seat], self.job().view());
        seat.job.store(job.id.raw(), SeqCst);
        if let Some(claimed) = claim::claim(&job, seat, arena.me()) {
            seat.progress.store((claimed.start as u64) << 1 | 1, Release);
            let fault = TaskFault::NotSendable { reason: "it fails".into(), kind: ErrorKind::NotSendable };
            let item = job.range(claimed.chunk).start + claimed.start;
            let fault = Fault { item, worker: 1, bytes: fault.encode() };
            layout::push_fault(arena, &job, &fault).expect("memory for the record");
            let end = claimed.start + 1;
            seat.progress.store((end as u64) << 1, Release);
            claim::commit(&job, claimed, end);
        }
        seat.job.store(0, SeqCst);
    }

    /// What the pool's process does about the death of a member, after the arena's audit.
    pub fn settle(&self, dead: crate::testing::Member) {
        let Some(owner) = Owner::from_raw(dead.raw()) else { return };
        let control = self.control();
        let Some(seat) = control.seats.iter().find(|seat| seat.owner.load(SeqCst) == owner.raw()) else { return };
        let status = ExitStatus::Signaled { signal: Signal::KILL, core_dumped: false };
        let death = Death::new(owner, 1, status);
        if seat.job.load(SeqCst) == self.job().id().raw() && self.job().settle(seat, owner, &death, &mut drop).more {
            self.publish();
        }
        seat.job.store(0, SeqCst);
        seat.owner.store(0, SeqCst);
    }

    /// Does a caller that waits for all of it get through, within a second?
    pub fn wait(&self) -> bool {
        self.job().wait_all(Some(Instant::now() + Duration::from_secs(1)), || false)
    }
}

/// Permits to run, as a tree of pools shares them.
#[derive(Debug)]
pub struct Places {
    block: Block,
    limit: usize,
}

impl Places {
    /// So many permits, in the arena of the tree's first process.
    pub fn lay(arena: crate::testing::Arena, limit: usize) -> Places {
        let block = arena.inner().alloc_zeroed(size_of::<Permits>()).expect("memory for permits");
        let places = Places { block, limit };
        places.permits(arena).resize(limit);
        places
    }

    fn permits(&self, arena: crate::testing::Arena) -> &'static Permits {
        permits::at(arena.inner(), self.block.id()).expect("permits")
    }

    /// Takes one and gives it back.
    pub fn pass(&self, arena: crate::testing::Arena) {
        let (permits, me) = (self.permits(arena), arena.inner().me());
        permits.give_back(me, permits.take(arena.inner(), me, 0));
    }

    /// Gathers all and gives them back.
    pub fn pass_all(&self, arena: crate::testing::Arena) {
        let (permits, me, mut mine) = (self.permits(arena), arena.inner().me(), Vec::with_capacity(self.limit));
        permits.gather(arena.inner(), me, &mut mine, self.limit);
        assert_eq!(mine.len(), self.limit);
        mine.into_iter().for_each(|at| permits.give_back(me, at));
    }

    /// What is done about the death of a member.
    pub fn forget(&self, arena: crate::testing::Arena, dead: crate::testing::Member) {
        if let Some(dead) = Owner::from_raw(dead.raw()) {
            self.permits(arena).forget(dead);
        }
    }

    /// How many nobody has.
    pub fn free(&self, arena: crate::testing::Arena) -> usize {
        self.permits(arena).free()
    }
}

/// Lanes of which each task needs all tokens that there are.
#[derive(Debug)]
pub struct Counter {
    control: Block,
}

impl Counter {
    /// A pool with so many tokens, and a job in a lane whose tasks need them all.
    pub fn lay(arena: crate::testing::Arena, tokens: u32) -> Counter {
        let arena = arena.inner();
        let counter = Counter { control: layout::new_control(arena, SEATS).expect("a control block") };
        let resources = Resources { tokens: vec![("token".into(), tokens)], memory: None, keep_free: None };
        let control = counter.control();
        resources.announce(&control);
        let needs = Needs { tokens: vec![("token".into(), tokens)], ..Needs::default() };
        let demand = needs.demand(&resources, 1).expect("what can be met");
        // No worker runs it, so any block will do.
        control.publish_in_lane(counter.control.id(), &demand, 1, 1).expect("a lane");
        counter
    }

    fn control(&self) -> ControlView<'_> {
        layout::control_of(&self.control, SEATS)
    }

    /// Takes what the task needs, if it is free.
    pub fn pick(&self, arena: crate::testing::Arena, seat: usize) -> bool {
        self.control().pick(arena.inner(), seat, Turn::Any).is_ok()
    }

    /// Sleeps, as an idle worker does, until it can be taken; and takes it.
    pub fn await_turn(&self, arena: crate::testing::Arena, seat: usize) -> bool {
        worker::next_job_of_idle(arena.inner(), &self.control(), seat).is_some()
    }

    /// Gives it back.
    pub fn give_back(&self, seat: usize) {
        self.control().give_back(seat);
    }

    /// What the pool's process does about the death of a seat's worker.
    pub fn vacate(&self, seat: usize) {
        let control = self.control();
        control.set_idle(seat, false);
        control.clear_grant(seat);
        control.wake(usize::MAX);
    }
}
