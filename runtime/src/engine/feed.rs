//! The caller's side of a batch: pulls items in windows, has them sent, and gives what became of them, in order or as it comes.
#![allow(unsafe_code)]

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::course::{Course, Ending, Flight, Piece};
use super::hub::Hub;
use super::transport::Parcel;
use super::wire::{ChunkHead, ChunkId};
use super::{Buffer, received::Received};
use crate::journal::{Admitted, Known, Run, Running};
use crate::message::{EncodeError, Message, Row};
use crate::pool::estimate::{CHUNK_NANOS, Outlook};
use crate::seeing::progress::Meter;
use crate::task::{Accept, Grain, TaskError};
use crate::{CancelLevel, ErrorKind, OnError};

/// A lazy chunk is sent unfilled when the caller's iterator takes longer than this.
const PATIENCE: Duration = Duration::from_millis(1);
/// Bytes of results that are kept because an earlier one is not there yet.
const MOST_BYTES: usize = 64 << 20;
/// Bytes of chunks under way.
const MOST_SENT: usize = 256 << 20;

/// What stands in a batch's sequence, in the order of its items.
pub(super) enum Step {
    /// A chunk that was sent.
    Sent(Sent),
    /// An item that the journal has.
    Known(Known),
    /// An item that cannot be sent.
    Failed(TaskError),
}

/// A chunk that was sent.
pub(super) struct Sent {
    pub(super) flight: Arc<Flight>,
    first: usize,
    pub(super) items: usize,
    /// With a journal: what it knows of them.
    running: Vec<Running>,
}

/// A batch under way. Dropped before its end, it ends what is left.
pub(super) struct Feed<M, I: Iterator> {
    hub: Arc<Hub>,
    pub(super) course: Arc<Course>,
    pub(super) steps: VecDeque<Step>,
    items: I,
    /// The next item, if it was looked at before.
    held: Option<(I::Item, Option<Running>)>,
    journal: Option<Box<Run>>,
    meter: Option<Meter>,
    lazy: bool,
    next: usize,
    made: usize,
    /// Chunks sent, and the bytes of the largest.
    sent: usize,
    largest: usize,
    /// Nothing more is pulled.
    closed: bool,
    panic: Option<Box<dyn Any + Send>>,
    marker: PhantomData<fn(M)>,
}

