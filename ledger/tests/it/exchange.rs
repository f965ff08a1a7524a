//! Chains that come from a Fabric peer and go to one.

use std::path::Path;
use std::sync::Arc;

use ripstop_ledger::files::{Files, MemoryFiles};
use ripstop_ledger::{BlockStore, CheckedBlock, Difference, FabricBlockFiles, Judgement, Ledger, Options};
use ripstop_proto::block::set_metadata_slot;
use ripstop_proto::block_file::{BlockFile, encode};
use ripstop_proto::common::Block;
use ripstop_proto::config::config_envelope;
use ripstop_proto::protos::TxValidationCode;

use crate::fabric_chains::{block_file, chain};

/// Takes a chain over with the stage-one codes that are stored in it.
fn import(blocks: &[Block], options: Options) -> Ledger {
    let (channel_id, _) = config_envelope(&blocks[0]).unwrap();
    let ledger = Ledger::create("ledger", &channel_id, blocks[0].clone(), options).unwrap();
    for block in &blocks[1..] {
        let judgement = Judgement::of(block);
        let verdicts = judgement.verdicts().unwrap();
        let checked = CheckedBlock { block: block.clone(), verdicts, private_writes: vec![] };
        let ours = Judgement::of(&ledger.commit(checked).unwrap().block);
        assert_eq!(ours.differences(&judgement), []);
    }
    ledger
}

#[test]
fn a_chain_that_was_taken_over_goes_out_byte_for_byte_and_gives_the_same_chain_again() {
    for name in ["lifecycle", "mixed"] {
        let (options, came) = (Options::in_memory(), block_file(name));
        let blocks = chain(name);
        drop(import(&blocks, options.clone()));
        let store = BlockStore::open_read_only(Arc::clone(&options.files), "ledger/blocks").unwrap();
        let files: Arc<dyn Files> = Arc::new(MemoryFiles::new());
        let mut written = FabricBlockFiles::create(Arc::clone(&files), "chain").unwrap();
        (0..store.height()).for_each(|number| written.append(&store.block(number).unwrap().unwrap()).unwrap());
        assert_eq!(written.finish().unwrap(), 1);
        let file = files.open(Path::new("chain/blockfile_000000")).unwrap();
        let went = file.read_at(0, came.len() + 1).unwrap();
        assert!(went == came, "{name}: what went out differs from what came in");
        let mut reader = BlockFile::new(&went[..]);
        let again: Vec<Block> = std::iter::from_fn(|| reader.next_block().unwrap()).collect();
        let again = import(&again, Options::in_memory());
        assert_eq!(again.height(), blocks.len() as u64);
    }
}

#[test]
fn every_differing_code_and_a_differing_commit_hash_are_told() {
    let blocks = chain("mixed");
    let block = &blocks[20];
    let ours = Judgement::of(block);
    let mut altered = block.clone();
    let mut codes = ripstop_proto::block::metadata_slot(block, 2).to_vec();
    codes[3] = TxValidationCode::BadPayload as u8;
    codes[7] = TxValidationCode::IllegalWriteset as u8;
    set_metadata_slot(&mut altered, 2, codes.into());
    set_metadata_slot(&mut altered, 4, blocks[21].metadata.as_ref().unwrap().metadata[4].clone());
    let own = |tx_index: usize| ours.codes.as_ref().unwrap()[tx_index];
    let theirs = Judgement::of(&altered);
    let (our_hash, their_hash) = (ours.commit_hash.unwrap(), theirs.commit_hash.unwrap());
    let expected = [
        Difference::Code { tx_index: 3, ours: own(3), theirs: TxValidationCode::BadPayload },
        Difference::Code { tx_index: 7, ours: own(7), theirs: TxValidationCode::IllegalWriteset },
        Difference::CommitHash { ours: our_hash, theirs: their_hash },
    ];
    assert_eq!(ours.differences(&theirs), expected);
    let nothing_known = Judgement { codes: None, commit_hash: None };
    assert_eq!((ours.differences(&nothing_known), nothing_known.differences(&ours)), (vec![], vec![]));
}

#[test]
fn a_block_without_a_code_for_each_transaction_has_no_verdicts() {
    let mut block = chain("mixed").remove(20);
    let count = block.data.as_ref().unwrap().data.len();
    assert_eq!(Judgement::of(&block).verdicts().unwrap().len(), count);
    for codes in [vec![], vec![0; count - 1], vec![0; count + 1], vec![77; count]] {
        set_metadata_slot(&mut block, 2, codes.into());
        assert_eq!(Judgement::of(&block).verdicts(), None);
    }
    let written_back = encode(&block);
    assert_eq!(BlockFile::new(&written_back[..]).next_block().unwrap(), Some(block));
}
