//! Whole jobs, under `mpirun`, on this machine and on hosts made of it.
#![allow(clippy::print_stdout, reason = "a test that is skipped says why")]

mod common;
mod pool;
mod ranks;