impl<M, I> Feed<M, I>
where
    I: Iterator,
    I::Item: Accept<M>,
{
    /// Begins a batch.
    pub(super) fn new(hub: &Arc<Hub>, course: Arc<Course>, items: I, lazy: bool) -> Result<Self, TaskError> {
        refuse(hub, &course)?;
        let journal = match &course.policy.journal {
            Some(journal) => Some(Box::new(Run::begin(journal, course.entry)?)),
            None => None,
        };
        if course.policy.token.as_ref().is_some_and(crate::CancelToken::is_cancelled) {
            course.end(Ending::Cancelled);
        }
        let meter = course.watch();
        let feed = Feed {
            hub: hub.clone(),
            course,
            steps: VecDeque::new(),
            items,
            held: None,
            journal,
            meter,
            lazy,
            next: 0,
            made: 0,
            sent: 0,
            largest: 0,
            closed: false,
            panic: None,
            marker: PhantomData,
        };
        feed.tell_total();
        Ok(feed)
    }

    /// How many items there are, where that is known.
    fn tell_total(&self) {
        let Some(meter) = &self.meter else { return };
        let held = usize::from(self.held.is_some());
        let total = match self.items.size_hint() {
            _ if self.closed => Some(self.next),
            (least, Some(most)) if least == most => self.next.checked_add(least).map(|total| total + held),
            _ => None,
        };
        meter.set_total(total.map(|total| total as u64));
    }

    /// Sends chunks until the workers have enough to do. A panic of the input goes on here, once all before it was given out.
    pub(super) fn fill(&mut self) {
        if crate::interrupted() && self.course.ending().is_none() {
            self.hub.end(&self.course, Ending::Cancelled, CancelLevel::Cooperative);
        }
        while !self.closed && self.course.ending().is_none() && self.has_room() {
            self.send();
            self.tell_total();
        }
        if self.steps.is_empty() {
            if let Some(panic) = self.panic.take() {
                resume_unwind(panic);
            }
            // Whoever reads results is told that there are items without.
            if !self.closed
                && let Some(ending) = self.course.ending()
            {
                self.closed = true;
                let pulled = self.held.take().is_some() || self.items.next().is_some();
                if pulled {
                    let error = ending.error(self.course.context(Some(self.next)));
                    self.steps.push_back(Step::Failed(error));
                }
            }
        }
    }

    /// So many chunks should be under way.
    fn enough(&self) -> usize {
        let ahead = if self.lazy { self.hub.ahead / 4 } else { self.hub.ahead };
        self.hub.workers().max(1).saturating_mul(ahead) + 2
    }

    /// How many chunks are under way.
    fn open(&self) -> usize {
        self.sent.saturating_sub(self.course.done())
    }

    fn has_room(&self) -> bool {
        let (open, enough) = (self.open(), self.enough());
        // Those that are done, or recorded, wait for one that is not.
        open < enough
            && self.steps.len() < enough * 64
            && self.course.kept() < MOST_BYTES
            && self.largest * open < MOST_SENT
    }

    fn outlook(&self) -> Outlook {
        let entry = self.course.entry;
        Outlook {
            workers: self.hub.workers().max(1),
            nanos: self.hub.estimate(self.course.task),
            chunk_nanos: match entry.grain() {
                Grain::Item => CHUNK_NANOS,
                Grain::Chunk { nanos } => nanos,
            },
            remaining: self.items.size_hint(),
            stride: entry.input().size + entry.output().size,
            chunk: self.course.policy.chunk,
            made: self.made,
            lazy: self.lazy,
            most: usize::MAX,
        }
    }

    /// Pulls an item, and asks the journal. `None`: there is none, or something else was put in its place.
    fn pull(&mut self) -> Option<(I::Item, Option<Running>)> {
        if let Some(held) = self.held.take() {
            return Some(held);
        }
        let Some(item) = self.items.next() else {
            self.closed = true;
            return None;
        };
        let Some(journal) = &mut self.journal else { return Some((item, None)) };
        match journal.admit::<M, _>(&item, self.next) {
            Admitted::Runs(running) => Some((item, Some(running))),
            Admitted::Known(known) => {
                self.next += 1;
                self.course.count(1, 0, 0);
                self.steps.push_back(Step::Known(known));
                None
            }
            Admitted::Failed(error) => {
                self.refuse_item(error);
                None
            }
        }
    }

    fn refuse_item(&mut self, error: TaskError) {
        self.next += 1;
        self.course.count(1, 1, 0);
        self.steps.push_back(Step::Failed(error));
        if self.course.note_failures(1) {
            let ending = self.course.ending().unwrap_or(Ending::Cancelled);
            self.hub.end(&self.course, ending, CancelLevel::Cooperative);
        }
    }

    /// Encodes and sends the next chunk.
    fn send(&mut self) {
        let outlook = self.outlook();
        let mut capacity = outlook.chunk(outlook.window());
        let is_timed = self.course.policy.timeout.is_some();
        if is_timed && !self.hub.all_kill() {
            // Only so can an item be given up by itself.
            capacity = 1;
        }
        if outlook.remaining.1 != Some(outlook.remaining.0) {
            // What is not used of the slots is sent all the same.
            capacity = capacity.min((64 << 10) / outlook.stride.max(1)).max(1);
        }
        let first = self.next;
        let mut pending = None;
        let mut running = Vec::new();
        // Unwind safety: the items before the panic are complete; the iterator is not asked again.
        let encoded = catch_unwind(AssertUnwindSafe(|| self.encode(capacity, &mut pending, &mut running)));
        let failed = encoded.unwrap_or_else(|panic| {
            (self.closed, self.panic) = (true, Some(panic));
            None
        });
        let short = outlook.nanos.is_some_and(|nanos| nanos * capacity as f64 <= 2.0 * CHUNK_NANOS as f64);
        if let Some(row) = pending.filter(|row| row.written() > 0) {
            let items = row.written();
            // The steps that `pull` has put behind them come after them.
            let behind: Vec<Step> = self.steps.split_off(self.steps.len() - self.behind(first + items)).into();
            match seal(&self.hub, &self.course, row, Some(first), short) {
                Ok((flight, parcel)) => {
                    self.largest = self.largest.max(parcel.bytes().len());
                    self.steps.push_back(Step::Sent(Sent { flight: flight.clone(), first, items, running }));
                    self.made += 1;
                    self.sent += 1;
                    self.hub.start(flight, parcel);
                }
                Err(error) => {
                    self.course.count(items, items, 0);
                    for item in first..first + items {
                        self.steps.push_back(Step::Failed(not_encoded(&self.course, Some(item), &error)));
                    }
                }
            }
            self.steps.extend(behind);
        }
        if let Some(error) = failed {
            self.refuse_item(error);
        }
    }

    /// How many steps of single items from `next` on are at the end.
    fn behind(&self, from: usize) -> usize {
        self.next - from.min(self.next)
    }

    /// Writes items until there are enough; gives the error of one that cannot be written.
    fn encode(&mut self, capacity: usize, pending: &mut Option<Row>, running: &mut Vec<Running>) -> Option<TaskError> {
        let begun = self.lazy.then(Instant::now);
        let stride = self.course.entry.input().size;
        let mut failed = None;
        let mut written = 0;
        while written < capacity {
            // After something else than an item to be run, the chunk ends.
            let Some((item, admitted)) = self.pull() else { break };
            let row = match pending {
                Some(row) => row,
                None => match Row::new(stride, capacity) {
                    Ok(row) => pending.insert(row),
                    Err(error) => {
                        failed = Some(not_encoded(&self.course, Some(self.next), &error));
                        break;
                    }
                },
            };
            // SAFETY: a slot of the size that the task's entry states, aligned to 64 at least as the row is; the encoder's memory lies in the
            // same piece. The marker `M` says that the item fits the parameters of the course's task.
            match row.push(|encoder, slot| unsafe { item.write(encoder, slot) }) {
                Ok(()) => {
                    written += 1;
                    self.next += 1;
                    running.extend(admitted);
                }
                Err(error) => {
                    failed = Some(not_encoded(&self.course, Some(self.next), &error));
                    break;
                }
            }
            if row.len() >= self.hub.max_chunk_bytes {
                break;
            }
            if let Some(begun) = begun
                && (written < 16 || written.is_multiple_of(16))
                && begun.elapsed() >= PATIENCE
            {
                break;
            }
        }
        failed
    }

    /// The oldest step, once it is done. `None`: there are no more.
    pub(super) fn next_done(&mut self) -> Option<Step> {
        loop {
            self.fill();
            if self.steps.front()?.is_done() {
                return self.take(0);
            }
            let done = self.course.done();
            if self.steps.front()?.is_done() {
                continue;
            }
            // Where all results are wanted anyway, many are taken at once.
            let open = self.sent.saturating_sub(done);
            let few = if self.lazy {
                open.saturating_sub(1)
            } else if self.closed {
                0
            } else {
                self.enough() / 2
            };
            self.course.wait(None, done + open.saturating_sub(few).max(1));
        }
    }

    /// Any step that is done. `None`: there are no more.
    pub(super) fn any_done(&mut self) -> Option<Step> {
        loop {
            self.fill();
            if self.steps.is_empty() {
                return None;
            }
            let done = self.course.done();
            match self.steps.iter().position(Step::is_done) {
                Some(at) => return self.take(at),
                None => self.course.wait(None, done + 1),
            }
        }
    }

    fn take(&mut self, at: usize) -> Option<Step> {
        let step = self.steps.remove(at)?;
        if let Step::Sent(sent) = &step {
            self.course.note_taken(sent.flight.bytes());
        }
        Some(step)
    }

    /// The result of an item of a chunk that is done.
    pub(super) fn read<R: Message>(&mut self, sent: &Sent, item: usize) -> Result<R, TaskError> {
        let result = read(&sent.flight, item);
        match (&mut self.journal, sent.running.get(item)) {
            (Some(journal), Some(running)) => journal.settle(*running, None, result),
            _ => result,
        }
    }

    pub(super) fn recall<R: Message>(&mut self, known: Known) -> Result<R, TaskError> {
        match &mut self.journal {
            Some(journal) => journal.recall(known),
            None => Err(TaskError::Cancelled { context: self.course.context(Some(known.index())) }),
        }
    }

    pub(super) fn has_journal(&self) -> bool {
        self.journal.is_some()
    }

    /// Runs the whole batch and gives its results in order to `take`, whose first error ends it. Each is recorded as soon as it is there,
    /// whatever before it is not.
    pub(super) fn record_all<R: Message>(
        &mut self,
        mut take: impl FnMut(Result<R, TaskError>) -> Result<(), TaskError>,
    ) -> Result<(), TaskError> {
        let mut ahead: BTreeMap<usize, Result<R, TaskError>> = BTreeMap::new();
        let (mut next, mut failed) = (0, None);
        while let Some(step) = self.any_done() {
            match step {
                Step::Known(known) => {
                    ahead.insert(known.index(), self.recall(known));
                }
                Step::Failed(error) => {
                    ahead.insert(error.item().unwrap_or(self.next), Err(error));
                }
                Step::Sent(sent) => {
                    ahead.extend((0..sent.items).map(|item| (sent.first + item, self.read(&sent, item))));
                }
            }
            while failed.is_none()
                && let Some(result) = ahead.remove(&next)
            {
                next += 1;
                failed = take(result).err();
            }
            if failed.is_some() && self.course.ending().is_none() {
                // What runs is recorded all the same.
                self.hub.end(&self.course, Ending::Cancelled, CancelLevel::Cooperative);
            }
        }
        let closed = self.close_journal();
        match failed {
            // The batch was stopped after a failure further on: that is what the caller wants to know.
            Some(error) if error.is_stopped() => {
                let mut causes = ahead.into_values().filter_map(Result::err);
                Err(causes.find(|error| !error.is_stopped() && !error.is_cancelled()).unwrap_or(error))
            }
            Some(error) => Err(error),
            None => closed,
        }
    }

    /// Waits until the journal has everything on disk.
    pub(super) fn close_journal(&mut self) -> Result<(), TaskError> {
        self.journal.take().map_or(Ok(()), |journal| journal.finish())
    }

    /// Waits for what is under way, for the first error that is not for the sake of another's.
    pub(super) fn first_cause<R: Message>(&mut self) -> Option<TaskError> {
        while let Some(step) = self.steps.pop_front() {
            match step {
                Step::Failed(error) if !error.is_stopped() => return Some(error),
                Step::Failed(_) | Step::Known(_) => {}
                Step::Sent(sent) => {
                    while !sent.flight.is_done() {
                        let done = self.course.done();
                        if !sent.flight.is_done() {
                            self.course.wait(None, done + 1);
                        }
                    }
                    let errors = (0..sent.items).filter_map(|item| read::<R>(&sent.flight, item).err());
                    if let Some(error) = errors.into_iter().find(|error| !error.is_stopped()) {
                        return Some(error);
                    }
                }
            }
        }
        None
    }

    /// The index that the next item pulled gets.
    pub(super) fn next_item(&self) -> usize {
        self.next
    }
}

