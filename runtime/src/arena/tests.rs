//! Claims about the arena as a whole.
#![allow(unsafe_code)]

use std::time::Duration;

use super::layout::{GRANULE, LEN_MIN};
use super::{Arena, ArenaError, Owner, Verdict, create, open};

const MIB: u64 = 1 << 20;

fn arena() -> &'static Arena {
    create(LEN_MIN, 32 * MIB).unwrap()
}

/// Forks; the child attaches `arena` in a slot of its own, runs `body`, and is killed by its own hand.
fn in_child(arena: &'static Arena, body: impl FnOnce(&'static Arena)) -> Owner {
    let owner = arena.slots().reserve(arena.me()).unwrap();
    // SAFETY: the child calls only what does not depend on threads that it lacks: these tests hold no lock here.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0);
    if pid == 0 {
        let (memfd, locks) = arena.fds();
        let fds =
            super::ArenaFds { memfd: memfd.try_clone_to_owned().unwrap(), locks: locks.try_clone_to_owned().unwrap() };
        assert!(matches!(arena.alloc(1), Err(ArenaError::Forked)));
        body(open(fds, owner).unwrap());
        // SAFETY: ends this process.
        unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    }
    let mut status = 0;
    // SAFETY: `status` is writable.
    assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
    assert!(libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGKILL, "child ended with {status:#x}");
    owner
}

#[test]
fn blocks_of_all_sizes_are_distinct_aligned_and_come_back() {
    let arena = arena();
    let before = arena.ledger();
    let mut blocks = Vec::new();
    for len in [0, 1, 64, 65, 1000, 4096, 32768, 32769, 65536, 65537, 1 << 20, 3 << 20] {
        let block = arena.alloc(len).unwrap();
        assert!(block.capacity() >= len && block.pos() % 64 == 0, "{len}: {block:?}");
        // SAFETY: the block is ours.
        unsafe { block.as_ptr().write_bytes(blocks.len() as u8, block.capacity()) };
        let raw = arena.resolve(block.id()).unwrap();
        assert_eq!((raw.ptr.as_ptr(), raw.capacity), (block.as_ptr(), block.capacity()));
        assert_eq!(arena.at(block.pos(), block.capacity()), Some(raw.ptr));
        assert_eq!(arena.pos_of(block.as_ptr()), Some(block.pos()));
        blocks.push(block);
    }
    for (index, block) in blocks.iter().enumerate() {
        // SAFETY: the block is ours.
        let bytes = unsafe { std::slice::from_raw_parts(block.as_ptr(), block.capacity()) };
        assert!(bytes.iter().all(|byte| *byte == index as u8));
    }
    assert_eq!(arena.ledger().blocks, 12);
    let id = blocks[3].id();
    drop(blocks);
    assert!(arena.resolve(id).is_none());
    assert_eq!((arena.ledger().blocks, arena.ledger().bytes), (before.blocks, before.bytes));
    arena.check_metadata().unwrap();
}

#[test]
fn zeroed_blocks_are_zero_though_their_memory_was_used() {
    let arena = arena();
    for len in [64, 1000, 5 * GRANULE as usize] {
        let dirty = arena.alloc(len).unwrap();
        // SAFETY: the block is ours.
        unsafe { dirty.as_ptr().write_bytes(0xff, dirty.capacity()) };
        let pos = dirty.pos();
        drop(dirty);
        let clean = arena.alloc_zeroed(len).unwrap();
        assert_eq!(clean.pos(), pos, "not reused, so this test shows nothing");
        // SAFETY: the block is ours.
        assert!(unsafe { std::slice::from_raw_parts(clean.as_ptr(), clean.capacity()) }.iter().all(|byte| *byte == 0));
    }
}

#[test]
fn a_small_budget_refuses_and_is_whole_again() {
    let arena = arena();
    arena.set_budget(4 * MIB);
    for round in 0..3 {
        let mut held = Vec::new();
        let error = loop {
            match arena.alloc(100_000 + round) {
                Ok(block) => held.push(block),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, ArenaError::OutOfMemory { budget, .. } if budget == 4 * MIB), "{error}");
        assert_eq!(held.len(), 32);
    }
    assert_eq!(arena.ledger().blocks, 0);
    assert!(arena.alloc(3 << 20).is_ok());
    arena.check_metadata().unwrap();
}

