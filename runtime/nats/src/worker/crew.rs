//! The threads that hand chunks to the local pool, and the queue before them.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use offspring::CancelLevel;
use tokio::sync::mpsc::UnboundedSender;

use offspring::engine::{ChunkId, Runner};

/// A chunk that waits for its turn.
pub(super) struct Job {
    pub(super) run: u64,
    pub(super) chunk: u64,
    pub(super) body: Bytes,
    pub(super) done: UnboundedSender<Done>,
}

/// A chunk that was run.
pub(super) struct Done {
    pub(super) chunk: u64,
    /// The reply, or why the chunk makes no sense here.
    pub(super) reply: Result<Bytes, String>,
    pub(super) took: Duration,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    /// When the chunks that run were begun, by thread.
    begun: Vec<Option<Instant>>,
    is_over: bool,
}

/// What the threads share.
struct Shared {
    runner: Runner,
    queue: Mutex<Queue>,
    changed: Condvar,
}

/// The threads of a worker, one for each task that may run at a time.
pub(super) struct Crew {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, thread: usize) {
        loop {
            let mut queue = self.queue();
            queue.begun[thread] = None;
            let job = loop {
                if let Some(job) = queue.jobs.pop_front() {
                    break job;
                }
                if queue.is_over {
                    return;
                }
                queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
            };
            let begun = Instant::now();
            queue.begun[thread] = Some(begun);
            drop(queue);
            let reply = self.runner.run(&job.body);
            let reply = reply.map(|reply| Bytes::copy_from_slice(&reply)).map_err(|bad| bad.to_string());
            // The run may be over: then nobody wants it.
            let _ = job.done.send(Done { chunk: job.chunk, reply, took: begun.elapsed() });
        }
    }
}

impl Crew {
    pub(super) fn start(runner: Runner) -> std::io::Result<Crew> {
        let slots = runner.workers().max(1);
        let queue = Queue { begun: vec![None; slots], ..Queue::default() };
        let shared = Arc::new(Shared { runner, queue: Mutex::new(queue), changed: Condvar::new() });
        let mut crew = Crew { shared, threads: Vec::with_capacity(slots) };
        for number in 0..slots {
            let shared = crew.shared.clone();
            let thread =
                std::thread::Builder::new().name("offspring-nats".into()).spawn(move || shared.serve(number))?;
            crew.threads.push(thread);
        }
        Ok(crew)
    }

    /// How many chunks are run at a time.
    pub(super) fn slots(&self) -> usize {
        self.threads.len()
    }

    /// How many threads are at a chunk for longer than this.
    pub(super) fn busy_for(&self, time: Duration) -> usize {
        let queue = self.shared.queue();
        queue.begun.iter().flatten().filter(|begun| begun.elapsed() > time).count()
    }

    pub(super) fn put(&self, job: Job) {
        self.shared.queue().jobs.push_back(job);
        self.shared.changed.notify_one();
    }

    /// Takes a chunk out of the queue, if it has not begun.
    pub(super) fn take_back(&self, run: u64, chunk: u64) -> Option<Job> {
        let mut queue = self.shared.queue();
        let at = queue.jobs.iter().position(|job| job.run == run && job.chunk == chunk)?;
        queue.jobs.remove(at)
    }

    /// Ends what runs, and with it the local pool.
    pub(super) fn abort(&self) {
        if let Some(pool) = self.shared.runner.pool() {
            pool.terminate();
        }
    }

    pub(super) fn cancel(&self, id: ChunkId, level: CancelLevel) {
        self.shared.runner.cancel(id, level);
    }
}

impl Drop for Crew {
    /// Waits for the chunks that are run.
    fn drop(&mut self) {
        {
            let mut queue = self.shared.queue();
            queue.jobs.clear();
            queue.is_over = true;
        }
        self.shared.changed.notify_all();
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}
