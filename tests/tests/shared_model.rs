//! Random operations of several processes on shared data, compared with what std's collections do.
//!
//! Each process has keys, places or marks of its own, which nobody else changes: those it compares exactly, after each
//! operation, with a map of its own. What all of them change is compared by sums and by what must hold in every snapshot.

#![allow(clippy::print_stdout, reason = "seeds are printed")]

use std::collections::{BTreeMap, HashMap};

use offspring::shared::{Array, ArrayPart, Dict, List, Namespace, Value};
use offspring::{Child, ErrorKind, message, spawn, task};
use offspring_tests::kill::Random;
use offspring_tests::locks::checked;

const PROCESSES: u32 = 4;

/// Whose it is and which, and bytes that follow from both and are short, or too long for a small block.
#[message]
#[derive(Debug, Clone, PartialEq)]
struct Item {
    owner: u32,
    number: u32,
    bytes: Vec<u8>,
}

fn item(owner: u32, number: u32) -> Item {
    let mut random = Random::new(u64::from(owner) << 32 | u64::from(number));
    let len = if random.below(40) == 0 { 10_000 + random.below(40_000) } else { random.below(300) };
    Item { owner, number, bytes: vec![number as u8 ^ owner as u8; len as usize] }
}

fn check(it: &Item) {
    assert_eq!(*it, item(it.owner, it.number), "torn");
}

type Key = (u32, String);

fn key(owner: u32, number: u64) -> Key {
    (owner, "k".repeat(number as usize % 60) + &number.to_string())
}

/// What one process has in the dictionary in the end, by key.
type Mine = HashMap<Key, u32>;

/// Works on keys of its own, in all ways, and reads those of all others; counts on one key that all share.
#[task]
fn use_dict(dict: Dict<Key, Item>, sums: Dict<u64, u64>, owner: u32, steps: u32, seed: u64) -> Mine {
    let mut random = Random::new(seed);
    let mut mine: Mine = HashMap::new();
    let back = |it: Option<Item>| it.map(|it| (it.owner, it.number));
    for step in 0..steps {
        let at = key(owner, random.below(300));
        let had = mine.get(&at).map(|number| (owner, *number));
        let new = item(owner, step);
        match random.below(14) {
            0..3 => {
                assert_eq!(back(dict.insert(&at, &new).unwrap()), had);
                mine.insert(at, step);
            }
            3 => {
                dict.set(&at, &new).unwrap();
                mine.insert(at, step);
            }
            4 | 5 => {
                assert_eq!(back(dict.remove(&at).unwrap()), had);
                mine.remove(&at);
            }
            6 => assert_eq!(back(dict.get(&at).unwrap()), had),
            7 => assert_eq!(dict.contains(&at).unwrap(), had.is_some()),
            8 => {
                assert_eq!(dict.insert_new(&at, &new).unwrap(), had.is_none());
                mine.entry(at).or_insert(step);
            }
            9 => {
                assert_eq!(back(dict.replace(&at, &new).unwrap()), had);
                mine.entry(at).and_modify(|it| *it = step);
            }
            10 => {
                let made = dict
                    .modify(&at, |old| {
                        assert_eq!(back(old), had);
                        step.is_multiple_of(3).then(|| new.clone())
                    })
                    .unwrap();
                assert_eq!(made.is_some(), step.is_multiple_of(3));
                match made {
                    Some(_) => mine.insert(at, step),
                    None => mine.remove(&at),
                };
            }
            11 => {
                let got = dict.get_or_insert(&at, new).unwrap();
                assert_eq!(got.number, *mine.entry(at).or_insert(step));
            }
            12 => {
                // Somebody else's: there or not, but whole.
                let theirs = key(random.below(u64::from(PROCESSES)) as u32, random.below(300));
                if let Some(it) = dict.get(&theirs).unwrap() {
                    check(&it);
                    assert_eq!(it.owner, theirs.0);
                }
            }
            _ => {
                sums.upsert(&random.below(3), |sum| sum.unwrap_or(0) + 1).unwrap();
                sums.update(&1000, |sum| sum + 1).unwrap();
            }
        }
        if step % 1500 == 1499 {
            let mut found = Mine::new();
            for pair in dict.iter() {
                let (key, it) = pair.unwrap();
                check(&it);
                assert_eq!(key.0, it.owner);
                if key.0 == owner {
                    assert_eq!(found.insert(key, it.number), None, "a key came twice");
                }
            }
            assert_eq!(found, mine);
        }
    }
    mine
}

