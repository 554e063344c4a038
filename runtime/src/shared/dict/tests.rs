//! One process, several threads: what a dictionary does when nobody dies. Deaths are the killer's.

use std::collections::{BTreeMap, HashMap};

use super::Dict;
use crate::arena::{Arena, create};
use crate::shared::SharedError;
use crate::{ErrorKind, Message};

fn arena() -> &'static Arena {
    create(256 << 20, 128 << 20).unwrap()
}

fn blocks(arena: &'static Arena) -> u64 {
    arena.check_metadata().unwrap();
    arena.ledger().blocks
}

fn new<K: super::Key, V: Message>(arena: &'static Arena) -> Dict<K, V> {
    Dict::in_arena(arena).unwrap()
}

struct Random(u64);

impl Random {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

#[test]
fn it_does_what_a_hash_map_does() {
    let arena = arena();
    for (keys, seed) in [(5, 1), (300, 2), (5000, 3)] {
        let dict: Dict<String, Vec<u32>> = new(arena);
        let mut map: HashMap<String, Vec<u32>> = HashMap::new();
        let mut random = Random(seed);
        for step in 0..30_000u32 {
            let key = "k".repeat(random.next(20) as usize) + &random.next(keys).to_string();
            let value = vec![step; random.next(30) as usize];
            match random.next(10) {
                0..4 => assert_eq!(dict.insert(&key, &value).unwrap(), map.insert(key, value)),
                4 | 5 => assert_eq!(dict.remove(&key).unwrap(), map.remove(&key)),
                6 => assert_eq!(dict.get(&key).unwrap(), map.get(&key).cloned()),
                7 => assert_eq!(dict.contains(&key).unwrap(), map.contains_key(&key)),
                8 => {
                    let change =
                        |old: Option<Vec<u32>>| old.map(|old| [old, vec![step]].concat()).filter(|it| it.len() < 25);
                    let new = change(map.get(&key).cloned());
                    assert_eq!(dict.modify(&key, change).unwrap(), new);
                    match new {
                        Some(new) => map.insert(key, new),
                        None => map.remove(&key),
                    };
                }
                _ => {
                    let value = map.entry(key.clone()).or_insert(value).clone();
                    assert_eq!(dict.get_or_insert(&key, value.clone()).unwrap(), value);
                }
            }
            if step % 7000 == 6999 {
                assert_eq!((dict.len(), dict.to_map().unwrap()), (map.len(), map.clone()));
            }
            if step == 20_000 {
                dict.clear().unwrap();
                map.clear();
            }
        }
        let kept = dict.len();
        let removed = dict.retain(|key, _| key.len() > 8).unwrap();
        map.retain(|key, _| key.len() > 8);
        assert_eq!((kept - removed, dict.to_map().unwrap()), (map.len(), map.clone()));
        while let Some((key, value)) = dict.pop().unwrap() {
            assert_eq!(map.remove(&key), Some(value));
        }
        assert!(map.is_empty() && dict.is_empty());
    }
    assert_eq!(blocks(arena), 0);
}

#[test]
fn keys_and_values_have_any_type_and_size() {
    let arena = arena();
    let dict: Dict<(Option<i64>, Vec<String>), BTreeMap<u32, String>> = new(arena);
    let key = |n: i64| ((n % 2 == 0).then_some(n), vec!["x".repeat(n as usize * 37); n as usize % 5 + 1]);
    let value = |n: u32| (0..n).map(|i| (i, i.to_string())).collect::<BTreeMap<_, _>>();
    for n in 0..300 {
        dict.insert(&key(n), &value(n as u32)).unwrap();
    }
    for n in 0..300 {
        assert_eq!(dict.get(&key(n)).unwrap(), Some(value(n as u32)), "{n}");
    }
    let big: Dict<Vec<u8>, Vec<u8>> = new(arena);
    for len in [0usize, 1, 1000, 16 << 10, 17 << 10, 100_000, 3 << 20] {
        let (key, value) = (vec![1; len / 2], vec![7; len]);
        big.insert(&key, &value).unwrap();
        assert!(big.get(&key).unwrap().is_some_and(|found| found == value), "{len}");
        assert_eq!(big.insert(&key, &vec![8]).unwrap().map(|old| old.len()), Some(len));
        assert_eq!(big.get(&key).unwrap(), Some(vec![8]));
    }
    assert!(big.keys().map(|key| key.unwrap().len()).any(|len| len == 3 << 19));
    drop((dict, big));
    assert_eq!(blocks(arena), 0);
}

#[test]
fn a_value_over_the_budget_is_refused_and_changes_nothing() {
    let arena = create(256 << 20, 8 << 20).unwrap();
    let dict: Dict<u32, Vec<u8>> = new(arena);
    dict.insert(&1, &vec![1; 100]).unwrap();
    let error = dict.insert(&1, &vec![2; 9 << 20]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutOfMemory, "{error}");
    assert_eq!(dict.get(&1).unwrap(), Some(vec![1; 100]));
    let full = (2..).find_map(|n| dict.insert(&n, &vec![0; 1000]).err()).unwrap();
    assert_eq!(full.kind(), ErrorKind::OutOfMemory, "{full}");
    let len = dict.len();
    assert_eq!(dict.keys().collect::<Result<Vec<_>, SharedError>>().unwrap().len(), len);
    dict.clear().unwrap();
    dict.insert(&3, &vec![3; 1 << 20]).unwrap();
    drop(dict);
    assert_eq!(blocks(arena), 0);
}

#[test]
fn threads_see_whole_values_and_lose_no_update() {
    let arena = arena();
    let dict: Dict<u64, Vec<u64>> = new(arena);
    let sums: Dict<u64, u64> = new(arena);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (dict, sums) = (dict.clone(), sums.clone());
            scope.spawn(move || {
                let mut random = Random(thread);
                for _ in 0..20_000 {
                    let key = random.next(50);
                    match random.next(4) {
                        0 => {
                            let value = random.next(1 << 40);
                            dict.set(&key, &vec![value; random.next(200) as usize]).unwrap();
                        }
                        1 => drop(dict.remove(&key).unwrap()),
                        _ => {
                            let value = dict.get(&key).unwrap().unwrap_or_default();
                            assert!(value.windows(2).all(|pair| pair[0] == pair[1]), "torn");
                        }
                    }
                    sums.upsert(&(key % 3), |sum| sum.unwrap_or(0) + 1).unwrap();
                }
            });
        }
    });
    assert_eq!(sums.values().map(Result::unwrap).sum::<u64>(), 80_000);
    drop((dict, sums));
    assert_eq!(blocks(arena), 0);
}

#[test]
fn a_key_that_stays_is_seen_once_by_every_iteration() {
    let arena = arena();
    let dict: Dict<u64, u64> = new(arena);
    for n in 0..500 {
        dict.set(&(n * 2), &n).unwrap();
    }
    std::thread::scope(|scope| {
        let writer = dict.clone();
        scope.spawn(move || {
            for round in 0..20 {
                for n in 0..2000 {
                    writer.set(&(n * 2 + 1), &round).unwrap();
                    writer.set(&(n % 500 * 2), &round).unwrap();
                }
                for n in 0..2000 {
                    writer.remove(&(n * 2 + 1)).unwrap();
                }
            }
        });
        for _ in 0..30 {
            let mut keys: Vec<u64> = dict.keys().map(Result::unwrap).collect();
            let len = keys.len();
            keys.sort_unstable();
            keys.dedup();
            assert_eq!(keys.len(), len, "a key came twice");
            assert_eq!(keys.iter().filter(|key| *key % 2 == 0).count(), 500);
        }
    });
    drop(dict);
    assert_eq!(blocks(arena), 0);
}
