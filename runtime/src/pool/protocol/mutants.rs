//! Seeded mistakes of the pool's protocols; see `arena::mutants`. They exist in `testing` builds only.

/// The chunk's word says claimed before the seat names the chunk.
pub(in crate::pool) const CLAIM_FIRST: u32 = 101;
/// The chunk's word says done before its items are.
pub(in crate::pool) const COMMIT_FIRST: u32 = 102;
/// The audit leaves the cursor where the dead left it.
pub(in crate::pool) const NO_REWIND: u32 = 103;
/// A fault record is on the job's list before the job owns it.
pub(in crate::pool) const FAULT_UNOWNED: u32 = 104;
/// What a task said is on the job's list before the job owns it.
pub(in crate::pool) const TOLD_UNOWNED: u32 = 106;
/// The word that names the last note is stored before its text.
pub(in crate::pool) const NOTE_LATE: u32 = 107;
/// Nobody writes down when the last item of a chunk was over whose worker died before it could.
pub(in crate::pool) const RECORD_OPEN: u32 = 108;
/// What a task takes is subtracted from what there is, beside the grant that says who has it.
pub(in crate::pool) const TOKENS_COUNTED: u32 = 109;
/// Whoever wakes idle workers for a lane clears their bits before it rings.
pub(in crate::pool) const NUDGE_TAKES_BIT: u32 = 110;

/// All of them, with the operation that shows each.
#[cfg(feature = "testing")]
pub(in crate::pool) const ALL: &[(u32, &str)] = &[
    (CLAIM_FIRST, "work: claim before the seat names the chunk"),
    (COMMIT_FIRST, "work: commit before the items"),
    (NO_REWIND, "work: audit without rewinding the cursor"),
    (FAULT_UNOWNED, "fail: record on the list before the job owns it"),
    (TOLD_UNOWNED, "note, emit: record on the list before the job owns it"),
    (NOTE_LATE, "note: the last one is named before it is written"),
    (RECORD_OPEN, "work: an item that was finished has no end"),
    (TOKENS_COUNTED, "lanes: tokens counted beside the grants"),
    (NUDGE_TAKES_BIT, "lanes: a sleeper's bit cleared before it is rung for"),
    (crate::sync::permits::ANONYMOUS, "permits: taken before it says by whom"),
];
