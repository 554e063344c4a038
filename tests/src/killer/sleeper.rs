//! One process sleeps; another, whose operation is to wake it, is killed at every state of that.

use super::runner::{Pace, Went, go};
use super::stage::in_child;
use super::sweep::{Mode, PATIENCE, Play, Role, Sweep, Verdict, collect, first, last};
use super::trace::Tracee;

/// Kills the victim at every state of its operation while the other process of the play sleeps, which it does when it is let go
/// first. After the audit, the sleeper must have woken wherever `owed` says that it has nothing left to wait for.
///
/// A wake that the victim had made before it was killed is taken back: what it stored must be enough for the audit.
///
/// # Errors
///
/// When the sweep itself could not be made.
///
/// # Panics
///
/// When the play has no other process.
pub fn sleeper_sweep(play: &Play<'_>, owed: &dyn Fn() -> bool, mode: Mode) -> Result<Sweep, String> {
    let start = play.memory.save();
    let done = sweep_from(play, owed, mode);
    play.memory.restore(&start);
    done
}

fn sweep_from(play: &Play<'_>, owed: &dyn Fn() -> bool, mode: Mode) -> Result<Sweep, String> {
    let awake = play.memory.save();
    let sleeper = Tracee::launch(None, play.other.expect("a second process"))?;
    let to_bed = || -> Result<Tracee, String> {
        play.memory.restore(&awake);
        let twin = sleeper.twin()?;
        twin.start(play.memory)?;
        twin.doze();
        Ok(twin)
    };
    drop(to_bed()?);
    let mut victim = Tracee::launch(Pace::CHANGES.guard(play.memory), play.victim)?;
    let (mut seen, mut done, mut at) = (Vec::new(), Sweep::default(), 0);
    let mut ended = false;
    loop {
        let state = play.memory.save();
        let next = if ended { None } else { Some(victim.twin()?) };
        let place = victim.place();
        victim.kill();
        let sleeping = to_bed()?;
        play.memory.restore(&state);
        let verdict: Verdict = judge(play, sleeping, owed);
        let is_bad = verdict.is_err();
        seen.push((verdict, vec![at], place));
        done.kills += 1;
        done.asleep += 1;
        play.memory.restore(&state);
        let Some(twin) = next else { break };
        if mode == Mode::FirstBad && is_bad {
            break;
        }
        victim = twin;
        match go(&victim, Pace::CHANGES, play.memory, &state, &mut at)? {
            Went::On => {}
            Went::End => ended = true,
            Went::Asleep(_) => return Err("the victim sleeps, who is to wake the other".to_owned()),
        }
    }
    done.instructions = at;
    let ends = [seen.first(), seen.last()];
    done.views = ends.into_iter().flatten().filter_map(|(verdict, ..)| verdict.clone().ok()).collect();
    done.bad = collect(seen, &done.views);
    Ok(done)
}

fn judge(play: &Play<'_>, sleeping: Tracee, owed: &dyn Fn() -> bool) -> Verdict {
    first(play, Role::Victim)?;
    if in_child(PATIENCE, || owed().to_string())? == "true" {
        sleeping.finished(PATIENCE).map_err(|why| format!("the sleeper, who has nothing to wait for: {why}"))?;
    }
    sleeping.kill();
    last(play, &[Role::Victim, Role::Other, Role::First])
}
