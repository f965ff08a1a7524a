use proptest::prelude::*;
use ripstop_proto::common::{Block as WireBlock, Envelope};

use super::*;

const LIFECYCLE: &[u8] = include_bytes!("../../../ledger/testdata/fabric-chain/lifecycle.blockfile.zst");

/// The blocks of a chain that a real peer wrote.
fn lifecycle() -> Vec<WireBlock> {
    let file = zstd::decode_all(LIFECYCLE).unwrap();
    let mut file = BlockFile::new(&file[..]);
    std::iter::from_fn(|| file.next_block().unwrap()).collect()
}

/// Everything that a command would do with these bytes.
fn decode_all(bytes: &[u8]) {
    let mut chain = Chain::default();
    let mut file = BlockFile::new(bytes);
    while let Ok(Some(block)) = file.next_block() {
        let block = chain.open(&block);
        let _ = (serde_json::to_string(&block).unwrap(), block.to_string());
    }
    match Recognised::of(bytes) {
        Some(Recognised::Block(block)) => drop((serde_json::to_string(&block).unwrap(), block.to_string())),
        Some(Recognised::Envelope(envelope)) => {
            drop((serde_json::to_string(&envelope).unwrap(), envelope.to_string()));
        }
        None => {}
    }
    let transaction = Transaction::open(bytes);
    let _ = (serde_json::to_string(&transaction).unwrap(), transaction.to_string());
}

#[test]
fn a_block_and_an_envelope_alone_in_a_file_are_recognised() {
    for block in lifecycle() {
        assert!(matches!(Recognised::of(&block.encode_to_vec()), Some(Recognised::Block(_))));
        for entry in &block.data.as_ref().unwrap().data {
            assert!(matches!(Recognised::of(entry), Some(Recognised::Envelope(_))));
        }
    }
    assert!(Recognised::of(b"#!/bin/sh\nexit 0\n").is_none());
    assert!(Recognised::of(&Envelope::default().encode_to_vec()).is_none());
}

#[test]
fn a_chain_whose_signature_or_hash_was_altered_says_so() {
    let mut blocks = lifecycle();
    let shown = |blocks: &[WireBlock]| {
        let mut chain = Chain::default();
        let last = blocks.iter().map(|block| chain.open(block)).last().unwrap();
        serde_json::to_value(last).unwrap()
    };
    let honest = shown(&blocks);
    assert_eq!(honest["signatures"][0]["verified"], true);
    assert_eq!((&honest["previous_hash_matches"], &honest["data_hash_matches"]), (&true.into(), &true.into()));
    let last = blocks.last_mut().unwrap();
    last.header.as_mut().unwrap().previous_hash = vec![7; 32].into();
    last.data.as_mut().unwrap().data.push(vec![1].into());
    let altered = shown(&blocks);
    assert_eq!(altered["signatures"][0]["verified"], false);
    assert_eq!((&altered["previous_hash_matches"], &altered["data_hash_matches"]), (&false.into(), &false.into()));
}

#[test]
fn every_shortening_of_a_real_envelope_is_shown_or_refused() {
    for block in lifecycle().iter().skip(1) {
        for entry in &block.data.as_ref().unwrap().data {
            (0..entry.len()).step_by(7).for_each(|length| decode_all(&entry[..length]));
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_shown_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        decode_all(&bytes);
    }

    #[test]
    fn a_real_block_with_altered_bytes_is_shown_or_refused(
        number in 0_usize..8,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        length in any::<prop::sample::Index>(),
        cut in any::<bool>(),
    ) {
        let block = lifecycle().swap_remove(number);
        let mut bytes = block.encode_to_vec();
        let entry = block.data.as_ref().unwrap().data[0].to_vec();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if cut {
            bytes.truncate(length.index(bytes.len()));
        }
        decode_all(&bytes);
        let at = length.index(entry.len());
        let mut entry = entry;
        entry[at] ^= 0x55;
        decode_all(&entry);
    }
}
