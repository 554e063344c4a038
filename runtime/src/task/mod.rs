//! Tasks: their registry, how they are called, and why one may have no value.
mod accept;
mod current;
mod emit;
mod entry;
mod error;
mod failure;
mod fallible;
mod fault;
#[cfg(feature = "journal")]
mod flat;
mod function;
mod panic;
mod param;
mod program;
pub(crate) mod registry;
mod run;
mod seen;
mod shown;
mod slot;
mod state;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(test)]
mod tests;
mod wire;

pub use accept::Accept;
pub use current::{Cancelled, CurrentTask, cancelled, check_cancelled, current, sleep};
pub use emit::{EmitError, emit, note, progress};
pub(crate) use error::because;
pub use error::{TaskContext, TaskError};
pub use failure::{ArchivedFailure, Failure};
pub use function::{StateFn, TaskFn};
pub use registry::{TaskInfo, tasks};
pub use seen::TaskOutput;

// Named by generated code and by public signatures; nobody else needs them.
#[doc(hidden)]
pub use self::{
    accept::Feed,
    entry::{Grain, Role, TaskCall, TaskEntry, TaskSource},
    fallible::{AnyError, DebugError, DisplayError, NoError, Probe},
    fault::TaskFault,
    function::{Borrowed, By, Call, NoState},
    panic::{PanicRecord, install as install_panic_hook},
    param::{
        AsOsStr, AsPath, AsSlice, AsText, ByLending, ByValue, InArchive, Kind, Lent, OsStrRef, Param, PathRef, Slice,
        Text, Value, Viewed, param,
    },
    program::{Fuse, Fused, Program, lookup as lookup_program},
    registry::TaskId,
    run::{Fallibly, Made, Plainly, RunCtx, STAGE_SHIFT, SlotLayout, constructor, plain, state, with_state},
    shown::{AnyArgument, Arguments, DebugArgument, Shown, show},
    slot::Slots,
    state::{Home, WorkerState},
    wire::Wire,
};

pub(crate) use current::{Runner, install as install_runner, within};
pub(crate) use emit::{Emission, LONGEST_NOTE, MOST_NOTES, keep_note, reader_at, shortened};
#[cfg(feature = "engine")]
pub(crate) use fault::{kind_from_raw, kind_to_raw};
#[cfg(feature = "journal")]
pub(crate) use flat::{failure_at, write_item};
pub(crate) use panic::{always_capture_backtraces, catch, is_under_way as is_panicking};
pub(crate) use run::function as function_of;
pub(crate) use seen::Kept as KeptOutput;
