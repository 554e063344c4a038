//! Blocks: got, changed and freed by the one who holds them.

use super::stage::once;
use super::{Row, Scene};

const LARGE: usize = 200_000;

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "alloc large, fresh granules",
        covers: &["Arena::alloc"],
        mutants: &[3, 6, 9],
        scene: |stage| {
            let (victim, other) = (stage.victim, stage.other);
            Scene::of(move || victim.alloc(LARGE).unwrap()).rival(move || other.alloc(LARGE).unwrap())
        },
    },
    Row {
        name: "alloc large, warm granules",
        covers: &["Arena::alloc"],
        mutants: &[3],
        scene: |stage| {
            let victim = stage.victim;
            drop(victim.alloc(LARGE).unwrap());
            Scene::of(move || victim.alloc(LARGE).unwrap())
        },
    },
    Row {
        name: "alloc large, none left",
        covers: &["Arena::alloc"],
        mutants: &[],
        scene: |stage| {
            let victim = stage.victim;
            Scene::of(move || assert!(victim.alloc(64 << 20).is_err()))
        },
    },
    Row {
        name: "alloc_zeroed large, warm and fresh granules",
        covers: &["Arena::alloc_zeroed"],
        mutants: &[],
        scene: |stage| {
            let victim = stage.victim;
            drop(victim.alloc(1 << 16).unwrap());
            Scene::of(move || victim.alloc_zeroed(LARGE).unwrap())
        },
    },
    Row {
        name: "free large",
        covers: &["Block::drop"],
        mutants: &[3, 6, 9],
        scene: |stage| {
            let mine = once(stage.victim.alloc(LARGE).unwrap());
            let theirs = once(stage.other.alloc(LARGE).unwrap());
            Scene::of(move || drop(mine())).rival(move || drop(theirs()))
        },
    },
    Row {
        name: "shrink_to large",
        covers: &["Block::shrink_to"],
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
        covers: &["Arena::audit"],
        mutants: &[],
        scene: |stage| {
            let victim = stage.victim;
            std::mem::forget(victim.alloc(LARGE).unwrap());
            Scene::of(move || victim.alloc(LARGE).unwrap()).quarantine()
        },
    },
];
