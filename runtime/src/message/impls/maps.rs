//! Maps and sets.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasher, Hash};

use rkyv::Place;
use rkyv::collections::btree_map::{ArchivedBTreeMap, BTreeMapResolver};
use rkyv::collections::btree_set::{ArchivedBTreeSet, BTreeSetResolver};
use rkyv::collections::swiss_table::map::{ArchivedHashMap, HashMapResolver};
use rkyv::collections::swiss_table::set::{ArchivedHashSet, HashSetResolver};
use rkyv::hash::FxHasher64;

use super::super::bridge::Ref;
use crate::message::{DecodeError, Decoder, EncodeError, Encoder, Message};

/// Entries to buckets in an archived hash table.
const LOAD_FACTOR: (usize, usize) = (7, 8);

// SAFETY: rkyv's archived table or tree of the archived entries, written by rkyv.
unsafe impl<K, V, S> Message for HashMap<K, V, S>
where
    K: Message + Hash + Eq,
    V: Message,
    S: BuildHasher + Default + 'static,
{
    type Archived = ArchivedHashMap<K::Archived, V::Archived>;
    type Resolver = HashMapResolver;

    fn write_parts(this: &Self, encoder: &mut Encoder) -> Result<HashMapResolver, EncodeError> {
        ArchivedHashMap::<K::Archived, V::Archived, FxHasher64>::serialize_from_iter::<_, _, _, Ref<'_, K>, Ref<'_, V>, _>(
            this.iter().map(|(key, value)| (Ref(key), Ref(value))),
            LOAD_FACTOR,
            encoder,
        )
    }

    fn write_root(this: &Self, resolver: HashMapResolver, out: Place<Self::Archived>) {
        ArchivedHashMap::resolve_from_len(this.len(), LOAD_FACTOR, resolver, out);
    }

    fn read(archived: &Self::Archived, decoder: &mut Decoder) -> Result<Self, DecodeError> {
        let mut map = HashMap::with_capacity_and_hasher(archived.len(), S::default());
        decoder.nested(|decoder| {
            for (key, value) in archived.iter() {
                map.insert(K::read(key, decoder)?, V::read(value, decoder)?);
            }
            Ok(map)
        })
    }
}

// SAFETY: rkyv's archived table or tree of the archived entries, written by rkyv.
unsafe impl<K, S> Message for HashSet<K, S>
where
    K: Message + Hash + Eq,
    S: BuildHasher + Default + 'static,
{
    type Archived = ArchivedHashSet<K::Archived>;
    type Resolver = HashSetResolver;

    fn write_parts(this: &Self, encoder: &mut Encoder) -> Result<HashSetResolver, EncodeError> {
        ArchivedHashSet::<K::Archived, FxHasher64>::serialize_from_iter::<_, Ref<'_, K>, _>(
            this.iter().map(Ref),
            LOAD_FACTOR,
            encoder,
        )
    }

    fn write_root(this: &Self, resolver: HashSetResolver, out: Place<Self::Archived>) {
        ArchivedHashSet::resolve_from_len(this.len(), LOAD_FACTOR, resolver, out);
    }

    fn read(archived: &Self::Archived, decoder: &mut Decoder) -> Result<Self, DecodeError> {
        let mut set = HashSet::with_capacity_and_hasher(archived.len(), S::default());
        decoder.nested(|decoder| {
            for key in archived.iter() {
                set.insert(K::read(key, decoder)?);
            }
            Ok(set)
        })
    }
}

// SAFETY: rkyv's archived table or tree of the archived entries, written by rkyv.
unsafe impl<K: Message + Ord, V: Message> Message for BTreeMap<K, V> {
    type Archived = ArchivedBTreeMap<K::Archived, V::Archived>;
    type Resolver = BTreeMapResolver;

    fn write_parts(this: &Self, encoder: &mut Encoder) -> Result<BTreeMapResolver, EncodeError> {
        ArchivedBTreeMap::<K::Archived, V::Archived>::serialize_from_ordered_iter::<_, _, _, Ref<'_, K>, Ref<'_, V>, _>(
            this.iter().map(|(key, value)| (Ref(key), Ref(value))),
            encoder,
        )
    }

    fn write_root(this: &Self, resolver: BTreeMapResolver, out: Place<Self::Archived>) {
        ArchivedBTreeMap::resolve_from_len(this.len(), resolver, out);
    }

    fn read(archived: &Self::Archived, decoder: &mut Decoder) -> Result<Self, DecodeError> {
        let mut map = BTreeMap::new();
        decoder.nested(|decoder| {
            for (key, value) in archived.iter() {
                map.insert(K::read(key, decoder)?, V::read(value, decoder)?);
            }
            Ok(map)
        })
    }
}

// SAFETY: rkyv's archived table or tree of the archived entries, written by rkyv.
unsafe impl<K: Message + Ord> Message for BTreeSet<K> {
    type Archived = ArchivedBTreeSet<K::Archived>;
    type Resolver = BTreeSetResolver;

    fn write_parts(this: &Self, encoder: &mut Encoder) -> Result<BTreeSetResolver, EncodeError> {
        ArchivedBTreeSet::<K::Archived>::serialize_from_ordered_iter::<_, Ref<'_, K>, _>(this.iter().map(Ref), encoder)
    }

    fn write_root(this: &Self, resolver: BTreeSetResolver, out: Place<Self::Archived>) {
        ArchivedBTreeSet::resolve_from_len(this.len(), resolver, out);
    }

    fn read(archived: &Self::Archived, decoder: &mut Decoder) -> Result<Self, DecodeError> {
        let mut set = BTreeSet::new();
        decoder.nested(|decoder| {
            for key in archived.iter() {
                set.insert(K::read(key, decoder)?);
            }
            Ok(set)
        })
    }
}
