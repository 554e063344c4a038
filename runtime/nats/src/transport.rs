//! The engine's side of the channels to the connection's thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use offspring::CancelLevel;
use tokio::sync::mpsc as channel;

use crate::link::Link;
use crate::master::{Master, News, Order};
use crate::names::Names;
use crate::{NatsError, NatsOptions, Result, random, streams};
use offspring::engine::{Buffer, Event, Parcel, PeerId, Transport, build_id};

/// All workers together: which of them gets a chunk is between them and the server.
const WORKERS: PeerId = 0;
/// Chunks of short tasks that may be under way for each place of a worker.
const SHORT: usize = 64;
/// The least that may be under way of them.
const LEAST_SHORT: usize = 256;

/// A parcel, as the bytes that it carries.
struct Carried(Arc<Parcel>);

impl AsRef<[u8]> for Carried {
    fn as_ref(&self) -> &[u8] {
        self.0.bytes()
    }
}

/// What connects an engine's pool with a server.
pub(crate) struct NatsTransport {
    orders: channel::UnboundedSender<Order<Carried>>,
    news: Receiver<News>,
    wake: Sender<News>,
    thread: Option<JoinHandle<()>>,
    max_chunk: usize,
    /// How many workers of other builds are there while none of this one is.
    strangers: Arc<AtomicUsize>,
}

/// A run that has begun, to become a transport on the engine's thread.
pub(crate) struct Begun {
    transport: NatsTransport,
}

impl Begun {
    /// Connects, and makes the run's streams.
    pub(crate) fn begin(url: String, options: NatsOptions) -> Result<Begun> {
        options.check()?;
        let (orders, order_receiver) = channel::unbounded_channel();
        let (wake, news) = mpsc::channel();
        let (begun, begins) = mpsc::channel::<Result<usize>>();
        let teller = wake.clone();
        let thread = std::thread::Builder::new().name("offspring-nats".into()).spawn(move || {
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => return drop(begun.send(Err(error.into()))),
            };
            runtime.block_on(async {
                let start = async {
                    let link = Link::connect(&url, &options, "offspring pool").await?;
                    let max_chunk = link.max_inline();
                    let build = build_id();
                    let names = Names::new(build, random());
                    let news = Box::new(move |news| drop(teller.send(news)));
                    let sweeper = link.clone();
                    tokio::spawn(async move { streams::sweep(&sweeper).await });
                    let master = Master::start(link, names, build, options, order_receiver, news).await?;
                    Ok((master, max_chunk))
                };
                match start.await {
                    Ok((master, max_chunk)) => {
                        let _ = begun.send(Ok(max_chunk));
                        master.run().await;
                    }
                    Err(error) => drop(begun.send(Err(error))),
                }
            });
        })?;
        let ended = || NatsError::Io(std::io::Error::other("the connection's thread has ended"));
        let max_chunk = begins.recv().map_err(|_| ended())??;
        Ok(Begun {
            transport: NatsTransport { orders, news, wake, thread: Some(thread), max_chunk, strangers: Arc::default() },
        })
    }

    pub(crate) fn strangers(&self) -> Arc<AtomicUsize> {
        self.transport.strangers.clone()
    }

    pub(crate) fn transport(self) -> NatsTransport {
        self.transport
    }
}

impl NatsTransport {
    fn event(&self, news: News) -> Option<Event> {
        Some(match news {
            News::Workers(workers) => Event::Peer { peer: WORKERS, workers, kills: true, process: 0 },
            News::Reply { bytes: reply, again } => {
                let mut bytes = Buffer::new().ok()?;
                bytes.room(reply.len()).ok()?.copy_from_slice(&reply);
                Event::Reply { bytes, again }
            }
            News::Lost { chunk, tries, why } => Event::Lost { chunk, tries, why },
            News::Closed(why) => Event::Closed { why },
            News::Strangers(workers) => {
                self.strangers.store(workers, Relaxed);
                return None;
            }
            News::Wake => return None,
        })
    }
}

impl Transport for NatsTransport {
    fn send(&mut self, _: PeerId, parcel: &Arc<Parcel>) -> Result<(), String> {
        let id = parcel.id();
        let body = Arc::new(Carried(parcel.clone()));
        let (pool, chunk, job, is_suspect) = (id.pool, id.chunk, parcel.run(), parcel.is_suspect());
        let order = Order::Send { pool, chunk, job, is_suspect, body };
        self.orders.send(order).map_err(|_| "the connection to the NATS server has ended".to_owned())
    }

    fn cancel(&mut self, _: PeerId, parcel: &Arc<Parcel>, level: CancelLevel) {
        // Without a connection there is nothing to be ended.
        let _ = self.orders.send(Order::Cancel { chunk: parcel.id().chunk, level });
    }

    fn poll(&mut self, wait: Option<Duration>, events: &mut Vec<Event>) {
        let first = match wait {
            None => self.news.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(wait) => self.news.recv_timeout(wait),
        };
        let Ok(first) = first else { return };
        events.extend(self.event(first));
        while let Ok(news) = self.news.try_recv() {
            events.extend(self.event(news));
        }
    }

    fn waker(&self) -> Arc<dyn Fn() + Send + Sync> {
        let wake = self.wake.clone();
        Arc::new(move || drop(wake.send(News::Wake)))
    }

    fn close(&mut self, _: &[PeerId]) {
        let _ = self.orders.send(Order::Close);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }

    fn room(&self, workers: usize, short: bool) -> usize {
        // What waits, waits at the server, for whoever comes first.
        if short { workers.saturating_mul(SHORT).max(LEAST_SHORT) } else { workers.saturating_mul(2) }
    }

    fn ahead(&self) -> usize {
        2 * SHORT
    }

    fn max_chunk_bytes(&self) -> usize {
        self.max_chunk
    }
}
