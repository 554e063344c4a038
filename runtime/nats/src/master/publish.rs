//! Publishing chunks until the server has them.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::object_store::ObjectStore;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::{MAX_PUBLISHING, Master, Place};
use crate::link::{Link, chain};
use crate::names::Names;
use crate::wire::{Body, Envelope, HEAD};
use crate::{NatsOptions, payload, wire};

/// The pause before a publication that failed is tried again.
const PAUSE: Duration = Duration::from_millis(300);

pub(super) type Publishing = Pin<Box<dyn Future<Output = Published> + Send>>;

/// What became of a publication.
pub(super) struct Published {
    chunk: u64,
    attempt: u32,
    /// Its number in the stream.
    stored: Result<u64, String>,
}

/// The name of the object with a chunk's body.
pub(super) fn object_of(chunk: u64) -> String {
    format!("task-{chunk}")
}

impl<B: AsRef<[u8]> + Send + Sync + 'static> Master<B> {
    /// Sends what is to be published, as much as may wait for the server's word at a time.
    pub(super) fn publish_some(&mut self) {
        while self.publishing.len() < MAX_PUBLISHING {
            let Some(chunk) = self.to_publish.pop_front() else { return };
            let Some(flight) = self.flights.get_mut(&chunk).filter(|flight| flight.place == Place::Here) else {
                continue;
            };
            (flight.place, flight.since) = (Place::OnTheWay, Instant::now());
            let publication = Publication {
                link: self.link.clone(),
                subject: self.names.task_subject(flight.job),
                chunk,
                attempt: flight.attempt,
                trust: flight.trust,
                body: flight.body.clone(),
                bucket: self.bucket.clone(),
            };
            self.publishing.push(if flight.body.as_ref().as_ref().len() + HEAD <= self.link.max_inline() {
                Box::pin(publication.inline())
            } else {
                Box::pin(publication.by_object(self.names.clone(), self.options.clone()))
            });
        }
    }

    pub(super) fn published(&mut self, published: Published) {
        let Published { chunk, attempt, stored } = published;
        let Some(flight) = self.flights.get_mut(&chunk) else {
            // Cancelled, or done already.
            if let Ok(number) = stored {
                self.discard(number);
            }
            return;
        };
        if flight.attempt != attempt || flight.place != Place::OnTheWay {
            return;
        }
        match stored {
            Ok(number) => {
                (flight.place, flight.since) = (Place::Stored(number), Instant::now());
                self.stored.insert(number, chunk);
            }
            Err(_) => {
                flight.place = Place::Here;
                self.later.push_back((Instant::now() + PAUSE, chunk));
                self.is_suspicious = true;
            }
        }
    }

    /// Publishes a chunk again that has vanished from the server, under another id.
    pub(super) fn publish_anew(&mut self, chunk: u64) {
        let Some(flight) = self.flights.get_mut(&chunk) else { return };
        if let Place::Stored(number) = flight.place {
            self.stored.remove(&number);
        }
        if !flight.turns.is_empty() {
            flight.trust = 0;
        }
        flight.attempt += 1;
        flight.place = Place::Here;
        self.to_publish.push_back(chunk);
    }
}

struct Publication<B> {
    link: Link,
    subject: String,
    chunk: u64,
    attempt: u32,
    trust: u8,
    body: Arc<B>,
    bucket: Arc<OnceCell<ObjectStore>>,
}

impl<B: AsRef<[u8]>> Publication<B> {
    async fn inline(self) -> Published {
        let bytes = wire::inline(self.chunk, self.trust, self.body.as_ref().as_ref());
        let stored = self.publish(bytes).await;
        Published { chunk: self.chunk, attempt: self.attempt, stored }
    }

    async fn by_object(self, names: Names, options: NatsOptions) -> Published {
        let name = object_of(self.chunk);
        let put = async {
            let bucket = self.bucket.get_or_try_init(|| payload::make(&self.link, &names, &options)).await?;
            payload::put(&self.link, bucket, &name, self.body.as_ref().as_ref()).await
        };
        let stored = match put.await {
            Ok(()) => {
                let (chunk, trust, body) = (self.chunk, self.trust, Body::Object(name));
                self.publish(Envelope { chunk, trust, body }.encode()).await
            }
            Err(error) => Err(error),
        };
        Published { chunk: self.chunk, attempt: self.attempt, stored }
    }

    async fn publish(&self, bytes: bytes::Bytes) -> Result<u64, String> {
        let id = format!("{}.{}", self.chunk, self.attempt);
        let message = PublishMessage::build().payload(bytes).message_id(id);
        let sent = self.link.jetstream.send_publish(self.subject.clone(), message).await;
        let acknowledged = sent.map_err(|error| chain(&error))?.await;
        acknowledged.map(|acknowledged| acknowledged.sequence).map_err(|error| chain(&error))
    }
}
