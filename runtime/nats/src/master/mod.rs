//! The pool's side of a run: what is under way, and what the server says of it.
//!
//! A task of the connection's own thread does everything ([`run`]); the engine's driver thread talks to it by two channels
//! ([`transport`](super::transport)).
//!
//! # What keeps a chunk from being lost
//! Its body stays here until its result is here. It is published until the server has confirmed that it is stored; the server hands it out
//! until a worker has confirmed that the result is stored. What can still go wrong shows in an audit, which is made after each new connection
//! and whenever nothing came for as long as a lease: streams that are gone are made again, and what was under way is published again.
//!
//! # What keeps a result from being delivered twice
//! The first one that comes for a chunk ends its flight; whatever comes for a chunk that is not under way is dropped.

mod audit;
mod publish;
mod results;
mod turns;
mod workers;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use async_nats::Subscriber;
use async_nats::jetstream::object_store::ObjectStore;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use offspring::CancelLevel;
use tokio::sync::{OnceCell, mpsc};
use tokio::time::Instant;

use self::publish::Publishing;
use self::results::{Fetching, Taken};
use self::turns::Turn;
use self::workers::{Seen, Strangers};
use crate::link::Link;
use crate::names::{self, Names};
use crate::pull::{Pulled, Puller};
use crate::wire::{Beat, Cancel};
use crate::{NatsError, NatsOptions, Result, streams};

/// Publications that may wait for the server's word at a time.
const MAX_PUBLISHING: usize = 512;
/// How long removing a run from the server may take.
const REMOVAL: Duration = Duration::from_secs(5);
/// Results that are asked for at a time.
const RESULTS_AHEAD: usize = 1024;

/// What the pool wants done.
pub(crate) enum Order<B> {
    Send { pool: u64, chunk: u64, job: u64, is_suspect: bool, body: Arc<B> },
    Cancel { chunk: u64, level: CancelLevel },
    Close,
}

/// What the pool is told.
#[derive(Debug)]
pub(crate) enum News {
    /// So many tasks can run at a time now.
    Workers(usize),
    /// So many of other builds are there, and none of this one.
    Strangers(usize),
    Reply {
        bytes: Vec<u8>,
        /// How often the chunk was handed out again.
        again: u32,
    },
    Lost {
        chunk: u64,
        tries: u32,
        why: String,
    },
    /// Nothing; ends a wait.
    Wake,
    /// All is over.
    Closed(String),
}

/// A chunk that has no result yet.
struct Flight<B> {
    job: u64,
    body: Arc<B>,
    /// How often it was published anew because it had vanished; part of its message's id.
    attempt: u32,
    place: Place,
    /// When it came to be there.
    since: Instant,
    /// So often no worker could get at its body.
    missing: u32,
    /// So often it may be handed out before it has to be run alone.
    trust: u8,
    /// Workers that asked to run it alone.
    turns: Vec<Turn>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// To be published.
    Here,
    /// The server has not said yet that it has it.
    OnTheWay,
    /// In the stream, under this number.
    Stored(u64),
    /// The result is here but for its body.
    Arriving,
}

pub(crate) struct Master<B> {
    link: Link,
    names: Names,
    build: u64,
    options: NatsOptions,
    bucket: Arc<OnceCell<ObjectStore>>,
    orders: mpsc::UnboundedReceiver<Order<B>>,
    news: Box<dyn FnMut(News) + Send>,
    flights: HashMap<u64, Flight<B>>,
    /// Which chunk has which number in the stream.
    stored: HashMap<u64, u64>,
    to_publish: VecDeque<u64>,
    publishing: FuturesUnordered<Publishing>,
    fetching: FuturesUnordered<Fetching>,
    /// Chunks to be published again, after a pause.
    later: VecDeque<(Instant, u64)>,
    /// What workers are to be told until it has an end: the level of each chunk.
    cancelled: HashMap<u64, CancelLevel>,
    /// Those of them that workers were not told of yet.
    to_cancel: Vec<u64>,
    /// The engine's number of the pool.
    pool: u64,
    workers: HashMap<u64, Seen>,
    told_workers: usize,
    /// Where there is no worker: those of other builds.
    strangers: Option<Strangers>,
    /// Before that nobody is taken for lost, as signs of life may not have reached this end.
    doubts_until: Instant,
    /// The longest time between two signs of life of somebody.
    slowest: Duration,
    last_tick: Instant,
    asks: Subscriber,
    results: Puller,
    taken: Taken,
    here: Subscriber,
    last_result: Instant,
    last_audit: Instant,
    /// A new connection: what became of the streams?
    is_suspicious: bool,
}

