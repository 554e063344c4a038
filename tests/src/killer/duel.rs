//! Two processes, both stepped: killed at every pair of states.

use super::stage::in_child;
use super::sweep::{Mode, PATIENCE, Play, Role, Sweep, Verdict, audit_twice, collect};
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
}

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

fn nested(play: &Play<'_>, fates: &[Fate], mode: Mode, dead_first: bool) -> Result<Sweep, String> {
    let mut done = Sweep::default();
    let other = Tracee::launch(play.other.expect("a second process"))?;
    let mut victim = Tracee::launch(play.victim)?;
    done.views = serial_views(play, &victim, &other, dead_first)?;
    let mut seen = Vec::new();
    let mut outer = 0;
    loop {
        let state = play.memory.save();
        let stands = victim.twin()?;
        if dead_first {
            victim.kill();
            inner(play, None, &other, fates, mode, outer, &mut seen, &mut done)?;
        } else {
            inner(play, Some(&victim), &other, fates, mode, outer, &mut seen, &mut done)?;
            victim.kill();
        }
        play.memory.restore(&state);
        victim = stands;
        if mode == Mode::FirstBad && any_bad(&seen, &done.views) {
            done.bad = collect(seen, &done.views);
            return Ok(done);
        }
        loop {
            match victim.step()? {
                Step::Next => outer += 1,
                Step::End => {
                    done.instructions += outer;
                    done.bad = collect(seen, &done.views);
                    return Ok(done);
                }
                Step::Asleep => return Err("the victim sleeps although the other process has not begun".to_owned()),
                Step::Failed(why) => return Err(why),
            }
            if !play.memory.same(&state) {
                break;
            }
        }
    }
}

/// All states of the other process while the victim stands, or lies dead, where it is.
fn inner(
    play: &Play<'_>,
    victim: Option<&Tracee>,
    other: &Tracee,
    fates: &[Fate],
    mode: Mode,
    outer: usize,
    seen: &mut Vec<(Verdict, Vec<usize>, usize)>,
    done: &mut Sweep,
) -> Result<(), String> {
    let mut live = other.twin()?;
    // Where the other one waits for the victim, this one has run to its end meanwhile.
    let mut victim = victim.map(Tracee::twin).transpose()?;
    let mut at = 0;
    let mut waited = false;
    let mut asleep = false;
    loop {
        let state = play.memory.save();
        for fate in fates {
            let place = live.place();
            // A sleeper cannot be doubled; it was doubled before it fell asleep, and that one stands for it.
            let verdict = end(play, *fate, victim.as_ref(), &live, asleep);
            seen.push((verdict, vec![outer, at], place));
            done.kills += if *fate == Fate::BothDie && victim.is_some() { 2 } else { 1 };
            play.memory.restore(&state);
            // One bad state is enough to know, and a hang takes seconds.
            if seen.last().is_some_and(|(verdict, ..)| verdict.is_err()) && mode == Mode::FirstBad {
                return Ok(());
            }
        }
        if asleep {
            let Some(victim) = victim.take().filter(|_| !waited) else {
                return Err("the other process sleeps, and there is nobody to wake it".to_owned());
            };
            victim.finish(PATIENCE).map_err(|why| format!("the victim, for whom the other waits: {why}"))?;
            waited = true;
            // Ended, but not dead: it keeps standing at its end.
            drop(victim);
        }
        asleep = false;
        loop {
            let spare = if live.before_syscall()? { Some(live.twin()?) } else { None };
            match live.step()? {
                Step::Next => at += 1,
                Step::End => {
                    done.instructions += at;
                    return Ok(());
                }
                Step::Failed(why) => return Err(why),
                Step::Asleep => {
                    live.kill();
                    live = spare.ok_or("asleep without a system call")?;
                    done.asleep += 1;
                    asleep = true;
                    break;
                }
            }
            if !play.memory.same(&state) {
                break;
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
        (Fate::VictimDies, Some(victim)) => {
            victim.kill();
            survive(play, Role::Victim, &other, "the other process", asleep)?;
        }
        (Fate::OtherDies, Some(victim)) => {
            other.kill();
            survive(play, Role::Other, &victim, "the victim", false)?;
        }
    }
    in_child(PATIENCE, || {
        audit_twice(play, Role::Victim);
        audit_twice(play, Role::Other);
        (play.verify)()
    })
}

/// `dead` was killed: its audit, and `living` must come to its end, whichever of the two is first. One that stands where it
/// would sleep is let go to sleep before the audit.
fn survive(play: &Play<'_>, dead: Role, living: &Tracee, name: &str, asleep: bool) -> Result<(), String> {
    let done = living.at_end()?;
    if !done {
        living.start()?;
        if asleep {
            living.doze();
        }
    }
    let audited = in_child(PATIENCE, || {
        (play.audit)(dead);
        String::new()
    });
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
            match role {
                Role::Victim => one.finish(PATIENCE)?,
                Role::Other => two.finish(PATIENCE)?,
            }
        }
        drop((one, two));
        let view = in_child(PATIENCE, || {
            (play.audit)(Role::Victim);
            (play.audit)(Role::Other);
            (play.verify)()
        });
        play.memory.restore(&start);
        views.push(view.map_err(|why| format!("{order:?}, one after the other: {why}"))?);
    }
    Ok(views)
}
