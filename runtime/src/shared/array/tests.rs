//! One process, several threads: what an array does when nobody dies. Deaths are the killer's.

use super::Array;
use crate::ErrorKind;
use crate::arena::create;

#[test]
fn items_of_any_plain_type_are_set_without_touching_their_neighbours() {
    let arena = create(256 << 20, 32 << 20).unwrap();
    let bytes = Array::<[u8; 3]>::in_arena(arena, 50).unwrap();
    let wide = Array::<[u64; 9]>::in_arena(arena, 20).unwrap();
    let mut expected = vec![[0; 3]; 50];
    for n in 0..200u8 {
        let at = n as usize * 7 % 50;
        expected[at] = [n, n + 1, n ^ 7];
        bytes.set(at, &expected[at]).unwrap();
        wide.set(at % 20, &[u64::from(n); 9]).unwrap();
        assert_eq!((bytes.get(at).unwrap(), wide.get(at % 20).unwrap()), (expected[at], [u64::from(n); 9]));
        assert_eq!(bytes.snapshot().unwrap(), expected);
    }
    for error in [bytes.get(50).unwrap_err(), bytes.set(50, &[0; 3]).unwrap_err(), bytes.slice(49..51).unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    }
    assert_eq!(bytes.copy_from(&[[1; 3]; 49]).unwrap_err().kind(), ErrorKind::InvalidInput);
    bytes.fill([9; 3]).unwrap();
    assert_eq!(bytes.slice(48..).unwrap(), [[9; 3]; 2]);
    drop((bytes, wide));
    assert_eq!(arena.ledger().blocks, 0);
}

#[test]
fn a_lock_excludes_locks_and_parts_and_parts_exclude_locks_and_what_overlaps() {
    let arena = create(256 << 20, 32 << 20).unwrap();
    let array = Array::<u32>::in_arena(arena, 100).unwrap();
    let (parts, halves) = (array.split(10).unwrap(), array.split(2).unwrap());
    let kind = |result: Result<(), super::SharedError>| result.unwrap_err().kind();
    {
        let mut guard = array.lock().unwrap();
        guard[3] = 3;
        assert_eq!(kind(array.lock().map(drop)), ErrorKind::InUse, "it is this thread's");
        assert!(matches!(array.try_lock(), Err(super::SharedError::Mine)));
        let other = array.clone();
        let (locked, part) = std::thread::spawn(move || {
            let locked = other.try_lock().map(drop).unwrap_err().kind();
            (locked, other.lock_timeout(std::time::Duration::from_millis(5)).map(drop).unwrap_err().kind())
        })
        .join()
        .unwrap();
        assert_eq!((locked, part), (ErrorKind::InUse, ErrorKind::Timeout));
    }
    let mut first = parts[1].write().unwrap();
    first.fill(7);
    let second = parts[2].write().unwrap();
    // Nothing of it is in other hands.
    drop(array.part(15..15).unwrap().write().unwrap());
    assert_eq!(kind(parts[1].write().map(drop)), ErrorKind::InUse);
    assert_eq!(kind(halves[0].write().map(drop)), ErrorKind::InUse);
    assert_eq!(kind(array.lock().map(drop)), ErrorKind::InUse);
    assert_eq!(kind(array.get(0).map(drop)), ErrorKind::InUse);
    drop(halves[1].write().unwrap());
    drop((first, second));
    drop(halves[0].write().unwrap());
    assert_eq!(array.slice(9..21).unwrap(), [&[0][..], &[7; 10], &[0]].concat());
    assert_eq!(array.split(0).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(array.split(101).unwrap().iter().filter(|part| part.is_empty()).count(), 1);
    assert_eq!(array.split_by(30).unwrap().iter().map(|part| part.len()).collect::<Vec<_>>(), [30, 30, 30, 10]);
    let singles = Array::<u8>::in_arena(arena, 300).unwrap().split(300).unwrap();
    let claims: Vec<_> = singles.iter().take(256).map(|part| part.write().unwrap()).collect();
    assert_eq!(kind(singles[256].write().map(drop)), ErrorKind::Limit);
    drop(claims);
    drop((array, parts, halves, singles));
    assert_eq!(arena.ledger().blocks, 0);
}

#[test]
fn an_array_over_the_budget_is_refused() {
    let arena = create(256 << 20, 8 << 20).unwrap();
    assert_eq!(Array::<u64>::in_arena(arena, 1 << 21).unwrap_err().kind(), ErrorKind::OutOfMemory);
    assert_eq!(Array::<u64>::in_arena(arena, usize::MAX / 4).unwrap_err().kind(), ErrorKind::OutOfMemory);
    assert!(Array::<u64>::in_arena(arena, 0).unwrap().is_empty());
}
