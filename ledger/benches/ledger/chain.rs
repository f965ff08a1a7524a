//! A ledger that grows block by block, and the envelopes for its next blocks.

use std::path::Path;

use bytes::Bytes;
use prost::Message;
use ripstop_ledger::{CheckedBlock, Ledger, Options, Verdict};
use ripstop_proto::block::{data_hash, header_hash};
use ripstop_proto::common::{Block, BlockData, BlockHeader, BlockMetadata, ChannelHeader, Envelope, Header, Payload};
use ripstop_proto::kvrwset::Version;
use tempfile::TempDir;

use crate::envelopes::{Client, NAMESPACE, Random, Write};

pub(crate) const TRANSACTIONS: u64 = 500;
pub(crate) const VALUE_BYTES: usize = 100;
const CHANNEL: &str = "ch";
/// What every real transaction reads: the sequence of the chaincode's definition.
const DEFINITION: (&str, &str) = ("_lifecycle", "namespaces/fields/bench/Sequence");
const WRITES_AT_ONCE: u64 = 1_000;

/// What makes the next block.
pub(crate) struct Chain {
    pub(crate) random: Random,
    pub(crate) clients: Vec<Client>,
    number: u64,
    previous_hash: Bytes,
    /// By key of [`loaded`]; `None` until it is written.
    versions: Vec<Option<Version>>,
}

impl Chain {
    /// A chain of one block, the genesis block, with so many clients.
    pub(crate) fn new(clients: usize) -> (Self, Block) {
        let mut random = Random(5);
        let others = (1..clients).map(|_| Client::other(&mut random)).collect::<Vec<_>>();
        let clients = std::iter::once(Client::real()).chain(others).collect();
        let mut chain = Self { random, clients, number: 0, previous_hash: Bytes::new(), versions: Vec::new() };
        let genesis = chain.block(vec![config_envelope()]);
        (chain, genesis.block)
    }

    /// The next block, all of whose transactions stage one found valid.
    pub(crate) fn block(&mut self, entries: Vec<Bytes>) -> CheckedBlock {
        let data_hash = Bytes::copy_from_slice(&data_hash(&entries));
        let header = BlockHeader { number: self.number, previous_hash: self.previous_hash.clone(), data_hash };
        self.number += 1;
        self.previous_hash = Bytes::copy_from_slice(&header_hash(&header));
        let verdicts = vec![Verdict::valid(); entries.len()];
        let block = Block {
            header: Some(header),
            data: Some(BlockData { data: entries }),
            metadata: Some(BlockMetadata { metadata: vec![Bytes::new(); 5] }),
        };
        CheckedBlock { block, verdicts, private_writes: Vec::new() }
    }

    /// A block whose transactions write one key each; with `reads` they also read it.
    pub(crate) fn block_of(&mut self, keys: &[u64], reads: bool) -> CheckedBlock {
        let number = self.number;
        let mut entries = Vec::with_capacity(keys.len());
        for (key, tx_num) in keys.iter().zip(0..) {
            let name = key_name(*key);
            let version = self.versions.get(*key as usize).copied().flatten();
            let definition = (DEFINITION.0, DEFINITION.1, Some(Version { block_num: 1, tx_num: 0 }));
            let read = (NAMESPACE, name.as_str(), version);
            let value = self.random.text(VALUE_BYTES);
            let reads = if reads { &[definition, read][..] } else { &[definition] };
            entries.push(self.envelope(reads, &[(NAMESPACE, &name, &value)]));
            self.note(*key, Version { block_num: number, tx_num });
        }
        self.block(entries)
    }

    /// A block like those of [`Chain::block_of`] that is never committed.
    pub(crate) fn uncommitted_block_of(&mut self, keys: &[u64]) -> CheckedBlock {
        let before = (self.number, self.previous_hash.clone(), self.versions.clone());
        let block = self.block_of(keys, true);
        (self.number, self.previous_hash, self.versions) = before;
        block
    }

    /// So many different keys below `limit`.
    pub(crate) fn keys(&mut self, count: u64, limit: u64) -> Vec<u64> {
        let mut keys = std::collections::BTreeSet::new();
        while (keys.len() as u64) < count {
            keys.insert(self.random.below(limit));
        }
        keys.into_iter().collect()
    }

