//! Who is there: workers of this build, and, where there is none, those of others.

use std::collections::HashMap;
use std::time::Duration;

use async_nats::{Message, Subscriber};
use futures_util::StreamExt;
use tokio::time::Instant;

use super::{Master, News};
use crate::names;
use crate::wire::Here;

/// A worker that says less often that it is there is not waited for.
const SLOWEST: Duration = Duration::from_secs(60);

/// What is known of a worker.
pub(super) struct Seen {
    slots: u32,
    pub(super) heard: Instant,
    /// When it is taken for gone, if it says nothing more.
    pub(super) until: Instant,
}

/// Workers that this pool cannot use.
pub(super) struct Strangers {
    heard: Subscriber,
    /// By number, and when each is taken for gone.
    known: HashMap<u64, Instant>,
}

/// The next word of one of them, where they are listened to.
pub(super) async fn stranger(listening: &mut Option<Strangers>) -> Option<Message> {
    match listening {
        Some(strangers) => strangers.heard.next().await,
        None => std::future::pending().await,
    }
}

/// How long nothing may be heard of somebody who says this often that he is there.
pub(super) fn patience(every: Duration) -> Duration {
    every * 3 + Duration::from_millis(500)
}

impl<B: AsRef<[u8]> + Send + Sync + 'static> Master<B> {
    /// A worker said that it is there, or that it leaves.
    pub(super) async fn heard(&mut self, message: &Message) {
        let Some(here) = Here::decode(message.payload.clone()) else { return };
        if here.slots == 0 {
            self.workers.remove(&here.worker);
            self.forgive(here.worker);
        } else {
            let heard = Instant::now();
            self.slowest = self.slowest.max(here.every.min(SLOWEST));
            let seen = Seen { slots: here.slots, heard, until: heard + patience(here.every) };
            if self.workers.insert(here.worker, seen).is_none() {
                self.beat(false).await;
            }
        }
        self.tell_workers();
    }

    /// Those who have said nothing for too long are gone.
    pub(super) fn forget_the_silent(&mut self, now: Instant) {
        let late = (now - self.last_tick).saturating_sub(self.options.beat);
        self.last_tick = now;
        if late > self.options.beat {
            // This process did not run, or hardly: what workers have said since then may still be on its way to here.
            self.workers.values_mut().for_each(|seen| seen.until += late);
            self.doubt();
        }
        self.workers.retain(|_, seen| now < seen.until);
        self.tell_workers();
    }

    fn tell_workers(&mut self) {
        let workers = self.workers.values().map(|seen| seen.slots as usize).sum();
        if workers != self.told_workers {
            self.told_workers = workers;
            (self.news)(News::Workers(workers));
        }
    }

    /// Listens for workers of other builds as long as nobody is there.
    pub(super) async fn look_for_strangers(&mut self) {
        let is_wanted = self.workers.is_empty();
        if is_wanted == self.strangers.is_some() {
            return;
        }
        self.strangers = match is_wanted {
            true => {
                let heard = self.link.client.subscribe(names::all_workers()).await.ok();
                heard.map(|heard| Strangers { heard, known: HashMap::new() })
            }
            false => None,
        };
        (self.news)(News::Strangers(0));
    }

    pub(super) fn met(&mut self, message: &Message) {
        let (Some(here), Some(strangers)) = (Here::decode(message.payload.clone()), &mut self.strangers) else {
            return;
        };
        if *message.subject == *names::workers(self.build) {
            return;
        }
        let now = Instant::now();
        match here.slots {
            0 => strangers.known.remove(&here.worker),
            _ => strangers.known.insert(here.worker, now + patience(here.every.min(SLOWEST))),
        };
        strangers.known.retain(|_, until| now < *until);
        (self.news)(News::Strangers(strangers.known.len()));
    }
}
