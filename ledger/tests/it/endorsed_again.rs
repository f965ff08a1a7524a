//! What real Fabric peers endorsed, simulated once more: the same reads and writes on the
//! same state have to give the very bytes that those peers signed.

use std::collections::BTreeSet;

use prost::Message;
use ripstop_ledger::{Ledger, Metadata, Options, SimulationResult};
use ripstop_proto::common::Block;
use ripstop_proto::config::config_envelope;
use ripstop_proto::envelope::OpenEnvelope;
use ripstop_proto::kvrwset::KvMetadataWrite;
use ripstop_proto::kvrwset::range_query_info::ReadsInfo;
use ripstop_proto::protos::{ChaincodeAction, TxValidationCode};
use ripstop_proto::read_write_set::{NamespaceSet, ReadWriteSet};
use ripstop_proto::transaction::OpenTransaction;

use crate::fabric_chains::{as_delivered, chain, stored_codes};

/// The chaincode actions of a block, by index; configurations have none.
fn actions(block: &Block) -> Vec<Option<ChaincodeAction>> {
    let entries = &block.data.as_ref().unwrap().data;
    let open = |entry| OpenTransaction::open(OpenEnvelope::open(entry).unwrap().payload.data).ok();
    entries.iter().map(|entry| open(entry).map(|transaction| transaction.chaincode_action().unwrap())).collect()
}

/// What has been seen, so that the test does not pass by seeing nothing.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    transactions: usize,
    deletes: usize,
    metadata_writes: usize,
    raw_ranges: usize,
    summarized_ranges: usize,
    ranges_left_early: usize,
}

fn simulate(ledger: &Ledger, sets: &[NamespaceSet], seen: &mut Seen) -> SimulationResult {
    let mut simulator = ledger.simulator();
    for set in sets {
        let name = &set.namespace;
        for write in set.public.writes.iter().rev() {
            seen.deletes += usize::from(write.is_delete);
            simulator.put_state(name, &write.key, write.value.clone()).unwrap();
        }
        for KvMetadataWrite { key, entries } in set.public.metadata_writes.iter().rev() {
            seen.metadata_writes += 1;
            let metadata = entries.iter().rev().map(|entry| (entry.name.clone(), entry.value.clone()));
            simulator.put_metadata(name, key, metadata.collect::<Metadata>()).unwrap();
        }
        for info in &set.public.range_queries_info {
            match &info.reads_info {
                Some(ReadsInfo::ReadsMerkleHashes(_)) => seen.summarized_ranges += 1,
                Some(ReadsInfo::RawReads(_)) | None => seen.raw_ranges += 1,
            }
            seen.ranges_left_early += usize::from(!info.itr_exhausted);
            let end = if info.itr_exhausted { &info.end_key } else { "" };
            let range = simulator.open_range(name, &info.start_key, end);
            while let Some((key, _)) = simulator.next(range).unwrap() {
                if !info.itr_exhausted && key == info.end_key {
                    break;
                }
            }
        }
        for read in set.public.reads.iter().rev() {
            simulator.get_state(name, &read.key).unwrap();
        }
    }
    seen.transactions += 1;
    simulator.finish()
}

#[test]
fn each_valid_transaction_of_a_real_network_gives_the_bytes_that_its_peers_signed() {
    let blocks = chain("mixed");
    let (channel_id, _) = config_envelope(&blocks[0]).unwrap();
    let ledger = Ledger::create("ledger", &channel_id, blocks[0].clone(), Options::in_memory()).unwrap();
    let mut seen = Seen::default();
    for block in &blocks[1..] {
        let codes = stored_codes(block);
        for (action, code) in actions(block).into_iter().zip(codes) {
            let Some(action) = action.filter(|_| code == TxValidationCode::Valid) else { continue };
            let sets = ReadWriteSet::decode(action.results.clone()).unwrap().namespaces;
            // Keys of collections stand there as hashes: what they were cannot be told.
            if sets.iter().any(|set| !set.collections.is_empty()) {
                continue;
            }
            let result = simulate(&ledger, &sets, &mut seen);
            assert_eq!(hex::encode(result.read_write_set.encode_to_vec()), hex::encode(action.results));
            assert_eq!((result.private, result.private_reads.len()), (None, 0));
            let written = sets.iter().flat_map(|set| {
                let metadata = set.public.metadata_writes.iter().map(|write| &write.key);
                let keys = set.public.writes.iter().map(|write| &write.key).chain(metadata);
                keys.map(|key| (set.namespace.as_str(), key.as_str())).collect::<BTreeSet<_>>()
            });
            let noted = result.written_keys.iter().map(|written| (written.namespace.as_str(), written.key.as_str()));
            assert!(written.eq(noted));
        }
        ledger.commit(as_delivered(block)).unwrap();
    }
    let expected = Seen {
        transactions: 1484,
        deletes: 271,
        metadata_writes: 161,
        raw_ranges: 92,
        summarized_ranges: 10,
        ranges_left_early: 3,
    };
    assert_eq!(seen, expected);
}
