//! A pool's workers: claim a chunk, run its items, commit; and what its process does about the death of one.
#![allow(unsafe_code)]

use super::stage::{Counts, overwrite_free};
use super::{Row, Scene, Stage};
use offspring::Message;
use offspring::testing::Arena;
use offspring::testing::pool::{Ends, FlowTable, Table};

/// A job of squares, with the victim and the other in their seats.
fn lay(stage: &Stage, items: usize, chunk: usize, retries: u32) -> &'static Table {
    let table = Box::leak(Box::new(Table::lay(stage.last, items, chunk, retries)));
    table.sit(0, stage.victim.me());
    table.sit(1, stage.other.me());
    table
}

/// The same of a flow.
fn lay_flow(stage: &Stage, items: usize, chunk: usize, retries: u32) -> &'static FlowTable {
    let table = Box::leak(Box::new(FlowTable::lay_flow(stage.last, items, chunk, retries)));
    table.sit(0, stage.victim.me());
    table.sit(1, stage.other.me());
    table
}

/// What may come of a job's items.
#[derive(Clone, Copy)]
struct Expected {
    items: usize,
    /// So many first items have failed for sure.
    failed: usize,
    /// So many others may have.
    may_fail: usize,
    /// So many may be lost with their workers.
    may_be_lost: usize,
}

