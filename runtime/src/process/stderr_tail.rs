//! The last that a child wrote to its standard error.
//!
//! The child writes into a pipe; a thread of this process, one for all children, passes on what comes to where it would have gone and keeps
//! the last few kilobytes. The thread alone writes, and never the supervisor's: whoever reads the terminal slowly holds up those
//! who write to it, as always, and nobody else.
//!
//! Only for children that are asked to: their standard error is no terminal then, and what they write comes a thread switch later.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::sys;
use crate::sys::fd::Poller;

/// So much of a child's last words is kept.
pub(crate) const KEPT: usize = 4096;

const WAKE: u64 = 0;

/// What is kept of one child's standard error.
#[derive(Debug, Clone)]
pub(crate) struct Tail(Arc<Tee>);

#[derive(Debug)]
struct Tee {
    flow: Mutex<Flow>,
    /// Where it goes: taken while something is written, so that parts keep their order. `None`: this process's standard error.
    target: Mutex<Option<File>>,
}

#[derive(Debug)]
struct Flow {
    reader: File,
    kept: VecDeque<u8>,
    /// Read and not passed on.
    unwritten: Vec<u8>,
}

/// The thread that passes on, with all that it serves.
struct Service {
    poller: Poller,
    wake: OwnedFd,
    tees: Mutex<HashMap<u64, Arc<Tee>>>,
}

static SERVICE: Mutex<Option<(u32, Arc<Service>)>> = Mutex::new(None);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A pipe for a child to write to instead of `target` (`None`: this process's standard error).
pub(crate) fn tee(target: Option<OwnedFd>) -> io::Result<(OwnedFd, Tail)> {
    static NEXT: AtomicU64 = AtomicU64::new(WAKE + 1);
    let service = Service::get()?;
    let (reader, writer) = sys::fd::pipe()?;
    sys::fd::do_not_block(reader.as_fd())?;
    let token = NEXT.fetch_add(1, Ordering::Relaxed);
    let flow = Flow { reader: File::from(reader), kept: VecDeque::new(), unwritten: Vec::new() };
    let tee = Arc::new(Tee { flow: Mutex::new(flow), target: Mutex::new(target.map(File::from)) });
    lock(&service.tees).insert(token, tee.clone());
    let added = service.poller.add(lock(&tee.flow).reader.as_fd(), token);
    if let Err(error) = added {
        lock(&service.tees).remove(&token);
        return Err(error);
    }
    Ok((writer, Tail(tee)))
}

/// Passes on everything that has been written so far. At the end of the program, when nobody will wait for the thread.
pub(crate) fn flush() {
    let service = lock(&SERVICE).as_ref().filter(|(pid, _)| *pid == std::process::id()).map(|(_, it)| it.clone());
    if let Some(service) = service {
        let tees: Vec<Arc<Tee>> = lock(&service.tees).values().cloned().collect();
        tees.iter().for_each(|tee| while tee.pump() == Pumped::Some {});
    }
}

impl Tail {
    /// The last that was written, now that the child has ended. Does not block.
    pub(crate) fn finish(&self) -> String {
        let mut flow = lock(&self.0.flow);
        while let Pumped::Some = flow.read() {}
        let unwritten = !flow.unwritten.is_empty();
        let (front, back) = flow.kept.as_slices();
        let mut bytes = [front, back].concat();
        drop(flow);
        if unwritten && let Ok(service) = Service::get() {
            sys::fd::event_set(service.wake.as_fd());
        }
        // The first character may have been cut.
        let cut = bytes.iter().take(4).take_while(|&&byte| byte & 0xc0 == 0x80).count();
        bytes.drain(..cut);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Pumped {
    Some,
    Nothing,
    End,
}

impl Flow {
    /// Reads what is there, one buffer of it at most.
    fn read(&mut self) -> Pumped {
        let mut buffer = [0; 16 << 10];
        match self.reader.read(&mut buffer) {
            Ok(0) => Pumped::End,
            Ok(len) => {
                let new = &buffer[..len];
                self.unwritten.extend_from_slice(new);
                self.kept.extend(&new[len.saturating_sub(KEPT)..]);
                let excess = self.kept.len().saturating_sub(KEPT);
                self.kept.drain(..excess);
                Pumped::Some
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Pumped::Some,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Pumped::Nothing,
            Err(_) => Pumped::End,
        }
    }
}

impl Tee {
    /// Reads a buffer and passes it on, with what others have read.
    fn pump(&self) -> Pumped {
        let mut target = lock(&self.target);
        let (pumped, bytes) = {
            let mut flow = lock(&self.flow);
            (flow.read(), std::mem::take(&mut flow.unwritten))
        };
        // Nobody is left to hear of an error here; the child goes on as if its words were read.
        _ = match &mut *target {
            Some(file) => file.write_all(&bytes),
            None => io::stderr().write_all(&bytes),
        };
        pumped
    }
}

impl Service {
    fn get() -> io::Result<Arc<Service>> {
        let mut service = lock(&SERVICE);
        if let Some((pid, service)) = &*service
            && *pid == std::process::id()
        {
            return Ok(service.clone());
        }
        let wake = sys::fd::above_streams(sys::fd::event()?)?;
        let poller = Poller::new()?;
        poller.add(wake.as_fd(), WAKE)?;
        let new = Arc::new(Service { poller, wake, tees: Mutex::default() });
        let on_thread = new.clone();
        std::thread::Builder::new().name("offspring-stderr".into()).spawn(move || on_thread.run())?;
        *service = Some((std::process::id(), new.clone()));
        Ok(new)
    }

    fn run(&self) {
        std::mem::forget(sys::signal::block_all());
        let mut tokens = Vec::new();
        while self.poller.wait(&mut tokens).is_ok() {
            for &token in &tokens {
                if token == WAKE {
                    sys::fd::event_clear(self.wake.as_fd());
                    let tees: Vec<Arc<Tee>> = lock(&self.tees).values().cloned().collect();
                    tees.iter().for_each(|tee| _ = tee.pump());
                    continue;
                }
                let Some(tee) = lock(&self.tees).get(&token).cloned() else { continue };
                if tee.pump() == Pumped::End {
                    _ = self.poller.remove(lock(&tee.flow).reader.as_fd());
                    lock(&self.tees).remove(&token);
                }
            }
        }
    }
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("tees", &lock(&self.tees).len()).finish_non_exhaustive()
    }
}
