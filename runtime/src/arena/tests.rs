//! Claims about the arena as a whole.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::layout::{GRANULE, LEN_MIN};
use super::{Arena, ArenaError, Block, BlockId, Owner, Verdict, create, open};
use crate::sync::wait;
use crate::sys::futex;

const MIB: u64 = 1 << 20;

fn arena() -> &'static Arena {
    create(LEN_MIN, 32 * MIB).unwrap()
}

fn soon() -> Option<Instant> {
    Some(Instant::now() + Duration::from_secs(20))
}

/// Forks; the child attaches `arena` in a slot of its own, runs `body`, and is killed by its own hand.
fn spawn(arena: &'static Arena, body: impl FnOnce(&'static Arena)) -> (Owner, libc::pid_t) {
    let owner = arena.slots().reserve(arena.me()).unwrap();
    // SAFETY: the child calls nothing that depends on threads that it lacks: glibc's malloc is made for that, and no lock of
    // ours is held by another thread of this test.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0);
    if pid == 0 {
        // SAFETY: nothing but numbers; a test that hangs is killed.
        unsafe { libc::alarm(60) };
        let (memfd, locks) = arena.fds();
        let fds =
            super::ArenaFds { memfd: memfd.try_clone_to_owned().unwrap(), locks: locks.try_clone_to_owned().unwrap() };
        assert!(matches!(arena.alloc(1), Err(ArenaError::Forked)));
        body(open(fds, owner).unwrap());
        // SAFETY: ends this process.
        unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    }
    (owner, pid)
}

fn reap(pid: libc::pid_t) -> i32 {
    let mut status = 0;
    // SAFETY: `status` is writable.
    assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
    status
}

