//! What is done after a child's death: its descendants ended, and all that they held recovered, from the bottom up.
//!
//! A dead process's children die by themselves, as their parent's pipe closes. But nobody is left to recover what they held: that falls
//! to the nearest ancestor that lives. It must not begin while one of them still runs, and it goes by the liveness lock, which outlives
//! neither the process nor its writes. Each step can be repeated: when this process is killed in it, its own parent does it all again.

use std::io;
use std::os::fd::AsFd;

use super::handle::{Death, Note};
use super::note::{self, Found};
use crate::arena::{Arena, Life, Owner, Verdict};
use crate::sync::permits;
use crate::sys::{self, pidfd};
use crate::{ExitStatus, Signal};

/// Recovers everything of a child that has ended, gives its slot back, and says how it ended, as well as can be known.
pub(crate) fn settle(arena: &'static Arena, dead: Owner, pid: u32, known: Option<ExitStatus>) -> Death {
    bury_descendants(arena, dead);
    let began = arena.slots().get(dead).is_some_and(|slot| slot.life() == Life::Live);
    let found = arena.slots().read_note(dead).and_then(|(kind, text)| note::read(kind, &text));
    let status = known.unwrap_or(match found {
        Some(Found::Exit(code)) => ExitStatus::Exited(code),
        _ => ExitStatus::Unknown,
    });
    let note = match found {
        Some(Found::Words(note)) if is_about(&note, status) => Some(note),
        _ => None,
    };
    bury(arena, dead, status, note.as_ref());
    Death { note, began, ..Death::new(dead, pid, status) }
}

/// A panic that was caught left a note too; it is none about the end of the process.
fn is_about(note: &Note, status: ExitStatus) -> bool {
    match note {
        Note::Panic(_) => matches!(status.signal(), Some(Signal::ABRT)) || matches!(status.code(), Some(101)),
        Note::Text(_) => true,
        // The handler raised the signal again; a process that ended otherwise has outlived it.
        Note::Crash(..) => status.signal().is_some(),
    }
}

/// Ends the children of a dead process and theirs, waits until they are gone, and recovers what they held.
fn bury_descendants(arena: &'static Arena, dead: Owner) {
    let children: Vec<Owner> = arena.slots().children_of(dead).collect();
    for child in children {
        await_end(arena, child);
        #[cfg(feature = "testing")]
        if arena.slots().get(child).is_some_and(|slot| slot.life() == Life::Dead) {
            crate::pool::testing::phases::PHASES.auditor.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
        bury_descendants(arena, child);
        bury(arena, child, ExitStatus::Unknown, None);
    }
}

/// Kills a process that is no child of this one, and waits until it is gone.
fn await_end(arena: &'static Arena, owner: Owner) {
    while let Some(pid) = arena.liveness_holder(owner) {
        match pidfd::open(pid) {
            Ok(process) => {
                // The pid was the holder's before the descriptor was opened; if it still is, the descriptor is of the holder.
                if arena.liveness_holder(owner) == Some(pid) {
                    _ = pidfd::signal(process.as_fd(), Signal::KILL);
                    _ = sys::fd::await_readable(process.as_fd());
                    // Where this process adopts orphans (as PID 1, or a subreaper), it is now its child, and would stay a zombie.
                    _ = pidfd::reap(process.as_fd());
                }
            }
            // Gone meanwhile; the lock goes at the same time.
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => std::thread::yield_now(),
            Err(error) => wait_without_descriptor(&error),
        }
    }
}

/// No descriptor is to be had: the process dies of its parent's death all the same, and its lock tells when.
fn wait_without_descriptor(_: &io::Error) {
    std::thread::sleep(std::time::Duration::from_millis(1));
}

fn bury(arena: &'static Arena, dead: Owner, status: ExitStatus, note: Option<&Note>) {
    if let Some(slot) = arena.slots().get(dead) {
        slot.status.store(encode(status), std::sync::atomic::Ordering::Relaxed);
        slot.set_life(Life::Dead);
    }
    permits::forget(arena, dead);
    // An audit that fails leaves the slot to the next one: this process's, by its parent.
    if arena.audit(dead, verdict(status, note)).is_ok() {
        arena.slots().release(dead);
    }
}

/// After a crash nothing that the dead had its hands on is trusted.
fn verdict(status: ExitStatus, note: Option<&Note>) -> Verdict {
    match (status.signal(), note) {
        // Panics in programs that abort on them: nothing was overwritten.
        (Some(Signal::ABRT), Some(Note::Panic(_))) => Verdict::Clean,
        (Some(Signal::SEGV | Signal::BUS | Signal::ABRT | Signal::ILL), _) => Verdict::Quarantine,
        _ => Verdict::Clean,
    }
}

/// An exit status in a slot: 1 + code, or the signal with bit 32 and, for a core file, bit 33; unknown is 1 << 34.
fn encode(status: ExitStatus) -> u64 {
    match status {
        ExitStatus::Exited(code) => 1 + code as u32 as u64,
        ExitStatus::Signaled { signal, core_dumped } => 1 << 33 | u64::from(core_dumped) << 34 | signal.as_raw() as u64,
        ExitStatus::Unknown => 1 << 35,
    }
}
