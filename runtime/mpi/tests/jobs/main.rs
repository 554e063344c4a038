//! Whole jobs, under `mpirun`, on this machine and on hosts made of it.

mod common;
mod pool;
mod ranks;
