//! The end of this process: its exit code in its slot, and its children waited for.
#![allow(unsafe_code)]

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::handle::ChildHandle;
use super::{note, stderr_tail, supervisor};
use crate::Signal;

/// How long the end of a program waits for children in silence.
const SILENCE: Duration = Duration::from_secs(5);
/// How long daemon children have to end after SIGTERM, before SIGKILL.
const GRACE: Duration = Duration::from_secs(1);

/// Has the exit code written into this process's slot when it calls `exit` or returns, from wherever. Once in a child.
///
/// Only the GNU C library tells a handler the code. Elsewhere it is known from the exit status alone.
pub(crate) fn note_own_exit() {
    #[cfg(target_env = "gnu")]
    {
        unsafe extern "C" {
            fn on_exit(
                handler: extern "C" fn(libc::c_int, *mut libc::c_void),
                argument: *mut libc::c_void,
            ) -> libc::c_int;
        }
        extern "C" fn at_exit(code: libc::c_int, _: *mut libc::c_void) {
            note::write_exit(code & 0xff);
        }
        // SAFETY: the handler is a plain function that lives as long as the program.
        unsafe { on_exit(at_exit, std::ptr::null_mut()) };
    }
}

/// Has the end of this process wait for its non-daemon children and end its daemon ones. Once per process that has children.
pub(crate) fn wait_for_children_at_exit() {
    /// A `fork` of this process also runs its handlers; the children are not its own.
    static PID: AtomicU32 = AtomicU32::new(0);
    extern "C" fn at_exit() {
        if PID.load(Ordering::Relaxed) == std::process::id() && !supervisor::is_this_thread() {
            end_children();
        }
    }
    if PID.swap(std::process::id(), Ordering::Relaxed) != std::process::id() {
        // SAFETY: the handler is a plain function that lives as long as the program. It runs before handlers that were registered earlier, so
        // the exit note comes last.
        unsafe { libc::atexit(at_exit) };
    }
}

/// From now on, however this process ends by itself, it ends with this code.
pub(crate) fn end_with(code: i32) {
    CODE.store(code, Ordering::SeqCst);
}

/// Kills all children and ends this process. Nobody who waits for one of them is told.
pub(crate) fn end_now(code: i32) -> ! {
    supervisor::children().iter().for_each(|child| _ = child.kill());
    super::entry::exit_now(code)
}

/// The code that this process is to end with whatever its `main` says, or 0.
static CODE: AtomicI32 = AtomicI32::new(0);

fn end_children() {
    await_children();
    stderr_tail::flush();
    crate::seeing::output::flush();
    crate::seeing::records::flush();
    let code = CODE.load(Ordering::SeqCst);
    if code != 0 {
        // SAFETY: flushes all streams of the C library, which `exit` would do next; those of Rust are flushed by now.
        unsafe { libc::fflush(std::ptr::null_mut()) };
        super::entry::exit_now(code);
    }
}

fn await_children() {
    let start = Instant::now();
    let mut said = false;
    loop {
        // Children may start others as long as they run, through this process's threads too.
        let waited_for: Vec<Arc<ChildHandle>> =
            supervisor::children().into_iter().filter(|child| !child.is_daemon()).collect();
        let Some(first) = waited_for.first() else { break };
        let deadline = (!said).then(|| start + SILENCE);
        if first.wait(deadline).is_none() {
            said = true;
            say_what_it_waits_for(&waited_for);
        }
    }
    let daemons = supervisor::children();
    daemons.iter().for_each(|child| _ = child.signal(Signal::TERM));
    let deadline = Instant::now() + GRACE;
    if daemons.iter().any(|child| child.wait(Some(deadline)).is_none()) {
        daemons.iter().for_each(|child| _ = child.kill());
        let deadline = Instant::now() + GRACE;
        daemons.iter().for_each(|child| _ = child.wait(Some(deadline)));
    }
}

/// One line on stderr: a program that does not end by itself should say why.
fn say_what_it_waits_for(children: &[Arc<ChildHandle>]) {
    let names: Vec<String> =
        children.iter().take(8).map(|child| format!("{} ({})", child.name(), child.pid())).collect();
    let more = if children.len() > 8 { ", ..." } else { "" };
    let line = format!(
        "offspring: the program has ended and waits for {} of its processes: {}{more}\n",
        children.len(),
        names.join(", ")
    );
    // Whether anybody reads it is not this process's concern.
    _ = std::io::stderr().write_all(line.as_bytes());
}
