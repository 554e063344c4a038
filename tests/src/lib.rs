//! Helpers shared by the integration tests: what makes a hang or a leak a failure, and what kills processes.
//!
//! - [`conformance`]: what every executor must do.
//! - [`watchdog()`]: first line of every test that may block.
//! - [`leaks`]: nothing may be left when a test ends.
//! - [`cgroup`]: little memory, for the kernel's killer.
//! - [`kill`]: SIGKILL at random times, from a printed seed.
//! - [`killer`]: SIGKILL at every instruction of an operation.
//! - [`nats`]: a NATS server for a test.
//! - [`table`]: the operations that the killer is let loose on.
//! - [`skip!`]: for what a machine may lack; `.ci/run` makes every skip a failure.
#![allow(clippy::print_stderr, reason = "tests talk to the person who runs them")]

pub mod cgroup;
pub mod conformance;
#[cfg(doctest)]
mod guide;
pub mod kill;
pub mod killer;
pub mod leaks;
pub mod locks;
pub mod nats;
pub mod proc;
mod skip;
mod sys;
pub mod table;
mod watchdog;

pub use skip::refuse_skip;
pub use watchdog::{Watchdog, watchdog};
