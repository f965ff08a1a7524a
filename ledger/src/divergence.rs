//! What a ledger does for a node whose state differs from that of others: it finds the key
//! behind a path of the state trie, and keeps the finding until the state is built anew.
//!
//! ```text
//! 'v'   marshalled ripstop.v1.Divergence; absent in a ledger nobody found fault with
//! ```
//! The record lies in the derived store, so it goes with the state that it is about. Whether
//! states differ, and whose is right, is not judged here.

use prost::Message;
use ripstop_proto::ripstop::v1::{DivergedKey, Divergence};
use ripstop_proto::varint::read_order_preserving;
use ripstop_trie::Path;

use crate::contents;
use crate::error::LedgerError;
use crate::history;
use crate::ledger::Ledger;
use crate::roots::state_path_of;
use crate::state;
use crate::store::{Batch, StoreError};
use crate::updates;

const KEY: &[u8] = b"v";

impl Ledger {
    /// What was kept with [`Ledger::keep_divergence`] since the state was built.
    ///
    /// # Errors
    /// When the store cannot be read, or the record does not decode.
    pub fn divergence(&self) -> Result<Option<Divergence>, LedgerError> {
        let Some(bytes) = self.store.snapshot().get(KEY)? else { return Ok(None) };
        let damaged = |error| StoreError::Damaged(format!("the record of a divergence: {error}"));
        Ok(Some(Divergence::decode(bytes).map_err(damaged)?))
    }

    /// Keeps `divergence` until index and state are built again. Durable when it returns.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn keep_divergence(&self, divergence: &Divergence) -> Result<(), LedgerError> {
        let mut batch = Batch::default();
        batch.put(KEY.to_vec(), divergence.encode_to_vec());
        Ok(self.store.write(&batch, true)?)
    }

    /// The key that stands at `path` in the state trie. Looked for among the keys that the
    /// transactions of block `number` write, valid or not, then in the whole state, then among
    /// all public keys ever written: with millions of keys this takes seconds.
    ///
    /// # Errors
    /// When blocks or state cannot be read.
    pub fn key_at(&self, number: u64, path: &Path) -> Result<Option<DivergedKey>, LedgerError> {
        let found = |store_key: &[u8]| state_path_of(store_key) == *path;
        let written = self.block(number)?.map(|block| {
            let entries = contents::open_all_entries(&block);
            entries.iter().flat_map(|entry| updates::written_keys(&entry.contents)).find(|key| found(key))
        });
        if let Some(store_key) = written.flatten() {
            return Ok(Some(diverged_key(&store_key, path)));
        }
        let view = self.state();
        let mut rows = state::all_rows(view.snapshot());
        while let Some((store_key, _)) = rows.next()? {
            if found(&store_key) {
                return Ok(Some(diverged_key(&store_key, path)));
            }
        }
        let mut entries = view.snapshot().range(&[history::PREFIX], &[history::PREFIX + 1]);
        while let Some((entry, _)) = entries.next()? {
            if let Some(store_key) = store_key_of(&entry[1..])
                && found(&store_key)
            {
                return Ok(Some(diverged_key(&store_key, path)));
            }
        }
        Ok(None)
    }
}

/// Splits a key of the store into namespace and key.
fn diverged_key(store_key: &[u8], path: &Path) -> DivergedKey {
    let mut parts = store_key[1..].splitn(2, |byte| *byte == state::SEPARATOR);
    let namespace = String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
    let key = parts.next().unwrap_or_default().to_vec().into();
    DivergedKey { namespace, key, path: path.to_vec().into() }
}

/// The store key of the state entry whose write an entry of the history is of.
fn store_key_of(entry: &[u8]) -> Option<Vec<u8>> {
    let (namespace, rest) = counted(entry)?;
    let (key, _) = counted(rest)?;
    let namespace = std::str::from_utf8(namespace).ok()?;
    Some(state::store_key(state::Space::Public(namespace), key))
}

/// Bytes whose count stands before them, and what follows.
fn counted(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (count, taken) = read_order_preserving(bytes).ok()?;
    let rest = &bytes[taken..];
    rest.split_at_checked(usize::try_from(count).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_the_store_is_told_as_namespace_and_key() {
        let key = diverged_key(b"dbasic\0asset\0 1", &[7; 32]);
        assert_eq!((key.namespace.as_str(), &key.key[..]), ("basic", &b"asset\0 1"[..]));
        assert_eq!(diverged_key(b"d\0CHANNEL", &[7; 32]).namespace, "");
    }

    #[test]
    fn an_entry_of_the_history_names_its_key() {
        let entry = history::entry_key("basic", "asset1", crate::Version::new(300, 2));
        assert_eq!(store_key_of(&entry[1..]).unwrap(), b"dbasic\0asset1");
        for length in 0..14 {
            assert_eq!(store_key_of(&entry[1..length + 1]), None, "{length} bytes");
        }
    }
}
