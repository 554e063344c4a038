//! Signals that are waited for. Each test has a signal of its own, as they are the whole process's.

use std::time::Duration;

use offspring::{Disposition, ErrorKind, Pool, Signal, Signals, task, wait_any};
use offspring_tests::watchdog;

#[task]
fn forever() {
    std::thread::sleep(Duration::from_secs(600));
}

fn send(signal: Signal) {
    nix::sys::signal::kill(nix::unistd::Pid::this(), nix::sys::signal::Signal::try_from(signal.as_raw()).unwrap())
        .unwrap();
}

#[test]
fn a_signal_that_came_before_the_wait_is_kept() {
    let _watchdog = watchdog(Duration::from_secs(60));
    assert_eq!(Signal::USR1.disposition(), Disposition::Default);
    let signals = Signals::new([Signal::USR1]).unwrap();
    assert_eq!(Signal::USR1.disposition(), Disposition::Handled);
    assert_eq!(signals.try_wait(), None);
    send(Signal::USR1);
    assert_eq!(signals.wait().unwrap(), Signal::USR1);
    assert_eq!(signals.wait_timeout(Duration::from_millis(1)).unwrap(), None);
}

#[test]
fn a_signal_wakes_all_that_wait_for_it() {
    let _watchdog = watchdog(Duration::from_secs(60));
    let (one, other) = (Signals::new([Signal::USR2]).unwrap(), Signals::new([Signal::USR2, Signal::HUP]).unwrap());
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| one.wait().unwrap());
        let any = scope.spawn(|| wait_any(&[&other], None).unwrap());
        std::thread::sleep(Duration::from_millis(20));
        send(Signal::USR2);
        assert_eq!(waiting.join().unwrap(), Signal::USR2);
        assert_eq!(any.join().unwrap(), Some(0));
    });
    assert_eq!(other.try_wait(), Some(Signal::USR2));
    send(Signal::HUP);
    assert_eq!(other.wait().unwrap(), Signal::HUP);
    assert_eq!(one.try_wait(), None);
}

#[test]
fn signals_and_work_are_waited_for_together() {
    let _watchdog = watchdog(Duration::from_secs(60));
    let signals = Signals::new([Signal::WINCH]).unwrap();
    let pool = Pool::builder().workers(1).build().unwrap();
    let work = pool.submit(forever, ()).unwrap();
    assert_eq!(wait_any(&[&work, &signals], Some(Duration::from_millis(10))).unwrap(), None);
    let sender = std::thread::spawn(|| {
        std::thread::sleep(Duration::from_millis(50));
        send(Signal::WINCH);
    });
    assert_eq!(wait_any(&[&work, &signals], None).unwrap(), Some(1));
    assert_eq!(signals.try_wait(), Some(Signal::WINCH));
    sender.join().unwrap();
    pool.terminate();
}

#[test]
fn many_signals_while_waiting_cost_none() {
    let _watchdog = watchdog(Duration::from_secs(60));
    let signals = Signals::new([Signal::URG]).unwrap();
    for _ in 0..2000 {
        send(Signal::URG);
        assert_eq!(signals.wait().unwrap(), Signal::URG);
    }
}

#[test]
fn what_must_not_be_handled_is_refused() {
    for signal in [Signal::KILL, Signal::STOP, Signal::SEGV] {
        let error = Signals::new([signal]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io);
        assert!(error.to_string().contains(signal.name().unwrap()), "{error}");
    }
}
