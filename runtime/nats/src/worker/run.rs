//! A worker's part in one run: chunks that it holds, their leases, and their results.
//!
//! # What is held
//! A chunk is held from its arrival until the server has confirmed that its result is stored; only then is the chunk itself confirmed. Three
//! times in each lease the server is told of all that is held, whether it runs or waits. So nothing that is held is handed to others while
//! this process lives, and all of it is after it died.
//!
//! # How much is asked for
//! As much as can run at a time, and for short tasks as much more as is done in [`AHEAD`]. What waits behind long tasks all the same is put back into
//! the stream for others.
//!
//! # Chunks that are run alone
//! What was handed out too often may be deadly: it may be the reason why those who had it were lost. Such a chunk runs when nothing else does,
//! and only after the pool has said that it may begin ([`turns`](crate::master)).

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::object_store::ObjectStore;
use async_nats::{Message, Subject, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{OnceCell, mpsc, watch};
use tokio::time::Instant;

use super::crew::{Crew, Done, Job, Word};
use super::recent::Recent;
use crate::ack::AckPlace;
use crate::link::{Link, chain};
use crate::names::{Names, WORKERS};
use crate::pull::{Pulled, Puller};
use crate::wire::{Answer, Ask, Body, Cancel, Envelope, HEAD};
use crate::{NatsError, NatsOptions, Result, ack, payload, wire};
use offspring::engine::ChunkId;

/// So much work is asked for ahead.
const AHEAD: Duration = Duration::from_millis(50);
/// The most chunks that are asked for ahead.
const MOST_AHEAD: usize = 512;
/// So long a chunk may wait while all threads are at long tasks, before it is put back for others.
const PATIENCE: Duration = Duration::from_millis(500);
/// Without a word of its pool for so long, a run whose streams are gone is over.
const SILENCE: Duration = Duration::from_secs(5);
/// The pause before a publication that failed is tried again, or the pool is asked again.
const PAUSE: Duration = Duration::from_millis(300);
/// So long the pool has to answer.
const ANSWER: Duration = Duration::from_secs(3);
/// So long a chunk that is to run alone may keep others waiting until nothing runs.
const CLEARING: Duration = Duration::from_secs(10);
/// After that, nobody gets it for so long.
const LATER: Duration = Duration::from_secs(30);
/// So many finished chunks are remembered, as they may be handed out again when a confirmation was lost.
const REMEMBERED: usize = 8192;

type Work = Pin<Box<dyn Future<Output = Event> + Send>>;

/// Something of its own that has come to an end.
enum Event {
    /// A body came from the object store, or not.
    Fetched { chunk: u64, body: Result<Bytes, String> },
    /// A result is stored.
    Stored { chunk: u64 },
    /// The pool said whether a chunk may be run alone.
    Answered { chunk: u64, go: Sender<bool>, may_begin: bool },
    /// A chunk is in the stream again, or not.
    PutBack { chunk: u64, job: Job, done: bool },
}

/// A chunk in this worker's hands.
struct Held {
    /// The messages in which it came, and where each is confirmed: more than one, where the pool had taken the first for lost.
    messages: Vec<(AckPlace, Subject)>,
    /// Where it came from.
    subject: Subject,
    /// The object with its body, if that was too large for a message.
    object: Option<String>,
    since: Instant,
    alone: bool,
    /// What its message says if it is put into the stream again: it has been handed out this often already.
    trust: u8,
    /// How often it was handed out before.
    again: u8,
    is_leaving: bool,
}

/// What the worker tells its runs.
#[derive(Clone)]
pub(super) struct Signals {
    /// When the pool was last heard of; `None`: it is over.
    pub(super) heard: watch::Receiver<Option<Instant>>,
    /// The worker leaves.
    pub(super) leave: watch::Receiver<bool>,
}

pub(super) struct Run {
    link: Link,
    names: Names,
    options: NatsOptions,
    worker: u64,
    crew: Arc<Crew>,
    signals: Signals,
    lease: Duration,
    puller: Puller,
    control: Subscriber,
    bucket: Arc<OnceCell<ObjectStore>>,
    held: HashMap<u64, Held>,
    finished: Recent<AckPlace>,
    words: mpsc::UnboundedReceiver<Word>,
    say: mpsc::UnboundedSender<Word>,
    work: FuturesUnordered<Work>,
    /// How long a chunk takes, on average over the last few.
    takes: Option<Duration>,
    /// How many messages it has published; part of their ids.
    published: u64,
}

impl Run {
    pub(super) async fn attach(
        link: Link,
        names: Names,
        options: NatsOptions,
        worker: u64,
        crew: Arc<Crew>,
        signals: Signals,
    ) -> Result<Run> {
        let control = link.client.subscribe(names.control()).await;
        let control = control.map_err(|error| NatsError::server("cannot listen to a pool", error))?;
        let puller = Puller::new(&link, &names.tasks(), WORKERS).await?;
        let (say, words) = mpsc::unbounded_channel();
        let lease = lease(&link, &names).await.unwrap_or(options.lease);
        Ok(Run {
            link,
            names,
            options,
            worker,
            crew,
            signals,
            lease,
            puller,
            control,
            bucket: Arc::default(),
            held: HashMap::new(),
            finished: Recent::new(REMEMBERED),
            words,
            say,
            work: FuturesUnordered::new(),
            takes: None,
            published: 0,
        })
    }

    /// Serves the run until it is over or the worker leaves and nothing is held any more.
    pub(super) async fn serve(mut self) {
        let mut tick = tokio::time::interval(self.lease / 3);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut look = tokio::time::interval(PATIENCE / 2);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut is_leaving = *self.signals.leave.borrow();
        loop {
            if is_leaving {
                self.put_back_waiting(Duration::ZERO);
                if self.held.is_empty() {
                    return;
                }
            } else {
                self.ask().await;
            }
            tokio::select! {
                pulled = self.puller.next() => match pulled {
                    Pulled::Message(message) if is_leaving => self.confirm(message.reply, ack::BACK).await,
                    Pulled::Message(message) => self.arrived(message).await,
                    Pulled::Unknown => {
                        let heard = *self.signals.heard.borrow();
                        if heard.is_none_or(|heard| heard.elapsed() > SILENCE) {
                            return self.end();
                        }
                    }
                    Pulled::Room => {}
                    Pulled::Closed => return self.end(),
                },
                Some(word) = self.words.recv() => match word {
                    Word::Turn { chunk, go } => self.ask_for_turn(chunk, go),
                    Word::Done(done) => self.done(done),
                },
                Some(event) = self.work.next() => self.event(event).await,
                Some(message) = self.control.next() => self.told(message.payload),
                _ = tick.tick() => self.keep_leases().await,
                _ = look.tick(), if !self.held.is_empty() && !is_leaving => {
                    if self.crew.busy_for(AHEAD) == self.crew.slots() {
                        self.put_back_waiting(PATIENCE);
                    }
                    self.give_way().await;
                }
                changed = self.signals.heard.changed() => {
                    if changed.is_err() || self.signals.heard.borrow().is_none() {
                        return self.end();
                    }
                }
                Ok(()) = self.signals.leave.changed(), if !is_leaving => is_leaving = *self.signals.leave.borrow(),
            }
        }
    }

    /// The pool is over: what waits is dropped. What runs is ended by the engine, or its result is dropped.
    fn end(self) {
        for &chunk in self.held.keys() {
            self.crew.take_back(self.names.run(), chunk);
        }
    }

    /// Asks for as much as there is room for.
    async fn ask(&mut self) {
        if self.crew.is_reserved() {
            return;
        }
        // Threads at a long task come back nobody knows when.
        let away = self.crew.busy_for(AHEAD);
        let slots = self.crew.slots() - away;
        let takes = self.takes.map(|takes| takes.max(Duration::from_micros(1)));
        let ahead = takes.map_or(0, |takes| slots * usize::try_from(AHEAD.as_nanos() / takes.as_nanos()).unwrap_or(0));
        let room = away + slots + ahead.min(MOST_AHEAD);
        let has = self.held.len() + self.puller.asked();
        // One request for many, where there are many.
        if has < away + slots || has <= room / 2 {
            self.puller.ask(room.saturating_sub(has)).await;
        }
    }

    async fn confirm(&mut self, reply: Option<Subject>, what: Bytes) {
        if let Some(reply) = reply {
            // If this is lost, the lease runs out, and the chunk comes again.
            let _ = self.link.client.publish(reply, what).await;
        }
    }

    async fn arrived(&mut self, message: Message) {
        let Message { subject, reply: Some(reply), payload, .. } = message else { return };
        let (Some(envelope), Some((place, deliveries))) = (Envelope::decode(payload), ack::place(&reply)) else {
            return self.confirm(Some(reply), ack::NONSENSE).await;
        };
        if self.finished.contains(place) {
            return self.confirm(Some(reply), ack::DONE).await;
        }
        let Envelope { chunk, trust, body } = envelope;
        let alone = deliveries > u64::from(trust);
        let again = u8::try_from(deliveries.saturating_sub(1)).unwrap_or(u8::MAX);
        let trust = trust.saturating_sub(again);
        if let Some(held) = self.held.get_mut(&chunk) {
            // Handed out again although it is here: the server was away, or a sign of life came too late.
            held.messages.retain(|(other, _)| *other != place);
            held.messages.push((place, reply));
            return;
        }
        let messages = vec![(place, reply)];
        let object = if let Body::Object(name) = &body { Some(name.clone()) } else { None };
        let since = Instant::now();
        self.held.insert(chunk, Held { messages, subject, object, since, alone, trust, again, is_leaving: false });
        match body {
            Body::Inline(body) => self.begin(chunk, body),
            Body::Object(name) => {
                let (link, names, bucket) = (self.link.clone(), self.names.clone(), self.bucket.clone());
                self.work.push(Box::pin(async move {
                    let get = async {
                        let bucket = bucket.get_or_try_init(|| payload::open(&link, &names)).await?;
                        payload::get(bucket, &name).await
                    };
                    Event::Fetched { chunk, body: get.await.map(Bytes::from) }
                }));
            }
            Body::Missing(_) | Body::Moved(_) => {
                self.held.remove(&chunk);
            }
        }
    }

    fn begin(&mut self, chunk: u64, body: Bytes) {
        let alone = self.held.get(&chunk).is_some_and(|held| held.alone);
        self.crew.put(Job { run: self.names.run(), chunk, body, alone, say: self.say.clone() });
    }

    /// Asks the pool whether a chunk may be run alone, however often it takes.
    fn ask_for_turn(&mut self, chunk: u64, go: Sender<bool>) {
        let (client, subject) = (self.link.client.clone(), self.names.turns());
        let ask = Ask { chunk, worker: self.worker }.encode();
        self.work.push(Box::pin(async move {
            loop {
                let asked = tokio::time::timeout(ANSWER, client.request(subject.clone(), ask.clone())).await;
                let answer = asked.ok().and_then(Result::ok).and_then(|message| Answer::decode(&message.payload));
                match answer {
                    Some(Answer::Begin) => return Event::Answered { chunk, go, may_begin: true },
                    Some(Answer::Forget) => return Event::Answered { chunk, go, may_begin: false },
                    Some(Answer::Wait) | None => tokio::time::sleep(PAUSE).await,
                }
            }
        }));
    }

    /// A chunk is not held any more.
    async fn let_go(&mut self, chunk: u64) {
        for (place, reply) in self.held.remove(&chunk).map_or(Vec::new(), |held| held.messages) {
            self.finished.insert(place);
            self.confirm(Some(reply), ack::DONE).await;
        }
    }

    fn done(&mut self, done: Done) {
        let Done { chunk, reply, took } = done;
        self.takes = Some(self.takes.map_or(took, |takes| (takes * 7 + took) / 8));
        let body = match reply {
            Ok(reply) => Body::Inline(reply),
            Err(reason) => Body::Missing(reason),
        };
        self.store(chunk, body);
    }

    /// Stores a result, however often it takes.
    fn store(&mut self, chunk: u64, body: Body) {
        let store = self.storing(chunk);
        let trust = self.held.get(&chunk).map_or(0, |held| held.again);
        self.work.push(Box::pin(async move {
            store.until_stored(&Envelope { chunk, trust, body }).await;
            Event::Stored { chunk }
        }));
    }

    fn storing(&mut self, chunk: u64) -> Store {
        self.published += 1;
        Store {
            link: self.link.clone(),
            names: self.names.clone(),
            options: self.options.clone(),
            bucket: self.bucket.clone(),
            chunk,
            name: format!("{chunk}.{}.{}", self.worker, self.published),
        }
    }

    async fn event(&mut self, event: Event) {
        match event {
            Event::Fetched { chunk, body: Ok(body) } => self.begin(chunk, body),
            Event::Fetched { chunk, body: Err(reason) } => self.store(chunk, Body::Missing(reason)),
            Event::Stored { chunk } | Event::PutBack { chunk, done: true, .. } => self.let_go(chunk).await,
            Event::Answered { chunk, go, may_begin } => {
                let _ = go.send(may_begin);
                if !may_begin {
                    self.let_go(chunk).await;
                }
            }
            Event::PutBack { chunk, job, done: false } => {
                if let Some(held) = self.held.get_mut(&chunk) {
                    held.is_leaving = false;
                    self.begin(chunk, job.body);
                }
            }
        }
    }

    async fn keep_leases(&mut self) {
        for (_, reply) in self.held.values().flat_map(|held| &held.messages) {
            let _ = self.link.client.publish(reply.clone(), ack::STILL_AT_IT).await;
        }
    }

    /// Puts chunks that have waited for so long, and have not begun, into the stream again. They are handed out anew, to whoever has time: their
    /// deliveries are counted from the beginning.
    fn put_back_waiting(&mut self, waited: Duration) {
        let run = self.names.run();
        for (&chunk, held) in &mut self.held {
            if held.is_leaving || held.since.elapsed() < waited || (held.alone && !waited.is_zero()) {
                continue;
            }
            let Some(job) = self.crew.take_back(run, chunk) else { continue };
            held.is_leaving = true;
            self.published += 1;
            let id = format!("{chunk}.{}.{}", self.worker, self.published);
            let bytes = match &held.object {
                None => wire::inline(chunk, held.trust, &job.body),
                Some(name) => Envelope { chunk, trust: held.trust, body: Body::Object(name.clone()) }.encode(),
            };
            let message = PublishMessage::build().payload(bytes).message_id(id);
            let (link, subject, result) = (self.link.clone(), held.subject.clone(), self.names.result_subject());
            self.work.push(Box::pin(async move {
                let put = async {
                    let stored = link.jetstream.send_publish(subject, message).await.ok()?.await.ok()?;
                    let moved = Envelope::new(chunk, Body::Moved(stored.sequence));
                    link.jetstream.publish(result, moved.encode()).await.ok()?.await.ok()
                };
                Event::PutBack { chunk, done: put.await.is_some(), job }
            }));
        }
    }

    /// Gives up clearing the way for chunks that are to run alone: what runs takes too long.
    async fn give_way(&mut self) {
        let run = self.names.run();
        let late = self.held.iter().filter(|(_, held)| held.alone && held.since.elapsed() > CLEARING);
        let given_up: Vec<u64> =
            late.map(|(&chunk, _)| chunk).filter(|&chunk| self.crew.take_back(run, chunk).is_some()).collect();
        for chunk in given_up {
            for (_, reply) in self.held.remove(&chunk).map_or(Vec::new(), |held| held.messages) {
                self.confirm(Some(reply), ack::later(LATER)).await;
            }
        }
    }

    fn told(&mut self, payload: Bytes) {
        let Some(Cancel { pool, level, chunks }) = Cancel::decode(payload) else { return };
        for chunk in chunks {
            self.crew.cancel(ChunkId { pool, chunk }, level);
        }
    }
}

/// How long a message of the run may be held without a word.
async fn lease(link: &Link, names: &Names) -> Option<Duration> {
    let stream = link.jetstream.get_stream_no_info(names.tasks()).await.ok()?;
    let info = stream.consumer_info(WORKERS).await.ok()?;
    Some(info.config.ack_wait).filter(|lease| !lease.is_zero())
}

/// How a result is stored.
struct Store {
    link: Link,
    names: Names,
    options: NatsOptions,
    bucket: Arc<OnceCell<ObjectStore>>,
    chunk: u64,
    /// Of the message and of its body, if that is large: another one for each result, as a chunk may be run here again.
    name: String,
}

impl Store {
    async fn until_stored(&self, envelope: &Envelope) {
        while self.try_once(envelope).await.is_err() {
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn try_once(&self, envelope: &Envelope) -> Result<(), String> {
        let bytes = match &envelope.body {
            Body::Inline(reply) if reply.len() + HEAD > self.link.max_inline() => {
                let name = format!("result-{}", self.name);
                let bucket =
                    self.bucket.get_or_try_init(|| payload::make(&self.link, &self.names, &self.options)).await?;
                payload::put(&self.link, bucket, &name, reply).await?;
                Envelope { chunk: self.chunk, trust: envelope.trust, body: Body::Object(name) }.encode()
            }
            _ => envelope.encode(),
        };
        let message = PublishMessage::build().payload(bytes).message_id(&self.name);
        let sent = self.link.jetstream.send_publish(self.names.result_subject(), message).await;
        sent.map_err(|error| chain(&error))?.await.map(drop).map_err(|error| chain(&error))
    }
}