impl Step {
    fn is_done(&self) -> bool {
        match self {
            Step::Sent(sent) => sent.flight.is_done(),
            Step::Known(_) | Step::Failed(_) => true,
        }
    }
}

impl Sent {
    /// The index of its first item in the batch.
    pub(super) fn first(&self) -> usize {
        self.first
    }
}

/// The result of the item in a slot of a chunk that is done.
pub(super) fn read<R: Message>(flight: &Flight, slot: usize) -> Result<R, TaskError> {
    let context = flight.context(slot);
    let piece = match flight.outcome() {
        [piece] => Some(piece),
        pieces => pieces.iter().find(|piece| piece.has(slot)),
    };
    match piece {
        Some(Piece::Reply(reply)) => match error_in(reply, flight, slot) {
            Some(error) => Err(error),
            None => reply.value::<R>(slot, &context),
        },
        Some(Piece::Lost { why, .. }) => Err(why.error(context)),
        None => Err(TaskError::Cancelled { context }),
    }
}

/// Why the item in a slot has no result, if it has none.
pub(super) fn error_in(reply: &Received, flight: &Flight, slot: usize) -> Option<TaskError> {
    reply.error(slot, flight.context(slot), |context| flight.course.not_begun(context))
}

fn not_encoded(course: &Course, item: Option<usize>, error: &EncodeError) -> TaskError {
    TaskError::NotSendable { context: course.context(item), reason: error.to_string(), kind: error.kind() }
}

