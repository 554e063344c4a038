//! Permits to run, which a tree of pools shares; and the lanes of a pool, where what tasks need is given out.

use super::{Row, Scene, Stage};
use offspring::testing::pool::{Counter, Places};

fn places(stage: &Stage, limit: usize) -> &'static Places {
    Box::leak(Box::new(Places::lay(stage.last, limit)))
}

/// The audits of both, repeated; then all places are free, and somebody else can have all of them at once.
fn all_free(stage: &Stage, places: &'static Places, limit: usize) -> impl Fn() -> String + 'static {
    let (dead, last) = ([stage.victim, stage.other], stage.last);
    move || {
        dead.into_iter().chain(dead).for_each(|member| places.forget(last, member.me()));
        assert_eq!(places.free(last), limit, "places of the dead are missing");
        places.pass_all(last);
        assert_eq!(places.free(last), limit);
        "free".to_owned()
    }
}

fn counter(stage: &Stage, tokens: u32) -> &'static Counter {
    Box::leak(Box::new(Counter::lay(stage.last, tokens)))
}

/// The grants of both are cleared; then the tokens can be had, all of them.
fn all_tokens(stage: &Stage, counter: &'static Counter) -> impl Fn() -> String + 'static {
    let last = stage.last;
    move || {
        counter.vacate(0);
        counter.vacate(1);
        assert!(counter.pick(last, 2), "tokens of the dead are missing");
        assert!(!counter.pick(last, 3), "more tokens than there are");
        counter.give_back(2);
        "there".to_owned()
    }
}

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "permits: take one, give it back",
        covers: &["permits::take", "permits::give_back", "permits::forget"],
        mutants: &[105],
        scene: |stage| {
            let (victim, other, it) = (stage.victim, stage.other, places(stage, 2));
            Scene::of(move || it.pass(victim)).payloads().rival(move || it.pass(other)).view(all_free(stage, it, 2))
        },
    },
    Row {
        name: "permits: gather all, give them back",
        covers: &["permits::gather", "permits::give_back", "permits::forget"],
        mutants: &[105],
        scene: |stage| {
            let (victim, it) = (stage.victim, places(stage, 3));
            Scene::of(move || it.pass_all(victim)).payloads().view(all_free(stage, it, 3))
        },
    },
    Row {
        name: "lanes: pick, give back",
        covers: &["admission::pick", "admission::give_back", "admission::clear_grant"],
        mutants: &[109],
        scene: |stage| {
            let (victim, other, it) = (stage.victim, stage.other, counter(stage, 1));
            let pass = move |arena, seat| {
                if it.pick(arena, seat) {
                    it.give_back(seat);
                }
            };
            Scene::of(move || pass(victim, 0)).payloads().rival(move || pass(other, 1)).view(all_tokens(stage, it))
        },
    },
    Row {
        name: "lanes: give back, another sleeps",
        covers: &["admission::give_back", "admission::nudge", "admission::clear_grant"],
        mutants: &[110],
        scene: |stage| {
            let (victim, other, it) = (stage.victim, stage.other, counter(stage, 1));
            assert!(it.pick(victim, 0), "the token is there");
            let wait = move || it.await_turn(other, 1).then(|| it.give_back(1)).is_some();
            // Given back by its worker, or by the pool's process for it: either way it can be had.
            let owed = move || {
                it.vacate(0);
                true
            };
            Scene::of(move || it.give_back(0)).payloads().sleeper(wait, owed).view(all_tokens(stage, it))
        },
    },
];
