//! Two processes, both stepped: killed at every pair of states.

use super::runner::{Pace, Went, go};
use super::sweep::{A_MOMENT, Mode, PATIENCE, Play, Role, Sweep, Verdict, collect, first, last};
use super::trace::{Step, Tracee};

/// What happens to the two processes, one standing at state i of its operation and the other at state j.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The victim is killed, the other goes on to its end.
    VictimDies,
    /// The other is killed, the victim goes on to its end.
    OtherDies,
    /// Both are killed.
    BothDie,
    /// Both go on to their ends, and the other one then does what it does after the operation.
    NobodyDies,
}

/// In the end all are dead but the last survivor, whatever happened before: so what it sees can be compared.
const EVERYBODY: [Role; 3] = [Role::Victim, Role::Other, Role::First];

/// Steps two processes through their operations, interleaved: for each state i of the victim and each state j that the other
/// reaches while the victim stands at i, each of `fates`.
///
/// What may be seen in the end is what is seen when the two run one after the other, or one or none of them runs.
///
/// # Errors
///
/// When the sweep itself could not be made.
///
/// # Panics
///
/// When the play has no other process.
pub fn duel(play: &Play<'_>, fates: &[Fate], mode: Mode) -> Result<Sweep, String> {
    let start = play.memory.save();
    let done = nested(play, fates, mode, false);
    play.memory.restore(&start);
    done
}

/// Steps the auditor: kills the victim at each state i of its operation, then the other process, whose operation is the audit
/// of the victim, at each state j of that; then audits both again.
///
/// # Errors
///
/// When the sweep itself could not be made.
///
/// # Panics
///
/// When the play has no other process.
pub fn audit_sweep(play: &Play<'_>, mode: Mode) -> Result<Sweep, String> {
    let start = play.memory.save();
    let done = nested(play, &[Fate::BothDie], mode, true);
    play.memory.restore(&start);
    done
}

/// The two processes and what was found so far.
struct Duel<'a> {
    play: &'a Play<'a>,
    fates: &'a [Fate],
    mode: Mode,
    /// Stands where its operation begins; its twins are stepped.
    other: Tracee,
    seen: Vec<(Verdict, Vec<usize>, usize)>,
    done: Sweep,
}

fn nested(play: &Play<'_>, fates: &[Fate], mode: Mode, dead_first: bool) -> Result<Sweep, String> {
    let guard = Pace::CHANGES.guard(play.memory);
    let other = Tracee::launch(guard, play.other.expect("a second process"))?;
    let mut victim = Tracee::launch(guard, play.victim)?;
    let views = serial_views(play, &victim, &other, dead_first)?;
    let done = Sweep { views, ..Sweep::default() };
    let mut duel = Duel { play, fates, mode, other, seen: Vec::new(), done };
    let mut at = 0;
    loop {
        let state = play.memory.save();
        let stands = victim.twin()?;
        if dead_first {
            victim.kill();
            duel.inner(None, at)?;
        } else {
            duel.inner(Some(&victim), at)?;
            victim.kill();
        }
        play.memory.restore(&state);
        victim = stands;
        if mode == Mode::FirstBad && any_bad(&duel.seen, &duel.done.views) {
            return Ok(duel.end(at));
        }
        match go(&victim, Pace::CHANGES, play.memory, &state, &mut at)? {
            Went::On => {}
            Went::End => return Ok(duel.end(at)),
            Went::Asleep(_) => return Err("the victim sleeps although the other has not begun".to_owned()),
        }
    }
}

