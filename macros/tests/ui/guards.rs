//! What a process has in its hands cannot be sent: guards, permits, jobs, views.
use offspring::sync::{MutexGuard, Permit, ReentrantMutexGuard, RwLockReadGuard, RwLockWriteGuard};
use offspring::{Job, Queue, View, task};

#[task]
fn guard(lock: MutexGuard<'static, u64>) {}

#[task]
fn guards() -> (RwLockReadGuard<'static, u64>, RwLockWriteGuard<'static, u64>) {
    unimplemented!()
}

#[task]
fn permit(sent: Vec<Permit<'static>>, again: ReentrantMutexGuard<'static>) {}

#[task]
fn job(job: Job<u64>, view: View<u64>) {}

fn main() {
    let queue: Queue<MutexGuard<'static, u64>> = Queue::unbounded().unwrap();
    drop(queue);
}
