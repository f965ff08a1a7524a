//! Reads and writes of private data collections.
//!
//! What is noted of them are hashes, in the public set; clear writes go into a set of their
//! own. That a collection is defined, and who may touch it, is not known here.

use bytes::Bytes;
use ripstop_proto::hash::sha256;

use super::notes::CollectionNotes;
use super::range::Range;
use super::{RangeId, Simulator, SimulatorError};
use crate::state::{Metadata, metadata_of};
use crate::version::VersionedValue;

impl Simulator {
    /// The hash of a private value, from the public state; noted as a hashed read.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn private_hash(
        &mut self,
        namespace: &str,
        collection: &str,
        key: &str,
    ) -> Result<Option<Bytes>, SimulatorError> {
        let entry = self.read_hashed(namespace, collection, key)?;
        Ok(entry.map(|entry| entry.value))
    }

    /// A private value in clear; noted as a hashed read.
    ///
    /// # Errors
    /// [`SimulatorError::PrivateValueMissing`] when this node does not hold the current value.
    pub fn get_private(
        &mut self,
        namespace: &str,
        collection: &str,
        key: &str,
    ) -> Result<Option<Bytes>, SimulatorError> {
        named(collection)?;
        let entry = self.state.private(namespace, collection, key)?;
        let hashed = self.hashed(namespace, collection, key)?;
        let version = |entry: &Option<VersionedValue>| entry.as_ref().map(|entry| entry.version);
        let (private_version, hash_version) = (version(&entry), version(&hashed));
        if private_version != hash_version {
            return Err(SimulatorError::PrivateValueMissing { hash_version, private_version });
        }
        self.notes.collection(namespace, collection).read_in_clear(key, &entry);
        Ok(entry.map(|entry| entry.value))
    }

    /// Several private values in clear, in order; each is noted as a hashed read, with the
    /// version of the value that this node holds. As in Fabric that version is not compared
    /// with the hash's: where they differ, the transaction loses when it is committed.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn get_privates<K: AsRef<str>>(
        &mut self,
        namespace: &str,
        collection: &str,
        keys: &[K],
    ) -> Result<Vec<Option<Bytes>>, SimulatorError> {
        named(collection)?;
        let mut values = Vec::with_capacity(keys.len());
        for key in keys.iter().map(AsRef::as_ref) {
            let entry = self.state.private(namespace, collection, key)?;
            self.notes.collection(namespace, collection).read_in_clear(key, &entry);
            values.push(entry.map(|entry| entry.value));
        }
        Ok(values)
    }

    /// Writes a private value; the last write of a key counts. An empty value is a delete.
    ///
    /// # Errors
    /// After a range over private data or a page.
    pub fn put_private(
        &mut self,
        namespace: &str,
        collection: &str,
        key: &str,
        value: Bytes,
    ) -> Result<(), SimulatorError> {
        let value = (!value.is_empty()).then_some(value);
        self.begin_private_write(namespace, collection, key)?.write(key, value);
        Ok(())
    }

    /// Deletes a private key.
    ///
    /// # Errors
    /// As [`Simulator::put_private`].
    pub fn delete_private(&mut self, namespace: &str, collection: &str, key: &str) -> Result<(), SimulatorError> {
        self.put_private(namespace, collection, key, Bytes::new())
    }

    /// Deletes a private key with all values it ever had.
    ///
    /// # Errors
    /// As [`Simulator::put_private`].
    pub fn purge_private(&mut self, namespace: &str, collection: &str, key: &str) -> Result<(), SimulatorError> {
        self.begin_private_write(namespace, collection, key)?.purge(key);
        Ok(())
    }

    /// The committed metadata of a private key, empty where there is none; noted as a hashed
    /// read of the key.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn get_private_metadata(
        &mut self,
        namespace: &str,
        collection: &str,
        key: &str,
    ) -> Result<Metadata, SimulatorError> {
        let entry = self.read_hashed(namespace, collection, key)?;
        Ok(metadata_of(entry.as_ref())?)
    }

    /// Sets the metadata of a private key, in place of all entries there are; none removes
    /// it. It has no effect on a key that is absent when the transaction is committed.
    ///
    /// # Errors
    /// As [`Simulator::put_private`].
    pub fn put_private_metadata(
        &mut self,
        namespace: &str,
        collection: &str,
        key: &str,
        metadata: Metadata,
    ) -> Result<(), SimulatorError> {
        self.begin_private_write(namespace, collection, key)?.keys.write_metadata(key, metadata);
        Ok(())
    }

    /// Opens a walk over private keys that this node holds in clear. Nothing of it is
    /// noted, so the transaction must not write.
    ///
    /// # Errors
    /// After a write.
    pub fn open_private_range(
        &mut self,
        namespace: &str,
        collection: &str,
        start: &str,
        end: &str,
    ) -> Result<RangeId, SimulatorError> {
        if self.wrote {
            return Err(SimulatorError::PrivateRangeAfterWrite);
        }
        named(collection)?;
        self.ran_private_range = true;
        Ok(self.add_range(Range::private(&self.state, namespace, collection, start, end)))
    }

    fn begin_private_write(
        &mut self,
        namespace: &str,
        collection: &str,
        key: &str,
    ) -> Result<&mut CollectionNotes, SimulatorError> {
        named(collection)?;
        self.begin_write()?;
        if !self.notes.collection(namespace, collection).keys.knows_metadata_before(key) {
            let before = metadata_of(self.hashed(namespace, collection, key)?.as_ref())?;
            self.notes.collection(namespace, collection).keys.set_metadata_before(key, before);
        }
        Ok(self.notes.collection(namespace, collection))
    }

    fn read_hashed(
        &mut self,
        namespace: &str,
        collection: &str,
        key: &str,
    ) -> Result<Option<VersionedValue>, SimulatorError> {
        named(collection)?;
        let entry = self.hashed(namespace, collection, key)?;
        self.notes.collection(namespace, collection).keys.read(key, &entry);
        Ok(entry)
    }

    fn hashed(&self, namespace: &str, collection: &str, key: &str) -> Result<Option<VersionedValue>, SimulatorError> {
        Ok(self.state.hashed(namespace, collection, &sha256(&[key.as_bytes()]))?)
    }
}

fn named(collection: &str) -> Result<(), SimulatorError> {
    match collection.is_empty() {
        true => Err(SimulatorError::UnnamedCollection),
        false => Ok(()),
    }
}
