//! `Once` between real processes.

use offspring::sync::{Event, Mutex, Once};
use offspring::{Child, ErrorKind, Failure, Process, task};
use offspring_tests::locks::{asleep, checked, die, murder};
use std::thread;
use std::time::Duration;

#[task]
fn count(once: Once, runs: Mutex<u32>) -> Result<bool, Failure> {
    let ran = once.call_once(|| {
        thread::sleep(Duration::from_millis(5));
        *runs.lock().unwrap() += 1;
    })?;
    assert!(once.is_completed());
    Ok(ran)
}

#[test]
fn it_is_done_once_and_all_wait_until_it_is() {
    checked(|| {
        let (once, runs) = (Once::new().unwrap(), Mutex::new(0u32).unwrap());
        let children: Vec<Child<_>> = (0..4).map(|_| Process::new(count, (&once, &runs)).spawn().unwrap()).collect();
        once.wait().unwrap();
        let ran = children.into_iter().map(|child| child.join().unwrap().unwrap());
        assert_eq!(ran.filter(|ran| *ran).count(), 1);
        assert_eq!(*runs.lock().unwrap(), 1);
    });
}

#[task]
fn begin_and_wait(once: Once, begun: Event) -> Result<(), Failure> {
    once.call_once(|| {
        begun.set().unwrap();
        thread::sleep(offspring_tests::locks::FOR_EVER);
    })?;
    Ok(())
}

#[task]
fn begin_and_die(once: Once) -> Result<bool, Failure> {
    Ok(once.call_once(|| die())?)
}

#[test]
fn when_its_runner_dies_the_next_one_does_it() {
    checked(|| {
        let (once, runs, begun) = (Once::new().unwrap(), Mutex::new(0u32).unwrap(), Event::new().unwrap());
        let runner = Process::new(begin_and_wait, (&once, &begun)).spawn().unwrap();
        begun.wait().unwrap();
        let next = Process::new(count, (&once, &runs)).spawn().unwrap();
        asleep(&next);
        assert!(!once.wait_timeout(Duration::from_millis(5)).unwrap());
        assert_eq!(once.call_once_timeout(Duration::from_millis(5), || ()).unwrap_err().kind(), ErrorKind::Timeout);
        murder(runner);
        assert!(next.join().unwrap().unwrap());
        assert!(once.is_completed());
        assert_eq!(*runs.lock().unwrap(), 1);

        let once = Once::new().unwrap();
        let mut doomed: Vec<Child<_>> = (0..4).map(|_| Process::new(begin_and_die, &once).spawn().unwrap()).collect();
        for child in &mut doomed {
            child.wait().unwrap();
        }
        assert!(once.call_once(|| ()).unwrap(), "all who tried died");
    });
}

#[test]
fn a_panic_or_an_error_leaves_it_to_the_next_one_and_a_call_from_within_is_refused() {
    checked(|| {
        let once = Once::new().unwrap();
        let clone = once.clone();
        assert!(thread::spawn(move || clone.call_once(|| panic!("on the way"))).join().is_err());
        assert_eq!(once.try_call_once(|| Err::<(), _>("not yet")).unwrap(), Err("not yet"));
        let within = |once: &Once| once.call_once(|| ()).unwrap_err().kind();
        let mut kind = None;
        assert!(once.call_once(|| kind = Some(within(&once))).unwrap());
        assert_eq!(kind, Some(ErrorKind::Deadlock));
        assert!(!once.call_once(|| unreachable!()).unwrap());
    });
}
