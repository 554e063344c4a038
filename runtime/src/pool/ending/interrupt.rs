//! Ctrl-C, where the program leaves it to this library.
//!
//! The terminal sends `SIGINT` to all processes of the foreground group. Workers take it with a handler that does nothing, so the program's
//! first process, the *root*, decides. Without a handler of its own it dies of the signal, as any program, and its children with it. A program
//! that calls [`handle_ctrl_c`] ends in an orderly way instead.
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::*};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::pool::PoolError;
use crate::pool::master::core::Core;
use crate::process::{self, Disposition};
use crate::sys::{self, signal};
use crate::{Result, Signal};

/// Two signals that are nearer than this are one: whoever starts programs may pass on the signal that the terminal has sent already.
const ONE_PRESS: Duration = Duration::from_millis(200);
/// What shells say of a program that SIGINT has ended.
const EXIT_CODE: i32 = 128 + 2;

/// The process that handles Ctrl-C, and whether it came.
static HANDLER: AtomicU32 = AtomicU32::new(0);
static PRESSED: AtomicU32 = AtomicU32::new(0);
/// The pools of this process.
static POOLS: Mutex<Vec<Weak<Core>>> = Mutex::new(Vec::new());

/// Has Ctrl-C end this program in an orderly way.
///
/// - The first time, tasks that run are finished and what has not begun is cancelled: whoever waits for a pool's results gets those that are
///   done, and [`TaskError::Cancelled`](crate::TaskError::Cancelled) for the others. Children made by [`Process`](crate::Process) run on.
///   One line on standard error says so. What your `main` does after that is its own affair: it can still save what it has.
/// - The second time, everything is killed and the program ends at once.
///
/// In both cases the program's exit code is 130, whatever its `main` returns, and no process is left.
///
/// Call it once, in `main`, before children are started: those that were started before die of the signal. In a child it does nothing, as the
/// first process decides. Where `SIGINT` is ignored, as for a job that a shell has started in the background, it stays ignored.
///
/// Without this call nothing is changed: a program without a handler dies of `SIGINT`, and takes its children along; one with a handler of
/// its own, or with [`Signals`](crate::Signals), does what that says.
///
/// # Errors
/// The program has a handler for `SIGINT` already, which is left in place: [`ErrorKind::InUse`](crate::ErrorKind::InUse). A limit of the system.
///
/// # Examples
/// ```
/// use offspring::{Pool, task};
///
/// #[task]
/// fn square(x: u64) -> u64 {
///     x * x
/// }
///
/// fn main() -> offspring::Result<()> {
///     offspring::handle_ctrl_c()?;
///     let pool = Pool::new()?;
///     let squares = pool.try_map(square, 0..1000)?;
///     println!("{} of 1000", squares.iter().flatten().count());
///     Ok(())
/// }
/// ```
#[doc(alias = "KeyboardInterrupt")]
#[doc(alias = "default_int_handler")]
#[doc(alias = "SIGINT")]
pub fn handle_ctrl_c() -> Result<()> {
    if process::parent().is_some() || HANDLER.load(SeqCst) == std::process::id() {
        return Ok(());
    }
    match Signal::INT.disposition() {
        Disposition::Ignored => return Ok(()),
        Disposition::Handled => return Err(PoolError::SignalInUse { signal: Signal::INT }.into()),
        Disposition::Default => {}
    }
    let event = Arc::new(sys::fd::event().and_then(sys::fd::above_streams)?);
    let pending = Arc::new(AtomicU64::new(0));
    // From here on the signal ends nothing by itself, so the thread that sees to it comes first.
    let seen = event.clone();
    std::thread::Builder::new().name("offspring-ctrl-c".into()).spawn(move || wait_for_presses(&seen))?;
    // For good: the registration is never taken back.
    std::mem::forget(signal::register(Signal::INT, pending, event)?);
    HANDLER.store(std::process::id(), SeqCst);
    process::leave_interrupts_to_root();
    process::wait_for_children_at_exit();
    Ok(())
}

/// Has Ctrl-C been pressed, in a program that called [`handle_ctrl_c`]? For loops of `main` that should end then.
///
/// ```
/// while !offspring::interrupted() {
///     // the next round
///     # break;
/// }
/// ```
pub fn interrupted() -> bool {
    is_interrupted()
}

fn is_interrupted() -> bool {
    PRESSED.load(SeqCst) > 0 && HANDLER.load(SeqCst) == std::process::id()
}

fn wait_for_presses(event: &OwnedFd) {
    std::mem::forget(signal::block_all());
    let mut last: Option<Instant> = None;
    while sys::fd::await_readable(event.as_fd()).is_ok() {
        sys::fd::event_clear(event.as_fd());
        if last.is_some_and(|last| last.elapsed() < ONE_PRESS) {
            continue;
        }
        last = Some(Instant::now());
        if PRESSED.fetch_add(1, SeqCst) == 0 {
            process::end_with(EXIT_CODE);
            say("offspring: interrupted: running tasks are finished, the others cancelled (again to end at once)\n");
            pools().iter().for_each(|pool| pool.interrupt());
        } else {
            process::end_now(EXIT_CODE);
        }
    }
}

fn say(line: &str) {
    // Whether anybody reads it is not this process's concern.
    _ = std::io::stderr().write_all(line.as_bytes());
}

/// Has this pool be interrupted with the program.
pub(in crate::pool) fn enter(core: &Arc<Core>) {
    let mut pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
    if pools.len() == pools.capacity() {
        pools.retain(|pool| pool.strong_count() > 0);
    }
    pools.push(Arc::downgrade(core));
}

fn pools() -> Vec<Arc<Core>> {
    let pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
    pools.iter().filter_map(Weak::upgrade).filter(|pool| pool.is_here()).collect()
}
