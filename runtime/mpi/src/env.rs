//! MPI's life in this process: started once, by the thread that first needs it, and ended with the program.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::sync::OnceLock;
use std::thread::{self, ThreadId};

use crate::{MpiError, Result, sys};

/// Called when the program exits well, before MPI is ended.
static AT_EXIT: OnceLock<fn()> = OnceLock::new();

/// Has `call` called when the program exits well while MPI goes on.
pub(crate) fn at_exit(call: fn()) {
    // All set the same.
    let _ = AT_EXIT.set(call);
}

/// Ends MPI, by the thread that makes all calls.
pub(crate) fn finish() {
    if !sys::is_finalized() {
        sys::finalize();
    }
}

/// The thread that makes all calls.
static THREAD: OnceLock<ThreadId> = OnceLock::new();

/// Starts MPI if it is not yet, and refuses other threads than the one that did.
pub(crate) fn start() -> Result<()> {
    if let Some(thread) = THREAD.get() {
        if *thread != thread::current().id() {
            return Err(MpiError::Unusable(
                "MPI was started by another thread of this program: make all calls from that one",
            ));
        }
        if sys::is_finalized() {
            return Err(MpiError::Unusable("MPI has ended in this process and cannot be started again"));
        }
        return Ok(());
    }
    if sys::is_initialized() {
        return Err(MpiError::Unusable(
            "MPI was started by other code of this program: start it through offspring_mpi",
        ));
    }
    sys::init()?;
    // Another thread cannot have come first: MPI refuses to be started twice.
    let _ = THREAD.set(thread::current().id());
    // SAFETY: a function that may be called at any exit, with nothing to point to. If it cannot be registered, the launcher sees a rank that
    // ended without saying so, and ends the job.
    unsafe { on_exit(end, std::ptr::null_mut()) };
    Ok(())
}

unsafe extern "C" {
    /// As `atexit`, told the exit code: in the C libraries that MPI comes for.
    fn on_exit(function: extern "C" fn(c_int, *mut c_void), argument: *mut c_void) -> c_int;
}

/// A rank that fails must not be waited for by the others: it ends the job.
extern "C" fn end(code: c_int, _: *mut c_void) {
    if sys::is_finalized() {
        return;
    }
    if code != 0 {
        sys::abort(code);
    }
    if let Some(call) = AT_EXIT.get() {
        call();
    }
    finish();
}
