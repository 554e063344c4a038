//! What can be seen of a batch: how far it is, where its time went, what its tasks wrote and said.
//!
//! - `progress`: how far a run is, told again and again ([`Progress`]); `bar` draws it (feature `progress`).
//! - `ledger`: what was measured, gathered in bounded memory; `spread` holds distributions. `report` is what users get of it, as text, by `json`, as a page
//!   by `html` and `svg`, as a timeline by `trace`.
//! - `output`: what tasks write to their standard streams, told apart by marks. `records`: what they log (features `tracing`, `log`).
//!
//! Nothing here knows of pools: `pool` says what happened, `pool/worker/record.rs` how workers write it down.

#[cfg(feature = "progress")]
mod bar;
mod html;
mod json;
pub(crate) mod ledger;
pub(crate) mod output;
pub(crate) mod progress;
#[cfg(any(feature = "tracing", feature = "log"))]
pub(crate) mod records;
#[cfg(not(any(feature = "tracing", feature = "log")))]
#[path = "records/absent.rs"]
pub(crate) mod records;
mod report;
mod spread;
mod svg;
mod text;
mod trace;

#[cfg(feature = "progress")]
pub use bar::ProgressBar;
pub use ledger::RunEnd;
pub use progress::{Progress, WorkerProgress};
pub use report::{Incident, IncidentKind, Report, SlowItem, TaskReport, TaskRun, WorkerReport};
pub use spread::Spread;
pub(crate) use text::Short;
