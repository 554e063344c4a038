//! One victim, killed at every instruction.

use super::memory::{Image, Memory};
use super::runner::{Pace, Went, go};
use super::stage::in_child;
use super::trace::Tracee;
use std::fmt;
use std::time::Duration;

/// How long a survivor, or a process that must go on, may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);

/// How long that one may take before it is taken to wait for the victim itself.
pub(super) const A_MOMENT: Duration = Duration::from_millis(700);

/// An operation that waits for another process goes round and round; after so many instructions that one is let go on.
const LONG_ENOUGH: usize = 2_000;

/// Who died, for the audit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The process that is stepped.
    Victim,
    /// The other one, if the play has one.
    Other,
    /// The survivor that audited while another process still ran: it ends after that.
    First,
}

/// Which survivor it is that audits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survivor {
    /// The one that audits while another process still runs.
    First,
    /// The one that audits, again, when nobody runs any more, and then verifies.
    Last,
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
    /// Makes the death of a process known, as far as the kernel does that for all at once.
    pub died: &'a dyn Fn(Role),
    /// What a survivor does about the death of a process.
    pub audit: &'a dyn Fn(Survivor, Role),
    /// Runs in the last survivor after the audit: panics when something is wrong, gives what can be seen otherwise.
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
    /// At every instruction. The survivors judge where the shared memory is not what they judged before.
    Every,
    /// After every instruction that changed the shared memory, and asleep: survivors can tell no others apart.
    Changes,
    /// As `Changes`, and end with the first bad state.
    FirstBad,
}

/// A state that survivors could not cope with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bad {
    /// The instruction or store, counted from the beginning of the operation; for two processes, one for each.
    pub at: Vec<usize>,
    /// Its address, for `addr2line -e`.
    pub place: usize,
    /// What was wrong.
    pub why: String,
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {:?}, address {:#x}: {}", self.at, self.place, self.why)
    }
}

/// What came of a sweep.
#[derive(Clone, Debug, Default)]
pub struct Sweep {
    /// Instructions of the operation; its stores to shared memory, unless every instruction was a kill.
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
    let pace = if mode == Mode::Every { Pace::Instruction } else { Pace::CHANGES };
    let mut other = play.other.map(|run| Tracee::launch(None, run)).transpose()?;
    let mut live = Tracee::launch(pace.guard(play.memory), play.victim)?;
    let mut seen: Vec<(Verdict, Vec<usize>, usize)> = Vec::new();
    let mut at = 0;
    let mut ended = false;
    let mut let_go = LONG_ENOUGH;
    let mut state = play.memory.save();
    let mut changed = true;
    loop {
        let next = if ended { None } else { Some(live.twin()?) };
        let place = live.place();
        live.kill();
        done.kills += 1;
        if changed {
            seen.push((judge(play, other.as_ref()), vec![at], place));
            play.memory.restore(&state);
        } else if let Some((verdict, ..)) = seen.last() {
            // Survivors look at nothing but the memory, and it is what they judged before.
            let verdict = verdict.clone();
            seen.push((verdict, vec![at], place));
        }
        let Some(next) = next else { break };
        if mode == Mode::FirstBad && seen.last().is_some_and(|(verdict, ..)| verdict.is_err()) {
            break;
        }
        live = next;
        loop {
            match go(&live, pace, play.memory, &state, &mut at)? {
                Went::On => break,
                Went::End => {
                    // Killed once more, complete: that is what `after` looks like.
                    ended = true;
                    break;
                }
                Went::Asleep(spare) => {
                    let place = live.place();
                    live.kill();
                    seen.push((judge(play, other.as_ref()), vec![at], place));
                    done.kills += 1;
                    done.asleep += 1;
                    play.memory.restore(&state);
                    let waker = other.take().ok_or("the victim sleeps, and there is nobody to wake it")?;
                    waker.finish(play.memory, PATIENCE).map_err(|why| format!("who should wake the victim: {why}"))?;
                    live = spare;
                    if !play.memory.same(&state) {
                        break;
                    }
                }
            }
        }
        // Stepped so slowly, a wait with a time limit is over before it begins: who holds what the victim wants lets go.
        if at > let_go
            && let Some(holder) = &other
        {
            let now = play.memory.save();
            match holder.twin()?.finish(play.memory, A_MOMENT) {
                Ok(()) => other = None,
                Err(why) if let_go > 2 * LONG_ENOUGH => return Err(format!("the other process: {why}")),
                // The victim may stand within a lock that the other one needs: a little later it does not.
                Err(_) => {
                    play.memory.restore(&now);
                    let_go += LONG_ENOUGH / 20;
                }
            }
        }
        changed = !play.memory.same(&state);
        if changed {
            state = play.memory.save();
        }
    }
    done.instructions = at;
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
        Ok(view) => {
            let mut allowed = allowed.to_vec();
            allowed.sort();
            allowed.dedup();
            Some(Bad { at, place, why: format!("seen: {view}; may be seen: {}", allowed.join(" | ")) })
        }
        Err(why) => Some(Bad { at, place, why }),
    });
    bad.collect()
}

/// The victim is dead: audits, lets the other one finish, verifies.
fn judge(play: &Play<'_>, other: Option<&Tracee>) -> Verdict {
    let Some(other) = other else {
        return last(play, &[Role::Victim]);
    };
    let other = other.twin()?;
    other.start(play.memory)?;
    let audited = first(play, Role::Victim);
    other.finished(PATIENCE).map_err(|why| format!("the other process: {why}"))?;
    audited?;
    other.kill();
    last(play, &[Role::Victim, Role::Other, Role::First])
}

/// An audit while others run.
pub(super) fn first(play: &Play<'_>, dead: Role) -> Verdict {
    in_child(PATIENCE, || {
        (play.died)(dead);
        (play.audit)(Survivor::First, dead);
        String::new()
    })
}

/// All are dead: each audit is made twice, and the second one must change nothing; then what can be seen.
pub(super) fn last(play: &Play<'_>, dead: &[Role]) -> Verdict {
    in_child(PATIENCE, || {
        dead.iter().for_each(|role| (play.died)(*role));
        for role in dead {
            (play.audit)(Survivor::Last, *role);
            let image: Image = play.memory.save();
            (play.died)(*role);
            (play.audit)(Survivor::Last, *role);
            assert!(play.memory.same(&image), "a second audit changes something:{}", play.memory.difference(&image));
        }
        (play.verify)()
    })
}
