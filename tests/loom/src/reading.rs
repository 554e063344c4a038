//! Readers of a value while a writer replaces it, and writes the old block again.
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use loom::thread;

use crate::arena::id::{BlockId, Owner, Pos, ThreadId};
use crate::arena::redo::{Action, Ground, Guarded};
use crate::arena::{self, choose_mutant};
use crate::shared::copying::copied;
use crate::shared::mutants;
use crate::sync::prim::{AtomicU64, Ordering};

/// A cell that names a block by an id that does not come again, and two blocks: id `n` is written to block `n % 2`.
struct Value {
    cell: AtomicU64,
    blocks: [[AtomicU64; 2]; 2],
    guarded: Guarded,
    building: AtomicU64,
}

/// Of which the cell is all that changes.
impl Ground for Value {
    fn word(&self, _: Pos) -> Option<&AtomicU64> {
        Some(&self.cell)
    }

    fn hold(&self, _: Owner, _: u32) -> &AtomicU64 {
        unreachable!("nothing is given or taken")
    }

    fn mark(&self, _: BlockId, _: Option<Owner>) {
        unreachable!("nothing is given or taken")
    }

    fn is_dead(&self, _: ThreadId) -> bool {
        false
    }
}

impl Value {
    fn new() -> Arc<Value> {
        let block = |with| [AtomicU64::new(with), AtomicU64::new(with)];
        Arc::new(Value {
            cell: AtomicU64::new(2),
            blocks: [block(2), block(0)],
            guarded: Guarded::default(),
            building: AtomicU64::new(0),
        })
    }

    fn block(&self, id: u64) -> &[AtomicU64; 2] {
        &self.blocks[(id % 2) as usize]
    }

    /// The block first, then the cell by the journal, after which the old block may be written again.
    fn replace(&self, id: u64) {
        self.block(id).iter().for_each(|word| word.store(id, Ordering::Relaxed));
        let me = (ThreadId::new(0, 1).unwrap(), Owner::new(0, 1).unwrap());
        self.guarded.lock(me.0, &self.building, 64, self);
        self.guarded.apply(me.1, &[Action::Store(0, id)], self);
        self.guarded.unlock(&self.building);
    }

    /// What a reader believes, if it believes its copy.
    fn read(&self) -> Option<[u64; 2]> {
        let id = self.cell.load(Ordering::Acquire);
        let mut seen = [0; 2];
        let still = || self.cell.load(Ordering::Acquire) == id;
        copied(self.block(id), |at, word| seen[at] = word, still).then_some(seen)
    }
}

fn check(replacements: u64, readers: usize) {
    let value = Value::new();
    let readers: Vec<_> = (0..readers)
        .map(|_| {
            let value = value.clone();
            thread::spawn(move || {
                let mut last = 0;
                for _ in 0..2 {
                    if let Some([one, two]) = value.read() {
                        assert_eq!(one, two, "torn");
                        assert!(one >= last, "an older value after a newer one");
                        last = one;
                    }
                }
            })
        })
        .collect();
    for id in 3..3 + replacements {
        value.replace(id);
    }
    for reader in readers {
        reader.join().unwrap();
    }
    assert_eq!(value.read(), Some([2 + replacements; 2]));
}

fn model(preemptions: usize, body: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(body);
}

#[test]
fn a_reader_never_sees_half_of_two_values() {
    model(3, || check(2, 1));
}

#[test]
fn two_readers_do_not_disturb_each_other() {
    model(2, || check(2, 2));
}

#[test]
fn a_reader_that_does_not_look_again_or_too_early_and_a_writer_that_writes_too_early_are_found() {
    for mutant in [mutants::TORN_READ, mutants::READ_UNFENCED, arena::mutants::JOURNAL_UNFENCED] {
        choose_mutant(mutant);
        let found = catch_unwind(AssertUnwindSafe(|| model(3, || check(2, 1))));
        choose_mutant(0);
        assert!(found.is_err(), "mutant {mutant} was not found");
    }
}
