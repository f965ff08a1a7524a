//! What a transaction has written and not yet sent.
//!
//! Peers since 3.1 take many writes in one message; the others take each by itself, at
//! once. Inside a list of requests the writes of each request are held back until it is
//! known to succeed, and are visible to the requests after it.

use std::collections::BTreeMap;

use bytes::Bytes;
use ripstop_proto::protos::write_record::Type;
use ripstop_proto::protos::{
    DelState, PurgePrivateState, PutState, PutStateMetadata, StateMetadata, WriteBatchState, WriteRecord,
};

use crate::{Request, StubError};

/// A batch is sent once its keys and values have this many bytes; peers refuse messages
/// of 100 MiB.
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Collection and key.
type Place = (String, String);

/// Writes in their order.
#[derive(Default)]
pub(crate) struct WriteBuffer {
    records: Vec<WriteRecord>,
    bytes: usize,
    /// Set once the peer refused a batch. The peer may have carried a part of it out, so
    /// the transaction cannot succeed any more.
    refused: Option<StubError>,
    /// The state after the writes so far, while a list of requests runs.
    visible: Option<BTreeMap<Place, Option<Bytes>>>,
    held: bool,
    /// What each visible write replaced, since the last savepoint.
    replaced: Vec<(Place, Option<Option<Bytes>>)>,
}

/// A point to which a buffer can be taken back.
pub(crate) struct Savepoint {
    records: usize,
    bytes: usize,
}

impl WriteBuffer {
    pub(crate) fn push(&mut self, record: WriteRecord) {
        self.bytes += record_bytes(&record);
        if let Some(visible) = &mut self.visible {
            let value = match record.r#type() {
                Type::PutState => Some(Some(record.value.clone())),
                Type::DelState | Type::PurgePrivateData => Some(None),
                Type::PutStateMetadata | Type::Undefined => None,
            };
            if let Some(value) = value {
                let place = (record.collection.clone(), record.key.clone());
                self.replaced.push((place.clone(), visible.insert(place, value)));
            }
        }
        self.records.push(record);
    }

    pub(crate) fn refused(&self) -> Option<StubError> {
        self.refused.clone()
    }

    pub(crate) fn refuse(&mut self, cause: StubError) {
        self.refused = Some(cause);
    }

    /// Whether writes have to be sent before more are taken.
    pub(crate) fn is_due(&self, records_max: usize) -> bool {
        self.records.len() >= records_max || self.bytes >= BATCH_BYTES_MAX
    }

    /// The next writes to send, and how many they are.
    pub(crate) fn next_request(&self, records_max: usize) -> Option<(Request, usize)> {
        let mut bytes = 0;
        let fits = |record: &&WriteRecord| {
            bytes += record_bytes(record);
            bytes <= BATCH_BYTES_MAX
        };
        let count = self.records.iter().take(records_max).take_while(fits).count().max(1);
        match self.records.get(..count)? {
            [only] => Some((single(only.clone()), 1)),
            several => Some((Request::WriteBatch(WriteBatchState { rec: several.to_vec() }), count)),
        }
    }

    pub(crate) fn sent(&mut self, count: usize) {
        self.bytes -= self.records.drain(..count).map(|record| record_bytes(&record)).sum::<usize>();
    }

    /// What a read of this key answers, where writes are visible and there is one.
    pub(crate) fn seen(&self, collection: &str, key: &str) -> Option<Option<Bytes>> {
        let visible = self.visible.as_ref().filter(|visible| !visible.is_empty())?;
        visible.get(&(collection.to_owned(), key.to_owned())).cloned()
    }

    pub(crate) fn is_visible(&self) -> bool {
        self.visible.is_some()
    }

    /// Whether nothing may be sent: a part of the transaction runs that may yet fail.
    pub(crate) fn is_held(&self) -> bool {
        self.held
    }

    /// From here on nothing is sent, and reads see what is written.
    pub(crate) fn hold(&mut self) -> Savepoint {
        self.visible.get_or_insert_default();
        self.held = true;
        self.replaced.clear();
        Savepoint { records: self.records.len(), bytes: self.bytes }
    }

    pub(crate) fn release(&mut self) {
        self.held = false;
        self.replaced.clear();
    }

    /// Forgets what was written since `savepoint`, the last one.
    pub(crate) fn take_back(&mut self, savepoint: Savepoint) {
        self.records.truncate(savepoint.records);
        self.bytes = savepoint.bytes;
        let Some(visible) = &mut self.visible else { return };
        for (place, before) in self.replaced.drain(..).rev() {
            match before {
                Some(before) => visible.insert(place, before),
                None => visible.remove(&place),
            };
        }
    }
}

fn record_bytes(record: &WriteRecord) -> usize {
    let metadata = record.metadata.as_ref().map_or(0, |metadata| metadata.metakey.len() + metadata.value.len());
    record.key.len() + record.value.len() + record.collection.len() + metadata
}

pub(crate) fn put(collection: &str, key: &str, value: Bytes) -> WriteRecord {
    WriteRecord { value, ..record(Type::PutState, collection, key) }
}

pub(crate) fn metadata(collection: &str, key: &str, metadata: StateMetadata) -> WriteRecord {
    WriteRecord { metadata: Some(metadata), ..record(Type::PutStateMetadata, collection, key) }
}

pub(crate) fn record(kind: Type, collection: &str, key: &str) -> WriteRecord {
    WriteRecord { key: key.to_owned(), collection: collection.to_owned(), r#type: kind.into(), ..Default::default() }
}

/// The form that peers without batches know, too.
fn single(record: WriteRecord) -> Request {
    let kind = record.r#type();
    let WriteRecord { key, value, collection, metadata, .. } = record;
    match kind {
        Type::DelState => Request::DeleteState(DelState { key, collection }),
        Type::PutStateMetadata => Request::PutMetadata(PutStateMetadata { key, collection, metadata }),
        Type::PurgePrivateData => Request::PurgePrivateData(PurgePrivateState { key, collection }),
        Type::PutState | Type::Undefined => Request::PutState(PutState { key, value, collection }),
    }
}
