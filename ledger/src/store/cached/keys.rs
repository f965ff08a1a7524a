//! Keys that were read lately, with their values as of the newest write, absent ones
//! included, within a bound.
//!
//! Two generations: what is used goes into the young one; when that is full it becomes the
//! old one, and what nobody has used meanwhile is forgotten.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use bytes::Bytes;
use parking_lot::Mutex;

/// Bytes of one generation of all shards: keys, values and what they cost beside.
const GENERATION_BYTES_MAX: usize = 16 << 20;
const SHARDS: usize = 16;
/// What an entry takes beside key and value.
const ENTRY_BYTES: usize = 112;

/// A value, and the number of the first snapshot that is known to hold it.
struct Entry {
    since: u64,
    value: Option<Bytes>,
}

/// Keys in shards, so that several threads can read.
pub(super) struct Keys {
    hasher: RandomState,
    shards: [Mutex<Shard>; SHARDS],
}

#[derive(Default)]
struct Shard {
    /// The newest write that this shard has heard of.
    number: u64,
    young: HashMap<Box<[u8]>, Entry>,
    old: HashMap<Box<[u8]>, Entry>,
    young_bytes: usize,
}

impl Default for Keys {
    fn default() -> Self {
        Self { hasher: RandomState::new(), shards: Default::default() }
    }
}

impl Keys {
    /// The value of a key in the snapshot of this number; `None` when that is not known.
    pub(super) fn get(&self, number: u64, key: &[u8]) -> Option<Option<Bytes>> {
        let mut shard = self.shard(key).lock();
        let entry = match shard.young.get(key) {
            Some(entry) => entry,
            None => shard.make_young(key)?,
        };
        (entry.since <= number).then(|| entry.value.clone())
    }

    /// Keeps what the snapshot of this number holds, unless a newer one may hold another value.
    pub(super) fn note(&self, number: u64, key: &[u8], value: Option<&Bytes>) {
        let mut shard = self.shard(key).lock();
        if shard.number == number {
            shard.insert(key.into(), Entry { since: number, value: value.cloned() });
        }
    }

    /// Follows a write. Keys that nobody has read lately are not taken in: most of what is
    /// written is not read soon.
    pub(super) fn apply<'a>(&self, number: u64, changes: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>) {
        // From here on no older snapshot can add anything.
        self.shards.iter().for_each(|shard| shard.lock().number = number);
        for (key, value) in changes {
            self.shard(key).lock().replace(key, number, value);
        }
    }

    /// Forgets everything.
    pub(super) fn forget(&self, number: u64) {
        self.shards.iter().for_each(|shard| *shard.lock() = Shard { number, ..Shard::default() });
    }

    fn shard(&self, key: &[u8]) -> &Mutex<Shard> {
        &self.shards[self.hasher.hash_one(key) as usize % SHARDS]
    }
}

impl Shard {
    fn make_young(&mut self, key: &[u8]) -> Option<&Entry> {
        let (key, entry) = self.old.remove_entry(key)?;
        let place = key.clone();
        self.insert(key, entry);
        self.young.get(&place)
    }

    fn replace(&mut self, key: &[u8], number: u64, value: Option<&[u8]>) {
        let value_bytes = value.map_or(0, <[u8]>::len);
        let entry = match self.young.get_mut(key) {
            Some(entry) => {
                self.young_bytes += value_bytes;
                self.young_bytes -= entry.value.as_ref().map_or(0, Bytes::len);
                entry
            }
            None => match self.old.get_mut(key) {
                Some(entry) => entry,
                None => return,
            },
        };
        *entry = Entry { since: number, value: value.map(Bytes::copy_from_slice) };
    }

    fn insert(&mut self, key: Box<[u8]>, entry: Entry) {
        if self.young_bytes > GENERATION_BYTES_MAX / SHARDS {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        self.young_bytes += ENTRY_BYTES + key.len() + entry.value.as_ref().map_or(0, Bytes::len);
        let key_bytes = key.len();
        if let Some(replaced) = self.young.insert(key, entry) {
            self.young_bytes -= ENTRY_BYTES + key_bytes + replaced.value.as_ref().map_or(0, Bytes::len);
        }
    }
}
