//! `Event`.
#![allow(unsafe_code)]

use std::fmt;
use std::time::{Duration, Instant};

use super::common::deadline;
use super::error::Result;
use super::mutants;
use super::raw::RawEvent;
use crate::arena::{Arena, ArenaError, Owner, mutant};
use crate::object::wait_any::{Bell, Waitable, sealed::Sealed};
use crate::object::{Doomed, Handle, Kind, Locked, Object, Role, message_by_handle};

/// A flag that threads of all processes can wait for.
///
/// One [`set`](Event::set) lets all go who wait at that moment, also if the event is cleared before they run. It belongs to
/// nobody, so nothing happens to it when a process dies. Handles and blocking are as for [`Mutex`](super::Mutex).
///
/// ```
/// use offspring::{Process, sync::Event, task};
/// use std::time::Duration;
///
/// #[task]
/// fn wait_for(go: Event) -> bool {
///     go.wait().is_ok()
/// }
///
/// fn main() -> offspring::Result<()> {
///     let go = Event::new()?;
///     assert!(!go.wait_timeout(Duration::from_millis(1))?);
///     let child = Process::new(wait_for, &go).spawn()?;
///     go.set()?;
///     assert!(child.join()?);
///     Ok(())
/// }
/// ```
#[derive(Clone)]
pub struct Event {
    pub(super) handle: Handle<EventKind>,
}

/// The kind of events.
#[derive(Debug)]
pub(crate) struct EventKind;

/// An event's word.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Shared {
    event: RawEvent,
}

// SAFETY: one atomic; the code is this kind's alone.
unsafe impl Kind for EventKind {
    const CODE: u32 = 36;
    const NAME: &'static str = "an event";
    type Shared = Shared;

    fn recover(_: &Locked<'_, Self>, _: Owner) -> std::result::Result<(), ArenaError> {
        Ok(())
    }

    fn destroy(_: &Doomed<'_, Self>) -> std::result::Result<(), ArenaError> {
        Ok(())
    }

    fn wake(object: &Object<'_, Self>) {
        if !mutant(mutants::EVENT_SILENT) {
            object.shared().event.wake_sleepers();
        }
    }
}

message_by_handle!([] Event, handle, |handle| Event { handle });

impl Event {
    /// A new event, not set.
    ///
    /// ```
    /// let ready = offspring::sync::Event::new()?;
    /// assert!(!ready.is_set());
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// Of kind [`OutOfMemory`](crate::ErrorKind::OutOfMemory) when the family's shared memory is used up.
    pub fn new() -> Result<Event> {
        Event::in_arena(crate::arena::family()?)
    }

    pub(crate) fn in_arena(arena: &'static Arena) -> Result<Event> {
        Ok(Event { handle: Handle::create_in(arena, 0, Role::Plain, |_| ())? })
    }

    /// Sets the event, and lets all go who wait for it. Does nothing if it is set.
    ///
    /// What was written to shared memory before is visible to them.
    ///
    /// ```
    /// use offspring::sync::Event;
    ///
    /// let ready = Event::new()?;
    /// ready.set()?;
    /// ready.wait()?;
    /// ready.clear()?;
    /// assert!(!ready.is_set());
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// In a process made by the program's own `fork`.
    pub fn set(&self) -> Result<()> {
        self.handle.check()?;
        if self.handle.shared().event.set() {
            self.handle.ring();
        }
        Ok(())
    }

    /// Clears the event: who waits from now on waits for the next [`set`](Event::set).
    ///
    /// ```
    /// let ready = offspring::sync::Event::new()?;
    /// ready.set()?;
    /// ready.clear()?;
    /// assert!(!ready.is_set());
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// In a process made by the program's own `fork`.
    pub fn clear(&self) -> Result<()> {
        self.handle.check()?;
        self.handle.shared().event.clear();
        Ok(())
    }

    /// Whether the event is set. `false` in a process made by the program's own `fork`.
    pub fn is_set(&self) -> bool {
        self.handle.check().is_ok() && self.handle.shared().event.is_set()
    }

    /// Waits until the event is set; not at all if it is.
    ///
    /// ```
    /// use offspring::{spawn, sync::Event, task};
    ///
    /// #[task]
    /// fn prepare(ready: Event) {
    ///     ready.set().unwrap();
    /// }
    ///
    /// let ready = Event::new()?;
    /// let child = spawn(prepare, &ready)?;
    /// ready.wait()?;
    /// child.join()?;
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// In a process made by the program's own `fork`.
    pub fn wait(&self) -> Result<()> {
        self.wait_until(None).map(drop)
    }

    /// As [`wait`](Event::wait), but no longer than that; says whether the event was set.
    ///
    /// ```
    /// use offspring::sync::Event;
    /// use std::time::Duration;
    ///
    /// let ready = Event::new()?;
    /// assert!(!ready.wait_timeout(Duration::from_millis(5))?);
    /// ready.set()?;
    /// assert!(ready.wait_timeout(Duration::from_millis(5))?);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// In a process made by the program's own `fork`.
    pub fn wait_timeout(&self, timeout: Duration) -> Result<bool> {
        self.wait_until(deadline(timeout))
    }

    fn wait_until(&self, deadline: Option<Instant>) -> Result<bool> {
        self.handle.check()?;
        Ok(self.handle.shared().event.wait(deadline))
    }
}

impl Sealed for Event {
    fn is_ready(&self) -> bool {
        self.handle.check().is_err() || self.handle.shared().event.is_set()
    }

    fn ring_when_ready(&self, bell: &Bell) {
        bell.watch(&self.handle);
    }
}

/// Ready while it is set.
impl Waitable for Event {}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event").field("set", &self.is_set()).finish()
    }
}
