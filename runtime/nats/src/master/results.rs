//! Taking results.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use async_nats::{Message, Subject};
use offspring::CancelLevel;
use tokio::time::Instant;

use super::publish::object_of;
use super::{Master, News, Place};
use crate::link::Link;
use crate::wire::{Body, Envelope};
use crate::{ack, payload};

/// So many results are confirmed at once.
const CONFIRM_EVERY: u32 = 256;
/// So often workers may fail to get at a chunk's body before it is given up.
const MAX_MISSING: u32 = 5;

pub(super) type Fetching = Pin<Box<dyn Future<Output = Fetched> + Send>>;

/// What became of the body of a large result.
pub(super) struct Fetched {
    chunk: u64,
    again: u32,
    body: Result<Vec<u8>, String>,
}

/// Which results were taken and not confirmed yet.
#[derive(Debug, Default)]
pub(super) struct Taken {
    count: u32,
    /// Where the last one is confirmed, and with it all before; its number.
    last: Option<(Subject, u64)>,
}

impl<B: AsRef<[u8]> + Send + Sync + 'static> Master<B> {
    /// A message from the stream of results came.
    pub(super) async fn arrived(&mut self, message: Message) {
        self.last_result = Instant::now();
        if let Some(reply) = message.reply
            && let Some((place, _)) = ack::place(&reply)
        {
            self.taken.count += 1;
            if self.taken.last.as_ref().is_none_or(|(_, last)| *last < place.stream) {
                self.taken.last = Some((reply, place.stream));
            }
        }
        if self.taken.count >= CONFIRM_EVERY {
            self.confirm_results();
        }
        let Some(Envelope { chunk, trust: again, body }) = Envelope::decode(message.payload) else { return };
        match body {
            Body::Inline(bytes) => self.deliver(chunk, bytes.into(), again.into()),
            Body::Object(name) => self.fetch(chunk, name, again.into()),
            Body::Missing(why) => self.missing(chunk, why).await,
            Body::Moved(number) => self.moved(chunk, number),
        }
    }

    /// A chunk's message stands at another place in the stream now.
    fn moved(&mut self, chunk: u64, number: u64) {
        let Some(flight) = self.flights.get_mut(&chunk) else { return self.discard(number) };
        if let Place::Stored(old) = flight.place {
            self.stored.remove(&old);
            self.stored.insert(number, chunk);
            (flight.place, flight.since) = (Place::Stored(number), Instant::now());
        }
    }

    fn deliver(&mut self, chunk: u64, bytes: Vec<u8>, again: u32) {
        if let Some(flight) = self.land(chunk) {
            self.remove_object(&flight.body, chunk);
            (self.news)(News::Reply { bytes, again });
        }
    }

    /// The body of a chunk's task is not wanted any more, if it was too large for a message.
    fn remove_object(&self, body: &Arc<B>, chunk: u64) {
        if body.as_ref().as_ref().len() + crate::wire::HEAD > self.link.max_inline()
            && let Some(bucket) = self.bucket.get().cloned()
        {
            tokio::spawn(async move { payload::remove(&bucket, &object_of(chunk)).await });
        }
    }

    fn fetch(&mut self, chunk: u64, name: String, again: u32) {
        let is_wanted = match self.flights.get_mut(&chunk) {
            Some(flight) if flight.place != Place::Arriving => {
                if let Place::Stored(number) = flight.place {
                    self.stored.remove(&number);
                }
                (flight.place, flight.since) = (Place::Arriving, Instant::now());
                true
            }
            _ => false,
        };
        let (link, names, options) = (self.link.clone(), self.names.clone(), self.options.clone());
        let bucket = self.bucket.clone();
        self.fetching.push(Box::pin(async move {
            let get = async {
                let bucket = bucket.get_or_try_init(|| payload::make(&link, &names, &options)).await?;
                let body = if is_wanted { get_patiently(&link, bucket, &name).await } else { Err(String::new()) };
                payload::remove(bucket, &name).await;
                body
            };
            let body = get.await;
            // Only the one for which the flight waits may end it.
            Fetched { chunk: if is_wanted { chunk } else { u64::MAX }, again, body }
        }));
    }

    pub(super) async fn fetched(&mut self, fetched: Fetched) {
        let Fetched { chunk, again, body } = fetched;
        match body {
            Ok(body) => self.deliver(chunk, body, again),
            // The result has vanished: its task is done again.
            Err(why) => self.missing(chunk, why).await,
        }
    }

    /// No worker could get at the body of a chunk's task, or the body of its result is gone.
    async fn missing(&mut self, chunk: u64, why: String) {
        let Some(flight) = self.flights.get_mut(&chunk) else { return };
        flight.missing += 1;
        if flight.missing < MAX_MISSING {
            self.publish_anew(chunk);
        } else {
            self.give_up(chunk, MAX_MISSING, why).await;
        }
    }

    /// No worker is to have a chunk any more.
    pub(super) async fn give_up(&mut self, chunk: u64, tries: u32, why: String) {
        let Some(flight) = self.land(chunk) else { return };
        self.remove_object(&flight.body, chunk);
        if let Place::Stored(number) = flight.place {
            self.discard(number);
        }
        self.tell_cancelled(CancelLevel::Hard, vec![chunk]).await;
        (self.news)(News::Lost { chunk, tries, why });
    }

    /// Tells the server which results it need not keep any more.
    pub(super) fn confirm_results(&mut self) {
        let Some((reply, number)) = self.taken.last.take() else { return };
        self.taken.count = 0;
        let (link, results) = (self.link.clone(), self.names.results());
        tokio::spawn(async move {
            let _ = link.client.publish(reply, ack::DONE).await;
            if let Ok(stream) = link.jetstream.get_stream_no_info(results).await {
                let _ = stream.purge().sequence(number + 1).await;
            }
        });
    }
}

/// Tries more than once, as the server may just be away.
async fn get_patiently(
    link: &Link,
    bucket: &async_nats::jetstream::object_store::ObjectStore,
    name: &str,
) -> Result<Vec<u8>, String> {
    let mut result = payload::get(bucket, name).await;
    for _ in 0..5 {
        if result.is_ok() {
            break;
        }
        let mut connected = link.connected.clone();
        connected.mark_unchanged();
        let _ = tokio::time::timeout(std::time::Duration::from_secs(1), connected.changed()).await;
        result = payload::get(bucket, name).await;
    }
    result
}
