//! Child processes: how they start, how they end, and who watches them.
mod status;

pub use status::{ExitStatus, Signal};
