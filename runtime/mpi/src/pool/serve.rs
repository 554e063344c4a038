//! The side of all ranks but 0: they run chunks until rank 0 says that there are no more.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use offspring::CancelLevel;
use offspring::engine::{BadMessage, Buffer, ChunkId, PeerId, Poll, Reply, Runner, build_id};

use super::channel::{Arrived, Channel, Held, Kind};
use super::greeting::Greeting;
use super::master::{LOOKS, PAUSE};
use crate::sys::{self, RawComm};
use crate::{MpiError, Result};

/// What a rank has before it.
struct Server {
    channel: RefCell<Channel>,
    runner: Runner,
    chunks: RefCell<VecDeque<Buffer>>,
    over: Cell<bool>,
    failed: RefCell<Option<MpiError>>,
}

impl Server {
    /// Takes what is there.
    fn look(&self) {
        loop {
            // A task may ask while this thread is in here already: not so, as nothing in here runs tasks.
            let Ok(mut channel) = self.channel.try_borrow_mut() else { return };
            let arrived = channel.flush().and_then(|_| channel.receive());
            match arrived {
                Ok(None) => return,
                Ok(Some(Arrived { kind: Kind::Chunk, bytes, .. })) => self.chunks.borrow_mut().push_back(bytes),
                Ok(Some(Arrived { kind: Kind::Cancel, bytes, .. })) => {
                    cancel(&self.runner, bytes.bytes());
                    channel.give_back(bytes);
                }
                Ok(Some(Arrived { kind: Kind::Bye, .. })) => self.over.set(true),
                Ok(Some(_)) => {}
                Err(error) => {
                    self.failed.replace(Some(error));
                    self.over.set(true);
                    return;
                }
            }
        }
    }

    fn reply(&self, reply: Result<Reply, BadMessage>) -> Result<()> {
        let reply = reply.map_err(|error| MpiError::NotSendable(error.to_string()))?;
        self.channel.borrow_mut().send(0, Kind::Reply, Held::Reply(reply))
    }
}

fn cancel(runner: &Runner, bytes: &[u8]) {
    let Some((pool, rest)) = bytes.split_first_chunk::<8>() else { return };
    let Some((chunk, level)) = rest.split_first_chunk::<8>() else { return };
    let level = match level {
        [0] => CancelLevel::Cooperative,
        [1] => CancelLevel::Soft,
        _ => CancelLevel::Hard,
    };
    runner.cancel(ChunkId { pool: u64::from_le_bytes(*pool), chunk: u64::from_le_bytes(*chunk) }, level);
}

/// Serves until rank 0 says that there is nothing more to do.
pub(super) fn serve(comm: RawComm, rank: i32, runner: Runner) -> Result<()> {
    let mut channel = Channel::new(comm);
    let greeting = Greeting {
        build: build_id(),
        workers: runner.workers() as u64,
        kills: runner.kills(),
        process: std::process::id(),
        host: sys::host(),
    };
    channel.send(0, Kind::Greeting, Held::Bytes(greeting.write().into()))?;
    let answer = loop {
        channel.flush()?;
        match channel.receive()? {
            Some(Arrived { kind: Kind::Answer, bytes, .. }) => break bytes.bytes() == [1],
            Some(_) => {}
            None => std::thread::sleep(PAUSE),
        }
    };
    if !answer {
        // Rank 0 says which one it is; it may be this one.
        return Err(MpiError::OtherBuild { rank });
    }
    let lanes = if runner.kills() { runner.workers() } else { 0 };
    let server = Rc::new(Server {
        channel: RefCell::new(channel),
        runner,
        chunks: RefCell::default(),
        over: Cell::new(false),
        failed: RefCell::default(),
    });
    if lanes == 0 {
        run_here(&server)?
    } else {
        run_in_lanes(&server, lanes)?
    }
    if let Some(error) = server.failed.take() {
        return Err(error);
    }
    let mut channel = server.channel.borrow_mut();
    channel.send(0, Kind::Gone, Held::Bytes(Box::new([])))?;
    while !channel.flush()? {
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// Runs chunks in this thread, one after the other.
fn run_here(server: &Rc<Server>) -> Result<()> {
    let poll: Poll = {
        let server = server.clone();
        Rc::new(move || server.look())
    };
    let mut looks = 0;
    loop {
        server.look();
        let next = server.chunks.borrow_mut().pop_front();
        match next {
            Some(chunk) => {
                looks = 0;
                let reply = server.runner.run_polling(chunk.bytes(), Some(poll.clone()));
                server.channel.borrow_mut().give_back(chunk);
                server.reply(reply)?;
            }
            None if server.over.get() => return Ok(()),
            None => {
                looks += 1;
                if looks > LOOKS {
                    std::thread::sleep(PAUSE);
                }
            }
        }
    }
}

type Lane = mpsc::Sender<Buffer>;

/// Has chunks run by threads that wait for the processes of a pool.
fn run_in_lanes(server: &Rc<Server>, lanes: usize) -> Result<()> {
    let (work, taken): (Lane, _) = mpsc::channel();
    let taken = Arc::new(Mutex::new(taken));
    let (done, replies) = mpsc::channel();
    let runner = &server.runner;
    std::thread::scope(|scope| {
        for _ in 0..lanes {
            let (taken, done) = (taken.clone(), done.clone());
            let run = move || {
                loop {
                    // The lock is held while it waits: the others wait behind it.
                    let next = taken.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(chunk) = next else { return };
                    let reply: Result<Reply, BadMessage> = runner.run(chunk.bytes());
                    if done.send((reply, chunk)).is_err() {
                        return;
                    }
                }
            };
            std::thread::Builder::new().name("offspring-chunk".into()).spawn_scoped(scope, run)?;
        }
        let (mut looks, mut under_way) = (0, 0usize);
        // Dropped at the end, also at an early one: the lanes end.
        let work = work;
        loop {
            server.look();
            let mut busy = false;
            while let Some(chunk) = server.chunks.borrow_mut().pop_front() {
                (under_way, busy) = (under_way + 1, true);
                // The lanes end after this loop.
                let _ = work.send(chunk);
            }
            let wait = if looks > LOOKS { PAUSE } else { std::time::Duration::ZERO };
            if let Ok((reply, chunk)) = replies.recv_timeout(wait) {
                (under_way, busy) = (under_way - 1, true);
                server.channel.borrow_mut().give_back(chunk);
                server.reply(reply)?;
            }
            if server.over.get() && (under_way == 0 || server.failed.borrow().is_some()) {
                return Ok(());
            }
            looks = if busy { 0 } else { looks + 1 };
        }
    })
}

/// Says on standard error why this rank ends the job: there is nobody else to tell.
#[allow(clippy::print_stderr, reason = "the last words of a rank")]
pub(super) fn complain(rank: i32, error: &MpiError) {
    eprintln!("offspring: rank {rank} on {} ends the job: {error}", sys::host());
}

/// Says on standard error why rank 0 ends the job.
#[allow(clippy::print_stderr, reason = "the last words of a rank")]
pub(super) fn complain_of(stuck: &[PeerId]) {
    let ranks: Vec<String> = stuck.iter().map(PeerId::to_string).collect();
    eprintln!(
        "offspring: rank {} is at a task that nobody waits for any more, and cannot be made to end it: ending the job",
        ranks.join(", ")
    );
}
