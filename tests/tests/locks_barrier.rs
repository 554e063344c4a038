//! `Barrier` between real processes.

use offspring::sync::{Barrier, Mutex};
use offspring::{Child, ErrorKind, Failure, Process, task};
use offspring_tests::locks::{FOR_EVER, asleep, checked, die, murder, until};
use std::thread;
use std::time::Duration;

#[task]
fn meet(barrier: Barrier, rounds: Mutex<[u32; 8]>, times: usize) -> Result<u32, Failure> {
    let mut leader = 0;
    for round in 0..times {
        rounds.lock()?[round] += 1;
        leader += u32::from(barrier.wait()?.is_leader());
        assert_eq!(rounds.lock()?[round], 4, "let go before all were there");
    }
    Ok(leader)
}

#[test]
fn all_meet_and_each_round_has_one_leader() {
    checked(|| {
        let (barrier, rounds) = (Barrier::new(4).unwrap(), Mutex::new([0u32; 8]).unwrap());
        let children = [(); 3].map(|()| Process::new(meet, (&barrier, &rounds, 8)).spawn().unwrap());
        let mut leaders = meet(barrier.clone(), rounds.clone(), 8).unwrap();
        children.into_iter().for_each(|child| leaders += child.join().unwrap().unwrap());
        assert_eq!(leaders, 8);
        // Those who took part have ended, in order: that breaks nothing.
        assert!(!barrier.is_broken());
        assert_eq!((barrier.parties(), barrier.waiting()), (4, 0));
    });
}

#[task]
fn wait(barrier: Barrier) -> Option<String> {
    barrier.wait().err().map(|error| format!("{:?}", error.kind()))
}

#[test]
fn who_comes_too_late_finds_it_broken_and_a_reset_mends_it() {
    checked(|| {
        let barrier = Barrier::new(3).unwrap();
        let waiter = Process::new(wait, &barrier).spawn().unwrap();
        until(|| barrier.waiting() == 1);
        assert_eq!(barrier.wait_timeout(Duration::from_millis(20)).unwrap_err().kind(), ErrorKind::Timeout);
        assert_eq!(waiter.join().unwrap().as_deref(), Some("Broken"));
        assert!(barrier.is_broken());
        assert_eq!(barrier.wait().unwrap_err().kind(), ErrorKind::Broken);
        barrier.reset().unwrap();
        let waiters: Vec<Child<_>> = (0..2).map(|_| Process::new(wait, &barrier).spawn().unwrap()).collect();
        barrier.wait().unwrap();
        waiters.into_iter().for_each(|waiter| assert_eq!(waiter.join().unwrap(), None));

        for end in [Barrier::abort, Barrier::reset] {
            let waiter = Process::new(wait, &barrier).spawn().unwrap();
            until(|| barrier.waiting() == 1);
            end(&barrier).unwrap();
            assert_eq!(waiter.join().unwrap().as_deref(), Some("Broken"));
            barrier.reset().unwrap();
        }
        assert_eq!(Barrier::new(0).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert!(Barrier::new(1).unwrap().wait().unwrap().is_leader());
    });
}

#[test]
fn it_breaks_when_one_who_waits_is_killed() {
    checked(|| {
        let barrier = Barrier::new(3).unwrap();
        let waiters = [(); 2].map(|()| Process::new(wait, &barrier).spawn().unwrap());
        until(|| barrier.waiting() == 2);
        waiters.iter().for_each(asleep);
        let [one, other] = waiters;
        murder(one);
        assert_eq!(other.join().unwrap().as_deref(), Some("Broken"));
        assert_eq!(barrier.wait().unwrap_err().kind(), ErrorKind::Broken);
    });
}

#[task]
fn meet_once_and_die(barrier: Barrier) -> Result<(), Failure> {
    barrier.wait()?;
    die()
}

#[test]
fn it_breaks_when_a_participant_is_killed_between_two_rounds() {
    checked(|| {
        let barrier = Barrier::new(2).unwrap();
        let mut child = Process::new(meet_once_and_die, &barrier).spawn().unwrap();
        barrier.wait().unwrap();
        // Before or after the death: nobody waits for ever.
        assert_eq!(barrier.wait().unwrap_err().kind(), ErrorKind::Broken);
        child.wait().unwrap();
        barrier.reset().unwrap();
        // One who never waited here is no participant.
        let stranger = Process::new(hold, &barrier).spawn().unwrap();
        asleep(&stranger);
        murder(stranger);
        assert!(!barrier.is_broken());
    });
}

#[task]
fn hold(barrier: Barrier) {
    thread::sleep(FOR_EVER);
    drop(barrier);
}
