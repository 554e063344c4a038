//! Shared data: values, arrays, broadcasts, dictionaries, lists and namespaces.

use super::stage::{Counts, once};
use super::{Row, Scene, Stage};
use offspring::ErrorKind;
use offspring::shared::{Array, Dict, List, Namespace, Shared, Value};
use offspring::testing::shared::{self, OnStage};

/// Longer than a small block.
const LONG: usize = 40_000;
/// Not as long as that, and of a length that has blocks of its own.
const SHORT: usize = 150;

/// The thing as the victim, the other and the last survivor have it. They live as long as the stage.
fn all<L: OnStage + 'static>(stage: &Stage, it: L) -> [&'static L; 3] {
    let [victim, other] = [stage.victim, stage.other].map(|member| it.open(member));
    [leak(victim), leak(other), leak(it)]
}

fn leak<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

fn scene<T: 'static>(operation: impl Fn() -> T + 'static) -> Scene {
    Scene::of(operation).payloads().counts(Counts::Blocks)
}

fn value(with: u8, len: usize) -> Vec<u8> {
    vec![with; len]
}

/// What a long value says in short.
fn said(value: &[u8]) -> String {
    assert!(value.windows(2).all(|pair| pair[0] == pair[1]), "torn");
    format!("{}x{}", value.first().copied().unwrap_or(0), value.len())
}

/// Whichever value it is, as there are several operations: it is one.
fn whole(value: &[u8]) -> String {
    said(value);
    String::new()
}

type Bytes = Dict<u32, Vec<u8>>;

fn bytes(stage: &Stage, keys: u32) -> [&'static Bytes; 3] {
    let dict: Bytes = shared::dict(stage.last).unwrap();
    (0..keys).for_each(|key| dict.set(&key, &value(1, SHORT)).unwrap());
    all(stage, dict)
}

