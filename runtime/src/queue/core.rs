//! Queues as objects: waiting, closing, deaths and ends.
#![allow(unsafe_code)]

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::bell::Bell;
use super::get::{AtOnce, Item, Tray};
use super::jobs::{Offer, Stage, Ticket};
use super::put::{NotPut, Parcel};
use super::records::{HEADER, Segment, What};
use super::ring::{CAPACITY_MOST, Ring};
use super::shared::{JOINABLE, Shared};
use super::{QueueError, mutants, shared};
use crate::arena::{Arena, ArenaError, BlockId, Owner, mutant};
use crate::object::{Doomed, Handle, Kind, Locked, Object, Role};
use crate::sync::prim::{full_fence, spin_until};

/// Bytes of the segment that a queue has in its own block. With the rest of it this fills a size class.
const FIRST: usize = 2048;

/// The kind of queues and of pipes.
#[derive(Debug)]
pub(crate) struct QueueKind;

// SAFETY: `Shared` is all atomics, aligned to 64; the code is this kind's alone.
unsafe impl Kind for QueueKind {
    const CODE: u32 = 30;
    const NAME: &'static str = "a queue";
    type Shared = Shared;

    fn recover(object: &Locked<'_, Self>, dead: Owner) -> Result<(), ArenaError> {
        let ring = ring_of(object);
        if !mutant(mutants::LOCKS_FORGOTTEN) {
            // Each is taken over from the dead, or waited for while somebody else finishes what the dead had begun.
            drop(ring.lock_get()?);
            drop(ring.lock_put()?);
        }
        if ring.is_joinable() && !mutant(mutants::JOBS_FORGOTTEN) {
            ring.return_jobs_of(dead)?;
        }
        Ok(())
    }

    fn destroy(object: &Doomed<'_, Self>) -> Result<(), ArenaError> {
        let ring = ring_of(object);
        drop(ring.lock_get()?);
        drop(ring.lock_put()?);
        for block in ring.job_blocks() {
            object.free(block)?;
        }
        // From the back, so that a second walk still finds what the first one left.
        let parts: Vec<BlockId> = ring.parts().take_while(|part| ring.arena.is_owned(*part)).collect();
        for part in parts.into_iter().rev() {
            object.free(part)?;
        }
        let (segments, items) = ring.contents();
        for item in items {
            object.free(item)?;
        }
        for segment in segments.into_iter().rev() {
            object.free(segment)?;
        }
        Ok(())
    }

    fn wake(object: &Object<'_, Self>) {
        if !mutant(mutants::END_UNTOLD) {
            ring_of(object).ring_all();
        }
    }
}

fn ring_of<'a>(object: &Object<'a, QueueKind>) -> Ring<'a> {
    let (start, len) = object.extra();
    // SAFETY: the object's variable part: aligned to 64, mapped for ever.
    let first = unsafe { Segment::new(start, len as u64) };
    Ring::new(object.arena(), object.shared(), first)
}

impl Ring<'_> {
    /// The segments that are blocks, and the blocks of the items in them, as far as they are the queue's own.
    pub(super) fn contents(&self) -> (Vec<BlockId>, Vec<BlockId>) {
        let (mut segments, mut items) = (Vec::new(), Vec::new());
        let mut raw = self.shared.get.segment.load(Ordering::Acquire);
        let mut at = self.shared.get.at.load(Ordering::Acquire);
        loop {
            if let Some(id) = BlockId::from_raw(raw) {
                if !self.arena.is_owned(id) {
                    break;
                }
                segments.push(id);
            }
            let Some(segment) = self.segment(raw) else { break };
            let link = loop {
                let Some(head) = segment.head(at) else { break None };
                let word = segment.word(at + HEADER).map(|word| word.load(Ordering::Relaxed));
                match head.what {
                    What::Free => break None,
                    What::Link => break word,
                    What::Block => items.extend(word.and_then(BlockId::from_raw)),
                    What::Inline => {}
                }
                at += head.len();
            };
            let Some(next) = link else { break };
            (raw, at) = (next, 0);
        }
        (segments, items)
    }
}

/// How long an operation may take.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Until {
    /// It is done at once or not at all.
    Now,
    Deadline(Instant),
    Ever,
}

impl Until {
    /// In this time; a time too long for the clock is no limit.
    pub(crate) fn after(time: Duration) -> Until {
        Instant::now().checked_add(time).map_or(Until::Ever, Until::Deadline)
    }

    fn deadline(self) -> Option<Instant> {
        match self {
            Until::Deadline(deadline) => Some(deadline),
            Until::Now | Until::Ever => None,
        }
    }
}

