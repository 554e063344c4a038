//! Slots of processes, records of threads, the lock of the granules.

use super::stage::free_slots;
use super::{Row, Scene};

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "reserve a slot",
        covers: &["slots::reserve"],
        mutants: &[5],
        scene: |stage| {
            let (victim, other, last) = (stage.victim, stage.other, stage.last);
            Scene::of(move || victim.reserve().unwrap())
                .rival(move || other.reserve().unwrap())
                .view(move || format!("{} slots free", free_slots(last)))
        },
    },
    Row {
        name: "release a slot",
        covers: &["slots::release"],
        mutants: &[],
        scene: |stage| {
            let (victim, last) = (stage.victim, stage.last);
            let child = victim.reserve().unwrap();
            victim.set_dead(child);
            victim.audit(child, false).unwrap();
            Scene::of(move || victim.release(child)).view(move || format!("{} slots free", free_slots(last)))
        },
    },
    Row {
        name: "write a note over another",
        covers: &["slots::write_note"],
        mutants: &[],
        scene: |stage| {
            let (victim, last) = (stage.victim, stage.last);
            victim.write_note(victim.me(), 1, b"first");
            Scene::of(move || victim.write_note(victim.me(), 2, b"a longer one")).view(move || {
                // A note half-written is none; never is it a mixture.
                match last.read_note(victim.me()) {
                    None => "a note or none".to_owned(),
                    Some((1, text)) if text == b"first" => "a note or none".to_owned(),
                    Some((2, text)) if text == b"a longer one" => "a note or none".to_owned(),
                    other => format!("{other:?}"),
                }
            })
        },
    },
    Row {
        name: "claim a thread record",
        covers: &["thread::thread"],
        mutants: &[13],
        scene: |stage| {
            let (victim, other) = (stage.victim, stage.other);
            victim.return_thread();
            other.return_thread();
            Scene::of(move || victim.claim_thread().unwrap()).rival(move || other.claim_thread().unwrap())
        },
    },
    Row {
        name: "return a thread record",
        covers: &["thread::drop"],
        mutants: &[],
        scene: |stage| {
            let victim = stage.victim;
            Scene::of(move || victim.return_thread())
        },
    },
    Row {
        name: "lock and unlock, free",
        covers: &["owner_lock::lock", "owner_lock::unlock"],
        mutants: &[],
        scene: |stage| {
            let (victim, other) = (stage.victim, stage.other);
            Scene::of(move || drop(victim.lock_granules().unwrap())).rival(move || drop(other.lock_granules().unwrap()))
        },
    },
    Row {
        name: "lock, held by another",
        covers: &["owner_lock::lock"],
        mutants: &[],
        scene: |stage| {
            let (victim, other) = (stage.victim, stage.other);
            Scene::of(move || drop(victim.lock_granules().unwrap())).holder(move || other.lock_granules().unwrap())
        },
    },
    Row {
        name: "lock, held by a dead process",
        covers: &["owner_lock::take_over"],
        mutants: &[],
        scene: |stage| {
            let (victim, dead) = (stage.victim, stage.bystander());
            std::mem::forget(dead.lock_granules().unwrap());
            stage.root.set_dead(dead.me());
            Scene::of(move || drop(victim.lock_granules().unwrap()))
        },
    },
];