#[test]
fn a_dictionary_does_what_a_map_does_for_each_of_several_processes() {
    checked(|| {
        for seed in 1..=3u64 {
            println!("seed {seed}");
            let (dict, sums) = (Dict::new().unwrap(), Dict::new().unwrap());
            sums.set(&1000, &0).unwrap();
            let children: Vec<Child<Mine>> = (0..PROCESSES)
                .map(|owner| spawn(use_dict, (&dict, &sums, owner, 4000, seed << 8 | u64::from(owner))).unwrap())
                .collect();
            let mut all = Mine::new();
            for child in children {
                all.extend(child.join().unwrap());
            }
            let found: Mine = dict.to_map().unwrap().into_iter().map(|(key, it)| (key, it.number)).collect();
            assert_eq!(found, all);
            assert_eq!(dict.len(), all.len());
            let one_by_one: u64 = (0..3).map(|at| sums.get(&at).unwrap().unwrap_or(0)).sum();
            assert_eq!(sums.get(&1000).unwrap(), Some(one_by_one), "an update is lost or doubled");
            assert!(one_by_one > 0);
        }
    });
}

/// Makes a dictionary grow and shrink by odd keys, and replaces the values of even ones.
#[task]
fn grow_and_shrink(dict: Dict<u64, u64>, rounds: u64) {
    for round in 0..rounds {
        for n in 0..2000 {
            dict.set(&(n * 2 + 1), &round).unwrap();
            dict.set(&(n % 300 * 2), &round).unwrap();
        }
        for n in 0..2000 {
            dict.remove(&(n * 2 + 1)).unwrap();
        }
    }
}

#[test]
fn a_key_that_stays_comes_once_in_every_iteration_while_others_come_and_go() {
    checked(|| {
        let dict: Dict<u64, u64> = Dict::new().unwrap();
        (0..300).for_each(|n| dict.set(&(n * 2), &0).unwrap());
        let children: Vec<Child<()>> = (0..2).map(|_| spawn(grow_and_shrink, (&dict, 10)).unwrap()).collect();
        let mut iterations = 0;
        while iterations < 5 || children.iter().any(Child::is_alive) {
            let mut keys: Vec<u64> = dict.iter().map(|pair| pair.unwrap().0).collect();
            keys.sort_unstable();
            assert!(keys.windows(2).all(|pair| pair[0] != pair[1]), "a key came twice");
            assert!(keys.iter().filter(|key| **key % 2 == 0).eq((0..300).map(|n| n * 2).collect::<Vec<_>>().iter()));
            let map = dict.to_map().unwrap();
            assert!((0..300).all(|n| map.contains_key(&(n * 2))) && map.len() <= 2300);
            iterations += 1;
        }
        children.into_iter().for_each(|child| child.join().unwrap());
        assert_eq!(dict.len(), 300);
    });
}

