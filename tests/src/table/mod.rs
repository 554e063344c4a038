//! The table of operations on the shared arena: each with states to begin from, how it is done, and the mistakes that its
//! sweep must notice.
//!
//! [`run`] takes a row through every kill there is: of the one who does the operation, of the auditor who recovers the dead,
//! and of either of two who do it at once. `tests/operations.rs` fails for a public operation without a row.

mod blocks;
mod locks;
mod members;
mod objects;
mod places;
mod pool;
mod queues;
mod shared;
mod stage;
mod trees;

pub use stage::{Scene, Stage};

use crate::killer::{Bad, Fate, Mode, Play, Sweep, audit_sweep, duel, sleeper_sweep, sweep};
use offspring::testing;

/// One operation in one state.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// What is done, and in which state.
    pub name: &'static str,
    /// The functions of the library that are driven, as `file::function`.
    pub covers: &'static [&'static str],
    /// Numbers of the seeded mistakes (`testing::MUTANTS`, `testing::pool::MUTANTS`) that this row must notice.
    pub mutants: &'static [u32],
    /// Brings the stage into the state, and gives what is done then.
    pub scene: fn(&Stage) -> Scene,
}

/// All rows.
pub fn rows() -> Vec<Row> {
    [
        blocks::ROWS,
        trees::ROWS,
        members::ROWS,
        pool::ROWS,
        objects::ROWS,
        locks::ROWS,
        shared::ROWS,
        queues::ROWS,
        places::ROWS,
    ]
    .concat()
}

/// What came of a row.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Kills of the one who does the operation.
    pub one: Sweep,
    /// Kills of the auditor.
    pub auditor: Sweep,
    /// Kills of two who do it at once.
    pub two: Sweep,
    /// Kills of the one who does the operation, while another sleeps until it is done.
    pub asleep: Sweep,
}

impl Outcome {
    /// How many processes were killed.
    pub fn kills(&self) -> usize {
        self.sweeps().iter().map(|sweep| sweep.kills).sum()
    }

    /// Each sweep.
    pub fn sweeps(&self) -> [&Sweep; 4] {
        [&self.one, &self.auditor, &self.two, &self.asleep]
    }

    /// All states that survivors could not cope with.
    pub fn bad(&self) -> impl Iterator<Item = (&'static str, &Bad)> {
        let names = ["the victim is killed", "the auditor is killed", "two at once", "another sleeps"];
        names.into_iter().zip(self.sweeps()).flat_map(|(name, sweep)| sweep.bad.iter().map(move |bad| (name, bad)))
    }
}

/// How much of a row is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Kills of the one who does the operation.
    One,
    /// Kills of the auditor, and of two at once, too.
    All,
}

/// Takes a row through its kills, with a seeded mistake, or 0 for none. Leaves mappings behind: run it in a process that ends
/// soon.
///
/// # Errors
///
/// When a sweep could not be made.
pub fn run(row: &Row, mode: Mode, part: Part, mutant: u32) -> Result<Outcome, String> {
    let stage = Stage::new()?;
    // What the setting-up holds must not be given back by this process when it ends: it never does that in order.
    let scene = Box::leak(Box::new((row.scene)(&stage)));
    testing::select_mutant(mutant);
    let quarantine = scene.quarantine;
    let died = |role| stage.died(role);
    let audit = |by, role| stage.audit(by, role, quarantine);
    let verify = || stage.verify(&*scene.view, scene.counts);
    let auditor = || stage.audit_as_other(quarantine);
    let play = Play {
        memory: if scene.payloads { &stage.everything } else { &stage.memory },
        victim: &*scene.victim,
        other: scene.holder.as_deref(),
        died: &died,
        audit: &audit,
        verify: &verify,
    };
    let one = if scene.together { Sweep::default() } else { sweep(&play, mode)? };
    let mut outcome = Outcome { one, ..Outcome::default() };
    let enough = |outcome: &Outcome| part == Part::One || mode == Mode::FirstBad && outcome.bad().next().is_some();
    if scene.holder.is_some() && mode == Mode::Every {
        // At full speed, too: only so does the victim come to sleep.
        outcome.one.add(sweep(&play, Mode::Changes)?);
    }
    if scene.holder.is_none() && !scene.together && !enough(&outcome) {
        outcome.auditor = audit_sweep(&Play { other: Some(&auditor), ..play }, mode)?;
    }
    if let Some(sleeper) = &scene.sleeper
        && !enough(&outcome)
    {
        outcome.asleep = sleeper_sweep(&Play { other: Some(&*sleeper.operation), ..play }, &*sleeper.owed, mode)?;
    }
    if let Some(rival) = &scene.rival
        && !enough(&outcome)
    {
        let fates = [Fate::VictimDies, Fate::OtherDies, Fate::BothDie, Fate::NobodyDies];
        outcome.two = duel(&Play { other: Some(&**rival), ..play }, &fates, mode)?;
    }
    Ok(outcome)
}
