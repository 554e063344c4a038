//! `Mutex` and `Plain` values between real processes.
#![allow(unsafe_code)]

use offspring::sync::{Event, Mutex, MutexGuard};
use offspring::{Child, ErrorKind, Failure, Pool, Process, message, task};
use offspring_tests::kill::Random;
use offspring_tests::locks::{FOR_EVER, asleep, checked, die, murder, until};
use std::thread;
use std::time::{Duration, Instant};

#[task]
fn add(m: Mutex<u64>, times: u64) -> Result<(), Failure> {
    let add = move |m: &Mutex<u64>| -> Result<(), Failure> {
        for _ in 0..times {
            *m.lock()? += 1;
        }
        Ok(())
    };
    let clone = m.clone();
    let other = thread::spawn(move || add(&clone));
    add(&m)?;
    other.join().expect("no panic")
}

#[test]
fn no_increment_of_any_process_or_thread_is_lost() {
    checked(|| {
        let m = Mutex::new(0u64).unwrap();
        let children: Vec<Child<_>> = (0..3).map(|_| Process::new(add, (&m, 3000)).spawn().unwrap()).collect();
        add(m.clone(), 3000).unwrap();
        for child in children {
            child.join().unwrap().unwrap();
        }
        assert_eq!(*m.lock().unwrap(), 4 * 2 * 3000);
    });
}

#[message(plain)]
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C)]
struct Accounts {
    owner: u8,
    cents: [i64; 20],
}

#[task]
fn move_cent_and_sleep(accounts: Mutex<Accounts>) -> Result<(), Failure> {
    let mut accounts = accounts.lock()?;
    accounts.cents[0] -= 1;
    thread::sleep(FOR_EVER);
    accounts.cents[19] += 1;
    Ok(())
}

#[task]
fn lock_kind(m: Mutex<Accounts>) -> Option<String> {
    m.lock().err().map(|error| format!("{:?}", error.kind()))
}

#[test]
fn the_lock_of_a_killed_holder_is_poisoned_and_its_value_can_be_mended() {
    checked(|| {
        let accounts = Mutex::new(Accounts { owner: 3, cents: [100; 20] }).unwrap();
        let holder = Process::new(move_cent_and_sleep, &accounts).spawn().unwrap();
        until(|| accounts.is_locked());
        asleep(&holder);
        let waiter = Process::new(lock_kind, &accounts).spawn().unwrap();
        asleep(&waiter);
        assert_eq!(accounts.try_lock().unwrap_err().kind(), ErrorKind::InUse);
        assert_eq!(accounts.lock_timeout(Duration::from_millis(20)).unwrap_err().kind(), ErrorKind::Timeout);
        murder(holder);
        assert_eq!(waiter.join().unwrap().as_deref(), Some("Poisoned"), "who waited is told");
        assert!(accounts.is_poisoned() && !accounts.is_locked());
        assert_eq!(accounts.lock().unwrap_err().kind(), ErrorKind::Poisoned);
        {
            let mut mended = accounts.recover().unwrap();
            assert_eq!((mended.cents[0], mended.cents[19], mended.owner), (99, 100, 3));
            mended.cents[0] = 100;
        }
        assert_eq!(accounts.lock().unwrap().cents, [100; 20]);
    });
}

#[test]
fn a_killed_waiter_costs_nobody_anything() {
    checked(|| {
        let m = Mutex::new(0u64).unwrap();
        let guard = m.lock().unwrap();
        let waiters: Vec<Child<_>> = (0..3).map(|_| Process::new(add, (&m, 1)).spawn().unwrap()).collect();
        waiters.iter().for_each(asleep);
        let mut waiters = waiters.into_iter();
        murder(waiters.next().unwrap());
        drop(guard);
        waiters.for_each(|waiter| waiter.join().unwrap().unwrap());
        assert_eq!(*m.lock().unwrap(), 4);
    });
}

#[task]
fn panic_inside(m: Mutex<u64>) {
    let mut value = m.lock().unwrap();
    *value = 5;
    panic!("half-way");
}

#[test]
fn a_panic_inside_poisons_also_in_a_worker_that_lives_on() {
    checked(|| {
        let m = Mutex::new(0u64).unwrap();
        let pool = Pool::builder().workers(1).build().unwrap();
        assert!(pool.call(panic_inside, &m).is_err());
        assert_eq!(m.lock().unwrap_err().kind(), ErrorKind::Poisoned);
        assert_eq!(*m.recover().unwrap(), 5);
        assert!(m.lock().is_ok());
        // A guard that is made and dropped while a panic is under way poisons nothing.
        struct Late(Mutex<u64>);
        impl Drop for Late {
            fn drop(&mut self) {
                *self.0.lock().unwrap() += 1;
            }
        }
        let late = Late(m.clone());
        assert!(
            thread::spawn(move || {
                let _late = late;
                panic!("with a lock taken on the way out")
            })
            .join()
            .is_err()
        );
        assert_eq!(*m.lock().unwrap(), 6);
    });
}