fn in_child(arena: &'static Arena, body: impl FnOnce(&'static Arena)) -> Owner {
    let (owner, pid) = spawn(arena, body);
    let status = reap(pid);
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
        assert!(block.capacity() >= len && block.pos().is_multiple_of(64), "{len}: {block:?}");
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
fn a_hundred_refused_allocations_leave_the_ledger_as_it_was() {
    let arena = arena();
    arena.set_budget(MIB);
    let _warm_up = arena.thread().unwrap();
    let before = arena.ledger();
    for name in 0..100usize {
        let (len, zeroed) = ((2 << 20) + name * 4096, name % 2 == 0);
        let result = if zeroed { arena.alloc_zeroed(len) } else { arena.alloc(len) };
        let error = result.map(|block| block.id()).unwrap_err();
        assert!(
            matches!(error, ArenaError::OutOfMemory { needed, .. } if needed >= len as u64),
            "allocation {name}: {error}"
        );
    }
    assert_eq!(arena.ledger(), before);
    // Small ones are refused when the budget is full of them, and give all of it back.
    let held: Vec<_> = std::iter::from_fn(|| arena.alloc(1000).ok()).collect();
    assert_eq!(held.len(), 16 * 64);
    for name in 0..100 {
        let error = arena.alloc(name * 10).map(|block| block.id()).unwrap_err();
        assert!(matches!(error, ArenaError::OutOfMemory { .. }), "allocation {name}: {error}");
    }
    drop(held);
    arena.tidy();
    arena.trim(1, Duration::ZERO, u32::MAX);
    assert_eq!(arena.ledger(), before);
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
fn blocks_freed_by_another_process_return_to_their_owner() {
    let arena = arena();
    let control = arena.alloc_zeroed(64).unwrap();
    let (control_pos, rounds) = (control.pos(), 20u32);
    let word = move |arena: &'static Arena| {
        // SAFETY: in a block that lives as long as this test, and only used as an atomic.
        unsafe { arena.at(control_pos, 4).unwrap().cast::<AtomicU32>().as_ref() }
    };
    // The child adopts 3 MB a round into a block that this process frees: 60 MB in all, and the budget is 32 MiB. So it ends
    // only if what others free comes back.
    let parents: Vec<_> = (0..rounds).map(|_| arena.alloc(10).unwrap()).collect();
    let ids: Vec<_> = parents.iter().map(Block::id).collect();
    let (dead, pid) = spawn(arena, move |mine| {
        for (round, id) in (1..).zip(&ids) {
            for _ in 0..1000 {
                mine.alloc(3000).unwrap().adopt_into(*id).unwrap();
            }
            word(mine).store(2 * round - 1, Ordering::Release);
            futex::wake_all(word(mine));
            assert!(wait::wait_while(word(mine), 2 * round - 1, soon()).is_some());
        }
        std::process::exit(0);
    });
    for (round, parent) in (1..).zip(parents) {
        assert!(wait::wait_while(word(arena), 2 * round - 2, soon()).is_some());
        assert_eq!(arena.ledger().blocks, 1000 + 1 + u64::from(rounds - round + 1));
        drop(parent);
        word(arena).store(2 * round, Ordering::Release);
        futex::wake_all(word(arena));
    }
    reap(pid);
    arena.audit(dead, Verdict::Clean).unwrap();
    drop(control);
    arena.tidy();
    assert_eq!((arena.ledger().blocks, arena.ledger().granule_bytes), (0, 0));
    arena.check_metadata().unwrap();
}

#[test]
fn processes_killed_at_random_leave_nothing_behind() {
    let arena = create(LEN_MIN, 40 * MIB).unwrap();
    let root = arena.alloc(10).unwrap();
    let mut seed = 1u64;
    for round in 0..60 {
        let children: Vec<_> = (0..4)
            .map(|index| {
                let (parent, seed) = (root.id(), round * 4 + index);
                spawn(arena, move |mine| churn(mine, parent, seed))
            })
            .collect();
        for (owner, pid) in children {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            std::thread::sleep(Duration::from_micros(seed >> 33 & 0x7ff));
            // SAFETY: our child, which is not reaped yet.
            unsafe { libc::kill(pid, libc::SIGKILL) };
            reap(pid);
            arena.audit(owner, Verdict::Clean).unwrap();
            arena.slots().release(owner);
        }
        if round % 10 == 9 {
            let again = arena.alloc(10).unwrap();
            again.adopt_into(root.id()).unwrap();
        }
    }
    drop(root);
    arena.tidy();
    arena.check_metadata().unwrap();
    let ledger = arena.ledger();
    assert_eq!((ledger.blocks, ledger.bytes, ledger.granule_bytes, ledger.processes), (0, 0, 0, 1));
}

/// Allocates, frees, adopts and shrinks for ever.
fn churn(arena: &'static Arena, parent: BlockId, mut seed: u64) {
    let mut blocks = Vec::new();
    loop {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let len = 1usize << (seed >> 59);
        match (seed >> 40) % 8 {
            0..4 if blocks.len() < 50 => blocks.extend(arena.alloc(len.min(1 << 19)).ok()),
            4 if blocks.len() > 1 => {
                let child: Block = blocks.swap_remove((seed >> 20) as usize % blocks.len());
                let above = blocks.first().unwrap().id();
                child.adopt_into(above).unwrap();
            }
            5 if (seed >> 30).is_multiple_of(256) => {
                arena.alloc(100).and_then(|block| block.adopt_into(parent)).unwrap();
            }
            6 => blocks.iter_mut().for_each(|block| block.shrink_to(len)),
            _ if !blocks.is_empty() => drop(blocks.swap_remove((seed >> 20) as usize % blocks.len())),
            _ => {}
        }
    }
}

#[test]
fn a_quarantined_block_is_never_given_out_again() {
    let arena = arena();
    let (shared, _mine) = (arena.alloc_zeroed(64).unwrap(), arena.thread().unwrap());
    let before = arena.ledger();
    let dead = in_child(arena, |mine| {
        let blocks = [mine.alloc(100_000).unwrap(), mine.alloc(64).unwrap()];
        for (at, block) in blocks.into_iter().enumerate() {
            mine.alloc(10).unwrap().adopt_into(block.id()).unwrap();
            // SAFETY: inside the shared block, which nobody else uses now.
            unsafe { mine.at(shared.pos() + 8 * at as u64, 8).unwrap().cast().write(block.pos()) };
            std::mem::forget(block);
        }
    });
    arena.audit(dead, Verdict::Quarantine).unwrap();
    arena.slots().release(dead);
    // Of the small block its memory is lost, of the large one its addresses.
    assert_eq!(
        (arena.ledger().blocks, arena.ledger().granule_bytes),
        (before.blocks + 1, before.granule_bytes + GRANULE)
    );
    // SAFETY: as above.
    let lost = unsafe { shared.as_ptr().cast::<[u64; 2]>().read() };
    let all: Vec<_> =
        [100_000, 64].into_iter().flat_map(|len| std::iter::from_fn(move || arena.alloc(len).ok())).collect();
    assert!(all.len() > 200 && all.iter().all(|block| !lost.contains(&block.pos())), "{lost:?}");
    drop((all, shared));
    arena.check_metadata().unwrap();
}

#[test]
fn slots_are_claimed_released_and_run_out() {
    let arena = arena();
    let first = arena.slots().reserve(arena.me()).unwrap();
    let grandchild = arena.slots().reserve(first).unwrap();
    assert_eq!(arena.slots().children_of(arena.me()).collect::<Vec<_>>(), [first]);
    assert_eq!(arena.slots().children_of(first).collect::<Vec<_>>(), [grandchild]);
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

#[test]
fn threads_of_one_process_allocate_free_and_hand_over_at_once() {
    let arena = arena();
    let _mine = arena.thread().unwrap();
    let (sender, receiver) = std::sync::mpsc::sync_channel::<Block>(500);
    let receiver = std::sync::Mutex::new(receiver);
    std::thread::scope(|scope| {
        for seed in 1..=2u64 {
            let sender = sender.clone();
            scope.spawn(move || {
                let mut seed = seed;
                for _ in 0..20_000 {
                    seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                    let block = arena.alloc((seed >> 48) as usize % 5000).unwrap();
                    // SAFETY: the block is ours.
                    unsafe { block.as_ptr().cast::<u64>().write(block.pos()) };
                    sender.send(block).unwrap();
                }
            });
        }
        drop(sender);
        for _ in 0..2 {
            scope.spawn(|| {
                while let Ok(block) = { receiver.lock().unwrap().recv() } {
                    // SAFETY: the block is ours, and its sender wrote that.
                    assert_eq!(unsafe { block.as_ptr().cast::<u64>().read() }, block.pos());
                }
            });
        }
    });
    // A scope ends before its threads' locals are destroyed, and with these their caches.
    let late = Instant::now() + Duration::from_secs(20);
    while arena.ledger().threads > 1 && Instant::now() < late {
        std::thread::sleep(Duration::from_millis(1));
    }
    arena.tidy();
    assert_eq!((arena.ledger().blocks, arena.ledger().granule_bytes, arena.ledger().threads), (0, 0, 1));
    arena.check_metadata().unwrap();
}

#[test]
fn limits_of_address_space_and_file_size_shrink_the_mapping() {
    for resource in [libc::RLIMIT_AS, libc::RLIMIT_FSIZE] {
        // SAFETY: the child only sets its own limit and creates an arena.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            let limit = libc::rlimit { rlim_cur: 5 << 30, rlim_max: 5 << 30 };
            // SAFETY: `limit` is readable.
            unsafe { libc::setrlimit(resource, &limit) };
            let arena = create(64 << 30, 32 * MIB).unwrap();
            std::process::exit(i32::from(arena.map.layout.len > 5 << 30 || arena.alloc(1 << 20).is_err()));
        }
        assert_eq!(reap(pid), 0);
    }
}

#[test]
fn memory_free_for_long_gives_its_pages_back() {
    let arena = arena();
    drop(arena.alloc(4 << 20).unwrap());
    assert_eq!(arena.ledger().warm_bytes, 4 * MIB);
    assert_eq!(arena.trim(16, Duration::from_secs(3600), u32::MAX), 0);
    assert_eq!(arena.trim(16, Duration::ZERO, 32), 32);
    assert_eq!(arena.ledger().warm_bytes, 2 * MIB);
    let mut block = arena.alloc_zeroed(4 << 20).unwrap();
    // SAFETY: the block is ours.
    assert!(unsafe { std::slice::from_raw_parts(block.as_ptr(), 4 << 20) }.iter().all(|byte| *byte == 0));
    block.shrink_to(1 << 20);
    assert_eq!((block.capacity(), arena.ledger().granule_bytes), (1 << 20, MIB));
    drop(block);
    arena.check_metadata().unwrap();
}
