//! The child's side of `Process`: one run of one task.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU32, AtomicU64};

use super::boot::Boot;
use super::child::EXIT_NO_SETUP;
use super::note;
use super::task_block::TaskBlock;
use crate::arena::{self, BlockId};
use crate::task::{Home, RunCtx, TaskFault, WorkerState, registry};

/// The exit code of a process whose task panicked: that of a program whose `main` did.
const EXIT_PANICKED: i32 = 101;
/// The exit code of a process whose task gave no value for another reason.
const EXIT_NO_VALUE: i32 = 1;

/// Runs the task that `boot` names; the exit code.
pub(crate) fn main(boot: &Boot) -> i32 {
    let block = arena::family().ok().and_then(|arena| TaskBlock::open(arena, BlockId::from_raw(boot.block)?));
    let Some(block) = block else {
        note::write_text(b"the block of its task is gone");
        return EXIT_NO_SETUP;
    };
    match run(block) {
        None => {
            block.give_value();
            0
        }
        Some(fault) => {
            if let Err(error) = block.give_fault(&fault) {
                note::write_text(format!("why its task failed could not be told: {error}").as_bytes());
            }
            if matches!(fault, TaskFault::Panicked(_)) { EXIT_PANICKED } else { EXIT_NO_VALUE }
        }
    }
}

/// Why there is no value, if there is none.
fn run(block: TaskBlock) -> Option<TaskFault> {
    let entry = match registry::get(block.task()) {
        Ok(entry) => entry,
        Err(error) => return Some(TaskFault::NoTask { reason: error.to_string(), kind: error.kind() }),
    };
    let mut fault = None;
    let mut encoder = block.encoder();
    let mut cx = RunCtx {
        inputs: block.input(),
        outputs: block.output(),
        lo: 0,
        hi: 1,
        progress: &AtomicU64::new(0),
        skips: &[],
        most_mishaps: usize::MAX,
        caught: || (),
        encoder: &mut encoder,
        state: &mut WorkerState::none(Home::Process),
        fault: &mut |_, why| fault = Some(why),
        attention: &AtomicU32::new(0),
        attend: &mut |_, _| true,
        mishap: &mut |_| (),
    };
    // SAFETY: the parent wrote the input for this task, by its number in the registry of the same build, and made room for its output; the
    // encoder's spans lie in the mapping where the slots lie.
    unsafe { entry.run(&mut cx) };
    fault
}
