//! Programs: several tasks that a worker runs on each item of a chunk, put together by generic code.
//!
//! Generic code has no name by which it could be registered, so a program is known by where its code lies: see
//! [`registry::program`].
#![allow(unsafe_code)]

use std::fmt;
use std::marker::PhantomData;

use super::function::TaskFn;
use super::registry::{self, LookupError};
use super::{TaskEntry, TaskId};
use crate::message::Message;

/// Several tasks as one.
///
/// # Safety
/// The entry has the grain of a chunk, and its run function leaves a valid archived `Output` in the output slot of each chunk that
/// it was not told to stop in.
pub unsafe trait Program: 'static {
    /// What a chunk gives.
    type Output: Message;

    /// How it is run.
    const ENTRY: &'static TaskEntry;
}

/// A program in the place of a task's function.
pub struct Fuse<P>(PhantomData<fn() -> P>);

/// The marker of [`Fuse`]: items are what the program takes.
pub struct Fused<P>(PhantomData<fn() -> P>);

impl<P> Fuse<P> {
    /// The program.
    pub const fn new() -> Self {
        Fuse(PhantomData)
    }
}

impl<P> Default for Fuse<P> {
    fn default() -> Self {
        Fuse::new()
    }
}

impl<P> Clone for Fuse<P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P> Copy for Fuse<P> {}

impl<P> fmt::Debug for Fuse<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fuse")
    }
}

impl<P> fmt::Debug for Fused<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fused")
    }
}

#[diagnostic::do_not_recommend]
impl<P: Program> TaskFn<Fused<P>> for Fuse<P> {
    type Output = P::Output;
}

fn entry<P: Program>() -> &'static TaskEntry {
    P::ENTRY
}

/// The number under which other processes find `P`, and its entry.
///
/// # Errors
/// [`LookupError::InSharedLibrary`], or two tasks have the same key.
pub fn lookup<P: Program>() -> Result<(TaskId, &'static TaskEntry), LookupError> {
    registry::check()?;
    Ok((registry::program(entry::<P>)?, P::ENTRY))
}
