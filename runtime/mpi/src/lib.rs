//! [offspring](https://docs.rs/offspring) beyond one machine, by MPI: a pool whose workers are ranks ([`MpiPool`]), and values between ranks ([`Comm`]).
//!
//! The program runs under `mpirun` or `srun`, or by itself as one rank. An MPI installation is needed to build it: on Debian
//! `libopenmpi-dev openmpi-bin libclang-dev`.
#[cfg(doctest)]
#[doc = include_str!("../../../guide/src/cluster-mpi.md")]
mod guide {}

mod buffers;
mod collective;
mod comm;
mod env;
mod error;
mod object;
mod pool;
mod request;
mod slices;
mod sys;
mod view;

pub use comm::{Comm, MAX_TAG, Source, Status, Tag};
pub use error::{MpiError, Result};
pub use offspring::ErrorKind;
pub use pool::{MpiPool, MpiPoolBuilder, RankInfo};
pub use request::{RecvRequest, SendRequest};
pub use sys::{Op, RawDatatype, Scalar};
pub use view::Received;
