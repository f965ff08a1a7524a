//! The committed entries that deciding over one block needs, read beforehand: each key
//! once, in key order, on all threads.

use std::collections::{HashMap, HashSet};

use rayon::prelude::*;
use ripstop_proto::read_write_set::{CollectionSet, NamespaceSet};

use crate::contents::{Contents, Entry};
use crate::derived;
use crate::state::{self, Rows, Space, StateView};
use crate::store::StoreError;
use crate::version::VersionedValue;

const KEYS_PER_TASK: usize = 64;

/// State and index before a block.
pub(crate) struct Committed<'a> {
    view: &'a StateView,
    entries: HashMap<Vec<u8>, Option<VersionedValue>>,
    known_tx_ids: HashSet<String>,
}

impl<'a> Committed<'a> {
    /// Reads what `entries` read or write, and which of their ids the ledger knows.
    pub(crate) fn load(view: &'a StateView, entries: &[Entry]) -> Result<Self, StoreError> {
        let mut keys: Vec<Vec<u8>> = entries.par_iter().flat_map_iter(keys_of).collect();
        keys.par_sort_unstable();
        keys.dedup();
        let entries_by_key = read_sorted(keys, |key| view.snapshot().get(key)?.map(state::decode_entry).transpose())?;
        let mut ids: Vec<&String> = entries.iter().filter_map(|entry| entry.tx_id.as_ref()).collect();
        ids.sort_unstable();
        ids.dedup();
        let known = read_sorted(ids, |id| view.snapshot().get(&derived::tx_key(id)))?;
        let known_tx_ids = known.into_iter().filter(|(_, place)| place.is_some()).map(|(id, _)| id.clone()).collect();
        Ok(Self { view, entries: entries_by_key.into_iter().collect(), known_tx_ids })
    }

    /// The entry of a key.
    pub(crate) fn get(&self, space: Space<'_>, key: &[u8]) -> Result<Option<VersionedValue>, StoreError> {
        let key = state::store_key(space, key);
        match self.entries.get(&key) {
            Some(entry) => Ok(entry.clone()),
            None => self.view.snapshot().get(&key)?.map(state::decode_entry).transpose(),
        }
    }

    /// The public entries in [start, end); an empty `end` is the end of the namespace.
    pub(crate) fn rows(&self, namespace: &str, start: &[u8], end: &[u8]) -> Rows {
        self.view.rows(Space::Public(namespace), start, end)
    }

    /// Whether an earlier block holds a transaction with this id.
    pub(crate) fn knows_tx_id(&self, tx_id: &str) -> bool {
        self.known_tx_ids.contains(tx_id)
    }
}

fn read_sorted<K, V>(keys: Vec<K>, read: impl Fn(&K) -> Result<V, StoreError> + Sync) -> Result<Vec<(K, V)>, StoreError>
where
    K: Send,
    V: Send,
{
    let read_one = |key: K| read(&key).map(|value| (key, value));
    keys.into_par_iter().with_min_len(KEYS_PER_TASK).map(read_one).collect()
}

fn keys_of(entry: &Entry) -> Vec<Vec<u8>> {
    let mut keys = Vec::new();
    if let Contents::Endorsed(read_write_set) = &entry.contents {
        for namespace in &read_write_set.namespaces {
            add_public_keys(&mut keys, namespace);
            for collection in &namespace.collections {
                add_hashed_keys(&mut keys, &namespace.namespace, collection);
            }
        }
    }
    keys
}

fn add_public_keys(keys: &mut Vec<Vec<u8>>, namespace: &NamespaceSet) {
    let set = &namespace.public;
    let read = set.reads.iter().map(|read| &read.key);
    let written = set.writes.iter().map(|write| &write.key);
    let metadata_written = set.metadata_writes.iter().map(|write| &write.key);
    let space = Space::Public(&namespace.namespace);
    keys.extend(read.chain(written).chain(metadata_written).map(|key| state::store_key(space, key.as_bytes())));
}

fn add_hashed_keys(keys: &mut Vec<Vec<u8>>, namespace: &str, collection: &CollectionSet) {
    let set = &collection.hashed;
    let read = set.hashed_reads.iter().map(|read| &read.key_hash);
    let written = set.hashed_writes.iter().map(|write| &write.key_hash);
    let metadata_written = set.metadata_writes.iter().map(|write| &write.key_hash);
    let space = Space::Hashed(namespace, &collection.name);
    keys.extend(read.chain(written).chain(metadata_written).map(|key| state::store_key(space, key)));
}
