//! Queues and pipes: put, taken, closed, done, and left.

use super::stage::{Counts, once};
use super::{Row, Scene, Stage};
use offspring::pipe::{Receiver, Sender};
use offspring::testing::queue::{self, OnStage};
use offspring::{ErrorKind, JoinableQueue, Queue, QueueError};

type Bytes = Vec<u8>;

/// Lies in a record.
const SHORT: usize = 40;
/// Lies in a small block.
const LONG: usize = 5000;
/// Lies in a large block.
const HUGE: usize = 100_000;

fn leak<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

/// The queue as the victim, the other and the last survivor have it. They live as long as the stage.
fn all<Q: OnStage + 'static>(stage: &Stage, it: Q) -> [&'static Q; 3] {
    let [victim, other] = [stage.victim, stage.other].map(|member| it.open(member));
    [leak(victim), leak(other), leak(it)]
}

fn scene<T: 'static>(operation: impl Fn() -> T + 'static) -> Scene {
    Scene::of(operation).payloads().counts(Counts::Blocks)
}

fn item(mark: u8, len: usize) -> Bytes {
    vec![mark; len]
}

/// A queue with items of this length, marked 1, 2, ..
fn filled(stage: &Stage, capacity: u32, items: u8, len: usize) -> [&'static Queue<Bytes>; 3] {
    let it = queue::queue(stage.last, capacity).unwrap();
    (1..=items).for_each(|mark| it.put(&item(mark, len)).unwrap());
    all(stage, it)
}

/// A queue whose newest segment has no room for another short item.
fn brimful(stage: &Stage) -> [&'static Queue<Bytes>; 3] {
    let it = queue::queue(stage.last, 0).unwrap();
    // The first segment has 2 to 3 KiB.
    (1..=4).for_each(|mark| it.put(&item(mark, 500)).unwrap());
    while it.testing_room() > 120 {
        it.put(&item(9, SHORT)).unwrap();
    }
    all(stage, it)
}

fn whole(item: &[u8]) -> String {
    assert!(item.iter().all(|byte| *byte == item[0]), "half an item");
    format!("{}x{}", item[0], item.len())
}

/// What is in a queue, which works: anything can be put and taken.
fn contents(it: &Queue<Bytes>) -> String {
    let seen: Vec<String> = it.drain().map(|item| whole(&item.unwrap())).collect();
    assert!(it.is_empty(), "{} items wait, and none can be taken", it.len());
    let closed = it.is_closed();
    if !closed {
        let most = it.capacity().unwrap_or(40);
        let len = |mark: usize| if mark.is_multiple_of(5) { LONG } else { 300 };
        (0..most).for_each(|mark| it.try_put(&item(mark as u8, len(mark))).unwrap());
        assert_eq!(it.len(), most);
        for mark in 0..most {
            assert_eq!(it.try_get().unwrap(), item(mark as u8, len(mark)));
        }
    }
    format!("{seen:?}{}", if closed { ", closed" } else { "" })
}

/// The same, where it depends on how far somebody else came.
fn one_of(it: &Queue<Bytes>, may_be: &[&str]) -> String {
    let seen = contents(it);
    assert!(may_be.contains(&&*seen), "{seen}");
    String::new()
}

type Words = [u64; 5];

/// A queue with so many items that are nothing but bytes, marked 1, 2, ..
///
/// The victim is the last to have used it: only one who has its thread's record at hand goes the short way.
fn words(stage: &Stage, capacity: u32, items: u64) -> [&'static Queue<Words>; 3] {
    let it = queue::queue(stage.last, capacity).unwrap();
    let [mine, theirs, it] = all(stage, it);
    it.put(&[0; 5]).unwrap();
    mine.get().unwrap();
    (1..=items).for_each(|mark| mine.put(&[mark; 5]).unwrap());
    [mine, theirs, it]
}

/// The marks of what is in a queue, which works.
fn words_in(it: &Queue<Words>) -> String {
    let marks = |item: Result<Words, _>| {
        let item = item.unwrap();
        assert_eq!(item, [item[0]; 5], "half an item");
        item[0]
    };
    let seen: Vec<u64> = it.drain().map(marks).collect();
    assert!(it.is_empty(), "{} items wait, and none can be taken", it.len());
    let most = it.capacity().unwrap_or(500) as u64;
    (0..most).for_each(|mark| it.try_put(&[mark; 5]).unwrap());
    assert_eq!(it.drain().map(marks).collect::<Vec<u64>>(), (0..most).collect::<Vec<u64>>());
    format!("{seen:?}")
}