/// Pushes, removes and changes items of its own among those of others. What it left there, in order.
#[task]
fn use_list(list: List<Item>, owner: u32, steps: u32, seed: u64) -> Vec<u32> {
    let mut random = Random::new(seed);
    let mut mine: Vec<u32> = Vec::new();
    for step in 0..steps {
        let new = item(owner, step);
        match random.below(12) {
            0..5 => {
                list.push(&new).unwrap();
                mine.push(step);
            }
            5 => {
                let some = [step, step + steps, step + 2 * steps];
                list.extend(&some.map(|number| item(owner, number))).unwrap();
                mine.extend(some);
            }
            6 => {
                // One in the middle, or rather at the end, where another process took items away.
                let at = random.below(list.len() as u64 + 1) as usize;
                match list.insert(at, &new) {
                    Ok(()) => {
                        // Where it stands among mine, nobody can say but the list.
                        let now = own(&list, owner);
                        assert_eq!(now.iter().filter(|it| **it == step).count(), 1);
                        mine = now;
                    }
                    Err(error) => assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}"),
                }
            }
            7 => {
                let Some(number) = mine.first().copied() else { continue };
                assert!(list.remove_item(&item(owner, number)).unwrap());
                mine.remove(0);
            }
            8 => {
                let len = list.len();
                if len > 0 {
                    match list.get(random.below(len as u64) as usize) {
                        Ok(it) => check(&it),
                        Err(error) => assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}"),
                    }
                }
            }
            9 if step % 8 == 0 => {
                let (before, third) = (mine.len(), step % 3);
                mine.retain(|number| number % 3 != third);
                let gone = list.retain(|it| it.owner != owner || it.number % 3 != third).unwrap();
                assert_eq!(gone, before - mine.len());
            }
            10 => assert_eq!(list.count(&new).unwrap(), 0, "nobody else makes those"),
            _ => assert_eq!(own(&list, owner), mine),
        }
    }
    mine
}

/// The numbers of one owner's items, in a snapshot in which everything is whole.
fn own(list: &List<Item>, owner: u32) -> Vec<u32> {
    let all = list.to_vec().unwrap();
    all.iter().for_each(check);
    all.into_iter().filter(|it| it.owner == owner).map(|it| it.number).collect()
}

#[test]
fn a_list_keeps_the_items_of_each_of_several_processes_in_their_order() {
    checked(|| {
        for seed in 1..=3u64 {
            println!("seed {seed}");
            let list: List<Item> = List::new().unwrap();
            let children: Vec<Child<Vec<u32>>> = (0..3)
                .map(|owner| spawn(use_list, (&list, owner, 250, seed << 8 | u64::from(owner))).unwrap())
                .collect();
            let mut total = 0;
            for (owner, child) in children.into_iter().enumerate() {
                let mine = child.join().unwrap();
                assert_eq!(own(&list, owner as u32), mine, "seed {seed}");
                total += mine.len();
            }
            assert_eq!((list.len(), list.to_vec().unwrap().len()), (total, total));
            list.sort_by_key(|it| (it.owner, it.number)).unwrap();
            assert!(list.to_vec().unwrap().is_sorted_by_key(|it| (it.owner, it.number)));
        }
    });
}

/// Moves one from a place to another; the sum stays.
#[task]
fn move_around(list: List<u64>, value: Value<Vec<u64>>, times: u64, seed: u64) {
    let mut random = Random::new(seed);
    for _ in 0..times {
        let (from, to) = (random.below(20) as usize, random.below(20) as usize);
        value
            .update(|mut places| {
                if places[from] > 0 {
                    places[from] -= 1;
                    places[to] += 1;
                }
                places
            })
            .unwrap();
        match random.below(4) {
            0 => list.swap(from, to).unwrap(),
            1 => list.reverse().unwrap(),
            2 => list.sort().unwrap(),
            // One changes, for a moment: the sum of a snapshot is not that of another moment.
            _ => assert_eq!(list.slice(5..15).unwrap().len(), 10),
        }
        let seen = list.to_vec().unwrap();
        assert_eq!((seen.len(), seen.iter().sum::<u64>()), (20, 190), "not a snapshot: {seen:?}");
        assert_eq!(value.get().unwrap().iter().sum::<u64>(), 400);
    }
}

