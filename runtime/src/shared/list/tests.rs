//! One process, several threads: what a list does when nobody dies. Deaths are the killer's.

use super::List;
use crate::arena::{Arena, create};
use crate::{ErrorKind, Message};

fn arena() -> &'static Arena {
    create(256 << 20, 128 << 20).unwrap()
}

fn blocks(arena: &'static Arena) -> u64 {
    arena.check_metadata().unwrap();
    arena.ledger().blocks
}

fn new<T: Message>(arena: &'static Arena) -> List<T> {
    List::in_arena(arena).unwrap()
}

struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % below
    }
}

#[test]
fn it_does_what_a_vector_does() {
    let arena = arena();
    for (grow, seed) in [(6, 1), (9, 2), (12, 3)] {
        let list: List<String> = new(arena);
        let mut vec: Vec<String> = Vec::new();
        let mut random = Random(seed);
        for step in 0..8_000usize {
            let item = "x".repeat(random.next(90)) + &step.to_string();
            let at = random.next(vec.len() + 1);
            match random.next(16 + grow) {
                0 => assert_eq!(list.pop().unwrap(), vec.pop()),
                1 if at < vec.len() => assert_eq!(list.remove(at).unwrap(), vec.remove(at)),
                2 | 3 => {
                    list.insert(at, &item).unwrap();
                    vec.insert(at, item);
                }
                4 if at < vec.len() => {
                    assert_eq!(list.replace(at, &item).unwrap(), std::mem::replace(&mut vec[at], item));
                }
                5 if at < vec.len() => {
                    let new = list.update(at, |old| old + "!").unwrap();
                    vec[at] += "!";
                    assert_eq!(new, vec[at]);
                }
                6 if at < vec.len() => assert_eq!(list.get(at).unwrap(), vec[at]),
                7 => {
                    let to = at + random.next(vec.len() - at + 1).min(random.next(300));
                    let items: Vec<String> = (0..random.next(200)).map(|n| n.to_string()).collect();
                    let removed: Vec<String> = vec.splice(at..to, items.clone()).collect();
                    assert_eq!(list.splice(at..to, &items).unwrap(), removed);
                }
                8 if step % 11 == 0 => {
                    list.sort().unwrap();
                    vec.sort();
                }
                9 if step % 11 == 0 => {
                    list.reverse().unwrap();
                    vec.reverse();
                }
                10 if step % 11 == 0 => {
                    let kept = vec.len();
                    vec.retain(|item| item.len() % 3 != 0);
                    assert_eq!(list.retain(|item| item.len() % 3 != 0).unwrap(), kept - vec.len());
                }
                11 if step % 301 == 0 => {
                    list.clear().unwrap();
                    vec.clear();
                }
                12 if at < vec.len() => {
                    list.swap(at, 0).unwrap();
                    vec.swap(at, 0);
                }
                13 if step % 13 == 0 => {
                    let items: Vec<String> = (0..random.next(300)).map(|n| n.to_string()).collect();
                    list.extend(&items).unwrap();
                    vec.extend(items);
                }
                14 if vec.len() > 2000 => {
                    list.truncate(at).unwrap();
                    vec.truncate(at);
                }
                _ => {
                    list.push(&item).unwrap();
                    vec.push(item);
                }
            }
            assert_eq!(list.len(), vec.len());
            if step % 500 == 0 {
                assert_eq!(list.to_vec().unwrap(), vec);
                assert_eq!(list.iter().map(Result::unwrap).collect::<Vec<_>>(), vec);
                assert_eq!(list.slice(at.min(vec.len())..).unwrap(), vec[at.min(vec.len())..]);
            }
        }
    }
    assert_eq!(blocks(arena), 0);
}

#[test]
fn indices_out_of_range_are_errors_that_say_so() {
    let list: List<u8> = new(arena());
    list.push(&1).unwrap();
    let errors = [
        list.get(1).unwrap_err(),
        list.set(1, &0).unwrap_err(),
        list.remove(1).unwrap_err(),
        list.insert(2, &0).unwrap_err(),
        list.swap(0, 1).unwrap_err(),
        list.update(7, |it| it).unwrap_err(),
        list.slice(2..3).unwrap_err(),
        list.splice(2.., &[]).unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert!(error.to_string().contains("the length is 1"), "{error}");
    }
    #[allow(clippy::reversed_empty_ranges)]
    let backwards = list.splice(1..0, &[]).unwrap_err();
    assert_eq!(backwards.to_string(), "a range that begins at 1 and ends at 0");
    assert_eq!(list.to_vec().unwrap(), [1]);
}

#[test]
fn an_item_over_the_budget_is_refused_and_changes_nothing() {
    let arena = create(256 << 20, 8 << 20).unwrap();
    let list: List<Vec<u8>> = new(arena);
    list.push(&vec![1; 10]).unwrap();
    for refused in [list.push(&vec![0; 9 << 20]), list.set(0, &vec![0; 9 << 20]), list.insert(0, &vec![0; 9 << 20])] {
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::OutOfMemory);
    }
    let full = (0..).find_map(|_| list.push(&vec![0; 2000]).err()).unwrap();
    assert_eq!(full.kind(), ErrorKind::OutOfMemory);
    assert_eq!(list.first().unwrap(), Some(vec![1; 10]));
    list.clear().unwrap();
    list.push(&vec![2; 1 << 20]).unwrap();
    drop(list);
    assert_eq!(blocks(arena), 0);
}

#[test]
fn threads_lose_no_item_and_see_whole_ones() {
    let arena = arena();
    let list: List<Vec<u64>> = new(arena);
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let list = list.clone();
            scope.spawn(move || {
                let mut random = Random(thread);
                for n in 0..3_000u64 {
                    list.push(&vec![thread << 32 | n; random.next(100) + 1]).unwrap();
                    let len = list.len();
                    let item = list.get(random.next(len)).unwrap();
                    assert!(item.windows(2).all(|pair| pair[0] == pair[1]), "torn");
                    if n % 500 == 0 {
                        list.sort().unwrap();
                    }
                }
            });
        }
    });
    let mut seen: Vec<u64> = list.to_vec().unwrap().iter().map(|item| item[0]).collect();
    seen.sort_unstable();
    let expected: Vec<u64> = (0..4).flat_map(|thread| (0..3000).map(move |n| thread << 32 | n)).collect();
    assert_eq!(seen, expected);
    drop(list);
    assert_eq!(blocks(arena), 0);
}