fn jobs(stage: &Stage, items: u8) -> [&'static JoinableQueue<Bytes>; 3] {
    let it = queue::joinable(stage.last, 0).unwrap();
    (1..=items).for_each(|mark| it.put(&item(mark, SHORT)).unwrap());
    all(stage, it)
}

/// What a joinable queue still has to do, which can be done.
fn unfinished(it: &JoinableQueue<Bytes>) -> String {
    let mut seen = Vec::new();
    while let Ok(job) = it.try_take() {
        seen.push(whole(&job.value().unwrap()));
        job.done().unwrap();
    }
    assert_eq!(it.unfinished(), 0, "items are lost: {seen:?}");
    assert!(it.join_timeout(std::time::Duration::from_millis(300)).unwrap());
    it.put(&item(7, LONG)).unwrap();
    assert_eq!(it.get().unwrap(), item(7, LONG));
    it.task_done().unwrap();
    assert_eq!(it.task_done().unwrap_err().kind(), ErrorKind::InvalidInput);
    seen.sort();
    format!("{seen:?}")
}

/// A pipe: the victim sends, the other receives, and the last survivor can do both.
fn pipe(stage: &Stage) -> (&'static Sender<Bytes>, &'static Receiver<Bytes>, &'static Receiver<Bytes>) {
    let (tx, rx) = queue::pipe(stage.other, stage.victim).unwrap();
    let last = rx.open(stage.last);
    (leak(tx), leak(rx), leak(last))
}

/// Does something when it is dropped.
struct Later<F: Fn()>(F);

impl<F: Fn()> Drop for Later<F> {
    fn drop(&mut self) {
        self.0();
    }
}

