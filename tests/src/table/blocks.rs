//! Blocks: got, changed and freed by the one who holds them.

use super::stage::once;
use super::{Row, Scene};

const LARGE: usize = 200_000;
const SMALL: usize = 700;
/// Two of these fill a span.
const HALF: usize = 32_768;

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "alloc large, fresh granules",
        covers: &["block::alloc"],
        mutants: &[3, 6, 9],
        scene: |stage| {
            let (victim, other) = (stage.victim, stage.other);
            Scene::of(move || victim.alloc(LARGE).unwrap()).rival(move || other.alloc(LARGE).unwrap())
        },
    },
    Row {
        name: "alloc large, warm granules",
        covers: &["block::alloc"],
        mutants: &[3],
        scene: |stage| {
            let victim = stage.victim;
            drop(victim.alloc(LARGE).unwrap());
            Scene::of(move || victim.alloc(LARGE).unwrap())
        },
    },
    Row {
        name: "alloc large, none left",
        covers: &["block::alloc"],
        mutants: &[],
        scene: |stage| {
            let victim = stage.victim;
            Scene::of(move || assert!(victim.alloc(64 << 20).is_err()))
        },
    },
    Row {
        name: "alloc_zeroed large, warm and fresh granules",
        covers: &["block::alloc_zeroed"],
        mutants: &[],
        scene: |stage| {
            let victim = stage.victim;
            drop(victim.alloc(1 << 16).unwrap());
            Scene::of(move || victim.alloc_zeroed(LARGE).unwrap())
        },
    },
    Row {
        name: "free large",
        covers: &["block::drop"],
        mutants: &[3, 6, 9],
        scene: |stage| {
            let mine = once(stage.victim.alloc(LARGE).unwrap());
            let theirs = once(stage.other.alloc(LARGE).unwrap());
            Scene::of(move || drop(mine())).rival(move || drop(theirs()))
        },
    },
    Row {
        name: "shrink_to large",
        covers: &["block::shrink_to"],
        mutants: &[3, 9],
        scene: |stage| {
            let block = once(stage.victim.alloc(LARGE).unwrap());
            let other = stage.other;
            Scene::of(move || {
                let mut block = block();
                block.shrink_to(70_000);
                block
            })
            .rival(move || other.alloc(LARGE).unwrap())
        },
    },
    Row {
        name: "alloc large, by one who dies of a fault",
        covers: &["audit::audit"],
        mutants: &[],
        scene: |stage| {
            let victim = stage.victim;
            std::mem::forget(victim.alloc(LARGE).unwrap());
            Scene::of(move || victim.alloc(LARGE).unwrap()).quarantine()
        },
    },
    Row {
        name: "alloc small, new span",
        covers: &["block::alloc"],
        mutants: &[1],
        scene: |stage| {
            let (victim, other) = (stage.victim, stage.other);
            Scene::of(move || victim.alloc(SMALL).unwrap()).rival(move || other.alloc(SMALL).unwrap())
        },
    },
    Row {
        name: "alloc small, from the cache",
        covers: &["block::alloc"],
        mutants: &[1],
        scene: |stage| {
            let victim = stage.victim;
            drop(victim.alloc(SMALL).unwrap());
            Scene::of(move || victim.alloc(SMALL).unwrap())
        },
    },
    Row {
        name: "alloc small, from an open span",
        covers: &["block::alloc"],
        mutants: &[1],
        scene: |stage| {
            let victim = stage.victim;
            std::mem::forget(victim.alloc(SMALL).unwrap());
            victim.tidy();
            Scene::of(move || victim.alloc(SMALL).unwrap())
        },
    },
    Row {
        name: "alloc small, from a span that others freed into",
        covers: &["block::alloc"],
        mutants: &[],
        scene: |stage| {
            let (victim, other) = (stage.victim, stage.other);
            let parent = other.alloc(LARGE).unwrap();
            victim.alloc(HALF).unwrap().adopt_into(parent.id()).unwrap();
            std::mem::forget(victim.alloc(HALF).unwrap());
            drop(parent);
            Scene::of(move || victim.alloc(HALF).unwrap())
        },
    },
    Row {
        name: "alloc small, none left",
        covers: &["block::alloc"],
        mutants: &[],
        scene: |stage| {
            let (victim, other) = (stage.victim, stage.other);
            while let Ok(block) = other.alloc(1 << 16) {
                std::mem::forget(block);
            }
            Scene::of(move || assert!(victim.alloc(SMALL).is_err()))
        },
    },
    Row {
        name: "alloc_zeroed small, used before",
        covers: &["block::alloc_zeroed"],
        mutants: &[1],
        scene: |stage| {
            let victim = stage.victim;
            drop(victim.alloc(SMALL).unwrap());
            Scene::of(move || victim.alloc_zeroed(SMALL).unwrap())
        },
    },
    Row {
        name: "free small, into the cache",
        covers: &["block::drop"],
        mutants: &[2],
        scene: |stage| {
            let mine = once(stage.victim.alloc(SMALL).unwrap());
            let theirs = once(stage.other.alloc(SMALL).unwrap());
            Scene::of(move || drop(mine())).rival(move || drop(theirs()))
        },
    },
    Row {
        name: "free small, into a full cache",
        covers: &["block::drop"],
        mutants: &[2],
        scene: |stage| {
            let victim = stage.victim;
            let blocks: Vec<_> = (0..3).map(|_| victim.alloc(HALF).unwrap()).collect();
            let last = once(victim.alloc(HALF).unwrap());
            drop(blocks);
            Scene::of(move || drop(last()))
        },
    },
    Row {
        name: "free small, twice as many as the cache holds",
        covers: &["block::drop"],
        mutants: &[],
        scene: |stage| {
            let victim = stage.victim;
            let blocks = once((0..6).map(|_| victim.alloc(HALF).unwrap()).collect::<Vec<_>>());
            Scene::of(move || drop(blocks()))
        },
    },
    Row {
        name: "free small, of another's span",
        covers: &["block::drop"],
        mutants: &[],
        scene: |stage| {
            let (victim, other) = (stage.victim, stage.other);
            let parent = victim.alloc(LARGE).unwrap();
            other.alloc(SMALL).unwrap().adopt_into(parent.id()).unwrap();
            let parent = once(parent);
            Scene::of(move || drop(parent())).rival(move || other.alloc(SMALL).unwrap())
        },
    },
    Row {
        name: "free small, of another's span, which it looks for",
        covers: &["block::drop", "block::alloc"],
        mutants: &[8],
        scene: |stage| {
            let (victim, other) = (stage.victim, stage.other);
            let parent = victim.alloc(LARGE).unwrap();
            other.alloc(HALF).unwrap().adopt_into(parent.id()).unwrap();
            std::mem::forget(other.alloc(HALF).unwrap());
            let parent = once(parent);
            Scene::of(move || drop(parent())).rival_then(
                move || other.alloc(HALF).unwrap(),
                move |_one| {
                    // With these and the one that was there, two spans of two are full.
                    let _others = [other.alloc(HALF).unwrap(), other.alloc(HALF).unwrap()];
                    assert!(other.ledger().granule_bytes <= 2 << 16, "the freed block is never found again");
                },
            )
        },
    },
    Row {
        name: "tidy: flush the cache, give empty spans back",
        covers: &["trim::tidy"],
        mutants: &[3],
        scene: |stage| {
            let victim = stage.victim;
            drop(victim.alloc(SMALL).unwrap());
            drop(victim.alloc(HALF).unwrap());
            Scene::of(move || victim.tidy())
        },
    },
    Row {
        name: "trim: give pages back",
        covers: &["trim::trim"],
        mutants: &[],
        scene: |stage| {
            let (victim, other) = (stage.victim, stage.other);
            drop(victim.alloc(LARGE).unwrap());
            Scene::of(move || victim.trim()).rival(move || other.alloc(LARGE).unwrap())
        },
    },
    Row {
        name: "alloc large, where only warm pages of another size are left",
        covers: &["block::alloc"],
        mutants: &[],
        scene: |stage| {
            let (victim, other) = (stage.victim, stage.other);
            // The last survivor finds the same small budget.
            stage.root.set_budget(12 << 16);
            let blocks: Vec<_> = std::iter::from_fn(|| other.alloc(1 << 16).ok()).collect();
            let mut keep = false;
            for block in blocks {
                keep = !keep;
                if keep { std::mem::forget(block) } else { drop(block) }
            }
            Scene::of(move || victim.alloc(LARGE).unwrap())
        },
    },
    Row {
        name: "die of a fault with small blocks",
        covers: &["audit::audit"],
        mutants: &[],
        scene: |stage| {
            let victim = stage.victim;
            std::mem::forget(victim.alloc(SMALL).unwrap());
            Scene::of(move || victim.alloc(SMALL).unwrap()).quarantine()
        },
    },
];