/// What the last survivor sees of a dictionary; that it is in order; and that nothing of it is left locked.
fn dict_seen(dict: &'static Bytes) -> impl Fn() -> String + 'static {
    move || {
        let mut pairs: Vec<_> = dict.iter().map(|pair| pair.unwrap()).collect();
        pairs.sort();
        assert_eq!(dict.len(), pairs.len());
        for (key, value) in &pairs {
            assert_eq!(dict.get(key).unwrap().as_ref(), Some(value));
        }
        // Every page can be changed.
        for key in 1_000..1_040 {
            assert_eq!(dict.insert(&key, &vec![9]).unwrap(), None);
        }
        for key in 1_000..1_040 {
            assert_eq!(dict.remove(&key).unwrap(), Some(vec![9]));
        }
        let shown: Vec<String> = pairs
            .iter()
            .filter(|(key, _)| *key < 4 || *key >= 500)
            .map(|(key, value)| format!("{key}:{}", said(value)))
            .collect();
        format!("{} keys, {}", pairs.len(), shown.join(" "))
    }
}

/// How many keys a dictionary takes before the next one splits a page.
fn before_split(stage: &Stage) -> u32 {
    let dict: Dict<u32, Vec<u8>> = shared::dict(stage.last).unwrap();
    let blocks = || stage.last.ledger().blocks;
    for key in 0.. {
        let before = blocks();
        dict.set(&key, &vec![1]).unwrap();
        if blocks() > before + 1 {
            return key;
        }
    }
    unreachable!("a page takes 119 keys at most")
}

/// A key, and a dictionary of all below it, whose directory is to have more indices with this key than fit its own block.
fn before_a_segment(stage: &Stage) -> (u32, Dict<u32, u8>) {
    let filled = |keys: u32| {
        let dict: Dict<u32, u8> = shared::dict(stage.last).unwrap();
        let segment = (0..keys).find(|key| {
            dict.set(key, &1).unwrap();
            shared::directory_bits(&dict) > 6
        });
        (segment, dict)
    };
    let key = filled(20_000).0.expect("a segment");
    (key, filled(key).1)
}

type Items = List<Vec<u8>>;

fn items(stage: &Stage, count: usize) -> [&'static Items; 3] {
    let list: Items = shared::list(stage.last).unwrap();
    (0..count).for_each(|n| list.push(&value(n as u8, 3)).unwrap());
    all(stage, list)
}

fn list_seen(list: &'static Items) -> impl Fn() -> String + 'static {
    move || {
        let items = list.to_vec().unwrap();
        assert_eq!(list.len(), items.len());
        for (at, item) in items.iter().enumerate() {
            assert_eq!(list.get(at).unwrap(), *item);
        }
        list.push(&vec![7]).unwrap();
        assert_eq!(list.pop().unwrap(), Some(vec![7]));
        let shown: Vec<String> = items.iter().map(|item| said(item)).collect();
        let (first, last) = (shown.iter().take(6), shown.iter().rev().take(4));
        format!("{} items, {}", items.len(), first.chain(last).cloned().collect::<Vec<_>>().join(" "))
    }
}

fn array(stage: &Stage) -> [&'static Array<[u32; 5]>; 3] {
    all(stage, shared::array(stage.last, 8).unwrap())
}

fn array_seen(array: &'static Array<[u32; 5]>) -> impl Fn() -> String + 'static {
    move || {
        let poisoned = array.is_poisoned();
        let guard = array.recover().unwrap();
        let items: Vec<[u32; 5]> = guard.to_vec();
        drop(guard);
        assert_eq!(array.snapshot().unwrap(), items);
        array.part(..).unwrap().write().unwrap()[7] = [1; 5];
        if !poisoned {
            assert!(items.iter().all(|item| item.windows(2).all(|pair| pair[0] == pair[1])), "torn: {items:?}");
        }
        format!("poisoned: {poisoned}, {:?}", if poisoned { Vec::new() } else { items })
    }
}

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "dict: make an empty one",
        covers: &["dict::new", "table::init"],
        mutants: &[],
        scene: |stage| {
            let victim = stage.victim;
            scene(move || shared::dict::<u32, Vec<u8>>(victim).unwrap())
        },
    },
    Row {
        name: "dict: insert into an empty one, while somebody else does",
        covers: &["dict::insert", "table::insert", "journal::guard", "journal::apply", "journal::given"],
        mutants: &[10, 11, 12],
        scene: |stage| {
            let [mine, theirs, it] = bytes(stage, 0);
            scene(move || mine.insert(&1, &value(2, SHORT)).unwrap())
                .rival(move || theirs.insert(&2, &value(3, SHORT)).unwrap())
                .view(dict_seen(it))
        },
    },
    Row {
        name: "dict: replace a value, while somebody else does",
        covers: &["dict::insert", "dict::set", "table::insert", "journal::took"],
        mutants: &[10, 11, 12, 502],
        scene: |stage| {
            let [mine, theirs, it] = bytes(stage, 3);
            scene(move || mine.set(&1, &value(2, SHORT)).unwrap())
                .rival(move || theirs.set(&1, &value(3, SHORT)).unwrap())
                .view(dict_seen(it))
        },
    },
    Row {
        name: "dict: replace a value by a long one",
        covers: &["dict::set", "image::block"],
        mutants: &[502],
        scene: |stage| {
            let [mine, _, it] = bytes(stage, 2);
            scene(move || mine.set(&1, &value(2, LONG)).unwrap()).view(dict_seen(it))
        },
    },
    Row {
        name: "dict: read a value, while its block is replaced and used again",
        covers: &["dict::get", "table::find", "image::copy"],
        mutants: &[],
        scene: |stage| {
            let [mine, theirs, it] = bytes(stage, 1);
            // What is freed here is what the next value is written to.
            mine.set(&0, &value(1, SHORT)).unwrap();
            mine.set(&0, &value(1, SHORT)).unwrap();
            scene(move || (2..4).for_each(|with| mine.set(&0, &value(with, SHORT)).unwrap()))
                .rival(move || said(&theirs.get(&0).unwrap().unwrap()))
                .view(move || whole(&it.get(&0).unwrap().unwrap()))
        },
    },
    Row {
        name: "dict: remove a key, while somebody else does",
        covers: &["dict::remove", "table::remove", "journal::taker", "journal::take", "journal::drop"],
        mutants: &[10, 11, 12],
        scene: |stage| {
            let [mine, theirs, it] = bytes(stage, 3);
            scene(move || mine.remove(&1).unwrap()).rival(move || theirs.remove(&1).unwrap()).view(dict_seen(it))
        },
    },
    Row {
        name: "dict: insert where a page is full, while somebody looks for a key that is moved",
        covers: &["table::insert", "journal::apply_all"],
        mutants: &[503],
        scene: |stage| {
            let keys = before_split(stage);
            let [mine, theirs, it] = bytes(stage, keys);
            scene(move || mine.set(&keys, &value(2, SHORT)).unwrap())
                .rival(move || assert!((0..4).all(|key| theirs.contains(&key).unwrap())))
                .view(dict_seen(it))
        },
    },
    Row {
        name: "dict: clear, while somebody inserts",
        covers: &["dict::clear", "table::clear"],
        mutants: &[10, 11],
        scene: |stage| {
            let [mine, theirs, it] = bytes(stage, 3);
            scene(move || mine.clear().unwrap())
                .rival(move || theirs.set(&500, &value(3, SHORT)).unwrap())
                .counts(Counts::Nothing)
                .view(dict_seen(it))
        },
    },
    Row {
        name: "dict: change a value by what it was, while somebody else does",
        covers: &["dict::modify", "dict::upsert"],
        mutants: &[502],
        scene: |stage| {
            let [mine, theirs, it] = bytes(stage, 2);
            let longer = |old: Option<Vec<u8>>| value(1, old.unwrap_or_default().len() + 8);
            scene(move || mine.upsert(&1, longer).unwrap())
                .rival(move || theirs.upsert(&1, longer).unwrap())
                .view(dict_seen(it))
        },
    },
    Row {
        name: "dict: put in a key that may be there, while somebody else does",
        covers: &["dict::insert_new", "dict::get"],
        mutants: &[10, 11],
        scene: |stage| {
            let [mine, theirs, it] = bytes(stage, 3);
            scene(move || mine.insert_new(&500, &value(2, SHORT)).unwrap())
                .rival(move || theirs.get_or_insert(&500, value(3, SHORT)).unwrap())
                .view(dict_seen(it))
        },
    },
    Row {
        name: "dict: put in a long key with a long value, while somebody replaces another long one",
        covers: &["dict::set", "dict::replace", "image::block"],
        mutants: &[],
        scene: |stage| {
            let dict: Dict<String, Vec<u8>> = shared::dict(stage.last).unwrap();
            let (key, other) = (leak("k".repeat(SHORT)), leak("o".to_owned()));
            dict.set(other, &value(1, LONG)).unwrap();
            let [mine, theirs, it] = all(stage, dict);
            scene(move || mine.set(key, &value(2, LONG)).unwrap())
                .rival(move || theirs.replace(other, &value(3, SHORT)).unwrap().map(|old| said(&old)))
                .view(move || {
                    let seen = [key, other].map(|key| it.get(key).unwrap().map(|value| said(&value)));
                    it.set(key, &value(4, 1)).unwrap();
                    it.set(other, &value(4, 1)).unwrap();
                    assert_eq!(it.len(), 2);
                    format!("{seen:?}")
                })
        },
    },
    Row {
        name: "dict: exchange a value if it is equal, while somebody changes it",
        covers: &["dict::compare_exchange", "dict::update"],
        mutants: &[502],
        scene: |stage| {
            let [mine, theirs, it] = bytes(stage, 2);
            let old = leak(value(1, SHORT));
            scene(move || mine.compare_exchange(&1, old, &value(2, SHORT)).unwrap())
                .rival(move || theirs.update(&1, |old| value(3, old.len() + 1)).unwrap())
                .view(dict_seen(it))
        },
    },
    Row {
        name: "dict: take some key out, while somebody else does",
        covers: &["dict::pop"],
        mutants: &[10, 11, 12],
        scene: |stage| {
            let [mine, theirs, it] = bytes(stage, 3);
            scene(move || mine.pop().unwrap()).rival(move || theirs.pop().unwrap()).view(dict_seen(it))
        },
    },
    Row {
        name: "dict: remove one of two that a function refuses, while somebody changes it",
        covers: &["dict::retain", "dict::modify"],
        mutants: &[10, 11],
        scene: |stage| {
            let [mine, theirs, it] = bytes(stage, 3);
            scene(move || mine.retain(|key, value| *key != 1 || value.len() != SHORT).unwrap())
                .rival(move || theirs.modify(&1, |old| old.map(|old| [old, vec![1]].concat())).unwrap())
                .view(dict_seen(it))
        },
    },
    Row {
        name: "dict: put in one pair from an iterator",
        covers: &["dict::extend"],
        mutants: &[],
        scene: |stage| {
            let [mine, _, it] = bytes(stage, 1);
            scene(move || mine.extend([(501, value(2, SHORT))]).unwrap()).view(dict_seen(it))
        },
    },
    Row {
        name: "dict: insert where the directory needs a segment of its own",
        covers: &["table::insert"],
        mutants: &[],
        scene: |stage| {
            let (keys, dict) = before_a_segment(stage);
            let [mine, _, it] = all(stage, dict);
            scene(move || mine.set(&keys, &2).unwrap()).view(move || {
                // Some of all pages: to look at each after each kill takes too long.
                assert!((0..keys).step_by(61).all(|key| it.get(&key).unwrap() == Some(1)));
                let (len, new) = (it.len() as u32, it.get(&keys).unwrap());
                assert_eq!(len - u32::from(new.is_some()), keys);
                it.set(&keys, &3).unwrap();
                format!("{new:?}")
            })
        },
    },
    Row {
        name: "dict: clear one of two pages",
        covers: &["dict::clear", "table::clear"],
        mutants: &[],
        scene: |stage| {
            let keys = before_split(stage) + 1;
            let [mine, _, it] = bytes(stage, keys);
            // A few of each: all of them take the killer minutes.
            (4..keys).filter(|key| key % 16 != 0).for_each(|key| drop(it.remove(&key).unwrap()));
            scene(move || mine.clear().unwrap()).counts(Counts::Nothing).view(dict_seen(it))
        },
    },
    Row {
        name: "dict: replace the last handle to another dictionary",
        covers: &["dict::set", "table::destroy"],
        mutants: &[],
        scene: |stage| {
            let (outer, inner): (Dict<u32, Bytes>, Bytes) =
                (shared::dict(stage.last).unwrap(), shared::dict(stage.last).unwrap());
            inner.set(&1, &value(1, SHORT)).unwrap();
            outer.set(&0, &inner).unwrap();
            drop(inner);
            let empty: Bytes = shared::dict(stage.victim).unwrap();
            let [mine, _, it] = all(stage, outer);
            scene(move || mine.set(&0, &empty).unwrap()).counts(Counts::Nothing).view(move || {
                let seen = it.len();
                it.clear().unwrap();
                assert!(it.is_empty());
                format!("{seen}")
            })
        },
    },
    Row {
        name: "dict: drop the last handle of one with keys",
        covers: &["table::destroy"],
        mutants: &[],
        scene: |stage| {
            let dict: Bytes = shared::dict(stage.victim).unwrap();
            (0..3).for_each(|key| dict.set(&key, &value(1, SHORT)).unwrap());
            let dict = once(dict);
            scene(move || drop(dict()))
        },
    },
    Row {
        name: "namespace: set, while somebody sets another type",
        covers: &["namespace::set"],
        mutants: &[502],
        scene: |stage| {
            let [mine, theirs, it]: [&Namespace; 3] = all(stage, shared::namespace(stage.last).unwrap());
            it.set("x", &1u64).unwrap();
            scene(move || mine.set("x", &"two".to_string()).unwrap())
                .rival(move || theirs.set("x", &3u64).unwrap())
                .view(move || match it.get::<u64>("x") {
                    Ok(value) => format!("{value:?}"),
                    Err(_) => format!("{:?}", it.get::<String>("x").unwrap()),
                })
        },
    },
    Row {
        name: "value: add to a number, while somebody else does",
        covers: &["value::fetch_add"],
        mutants: &[],
        scene: |stage| {
            let [mine, theirs, it]: [&Value<u64>; 3] = all(stage, shared::value(stage.last, &5u64).unwrap());
            scene(move || mine.fetch_add(1).unwrap())
                .rival(move || theirs.fetch_add(10).unwrap())
                .view(move || it.get().unwrap().to_string())
        },
    },
    Row {
        name: "namespace: remove a name, while somebody changes it",
        covers: &["namespace::remove", "namespace::update"],
        mutants: &[10, 11],
        scene: |stage| {
            let [mine, theirs, it]: [&Namespace; 3] = all(stage, shared::namespace(stage.last).unwrap());
            it.set("x", &1u64).unwrap();
            scene(move || mine.remove("x").unwrap())
                .rival(move || theirs.update("x", |n: u64| n + 1).unwrap())
                .view(move || format!("{:?}", it.get::<u64>("x").unwrap()))
        },
    },
    Row {
        name: "namespace: clear",
        covers: &["namespace::clear"],
        mutants: &[],
        scene: |stage| {
            let [mine, _, it]: [&Namespace; 3] = all(stage, shared::namespace(stage.last).unwrap());
            it.set("x", &1u64).unwrap();
            it.set("y", &value(1, SHORT)).unwrap();
            scene(move || mine.clear().unwrap()).counts(Counts::Nothing).view(move || it.len().to_string())
        },
    },
    Row {
        name: "value: make one in a block",
        covers: &["value::new"],
        mutants: &[],
        scene: |stage| {
            let (victim, other) = (stage.victim, stage.other);
            scene(move || shared::value(victim, &value(1, SHORT)).unwrap())
                .rival(move || shared::value(other, &value(1, LONG)).unwrap())
        },
    },
    Row {
        name: "value: change a number in all ways, while somebody else does",
        covers: &["value::update", "value::compare_exchange", "value::set", "value::replace"],
        mutants: &[],
        scene: |stage| {
            let [mine, theirs, it]: [&Value<u64>; 3] = all(stage, shared::value(stage.last, &5u64).unwrap());
            scene(move || mine.update(|n| n + 1).unwrap())
                .rival(move || theirs.compare_exchange(&5, &50).unwrap())
                .view(move || it.get().unwrap().to_string())
        },
    },
    Row {
        name: "value: change one in a block by what it was, while somebody exchanges it",
        covers: &["value::update", "value::compare_exchange"],
        mutants: &[],
        scene: |stage| {
            let [mine, theirs, it] = all(stage, shared::value(stage.last, &value(1, SHORT)).unwrap());
            let old = leak(value(1, SHORT));
            scene(move || mine.update(|old| value(2, old.len() + 1)).unwrap())
                .rival(move || theirs.compare_exchange(old, &value(3, SHORT)).unwrap())
                .view(move || said(&it.get().unwrap()))
        },
    },
    Row {
        name: "value: drop the last handle of one in a block",
        covers: &["value::destroy"],
        mutants: &[],
        scene: |stage| {
            let it = once(shared::value(stage.victim, &value(1, SHORT)).unwrap());
            scene(move || drop(it()))
        },
    },
    Row {
        name: "value: replace one in a block, while somebody else does",
        covers: &["value::set", "value::replace"],
        mutants: &[10, 11, 12, 506],
        scene: |stage| {
            let [mine, theirs, it] = all(stage, shared::value(stage.last, &value(1, SHORT)).unwrap());
            scene(move || mine.set(&value(2, SHORT)).unwrap())
                .rival(move || theirs.replace(&value(3, LONG)).unwrap())
                .view(move || said(&it.get().unwrap()))
        },
    },
    Row {
        name: "value: read one, while its block is replaced and used again",
        covers: &["value::get", "image::copy"],
        mutants: &[],
        scene: |stage| {
            let [mine, theirs, it] = all(stage, shared::value(stage.last, &value(1, SHORT)).unwrap());
            mine.set(&value(1, SHORT)).unwrap();
            mine.set(&value(1, SHORT)).unwrap();
            scene(move || (2..4).for_each(|with| mine.set(&value(with, SHORT)).unwrap()))
                .rival(move || said(&theirs.get().unwrap()))
                .view(move || whole(&it.get().unwrap()))
        },
    },
    Row {
        name: "broadcast: make one",
        covers: &["broadcast::new", "image::block"],
        mutants: &[],
        scene: |stage| {
            let (victim, other) = (stage.victim, stage.other);
            scene(move || shared::broadcast(victim, &value(1, LONG)).unwrap())
                .rival(move || shared::broadcast(other, &value(1, SHORT)).unwrap())
        },
    },
    Row {
        name: "broadcast: drop the last handle",
        covers: &["broadcast::destroy"],
        mutants: &[],
        scene: |stage| {
            let it: Shared<Vec<u8>> = shared::broadcast(stage.victim, &value(1, SHORT)).unwrap();
            let it = once(it);
            scene(move || drop(it()))
        },
    },
    Row {
        name: "list: push the first item, while somebody else does",
        covers: &["list::push", "spine::push", "spine::lock"],
        mutants: &[],
        scene: |stage| {
            let [mine, theirs, it] = items(stage, 0);
            scene(move || mine.push(&value(8, 3)).unwrap())
                .rival(move || theirs.push(&value(9, 5)).unwrap())
                .counts(Counts::Nothing)
                .view(list_seen(it))
        },
    },
    Row {
        name: "list: push, while somebody else does",
        covers: &["list::push", "spine::push"],
        mutants: &[10, 11, 12, 504],
        scene: |stage| {
            let [mine, theirs, it] = items(stage, 3);
            scene(move || mine.push(&value(8, 3)).unwrap())
                .rival(move || theirs.push(&value(9, 5)).unwrap())
                .view(list_seen(it))
        },
    },
    Row {
        name: "list: push where the last chunk is full",
        covers: &["spine::push"],
        mutants: &[],
        scene: |stage| {
            let [mine, _, it] = items(stage, 128);
            scene(move || mine.push(&value(8, 3)).unwrap()).view(list_seen(it))
        },
    },
    Row {
        name: "list: pop, while somebody else does",
        covers: &["list::pop", "spine::pop"],
        mutants: &[10, 11],
        scene: |stage| {
            let [mine, theirs, it] = items(stage, 3);
            scene(move || mine.pop().unwrap()).rival(move || theirs.pop().unwrap()).view(list_seen(it))
        },
    },
    Row {
        name: "list: set an item, while somebody reads it",
        covers: &["list::set", "list::get", "spine::set", "spine::read"],
        mutants: &[10, 11],
        scene: |stage| {
            let [mine, theirs, it] = items(stage, 2);
            mine.set(1, &value(1, SHORT)).unwrap();
            mine.set(1, &value(1, SHORT)).unwrap();
            scene(move || (2..4).for_each(|with| mine.set(1, &value(with, SHORT)).unwrap()))
                .rival(move || said(&theirs.get(1).unwrap()))
                .view(move || whole(&it.get(1).unwrap()))
        },
    },
    Row {
        name: "list: insert in the middle, while somebody removes",
        covers: &["list::insert", "list::remove", "spine::rebuild", "journal::apply_all"],
        mutants: &[10, 11],
        scene: |stage| {
            let [mine, theirs, it] = items(stage, 4);
            scene(move || mine.insert(2, &value(8, 3)).unwrap())
                .rival(move || theirs.remove(1).unwrap())
                .view(list_seen(it))
        },
    },
    Row {
        name: "list: extend by several at once, while somebody takes a copy",
        covers: &["list::extend", "list::to_vec", "spine::items"],
        mutants: &[10, 11],
        scene: |stage| {
            let [mine, theirs, it] = items(stage, 2);
            let more = leak([value(7, 3), value(8, 3), value(9, 3)]);
            scene(move || mine.extend(&*more).unwrap())
                .rival(move || assert!([2, 5].contains(&theirs.to_vec().unwrap().len())))
                .view(list_seen(it))
        },
    },
    Row {
        name: "list: sort",
        covers: &["list::sort", "list::sort_by"],
        mutants: &[],
        scene: |stage| {
            let [mine, _, it] = items(stage, 5);
            scene(move || mine.sort_by(|one, two| two.cmp(one)).unwrap()).view(list_seen(it))
        },
    },
    Row {
        name: "list: clear",
        covers: &["list::clear", "spine::clear"],
        mutants: &[10, 11],
        scene: |stage| {
            let [mine, _, it] = items(stage, 5);
            scene(move || mine.clear().unwrap()).view(list_seen(it))
        },
    },
    Row {
        name: "list: clear, while somebody pushes",
        covers: &["list::clear", "spine::clear"],
        mutants: &[],
        scene: |stage| {
            let [mine, theirs, it] = items(stage, 5);
            scene(move || mine.clear().unwrap())
                .rival(move || theirs.push(&value(9, 3)).unwrap())
                .counts(Counts::Nothing)
                .view(list_seen(it))
        },
    },
    Row {
        name: "list: make an empty one",
        covers: &["list::new"],
        mutants: &[],
        scene: |stage| {
            let victim = stage.victim;
            scene(move || shared::list::<Vec<u8>>(victim).unwrap())
        },
    },
    Row {
        name: "list: push a long item where the index is full",
        covers: &["list::push", "spine::push"],
        mutants: &[],
        scene: |stage| {
            let [mine, _, it] = items(stage, 7 * 128);
            scene(move || mine.push(&value(8, LONG)).unwrap()).view(list_seen(it))
        },
    },
    Row {
        name: "list: replace an item by what it was, while somebody else does",
        covers: &["list::update", "list::replace"],
        mutants: &[10, 11],
        scene: |stage| {
            let [mine, theirs, it] = items(stage, 3);
            scene(move || mine.update(1, |old| value(8, old.len() + SHORT)).unwrap())
                .rival(move || theirs.replace(1, &value(9, LONG)).unwrap())
                .view(list_seen(it))
        },
    },
    Row {
        name: "list: put two in the place of three, while somebody takes the first off",
        covers: &["list::splice", "list::pop_front"],
        mutants: &[10, 11],
        scene: |stage| {
            let [mine, theirs, it] = items(stage, 6);
            let new = leak([value(8, 3), value(9, 3)]);
            scene(move || mine.splice(1..4, new).unwrap())
                .rival(move || theirs.pop_front().unwrap())
                .view(list_seen(it))
        },
    },
    Row {
        name: "list: drain where two chunks meet",
        covers: &["list::drain"],
        mutants: &[],
        scene: |stage| {
            let [mine, _, it] = items(stage, 130);
            scene(move || mine.drain(126..129).unwrap()).view(list_seen(it))
        },
    },
    Row {
        name: "list: drain, while somebody shortens it",
        covers: &["list::drain", "list::truncate"],
        mutants: &[],
        scene: |stage| {
            let [mine, theirs, it] = items(stage, 5);
            scene(move || mine.drain(1..3).unwrap()).rival(move || theirs.truncate(4).unwrap()).view(list_seen(it))
        },
    },
    Row {
        name: "list: turn round, while somebody exchanges two",
        covers: &["list::reverse", "list::swap"],
        mutants: &[],
        scene: |stage| {
            let [mine, theirs, it] = items(stage, 5);
            scene(move || mine.reverse().unwrap()).rival(move || theirs.swap(0, 3).unwrap()).view(list_seen(it))
        },
    },
    Row {
        name: "list: remove what a function refuses, while somebody removes an item",
        covers: &["list::retain", "list::remove_item"],
        mutants: &[],
        scene: |stage| {
            let [mine, theirs, it] = items(stage, 5);
            let third = leak(value(3, 3));
            scene(move || mine.retain(|item| item[0] != 2).unwrap())
                .rival(move || theirs.remove_item(third).unwrap())
                .view(list_seen(it))
        },
    },
    Row {
        name: "list: drop the last handle of one with items",
        covers: &["spine::destroy"],
        mutants: &[],
        scene: |stage| {
            let list: Items = shared::list(stage.victim).unwrap();
            (0..3).for_each(|n| list.push(&value(n, 3)).unwrap());
            let list = once(list);
            scene(move || drop(list()))
        },
    },
    Row {
        name: "array: set an item of twenty bytes, while somebody sets its neighbour",
        covers: &["array::set", "array::get"],
        mutants: &[],
        scene: |stage| {
            let [mine, theirs, it] = array(stage);
            scene(move || mine.set(2, &[8; 5]).unwrap())
                .rival(move || theirs.set(3, &[9; 5]).unwrap())
                .counts(Counts::Nothing)
                .view(array_seen(it))
        },
    },
    Row {
        name: "array: make one",
        covers: &["array::zeroed"],
        mutants: &[],
        scene: |stage| {
            let victim = stage.victim;
            scene(move || shared::array::<[u32; 5]>(victim, 1000).unwrap())
        },
    },
    Row {
        name: "array: fill, while somebody reads an item",
        covers: &["array::fill", "array::get"],
        mutants: &[],
        scene: |stage| {
            let [mine, theirs, it] = array(stage);
            scene(move || mine.fill([3; 5]).unwrap())
                .rival(move || {
                    theirs.get(4).map_or_else(|error| error.kind() == ErrorKind::Poisoned, |item| item[0] == item[4])
                })
                .counts(Counts::Nothing)
                .view(move || {
                    let poisoned = it.is_poisoned();
                    let first = it.recover().unwrap()[0];
                    assert!(poisoned || first == [0; 5] || first == [3; 5], "{first:?}");
                    it.set(0, &[4; 5]).unwrap();
                    String::new()
                })
        },
    },
    Row {
        name: "array: split, while somebody else does",
        covers: &["part::split", "part::split_by"],
        mutants: &[],
        scene: |stage| {
            let [mine, theirs, it] = array(stage);
            scene(move || mine.split(3).unwrap())
                .rival(move || theirs.split_by(3).unwrap())
                .counts(Counts::Nothing)
                .view(array_seen(it))
        },
    },
    Row {
        name: "array: write items under the lock, and die",
        covers: &["array::lock", "array::recover", "array::wake"],
        mutants: &[],
        scene: |stage| {
            let [mine, _, it] = array(stage);
            scene(move || mine.lock().unwrap().fill([3; 5])).counts(Counts::Nothing).view(move || {
                // In the middle poisoned, before and after not; in any case it can be had again.
                let poisoned = it.is_poisoned();
                if poisoned {
                    assert_eq!(it.get(0).unwrap_err().kind(), ErrorKind::Poisoned);
                }
                let first = it.recover().unwrap()[0];
                assert!(poisoned || first == [0; 5] || first == [3; 5], "{first:?}");
                it.set(0, &[4; 5]).unwrap();
                String::new()
            })
        },
    },
    Row {
        name: "array: claim a part, while somebody claims one that overlaps",
        covers: &["part::write", "part::part", "part::recover", "part::destroy"],
        mutants: &[505],
        scene: |stage| {
            let [mine, theirs, it] = array(stage);
            let (first, second) = (leak(mine.part(0..5).unwrap()), leak(theirs.part(3..8).unwrap()));
            // Who has it keeps it, until it is dead.
            scene(move || first.write()).rival(move || second.write()).counts(Counts::Nothing).view(array_seen(it))
        },
    },
];