/// The error of a course that cannot begin.
pub(super) fn refuse(hub: &Hub, course: &Course) -> Result<(), TaskError> {
    if let Some(ending) = hub.refusal() {
        return Err(ending.error(course.context(None)));
    }
    let needs = &course.policy.needs;
    if !needs.tokens.is_empty() || needs.slots > 1 {
        let what = "slots and named resources belong to a pool on one machine: an engine over a network hands out chunks by its workers' places";
        let (reason, kind) = (what.to_owned(), ErrorKind::InvalidInput);
        return Err(TaskError::NotSendable { context: course.context(None), reason, kind });
    }
    Ok(())
}

/// Makes written items ready to be sent.
pub(super) fn seal(
    hub: &Hub,
    course: &Arc<Course>,
    row: Row,
    first: Option<usize>,
    short: bool,
) -> Result<(Arc<Flight>, Arc<Parcel>), EncodeError> {
    let items = row.written();
    let id = ChunkId { pool: hub.pool, chunk: hub.next_chunk() };
    let mut policy = course.policy.clone();
    policy.on_error = course.failures_left().filter(|_| first.is_some()).map_or(OnError::Continue, OnError::StopAfter);
    let (buffer, len) = row.finish();
    let (slots, range, counts) = (items, 0..items, course.is_watched());
    let head = ChunkHead { id, task: course.task, slots, range, first, len, short, counts, policy };
    let mut bytes = Buffer::over(buffer, len);
    let trailer = head.write(hub.build);
    bytes.bytes_with(trailer.len())?[len..].copy_from_slice(&trailer);
    bytes.lengthen(trailer.len());
    let priority = course.policy.needs.priority;
    let parcel = Parcel { id, run: course.run, items, priority, is_suspect: false, bytes };
    Ok((Flight::new(course, 0..items, first), Arc::new(parcel)))
}

impl<M, I: Iterator> Drop for Feed<M, I> {
    fn drop(&mut self) {
        if self.steps.iter().any(|step| !step.is_done()) {
            self.hub.end(&self.course, Ending::Cancelled, CancelLevel::Cooperative);
        }
    }
}
