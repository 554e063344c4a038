//! Replies, as the pool reads them.
#![allow(unsafe_code)]

use std::collections::HashMap;
use std::ops::Range;

use super::wire::{BadMessage, ErrorAt, ReplyHead};
use super::{Buffer, error};
use crate::ErrorKind;
use crate::message::{self, Message};
use crate::task::{Grain, TaskContext, TaskEntry, TaskError};

/// A reply whose head makes sense. What lies in its slots is looked at when it is read.
#[derive(Debug)]
pub(super) struct Received {
    head: ReplyHead,
    bytes: Buffer,
    /// Items without a result: which task each was at, and where the error's bytes lie.
    errors: HashMap<usize, (u32, Range<usize>)>,
    /// The items that were to be run.
    range: Range<usize>,
}

impl Received {
    /// Takes a reply apart.
    pub(super) fn head_of(bytes: &Buffer, build: u64) -> Result<ReplyHead, BadMessage> {
        ReplyHead::read(bytes.bytes(), build).map(|(head, _)| head)
    }

    /// The reply to a chunk of this task, in which these items were to be run.
    pub(super) fn new(bytes: Buffer, build: u64, entry: &TaskEntry, range: Range<usize>) -> Result<Self, BadMessage> {
        let all = bytes.bytes();
        let (head, rest) = ReplyHead::read(all, build)?;
        let by_chunk = matches!(entry.grain(), Grain::Chunk { .. });
        let most = if by_chunk { 1 } else { range.len() };
        let slots_end = head.slots.checked_mul(entry.output().size);
        if head.slots > most || slots_end.is_none_or(|end| end > head.len) {
            return Err(BadMessage::Foreign);
        }
        let mut errors = HashMap::new();
        let mut left = rest;
        for _ in 0..head.errors {
            let found = ErrorAt::read(&mut left).ok_or(BadMessage::Foreign)?;
            let end = all.len() - (REPLY_TRAILER + left.len());
            errors.insert(found.item, (found.stage, end - found.bytes.len()..end));
        }
        // Whoever has no result has a reason.
        let whole = if by_chunk { head.slots == 1 || errors.len() >= range.len() } else { true };
        let complete = whole
            && (by_chunk || range.clone().all(|item| item - range.start < head.slots || errors.contains_key(&item)));
        if !complete {
            return Err(BadMessage::Foreign);
        }
        Ok(Received { head, bytes, errors, range })
    }

    pub(super) fn head(&self) -> &ReplyHead {
        &self.head
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.bytes().len()
    }

    /// The items that were to be run.
    pub(super) fn range(&self) -> Range<usize> {
        self.range.clone()
    }

    /// Items without a result, and which task each was at.
    pub(super) fn failed(&self) -> impl Iterator<Item = (usize, u32)> + '_ {
        self.errors.iter().map(|(item, (stage, _))| (*item, *stage))
    }

    /// Why an item has no result.
    pub(super) fn error(
        &self,
        item: usize,
        context: TaskContext,
        not_begun: impl FnOnce(TaskContext) -> TaskError,
    ) -> Option<TaskError> {
        let (_, at) = self.errors.get(&item)?;
        Some(error::decode(self.bytes.bytes().get(at.clone()).unwrap_or_default(), context, not_begun))
    }

    /// The result of `item`, of the task's result type.
    pub(super) fn value<R: Message>(&self, item: usize, context: &TaskContext) -> Result<R, TaskError> {
        let slot = self.slot::<R>(item - self.range.start, context)?;
        // SAFETY: found valid just now, and borrowed with `self`.
        unsafe { message::decode::<R>(slot) }.map_err(|error| invalid(context, &error.to_string()))
    }

    /// Where result number `slot` lies, found valid; it stays so as long as `self` lives.
    pub(super) fn slot<R: Message>(&self, slot: usize, context: &TaskContext) -> Result<*const u8, TaskError> {
        if slot >= self.head.slots {
            return Err(invalid(context, "it has no such result"));
        }
        let start = self.bytes.bytes().as_ptr();
        let at = start.wrapping_add(slot * size_of::<R::Archived>());
        let range = start as usize..start as usize + self.head.len;
        // SAFETY: the range is readable, initialised, and nobody writes to it: the buffer is never lent exclusively again.
        unsafe { message::validate::<R>(at, std::slice::from_ref(&range)) }
            .map_err(|error| invalid(context, &error.to_string()))?;
        Ok(at)
    }
}

const REPLY_TRAILER: usize = super::wire::REPLY_WORDS * 8;

fn invalid(context: &TaskContext, what: &str) -> TaskError {
    TaskError::NotSendable {
        context: context.clone(),
        reason: format!("what a worker has sent is no result of this task: {what}"),
        kind: ErrorKind::InvalidData,
    }
}
