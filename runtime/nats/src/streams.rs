//! The streams of a run: how they are made and removed, and how those of the dead are found.
//!
//! | name | keeps | taken by | ends |
//! | --- | --- | --- | --- |
//! | `.._TASKS` | each chunk until a worker has confirmed that its result is kept | the consumer `workers`, shared by all workers | with the run |
//! | `.._RESULTS` | each result until the pool has it | the consumer `master`; the server removes it when nobody has asked for long | with the run |
//! | `OBJ_..`, a bucket | bodies too large for a message | by name | with the run |
//!
//! A run whose consumer `master` is gone has no pool any more: whoever comes by removes its streams. What nobody removes is emptied by the
//! age limit of messages.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::context::ConsumerInfoErrorKind;
use async_nats::jetstream::stream::{Config, RetentionPolicy, StorageType};
use futures_util::TryStreamExt;

use crate::link::{Link, chain};
use crate::names::{self, BUCKET_STREAM, MASTER, Names, WORKERS};
use crate::options::Storage;
use crate::{NatsError, NatsOptions, Result};

/// How long streams may be there without their consumers, because they are being made.
const BEING_MADE: Duration = Duration::from_secs(5);
/// Requests that may wait at a consumer, over all workers.
const MAX_WAITING: i64 = 16_384;

pub(crate) fn storage(storage: Storage) -> StorageType {
    match storage {
        Storage::File => StorageType::File,
        Storage::Memory => StorageType::Memory,
    }
}

/// Makes what of a run's streams and consumers is not there.
pub(crate) async fn make(link: &Link, names: &Names, options: &NatsOptions) -> Result<()> {
    let common = Config {
        max_age: options.keep,
        storage: storage(options.storage),
        num_replicas: options.replicas,
        duplicate_window: Duration::from_secs(120).min(options.keep),
        ..Config::default()
    };
    let tasks = Config {
        name: names.tasks(),
        subjects: vec![names.task_subjects()],
        retention: RetentionPolicy::WorkQueue,
        description: Some("offspring: tasks of a pool".into()),
        ..common.clone()
    };
    let results = Config {
        name: names.results(),
        subjects: vec![names.result_subject()],
        retention: RetentionPolicy::Limits,
        description: Some("offspring: results for a pool".into()),
        ..common
    };
    let workers = pull::Config {
        durable_name: Some(WORKERS.into()),
        ack_policy: AckPolicy::Explicit,
        ack_wait: options.lease,
        max_ack_pending: -1,
        max_waiting: MAX_WAITING,
        ..pull::Config::default()
    };
    let master = pull::Config {
        durable_name: Some(MASTER.into()),
        deliver_policy: DeliverPolicy::All,
        ack_policy: AckPolicy::All,
        ack_wait: options.lease,
        max_ack_pending: -1,
        inactive_threshold: options.abandoned_after,
        ..pull::Config::default()
    };
    for (stream, consumer, config) in [(results, MASTER, master), (tasks, WORKERS, workers)] {
        let name = stream.name.clone();
        let made = link.jetstream.create_stream(stream).await;
        let made = made.map_err(|error| NatsError::server(format!("cannot make the stream {name}"), chain(&error)))?;
        made.get_or_create_consumer(consumer, config).await.map_err(|error| {
            NatsError::server(format!("cannot make the consumer {consumer} of {name}"), chain(&error))
        })?;
    }
    Ok(())
}

/// Are the streams and consumers of a run there? `None`: the server does not say.
pub(crate) async fn are_there(link: &Link, names: &Names) -> Option<bool> {
    for (stream, consumer) in [(names.tasks(), WORKERS), (names.results(), MASTER)] {
        match is_sound(link, &stream, consumer).await? {
            true => {}
            false => return Some(false),
        }
    }
    Some(true)
}

/// Is the consumer there, and does it give what is stored?
///
/// A server that was killed may find a stream behind what its consumer remembers, for instance where all messages had been taken. Then the stream
/// gives numbers out a second time, and the consumer takes those messages for delivered. Such a consumer is removed, to be made again.
async fn is_sound(link: &Link, stream: &str, consumer: &str) -> Option<bool> {
    let handle = link.jetstream.get_stream_no_info(stream).await.ok()?;
    let delivered = match handle.consumer_info(consumer).await {
        Ok(info) => info.delivered.stream_sequence,
        Err(error) => {
            let gone = [ConsumerInfoErrorKind::NotFound, ConsumerInfoErrorKind::StreamNotFound];
            return gone.contains(&error.kind()).then_some(false);
        }
    };
    // Asked after the consumer: what comes in between makes it no smaller.
    let last = handle.get_info().await.ok()?.state.last_sequence;
    if delivered > last {
        let _ = handle.delete_consumer(consumer).await;
        return Some(false);
    }
    Some(true)
}

async fn has_consumer(link: &Link, stream: &str, consumer: &str) -> Option<bool> {
    let Ok(handle) = link.jetstream.get_stream_no_info(stream).await else { return None };
    match handle.consumer_info(consumer).await {
        Ok(_) => Some(true),
        Err(error) => matches!(error.kind(), ConsumerInfoErrorKind::NotFound | ConsumerInfoErrorKind::StreamNotFound)
            .then_some(false),
    }
}

/// Removes what a run has on the server.
pub(crate) async fn remove(link: &Link, names: &Names) {
    let _ = link.jetstream.delete_stream(names.tasks()).await;
    let _ = link.jetstream.delete_stream(names.results()).await;
    let _ = link.jetstream.delete_stream(format!("{BUCKET_STREAM}{}", names.bucket())).await;
}

/// Removes what runs without a pool have left on the server; how many there were.
pub(crate) async fn sweep(link: &Link) -> usize {
    let streams: Vec<String> = match link.jetstream.stream_names().try_collect().await {
        Ok(names) => names,
        Err(_) => return 0,
    };
    let bases: BTreeSet<&str> = streams.iter().filter_map(|name| names::base_of(name)).collect();
    let mut removed = 0;
    for base in bases {
        let mine = || streams.iter().filter(|name| names::base_of(name) == Some(base));
        if !is_abandoned(link, base, mine()).await {
            continue;
        }
        for stream in mine() {
            let _ = link.jetstream.delete_stream(stream).await;
        }
        removed += 1;
    }
    removed
}

/// Has nobody taken this run's results for so long that the server forgot about it?
async fn is_abandoned(link: &Link, base: &str, mut streams: impl Iterator<Item = &String>) -> bool {
    if has_consumer(link, &format!("{base}_RESULTS"), MASTER).await != Some(false) {
        return false;
    }
    let Some(stream) = streams.next() else { return false };
    let Ok(stream) = link.jetstream.get_stream(stream).await else { return false };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs().cast_signed();
    let age = now.saturating_sub(stream.cached_info().created.unix_timestamp());
    age > BEING_MADE.as_secs().cast_signed()
}
