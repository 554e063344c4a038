//! `Once`.
#![allow(unsafe_code)]

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::common::{deadline, is_of};
use super::error::Result;
use super::mutants;
use super::mutex::not_got;
use super::prim::{Wait, spin_until, wait, wake_all};
use super::raw::RawMutex;
use crate::arena::{Arena, ArenaError, Owner, mutant};
use crate::object::{Doomed, Handle, Kind, Locked, Object, Role, message_by_handle};

const WHAT: &str = "once";

/// Something to be done once in a family, by whoever comes first; all others wait until it is done.
///
/// When the one who does it dies or panics, the next one does it: so it is not poisoned, and what is done must bear being begun
/// again. Handles and blocking are as for [`Mutex`](super::Mutex).
///
/// ```
/// use offspring::sync::Once;
///
/// let once = Once::new()?;
/// assert!(once.call_once(|| println!("this is said once"))?);
/// assert!(!once.call_once(|| unreachable!())?);
/// assert!(once.is_completed());
/// # Ok::<(), offspring::Error>(())
/// ```
#[derive(Clone)]
pub struct Once {
    pub(super) handle: Handle<OnceKind>,
}

/// The kind of onces.
#[derive(Debug)]
pub(crate) struct OnceKind;

/// A once's words.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Shared {
    /// Held by who does it.
    lock: RawMutex,
    done: AtomicU32,
}

// SAFETY: atomics only; the code is this kind's alone.
unsafe impl Kind for OnceKind {
    const CODE: u32 = 35;
    const NAME: &'static str = "a once";
    type Shared = Shared;

    fn recover(object: &Locked<'_, Self>, dead: Owner) -> std::result::Result<(), ArenaError> {
        object.shared().lock.recover(is_of(object.arena(), dead), || ());
        Ok(())
    }

    fn destroy(_: &Doomed<'_, Self>) -> std::result::Result<(), ArenaError> {
        Ok(())
    }

    fn wake(object: &Object<'_, Self>) {
        object.shared().lock.wake_sleepers();
        wake_all(&object.shared().done);
    }
}

/// Lets the next one do it, if this one did not.
struct Run<'a> {
    once: &'a Once,
    me: u32,
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        if self.once.handle.check().is_ok() {
            self.once.shared().lock.unlock(self.me);
        }
    }
}

message_by_handle!([] Once, handle, |handle| Once { handle });

impl Once {
    /// A new one, not done.
    ///
    /// ```
    /// let once = offspring::sync::Once::new()?;
    /// assert!(!once.is_completed());
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// Of kind [`OutOfMemory`](crate::ErrorKind::OutOfMemory) when the family's shared memory is used up.
    pub fn new() -> Result<Once> {
        Once::in_arena(crate::arena::family()?)
    }

    pub(crate) fn in_arena(arena: &'static Arena) -> Result<Once> {
        Ok(Once { handle: Handle::create_in(arena, 0, Role::Plain, |_| ())? })
    }

    /// Calls `f` if nobody has yet, in any process, and says whether it did. Waits while another one does.
    ///
    /// What that one wrote to shared memory is visible afterwards.
    ///
    /// ```
    /// use offspring::sync::Once;
    ///
    /// let (once, mut count) = (Once::new()?, 0);
    /// once.call_once(|| count += 1)?;
    /// once.call_once(|| count += 1)?;
    /// assert_eq!(count, 1);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Panics
    /// When `f` does.
    ///
    /// # Errors
    /// Of kind [`Deadlock`](crate::ErrorKind::Deadlock) when called from within `f`.
    pub fn call_once(&self, f: impl FnOnce()) -> Result<bool> {
        self.run_to_its_end(None, f)
    }

