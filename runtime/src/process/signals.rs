//! Signals as something to wait for.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::supervisor::{self, Watch, Watched};
use crate::object::wait_any::{Bell, Rope, Waitable, sealed};
use crate::sys::signal::Registration;
use crate::{Result, Signal, sys};

/// Signals that this process waits for instead of dying of them.
///
/// From the moment it is made, each of its signals that reaches this process is kept until it is taken. Like the system itself it keeps one of
/// each: two of the same kind that come before the first is taken are one. Several `Signals` may name the same signal, and handlers of other
/// crates that use `signal-hook` run, too.
///
/// Nothing runs in a signal handler but the noting of the number, so what you do on a signal may do anything. [`wait_any`](crate::wait_any())
/// waits for signals and for work at the same time.
///
/// When it is dropped, its signals do not end the process again: they do nothing.
///
/// # Examples
/// ```
/// use offspring::{Pool, Signal, Signals, task, wait_any};
///
/// #[task]
/// fn forever() {
///     std::thread::sleep(std::time::Duration::from_secs(600));
/// }
///
/// # fn main() -> offspring::Result<()> {
/// let signals = Signals::new([Signal::INT, Signal::TERM])?;
/// let pool = Pool::new()?;
/// let work = pool.submit(forever, ())?;
/// Signal::TERM.raise(); // stands for somebody's `kill`
/// if wait_any(&[&work, &signals], None)? == Some(1) {
///     println!("ended by {}", signals.wait()?);
///     pool.terminate();
/// }
/// # Ok(())
/// # }
/// ```
pub struct Signals {
    signals: Vec<Signal>,
    inner: Arc<Inner>,
    watch: Watch,
    /// Whose signals they are: a fork does not see them.
    process: u32,
    _registrations: Vec<Registration>,
}

struct Inner {
    /// Bit `n - 1` for signal `n`.
    pending: Arc<AtomicU64>,
    event: Arc<OwnedFd>,
    ropes: Mutex<Vec<Rope>>,
    arrived: Condvar,
    is_lost: AtomicBool,
}

/// Nothing that is done under the lock leaves the value half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Signals {
    /// Waits for these from now on.
    ///
    /// ```
    /// use offspring::{Disposition, Signal, Signals};
    ///
    /// assert_eq!(Signal::USR1.disposition(), Disposition::Default);
    /// let signals = Signals::new([Signal::USR1])?;
    /// assert_eq!(Signal::USR1.disposition(), Disposition::Handled);
    /// # drop(signals);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// A signal that cannot be handled (`SIGKILL`, `SIGSTOP`) or must not be (`SIGSEGV`, `SIGILL`, `SIGFPE`); a limit of the system.
    pub fn new(signals: impl IntoIterator<Item = Signal>) -> Result<Signals> {
        let signals: Vec<Signal> = signals.into_iter().collect();
        let event = Arc::new(sys::fd::event().and_then(sys::fd::above_streams)?);
        let inner = Arc::new(Inner {
            pending: Arc::default(),
            event: event.clone(),
            ropes: Mutex::default(),
            arrived: Condvar::new(),
            is_lost: AtomicBool::new(false),
        });
        let register = |&signal: &Signal| sys::signal::register(signal, inner.pending.clone(), event.clone());
        let registrations = signals.iter().map(register).collect::<io::Result<Vec<_>>>()?;
        let watch = supervisor::watch(event.as_fd(), inner.clone())?;
        Ok(Signals { signals, inner, watch, process: std::process::id(), _registrations: registrations })
    }

    /// Takes a signal that has come; waits for one if there is none. Of several, that of the lowest number is first.
    ///
    /// ```
    /// use offspring::{Signal, Signals};
    ///
    /// let signals = Signals::new([Signal::HUP])?;
    /// Signal::HUP.raise(); // stands for somebody's `kill`
    /// assert_eq!(signals.wait()?, Signal::HUP);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// This process is a fork of the one that made it, or has closed the library's descriptors.
    #[doc(alias = "sigwaitinfo")]
    #[doc(alias = "sigwait")]
    #[doc(alias = "pause")]
    pub fn wait(&self) -> Result<Signal> {
        loop {
            if let Some(signal) = self.wait_until(None)? {
                return Ok(signal);
            }
        }
    }

    /// Takes a signal that has come; waits for one, for this long at most, if there is none. `None`: none came.
    ///
    /// ```
    /// use offspring::{Signal, Signals};
    /// use std::time::Duration;
    ///
    /// let signals = Signals::new([Signal::USR2])?;
    /// assert_eq!(signals.wait_timeout(Duration::from_millis(5))?, None);
    /// Signal::USR2.raise();
    /// assert_eq!(signals.wait_timeout(Duration::from_secs(60))?, Some(Signal::USR2));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`wait`](Signals::wait).
    #[doc(alias = "alarm")]
    #[doc(alias = "setitimer")]
    #[doc(alias = "sigtimedwait")]
    pub fn wait_timeout(&self, timeout: Duration) -> Result<Option<Signal>> {
        self.wait_until(Instant::now().checked_add(timeout))
    }

    /// Takes a signal that has come, if there is one. Does not block.
    #[doc(alias = "sigpending")]
    pub fn try_wait(&self) -> Option<Signal> {
        let pending = &self.inner.pending;
        let take = |bits: u64| (bits != 0).then(|| bits & (bits - 1));
        let before = pending.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).ok()?;
        Signal::from_raw(before.trailing_zeros() as i32 + 1)
    }

    fn wait_until(&self, deadline: Option<Instant>) -> Result<Option<Signal>> {
        let mut ropes = lock(&self.inner.ropes);
        loop {
            // The bit is set before those who sleep are woken, under this lock.
            if let Some(signal) = self.try_wait() {
                return Ok(Some(signal));
            }
            if self.process != std::process::id() || self.inner.is_lost.load(Ordering::SeqCst) {
                let reason = "signals are not seen here: this is a fork of the process that waits for them, or it has closed \
                              descriptors that are not its own";
                return Err(io::Error::other(reason).into());
            }
            let arrived = &self.inner.arrived;
            ropes = match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                None => arrived.wait(ropes).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => return Ok(None),
                Some(left) => arrived.wait_timeout(ropes, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        supervisor::unwatch(self.inner.event.as_fd(), self.watch);
    }
}

impl Inner {
    fn wake(&self) {
        let mut ropes = lock(&self.ropes);
        self.arrived.notify_all();
        ropes.drain(..).for_each(|rope| rope.pull());
    }
}

impl Watched for Inner {
    fn ready(&self) -> bool {
        sys::fd::event_clear(self.event.as_fd());
        self.wake();
        true
    }

    fn lost(&self) {
        self.is_lost.store(true, Ordering::SeqCst);
        self.wake();
    }
}

impl sealed::Sealed for Signals {
    fn is_ready(&self) -> bool {
        // Where none will come, a wait returns at once, with the error.
        self.inner.pending.load(Ordering::SeqCst) != 0 || self.inner.is_lost.load(Ordering::SeqCst)
    }

    fn ring_when_ready(&self, bell: &Bell) {
        let mut ropes = lock(&self.inner.ropes);
        if self.is_ready() {
            return bell.ring();
        }
        ropes.retain(Rope::is_waited_for);
        ropes.push(bell.rope());
    }
}

impl Waitable for Signals {}

impl fmt::Debug for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Signals").field(&self.signals).finish()
    }
}
