//! Shared data whose users are killed: everything is whole afterwards, nothing is locked for ever, nothing is left over.

use std::time::Duration;

use offspring::shared::{Array, ArrayPart, Dict, List, Namespace, Value};
use offspring::{Child, ErrorKind, message, spawn, sync::Event, task};
use offspring_tests::kill::Random;
use offspring_tests::locks::{FOR_EVER, asleep, checked, murder, until};

/// One of each.
#[message]
#[derive(Clone)]
struct All {
    /// How far each owner says it has come, for sure.
    sure: Array<u64>,
    dict: Dict<u32, (u64, Vec<u8>)>,
    list: List<(u32, u64, Vec<u8>)>,
    value: Value<Vec<u64>>,
    space: Namespace,
    /// Handles in a value, each of which is the last one.
    nested: Dict<u32, Dict<u64, List<String>>>,
}

const OWNERS: u32 = 3;

/// Short most often; now and then too long for a small block.
fn bytes(number: u64) -> Vec<u8> {
    let len = if number.is_multiple_of(9) { 30_000 } else { number % 200 };
    vec![number as u8; len as usize]
}

/// Counts by one everywhere, again and again, until it is killed. Where it was killed one may be counted in some places and not
/// in others, but no more than one.
#[task]
fn count_for_ever(all: All, owner: u32) {
    let name = format!("owner {owner}");
    let mut next = all.sure.get(owner as usize).unwrap() + 2;
    loop {
        all.dict.upsert(&owner, |_| (next, bytes(next))).unwrap();
        all.list.push(&(owner, next, bytes(next))).unwrap();
        let add = |mut places: Vec<u64>| {
            places[owner as usize] = next;
            places
        };
        all.value.update(add).unwrap();
        all.space.set(&name, &(next, bytes(next))).unwrap();
        let inner = Dict::new().unwrap();
        let lines = List::from_items((0..next % 5).map(|n| "x".repeat(n as usize * 40))).unwrap();
        inner.set(&next, &lines).unwrap();
        all.nested.set(&owner, &inner).unwrap();
        all.nested.set(&(owner + OWNERS), &inner).unwrap();
        if next.is_multiple_of(7) {
            all.nested.clear().unwrap();
        }
        all.sure.set(owner as usize, &next).unwrap();
        next += 1;
    }
}

/// What holds at each moment, whoever was killed where.
fn check(all: &All) {
    let sure = all.sure.snapshot().unwrap();
    let value = all.value.get().unwrap();
    let list = all.list.to_vec().unwrap();
    assert!(list.iter().all(|(_, number, data)| *data == bytes(*number)), "torn");
    for owner in 0..OWNERS {
        let sure = sure[owner as usize];
        let near = |number: u64| number == sure || number == sure + 1 || number == sure + 2;
        if let Some((number, data)) = all.dict.get(&owner).unwrap() {
            assert!(near(number) && data == bytes(number), "{number} in the dictionary, {sure} for sure");
        }
        assert!(near(value[owner as usize]) || sure == 0, "{value:?}, {sure} for sure");
        if let Some((number, data)) = all.space.get::<(u64, Vec<u8>)>(&format!("owner {owner}")).unwrap() {
            assert!(near(number) && data == bytes(number), "{number} in the namespace, {sure} for sure");
        }
        let pushed: Vec<u64> = list.iter().filter(|it| it.0 == owner).map(|it| it.1).collect();
        assert!(pushed.is_sorted(), "out of order: {pushed:?}");
        assert!(pushed.last().is_none_or(|last| near(*last)), "{pushed:?}, {sure} for sure");
    }
    for inner in all.nested.values() {
        for (number, lines) in inner.unwrap().to_map().unwrap() {
            assert_eq!(lines.len() as u64, number % 5);
        }
    }
}

fn works(all: &All) {
    for key in 100..400 {
        all.dict.set(&key, &(1, bytes(1))).unwrap();
    }
    for key in 100..400 {
        assert!(all.dict.remove(&key).unwrap().is_some());
    }
    all.list.insert(0, &(99, 1, bytes(1))).unwrap();
    all.list.remove(0).unwrap();
    all.value.update(|places| places).unwrap();
    all.space.set("here", &1u8).unwrap();
    all.sure.lock().unwrap()[7] = 1;
}

