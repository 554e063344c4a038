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

thread_local! {
    static LAST: RefCell<Option<PanicRecord>> = const { RefCell::new(None) };
    static RECORDING: Cell<bool> = const { Cell::new(false) };
}

/// Sets the hook, once per process. `note` is called with every panic of a thread that runs tasks.
pub fn install(note: fn(&PanicRecord)) {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            // The thread's locals are gone while a thread ends; such a panic is no task's.
            if RECORDING.try_with(Cell::get).unwrap_or(false) {
                let record = record(info);
                note(&record);
                let _ = LAST.try_with(|last| last.replace(Some(record)));
            }
            previous(info);
        }));
    });
}

/// Is a panic under way in this thread that the hook was told of? Async-signal-safe: reads thread-locals that need no set-up.
pub(crate) fn is_under_way() -> bool {
    std::thread::panicking() && RECORDING.try_with(Cell::get).unwrap_or(false)
}

/// Runs `task` with panics recorded on this thread.
///
/// # Errors
/// The panic.
pub(crate) fn catch<T>(task: impl FnOnce() -> T) -> Result<T, PanicRecord> {
    let before = RECORDING.replace(true);
    // A panic under way is one whose unwinding runs this; any other is a task's own affair, which caught it.
    let outer = LAST.take().filter(|_| std::thread::panicking());
    // Unwind safety: what a panic may leave half done is the worker's state, which the caller throws away.
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(task));
    RECORDING.set(before);
    let last = LAST.replace(outer);
    result.map_err(|payload| {
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
    })
}

fn message(payload: &(dyn Any + Send)) -> String {
    match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_owned(),
        (None, Some(text)) => text.clone(),
        (None, None) => "a panic with a value that is no text".to_owned(),
    }
}

fn record(info: &PanicHookInfo<'_>) -> PanicRecord {
    let backtrace = Backtrace::capture();
    PanicRecord {
        message: message(info.payload()),
        location: info.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string),
        backtrace: (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string()),
    }
}