/// Tries until there is an outcome: `attempt` gives it, or `None` while there is none; `spin` looks on for a moment and says
/// whether there may be one. `None` when the time is up.
#[inline(always)]
fn wait_for<T>(
    bell: &Bell,
    until: Until,
    spin: impl Fn() -> bool,
    mut attempt: impl FnMut() -> Result<Option<T>, QueueError>,
) -> Result<Option<T>, QueueError> {
    // A failure here was not woken for anything: it passes no wake on.
    match attempt() {
        Ok(None) if !matches!(until, Until::Now) => bell.wait(until.deadline(), spin, attempt),
        outcome => outcome,
    }
}

/// A queue, of whatever type of items; or one direction of a pipe.
#[repr(transparent)]
#[derive(Debug)]
pub(crate) struct Core {
    pub(super) handle: Handle<QueueKind>,
}

/// The most items that may wait, checked.
pub(crate) fn capacity(asked: usize) -> Result<u32, QueueError> {
    match u32::try_from(asked) {
        Ok(most) if (1..=CAPACITY_MOST).contains(&asked) => Ok(most),
        _ => Err(QueueError::Capacity { asked, most: CAPACITY_MOST }),
    }
}

impl Core {
    /// A new one: 0 items may wait means any number.
    pub(crate) fn create(capacity: u32, joinable: bool, most_tries: u32, role: Role) -> Result<Core, QueueError> {
        let init = |object: &Object<'_, QueueKind>| init(object.shared(), capacity, joinable, most_tries);
        Ok(Core { handle: Handle::create(FIRST, role, init)? })
    }

    /// As [`Core::create`], in this arena.
    #[cfg(feature = "testing")]
    pub(crate) fn create_in(
        arena: &'static Arena,
        capacity: u32,
        joinable: bool,
        role: Role,
    ) -> Result<Core, QueueError> {
        let init = |object: &Object<'_, QueueKind>| init(object.shared(), capacity, joinable, 0);
        Ok(Core { handle: Handle::create_in(arena, FIRST, role, init)? })
    }

    /// The queue of a handle.
    #[inline]
    pub(crate) fn of(handle: &Handle<QueueKind>) -> &Core {
        // SAFETY: `Core` is transparent.
        unsafe { &*std::ptr::from_ref(handle).cast() }
    }

    pub(crate) fn into_handle(self) -> Handle<QueueKind> {
        self.handle
    }