#[test]
fn a_snapshot_shows_one_moment() {
    checked(|| {
        let (list, value) = (List::from_items(0..20u64).unwrap(), Value::new(vec![20u64; 20]).unwrap());
        let children: Vec<Child<()>> =
            (0..PROCESSES).map(|n| spawn(move_around, (&list, &value, 1000, u64::from(n))).unwrap()).collect();
        children.into_iter().for_each(|child| child.join().unwrap());
        let mut items = list.to_vec().unwrap();
        items.sort_unstable();
        assert_eq!(items, (0..20).collect::<Vec<_>>());
    });
}

/// How often each of four ways to count was used.
#[task]
fn count(number: Value<u64>, text: Value<String>, array: Array<u64>, space: Namespace, seed: u64) -> [u64; 4] {
    let mut random = Random::new(seed);
    let mut done = [0; 4];
    for _ in 0..2000 {
        let way = random.below(4) as usize;
        match way {
            0 => drop(number.fetch_add(1).unwrap()),
            1 => drop(text.update(|text| (text.parse::<u64>().unwrap() + 1).to_string()).unwrap()),
            2 => array.lock().unwrap()[random.below(7) as usize] += 1,
            _ => drop(space.update("n", |n: u64| n + 1).unwrap()),
        }
        done[way] += 1;
        let old: u64 = text.get().unwrap().parse().unwrap();
        while !text.compare_exchange(&old.to_string(), &old.to_string()).unwrap() {
            if text.get().unwrap().parse::<u64>().unwrap() > old {
                break;
            }
        }
    }
    done
}

#[test]
fn nothing_that_several_processes_count_is_lost_or_doubled() {
    checked(|| {
        let (number, text) = (Value::new(0u64).unwrap(), Value::new("0".to_string()).unwrap());
        let (array, space) = (Array::<u64>::zeroed(7).unwrap(), Namespace::new().unwrap());
        space.set("n", &0u64).unwrap();
        let children: Vec<Child<[u64; 4]>> = (0..PROCESSES)
            .map(|seed| spawn(count, (&number, &text, &array, &space, u64::from(seed))).unwrap())
            .collect();
        let mut sums = [0; 4];
        for child in children {
            sums.iter_mut().zip(child.join().unwrap()).for_each(|(sum, done)| *sum += done);
        }
        let found = [
            number.get().unwrap(),
            text.get().unwrap().parse().unwrap(),
            array.snapshot().unwrap().iter().sum(),
            space.get::<u64>("n").unwrap().unwrap(),
        ];
        assert_eq!(found, sums);
    });
}

/// Claims parts that overlap those of others; nobody else may write what it has.
#[task]
fn fight_for_parts(parts: Vec<ArrayPart<u64>>, me: u64, seed: u64) -> BTreeMap<u64, u64> {
    let mut random = Random::new(seed);
    let mut written: BTreeMap<u64, u64> = BTreeMap::new();
    for _ in 0..3000 {
        let at = random.below(parts.len() as u64);
        let part = &parts[at as usize];
        match part.write() {
            Ok(mut items) => {
                items.fill(me);
                let spins = random.below(200);
                (0..spins).for_each(|_| std::hint::spin_loop());
                assert!(items.iter().all(|item| *item == me), "two writers");
                items.fill(0);
                *written.entry(at).or_default() += 1;
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::InUse, "{error}"),
        }
    }
    written
}

#[test]
fn parts_of_an_array_have_one_writer_each() {
    checked(|| {
        let array = Array::<u64>::zeroed(64).unwrap();
        let mut parts = array.split(4).unwrap();
        parts.extend(array.split_by(24).unwrap());
        let children: Vec<_> =
            (1..=u64::from(PROCESSES)).map(|me| spawn(fight_for_parts, (&parts, me, me)).unwrap()).collect();
        for child in children {
            assert!(child.join().unwrap().values().sum::<u64>() > 0, "one never got a part");
        }
        assert_eq!(array.snapshot().unwrap(), [0; 64]);
    });
}