    /// The envelope of some client.
    pub(crate) fn envelope(&mut self, reads: &[crate::envelopes::Read<'_>], writes: &[Write<'_>]) -> Bytes {
        let client = self.random.below(self.clients.len() as u64) as usize;
        self.clients[client].envelope(&mut self.random, reads, writes)
    }

    /// Blocks that write the keys from 0 to `keys` in a shuffled order, many per transaction.
    pub(crate) fn load(&mut self, keys: u64, ledgers: &[Ledger]) {
        let order = |place: u64| place * 7_919 % keys;
        for first in (0..keys).step_by(10 * WRITES_AT_ONCE as usize) {
            let mut entries = Vec::new();
            for (first, tx_num) in (first..first + 10 * WRITES_AT_ONCE).step_by(WRITES_AT_ONCE as usize).zip(0..) {
                let keys = (first..first + WRITES_AT_ONCE).map(order);
                let named: Vec<_> = keys.map(|key| (key, key_name(key), self.random.text(VALUE_BYTES))).collect();
                let writes: Vec<Write<'_>> =
                    named.iter().map(|(_, name, value)| (NAMESPACE, name.as_str(), value.as_slice())).collect();
                entries.push(self.envelope(&[], &writes));
                for (key, ..) in &named {
                    self.note(*key, Version { block_num: self.number, tx_num });
                }
            }
            let block = self.block(entries);
            for ledger in ledgers {
                ledger.commit(block.clone()).unwrap();
            }
        }
    }

    fn note(&mut self, key: u64, version: Version) {
        let place = key as usize;
        if self.versions.len() <= place {
            self.versions.resize(place + 1, None);
        }
        self.versions[place] = Some(version);
    }
}

pub(crate) fn key_name(key: u64) -> String {
    format!("asset-{key:010}")
}

/// Ledgers of one chain, each in a folder of its own.
pub(crate) fn new_ledgers<const COUNT: usize>(
    clients: usize,
    options: [Options; COUNT],
) -> (Chain, [Ledger; COUNT], [TempDir; COUNT]) {
    let folders = std::array::from_fn(|_| tempfile::tempdir_in(".").unwrap());
    let (mut chain, genesis) = Chain::new(clients);
    let mut folder = folders.iter().map(TempDir::path);
    let ledgers =
        options.map(|options| Ledger::create(folder.next().unwrap(), CHANNEL, genesis.clone(), options).unwrap());
    let definition = chain.envelope(&[], &[(DEFINITION.0, DEFINITION.1, b"1")]);
    let block = chain.block(vec![definition]);
    for ledger in &ledgers {
        ledger.commit(block.clone()).unwrap();
    }
    (chain, ledgers, folders)
}

/// A ledger in a folder of its own, without a state trie, with its chain.
pub(crate) fn new_ledger(clients: usize, options: Options) -> (Chain, Ledger, TempDir) {
    let (chain, [ledger], [folder]) = new_ledgers(clients, [Options { trie: None, ..options }]);
    (chain, ledger, folder)
}

/// Like [`new_ledger`], with so many keys in its state.
pub(crate) fn loaded(keys: u64) -> (Chain, Ledger, TempDir) {
    let (mut chain, ledger, folder) = new_ledger(1, Options::default());
    chain.load(keys, std::slice::from_ref(&ledger));
    (chain, ledger, folder)
}

/// Bytes of the files in a folder and below.
pub(crate) fn bytes_in(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    let sizes = entries.map(|entry| match entry.file_type().unwrap().is_dir() {
        true => bytes_in(&entry.path()),
        false => entry.metadata().unwrap().len(),
    });
    sizes.sum()
}

fn config_envelope() -> Bytes {
    let header = ChannelHeader { r#type: 1, channel_id: CHANNEL.to_owned(), ..ChannelHeader::default() };
    let header = Header { channel_header: header.encode_to_vec().into(), signature_header: Bytes::new() };
    let payload = Payload { header: Some(header), data: Bytes::from_static(b"config") };
    Envelope { payload: payload.encode_to_vec().into(), signature: Bytes::new() }.encode_to_vec().into()
}