    pub(crate) fn arena(&self) -> &'static Arena {
        self.handle.arena()
    }

    /// The queue's memory, which is not there in a `fork` of a member.
    #[inline]
    pub(crate) fn ring(&self) -> Result<Ring<'_>, QueueError> {
        self.handle.check()?;
        Ok(ring_of(&self.handle.object()))
    }

    /// One more reference, in this role.
    pub(crate) fn with_role(&self, role: Role) -> Result<Core, QueueError> {
        Ok(Core { handle: self.handle.with_role(role)? })
    }

    /// Whether nobody is left in this role.
    fn has_none(&self, role: Role) -> bool {
        self.handle.object().count(role) == 0
    }

    /// Whether no item will ever come any more besides those that wait. Asked before it is looked whether some do.
    #[inline]
    fn is_at_end(&self, ring: &Ring<'_>) -> bool {
        ring.is_closed() || self.handle.role() == Role::Receiver && self.has_none(Role::Sender)
    }

    /// Whether nobody is left to receive what this sends.
    #[inline]
    fn is_alone(&self) -> bool {
        self.handle.role() == Role::Sender && self.has_none(Role::Receiver)
    }

    /// Whether nobody will ever take an item.
    #[inline]
    fn is_deaf(&self) -> bool {
        self.is_alone() && !mutant(mutants::DEAF_UNSEEN)
    }

    /// Whether nobody will ever take an item, or the queue cannot be seen.
    pub(crate) fn is_deaf_now(&self) -> bool {
        self.handle.check().is_err() || self.is_alone()
    }

    /// Waits until a take would not wait; `false` if the time is up first.
    pub(crate) fn poll(&self, until: Until) -> Result<bool, QueueError> {
        let ring = self.ring()?;
        let attempt = || Ok(self.is_ready().then_some(()));
        let ready = wait_for(&ring.shared.calm.items, until, || spin_until(|| ring.peek()), attempt)?;
        // Who only looks may have been woken for what somebody else is to take.
        ring.shared.calm.items.ring();
        Ok(ready.is_some())
    }

    /// Puts an item that is these bytes.
    pub(super) fn send_bytes(&self, bytes: &[u8], until: Until) -> Result<(), QueueError> {
        if self.put_at_once(bytes) {
            return Ok(());
        }
        self.put_waiting(&mut Parcel::Inline(bytes), until)
    }

    /// Takes an item that is so many bytes, and copies them to where `to` points.
    ///
    /// # Safety
    /// That is memory of the caller's.
    pub(super) unsafe fn receive_bytes(&self, to: *mut u8, bytes: usize, until: Until) -> Result<(), QueueError> {
        // SAFETY: the caller vouches for it.
        let tray = unsafe { Tray::new(to, bytes, bytes) };
        match self.take(tray, until)? {
            Item::Inline => Ok(()),
            Item::Block(_) => Err(ArenaError::Foreign { what: "an item of a queue" }.into()),
        }
    }

    /// Puts a short item if nobody and nothing is in the way. `false`: nothing has happened.
    #[inline]
    fn put_at_once(&self, bytes: &[u8]) -> bool {
        let Some(me) = self.arena().thread_at_hand() else { return false };
        if self.is_deaf() {
            return false;
        }
        let ring = ring_of(&self.handle.object());
        let put = ring.put_at_once(me, bytes);
        if put {
            self.tell_takers(&ring);
        }
        put
    }

    /// Puts the parcel, which is left as it is on an error.
    pub(crate) fn put(&self, parcel: &mut Parcel<'_>, until: Until) -> Result<(), QueueError> {
        if let Parcel::Inline(bytes) = parcel
            && self.put_at_once(bytes)
        {
            *parcel = Parcel::Gone;
            return Ok(());
        }
        self.put_waiting(parcel, until)
    }

    fn put_waiting(&self, parcel: &mut Parcel<'_>, until: Until) -> Result<(), QueueError> {
        let ring = self.ring()?;
        let attempt = || {
            if self.is_deaf() {
                return Err(QueueError::Closed);
            }
            match ring.put(parcel) {
                Ok(()) => Ok(Some(())),
                Err(NotPut::Full) => Ok(None),
                Err(NotPut::Closed) => Err(QueueError::Closed),
                Err(NotPut::Arena(error)) => Err(error.into()),
            }
        };
        let space = &ring.shared.calm.space;
        let put = wait_for(space, until, || ring.spin_for_room(), attempt)?;
        self.tell_takers(&ring);
        put.ok_or_else(|| late(until, QueueError::Full))
    }

    /// Waits until there may be room, before a large message is written in vain.
    pub(crate) fn await_room(&self, until: Until) -> Result<(), QueueError> {
        let ring = self.ring()?;
        if ring.has_room() {
            return Ok(());
        }
        let attempt = || {
            if self.is_deaf() || ring.is_closed() {
                return Err(QueueError::Closed);
            }
            Ok(ring.has_room().then_some(()))
        };
        let room = wait_for(&ring.shared.calm.space, until, || ring.spin_for_room(), attempt)?;
        room.ok_or_else(|| late(until, QueueError::Full))
    }

    /// Takes the oldest item. A short one is copied to the tray.
    #[inline]
    pub(super) fn take(&self, tray: Tray, until: Until) -> Result<Item, QueueError> {
        if let Some(me) = self.arena().thread_at_hand() {
            let ring = ring_of(&self.handle.object());
            match ring.take_at_once(me, tray) {
                AtOnce::Taken(item) => {
                    self.tell_putters(&ring);
                    return Ok(item);
                }
                // If this is not the end now, it was not before. If it is, something may have been put since.
                AtOnce::Nothing if matches!(until, Until::Now) => {
                    if !self.is_at_end(&ring) {
                        return Err(QueueError::Empty);
                    }
                    if mutant(mutants::END_LAST) {
                        return Err(QueueError::Closed);
                    }
                }
                AtOnce::Failed(error) => return Err(error.into()),
                AtOnce::Nothing | AtOnce::Perhaps => {}
            }
        }
        self.take_waiting(tray, until)
    }

    fn take_waiting(&self, tray: Tray, until: Until) -> Result<Item, QueueError> {
        let ring = self.ring()?;
        let attempt = || {
            let end = self.is_at_end(&ring);
            match ring.take(tray)? {
                Some(item) => Ok(Some(item)),
                None if end => Err(QueueError::Closed),
                None => Ok(None),
            }
        };
        let item = wait_for(&ring.shared.calm.items, until, || spin_until(|| ring.peek()), attempt)?;
        if item.is_some() {
            self.tell_putters(&ring);
        }
        item.ok_or_else(|| late(until, QueueError::Empty))
    }

    /// Takes the oldest item as a job. There is none any more when the queue is closed and nothing waits; with `all_done`, when nothing is in
    /// work either, which may come back.
    pub(crate) fn take_job(&self, stage: Stage, all_done: bool, until: Until) -> Result<Ticket, QueueError> {
        let ring = self.ring()?;
        let attempt = || {
            // A guess, then exactly: puts of the dead are carried forward.
            let end = self.is_at_end(&ring) && (!all_done || ring.undone() == 0 && ring.is_idle()?);
            match ring.take_job(stage)? {
                Offer::Job(ticket) => Ok(Some(ticket)),
                Offer::GivenUp { tries } => {
                    self.tell_joiners(&ring);
                    Err(QueueError::GivenUp { tries })
                }
                Offer::Nothing if end => Err(QueueError::Closed),
                Offer::Nothing => Ok(None),
            }
        };
        let ticket = wait_for(&ring.shared.calm.items, until, || spin_until(|| ring.peek()), attempt)?;
        if ticket.is_some() {
            self.tell_putters(&ring);
        }
        ticket.ok_or_else(|| late(until, QueueError::Empty))
    }

    /// Ends a job.
    pub(crate) fn end_job(&self, ticket: &Ticket) -> Result<bool, QueueError> {
        let ring = self.ring()?;
        let ended = ring.end_job(ticket)?;
        self.tell_joiners(&ring);
        Ok(ended)
    }

    /// Ends a job whose value this process got.
    pub(crate) fn end_gotten(&self) -> Result<bool, QueueError> {
        let ring = self.ring()?;
        let ended = ring.end_gotten()?;
        self.tell_joiners(&ring);
        Ok(ended)
    }

    /// Gives a job back.
    pub(crate) fn give_back(&self, ticket: &Ticket) -> Result<(), QueueError> {
        let ring = self.ring()?;
        ring.give_back(ticket)?;
        self.tell_takers(&ring);
        Ok(())
    }

    /// Waits until all that was put is done; `false` if the time is up first.
    pub(crate) fn join(&self, until: Until) -> Result<bool, QueueError> {
        let ring = self.ring()?;
        let attempt = || Ok(ring.is_idle()?.then_some(()));
        Ok(wait_for(&ring.shared.calm.idle, until, || spin_until(|| ring.undone() == 0), attempt)?.is_some())
    }

    /// Where the root of a job's item is.
    pub(crate) fn root_of(&self, ticket: &Ticket) -> Result<*const u8, QueueError> {
        self.handle.check()?;
        let found = self.arena().at(ticket.block.pos(), 0);
        found.map(|root| root.as_ptr().cast_const()).ok_or(QueueError::NothingToDo)
    }

    /// How many items wait; 0 where the queue cannot be seen.
    pub(crate) fn waiting(&self) -> usize {
        self.ring().map_or(0, |ring| ring.waiting() + ring.came_back())
    }

    /// How many items are not done; 0 where the queue cannot be seen.
    pub(crate) fn unfinished(&self) -> usize {
        self.ring().map_or(0, |ring| ring.undone())
    }

    pub(crate) fn capacity(&self) -> Option<usize> {
        self.ring().ok()?.capacity()
    }

    /// Whether it was closed, or cannot be seen.
    pub(crate) fn is_closed(&self) -> bool {
        self.ring().is_ok_and(|ring| ring.is_closed())
    }

    pub(crate) fn close(&self) -> Result<(), QueueError> {
        self.ring()?.close()?;
        self.handle.ring();
        Ok(())
    }

    /// Whether a take would not wait, if only for an error.
    pub(crate) fn is_ready(&self) -> bool {
        self.ring().map_or(true, |ring| self.is_at_end(&ring) || ring.peek() || ring.came_back() > 0)
    }

    /// Has `bell` rung when a take would not wait.
    pub(crate) fn watch(&self, bell: &crate::object::wait_any::Bell) {
        bell.watch(&self.handle);
    }

    #[inline]
    fn tell_takers(&self, ring: &Ring<'_>) {
        // Unlocking was a read-modify-write.
        full_fence();
        ring.shared.calm.items.ring();
        self.handle.object().ring_after();
    }

    #[inline]
    fn tell_putters(&self, ring: &Ring<'_>) {
        // Unlocking was a read-modify-write.
        full_fence();
        ring.shared.calm.space.ring();
    }

    fn tell_joiners(&self, ring: &Ring<'_>) {
        // Unlocking was a read-modify-write.
        full_fence();
        if ring.undone() == 0 {
            ring.shared.calm.idle.ring_all();
            if ring.is_closed() {
                // Those who waited for what may come back.
                ring.shared.calm.items.ring_all();
            }
        }
    }
}

fn init(shared: &Shared, capacity: u32, joinable: bool, most_tries: u32) {
    shared.calm.capacity.store(capacity, Ordering::Relaxed);
    shared.calm.most_tries.store(most_tries, Ordering::Relaxed);
    shared.calm.flags.store(if joinable { JOINABLE } else { 0 }, Ordering::Relaxed);
}

/// What is said when there was no outcome.
#[cold]
fn late(until: Until, now: QueueError) -> QueueError {
    if matches!(until, Until::Now) { now } else { QueueError::Timeout }
}

const _: () = assert!(size_of::<shared::Shared>() <= 640);
