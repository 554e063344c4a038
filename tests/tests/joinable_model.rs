//! Random operations on joinable queues, in one process beside a model of std's collections, and in several, some of which are killed.

use std::collections::{BTreeMap, VecDeque};
use std::thread;
use std::time::Duration;

use offspring::{Child, ErrorKind, Failure, Job, JoinableQueue, Queue, spawn, sync::Event, task};
use offspring_tests::kill::Random;
use offspring_tests::locks::{asleep, checked, murder, until};

/// Short, or long enough for a large block.
fn item(number: u64) -> Vec<u64> {
    vec![number; if number.is_multiple_of(9) { 900 } else { 1 + number as usize % 20 }]
}

#[derive(Default)]
struct Model {
    waiting: VecDeque<u64>,
    back: Vec<u64>,
    handed: Vec<u64>,
    gotten: Vec<u64>,
    put: u64,
    done: u64,
}

impl Model {
    /// What may be handed out next: any of those that came back, or else the oldest.
    fn take(&mut self, number: u64) {
        match self.back.iter().position(|it| *it == number) {
            Some(at) => drop(self.back.swap_remove(at)),
            None => {
                assert!(self.back.is_empty(), "{number} was handed out before {:?}, which came back", self.back);
                assert_eq!(self.waiting.pop_front(), Some(number));
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.back.is_empty()
    }
}

#[test]
fn a_joinable_queue_is_a_deque_and_a_bag_of_what_is_in_work() {
    checked(|| {
        let mut random = Random::from_env();
        for capacity in [1, 3, 200] {
            let queue: JoinableQueue<Vec<u64>> = JoinableQueue::bounded(capacity).unwrap();
            let mut model = Model::default();
            let mut jobs: Vec<Job<Vec<u64>>> = Vec::new();
            for step in 0..6000 {
                let rather_fill = step / 600 % 2 == 0;
                match random.below(if rather_fill { 6 } else { 9 }) {
                    0..=2 => match queue.try_put(&item(model.put)) {
                        Ok(()) => {
                            model.waiting.push_back(model.put);
                            model.put += 1;
                        }
                        // What came back has its place no more.
                        Err(error) => assert_eq!((error.kind(), model.waiting.len()), (ErrorKind::Full, capacity)),
                    },
                    3 => match queue.try_take() {
                        Ok(job) => {
                            let number = job[0].to_native();
                            assert_eq!(job.value().unwrap(), item(number));
                            model.take(number);
                            model.handed.push(number);
                            jobs.push(job);
                        }
                        Err(error) => assert!(error.kind() == ErrorKind::Empty && model.is_empty()),
                    },
                    4 => match queue.try_get() {
                        Ok(value) => {
                            assert_eq!(value, item(value[0]));
                            model.take(value[0]);
                            model.gotten.push(value[0]);
                        }
                        Err(error) => assert!(error.kind() == ErrorKind::Empty && model.is_empty()),
                    },
                    5 if !jobs.is_empty() => {
                        let at = random.below(jobs.len() as u64) as usize;
                        model.back.push(model.handed.swap_remove(at));
                        drop(jobs.swap_remove(at));
                    }
                    6 | 7 if !jobs.is_empty() => {
                        let at = random.below(jobs.len() as u64) as usize;
                        model.handed.swap_remove(at);
                        jobs.swap_remove(at).done().unwrap();
                        model.done += 1;
                    }
                    8 => match queue.task_done() {
                        Ok(()) => {
                            assert!(model.gotten.pop().is_some());
                            model.done += 1;
                        }
                        Err(error) => assert!(error.kind() == ErrorKind::InvalidInput && model.gotten.is_empty()),
                    },
                    _ => {}
                }
                let lens = (queue.len(), queue.unfinished());
                assert_eq!(lens, (model.waiting.len() + model.back.len(), (model.put - model.done) as usize));
                let idle = queue.join_timeout(Duration::ZERO).unwrap();
                assert_eq!(idle, model.put == model.done);
            }
        }
    });
}

/// Works in all ways until all is done. `done` gets what this one did.
#[task]
fn work(jobs: JoinableQueue<Vec<u64>>, done: Queue<u64>, seed: u64) -> Result<(), Failure> {
    let mut random = Random::new(seed);
    loop {
        let job = match random.below(5) {
            0 => jobs.next_job().map(|job| job.ok_or(ErrorKind::Closed)),
            1 => {
                jobs.next_job_timeout(Duration::from_micros(random.below(500))).map(|job| job.ok_or(ErrorKind::Closed))
            }
            2 => jobs.try_next_job().map(|job| job.ok_or(ErrorKind::Closed)),
            3 => jobs.try_take().map(Ok),
            _ => match jobs.try_get() {
                Ok(value) => {
                    assert_eq!(value, item(value[0]));
                    done.put(&value[0])?;
                    jobs.task_done()?;
                    continue;
                }
                Err(error) => Err(error),
            },
        };
        match job.map_err(|error| error.kind()) {
            Ok(Err(_)) => return Ok(()),
            // Given back.
            Ok(Ok(job)) if random.below(5) == 0 => drop(job),
            Ok(Ok(job)) => {
                assert_eq!(job.value()?, item(job[0].to_native()));
                done.put(&job[0].to_native())?;
                job.done()?;
            }
            // `take` says Closed although others still work.
            Err(kind) => assert!(matches!(kind, ErrorKind::Empty | ErrorKind::Timeout | ErrorKind::Closed), "{kind:?}"),
        }
    }
}

#[task]
fn put(jobs: JoinableQueue<Vec<u64>>, from: u64, to: u64) -> Result<(), Failure> {
    for number in from..to {
        jobs.put(&item(number))?;
    }
    Ok(())
}

/// How often each number was done, of 2 putters' `each`, by three workers of whom some are killed.
fn times(random: &mut Random, each: u64, kills: usize) -> BTreeMap<u64, u32> {
    let (jobs, done) = (JoinableQueue::bounded(30).unwrap(), Queue::unbounded().unwrap());
    let worker = |random: &mut Random| spawn(work, (&jobs, &done, random.number())).unwrap();
    let mut workers: Vec<Child<Result<(), Failure>>> = (0..3).map(|_| worker(random)).collect();
    let putters = [0, 1].map(|at| spawn(put, (&jobs, at * each, (at + 1) * each)).unwrap());
    for _ in 0..kills {
        thread::sleep(Duration::from_micros(500 + random.below(4000)));
        let at = random.below(3) as usize;
        let new = worker(random);
        murder(std::mem::replace(&mut workers[at], new));
    }
    putters.into_iter().for_each(|putter| putter.join().unwrap().unwrap());
    jobs.close().unwrap();
    jobs.join().unwrap();
    workers.into_iter().for_each(|worker| worker.join().unwrap().unwrap());
    assert_eq!((jobs.len(), jobs.unfinished()), (0, 0));
    let mut times = BTreeMap::new();
    done.drain().for_each(|number| *times.entry(number.unwrap()).or_default() += 1);
    assert_eq!(times.len() as u64, 2 * each, "items were never done");
    times
}

#[test]
fn every_item_is_done_once_by_several_processes() {
    checked(|| {
        let mut random = Random::from_env();
        assert!(times(&mut random, 1500, 0).values().all(|times| *times == 1));
    });
}

#[test]
fn every_item_is_done_although_workers_are_killed_and_at_most_once_more_for_each_kill() {
    checked(|| {
        let mut random = Random::from_env();
        let times = times(&mut random, 1500, 12);
        let again: u32 = times.values().map(|times| times - 1).sum();
        assert!(again <= 12, "{again} items were done again after 12 kills");
    });
}

#[task]
fn take_and_stay(jobs: JoinableQueue<Vec<u64>>, taken: Event) -> Result<(), Failure> {
    let _job = jobs.take()?;
    taken.set()?;
    loop {
        thread::sleep(Duration::from_secs(1));
    }
}

#[task]
fn finish(jobs: JoinableQueue<Vec<u64>>) -> Result<Vec<(u64, u32)>, Failure> {
    let mut done = Vec::new();
    while let Some(job) = jobs.next_job()? {
        done.push((job[0].to_native(), job.tries()));
        job.done()?;
    }
    Ok(done)
}

#[test]
fn an_item_of_a_dead_holder_comes_back_to_a_closed_queue_and_to_those_who_wait_for_it() {
    checked(|| {
        let (jobs, taken) = (JoinableQueue::unbounded().unwrap(), Event::new().unwrap());
        jobs.put(&item(7)).unwrap();
        let holder = spawn(take_and_stay, (&jobs, &taken)).unwrap();
        taken.wait().unwrap();
        jobs.close().unwrap();
        // Who takes is not kept waiting for what may never come back; who asks for the next job is.
        assert_eq!(jobs.take().unwrap_err().kind(), ErrorKind::Closed);
        assert_eq!(jobs.get().unwrap_err().kind(), ErrorKind::Closed);
        assert_eq!(jobs.try_next_job().unwrap_err().kind(), ErrorKind::Empty);
        assert_eq!(jobs.next_job_timeout(Duration::from_millis(10)).unwrap_err().kind(), ErrorKind::Timeout);
        let others = [spawn(finish, &jobs).unwrap(), spawn(finish, &jobs).unwrap()];
        others.iter().for_each(asleep);
        murder(holder);
        jobs.join().unwrap();
        let done: Vec<(u64, u32)> = others.into_iter().flat_map(|other| other.join().unwrap().unwrap()).collect();
        assert_eq!(done, [(7, 1)]);
        assert!(jobs.next_job().unwrap().is_none());
        assert_eq!(jobs.take().unwrap_err().kind(), ErrorKind::Closed);
    });
}

#[test]
fn an_item_that_came_back_to_a_closed_queue_is_there_for_take_too() {
    checked(|| {
        let (jobs, taken) = (JoinableQueue::unbounded().unwrap(), Event::new().unwrap());
        jobs.put(&item(7)).unwrap();
        let holder = spawn(take_and_stay, (&jobs, &taken)).unwrap();
        taken.wait().unwrap();
        jobs.close().unwrap();
        murder(holder);
        until(|| jobs.len() == 1);
        let job = jobs.take().unwrap();
        assert_eq!((job[0].to_native(), job.tries(), jobs.unfinished()), (7, 1, 1));
        job.done().unwrap();
        jobs.join().unwrap();
    });
}
