//! Seeded mistakes of queues; see `arena::mutants`. They exist in `testing` builds only.

/// A record's header says that there is an item before the item is there, and before the header behind it is.
pub(crate) const HEADER_FIRST: u32 = 401;
/// The put side passes a record before its header says that there is an item.
pub(crate) const PASSED_FIRST: u32 = 402;
/// A block is put, or a segment linked, without a redo record.
pub(crate) const PUT_UNRECORDED: u32 = 403;
/// A block is taken, or a segment left, without a record of how it was.
pub(crate) const TAKE_UNRECORDED: u32 = 404;
/// An item becomes a job without a record of how it was.
pub(crate) const JOB_UNRECORDED: u32 = 405;
/// A job is ended without a redo record.
pub(crate) const DONE_UNRECORDED: u32 = 406;
/// Who dies with a lock of the queue is not looked for before its hold entries are.
pub(crate) const LOCKS_FORGOTTEN: u32 = 407;
/// Nobody is woken.
pub(crate) const NO_RING: u32 = 408;
/// Jobs of the dead stay theirs.
pub(crate) const JOBS_FORGOTTEN: u32 = 409;
/// A receiver that has found nothing asks only then whether a sender is left.
pub(crate) const END_LAST: u32 = 410;
/// Nobody is told that a pipe's last sender, or its last receiver, is gone.
pub(crate) const END_UNTOLD: u32 = 411;
/// A sender does not ask whether a receiver is left.
pub(crate) const DEAF_UNSEEN: u32 = 412;

/// All of them, with the operation that shows each.
#[cfg(feature = "testing")]
pub(crate) const ALL: &[(u32, &str)] = &[
    (HEADER_FIRST, "put: header before item"),
    (PASSED_FIRST, "put: place before header"),
    (PUT_UNRECORDED, "put of a block: no redo record"),
    (TAKE_UNRECORDED, "take of a block: no undo record"),
    (JOB_UNRECORDED, "take of a job: no undo record"),
    (DONE_UNRECORDED, "done: no redo record"),
    (LOCKS_FORGOTTEN, "recover: locks not taken over"),
    (NO_RING, "put, get: nobody rings"),
    (JOBS_FORGOTTEN, "recover: jobs stay with the dead"),
    (END_LAST, "receive: the end is asked for after the item"),
    (END_UNTOLD, "drop of the last sender: nobody is told"),
    (DEAF_UNSEEN, "send: nobody may be left to receive"),
];
