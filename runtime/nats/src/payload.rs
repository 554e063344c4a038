//! Bodies that are larger than a message may be, in the run's object store.

use async_nats::jetstream::object_store::{Config, ObjectMetadata, ObjectStore};
use tokio::io::AsyncReadExt;

use crate::NatsOptions;
use crate::link::{Link, chain};
use crate::names::Names;
use crate::streams::storage;

/// The largest piece that an object is cut into.
const MAX_PIECE: usize = 512 << 10;

/// Makes the bucket of a run, if it is not there, so that both sides may put large bodies into it.
pub(crate) async fn make(link: &Link, names: &Names, options: &NatsOptions) -> Result<ObjectStore, String> {
    let config = Config {
        bucket: names.bucket(),
        max_age: options.keep,
        storage: storage(options.storage),
        num_replicas: options.replicas,
        ..Config::default()
    };
    link.jetstream.create_object_store(config).await.map_err(|error| chain(&error))
}

pub(crate) async fn open(link: &Link, names: &Names) -> Result<ObjectStore, String> {
    link.jetstream.get_object_store(names.bucket()).await.map_err(|error| chain(&error))
}

pub(crate) async fn put(link: &Link, bucket: &ObjectStore, name: &str, body: &[u8]) -> Result<(), String> {
    let piece = link.max_inline().min(MAX_PIECE);
    let object = ObjectMetadata { name: name.to_owned(), chunk_size: Some(piece), ..ObjectMetadata::default() };
    let mut body = body;
    bucket.put(object, &mut body).await.map(drop).map_err(|error| chain(&error))
}

pub(crate) async fn get(bucket: &ObjectStore, name: &str) -> Result<Vec<u8>, String> {
    let mut object = bucket.get(name).await.map_err(|error| chain(&error))?;
    let size = object.info().size;
    let mut body = Vec::new();
    body.try_reserve_exact(size).map_err(|error| error.to_string())?;
    object.read_to_end(&mut body).await.map_err(|error| error.to_string())?;
    if body.len() != size {
        return Err(format!("{} of {size} bytes came", body.len()));
    }
    Ok(body)
}

/// Removes an object. One that cannot be removed vanishes with the bucket.
pub(crate) async fn remove(bucket: &ObjectStore, name: &str) {
    let _ = bucket.delete(name).await;
}
