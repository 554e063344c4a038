//! Workers in this process: threads that hand chunks to a [`Runner`]. For pools of one machine's size, and for tests.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use super::transport::{Event, Parcel, PeerId, Transport};
use super::{Buffer, Runner};
use crate::CancelLevel;

/// The transport to a [`Runner`] in this process.
#[derive(Debug)]
pub struct Loopback {
    runner: Arc<Runner>,
    /// The threads' work; `None`: they end.
    work: Option<mpsc::Sender<Arc<Parcel>>>,
    news: mpsc::Receiver<Option<Event>>,
    bell: mpsc::Sender<Option<Event>>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Loopback {
    /// Begins with as many threads as the runner has workers.
    ///
    /// # Errors
    ///
    /// No thread can be started.
    pub fn new(runner: Runner) -> std::io::Result<Loopback> {
        let runner = Arc::new(runner);
        let (work, taken) = mpsc::channel::<Arc<Parcel>>();
        let taken = Arc::new(std::sync::Mutex::new(taken));
        let (bell, news) = mpsc::channel();
        let mut threads = Vec::new();
        for _ in 0..runner.workers() {
            let (runner, taken, bell) = (runner.clone(), taken.clone(), bell.clone());
            let run = move || {
                loop {
                    // The lock is held while it waits: the others wait behind it.
                    let next = taken.lock().unwrap_or_else(std::sync::PoisonError::into_inner).recv();
                    let Ok(parcel) = next else { return };
                    let reply = runner.run(parcel.bytes()).map_err(|error| error.to_string());
                    let bytes = reply.and_then(|reply| Buffer::copy_of(&reply).map_err(|error| error.to_string()));
                    let event = match bytes {
                        Ok(bytes) => Event::Reply { bytes, again: 0 },
                        Err(why) => Event::Lost { chunk: parcel.id().chunk, tries: 1, why },
                    };
                    if bell.send(Some(event)).is_err() {
                        return;
                    }
                }
            };
            threads.push(std::thread::Builder::new().name("offspring-chunk".into()).spawn(run)?);
        }
        let peer =
            Event::Peer { peer: 0, workers: runner.workers(), kills: runner.kills(), process: std::process::id() };
        // The receiver is here.
        let _ = bell.send(Some(peer));
        Ok(Loopback { runner, work: Some(work), news, bell, threads })
    }
}

impl Transport for Loopback {
    fn send(&mut self, _: PeerId, parcel: &Arc<Parcel>) -> Result<(), String> {
        let sent = self.work.as_ref().is_some_and(|work| work.send(parcel.clone()).is_ok());
        if sent { Ok(()) } else { Err("the workers have ended".to_owned()) }
    }

    fn cancel(&mut self, _: PeerId, parcel: &Arc<Parcel>, level: CancelLevel) {
        self.runner.cancel(parcel.id(), level);
    }

    fn poll(&mut self, wait: Option<Duration>, events: &mut Vec<Event>) {
        let first = match wait {
            None => self.news.recv().ok(),
            Some(wait) => self.news.recv_timeout(wait).ok(),
        };
        events.extend(first.flatten());
        events.extend(self.news.try_iter().flatten());
    }

    fn waker(&self) -> Arc<dyn Fn() + Send + Sync> {
        let bell = std::sync::Mutex::new(self.bell.clone());
        Arc::new(move || {
            // The transport may be gone.
            let _ = bell.lock().unwrap_or_else(std::sync::PoisonError::into_inner).send(None);
        })
    }

    fn close(&mut self, stuck: &[PeerId]) {
        self.work = None;
        if stuck.is_empty() {
            self.threads.drain(..).for_each(|thread| drop(thread.join()));
        }
    }
}
