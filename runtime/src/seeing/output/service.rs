//! The thread that reads the pipes of all workers of this process, and passes on what is to be passed on at once.
//!
//! It writes, and whoever ends a batch waits until it has: whoever reads the terminal slowly holds up those who write to it, and no task
//! that keeps silent.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::source::{Pumped, Source};
use crate::sys;
use crate::sys::fd::Poller;

const WAKE: u64 = 0;

/// The thread, with all that it serves.
#[derive(Debug)]
pub(super) struct Service {
    poller: Poller,
    wake: OwnedFd,
    /// A stream of a worker by its token.
    streams: Mutex<HashMap<u64, (Arc<Source>, usize)>>,
}

/// Held while something is written, so that parts keep their order, and nobody writes into a line of somebody else's.
static WRITING: Mutex<()> = Mutex::new(());

/// Streams of workers that have ended, with something that is still to be passed on.
static LEFT: Mutex<Vec<(Arc<Source>, usize)>> = Mutex::new(Vec::new());

static SERVICE: Mutex<Option<(u32, Arc<Service>)>> = Mutex::new(None);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Passes on everything that has been written so far. At the end of the program, when nobody will wait for the thread.
pub(crate) fn flush() {
    let service = lock(&SERVICE).as_ref().filter(|(pid, _)| *pid == std::process::id()).map(|(_, it)| it.clone());
    if let Some(service) = service {
        let streams: Vec<_> = lock(&service.streams).values().cloned().collect();
        for (source, stream) in &streams {
            while let Pumped::Some(_) = source.read(*stream) {}
        }
        write_all(&streams);
    }
}

/// These are the last words of a worker.
pub(super) fn leave(streams: impl IntoIterator<Item = (Arc<Source>, usize)>) {
    lock(&LEFT).extend(streams);
}

/// Passes on what was read of these streams, and what workers that have ended have left.
pub(super) fn write_all(streams: &[(Arc<Source>, usize)]) {
    let _writing = lock(&WRITING);
    let left = std::mem::take(&mut *lock(&LEFT));
    for (source, stream) in left.iter().chain(streams) {
        let bytes = source.flow(*stream).take_unwritten();
        write(*stream as i32 + 1, &bytes);
    }
}

/// Writes all of this to the standard stream of this number, with nothing of others in between.
pub(super) fn write_whole(parts: &[(i32, &[u8])]) {
    let _writing = lock(&WRITING);
    parts.iter().for_each(|(stream, bytes)| write(*stream, bytes));
}

/// Nobody is left to hear of an error here; the worker goes on as if its words were read.
fn write(stream: i32, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    let write = || _ = sys::fd::write_stream(stream, bytes);
    #[cfg(feature = "progress")]
    crate::seeing::bar::aside(stream, write);
    #[cfg(not(feature = "progress"))]
    write();
}

impl Service {
    /// This process's; starts it if need be.
    pub(super) fn get() -> io::Result<Arc<Service>> {
        let mut service = lock(&SERVICE);
        if let Some((pid, service)) = &*service
            && *pid == std::process::id()
        {
            return Ok(service.clone());
        }
        let wake = sys::fd::above_streams(sys::fd::event()?)?;
        let poller = Poller::new()?;
        poller.add(wake.as_fd(), WAKE)?;
        let new = Arc::new(Service { poller, wake, streams: Mutex::default() });
        let on_thread = new.clone();
        std::thread::Builder::new().name("offspring-output".into()).spawn(move || on_thread.run())?;
        *service = Some((std::process::id(), new.clone()));
        Ok(new)
    }

    /// From now on reads the streams of a worker.
    pub(super) fn add(&self, source: &Arc<Source>) -> io::Result<()> {
        static NEXT: AtomicU64 = AtomicU64::new(WAKE + 1);
        for stream in 0..source.streams.len() {
            let token = NEXT.fetch_add(1, Relaxed);
            lock(&self.streams).insert(token, (source.clone(), stream));
            let added = self.poller.add(source.flow(stream).reader().as_fd(), token);
            if let Err(error) = added {
                lock(&self.streams).retain(|_, (other, _)| !Arc::ptr_eq(other, source));
                return Err(error);
            }
        }
        Ok(())
    }

    /// Has it pass on what others have read.
    pub(super) fn wake(&self) {
        sys::fd::event_set(self.wake.as_fd());
    }

    fn run(&self) {
        std::mem::forget(sys::signal::block_all());
        let mut tokens = Vec::new();
        while self.poller.wait(&mut tokens).is_ok() {
            for &token in &tokens {
                if token == WAKE {
                    sys::fd::event_clear(self.wake.as_fd());
                    let streams: Vec<_> = lock(&self.streams).values().cloned().collect();
                    write_all(&streams);
                    continue;
                }
                let Some(entry) = lock(&self.streams).get(&token).cloned() else { continue };
                let (source, stream) = &entry;
                if source.read(*stream) == Pumped::End {
                    _ = self.poller.remove(source.flow(*stream).reader().as_fd());
                    lock(&self.streams).remove(&token);
                    source.end(*stream);
                }
                write_all(std::slice::from_ref(&entry));
            }
        }
    }
}
