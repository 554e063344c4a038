//! Blocks that belong to blocks.

use super::stage::once;
use super::{Row, Scene, Stage};
use offspring::testing::Block;

const LARGE: usize = 100_000;

/// A block of the other process, and its id.
fn parent(stage: &Stage) -> (Block, u64) {
    let parent = stage.other.alloc(LARGE).unwrap();
    let id = parent.id();
    (parent, id)
}

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "adopt_into, parent held by another",
        covers: &["block::adopt_into"],
        mutants: &[4],
        scene: |stage| {
            let (parent, id) = parent(stage);
            std::mem::forget(parent);
            let block = once(stage.victim.alloc(LARGE).unwrap());
            let rival = once(stage.other.alloc(LARGE).unwrap());
            // The parent goes with its holder, which may be killed meanwhile.
            Scene::of(move || block().adopt_into(id)).rival(move || rival().adopt_into(id))
        },
    },
    Row {
        name: "adopt_into, parent has a child",
        covers: &["block::adopt_into"],
        mutants: &[4],
        scene: |stage| {
            let (parent, id) = parent(stage);
            std::mem::forget(parent);
            stage.other.alloc(LARGE).unwrap().adopt_into(id).unwrap();
            let block = once(stage.victim.alloc(LARGE).unwrap());
            Scene::of(move || block().adopt_into(id).unwrap())
        },
    },
    Row {
        name: "adopt_into, while the parent is freed",
        covers: &["block::adopt_into", "block::drop"],
        mutants: &[],
        scene: |stage| {
            let (parent, id) = parent(stage);
            let parent = once(parent);
            stage.other.alloc(LARGE).unwrap().adopt_into(id).unwrap();
            let block = once(stage.victim.alloc(LARGE).unwrap());
            Scene::of(move || block().adopt_into(id)).rival(move || drop(parent()))
        },
    },
    Row {
        name: "adopt_into, parent gone",
        covers: &["block::adopt_into"],
        mutants: &[],
        scene: |stage| {
            let (parent, id) = parent(stage);
            drop(parent);
            let block = once(stage.victim.alloc(LARGE).unwrap());
            Scene::of(move || assert!(block().adopt_into(id).is_err()))
        },
    },
    Row {
        name: "free a parent of two, one of which has a child",
        covers: &["block::drop"],
        mutants: &[7],
        scene: |stage| {
            let root = stage.victim.alloc(LARGE).unwrap();
            for at in 0..2 {
                let child = stage.other.alloc(LARGE).unwrap();
                if at == 1 {
                    stage.victim.alloc(LARGE).unwrap().adopt_into(child.id()).unwrap();
                }
                child.adopt_into(root.id()).unwrap();
            }
            let root = once(root);
            Scene::of(move || drop(root()))
        },
    },
    Row {
        name: "die of a fault with a parent in hand",
        covers: &["audit::audit"],
        mutants: &[],
        scene: |stage| {
            let root = stage.victim.alloc(LARGE).unwrap();
            stage.other.alloc(LARGE).unwrap().adopt_into(root.id()).unwrap();
            let root = once(root);
            Scene::of(move || drop(root())).quarantine()
        },
    },
    Row {
        name: "adopt_into, small into small",
        covers: &["block::adopt_into"],
        mutants: &[4],
        scene: |stage| {
            let parent = stage.other.alloc(64).unwrap();
            let id = parent.id();
            std::mem::forget(parent);
            let block = once(stage.victim.alloc(64).unwrap());
            let rival = once(stage.other.alloc(64).unwrap());
            Scene::of(move || block().adopt_into(id)).rival(move || rival().adopt_into(id))
        },
    },
    Row {
        name: "free a small parent of small children, while its child's holder frees, too",
        covers: &["block::drop"],
        mutants: &[7],
        scene: |stage| {
            let parent = stage.victim.alloc(64).unwrap();
            stage.other.alloc(64).unwrap().adopt_into(parent.id()).unwrap();
            stage.victim.alloc(700).unwrap().adopt_into(parent.id()).unwrap();
            let parent = once(parent);
            let theirs = once(stage.other.alloc(64).unwrap());
            Scene::of(move || drop(parent())).rival(move || drop(theirs()))
        },
    },
];