/// Settles the dead, lets another worker do what is left, and looks at every item's end.
fn judge<R: Message>(stage: &Stage, table: &'static Table<R>, expected: Expected) -> impl Fn() -> String + 'static
where
    Table<R>: Ends,
{
    let (dead, last): ([Arena; 2], Arena) = ([stage.victim, stage.other], stage.last);
    move || {
        // Memory that the dead still had, and the job did not, is somebody else's now.
        overwrite_free(last);
        for member in dead {
            table.settle(member.me());
        }
        let once = table.ends();
        for member in dead {
            table.settle(member.me());
        }
        assert_eq!(once, table.ends(), "a second settling changes something");
        table.sit(2, last.me());
        table.work(last, 2);
        assert!(table.wait(), "a caller would wait for ever: {:?}", table.ends());
        let outcome = table.ends();
        assert_eq!(outcome.len(), expected.items);
        assert!(outcome[..expected.failed].iter().all(|end| end == "NotSendable"), "{outcome:?}");
        let rest = outcome.iter().enumerate().skip(expected.failed);
        let odd: Vec<&String> =
            rest.filter(|(item, end)| **end != format!("={}", item * item)).map(|it| it.1).collect();
        let failed = odd.iter().filter(|end| *end == &"NotSendable").count();
        let lost = odd.iter().filter(|end| end.contains("Died")).count();
        let fine = failed <= expected.may_fail && lost <= expected.may_be_lost && failed + lost == odd.len();
        assert!(fine, "{outcome:?}");
        "every item ended once".to_owned()
    }
}

/// As [`judge`], and then the job is freed: what its chunks gave lies in blocks of the workers that made them, so how many blocks it has depends on
/// who came first. None may stay.
fn judge_and_free(stage: &Stage, table: &'static FlowTable, expected: Expected) -> impl Fn() -> String + 'static {
    let judge = judge(stage, table, expected);
    move || {
        let seen = judge();
        // SAFETY: this process judges once, and ends then: nobody looks at the table again. It was leaked, so nobody else drops it.
        unsafe { std::ptr::drop_in_place(std::ptr::from_ref(table).cast_mut()) };
        seen
    }
}

/// Looks at all that was said: whole, each once, and nothing else. The first `surely` of what is expected are there, if nothing came after.
fn hear(stage: &Stage, table: &'static Table, surely: usize, expected: &[&str]) -> impl Fn() -> String + 'static {
    let (last, expected): (Arena, Vec<String>) = (stage.last, expected.iter().map(|text| (*text).to_owned()).collect());
    move || {
        overwrite_free(last);
        let told = table.told();
        assert!(told.iter().all(|text| expected.contains(text)), "{told:?}");
        assert!(told.iter().enumerate().all(|(at, text)| !told[..at].contains(text)), "{told:?}");
        assert!(told.len() >= surely, "{told:?}");
        "what was said is whole".to_owned()
    }
}

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "pool: work on one item",
        covers: &["claim::claim", "claim::commit", "settle::settle"],
        // The other mistakes cannot be seen in item 0 of chunk 0: zeros are right there.
        mutants: &[103],
        scene: |stage| {
            let (victim, table) = (stage.victim, lay(stage, 1, 1, 0));
            Scene::of(move || table.work(victim, 0)).payloads().view(judge(
                stage,
                table,
                Expected { items: 1, failed: 0, may_fail: 0, may_be_lost: 1 },
            ))
        },
    },
    Row {
        name: "pool: work on three chunks of two",
        covers: &["claim::claim", "claim::commit", "settle::settle"],
        mutants: &[101, 102, 103],
        scene: |stage| {
            let (victim, other, table) = (stage.victim, stage.other, lay(stage, 6, 2, 0));
            Scene::of(move || table.work(victim, 0)).payloads().rival(move || table.work(other, 1)).view(judge(
                stage,
                table,
                Expected { items: 6, failed: 0, may_fail: 0, may_be_lost: 2 },
            ))
        },
    },
    Row {
        name: "pool: work on three chunks of two, with a second try",
        covers: &["claim::claim", "claim::commit", "settle::settle"],
        mutants: &[101, 102, 103],
        scene: |stage| {
            let (victim, table) = (stage.victim, lay(stage, 6, 2, 1));
            Scene::of(move || table.work(victim, 0)).payloads().view(judge(
                stage,
                table,
                Expected { items: 6, failed: 0, may_fail: 0, may_be_lost: 0 },
            ))
        },
    },
    Row {
        name: "pool: work on three chunks of two of a flow",
        covers: &["claim::claim", "claim::commit", "settle::settle"],
        mutants: &[101, 102, 103],
        scene: |stage| {
            let (victim, other, table) = (stage.victim, stage.other, lay_flow(stage, 6, 2, 0));
            Scene::of(move || table.work(victim, 0))
                .payloads()
                .rival(move || table.work(other, 1))
                .counts(Counts::Blocks)
                .view(judge_and_free(stage, table, Expected { items: 6, failed: 0, may_fail: 0, may_be_lost: 2 }))
        },
    },
    Row {
        name: "pool: work on three chunks of two of a flow, with a second try",
        covers: &["claim::claim", "claim::commit", "settle::settle"],
        mutants: &[101, 102, 103],
        scene: |stage| {
            let (victim, table) = (stage.victim, lay_flow(stage, 6, 2, 1));
            Scene::of(move || table.work(victim, 0)).payloads().counts(Counts::Blocks).view(judge_and_free(
                stage,
                table,
                Expected { items: 6, failed: 0, may_fail: 0, may_be_lost: 0 },
            ))
        },
    },
    Row {
        name: "pool: a second item fails",
        covers: &["fault::push_fault", "claim::commit", "settle::settle"],
        mutants: &[104],
        scene: |stage| {
            let (victim, other, table) = (stage.victim, stage.other, lay(stage, 3, 1, 0));
            table.fail(other, 1);
            Scene::of(move || table.fail(victim, 0)).payloads().rival(move || table.work(other, 1)).view(judge(
                stage,
                table,
                Expected { items: 3, failed: 1, may_fail: 1, may_be_lost: 2 },
            ))
        },
    },
    Row {
        name: "pool: a second item fails, with a second try",
        covers: &["fault::push_fault", "claim::commit", "settle::settle"],
        mutants: &[104],
        scene: |stage| {
            let (victim, other, table) = (stage.victim, stage.other, lay(stage, 3, 1, 1));
            table.fail(other, 1);
            Scene::of(move || table.fail(victim, 0)).payloads().view(judge(
                stage,
                table,
                Expected { items: 3, failed: 1, may_fail: 1, may_be_lost: 0 },
            ))
        },
    },
    Row {
        name: "pool: two tasks note something",
        covers: &["told::push_note"],
        mutants: &[106],
        scene: |stage| {
            let (victim, other, table) = (stage.victim, stage.other, lay(stage, 3, 1, 0));
            table.note(stage.first, 0, "said before");
            Scene::of(move || table.note(victim, 1, "by the victim"))
                .payloads()
                .rival(move || table.note(other, 2, "by the other one"))
                .view(hear(stage, table, 1, &["0: said before", "1: by the victim", "2: by the other one"]))
        },
    },
    Row {
        name: "pool: two tasks emit values",
        covers: &["told::push_value"],
        mutants: &[106],
        scene: |stage| {
            let (victim, other, table) = (stage.victim, stage.other, lay(stage, 3, 1, 0));
            let value = |by: &str| vec![format!("a text that is too long to lie in the slot, by {by}"), by.to_owned()];
            let (mine, its) = (value("the victim"), value("the other one"));
            table.note(stage.first, 0, "said before");
            let expected = ["0: said before".to_owned(), format!("1: {mine:?}"), format!("2: {its:?}")];
            Scene::of(move || table.emit(victim, 1, &mine))
                .payloads()
                .rival(move || table.emit(other, 2, &its))
                .view(hear(stage, table, 1, &expected.each_ref().map(String::as_str)))
        },
    },
    Row {
        name: "pool: the last note is written over",
        covers: &["told::push_last", "told::write"],
        mutants: &[107],
        scene: |stage| {
            let (victim, table) = (stage.victim, lay(stage, 3, 1, 0));
            let place = table.last_place(victim, 1);
            place.write("the first of many");
            place.write("then another");
            Scene::of(move || place.write("and the last one of all")).payloads().view(hear(
                stage,
                table,
                1,
                &["1: then another", "1: and the last one of all"],
            ))
        },
    },
    Row {
        name: "pool: work on three chunks of two that is written down",
        covers: &["record::begin", "record::end", "record::close", "claim::commit", "settle::settle"],
        mutants: &[108],
        scene: |stage| {
            let table: &Table = Box::leak(Box::new(Table::lay_recorded(stage.last, 6, 2)));
            table.sit(0, stage.victim.me());
            table.sit(1, stage.other.me());
            let (victim, other) = (stage.victim, stage.other);
            let judged = judge(stage, table, Expected { items: 6, failed: 0, may_fail: 0, may_be_lost: 2 });
            Scene::of(move || table.work(victim, 0)).payloads().rival(move || table.work(other, 1)).view(move || {
                let said = judged();
                assert_eq!(table.without_record(), [0usize; 0], "{:?}", table.ends());
                said
            })
        },
    },
];