#[test]
fn structures_whose_writers_are_killed_at_random_are_whole_and_leave_nothing() {
    checked(|| {
        let mut random = Random::from_env();
        let all = All {
            sure: Array::zeroed(8).unwrap(),
            dict: Dict::new().unwrap(),
            list: List::new().unwrap(),
            value: Value::new(vec![0; OWNERS as usize]).unwrap(),
            space: Namespace::new().unwrap(),
            nested: Dict::new().unwrap(),
        };
        let start = |owner| spawn(count_for_ever, (&all, owner)).unwrap();
        let mut children: Vec<Child<()>> = (0..OWNERS).map(start).collect();
        for _ in 0..60 {
            std::thread::sleep(random.time(&(Duration::ZERO..Duration::from_millis(12))));
            let owner = random.below(u64::from(OWNERS)) as usize;
            // Audited when that returns.
            murder(children.swap_remove(owner));
            children.push(start(owner as u32));
            children.swap(owner, OWNERS as usize - 1);
            if all.list.len() > 2000 {
                all.list.truncate(50).unwrap();
            }
        }
        until(|| all.sure.snapshot().unwrap()[..OWNERS as usize].iter().all(|sure| *sure > 0));
        children.into_iter().for_each(murder);
        check(&all);
        works(&all);
    });
}

/// Puts keys in, one after the other.
#[task]
fn grow(dict: Dict<u64, u64>, from: u64) {
    for key in from.. {
        dict.set(&key, &(key * 3)).unwrap();
    }
}

#[test]
fn a_dictionary_whose_growing_is_killed_has_all_keys_up_to_the_last() {
    checked(|| {
        let mut random = Random::from_env();
        let dict: Dict<u64, u64> = Dict::new().unwrap();
        let mut len = 0;
        for _ in 0..25 {
            let child = spawn(grow, (&dict, len)).unwrap();
            until(|| dict.contains(&(len + random_below(len))).unwrap());
            std::thread::sleep(random.time(&(Duration::ZERO..Duration::from_millis(8))));
            murder(child);
            let (before, map) = (len, dict.to_map().unwrap());
            len = dict.len() as u64;
            assert!(len > before);
            assert!((0..len).all(|key| map.get(&key) == Some(&(key * 3))), "a key is lost");
            assert_eq!(map.len() as u64, len);
        }
        assert!((0..len).all(|key| dict.get(&key).unwrap() == Some(key * 3)));
        dict.clear().unwrap();
        assert!(dict.is_empty());
    });
}

/// How many keys a child puts in before it may be killed.
fn random_below(len: u64) -> u64 {
    len % 97
}

/// Brings the items into other orders.
#[task]
fn shuffle(list: List<String>, seed: u64) {
    let mut random = Random::new(seed);
    loop {
        let (one, two) = (random.below(1500) as usize, random.below(1500) as usize);
        match random.below(6) {
            0 => list.reverse().unwrap(),
            1 => list.sort().unwrap(),
            2 => drop(list.update(one, |item| item + "").unwrap()),
            _ => list.swap(one, two).unwrap(),
        }
    }
}

#[test]
fn a_list_whose_sorting_is_killed_has_each_item_once() {
    checked(|| {
        let mut random = Random::from_env();
        let items: Vec<String> = (1000..2500).map(|n| n.to_string()).collect();
        let list = List::from_items(items.clone()).unwrap();
        for round in 0..20 {
            let children = [0, 1].map(|n| spawn(shuffle, (&list, round * 2 + n)).unwrap());
            std::thread::sleep(random.time(&(Duration::from_millis(2)..Duration::from_millis(25))));
            children.into_iter().for_each(murder);
            let mut found = list.to_vec().unwrap();
            found.sort();
            assert_eq!(found, items);
        }
    });
}

#[task]
fn hold_and_wait(array: Array<u64>, has_it: Event) {
    let mut items = array.lock().unwrap();
    items[0] = 7;
    has_it.set().unwrap();
    std::thread::sleep(FOR_EVER);
}

