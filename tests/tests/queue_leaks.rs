//! Nothing is left of queues and pipes, full ones included, and of those whose users were killed.

use std::time::Duration;

use offspring::{JoinableQueue, Queue, pipe, spawn, task};
use offspring_tests::{leaks, watchdog};

#[task]
fn fill(queue: Queue<Vec<u8>>, jobs: JoinableQueue<Vec<u8>>, tx: pipe::Sender<Vec<u8>>) {
    for len in (0..).step_by(997) {
        queue.put(&vec![1; len % 9000]).unwrap();
        jobs.put(&vec![1; len % 9000]).unwrap();
        drop(jobs.take().unwrap());
        tx.send(&vec![1; len % 9000]).unwrap();
        let _ = queue.take();
    }
}

fn use_and_leave() {
    let queue: Queue<Vec<u8>> = Queue::unbounded().unwrap();
    let jobs: JoinableQueue<Vec<u8>> = JoinableQueue::unbounded().unwrap();
    let (tx, rx) = pipe::channel().unwrap();
    let mut child = spawn(fill, (&queue, &jobs, &tx)).unwrap();
    for _ in 0..20 {
        rx.recv().unwrap();
        queue.put(&vec![2; 20_000]).unwrap();
    }
    jobs.put(&vec![3; 100_000]).unwrap();
    jobs.get().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!jobs.is_empty());
}

#[test]
fn queues_leave_nothing() {
    let _watch = watchdog(Duration::from_secs(60));
    leaks::check(use_and_leave, || (0..10).for_each(|_| use_and_leave()));
}
