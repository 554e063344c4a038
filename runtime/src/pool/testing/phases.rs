//! In which phase of its work a killed worker was found: for tests that have to show that they met them all.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::arena::Owner;
use crate::pool::job::Job;
use crate::pool::layout::Seat;
use crate::pool::protocol::claim::{self, Chunk};

/// How many killed workers were found in each phase, in this process.
#[derive(Debug, Default)]
pub(crate) struct Phases {
    /// Not yet in its seat, or in no job.
    pub(crate) idle: AtomicU64,
    /// Looking for a chunk, or with one of which nothing is begun.
    pub(crate) claim: AtomicU64,
    /// In a task.
    pub(crate) run: AtomicU64,
    /// With a chunk of which all is done, or right after.
    pub(crate) commit: AtomicU64,
    /// Dead before the audit of another was over.
    pub(crate) audit: AtomicU64,
    /// An auditor itself, in the middle of an audit, which its own auditor finished.
    pub(crate) auditor: AtomicU64,
}

pub(crate) static PHASES: Phases = Phases {
    idle: AtomicU64::new(0),
    claim: AtomicU64::new(0),
    run: AtomicU64::new(0),
    commit: AtomicU64::new(0),
    audit: AtomicU64::new(0),
    auditor: AtomicU64::new(0),
};

/// Notes where a killed worker was. Before it is settled.
pub(in crate::pool) fn note(seat: Option<&Seat>, job: Option<&Job>, dead: Owner) {
    let (Some(seat), Some(job)) = (seat, job) else { return count(&PHASES.idle) };
    let view = job.view();
    count(match claim::remains(&view, seat, dead) {
        Some(remains) if remains.running.is_some() => &PHASES.run,
        Some(remains) if remains.next > remains.start => &PHASES.commit,
        Some(_) => &PHASES.claim,
        None => {
            let word = usize::try_from(seat.chunk.load(Relaxed)).ok().and_then(|chunk| view.words.get(chunk));
            let done = word.is_some_and(|word| matches!(Chunk::load(word, Relaxed), Chunk::Done { .. }));
            if done && seat.progress.load(Relaxed) > 1 { &PHASES.commit } else { &PHASES.claim }
        }
    });
}

fn count(phase: &AtomicU64) {
    phase.fetch_add(1, Relaxed);
}
