//! Chains of a real Fabric peer, replayed: every final code and every commit hash must be
//! the one that Fabric stored.

use std::collections::BTreeMap;

use bytes::Bytes;
use ripstop_ledger::{CheckedBlock, Judgement, Ledger, Options};
use ripstop_proto::block::{COMMIT_HASH, TRANSACTIONS_FILTER, metadata_slot, set_metadata_slot};
use ripstop_proto::block_file::BlockFile;
use ripstop_proto::common::Block;
use ripstop_proto::config::config_envelope;
use ripstop_proto::protos::TxValidationCode;

/// The Fabric block file of a chain.
pub(crate) fn block_file(name: &str) -> Vec<u8> {
    let path = format!("{}/testdata/fabric-chain/{name}.blockfile.zst", env!("CARGO_MANIFEST_DIR"));
    zstd::decode_all(std::fs::File::open(path).unwrap()).unwrap()
}

/// The blocks of a chain.
pub(crate) fn chain(name: &str) -> Vec<Block> {
    BlockFile::new(&block_file(name)[..]).collect::<Result<_, _>>().unwrap()
}

/// The final codes that Fabric stored.
pub(crate) fn stored_codes(block: &Block) -> Vec<TxValidationCode> {
    Judgement::of(block).codes.unwrap()
}

/// The block as an orderer delivered it, with the stage-one codes that Fabric's final ones
/// imply: a version conflict was valid until then.
pub(crate) fn as_delivered(stored: &Block) -> CheckedBlock {
    let mut block = stored.clone();
    set_metadata_slot(&mut block, TRANSACTIONS_FILTER, Bytes::new());
    set_metadata_slot(&mut block, COMMIT_HASH, Bytes::new());
    let verdicts = Judgement::of(stored).verdicts().unwrap();
    CheckedBlock { verdicts, private_writes: Vec::new(), block }
}

/// Commits a chain block by block and compares with what Fabric stored. Returns how often
/// each code occurred.
fn replay(name: &str, folder: &std::path::Path, options: Options) -> BTreeMap<&'static str, usize> {
    let blocks = chain(name);
    let (channel_id, _) = config_envelope(&blocks[0]).unwrap();
    let ledger = Ledger::create(folder, &channel_id, blocks[0].clone(), options).unwrap();
    let mut counts = BTreeMap::new();
    for stored in &blocks[1..] {
        let number = stored.header.as_ref().unwrap().number;
        let committed = ledger.commit(as_delivered(stored)).unwrap();
        assert_eq!(Judgement::of(&committed.block).differences(&Judgement::of(stored)), [], "block {number} of {name}");
        for slot in 0..5 {
            let (ours, theirs) = (metadata_slot(&committed.block, slot), metadata_slot(stored, slot));
            assert_eq!(hex::encode(ours), hex::encode(theirs), "slot {slot} of block {number} of {name}");
        }
        assert_eq!(ledger.height(), number + 1);
        for code in &committed.codes {
            *counts.entry(code.as_str_name()).or_insert(0) += 1;
        }
    }
    counts
}

#[test]
fn the_lifecycle_chain_gives_fabrics_codes_and_commit_hashes() {
    let counts = replay("lifecycle", "ledger".as_ref(), Options::in_memory());
    assert_eq!(counts, BTreeMap::from([("VALID", 7)]));
}

#[test]
fn the_mixed_chain_gives_fabrics_codes_and_commit_hashes() {
    let counts = replay("mixed", "ledger".as_ref(), Options::in_memory());
    let expected = [
        ("ENDORSEMENT_POLICY_FAILURE", 70),
        ("MVCC_READ_CONFLICT", 172),
        ("PHANTOM_READ_CONFLICT", 263),
        ("VALID", 1490),
    ];
    assert_eq!(counts, BTreeMap::from(expected));
}

#[cfg(feature = "leveldb")]
#[test]
fn the_mixed_chain_over_leveldb_and_a_disk_is_the_same_and_can_be_rebuilt() {
    let folder = tempfile::tempdir().unwrap();
    replay("mixed", folder.path(), Options::default());
    let ledger = Ledger::open(folder.path(), Options::default()).unwrap();
    assert_eq!(ledger.height(), 117);
    let (info, state) = (ledger.chain_info().unwrap(), rows(&ledger));
    drop(ledger);
    std::fs::remove_dir_all(folder.path().join("derived")).unwrap();
    let rebuilt = Ledger::open(folder.path(), Options::default()).unwrap();
    assert_eq!((rebuilt.chain_info().unwrap(), rows(&rebuilt)), (info, state));
}

#[cfg(feature = "leveldb")]
fn rows(ledger: &Ledger) -> Vec<(String, ripstop_ledger::VersionedValue)> {
    let rows: Vec<_> = ledger.state().range("bench", "", "").map(Result::unwrap).collect();
    assert!(rows.len() > 100, "{} rows", rows.len());
    rows
}

#[test]
fn any_number_of_threads_gives_the_same_chain() {
    let on_threads = |count: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(count).build().unwrap();
        pool.install(|| replay("mixed", "ledger".as_ref(), Options::in_memory()))
    };
    assert_eq!(on_threads(1), on_threads(8));
}
