//! The threads that hand chunks to the local pool, and the queue before them.

use std::collections::VecDeque;
use std::sync::mpsc::{Sender, channel};
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
    /// Nothing else may run meanwhile, and it begins only when its run has been asked.
    pub(super) alone: bool,
    pub(super) say: UnboundedSender<Word>,
}

/// What a thread tells a run.
pub(super) enum Word {
    /// It is this chunk's turn, and nothing else runs. It begins if `true` is sent, and is forgotten otherwise.
    Turn {
        chunk: u64,
        go: Sender<bool>,
    },
    Done(Done),
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
    /// Those that run alone: they come before all others, once nothing runs any more.
    lone: VecDeque<Job>,
    /// One of these runs.
    is_alone: bool,
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
                if let Some(job) = queue.next() {
                    break job;
                }
                if queue.is_over {
                    return;
                }
                queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
            };
            queue.begun[thread] = Some(Instant::now());
            drop(queue);
            if job.alone {
                self.run_alone(&job);
            } else {
                self.run(&job);
            }
        }
    }

    fn run_alone(&self, job: &Job) {
        let (go, goes) = channel();
        let _ = job.say.send(Word::Turn { chunk: job.chunk, go });
        // A run that is over drops its end.
        if goes.recv() == Ok(true) {
            self.run(job);
        }
        self.queue().is_alone = false;
        self.changed.notify_all();
    }

    fn run(&self, job: &Job) {
        let begun = Instant::now();
        let reply = self.runner.run(&job.body);
        let reply = reply.map(|reply| Bytes::copy_from_slice(&reply)).map_err(|bad| bad.to_string());
        // The run may be over: then nobody wants it.
        let _ = job.say.send(Word::Done(Done { chunk: job.chunk, reply, took: begun.elapsed() }));
    }
}

impl Queue {
    /// What a thread without work may begin with.
    fn next(&mut self) -> Option<Job> {
        if self.is_alone {
            return None;
        }
        if self.lone.is_empty() {
            return self.jobs.pop_front();
        }
        self.is_alone = self.begun.iter().all(Option::is_none);
        if self.is_alone { self.lone.pop_front() } else { None }
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

    /// How many threads cannot take a chunk, as they are at one for longer than this.
    pub(super) fn busy_for(&self, time: Duration) -> usize {
        let queue = self.shared.queue();
        let busy = queue.begun.iter().flatten().filter(|begun| begun.elapsed() > time).count();
        if queue.is_alone && busy > 0 { self.slots() } else { busy }
    }

    /// Is there a chunk for which all others must wait?
    pub(super) fn is_reserved(&self) -> bool {
        let queue = self.shared.queue();
        queue.is_alone || !queue.lone.is_empty()
    }

    pub(super) fn put(&self, job: Job) {
        let mut queue = self.shared.queue();
        if job.alone {
            queue.lone.push_back(job);
        } else {
            queue.jobs.push_back(job);
        }
        drop(queue);
        self.shared.changed.notify_one();
    }

    /// Takes a chunk out of the queue, if it has not begun.
    pub(super) fn take_back(&self, run: u64, chunk: u64) -> Option<Job> {
        let mut queue = self.shared.queue();
        let is_it = |job: &Job| job.run == run && job.chunk == chunk;
        if let Some(at) = queue.jobs.iter().position(is_it) {
            return queue.jobs.remove(at);
        }
        let at = queue.lone.iter().position(is_it)?;
        let job = queue.lone.remove(at);
        drop(queue);
        // Those that had to wait for it.
        self.shared.changed.notify_all();
        job
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
            queue.lone.clear();
            queue.is_over = true;
        }
        self.shared.changed.notify_all();
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}
