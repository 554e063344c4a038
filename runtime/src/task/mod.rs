//! Tasks: their registry, how they are called, and why one may have no value.
mod accept;
mod current;
mod emit;
mod entry;
mod error;
mod failure;
mod fallible;
mod fault;
#[cfg(any(feature = "engine", feature = "journal"))]
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

pub use current::{Cancelled, CurrentTask, cancelled, check_cancelled, current, sleep};
pub(crate) use current::{Runner, install as install_runner, within};

pub(crate) use emit::{Emission, LONGEST_NOTE, MOST_NOTES, reader_at, shortened};
pub use emit::{EmitError, emit, note, progress};

pub use accept::{Accept, Feed};
pub use entry::{Grain, Role, TaskCall, TaskEntry, TaskSource};
pub use error::{TaskContext, TaskError};
pub use failure::{ArchivedFailure, Failure};
pub use fallible::{AnyError, DebugError, DisplayError, NoError, Probe};
pub use fault::TaskFault;
#[cfg(feature = "engine")]
pub(crate) use fault::{kind_from_raw, kind_to_raw};
#[cfg(any(feature = "engine", feature = "journal"))]
#[cfg(feature = "journal")]
pub(crate) use flat::{failure_at, write_item};
pub use function::{Borrowed, By, Call, NoState, StateFn, TaskFn};
pub use panic::{PanicRecord, install as install_panic_hook};
pub(crate) use panic::{always_capture_backtraces, catch, is_under_way as is_panicking};
pub use param::{
    AsOsStr, AsPath, AsSlice, AsText, ByLending, ByValue, InArchive, Kind, Lent, OsStrRef, Param, PathRef, Slice, Text,
    Value, Viewed, param,
};
pub use program::{Fuse, Fused, Program, lookup as lookup_program};
pub use registry::{TaskId, TaskInfo, tasks};
pub(crate) use run::function as function_of;
pub use run::{Fallibly, Made, Plainly, RunCtx, STAGE_SHIFT, SlotLayout, constructor, plain, state, with_state};
pub(crate) use seen::Kept as KeptOutput;
pub use seen::TaskOutput;
pub use shown::{AnyArgument, Arguments, DebugArgument, Shown, show};
pub use slot::Slots;
pub use state::{Home, WorkerState};
pub use wire::Wire;
