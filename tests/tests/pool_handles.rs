//! What happens when submitted calls are over: callbacks, futures, and waiting for any of several.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use offspring::{Pool, TaskHandle, WaitFor, as_completed, task, wait, wait_any};
use offspring_tests::watchdog;

#[task]
fn nap(millis: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(millis));
    millis
}

#[task]
fn unlucky(x: u32) -> u32 {
    assert!(x != 13, "unlucky");
    x
}

#[task]
fn dies(x: u32) -> u32 {
    if x == 13 {
        std::process::abort();
    }
    x
}

fn watch() -> offspring_tests::Watchdog {
    watchdog(Duration::from_secs(120))
}

fn pool(workers: usize) -> Pool {
    Pool::builder().workers(workers).build().unwrap()
}

/// The smallest executor: parks the thread until it is woken.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return value;
        }
        std::thread::park();
    }
}

#[test]
fn callbacks_run_in_this_process_once_each() {
    let _watch = watch();
    let pool = pool(3);
    let (sender, receiver) = mpsc::channel();
    let handles: Vec<_> = (0..50u32).map(|x| pool.submit(unlucky, x).unwrap()).collect();
    for (index, handle) in handles.iter().enumerate() {
        let sender = sender.clone();
        handle.on_done(move |result| {
            sender.send((index, result.as_ref().ok().copied(), std::process::id())).unwrap();
        });
    }
    drop((handles, sender));
    let mut heard: Vec<_> = receiver.into_iter().collect();
    heard.sort_unstable();
    let expected: Vec<_> = (0..50).map(|x| (x as usize, (x != 13).then_some(x as u32), std::process::id())).collect();
    assert_eq!(heard, expected);
}

#[test]
fn a_panicking_callback_harms_nothing() {
    let _watch = watch();
    let pool = pool(1);
    let (sender, receiver) = mpsc::channel();
    let handle = pool.submit(unlucky, 1u32).unwrap();
    handle.on_done(|_| panic!("in a callback"));
    handle.on_done(move |result| sender.send(*result.as_ref().unwrap()).unwrap());
    assert_eq!(receiver.recv().unwrap(), 1);
    assert_eq!(handle.get().unwrap(), 1);
}

#[test]
fn callbacks_hear_of_dead_workers_and_of_terminated_pools() {
    let _watch = watch();
    let pool = pool(1);
    let (sender, receiver) = mpsc::channel();
    let dying = pool.submit(dies, 13u32).unwrap();
    let sender_of = |sender: &mpsc::Sender<bool>| {
        let sender = sender.clone();
        move |died: bool| sender.send(died).unwrap()
    };
    let send = sender_of(&sender);
    dying.on_done(move |result| send(result.as_ref().unwrap_err().is_worker_died()));
    assert!(receiver.recv().unwrap());
    let endless = pool.submit(nap, 600_000u64).unwrap();
    let send = sender_of(&sender);
    endless.on_done(move |result| send(result.is_err()));
    std::thread::sleep(Duration::from_millis(50));
    pool.terminate();
    assert!(receiver.recv().unwrap());
}

#[test]
fn handles_can_be_awaited_on_any_executor() {
    let _watch = watch();
    let pool = pool(2);
    let sum = block_on(async {
        let slow = pool.submit(nap, 60u64).unwrap();
        let quick = pool.submit(nap, 1u64).unwrap();
        let failed = pool.submit(unlucky, 13u32).unwrap().await;
        assert!(failed.unwrap_err().is_panicked());
        slow.await.unwrap() + quick.await.unwrap()
    });
    assert_eq!(sum, 61);
}

#[test]
fn handles_come_back_as_they_are_done() {
    let _watch = watch();
    let pool = pool(3);
    let handles: Vec<_> = [900u64, 1, 450].iter().map(|millis| pool.submit(nap, *millis).unwrap()).collect();
    let order: Vec<u64> = as_completed(handles).map(|handle| handle.get().unwrap()).collect();
    assert_eq!(order, [1, 450, 900]);
    let many: Vec<_> = (0..2_000u32).map(|x| pool.submit(unlucky, x).unwrap()).collect();
    let values: usize = as_completed(many).filter(|handle| handle.is_ready()).count();
    assert_eq!(values, 2_000);
    assert_eq!(as_completed(Vec::<TaskHandle<u32>>::new()).count(), 0);
}

#[test]
fn waits_end_with_the_first_the_first_failure_or_all() {
    let _watch = watch();
    let pool = pool(3);
    let naps = |millis: &[u64]| millis.iter().map(|millis| pool.submit(nap, *millis).unwrap()).collect::<Vec<_>>();
    let (done, running) = wait(naps(&[400, 1, 400]), WaitFor::First, None);
    assert_eq!((done.len(), running.len()), (1, 2));
    let (done, running) = wait(running, WaitFor::All, None);
    assert_eq!((done.len(), running.len()), (2, 0));
    let (done, running) = wait(naps(&[60_000, 60_000]), WaitFor::First, Some(Duration::from_millis(20)));
    assert_eq!((done.len(), running.len()), (0, 2));
    running.iter().for_each(TaskHandle::cancel);
    let lucky: Vec<_> = [1u32, 13, 2].iter().map(|x| pool.submit(unlucky, *x).unwrap()).collect();
    let (done, _) = wait(lucky, WaitFor::FirstError, None);
    assert!(done.into_iter().any(|handle| handle.get().is_err()));
}

#[test]
fn handles_and_children_are_waited_for_together() {
    let _watch = watch();
    let pool = pool(1);
    let child = offspring::spawn(nap, 60_000u64).unwrap();
    let handle = pool.submit(nap, 30u64).unwrap();
    assert_eq!(wait_any(&[&child, &handle], Some(Duration::from_secs(60))).unwrap(), Some(1));
    child.kill().unwrap();
    let endless = pool.submit(nap, 60_000u64).unwrap();
    assert_eq!(wait_any(&[&endless, &child], Some(Duration::from_secs(60))).unwrap(), Some(1));
    assert_eq!(wait_any(&[&endless], Some(Duration::from_millis(10))).unwrap(), None);
}

#[test]
fn watching_again_and_again_adds_nothing() {
    let _watch = watch();
    let pool = pool(2);
    let endless = pool.submit(nap, 60_000u64).unwrap();
    let rounds = AtomicUsize::new(0);
    for _ in 0..2_000 {
        assert_eq!(wait_any(&[&endless], Some(Duration::ZERO)).unwrap(), None);
        rounds.fetch_add(1, Ordering::Relaxed);
    }
    assert_eq!(pool.call(unlucky, 3u32).unwrap(), 3);
    assert_eq!(rounds.into_inner(), 2_000);
}
