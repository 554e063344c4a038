//! Signal masks and dispositions.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::Signal;

/// A set of signals: bit `n - 1` stands for signal `n`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Mask(pub(crate) u64);

impl Mask {
    /// Takes a signal out of the set.
    pub(crate) fn remove(&mut self, signal: Signal) {
        self.0 &= !(1 << (signal.as_raw() - 1));
    }

    fn from_set(set: &libc::sigset_t) -> Mask {
        // SAFETY: `set` is a valid set; numbers that Linux does not have give an error value, which is not 1.
        Mask((1..=64).filter(|&n| unsafe { libc::sigismember(set, n) } == 1).fold(0, |mask, n| mask | 1 << (n - 1)))
    }

    fn to_set(self) -> libc::sigset_t {
        // SAFETY: a set is plain integers; sigemptyset and sigaddset initialise it.
        unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&mut set);
            (1..=64).filter(|n| self.0 & (1 << (n - 1)) != 0).for_each(|n| _ = libc::sigaddset(&mut set, n));
            set
        }
    }
}

/// The calling thread's mask.
pub(crate) fn mask() -> Mask {
    // SAFETY: with a null new set this only reads; the set is plain integers.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), &mut set);
        Mask::from_set(&set)
    }
}

/// Sets the calling thread's mask.
pub(crate) fn set_mask(mask: Mask) {
    let set = mask.to_set();
    // SAFETY: `set` is a valid set.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &set, std::ptr::null_mut()) };
}

/// All signals are blocked in this thread until it is dropped; then the mask is as before.
#[derive(Debug)]
pub(crate) struct Blocked {
    before: libc::sigset_t,
}

/// Blocks all signals in this thread (but for those that the C library keeps to itself).
pub(crate) fn block_all() -> Blocked {
    // SAFETY: sets are plain integers, initialised by sigfillset and by the call.
    unsafe {
        let (mut all, mut before): (libc::sigset_t, libc::sigset_t) = std::mem::zeroed();
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
        Blocked { before }
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        // SAFETY: `before` is what the system gave us.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.before, std::ptr::null_mut()) };
    }
}

/// What happens on a signal.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Action {
    Default,
    Ignore,
    /// A handler that does nothing: unlike `Ignore` it is not inherited by commands, and system calls go on.
    Nothing,
    /// A handler that does nothing, and lets blocking system calls fail with `EINTR`.
    Interrupt,
    /// A handler that runs on the alternate stack and may touch nothing but async-signal-safe things.
    Handler(extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void)),
}

/// Sets what happens on a signal. SIGKILL and SIGSTOP cannot be set: an error.
pub(crate) fn set_action(signal: Signal, action: Action) -> io::Result<()> {
    extern "C" fn nothing(_: libc::c_int) {}
    // SAFETY: sigaction is plain integers; the handlers are functions of the signatures that their flags promise.
    let result = unsafe {
        let mut new: libc::sigaction = std::mem::zeroed();
        libc::sigemptyset(&mut new.sa_mask);
        (new.sa_sigaction, new.sa_flags) = match action {
            Action::Default => (libc::SIG_DFL, 0),
            Action::Ignore => (libc::SIG_IGN, 0),
            Action::Nothing => (nothing as extern "C" fn(libc::c_int) as libc::sighandler_t, libc::SA_RESTART),
            Action::Interrupt => (nothing as extern "C" fn(libc::c_int) as libc::sighandler_t, 0),
            Action::Handler(f) => (f as libc::sighandler_t, libc::SA_SIGINFO | libc::SA_ONSTACK),
        };
        libc::sigaction(signal.as_raw(), &new, std::ptr::null_mut())
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Is the signal ignored?
pub(crate) fn is_ignored(signal: Signal) -> bool {
    // SAFETY: with a null new action this only reads.
    unsafe {
        let mut old: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal.as_raw(), std::ptr::null(), &mut old) == 0 && old.sa_sigaction == libc::SIG_IGN
    }
}

/// Does the signal have a handler?
pub(crate) fn is_handled(signal: Signal) -> bool {
    // SAFETY: with a null new action this only reads.
    unsafe {
        let mut old: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal.as_raw(), std::ptr::null(), &mut old) == 0
            && ![libc::SIG_IGN, libc::SIG_DFL].contains(&old.sa_sigaction)
    }
}

/// A handler beside those that others have for a signal, until it is dropped.
#[derive(Debug)]
pub(crate) struct Registration(signal_hook_registry::SigId);

/// Adds a handler that sets the signal's bit (`n - 1` for signal `n`) in `pending` and then the eventfd. Signals that must not be handled
/// are an error.
pub(crate) fn register(signal: Signal, pending: Arc<AtomicU64>, event: Arc<OwnedFd>) -> io::Result<Registration> {
    let number = signal.as_raw();
    if signal_hook_registry::FORBIDDEN.contains(&number) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{signal} cannot be waited for")));
    }
    // SAFETY: an atomic operation and a write to an eventfd that never blocks: both async-signal-safe. The error number is kept.
    let id = unsafe {
        signal_hook_registry::register(number, move || {
            let errno = *libc::__errno_location();
            pending.fetch_or(1 << (number - 1), Ordering::SeqCst);
            crate::sys::fd::event_set(event.as_fd());
            *libc::__errno_location() = errno;
        })
    };
    id.map(Registration)
}

impl Drop for Registration {
    fn drop(&mut self) {
        signal_hook_registry::unregister(self.0);
    }
}

/// Sends a signal to the calling thread. Async-signal-safe.
pub(crate) fn raise(signal: Signal) {
    // SAFETY: takes an integer.
    unsafe { libc::raise(signal.as_raw()) };
}

/// Ends this process by a signal, at once and whoever handles or blocks it. Async-signal-safe.
pub(crate) fn end_by(signal: Signal) -> ! {
    _ = set_action(signal, Action::Default);
    // SAFETY: sets are plain integers; the process's exit does not return.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, signal.as_raw());
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &set, std::ptr::null_mut());
        libc::raise(signal.as_raw());
        libc::_exit(128 + signal.as_raw())
    }
}

/// Has `handler` called in the calling thread's process after so many milliseconds, by SIGALRM. Async-signal-safe. For a process that is
/// about to end: whatever it did with that signal and timer is undone.
pub(crate) fn start_timer(
    millis: u32,
    handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void),
) -> io::Result<()> {
    set_action(Signal::ALRM, Action::Handler(handler))?;
    let zero = libc::timeval { tv_sec: 0, tv_usec: 0 };
    let value = libc::timeval { tv_sec: i64::from(millis / 1000), tv_usec: i64::from(millis % 1000) * 1000 };
    // SAFETY: sets are plain integers; the timer's values are locals.
    let result = unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGALRM);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &set, std::ptr::null_mut());
        let timer = libc::itimerval { it_interval: zero, it_value: value };
        libc::setitimer(libc::ITIMER_REAL, &timer, std::ptr::null_mut())
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Gives the calling thread an alternate signal stack, for good: the memory is never freed.
pub(crate) fn install_alternate_stack() -> io::Result<()> {
    // SAFETY: the stack is a fresh private mapping that is never unmapped, as large as `ss_size` says.
    unsafe {
        // Room for an unwinder; pages that are not touched cost nothing.
        let size = (libc::getauxval(libc::AT_MINSIGSTKSZ) as usize).max(libc::SIGSTKSZ) + (64 << 10);
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK;
        let start = libc::mmap(std::ptr::null_mut(), size, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0);
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let stack = libc::stack_t { ss_sp: start, ss_flags: 0, ss_size: size };
        if libc::sigaltstack(&stack, std::ptr::null_mut()) < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}