impl<B: AsRef<[u8]> + Send + Sync + 'static> Master<B> {
    /// Makes the run's streams and says to workers that it is there.
    pub(crate) async fn start(
        link: Link,
        names: Names,
        build: u64,
        options: NatsOptions,
        orders: mpsc::UnboundedReceiver<Order<B>>,
        news: Box<dyn FnMut(News) + Send>,
    ) -> Result<Master<B>> {
        streams::make(&link, &names, &options).await?;
        let here = link.client.subscribe(names::workers(build)).await;
        let here = here.map_err(|error| NatsError::server("cannot listen for workers", error))?;
        let asks = link.client.subscribe(names.turns()).await;
        let asks = asks.map_err(|error| NatsError::server("cannot listen to workers", error))?;
        let results = Puller::new(&link, &names.results(), names::MASTER).await?;
        let (now, slowest) = (Instant::now(), options.beat);
        let mut master = Master {
            link,
            names,
            build,
            options,
            bucket: Arc::default(),
            orders,
            news,
            flights: HashMap::new(),
            stored: HashMap::new(),
            to_publish: VecDeque::new(),
            publishing: FuturesUnordered::new(),
            fetching: FuturesUnordered::new(),
            later: VecDeque::new(),
            cancelled: HashMap::new(),
            to_cancel: Vec::new(),
            pool: 0,
            workers: HashMap::new(),
            told_workers: 0,
            strangers: None,
            doubts_until: now,
            slowest,
            last_tick: now,
            asks,
            results,
            taken: Taken::default(),
            here,
            last_result: now,
            last_audit: now,
            is_suspicious: false,
        };
        master.beat(false).await;
        Ok(master)
    }

    /// Serves until it is told to close, then removes the run from the server.
    pub(crate) async fn run(mut self) {
        let mut connected = self.link.connected.clone();
        connected.mark_unchanged();
        let mut tick = tokio::time::interval(self.options.beat);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            self.publish_some();
            if !self.to_cancel.is_empty() && self.orders.is_empty() {
                self.spread_cancelled().await;
            }
            if self.results.asked() < RESULTS_AHEAD / 2 {
                self.results.ask(RESULTS_AHEAD - self.results.asked()).await;
            }
            tokio::select! {
                order = self.orders.recv(), if self.to_publish.len() < MAX_PUBLISHING => match order {
                    Some(Order::Send { pool, chunk, job, is_suspect, body }) => {
                        self.pool = pool;
                        self.take(chunk, job, is_suspect, body);
                    }
                    Some(Order::Cancel { chunk, level }) => self.cancel(chunk, level),
                    Some(Order::Close) | None => break,
                },
                Some(published) = self.publishing.next() => self.published(published),
                Some(fetched) = self.fetching.next() => self.fetched(fetched).await,
                pulled = self.results.next() => match pulled {
                    Pulled::Message(message) => self.arrived(message).await,
                    Pulled::Unknown => self.is_suspicious = true,
                    Pulled::Room => {}
                    Pulled::Closed => {
                        (self.news)(News::Closed("the connection to the NATS server was closed".into()));
                        break;
                    }
                },
                Some(message) = self.here.next() => self.heard(&message).await,
                Some(message) = workers::stranger(&mut self.strangers) => self.met(&message),
                Some(message) = self.asks.next() => self.asked(message).await,
                Ok(()) = connected.changed() => {
                    self.is_suspicious = true;
                    self.doubt();
                    self.beat(false).await;
                }
                _ = tick.tick() => self.tick().await,
            }
        }
        let unfinished: Vec<u64> = self.flights.keys().copied().collect();
        if !unfinished.is_empty() {
            self.tell_cancelled(CancelLevel::Hard, unfinished).await;
        }
        self.beat(true).await;
        // A server that is away keeps the streams until somebody else finds them abandoned.
        let remove = async {
            streams::remove(&self.link, &self.names).await;
            let _ = self.link.client.flush().await;
        };
        let _ = tokio::time::timeout(REMOVAL, remove).await;
    }

    fn take(&mut self, chunk: u64, job: u64, is_suspect: bool, body: Arc<B>) {
        let trust = if is_suspect { 0 } else { u8::try_from(self.options.deliveries - 1).unwrap_or(u8::MAX) };
        let (place, since, turns) = (Place::Here, Instant::now(), Vec::new());
        self.flights.insert(chunk, Flight { job, body, attempt: 0, place, since, missing: 0, trust, turns });
        self.to_publish.push_back(chunk);
    }

    /// Forgets a chunk; what was known of it.
    fn land(&mut self, chunk: u64) -> Option<Flight<B>> {
        let flight = self.flights.remove(&chunk)?;
        if let Place::Stored(number) = flight.place {
            self.stored.remove(&number);
        }
        self.cancelled.remove(&chunk);
        Some(flight)
    }

    /// A chunk is not wanted any more. What no worker has is lost at once; of the rest, workers make the end known.
    fn cancel(&mut self, chunk: u64, level: CancelLevel) {
        let Some(flight) = self.flights.get(&chunk) else { return };
        match flight.place {
            Place::Here | Place::OnTheWay => self.lose_cancelled(chunk),
            Place::Stored(_) | Place::Arriving => {
                self.cancelled.insert(chunk, level);
                self.to_cancel.push(chunk);
            }
        }
    }

    /// Tells workers of what was just cancelled, all at once, and finds out what none of them has.
    async fn spread_cancelled(&mut self) {
        let mut told: HashMap<CancelLevel, Vec<u64>> = HashMap::new();
        for chunk in std::mem::take(&mut self.to_cancel) {
            if let Some(&level) = self.cancelled.get(&chunk) {
                told.entry(level).or_default().push(chunk);
            }
        }
        let mut all = Vec::new();
        for (level, chunks) in told {
            all.extend_from_slice(&chunks);
            self.tell_cancelled(level, chunks).await;
        }
        // Those were never handed out that come after the last one that was.
        let Ok(stream) = self.link.jetstream.get_stream_no_info(self.names.tasks()).await else { return };
        let Ok(workers) = stream.consumer_info(names::WORKERS).await else { return };
        let last = workers.delivered.stream_sequence;
        for chunk in all {
            if let Some(Place::Stored(number)) = self.flights.get(&chunk).map(|flight| flight.place)
                && number > last
            {
                self.lose_cancelled(chunk);
            }
        }
    }

    fn lose_cancelled(&mut self, chunk: u64) {
        if let Some(flight) = self.land(chunk) {
            if let Place::Stored(number) = flight.place {
                self.discard(number);
            }
            (self.news)(News::Lost { chunk, tries: 0, why: "it was cancelled".into() });
        }
    }

    /// Takes a message out of the stream of tasks, if it is still there.
    fn discard(&self, number: u64) {
        let (link, tasks) = (self.link.clone(), self.names.tasks());
        tokio::spawn(async move {
            if let Ok(stream) = link.jetstream.get_stream_no_info(tasks).await {
                let _ = stream.delete_message(number).await;
            }
        });
    }

    async fn tell_cancelled(&self, level: CancelLevel, chunks: Vec<u64>) {
        let cancel = Cancel { pool: self.pool, level, chunks };
        let _ = self.link.client.publish(self.names.control(), cancel.encode()).await;
    }

    /// Says that the pool is there, or that it ends.
    async fn beat(&mut self, is_over: bool) {
        let beat = Beat { run: self.names.run(), is_over };
        let _ = self.link.client.publish(names::pools(self.build), beat.encode()).await;
    }

    async fn tick(&mut self) {
        let now = Instant::now();
        self.beat(false).await;
        self.forget_the_silent(now);
        if self.workers.is_empty() {
            // Nobody is there who could tell of their end.
            let cancelled: Vec<u64> = self.cancelled.keys().copied().collect();
            cancelled.into_iter().for_each(|chunk| self.lose_cancelled(chunk));
        }
        let mut again: HashMap<CancelLevel, Vec<u64>> = HashMap::new();
        for (&chunk, &level) in &self.cancelled {
            again.entry(level).or_default().push(chunk);
        }
        for (level, chunks) in again {
            self.tell_cancelled(level, chunks).await;
        }
        while self.later.front().is_some_and(|(due, _)| *due <= now) {
            self.to_publish.extend(self.later.pop_front().map(|(_, chunk)| chunk));
        }
        self.look_for_strangers().await;
        self.confirm_results();
        self.audit_if_due().await;
    }
}