#[test]
fn children_are_freed_with_their_parent() {
    let arena = arena();
    let root = arena.alloc(100).unwrap();
    for _ in 0..3 {
        let child = arena.alloc(100).unwrap();
        for len in [1, 100_000] {
            arena.alloc(len).unwrap().adopt_into(child.id()).unwrap();
        }
        child.adopt_into(root.id()).unwrap();
    }
    assert_eq!(arena.ledger().blocks, 10);
    let id = root.id();
    drop(root);
    assert_eq!(arena.ledger().blocks, 0);
    assert!(arena.alloc(5).unwrap().adopt_into(id).is_err());
    assert_eq!(arena.ledger().blocks, 0);
    arena.check_metadata().unwrap();
}

#[test]
fn what_a_killed_process_held_comes_back_and_what_it_handed_over_stays() {
    let arena = arena();
    let parent = arena.alloc(10).unwrap();
    let dead = in_child(arena, |mine| {
        for len in [10, 10_000, 1_000_000] {
            std::mem::forget(mine.alloc(len).unwrap());
            mine.alloc(len).unwrap().adopt_into(parent.id()).unwrap();
        }
    });
    assert!(!arena.is_alive(dead));
    assert_eq!(arena.ledger().blocks, 7);
    arena.audit(dead, Verdict::Clean).unwrap();
    arena.audit(dead, Verdict::Clean).unwrap();
    arena.slots().release(dead);
    assert_eq!((arena.ledger().blocks, arena.ledger().processes), (4, 1));
    drop(parent);
    assert_eq!((arena.ledger().blocks, arena.ledger().threads), (0, 1));
    arena.check_metadata().unwrap();
}

#[test]
fn the_granule_lock_of_a_dead_process_is_taken_over() {
    let arena = arena();
    let dead = in_child(arena, |mine| std::mem::forget(mine.granules().unwrap()));
    let watch = std::thread::spawn(|| std::thread::sleep(Duration::from_secs(20)));
    drop(arena.alloc(100_000).unwrap());
    assert!(!watch.is_finished());
    arena.audit(dead, Verdict::Clean).unwrap();
    arena.check_metadata().unwrap();
}

#[test]
fn a_quarantined_block_is_never_given_out_again() {
    let arena = arena();
    let dead = in_child(arena, |mine| std::mem::forget(mine.alloc(100_000).unwrap()));
    arena.audit(dead, Verdict::Quarantine).unwrap();
    assert_eq!(arena.ledger().blocks, 1);
    arena.check_metadata().unwrap();
}

#[test]
fn slots_are_claimed_released_and_run_out() {
    let arena = arena();
    let first = arena.slots().reserve(arena.me()).unwrap();
    let grandchild = arena.slots().reserve(first).unwrap();
    assert_eq!(arena.slots().children_of(arena.me()).collect::<Vec<_>>(), [first]);
    assert_eq!(arena.slots().parent_of(grandchild), Some(first));
    arena.slots().write_note(first, 7, b"panicked");
    assert_eq!(arena.slots().read_note(first), Some((7, b"panicked".to_vec())));
    arena.slots().get(first).unwrap().set_name("näme");
    assert_eq!(arena.slots().get(first).unwrap().name(), "näme");
    arena.slots().release(first);
    let again = arena.slots().reserve(arena.me()).unwrap();
    assert_eq!((again.slot(), again.generation()), (first.slot(), 2));
    assert!(arena.slots().get(first).is_none() && arena.slots().read_note(again).is_none());
    let rest: Vec<_> = std::iter::from_fn(|| arena.slots().reserve(arena.me()).ok()).collect();
    assert_eq!(rest.len(), 1021);
    assert!(matches!(arena.slots().reserve(arena.me()), Err(ArenaError::TooManyProcesses)));
}

#[test]
fn thread_records_return_when_threads_end() {
    let arena = arena();
    for _ in 0..20 {
        std::thread::spawn(move || arena.thread().unwrap().id).join().unwrap();
    }
    assert_eq!(arena.ledger().threads, 0);
    let mine = arena.thread().unwrap();
    assert_eq!(arena.thread().unwrap().id, mine.id);
    assert_eq!(arena.owner_of_thread(mine.id), Some(arena.me()));
}