#[task]
fn wait_for(array: Array<u64>) -> Result<u64, String> {
    array.get(0).map_err(|error| format!("{:?}", error.kind()))
}

#[test]
fn an_array_whose_holder_dies_is_poisoned_for_those_who_wait_and_can_be_healed() {
    checked(|| {
        let (array, has_it) = (Array::<u64>::zeroed(4).unwrap(), Event::new().unwrap());
        let holder = spawn(hold_and_wait, (&array, &has_it)).unwrap();
        has_it.wait().unwrap();
        let waiter = spawn(wait_for, &array).unwrap();
        asleep(&waiter);
        assert_eq!(array.try_lock().unwrap_err().kind(), ErrorKind::InUse);
        assert_eq!(array.lock_timeout(Duration::from_millis(5)).unwrap_err().kind(), ErrorKind::Timeout);
        murder(holder);
        assert_eq!(waiter.join().unwrap(), Err("Poisoned".to_owned()));
        assert!(array.is_poisoned());
        for refused in [array.set(1, &1), array.lock().map(drop), array.snapshot().map(drop), array.fill(1)] {
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::Poisoned);
        }
        array.recover().unwrap()[1] = 8;
        assert_eq!(array.snapshot().unwrap(), [7, 8, 0, 0]);
        assert_eq!(spawn(wait_for, &array).unwrap().join().unwrap(), Ok(7));
    });
}

#[task]
fn claim_and_wait(part: ArrayPart<u64>, has_it: Event) {
    let mut items = part.write().unwrap();
    items.fill(7);
    has_it.set().unwrap();
    std::thread::sleep(FOR_EVER);
}

#[task]
fn claim(part: ArrayPart<u64>) -> Result<Vec<u64>, String> {
    part.write().map(|items| items.to_vec()).map_err(|error| format!("{:?}", error.kind()))
}

#[test]
fn a_part_of_the_dead_can_be_claimed_again() {
    checked(|| {
        let (array, has_it) = (Array::<u64>::zeroed(10).unwrap(), Event::new().unwrap());
        let parts = array.split(2).unwrap();
        let holder = spawn(claim_and_wait, (&parts[0], &has_it)).unwrap();
        has_it.wait().unwrap();
        assert_eq!(spawn(claim, &parts[0]).unwrap().join().unwrap(), Err("InUse".to_owned()));
        assert_eq!(parts[0].write().unwrap_err().kind(), ErrorKind::InUse);
        assert_eq!(spawn(claim, &parts[1]).unwrap().join().unwrap(), Ok(vec![0; 5]));
        assert_eq!(array.lock().unwrap_err().kind(), ErrorKind::InUse);
        murder(holder);
        assert_eq!(spawn(claim, &parts[0]).unwrap().join().unwrap(), Ok(vec![7; 5]));
        array.lock().unwrap()[0] = 1;
        assert!(!array.is_poisoned());
    });
}

/// Is in the middle of a change all the time, by a function that never ends.
#[task]
fn change_for_ever(all: All, in_it: Event) {
    all.dict
        .upsert(&0, |_| {
            in_it.set().unwrap();
            std::thread::sleep(FOR_EVER);
            (0, Vec::new())
        })
        .unwrap();
}

#[test]
fn who_hangs_or_dies_in_a_function_that_changes_an_entry_holds_nobody_up() {
    checked(|| {
        let all = All {
            sure: Array::zeroed(8).unwrap(),
            dict: Dict::new().unwrap(),
            list: List::new().unwrap(),
            value: Value::new(vec![0; OWNERS as usize]).unwrap(),
            space: Namespace::new().unwrap(),
            nested: Dict::new().unwrap(),
        };
        let in_it = Event::new().unwrap();
        let child = spawn(change_for_ever, (&all, &in_it)).unwrap();
        in_it.wait().unwrap();
        all.dict.set(&0, &(3, bytes(3))).unwrap();
        works(&all);
        murder(child);
        assert_eq!(all.dict.get(&0).unwrap(), Some((3, bytes(3))));
        works(&all);
    });
}