    /// As [`call_once`](Once::call_once), but waits no longer than that for another one. It does not limit `f`.
    ///
    /// # Errors
    /// Of kind [`Timeout`](crate::ErrorKind::Timeout), otherwise as for [`call_once`](Once::call_once).
    pub fn call_once_timeout(&self, timeout: Duration, f: impl FnOnce()) -> Result<bool> {
        self.run_to_its_end(deadline(timeout), f)
    }

    /// As [`call_once`](Once::call_once), with something that may fail: then it is not done, and the next one does it.
    ///
    /// ```
    /// use offspring::sync::Once;
    ///
    /// let once = Once::new()?;
    /// assert_eq!(once.try_call_once(|| Err("no disk"))?, Err("no disk"));
    /// assert_eq!(once.try_call_once(|| Ok::<_, &str>(()))?, Ok(true));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Panics
    /// When `f` does.
    ///
    /// # Errors
    /// As for [`call_once`](Once::call_once); the inner one is that of `f`.
    pub fn try_call_once<E>(&self, f: impl FnOnce() -> Result<(), E>) -> Result<Result<bool, E>> {
        self.run(None, f)
    }

    /// Waits until it is done.
    ///
    /// ```
    /// use offspring::sync::Once;
    ///
    /// let once = Once::new()?;
    /// let other = once.clone();
    /// let thread = std::thread::spawn(move || other.call_once(|| ()).unwrap());
    /// once.wait()?; // until somebody has done it
    /// assert!(once.is_completed() && thread.join().unwrap());
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// In a process made by the program's own `fork`.
    pub fn wait(&self) -> Result<()> {
        self.wait_until(None).map(drop)
    }

    /// Waits until it is done, but no longer than that; says whether it is.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let once = offspring::sync::Once::new()?;
    /// assert!(!once.wait_timeout(Duration::from_millis(5))?);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// In a process made by the program's own `fork`.
    pub fn wait_timeout(&self, timeout: Duration) -> Result<bool> {
        self.wait_until(deadline(timeout))
    }

    /// Whether it is done. `false` in a process made by the program's own `fork`.
    pub fn is_completed(&self) -> bool {
        self.handle.check().is_ok() && self.shared().done.load(Ordering::Acquire) != 0
    }

    fn shared(&self) -> &Shared {
        self.handle.shared()
    }

    fn wait_until(&self, deadline: Option<Instant>) -> Result<bool> {
        self.handle.check()?;
        let done = &self.shared().done;
        let is_done = || done.load(Ordering::Acquire) != 0;
        if !spin_until(is_done) {
            while !is_done() {
                if wait(done, 0, deadline) == Wait::TimedOut {
                    return Ok(is_done());
                }
            }
        }
        Ok(true)
    }

    fn run_to_its_end(&self, deadline: Option<Instant>, f: impl FnOnce()) -> Result<bool> {
        let run = self.run(deadline, || {
            f();
            Ok::<(), std::convert::Infallible>(())
        })?;
        match run {
            Ok(ran) => Ok(ran),
            Err(never) => match never {},
        }
    }

    fn run<E>(&self, deadline: Option<Instant>, f: impl FnOnce() -> Result<(), E>) -> Result<Result<bool, E>> {
        let me = self.handle.arena().thread()?.id.raw();
        let shared = self.shared();
        if shared.done.load(Ordering::Acquire) != 0 {
            return Ok(Ok(false));
        }
        shared.lock.lock(me, deadline).map_err(|why| not_got(why, WHAT))?;
        let run = Run { once: self, me };
        if shared.done.load(Ordering::Acquire) != 0 {
            return Ok(Ok(false));
        }
        if mutant(mutants::ONCE_DONE_FIRST) {
            shared.done.store(1, Ordering::Release);
        }
        let result = f();
        if result.is_ok() {
            self.handle.check()?;
            shared.done.store(1, Ordering::Release);
            wake_all(&shared.done);
        }
        drop(run);
        Ok(result.map(|()| true))
    }
}

impl fmt::Debug for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Once").field("completed", &self.is_completed()).finish()
    }
}