fn ended<T>(result: Result<T, QueueError>) -> bool {
    result.is_err_and(|error| error.kind() == ErrorKind::Closed)
}

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "queue: put a short item, empty",
        covers: &["put::put", "core::put", "ring::lock_put", "mod::put"],
        mutants: &[401, 402],
        scene: |stage| {
            let [mine, theirs, it] = filled(stage, 0, 0, SHORT);
            scene(move || mine.put(&item(1, SHORT)).unwrap())
                .rival(move || theirs.put(&item(2, 2 * SHORT)).unwrap())
                .view(move || contents(it))
        },
    },
    Row {
        name: "queue: put a short item, others wait",
        covers: &["put::put"],
        mutants: &[401, 402],
        scene: |stage| {
            let [mine, theirs, it] = filled(stage, 4, 2, SHORT);
            scene(move || mine.put(&item(8, SHORT)).unwrap())
                .rival(move || theirs.get().unwrap())
                .view(move || contents(it))
        },
    },
    Row {
        name: "queue: put into the last room",
        covers: &["put::put", "mod::try_put"],
        mutants: &[],
        scene: |stage| {
            let [mine, theirs, it] = filled(stage, 2, 1, SHORT);
            scene(move || mine.try_put(&item(8, SHORT)))
                .rival(move || theirs.try_put(&item(9, SHORT)))
                .view(move || contents(it))
        },
    },
    Row {
        name: "queue: put while full",
        covers: &["put::put", "put::has_room"],
        mutants: &[],
        scene: |stage| {
            let [mine, theirs, it] = filled(stage, 2, 2, SHORT);
            scene(move || mine.try_put(&item(8, SHORT)))
                .rival(move || theirs.try_get().map(drop))
                .view(move || contents(it))
        },
    },
    Row {
        name: "queue: put a block",
        covers: &["put::put", "ring::apply", "ring::commit"],
        mutants: &[403, 407],
        scene: |stage| {
            let [mine, theirs, it] = filled(stage, 0, 1, LONG);
            let (long, other) =
                (once(mine.prepare(&item(8, LONG)).unwrap()), once(theirs.prepare(&item(9, LONG)).unwrap()));
            scene(move || mine.put_prepared(long()).unwrap())
                .rival(move || theirs.put_prepared(other()).unwrap())
                .view(move || contents(it))
        },
    },
    Row {
        name: "queue: put a large block, while somebody takes",
        covers: &["put::put"],
        mutants: &[403],
        scene: |stage| {
            let [mine, theirs, it] = filled(stage, 0, 0, HUGE);
            let huge = once(mine.prepare(&item(8, HUGE)).unwrap());
            scene(move || mine.put_prepared(huge()).unwrap())
                .rival(move || theirs.try_get().map(drop))
                .view(move || contents(it))
        },
    },
    Row {
        name: "queue: put where a new segment is needed",
        covers: &["put::put", "ring::apply"],
        mutants: &[403],
        scene: |stage| {
            let [mine, theirs, it] = brimful(stage);
            scene(move || mine.put(&item(8, 300)).unwrap())
                .rival(move || theirs.put(&item(9, 300)).unwrap())
                .view(move || contents(it))
        },
    },
    Row {
        name: "queue: put where a new segment is needed, while somebody takes",
        covers: &["put::put"],
        mutants: &[],
        scene: |stage| {
            let [mine, theirs, it] = brimful(stage);
            scene(move || mine.put(&item(8, 300)).unwrap())
                .rival(move || theirs.get().unwrap())
                .view(move || contents(it))
        },
    },
    Row {
        name: "queue: put, somebody sleeps",
        covers: &["bell::ring", "bell::wait", "bell::arm", "bell::sleep", "bell::is_armed"],
        mutants: &[],
        scene: |stage| {
            let [mine, theirs, it] = filled(stage, 0, 0, SHORT);
            scene(move || mine.put(&item(1, SHORT)).unwrap())
                .sleeper(move || theirs.get().unwrap(), move || !it.is_empty())
                .counts(Counts::Nothing)
                .view(move || one_of(it, &["[]", "[\"1x40\"]"]))
        },
    },
    Row {
        name: "queue: get, nothing there until somebody puts",
        covers: &["bell::sleep"],
        mutants: &[408],
        scene: |stage| {
            let [mine, theirs, it] = filled(stage, 0, 0, SHORT);
            scene(move || mine.get().unwrap())
                .holder(move || Later(move || theirs.put(&item(1, SHORT)).unwrap()))
                .counts(Counts::Nothing)
                .view(move || one_of(it, &["[]", "[\"1x40\"]"]))
        },
    },
    Row {
        name: "queue: put, no room until somebody takes",
        covers: &["bell::sleep"],
        mutants: &[408],
        scene: |stage| {
            let [mine, theirs, it] = filled(stage, 1, 1, SHORT);
            scene(move || mine.put(&item(8, SHORT)).unwrap())
                .holder(move || Later(move || drop(theirs.get().unwrap())))
                .counts(Counts::Nothing)
                .view(move || one_of(it, &["[\"1x40\"]", "[]", "[\"8x40\"]"]))
        },
    },
    Row {
        name: "queue: get a short item, the last",
        covers: &["get::take", "core::take", "ring::lock_get", "mod::get"],
        mutants: &[],
        scene: |stage| {
            let [mine, theirs, it] = filled(stage, 4, 1, SHORT);
            scene(move || mine.try_get().map(drop)).rival(move || theirs.try_get().map(drop)).view(move || contents(it))
        },
    },
    Row {
        name: "queue: get a short item, full",
        covers: &["get::take"],
        mutants: &[],
        scene: |stage| {
            let [mine, theirs, it] = filled(stage, 3, 3, SHORT);
            scene(move || mine.get().unwrap()).rival(move || theirs.get().unwrap()).view(move || contents(it))
        },
    },
    Row {
        name: "queue: get, somebody sleeps for room",
        covers: &["bell::ring"],
        mutants: &[],
        scene: |stage| {
            let [mine, theirs, it] = filled(stage, 2, 2, SHORT);
            scene(move || mine.get().unwrap())
                .sleeper(move || theirs.put(&item(9, SHORT)).unwrap(), move || !it.is_full())
                .counts(Counts::Nothing)
                .view(move || {
                    let may_be = ["[\"1x40\", \"2x40\"]", "[\"2x40\"]", "[\"2x40\", \"9x40\"]"];
                    one_of(it, &may_be)
                })
        },
    },
    Row {
        name: "queue: get a block",
        covers: &["get::take", "ring::begin", "ring::end"],
        mutants: &[404, 407],
        scene: |stage| {
            let [mine, theirs, it] = filled(stage, 0, 2, LONG);
            scene(move || mine.get().unwrap()).rival(move || theirs.get().unwrap()).view(move || contents(it))
        },
    },
    Row {
        name: "queue: take a block, to be read in place",
        covers: &["get::take", "mod::take"],
        mutants: &[404],
        scene: |stage| {
            let [mine, theirs, it] = filled(stage, 0, 1, HUGE);
            scene(move || mine.take().unwrap())
                .rival(move || theirs.put(&item(9, SHORT)).unwrap())
                .view(move || contents(it))
        },
    },
    Row {
        name: "queue: get from the next segment",
        covers: &["get::take", "get::follow"],
        mutants: &[404],
        scene: |stage| {
            let it = queue::queue(stage.last, 0).unwrap();
            // Past the first segment, so that one that is left is a block.
            let mut mark = 0;
            while it.segments() < 2 {
                mark += 1;
                it.put(&item(mark, 1500)).unwrap();
            }
            while !it.is_to_leave_block() {
                it.get().unwrap();
            }
            let [mine, theirs, it] = all(stage, it);
            scene(move || mine.get().unwrap())
                .rival(move || theirs.put(&item(99, SHORT)).unwrap())
                .view(move || contents(it))
        },
    },
    // An item that is nothing but its bytes goes from the value into the record and back, without a message being written.
    Row {
        name: "queue: put a plain item, others wait",
        covers: &["put::put_at_once", "core::send_bytes", "owner_lock::try_lock"],
        mutants: &[401, 402],
        scene: |stage| {
            let [mine, theirs, it] = words(stage, 4, 2);
            scene(move || mine.put(&[8; 5]).unwrap())
                .rival(move || theirs.put(&[9; 5]).unwrap())
                .view(move || words_in(it))
        },
    },
    Row {
        name: "queue: put a plain item, no room until somebody takes",
        covers: &["pace::spin_for_room"],
        mutants: &[408],
        scene: |stage| {
            let [mine, theirs, it] = words(stage, 1, 1);
            scene(move || mine.put(&[8; 5]).unwrap())
                .holder(move || Later(move || assert_eq!(theirs.get(), Ok([1; 5]))))
                .counts(Counts::Nothing)
                .view(move || {
                    let seen = words_in(it);
                    assert!(["[1]", "[]", "[8]"].contains(&&*seen), "{seen}");
                    String::new()
                })
        },
    },
    Row {
        name: "queue: get a plain item, full",
        covers: &["get::take_at_once", "core::receive_bytes"],
        mutants: &[],
        scene: |stage| {
            let [mine, theirs, it] = words(stage, 3, 3);
            scene(move || mine.get().unwrap()).rival(move || theirs.try_get()).view(move || words_in(it))
        },
    },
    Row {
        name: "queue: get a plain item, the last, while somebody puts",
        covers: &["get::take_at_once"],
        mutants: &[],
        scene: |stage| {
            let [mine, theirs, it] = words(stage, 0, 1);
            scene(move || mine.try_get().unwrap())
                .rival(move || theirs.put(&[9; 5]).unwrap())
                .view(move || words_in(it))
        },
    },
    Row {
        name: "queue: close",
        covers: &["put::close", "core::close", "mod::close"],
        mutants: &[],
        scene: |stage| {
            let [mine, theirs, it] = filled(stage, 0, 1, SHORT);
            scene(move || mine.close().unwrap()).rival(move || theirs.put(&item(9, SHORT))).view(move || contents(it))
        },
    },
    Row {
        name: "queue: close, somebody sleeps",
        covers: &["put::close", "bell::ring_all", "ring::ring_all"],
        mutants: &[],
        scene: |stage| {
            let [mine, theirs, it] = filled(stage, 0, 0, SHORT);
            scene(move || mine.close().unwrap())
                .sleeper(move || ended(theirs.get()), move || it.is_closed())
                .view(move || contents(it))
        },
    },
    Row {
        name: "queue: drop the last handle, with items of all kinds and two segments",
        covers: &["core::destroy"],
        mutants: &[],
        scene: |stage| {
            let it = queue::queue::<Bytes>(stage.victim, 0).unwrap();
            for mark in 1..=3 {
                it.put(&item(mark, 1500)).unwrap();
                it.put(&item(mark, LONG)).unwrap();
            }
            it.put(&item(4, HUGE)).unwrap();
            let it = once(it);
            scene(move || drop(it()))
        },
    },
    Row {
        name: "queue: drop one of the last two handles",
        covers: &["core::destroy"],
        mutants: &[],
        scene: |stage| {
            let it = queue::queue::<Bytes>(stage.victim, 0).unwrap();
            it.put(&item(1, LONG)).unwrap();
            let (theirs, mine) = (once(it.open(stage.other)), once(it));
            scene(move || drop(mine())).rival(move || drop(theirs()))
        },
    },
    Row {
        name: "joinable: put",
        covers: &["put::put"],
        mutants: &[403],
        scene: |stage| {
            let [mine, theirs, it] = jobs(stage, 1);
            scene(move || mine.put(&item(8, SHORT)).unwrap())
                .rival(move || theirs.try_get().unwrap())
                .view(move || unfinished(it))
        },
    },
    Row {
        name: "joinable: take a job, the first",
        covers: &["jobs::take_job", "jobs::apply", "core::take_job"],
        mutants: &[405, 409],
        scene: |stage| {
            let [mine, theirs, it] = jobs(stage, 2);
            scene(move || mine.take().unwrap()).rival(move || theirs.take().unwrap()).view(move || unfinished(it))
        },
    },
    Row {
        name: "joinable: take another job",
        covers: &["jobs::take_job"],
        mutants: &[405],
        scene: |stage| {
            let [mine, theirs, it] = jobs(stage, 3);
            theirs.take().unwrap().done().unwrap();
            scene(move || mine.get().unwrap()).rival(move || theirs.get().unwrap()).view(move || unfinished(it))
        },
    },
    Row {
        name: "joinable: take a job that came back",
        covers: &["jobs::take_job", "jobs::give_back", "jobs::came_back"],
        mutants: &[409],
        scene: |stage| {
            let [mine, theirs, it] = jobs(stage, 1);
            drop(it.take().unwrap());
            scene(move || mine.try_take()).rival(move || theirs.try_take()).view(move || unfinished(it))
        },
    },
    Row {
        name: "joinable: done",
        covers: &["jobs::end_job", "core::end_job", "joinable::done"],
        mutants: &[406],
        scene: |stage| {
            let [mine, theirs, it] = jobs(stage, 2);
            let job = once(mine.take().unwrap());
            scene(move || job().done().unwrap()).rival(move || theirs.take().unwrap()).view(move || unfinished(it))
        },
    },
    Row {
        name: "joinable: task_done",
        covers: &["jobs::end_gotten", "core::end_gotten", "joinable::task_done"],
        mutants: &[406],
        scene: |stage| {
            let [mine, theirs, it] = jobs(stage, 2);
            mine.get().unwrap();
            scene(move || mine.task_done().unwrap()).rival(move || theirs.get().unwrap()).view(move || unfinished(it))
        },
    },
    Row {
        name: "joinable: give a job back",
        covers: &["jobs::give_back", "core::give_back"],
        mutants: &[409],
        scene: |stage| {
            let [mine, theirs, it] = jobs(stage, 2);
            let job = once(mine.take().unwrap());
            scene(move || drop(job())).rival(move || theirs.take().unwrap()).view(move || unfinished(it))
        },
    },
    Row {
        name: "joinable: done, somebody joins",
        covers: &["core::join", "jobs::is_idle", "jobs::undone"],
        mutants: &[],
        scene: |stage| {
            let [mine, theirs, it] = jobs(stage, 1);
            let job = once(mine.take().unwrap());
            scene(move || job().done().unwrap())
                .sleeper(move || theirs.join().unwrap(), move || it.unfinished() == 0)
                .view(move || unfinished(it))
        },
    },
    Row {
        name: "joinable: done, closed, somebody asks for the next job",
        covers: &["core::take_job", "jobs::is_idle"],
        mutants: &[409],
        scene: |stage| {
            let [mine, theirs, it] = jobs(stage, 1);
            let job = once(mine.take().unwrap());
            it.close().unwrap();
            // Done, or back and then done by the one who asked.
            let finish = move || {
                while let Some(job) = theirs.next_job().unwrap() {
                    job.done().unwrap();
                }
            };
            scene(move || job().done().unwrap())
                .sleeper(finish, move || it.unfinished() == 0)
                .counts(Counts::Nothing)
                .view(move || {
                    if let Some(job) = it.next_job_timeout(std::time::Duration::from_millis(300)).unwrap() {
                        job.done().unwrap();
                    }
                    assert!(it.try_next_job().unwrap().is_none());
                    String::new()
                })
        },
    },
    Row {
        name: "joinable: drop the last handle, with jobs",
        covers: &["core::destroy", "jobs::job_blocks", "jobs::parts"],
        mutants: &[],
        scene: |stage| {
            let it = queue::joinable::<Bytes>(stage.victim, 0).unwrap();
            (1..=3).for_each(|mark| it.put(&item(mark, SHORT)).unwrap());
            it.get().unwrap();
            let it = once(it);
            scene(move || drop(it()))
        },
    },
    Row {
        name: "pipe: send, the receiver sleeps",
        covers: &["core::put", "core::take"],
        mutants: &[],
        scene: |stage| {
            let (tx, rx, last) = pipe(stage);
            scene(move || tx.send(&item(1, SHORT)).unwrap())
                .sleeper(move || rx.recv().map(drop), move || !last.is_empty())
                .counts(Counts::Nothing)
                .view(move || {
                    assert!(last.try_iter().count() <= 1);
                    String::new()
                })
        },
    },
    Row {
        name: "pipe: receive, while the last sender sends and is dropped",
        covers: &["core::put", "core::take", "core::wake"],
        mutants: &[410],
        scene: |stage| {
            let (tx, rx) = queue::pipe::<Words>(stage.victim, stage.other).unwrap();
            let (last, tx) = (leak(rx.open(stage.last)), once(tx));
            // From here on the victim has its thread's record at hand.
            rx.try_recv().unwrap_err();
            let receive = move || {
                let end = ended(rx.try_recv());
                assert!(!end || rx.is_empty(), "the end came before an item that was sent");
            };
            let send = move || {
                let tx = tx();
                tx.send(&[1; 5]).unwrap();
            };
            scene(receive).rival(send).counts(Counts::Nothing).view(move || {
                assert!(last.try_iter().count() <= 1);
                String::new()
            })
        },
    },
    Row {
        name: "pipe: send to a receiver that goes",
        covers: &["core::put", "core::is_deaf_now"],
        mutants: &[412],
        scene: |stage| {
            let it = queue::pipe::<Words>(stage.other, stage.victim).unwrap();
            let (tx, rx) = (leak(it.0), once(it.1));
            let last = leak(tx.open(stage.last));
            let send = move || {
                let deaf = tx.is_closed();
                let sent = tx.send(&[1; 5]);
                assert!(!deaf || ended(sent), "something is sent to nobody");
            };
            scene(send).rival(move || drop(rx())).counts(Counts::Nothing).view(move || {
                let sent = last.try_send(&[2; 5]);
                assert_eq!(ended(sent), last.is_closed());
                String::new()
            })
        },
    },
    Row {
        name: "pipe: drop the last sender",
        covers: &["core::wake"],
        mutants: &[],
        scene: |stage| {
            let (tx, rx) = queue::pipe::<Bytes>(stage.other, stage.victim).unwrap();
            let (last, tx) = (leak(rx.open(stage.last)), once(tx));
            scene(move || drop(tx())).rival(move || rx.try_recv().map(drop)).view(move || match last.try_recv() {
                Err(error) if error.kind() == ErrorKind::Closed => "the end".to_owned(),
                other => panic!("a dead sender is there: {other:?}"),
            })
        },
    },
    // What the sender has woken before it forgot the pipe is not for its audit to wake again.
    Row {
        name: "pipe: receive, nothing there until the last sender is dropped",
        covers: &["core::wake", "core::take"],
        mutants: &[411],
        scene: |stage| {
            let (tx, rx) = queue::pipe::<Bytes>(stage.victim, stage.other).unwrap();
            let (last, tx) = (leak(rx.open(stage.last)), once(tx));
            scene(move || assert!(ended(rx.recv()))).holder(tx).counts(Counts::Nothing).view(move || {
                assert!(ended(last.try_recv()));
                String::new()
            })
        },
    },
];