#[test]
fn a_thread_that_would_wait_for_itself_is_told() {
    checked(|| {
        let m = Mutex::new([0u8; 3]).unwrap();
        let guard = m.lock().unwrap();
        for refused in [m.lock(), m.try_lock(), m.lock_timeout(FOR_EVER), m.recover()] {
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::Deadlock);
        }
        drop(guard);
        assert!(m.lock().is_ok());
    });
}

#[task]
fn hog(m: Mutex<u64>, stop: Event) -> Result<(), Failure> {
    while !stop.is_set() {
        let _guard = m.lock()?;
        thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

#[test]
fn who_always_comes_back_at_once_does_not_keep_others_out() {
    checked(|| {
        let (m, stop) = (Mutex::new(0u64).unwrap(), Event::new().unwrap());
        let hogs = [(); 2].map(|()| Process::new(hog, (&m, &stop)).spawn().unwrap());
        until(|| m.is_locked());
        let start = Instant::now();
        for _ in 0..20 {
            *m.lock().unwrap() += 1;
        }
        stop.set().unwrap();
        hogs.into_iter().for_each(|hog| hog.join().unwrap().unwrap());
        // Three take turns of two milliseconds; kept out by luck alone it takes seconds.
        assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    });
}

#[task]
fn work_until_killed(pair: Mutex<[u64; 2]>, seed: u64) -> Result<(), Failure> {
    let mut random = Random::new(seed);
    loop {
        let mut pair = match pair.lock() {
            Ok(pair) => pair,
            Err(error) if error.kind() == ErrorKind::Poisoned => {
                let mut mended = pair.recover()?;
                mended[1] = mended[0];
                mended
            }
            Err(error) => return Err(error.into()),
        };
        assert_eq!(pair[0], pair[1], "not poisoned, but half-changed");
        pair[0] += 1;
        for _ in 0..random.below(2000) {
            std::hint::spin_loop();
        }
        if random.below(1000) == 0 {
            die();
        }
        pair[1] += 1;
    }
}

#[test]
fn a_storm_of_kills_leaves_a_lock_that_works_and_a_value_that_is_whole_or_known_not_to_be() {
    checked(|| {
        let pair = Mutex::new([0u64; 2]).unwrap();
        let mut random = Random::from_env();
        let mut spawn =
            |pair: &Mutex<[u64; 2]>| Process::new(work_until_killed, (pair, random.number())).spawn().unwrap();
        let mut children = [spawn(&pair), spawn(&pair), spawn(&pair)];
        for round in 0..60 {
            thread::sleep(Duration::from_millis(3));
            let child = std::mem::replace(&mut children[round % 3], spawn(&pair));
            murder(child);
        }
        children.into_iter().for_each(murder);
        let guard = pair.lock().or_else(|_| pair.recover()).unwrap();
        assert!(guard[0] - guard[1] <= 1 && guard[0] > 60, "{guard:?}");
    });
}

fn refused(result: Result<MutexGuard<'_, u64>, offspring::sync::SyncError>) -> bool {
    result.is_err_and(|error| error.kind() == ErrorKind::Unsupported)
}

#[test]
fn a_fork_of_the_programs_own_is_refused_and_lets_nothing_go() {
    checked(|| {
        let m = Mutex::new(7u64).unwrap();
        let guard = m.lock().unwrap();
        // SAFETY: the fork calls nothing that another thread may have locked.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0);
        if pid == 0 {
            let all = refused(m.lock()) && refused(m.try_lock()) && refused(m.recover()) && !m.is_locked();
            drop(guard);
            // SAFETY: ends the fork.
            unsafe { libc::_exit(if all && Mutex::new(0u64).is_err() { 0 } else { 1 }) };
        }
        let mut status = 0;
        // SAFETY: `status` is writable; the child is this test's own.
        assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
        assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "{status:#x}");
        assert!(m.is_locked(), "the fork let it go");
        assert_eq!(*guard, 7);
    });
}

#[task]
fn sum(accounts: &[Accounts], one: Accounts) -> i64 {
    accounts.iter().map(|it| it.cents.iter().sum::<i64>()).sum::<i64>() + one.cents[0] + i64::from(one.owner)
}

#[test]
fn plain_types_are_arguments_and_slices_of_them_are_read_in_place() {
    checked(|| {
        let one = Accounts { owner: 2, cents: [1; 20] };
        assert_eq!(Process::new(sum, (vec![one; 3], one)).spawn().unwrap().join().unwrap(), 63);
    });
}