impl Duel<'_> {
    fn end(mut self, instructions: usize) -> Sweep {
        self.done.instructions += instructions;
        self.done.bad = collect(self.seen, &self.done.views);
        self.done
    }

    /// All states of the other process while the victim stands, or lies dead, where it is.
    fn inner(&mut self, victim: Option<&Tracee>, outer: usize) -> Result<(), String> {
        let mut live = self.other.twin()?;
        // Where the other one waits for the victim, this one runs to its end, if it can.
        let mut victim = victim.map(Tracee::twin).transpose()?;
        let mut at = 0;
        let mut asleep = false;
        loop {
            let state = self.play.memory.save();
            for fate in self.fates {
                let place = live.place();
                let verdict = end(self.play, *fate, victim.as_ref(), &live, asleep);
                let bad = verdict.is_err();
                self.seen.push((verdict, vec![outer, at], place));
                self.done.kills += match fate {
                    Fate::NobodyDies => 0,
                    Fate::BothDie if victim.is_some() => 2,
                    _ => 1,
                };
                self.play.memory.restore(&state);
                // One bad state is enough to know, and a hang takes time.
                if bad && self.mode == Mode::FirstBad {
                    return Ok(());
                }
            }
            if asleep {
                let waker = victim.take().ok_or("the other process sleeps, and there is nobody to wake it")?;
                victim = self.let_past(waker, &live)?;
            }
            asleep = false;
            match go(&live, Pace::CHANGES, self.play.memory, &state, &mut at)? {
                Went::On => {}
                Went::End => {
                    self.done.instructions += at;
                    return Ok(());
                }
                Went::Asleep(spare) => {
                    live = spare;
                    self.done.asleep += 1;
                    asleep = true;
                }
            }
        }
    }

    /// The victim, for whom the other one, `sleeper`, is about to sleep, goes on to its end. Where it needs in turn what the
    /// sleeper has, as two may who take several locks one after the other, it goes on only as far as to let the sleeper go
    /// on, and is given back.
    fn let_past(&self, victim: Tracee, sleeper: &Tracee) -> Result<Option<Tracee>, String> {
        let memory = self.play.memory;
        let mut state = memory.save();
        if victim.twin()?.finish(memory, A_MOMENT).is_ok() {
            return Ok(None);
        }
        memory.restore(&state);
        let mut at = 0;
        loop {
            match go(&victim, Pace::CHANGES, memory, &state, &mut at)? {
                Went::On => {}
                Went::End => return Ok(None),
                Went::Asleep(_) => return Err("the two wait for each other".to_owned()),
            }
            state = memory.save();
            let trial = sleeper.twin()?;
            let sleeps = trial.step()? == Step::Asleep;
            trial.kill();
            memory.restore(&state);
            if !sleeps {
                return Ok(Some(victim));
            }
        }
    }
}

/// One pair of states, one fate.
fn end(play: &Play<'_>, fate: Fate, victim: Option<&Tracee>, other: &Tracee, asleep: bool) -> Verdict {
    let other = other.twin()?;
    let victim = victim.map(Tracee::twin).transpose()?;
    match (fate, victim) {
        (Fate::BothDie, victim) => {
            drop(victim);
            other.kill();
        }
        (_, None) => other.kill(),
        (Fate::NobodyDies, Some(victim)) => {
            // Either may have what the other waits for.
            let running = [(&victim, "the victim, left alone"), (&other, "the other, left alone")];
            let mut waited = Vec::new();
            for (tracee, name) in running {
                if !tracee.at_end()? {
                    tracee.start(play.memory)?;
                    waited.push((tracee, name));
                }
            }
            for (tracee, name) in waited {
                tracee.finished(PATIENCE).map_err(|why| format!("{name}: {why}"))?;
            }
            other.depart(play.memory, PATIENCE).map_err(|why| format!("the other, after the operation: {why}"))?;
        }
        (Fate::VictimDies, Some(victim)) => {
            victim.kill();
            survive(play, Role::Victim, &other, "the other process", asleep)?;
        }
        (Fate::OtherDies, Some(victim)) => {
            other.kill();
            survive(play, Role::Other, &victim, "the victim", false)?;
        }
    }
    last(play, &EVERYBODY)
}

/// `dead` was killed: its audit, and `living` must come to its end, whichever of the two is first. One that stands where it
/// would sleep is let go to sleep before the audit.
fn survive(play: &Play<'_>, dead: Role, living: &Tracee, name: &str, asleep: bool) -> Result<(), String> {
    let done = living.at_end()?;
    if !done {
        living.start(play.memory)?;
        if asleep {
            living.doze();
        }
    }
    let audited = first(play, dead);
    if !done {
        living.finished(PATIENCE).map_err(|why| format!("{name}: {why}"))?;
    }
    audited.map(drop)
}

fn any_bad(seen: &[(Verdict, Vec<usize>, usize)], allowed: &[String]) -> bool {
    seen.iter().any(|(verdict, ..)| verdict.as_ref().map_or(true, |view| !allowed.contains(view)))
}

/// What is seen when none, one, or both of the processes ran, one after the other.
fn serial_views(play: &Play<'_>, victim: &Tracee, other: &Tracee, dead_first: bool) -> Result<Vec<String>, String> {
    let start = play.memory.save();
    let mut views = Vec::new();
    let orders: [&[Role]; 5] =
        [&[], &[Role::Victim], &[Role::Other], &[Role::Victim, Role::Other], &[Role::Other, Role::Victim]];
    for order in orders {
        if dead_first && order.first() == Some(&Role::Other) {
            continue;
        }
        let (one, two) = (victim.twin()?, other.twin()?);
        for role in order {
            let tracee = if *role == Role::Victim { &one } else { &two };
            tracee.finish(play.memory, PATIENCE)?;
        }
        drop((one, two));
        let view = last(play, &EVERYBODY);
        play.memory.restore(&start);
        views.push(view.map_err(|why| format!("{order:?}, one after the other: {why}"))?);
    }
    Ok(views)
}
