//! Panics of tasks: what was said, where, and the way there.
//!
//! A hook records each panic of the thread that runs tasks, hands it to whoever can write it down before the process
//! ends (`panic = "abort"`), and then calls the hook that was there before. It is set at the first run of a task in a
//! process, so a program that only sends tasks keeps its hooks to itself.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::{Cell, RefCell};
use std::panic::PanicHookInfo;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// A panic, as data.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PanicRecord {
    /// The panic's message.
    pub message: String,
    /// `file:line:column`.
    pub location: String,
    /// The frames, when `RUST_BACKTRACE` asks for them.
    pub backtrace: Option<String>,
}

/// A panic that was recorded, and how deep in calls of [`catch`] it happened.
type Recorded = (u32, PanicRecord);

/// Capture backtraces without being asked by `RUST_BACKTRACE`.
static ALWAYS: AtomicBool = AtomicBool::new(false);

/// From now on a panic is recorded with its backtrace, whatever `RUST_BACKTRACE` says.
pub(crate) fn always_capture_backtraces() {
    ALWAYS.store(true, Relaxed);
}

thread_local! {
    /// How many calls of [`catch`] this thread is in. Needs no set-up and no end, so entering and leaving are a load and a store.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    /// The last panic at each depth, as long as nobody asked for it. Touched by panics alone.
    static LAST: RefCell<Vec<Recorded>> = const { RefCell::new(Vec::new()) };
}

/// Sets the hook, once per process. `note` is called with every panic of a thread that runs tasks.
pub fn install(note: fn(&PanicRecord)) {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            // The thread's locals are gone while a thread ends; such a panic is no task's.
            let depth = DEPTH.try_with(Cell::get).unwrap_or(0);
            if depth > 0 {
                let record = record(info);
                note(&record);
                let _ = LAST.try_with(|last| {
                    let mut last = last.borrow_mut();
                    // Those at this depth and below were caught by the task itself.
                    last.retain(|(other, _)| *other < depth);
                    last.push((depth, record));
                });
            }
            previous(info);
        }));
    });
}

/// Is a panic under way in this thread that the hook was told of? Async-signal-safe: reads thread-locals that need no set-up.
pub(crate) fn is_under_way() -> bool {
    std::thread::panicking() && DEPTH.try_with(Cell::get).unwrap_or(0) > 0
}

/// Runs `task` with panics recorded on this thread. Costs a few instructions, as it is called for each chunk of items.
///
/// # Errors
/// The panic.
#[inline(always)]
pub(crate) fn catch<T>(task: impl FnOnce() -> T) -> Result<T, PanicRecord> {
    let depth = DEPTH.get();
    DEPTH.set(depth + 1);
    // Unwind safety: what a panic may leave half done is the worker's state, which the caller throws away.
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(task));
    DEPTH.set(depth);
    result.map_err(|payload| caught(payload, depth + 1))
}

/// What is known of the panic that ended a call of [`catch`] at `depth`.
#[cold]
fn caught(payload: Box<dyn Any + Send>, depth: u32) -> PanicRecord {
    let last = LAST.with_borrow_mut(|last| {
        let found = last.iter().position(|(other, _)| *other == depth).map(|at| last.swap_remove(at).1);
        last.retain(|(other, _)| *other < depth);
        found
    });
    // Not every unwinding comes from a panic that was just recorded: `resume_unwind` takes any payload.
    let message = message(&*payload);
    let record = last.filter(|record| record.message == message).unwrap_or_else(|| PanicRecord {
        message,
        location: "an unknown place".to_owned(),
        backtrace: None,
    });
    // A payload may panic when dropped; that one is not worth a second failure.
    std::mem::forget(payload);
    record
}

fn message(payload: &(dyn Any + Send)) -> String {
    match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_owned(),
        (None, Some(text)) => text.clone(),
        (None, None) => "a panic with a value that is no text".to_owned(),
    }
}

fn record(info: &PanicHookInfo<'_>) -> PanicRecord {
    let backtrace = match ALWAYS.load(Relaxed) {
        true => Backtrace::force_capture(),
        false => Backtrace::capture(),
    };
    PanicRecord {
        message: message(info.payload()),
        location: info.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string),
        backtrace: (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string()),
    }
}
