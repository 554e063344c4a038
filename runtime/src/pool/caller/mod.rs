//! What callers have of a pool: the public calls, and what they hold until all results are there.
//!
//! From a call inwards: `calls` (the methods, written once), `batch` (with options), `runner` (what is behind them), `feed` (items in,
//! windows out, a few ahead of the workers). What results come through: `imap` and `stream`, `chunks` (of programs), `view` (in place),
//! `handle` with `emitted` and `several`. `ahead` reads the input in a thread of its own. For engines over networks: `distant` (a call
//! that runs elsewhere) and `foreign` (work that came from elsewhere).

pub(in crate::pool) mod ahead;
pub(in crate::pool) mod batch;
pub(in crate::pool) mod calls;
pub(in crate::pool) mod chunks;
#[cfg(feature = "engine")]
pub(in crate::pool) mod distant;
pub(in crate::pool) mod emitted;
pub(in crate::pool) mod feed;
#[cfg(feature = "engine")]
pub(crate) mod foreign;
pub(in crate::pool) mod handle;
pub(in crate::pool) mod imap;
pub(in crate::pool) mod runner;
pub(in crate::pool) mod several;
pub(in crate::pool) mod stream;
pub(in crate::pool) mod view;
