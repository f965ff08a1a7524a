//! What a transaction read and wrote, namespace by namespace.

use std::fmt::{self, Display};

use ripstop_proto::kvrwset::range_query_info::ReadsInfo;
use ripstop_proto::kvrwset::{HashedRwSet, KvMetadataEntry, KvRead, RangeQueryInfo, Version};
use ripstop_proto::read_write_set::{CollectionSet, NamespaceSet, ReadWriteSet};
use serde::Serialize;

use super::readable::{Printable, Readable};

/// `[block, transaction]`, as in every JSON of this program; `None` for a key that was not there.
type At = Option<(u64, u64)>;

/// The part of one namespace.
#[derive(Debug, Serialize)]
pub(crate) struct Namespace {
    namespace: String,
    reads: Vec<Read>,
    ranges: Vec<Range>,
    writes: Vec<Write>,
    metadata_writes: Vec<MetadataWrite>,
    collections: Vec<Collection>,
}

#[derive(Debug, Serialize)]
struct Read {
    key: String,
    version: At,
}

/// A range query: the rows it read, or hashes over them.
#[derive(Debug, Serialize)]
struct Range {
    start: String,
    end: String,
    exhausted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reads: Option<Vec<Read>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hashes: Option<Hashes>,
}

#[derive(Debug, Serialize)]
struct Hashes {
    max_degree: u32,
    level: u32,
    hashes: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Write {
    key: String,
    delete: bool,
    value: Readable,
}

#[derive(Debug, Serialize)]
struct MetadataWrite {
    key: String,
    entries: Vec<Entry>,
}

#[derive(Debug, Serialize)]
struct Entry {
    name: String,
    value: Readable,
}

/// The hashed part of a private data collection.
#[derive(Debug, Serialize)]
struct Collection {
    name: String,
    hashed_reads: Vec<HashedRead>,
    hashed_writes: Vec<HashedWrite>,
    hashed_metadata_writes: Vec<MetadataWrite>,
    private_set_hash: String,
}

#[derive(Debug, Serialize)]
struct HashedRead {
    key_hash: String,
    version: At,
}

#[derive(Debug, Serialize)]
struct HashedWrite {
    key_hash: String,
    delete: bool,
    purge: bool,
    value_hash: String,
}

/// Every namespace of a read/write set.
pub(crate) fn namespaces(set: ReadWriteSet) -> Vec<Namespace> {
    set.namespaces.into_iter().map(namespace).collect()
}

fn namespace(set: NamespaceSet) -> Namespace {
    let public = set.public;
    let writes = public.writes.into_iter();
    let metadata_writes = public.metadata_writes.into_iter();
    Namespace {
        namespace: set.namespace,
        reads: public.reads.into_iter().map(read).collect(),
        ranges: public.range_queries_info.into_iter().map(range).collect(),
        writes: writes
            .map(|write| Write { key: write.key, delete: write.is_delete, value: Readable(write.value) })
            .collect(),
        metadata_writes: metadata_writes
            .map(|write| MetadataWrite { key: write.key, entries: entries(write.entries) })
            .collect(),
        collections: set.collections.into_iter().map(collection).collect(),
    }
}

fn at(version: Option<Version>) -> At {
    version.map(|version| (version.block_num, version.tx_num))
}

fn read(read: KvRead) -> Read {
    Read { key: read.key, version: at(read.version) }
}

fn range(query: RangeQueryInfo) -> Range {
    let (reads, hashes) = match query.reads_info {
        None => (None, None),
        Some(ReadsInfo::RawReads(raw)) => (Some(raw.kv_reads.into_iter().map(read).collect()), None),
        Some(ReadsInfo::ReadsMerkleHashes(summary)) => {
            let hashes = summary.max_level_hashes.iter().map(hex::encode).collect();
            (None, Some(Hashes { max_degree: summary.max_degree, level: summary.max_level, hashes }))
        }
    };
    Range { start: query.start_key, end: query.end_key, exhausted: query.itr_exhausted, reads, hashes }
}

fn entries(entries: Vec<KvMetadataEntry>) -> Vec<Entry> {
    entries.into_iter().map(|entry| Entry { name: entry.name, value: Readable(entry.value) }).collect()
}

fn collection(set: CollectionSet) -> Collection {
    let HashedRwSet { hashed_reads, hashed_writes, metadata_writes } = set.hashed;
    let hashed_reads = hashed_reads.into_iter();
    let hashed_writes = hashed_writes.into_iter();
    let metadata_writes = metadata_writes.into_iter();
    Collection {
        name: set.name,
        hashed_reads: hashed_reads
            .map(|read| HashedRead { key_hash: hex::encode(read.key_hash), version: at(read.version) })
            .collect(),
        hashed_writes: hashed_writes
            .map(|write| HashedWrite {
                key_hash: hex::encode(write.key_hash),
                delete: write.is_delete,
                purge: write.is_purge,
                value_hash: hex::encode(write.value_hash),
            })
            .collect(),
        hashed_metadata_writes: metadata_writes
            .map(|write| MetadataWrite { key: hex::encode(write.key_hash), entries: entries(write.entries) })
            .collect(),
        private_set_hash: hex::encode(set.pvt_rwset_hash),
    }
}

/// A version as `block:transaction`.
struct Shown(At);

impl Display for Shown {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some((block, transaction)) => write!(formatter, "version {block}:{transaction}"),
            None => write!(formatter, "absent"),
        }
    }
}

impl Display for Namespace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Printable(&self.namespace);
        for Read { key, version } in &self.reads {
            writeln!(formatter, "     read      {name} {}  {}", Printable(key), Shown(*version))?;
        }
        for range in &self.ranges {
            write!(formatter, "     range     {name} [{}, {})", Printable(&range.start), Printable(&range.end))?;
            writeln!(formatter, "{}", if range.exhausted { "" } else { "  closed early" })?;
            for Read { key, version } in range.reads.iter().flatten() {
                writeln!(formatter, "       row     {}  {}", Printable(key), Shown(*version))?;
            }
            if let Some(hashes) = &range.hashes {
                writeln!(formatter, "       hashes  {} of level {}", hashes.hashes.len(), hashes.level)?;
            }
        }
        for write in &self.writes {
            if write.delete {
                writeln!(formatter, "     delete    {name} {}", Printable(&write.key))?;
            } else {
                writeln!(formatter, "     write     {name} {} = {}", Printable(&write.key), write.value)?;
            }
        }
        for MetadataWrite { key, entries } in &self.metadata_writes {
            let names: Vec<String> = entries.iter().map(|entry| Printable(&entry.name).to_string()).collect();
            writeln!(formatter, "     metadata  {name} {} [{}]", Printable(key), names.join(", "))?;
        }
        self.collections.iter().try_for_each(|collection| collection.fmt_in(formatter, &name))
    }
}

impl Collection {
    fn fmt_in(&self, formatter: &mut fmt::Formatter<'_>, namespace: &Printable<'_>) -> fmt::Result {
        let name = Printable(&self.name);
        for HashedRead { key_hash, version } in &self.hashed_reads {
            writeln!(formatter, "     read      {namespace} {name} #{key_hash}  {}", Shown(*version))?;
        }
        for write in &self.hashed_writes {
            let what = if write.purge {
                "purge "
            } else if write.delete {
                "delete"
            } else {
                "write "
            };
            writeln!(formatter, "     {what}    {namespace} {name} #{}", write.key_hash)?;
        }
        for MetadataWrite { key, entries } in &self.hashed_metadata_writes {
            writeln!(formatter, "     metadata  {namespace} {name} #{key} ({} entries)", entries.len())?;
        }
        Ok(())
    }
}
