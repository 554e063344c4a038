//! One victim, killed at every instruction.

use super::memory::{Image, Memory};
use super::stage::in_child;
use super::trace::{Step, Tracee};
use std::fmt;
use std::time::Duration;

/// How long a survivor, or a process that must go on, may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);
/// An operation of more instructions than this is taken to be an endless loop.
const ENDLESS: usize = 3_000_000;

/// Who died, for the audit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The process that is stepped.
    Victim,
    /// The other one, if the play has one.
    Other,
}

/// What is played. The closures run in processes of their own, forked from the stage.
#[derive(Clone, Copy)]
pub struct Play<'a> {
    /// All memory that these processes share.
    pub memory: &'a Memory,
    /// Prepares, then does the operation within [`stepped`](super::stepped).
    pub victim: &'a dyn Fn(),
    /// A second process: prepared first, it stands where its operation begins, and runs to its end when the victim sleeps, or
    /// was killed and audited.
    pub other: Option<&'a dyn Fn()>,
    /// What the survivor does about the death of a process.
    pub audit: &'a dyn Fn(Role),
    /// Runs in the survivor after the audit: panics when something is wrong, gives what can be seen otherwise.
    pub verify: &'a dyn Fn() -> String,
}

impl fmt::Debug for Play<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Play").field("memory", self.memory).finish_non_exhaustive()
    }
}

/// Where to kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// At every instruction.
    Every,
    /// After every instruction that changed the shared memory, and asleep: survivors can tell no others apart.
    Changes,
    /// As `Changes`, and end with the first bad state.
    FirstBad,
}

/// A state that survivors could not cope with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bad {
    /// The instruction, counted from the beginning of the operation; for two processes, one for each.
    pub at: Vec<usize>,
    /// Its address, for `addr2line -e`.
    pub place: usize,
    /// What was wrong.
    pub why: String,
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "instruction {:?}, address {:#x}: {}", self.at, self.place, self.why)
    }
}

/// What came of a sweep.
#[derive(Clone, Debug, Default)]
pub struct Sweep {
    /// Instructions of the operation.
    pub instructions: usize,
    /// Kills.
    pub kills: usize,
    /// Kills while the victim slept in the kernel.
    pub asleep: usize,
    /// States that survivors could not cope with.
    pub bad: Vec<Bad>,
    /// What was seen after a kill before the first instruction, and after the last.
    pub views: Vec<String>,
}

impl Sweep {
    /// Adds the numbers of another sweep.
    pub fn add(&mut self, other: Sweep) {
        self.instructions += other.instructions;
        self.kills += other.kills;
        self.asleep += other.asleep;
        self.bad.extend(other.bad);
    }
}

/// Kills the victim at every instruction of its operation, and judges each time.
///
/// The memory is in the end as it was.
///
/// # Errors
///
/// When the sweep itself could not be made: the victim did not begin, did not end, or crashed by itself.
pub fn sweep(play: &Play<'_>, mode: Mode) -> Result<Sweep, String> {
    let start = play.memory.save();
    let done = sweep_from(play, mode);
    play.memory.restore(&start);
    done
}

fn sweep_from(play: &Play<'_>, mode: Mode) -> Result<Sweep, String> {
    let mut done = Sweep::default();
    let mut other = play.other.map(Tracee::launch).transpose()?;
    let mut live = Tracee::launch(play.victim)?;
    let mut seen: Vec<(Verdict, Vec<usize>, usize)> = Vec::new();
    let mut state = play.memory.save();
    let mut judge_here = true;
    loop {
        if judge_here {
            let next = live.twin()?;
            let place = live.place();
            live.kill();
            seen.push((judge(play, other.as_ref()), vec![done.instructions], place));
            done.kills += 1;
            play.memory.restore(&state);
            live = next;
            if mode == Mode::FirstBad && seen.last().is_some_and(|(verdict, ..)| verdict.is_err()) {
                break;
            }
        }
        let spare = if live.before_syscall()? { Some(live.twin()?) } else { None };
        match live.step()? {
            Step::Next => done.instructions += 1,
            Step::End => break,
            Step::Failed(why) => return Err(why),
            Step::Asleep => {
                let place = live.place();
                live.kill();
                let slept = play.memory.save();
                seen.push((judge(play, other.as_ref()), vec![done.instructions], place));
                done.kills += 1;
                done.asleep += 1;
                play.memory.restore(&slept);
                let waker = other.take().ok_or("the victim sleeps, and there is nobody to wake it")?;
                waker.finish(PATIENCE).map_err(|why| format!("the process that should wake the victim: {why}"))?;
                live = spare.ok_or("asleep without a system call")?;
            }
        }
        if done.instructions > ENDLESS {
            return Err("the operation does not end".to_owned());
        }
        judge_here = mode == Mode::Every || !play.memory.same(&state);
        if judge_here || done.instructions % 4096 == 0 {
            state = play.memory.save();
        }
    }
    if seen.last().is_none_or(|(_, at, _)| at[0] != done.instructions) && mode != Mode::FirstBad {
        let place = live.place();
        live.kill();
        seen.push((judge(play, other.as_ref()), vec![done.instructions], place));
        done.kills += 1;
    }
    // What is seen before the first instruction and after the last is what may be seen in between.
    let ends = [seen.first(), seen.last()];
    done.views = ends.into_iter().flatten().filter_map(|(verdict, ..)| verdict.clone().ok()).collect();
    done.bad = collect(seen, &done.views);
    Ok(done)
}

pub(super) type Verdict = Result<String, String>;

/// The bad among `seen`: errors, and views that are none of `allowed`.
pub(super) fn collect(seen: Vec<(Verdict, Vec<usize>, usize)>, allowed: &[String]) -> Vec<Bad> {
    let bad = seen.into_iter().filter_map(|(verdict, at, place)| match verdict {
        Ok(view) if allowed.contains(&view) => None,
        Ok(view) => Some(Bad { at, place, why: format!("neither before nor after: {view}, allowed {allowed:?}") }),
        Err(why) => Some(Bad { at, place, why }),
    });
    bad.collect()
}

/// The victim is dead: audits, lets the other one finish, verifies.
fn judge(play: &Play<'_>, other: Option<&Tracee>) -> Verdict {
    let Some(other) = other else {
        return in_child(PATIENCE, || {
            audit_twice(play, Role::Victim);
            (play.verify)()
        });
    };
    let other = other.twin()?;
    other.start()?;
    let audited = in_child(PATIENCE, || {
        (play.audit)(Role::Victim);
        String::new()
    });
    other.finished(PATIENCE).map_err(|why| format!("the other process: {why}"))?;
    audited?;
    other.kill();
    in_child(PATIENCE, || {
        audit_twice(play, Role::Victim);
        audit_twice(play, Role::Other);
        (play.verify)()
    })
}

/// An audit, and another one that must change nothing.
pub(super) fn audit_twice(play: &Play<'_>, role: Role) {
    (play.audit)(role);
    let image: Image = play.memory.save();
    (play.audit)(role);
    assert!(play.memory.same(&image), "a second audit changed something:{}", play.memory.difference(&image));
}
